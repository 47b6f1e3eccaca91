-- name: create
-- `content` is the packet; what stands beside it is what packets are looked for by.
CREATE TABLE packets (
    id          TEXT    PRIMARY KEY,
    sender      TEXT    NOT NULL,
    stage       INTEGER NOT NULL,
    created_us  INTEGER NOT NULL,
    paid_us     INTEGER,
    closes_us   INTEGER NOT NULL,
    total_minor INTEGER NOT NULL,
    request     TEXT,
    content     BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX by_request ON packets (sender, request) WHERE request IS NOT NULL;
CREATE INDEX by_sender ON packets (sender, created_us);
CREATE INDEX under_way ON packets (stage, closes_us) WHERE stage IN (1, 2);

-- name: with_digest
-- Of the content: that a bit of it was changed is noticed. Empty in rows of before.
ALTER TABLE packets ADD COLUMN digest TEXT NOT NULL DEFAULT '';

-- name: index_given
-- What a sender gave today is added up from this alone, however many packets that were.
CREATE INDEX given ON packets (sender, paid_us, total_minor, request) WHERE stage > 0;

-- name: index_stages
-- One for each stage that is looked for: SQLite takes a partial index only where the query names its condition as it is.
DROP INDEX under_way;
CREATE INDEX paying ON packets (id) WHERE stage = 1;
CREATE INDEX due ON packets (closes_us) WHERE stage = 2;

-- name: add
INSERT INTO packets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: keep
UPDATE packets
   SET sender = ?2, stage = ?3, created_us = ?4, paid_us = ?5, closes_us = ?6, total_minor = ?7, request = ?8, content = ?9,
       digest = ?10
 WHERE id = ?1;

-- name: turn
UPDATE packets SET stage = ? WHERE id = ?;

-- name: find
SELECT content, stage FROM packets WHERE id = :id;

-- name: find_each
-- One row: with one for each packet the thread that reads would ask for the interpreter as often. No text, for what is
-- not all ASCII would be turned into one of Python and back.
SELECT CAST('[' || coalesce(group_concat('[' || stage || ',' || CAST(content AS TEXT) || ']'), '') || ']' AS BLOB)
  FROM json_each(:ids) CROSS JOIN packets ON packets.id = json_each.value;

-- name: of_request
SELECT content, stage FROM packets WHERE sender = :sender AND request = :request;

-- name: of_sender
SELECT content, stage FROM packets WHERE sender = :sender ORDER BY created_us DESC LIMIT :limit;

-- name: given
-- What winners share is the sponsor's money.
SELECT coalesce(sum(total_minor), 0)
  FROM packets INDEXED BY given
 WHERE sender = :sender AND stage > 0 AND paid_us >= :since_us AND (request IS NULL OR request NOT GLOB 'share:*');

-- name: paying
SELECT content, stage FROM packets INDEXED BY paying WHERE stage = 1 AND id > :after ORDER BY id LIMIT :limit;

-- name: under_way
SELECT EXISTS (SELECT 1 FROM packets INDEXED BY paying WHERE stage = 1)
    OR EXISTS (SELECT 1 FROM packets INDEXED BY due WHERE stage = 2);

-- name: due
SELECT content, stage FROM packets INDEXED BY due WHERE stage = 2 AND closes_us <= :now_us ORDER BY closes_us LIMIT :limit;
