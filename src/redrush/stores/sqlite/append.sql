INSERT INTO log (seq, kind, pot, first_slot, count, at_us, users, slots, transfer, chain)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
