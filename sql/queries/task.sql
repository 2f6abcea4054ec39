-- Quick tasks (DEV-07). What became of a device is what became of its command: told here, and nowhere stored a second time.

-- part: task_cols
id:text, kind:text, summary:text, target:text, created_ms:i64, created_by:text, spread_ms:i64, expiry_ms:i64, hidden:i64, state:text, counts:text, walked:i64, limit_admin:text, cursor:text?, open:i64, checked_ms:i64

-- part: task_row
SELECT q.id, q.kind, q.summary, q.target, q.created_ms, q.created_by, q.spread_ms, q.expiry_ms, q.hidden, q.state, q.counts, q.walked,
       q.limit_admin, q.cursor, q.open, q.checked_ms
  FROM quick_task q

-- A device that is enrolled by mail alone has no command: its mail apps say what became of it (domain/mdm_eas_wipe). A command that is gone went with its device; a removal that its record did not survive has done what it should. Record and push are looked
-- up for the few that need it: a join would read the whole tables.
-- part: task_state
CASE WHEN t.state = 'waiting' THEN 'initiated'
     WHEN t.state = 'mailed' THEN COALESCE(
          (SELECT CASE MIN(CASE WHEN w.wipe_state = 'done' THEN 5 WHEN m.state = 'enrolled' THEN 1 WHEN w.wipe_state = 'failed' THEN 2 WHEN w.wipe_state = 'sent' THEN 3 ELSE 4 END)
                  WHEN 1 THEN 'cancelled' WHEN 2 THEN 'failed' WHEN 3 THEN 'delivered' WHEN 4 THEN 'initiated' END
             FROM source_record m LEFT JOIN eas_client w ON w.record_id = m.id
            WHERE m.device_id = t.device_id AND m.kind = 'eas' AND m.live = 1 AND m.state IN ('enrolled', 'leaving')), 'succeeded')
     WHEN t.state <> 'ordered' THEN t.state
     WHEN c.id IS NULL THEN CASE WHEN q.kind = 'unenroll' THEN 'succeeded' ELSE 'failed' END
     WHEN c.open = 1 AND c.expires_ms <= :now THEN 'expired'
     WHEN c.state = 'acknowledged' THEN 'succeeded'
     WHEN c.state IN ('error', 'format_error') THEN 'failed'
     WHEN c.state = 'cancelled' AND q.kind = 'unenroll'
          AND (SELECT r.live FROM source_record r WHERE r.id = c.record_id) = 0 THEN 'succeeded'
     WHEN c.state IN ('expired', 'cancelled') THEN c.state
     WHEN c.state = 'superseded' THEN 'cancelled'
     WHEN c.state IN ('sent', 'notnow') THEN 'delivered'
     WHEN (SELECT p.due_ms FROM push p WHERE p.record_id = c.record_id) IS NOT NULL THEN 'initiated'
     WHEN (SELECT r.push_ok FROM source_record r WHERE r.id = c.record_id) = 1 THEN 'notified'
     ELSE 'initiated' END

-- part: task_of
FROM quick_task_device t JOIN quick_task q ON q.id = t.task_id LEFT JOIN command c ON c.id = t.command_id

-- name: task_add :exec
-- args: id:text, kind:text, summary:text, options:text, target:text, limit_admin:text, now:i64, created_by:text, spread_ms:i64, expiry_ms:i64, state:text
INSERT INTO quick_task (id, kind, summary, options, target, limit_admin, created_ms, created_by, spread_ms, expiry_ms, state)
VALUES (:id, :kind, :summary, :options, :target, :limit_admin, :now, :created_by, :spread_ms, :expiry_ms, :state);

-- admin: whoever may see some folders only sees what he started himself.
-- name: task_get :one
-- args: id:text, admin:text
-- cols: {task_cols}
{task_row}
 WHERE q.id = :id AND (:admin = '' OR q.limit_admin = :admin);

