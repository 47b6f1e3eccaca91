-- A slot that was released in one set and moved may be held in another before the first one's recorder has come to the release.
-- So a hold is named by its log as well: the number of a hold is counted there.

-- The log of a hold; empty for what is permanent from the beginning, which no two logs can have.
ALTER TABLE grants ADD COLUMN log text COLLATE "C" NOT NULL DEFAULT '';
UPDATE grants SET log = (
       SELECT min(cursors.log) FROM cursors JOIN pots ON pots.campaign = cursors.campaign WHERE pots.pot = grants.pot)
 WHERE number > 0;
ALTER TABLE grants DROP CONSTRAINT grants_pkey, ADD PRIMARY KEY (pot, slot, number, log);
