-- Waking devices. A wake takes the lease away, so that the run under way can't forget the row.

-- name: push_wake :exec
-- args: record_id:text, due_ms:i64
INSERT INTO push (record_id, due_ms)
SELECT r.id, :due_ms FROM source_record r WHERE r.id = :record_id AND r.live = 1 AND r.push_ok = 1
ON CONFLICT (record_id) DO UPDATE
   SET due_ms = CASE WHEN excluded.due_ms < push.due_ms THEN excluded.due_ms ELSE push.due_ms END,
       lease_owner = NULL, lease_until_ms = 0, attempts = 0;

-- list: [{"record", "due"}]. One that waits for its time already is not written.
-- name: push_wake_many :exec
-- args: list:text
-- only: pgsql
INSERT INTO push (record_id, due_ms)
SELECT r.id, v.due FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (record text, due bigint) JOIN source_record r ON r.id = v.record
 WHERE r.live = 1 AND r.push_ok = 1 ORDER BY r.id
ON CONFLICT (record_id) DO UPDATE
   SET due_ms = CASE WHEN excluded.due_ms < push.due_ms THEN excluded.due_ms ELSE push.due_ms END,
       lease_owner = NULL, lease_until_ms = 0, attempts = 0
 WHERE excluded.due_ms < push.due_ms OR push.lease_owner IS NOT NULL OR push.attempts > 0;
-- only: sqlite3
INSERT INTO push (record_id, due_ms)
SELECT r.id, json_extract(v.value, '$.due') FROM json_each(:list) v JOIN source_record r ON r.id = json_extract(v.value, '$.record')
 WHERE r.live = 1 AND r.push_ok = 1
ON CONFLICT (record_id) DO UPDATE
   SET due_ms = CASE WHEN excluded.due_ms < push.due_ms THEN excluded.due_ms ELSE push.due_ms END,
       lease_owner = NULL, lease_until_ms = 0, attempts = 0;

-- Moves the job forward. Whoever holds its row does the same: nobody waits for it, as waiting here, with a record's row in
-- hand, could be a deadlock. At worst the push comes with the job's next period.
-- name: push_hasten :exec
-- args: job:text, now:i64
-- keep
-- only: pgsql
UPDATE job SET run_at_ms = :now
 WHERE id = (SELECT j.id FROM job j WHERE j.kind = :job AND j.state IN ('waiting', 'running') AND (j.run_at_ms = 0 OR j.run_at_ms > :now)
              LIMIT 1 FOR UPDATE SKIP LOCKED);
-- only: sqlite3
UPDATE job SET run_at_ms = :now WHERE kind = :job AND state IN ('waiting', 'running') AND (run_at_ms = 0 OR run_at_ms > :now);

-- name: push_due :one
-- args: now:i64
-- cols: waiting:i64
SELECT count(*) FROM (SELECT 1 AS one FROM push WHERE due_ms <= :now AND lease_until_ms <= :now ORDER BY due_ms LIMIT 1) q;

-- name: push_claim :many
-- args: owner:text, until_ms:i64, now:i64, max:i64
-- cols: record_id:text
-- only: pgsql
UPDATE push SET lease_owner = :owner, lease_until_ms = :until_ms
 WHERE record_id = ANY (ARRAY(SELECT q.record_id FROM push q WHERE q.due_ms <= :now AND q.lease_until_ms <= :now
                               ORDER BY q.due_ms LIMIT :max FOR UPDATE SKIP LOCKED))
RETURNING record_id;
-- only: sqlite3
UPDATE push SET lease_owner = :owner, lease_until_ms = :until_ms
 WHERE record_id IN (SELECT q.record_id FROM push q WHERE q.due_ms <= :now AND q.lease_until_ms <= :now
                      ORDER BY q.due_ms LIMIT :max)
RETURNING record_id;

-- What must be known of claimed rows; ids: a JSON list.
-- name: push_rows :many
-- args: ids:text
-- cols: record_id:text, attempts:i64, device_id:text?, push_token:text?, push_magic:text?, topic:text?, push_ok:i64, token_ms:i64
-- only: pgsql
SELECT p.record_id, p.attempts, r.device_id, r.push_token, r.push_magic, r.topic, r.push_ok, r.push_token_ms
  FROM push p JOIN source_record r ON r.id = p.record_id
 WHERE p.record_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))));
-- only: sqlite3
SELECT p.record_id, p.attempts, r.device_id, r.push_token, r.push_magic, r.topic, r.push_ok, r.push_token_ms
  FROM push p JOIN source_record r ON r.id = p.record_id
 WHERE p.record_id IN (SELECT value FROM json_each(:ids));

