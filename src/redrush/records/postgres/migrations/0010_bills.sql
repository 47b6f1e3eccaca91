-- The bill book (redrush.ports.bill_book). No projection, as the other tables are: what stands here is nowhere else.
-- Columns that are changed with each look stand before those that never are.

CREATE TABLE bills (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version      bigint NOT NULL DEFAULT 0,
    made_us      bigint NOT NULL,
    changed_us   bigint NOT NULL,
    asked_us     bigint,
    next_us      bigint,
    expires_us   bigint,
    done_us      bigint,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    fee_minor    bigint NOT NULL DEFAULT 0,
    attempt      integer NOT NULL DEFAULT 1,
    looks        integer NOT NULL DEFAULT 0,
    is_told      boolean NOT NULL DEFAULT false,
    state        text COLLATE "C" NOT NULL,
    kind         text COLLATE "C" NOT NULL CHECK (kind IN ('payin', 'payout', 'refund')),
    source       text COLLATE "C" NOT NULL,
    number       text COLLATE "C" NOT NULL UNIQUE,
    campaign     text COLLATE "C" NOT NULL,
    "user"       text COLLATE "C" NOT NULL,
    provider     text COLLATE "C" NOT NULL,
    currency     text COLLATE "C" NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    receiver     text COLLATE "C" NOT NULL,
    of_source    text COLLATE "C" NOT NULL,
    account      text COLLATE "C" NOT NULL,
    how          text COLLATE "C" NOT NULL,
    detail       text COLLATE "C" NOT NULL DEFAULT '',
    reference    text COLLATE "C" NOT NULL DEFAULT '',
    UNIQUE (kind, source)
);
-- What is to be done: nobody ever reads the rest to find it. Pay-ins first, for somebody looks at a screen.
CREATE INDEX bills_to_start ON bills (provider, kind, next_us) WHERE state = 'new';
CREATE INDEX bills_to_ask ON bills (provider, kind, next_us) WHERE next_us IS NOT NULL AND state <> 'new';
CREATE INDEX bills_untold ON bills (id)
    WHERE NOT is_told AND kind <> 'payout' AND state IN ('done', 'paid_late', 'closed', 'failed', 'cancelled');
CREATE INDEX refunds_of ON bills (of_source) WHERE kind = 'refund';
CREATE INDEX bills_of_user ON bills ("user", id);
CREATE INDEX bills_of_state ON bills (state, id);
CREATE INDEX bills_moved ON bills (provider, done_us) WHERE done_us IS NOT NULL;

-- Numbers of attempts before the present one: a late notice may name them.
CREATE TABLE bill_numbers (
    number text COLLATE "C" PRIMARY KEY,
    bill   bigint NOT NULL
);

-- Double entry, as in the records: an amount leaves one account and enters another, in one row.
CREATE TABLE bill_postings (
    amount_minor   bigint NOT NULL CHECK (amount_minor > 0),
    at_us          bigint,
    campaign       text COLLATE "C" NOT NULL,
    id             text COLLATE "C" NOT NULL,
    debit_account  text COLLATE "C" NOT NULL,
    credit_account text COLLATE "C" NOT NULL,
    PRIMARY KEY (campaign, id)
);

CREATE TABLE bill_accounts (
    debits_minor  bigint NOT NULL,
    credits_minor bigint NOT NULL,
    account       text COLLATE "C" NOT NULL,
    campaign      text COLLATE "C" NOT NULL,
    PRIMARY KEY (account, campaign)
);

-- What a notice says is JSON, with no name and no address in it.
CREATE TABLE bill_inbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_us bigint NOT NULL,
    is_seen     boolean NOT NULL DEFAULT false,
    provider    text COLLATE "C" NOT NULL,
    notice      text COLLATE "C" NOT NULL,
    said        text COLLATE "C" NOT NULL,
    UNIQUE (provider, notice)
);
CREATE INDEX bill_inbox_unseen ON bill_inbox (id) WHERE NOT is_seen;

CREATE TABLE bill_cursors (
    name text COLLATE "C" PRIMARY KEY,
    seq  bigint NOT NULL
);

-- Which process looks after the bills, until when: one at a time, so that a provider's pace is kept. By this clock alone.
CREATE TABLE bill_teller (
    teller   text COLLATE "C" NOT NULL,
    until    timestamptz NOT NULL,
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);

DO $$
DECLARE
    watched text;
BEGIN
    FOREACH watched IN ARRAY ARRAY['bills', 'bill_postings', 'bill_accounts'] LOOP
        EXECUTE format(
            'CREATE TRIGGER alarm AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT
             WHEN (current_setting(''redrush.recorder'', true) IS DISTINCT FROM ''yes'')
             EXECUTE FUNCTION note_alarm()', watched);
    END LOOP;
END
$$;
