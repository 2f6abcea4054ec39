-- What is removed by its age (DEV-16): each statement looks at a bounded number of rows, along an index (PostgreSQL: an array of ids can't
-- become a join that reads the whole table).

-- name: retention_audit :exec
-- args: before:i64, max:i64
-- only: pgsql
DELETE FROM audit WHERE id = ANY (ARRAY(SELECT a.id FROM audit a WHERE a.at_ms < :before ORDER BY a.at_ms, a.id LIMIT :max));
-- only: sqlite3
DELETE FROM audit WHERE id IN (SELECT a.id FROM audit a WHERE a.at_ms < :before ORDER BY a.at_ms, a.id LIMIT :max);

-- name: retention_events :exec
-- args: before:i64, max:i64
-- only: pgsql
DELETE FROM device_event WHERE id = ANY (ARRAY(SELECT e.id FROM device_event e WHERE e.at_ms < :before ORDER BY e.at_ms LIMIT :max));
-- only: sqlite3
DELETE FROM device_event WHERE id IN (SELECT e.id FROM device_event e WHERE e.at_ms < :before ORDER BY e.at_ms LIMIT :max);

-- Messages that somebody has seen. That of an identity which is still in use stays: it says that nobody need be told again.
-- part: retention_seen
SELECT m.id FROM message m
WHERE m.ack_ms < :before
  AND NOT (m.code = :ending AND EXISTS (
           SELECT 1 FROM source_record r JOIN certificate c ON c.record_id = r.id
            WHERE r.device_id = m.object_id AND r.live = 1 AND c.slot = 'current' AND c.status = 'active'
              AND c.issued_ms <= m.at_ms))
ORDER BY m.ack_ms LIMIT :max

-- name: retention_messages :exec
-- args: before:i64, ending:text, max:i64
-- only: pgsql
DELETE FROM message WHERE id = ANY (ARRAY({retention_seen}));
-- only: sqlite3
DELETE FROM message WHERE id IN ({retention_seen});

-- The oldest task that has ended. One that still runs keeps what it ordered.
-- name: retention_task :one
-- args: before:i64
-- cols: id:text
SELECT q.id FROM quick_task q
 WHERE q.created_ms < :before AND q.checked_ms < :before AND q.state IN ('done', 'cancelled')
 ORDER BY q.created_ms, q.id LIMIT 1;

-- name: retention_task_devices :exec
-- args: id:text, max:i64
-- only: pgsql
DELETE FROM quick_task_device
 WHERE task_id = :id AND n = ANY (ARRAY(SELECT t.n FROM quick_task_device t WHERE t.task_id = :id ORDER BY t.n LIMIT :max));
-- only: sqlite3
DELETE FROM quick_task_device
 WHERE task_id = :id AND n IN (SELECT t.n FROM quick_task_device t WHERE t.task_id = :id ORDER BY t.n LIMIT :max);

-- name: retention_task_drop :exec
-- args: id:text
DELETE FROM quick_task WHERE id = :id AND state IN ('done', 'cancelled');

-- The next ended commands of the walk. A task tells its devices' states by their commands, a delivery names the one that carries it; the last
-- renewal of an identity, if it failed, is what administrators are told of.
-- name: retention_commands :many
-- args: before:i64, after:i64, after_id:text, max:i64
-- cols: id:text, done_ms:i64, keep:i64
SELECT c.id, c.done_ms,
       CASE WHEN (SELECT t.n FROM quick_task_device t WHERE t.command_id = c.id LIMIT 1) IS NOT NULL
              OR (SELECT y.state FROM delivery y WHERE y.command_id = c.id LIMIT 1) IS NOT NULL
              OR (COALESCE(c.coalesce_key, '') = 'identity.renew' AND c.state NOT IN ('acknowledged', 'superseded', 'cancelled')
                  AND NOT EXISTS (SELECT 1 FROM command n
                                   WHERE n.record_id = c.record_id AND n.seq > c.seq AND n.coalesce_key = 'identity.renew'))
            THEN 1 ELSE 0 END
  FROM command c
 WHERE c.open = 0 AND c.done_ms < :before AND (c.done_ms, c.id) > (:after, :after_id)
 ORDER BY c.done_ms, c.id LIMIT :max;

-- ids: JSON list.
-- name: retention_commands_drop :exec
-- args: ids:text, before:i64
-- only: pgsql
DELETE FROM command
 WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))) AND open = 0 AND done_ms < :before;
-- only: sqlite3
DELETE FROM command WHERE id IN (SELECT value FROM json_each(:ids)) AND open = 0 AND done_ms < :before;

-- name: retention_notices :exec
-- args: before:i64, max:i64
-- only: pgsql
DELETE FROM notice WHERE id = ANY (ARRAY(SELECT n.id FROM notice n WHERE n.done_ms < :before ORDER BY n.done_ms LIMIT :max));
-- only: sqlite3
DELETE FROM notice WHERE id IN (SELECT n.id FROM notice n WHERE n.done_ms < :before ORDER BY n.done_ms LIMIT :max);

-- Enrolments whose time is over end as such.
-- name: retention_pending_late :many
-- args: now:i64, max:i64
-- cols: id:text, person_login:text?
SELECT e.id, (SELECT p.login FROM person p WHERE p.id = e.person_id) AS person_login FROM pending_enrollment e
 WHERE e.state IN ('created', 'opened', 'profile', 'locked') AND e.expires_ms <= :now ORDER BY e.expires_ms, e.id LIMIT :max;

-- name: retention_pending_expire :exec
-- args: id:text, now:i64
UPDATE pending_enrollment SET state = 'expired', otp = NULL, proof_hash = NULL, finished_ms = :now, version = version + 1
 WHERE id = :id AND state IN ('created', 'opened', 'profile', 'locked') AND expires_ms <= :now;

-- Those that have ended, and those that never will.
-- name: retention_pending_drop :exec
-- args: before:i64, max:i64
-- only: pgsql
DELETE FROM pending_enrollment WHERE id = ANY (ARRAY(SELECT e.id FROM pending_enrollment e WHERE e.expires_ms < :before ORDER BY e.expires_ms, e.id LIMIT :max));
-- only: sqlite3
DELETE FROM pending_enrollment WHERE id IN (SELECT e.id FROM pending_enrollment e WHERE e.expires_ms < :before ORDER BY e.expires_ms, e.id LIMIT :max);
