package cache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/opencontainers/go-digest"
	"github.com/rs/zerolog"
)

// dynamoLimit bounds one call: a request that has waited half a second for a hint goes
// on without one.
const dynamoLimit = 500 * time.Millisecond

// DynamoDBOptions are what a DynamoDB is opened with.
type DynamoDBOptions struct {
	Namespace string         // the id of the image store, which is in every item
	Settings  map[string]any // docs/cache.md lists them; keys in lower case
	Log       zerolog.Logger
}

// DynamoDB keeps the cache of one image store in a table of Amazon DynamoDB, or of
// what speaks its protocol. Its methods may be called concurrently.
//
// Each pair of a digest and a key is an item. A local secondary index, which changes
// with the item, sorts the keys of a digest by a number that grows with each put. So
// each method is one call, however many keys a digest has.
//
// A table that is deleted while it is in use is made again. A call that takes longer
// than 500 ms returns an error.
type DynamoDB struct {
	remote

	table   *dynamoTable
	prefix  string       // of all digests
	last    atomic.Int64 // the number of the last put
	log     zerolog.Logger
	stop    context.CancelFunc // ends making
	making  chan struct{}      // has room for who makes the table again
	lasting context.Context    //nolint:containedctx // the lifetime of making, not of a call
}

// OpenDynamoDB opens the table, or makes it. It gives up after openLimit if nobody
// answers, and after tableLimit if the table is not ready. The caller closes the
// DynamoDB.
//
// Errors: *SettingError.
func OpenDynamoDB(opts DynamoDBOptions) (*DynamoDB, error) {
	parsed, mistakes := parseDynamoDB(opts.Settings)
	if len(mistakes) > 0 {
		return nil, settingErrors(mistakes)
	}

	table, err := openDynamoTable(parsed, opts.Log)
	if err != nil {
		return nil, err
	}

	d := &DynamoDB{
		table:  table,
		prefix: opts.Namespace + "/",
		log:    opts.Log,
		making: make(chan struct{}, 1),
	}
	d.limit = dynamoLimit
	d.lasting, d.stop = context.WithCancel(context.Background())

	return d, nil
}

// Name is the name of the driver.
func (d *DynamoDB) Name() string { return DynamoDBName }

// GetBlob returns the first key that was put under dgst and not deleted.
//
// Errors: ErrMiss, ErrClosed.
func (d *DynamoDB) GetBlob(ctx context.Context, dgst digest.Digest) (string, error) {
	keys, err := d.GetAllBlobs(ctx, dgst, 1)
	if err != nil {
		return "", err
	}

	return keys[0], nil
}

// GetAllBlobs returns the first limit keys of dgst in the order in which they were put;
// a negative limit is none.
//
// Errors: ErrMiss, ErrClosed.
func (d *DynamoDB) GetAllBlobs(ctx context.Context, dgst digest.Digest, limit int) ([]string, error) {
	if limit == 0 || !d.fits(dgst, "-") {
		return nil, ErrMiss
	}

	var (
		keys  []string
		after map[string]types.AttributeValue // the last item
	)

	for {
		page, err := d.page(ctx, dgst, after, pageSize(limit, len(keys), dynamoPage))
		if err != nil {
			return nil, fmt.Errorf("get %s from dynamodb: %w", dgst, err)
		}

		for _, item := range page.Items {
			if key, ok := itemKey(dgst, item); ok {
				keys = append(keys, key)
			}
		}

		switch after = page.LastEvaluatedKey; {
		case len(after) > 0 && len(keys) != limit:
		case len(keys) == 0:
			return nil, ErrMiss
		default:
			return keys, nil
		}
	}
}

// dynamoPage is how many keys one call returns at most.
const dynamoPage = 1000

// page returns at most count items of dgst, those after an item.
func (d *DynamoDB) page(
	ctx context.Context, dgst digest.Digest, after map[string]types.AttributeValue, count int,
) (page *dynamodb.QueryOutput, err error) {
	err = d.ask(ctx, func(ctx context.Context) error {
		page, err = d.table.client.Query(ctx, &dynamodb.QueryInput{
			TableName:                 &d.table.name,
			IndexName:                 aws.String(dynamoIndex),
			ConsistentRead:            aws.Bool(true),
			KeyConditionExpression:    aws.String("#d = :d"),
			ExpressionAttributeNames:  map[string]string{"#d": dynamoDigest},
			ExpressionAttributeValues: map[string]types.AttributeValue{":d": d.digestValue(dgst)},
			ExclusiveStartKey:         after,
			Limit:                     aws.Int32(int32(count)),
		})

		return err
	})

	return page, err
}

