-- name: see_teller
-- NULL, or no row: it is to be taken, or to be renewed. Locks nothing, so a look that finds nothing to do writes nothing.
SELECT CASE WHEN teller = %(teller)s AND until - clock_timestamp() >= %(spare_s)s * interval '1 second' THEN 'us so far'
            WHEN teller <> %(teller)s AND until > clock_timestamp() THEN 'others' END
  FROM bill_teller;

-- name: hold_teller
-- One row: it is ours still, and is not taken over before what is taken under it is.
SELECT 1 FROM bill_teller WHERE teller = %(teller)s AND until > clock_timestamp() FOR SHARE;

-- name: take_over
INSERT INTO bill_teller (teller, until)
VALUES (%(teller)s, clock_timestamp() + %(lease_s)s * interval '1 second')
ON CONFLICT (only_one) DO UPDATE SET teller = excluded.teller, until = excluded.until,
                                     turn = bill_teller.turn + (bill_teller.teller <> excluded.teller)::int
      WHERE bill_teller.teller = excluded.teller OR bill_teller.until <= clock_timestamp()
RETURNING teller;

-- name: turn
SELECT turn FROM bill_teller WHERE teller = %(teller)s AND until > clock_timestamp();
