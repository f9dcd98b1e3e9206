package auth

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"zotregistry.io/zot/pkg/api/config"
)

// askedDirectory is a directory of users that notes what it is asked. Passwords are "right".
type askedDirectory struct {
	t     *testing.T
	users map[string]int // how many entries have the name
	deny  int64          // what is answered to a wrong password

	mu    sync.Mutex // guards asked
	asked []string   // "bind", "search"
}

// start serves until the test ends, and returns a way to log in there.
func (d *askedDirectory) start() *ldapDirectory {
	d.t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(d.t, listener, err)

	var serving sync.WaitGroup

	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}

			serving.Go(func() { d.serve(conn) })
		}
	})

	directory, err := openLDAP(config.LDAP{
		Address: "127.0.0.1", Port: listener.Addr().(*net.TCPAddr).Port, Insecure: true, BaseDN: "dc=x", UserAttribute: "uid",
	})
	must(d.t, directory, err)

	d.t.Cleanup(func() {
		must(d.t, directory, errors.Join(directory.Close(), listener.Close()))
		serving.Wait()
	})

	return directory
}

func (d *askedDirectory) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()

	d.asked = append(d.asked, what)
}

// take returns what it was asked since the last call.
func (d *askedDirectory) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()

	all := strings.Join(d.asked, " ")
	d.asked = nil

	return all
}

// serve answers binds and searches until the client hangs up.
func (d *askedDirectory) serve(conn net.Conn) {
	for {
		message, err := ber.ReadPacket(conn)
		if err != nil {
			if err := conn.Close(); err != nil {
				d.t.Error(err)
			}

			return
		}

		id, op := message.Children[0].Value, message.Children[1]

		switch op.Tag {
		case ldap.ApplicationBindRequest:
			d.note("bind")
			d.answer(conn, id, d.bind(op))
		case ldap.ApplicationSearchRequest:
			d.note("search")
			d.answer(conn, id, d.search(op)...)
		}
	}
}

// bind takes nobody's empty password, and "right" of who is there.
func (d *askedDirectory) bind(op *ber.Packet) *ber.Packet {
	dn, password := op.Children[1].Data.String(), op.Children[2].Data.String()
	name := strings.TrimSuffix(strings.TrimPrefix(dn, "uid="), ",dc=x")

	result := int64(ldap.LDAPResultSuccess)
	if password != "" && (password != "right" || d.users[name] == 0) {
		result = d.deny
	}

	return resultOf(ldap.ApplicationBindResponse, result)
}

// search answers with the entries of the name in an equality filter.
func (d *askedDirectory) search(op *ber.Packet) []*ber.Packet {
	name := op.Children[6].Children[1].Data.String()

	var all []*ber.Packet

	for range d.users[name] {
		entry := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "")
		entry.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "uid="+name+",dc=x", ""))

		attribute := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		attribute.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "uid", ""))

		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		values.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
		attribute.AppendChild(values)

		attributes := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		attributes.AppendChild(attribute)
		entry.AppendChild(attributes)
		all = append(all, entry)
	}

	return append(all, resultOf(ldap.ApplicationSearchResultDone, ldap.LDAPResultSuccess))
}

func resultOf(kind ber.Tag, result int64) *ber.Packet {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, kind, nil, "")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, result, ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))

	return op
}

func (d *askedDirectory) answer(conn net.Conn, id any, ops ...*ber.Packet) {
	for _, op := range ops {
		message := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
		message.AppendChild(op)

		if _, err := conn.Write(message.Bytes()); err != nil {
			d.t.Error(err)
		}
	}
}

// TestRequestsPerLogin: to the directory of users, one that is not there is as many requests, of the same
// kinds and in the same order, as one whose password is wrong, whatever it says to that; so is a name that
// several have. The error is the same.
func TestRequestsPerLogin(t *testing.T) {
	for _, deny := range []int64{ldap.LDAPResultInvalidCredentials, ldap.LDAPResultNoSuchObject, ldap.LDAPResultUnwillingToPerform} {
		d := &askedDirectory{t: t, users: map[string]int{"ann": 1, "twice": 2}, deny: deny}
		b := basicOf(t, d.start())

		user, err := b.User(as(t, "ann", "right"))
		equal(t, user.Name, "ann", fmt.Sprint(err))

		equal(t, d.take(), "bind search bind", "right")

		for range 2 { // one that was refused is asked for anew
			for _, name := range []string{"ann", "nobody", "twice", "*", "a,b", strings.Repeat("x", maxName)} {
				_, err := b.User(as(t, name, "wrong"))
				equal(t, errors.Is(err, ErrUnauthorized) && !errors.Is(err, ErrUnavailable), true, fmt.Sprint(name, ": ", err))
				equal(t, err.Error(), "authentication required: wrong name or password", name)
				equal(t, d.take(), "bind search bind", name)
			}
		}
	}
}

// TestLookupsPerKey: a key is looked up by the SHA-256 of all of it, once, whoever is said to have it, and
// however much of it is right: nothing secret is compared. The same of sessions.
func TestLookupsPerKey(t *testing.T) {
	here, _, notes, now := keysOf(t)
	ann := User{Name: "ann"}
	_, secret := here.mustCreate(t, ann, Key{})
	_, others := here.mustCreate(t, User{Name: "bob"}, Key{})
	gone, revoked := here.mustCreate(t, ann, Key{})
	_, expired := here.mustCreate(t, ann, Key{Expires: now.Add(time.Second)})

	must(t, gone, here.Revoke(t.Context(), ann, gone.ID))
	now.Time = now.Add(2 * time.Second)

	for what, l := range map[string]login{
		"nobody's":      unlimited("nobody", keyPrefix+strings.Repeat("0", 64)),
		"all wrong":     unlimited("ann", keyPrefix+strings.Repeat("0", 64)),
		"one letter":    unlimited("ann", secret[:len(secret)-1]+"x"),
		"a part":        unlimited("ann", secret[:len(secret)-1]),
		"somebody's":    unlimited("ann", others),
		"under no name": unlimited("nobody", secret),
		"revoked":       unlimited("ann", revoked),
		"expired":       unlimited("ann", expired),
	} {
		for range 2 { // nothing is remembered
			notes.reads = 0
			_, err := here.check(t.Context(), l)
			equal(t, err, errWrong, what)
			equal(t, notes.reads, 1, what+": notes read")
		}
	}
}

func TestLookupsPerSession(t *testing.T) {
	notes := &memoryNotes{all: map[string][]byte{}}
	s := openSessions(notes)

	value, err := s.create(t.Context(), User{Name: "ann"})
	must(t, value, err)

	over, err := s.create(t.Context(), User{Name: "ann"})
	must(t, over, errors.Join(err, s.end(t.Context(), over)))

	end := len(value) - 1

	other := "0"
	if value[end:] == other {
		other = "1"
	}

	for what, forged := range map[string]string{
		"all wrong":    value[:expiryDigits] + strings.Repeat("0", len(value)-expiryDigits),
		"one letter":   value[:end] + other,
		"another time": expiryText(time.Now().Add(time.Hour)) + value[expiryDigits:],
		"over":         over,
	} {
		for range 2 {
			notes.reads = 0
			_, err := s.user(t.Context(), forged)
			equal(t, err, errWrong, what)
			equal(t, notes.reads, 1, what+": notes read")
		}
	}
}
