-- name: journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer FROM log ORDER BY seq;

-- name: last_seq
SELECT max(seq) FROM log;

-- name: cursor
SELECT seq FROM cursor;

-- name: grants
SELECT slot, name, "user", amount_minor, at_us, number, until_us, holds, '' AS log
  FROM grants LEFT JOIN pots USING (pot) LEFT JOIN campaigns USING (campaign)
 WHERE coalesce(campaigns.id, :campaign) = :campaign
 ORDER BY slot;

-- name: count_postings
-- Of everything but plain grants, whose rows are their postings.
SELECT count(*) FROM postings WHERE campaign = (SELECT campaign FROM campaigns WHERE id = :campaign);

-- name: posting
SELECT debit_account, credit_account, amount_minor
  FROM postings
 WHERE campaign = (SELECT campaign FROM campaigns WHERE id = :campaign) AND id = :id;

-- name: stray_postings
-- Only asked when the count of postings is wrong.
SELECT id FROM postings
 WHERE campaign = (SELECT campaign FROM campaigns WHERE id = :campaign)
   AND id NOT IN (SELECT value FROM json_each(:others))
 ORDER BY id;

-- name: wrong_balances
-- Every account added up anew from the postings, and accounts that nothing was ever posted to.
WITH ours (campaign) AS (
    SELECT campaign FROM campaigns WHERE id = :campaign
),
entries (account, debit_minor, credit_minor) AS (
    SELECT debit_account, amount_minor, 0 FROM ledger JOIN ours USING (campaign)
    UNION ALL
    SELECT credit_account, 0, amount_minor FROM ledger JOIN ours USING (campaign)
),
sums (account, debits_minor, credits_minor) AS (
    SELECT account, sum(debit_minor), sum(credit_minor) FROM entries GROUP BY account
),
kept AS (
    SELECT account, debits_minor, credits_minor FROM accounts JOIN ours USING (campaign)
)
SELECT account, sums.debits_minor, sums.credits_minor, kept.debits_minor, kept.credits_minor
  FROM sums LEFT JOIN kept USING (account)
 WHERE sums.debits_minor IS NOT kept.debits_minor OR sums.credits_minor IS NOT kept.credits_minor
UNION ALL
SELECT account, 0, 0, debits_minor, credits_minor
  FROM kept
 WHERE account NOT IN (SELECT account FROM sums);

-- name: totals
WITH ours (campaign) AS (
    SELECT campaign FROM campaigns WHERE id = :campaign
)
SELECT (SELECT coalesce(sum(amount_minor), 0) FROM ledger JOIN ours USING (campaign)),
       (SELECT coalesce(sum(debits_minor), 0) FROM accounts JOIN ours USING (campaign)),
       (SELECT coalesce(sum(credits_minor), 0) FROM accounts JOIN ours USING (campaign));

-- name: users
SELECT substr(account, 6), credits_minor - debits_minor
  FROM accounts
 WHERE campaign = (SELECT campaign FROM campaigns WHERE id = :campaign) AND account >= 'user:' AND account < 'user;';
