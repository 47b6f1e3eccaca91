-- The fingerprint of the log up to the cursor, in the transaction that moves it: a log that was wound back and went on
-- otherwise is told from the one that was recorded. Null where it is not known: of logs recorded before this was kept.
ALTER TABLE cursors ADD COLUMN chain text COLLATE "C";
