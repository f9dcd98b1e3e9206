package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

// client sends requests. Keys are relative to the prefix; only client.go and
// client_ops.go know of it, of the bucket and of the SDK's types.
type client struct {
	api     *s3.Client
	presign *s3.PresignClient
	bucket  string
	prefix  string // ends in a slash, or is empty
	write   writeSettings
	pools   []*http.Transport

	conditional bool // the bucket knows conditional writes
	patience    *patience
}

// writeSettings go along with every object that is written.
type writeSettings struct{ encryption, keyID, class, acl string }

// Times after which a request that does not move is given up, and tried again. S3 itself
// closes a connection that has been silent for some 20 s.
const (
	dialTimeout = 3 * time.Second
	stallQuick  = 20 * time.Second // between bytes, where the server has an answer at hand
	stallSlow   = 15 * time.Minute // where it has to copy or assemble first
)

// Retries of what may be sent twice. The time between two is random, and what it may be
// doubles: on average they are spread over 10 s, so that a server that restarts is not
// noticed. A server that is silent uses up the time before.
const (
	maxAttempts = 10
	minBackoff  = 100 * time.Millisecond
	maxBackoff  = 5 * time.Second
	retryFor    = 30 * time.Second // since the first try
)

func newClient(ctx context.Context, opts Options) (*client, error) {
	var load []func(*config.LoadOptions) error
	if region := regionOf(opts); region != "" {
		load = append(load, config.WithRegion(region))
	}

	if opts.AccessKey != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opts.AccessKey, opts.SecretKey, opts.SessionToken)))
	}

	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("settings of the AWS SDK: %w", err)
	}

	if cfg.Region == "" {
		return nil, &SettingError{Setting: "region", Problem: "is missing, and neither AWS_REGION nor a profile says it"}
	}

	secure := &tls.Config{RootCAs: authorities(cfg), InsecureSkipVerify: opts.SkipVerify, MinVersion: tls.VersionTLS12} //nolint:gosec // as configured
	quick, slow := newTransport(secure, stallQuick), newTransport(secure, stallSlow)
	retryer := newRetryer(opts.MaxBackoff)

	api := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPClient = &doer{quick: quick, slow: slow}
		o.UsePathStyle = opts.PathStyle
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired // older servers know none
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.Retryer = retryer
		o.APIOptions = append(o.APIOptions, noteBegun)
		o.DisableLogOutputChecksumValidationSkipped = true
		o.Logger = logging.LoggerFunc(func(_ logging.Classification, format string, v ...any) {
			opts.Log.Debug().Msgf("AWS SDK: "+format, v...) // what it copes with by itself
		})

		if opts.Endpoint != "" {
			o.BaseEndpoint = aws.String(opts.Endpoint)
		}

		if opts.UserAgent != "" {
			o.AppID = opts.UserAgent
		}
	})

	return &client{
		api: api, presign: s3.NewPresignClient(api), bucket: opts.Bucket, prefix: prefixOf(opts.Prefix),
		write: writeSettings{opts.Encryption, opts.KeyID, opts.StorageClass, opts.ACL},
		pools: []*http.Transport{quick, slow}, conditional: true, patience: retryer,
	}, nil
}

// authorities are those that AWS_CA_BUNDLE or a profile names, nil for the system's.
func authorities(cfg aws.Config) *x509.CertPool {
	buildable, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
	if !ok || buildable.GetTransport().TLSClientConfig == nil {
		return nil
	}

	return buildable.GetTransport().TLSClientConfig.RootCAs
}

func regionOf(opts Options) string {
	if opts.Region == "" && opts.Endpoint != "" {
		return "us-east-1"
	}

	return opts.Region
}

func prefixOf(prefix string) string {
	prefix = strings.Trim(prefix, "/")
	if prefix == "" {
		return ""
	}

	return prefix + "/"
}

// patience decides what is tried again, and how often: at the start twice, so that zot
// says soon what is wrong.
type patience struct {
	aws.RetryerV2
	serving atomic.Bool
	limit   time.Duration // since a request was begun
}

// begunKey is where the context of a request has when it was begun.
type begunKey struct{}

