UPDATE log SET chain = ?2 WHERE seq = ?1
