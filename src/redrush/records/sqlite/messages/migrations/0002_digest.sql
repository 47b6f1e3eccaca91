-- Of what never changes of a message: that a bit of it was changed is noticed. Empty in rows of before.

ALTER TABLE messages ADD COLUMN digest TEXT NOT NULL DEFAULT '';
