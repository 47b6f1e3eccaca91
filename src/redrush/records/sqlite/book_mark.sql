-- name: create
-- Which book it is, and how many commits it has had. One row.
CREATE TABLE IF NOT EXISTS life (book TEXT NOT NULL, commits INTEGER NOT NULL) STRICT;

-- name: begin
INSERT INTO life SELECT :book, 0 WHERE NOT EXISTS (SELECT 1 FROM life);

-- name: life
SELECT book, commits FROM life;

-- name: count
UPDATE life SET commits = commits + 1;

-- name: has_life
SELECT count(*) FROM sqlite_schema WHERE name = 'life';
