-- The book of messages to winners. No projection: who was told stands nowhere else. No address is in it, and no code.

CREATE TABLE messages (
    id         INTEGER PRIMARY KEY,
    notifier   TEXT    NOT NULL,
    campaign   TEXT    NOT NULL,
    grant_id   TEXT    NOT NULL,
    "user"     TEXT    NOT NULL,
    at_us      INTEGER NOT NULL,
    fields     TEXT    NOT NULL, -- as JSON
    number     TEXT    NOT NULL,
    state      TEXT    NOT NULL,
    tries      INTEGER NOT NULL,
    next_us    INTEGER,
    changed_us INTEGER NOT NULL,
    why        TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    UNIQUE (notifier, grant_id)
) STRICT;
-- What is to be done: nobody ever reads the rest to find it.
CREATE INDEX messages_due ON messages (notifier, next_us) WHERE state = 'new';
CREATE INDEX messages_under_way ON messages (notifier, id) WHERE state = 'sending';
CREATE INDEX messages_of_state ON messages (state, notifier, id);
CREATE INDEX messages_of_user ON messages ("user", id);

CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
