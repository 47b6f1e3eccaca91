-- The journal: every change of a store, in order. A row of kind
--   opened    says that the pot came to be with `count` slots from `first_slot`; `slots` has its limit and hold (JSON
--             [limit per user, hold in microseconds or null]), null where they are 1 and none,
--   granted   that users[k] has had slot first_slot + k since `at_us` (microseconds since the epoch; users is a JSON array),
--   scattered that users[k] has had a single slot of some pot since `at_us`; `slots` is JSON, by column: [pots, slots], or
--             [pots, slots, requests, numbers, until_us],
--   confirmed that such holds became permanent at `at_us`,
--   released  that they ended; their slots wait,
--   offered   that `slots` (JSON [[first, count], …]), which had been waiting, joined the pot's end,
--   taken     that they left the pot under the id `transfer`,
--   given     that they joined its end.
-- Rows are only ever appended. `chain` is the fingerprint of the log up to and with this row
-- (`redrush.ports.log_rows.chain_after`): a row that was changed, lost or put in breaks it.
CREATE TABLE log (
    seq        INTEGER PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN (
        'opened', 'granted', 'scattered', 'confirmed', 'released', 'offered', 'taken', 'given'
    )),
    pot        TEXT NOT NULL,
    first_slot INTEGER,
    count      INTEGER,
    at_us      INTEGER,
    users      TEXT,
    slots      TEXT,
    transfer   TEXT,
    chain      TEXT
) STRICT;
