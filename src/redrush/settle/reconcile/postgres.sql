-- name: hold_recorders
-- Recorders wait at their cursor until this transaction ends, and with them every trim of a log.
LOCK TABLE cursors IN SHARE MODE;

-- name: begin
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: cursors
SELECT log, seq, chain FROM cursors;

-- name: taken
SELECT transfer FROM journal WHERE kind = 'taken';

-- name: journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer
  FROM journal
 WHERE log = %(log)s AND seq <= %(cursor)s
 ORDER BY seq;

-- name: foreign_records
-- Above the cursor, or of a log that has none.
SELECT log, count(*)
  FROM journal
 WHERE NOT EXISTS (SELECT FROM cursors WHERE cursors.log = journal.log AND cursors.seq >= journal.seq)
 GROUP BY log
 ORDER BY log;

-- name: grants
SELECT slot, round, "user", amount_minor, at_us FROM grants;

-- name: postings
SELECT id, debit_account, credit_account, amount_minor FROM postings;

-- name: rules
SELECT round, id_prefix, debit_account, credit_prefix FROM rounds;

-- name: round_totals
SELECT log, round, grants, granted_minor FROM round_totals WHERE grants <> 0 ORDER BY log, round;

-- name: ledger
-- Added up from the postings, grants' own included.
SELECT count(*), coalesce(sum(amount_minor), 0)::bigint FROM ledger;