-- which: 1 = those that run, 2 = those that have ended, or may have without anybody having looked.
-- name: task_list :many
-- args: admin:text, hidden_least:i64, hidden_most:i64, which:i64, before:i64, before_id:text, count:i64
-- cols: {task_cols}
{task_row}
 WHERE (q.created_ms, q.id) < (:before, :before_id) AND q.hidden >= :hidden_least AND q.hidden <= :hidden_most
   AND (:which = 0 OR (:which = 1 AND q.state NOT IN ('done', 'cancelled')) OR (:which = 2 AND q.state NOT IN ('preparing', 'cancelling'))) AND (:admin = '' OR q.limit_admin = :admin)
 ORDER BY q.created_ms DESC, q.id DESC LIMIT :count;

-- name: task_options :one
-- args: id:text
-- cols: kind:text, options:text, target:text, created_ms:i64, created_by:text, spread_ms:i64, expiry_ms:i64, state:text, walked:i64, limit_admin:text, cursor:text?, checked_ms:i64
SELECT kind, options, target, created_ms, created_by, spread_ms, expiry_ms, state, walked, limit_admin, cursor, checked_ms
  FROM quick_task WHERE id = :id;

-- name: task_hide :exec1
-- args: id:text, hidden:i64
UPDATE quick_task SET hidden = :hidden WHERE id = :id;

-- name: task_state_set :exec
-- args: id:text, was:text, state:text
UPDATE quick_task SET state = :state WHERE id = :id AND state = :was;

-- name: task_cancel :exec
-- args: id:text
UPDATE quick_task SET state = 'cancelling' WHERE id = :id AND state IN ('preparing', 'running');

-- ---------------------------------------------------------------- its devices

-- The devices of a list that the caller may see; ids: JSON.
-- name: task_devices_of_list :many
-- args: ids:text, admin:text
-- cols: id:text, name:text
-- only: pgsql
SELECT d.id, d.name FROM device d
 WHERE d.id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))
   AND (:admin = '' OR EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id
                                WHERE a.folder_id = d.folder_id AND l.admin_id = :admin))
 ORDER BY d.name_key, d.id;
-- only: sqlite3
SELECT d.id, d.name FROM device d
 WHERE d.id IN (SELECT value FROM json_each(:ids))
   AND (:admin = '' OR EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id
                                WHERE a.folder_id = d.folder_id AND l.admin_id = :admin))
 ORDER BY d.name_key, d.id;

-- list: JSON [{"id", "name"}]. A device that the walk meets twice stays as it was.
-- name: task_devices_add :exec
-- args: task_id:text, list:text, base:i64, now:i64
-- only: pgsql
INSERT INTO quick_task_device (task_id, device_id, n, name, state, updated_ms)
SELECT :task_id, e.v ->> 'id', :base + e.o, e.v ->> 'name', 'waiting', :now
  FROM jsonb_array_elements(CAST(:list AS jsonb)) WITH ORDINALITY AS e (v, o)
ON CONFLICT DO NOTHING;
-- only: sqlite3
INSERT INTO quick_task_device (task_id, device_id, n, name, state, updated_ms)
SELECT :task_id, json_extract(value, '$.id'), :base + key + 1, json_extract(value, '$.name'), 'waiting', :now
  FROM json_each(:list) WHERE 1 = 1
ON CONFLICT DO NOTHING;

-- name: task_walked :exec1
-- args: id:text, cursor:text?, walked:i64, was:i64
UPDATE quick_task SET cursor = :cursor, walked = :walked WHERE id = :id AND walked = :was AND state = 'preparing';

