package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
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
