-- The bill book of the embedded form. No projection: what stands here is nowhere else.

CREATE TABLE bills (
    id           INTEGER PRIMARY KEY,
    kind         TEXT    NOT NULL CHECK (kind IN ('payin', 'payout', 'refund')),
    source       TEXT    NOT NULL,
    campaign     TEXT    NOT NULL,
    "user"       TEXT    NOT NULL,
    provider     TEXT    NOT NULL,
    currency     TEXT    NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    subject      TEXT    NOT NULL,
    receiver     TEXT    NOT NULL,
    of_source    TEXT    NOT NULL,
    account      TEXT    NOT NULL,
    how          TEXT    NOT NULL,
    attempt      INTEGER NOT NULL,
    number       TEXT    NOT NULL UNIQUE,
    state        TEXT    NOT NULL,
    made_us      INTEGER NOT NULL,
    changed_us   INTEGER NOT NULL,
    asked_us     INTEGER,
    next_us      INTEGER,
    looks        INTEGER NOT NULL,
    expires_us   INTEGER,
    detail       TEXT    NOT NULL,
    reference    TEXT    NOT NULL,
    fee_minor    INTEGER NOT NULL,
    done_us      INTEGER,
    version      INTEGER NOT NULL,
    is_told      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, source)
) STRICT;
-- What is to be done: nobody ever reads the rest to find it. Pay-ins first, for somebody looks at a screen.
CREATE INDEX bills_to_start ON bills (provider, kind, next_us) WHERE state = 'new';
CREATE INDEX bills_to_ask ON bills (provider, kind, next_us) WHERE next_us IS NOT NULL AND state <> 'new';
CREATE INDEX bills_untold ON bills (id)
    WHERE is_told = 0 AND kind <> 'payout' AND state IN ('done', 'paid_late', 'closed', 'failed', 'cancelled');
CREATE INDEX refunds_of ON bills (of_source) WHERE kind = 'refund';
CREATE INDEX bills_of_user ON bills ("user", id);
CREATE INDEX bills_of_state ON bills (state, id);
CREATE INDEX bills_moved ON bills (provider, done_us) WHERE done_us IS NOT NULL;

-- Numbers of attempts before the present one: a late notice may name them.
CREATE TABLE numbers (
    number TEXT PRIMARY KEY,
    bill   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Double entry, as in the records.
CREATE TABLE postings (
    campaign       TEXT    NOT NULL,
    id             TEXT    NOT NULL,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    at_us          INTEGER,
    PRIMARY KEY (campaign, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    campaign      TEXT    NOT NULL,
    account       TEXT    NOT NULL,
    debits_minor  INTEGER NOT NULL,
    credits_minor INTEGER NOT NULL,
    PRIMARY KEY (campaign, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE inbox (
    id          INTEGER PRIMARY KEY,
    provider    TEXT    NOT NULL,
    notice      TEXT    NOT NULL,
    said        TEXT    NOT NULL, -- what it says, as JSON; no name, no address
    received_us INTEGER NOT NULL,
    is_seen     INTEGER NOT NULL DEFAULT 0,
    UNIQUE (provider, notice)
) STRICT;
CREATE INDEX inbox_unseen ON inbox (id) WHERE is_seen = 0;

CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
