-- Rows go in as JSON, many at a time; each statement is one round trip, however many there are.

-- name: lock_makers
-- Who looks whether there is enough, and then takes it, does so alone. Held to the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('redrush.bills', 0));

-- name: found_each
SELECT bills.id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account,
       how, attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference,
       fee_minor, done_us, version
  FROM json_to_recordset(%(asked)s) AS asked (kind text, source text) JOIN bills USING (kind, source);

-- name: balances
SELECT campaign, account, debits_minor, credits_minor
  FROM json_to_recordset(%(asked)s) AS asked (campaign text, account text) JOIN bill_accounts USING (account, campaign);

-- name: refundable
-- What was paid in, less what goes back already, to where it came from or into a balance; and whether it came late.
SELECT amount_minor - (SELECT coalesce(sum(amount_minor), 0)::bigint FROM bills
                        WHERE kind = 'refund' AND of_source = %(of)s AND state NOT IN ('failed', 'cancelled'))
                    - coalesce((SELECT amount_minor FROM bill_postings
                                 WHERE bill_postings.campaign = bills.campaign AND bill_postings.id = %(rest)s), 0),
       state = 'paid_late'
  FROM bills WHERE kind = 'payin' AND source = %(of)s AND state IN ('done', 'paid_late');

-- name: make
INSERT INTO bills (kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source,
                   account, how, number, state, made_us, changed_us, next_us, expires_us)
SELECT kind, source, campaign, "user", provider, currency, amount_minor, subject, "to", "of",
       account, how, number, CASE WHEN held THEN 'held' ELSE 'new' END, %(now_us)s, %(now_us)s,
       CASE WHEN held THEN NULL ELSE %(now_us)s END, expires_us
  FROM json_to_recordset(%(bills)s) AS fresh (
       kind text, source text, campaign text, "user" text, provider text, currency text, amount_minor bigint,
       subject text, "to" text, "of" text, account text, how text, number text, held boolean, expires_us bigint)
RETURNING id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account,
          how, attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference,
          fee_minor, done_us, version;

-- name: posted
SELECT id FROM bill_postings WHERE campaign = %(campaign)s AND id = ANY(%(ids)s);

-- name: post
INSERT INTO bill_postings (campaign, id, debit_account, credit_account, amount_minor, at_us)
SELECT * FROM json_to_recordset(%(postings)s) AS fresh (
       campaign text, id text, debit_account text, credit_account text, amount_minor bigint, at_us bigint);

-- name: add_to_accounts
-- In order, so that nobody who writes several rows waits in a circle.
INSERT INTO bill_accounts (account, campaign, debits_minor, credits_minor)
SELECT account, campaign, debits_minor, credits_minor
  FROM json_to_recordset(%(sums)s) AS moved (
       account text, campaign text, debits_minor bigint, credits_minor bigint)
 ORDER BY account COLLATE "C", campaign COLLATE "C"
ON CONFLICT (account, campaign) DO UPDATE
SET debits_minor = bill_accounts.debits_minor + excluded.debits_minor,
    credits_minor = bill_accounts.credits_minor + excluded.credits_minor;

