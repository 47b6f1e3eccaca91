-- name: by_index
-- A table that was just filled has no statistics: what is due is found by index all the same.
SELECT set_config('enable_seqscan', 'off', false), set_config('enable_bitmapscan', 'off', false),
       set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false);
