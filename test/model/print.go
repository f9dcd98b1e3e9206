package model

import (
	"fmt"
	"strings"
)

func repoName(r int) string { return fmt.Sprintf("R%d", r+1) }

func recordName(bit uint8) string {
	switch r := record(bit); r {
	case recCondemn:
		return "condemn"
	case recSweep:
		return "sweep"
	case recRenew:
		return "renew"
	case recRemove:
		return "-blob or -members"
	default:
		return fmt.Sprintf("manifest %d", r-recManifest)
	}
}

// describe prints a trace: who did what, and the bucket after it.
func (m *Model) describe(trace []Visit[State]) string {
	var b strings.Builder

	for i, visit := range trace {
		fmt.Fprintf(&b, "%3d  %-12s %s\n%18s%s\n", i, m.who(visit.Step.Proc), visit.Step.what(), "", m.bucket(visit.State))
	}

	return b.String()
}

func (m *Model) who(proc int) string {
	if proc == environment {
		return ""
	}

	return fmt.Sprintf("%s%d", [...]string{"", "upload", "mount", "ask", "commit", "remove", "thin", "delete"}[m.Roles[proc].Kind], proc)
}

func (m *Model) bucket(s State) string {
	var b strings.Builder

	tomb := "live"
	if s.Tomb.Condemned {
		tomb = "condemned"
	}

	fmt.Fprintf(&b, "data%v tombstone: %s %d", s.Data, tomb, s.Tomb.Gen)

	for r := range m.repos() {
		head := s.Heads[r]
		fmt.Fprintf(&b, " | %s #%d names%v", repoName(r), head.Seq, head.Refs)

		if head.Condemned {
			b.WriteString(" condemned")
		}

		if head.Swept > 0 {
			fmt.Fprintf(&b, " swept#%d", head.Swept)
		}

		if head.Gone != 0 {
			fmt.Fprintf(&b, " gone%v", head.Gone)
		}

		b.WriteString(" in{")
		(s.In & m.tokensOf(uint8(r))).each(func(t uint8) { fmt.Fprintf(&b, " #%d-t%d", s.InSeq[t], t) })
		b.WriteString(" }")
	}

	return b.String()
}
