-- The book of messages to winners (redrush.ports.message_book). No projection: who was told stands nowhere else. No
-- address is in it, and no code. Columns that are changed stand before those that never are.
CREATE TABLE messages (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version    bigint NOT NULL,
    next_us    bigint,
    changed_us bigint NOT NULL,
    at_us      bigint NOT NULL,
    tries      integer NOT NULL,
    state      text COLLATE "C" NOT NULL,
    why        text COLLATE "C" NOT NULL,
    notifier   text COLLATE "C" NOT NULL,
    campaign   text COLLATE "C" NOT NULL,
    grant_id   text COLLATE "C" NOT NULL,
    "user"     text COLLATE "C" NOT NULL,
    number     text COLLATE "C" NOT NULL,
    -- As JSON.
    fields     text COLLATE "C" NOT NULL,
    UNIQUE (notifier, grant_id)
);
-- What is to be done: nobody ever reads the rest to find it.
CREATE INDEX messages_due ON messages (notifier, next_us, id) WHERE state = 'new';
CREATE INDEX messages_under_way ON messages (notifier, id) WHERE state = 'sending';
CREATE INDEX messages_of_state ON messages (state, notifier, id);
CREATE INDEX messages_of_user ON messages ("user", id);

CREATE TABLE message_cursors (
    name text COLLATE "C" PRIMARY KEY,
    seq  bigint NOT NULL
);

CREATE TRIGGER alarm AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON messages FOR EACH STATEMENT
    WHEN (current_setting('redrush.recorder', true) IS DISTINCT FROM 'yes')
    EXECUTE FUNCTION note_alarm();

-- Counts how often the lease went to another process: of what that one had under way, its successor knows nothing.
ALTER TABLE bill_teller ADD COLUMN turn bigint NOT NULL DEFAULT 1;
