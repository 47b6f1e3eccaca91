-- The book of group packets (redrush.ports.packets). No projection, as the bill book is none. `content` is the packet; what
-- stands beside it is what packets are looked for by. `stage`: 0 unpaid, 1 being paid, 2 open, 3 over.
CREATE TABLE packets (
    created_us  bigint NOT NULL,
    paid_us     bigint,
    closes_us   bigint NOT NULL,
    total_minor bigint NOT NULL CHECK (total_minor > 0),
    stage       smallint NOT NULL,
    id          text COLLATE "C" PRIMARY KEY,
    campaign    text COLLATE "C" NOT NULL,
    sender      text COLLATE "C" NOT NULL,
    request     text COLLATE "C",
    content     text COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX packets_by_request ON packets (campaign, sender, request) WHERE request IS NOT NULL;
CREATE INDEX packets_by_sender ON packets (campaign, sender, created_us);
CREATE INDEX packets_given ON packets (campaign, sender, paid_us) INCLUDE (total_minor, request) WHERE stage > 0;
CREATE INDEX packets_due ON packets (campaign, closes_us) WHERE stage = 2;
CREATE INDEX packets_paying ON packets (campaign, id) WHERE stage = 1;
CREATE INDEX packets_open ON packets (campaign, id) WHERE stage = 2;

-- Up to which record of a log the book has heard of packets that were opened without it: those that winners share.
CREATE TABLE packet_cursors (
    log text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL
);

-- What a pot was opened with (its note), for recorders and for the book; most logs have none.
CREATE INDEX journal_notes ON journal (log, seq) WHERE kind = 'opened' AND transfer IS NOT NULL;
CREATE INDEX journal_noted_pots ON journal (pot) WHERE kind = 'opened' AND transfer IS NOT NULL;

CREATE TRIGGER alarm AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON packets FOR EACH STATEMENT
    WHEN (current_setting('redrush.recorder', true) IS DISTINCT FROM 'yes')
    EXECUTE FUNCTION note_alarm();