-- name: to_start
WITH due AS MATERIALIZED (
    SELECT found.id, asked.place, found.next_us
      FROM unnest(%(kinds)s::text[]) WITH ORDINALITY AS asked (kind, place)
     CROSS JOIN LATERAL (
           SELECT id, next_us FROM bills
            WHERE state = 'new' AND provider = %(provider)s AND bills.kind = asked.kind AND next_us <= %(now_us)s
            ORDER BY next_us LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS found
     ORDER BY asked.place, found.next_us, found.id LIMIT %(limit)s)
UPDATE bills SET state = 'asked', asked_us = %(now_us)s, next_us = %(hidden_until_us)s, looks = 0, version = version + 1
  FROM due WHERE bills.id = due.id
RETURNING due.place, due.next_us, bills.id, kind, source, campaign, "user", provider, currency, amount_minor, subject,
          receiver, of_source, account, how, attempt, number, state, made_us, changed_us, asked_us, bills.next_us, looks,
          expires_us, detail, reference, fee_minor, done_us, version;

-- name: to_ask
WITH due AS MATERIALIZED (
    SELECT found.id, asked.place, found.next_us
      FROM unnest(%(kinds)s::text[]) WITH ORDINALITY AS asked (kind, place)
     CROSS JOIN LATERAL (
           SELECT id, next_us FROM bills
            WHERE next_us IS NOT NULL AND state <> 'new' AND provider = %(provider)s AND bills.kind = asked.kind
              AND next_us <= %(now_us)s
            ORDER BY next_us LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS found
     ORDER BY asked.place, found.next_us, found.id LIMIT %(limit)s)
UPDATE bills SET next_us = %(hidden_until_us)s, version = version + 1
  FROM due WHERE bills.id = due.id
RETURNING due.place, due.next_us, bills.id, kind, source, campaign, "user", provider, currency, amount_minor, subject,
          receiver, of_source, account, how, attempt, number, state, made_us, changed_us, asked_us, bills.next_us, looks,
          expires_us, detail, reference, fee_minor, done_us, version;

-- name: change
UPDATE bills
   SET state = change.state, next_us = change.next_us, looks = change.looks, changed_us = change.changed_us,
       version = bills.version + 1,
       detail = coalesce(change.detail, bills.detail), expires_us = coalesce(change.expires_us, bills.expires_us),
       reference = coalesce(change.reference, bills.reference), fee_minor = coalesce(change.fee_minor, bills.fee_minor),
       done_us = coalesce(change.done_us, bills.done_us), number = coalesce(change.number, bills.number),
       attempt = coalesce(change.attempt, bills.attempt), is_told = bills.is_told AND bills.state = change.state
  FROM json_to_recordset(%(changes)s) AS change (
       id bigint, version bigint, state text, next_us bigint, looks integer, changed_us bigint, detail text,
       expires_us bigint, reference text, fee_minor bigint, done_us bigint, number text, attempt integer)
 WHERE bills.id = change.id AND bills.version = change.version
RETURNING bills.id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source,
          account, how, bills.attempt, bills.number, bills.state, made_us, bills.changed_us, asked_us, bills.next_us,
          bills.looks, bills.expires_us, bills.detail, bills.reference, bills.fee_minor, bills.done_us, bills.version;

-- name: keep_numbers
INSERT INTO bill_numbers SELECT number, id FROM bills WHERE id = ANY(%(ids)s) ON CONFLICT DO NOTHING;

-- name: hurry
UPDATE bills SET next_us = %(now_us)s, expires_us = coalesce(%(expires_us)s, expires_us), version = version + 1
 WHERE id = %(id)s AND next_us IS NOT NULL AND state <> 'new';

-- name: expire_new
UPDATE bills SET expires_us = %(expires_us)s, version = version + 1 WHERE id = %(id)s AND state = 'new';

-- name: keep_late
-- After lock_makers, so nobody makes a refund of it meanwhile.
UPDATE bills SET state = 'done', changed_us = %(now_us)s, version = version + 1, is_told = false
 WHERE kind = 'payin' AND source = %(source)s AND state = 'paid_late'
   AND NOT EXISTS (SELECT FROM bills AS back WHERE back.kind = 'refund' AND back.of_source = bills.source);

-- name: told
UPDATE bills SET is_told = true
  FROM json_to_recordset(%(bills)s) AS told (id bigint, version bigint)
 WHERE bills.id = told.id AND bills.version = told.version;

-- name: keep_notices
INSERT INTO bill_inbox (provider, notice, said, received_us)
SELECT provider, notice, said, %(now_us)s
  FROM json_to_recordset(%(notices)s) AS fresh (provider text, notice text, said text)
ON CONFLICT DO NOTHING;

-- name: seen
UPDATE bill_inbox SET is_seen = true WHERE id = ANY(%(ids)s);

-- name: move_cursor
INSERT INTO bill_cursors VALUES (%(name)s, %(seq)s) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq;

-- name: cursor
SELECT seq FROM bill_cursors WHERE name = %(name)s;

-- name: inbox
SELECT id, provider, said FROM bill_inbox WHERE NOT is_seen ORDER BY id LIMIT %(limit)s;

-- name: balance
SELECT debits_minor, credits_minor FROM bill_accounts WHERE campaign = %(campaign)s AND account = %(account)s;

-- name: ledger
SELECT id, debit_account, credit_account, amount_minor, at_us FROM bill_postings
 WHERE campaign = %(campaign)s AND id >= %(first)s AND id < %(end)s
 ORDER BY id LIMIT %(limit)s;

-- name: ledger_of_account
-- No index has the account: so many are looked through, and no more.
SELECT id, debit_account, credit_account, amount_minor, at_us
  FROM (SELECT id, debit_account, credit_account, amount_minor, at_us FROM bill_postings
         WHERE campaign = %(campaign)s AND id >= %(first)s AND id < %(end)s
         ORDER BY id LIMIT %(looked)s) AS looked
 WHERE debit_account = %(account)s OR credit_account = %(account)s
 ORDER BY id LIMIT %(limit)s;

-- name: last_looked_at
SELECT max(id)
  FROM (SELECT id FROM bill_postings
         WHERE campaign = %(campaign)s AND id >= %(first)s AND id < %(end)s
         ORDER BY id LIMIT %(looked)s) AS looked;

-- name: spendings
-- Ids of spendings begin so, and ; is the sign after : so only these are read.
SELECT id, debit_account, credit_account, amount_minor, at_us FROM bill_postings
 WHERE campaign = %(campaign)s AND id >= 'spend:' AND id < 'spend;' AND debit_account = %(account)s AND at_us >= %(from_us)s
 ORDER BY id LIMIT %(limit)s;

-- name: net_of
SELECT coalesce(sum(credits_minor - debits_minor), 0)::bigint FROM bill_accounts WHERE account = %(account)s;

-- name: numbered
SELECT id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account, how,
       attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference, fee_minor,
       done_us, version
  FROM bills
 WHERE id = (SELECT id FROM bills WHERE number = %(number)s
             UNION ALL
             SELECT bill FROM bill_numbers WHERE number = %(number)s
             LIMIT 1);

-- name: untold
SELECT id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account, how,
       attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference, fee_minor,
       done_us, version
  FROM bills
 WHERE id > %(after)s AND NOT is_told AND kind <> 'payout' AND state IN ('done', 'paid_late', 'closed', 'failed', 'cancelled')
   AND EXISTS (SELECT FROM unnest(%(prefixes)s::text[]) AS prefix WHERE starts_with(source, prefix))
 ORDER BY id LIMIT %(limit)s;

-- name: paid_late
SELECT id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account, how,
       attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference, fee_minor,
       done_us, version
  FROM bills
 WHERE state = 'paid_late' AND kind = 'payin'
   AND NOT EXISTS (SELECT FROM bills AS back WHERE back.kind = 'refund' AND back.of_source = bills.source)
 ORDER BY id LIMIT %(limit)s;

-- name: listed
SELECT id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account, how,
       attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference, fee_minor,
       done_us, version
  FROM bills
 WHERE id > %(after)s AND (%(kind)s::text IS NULL OR kind = %(kind)s)
   AND (%(provider)s::text IS NULL OR provider = %(provider)s) AND (%(user)s::text IS NULL OR "user" = %(user)s)
   AND (%(states)s::text[] = '{}' OR state = ANY(%(states)s))
 ORDER BY id LIMIT %(limit)s;

-- name: moved
SELECT id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account, how,
       attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference, fee_minor,
       done_us, version
  FROM bills
 WHERE provider = %(provider)s AND done_us >= %(from_us)s AND done_us < %(to_us)s
 ORDER BY done_us, id;

-- name: under_way
-- The first of each state, in the order of its index; said so that no other fits, for nearly all bills may be of one state.
SELECT campaign, min(made_us)
  FROM unnest(%(states)s::text[]) AS wanted (state)
 CROSS JOIN LATERAL (
       SELECT campaign, made_us FROM bills
        WHERE (bills.state, id) > (wanted.state, 0) AND bills.state <= wanted.state AND kind <> 'payin'
        ORDER BY bills.state, id LIMIT %(limit)s) AS oldest
 GROUP BY campaign;

-- name: accounts
SELECT account, debits_minor, credits_minor FROM bill_accounts
 WHERE campaign = %(campaign)s AND (account < 'user:' OR account >= 'user;')
 ORDER BY account LIMIT %(limit)s;

-- name: sums
SELECT provider, kind, state, count(*), sum(amount_minor)::bigint, sum(fee_minor)::bigint
  FROM bills GROUP BY provider, kind, state ORDER BY provider, kind, state;

-- name: forget_receivers
UPDATE bills SET receiver = ''
 WHERE receiver <> '' AND receiver <> "user" AND changed_us < %(before_us)s
   AND (%(user)s::text IS NULL OR "user" = %(user)s)
   AND state IN ('done', 'paid_late', 'closed', 'failed', 'cancelled');
