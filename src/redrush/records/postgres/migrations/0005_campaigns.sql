-- Many campaigns, and pots that are no rounds: a pot is a row here, where a round was a partition, so that a million small
-- ones cost no DDL. Not partitioned: the keys begin with the pot, so that what a rush writes lies together, as it did in
-- a round's partition, and nothing is routed row by row.

-- A campaign without a name is that of a database in which nothing was granted yet: the first batch names it.
CREATE TABLE campaigns (
    campaign integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id       text COLLATE "C" NOT NULL UNIQUE
);

-- A pot that was granted from, and how each of its grants is posted.
CREATE TABLE pots (
    pot           integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign      integer NOT NULL REFERENCES campaigns,
    name          text COLLATE "C" NOT NULL,
    id_prefix     text COLLATE "C" NOT NULL,
    debit_account text COLLATE "C" NOT NULL,
    credit_prefix text COLLATE "C" NOT NULL,
    UNIQUE (campaign, name)
);

-- Version 4 had the campaign in the prefix of its rounds' postings only: grant:<campaign>-<round>-.
INSERT INTO campaigns (id)
SELECT DISTINCT substr(id_prefix, 7, length(id_prefix) - 8 - length(round)) FROM rounds;
INSERT INTO campaigns (id)
SELECT '' WHERE NOT EXISTS (SELECT FROM campaigns) AND EXISTS (SELECT FROM cursors);
INSERT INTO pots (campaign, name, id_prefix, debit_account, credit_prefix)
SELECT campaign, round, id_prefix, debit_account, credit_prefix
  FROM rounds JOIN campaigns ON id = substr(id_prefix, 7, length(id_prefix) - 8 - length(round))
 ORDER BY number;

DROP VIEW ledger;
DROP FUNCTION register_round;
ALTER TABLE grants RENAME TO old_grants;

-- A grant is one row, and that row is its posting too (see the view ledger). Slots are numbered in their pot; `request` tells
-- several grants of one user apart, and `holds` says what a slot holds, where that is no money.
CREATE TABLE grants (
    slot         bigint NOT NULL CHECK (slot >= 0),
    amount_minor bigint NOT NULL,
    at_us        bigint NOT NULL,
    pot          integer NOT NULL,
    "user"       text COLLATE "C" NOT NULL,
    request      text COLLATE "C" NOT NULL DEFAULT '',
    holds        text COLLATE "C",
    CHECK (amount_minor > 0 OR (amount_minor = 0 AND holds IS NOT NULL))
);

DO $$
DECLARE
    part    record;
    all_of  bigint := (SELECT coalesce(sum(grants), 0) FROM round_totals);
    moved   bigint := 0;
    so_many bigint;
    first   bigint;
    last    bigint;
    step    CONSTANT bigint := 250000;
BEGIN
    FOR part IN SELECT rounds.partition, pots.pot FROM rounds JOIN pots ON pots.name = rounds.round ORDER BY pots.pot LOOP
        EXECUTE format('SELECT min(slot), max(slot) FROM %I', part.partition) INTO first, last;
        WHILE first <= last LOOP
            EXECUTE format(
                'INSERT INTO grants (slot, amount_minor, at_us, pot, "user")
                 SELECT slot, amount_minor, at_us, $1, "user" FROM %I WHERE slot >= $2 AND slot < $3 ORDER BY slot',
                part.partition) USING part.pot, first, first + step;
            GET DIAGNOSTICS so_many = ROW_COUNT;
            moved := moved + so_many;
            first := first + step;
            RAISE NOTICE '% of % grants moved', moved, all_of;
        END LOOP;
    END LOOP;
    IF moved > 0 THEN
        RAISE NOTICE 'indexes of % grants are made', moved;
    END IF;
END
$$;
DROP TABLE old_grants;
ALTER TABLE grants ADD PRIMARY KEY (pot, slot);
-- Finds a user's grants, whatever the pots; and nobody can have the same one twice, whatever the sets.
ALTER TABLE grants ADD UNIQUE ("user", pot, request);

ALTER TABLE postings ADD COLUMN campaign integer REFERENCES campaigns;
UPDATE postings SET campaign = (SELECT min(campaign) FROM campaigns);
ALTER TABLE postings ALTER COLUMN campaign SET NOT NULL, DROP CONSTRAINT postings_pkey, ADD PRIMARY KEY (campaign, id);

-- A log is of one campaign. Null before its first batch.
ALTER TABLE cursors ADD COLUMN campaign integer REFERENCES campaigns;
UPDATE cursors SET campaign = (SELECT min(campaign) FROM campaigns);

-- Counts and sums of grants, one row for each log and pot: nobody but the log's recorder writes it.
CREATE TABLE pot_totals (
    log           text COLLATE "C" NOT NULL,
    pot           integer NOT NULL,
    grants        bigint NOT NULL,
    granted_minor bigint NOT NULL,
    PRIMARY KEY (log, pot)
);
INSERT INTO pot_totals
SELECT log, pot, grants, granted_minor FROM round_totals JOIN pots ON name = round;
DROP TABLE round_totals;
DROP TABLE rounds;

-- Double entry: an amount leaves one account and enters another, in one row, so debits equal credits by construction.
CREATE VIEW ledger AS
SELECT campaign, id, debit_account, credit_account, amount_minor, at_us
  FROM postings
UNION ALL
SELECT pots.campaign, pots.id_prefix || grants.slot, pots.debit_account, pots.credit_prefix || grants."user",
       grants.amount_minor, grants.at_us
  FROM grants JOIN pots USING (pot)
 WHERE grants.amount_minor > 0;
