//go:build replicas

package replicas

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"zotregistry.io/zot/internal/daemon"
	"zotregistry.io/zot/internal/wire"
)

// refusedWithin is how long a zot that cannot work may take to say so.
const refusedWithin = 10 * time.Second

// TestRefused: what is wrong with a bucket or a cache is said at the start, in words that
// name the key of the configuration.
func TestRefused(t *testing.T) {
	c := newCluster(t)

	must(t, c.s3.Bucket(t.Context(), "foreign"))
	must(t, c.put(t, "foreign", "docker/registry/v2/x", "theirs"))
	must(t, c.s3.Account(t.Context(), "nothing", "nothing-secret"))
	must(t, c.s3.Account(t.Context(), "reader", "reader-secret"))
	c.allowReading(t, "reader")

	for name, row := range map[string]struct {
		driver settings // what is other than it should be
		cache  settings
		want   []string
	}{
		"an access key that nobody has": {
			driver: settings{"accesskey": "nobody"},
			want:   []string{"storage.storageDriver.accesskey: ", "does not take the credentials"},
		},
		"a wrong secret key": {
			driver: settings{"secretkey": "wrong"},
			want:   []string{"storage.storageDriver.secretkey: ", "does not take the credentials"},
		},
		"an account that may do nothing": {
			driver: settings{"accesskey": "nothing", "secretkey": "nothing-secret"},
			want:   []string{"storage.storageDriver.accesskey: ", `may not use bucket "images"`},
		},
		"an account that may only read": {
			driver: settings{"accesskey": "reader", "secretkey": "reader-secret"},
			want:   []string{"storage.storageDriver.accesskey: ", `may not use bucket "images"`},
		},
		"a bucket that is not there": {
			driver: settings{"bucket": "absent"},
			want:   []string{"storage.storageDriver.bucket: ", `no bucket "absent"`},
		},
		"a bucket with something else": {
			driver: settings{"bucket": "foreign"},
			want:   []string{"storage.storageDriver.rootdirectory: ", "docker/registry/v2/x"},
		},
		"no bucket named":      {driver: settings{"bucket": ""}, want: []string{"storage.storageDriver.bucket: is missing"}},
		"nobody listens":       {driver: settings{"regionendpoint": "http://127.0.0.1:1"}, want: []string{"storage.storageDriver.regionendpoint: ", "http://127.0.0.1:1"}},
		"nobody answers":       {driver: settings{"regionendpoint": silence(t)}, want: []string{"storage.storageDriver.regionendpoint: "}},
		"no conditional write": {driver: settings{"regionendpoint": c.unconditional(t)}, want: []string{"conditional writes", "storage.singleWriter"}},
		"a cache without a name": {
			cache: settings{"url": "redis://127.0.0.1:6379"},
			want:  []string{"storage.cacheDriver.name: is missing"},
		},
		"a cache without a table": {
			cache: settings{"name": "dynamodb", "region": "us-east-1"},
			want:  []string{"storage.cacheDriver.cacheTablename: is missing"},
		},
		"a cache that nobody serves": {
			cache: settings{"name": "redis", "url": "redis://127.0.0.1:1"},
			want:  []string{"storage.cacheDriver.url: ", "127.0.0.1:1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			storage := c.storage(c.s3.Endpoint, nil)
			for key, value := range row.driver {
				storage["storageDriver"].(map[string]any)[key] = value
			}

			if row.cache != nil {
				storage["cacheDriver"] = row.cache
			}

			out := (&daemon.Zot{Storage: storage}).Refused(t, refusedWithin)
			for _, want := range row.want {
				if !strings.Contains(unquote(out), want) {
					t.Errorf("%q is missing in:\n%s", want, out)
				}
			}

			if strings.Contains(out, c.s3.SecretKey) || strings.Contains(out, "-secret") {
				t.Errorf("a secret is in:\n%s", out)
			}
		})
	}
}

// unquote undoes what JSON makes of a message.
func unquote(line string) string { return strings.ReplaceAll(line, `\"`, `"`) }

// TestSingleWriter: one that is alone starts where conditional writes are missing, and
// works.
func TestSingleWriter(t *testing.T) {
	c := newCluster(t)
	r := c.addAt(t, c.unconditional(t), settings{"singleWriter": true})

	for n := range 3 {
		img := mustImage(t, uint64(n), 3000, 6<<20)
		must(t, r.PushImage(t.Context(), "alone", "v1", img, (*wire.Client).PushStreamed))
		c.verifyImage(t, 0, "alone", "v1", img)
	}
}

// put writes an object.
func (c *cluster) put(t *testing.T, bucket, key, body string) error {
	t.Helper()

	_, err := c.s3.Client().PutObject(t.Context(), &s3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: strings.NewReader(body),
	})

	return err
}

func (c *cluster) allowReading(t *testing.T, account string) {
	t.Helper()

	_, err := c.s3.Client().PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{
		Bucket: &c.bucket, Policy: aws.String(`{"Statement": [{"Effect": "Allow", "Principal": ["` + account + `"],
			"Action": ["s3:GetObject", "s3:ListBucket"],
			"Resource": ["arn:aws:s3:::` + c.bucket + `", "arn:aws:s3:::` + c.bucket + `/*"]}]}`),
	})
	must(t, err)
}

// silence is the address of a server that accepts connections and says nothing.
func silence(t *testing.T) string {
	t.Helper()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() }) // the kernel has accepted; nobody waits

	return "http://" + listener.Addr().String()
}

// unconditional is the address of an S3 server that takes no notice of conditions, as
// older ones do. What it passes on it signs anew, since the conditions were signed, too.
func (c *cluster) unconditional(t *testing.T) string {
	t.Helper()

	target, err := url.Parse(c.s3.Endpoint)
	must(t, err)

	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	keys, err := credentials.NewStaticCredentialsProvider(c.s3.AccessKey, c.s3.SecretKey, "").Retrieve(t.Context())
	must(t, err)

	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)

	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)

			if r.Out.Method != http.MethodGet && r.Out.Method != http.MethodHead {
				r.Out.Header.Del("If-Match")
				r.Out.Header.Del("If-None-Match")
			}

			r.Out.Header.Del("Authorization")

			if err := signer.SignHTTP(context.WithoutCancel(r.In.Context()), keys, r.Out,
				r.Out.Header.Get("X-Amz-Content-Sha256"), "s3", c.s3.Region, time.Now()); err != nil {
				t.Error(err)
			}
		},
	})
	t.Cleanup(server.Close)

	return server.URL
}
