SELECT seq, kind, pot, first_slot, count, at_us, users, slots, transfer, chain
FROM log
WHERE seq > ?1
ORDER BY seq
LIMIT ?2
