-- name: lock_migrations
-- Roles that start at the same time take turns. Held to the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('redrush.migrate', 0));

-- name: version_table_exists
-- Not to_regclass, which may answer from before the lock was waited for.
SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'schema_version' AND pg_table_is_visible(oid));

-- name: create_version_table
CREATE TABLE schema_version (version integer PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now());

-- name: version
SELECT coalesce(max(version), 0) FROM schema_version;

-- name: record_version
INSERT INTO schema_version (version) VALUES (%(version)s);

-- name: commit_durably
-- Whatever the server's default is: the log is trimmed when a commit has returned.
SET synchronous_commit = on;

-- name: say_recorder
-- Whoever does not say so and writes is noted (see alarms).
SELECT set_config('redrush.recorder', 'yes', false);

-- name: end_abandoned
-- Only between statements, so never a commit.
SELECT set_config('idle_in_transaction_session_timeout', %(milliseconds)s, false);

-- name: bound_statements
-- Of connections that only read. Never on one that writes: a commit that was given up may have happened.
SELECT set_config('statement_timeout', %(milliseconds)s, false), set_config('default_transaction_read_only', 'on', false);

-- name: conditions
SELECT current_setting('fsync'), current_setting('server_encoding'), pg_is_in_recovery();

-- name: cursor
SELECT seq FROM cursors WHERE log = %(log)s;

-- name: start_cursor
INSERT INTO cursors (log, seq) VALUES (%(log)s, 0) ON CONFLICT DO NOTHING;

-- name: lock_cursor
SELECT seq, generation, chain, campaign FROM cursors WHERE log = %(log)s FOR UPDATE;

-- name: move_cursor
UPDATE cursors SET seq = %(seq)s, chain = %(chain)s, campaign = %(campaign)s, unposted = unposted + %(unposted)s WHERE log = %(log)s;

-- name: known
SELECT generation, seq, chain, (SELECT coalesce(sum(grants), 0)::bigint FROM pot_totals WHERE log = %(log)s)
  FROM cursors WHERE log = %(log)s;

-- name: begin_generation
UPDATE cursors SET generation = %(generation)s WHERE log = %(log)s;

-- name: name_campaign
UPDATE campaigns SET id = %(id)s WHERE id = '';

-- name: keep_campaign
INSERT INTO campaigns (id) VALUES (%(id)s) ON CONFLICT DO NOTHING;

-- name: campaign
SELECT campaign FROM campaigns WHERE id = %(id)s;

-- name: keep_pots
-- In order of their names, so that recorders of several logs never wait for each other in a circle.
INSERT INTO pots (campaign, name, id_prefix, debit_account, credit_prefix)
SELECT %(campaign)s, * FROM unnest(%(names)s::text[], %(id_prefixes)s::text[], %(debit_accounts)s::text[], %(credit_prefixes)s::text[])
    AS fresh (name, id_prefix, debit_account, credit_prefix)
 ORDER BY name
ON CONFLICT DO NOTHING;

-- name: pots
SELECT name, pot, id_prefix, debit_account, credit_prefix
  FROM pots
 WHERE campaign = %(campaign)s AND name = ANY(%(names)s);

-- name: copy_grants
COPY grants (pot, slot, "user", amount_minor, at_us) FROM STDIN;

-- name: copy_scattered
-- And runs of what is no money.
COPY grants (pot, slot, "user", amount_minor, at_us, request, number, until_us, holds, log) FROM STDIN;

-- name: confirm
UPDATE grants SET until_us = NULL
 WHERE pot = %(pot)s AND slot = %(slot)s AND number = %(number)s AND log = %(log)s
RETURNING amount_minor;

-- name: release
DELETE FROM grants
 WHERE pot = %(pot)s AND slot = %(slot)s AND number = %(number)s AND log = %(log)s
RETURNING amount_minor;

-- name: copy_journal
COPY journal (log, seq, kind, pot, first_slot, count, at_us, users, slots, transfer) FROM STDIN;

