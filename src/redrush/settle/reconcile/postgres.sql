-- name: hold_recorders
-- Recorders wait at their cursor until this transaction ends, and with them every trim of a log.
LOCK TABLE cursors IN SHARE MODE;

-- name: begin
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: cursors
-- Of this campaign, and of none that anybody knows of.
SELECT log, seq, chain FROM cursors LEFT JOIN campaigns USING (campaign) WHERE coalesce(id, %(campaign)s) = %(campaign)s;

-- name: taken
SELECT transfer FROM journal WHERE kind = 'taken';

-- name: journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer
  FROM journal
 WHERE log = %(log)s AND seq <= %(cursor)s
 ORDER BY seq;

-- name: notes
-- What pots were opened with that are in no file: packets between people.
SELECT pot, transfer
  FROM journal
 WHERE log = %(log)s AND seq <= %(cursor)s AND kind = 'opened' AND transfer IS NOT NULL
 ORDER BY seq;

-- name: foreign_records
-- Above the cursor, or of a log that has none.
SELECT log, count(*)
  FROM journal
 WHERE NOT EXISTS (SELECT FROM cursors WHERE cursors.log = journal.log AND cursors.seq >= journal.seq)
 GROUP BY log
 ORDER BY log;

-- name: grants
SELECT slot, pots.name, "user", amount_minor, at_us, grants.number, until_us, holds, log
  FROM grants LEFT JOIN pots USING (pot) LEFT JOIN campaigns USING (campaign)
 WHERE coalesce(campaigns.id, %(campaign)s) = %(campaign)s;

-- name: postings
SELECT postings.id, debit_account, credit_account, amount_minor
  FROM postings JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s;

-- name: rules
SELECT name, id_prefix, debit_account, credit_prefix
  FROM pots JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s;

-- name: pot_totals
SELECT log, name, grants, granted_minor
  FROM pot_totals JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s AND grants <> 0
 ORDER BY log, name;

-- name: ledger
-- Added up from the postings, grants' own included.
SELECT count(*), coalesce(sum(amount_minor), 0)::bigint
  FROM ledger JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s;
