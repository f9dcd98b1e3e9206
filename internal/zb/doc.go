// Package zb measures a registry from the outside. Any registry of the OCI distribution
// specification will do.
//
// Read it in this order. A Test (test.go; one file per kind of test beside it) makes ready what it needs
// and returns an operation: what is done over and over. A load (load.go) calls the operation,
// from as many workers as there may be requests under way: one after the other (closed), or at
// times that are planned beforehand (open). A recorder (recorder.go) takes each latency, and
// the transport (transport.go, and direct.go where there is no TLS) the times of each request. Run (run.go) does that for
// test after test and makes a Report (report.go), which is written as text, JSON or HTML, or
// compared with another one (compare.go).
//
// The requests themselves are those of internal/wire, which retries nothing and hides nothing.
package zb
