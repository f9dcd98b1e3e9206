package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// reloadFigures show whether the configuration that is there is the one in force.
func reloadFigures(last func() (refused bool, taken time.Time)) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zot_config_last_reload_successful",
			Help: "1: the configuration was taken in when it was last read; 0: it was refused.",
		}, func() float64 {
			if refused, _ := last(); refused {
				return 0
			}

			return 1
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "zot_config_last_reload_success_timestamp_seconds",
			Help: "When a configuration was taken in last.",
		}, func() float64 {
			_, taken := last()

			return float64(taken.UnixNano()) / float64(time.Second)
		}),
	}
}
