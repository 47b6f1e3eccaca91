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
