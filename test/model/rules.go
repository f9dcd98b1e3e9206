package model

// Rules are departures from the protocol of the package comment: each field leaves a
// rule out or puts another one in its place. The zero value is the protocol. The tests
// show what each departure breaks, or that it breaks nothing.
type Rules struct {
	// Writers.
	NoCheck            bool // no U3: the tombstone is not read
	CheckFirst         bool // U3 before U2: the tombstone is read before the membership is written
	NoHead             bool // no U4: 201 without a look at the head
	NoRenew            bool // U4 and H0 look at the head, and answer although D is condemned
	OldAnswer          bool // a positive answer may rest on a state that was read more than T ago
	EarlyHead          bool // U4 only if more than T passed since U0, which renews as U4 does
	NoSweepCheck       bool // U4 renews, but does not look whether its membership was swept
	SameName           bool // U2 uses the name of its last membership again
	MembershipUnproved bool // U2 before the bytes are verified
	LookOnly           bool // H2 takes a condemned tombstone for a live one instead of setting it live
	Blind              bool // names of memberships carry no number: H1 counts any, a commit those of a repository where D was never swept
	TrustPool          bool // C1: bytes in the pool are enough, no membership is looked for
	ListAlone          bool // C1: any membership that LIST shows counts, swept or not
	StaleUnknown       bool // C1 refuses by a state that is older than the request
	StaleCommit        bool // C2: the record is appended to whatever the head is
	CommitRenews       bool // C1 writes a membership where none counts, if LIST shows any
	RenewsUnheld       bool // the same, even if LIST shows none

	// A client that deletes D.
	NamesNothing bool // X2 names no memberships: they count until X3
	ByNumber     bool // X2 is a sweep: what was written by an older state does not count

	// Deleter of memberships that are not needed.
	ThinsAll   bool // Y2 keeps none
	ThinsStale bool // Y2 goes by what Y1 has seen

	// Deleter of memberships.
	NoWait       bool // no S3
	WaitFromSend bool // S3 is counted from when the condemn record was sent, not from when it was seen
	AnyCondemn   bool // S2 never takes a condemn record over, and S4 goes by anybody's
	SweepAnyway  bool // S4 does not look at the references again
	SweepKeeps   bool // the sweep record leaves D condemned
	NoFence      bool // no S4: memberships go without a record; with ListedBefore
	NoSwept      bool // the state does not keep when D was swept; with ListedBefore
	ListedBefore bool // S5 deletes what was listed before S2, whatever its number
	FreshList    bool // S5 deletes whatever it lists

	// Deleter of bytes.
	NoFirstList   bool // no D1
	NoCondemn     bool // D2 reads the tombstone and leaves it live
	NoTakeOver    bool // D2 stops at a condemned tombstone
	ReplaceOthers bool // D2 condemns a condemned tombstone anew instead of taking it over
	NoSecondList  bool // no D4
	BlindBump     bool // D5 is unconditional
	SameGen       bool // D5 keeps the generation
	DeleteFirst   bool // D6 before D5
}

// Brief is the protocol as it was first proposed.
var Brief = Rules{
	LookOnly: true, NoSweepCheck: true, Blind: true, CommitRenews: true,
	AnyCondemn: true, SweepKeeps: true, ListedBefore: true, NoTakeOver: true,
}
