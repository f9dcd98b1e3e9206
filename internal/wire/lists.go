package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

var nextLink = regexp.MustCompile(`^<([^>]+)>;\s*rel="?next"?`)

// Tags lists all tags of a repository, page by page. A repository that is not
// there has none.
func (c *Client) Tags(ctx context.Context, repo string) ([]string, error) {
	var all []string

	err := c.pages(ctx, c.at(repo+"/tags/list"), func(dec *json.Decoder) error {
		var page struct{ Tags []string }
		err := dec.Decode(&page)
		all = append(all, page.Tags...)

		return err
	})
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}

	return all, err
}

// TagsPage lists at most n tags of a repository, those after a tag ("" = from the first).
//
// Errors: ErrNotFound.
func (c *Client) TagsPage(ctx context.Context, repo string, n int, after string) ([]string, error) {
	var page struct{ Tags []string }

	err := c.page(ctx, c.at(repo+"/tags/list"), n, after, &page)

	return page.Tags, err
}

// CatalogPage lists at most n repositories, those after one ("" = from the first).
func (c *Client) CatalogPage(ctx context.Context, n int, after string) ([]string, error) {
	var page struct{ Repositories []string }

	err := c.page(ctx, c.at("_catalog"), n, after, &page)

	return page.Repositories, err
}

// page decodes one page of a list into to.
func (c *Client) page(ctx context.Context, at *url.URL, n int, after string, to any) error {
	query := url.Values{"n": {strconv.Itoa(n)}}
	if after != "" {
		query.Set("last", after)
	}

	at.RawQuery = query.Encode()

	resp, err := c.send(ctx, request{method: http.MethodGet, url: at, status: []int{http.StatusOK}})
	if err != nil {
		return err
	}

	err = errors.Join(json.NewDecoder(resp.Body).Decode(to), drain(resp.Body), resp.Body.Close())
	if err != nil {
		return fmt.Errorf("page %s: %w", at, err)
	}

	return nil
}

// drain reads what is left, or the connection could not be used again.
func drain(body io.Reader) error {
	_, err := io.Copy(io.Discard, body)

	return err
}

// Catalog lists all repositories.
func (c *Client) Catalog(ctx context.Context) ([]string, error) {
	var all []string

	err := c.pages(ctx, c.at("_catalog"), func(dec *json.Decoder) error {
		var page struct{ Repositories []string }
		err := dec.Decode(&page)
		all = append(all, page.Repositories...)

		return err
	})

	return all, err
}

// Referrers lists the manifests whose subject is dgst.
func (c *Client) Referrers(ctx context.Context, repo string, dgst digest.Digest) ([]digest.Digest, error) {
	var all []digest.Digest

	err := c.pages(ctx, c.at(repo+"/referrers/"+dgst.String()), func(dec *json.Decoder) error {
		var page v1.Index
		err := dec.Decode(&page)

		for _, m := range page.Manifests {
			all = append(all, m.Digest)
		}

		return err
	})

	return all, err
}

// pages hands one page after the other to take, as long as a Link names a next one.
func (c *Client) pages(ctx context.Context, at *url.URL, take func(*json.Decoder) error) error {
	for at != nil {
		resp, err := c.send(ctx, request{method: http.MethodGet, url: at, status: []int{http.StatusOK}})
		if err != nil {
			return err
		}

		err = errors.Join(take(json.NewDecoder(resp.Body)), drain(resp.Body), resp.Body.Close())
		if err != nil {
			return fmt.Errorf("page %s: %w", at, err)
		}

		if at, err = next(at, resp.Header.Get("Link")); err != nil {
			return err
		}
	}

	return nil
}

// next returns the page after at, or nil if there is none.
func next(at *url.URL, link string) (*url.URL, error) {
	m := nextLink.FindStringSubmatch(link)
	if m == nil {
		return nil, nil //nolint:nilnil // no next page is no error
	}

	return at.Parse(m[1])
}
