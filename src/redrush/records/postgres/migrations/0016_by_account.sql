-- Accounts are looked up by an index each: a packet between people is a pot with a posting, and there may be millions.
CREATE INDEX postings_debited ON postings (campaign, debit_account);
CREATE INDEX postings_credited ON postings (campaign, credit_account);
CREATE INDEX pots_debited ON pots (campaign, debit_account);
