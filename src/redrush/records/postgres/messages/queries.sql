-- Rows go in as JSON, many at a time; each statement is one round trip, however many there are.

-- name: put
INSERT INTO messages
       (notifier, campaign, grant_id, "user", at_us, fields, number, state, tries, next_us, changed_us, why, version)
SELECT "by", campaign, "grant", "user", at_us, fields, number, 'new', 0, %(now_us)s, %(now_us)s, '', 0
  FROM json_to_recordset(%(messages)s) AS fresh (
       "by" text, campaign text, "grant" text, "user" text, at_us bigint, fields text, number text)
    ON CONFLICT DO NOTHING;

-- name: cursor
SELECT seq FROM message_cursors WHERE name = %(name)s;

-- name: move_cursor
INSERT INTO message_cursors VALUES (%(name)s, %(seq)s) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq;

-- name: take
WITH due AS MATERIALIZED (
    SELECT id, next_us FROM messages
     WHERE state = 'new' AND notifier = %(by)s AND next_us <= %(now_us)s
     ORDER BY next_us, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
UPDATE messages SET state = 'sending', next_us = NULL, changed_us = %(now_us)s, version = version + 1
  FROM due WHERE messages.id = due.id
RETURNING due.next_us, messages.id, notifier, campaign, grant_id, "user", at_us, fields, number, state, tries,
          messages.next_us, changed_us, why, version;

-- name: change
UPDATE messages
   SET state = fresh.state, tries = fresh.tries, next_us = fresh.next_us, changed_us = fresh.changed_us, why = fresh.why,
       version = fresh.version + 1
  FROM json_to_recordset(%(fates)s) AS fresh (
       id bigint, version bigint, state text, tries integer, next_us bigint, changed_us bigint, why text)
 WHERE messages.id = fresh.id AND messages.version = fresh.version;

-- name: under_way
SELECT id, notifier, campaign, grant_id, "user", at_us, fields, number, state, tries, next_us, changed_us, why, version
  FROM messages WHERE state = 'sending' AND notifier = %(by)s ORDER BY id LIMIT %(limit)s;

-- name: of_id
SELECT id, notifier, campaign, grant_id, "user", at_us, fields, number, state, tries, next_us, changed_us, why, version
  FROM messages WHERE id = %(id)s;

-- name: listed
SELECT id, notifier, campaign, grant_id, "user", at_us, fields, number, state, tries, next_us, changed_us, why, version
  FROM messages
 WHERE id > %(after)s AND (%(by)s::text IS NULL OR notifier = %(by)s) AND (%(user)s::text IS NULL OR "user" = %(user)s)
   AND (cardinality(%(states)s::text[]) = 0 OR state = ANY (%(states)s))
 ORDER BY id LIMIT %(limit)s;

-- name: missing
SELECT asked FROM unnest(%(grants)s::text[]) AS asked
 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE notifier = %(by)s AND grant_id = asked);
