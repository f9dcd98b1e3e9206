package storage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"

	"github.com/opencontainers/go-digest"
)

// MaxManifest is the size of the largest manifest that is taken, in bytes. The
// distribution-spec asks for 4 MiB at least.
const MaxManifest = 8 << 20

// Media types of manifests: OCI, and Docker's version 2 schema 2, which differ in
// nothing else that matters here.
const (
	mediaTypeOCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	mediaTypeOCIIndex       = indexMediaType
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	mediaTypeDockerSchema1  = "application/vnd.docker.distribution.manifest.v1+json"
)

// manifestJSON is the part of an image manifest or index that a registry reads.
type manifestJSON struct {
	SchemaVersion *int              `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *descriptorJSON   `json:"config"`
	Layers        []descriptorJSON  `json:"layers"`
	Manifests     *[]descriptorJSON `json:"manifests"`
	Subject       *descriptorJSON   `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      json.RawMessage   `json:"fsLayers"` // Docker schema 1
}

type descriptorJSON struct {
	MediaType string        `json:"mediaType"`
	Digest    digest.Digest `json:"digest"`
	Size      *int64        `json:"size"`
	URLs      anyURLs       `json:"urls"`
}

// anyURLs says whether an array has any strings in it, which are not kept.
type anyURLs bool

// UnmarshalJSON implements json.Unmarshaler.
func (u *anyURLs) UnmarshalJSON(data []byte) error {
	list, ok := bytes.CutPrefix(data, []byte("["))
	if !ok && !bytes.Equal(data, []byte("null")) {
		return errNoArray
	}

	*u = anyURLs(ok && len(bytes.TrimSpace(list)) > 1)

	return nil
}

var errNoArray = errors.New("urls: not an array")

// parseManifest reads what a registry must know of a manifest. mediaType is what the
// client said ("" = nothing).
//
// Errors: *ManifestError.
func parseManifest(body []byte, dgst digest.Digest, mediaType string) (*ManifestRecord, error) {
	parsed, err := decodeManifest(body)
	if err != nil {
		return nil, err
	}

	mediaType, isIndex, err := parsed.kind(mediaType)
	if err != nil {
		return nil, err
	}

	record := &ManifestRecord{
		Digest: dgst, MediaType: mediaType, Size: int64(len(body)), ArtifactType: parsed.artifactType(isIndex),
	}

	if err := parsed.check(isIndex); err != nil {
		return nil, err
	}

	if parsed.Subject != nil {
		record.Subject = parsed.Subject.Digest
	}

	if isIndex {
		record.Manifests = refsOf(*parsed.Manifests)
	} else {
		record.Blobs = refsOf(append([]descriptorJSON{*parsed.Config}, parsed.Layers...))
	}

	return record, nil
}

func decodeManifest(body []byte) (*manifestJSON, error) {
	var parsed manifestJSON
	if err := json.Unmarshal(body, &parsed); err != nil {
		return nil, &ManifestError{Reason: err.Error()}
	}

	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return nil, &ManifestError{Reason: "not a JSON object"}
	}

	return &parsed, nil
}

// kind settles the media type between what the client said, what the manifest says,
// and how it looks.
func (m *manifestJSON) kind(said string) (mediaType string, isIndex bool, err error) {
	mediaType, err = m.settleType(said)
	if err != nil {
		return "", false, err
	}

	switch mediaType {
	case mediaTypeOCIManifest, mediaTypeDockerManifest:
		return mediaType, false, nil
	case mediaTypeOCIIndex, mediaTypeDockerList:
		return mediaType, true, nil
	default:
		return "", false, &ManifestError{Field: "mediaType", Reason: fmt.Sprintf(
			"%q is not supported; an OCI image manifest or index, or a Docker manifest (schema 2) or list is", mediaType)}
	}
}

func (m *manifestJSON) settleType(said string) (string, error) {
	if said != "" {
		plain, _, err := mime.ParseMediaType(said)
		if err != nil {
			return "", &ManifestError{Reason: fmt.Sprintf("Content-Type %q: %v", said, err)}
		}

		said = plain
	}

	switch {
	case m.FSLayers != nil:
		return mediaTypeDockerSchema1, nil
	case m.MediaType == "" && said == "" && m.Manifests != nil:
		return mediaTypeOCIIndex, nil
	case m.MediaType == "" && said == "":
		return mediaTypeOCIManifest, nil
	case m.MediaType == "":
		return said, nil
	case said != "" && said != m.MediaType:
		return "", &ManifestError{Field: "mediaType", Reason: fmt.Sprintf("it is %q, but Content-Type is %q", m.MediaType, said)}
	default:
		return m.MediaType, nil
	}
}

// check says whether the fields are there that the kind of manifest needs.
func (m *manifestJSON) check(isIndex bool) error {
	switch {
	case m.SchemaVersion == nil || *m.SchemaVersion != 2:
		return &ManifestError{Field: "schemaVersion", Reason: "must be 2"}
	case isIndex && m.Manifests == nil:
		return &ManifestError{Field: "manifests", Reason: "missing"}
	case isIndex && (m.Config != nil || m.Layers != nil):
		return &ManifestError{Field: "config", Reason: "an index has neither config nor layers"}
	case !isIndex && m.Config == nil:
		return &ManifestError{Field: "config", Reason: "missing"}
	case !isIndex && m.Manifests != nil:
		return &ManifestError{Field: "manifests", Reason: "an image manifest has none"}
	}

	return m.checkDescriptors()
}

func (m *manifestJSON) checkDescriptors() error {
	named := map[string][]descriptorJSON{"layers": m.Layers}
	if m.Manifests != nil {
		named["manifests"] = *m.Manifests
	}

	for field, list := range named {
		for i, descriptor := range list {
			if err := descriptor.check(fmt.Sprintf("%s[%d]", field, i)); err != nil {
				return err
			}
		}
	}

	if m.Config != nil {
		if err := m.Config.check("config"); err != nil {
			return err
		}
	}

	if m.Subject != nil {
		return m.Subject.check("subject")
	}

	return nil
}

func (d *descriptorJSON) check(field string) error {
	if _, err := ParseDigest(string(d.Digest)); err != nil {
		return &ManifestError{Field: field + ".digest", Reason: err.Error()}
	}

	if d.Size == nil || *d.Size < 0 {
		return &ManifestError{Field: field + ".size", Reason: "missing or negative"}
	}

	return nil
}

// artifactType is what the referrers API shows (distribution-spec, "Listing
// Referrers").
func (m *manifestJSON) artifactType(isIndex bool) string {
	if m.ArtifactType == "" && !isIndex && m.Config != nil {
		return m.Config.MediaType
	}

	return m.ArtifactType
}

// refsOf returns what is named, each digest once.
func refsOf(list []descriptorJSON) []Ref {
	refs := make([]Ref, 0, min(len(list), 64))
	seen := make(map[digest.Digest]bool, len(list))

	for _, descriptor := range list {
		if seen[descriptor.Digest] {
			continue
		}

		seen[descriptor.Digest] = true
		refs = append(refs, Ref{
			Digest: descriptor.Digest, Size: *descriptor.Size, elsewhere: descriptor.isElsewhere(),
		})
	}

	return slices.Clip(refs)
}

// isElsewhere says whether a client does not push what the descriptor names: a layer
// that may not be distributed, and that clients fetch from its URLs.
func (d *descriptorJSON) isElsewhere() bool {
	switch d.MediaType {
	case "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd":
		return true
	}

	return bool(d.URLs)
}
