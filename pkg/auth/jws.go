package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxTokenHead bounds the head of a token, in bytes of base64: a chain of certificates fits. A head
// is read before anybody knows who has signed it.
const maxTokenHead = 16 << 10

// tokenBase64 is RFC 7515, 2, and takes one text for the same bytes only.
var tokenBase64 = base64.RawURLEncoding.Strict()

// signedToken is a JWS in its compact form (RFC 7515, 7.1). Its head was read; what it says was
// not, and who has signed it is not known.
type signedToken struct {
	algorithm string // RFC 7518, 3.1; whatever the sender likes
	signed    string // what the signature is of
	payload   string // base64
	signature []byte
}

// parseToken reads the head of a token.
func parseToken(text string) (signedToken, error) {
	head, rest, _ := strings.Cut(text, ".")
	payload, signature, found := strings.Cut(rest, ".")

	if !found || strings.Contains(signature, ".") {
		return signedToken{}, errors.New("it has not three parts")
	}

	if len(head) > maxTokenHead {
		return signedToken{}, fmt.Errorf("its head has more than %d bytes", maxTokenHead)
	}

	token := signedToken{signed: text[:len(head)+1+len(payload)], payload: payload}

	var err error
	if token.algorithm, err = parseHead(head); err != nil {
		return signedToken{}, fmt.Errorf("head: %w", err)
	}

	if token.signature, err = tokenBase64.DecodeString(signature); err != nil {
		return signedToken{}, fmt.Errorf("signature: %w", err)
	}

	return token, nil
}

// parseHead returns the algorithm. Keys that a head names or brings along (jku, jwk, x5u, x5c) are
// not looked at.
func parseHead(text string) (algorithm string, err error) {
	data, err := tokenBase64.DecodeString(text)
	if err != nil {
		return "", err
	}

	head, err := parseMembers(data)
	if err != nil {
		return "", err
	}

	if _, ok := head["crit"]; ok { // RFC 7515, 4.1.11: zot understands none of what it may name
		return "", errors.New("it has extensions that have to be understood (crit)")
	}

	return algorithm, head.decode("alg", &algorithm)
}

// members are those of a JSON object, by their names as they are written: encoding/json alone would
// take "SUB" for "sub".
type members map[string]json.RawMessage

// parseMembers takes no object that has a name twice: others might see the other value.
func parseMembers(data []byte) (members, error) {
	dec := json.NewDecoder(bytes.NewReader(data))

	if first, err := dec.Token(); err != nil || first != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}

	all := members{}

	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}

		name, _ := token.(string)
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%+.64q is there twice", name)
		}

		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}

		all[name] = value
	}

	if _, err := dec.Token(); err != nil { // the end of the object
		return nil, err
	}

	if dec.InputOffset() != int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return nil, errors.New("there is something behind the JSON object")
	}

	return all, nil
}

// decode decodes a member, if it is there and not null.
func (m members) decode(name string, into any) error {
	value, ok := m[name]
	if !ok {
		return nil
	}

	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}

	return nil
}

// names is a string, or a list of strings, as some claims may be.
func (m members) names(name string) ([]string, error) {
	var one *string
	if m.decode(name, &one) == nil {
		if one == nil {
			return nil, nil
		}

		return []string{*one}, nil
	}

	var all []*string // a null would become ""
	if err := m.decode(name, &all); err != nil {
		return nil, err
	}

	list := make([]string, 0, len(all))

	for _, one := range all {
		if one == nil {
			return nil, fmt.Errorf("%s: null is no name", name)
		}

		list = append(list, *one)
	}

	return list, nil
}
