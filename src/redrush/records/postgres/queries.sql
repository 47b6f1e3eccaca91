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
SELECT seq, generation, chain FROM cursors WHERE log = %(log)s FOR UPDATE;

-- name: move_cursor
UPDATE cursors SET seq = %(seq)s, chain = %(chain)s WHERE log = %(log)s;

-- name: known
SELECT generation, seq, chain, (SELECT coalesce(sum(grants), 0)::bigint FROM round_totals WHERE log = %(log)s)
  FROM cursors WHERE log = %(log)s;

-- name: begin_generation
UPDATE cursors SET generation = %(generation)s WHERE log = %(log)s;

-- name: register_round
SELECT register_round(%(round)s, %(id_prefix)s, %(debit_account)s, %(credit_prefix)s);

-- name: round
SELECT partition, id_prefix, debit_account, credit_prefix FROM rounds WHERE round = %(round)s;

-- name: copy_grants
COPY {partition} (slot, round, "user", amount_minor, at_us) FROM STDIN;

-- name: copy_journal
COPY journal (log, seq, kind, pot, first_slot, count, at_us, users, slots, transfer) FROM STDIN;

-- name: add_to_round_totals
INSERT INTO round_totals VALUES (%(log)s, %(round)s, %(grants)s, %(granted_minor)s)
ON CONFLICT (log, round) DO UPDATE
SET grants = round_totals.grants + excluded.grants,
    granted_minor = round_totals.granted_minor + excluded.granted_minor;

-- name: keep_posting
INSERT INTO postings VALUES (%(id)s, %(debit_account)s, %(credit_account)s, %(amount_minor)s, %(at_us)s);

-- name: grants_of
SELECT slot, round, "user", amount_minor, at_us FROM grants WHERE "user" = %(user)s ORDER BY slot;

-- name: balance
-- Grants are looked up by the round's rule, not through the view, so that a user's balance is one look-up per round.
SELECT coalesce(sum(debit_minor), 0)::bigint, coalesce(sum(credit_minor), 0)::bigint
  FROM (SELECT amount_minor, 0 FROM postings WHERE debit_account = %(account)s
         UNION ALL
        SELECT 0, amount_minor FROM postings WHERE credit_account = %(account)s
         UNION ALL
        SELECT grants.amount_minor, 0 FROM grants JOIN rounds USING (round) WHERE rounds.debit_account = %(account)s
         UNION ALL
        SELECT 0, grants.amount_minor
          FROM rounds
          JOIN grants ON grants.round = rounds.round
                     AND grants."user" = substr(%(account)s, length(rounds.credit_prefix) + 1)
         WHERE starts_with(%(account)s, rounds.credit_prefix)
       ) AS entries (debit_minor, credit_minor);

-- name: totals
SELECT (SELECT count(*) FROM grants),
       (SELECT coalesce(sum(amount_minor), 0)::bigint FROM grants),
       count(*),
       coalesce(sum(amount_minor), 0)::bigint,
       coalesce(sum(amount_minor), 0)::bigint
  FROM ledger;

-- name: round_totals
SELECT round, sum(grants)::bigint, sum(granted_minor)::bigint FROM round_totals GROUP BY round ORDER BY round;

-- name: journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer
  FROM journal
 WHERE log = %(log)s AND seq > %(after)s
 ORDER BY seq;
