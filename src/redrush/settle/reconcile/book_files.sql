-- name: bills
SELECT kind, source, number, "user", provider, amount_minor, account, of_source, state, attempt, fee_minor, is_told, version
  FROM bills WHERE campaign = :campaign;

-- name: postings
SELECT id, debit_account, credit_account, amount_minor FROM postings WHERE campaign = :campaign;

-- name: accounts
SELECT account, debits_minor, credits_minor FROM accounts WHERE campaign = :campaign;

-- name: packets
SELECT id, sender, stage, created_us, paid_us, closes_us, total_minor, request, CAST(content AS TEXT) FROM packets;

-- name: orders
-- Before its pot stands the set, where there are several.
SELECT id, version, substr(pot, 1, max(0, instr(pot, ' ') - 1)), substr(pot, instr(pot, ' ') + 1), slot, number, "user",
       state, due_us, body
  FROM orders;
