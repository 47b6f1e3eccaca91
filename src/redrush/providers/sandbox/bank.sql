-- name: create
-- One row for each number: what was asked, and where it is. An instant that has passed moves it on (see `due`).
CREATE TABLE IF NOT EXISTS bills (
    number       TEXT    PRIMARY KEY,
    kind         TEXT    NOT NULL CHECK (kind IN ('payin', 'payout', 'refund')),
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    party        TEXT    NOT NULL, -- who pays or gets it; of a refund, the number of what it refunds
    state        TEXT    NOT NULL,
    until_us     INTEGER NOT NULL, -- of open and confirming: when it ends by itself; of pending: when it is done
    ends         TEXT    NOT NULL, -- what it becomes then
    made_us      INTEGER NOT NULL,
    done_us      INTEGER,
    fee_minor    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS bills_due ON bills (until_us) WHERE done_us IS NULL;
CREATE INDEX IF NOT EXISTS bills_done ON bills (done_us) WHERE state IN ('paid', 'done');
CREATE INDEX IF NOT EXISTS refunds_of ON bills (party) WHERE kind = 'refund';
CREATE INDEX IF NOT EXISTS bills_waiting ON bills (made_us) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS bills_confirming ON bills (made_us) WHERE state = 'confirming';
-- What was taken though it had been closed.
CREATE TABLE IF NOT EXISTS taken_late (
    number    TEXT    PRIMARY KEY,
    closed_us INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS notices (
    notice   INTEGER PRIMARY KEY,
    due_us   INTEGER NOT NULL,
    body     TEXT    NOT NULL,
    id       TEXT    NOT NULL,
    how      TEXT    NOT NULL,
    tries    INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS notices_due ON notices (due_us);

-- name: begin
BEGIN IMMEDIATE;

-- name: commit
COMMIT;

-- name: rollback
ROLLBACK;

-- name: bill
SELECT number, kind, amount_minor, party, state, until_us, ends, made_us, done_us, fee_minor FROM bills WHERE number = :number;

-- name: keep
INSERT INTO bills (number, kind, amount_minor, party, state, until_us, ends, made_us)
VALUES (:number, :kind, :amount_minor, :party, :state, :until_us, :ends, :made_us);

-- name: due
SELECT number, ends, until_us FROM bills WHERE done_us IS NULL AND until_us <= :now_us ORDER BY until_us LIMIT 500;

-- name: move
UPDATE bills SET state = :state, done_us = :done_us, fee_minor = :fee_minor WHERE number = :number;

-- name: take_late
INSERT INTO taken_late (number, closed_us) VALUES (:number, :closed_us);

-- name: proceed
UPDATE bills SET state = :state, until_us = :until_us, ends = :ends WHERE number = :number;

-- name: refunded
SELECT coalesce(sum(amount_minor), 0) FROM bills WHERE kind = 'refund' AND party = :number AND state <> 'failed';

-- name: lines
SELECT kind, number, amount_minor, fee_minor, done_us FROM bills
 WHERE state IN ('paid', 'done') AND done_us >= :from_us AND done_us < :to_us ORDER BY done_us, number;

-- name: sums
SELECT kind, state, count(*), sum(amount_minor), sum(fee_minor) FROM bills GROUP BY kind, state ORDER BY kind, state;

-- name: confirming
SELECT number, party, until_us FROM bills WHERE kind = 'payout' AND state = 'confirming' ORDER BY made_us LIMIT :limit;

-- name: waiting
SELECT number, party, until_us FROM bills WHERE kind = 'payin' AND state = 'open' ORDER BY made_us LIMIT :limit;

-- name: keep_notice
INSERT INTO notices (due_us, body, id, how) VALUES (:due_us, :body, :id, :how);

-- name: notices
SELECT notice, body, id, how, tries FROM notices WHERE due_us <= :now_us ORDER BY due_us, notice LIMIT :limit;

-- name: delay_notice
UPDATE notices SET due_us = :due_us, tries = tries + 1 WHERE notice = :notice;

-- name: drop_notice
DELETE FROM notices WHERE notice = :notice;
