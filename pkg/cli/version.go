package cli

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// What the build says of itself, by -ldflags "-X zotregistry.io/zot/pkg/cli.Version=..."
// and so on. Where it says nothing, what the Go toolchain noted is used.
var (
	Version string // as v1.2.3
	Commit  string // of git
	Date    string // of the commit, RFC 3339
)

func versionCommand(streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and what it was built from",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(streams.Out, "zot "+currentBuild().String())

			return err
		},
	}
}

// build is what a binary was made of.
type build struct {
	version, commit, date string
}

func (b build) String() string {
	return fmt.Sprintf("%s, commit %s of %s, %s %s/%s", b.version, b.commit, b.date,
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func currentBuild() build {
	noted := build{}
	if info, ok := debug.ReadBuildInfo(); ok {
		noted = notedBuild(info)
	}

	const unknown = "unknown"

	return build{
		version: cmp.Or(Version, noted.version, unknown),
		commit:  cmp.Or(Commit, noted.commit, unknown),
		date:    cmp.Or(Date, noted.date, unknown),
	}
}

// notedBuild returns what the Go toolchain noted.
func notedBuild(info *debug.BuildInfo) build {
	noted := build{version: info.Main.Version}

	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			noted.commit = setting.Value
		case "vcs.time":
			noted.date = setting.Value
		}
	}

	return noted
}
