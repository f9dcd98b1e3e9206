// Package servers runs the servers that zot's drivers talk to, each as a process of
// its own on the loopback interface, for tests and measurements.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"zotregistry.io/zot/internal/daemon"
)

// ToolsEnv names the directory of the programs that make installs. The Makefile
// sets it to bin/tools.
const ToolsEnv = "TOOLS"

// s3Program is the gateway that serves S3 from a directory.
const s3Program = "versitygw"

// S3 is a running S3 server. What may be called concurrently is Client alone.
type S3 struct {
	// Endpoint is http://host:port. It is the same after a restart.
	Endpoint string
	// AccessKey and SecretKey are those of the owner, who may do all there is.
	AccessKey, SecretKey string
	// Region is what requests must be signed for.
	Region string
	// Dir holds a directory for each bucket, and in it a file for each object.
	Dir string

	addr    string
	iam     string // the directory of the accounts
	logPath string
	daemon  *daemon.Daemon
}

// StartS3 runs an S3 server on new directories and fails the test if it does not
// come up. It is killed when the test is over, and the end of its log is shown if
// the test failed.
func StartS3(tb testing.TB) *S3 {
	tb.Helper()

	dir := tb.TempDir()
	logPath := filepath.Join(dir, s3Program+".log")

	s, err := OpenS3(tb.Context(), dir, logPath)
	if err != nil {
		tb.Fatal(err)
	}

	tb.Cleanup(func() {
		if err := s.Kill(); err != nil {
			tb.Error(err)
		}

		daemon.ShowLog(tb, logPath)
	})

	return s
}

// OpenS3 runs an S3 server on dir, which may hold what an earlier one left there,
// and waits until it answers. Its output is appended to the file logPath. Stop or
// Kill ends it.
func OpenS3(ctx context.Context, dir, logPath string) (*S3, error) {
	addr, err := daemon.FreeAddr()
	if err != nil {
		return nil, err
	}

	s := &S3{
		Endpoint:  "http://" + addr,
		AccessKey: "zot",
		SecretKey: "zot-secret",
		Region:    "us-east-1",
		Dir:       filepath.Join(dir, "buckets"),
		addr:      addr,
		iam:       filepath.Join(dir, "accounts"),
		logPath:   logPath,
	}

	// versitygw makes neither, and does not start without them.
	for _, d := range []string{s.Dir, s.iam} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}

	if err := s.start(ctx); err != nil {
		return nil, err
	}

	return s, nil
}

// start runs the program. It listens only when it is ready to answer. What GODEBUG says to zot
// (make fips) is no matter of a program that has to compute MD5.
func (s *S3) start(ctx context.Context) error {
	program, err := tool(s3Program)
	if err != nil {
		return err
	}

	argv := append([]string{"env", "-u", "GODEBUG", program}, s.flags()...)

	s.daemon, err = daemon.Open(ctx, argv, s.addr, s.logPath)
	if err != nil {
		return fmt.Errorf("%w (its log is %s)", err, s.logPath)
	}

	return nil
}

// flags are the command line. Without --keep-alive each request costs a connection;
// without --iam-dir there is no account but the owner's, and no cache of accounts
// makes a new one's permissions hold at once.
func (s *S3) flags() []string {
	return []string{
		"--port", s.addr, "--region", s.Region, "--access", s.AccessKey, "--secret", s.SecretKey,
		"--keep-alive", "--quiet", "--iam-dir", s.iam, "--iam-cache-disable",
		"posix", s.Dir,
	}
}

// Client returns a client of the owner that tries each request once. Options may
// name another BaseEndpoint, such as a proxy's, other Credentials or a Retryer.
func (s *S3) Client(options ...func(*s3.Options)) *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: aws.String(s.Endpoint),
		Region:       s.Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		UsePathStyle: true,
		Retryer:      aws.NopRetryer{},
	}, options...)
}

// Bucket creates a bucket, whose name must be unused.
func (s *S3) Bucket(ctx context.Context, name string) error {
	if _, err := s.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}

	return nil
}

// StorageDriver is what a configuration of zot says as storage.storageDriver, to keep
// images in a bucket. The caller may change it.
func (s *S3) StorageDriver(bucket string) map[string]any {
	return map[string]any{
		"name": "s3", "bucket": bucket, "region": s.Region, "regionendpoint": s.Endpoint,
		"accesskey": s.AccessKey, "secretkey": s.SecretKey,
	}
}

// Account creates an account that may do nothing until a bucket's policy names it,
// with its access key as the principal.
func (s *S3) Account(ctx context.Context, accessKey, secretKey string) error {
	program, err := tool(s3Program)
	if err != nil {
		return err
	}

	cmd := exec.CommandContext(ctx, program, "admin", "--endpoint-url", s.Endpoint, "--region", s.Region,
		"--access", s.AccessKey, "--secret", s.SecretKey,
		"create-user", "--access", accessKey, "--secret", secretKey, "--role", "user")

	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("create account %s: %w: %s", accessKey, err, bytes.TrimSpace(out))
	}

	return nil
}

// Stop asks the server to leave, after the requests under way, and waits for it. A
// paused one is resumed.
func (s *S3) Stop() error { return errors.Join(s.Resume(), s.daemon.Stop()) }

// Kill ends the server with SIGKILL, in the middle of requests, and waits for it.
func (s *S3) Kill() error { return s.daemon.Kill() }

// Restart kills the server if it runs, and runs it again on the same address and
// directories.
func (s *S3) Restart(ctx context.Context) error {
	if err := s.Kill(); err != nil {
		return err
	}

	return s.start(ctx)
}

// Pause halts the server: it still accepts connections, and does not answer.
func (s *S3) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (s *S3) Resume() error { return s.signal(syscall.SIGCONT) }

// signal is no error if the server has left.
func (s *S3) signal(sig syscall.Signal) error {
	select {
	case <-s.daemon.Done():
		return nil
	default:
		return syscall.Kill(s.daemon.PID(), sig)
	}
}

// tool returns the path of a program that make installed.
func tool(name string) (string, error) {
	dir := os.Getenv(ToolsEnv)
	if dir == "" {
		return "", fmt.Errorf("%s is not set: run this through its make target, such as make remote", ToolsEnv)
	}

	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w (make remote-tools installs it)", err)
	}

	return path, nil
}
