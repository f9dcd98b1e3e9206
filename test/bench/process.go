package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// statusOf is a field of /proc/<pid>/status that is in kB, in bytes (proc(5)).
func statusOf(pid int, field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}

	_, rest, ok := strings.Cut(string(status), field)
	if fields := strings.Fields(rest); ok && len(fields) > 0 {
		kb, err := strconv.ParseInt(fields[0], 10, 64)

		return kb << 10, err
	}

	return 0, fmt.Errorf("no %s in the status of the process", field)
}

// tick is the unit of times in /proc, the same on all machines that Go knows.
const tick = 10 * time.Millisecond

// cpuTime is the CPU time that a process has used.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}

	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // the name may hold anything
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}

	var sum int64

	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, err
		}

		sum += n
	}

	return time.Duration(sum) * tick, nil
}