-- name: add_to_pot_totals
INSERT INTO pot_totals (log, pot, grants, granted_minor)
SELECT %(log)s, * FROM unnest(%(pots)s::integer[], %(grants)s::bigint[], %(granted_minor)s::bigint[])
ON CONFLICT (log, pot) DO UPDATE
SET grants = pot_totals.grants + excluded.grants,
    granted_minor = pot_totals.granted_minor + excluded.granted_minor;

-- name: keep_posting
INSERT INTO postings (campaign, id, debit_account, credit_account, amount_minor, at_us)
VALUES (%(campaign)s, %(id)s, %(debit_account)s, %(credit_account)s, %(amount_minor)s, %(at_us)s);

-- name: grants_of
SELECT grants.slot, pots.name, grants."user", grants.amount_minor, grants.at_us, campaigns.id, grants.until_us, grants.holds
  FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE grants."user" = %(user)s
 ORDER BY campaign, slot, pot;

-- name: holds_due
-- MATERIALIZED: their index is read first, whatever the planner knows of the table so far. A log is of one campaign.
WITH due AS MATERIALIZED (
    SELECT pot, "user", slot, request, number, until_us
      FROM grants
     WHERE until_us <= %(until_us)s AND log = %(log)s
     ORDER BY until_us, pot, slot
     LIMIT %(limit)s OFFSET %(skip)s)
SELECT pots.name, due."user", due.slot, due.request, due.number, due.until_us
  FROM due JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s
 ORDER BY due.until_us, due.pot, due.slot;

-- name: balance
-- Grants are looked up by their pots' rules, not through the view, and a user's by the user (null: it is no user's account):
-- each part is a look-up in an index, however many pots there are.
WITH ours AS (SELECT campaign FROM campaigns WHERE id = %(campaign)s)
SELECT coalesce(sum(debit_minor), 0)::bigint, coalesce(sum(credit_minor), 0)::bigint
  FROM (SELECT amount_minor, 0
          FROM postings JOIN ours USING (campaign) WHERE debit_account = %(account)s
         UNION ALL
        SELECT 0, amount_minor
          FROM postings JOIN ours USING (campaign) WHERE credit_account = %(account)s
         UNION ALL
        SELECT grants.amount_minor, 0
          FROM pots JOIN ours USING (campaign) JOIN grants USING (pot)
         WHERE pots.debit_account = %(account)s AND grants.number = 0
         UNION ALL
        SELECT 0, grants.amount_minor
          FROM grants JOIN pots USING (pot) JOIN ours USING (campaign)
         WHERE grants."user" = %(user)s AND grants.number = 0 AND pots.credit_prefix || grants."user" = %(account)s
       ) AS entries (debit_minor, credit_minor);

-- name: totals
SELECT (SELECT count(*) FROM grants),
       (SELECT coalesce(sum(amount_minor), 0)::bigint FROM grants),
       count(*),
       coalesce(sum(amount_minor), 0)::bigint,
       coalesce(sum(amount_minor), 0)::bigint
  FROM ledger;

-- name: round_totals
SELECT pots.name, sum(grants)::bigint, sum(granted_minor)::bigint
  FROM pot_totals JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s AND pots.name = ANY(%(rounds)s)
 GROUP BY pots.name
 ORDER BY pots.name;

-- name: journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer
  FROM journal
 WHERE log = %(log)s AND seq > %(after)s
 ORDER BY seq;

-- name: journal_page
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer
  FROM journal
 WHERE log = %(log)s AND seq > %(after)s
 ORDER BY seq
 LIMIT %(limit)s;

-- name: note
SELECT transfer FROM journal
 WHERE pot = %(pot)s AND log = %(log)s AND kind = 'opened' AND transfer IS NOT NULL
 LIMIT 1;

-- name: notes
SELECT seq, pot, transfer FROM journal
 WHERE log = %(log)s AND seq > %(after)s AND kind = 'opened' AND transfer IS NOT NULL
 ORDER BY seq LIMIT %(limit)s;
