package storage

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// index.json is written so that its last bytes are an annotation that says which
// checkpoint it projects, and the hash of all bytes before it: one pass writes it,
// and a look at the file tells whether another program has touched it.
const (
	indexMediaType  = "application/vnd.oci.image.index.v1+json"
	refName         = "org.opencontainers.image.ref.name"
	checkpointLabel = "io.zotregistry.checkpoint" // "<seq>:<sha256 of the bytes before this member>"
	indexTail       = `"` + checkpointLabel + `":"`
	indexEnd        = `"}}`
)

// encodeIndex writes the image index that projects st: a descriptor for each tag,
// and one for each manifest that has none.
func encodeIndex(w io.Writer, st *state) error {
	out := &indexWriter{sum: sha256.New()}
	out.w = bufio.NewWriterSize(io.MultiWriter(w, out.sum), 1<<16)

	annotations := out.head(st.extra)
	kept := st.wantedEntries()
	st.tags.Scan(func(tag Tag, entry tagEntry) bool {
		if manifest, ok := st.manifests.Get(entry.Digest); ok {
			out.descriptor(manifest, tag, entry.Extra)
		}

		return out.err == nil
	})
	st.manifests.Scan(func(_ digest.Digest, manifest *ManifestRecord) bool {
		if _, named := kept[manifest.Digest]; !named && !st.isTagged(manifest.Digest) {
			out.descriptor(manifest, "", manifest.Extra)
		}

		return out.err == nil
	})

	for _, dgst := range slices.Sorted(maps.Keys(kept)) {
		for _, raw := range kept[dgst] {
			out.entry(raw)
		}
	}

	out.foot(annotations)

	if out.err == nil {
		out.err = out.w.Flush()
	}

	if out.err != nil {
		return fmt.Errorf("encode index.json: %w", out.err)
	}

	_, err := io.WriteString(w, indexTail+indexStamp(st.seq, out.sum)+indexEnd)

	return err
}

// wantedEntries returns the entries that were kept for another program and say
// something that ours do not, by digest ("" where they have none).
func (s *state) wantedEntries() map[digest.Digest][]json.RawMessage {
	wanted := map[digest.Digest][]json.RawMessage{}

	for _, raw := range s.kept {
		entry, err := parseEntry(raw)
		if err != nil {
			entry.Digest = ""
		}

		if err != nil || s.wants(entry) {
			wanted[entry.Digest] = append(wanted[entry.Digest], raw)
		}
	}

	return wanted
}

func (s *state) wants(entry foreignEntry) bool {
	if tag, err := ParseTag(entry.tag); err == nil {
		_, ours := s.tags.Get(tag)

		return !ours
	}

	_, ours := s.manifests.Get(entry.Digest)

	return entry.tag != "" || !ours
}

func indexStamp(seq uint64, sum hash.Hash) string {
	return strconv.FormatUint(seq, 10) + ":" + hex.EncodeToString(sum.Sum(nil))
}

// checkIndex says whether zot wrote data, all of it, and for which checkpoint.
func checkIndex(data []byte) (seq uint64, ours bool) {
	at := bytes.LastIndex(data, []byte(indexTail))
	if at < 0 {
		return 0, false
	}

	stamp, ok := bytes.CutSuffix(data[at+len(indexTail):], []byte(indexEnd))
	if !ok {
		return 0, false
	}

	sum := sha256.New()
	sum.Write(data[:at])

	seq = stampSeq(string(stamp))

	return seq, seq > 0 && string(stamp) == indexStamp(seq, sum)
}

// stampSeq returns the number in a stamp, 0 if it has none.
func stampSeq(stamp string) uint64 {
	number, _, _ := strings.Cut(stamp, ":")

	seq, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0
	}

	return seq
}

// indexWriter writes an index piece by piece. err is the first error; after it
// nothing is written.
type indexWriter struct {
	w     *bufio.Writer
	sum   hash.Hash
	comma bool
	err   error
}

func (w *indexWriter) raw(s string) {
	if w.err == nil {
		_, w.err = w.w.WriteString(s)
	}
}

func (w *indexWriter) json(v any) {
	data, err := json.Marshal(v)
	if w.err == nil {
		w.err = err
	}

	w.raw(string(data))
}

func (w *indexWriter) members(members jsonObject, after string) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		w.json(name)
		w.raw(":")
		w.json(members[name])
		w.raw(after)
	}
}

// head writes all members before "manifests", those of another program too, and
// returns the annotations, which come at the end.
func (w *indexWriter) head(extra json.RawMessage) (annotations jsonObject) {
	members := w.object(extra)
	annotations = w.object(members["annotations"])
	delete(members, "annotations")

	w.raw(`{"schemaVersion":2,"mediaType":"` + indexMediaType + `",`)
	w.members(members, ",")
	w.raw("\"manifests\":[\n")

	return annotations
}

