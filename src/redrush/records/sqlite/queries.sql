-- name: create_fresh_grants
-- The batch under way, of this connection only. JSON is parsed once; the rest is SQL from table to table.
CREATE TEMP TABLE fresh_grants (
    pot          INTEGER NOT NULL,
    slot         INTEGER NOT NULL,
    "user"       TEXT    NOT NULL,
    amount_minor INTEGER NOT NULL,
    at_us        INTEGER NOT NULL,
    request      TEXT    NOT NULL DEFAULT '',
    number       INTEGER NOT NULL DEFAULT 0,
    until_us     INTEGER,
    holds        TEXT
) STRICT;

-- name: create_fresh_rules
-- Which accounts the grants of each pot are of, holds aside: a grant's row is its posting.
CREATE TEMP TABLE fresh_rules (
    pot           INTEGER PRIMARY KEY,
    debit_account TEXT NOT NULL,
    credit_prefix TEXT NOT NULL
) STRICT;

-- name: create_fresh_postings
-- Of everything that has no rule.
CREATE TEMP TABLE fresh_postings (
    id             TEXT    NOT NULL,
    debit_account  TEXT    NOT NULL,
    credit_account TEXT    NOT NULL,
    amount_minor   INTEGER NOT NULL,
    at_us          INTEGER
) STRICT;

-- name: campaigns
SELECT campaign, id FROM campaigns;

-- name: keep_campaign
INSERT INTO campaigns (id) VALUES (:id) RETURNING campaign;

-- name: name_campaign
UPDATE campaigns SET id = :id WHERE id = '';

-- name: pot
SELECT pot FROM pots WHERE campaign = :campaign AND name = :name;

-- name: keep_pot
INSERT INTO pots (campaign, name) VALUES (:campaign, :name) RETURNING pot;

-- name: tables
SELECT count(*) FROM sqlite_schema;

-- name: cursor
SELECT seq FROM cursor;

-- name: mark
SELECT seq, chain, log, digest FROM cursor;

-- name: move_cursor
UPDATE cursor SET seq = :seq, chain = :chain, log = :log, digest = :digest;

-- name: add_unposted
UPDATE cursor SET unposted = unposted + :unposted;

-- name: keep_log
INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: journal
SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer FROM journal ORDER BY seq;

-- name: load_grants
-- :grants is [[user, amount_minor, holds], …], the last only where it is no money; the k-th has slot :first_slot + k.
INSERT INTO fresh_grants (pot, slot, "user", amount_minor, at_us, holds)
SELECT :pot, :first_slot + key, value ->> 0, value ->> 1, :at_us, value ->> 2
  FROM json_each(:grants);

-- name: load_rule
INSERT INTO fresh_rules VALUES (:pot, :debit_account, :credit_prefix) ON CONFLICT DO NOTHING;

-- name: load_scattered
-- :grants is [[pot's number, slot, user, amount_minor, request, number, until_us, holds], …].
INSERT INTO fresh_grants
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, :at_us, value ->> 4, value ->> 5, value ->> 6, value ->> 7
  FROM json_each(:grants);

-- name: confirm
UPDATE grants SET until_us = NULL WHERE pot = :pot AND slot = :slot AND number = :number;

-- name: release
DELETE FROM grants WHERE pot = :pot AND slot = :slot AND number = :number;

-- name: load_posting
INSERT INTO fresh_postings VALUES (:id, :debit_account, :credit_account, :amount_minor, :at_us);

-- name: keep_grants
INSERT INTO grants (pot, slot, "user", amount_minor, at_us, request, number, until_us, holds)
SELECT pot, slot, "user", amount_minor, at_us, request, number, until_us, holds FROM fresh_grants;

-- name: keep_postings
INSERT INTO postings SELECT :campaign, id, debit_account, credit_account, amount_minor, at_us FROM fresh_postings;

-- name: debit_pots
INSERT INTO accounts
SELECT :campaign, debit_account, of_pot, 0
  FROM (SELECT pot, sum(amount_minor) AS of_pot
          FROM fresh_grants
         WHERE number = 0 AND amount_minor > 0
         GROUP BY pot)
  JOIN fresh_rules USING (pot)
 WHERE true
ON CONFLICT DO UPDATE SET debits_minor = debits_minor + excluded.debits_minor;

-- name: credit_users
-- Grouping also sorts, so that neighbouring accounts are written together: half the pages of arrival order.
INSERT INTO accounts
SELECT :campaign, (SELECT credit_prefix FROM fresh_rules WHERE fresh_rules.pot = fresh_grants.pot) || "user",
       0, sum(amount_minor)
  FROM fresh_grants
 WHERE number = 0 AND amount_minor > 0
 GROUP BY pot, "user"
ON CONFLICT DO UPDATE SET credits_minor = credits_minor + excluded.credits_minor;

-- name: debit_accounts
INSERT INTO accounts
SELECT :campaign, debit_account, sum(amount_minor), 0 FROM fresh_postings GROUP BY debit_account
ON CONFLICT DO UPDATE SET debits_minor = debits_minor + excluded.debits_minor;

-- name: credit_accounts
INSERT INTO accounts
SELECT :campaign, credit_account, 0, sum(amount_minor) FROM fresh_postings GROUP BY credit_account
ON CONFLICT DO UPDATE SET credits_minor = credits_minor + excluded.credits_minor;

-- name: clear_fresh_grants
DELETE FROM fresh_grants;

-- name: clear_fresh_rules
DELETE FROM fresh_rules;

-- name: clear_fresh_postings
DELETE FROM fresh_postings;

-- name: grants_of
SELECT grants.slot, pots.name, grants."user", grants.amount_minor, grants.at_us, campaigns.id, grants.until_us, grants.holds
  FROM grants JOIN pots USING (pot) JOIN campaigns USING (campaign)
 WHERE grants."user" = :user
 ORDER BY campaign, slot, pot;

-- name: holds_due
-- CROSS JOIN: SQLite would go through all grants of the campaign otherwise.
SELECT pots.name, grants."user", grants.slot, grants.request, grants.number, grants.until_us
  FROM grants INDEXED BY grants_held CROSS JOIN pots USING (pot) CROSS JOIN campaigns USING (campaign)
 WHERE grants.until_us <= :until_us AND campaigns.id = :campaign
 ORDER BY grants.until_us, grants.pot, grants.slot
 LIMIT :limit OFFSET :skip;

-- name: balance
SELECT debits_minor, credits_minor
  FROM accounts JOIN campaigns USING (campaign)
 WHERE campaigns.id = :campaign AND account = :account;

-- name: totals
SELECT (SELECT count(*) FROM grants),
       (SELECT coalesce(sum(amount_minor), 0) FROM grants),
       (SELECT count(*) FROM postings) + (SELECT count(*) FROM grants WHERE number = 0 AND amount_minor > 0),
       (SELECT coalesce(sum(debits_minor), 0) FROM accounts),
       (SELECT coalesce(sum(credits_minor), 0) FROM accounts);
