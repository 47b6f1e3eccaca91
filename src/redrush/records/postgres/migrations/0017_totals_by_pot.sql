-- What was granted of a pot is told without reading the rows of all others.
CREATE INDEX pot_totals_of_pot ON pot_totals (pot);
