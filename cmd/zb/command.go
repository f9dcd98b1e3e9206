package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"zotregistry.io/zot/internal/zb"
)

// settings are the command line.
type settings struct {
	zb.Options

	sourceIPs, sourceNet string
	output, json, html   string
	list                 bool
}

const example = `  zb -c 16 http://127.0.0.1:8080
  zb -t push-small,pull --json a.json --html a.html http://127.0.0.1:8080
  zb -t manifest-get --rate 500 --duration 30s https://registry.example.com
  zb compare a.json b.json`

func command() *cobra.Command {
	var s settings

	cmd := &cobra.Command{
		Use:     "zb [flags] <url of a registry>",
		Short:   "Measure a registry: pushes, pulls, tags, referrers, mounts",
		Long:    "zb measures any registry of the OCI distribution specification. What it pushes, it deletes.",
		Example: example,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.list {
				return list(cmd.OutOrStdout())
			}

			return s.run(cmd, args)
		},
		SilenceUsage: true, SilenceErrors: true,
	}

	s.flags(cmd)
	cmd.AddCommand(compareCommand())

	return cmd
}

func (s *settings) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&s.URL, "url", "u", "", "the registry; the argument says the same")
	f.StringVarP(&s.Auth, "auth-creds", "A", "", "`user:password`; tokens are fetched where the registry wants them")
	f.IntVarP(&s.Concurrency, "concurrency", "c", 16, "operations under way at once, at most")
	f.IntVarP(&s.Requests, "requests", "n", 0, "operations of each test (default: what the test proposes)")
	f.DurationVar(&s.Duration, "duration", 0, "how long each test goes on, instead of -n")
	f.Float64Var(&s.Rate, "rate", 0, "open loop: so many operations arrive `per second`, whether or not the registry keeps up")
	f.StringSliceVarP(&s.Tests, "tests", "t", nil, "tests to run, by `name` or regular expression (default all)")
	f.BoolVarP(&s.list, "list-tests", "l", false, "list the tests")
	f.StringVarP(&s.Repo, "repo", "r", "zb", "`prefix` of the repositories that are made")
	f.StringVarP(&s.output, "output-format", "o", "stdout", "stdout (text), json, or ci-cd (figures for github-action-benchmark, in ./ci-cd.json)")
	f.StringVar(&s.json, "json", "", "write the report to this `file`, too, for zb compare")
	f.StringVar(&s.html, "html", "", "write the report with plots to this `file`, too")
	f.StringVarP(&s.sourceIPs, "src-ips", "s", "", "comma-separated `addresses` of this machine that connections come from, in turns")
	f.StringVarP(&s.sourceNet, "src-cidr", "i", "", "connections come from the addresses of this `network`, in turns")
	f.StringVarP(&s.WorkingDir, "working-dir", "d", "", "keep the random bytes that are pushed in a file of this `directory` (default in memory, 100 MB)")
	f.BoolVar(&s.SkipCleanup, "skip-cleanup", false, "leave what was pushed")
	f.IntVar(&s.Tags, "tags", 1000, "tags in the repository of the tests that want many")
	f.DurationVar(&s.Timeout, "timeout", time.Minute, "after which an operation has failed")
	f.StringVar(&s.CACert, "cacert", "", "`file` of a certificate to trust")
	f.BoolVar(&s.Insecure, "skip-tls-verify", false, "take any certificate")
	f.IntVar(&s.PID, "pid", 0, "the server's process, whose CPU and memory are watched (default: found by its port, if it is local)")
	f.StringVar(&s.Restart, "restart", "", "`command` that restarts the server, for cold-start")
	f.BoolVar(&s.Touch, "touch", true, "with a local server, touch memory before measuring")
	cmd.MarkFlagsMutuallyExclusive("src-ips", "src-cidr")
	cmd.MarkFlagsMutuallyExclusive("requests", "duration")
}

func list(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, t := range zb.Tests() {
		fmt.Fprintf(table, "%s\t%s\n", t.Name, t.About)
	}

	return table.Flush()
}

// run measures, and writes what is asked for. It fails if an operation did.
func (s *settings) run(cmd *cobra.Command, args []string) error {
	if err := s.complete(args); err != nil {
		return err
	}

	watch := watcher(cmd.ErrOrStderr())

	report, err := zb.Run(cmd.Context(), s.Options, watch)
	if watch != nil {
		watch("") // leaves the line empty
	}

	if report == nil {
		return err
	}

	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted: the report holds the tests that ended")
	}

	err = errors.Join(err, s.write(cmd.OutOrStdout(), report))
	if n := report.Failed(); err == nil && n > 0 {
		err = fmt.Errorf("%d operations failed", n)
	}

	return err
}

// complete makes options of what is only text.
func (s *settings) complete(args []string) error {
	switch {
	case len(args) == 1 && s.URL != "" && args[0] != s.URL:
		return errors.New("the registry is named twice")
	case len(args) == 1:
		s.URL = args[0]
	case s.URL == "":
		return errors.New("which registry? As in: zb http://127.0.0.1:8080")
	}

	switch s.output {
	case "stdout", "json", "ci-cd":
	default:
		return fmt.Errorf("output format %q; there are stdout, json and ci-cd", s.output)
	}

	var err error

	s.SourceIPs, err = sources(s.sourceIPs, s.sourceNet)

	return err
}

// mostSources is how many addresses of a network are used.
const mostSources = 1 << 16

// sources are the addresses that are listed, or those of a network.
func sources(list, network string) ([]netip.Addr, error) {
	var all []netip.Addr

	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		addr, err := netip.ParseAddr(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}

		all = append(all, addr)
	}

	if network == "" {
		return all, nil
	}

	prefix, err := netip.ParsePrefix(network)
	if err != nil {
		return nil, err
	}

	for addr := prefix.Masked().Addr(); prefix.Contains(addr) && len(all) < mostSources; addr = addr.Next() {
		all = append(all, addr)
	}

	return all, nil
}

// watcher returns what shows how it goes, nil if nobody sees it.
func watcher(w io.Writer) zb.Watcher {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}

	return zb.Line(file)
}

// ciFile is where upstream's workflows look for figures.
const ciFile = "ci-cd.json"

func (s *settings) write(out io.Writer, report *zb.Report) error {
	var err error

	switch s.output {
	case "json":
		err = report.WriteJSON(out)
	case "ci-cd":
		err = toFile(ciFile, report.WriteCI)
	default:
		err = report.WriteText(out)
	}

	if s.json != "" {
		err = errors.Join(err, toFile(s.json, report.WriteJSON))
	}

	if s.html != "" {
		err = errors.Join(err, toFile(s.html, report.WriteHTML))
	}

	return err
}

func toFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}

	return errors.Join(write(file), file.Close())
}
