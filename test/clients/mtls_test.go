//go:build clients

package clients

import (
	"os"
	"path/filepath"
	"testing"

	"zotregistry.io/zot/internal/daemon"
)

// opensslAuthority makes an authority, by openssl as operators do, and what it signs.
type opensslAuthority struct {
	dir string
	sh  *shell
}

func newOpensslAuthority(t *testing.T, sh *shell) opensslAuthority {
	t.Helper()

	a := opensslAuthority{t.TempDir(), sh}
	sh.run(t, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/O=zot/CN=authority",
		"-keyout", a.path("authority.key"), "-out", a.path("ca.crt"))

	return a
}

func (a opensslAuthority) path(name string) string { return filepath.Join(a.dir, name) }

// sign makes a key and a certificate of it, name.key and name.crt, with these extensions.
func (a opensslAuthority) sign(t *testing.T, name, subject, extensions string) {
	t.Helper()

	must(t, os.WriteFile(a.path(name+".ext"), []byte(extensions), 0o600))
	a.sh.run(t, "openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
		"-keyout", a.path(name+".key"), "-out", a.path(name+".csr"))
	a.sh.run(t, "openssl", "x509", "-req", "-days", "1", "-in", a.path(name+".csr"), "-CA", a.path("ca.crt"),
		"-CAkey", a.path("authority.key"), "-CAcreateserial", "-extfile", a.path(name+".ext"), "-out", a.path(name+".crt"))
}

// dirOf returns a directory as podman and skopeo want it: the server's authority, and a client's
// certificate and key.
func (a opensslAuthority) dirOf(t *testing.T, client opensslAuthority, name string) string {
	t.Helper()

	dir := t.TempDir()
	for to, from := range map[string]string{
		"ca.crt": a.path("ca.crt"), "client.cert": client.path(name + ".crt"), "client.key": client.path(name + ".key"),
	} {
		data, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, to), data, 0o600))
	}

	return dir
}

// TestClientCertificates: who shows a certificate of ours is who that says.
func TestClientCertificates(t *testing.T) {
	sh := newShell(t)

	ours, others := newOpensslAuthority(t, sh), newOpensslAuthority(t, sh)
	ours.sign(t, "server", "/CN=127.0.0.1", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")

	for _, a := range []opensslAuthority{ours, others} {
		a.sign(t, "ann", "/O=zot/CN=ann", "subjectAltName=email:ann@example.com\nextendedKeyUsage=clientAuth\n")
		a.sign(t, "bob", "/O=zot/CN=bob", "subjectAltName=email:bob@example.com\nextendedKeyUsage=clientAuth\n")
	}

	zot := &daemon.Zot{HTTP: map[string]any{
		"tls":  map[string]any{"cert": ours.path("server.crt"), "key": ours.path("server.key"), "cacert": ours.path("ca.crt")},
		"auth": map[string]any{"mtls": map[string]any{"identityAttributes": []string{"Email"}}},
		"accessControl": map[string]any{"repositories": map[string]any{"ann/**": map[string]any{"policies": []any{
			map[string]any{"users": []string{"ann@example.com"}, "actions": []string{"read", "create", "update"}},
		}}}},
	}}
	addr := zot.Start(t).Addr
	l := newLayout(t, "amd64")

	good, wrongUser, wrongAuthority := ours.dirOf(t, ours, "ann"), ours.dirOf(t, ours, "bob"), ours.dirOf(t, others, "ann")
	nobody := t.TempDir()
	sh.run(t, "cp", ours.path("ca.crt"), nobody)

	push := func(certs string) []string {
		return []string{"skopeo", "copy", "--dest-cert-dir=" + certs, "oci:" + l.dir + ":" + tag, "docker://" + addr + "/ann/app:" + tag}
	}

	for _, certs := range []string{nobody, wrongUser, wrongAuthority} {
		sh.refused(t, push(certs)...)
	}

	sh.run(t, push(good)...)

	ref := addr + "/ann/app:" + tag
	certificate := func(name string) []string {
		return []string{"--ca-file=" + ours.path("ca.crt"), "--cert-file=" + ours.path(name+".crt"), "--key-file=" + ours.path(name+".key")}
	}

	if got := sh.run(t, join([]string{"oras", "resolve"}, certificate("ann"), []string{ref})...); got != l.top.Digest.String() {
		t.Errorf("oras reads %q, want %s", got, l.top.Digest)
	}

	sh.refused(t, join([]string{"oras", "resolve"}, certificate("bob"), []string{ref})...)

	for _, e := range engines {
		if e.name == "docker" { // on loopback dockerd looks at no certificates
			continue
		}

		t.Run(e.name, func(t *testing.T) {
			sh := newShell(t)
			store := e.open(t, sh)

			for _, certs := range []string{nobody, wrongUser, wrongAuthority} {
				sh.refused(t, join(store, []string{"pull", "--cert-dir=" + certs, ref})...)
			}

			call(t, sh, store, []string{"pull", "--cert-dir=" + good, ref})
		})
	}
}