-- Done. A row that was woken meanwhile has no lease and stays. Many rows at once never wait for somebody who holds one of them and wants
-- another: such a row keeps its lease and at worst is pushed once more when that ends.
-- name: push_forget :exec
-- args: ids:text, owner:text
-- only: pgsql
DELETE FROM push
 WHERE record_id = ANY (ARRAY(SELECT q.record_id FROM push q
                               WHERE q.record_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))
                                 AND q.lease_owner = :owner FOR UPDATE SKIP LOCKED));
-- only: sqlite3
DELETE FROM push WHERE record_id IN (SELECT value FROM json_each(:ids)) AND lease_owner = :owner;

-- Not tried: due as before.
-- name: push_release :exec
-- args: ids:text, owner:text
-- only: pgsql
UPDATE push SET lease_owner = NULL, lease_until_ms = 0
 WHERE record_id = ANY (ARRAY(SELECT q.record_id FROM push q
                               WHERE q.record_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))
                                 AND q.lease_owner = :owner FOR UPDATE SKIP LOCKED));
-- only: sqlite3
UPDATE push SET lease_owner = NULL, lease_until_ms = 0
 WHERE record_id IN (SELECT value FROM json_each(:ids)) AND lease_owner = :owner;

-- Whoever waits for another try gets it now: there is a new certificate.
-- name: push_retry :exec
-- args: now:i64
-- only: pgsql
UPDATE push SET due_ms = :now, attempts = 0
 WHERE record_id IN (SELECT q.record_id FROM push q WHERE q.attempts > 0 AND q.due_ms > :now FOR UPDATE SKIP LOCKED);
-- only: sqlite3
UPDATE push SET due_ms = :now, attempts = 0 WHERE attempts > 0 AND due_ms > :now;

-- name: push_drop :exec
-- args: record_id:text
DELETE FROM push WHERE record_id = :record_id;

-- name: push_again :exec
-- args: record_id:text, owner:text, due_ms:i64, reason:text
UPDATE push SET due_ms = :due_ms, attempts = attempts + 1, lease_owner = NULL, lease_until_ms = 0, last_error = :reason
 WHERE record_id = :record_id AND lease_owner = :owner;

-- name: push_off :exec
-- args: record_id:text, push_token:text
UPDATE source_record SET push_ok = 0 WHERE id = :record_id AND push_token = :push_token;

-- name: push_message_at :one
-- args: code:text
-- cols: at_ms:i64
SELECT at_ms FROM message WHERE object_kind = 'zone' AND object_id = 'apns' AND code = :code ORDER BY at_ms DESC LIMIT 1;

-- name: push_devices :one
-- args: topic:text
-- cols: n:i64
SELECT count(*) FROM source_record WHERE kind = 'mdm' AND live = 1 AND topic = :topic AND push_token IS NOT NULL;

-- At most 1,000 of each are counted: this is for people.
-- name: push_waiting :one
-- args: now:i64
-- cols: n:i64, failed:i64
SELECT (SELECT count(*) FROM (SELECT 1 AS one FROM push WHERE due_ms <= :now ORDER BY due_ms LIMIT 1000) w)
       + (SELECT count(*) FROM (SELECT 1 AS one FROM push WHERE attempts > 0 AND due_ms > :now ORDER BY due_ms LIMIT 1000) l),
       (SELECT count(*) FROM (SELECT 1 AS one FROM push WHERE attempts > 0 ORDER BY due_ms LIMIT 1000) f);

-- What the certificate was blamed for is settled by a new one.
-- name: push_messages_done :exec
-- args: now:i64, by:text
UPDATE message SET ack_ms = :now, ack_by = :by WHERE object_kind = 'zone' AND object_id = 'apns' AND ack_ms IS NULL;

-- name: push_nodes :many
-- cols: id:text, name:text, mdm_role:i64, outbound:i64, seen_ms:i64
SELECT id, name, mdm_role, outbound, seen_ms FROM node ORDER BY name;

-- name: push_test :one
-- args: kind:text
-- cols: state:text, created_ms:i64, finished_ms:i64?, result:text?
SELECT state, created_ms, finished_ms, result FROM job WHERE kind = :kind ORDER BY created_ms DESC LIMIT 1;

-- name: push_setting_drop :exec
-- args: name:text
DELETE FROM zone_setting WHERE name = :name;

-- The clock was set back: nobody waits longer than he was to.
-- name: push_clock_back :exec
-- args: now:i64, step:i64
-- only: pgsql
UPDATE push SET due_ms = CASE WHEN due_ms - :step > :now THEN due_ms - :step ELSE :now END
 WHERE record_id IN (SELECT q.record_id FROM push q WHERE q.due_ms > :now FOR UPDATE SKIP LOCKED);
-- only: sqlite3
UPDATE push SET due_ms = CASE WHEN due_ms - :step > :now THEN due_ms - :step ELSE :now END WHERE due_ms > :now;
