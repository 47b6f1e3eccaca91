INSERT INTO identity VALUES (1, ?1, ?2) ON CONFLICT DO UPDATE SET content = excluded.content, digest = excluded.digest
