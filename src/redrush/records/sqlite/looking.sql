-- Grants as people look through them. Each is answered from an index, and costs what it shows.

-- name: page
SELECT pots.name, slot, "user", amount_minor, holds, at_us, until_us
  FROM grants JOIN pots USING (pot)
 WHERE pots.pot = (SELECT pot FROM pots JOIN campaigns USING (campaign) WHERE campaigns.id = :campaign AND name = :pot)
   AND slot > :after
 ORDER BY slot LIMIT :limit

-- name: of_user
SELECT pots.name, slot, "user", amount_minor, holds, at_us, until_us
  FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE "user" = :user AND campaigns.id = :campaign
 ORDER BY pots.pot, slot LIMIT :limit

-- name: posting
SELECT postings.id, debit_account, credit_account, amount_minor, at_us
  FROM postings JOIN campaigns USING (campaign)
 WHERE campaigns.id = :campaign AND postings.id = :id

-- name: granted
-- As the view `ledger` has them, which SQLite would go through whole.
SELECT 'grant:' || campaigns.id || '-' || pots.name || '-' || slot, 'round:' || pots.name, 'user:' || "user",
       amount_minor, at_us
  FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE "user" = :user AND campaigns.id = :campaign AND amount_minor > 0 AND number = 0
 ORDER BY pots.pot, slot LIMIT :limit

-- name: balance
SELECT debits_minor, credits_minor
  FROM accounts JOIN campaigns USING (campaign)
 WHERE campaigns.id = :campaign AND account = :account

-- name: moved_on
-- What left pots without being granted: one posting for each move. Pots that are no rounds, which may be many, are aside.
SELECT debit_account, sum(amount_minor)
  FROM (SELECT 'take:' AS first, 'take:rest:' AS "end" UNION ALL SELECT 'take:rest;', 'take;')
 CROSS JOIN postings ON postings.id >= first AND postings.id < "end"
                    AND campaign = (SELECT campaign FROM campaigns WHERE id = :campaign)
 GROUP BY debit_account

-- name: ledger
SELECT postings.id, debit_account, credit_account, amount_minor, at_us
  FROM postings
 WHERE campaign = (SELECT campaign FROM campaigns WHERE id = :campaign)
   AND postings.id >= :first AND postings.id < :end
 ORDER BY postings.id LIMIT :limit

-- name: ledger_of_account
-- No index has the account: so many are looked through, and no more.
SELECT id, debit_account, credit_account, amount_minor, at_us
  FROM (SELECT postings.id, debit_account, credit_account, amount_minor, at_us
          FROM postings
         WHERE campaign = (SELECT campaign FROM campaigns WHERE id = :campaign)
           AND postings.id >= :first AND postings.id < :end
         ORDER BY postings.id LIMIT :looked) AS looked
 WHERE debit_account = :account OR credit_account = :account
 ORDER BY id LIMIT :limit

-- name: last_looked_at
SELECT max(id)
  FROM (SELECT postings.id
          FROM postings
         WHERE campaign = (SELECT campaign FROM campaigns WHERE id = :campaign)
           AND postings.id >= :first AND postings.id < :end
         ORDER BY postings.id LIMIT :looked) AS looked
