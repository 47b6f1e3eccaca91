-- Grants and ledger: a projection of the logs of one campaign's sets. Several sets may record here at once.

-- The last record applied of each log, written in the transaction of what it stands for. Its lock makes the recorders
-- of one log take turns; those of different logs never meet.
CREATE TABLE cursors (
    log text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL
);

-- A round that was granted from: where its grants are kept, and how each of them is posted.
CREATE TABLE rounds (
    round          text COLLATE "C" PRIMARY KEY,
    number         integer GENERATED ALWAYS AS IDENTITY,
    partition      text COLLATE "C" UNIQUE,
    id_prefix      text COLLATE "C" NOT NULL,
    debit_account  text COLLATE "C" NOT NULL,
    credit_prefix  text COLLATE "C" NOT NULL
);

-- A grant is one row, and that row is its posting too (see the view ledger). Each partition holds one round and has two
-- unique keys of its own, slot and user: the round in them would say the same in every entry.
CREATE TABLE grants (
    slot         bigint NOT NULL CHECK (slot >= 0),
    round        text COLLATE "C" NOT NULL,
    "user"       text COLLATE "C" NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    at_us        bigint NOT NULL
) PARTITION BY LIST (round);

-- The postings of everything that is not a grant. at_us is null where the log does not say when.
CREATE TABLE postings (
    id             text COLLATE "C" PRIMARY KEY,
    debit_account  text COLLATE "C" NOT NULL,
    credit_account text COLLATE "C" NOT NULL,
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    at_us          bigint
);

-- Counts and sums of grants, one row for each log and round: nobody but the log's recorder writes it.
CREATE TABLE round_totals (
    log           text COLLATE "C" NOT NULL,
    round         text COLLATE "C" NOT NULL,
    grants        bigint NOT NULL,
    granted_minor bigint NOT NULL,
    PRIMARY KEY (log, round)
);

-- Double entry: an amount leaves one account and enters another, in one row, so debits equal credits by construction.
CREATE VIEW ledger AS
SELECT id, debit_account, credit_account, amount_minor, at_us
  FROM postings
UNION ALL
SELECT rounds.id_prefix || grants.slot, rounds.debit_account, rounds.credit_prefix || grants."user",
       grants.amount_minor, grants.at_us
  FROM grants JOIN rounds USING (round);

-- Makes the partition of a round that is not known yet. Any number of recorders may call it at once. ATTACH, unlike
-- CREATE TABLE … PARTITION OF, does not wait for those who are writing to other rounds.
CREATE FUNCTION register_round(new_round text, new_id_prefix text, new_debit_account text, new_credit_prefix text)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    made text;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('redrush.register_round', 0));
    IF EXISTS (SELECT FROM rounds WHERE round = new_round) THEN
        RETURN;
    END IF;
    INSERT INTO rounds (round, id_prefix, debit_account, credit_prefix)
    VALUES (new_round, new_id_prefix, new_debit_account, new_credit_prefix)
    RETURNING 'grants_' || number INTO made;
    UPDATE rounds SET partition = made WHERE round = new_round;
    EXECUTE format('CREATE TABLE %I (LIKE grants INCLUDING CONSTRAINTS)', made);
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (slot), ADD UNIQUE ("user")', made);
    EXECUTE format('ALTER TABLE grants ATTACH PARTITION %I FOR VALUES IN (%L)', made, new_round);
END
$$;
