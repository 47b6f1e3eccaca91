-- Records of the embedded form, as they were at version 2 (PRAGMA user_version). A projection of journal.db: delete it and
-- it is rebuilt.

-- The last log record applied. One row, written in the transaction of what it stands for. `chain` is the fingerprint of
-- the log up to there, `log` the id of the journal, "" before it is known; `digest` is of the three.
CREATE TABLE cursor (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    seq      INTEGER NOT NULL,
    chain    TEXT    NOT NULL DEFAULT '',
    log      TEXT    NOT NULL DEFAULT '',
    digest   TEXT    NOT NULL DEFAULT ''
) STRICT;
INSERT INTO cursor (only_row, seq) VALUES (1, 0);

-- The log itself, as it was applied: what a journal is made from again that was lost.
CREATE TABLE journal (
    seq        INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL,
    pot        TEXT NOT NULL,
    first_slot INTEGER,
    count      INTEGER,
    at_us      INTEGER,
    users      TEXT,
    slots      TEXT,
    transfer   TEXT
) STRICT;

CREATE TABLE grants (
    slot         INTEGER PRIMARY KEY,
    round        TEXT    NOT NULL,
    "user"       TEXT    NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    at_us        INTEGER NOT NULL
) STRICT;
-- Not unique by round: how many a user may have is for the store to decide; a projection shows what was decided.
CREATE INDEX grants_of_user ON grants ("user");

-- Double entry: an amount leaves one account and enters another, in one row, so debits equal credits by construction.
CREATE TABLE postings (
    id             TEXT    PRIMARY KEY,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    at_us          INTEGER -- NULL where the log does not say when
) STRICT, WITHOUT ROWID;

-- Sums of postings by account, kept in the same transaction; reconcile adds them up anew.
CREATE TABLE accounts (
    account       TEXT    PRIMARY KEY,
    debits_minor  INTEGER NOT NULL,
    credits_minor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
