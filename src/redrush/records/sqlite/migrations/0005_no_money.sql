-- Things that are no money are granted, moved and returned without a posting.

-- step: a count of what has no posting
-- So that postings can be counted: as many as the journal says, less these.
ALTER TABLE cursor ADD COLUMN unposted INTEGER NOT NULL DEFAULT 0;
