package model

// Rules are departures from the protocol of the package comment: each field leaves a
// rule out or puts a weaker one in its place. The zero value is the protocol. The tests
// show what each departure breaks.
type Rules struct {
	// Writers.
	NoCheck            bool // no U3: the tombstone is not read
	CheckFirst         bool // U3 before U2: the tombstone is read before the membership is written
	NoHead             bool // no U4: 201 without a look at the head
	NoSweepCheck       bool // U4 renews, but does not look whether its membership was swept
	LookOnly           bool // H2 takes a condemned tombstone for a live one instead of setting it live
	MembershipUnproved bool // U2 before the bytes are verified
	TrustPool          bool // C: bytes in the pool are enough, no membership is looked for
	ListAlone          bool // C: any membership that LIST shows counts, swept or not
	StaleCommit        bool // C: the record is appended to whatever the head is
	Blind              bool // names of memberships carry no number: those listed count if nothing was ever swept
	CommitRenews       bool // C: a membership is written where none counts, if LIST shows any
	RenewsUnheld       bool // the same, even if LIST shows none

	// Deleter of memberships.
	NoFence       bool // no S4: memberships go without a record
	NoSwept       bool // the state does not keep when D was swept; goes with ListedBefore
	SweepAnyway   bool // S4 does not look at the references again
	AnyCondemn    bool // S4 goes by anybody's condemn record
	SweepKeeps    bool // the sweep record leaves D condemned
	ListedBefore  bool // S5 deletes what was listed before S2, whatever its number
	FreshList     bool // S5 deletes whatever it lists
	NoWait        bool // no S3
	WaitFromSend  bool // S3 is counted from when the condemn record was sent, not from when it was seen
	NoRecondemn   bool // with AnyCondemn's opposite: S2 does not take over a condemn record, it stops
	NoSecondList  bool // no D4
	BlindBump     bool // D5 is unconditional
	SameGen       bool // D5 keeps the generation
	DeleteFirst   bool // D6 before D5
	NoTakeOver    bool // D2 stops at a condemned tombstone
	ReplaceOthers bool // D2 condemns a condemned tombstone anew instead of taking it over
}

// Brief is the protocol as it was first proposed.
var Brief = Rules{
	LookOnly: true, NoSweepCheck: true, Blind: true, CommitRenews: true,
	AnyCondemn: true, SweepKeeps: true, ListedBefore: true, NoTakeOver: true,
}
