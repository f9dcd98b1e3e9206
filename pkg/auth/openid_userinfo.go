package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"golang.org/x/oauth2"
)

// userInfo asks the UserInfo endpoint (OpenID Connect Core, 5.3). The answer may be signed.
//
// Errors: ErrLoginRefused, ErrUnavailable.
func (p *provider) userInfo(ctx context.Context, endpoint string, keys *keySet, tokens *oauth2.Token) (members, error) {
	body, signed, err := p.askUserInfo(ctx, endpoint, tokens)
	if err != nil {
		return nil, fmt.Errorf("%w: OpenID provider: UserInfo: %w", ErrUnavailable, err)
	}

	if signed {
		if _, err = parseToken(string(body)); err == nil {
			body, err = keys.VerifySignature(ctx, string(body))
		}

		if err != nil {
			return nil, keys.tokenError("UserInfo", err)
		}
	}

	info, err := parseMembers(body)
	if err != nil {
		return nil, fmt.Errorf("%w: OpenID provider: UserInfo: %w", ErrUnavailable, err)
	}

	return info, nil
}

// askUserInfo returns the answer, and whether it is a token.
func (p *provider) askUserInfo(ctx context.Context, endpoint string, tokens *oauth2.Token) (body []byte, signed bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, false, err
	}

	tokens.SetAuthHeader(req)

	resp, err := p.client.Do(req)
	if err != nil {
		return nil, false, err
	}

	if body, err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}

	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))

	return body, kind == "application/jwt", errors.Join(err, resp.Body.Close())
}
