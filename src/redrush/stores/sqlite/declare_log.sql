UPDATE sqlite_schema SET sql = ?1 WHERE type = 'table' AND name = 'log'
