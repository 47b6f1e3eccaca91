-- Grants as people look through them. Each is answered from an index, and costs what it shows.

-- name: bound
SELECT set_config('statement_timeout', %(milliseconds)s, false),
       set_config('default_transaction_read_only', 'on', false)

-- name: page
SELECT pots.name, slot, "user", amount_minor, holds, at_us, until_us
  FROM grants JOIN pots USING (pot)
 WHERE pots.pot = (SELECT pot FROM pots JOIN campaigns USING (campaign)
                    WHERE campaigns.id = %(campaign)s AND name = %(pot)s)
   AND slot > %(after)s
 ORDER BY slot LIMIT %(limit)s

-- name: of_user
SELECT pots.name, slot, "user", amount_minor, holds, at_us, until_us
  FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE "user" = %(user)s AND campaigns.id = %(campaign)s
 ORDER BY pots.pot, slot LIMIT %(limit)s

-- name: postings
SELECT postings.id, debit_account, credit_account, amount_minor, at_us
  FROM postings JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s AND postings.id = ANY(%(ids)s)

-- name: granted
SELECT pots.id_prefix || grants.slot, pots.debit_account, pots.credit_prefix || grants."user", amount_minor, at_us
  FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s AND grants."user" = %(user)s AND amount_minor > 0 AND number = 0
 ORDER BY pots.pot, slot LIMIT %(limit)s

-- name: totals
-- What was granted of each pot, as recorders keep it: one row for each log and pot.
SELECT pots.name, sum(granted_minor)::bigint
  FROM pot_totals JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE campaigns.id = %(campaign)s AND pots.name = ANY(%(pots)s)
 GROUP BY pots.name

-- name: sums
-- Of what is no plain grant: one posting for each funding and move, and two for each hold of money.
SELECT account, sum(debit)::bigint, sum(credit)::bigint
  FROM (SELECT debit_account AS account, amount_minor AS debit, 0 AS credit
          FROM postings JOIN campaigns USING (campaign)
         WHERE campaigns.id = %(campaign)s AND debit_account = ANY(%(accounts)s)
         UNION ALL
        SELECT credit_account, 0, amount_minor
          FROM postings JOIN campaigns USING (campaign)
         WHERE campaigns.id = %(campaign)s AND credit_account = ANY(%(accounts)s)) AS sides
 GROUP BY account

-- name: ledger
SELECT postings.id, debit_account, credit_account, amount_minor, at_us
  FROM postings
 WHERE campaign = (SELECT campaign FROM campaigns WHERE id = %(campaign)s)
   AND postings.id >= %(first)s AND postings.id < %(end)s
 ORDER BY postings.id LIMIT %(limit)s

-- name: ledger_of_account
-- No index has the account: so many are looked through, and no more.
SELECT id, debit_account, credit_account, amount_minor, at_us
  FROM (SELECT postings.id, debit_account, credit_account, amount_minor, at_us
          FROM postings
         WHERE campaign = (SELECT campaign FROM campaigns WHERE id = %(campaign)s)
           AND postings.id >= %(first)s AND postings.id < %(end)s
         ORDER BY postings.id LIMIT %(looked)s) AS looked
 WHERE debit_account = %(account)s OR credit_account = %(account)s
 ORDER BY id LIMIT %(limit)s

-- name: last_looked_at
SELECT max(id)
  FROM (SELECT postings.id
          FROM postings
         WHERE campaign = (SELECT campaign FROM campaigns WHERE id = %(campaign)s)
           AND postings.id >= %(first)s AND postings.id < %(end)s
         ORDER BY postings.id LIMIT %(looked)s) AS looked
