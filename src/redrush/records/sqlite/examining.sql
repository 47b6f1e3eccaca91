-- name: examined_cursor
SELECT seq, chain FROM cursor;

-- name: examined_journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer
  FROM journal
 WHERE seq > :after
 ORDER BY seq
 LIMIT :limit;

-- name: examined_grants
-- :places is [[pot's name, first slot, count], …]. CROSS JOIN: SQLite would go through a whole pot for each slice otherwise.
SELECT pots.name, grants.slot, grants."user", grants.amount_minor, grants.at_us, grants.number, grants.holds
  FROM json_each(:places)
 CROSS JOIN pots ON pots.campaign = :campaign AND pots.name = value ->> 0
 CROSS JOIN grants ON grants.pot = pots.pot AND grants.slot >= value ->> 1 AND grants.slot < (value ->> 1) + (value ->> 2);

-- name: examined_postings
-- CROSS JOIN: each is looked up by its id; SQLite would go through all postings of the campaign otherwise.
SELECT postings.id, debit_account, credit_account, amount_minor
  FROM json_each(:ids) CROSS JOIN postings ON postings.campaign = :campaign AND postings.id = value;

-- name: examined_counts
-- A plain grant's row is its posting: the fourth column of single grants has the numbers of holds (redrush.ports.log_rows).
-- What is no money has no postings, and the cursor says how many there are less for it.
SELECT (SELECT count(*) FROM grants),
       (SELECT coalesce(sum(iif(kind = 'released', -count, count)), 0)
          FROM journal WHERE kind IN ('granted', 'scattered', 'released')),
       (SELECT count(*) FROM postings),
       (SELECT coalesce(sum(CASE
               WHEN kind = 'scattered' AND json_valid(slots) THEN (SELECT count(*) FROM json_each(slots, '$[3]') WHERE value <> 0)
               WHEN kind IN ('confirmed', 'released') THEN count
               WHEN kind = 'opened' THEN count > 0 AND pot <> '$returned'
               WHEN kind IN ('taken', 'given') THEN slots <> '[]'
               ELSE 0 END), 0)
          FROM journal) - (SELECT unposted FROM cursor);

-- name: campaign_number
SELECT campaign FROM campaigns WHERE id = :name;
