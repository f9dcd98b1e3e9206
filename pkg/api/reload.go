package api

import (
	"crypto/tls"
	"reflect"

	"zotregistry.io/zot/pkg/access"
	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/auth"
)

// doors are what can be changed while a Server serves: who clients are, what they may do and how
// often, and the certificates. They never change themselves: a request, or a TLS connection,
// keeps those that it began with.
type doors struct {
	ways   *auth.Ways
	rules  *access.Rules
	limits *limits
	rate   *config.RateLimit // that limits come from
	tls    *tls.Config       // nil = plain HTTP
	places *places           // those of before go on
}

// newDoors reads the files of certificates. Limits that are those of old go on with what clients
// have used up. The ways stay the caller's if it fails.
func newDoors(cfg config.HTTP, ways *auth.Ways, old *doors) (*doors, error) {
	next := &doors{ways: ways, limits: old.limits, rate: cfg.RateLimit, places: old.places}

	var err error
	if next.tls, err = loadTLS(cfg.TLS); err != nil {
		return nil, err
	}

	if next.rules, err = access.New(cfg.AccessControl, ways.Any()); err != nil {
		return nil, err
	}

	if !reflect.DeepEqual(next.rate, old.rate) {
		if next.limits, err = newLimits(cfg.RateLimit); err != nil {
			return nil, err
		}
	}

	return next, nil
}

// Reload reads the files that cfg names again, and has new requests and connections served by
// what cfg says of TLS, auth, accessControl and ratelimit. All else in cfg is as New was given it,
// and so is whether there is TLS, and what there is of API keys and logins by browsers. After an
// error nothing has changed. It is not called concurrently.
func (s *Server) Reload(cfg config.HTTP) error {
	old := s.doors.Load()

	ways, err := old.ways.Renew(cfg)
	if err != nil {
		return err
	}

	next, err := newDoors(cfg, ways, old)
	if err != nil {
		return err // ways has opened no connection yet
	}

	s.doors.Store(next)

	if err := old.ways.Retire(ways); err != nil {
		s.log.Warn().Err(err).Msg("could not close connections of before a reload")
	}

	return nil
}
