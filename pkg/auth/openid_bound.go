package auth

import (
	"fmt"
	"io"
	"net/http"
)

// maxProviderAnswer bounds what is read of an answer of a provider, after it was decompressed:
// the libraries that ask read a body to its end, into memory.
const maxProviderAnswer = 1 << 20

// boundedAnswers is a transport whose answers fail when more is read of them than
// maxProviderAnswer.
type boundedAnswers struct{ http.RoundTripper }

func (b boundedAnswers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}

	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxProviderAnswer}

	return resp, nil
}

// CloseIdleConnections is called by http.Client's.
func (b boundedAnswers) CloseIdleConnections() {
	if closer, ok := b.RoundTripper.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// boundedBody fails instead of ending early: half an answer is none.
type boundedBody struct {
	io.ReadCloser

	left int64 // bytes that may be read
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more tells a body that is too long
	}

	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", maxProviderAnswer)
	}

	return n, err
}
