-- name: begin
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: there
-- A database of an earlier version has not all of them, and one that nobody has used has none.
SELECT name
  FROM unnest(ARRAY['bills', 'bill_postings', 'bill_accounts', 'packets', 'sale_orders']) AS asked (name)
 WHERE to_regclass(name) IS NOT NULL;

-- name: bills
SELECT kind, source, number, "user", provider, amount_minor, account, of_source, state, attempt, fee_minor, is_told, version
  FROM bills WHERE campaign = %(campaign)s;

-- name: bill_postings
SELECT id, debit_account, credit_account, amount_minor FROM bill_postings WHERE campaign = %(campaign)s;

-- name: bill_accounts
SELECT account, debits_minor, credits_minor FROM bill_accounts WHERE campaign = %(campaign)s;

-- name: packets
SELECT id, sender, stage, created_us, paid_us, closes_us, total_minor, request, content
  FROM packets WHERE campaign = %(campaign)s;

-- name: sale_orders
SELECT id, version, "set", pot, slot, number, "user", state, due_us, body FROM sale_orders WHERE campaign = %(campaign)s;
