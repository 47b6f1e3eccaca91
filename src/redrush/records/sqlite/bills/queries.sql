-- name: make
INSERT INTO bills (kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account,
                   how, attempt, number, state, made_us, changed_us, next_us, looks, expires_us, detail, reference, fee_minor,
                   version, digest)
VALUES (:kind, :source, :campaign, :user, :provider, :currency, :amount_minor, :subject, :to, :of, :account,
        :how, 1, :number, :state, :now_us, :now_us, :next_us, 0, :expires_us, '', '', 0, 0,
        :digest);

-- name: found
SELECT id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account, how,
       attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference, fee_minor,
       done_us, version
  FROM bills WHERE kind = :kind AND source = :source;

-- name: of_id
SELECT id, kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver, of_source, account, how,
       attempt, number, state, made_us, changed_us, asked_us, next_us, looks, expires_us, detail, reference, fee_minor,
       done_us, version
  FROM bills WHERE id = :id;

-- name: numbered
SELECT id FROM bills WHERE number = :number
UNION ALL
SELECT bill FROM numbers WHERE number = :number
LIMIT 1;

-- name: refundable
-- What was paid in, less what goes back already, to where it came from or into a balance; and whether it came late.
SELECT amount_minor - (SELECT coalesce(sum(amount_minor), 0) FROM bills
                        WHERE kind = 'refund' AND of_source = :of AND state NOT IN ('failed', 'cancelled'))
                    - coalesce((SELECT amount_minor FROM postings
                                 WHERE postings.campaign = bills.campaign AND postings.id = :rest), 0),
       state = 'paid_late'
  FROM bills WHERE kind = 'payin' AND source = :of AND state IN ('done', 'paid_late');

-- name: to_start
SELECT id FROM bills
 WHERE state = 'new' AND provider = :provider AND kind = :kind AND next_us <= :now_us
 ORDER BY next_us LIMIT :limit;

-- name: to_ask
SELECT id FROM bills
 WHERE next_us IS NOT NULL AND state <> 'new' AND provider = :provider AND kind = :kind AND next_us <= :now_us
 ORDER BY next_us LIMIT :limit;

-- name: started
UPDATE bills SET state = 'asked', asked_us = :now_us, next_us = :hidden_until_us, looks = 0, version = version + 1
 WHERE id = :id;

-- name: hidden
UPDATE bills SET next_us = :hidden_until_us, version = version + 1 WHERE id = :id;

-- name: change
UPDATE bills
   SET state = :state, next_us = :next_us, looks = :looks, changed_us = :changed_us, version = version + 1,
       detail = coalesce(:detail, detail), expires_us = coalesce(:expires_us, expires_us),
       reference = coalesce(:reference, reference), fee_minor = coalesce(:fee_minor, fee_minor),
       done_us = coalesce(:done_us, done_us), number = coalesce(:number, number), attempt = coalesce(:attempt, attempt),
       is_told = is_told AND state = :state
 WHERE id = :id AND version = :version;

-- name: keep_number
INSERT INTO numbers SELECT number, id FROM bills WHERE id = :id ON CONFLICT DO NOTHING;

-- name: hurry
UPDATE bills SET next_us = :now_us, expires_us = coalesce(:expires_us, expires_us), version = version + 1
 WHERE id = :id AND next_us IS NOT NULL AND state <> 'new';

-- name: expire_new
UPDATE bills SET expires_us = :expires_us, version = version + 1 WHERE id = :id AND state = 'new';

-- name: untold
SELECT id FROM bills INDEXED BY bills_untold
 WHERE id > :after AND is_told = 0 AND kind <> 'payout' AND state IN ('done', 'paid_late', 'closed', 'failed', 'cancelled')
   AND EXISTS (SELECT 1 FROM json_each(:prefixes) WHERE substr(source, 1, length(value)) = value)
 ORDER BY id LIMIT :limit;

-- name: paid_late
SELECT id FROM bills
 WHERE state = 'paid_late' AND kind = 'payin'
   AND NOT EXISTS (SELECT 1 FROM bills AS back WHERE back.kind = 'refund' AND back.of_source = bills.source)
 ORDER BY id LIMIT :limit;

-- name: keep_late
UPDATE bills SET state = 'done', changed_us = :now_us, version = version + 1, is_told = 0
 WHERE kind = 'payin' AND source = :source AND state = 'paid_late'
   AND NOT EXISTS (SELECT 1 FROM bills AS back WHERE back.kind = 'refund' AND back.of_source = bills.source);

-- name: told
UPDATE bills SET is_told = 1 WHERE id = :id AND version = :version;

-- name: posted
SELECT 1 FROM postings WHERE campaign = :campaign AND id = :id;

-- name: post
INSERT INTO postings VALUES (:campaign, :id, :debit_account, :credit_account, :amount_minor, :at_us);

