package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
)

// The format of the table; docs/cache.md, "The table", has it in full.
//
//	Digest  S  <namespace>/<digest>    partition key
//	Key     B  as encodeKey writes it  sort key: HasBlob and DeleteBlob need no scan
//	Seq     N  grows with each put     sort key of the index PutOrder
const (
	dynamoDigest = "Digest"
	dynamoKey    = "Key"
	dynamoSeq    = "Seq"
	dynamoIndex  = "PutOrder"
)

// Limits of DynamoDB: 2048 bytes of a partition key, 1024 of a sort key.
const (
	dynamoMaxDigest = 2 << 10
	dynamoMaxKey    = 1<<10 - 1
)

// tableLimit is how long to wait for a table that is being made; some ten seconds are
// usual. tablePoll is how often to look.
const (
	tableLimit = time.Minute
	tablePoll  = 200 * time.Millisecond
)

// dynamoTable is a table with our keys.
type dynamoTable struct {
	client *dynamodb.Client
	http   *http.Transport
	name   string
	where  string // the key of the setting that says where it is
	at     string // where that is
}

// openDynamoTable finds the table, or makes it.
func openDynamoTable(opts dynamoOptions, log zerolog.Logger) (*dynamoTable, error) {
	ctx, cancel := opening(openLimit)
	defer cancel()

	t, err := newDynamoTable(ctx, opts)
	if err != nil {
		return nil, err
	}

	if err := t.meet(ctx); err != nil {
		t.close()

		return nil, err
	}

	ready, cancel := opening(tableLimit)
	defer cancel()

	begin := time.Now()
	if err := t.ensure(ready); err != nil {
		t.close()

		return nil, err
	}

	log.Debug().Str("table", t.name).Dur("took", time.Since(begin)).Msg("the table of the cache is ready")

	return t, nil
}

// newDynamoTable wires a client. It looks for credentials where the SDK does, and
// connects to nothing yet.
func newDynamoTable(ctx context.Context, opts dynamoOptions) (*dynamoTable, error) {
	client := awshttp.NewBuildableClient().
		WithDialerOptions(func(d *net.Dialer) { d.Timeout = dynamoLimit }).
		WithTransportOptions(func(t *http.Transport) { t.MaxIdleConnsPerHost = dynamoIdle })

	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(opts.region),
		config.WithHTTPClient(client),
		config.WithRetryer(func() aws.Retryer { return retry.NewStandard(tryTwice) }),
	)
	if err != nil {
		return nil, fmt.Errorf("look for the settings of AWS: %w", err)
	}

	if cfg.Region == "" {
		return nil, &SettingError{Key: "region", Problem: "is missing", Remedy: `write one, as "us-east-1", or set AWS_REGION`}
	}

	// The client may have got AWS_CA_BUNDLE meanwhile. We keep its transport, to close it.
	if built, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		client = built
	}

	transport := client.GetTransport()

	t := &dynamoTable{http: transport, name: opts.table, where: "region", at: cfg.Region}
	if opts.endpoint != "" {
		t.where, t.at = "endpoint", opts.endpoint
	}

	t.client = dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) {
		o.HTTPClient = &http.Client{Transport: transport}

		if opts.endpoint != "" {
			o.BaseEndpoint = &opts.endpoint
		}
	})

	return t, nil
}

// dynamoIdle is how many connections are kept: those of a few busy requests, and of
// who fills the cache.
const dynamoIdle = 32

// tryTwice: a second try helps where a connection was closed or a partition is busy;
// more of them, and the pauses of 20 seconds that the SDK would make, help no request.
func tryTwice(o *retry.StandardOptions) {
	o.MaxAttempts = 2
	o.MaxBackoff = 50 * time.Millisecond
}

func (t *dynamoTable) close() { t.http.CloseIdleConnections() }

// meet waits until someone answers, whatever the answer is about the table.
func (t *dynamoTable) meet(ctx context.Context) error {
	for {
		_, err := t.describe(ctx)
		if err == nil || isNoTable(err) {
			return nil
		}

		if wrong := t.refusal(err); wrong != nil {
			return wrong
		}

		if !sleep(ctx, openRetry) {
			return t.noAnswer(err)
		}
	}
}

// describe asks for the table.
func (t *dynamoTable) describe(ctx context.Context) (*types.TableDescription, error) {
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()

	out, err := t.client.DescribeTable(limited, &dynamodb.DescribeTableInput{TableName: &t.name})
	if err != nil {
		return nil, err
	}

	return out.Table, nil
}

// isNoTable says whether err is that there is no such table.
func isNoTable(err error) bool {
	var none *types.ResourceNotFoundException

	return errors.As(err, &none)
}

// refusal returns the setting that is wrong where the server answers, and says no; nil
// where waiting may help.
func (t *dynamoTable) refusal(err error) error {
	var answer smithy.APIError
	if !errors.As(err, &answer) || answer.ErrorFault() == smithy.FaultServer {
		return nil
	}

	refused := &SettingError{Key: t.where, Err: answer, Problem: "dynamodb at " + t.at + " refuses", Remedy: "look at what it says"}

	switch answer.ErrorCode() {
	case "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException",
		"ExpiredTokenException", "IncompleteSignatureException", "InvalidClientTokenId":
		refused.Remedy = "correct AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or where else they come from"
	case "AccessDeniedException":
		refused.Key, refused.Problem = "cacheTablename", "we may not use the table"
		refused.Remedy = "allow DescribeTable, CreateTable, Query, GetItem, PutItem, DeleteItem on it and its index"
	case "ThrottlingException", "RequestLimitExceeded", "LimitExceededException", "ResourceInUseException":
		return nil
	}

	return refused
}

