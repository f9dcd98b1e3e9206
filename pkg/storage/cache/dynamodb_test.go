//go:build remote

package cache_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/rs/zerolog"

	"zotregistry.io/zot/internal/servers"
	"zotregistry.io/zot/pkg/storage"
	"zotregistry.io/zot/pkg/storage/cache"
	"zotregistry.io/zot/pkg/storage/storagetest"
)

var _ storage.Cache = (*cache.DynamoDB)(nil)

// table are the settings that reach a table of a server.
func table(server *servers.DynamoDB, name string) map[string]any {
	return map[string]any{"region": "us-east-1", "endpoint": server.Endpoint(), "cachetablename": name}
}

func tryDynamoDB(namespace string, settings map[string]any) (*cache.DynamoDB, error) {
	return cache.OpenDynamoDB(cache.DynamoDBOptions{Namespace: namespace, Settings: settings, Log: zerolog.Nop()})
}

func mustDynamoDB(tb testing.TB, namespace string, settings map[string]any) *cache.DynamoDB {
	tb.Helper()

	opened, err := tryDynamoDB(namespace, settings)
	if err != nil {
		tb.Fatal(err)
	}

	tb.Cleanup(func() {
		if err := opened.Close(); err != nil {
			tb.Error(err)
		}
	})

	return opened
}

func TestDynamoDB(t *testing.T) {
	server := servers.StartDynamoDB(t)

	storagetest.TestCache(t, func(t *testing.T) storage.Cache {
		return mustDynamoDB(t, t.Name(), table(server, "cache"))
	})
}

func TestDynamoDBNamespaces(t *testing.T) {
	server := servers.StartDynamoDB(t)
	one, two := mustDynamoDB(t, "one", table(server, "cache")), mustDynamoDB(t, "two", table(server, "cache"))
	other := mustDynamoDB(t, "one", table(server, "other"))

	mustPut(t, one, digestOf(0), "a")
	wantKeys(t, two, digestOf(0))
	wantKeys(t, other, digestOf(0))
	mustPut(t, two, digestOf(0), "b")
	wantKeys(t, one, digestOf(0), "a")
}

// TestDynamoDBKeepsManyKeys: more than one call returns.
func TestDynamoDBKeepsManyKeys(t *testing.T) {
	server := servers.StartDynamoDB(t)
	c := mustDynamoDB(t, "test", table(server, "cache"))
	want := make([]string, 2100)

	for i := range want {
		want[i] = fmt.Sprintf("repo-%d", len(want)-i)
		mustPut(t, c, digestOf(0), want[i])
	}

	wantKeys(t, c, digestOf(0), want...)

	if keys, err := c.GetAllBlobs(t.Context(), digestOf(0), 1500); err != nil || len(keys) != 1500 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func TestDynamoDBLongKeys(t *testing.T) {
	server := servers.StartDynamoDB(t)
	c := mustDynamoDB(t, "test", table(server, "cache"))
	long := strings.Repeat("k", 1023)

	mustPut(t, c, digestOf(0), long)
	wantKeys(t, c, digestOf(0), long)

	if err := c.PutBlob(t.Context(), digestOf(0), long+"k"); err == nil {
		t.Error("a key that is too long is taken")
	}

	if has, err := c.HasBlob(t.Context(), digestOf(0), long+"k"); has || err != nil {
		t.Errorf("HasBlob of it: %t, %v", has, err)
	}
}

func TestDynamoDBOutOfReach(t *testing.T) {
	server := servers.StartDynamoDB(t)
	server.Stop()
	wantTableRefusal(t, table(server, "cache"), "endpoint: dynamodb at http://"+server.Addr+" does not answer", "refused")

	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	wantTableRefusal(t, table(server, "cache"), "there are no credentials", "AWS_ACCESS_KEY_ID")
	wantTableRefusal(t, map[string]any{"cachetablename": "cache"}, "region: is missing")
}

// TestDynamoDBTableOfUpstream: a table with other keys is named, and not touched.
func TestDynamoDBTableOfUpstream(t *testing.T) {
	server := servers.StartDynamoDB(t)
	client := admin(server)

	_, err := client.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName:            aws.String("BlobTable"),
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("Digest"), AttributeType: "S"}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("Digest"), KeyType: types.KeyTypeHash}},
	})
	if err != nil {
		t.Fatal(err)
	}

	wantTableRefusal(t, table(server, "BlobTable"), "cacheTablename: the table BlobTable has other keys", "name a table that does not exist")
}

// admin is a client of a test's own.
func admin(server *servers.DynamoDB) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(server.Endpoint()),
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test-secret", ""),
	})
}

func wantTableRefusal(t *testing.T, settings map[string]any, words ...string) {
	t.Helper()

	begin := time.Now()

	opened, err := tryDynamoDB("test", settings)
	if err == nil {
		t.Fatal("it was opened", opened.Close())
	}

	var setting *cache.SettingError
	if !errors.As(err, &setting) {
		t.Errorf("%v names no setting", err)
	}

	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}

	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestDynamoDBOutage: whatever happens to the server while it is in use, calls end
// soon, and work again without the cache being opened anew.
func TestDynamoDBOutage(t *testing.T) {
	server := servers.StartDynamoDB(t)
	c := mustDynamoDB(t, "test", table(server, "cache"))
	mustPut(t, c, digestOf(0), "a")

	t.Run("it does not answer", func(t *testing.T) {
		server.Pause()
		wantFailures(t, c)
		server.Resume()
		untilWorks(t, c)
		wantKeys(t, c, digestOf(0), "a")
	})

	t.Run("it is gone", func(t *testing.T) {
		server.Stop()
		wantFailures(t, c)
		server.Start()
		untilWorks(t, c)
		wantKeys(t, c, digestOf(0), "a")
	})

	t.Run("the table is deleted", func(t *testing.T) {
		if _, err := admin(server).DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: aws.String("cache")}); err != nil {
			t.Fatal(err)
		}

		untilWorks(t, c)
		wantKeys(t, c, digestOf(0))
	})
}

func BenchmarkDynamoDB(b *testing.B) {
	server := servers.StartDynamoDB(b)

	storagetest.BenchmarkCache(b, func(b *testing.B) storage.Cache {
		return mustDynamoDB(b, b.Name(), table(server, "cache"))
	})
}
