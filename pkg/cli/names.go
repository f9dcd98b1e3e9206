package cli

import (
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// parseDigested reads <repo>@<digest>.
func parseDigested(arg string) (storage.RepoName, digest.Digest, error) {
	name, hash, ok := strings.Cut(arg, "@")
	if !ok {
		return "", "", fmt.Errorf("%q is not of the form <repository>@<digest>", arg)
	}

	repo, err := storage.ParseRepoName(name)
	if err != nil {
		return "", "", err
	}

	dgst, err := storage.ParseDigest(hash)

	return repo, dgst, err
}

// parseTagged reads <repo>:<tag>.
func parseTagged(arg string) (storage.RepoName, storage.Tag, error) {
	name, word, ok := strings.Cut(arg, ":")
	if !ok {
		return "", "", fmt.Errorf("%q is not of the form <repository>:<tag>", arg)
	}

	repo, err := storage.ParseRepoName(name)
	if err != nil {
		return "", "", err
	}

	tag, err := storage.ParseTag(word)

	return repo, tag, err
}
