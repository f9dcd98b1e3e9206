package api

import (
	"fmt"
	"net/url"
	"strconv"
)

// page is what part of a list a client asks for.
type page struct {
	n    int    // entries; -1 = all
	last string // the last one of the page before; "" = from the beginning
}

// parsePage reads the parameters n and last.
//
// Errors: errQuery.
func parsePage(query url.Values) (page, error) {
	p := page{n: -1, last: query.Get("last")}
	if !query.Has("n") {
		return p, nil
	}

	n, err := strconv.Atoi(query.Get("n"))
	if err != nil || n < 0 {
		return page{}, fmt.Errorf("%w: n is %q, not a number of entries", errQuery, query.Get("n"))
	}

	p.n = n

	return p, nil
}

// setNext names the URL of the next page (RFC 8288, with the relation "next").
func setNext(w *response, urls urls, path string, query url.Values) {
	w.Header().Set("Link", "<"+urls.to(path)+"?"+query.Encode()+`>; rel="next"`)
}

// next are the parameters of the page behind p.
func (p page) next(last string) url.Values {
	return url.Values{"n": {strconv.Itoa(p.n)}, "last": {last}}
}
