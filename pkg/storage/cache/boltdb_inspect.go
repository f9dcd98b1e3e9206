package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// Before bbolt may open a file, we look at the few numbers in it that bbolt trusts,
// with read(2): some of them make it panic in a goroutine of its own, or ask for
// memory without end, and neither could be caught.
//
// Each page begins with a header of 16 bytes: id (8), flags (2), count (2), overflow
// (4). The first two pages are metas: behind the header magic (4), version (4), page
// size (4), flags (4), root page (8), sequence (8), freelist page (8), number of
// pages (8), transaction (8), and an FNV-1a of these 56 bytes (8). Numbers are in the
// machine's byte order.
const (
	pageHeader   = 16
	metaSum      = 56
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	freelistFlag = 0x10
	noFreelist   = 1<<64 - 1
	manyFree     = 0xFFFF // the count is in the 8 bytes behind the header
)

// errOther: the file is sound, but another program's.
var errOther = errors.New("not written by this zot")

// meta is what matters in a meta page.
type meta struct {
	pageSize                 int64
	root, freelist, pages, n uint64
}

// inspect says whether bbolt may open the file.
//
// Errors: errDamaged, errOther, those of reading.
func inspect(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("look at the cache's file: %w", err)
	}

	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: it is no regular file", errDamaged)
	}

	metas, err := readMetas(file)
	if err != nil {
		return err
	}

	for _, m := range metas {
		if err := m.check(info.Size()); err != nil {
			return err
		}
	}

	return checkFreelist(file, metas)
}

// readMetas returns the valid meta pages: one or two.
func readMetas(file *os.File) ([]meta, error) {
	var metas []meta

	second := int64(os.Getpagesize())

	if first, ok, err := readMeta(file, 0); err != nil {
		return nil, err
	} else if ok {
		metas, second = append(metas, first), first.pageSize
	}

	if m, ok, err := readMeta(file, second); err != nil {
		return nil, err
	} else if ok {
		metas = append(metas, m)
	}

	if len(metas) == 0 {
		return nil, fmt.Errorf("%w: it does not begin as a bbolt file", errDamaged)
	}

	return metas, nil
}

func readMeta(file *os.File, offset int64) (meta, bool, error) {
	page := make([]byte, pageHeader+metaSum+8)

	if _, err := file.ReadAt(page, offset); errors.Is(err, io.EOF) {
		return meta{}, false, nil
	} else if err != nil {
		return meta{}, false, fmt.Errorf("read the cache's file: %w", err)
	}

	page = page[pageHeader:]
	order := binary.NativeEndian

	sum := fnv.New64a()
	_, _ = sum.Write(page[:metaSum]) // never fails

	ok := order.Uint32(page) == boltMagic && order.Uint32(page[4:]) == boltVersion &&
		order.Uint64(page[metaSum:]) == sum.Sum64()

	return meta{
		pageSize: int64(order.Uint32(page[8:])),
		root:     order.Uint64(page[16:]),
		freelist: order.Uint64(page[32:]),
		pages:    order.Uint64(page[40:]),
		n:        order.Uint64(page[48:]),
	}, ok, nil
}

func (m meta) check(size int64) error {
	if m.freelist == noFreelist {
		// bbolt would scan the file for one, in a goroutine where a fault cannot
		// be caught. We always write one.
		return errOther
	}

	if m.pageSize < 1<<10 || m.pageSize > 1<<24 || m.pageSize&(m.pageSize-1) != 0 {
		return fmt.Errorf("%w: pages of %d bytes", errDamaged, m.pageSize)
	}

	if m.pages > uint64(size/m.pageSize) || m.root >= m.pages || m.freelist >= m.pages {
		return fmt.Errorf("%w: %d bytes are too few for its %d pages", errDamaged, size, m.pages)
	}

	return nil
}

// checkFreelist checks that the list of free pages is one, and not longer than the
// file: bbolt copies it to memory as a whole.
func checkFreelist(file *os.File, metas []meta) error {
	newest := metas[0]
	if len(metas) == 2 && metas[1].n > newest.n {
		newest = metas[1]
	}

	page := make([]byte, pageHeader+8)
	if _, err := file.ReadAt(page, int64(newest.freelist)*newest.pageSize); err != nil {
		return fmt.Errorf("read the cache's file: %w", err)
	}

	order := binary.NativeEndian

	count := uint64(order.Uint16(page[10:]))
	if count == manyFree {
		count = order.Uint64(page[pageHeader:])
	}

	if order.Uint64(page) != newest.freelist || order.Uint16(page[8:]) != freelistFlag || count > newest.pages {
		return fmt.Errorf("%w: its list of free pages is not one", errDamaged)
	}

	return nil
}
