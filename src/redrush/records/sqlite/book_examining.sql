-- name: integrity
PRAGMA integrity_check(100);

-- name: has_accepted
SELECT count(*) FROM sqlite_schema WHERE name = 'accepted';

-- name: make_accepted
-- Problems that an operator has gone on with.
CREATE TABLE IF NOT EXISTS accepted (problem TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;

-- name: accepted
SELECT problem FROM accepted;

-- name: accept
INSERT INTO accepted VALUES (?) ON CONFLICT DO NOTHING;

-- name: bills
SELECT 'bill ' || kind || ' ' || source || ' is not what was written'
  FROM bills
 WHERE digest NOT IN ('', digest_of(kind, source, campaign, "user", provider, currency, amount_minor, subject, receiver,
                                    of_source, account, how))
UNION ALL
SELECT 'bill ' || kind || ' ' || source || ' is of ' || bills.amount_minor || ' minor units, and ' || postings.amount_minor
       || ' were posted'
  FROM bills
  JOIN postings ON postings.campaign = bills.campaign
               AND postings.id = kind || ':' || source || '#' || attempt || iif(kind = 'payin', ':done', '')
 WHERE postings.amount_minor <> bills.amount_minor
UNION ALL
SELECT 'bill ' || kind || ' ' || source || ' is in the state ' || quote(state)
  FROM bills
 WHERE state NOT IN ('new', 'asked', 'open', 'closing', 'pending', 'confirming', 'held', 'done', 'paid_late', 'closed',
                     'failed', 'cancelled')
UNION ALL
-- By how much, which postings that come later leave as it is: what an operator has gone on with stays gone on with.
SELECT 'account ' || account || ' of ' || campaign || ' has '
       || printf('%+d', coalesce(debits_minor, 0) - coalesce(debits, 0)) || ' and '
       || printf('%+d', coalesce(credits_minor, 0) - coalesce(credits, 0)) || ' minor units against its postings'
  FROM (SELECT campaign, account, sum(debit) AS debits, sum(credit) AS credits
          FROM (SELECT campaign, debit_account AS account, amount_minor AS debit, 0 AS credit FROM postings
                UNION ALL
                SELECT campaign, credit_account, 0, amount_minor FROM postings)
         GROUP BY campaign, account)
  FULL JOIN accounts USING (campaign, account)
 WHERE debits_minor IS NOT debits OR credits_minor IS NOT credits;

-- name: packets
SELECT 'packet ' || id || ' is not what was written'
  FROM (SELECT *, CAST(content AS TEXT) AS said FROM packets)
 WHERE NOT json_valid(said)
    OR digest NOT IN ('', digest_of(content))
    OR said ->> 'id' IS NOT id
    OR said ->> 'sender' IS NOT sender
    OR said ->> 'created_us' IS NOT created_us
    OR said ->> 'paid_us' IS NOT paid_us
    OR said ->> 'closes_us' IS NOT closes_us
    OR said ->> 'total_minor' IS NOT total_minor
    OR nullif(said ->> 'request', '') IS NOT request
    OR stage NOT IN (0, 1, 2, 3)
    OR (json_array_length(said, '$.amounts') > 0
        AND ((SELECT sum(value) FROM json_each(said, '$.amounts')) IS NOT total_minor
             OR json_array_length(said, '$.amounts') IS NOT said ->> 'count'));

-- name: sales
SELECT 'order ' || id || ' is not what was written'
  FROM orders
 WHERE NOT json_valid(body)
    OR digest NOT IN ('', digest_of(body))
    OR body ->> 'id' IS NOT id
    OR body ->> 'version' IS NOT version
    OR body ->> 'slot' IS NOT slot
    OR body ->> 'number' IS NOT number
    OR body ->> 'user' IS NOT "user"
    OR body ->> 'state' IS NOT state
    OR body ->> 'due_us' IS NOT due_us;

-- name: messages
SELECT 'message by ' || notifier || ' about ' || grant_id || ' is not what was written'
  FROM messages
 WHERE digest NOT IN ('', digest_of(notifier, campaign, grant_id, "user", at_us, fields, number))
    OR NOT json_valid(fields)
UNION ALL
SELECT 'message by ' || notifier || ' about ' || grant_id || ' is in the state ' || quote(state)
  FROM messages
 WHERE state NOT IN ('new', 'sending', 'sent', 'unknown', 'failed');