-- Takes the next devices behind number `after`; whoever else works on the task gets others. Without `after` each batch would step over what the
-- batches before have left in the index; ARRAY: the list is made once, whatever the planner thinks of the table.
-- name: task_take :many
-- args: task_id:text, after:i64, now:i64, max:i64
-- cols: device_id:text, n:i64
-- only: pgsql
UPDATE quick_task_device SET state = 'ordered', updated_ms = :now
 WHERE task_id = :task_id
   AND n = ANY (ARRAY(SELECT t.n FROM quick_task_device t WHERE t.task_id = :task_id AND t.state = 'waiting' AND t.n > :after
                       ORDER BY t.n LIMIT :max FOR UPDATE SKIP LOCKED))
RETURNING device_id, n;
-- only: sqlite3
UPDATE quick_task_device SET state = 'ordered', updated_ms = :now
 WHERE task_id = :task_id AND n IN (SELECT t.n FROM quick_task_device t WHERE t.task_id = :task_id AND t.state = 'waiting' AND t.n > :after
                                     ORDER BY t.n LIMIT :max)
RETURNING device_id, n;

-- The devices of a stretch that got orders, held in the order in which everybody takes many of them (delivery.sql): one after the other, as orders
-- are given, would be a deadlock with who writes their contacts.
-- name: task_hold :many
-- args: task_id:text, after:i64, upto:i64
-- cols: id:text
-- only: pgsql
WITH stretch AS MATERIALIZED (
    SELECT t.device_id FROM quick_task_device t WHERE t.task_id = :task_id AND t.n > :after AND t.n <= :upto AND t.state IN ('ordered', 'mailed')),
 records AS MATERIALIZED (
    SELECT r.id FROM source_record r WHERE r.live = 1 AND r.device_id = ANY (ARRAY(SELECT s.device_id FROM stretch s)) ORDER BY r.id FOR NO KEY UPDATE)
SELECT d.id FROM device d WHERE d.id = ANY (ARRAY(SELECT s.device_id FROM stretch s)) AND (SELECT COUNT(*) FROM records) >= 0
 ORDER BY d.id FOR NO KEY UPDATE;
-- only: sqlite3
SELECT t.device_id FROM quick_task_device t WHERE t.task_id = :task_id AND t.n > :after AND t.n <= :upto AND t.state IN ('ordered', 'mailed');

-- list: JSON [{"device", "state", "reason", "command"}]
-- name: task_devices_set :exec
-- args: task_id:text, list:text, now:i64
-- only: pgsql
UPDATE quick_task_device t SET state = v.state, reason = v.reason, command_id = v.command, updated_ms = :now
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (device text, state text, reason text, command text)
 WHERE t.task_id = :task_id AND t.device_id = v.device
   AND t.device_id = ANY (ARRAY(SELECT e ->> 'device' FROM jsonb_array_elements(CAST(:list AS jsonb)) AS e));
-- only: sqlite3
UPDATE quick_task_device SET state = v.state, reason = v.reason, command_id = v.command, updated_ms = :now
  FROM (SELECT json_extract(value, '$.device') AS device, json_extract(value, '$.state') AS state, json_extract(value, '$.reason') AS reason,
               json_extract(value, '$.command') AS command FROM json_each(:list)) AS v
 WHERE quick_task_device.task_id = :task_id AND quick_task_device.device_id = v.device;

-- name: task_command_mark :exec
-- args: id:text, task_id:text
UPDATE command SET task_id = :task_id WHERE id = :id;

-- The record was woken by the removal that this transaction has queued, and by nothing else.
-- name: task_push_later :exec
-- args: record_id:text, due_ms:i64
UPDATE push SET due_ms = :due_ms WHERE record_id = :record_id;

-- Taking back, a stretch of the list at a time: commands that no device has seen yet, then the devices of those and the ones that wait.
-- name: task_recall :many
-- args: task_id:text, after:i64, upto:i64, now:i64
-- cols: id:text, record_id:text, device_id:text?, leaving:i64
-- only: pgsql
UPDATE command SET open = 0, state = 'cancelled', done_ms = :now
 WHERE id = ANY (ARRAY(SELECT t.command_id FROM quick_task_device t
                        WHERE t.task_id = :task_id AND t.n > :after AND t.n <= :upto AND t.state = 'ordered'))
   AND open = 1 AND state = 'queued'