// noAnswer says why nobody has answered.
func (t *dynamoTable) noAnswer(err error) error {
	wrong := &SettingError{
		Key:     t.where,
		Problem: "dynamodb at " + t.at + " does not answer",
		Remedy:  "start it, or correct endpoint and region",
		Err:     err,
	}

	if strings.Contains(err.Error(), "get credentials") {
		wrong.Problem = "there are no credentials for dynamodb"
		wrong.Remedy = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine a role"
	}

	return wrong
}

// ensure makes the table if it is missing, and waits until it can be used.
func (t *dynamoTable) ensure(ctx context.Context) error {
	var err error

	for {
		var found *types.TableDescription

		switch found, err = t.describe(ctx); {
		case isNoTable(err):
			err = t.create(ctx)
		case err == nil && found.TableStatus != types.TableStatusCreating && found.TableStatus != types.TableStatusDeleting:
			return t.check(found)
		}

		if err != nil {
			if wrong := t.refusal(err); wrong != nil {
				return wrong
			}
		}

		if !sleep(ctx, tablePoll) {
			return &SettingError{
				Key: "cacheTablename", Problem: fmt.Sprintf("the table %s is not ready", t.name), Err: err,
				Remedy: "look at its state, or start zot again later",
			}
		}
	}
}

// create asks for the table. Someone else may do so at the same time.
func (t *dynamoTable) create(ctx context.Context) error {
	attributes := make([]types.AttributeDefinition, 0, len(dynamoTypes))
	for name, kind := range dynamoTypes {
		attributes = append(attributes, types.AttributeDefinition{AttributeName: aws.String(name), AttributeType: kind})
	}

	_, err := t.client.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:            &t.name,
		BillingMode:          types.BillingModePayPerRequest,
		AttributeDefinitions: attributes,
		KeySchema:            keySchema(dynamoDigest, dynamoKey),
		LocalSecondaryIndexes: []types.LocalSecondaryIndex{{
			IndexName:  aws.String(dynamoIndex),
			KeySchema:  keySchema(dynamoDigest, dynamoSeq),
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
	})

	return err
}

// dynamoTypes are the types of our attributes.
var dynamoTypes = map[string]types.ScalarAttributeType{
	dynamoDigest: types.ScalarAttributeTypeS,
	dynamoKey:    types.ScalarAttributeTypeB,
	dynamoSeq:    types.ScalarAttributeTypeN,
}

func keySchema(partition, sorted string) []types.KeySchemaElement {
	return []types.KeySchemaElement{
		{AttributeName: aws.String(partition), KeyType: types.KeyTypeHash},
		{AttributeName: aws.String(sorted), KeyType: types.KeyTypeRange},
	}
}

// check refuses a table that has other keys, such as that of an upstream zot.
func (t *dynamoTable) check(table *types.TableDescription) error {
	kinds := map[string]types.ScalarAttributeType{}
	for _, attribute := range table.AttributeDefinitions {
		kinds[aws.ToString(attribute.AttributeName)] = attribute.AttributeType
	}

	ordered := slices.ContainsFunc(table.LocalSecondaryIndexes, func(index types.LocalSecondaryIndexDescription) bool {
		return aws.ToString(index.IndexName) == dynamoIndex && hasKeys(index.KeySchema, dynamoDigest, dynamoSeq)
	})

	if ordered && hasKeys(table.KeySchema, dynamoDigest, dynamoKey) && maps.Equal(kinds, dynamoTypes) {
		return nil
	}

	return &SettingError{
		Key:     "cacheTablename",
		Problem: fmt.Sprintf("the table %s has other keys than ours, as that of an upstream zot has", t.name),
		Remedy:  "name a table that does not exist, and zot makes it; what the other one holds is not needed here",
	}
}

func hasKeys(schema []types.KeySchemaElement, partition, sorted string) bool {
	return slices.EqualFunc(schema, keySchema(partition, sorted), func(a, b types.KeySchemaElement) bool {
		return aws.ToString(a.AttributeName) == aws.ToString(b.AttributeName) && a.KeyType == b.KeyType
	})
}

// fits says whether a pair can be in the table.
func (d *DynamoDB) fits(dgst digest.Digest, key string) bool {
	return fits(dgst, key) && len(key) <= dynamoMaxKey &&
		len(d.prefix)+len(dgst) <= dynamoMaxDigest && utf8.ValidString(string(dgst))
}

func (d *DynamoDB) digestValue(dgst digest.Digest) types.AttributeValue {
	return &types.AttributeValueMemberS{Value: d.prefix + string(dgst)}
}

// pair is the key of an item.
func (d *DynamoDB) pair(dgst digest.Digest, key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		dynamoDigest: d.digestValue(dgst),
		dynamoKey:    &types.AttributeValueMemberB{Value: encodeKey(dgst, key)},
	}
}

// itemKey returns the key in an item; false if it is none of ours.
func itemKey(dgst digest.Digest, item map[string]types.AttributeValue) (string, bool) {
	stored, ok := item[dynamoKey].(*types.AttributeValueMemberB)
	if !ok {
		return "", false
	}

	key, err := decodeKey(dgst, stored.Value)

	return key, err == nil
}
