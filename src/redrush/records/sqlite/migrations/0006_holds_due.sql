-- Holds by their deadline: a sale looks every moment which of them are over.
CREATE INDEX grants_held ON grants (until_us, pot, slot) WHERE until_us IS NOT NULL;