RETURNING id, record_id, device_id, leaving;
-- only: sqlite3
UPDATE command SET open = 0, state = 'cancelled', done_ms = :now
 WHERE id IN (SELECT t.command_id FROM quick_task_device t
               WHERE t.task_id = :task_id AND t.n > :after AND t.n <= :upto AND t.state = 'ordered')
   AND open = 1 AND state = 'queued'
RETURNING id, record_id, device_id, leaving;

-- Devices of the stretch whose mail apps were asked.
-- name: task_mailed :many
-- args: task_id:text, after:i64, upto:i64
-- cols: device_id:text
SELECT device_id FROM quick_task_device WHERE task_id = :task_id AND n > :after AND n <= :upto AND state = 'mailed' ORDER BY device_id;

-- taken: JSON list of ids, of commands and, where there was none, of devices.
-- name: task_recalled :exec
-- args: task_id:text, after:i64, upto:i64, taken:text, now:i64
-- only: pgsql
UPDATE quick_task_device SET state = 'cancelled', updated_ms = :now
 WHERE task_id = :task_id AND n > :after AND n <= :upto
   AND (state = 'waiting' OR COALESCE(command_id, device_id) = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:taken AS jsonb)))));
-- only: sqlite3
UPDATE quick_task_device SET state = 'cancelled', updated_ms = :now
 WHERE task_id = :task_id AND n > :after AND n <= :upto
   AND (state = 'waiting' OR COALESCE(command_id, device_id) IN (SELECT value FROM json_each(:taken)));

-- All of them: by the task's own index, else the planner reads all commands that there are.
-- name: task_counts :many
-- args: task_id:text, now:i64
-- cols: state:text, n:i64
SELECT x.s, COUNT(*) FROM (SELECT {task_state} AS s {task_of} AND c.task_id = t.task_id WHERE t.task_id = :task_id) AS x GROUP BY x.s;

-- name: task_counts_keep :exec
-- args: id:text, counts:text, open:i64, state:text, now:i64
UPDATE quick_task SET counts = :counts, open = :open, checked_ms = :now, state = CASE WHEN state = 'running' THEN :state ELSE state END
 WHERE id = :id;

-- At most a stretch of the list is looked at: few of them may be in this state.
-- name: task_devices :many
-- args: task_id:text, state:text, after:i64, upto:i64, now:i64, count:i64
-- cols: n:i64, device_id:text, name:text, there:i64, state:text, reason:text, command_id:text?, error:text?, result:text?, created_ms:i64?, sent_ms:i64?, done_ms:i64?, expires_ms:i64?
SELECT x.n, x.device_id, x.name, x.there, x.s, x.reason, x.command_id, x.error, x.result, x.created_ms, x.sent_ms, x.done_ms, x.expires_ms
  FROM (SELECT t.n, t.device_id, t.name, CASE WHEN d.id IS NULL THEN 0 ELSE 1 END AS there, {task_state} AS s, t.reason, t.command_id,
               c.error, c.result, c.created_ms, c.sent_ms, c.done_ms, c.expires_ms
          {task_of} LEFT JOIN device d ON d.id = t.device_id
         WHERE t.task_id = :task_id AND t.n > :after AND t.n <= :upto) AS x
 WHERE (:state = '' OR x.s = :state)
 ORDER BY x.n LIMIT :count;

-- How far the job is: devices are taken in order.
-- name: task_progress :one
-- args: id:text
-- cols: done:i64, total:i64
SELECT COALESCE((SELECT MIN(t.n) - 1 FROM quick_task_device t WHERE t.task_id = :id AND t.state = 'waiting'), q.walked), q.walked
  FROM quick_task q WHERE q.id = :id;
