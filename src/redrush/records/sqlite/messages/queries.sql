-- name: put
INSERT INTO messages (notifier, campaign, grant_id, "user", at_us, fields, number, state, tries, next_us, changed_us, why,
                      version, digest)
VALUES (:by, :campaign, :grant, :user, :at_us, :fields, :number, 'new', 0, :now_us, :now_us, '',
        0, :digest)
ON CONFLICT DO NOTHING;

-- name: cursor
SELECT seq FROM cursors WHERE name = :name;

-- name: move_cursor
INSERT INTO cursors VALUES (:name, :seq) ON CONFLICT DO UPDATE SET seq = excluded.seq;

-- name: due
SELECT id FROM messages WHERE state = 'new' AND notifier = :by AND next_us <= :now_us ORDER BY next_us LIMIT :limit;

-- name: begun
UPDATE messages SET state = 'sending', next_us = NULL, changed_us = :now_us, version = version + 1 WHERE id = :id;

-- name: change
UPDATE messages
   SET state = :state, tries = :tries, next_us = :next_us, changed_us = :changed_us, why = :why, version = version + 1
 WHERE id = :id AND version = :version;

-- name: of_id
SELECT id, notifier, campaign, grant_id, "user", at_us, fields, number, state, tries, next_us, changed_us, why, version
  FROM messages WHERE id = :id;

-- name: under_way
SELECT id FROM messages WHERE state = 'sending' AND notifier = :by ORDER BY id LIMIT :limit;

-- name: listed
SELECT id FROM messages WHERE id > :after AND (:by IS NULL OR notifier = :by) ORDER BY id LIMIT :limit;

-- name: listed_of_user
SELECT id FROM messages
 WHERE "user" = :user AND id > :after AND (:by IS NULL OR notifier = :by)
   AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
 ORDER BY id LIMIT :limit;

-- name: listed_in_state
SELECT id FROM messages
 WHERE state = :state AND id > :after AND (:by IS NULL OR notifier = :by)
 ORDER BY id LIMIT :limit;

-- name: missing
SELECT value FROM json_each(:grants)
 WHERE NOT EXISTS (SELECT 1 FROM messages WHERE notifier = :by AND grant_id = value);
