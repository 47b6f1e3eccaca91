-- Grants with a deadline. One that is released is no grant any more and leaves the table; the journal tells that it was.

-- The deadline; null where a grant is permanent.
ALTER TABLE grants ADD COLUMN until_us bigint;
-- Tells the grants of a pot of holds apart, from 1. They are posted one by one; others, with 0, by the rule of their pot.
ALTER TABLE grants ADD COLUMN number bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE VIEW ledger AS
SELECT campaign, id, debit_account, credit_account, amount_minor, at_us
  FROM postings
UNION ALL
SELECT pots.campaign, pots.id_prefix || grants.slot, pots.debit_account, pots.credit_prefix || grants."user",
       grants.amount_minor, grants.at_us
  FROM grants JOIN pots USING (pot)
 WHERE grants.amount_minor > 0 AND grants.number = 0;

-- More kinds of rows: `scattered` grants single slots of whatever pots, and `confirmed` and `released` are about holds: `users`
-- and `slots` name them by column (redrush.ports.log_rows); `offered` lets released slots be claimed again.
ALTER TABLE journal DROP CONSTRAINT journal_kind_check;
ALTER TABLE journal ADD CONSTRAINT journal_kind_check CHECK (
    kind IN ('opened', 'granted', 'scattered', 'confirmed', 'released', 'offered', 'taken', 'given')
) NOT VALID;
