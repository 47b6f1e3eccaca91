-- name: create
CREATE TABLE orders (
    id         TEXT    PRIMARY KEY,
    version    INTEGER NOT NULL,
    pot        TEXT    NOT NULL,
    slot       INTEGER NOT NULL,
    number     INTEGER NOT NULL,
    "user"     TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    due_us     INTEGER NOT NULL,
    -- The whole order as JSON; the columns before it are what is looked for.
    body       TEXT    NOT NULL,
    UNIQUE (pot, slot, number)
) STRICT;
CREATE INDEX orders_of_user ON orders ("user");
CREATE INDEX orders_due ON orders (due_us);

-- name: with_digest
-- Of the body: that a bit of it was changed is noticed. Empty in rows of before.
ALTER TABLE orders ADD COLUMN digest TEXT NOT NULL DEFAULT '';

-- name: insert
INSERT INTO orders (id, version, pot, slot, number, "user", state, due_us, body, digest)
VALUES (:id, 1, :pot, :slot, :number, :user, :state, :due_us, :body, :digest)
    ON CONFLICT DO NOTHING;

-- name: update
UPDATE orders
   SET version = version + 1, pot = :pot, slot = :slot, number = :number, state = :state,
       due_us = :due_us, body = :body, digest = :digest
 WHERE id = :id AND version = :version;

-- name: get
SELECT body FROM orders WHERE id = :id;

-- name: of_user
SELECT body FROM orders WHERE "user" = :user ORDER BY rowid;

-- name: due
SELECT body FROM orders WHERE due_us <= :now_us ORDER BY due_us LIMIT :limit;

-- name: holds_known
SELECT orders.pot, orders.slot, orders.number
  FROM json_each(:holds) AS asked
  JOIN orders ON orders.pot = asked.value ->> 0 AND orders.slot = asked.value ->> 1
             AND orders.number = asked.value ->> 2;

-- name: counts
SELECT state, count(*) FROM orders GROUP BY state;

-- name: all
SELECT body FROM orders ORDER BY rowid;
