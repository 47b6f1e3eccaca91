-- name: bound_examination
SELECT set_config('statement_timeout', %(milliseconds)s, false), set_config('default_transaction_read_only', 'on', false);

-- name: by_index
-- A table that was just filled has no statistics: its rows are looked up by index all the same, and so is the log.
SELECT set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false),
       set_config('enable_bitmapscan', 'off', false);

-- name: one_state
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: examined_cursor
SELECT seq, chain FROM cursors WHERE log = %(log)s;

-- name: examined_journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer
  FROM journal
 WHERE log = %(log)s AND seq > %(after)s AND seq <= %(cursor)s
 ORDER BY seq
 LIMIT %(limit)s;

-- name: examined_grants
-- LATERAL and LIMIT: each place is looked up by its slots, whatever the planner knows of the table so far.
SELECT pots.name, held.*
  FROM unnest(%(pots)s::text[], %(firsts)s::bigint[], %(counts)s::bigint[]) AS place (pot, first, count)
  JOIN campaigns ON campaigns.id = %(campaign)s
  JOIN pots ON pots.campaign = campaigns.campaign AND pots.name = place.pot
 CROSS JOIN LATERAL (
       SELECT grants.slot, grants."user", grants.amount_minor, grants.at_us, grants.number, grants.holds
         FROM grants
        WHERE grants.pot = pots.pot AND grants.slot >= place.first AND grants.slot < place.first + place.count
          AND grants.log IN ('', %(log)s)
        ORDER BY grants.pot, grants.slot
        LIMIT place.count) AS held;

-- name: examined_postings
SELECT postings.id, debit_account, credit_account, amount_minor
  FROM postings JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s AND postings.id = ANY(%(ids)s);

-- name: examined_counts
-- Of the whole database, for a grant does not say of which log it is. Grants are no rows of postings here, holds aside: the
-- fourth column of single grants has their numbers (redrush.ports.log_rows).
SELECT (SELECT count(*) FROM grants),
       (SELECT coalesce(sum(CASE kind WHEN 'released' THEN -count ELSE count END), 0)::bigint
          FROM journal WHERE kind IN ('granted', 'scattered', 'released')),
       (SELECT count(*) FROM postings),
       (SELECT coalesce(sum(CASE
               WHEN kind = 'scattered'
               THEN (SELECT count(*) FROM jsonb_array_elements_text(slots::jsonb -> 3) AS number WHERE number <> '0')
               WHEN kind IN ('confirmed', 'released') THEN count
               WHEN kind = 'opened' THEN (count > 0 AND pot <> '$returned')::integer
               ELSE (slots <> '[]')::integer END), 0)::bigint
          FROM journal WHERE kind NOT IN ('granted', 'offered'))
       - (SELECT coalesce(sum(unposted), 0)::bigint FROM cursors);

-- name: alarms
SELECT count(*) FROM alarms;

-- name: latest_alarms
SELECT what, who, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') FROM alarms ORDER BY number DESC LIMIT %(limit)s;
