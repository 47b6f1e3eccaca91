-- Of what never changes of a bill: that a bit of it was changed is noticed. Empty in rows of before.

ALTER TABLE bills ADD COLUMN digest TEXT NOT NULL DEFAULT '';
