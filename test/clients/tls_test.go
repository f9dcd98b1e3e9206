//go:build clients

package clients

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"zotregistry.io/zot/internal/daemon"
)

const (
	user     = "alice"
	password = "correct horse"
)

// authority is a certificate authority and a server's certificate that it signed.
type authority struct{ ca, cert, key string } // paths of PEM files

// secure starts the binary with TLS and htpasswd, and returns its address.
func secure(t *testing.T) (string, authority) {
	t.Helper()

	a := newAuthority(t)
	zot := &daemon.Zot{HTTP: map[string]any{
		"tls":  map[string]any{"cert": a.cert, "key": a.key},
		"auth": map[string]any{"htpasswd": map[string]any{"path": passwords(t)}},
	}}

	return zot.Start(t).Addr, a
}

// passwords writes a file that has the user.
func passwords(t *testing.T) string {
	t.Helper()

	path := filepath.Join(t.TempDir(), "htpasswd")
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	must(t, os.WriteFile(path, []byte(user+":"+string(hash)+"\n"), 0o600))

	return path
}

func newAuthority(t *testing.T) authority {
	t.Helper()

	caKey, serverKey := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "127.0.0.1"},
		NotBefore:    ca.NotBefore,
		NotAfter:     ca.NotAfter,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}

	key, err := x509.MarshalPKCS8PrivateKey(serverKey)
	must(t, err)

	dir := t.TempDir()

	return authority{
		// A directory of its own: skopeo takes each *.cert there for a client's.
		ca:   writePEM(t, filepath.Join(t.TempDir(), "ca.crt"), "CERTIFICATE", sign(t, ca, ca, &caKey.PublicKey, caKey)),
		cert: writePEM(t, filepath.Join(dir, "server.cert"), "CERTIFICATE", sign(t, server, ca, &serverKey.PublicKey, caKey)),
		key:  writePEM(t, filepath.Join(dir, "server.pem"), "PRIVATE KEY", key),
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)

	return key
}

func sign(t *testing.T, cert, by *x509.Certificate, public *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
	t.Helper()

	der, err := x509.CreateCertificate(rand.Reader, cert, by, public, key)
	must(t, err)

	return der
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))

	return path
}

// TestEngineLogin logs in over TLS with each engine, pushes and pulls, and is refused
// without the password. podman and buildah check the server's certificate; docker does
// not for a registry on the loopback interface.
func TestEngineLogin(t *testing.T) {
	addr, a := secure(t)
	trustInDocker(t, addr, a)

	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			sh := newShell(t)
			ref := addr + "/secure/" + e.name + ":" + tag

			var certs []string
			if e.name != "docker" {
				certs = []string{"--cert-dir=" + filepath.Dir(a.ca)}
			}

			full := e.open(t, sh)
			call(t, sh, full, e.build, []string{"-t", ref, buildContext(t)})
			sh.refused(t, join(full, []string{"push"}, certs, []string{ref})...)
			sh.refused(t, join(full, []string{"login", "-u", user, "-p", "wrong"}, certs, []string{addr})...)

			call(t, sh, full, []string{"login", "-u", user, "-p", password}, certs, []string{addr})
			call(t, sh, full, []string{"push"}, certs, []string{ref})

			empty := e.open(t, sh)
			call(t, sh, empty, []string{"pull"}, certs, []string{ref})
			verifySame(t, e.layers(t, sh, full, ref), e.layers(t, sh, empty, ref))

			call(t, sh, full, []string{"logout", addr})
			sh.refused(t, join(full, []string{"push"}, certs, []string{ref})...)
		})
	}
}

// trustInDocker puts the authority where dockerd looks for it, which no option moves.
func trustInDocker(t *testing.T, addr string, a authority) {
	t.Helper()

	dir := filepath.Join("/etc/docker/certs.d", addr)
	must(t, os.MkdirAll(dir, 0o755))
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })

	ca, err := os.ReadFile(a.ca)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(t.TempDir(), "ca.crt"), ca, 0o644))
}

// TestCopierLogin logs in over TLS with the other clients, each of which checks the
// server's certificate.
func TestCopierLogin(t *testing.T) {
	addr, a := secure(t)
	l := newLayout(t, "amd64")
	certs := filepath.Dir(a.ca)
	src := l.dir + ":" + tag

	// The password and the address, or the reference, follow each command.
	for name, c := range map[string]struct{ login, push, read []string }{
		"skopeo": {
			login: []string{"skopeo", "login", "--cert-dir=" + certs, "-u", user, "-p"},
			push:  []string{"skopeo", "copy", "--dest-cert-dir=" + certs, "oci:" + src},
			read:  []string{"skopeo", "inspect", "--format={{.Digest}}", "--cert-dir=" + certs},
		},
		"oras": {
			login: []string{"oras", "login", "--ca-file=" + a.ca, "-u", user, "-p"},
			push:  []string{"oras", "cp", "--from-oci-layout", "--to-ca-file=" + a.ca, src},
			read:  []string{"oras", "resolve", "--ca-file=" + a.ca},
		},
		"crane": {
			login: []string{"crane", "auth", "login", "-u", user, "-p"},
			push:  []string{"crane", "push", l.dir},
			read:  []string{"crane", "digest"},
		},
		"regctl": {
			login: []string{"regctl", "registry", "login", "-u", user, "-p"},
			push:  []string{"regctl", "image", "copy", "ocidir://" + src},
			read:  []string{"regctl", "image", "digest"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			// crane and regctl take the authority from here.
			sh := newShell(t).with("SSL_CERT_FILE=" + a.ca)

			ref := addr + "/secure/" + name + ":" + tag
			if name == "skopeo" {
				ref = "docker://" + ref
			}

			sh.refused(t, join(c.push, []string{ref})...)

			// crane notes a password without trying it.
			if _, err := sh.try(t, join(c.login, []string{"wrong", addr})...); err == nil {
				sh.refused(t, join(c.push, []string{ref})...)
			}

			sh.run(t, join(c.login, []string{password, addr})...)
			sh.run(t, join(c.push, []string{ref})...)

			if got := sh.run(t, join(c.read, []string{ref})...); got != l.top.Digest.String() {
				t.Errorf("%s reads %q, want %s", name, got, l.top.Digest)
			}
		})
	}
}