-- name: debit
INSERT INTO accounts VALUES (:campaign, :account, :amount_minor, 0)
ON CONFLICT DO UPDATE SET debits_minor = debits_minor + excluded.debits_minor;

-- name: credit
INSERT INTO accounts VALUES (:campaign, :account, 0, :amount_minor)
ON CONFLICT DO UPDATE SET credits_minor = credits_minor + excluded.credits_minor;

-- name: balance
SELECT debits_minor, credits_minor FROM accounts WHERE campaign = :campaign AND account = :account;

-- name: keep_notice
INSERT INTO inbox (provider, notice, said, received_us) VALUES (:provider, :notice, :said, :now_us) ON CONFLICT DO NOTHING;

-- name: inbox
SELECT id, provider, said FROM inbox WHERE is_seen = 0 ORDER BY id LIMIT :limit;

-- name: seen
UPDATE inbox SET is_seen = 1 WHERE id = :id;

-- name: cursor
SELECT seq FROM cursors WHERE name = :name;

-- name: move_cursor
INSERT INTO cursors VALUES (:name, :seq) ON CONFLICT DO UPDATE SET seq = excluded.seq;

-- name: listed
SELECT id FROM bills
 WHERE id > :after AND (:kind IS NULL OR kind = :kind) AND (:provider IS NULL OR provider = :provider)
 ORDER BY id LIMIT :limit;

-- name: listed_of_user
SELECT id FROM bills
 WHERE "user" = :user AND id > :after AND (:kind IS NULL OR kind = :kind)
   AND (:provider IS NULL OR provider = :provider)
   AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
 ORDER BY id LIMIT :limit;

-- name: listed_in_state
SELECT id FROM bills
 WHERE state = :state AND id > :after AND (:kind IS NULL OR kind = :kind)
   AND (:provider IS NULL OR provider = :provider)
 ORDER BY id LIMIT :limit;

-- name: moved
SELECT id FROM bills WHERE provider = :provider AND done_us >= :from_us AND done_us < :to_us ORDER BY done_us, id;

-- name: under_way
-- The first of a state, in the order of its index.
SELECT campaign, min(made_us)
  FROM (SELECT campaign, made_us FROM bills WHERE state = :state AND kind <> 'payin' ORDER BY id LIMIT :limit)
 GROUP BY campaign;

-- name: accounts
SELECT account, debits_minor, credits_minor FROM accounts
 WHERE campaign = :campaign AND (account < 'user:' OR account >= 'user;')
 ORDER BY account LIMIT :limit;

-- name: sums
SELECT provider, kind, state, count(*), sum(amount_minor), sum(fee_minor) FROM bills GROUP BY provider, kind, state
 ORDER BY provider, kind, state;

-- name: ledger
SELECT id, debit_account, credit_account, amount_minor, at_us FROM postings
 WHERE campaign = :campaign AND id >= :first AND id < :end
 ORDER BY id LIMIT :limit;

-- name: ledger_of_account
-- No index has the account: so many are looked through, and no more.
SELECT id, debit_account, credit_account, amount_minor, at_us
  FROM (SELECT id, debit_account, credit_account, amount_minor, at_us FROM postings
         WHERE campaign = :campaign AND id >= :first AND id < :end
         ORDER BY id LIMIT :looked) AS looked
 WHERE debit_account = :account OR credit_account = :account
 ORDER BY id LIMIT :limit;

-- name: last_looked_at
SELECT max(id)
  FROM (SELECT id FROM postings
         WHERE campaign = :campaign AND id >= :first AND id < :end
         ORDER BY id LIMIT :looked) AS looked;

-- name: spendings
-- Ids of spendings begin so, and ; is the sign after : so only these are read.
SELECT id, debit_account, credit_account, amount_minor, at_us FROM postings
 WHERE campaign = :campaign AND id >= 'spend:' AND id < 'spend;' AND debit_account = :account AND at_us >= :from_us
 ORDER BY id LIMIT :limit;

-- name: net_of
SELECT coalesce(sum(credits_minor - debits_minor), 0) FROM accounts WHERE account = :account;

-- name: forget_receivers
-- One that was changed by a bit stays what was not written.
UPDATE bills
   SET receiver = '',
       digest = iif(digest = digest_of(kind, source, campaign, "user", provider, currency, amount_minor, subject,
                                       receiver, of_source, account, how),
                    digest_of(kind, source, campaign, "user", provider, currency, amount_minor, subject,
                              '', of_source, account, how),
                    digest)
 WHERE receiver <> '' AND receiver <> "user" AND changed_us < :before_us AND (:user IS NULL OR "user" = :user)
   AND state IN ('done', 'paid_late', 'closed', 'failed', 'cancelled');
