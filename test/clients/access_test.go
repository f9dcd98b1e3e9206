//go:build clients

package clients

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"zotregistry.io/zot/internal/daemon"
)

// mixed starts the binary without TLS: everyone may pull below public, and the user may do
// everything everywhere. With tokens it gives clients tokens.
func mixed(t *testing.T, tokens bool) (addr string) {
	t.Helper()

	addr, err := daemon.FreeAddr()
	must(t, err)

	auth := map[string]any{"htpasswd": map[string]any{"path": passwords(t)}}
	zot := &daemon.Zot{Addr: addr, HTTP: map[string]any{
		"auth": auth,
		"accessControl": map[string]any{
			"repositories": map[string]any{"public/**": map[string]any{"anonymousPolicy": []string{"read"}}},
			"adminPolicy": map[string]any{
				"users": []string{user}, "actions": []string{"read", "create", "update", "delete"},
			},
		},
	}}

	if tokens {
		keys := filepath.Join(t.TempDir(), "session-keys.json")
		must(t, os.WriteFile(keys, []byte(`{"hashKey": "`+rand.Text()+rand.Text()+`"}`), 0o600))

		auth["sessionKeysFile"], zot.HTTP["externalUrl"] = keys, "http://"+addr
	}

	return zot.Start(t).Addr
}

// bothMixed tests both.
func bothMixed(t *testing.T, test func(t *testing.T, tokens bool, addr string)) {
	t.Helper()

	for name, tokens := range map[string]bool{"passwords": false, "tokens": true} {
		t.Run(name, func(t *testing.T) { test(t, tokens, mixed(t, tokens)) })
	}
}

// TestCopiersOfWhatIsPublic pulls with and without a name from a registry that asks for one
// only sometimes. A client that asks /v2/ whether to log in is told: as you like.
func TestCopiersOfWhatIsPublic(t *testing.T) { bothMixed(t, copyWhatIsPublic) }

func copyWhatIsPublic(t *testing.T, _ bool, addr string) {
	l := newLayout(t, "amd64")

	for _, c := range copiers {
		t.Run(c.name, func(t *testing.T) {
			nobody, somebody := newShell(t), newShell(t)
			public, private := addr+"/public/"+c.name+":"+tag, addr+"/private/"+c.name+":"+tag

			somebody.run(t, join(login(addr)[c.name], []string{"-u", user, "-p", password, addr})...)
			c.push(t, somebody, addr, public, l.dir)
			c.push(t, somebody, addr, private, l.dir)

			for _, pull := range []struct {
				sh  *shell
				ref string
			}{{somebody, private}, {somebody, public}, {nobody, public}} {
				dir := filepath.Join(t.TempDir(), c.name)
				c.pull(t, pull.sh, addr, pull.ref, dir)
				verifyPulled(t, l, dir)
			}

			nobody.refused(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+private)
			nobody.refused(t, "crane", "digest", private)
			nobody.refused(t, "oras", "cp", "--from-oci-layout", "--to-plain-http", l.dir+":"+tag, public)
			nobody.refused(t, "skopeo", "copy", "--dest-tls-verify=false", "oci:"+l.dir+":"+tag, "docker://"+public)
		})
	}
}

// TestEnginesOfWhatIsPublic does so with the engines. docker asks /v2/ alone, and sends no
// name after a 200: without tokens it can pull what is everyone's, and nothing else (docs/access.md).
func TestEnginesOfWhatIsPublic(t *testing.T) { bothMixed(t, runWhatIsPublic) }

func runWhatIsPublic(t *testing.T, tokens bool, addr string) {
	l := newLayout(t, "amd64")
	sh := newShell(t)

	sh.run(t, "skopeo", "login", "--tls-verify=false", "-u", user, "-p", password, addr)
	pushSkopeo(t, sh, addr, addr+"/public/app:"+tag, l.dir)
	pushSkopeo(t, sh, addr, addr+"/private/app:"+tag, l.dir)

	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			sh := newShell(t)
			store := e.open(t, sh)

			call(t, sh, store, []string{"pull"}, e.noTLS, []string{addr + "/public/app:" + tag})
			sh.refused(t, join(store, []string{"pull"}, e.noTLS, []string{addr + "/private/app:" + tag})...)

			if e.name == "docker" && !tokens {
				return
			}

			sh.refused(t, join(store, []string{"login", "-u", user, "-p", "wrong"}, e.noTLS, []string{addr})...)
			call(t, sh, store, []string{"login", "-u", user, "-p", password}, e.noTLS, []string{addr})
			call(t, sh, store, []string{"pull"}, e.noTLS, []string{addr + "/private/app:" + tag})
			call(t, sh, store, e.build, []string{"-t", addr + "/private/built:" + tag, buildContext(t)})
			call(t, sh, store, []string{"push"}, e.noTLS, []string{addr + "/private/built:" + tag})
		})
	}
}
