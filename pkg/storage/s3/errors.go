package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"slices"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"zotregistry.io/zot/pkg/storage"
)

// What a request may end with, beside fs.ErrNotExist and storage.ErrRange.
var (
	errCondition = errors.New("condition does not hold")
	errUnchanged = errors.New("not changed")
	errBroken    = errors.New("answer breaks off")

	// errRefused: the server has not done it, and says why. What is neither this nor
	// errCondition may have been done.
	errRefused = errors.New("refused")
)

// SettingError is returned where a setting is what is wrong.
type SettingError struct {
	Setting string // the key in storageDriver
	Problem string
	err     error
}

func (e *SettingError) Error() string {
	message := e.Setting + ": " + e.Problem
	if e.err != nil {
		message += ": " + e.err.Error()
	}

	return message
}

func (e *SettingError) Unwrap() error { return e.err }

// failed says what the failure of a request means.
func failed(what, key string, err error) error {
	if err == nil {
		return nil
	}

	kind := kindOf(err)

	switch {
	case kind != nil:
		return fmt.Errorf("%s %s: %w: %w", what, key, kind, brief(err))
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s %s: %w", what, key, brief(err))
	}

	return fmt.Errorf("%s %s: %w: %w", what, key, storage.ErrUnavailable, brief(err))
}

func kindOf(err error) error {
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) {
		return nil
	}

	status := answer.HTTPStatusCode()

	switch {
	case status == http.StatusNotModified:
		return errUnchanged
	case status == http.StatusPreconditionFailed:
		return errCondition
	case status == http.StatusNotFound && codeOf(err) != "NoSuchBucket":
		return fs.ErrNotExist
	case status == http.StatusRequestedRangeNotSatisfiable:
		return storage.ErrRange
	case status == http.StatusConflict, status >= 500, status == http.StatusRequestTimeout, status < 400:
		return nil
	}

	return errRefused
}

// codeOf is S3's word for an error, "" if there is none.
func codeOf(err error) string {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}

	return api.ErrorCode()
}

// answerError is an answer of S3, without the SDK's words around it, which tell of
// attempts and identifiers.
type answerError struct {
	message string
	err     error
}

func (e *answerError) Error() string { return e.message }

func (e *answerError) Unwrap() error { return e.err }

func brief(err error) error {
	var (
		api   smithy.APIError
		known *answerError
		send  *smithyhttp.RequestSendError
	)

	switch {
	case errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &send):
		return &answerError{send.Err.Error(), err}
	case !errors.As(err, &api):
		return err
	}

	message := api.ErrorCode()
	if status := statusOf(err); status > 0 {
		message = fmt.Sprintf("%d %s", status, message)
	}

	if api.ErrorMessage() != "" {
		message += ": " + api.ErrorMessage()
	}

	return &answerError{"S3 answers " + message, err}
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// keyCodes are the errors of a key or a secret that is wrong, in several servers' words.
var keyCodes = []string{
	"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurity", "ExpiredToken", "InvalidToken",
	"TokenRefreshRequired", "UnrecognizedClientException", "AuthFailure",
}

// explain says which setting the first failure of all points to.
func (b *Bucket) explain(err error) error {
	code := codeOf(err)

	var (
		network net.Error
		op      *net.OpError
	)

	switch {
	case err == nil:
		return nil
	case code == "NoSuchBucket":
		return &SettingError{"bucket", fmt.Sprintf("there is no bucket %q", b.opts.Bucket), brief(err)}
	case slices.Contains(keyCodes, code) && code != "SignatureDoesNotMatch":
		return &SettingError{"accesskey", "the server does not take the credentials", brief(err)}
	case code == "SignatureDoesNotMatch":
		return &SettingError{"secretkey", "the server does not take the credentials", brief(err)}
	case code == "AccessDenied" || statusOf(err) == http.StatusForbidden:
		return &SettingError{"accesskey", fmt.Sprintf(
			"the credentials may not use bucket %q: they need to list it, and to get, put and delete objects", b.opts.Bucket), brief(err)}
	case code == "PermanentRedirect" || code == "AuthorizationHeaderMalformed" || code == "IllegalLocationConstraintException":
		return &SettingError{"region", fmt.Sprintf("bucket %q is not in %q", b.opts.Bucket, b.opts.Region), brief(err)}
	case isCredentials(err):
		return &SettingError{"accesskey", "is missing, and neither the environment nor a profile or a role has credentials", err}
	case statusOf(err) == http.StatusNotFound:
		return &SettingError{"regionendpoint", fmt.Sprintf("%s does not answer as S3 does", b.endpoint()), brief(err)}
	case errors.As(err, &op), errors.As(err, &network), errors.Is(err, context.DeadlineExceeded):
		return &SettingError{"regionendpoint", fmt.Sprintf("cannot reach %s", b.endpoint()), err}
	}

	return err
}

func (b *Bucket) endpoint() string {
	if b.opts.Endpoint == "" {
		return "S3 in " + b.opts.Region
	}

	return b.opts.Endpoint
}

func statusOf(err error) int {
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) {
		return 0
	}

	return answer.HTTPStatusCode()
}

// isCredentials says whether the SDK has found no credentials. It has no type for that.
func isCredentials(err error) bool {
	return strings.Contains(err.Error(), "get identity: get credentials") ||
		strings.Contains(err.Error(), "failed to refresh cached credentials")
}
