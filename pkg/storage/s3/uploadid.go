package s3

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"strings"
	"time"

	"github.com/google/uuid"

	"zotregistry.io/zot/pkg/storage"
)

// uploadAge is how long an upload may take, from its begin.
const uploadAge = 7 * 24 * time.Hour

// The id of an upload proves by itself that it was begun here, and when: beginning one
// costs no request, and every replica knows it. It is a UUID of version 8 (RFC 9562,
// 5.8), whose bytes are
//
//	0-3    the time, in seconds since 1970
//	4-8    random, but for the version
//	9-15   the first bytes of an HMAC-SHA256 of the repository and bytes 0-8, under the
//	       secret of the bucket
//
// The HMAC keeps out ids that somebody made up; who may push is decided elsewhere.
const (
	idRandom = 4
	idMAC    = 9
)

// NameUpload makes the id of a new upload.
func (b *Bucket) NameUpload(repo storage.RepoName) string {
	var id uuid.UUID

	binary.BigEndian.PutUint32(id[:], uint32(b.opts.Now().Unix())) //nolint:gosec // until 2106
	rand.Read(id[idRandom:idMAC])                                  // never fails
	id[6] = 0x80 | id[6]&0x0f                                      // version 8
	id[8] = 0x80 | id[8]&0x3f                                      // variant of RFC 9562
	copy(id[idMAC:], b.uploadMAC(repo, id))

	return id.String()
}

func (b *Bucket) uploadMAC(repo storage.RepoName, id uuid.UUID) []byte {
	mac := hmac.New(sha256.New, []byte(b.root.Secret))
	mac.Write(id[:idMAC])
	mac.Write([]byte(repo))

	return mac.Sum(nil)[:len(id)-idMAC]
}

// knowsUpload says whether id was begun in repo, and is not too old.
func (b *Bucket) knowsUpload(repo storage.RepoName, id string) bool {
	parsed, err := uuid.Parse(id)
	if err != nil || subtle.ConstantTimeCompare(parsed[idMAC:], b.uploadMAC(repo, parsed)) != 1 {
		return false
	}

	return b.opts.Now().Sub(begunAt(parsed)) < uploadAge
}

func begunAt(id uuid.UUID) time.Time { return time.Unix(int64(binary.BigEndian.Uint32(id[:])), 0) }

// splitUploadKey is the inverse of storage.UploadKey.
func splitUploadKey(key string) (storage.RepoName, string, bool) {
	repo, id, ok := strings.Cut(key, uploadsDir)

	return storage.RepoName(repo), id, ok && id != "" && !strings.Contains(id, "/")
}
