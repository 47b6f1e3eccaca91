-- Changes that no recorder made. Recorders say who they are (redrush.recorder); whoever else writes is noted, by statement,
-- and the running reconciliation tells of it and looks at everything again. What this does not see (a superuser who turns
-- triggers off, a changed file) is found by its sweeps.
CREATE TABLE alarms (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    who    text NOT NULL,
    what   text NOT NULL
);

CREATE FUNCTION note_alarm() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO alarms (who, what) VALUES (session_user, TG_OP || ' of ' || TG_TABLE_NAME);
    RETURN NULL;
END
$$;

DO $$
DECLARE
    watched text;
BEGIN
    FOREACH watched IN ARRAY ARRAY['grants', 'postings', 'journal', 'pots', 'pot_totals', 'campaigns', 'cursors'] LOOP
        EXECUTE format(
            'CREATE TRIGGER alarm AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT
             WHEN (current_setting(''redrush.recorder'', true) IS DISTINCT FROM ''yes'')
             EXECUTE FUNCTION note_alarm()', watched);
    END LOOP;
END
$$;
