-- name: journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer FROM log ORDER BY seq;

-- name: cursor
SELECT seq FROM cursor;

-- name: grants
SELECT slot, round, "user", amount_minor, at_us FROM grants ORDER BY slot;

-- name: grants_without_posting
-- Each grant must have exactly its posting: same amount, from the round, to the user, at the same instant.
SELECT slot, round, "user"
  FROM grants
 WHERE NOT EXISTS (
       SELECT 1 FROM postings
        WHERE postings.id = 'grant:' || :campaign || '-' || grants.round || '-' || grants.slot
          AND postings.debit_account = 'round:' || grants.round
          AND postings.credit_account = 'user:' || grants."user"
          AND postings.amount_minor = grants.amount_minor
          AND postings.at_us IS grants.at_us);

-- name: count_postings
SELECT count(*) FROM postings;

-- name: posting
SELECT debit_account, credit_account, amount_minor FROM postings WHERE id = :id;

-- name: postings_without_grant
-- Only asked when the count of postings is wrong.
SELECT id FROM postings
 WHERE id NOT IN (SELECT 'grant:' || :campaign || '-' || round || '-' || slot FROM grants)
   AND id NOT IN (SELECT value FROM json_each(:others))
 ORDER BY id;

-- name: wrong_balances
-- Every account added up anew from the postings, and accounts that nothing was ever posted to.
WITH entries (account, debit_minor, credit_minor) AS (
    SELECT debit_account, amount_minor, 0 FROM postings
    UNION ALL
    SELECT credit_account, 0, amount_minor FROM postings
),
sums (account, debits_minor, credits_minor) AS (
    SELECT account, sum(debit_minor), sum(credit_minor) FROM entries GROUP BY account
)
SELECT account, sums.debits_minor, sums.credits_minor, accounts.debits_minor, accounts.credits_minor
  FROM sums LEFT JOIN accounts USING (account)
 WHERE sums.debits_minor IS NOT accounts.debits_minor OR sums.credits_minor IS NOT accounts.credits_minor
UNION ALL
SELECT account, 0, 0, debits_minor, credits_minor
  FROM accounts
 WHERE account NOT IN (SELECT account FROM sums);

-- name: totals
SELECT (SELECT coalesce(sum(amount_minor), 0) FROM postings),
       (SELECT coalesce(sum(debits_minor), 0) FROM accounts),
       (SELECT coalesce(sum(credits_minor), 0) FROM accounts);

-- name: users
SELECT substr(account, 6), credits_minor - debits_minor FROM accounts WHERE account >= 'user:' AND account < 'user;';
