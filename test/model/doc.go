// Package model checks, by walking through all interleavings, the protocol by which N
// equal replicas on one bucket put, mount, commit and delete a blob without a lock.
//
// # Objects
//
// For a digest D, and for each repository R:
//
//	_blobs/D/data.<n>             the bytes, generation n; put with If-None-Match: *
//	_blobs/D/in/R/<seq>-<token>   a membership: R holds D
//	_blobs/D/tombstone            {generation, condemned, token}; absent = generation 0, live
//	R/.zot/head                   the log of R
//
// The tombstone and the head change only by conditional PUT, with unique content, and are
// never deleted. <seq> is the number of the newest record of R that the writer had read
// when it first sent the membership; token is unique. No name is used for two memberships.
//
// The state of R is the fold of its records: which manifests name D; whether D is
// condemned (a condemn record says so; a renew record, a sweep record, and a manifest that
// names D end it); swept, the number of D's newest sweep record, 0 if there is none; and
// gone, the memberships that -blob and -members records name since. A membership counts in a
// state if its seq is at least swept there, and it is not gone. The current generation is the
// tombstone's.
//
// # Upload of D to R
//
//	U0  Have read some state of R, however old; its number is seq.
//	    Verify the bytes. g := the generation heard of last, or 0.
//	U1  PUT data.g. 412 = it is there.          } in either order, or both at once
//	U2  PUT the membership.                     }
//	U3  After both were answered: GET tombstone. If it is condemned, PUT it live, on its
//	    ETag, same generation; on 412 read it again. If it is live at another
//	    generation: PUT data of that one.
//	U4  GET the head of R. If D is condemned, append renew. If the membership does not
//	    count (seq < swept): U2 anew with the number just read. Else answer 201, at
//	    most T after that GET; later than that: U4 again. (U4 is not needed where the
//	    answer leaves at most T after a U0 that renewed as U4 does.)
//
// Where H0, below, says that a manifest of R names D: 201, and none of this.
//
// # Mount of D from R' into R
//
//	M0  R' must hold D: a manifest of it names D, or H1 to H3.
//	    Then U2, U3, and U4 into R. Where U3 finds another generation than H2 did, and
//	    data of that one is missing: 202, the client uploads.
//
// # Does R hold D?
//
//	H0  The state of R, read at most T ago. If D is condemned in it, append renew and take
//	    the state after that. If a manifest names D: yes.
//	H1  LIST in/R/: a membership that counts in that state, or no.
//	H2  As U3: GET tombstone; if it is condemned, PUT it live.
//	H3  HEAD data of its generation: yes or no. A yes to a client leaves at most T
//	    after the state of H0 was read; later than that: H0 again.
//
// # Commit of a manifest that names D into R
//
//	C1  In the state at hand, however old, there is ground if a manifest names D, or if a
//	    membership that counts is known whose bytes were seen: by U1 to U3 of this process,
//	    or by H1 to H3. No ground in a state that was read since the request came: "blob
//	    unknown". Membership and bytes are looked for once; whether it counts is asked
//	    again in each new state.
//	C2  Append the record, on the ETag of that state. 412 or no answer: read the head,
//	    look for the own record, C1.
//
// # A client deletes D in R
//
//	X1  LIST in/R/.
//	X2  Append -blob, which names what was listed, on the ETag of a state in which no
//	    manifest names D.
//	X3  DELETE what was listed.
//
// # Memberships that R does not need besides another
//
//	Y1  GET the head of R, LIST in/R/.
//	Y2  Append -members, which names all of those that were listed and count but the newest,
//	    on the ETag of a state in which a manifest names D, and in which there is no newer
//	    sweep, -blob or -members of D than in that of Y1.
//	Y3  DELETE what it names.
//
// Where the bytes are in the memberships (Model.Places), all manifests of R have D at that which
// the first of them was committed with. Y2 keeps that one, and names nothing if it was not listed.
// Not modelled are its wait, so that nobody reads by an older place, and that what stays is read.
//
// # Deleting memberships of R
//
//	S2  GET the head. No manifest names D: append condemn; or D is condemned already.
//	    Either way, this condemn record was now seen.
//	S3  Wait from then, by one's own clock: gcDelay + T.
//	S4  Append sweep, on the ETag of a state in which D is condemned by the record seen in
//	    S2, and no manifest names D.
//	S5  DELETE memberships that do not count. Anybody may do that at any time.
//
// # Deleting bytes
//
//	D1  LIST in/: empty. (This saves work, no more.)
//	D2  PUT tombstone condemned, same generation, on the ETag of what was read; or it is
//	    condemned already. Remember its ETag.
//	D4  LIST in/: empty. (If not: stop; one may set the tombstone live on that ETag.)
//	D5  PUT tombstone live, next generation, on the ETag of D2.
//	D6  DELETE data.0 ... of the generation of D2.
//	D7  DELETE data of any generation before the current one. Anybody may, at any time.
//
// There is no D3: nothing depends on a wait there.
//
// A reader that finds 404 under the generation that it remembers reads the tombstone and
// then data of its generation.
//
// # Why it works
//
// Bytes: a membership that was written and whose writer then saw the tombstone live keeps
// the generation it saw. D5 needs the ETag of a condemned tombstone, D4 comes after that,
// and either D4 sees the membership, or the membership was written after D4, and its
// writer saw that tombstone, and D5 lost, or it saw the next generation. Bytes of the
// current generation are never deleted, and those of older ones are nobody's.
//
// Memberships: one that counts in a state was not deleted before the next sweep, and that
// is a change of the head. So a commit on the ETag of that state has its membership.
//
// Leases: a positive answer rests on a state in which D was not condemned. A condemn
// record that comes later waits for it; one that came earlier was ended by renew.
//
// # What is checked
//
//	I1  A manifest of a head names D: data of the current generation is there, and that
//	    generation does not change, and the membership is there at which manifests have D
//	    (Model.Places). In every state, so also after all late requests.
//	I2  Where delays are honoured (Model.Leases): between a positive answer and the end of
//	    its lease D can be read in R, and a commit is never refused; unless a client
//	    deletes the membership that the answer rests on.
//	I3  Whenever all writers stop for ever, no manifest names D and a deleter runs alone,
//	    it leaves neither memberships nor bytes.
//	I4  A membership or a manifest comes into R only after an upload to R, or a mount from
//	    a repository for which the same holds.
//
// # What may happen
//
// Each process may stop at any step for ever, or for longer than any delay. A client may
// try again and know nothing. A request may land while its answer is lost, land later, or
// never. A PUT of a membership or of bytes and a DELETE, once sent, may land again at any
// time and any number of times. A conditional PUT keeps its condition, so it lands once at
// most. Clients delete manifests at any time.
//
// A lost answer to a request that landed is not a step of its own: the process reads the
// object, finds its own token, and is where the answer would have brought it; or
// somebody changed the object in between, and it is where a 412 would have brought it.
//
// # Reading a trace
//
// Run a test with -v: it prints the shortest way to the violation. Each step has who did
// it (the kind and the number of a process; nobody for what lands late and for clients that
// delete), what, and below it the bucket after the step:
//
//	8  upload0      U2 PUT in/t1
//	                data{0} tombstone: condemned 0 | R1 #3 names{} swept#2 in{ #2-t1 }
//
// data.0 is there. R1's newest record has number 3; no manifest names D; its newest sweep
// has number 2; there is one membership, t1, with seq 2, which counts. Only the order of
// numbers matters, so they are renumbered after each step and may fall.
//
// # Finding one's way
//
// explore.go walks through any System. state.go is the bucket and what processes know,
// model.go what lands late and the invariants, canonical.go makes states equal that are
// the same but for names, writer.go, commit.go, remover.go and deleter.go are the processes, and
// rules.go the departures from the protocol that the tests show to be wrong.
package model
