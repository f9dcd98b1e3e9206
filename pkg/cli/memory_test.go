package cli

import (
	"bytes"
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rs/zerolog"
)

// cgroup is a file system with files of these contents.
func cgroup(files map[string]string) fstest.MapFS {
	made := fstest.MapFS{}
	for name, content := range files {
		made[name] = &fstest.MapFile{Data: []byte(content)}
	}

	return made
}

func TestCgroupMemory(t *testing.T) {
	for name, row := range map[string]struct {
		files map[string]string
		want  int64 // 0 = an error
	}{
		"another system": {nil, math.MaxInt64},
		"a container":    {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"}, 1000},
		"no limit":       {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, math.MaxInt64},
		"the one above is tighter": {map[string]string{
			"proc/self/cgroup":                                  "1:name=systemd:/x\n0::/system.slice/zot.service\n",
			"sys/fs/cgroup/system.slice/memory.max":             "500\n",
			"sys/fs/cgroup/system.slice/zot.service/memory.max": "1000\n",
		}, 500},
		"version 1": {map[string]string{"proc/self/cgroup": "9:memory:/x\n"}, math.MaxInt64},
		"nonsense":  {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "lots\n"}, 0},
	} {
		got, err := cgroupMemory(cgroup(row.files))
		if (err != nil) != (row.want == 0) || got != row.want {
			t.Errorf("%s: got %d, %v; want %d", name, got, err, row.want)
		}
	}
}

func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)

	files := cgroup(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4000000000\n"})

	var log bytes.Buffer

	t.Setenv("GOMEMLIMIT", "")
	limitMemory(files, zerolog.New(&log))

	if got := debug.SetMemoryLimit(-1); got != 3_600_000_000 || !strings.Contains(log.String(), `"bytes":3600000000`) {
		t.Errorf("limit %d, log %s", got, &log)
	}

	debug.SetMemoryLimit(5_000_000_000)
	t.Setenv("GOMEMLIMIT", "5000000000")
	limitMemory(files, zerolog.New(&log))

	if got := debug.SetMemoryLimit(-1); got != 5_000_000_000 || !strings.Contains(log.String(), `"from":"GOMEMLIMIT"`) {
		t.Errorf("limit %d, log %s", got, &log)
	}
}
