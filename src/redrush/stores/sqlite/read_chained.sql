SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer, chain
FROM log
ORDER BY seq
