-- The journal: every change of a store, in order. A row of kind
--   opened  says that the pot came to be with `count` slots from `first_slot`,
--   granted that users[k] has had slot first_slot + k since `at_us` (microseconds since the epoch; users is a JSON array),
--   taken   that `slots` (JSON [[first, count], …]) left the pot under the id `transfer`,
--   given   that they joined its end.
-- Rows are only ever appended. `chain` is the fingerprint of the log up to and with this row
-- (`redrush.ports.log_rows.chain_after`): a row that was changed, lost or put in breaks it.
CREATE TABLE log (
    seq        INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('opened', 'granted', 'taken', 'given')),
    pot        TEXT NOT NULL,
    first_slot INTEGER,
    count      INTEGER,
    at_us      INTEGER,
    users      TEXT,
    slots      TEXT,
    transfer   TEXT,
    chain      TEXT
) STRICT;
