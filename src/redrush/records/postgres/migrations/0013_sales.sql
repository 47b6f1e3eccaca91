-- The book of sales (redrush.ports.sale_book). No projection, as the records are: to whom money is due stands nowhere else.
CREATE TABLE sale_orders (
    place    bigint GENERATED ALWAYS AS IDENTITY,
    version  bigint NOT NULL,
    slot     bigint NOT NULL,
    number   bigint NOT NULL,
    due_us   bigint NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    id       text COLLATE "C" NOT NULL,
    "set"    text COLLATE "C" NOT NULL,
    pot      text COLLATE "C" NOT NULL,
    "user"   text COLLATE "C" NOT NULL,
    state    text COLLATE "C" NOT NULL,
    -- The whole order as JSON; the columns before it are what is looked for.
    body     text COLLATE "C" NOT NULL,
    PRIMARY KEY (campaign, id),
    UNIQUE (campaign, "set", pot, slot, number)
);
CREATE INDEX sale_orders_of_user ON sale_orders (campaign, "user", place);
CREATE INDEX sale_orders_due ON sale_orders (campaign, due_us);

CREATE TRIGGER alarm AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON sale_orders FOR EACH STATEMENT
    WHEN (current_setting('redrush.recorder', true) IS DISTINCT FROM 'yes')
    EXECUTE FUNCTION note_alarm();
