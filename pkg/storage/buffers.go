package storage

// DefaultBuffers is how many bytes of memory the uploads of a process share where
// nothing else is configured.
const DefaultBuffers = 64 << 20

// Buffers is memory that uploads share.
type Buffers struct{}

// NewBuffers returns a budget of size bytes.
func NewBuffers(size int64) *Buffers { return &Buffers{} }
