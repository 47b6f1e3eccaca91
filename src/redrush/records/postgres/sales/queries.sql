-- Rows go in as JSON, many at a time; each statement is one round trip, however many there are.

-- name: insert
INSERT INTO sale_orders (campaign, id, version, "set", pot, slot, number, "user", state, due_us, body)
SELECT %(campaign)s, id, 1, "set", pot, slot, number, "user", state, due_us, body
  FROM json_to_recordset(%(orders)s) AS fresh (
       id text, "set" text, pot text, slot bigint, number bigint, "user" text, state text, due_us bigint, body text)
    ON CONFLICT DO NOTHING
RETURNING id;

-- name: update
UPDATE sale_orders
   SET version = fresh.version + 1, "set" = fresh."set", pot = fresh.pot, slot = fresh.slot, number = fresh.number,
       state = fresh.state, due_us = fresh.due_us, body = fresh.body
  FROM json_to_recordset(%(orders)s) AS fresh (
       id text, version bigint, "set" text, pot text, slot bigint, number bigint, state text, due_us bigint, body text)
 WHERE sale_orders.campaign = %(campaign)s AND sale_orders.id = fresh.id AND sale_orders.version = fresh.version
RETURNING sale_orders.id;

-- name: get
SELECT body FROM sale_orders WHERE campaign = %(campaign)s AND id = %(id)s;

-- name: of_user
SELECT body FROM sale_orders WHERE campaign = %(campaign)s AND "user" = %(user)s ORDER BY place;

-- name: due
SELECT body FROM sale_orders WHERE campaign = %(campaign)s AND due_us <= %(now_us)s ORDER BY due_us LIMIT %(limit)s;

-- name: holds_known
SELECT "set", pot, slot, number
  FROM json_to_recordset(%(holds)s) AS asked ("set" text, pot text, slot bigint, number bigint)
  JOIN sale_orders USING ("set", pot, slot, number)
 WHERE campaign = %(campaign)s;

-- name: counts
SELECT state, count(*) FROM sale_orders WHERE campaign = %(campaign)s GROUP BY state;

-- name: all
SELECT body FROM sale_orders WHERE campaign = %(campaign)s ORDER BY place;
