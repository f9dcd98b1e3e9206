package main

import (
	"io"
	"strings"
	"testing"

	. "github.com/smartystreets/goconvey/convey"
)

const pass = `{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}`

func verdict(lines ...string) bool {
	t := newTally(io.Discard)
	if err := t.read(strings.NewReader(strings.Join(lines, "\n"))); err != nil {
		return false
	}

	return t.report()
}

func TestVerdict(t *testing.T) {
	Convey("Passing tests are good, and packages without tests do no harm", t, func() {
		So(verdict(pass, `{"Action":"skip","Package":"q"}`, `{"Action":"pass","Package":"p"}`), ShouldBeTrue)
	})

	Convey("A failed test is bad", t, func() {
		So(verdict(pass, `{"Action":"fail","Package":"p","Test":"TestB"}`), ShouldBeFalse)
	})

	Convey("A package that fails although its tests passed shows its last lines", t, func() {
		var out strings.Builder

		t := newTally(&out)
		So(t.read(strings.NewReader(`{"Action":"output","Package":"p","Test":"TestA","Output":"leaked\n"}`+
			pass+`{"Action":"fail","Package":"p"}`)), ShouldBeNil)
		So(t.report(), ShouldBeFalse)
		So(out.String(), ShouldContainSubstring, "leaked")
	})

	Convey("A package that does not build is bad", t, func() {
		So(verdict(pass, `{"Action":"build-fail","ImportPath":"p"}`), ShouldBeFalse)
	})

	Convey("A skipped test is bad", t, func() {
		So(verdict(pass, `{"Action":"skip","Package":"p","Test":"TestB"}`), ShouldBeFalse)
	})

	Convey("No test at all is bad", t, func() {
		So(verdict(`{"Action":"pass","Package":"p"}`), ShouldBeFalse)
	})

	Convey("Output that is not JSON is bad", t, func() {
		So(verdict(pass, "panic: no"), ShouldBeFalse)
	})
}
