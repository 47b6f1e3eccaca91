-- Things that are no money are moved and returned without a posting; of each log, how many, so that postings can be
-- counted: as many as the journal says, less these. (A grant's row is its own posting, and is counted as a grant.)
ALTER TABLE cursors ADD COLUMN unposted bigint NOT NULL DEFAULT 0;