func (w *indexWriter) foot(annotations jsonObject) {
	w.raw("],\n\"annotations\":{")
	w.members(annotations, ",")
}

// entry writes one entry.
func (w *indexWriter) entry(v any) {
	if w.comma {
		w.raw(",\n")
	}

	w.comma = true
	w.json(v)
}

// descriptor writes the entry of a manifest; extra is what another program had in it.
func (w *indexWriter) descriptor(manifest *ManifestRecord, tag Tag, extra json.RawMessage) {
	plain := Descriptor{MediaType: manifest.MediaType, Digest: manifest.Digest, Size: manifest.Size}
	if tag != "" {
		plain.Annotations = map[string]string{refName: string(tag)}
	}

	if len(extra) == 0 {
		w.entry(plain)

		return
	}

	w.entry(w.merge(plain, extra))
}

// merge adds to a descriptor the members that extra has and it has not.
func (w *indexWriter) merge(plain Descriptor, extra json.RawMessage) jsonObject {
	data, err := json.Marshal(plain)
	if w.err == nil {
		w.err = err
	}

	merged, foreign := w.object(data), w.object(extra)
	annotations := w.object(foreign["annotations"])
	maps.Copy(annotations, w.object(merged["annotations"]))
	maps.Copy(foreign, merged)

	if len(annotations) > 0 {
		data, err := json.Marshal(annotations)
		if w.err == nil {
			w.err = err
		}

		foreign["annotations"] = data
	}

	return foreign
}

// jsonObject is a JSON object whose members are kept as they are.
type jsonObject map[string]json.RawMessage

func (w *indexWriter) object(data json.RawMessage) jsonObject {
	object := jsonObject{}

	if len(data) > 0 {
		if err := json.Unmarshal(data, &object); err != nil && w.err == nil {
			w.err = err
		}
	}

	return object
}

// foreignIndex is an index.json as another program wrote it.
type foreignIndex struct {
	seq     uint64 // the checkpoint that it started from; 0 = none
	entries []foreignEntry
	extra   json.RawMessage // its members beside ours
}

type foreignEntry struct {
	Descriptor
	tag   string // may be no tag that zot can have
	extra json.RawMessage
	raw   json.RawMessage // all of it; alone if it is no descriptor
}

// parseIndex reads an image index that is a layout's index.json.
func parseIndex(data []byte) (*foreignIndex, error) {
	var members jsonObject
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}

	var manifests []json.RawMessage
	if raw, ok := members["manifests"]; !ok {
		return nil, &ManifestError{Field: "manifests", Reason: "missing"}
	} else if err := json.Unmarshal(raw, &manifests); err != nil {
		return nil, err
	}

	index := &foreignIndex{}

	index.add(manifests)

	return index, index.parseExtra(members)
}

// add adds entries. What is no descriptor that zot can use is kept as it is.
func (i *foreignIndex) add(manifests []json.RawMessage) {
	for _, raw := range manifests {
		entry, err := parseEntry(raw)
		if err != nil {
			entry = foreignEntry{raw: raw}
		}

		i.entries = append(i.entries, entry)
	}
}

func (i *foreignIndex) parseExtra(members jsonObject) (err error) {
	annotations := map[string]string{}
	if raw, ok := members["annotations"]; ok {
		if err := json.Unmarshal(raw, &annotations); err != nil {
			return err
		}
	}

	i.seq = stampSeq(annotations[checkpointLabel])
	i.extra, err = extras(members, annotations, checkpointLabel, "schemaVersion", "mediaType", "manifests")

	return err
}

func parseEntry(raw json.RawMessage) (foreignEntry, error) {
	entry := foreignEntry{raw: raw}
	if err := json.Unmarshal(raw, &entry.Descriptor); err != nil {
		return entry, err
	}

	if _, err := ParseDigest(string(entry.Digest)); err != nil {
		return entry, err
	}

	var members jsonObject
	if err := json.Unmarshal(raw, &members); err != nil {
		return entry, err
	}

	entry.tag = entry.Annotations[refName]

	var err error
	entry.extra, err = extras(members, entry.Annotations, refName, "mediaType", "digest", "size")

	return entry, err
}

// extras returns what members has beside the names and the annotation that are ours;
// nil if that is nothing.
func extras(members jsonObject, annotations map[string]string, annotation string, names ...string) (json.RawMessage, error) {
	members, annotations = maps.Clone(members), maps.Clone(annotations)
	delete(annotations, annotation)
	delete(members, "annotations")

	for _, name := range names {
		delete(members, name)
	}

	if len(annotations) > 0 {
		data, err := json.Marshal(annotations)
		if err != nil {
			return nil, err
		}

		members["annotations"] = data
	}

	if len(members) == 0 {
		return nil, nil
	}

	return json.Marshal(members)
}
