-- Many campaigns, and pots that are no rounds. A grant names its pot by a small number: keys and rows stay short.

-- step: new tables
-- A campaign without a name is that of a file in which nothing was granted yet: the first batch names it.
CREATE TABLE campaigns (
    campaign INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE pots (
    pot      INTEGER PRIMARY KEY,
    campaign INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    UNIQUE (campaign, name)
) STRICT;

-- Version 2 had the campaign in the ids of postings only: grant:<campaign>-<round>-<slot>.
INSERT INTO campaigns (id)
SELECT substr(postings.id, 7, length(postings.id) - 6 - length(ending))
  FROM (SELECT '-' || round || '-' || slot AS ending FROM grants LIMIT 1)
  JOIN postings ON postings.id >= 'grant:' AND postings.id < 'grant;'
               AND substr(postings.id, -length(ending)) = ending
 LIMIT 1;
INSERT INTO campaigns (id) SELECT '' WHERE NOT EXISTS (SELECT 1 FROM campaigns) AND EXISTS (SELECT 1 FROM postings);
INSERT INTO pots (campaign, name) SELECT campaign, round FROM campaigns, (SELECT DISTINCT round FROM grants);

ALTER TABLE grants RENAME TO old_grants;
ALTER TABLE postings RENAME TO old_postings;
ALTER TABLE accounts RENAME TO old_accounts;
DROP INDEX grants_of_user;

-- Slots are numbered in their pot. `holds` says what a slot holds, where that is no money.
CREATE TABLE grants (
    pot          INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    "user"       TEXT    NOT NULL,
    request      TEXT    NOT NULL DEFAULT '',
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0 OR (amount_minor = 0 AND holds IS NOT NULL)),
    holds        TEXT,
    at_us        INTEGER NOT NULL,
    PRIMARY KEY (pot, slot)
) STRICT, WITHOUT ROWID;

-- Double entry: an amount leaves one account and enters another, in one row, so debits equal credits by construction.
CREATE TABLE postings (
    campaign       INTEGER NOT NULL,
    id             TEXT    NOT NULL,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    at_us          INTEGER, -- NULL where the log does not say when
    PRIMARY KEY (campaign, id)
) STRICT, WITHOUT ROWID;

-- Sums of postings by account, kept in the same transaction; reconcile adds them up anew.
CREATE TABLE accounts (
    campaign      INTEGER NOT NULL,
    account       TEXT    NOT NULL,
    debits_minor  INTEGER NOT NULL,
    credits_minor INTEGER NOT NULL,
    PRIMARY KEY (campaign, account)
) STRICT, WITHOUT ROWID;

-- step: grants
INSERT INTO grants (pot, slot, "user", amount_minor, at_us)
SELECT pots.pot, slot, "user", amount_minor, at_us
  FROM old_grants JOIN pots ON pots.name = old_grants.round
 ORDER BY pots.pot, slot;
DROP TABLE old_grants;

-- step: an index of the grants by user
-- Not unique: how many a user may have is for the store to decide; a projection shows what was decided.
CREATE INDEX grants_of_user ON grants ("user");

-- step: postings
INSERT INTO postings SELECT campaign, old_postings.* FROM campaigns, old_postings ORDER BY old_postings.id;
DROP TABLE old_postings;

-- step: accounts
INSERT INTO accounts SELECT campaign, old_accounts.* FROM campaigns, old_accounts ORDER BY old_accounts.account;
DROP TABLE old_accounts;
