CREATE TABLE identity (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    content  TEXT NOT NULL,
    digest   TEXT NOT NULL
) STRICT