// HasBlob says whether key is remembered under dgst.
//
// Errors: ErrClosed.
func (d *DynamoDB) HasBlob(ctx context.Context, dgst digest.Digest, key string) (bool, error) {
	if !d.fits(dgst, key) {
		return false, nil // such a pair was never put
	}

	found := false

	err := d.ask(ctx, func(ctx context.Context) error {
		out, err := d.table.client.GetItem(ctx, &dynamodb.GetItemInput{
			TableName:                &d.table.name,
			Key:                      d.pair(dgst, key),
			ConsistentRead:           aws.Bool(true),
			ProjectionExpression:     aws.String("#d"),
			ExpressionAttributeNames: map[string]string{"#d": dynamoDigest},
		})
		found = err == nil && len(out.Item) > 0

		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for %s in dynamodb: %w", dgst, err)
	}

	return found, nil
}

// PutBlob remembers key under dgst. The key has at most dynamoMaxKey bytes.
//
// Errors: ErrClosed, ErrPair.
func (d *DynamoDB) PutBlob(ctx context.Context, dgst digest.Digest, key string) error {
	if !d.fits(dgst, key) {
		return fmt.Errorf("put %.80s into dynamodb: %w: key of %d bytes", dgst, ErrPair, len(key))
	}

	item := d.pair(dgst, key)
	item[dynamoSeq] = &types.AttributeValueMemberN{Value: strconv.FormatInt(d.nextSeq(time.Now()), 10)}

	err := d.ask(ctx, func(ctx context.Context) error {
		_, err := d.table.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName:                &d.table.name,
			Item:                     item,
			ConditionExpression:      aws.String("attribute_not_exists(#d)"),
			ExpressionAttributeNames: map[string]string{"#d": dynamoDigest},
		})

		return err
	})

	var there *types.ConditionalCheckFailedException
	if err == nil || errors.As(err, &there) {
		return nil
	}

	return fmt.Errorf("put %.80s into dynamodb: %w", dgst, err)
}

// DeleteBlob forgets key under dgst.
//
// Errors: ErrClosed.
func (d *DynamoDB) DeleteBlob(ctx context.Context, dgst digest.Digest, key string) error {
	if !d.fits(dgst, key) {
		return nil // such a pair was never put
	}

	err := d.ask(ctx, func(ctx context.Context) error {
		_, err := d.table.client.DeleteItem(ctx, &dynamodb.DeleteItemInput{
			TableName: &d.table.name,
			Key:       d.pair(dgst, key),
		})

		return err
	})
	if err != nil {
		return fmt.Errorf("delete %s from dynamodb: %w", dgst, err)
	}

	return nil
}

// Close closes the connections.
func (d *DynamoDB) Close() error {
	if d.closed.Swap(true) {
		return nil
	}

	d.stop()
	d.making <- struct{}{} // waits for who makes the table, and lets in nobody else
	d.table.close()

	return nil
}

// ask does one call. If that finds that there is no table, one is made.
func (d *DynamoDB) ask(ctx context.Context, do func(context.Context) error) error {
	err := d.call(ctx, do)

	if isNoTable(err) {
		select {
		case d.making <- struct{}{}:
			go d.makeAgain()
		default: // it is being made
		}
	}

	return err
}

// makeAgain makes the table that was deleted. Whoever fills the cache learns by the
// absence of an entry of his own that there is much to do.
func (d *DynamoDB) makeAgain() {
	defer func() { <-d.making }()

	d.log.Warn().Str("table", d.table.name).Msg("the table of the cache is gone; making it again")

	ctx, cancel := context.WithTimeout(d.lasting, tableLimit)
	defer cancel()

	if err := d.table.ensure(ctx); err != nil && ctx.Err() == nil {
		d.log.Warn().Err(err).Str("table", d.table.name).Msg("could not make the table of the cache")
		sleep(ctx, makeAgainRetry)
	}
}

// makeAgainRetry is between two tries to make a table that may not be made.
const makeAgainRetry = 10 * time.Second

// nextSeq numbers the puts: nanoseconds of the clock, and never the same or less than
// the last. Where several replicas put at the same time, their clocks decide who was
// first, which is good enough for a hint.
func (d *DynamoDB) nextSeq(now time.Time) int64 {
	for {
		last := d.last.Load()
		if next := max(last+1, now.UnixNano()); d.last.CompareAndSwap(last, next) {
			return next
		}
	}
}
