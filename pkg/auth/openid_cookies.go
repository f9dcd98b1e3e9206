package auth

import (
	"net/http"
	"time"
)

// cookies are those of a browser. Where they are secure, browsers take and send them by TLS
// only, and let no other host of the domain set them (RFC 6265bis, 4.1.3.2).
type cookies struct{ secure bool }

func (c cookies) name(name string) string {
	if c.secure {
		return "__Host-" + name
	}

	return name
}

// make makes a cookie that scripts do not see, and that browsers do not send with what pages of
// other sites embed, or post. An empty one is forgotten.
func (c cookies) make(name, value string, life time.Duration) *http.Cookie {
	age := int(life / time.Second)
	if value == "" {
		age = -1
	}

	return &http.Cookie{
		Name: c.name(name), Value: value, Path: "/", MaxAge: age,
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

const (
	sessionCookie = "zot-session"
	loginCookie   = "zot-login"
)

func (c cookies) newSession(value string) *http.Cookie {
	return c.make(sessionCookie, value, sessionLife)
}

func (c cookies) login(value string) *http.Cookie { return c.make(loginCookie, value, loginTime) }

func (c cookies) session(r *http.Request) (string, bool) { return c.read(r, sessionCookie) }

func (c cookies) pendingLogin(r *http.Request) (string, bool) { return c.read(r, loginCookie) }

// read returns a cookie. If there are several, someone else has set one: none is right.
func (c cookies) read(r *http.Request, name string) (string, bool) {
	switch found := r.CookiesNamed(c.name(name)); len(found) {
	case 0:
		return "", false
	case 1:
		return found[0].Value, true
	default:
		return "", true
	}
}
