package local

import (
	"errors"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// syncfsWhole are the file systems on which syncfs(2) is known to flush data, names
// and the disk's own cache, as fsync(2) does. On others it may not: for FUSE, say,
// the kernel tells most servers nothing about it (fs/fuse/inode.c, fuse_sync_fs).
var syncfsWhole = map[int64]string{
	unix.EXT4_SUPER_MAGIC:      "ext4", // and ext2, ext3
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	unix.TMPFS_MAGIC:           "tmpfs",
}

// wholeFlush returns how the file system of dir is flushed in one call, nil if it
// cannot be.
func wholeFlush(dir *os.File, log zerolog.Logger) func(*os.File) error {
	reason := syncfsLacks(dir)
	if reason == "" {
		return syncfs
	}

	log.Warn().Str("reason", reason).
		Msg("the file system cannot be flushed in one call: files are flushed one by one, which is slower")

	return nil
}

// syncfsLacks says why syncfs cannot be used for dir, "" if it can.
func syncfsLacks(dir *os.File) string {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &stat); err != nil {
		return err.Error()
	}

	if syncfsWhole[int64(stat.Type)] == "" { //nolint:unconvert // int32 on some platforms
		return "unknown kind of file system"
	}

	if kernelBefore58() {
		return "syncfs reports no write errors before Linux 5.8"
	}

	if err := syncfs(dir); err != nil {
		return err.Error()
	}

	return ""
}

func syncfs(dir *os.File) error {
	for {
		if err := unix.Syncfs(int(dir.Fd())); !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("syncfs", err)
		}
	}
}

// kernelBefore58 is about Linux 735e4ae5ba28, "vfs: track per-sb writeback errors
// and report them to syncfs".
func kernelBefore58() bool {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return true
	}

	major, rest, _ := strings.Cut(unix.ByteSliceToString(name.Release[:]), ".")
	minor, _, _ := strings.Cut(rest, ".")

	return number(major)*1000+number(minor) < 5008
}

// number reads the digits that s starts with.
func number(s string) int {
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = n*10 + int(s[i]-'0')
	}

	return n
}

// startWriteback lets the kernel begin to write n bytes of file at offset off. It
// waits for nothing, and its errors are those of the flush that follows.
func startWriteback(file *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(file.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// bootID names the boot of the machine.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return processID()
	}

	return strings.TrimSpace(string(id))
}
