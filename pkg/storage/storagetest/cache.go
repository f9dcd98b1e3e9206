// Package storagetest has what holds the parts of storage to their contracts: a suite
// and a benchmark per interface, a memory driver and a fault driver. Only tests
// import it.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"zotregistry.io/zot/pkg/storage"
)

// TestCache holds a driver of storage.Cache to its contract. open opens an empty
// cache; TestCache closes it. The whole test of a driver is
//
//	func TestBoltDB(t *testing.T) { storagetest.TestCache(t, openBoltDB) }
//
// and whatever its own database can do to it.
func TestCache(t *testing.T, open func(t *testing.T) storage.Cache) {
	t.Helper()

	for _, c := range cacheCases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			cache := cacheUnderTest{Cache: open(t), T: t}
			defer cache.mustClose()

			c.run(cache)
		})
	}
}

// cacheCases are the sentences of the contract.
var cacheCases = []struct {
	name string
	run  func(c cacheUnderTest)
}{
	{"has a name", cacheUnderTest.testName},
	{"misses what was never put", cacheUnderTest.testMiss},
	{"finds what was put at once", cacheUnderTest.testPut},
	{"keeps the order of puts", cacheUnderTest.testOrder},
	{"putting again changes nothing", cacheUnderTest.testPutAgain},
	{"deleting the first key promotes the next", cacheUnderTest.testDeleteFirst},
	{"deleting what is not known is no error", cacheUnderTest.testDeleteUnknown},
	{"misses when all keys are deleted", cacheUnderTest.testDeleteAll},
	{"a key that was deleted and put comes last", cacheUnderTest.testDeletePut},
	{"keeps digests apart", cacheUnderTest.testDigests},
	{"takes odd keys", cacheUnderTest.testOddKeys},
	{"keeps many keys of one digest", cacheUnderTest.testManyKeys},
	{"behaves as a map does", cacheUnderTest.testModel},
	{"may be used concurrently", cacheUnderTest.testConcurrent},
	{"a canceled context does no harm", cacheUnderTest.testCanceled},
	{"returns errors when it is closed", cacheUnderTest.testClosed},
}

func (c cacheUnderTest) testName() {
	if c.Name() == "" {
		c.T.Error("Name is empty")
	}
}

func (c cacheUnderTest) testMiss() {
	c.wantKeys(cacheDigest(0))
	c.wantHas(cacheDigest(0), "a", false)
}

func (c cacheUnderTest) testPut() {
	c.eachState(func() {
		c.mustPut(cacheDigest(0), "a")
	}, func() {
		c.wantKeys(cacheDigest(0), "a")
		c.wantHas(cacheDigest(0), "a", true)
		c.wantHas(cacheDigest(0), "b", false)
		c.wantHas(cacheDigest(1), "a", false)
	})
}

func (c cacheUnderTest) testOrder() {
	c.eachState(func() {
		for _, key := range []string{"m", "z", "a", "k"} {
			c.mustPut(cacheDigest(0), key)
		}
	}, func() {
		c.wantKeys(cacheDigest(0), "m", "z", "a", "k")
	})

	c.mustPut(cacheDigest(0), "0")
	c.wantKeys(cacheDigest(0), "m", "z", "a", "k", "0")
}

func (c cacheUnderTest) testPutAgain() {
	for range 2 {
		c.eachState(func() {
			c.mustPut(cacheDigest(0), "b")
			c.mustPut(cacheDigest(0), "a")
			c.mustPut(cacheDigest(0), "b")
		}, func() {
			c.wantKeys(cacheDigest(0), "b", "a")
		})
	}
}

func (c cacheUnderTest) testDeleteFirst() {
	c.eachState(func() {
		c.mustPut(cacheDigest(0), "c")
		c.mustPut(cacheDigest(0), "b")
		c.mustPut(cacheDigest(0), "a")
	}, func() {
		c.wantKeys(cacheDigest(0), "c", "b", "a")
	})

	c.eachState(func() {
		c.mustDelete(cacheDigest(0), "c")
	}, func() {
		c.wantKeys(cacheDigest(0), "b", "a")
		c.wantHas(cacheDigest(0), "c", false)
	})
}

