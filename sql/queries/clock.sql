-- The clock was set back: what is planned by it comes forward (R48, DEV-15). Jobs and pushes: job.sql, push.sql.

-- name: clock_groups :exec
-- args: now:i64, step:i64
UPDATE device_group SET refresh_due_ms = CASE WHEN refresh_due_ms - :step > :now THEN refresh_due_ms - :step ELSE :now END
 WHERE kind = 'dynamic' AND refresh_due_ms > :now;

-- name: clock_refreshes :many
-- args: after:i64, after_id:text, max:i64
-- cols: id:text, due_ms:i64
SELECT id, refresh_due_ms FROM device
 WHERE refresh_due_ms >= :after AND (refresh_due_ms, id) > (:after, :after_id)
 ORDER BY refresh_due_ms, id LIMIT :max;

-- name: clock_expiries :many
-- args: after:i64, after_id:text, max:i64
-- cols: id:text, expires_ms:i64
SELECT id, expires_ms FROM command
 WHERE open = 1 AND expires_ms IS NOT NULL AND expires_ms >= :after AND (expires_ms, id) > (:after, :after_id)
 ORDER BY expires_ms, id LIMIT :max;

-- list: [{"id", "due", "was"}]
-- name: clock_expiries_set :exec
-- args: list:text
-- only: pgsql
UPDATE command SET expires_ms = v.due
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, due bigint, was bigint)
 WHERE command.id = v.id AND command.expires_ms = v.was;
-- only: sqlite3
UPDATE command SET expires_ms = v.due
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.due') AS due, json_extract(value, '$.was') AS was
          FROM json_each(:list)) AS v
 WHERE command.id = v.id AND command.expires_ms = v.was;

-- Where the walk stands; only the holder of the lease says so.
-- name: clock_job_set :exec1
-- args: id:text, owner:text, payload:text
UPDATE job SET payload = :payload WHERE id = :id AND lease_owner = :owner AND state = 'running';
