package local

import (
	"os"
	"testing"

	"zotregistry.io/zot/pkg/storage"
)

// TestReserve: the reserve is there from the start, is given up in pieces, and comes back.
// test/crash has it on a disk that is full.
func TestReserve(t *testing.T) {
	root := openTemp(t)

	spendAll := func() (pieces int) {
		for {
			spent, err := root.spendReserve()
			must(t, err)

			if !spent {
				return pieces
			}

			pieces++
		}
	}

	const all = reserveSize / reservePiece

	if pieces := spendAll(); pieces != all {
		t.Errorf("%d pieces, want %d", pieces, all)
	}

	must(t, root.keepReserve())

	if pieces := spendAll(); pieces != all {
		t.Errorf("%d pieces when it was made again, want %d", pieces, all)
	}

	must(t, os.Remove(root.reservePath()))

	if pieces := spendAll(); pieces != 0 {
		t.Errorf("%d pieces of nothing", pieces)
	}
}

// TestMakeRoom: a push is no reason to give up the reserve.
func TestMakeRoom(t *testing.T) {
	for kind, want := range map[storage.OpKind]bool{
		storage.OpPutManifest: false, storage.OpSetTag: false,
		storage.OpDeleteTag: true, storage.OpDeleteManifest: true, storage.OpHideBlob: true, storage.OpForget: true,
	} {
		if got := makeRoom([]storage.Record{{Ops: []storage.Op{{Kind: kind}}}}); got != want {
			t.Errorf("%s makes room: %t", kind, got)
		}
	}
}
