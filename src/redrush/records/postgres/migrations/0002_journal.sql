-- Every record of every log, verbatim and in the transaction that applied it: with it a log may be trimmed, everything
-- can be derived anew, and a set that lost all its copies be rebuilt. A row of kind
--   opened  says that the pot came to be with `count` slots from `first_slot`,
--   granted that users[k] has had slot first_slot + k since `at_us` (microseconds since the epoch; users is a JSON array),
--   taken   that `slots` (JSON [[first, count], …]) left the pot under the id `transfer`,
--   given   that they joined its end.
CREATE TABLE journal (
    log        text COLLATE "C" NOT NULL,
    seq        bigint NOT NULL,
    kind       text COLLATE "C" NOT NULL CHECK (kind IN ('opened', 'granted', 'taken', 'given')),
    pot        text COLLATE "C" NOT NULL,
    first_slot bigint,
    count      bigint,
    at_us      bigint,
    users      text COLLATE "C",
    slots      text COLLATE "C",
    transfer   text COLLATE "C",
    PRIMARY KEY (log, seq)
);
-- Compressing two kilobytes of user ids costs more than it saves.
ALTER TABLE journal ALTER COLUMN users SET STORAGE EXTERNAL;
