package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	"go.etcd.io/bbolt"
)

// The format of cache.db; docs/cache.md, "The file", has it in full. Each pair of a
// digest and a key is two entries of one bucket, side by side in the tree:
//
//	<digest> 0x00 <seq>  ->  <key>    in put order: the first is GetBlob's answer
//	<digest> 0x01 <key>  ->  <seq>    so that HasBlob and DeleteBlob need no scan
//
// One digest may be in a million repositories (the empty config), so neither may
// cost more with the number of keys.
const formatVersion = "1"

var (
	markBucket  = []byte("zot.cache") // only our files have it
	markFormat  = []byte("format")
	markStore   = []byte("store")   // the id of the image store
	markDigests = []byte("digests") // the name of the bucket that has the pairs

	// upstreamBucket is the bucket of an upstream zot's cache.db.
	upstreamBucket = []byte("blobs")
)

// How a stored digest begins.
const (
	digestText   = 0 // two bytes of length, then the digest as it is written
	digestSHA256 = 1 // 32 bytes
	digestSHA512 = 2 // 64 bytes
)

// What comes behind the digest.
const (
	kindOrder = 0
	kindPair  = 1
)

// How a stored key begins.
const (
	keyWhole = 0 // the key as it is
	keyShort = 1 // the key without its end "/<algorithm>/<hex>", which the digest has
)

// Limits, so that a key of bbolt (at most 32 KiB) holds both, and so that garbage in
// the file cannot make us copy gigabytes.
const (
	maxDigest = 1 << 10
	maxKey    = 16 << 10
	seqSize   = 8
)

var errDamaged = errors.New("damaged")

// fits says whether a pair can be in the file.
func fits(dgst digest.Digest, key string) bool {
	return dgst != "" && key != "" && len(dgst) <= maxDigest && len(key) <= maxKey
}

// checkPair refuses what does not fit into the file.
func checkPair(dgst digest.Digest, key string) error {
	if !fits(dgst, key) {
		return fmt.Errorf("%w: digest of %d bytes (1 to %d), key of %d bytes (1 to %d)",
			ErrPair, len(dgst), maxDigest, len(key), maxKey)
	}

	return nil
}

// encodeDigest returns dgst in as few bytes as it takes, so that none is the start
// of another, with room for n more.
func encodeDigest(dgst digest.Digest, n int) []byte {
	alg, text, _ := strings.Cut(string(dgst), ":")

	switch {
	case alg == "sha256" && len(text) == 64 && lowerHex(text):
		return appendHex(append(make([]byte, 0, 1+32+n), digestSHA256), text)
	case alg == "sha512" && len(text) == 128 && lowerHex(text):
		return appendHex(append(make([]byte, 0, 1+64+n), digestSHA512), text)
	}

	stored := append(make([]byte, 0, 3+len(dgst)+n), digestText)
	stored = binary.BigEndian.AppendUint16(stored, uint16(len(dgst)))

	return append(stored, dgst...)
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}

	return true
}

// appendHex appends the bytes of text, which lowerHex has checked.
func appendHex(dst []byte, text string) []byte {
	n := len(dst)
	dst = dst[:n+hex.DecodedLen(len(text))]

	if _, err := hex.Decode(dst[n:], []byte(text)); err != nil {
		panic(err) // lowerHex was wrong
	}

	return dst
}

func encodeKey(dgst digest.Digest, key string) []byte {
	if prefix, ok := strings.CutSuffix(key, keyEnd(dgst)); ok {
		return append([]byte{keyShort}, prefix...)
	}

	return append([]byte{keyWhole}, key...)
}

func keyEnd(dgst digest.Digest) string { return "/" + strings.Replace(string(dgst), ":", "/", 1) }

// decodeKey copies a key out of the file.
//
// Errors: errDamaged.
func decodeKey(dgst digest.Digest, stored []byte) (string, error) {
	if len(stored) == 0 || len(stored) > 1+maxKey || stored[0] > keyShort {
		return "", fmt.Errorf("%w: a stored key of %d bytes", errDamaged, len(stored))
	}

	if stored[0] == keyShort {
		return string(stored[1:]) + keyEnd(dgst), nil
	}

	return string(stored[1:]), nil
}

func orderPrefix(dgst digest.Digest) []byte {
	return append(encodeDigest(dgst, 1+seqSize), kindOrder)
}

func orderEntry(dgst digest.Digest, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(orderPrefix(dgst), seq)
}

func pairEntry(dgst digest.Digest, key []byte) []byte {
	return append(append(encodeDigest(dgst, 1+len(key)), kindPair), key...)
}

// firstKey returns the first key of dgst on disk that is not in dropped, "" if there
// is none.
//
// Errors: errDamaged.
func firstKey(bucket *bbolt.Bucket, dgst digest.Digest, dropped map[string]op) (string, error) {
	first := ""

	err := eachKey(bucket, dgst, func(key string) bool {
		if !dropped[key].drop {
			first = key
		}

		return first == ""
	})

	return first, err
}

// allKeys returns the keys of dgst on disk with ops done to them, in put order.
func allKeys(bucket *bbolt.Bucket, dgst digest.Digest, ops map[string]op, limit int) answer {
	var keys []string

	err := eachKey(bucket, dgst, func(key string) bool {
		if ops[key].drop {
			return true
		}

		delete(ops, key) // a put that changes nothing

		keys = append(keys, key)

		return limit < 0 || len(keys) < limit
	})

	return answer{keys: append(keys, putOrder(ops)...), err: err}
}

// eachKey yields the keys of dgst on disk in put order, until yield returns false.
//
// Errors: errDamaged.
func eachKey(bucket *bbolt.Bucket, dgst digest.Digest, yield func(key string) bool) error {
	prefix := orderPrefix(dgst)
	cursor := bucket.Cursor()
	last := uint64(0)

	for entry, stored := cursor.Seek(prefix); bytes.HasPrefix(entry, prefix); entry, stored = cursor.Next() {
		seq, err := decodeSeq(entry[len(prefix):])
		if err != nil || seq <= last { // an order that does not grow might never end
			return fmt.Errorf("%w: order of keys", errDamaged)
		}

		key, err := decodeKey(dgst, stored)
		if err != nil {
			return err
		}

		if last = seq; !yield(key) {
			return nil
		}
	}

	return nil
}

func decodeSeq(stored []byte) (uint64, error) {
	if len(stored) != seqSize {
		return 0, fmt.Errorf("%w: a sequence number of %d bytes", errDamaged, len(stored))
	}

	return binary.BigEndian.Uint64(stored), nil
}
