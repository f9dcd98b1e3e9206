package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"zotregistry.io/zot/pkg/api"
)

func verifyCommand(streams Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "verify <config>",
		Short: "Check a configuration file, and say all that is wrong with it",
		Args:  oneFile,
		RunE:  func(_ *cobra.Command, args []string) error { return verify(streams, args[0]) },
	}
}

func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one configuration file, as in: zot %[1]s config.json", cmd.Name())
	}

	return nil
}

func verify(streams Streams, path string) error {
	cfg, warnings, err := Load(path)

	for _, warning := range warnings {
		if _, err := fmt.Fprintf(streams.Err, "zot: %s: warning: %s\n", path, warning); err != nil {
			return fmt.Errorf("print a warning: %w", err)
		}
	}

	if err != nil {
		return named(path, err)
	}

	// What is in the files that it names is known to the server.
	if _, err := api.New(cfg.HTTP, nil, zerolog.Nop()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}

	_, err = fmt.Fprintf(streams.Out, "%s is valid\n", path)

	return err
}

// named adds the name of the file to each mistake in it.
func named(path string, err error) error {
	var mistakes Mistakes
	if !errors.As(err, &mistakes) {
		return err
	}

	lines := mistakes.lines()
	for i, line := range lines {
		lines[i] = path + ": " + line
	}

	return errors.New(strings.Join(lines, "\n"))
}
