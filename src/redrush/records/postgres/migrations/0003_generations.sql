-- Which history of its log a cursor belongs to (a set that is made anew goes on with another one): a recorder that still
-- holds records of an earlier one can apply them no more.
ALTER TABLE cursors ADD COLUMN generation bigint NOT NULL DEFAULT 1;
