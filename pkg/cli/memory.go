package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/rs/zerolog"
)

// memoryShare is how much of a cgroup's memory Go may use, in percent: the rest is for what it
// does not count, such as the pages of the cache's file.
const memoryShare = 90

// limitMemory has the collector work harder when memory gets short, instead of the kernel
// killing zot: by GOMEMLIMIT, which the runtime has read, or by the limit of the cgroup.
func limitMemory(files fs.FS, log zerolog.Logger) {
	if os.Getenv("GOMEMLIMIT") != "" {
		log.Info().Int64("bytes", debug.SetMemoryLimit(-1)).Str("from", "GOMEMLIMIT").Msg("limit of memory")

		return
	}

	limit, err := cgroupMemory(files)
	if err != nil {
		log.Warn().Err(err).Msg("the limit of memory is not known: set GOMEMLIMIT if there is one")

		return
	}

	if limit == math.MaxInt64 {
		log.Info().Msg("no limit of memory")

		return
	}

	usable := limit / 100 * memoryShare
	debug.SetMemoryLimit(usable)
	log.Info().Int64("bytes", usable).Int64("cgroup", limit).Msg("limit of memory")
}

// cgroupMemory is the least limit of memory of the cgroup (version 2) that this process is in
// and of those above it, in bytes; MaxInt64 if there is none, or no such cgroup.
func cgroupMemory(files fs.FS) (int64, error) {
	data, err := fs.ReadFile(files, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) { // another system
		return math.MaxInt64, nil
	}

	if err != nil {
		return 0, fmt.Errorf("find the cgroup: %w", err)
	}

	least := int64(math.MaxInt64)

	for dir := cgroupOf(string(data)); ; dir = path.Dir(dir) {
		limit, err := memoryMax(files, path.Join("sys/fs/cgroup", dir, "memory.max"))
		if err != nil {
			return 0, err
		}

		if least = min(least, limit); dir == "/" || dir == "." {
			return least, nil
		}
	}
}

// cgroupOf is the path in the line "0::/path", of version 2. A container sees it as "/".
func cgroupOf(lines string) string {
	for line := range strings.Lines(lines) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path.Join("/", dir)
		}
	}

	return "/"
}

// memoryMax reads a limit. The cgroup at the top has no such file.
func memoryMax(files fs.FS, name string) (int64, error) {
	data, err := fs.ReadFile(files, name)
	if errors.Is(err, fs.ErrNotExist) {
		return math.MaxInt64, nil
	}

	if err != nil {
		return 0, fmt.Errorf("read the limit of memory: %w", err)
	}

	text := strings.TrimSpace(string(data))
	if text == "max" {
		return math.MaxInt64, nil
	}

	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil || limit <= 0 {
		return 0, fmt.Errorf("/%s: %q is no limit of memory", name, text)
	}

	return limit, nil
}
