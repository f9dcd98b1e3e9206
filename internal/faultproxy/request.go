package faultproxy

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Operation is a request's name in the S3 API. One that is not listed here is its
// method and the subresource it asks for, such as "PUT ?policy".
type Operation string

// The operations that a registry needs.
const (
	ListBuckets             Operation = "ListBuckets"
	CreateBucket            Operation = "CreateBucket"
	HeadBucket              Operation = "HeadBucket"
	DeleteBucket            Operation = "DeleteBucket"
	ListObjects             Operation = "ListObjects"
	ListObjectsV2           Operation = "ListObjectsV2"
	GetObject               Operation = "GetObject"
	HeadObject              Operation = "HeadObject"
	PutObject               Operation = "PutObject"
	CopyObject              Operation = "CopyObject"
	RenameObject            Operation = "RenameObject"
	DeleteObject            Operation = "DeleteObject"
	DeleteObjects           Operation = "DeleteObjects"
	CreateMultipartUpload   Operation = "CreateMultipartUpload"
	UploadPart              Operation = "UploadPart"
	UploadPartCopy          Operation = "UploadPartCopy"
	CompleteMultipartUpload Operation = "CompleteMultipartUpload"
	AbortMultipartUpload    Operation = "AbortMultipartUpload"
	ListParts               Operation = "ListParts"
	ListMultipartUploads    Operation = "ListMultipartUploads"
)

// Request is what a rule may look at.
type Request struct {
	Operation Operation
	Bucket    string // empty for ListBuckets
	Key       string // empty where a bucket is meant

	// Seq counts requests, Nth those of this operation, and NthOfKey those of this
	// operation on this key, since the proxy was made or Reset. The first is 1.
	Seq, Nth, NthOfKey int

	UploadID string
	Part     int   // of UploadPart and UploadPartCopy
	Size     int64 // bytes of the body; -1: not known before its end

	// These are the headers of the same names, and x-amz-copy-source.
	IfMatch, IfNoneMatch, Range, CopySource string
}

// On matches these operations.
func On(operations ...Operation) func(Request) bool {
	return func(r Request) bool { return slices.Contains(operations, r.Operation) }
}

// parse names what is asked for. Buckets are addressed by path.
func parse(r *http.Request) Request {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	query := r.URL.Query()
	part, _ := strconv.Atoi(query.Get("partNumber"))

	return Request{
		Operation:   operation(r, query, bucket, key),
		Bucket:      bucket,
		Key:         key,
		UploadID:    query.Get("uploadId"),
		Part:        part,
		Size:        r.ContentLength,
		IfMatch:     r.Header.Get("If-Match"),
		IfNoneMatch: r.Header.Get("If-None-Match"),
		Range:       r.Header.Get("Range"),
		CopySource:  r.Header.Get(copySource),
	}
}

const copySource = "X-Amz-Copy-Source"

// What a request is about.
type level int

const (
	service level = iota
	bucketLevel
	objectLevel
)

// operations are tried from top to bottom; the first of which all holds counts.
var operations = []struct {
	method string
	level  level
	query  string // a parameter that must be there, if not empty
	copies bool   // x-amz-copy-source must be there
	name   Operation
}{
	{http.MethodGet, service, "", false, ListBuckets},

	{http.MethodGet, bucketLevel, "list-type", false, ListObjectsV2},
	{http.MethodGet, bucketLevel, "uploads", false, ListMultipartUploads},
	{http.MethodGet, bucketLevel, "", false, ListObjects},
	{http.MethodHead, bucketLevel, "", false, HeadBucket},
	{http.MethodPut, bucketLevel, "", false, CreateBucket},
	{http.MethodDelete, bucketLevel, "", false, DeleteBucket},
	{http.MethodPost, bucketLevel, "delete", false, DeleteObjects},

	{http.MethodGet, objectLevel, "uploadId", false, ListParts},
	{http.MethodGet, objectLevel, "", false, GetObject},
	{http.MethodHead, objectLevel, "", false, HeadObject},
	{http.MethodPut, objectLevel, "uploadId", true, UploadPartCopy},
	{http.MethodPut, objectLevel, "uploadId", false, UploadPart},
	{http.MethodPut, objectLevel, "renameObject", false, RenameObject},
	{http.MethodPut, objectLevel, "", true, CopyObject},
	{http.MethodPut, objectLevel, "", false, PutObject},
	{http.MethodPost, objectLevel, "uploads", false, CreateMultipartUpload},
	{http.MethodPost, objectLevel, "uploadId", false, CompleteMultipartUpload},
	{http.MethodDelete, objectLevel, "uploadId", false, AbortMultipartUpload},
	{http.MethodDelete, objectLevel, "", false, DeleteObject},
}

// subresources are the parameters that make a request something else than what its
// method and path say.
var subresources = []string{
	"acl", "attributes", "cors", "encryption", "legal-hold", "lifecycle", "location", "logging",
	"notification", "object-lock", "ownershipControls", "policy", "policyStatus",
	"publicAccessBlock", "replication", "restore", "retention", "select", "tagging",
	"versioning", "versions", "website",
}

func operation(r *http.Request, query url.Values, bucket, key string) Operation {
	for _, sub := range subresources {
		if query.Has(sub) {
			return Operation(r.Method + " ?" + sub)
		}
	}

	at := objectLevel
	if bucket == "" {
		at = service
	} else if key == "" {
		at = bucketLevel
	}

	copies := r.Header.Get(copySource) != ""

	for _, o := range operations {
		if o.method == r.Method && o.level == at && (o.query == "" || query.Has(o.query)) && (!o.copies || copies) {
			return o.name
		}
	}

	return Operation(r.Method)
}
