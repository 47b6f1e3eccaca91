-- Grants with a deadline. One that is released is no grant any more and leaves the table; the journal tells that it was.

-- step: columns of holds
-- The deadline; NULL where a grant is permanent.
ALTER TABLE grants ADD COLUMN until_us INTEGER;
-- Tells the grants of a pot of holds apart, from 1. They are posted one by one; others, with 0, by the rule of their pot.
ALTER TABLE grants ADD COLUMN number INTEGER NOT NULL DEFAULT 0;
