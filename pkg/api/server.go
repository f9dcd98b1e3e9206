package api

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"zotregistry.io/zot/pkg/api/config"
	"zotregistry.io/zot/pkg/audit"
	"zotregistry.io/zot/pkg/auth"
)

const (
	// headerTimeout bounds the headers of a request, which are small, as a whole.
	headerTimeout = 30 * time.Second

	// idleTimeout is how long a connection is kept for the next request.
	idleTimeout = 2 * time.Minute

	// maxHeader bounds a request's headers and its URL, in bytes: 100 tags of 128
	// characters and a large token fit.
	maxHeader = 64 << 10
)

// Server serves a registry. New, then Listen, then Serve in one goroutine and
// Shutdown in another.
type Server struct {
	cfg        config.HTTP
	log        zerolog.Logger
	routes     map[endpoint]methods
	hidden     map[endpoint]methods // of what one may not read: as if it were not there
	doors      atomic.Pointer[doors]
	ids        *requestIDs
	metrics    Metrics    // nil = there are none
	figures    string     // the path of metrics
	audit      *audit.Log // nil = there is none
	uploadLife time.Duration
	http       *http.Server
	listener   net.Listener
	draining   atomic.Bool
}

// New reads the files that cfg names, and touches nothing else. The registry stays
// the caller's, who closes it after Shutdown.
func New(cfg config.HTTP, registry Registry, logger zerolog.Logger, options ...Option) (*Server, error) {
	s := &Server{cfg: cfg, log: logger, ids: newRequestIDs(), uploadLife: defaultUploadLife}
	for _, option := range options {
		option(s)
	}

	ways, err := auth.Open(cfg, registry)
	if err != nil {
		return nil, err
	}

	opened, err := newDoors(cfg, ways, &doors{places: newPlaces(s.uploadLife)})
	if err != nil {
		return nil, err
	}

	s.doors.Store(opened)

	s.routes = newRoutes(registry, ways.Keys(), ways.OpenID(), newURLs(cfg.ExternalURL), s.draining.Load, s.metrics)
	s.hidden = newRoutes(absent{}, nil, nil, newURLs(cfg.ExternalURL), s.draining.Load, nil)

	s.http = &http.Server{
		Handler:           s.Handler(),
		TLSConfig:         s.tlsConfig(),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(serverLog{logger}, "", 0),
	}

	return s, nil
}

// Handler is what Serve serves.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

// Listen takes the address. The one returned has the port that was free, if the
// configuration says 0.
func (s *Server) Listen() (net.Addr, error) {
	address := net.JoinHostPort(s.cfg.Address, s.cfg.Port)

	listener, err := net.Listen("tcp", address) //nolint:noctx // Shutdown closes it
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}

	s.listener = listener

	return listener.Addr(), nil
}

// Serve answers requests until Shutdown is called, and then returns nil at once;
// Shutdown waits for the requests under way. Listen was called before.
func (s *Server) Serve() error {
	serve := s.http.Serve
	if s.http.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}

	if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}

	return nil
}

// Shutdown takes no more requests and waits for those under way. When ctx ends
// first, their connections are cut and its error is returned; handlers may then
// still be running for a moment.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)

	err := s.http.Shutdown(ctx)

	// http.Server closes only a listener that it serves.
	if s.listener != nil {
		if closed := s.listener.Close(); closed != nil && !errors.Is(closed, net.ErrClosed) {
			err = errors.Join(err, closed)
		}
	}

	err = errors.Join(err, s.doors.Load().ways.Close())

	if err == nil {
		return nil
	}

	return fmt.Errorf("drain requests: %w", errors.Join(err, s.http.Close()))
}

// serverLog takes what net/http has to say. Most of it is noise of port scanners.
type serverLog struct{ zerolog.Logger }

func (l serverLog) Write(p []byte) (int, error) {
	level := zerolog.DebugLevel
	if strings.HasPrefix(string(p), "http: Accept error") {
		level = zerolog.WarnLevel
	}

	l.WithLevel(level).Msg(strings.TrimSpace(string(p)))

	return len(p), nil
}
