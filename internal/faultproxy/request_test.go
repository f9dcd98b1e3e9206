package faultproxy

import (
	"net/http"
	"net/http/httptest"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		method, target string
		copies         bool
		operation      Operation
		bucket, key    string
	}{
		{"GET", "/", false, ListBuckets, "", ""},
		{"PUT", "/b", false, CreateBucket, "b", ""},
		{"PUT", "/b/", false, CreateBucket, "b", ""},
		{"HEAD", "/b", false, HeadBucket, "b", ""},
		{"DELETE", "/b", false, DeleteBucket, "b", ""},
		{"GET", "/b", false, ListObjects, "b", ""},
		{"GET", "/b?list-type=2&prefix=a%2Fb", false, ListObjectsV2, "b", ""},
		{"GET", "/b?uploads&prefix=", false, ListMultipartUploads, "b", ""},
		{"POST", "/b?delete=", false, DeleteObjects, "b", ""},
		{"GET", "/b/a/b%2Fc?x-id=GetObject", false, GetObject, "b", "a/b/c"},
		{"GET", "/b/a//b", false, GetObject, "b", "a//b"},
		{"HEAD", "/b/k", false, HeadObject, "b", "k"},
		{"PUT", "/b/k", false, PutObject, "b", "k"},
		{"PUT", "/b/k", true, CopyObject, "b", "k"},
		{"PUT", "/b/k?renameObject", false, RenameObject, "b", "k"},
		{"DELETE", "/b/k", false, DeleteObject, "b", "k"},
		{"POST", "/b/k?uploads", false, CreateMultipartUpload, "b", "k"},
		{"PUT", "/b/k?partNumber=7&uploadId=u", false, UploadPart, "b", "k"},
		{"PUT", "/b/k?partNumber=7&uploadId=u", true, UploadPartCopy, "b", "k"},
		{"POST", "/b/k?uploadId=u", false, CompleteMultipartUpload, "b", "k"},
		{"DELETE", "/b/k?uploadId=u", false, AbortMultipartUpload, "b", "k"},
		{"GET", "/b/k?uploadId=u", false, ListParts, "b", "k"},
		{"PUT", "/b?policy", false, "PUT ?policy", "b", ""},
		{"GET", "/b/k?attributes", false, "GET ?attributes", "b", "k"},
		{"PATCH", "/b/k", false, "PATCH", "b", "k"},
	} {
		Convey(c.method+" "+c.target+" is "+string(c.operation), t, func() {
			r := httptest.NewRequest(c.method, c.target, http.NoBody)
			if c.copies {
				r.Header.Set("x-amz-copy-source", "b/from")
			}

			got := parse(r)
			So(got.Operation, ShouldEqual, c.operation)
			So(got.Bucket, ShouldEqual, c.bucket)
			So(got.Key, ShouldEqual, c.key)
		})
	}

	Convey("A request carries its conditions, its range and its part", t, func() {
		r := httptest.NewRequest(http.MethodPut, "/b/k?partNumber=7&uploadId=u", http.NoBody)
		for name, value := range map[string]string{
			"If-Match": `"a"`, "If-None-Match": "*", "Range": "bytes=1-2", "x-amz-copy-source": "b/from",
		} {
			r.Header.Set(name, value)
		}

		So(parse(r), ShouldResemble, Request{
			Operation: UploadPartCopy, Bucket: "b", Key: "k", UploadID: "u", Part: 7,
			IfMatch: `"a"`, IfNoneMatch: "*", Range: "bytes=1-2", CopySource: "b/from",
		})
	})
}
