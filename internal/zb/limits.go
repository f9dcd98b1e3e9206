package zb

import (
	"fmt"
	"runtime"
	"time"
)

// saturated is the share of CPUs above which there is nothing left for more.
const saturated = 0.85

// Limit is a reason why figures of a test may not be the registry's own, but those of the client, or
// of the machine that both share.
type Limit struct {
	Reason  string `json:"reason"`
	Figures string `json:"figures"`
}

// The reasons.
const (
	clientCPU   = "the client had no CPU left: it is the limit, not the registry"
	sharedCPU   = "client and registry share a machine and used its CPUs up: with the client elsewhere the registry would do more"
	othersCPU   = "other programs kept the client's machine busy"
	clientLate  = "the client was late: operations began after they were planned, with a worker free"
	noFreeAsker = "arrivals had to wait, since -c operations were under way"
)

// limits returns what holds of a test.
func limits(r *Result, u usages, lag time.Duration) []Limit {
	var all []Limit

	if reason := busy(u); reason != "" {
		all = append(all, Limit{reason, coresUsed(u)})
	}

	if lag > time.Millisecond {
		all = append(all, Limit{clientLate, fmt.Sprintf("one in a hundred by %s or more", inMillis(millis(int64(lag))))})
	}

	if r.Queued > 0 {
		all = append(all, Limit{noFreeAsker, fmt.Sprintf("%d of %d", r.Queued, r.Operations+r.Failed)})
	}

	return all
}

// busy says who has used up the CPUs of the client's machine; "" if nobody has.
func busy(u usages) string {
	may, machine := float64(cores()), float64(runtime.NumCPU())

	switch {
	case u.client.Cores >= saturated*may:
		return clientCPU
	case u.server != nil && u.client.Cores+u.server.Cores >= saturated*machine:
		return sharedCPU
	case u.idleCores >= 0 && u.idleCores < (1-saturated)*machine:
		return othersCPU
	default:
		return ""
	}
}

func coresUsed(u usages) string {
	text := fmt.Sprintf("of %d cores client %.1f", runtime.NumCPU(), u.client.Cores)

	if u.server != nil {
		text += fmt.Sprintf(", registry %.1f", u.server.Cores)
	}

	if u.idleCores >= 0 {
		text += fmt.Sprintf(", idle %.1f", u.idleCores)
	}

	return text
}