func (c cacheUnderTest) testDeleteUnknown() {
	c.eachState(func() {
		c.mustDelete(cacheDigest(0), "a")
		c.mustPut(cacheDigest(0), "b")
		c.mustDelete(cacheDigest(0), "c")
		c.mustDelete(cacheDigest(1), "b")
	}, func() {
		c.wantKeys(cacheDigest(0), "b")
	})
}

func (c cacheUnderTest) testDeleteAll() {
	c.eachState(func() {
		c.mustPut(cacheDigest(0), "a")
		c.mustPut(cacheDigest(0), "b")
	}, func() {
		c.wantKeys(cacheDigest(0), "a", "b")
	})

	c.eachState(func() {
		c.mustDelete(cacheDigest(0), "a")
		c.mustDelete(cacheDigest(0), "b")
	}, func() {
		c.wantKeys(cacheDigest(0))
		c.wantHas(cacheDigest(0), "a", false)
	})
}

func (c cacheUnderTest) testDeletePut() {
	c.eachState(func() {
		c.mustPut(cacheDigest(0), "a")
		c.mustPut(cacheDigest(0), "b")
	}, func() {})

	for range 2 {
		c.eachState(func() {
			c.mustDelete(cacheDigest(0), "a")
			c.mustPut(cacheDigest(0), "a")
		}, func() {
			c.wantKeys(cacheDigest(0), "b", "a")
			c.wantHas(cacheDigest(0), "a", true)
		})
	}
}

// testDigests has digests that are easily mistaken for each other.
func (c cacheUnderTest) testDigests() {
	text := "the same content"
	digests := []digest.Digest{
		digest.SHA256.FromString(text),
		digest.SHA384.FromString(text),
		digest.SHA512.FromString(text),
		"sha256:00", "sha256:0000", "sha256:", "sha256", ":", "md5:00",
		digest.Digest("sha256:" + strings.Repeat("0", 64)),
		digest.Digest("sha256:" + strings.Repeat("0", 63) + "1"),
		digest.Digest("sha256:" + strings.Repeat("A", 64)), // not a digest, and not that of aaaa
		digest.Digest("sha256:" + strings.Repeat("a", 64)),
		digest.Digest("sha512:" + strings.Repeat("0", 128)),
		"zot:a marker", "zot:a marker 2",
	}

	c.eachState(func() {
		for i, dgst := range digests {
			c.mustPut(dgst, fmt.Sprint("key ", i))
		}
	}, func() {
		for i, dgst := range digests {
			c.wantKeys(dgst, fmt.Sprint("key ", i))
		}
	})
}

func (c cacheUnderTest) testOddKeys() {
	dgst := cacheDigest(0)
	keys := []string{
		"a", "a\x00", "\x00", "\xff\xff", "a/b", "a//b", "/", " ", "новый/репозиторий", "🐳",
		storage.BlobKey("library/alpine", dgst),
		storage.BlobKey("library/alpine", cacheDigest(1)),
		"/sha256/" + dgst.Encoded(),
		"sha256/" + dgst.Encoded(),
		strings.Repeat("long/", 200),
	}

	c.eachState(func() {
		for _, key := range keys {
			c.mustPut(dgst, key)
		}
	}, func() {
		c.wantKeys(dgst, keys...)
	})

	for i, key := range keys {
		c.wantHas(dgst, key, true)
		c.mustDelete(dgst, key)
		c.wantHas(dgst, key, false)
		c.wantKeys(dgst, keys[i+1:]...)
	}
}

func (c cacheUnderTest) testManyKeys() {
	const n = 1000

	keys := make([]string, n)
	for i := range keys {
		keys[i] = storage.BlobKey(storage.RepoName(fmt.Sprintf("repo%d", n-i)), cacheDigest(0))
	}

	c.eachState(func() {
		for _, key := range keys {
			c.mustPut(cacheDigest(0), key)
		}
	}, func() {
		c.wantKeys(cacheDigest(0), keys...)
	})
}

