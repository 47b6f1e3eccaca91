-- Rows go in as JSON, many at a time; each statement is one round trip, however many there are.

-- name: add
INSERT INTO packets (id, campaign, sender, stage, created_us, paid_us, closes_us, total_minor, request, content)
SELECT id, %(campaign)s, sender, stage, created_us, paid_us, closes_us, total_minor, request, content
  FROM json_to_recordset(%(packets)s) AS fresh (
       id text, sender text, stage smallint, created_us bigint, paid_us bigint, closes_us bigint, total_minor bigint,
       request text, content text)
    ON CONFLICT DO NOTHING;

-- name: of_requests
SELECT sender, request, content, stage
  FROM json_to_recordset(%(asked)s) AS asked (sender text, request text)
  JOIN packets USING (sender, request)
 WHERE campaign = %(campaign)s;

-- name: keep
UPDATE packets
   SET sender = fresh.sender, stage = fresh.stage, created_us = fresh.created_us, paid_us = fresh.paid_us,
       closes_us = fresh.closes_us, total_minor = fresh.total_minor, request = fresh.request, content = fresh.content
  FROM json_to_recordset(%(packets)s) AS fresh (
       id text, sender text, stage smallint, created_us bigint, paid_us bigint, closes_us bigint, total_minor bigint,
       request text, content text)
 WHERE packets.id = fresh.id;

-- name: turn
UPDATE packets SET stage = %(stage)s WHERE id = ANY(%(ids)s);

-- name: find_each
SELECT id, content, stage FROM packets WHERE id = ANY(%(ids)s) AND campaign = %(campaign)s;

-- name: of_sender
SELECT content, stage FROM packets
 WHERE campaign = %(campaign)s AND sender = %(sender)s
 ORDER BY created_us DESC LIMIT %(limit)s;

-- name: given
-- What winners share is the sponsor's money.
SELECT sender, sum(total_minor)::bigint
  FROM unnest(%(senders)s::text[]) AS asked (sender) JOIN packets USING (sender)
 WHERE campaign = %(campaign)s AND stage > 0 AND paid_us >= %(since_us)s
   AND (request IS NULL OR NOT starts_with(request, 'share:'))
 GROUP BY sender;

-- name: paying
SELECT content, stage FROM packets
 WHERE campaign = %(campaign)s AND stage = 1 AND id > %(after)s
 ORDER BY id LIMIT %(limit)s;

-- name: opened
SELECT content, stage FROM packets
 WHERE campaign = %(campaign)s AND stage = 2 AND id > %(after)s
 ORDER BY id LIMIT %(limit)s;

-- name: under_way
SELECT EXISTS (SELECT FROM packets WHERE campaign = %(campaign)s AND stage = 1)
    OR EXISTS (SELECT FROM packets WHERE campaign = %(campaign)s AND stage = 2);

-- name: due
SELECT content, stage FROM packets
 WHERE campaign = %(campaign)s AND stage = 2 AND closes_us <= %(now_us)s
 ORDER BY closes_us LIMIT %(limit)s;

-- name: heard
SELECT coalesce((SELECT seq FROM packet_cursors WHERE log = %(log)s), 0);

-- name: hear
INSERT INTO packet_cursors (log, seq) VALUES (%(log)s, %(seq)s)
ON CONFLICT (log) DO UPDATE SET seq = greatest(packet_cursors.seq, excluded.seq);