func noteBegun(stack *middleware.Stack) error {
	return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("NoteBegun", func(
		ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler,
	) (middleware.InitializeOutput, middleware.Metadata, error) {
		return next.HandleInitialize(context.WithValue(ctx, begunKey{}, time.Now()), in)
	}), middleware.Before)
}

// errPatience says that a request was tried for too long already.
var errPatience = errors.New("S3 has been answering nothing else for too long")

// GetRetryToken implements aws.Retryer.
func (p *patience) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	if begun, ok := ctx.Value(begunKey{}).(time.Time); ok && time.Since(begun) > p.limit {
		return nil, errPatience
	}

	return p.RetryerV2.GetRetryToken(ctx, err)
}

// newRetryer waits up to longest between two tries, from 1 s on where the server asks for
// it (503 SlowDown). It does not slow down other requests, as the SDK's adaptive mode
// would: S3 throttles a range of keys, and one such answer made 400 requests on other keys
// take 10 s instead of half a second (TestThrottled).
func newRetryer(longest time.Duration) *patience {
	return &patience{limit: retryFor, RetryerV2: retry.NewStandard(func(o *retry.StandardOptions) {
		o.BaseDelay = minBackoff
		o.MaxBackoff = longest
		o.Retryables = append(o.Retryables, retry.RetryableHTTPStatusCode{Codes: map[int]struct{}{
			http.StatusConflict: {}, // somebody else is changing the same key (S3 API reference)
		}}, retry.IsErrorRetryableFunc(isCutShort))
		o.RateLimiter = ratelimit.None // a bound on retries per time would fail the pushes of all
	})}
}

// isCutShort says whether an answer broke off before all of it could be read.
func isCutShort(err error) aws.Ternary {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return aws.TrueTernary
	}

	return aws.UnknownTernary
}

// MaxAttempts implements aws.Retryer.
func (p *patience) MaxAttempts() int {
	if p.serving.Load() {
		return maxAttempts
	}

	return 3
}

// newTransport makes a pool of connections on which no read or write may stall longer
// than stall.
func newTransport(secure *tls.Config, stall time.Duration) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}

	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}

			return &stallConn{Conn: conn, limit: stall}, nil
		},
		TLSClientConfig:       secure,
		TLSHandshakeTimeout:   dialTimeout,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       stallQuick,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true, // the bytes are those that were put
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// stallConn is a connection that gives up when nothing moves.
type stallConn struct {
	net.Conn
	limit time.Duration
}

func (c *stallConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}

	return c.Conn.Read(p)
}

// Write is told of as something that moves to a Read that waits for the answer meanwhile.
func (c *stallConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}

	n, err := c.Conn.Write(p)

	return n, errors.Join(err, c.SetReadDeadline(time.Now().Add(c.limit)))
}

// doer sends what takes the server long over connections of its own.
type doer struct{ quick, slow *http.Transport }

// Do implements the SDK's HTTPClient. When it returns, nobody reads the request's body
// any more: net/http may go on doing so where the answer came early or not at all, while
// the next try reads the same bytes, or the memory serves another upload.
func (d *doer) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		body := &endedBody{ReadCloser: r.Body}
		r.Body = body

		defer body.end()
	}

	if isSlow(r) {
		return d.slow.RoundTrip(r)
	}

	return d.quick.RoundTrip(r)
}

// endedBody is a body that can be ended while somebody reads it.
type endedBody struct {
	io.ReadCloser

	mu    sync.Mutex // held while a read is under way; guards ended
	ended bool
}

func (b *endedBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()

	if b.ended {
		return 0, http.ErrBodyReadAfterClose
	}

	return b.ReadCloser.Read(p)
}

func (b *endedBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()

	b.ended = true
}

func isSlow(r *http.Request) bool {
	copies := r.Header.Get("X-Amz-Copy-Source") != ""
	completes := r.Method == http.MethodPost && r.URL.Query().Has("uploadId")

	return copies || completes
}

func (c *client) close() {
	for _, pool := range c.pools {
		pool.CloseIdleConnections()
	}
}