// testModel does random operations, and asks for what a map would answer.
func (c cacheUnderTest) testModel() {
	seed := rand.Uint64()
	c.T.Logf("seed %d", seed)

	random := rand.New(rand.NewPCG(seed, 0))
	model := map[digest.Digest][]string{}

	for i := range 3000 {
		dgst := cacheDigest(random.IntN(20))
		key := fmt.Sprint("key ", random.IntN(6))

		switch random.IntN(5) {
		case 0, 1:
			c.mustPut(dgst, key)

			if !slices.Contains(model[dgst], key) {
				model[dgst] = append(model[dgst], key)
			}
		case 2:
			c.mustDelete(dgst, key)
			model[dgst] = slices.DeleteFunc(model[dgst], func(k string) bool { return k == key })
		case 3:
			c.wantHas(dgst, key, slices.Contains(model[dgst], key))
		case 4:
			c.wantKeys(dgst, model[dgst]...)
		}

		if i%200 == 199 {
			c.flush()
		}
	}
}

func (c cacheUnderTest) testConcurrent() {
	const clients, each = 8, 200

	shared := cacheDigest(0)

	var group sync.WaitGroup
	for client := range clients {
		group.Go(func() {
			for i := range each {
				own := cacheDigest(1 + client*each + i)
				key := fmt.Sprintf("client %d", client)

				c.mustPut(shared, fmt.Sprintf("%s, %d", key, i))
				c.mustPut(own, key)
				c.wantKeys(own, key)
				c.wantHas(own, key, true)

				if _, err := c.GetBlob(c.T.Context(), shared); err != nil {
					c.T.Errorf("GetBlob of a digest that has keys: %v", err)
				}

				c.mustDelete(own, key)
				c.wantKeys(own)
			}
		})
	}

	group.Wait()

	if keys := c.mustGetAll(shared); len(keys) != clients*each {
		c.T.Errorf("%d keys are left of %d that were put", len(keys), clients*each)
	}
}

// testCanceled does not say what is returned: what is in memory need not care.
func (c cacheUnderTest) testCanceled() {
	ctx, cancel := context.WithCancel(c.T.Context())
	cancel()

	c.mustPut(cacheDigest(0), "a")
	c.flush()

	for range 50 {
		_, err := c.GetBlob(ctx, cacheDigest(0))
		c.wantCanceled("GetBlob", err)

		_, err = c.GetAllBlobs(ctx, cacheDigest(0), -1)
		c.wantCanceled("GetAllBlobs", err)

		_, err = c.HasBlob(ctx, cacheDigest(0), "a")
		c.wantCanceled("HasBlob", err)
		c.wantCanceled("PutBlob", c.PutBlob(ctx, cacheDigest(0), "a"))
		c.wantCanceled("DeleteBlob", c.DeleteBlob(ctx, cacheDigest(1), "a"))
	}

	c.wantKeys(cacheDigest(0), "a")
}

func (c cacheUnderTest) wantCanceled(method string, err error) {
	c.T.Helper()

	if err != nil && !errors.Is(err, context.Canceled) {
		c.T.Errorf("%s with a canceled context: %v", method, err)
	}
}

func (c cacheUnderTest) testClosed() {
	c.mustPut(cacheDigest(0), "a")
	c.mustClose()

	ctx := c.T.Context()
	_, get := c.GetBlob(ctx, cacheDigest(0))
	_, all := c.GetAllBlobs(ctx, cacheDigest(0), -1)
	_, has := c.HasBlob(ctx, cacheDigest(0), "a")

	calls := map[string]error{
		"GetBlob": get, "GetAllBlobs": all, "HasBlob": has,
		"PutBlob":    c.PutBlob(ctx, cacheDigest(0), "b"),
		"DeleteBlob": c.DeleteBlob(ctx, cacheDigest(0), "a"),
	}

	for method, err := range calls {
		if err == nil || errors.Is(err, storage.ErrCacheMiss) {
			c.T.Errorf("%s of a closed cache: %v", method, err)
		}
	}
}
