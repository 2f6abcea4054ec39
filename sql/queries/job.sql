-- Background work (15-decisions, Jobs). A running job has run_at_ms 0; an add that joins it meanwhile sets the time
-- of one more run, which the end of this run then leaves waiting.

-- name: job_add :one
-- args: id:text, kind:text, unique_key:text?, payload:text, run_at:i64, max_attempts:i64, now:i64, created_by:text, keep:i64
-- cols: id:text
INSERT INTO job (id, kind, unique_key, payload, run_at_ms, max_attempts, created_ms, created_by)
VALUES (:id, :kind, :unique_key, :payload, :run_at, :max_attempts, :now, :created_by)
ON CONFLICT (unique_key) DO UPDATE SET
    run_at_ms = CASE WHEN :keep = 1 THEN job.run_at_ms
                     WHEN job.run_at_ms = 0 OR :run_at < job.run_at_ms THEN :run_at
                     ELSE job.run_at_ms END,
    payload = CASE WHEN :keep = 1 THEN job.payload ELSE excluded.payload END
RETURNING id;

-- Kinds that have something to do now.
-- name: job_due_kinds :many
-- args: now:i64
-- cols: kind:text
SELECT DISTINCT kind FROM job
WHERE (state = 'waiting' AND run_at_ms <= :now) OR (state = 'running' AND lease_until_ms < :now)
ORDER BY kind;

-- name: job_claim :one
-- args: kind:text, owner:text, now:i64, lease_until:i64
-- cols: id:text, unique_key:text?, payload:text, attempts:i64, max_attempts:i64, cancel_asked:i64
-- only: pgsql
UPDATE job SET state = 'running', lease_owner = :owner, lease_until_ms = :lease_until, attempts = attempts + 1,
    run_at_ms = 0, progress_done = 0, progress_total = 0
WHERE id = (SELECT id FROM job
            WHERE kind = :kind AND ((state = 'waiting' AND run_at_ms <= :now)
                                    OR (state = 'running' AND lease_until_ms < :now))
            ORDER BY run_at_ms, id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, unique_key, payload, attempts, max_attempts, cancel_asked;
-- only: sqlite3
UPDATE job SET state = 'running', lease_owner = :owner, lease_until_ms = :lease_until, attempts = attempts + 1,
    run_at_ms = 0, progress_done = 0, progress_total = 0
WHERE id = (SELECT id FROM job
            WHERE kind = :kind AND ((state = 'waiting' AND run_at_ms <= :now)
                                    OR (state = 'running' AND lease_until_ms < :now))
            ORDER BY run_at_ms, id LIMIT 1)
RETURNING id, unique_key, payload, attempts, max_attempts, cancel_asked;

-- Only the holder of the lease may end a run.
-- name: job_wait :exec1
-- args: id:text, owner:text, run_at:i64, attempts:i64, sooner:i64, result:text?
UPDATE job SET state = 'waiting', lease_owner = NULL, lease_until_ms = 0, attempts = :attempts, result = :result,
    run_at_ms = CASE WHEN :sooner = 1 AND run_at_ms > 0 AND run_at_ms < :run_at THEN run_at_ms ELSE :run_at END
WHERE id = :id AND lease_owner = :owner AND state = 'running';

-- A joined add makes it wait for its next run, else it has ended and gives its key free.
-- name: job_end :exec1
-- args: id:text, owner:text, state:text, now:i64, result:text?
UPDATE job SET
    state = CASE WHEN run_at_ms > 0 THEN 'waiting' ELSE :state END,
    attempts = CASE WHEN run_at_ms > 0 THEN 0 ELSE attempts END,
    unique_key = CASE WHEN run_at_ms > 0 THEN unique_key ELSE NULL END,
    finished_ms = CASE WHEN run_at_ms > 0 THEN NULL ELSE :now END,
    cancel_asked = 0, lease_owner = NULL, lease_until_ms = 0, result = :result
WHERE id = :id AND lease_owner = :owner AND state = 'running';

-- name: job_progress :one
-- args: id:text, owner:text, done:i64, total:i64, lease_until:i64
-- cols: cancel_asked:i64
UPDATE job SET progress_done = :done, progress_total = :total, lease_until_ms = :lease_until
WHERE id = :id AND lease_owner = :owner AND state = 'running'
RETURNING cancel_asked;

-- The clock was set back: what was planned by the clock as it was is planned anew, and nothing waits longer than it was to.
-- name: job_clock_back :exec
-- args: now:i64, step:i64
UPDATE job SET run_at_ms = CASE WHEN run_at_ms - :step > :now THEN run_at_ms - :step ELSE :now END
 WHERE state = 'waiting' AND run_at_ms > :now;
