-- A plain grant's row is its posting, as on PostgreSQL: what stood twice could disagree, and was half of the file.

-- step: postings of what is no plain grant
ALTER TABLE postings RENAME TO old_postings;
CREATE TABLE postings (
    campaign       INTEGER NOT NULL,
    id             TEXT    NOT NULL,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    amount_minor   INTEGER NOT NULL CHECK (amount_minor > 0),
    at_us          INTEGER, -- NULL where the log does not say when
    PRIMARY KEY (campaign, id)
) STRICT, WITHOUT ROWID;
INSERT INTO postings SELECT * FROM old_postings WHERE id < 'grant:' OR id >= 'grant;';
DROP TABLE old_postings;
UPDATE cursor SET unposted = unposted - (SELECT count(*) FROM grants WHERE number = 0 AND amount_minor = 0);

-- Double entry: an amount leaves one account and enters another, in one row, so debits equal credits by construction.
-- Ids and accounts of grants are those of redrush.core.money.ledger.grant_rule.
CREATE VIEW ledger AS
SELECT campaign, id, debit_account, credit_account, amount_minor, at_us
  FROM postings
UNION ALL
SELECT pots.campaign, 'grant:' || campaigns.id || '-' || pots.name || '-' || grants.slot, 'round:' || pots.name,
       'user:' || grants."user", grants.amount_minor, grants.at_us
  FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE grants.number = 0 AND grants.amount_minor > 0;
