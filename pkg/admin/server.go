package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"
)

// Server answers what Clients ask for. Close ends it.
type Server struct {
	socket *socket
	http   *http.Server
	cancel context.CancelFunc // ends the calls under way
	served chan error
	log    zerolog.Logger

	patience time.Duration // lineWait but in tests
}

// Listen begins to answer, on the socket in root, from store. A socket that another process
// has left there is replaced.
func Listen(ctx context.Context, root string, store Store, log zerolog.Logger) (*Server, error) {
	socket, err := listenSocket(root)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", SocketPath(root), err)
	}

	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Server{socket: socket, cancel: cancel, served: make(chan error, 1), log: log, patience: lineWait}
	s.http = &http.Server{ //nolint:gosec // who may connect may do worse than to send headers slowly
		Handler:     s.handler(store),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}

	go func() { s.served <- s.http.Serve(socket.listener) }()

	return s, nil
}

// Close ends the calls under way, and removes the socket. ctx bounds the waiting for them.
func (s *Server) Close(ctx context.Context) error {
	err := s.socket.remove() // who comes now finds nothing, instead of a connection that ends
	s.cancel()

	err = errors.Join(err, s.http.Shutdown(ctx))

	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}

	return err
}

// route is a call without its types. What it tells before it ends goes to lines.
type route interface {
	path() string
	answer(ctx context.Context, store Store, args *json.Decoder, lines *lineWriter) (any, error)
}

func (c call[A, R]) path() string { return "/" + c.name }

func (c call[A, R]) answer(ctx context.Context, store Store, args *json.Decoder, _ *lineWriter) (any, error) {
	var decoded A
	if err := args.Decode(&decoded); err != nil {
		return nil, fmt.Errorf("arguments of %s: %w", c.name, err)
	}

	return c.do(ctx, store, decoded)
}

func (s *Server) handler(store Store) http.Handler {
	mux := http.NewServeMux()

	for _, route := range routes {
		mux.HandleFunc("POST "+route.path(), func(w http.ResponseWriter, r *http.Request) {
			s.log.Info().Str("call", route.path()).Msg("a command asks")

			lines := &lineWriter{to: w, patience: s.patience}
			result, err := route.answer(r.Context(), store, json.NewDecoder(r.Body), lines)

			if lines.begun {
				lines.end(result, err)
			} else {
				s.send(w, result, err)
			}
		})
	}

	return mux
}

// send answers a call. Where the client has gone nobody hears of it.
func (s *Server) send(w http.ResponseWriter, result any, err error) {
	w.Header().Set("Content-Type", "application/json")

	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		result = failureOf(err)
	}

	if err := json.NewEncoder(w).Encode(result); err != nil {
		s.log.Warn().Err(err).Msg("could not answer a command")
	}
}
