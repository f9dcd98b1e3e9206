package zb

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ticksPerSecond is the unit of times in /proc, the same on all machines that Go knows.
const ticksPerSecond = 100

// CPUOf is the CPU time that a process has used. It needs Linux's /proc.
func CPUOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}

	// The name, in parentheses, may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}

	return ticks(string(fields[11]), string(fields[12]))
}

func ticks(counts ...string) (time.Duration, error) {
	var sum time.Duration

	for _, count := range counts {
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			return 0, err
		}

		sum += time.Duration(n) * time.Second / ticksPerSecond
	}

	return sum, nil
}

// memoryOf is how many bytes of a process are resident. It needs Linux's /proc.
func memoryOf(pid int) (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}

	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm of process %d has %d fields", pid, len(fields))
	}

	pages, err := strconv.ParseInt(fields[1], 10, 64)

	return pages * int64(os.Getpagesize()), err
}

// idle is how long all CPUs of the machine together did nothing. It needs Linux's /proc.
func idle() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}

	line, _, _ := strings.Cut(string(stat), "\n")

	fields := strings.Fields(line)
	if len(fields) < 6 {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}

	return ticks(fields[4], fields[5]) // idle, and waiting for a disk
}

// ownCPU is the CPU time that this process has used.
func ownCPU() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, err
	}

	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// listener finds the process that listens on a TCP port of this machine; 0 if it may not be
// seen. It needs Linux's /proc.
func listener(port int) (int, error) {
	inodes := map[string]bool{}

	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			return 0, err
		}

		for line := range strings.Lines(string(text)) {
			if inode := listening(line, port); inode != "" {
				inodes["socket:["+inode+"]"] = true
			}
		}
	}

	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return 0, err
	}

	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !inodes[target] {
			continue // it has just ended, or is another user's
		}

		return strconv.Atoi(strings.Split(link, "/")[2])
	}

	return 0, nil
}

// listening returns the inode of a line of /proc/net/tcp, if it is a socket that listens on
// that port.
func listening(line string, port int) string {
	const listenState = "0A"

	fields := strings.Fields(line)
	if len(fields) < 10 || fields[3] != listenState || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
		return ""
	}

	return fields[9]
}

// touch writes to so many bytes of memory that were never used, and gives them back. On a
// virtual machine the host hands out memory when it is first written to, which would
// be paid by whoever needs a page first: the registry, for what it is pushed.
func touch(size int64) error {
	const piece = 256 << 20

	for ; size > 0; size -= piece {
		all, err := unix.Mmap(-1, 0, int(min(piece, size)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return fmt.Errorf("touch memory: %w", err)
		}

		for at := 0; at < len(all); at += os.Getpagesize() {
			all[at] = 1
		}

		defer unix.Munmap(all) //nolint:errcheck // it was mapped above
	}

	return nil
}

// available is how many bytes of memory are; 0 where that is not known.
func available() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}

	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			if err == nil {
				return kib << 10
			}
		}
	}

	return 0
}

// cores is how many CPUs this process may use.
func cores() int { return runtime.GOMAXPROCS(0) }
