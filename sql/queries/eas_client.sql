-- What was agreed with mail clients by Provision: keys, tries, the mail server's key (domain/mdm_eas_provision.c).

-- name: eas_client :one
-- args: record_id:text
-- cols: device_id:text, device_name:text, mode:text, policy:text?, policy_key:i64, key_rev:i64, key_version:i64, key_doc:text, temp_key:i64, temp_rev:i64, temp_version:i64, temp_doc:text, temp_done:i64, back_key:i64, back_temp:i64, tries:i64, tries_rev:i64, tries_ms:i64, lax:text?, email_id:text, email:text?
-- keep
SELECT d.id, d.name, d.mode, (SELECT p.hash FROM delivery p WHERE p.device_id = d.id AND p.channel = 'eas' AND p.hash <> '' LIMIT 1),
       COALESCE(c.policy_key, 0), COALESCE(c.key_rev, 0), COALESCE(c.key_version, 0), COALESCE(c.key_doc, ''),
       COALESCE(c.temp_key, 0), COALESCE(c.temp_rev, 0), COALESCE(c.temp_version, 0), COALESCE(c.temp_doc, ''), COALESCE(c.temp_done, 0),
       COALESCE(c.back_key, 0), COALESCE(c.back_temp, 0), COALESCE(c.tries, 0), COALESCE(c.tries_rev, 0), COALESCE(c.tries_ms, 0), c.lax,
       COALESCE(x.result_id, ''), e.settings
  FROM source_record r JOIN device d ON d.id = r.device_id LEFT JOIN eas_client c ON c.record_id = r.id
       LEFT JOIN effective_policy x ON x.device_id = d.id AND x.type = 'email' LEFT JOIN policy_result e ON e.id = x.result_id
 WHERE r.id = :record_id AND r.live = 1;

-- One more time that it was told to provision, or n; counted anew for another revision and after a day.
-- name: eas_client_tried :one
-- args: record_id:text, rev:i64, n:i64, since:i64, now:i64
-- cols: tries:i64
-- keep
INSERT INTO eas_client (record_id, tries, tries_rev, tries_ms) VALUES (:record_id, :n, :rev, :now)
ON CONFLICT (record_id) DO UPDATE SET
    tries = CASE WHEN eas_client.tries_rev = excluded.tries_rev AND eas_client.tries_ms > :since THEN eas_client.tries ELSE 0 END + excluded.tries,
    tries_ms = CASE WHEN eas_client.tries_rev = excluded.tries_rev AND eas_client.tries_ms > :since THEN eas_client.tries_ms ELSE excluded.tries_ms END,
    tries_rev = excluded.tries_rev
RETURNING tries;

-- lax: the result of the e-mail policy that lets it have mail.
-- name: eas_client_lax :exec
-- args: record_id:text, lax:text?
UPDATE eas_client SET lax = :lax WHERE record_id = :record_id;

-- name: eas_client_offer :exec
-- args: record_id:text, key:i64, rev:i64, version:i64, doc:text, back_temp:i64
-- keep
UPDATE eas_client SET temp_key = :key, temp_rev = :rev, temp_version = :version, temp_doc = :doc, temp_done = 0, back_temp = :back_temp
 WHERE record_id = :record_id;

-- name: eas_client_taken :exec1
-- args: record_id:text, temp:i64, key:i64, back_key:i64
-- keep
UPDATE eas_client SET policy_key = :key, key_rev = temp_rev, key_version = temp_version, key_doc = temp_doc, temp_done = 1,
       back_key = :back_key, back_temp = 0
 WHERE record_id = :record_id AND temp_key = :temp;

-- The policy has changed in nothing that this client's version knows.
-- name: eas_client_same :exec
-- args: record_id:text, rev:i64, version:i64
-- keep
UPDATE eas_client SET key_rev = :rev, key_version = :version WHERE record_id = :record_id;

-- Its mail server wants it to provision: both keys are void.
-- name: eas_client_stale :exec
-- args: record_id:text, back_key:i64
UPDATE eas_client SET back_key = 0, policy_key = 0, temp_key = 0 WHERE record_id = :record_id AND back_key = :back_key;

-- ---------------------------------------------------------------- wipes (domain/mdm_eas_wipe.c)

-- What could be wiped on a device: mail records that have not left.
-- name: eas_wipe_records :many
-- args: device_id:text
-- cols: id:text, class:text, state:text, attrs:text, key_version:i64, wipe_state:text, wipe_then:text, wipe_was:text, match_rule:text
SELECT r.id, r.class, r.state, r.attrs, COALESCE(c.key_version, 0), COALESCE(c.wipe_state, ''), COALESCE(c.wipe_then, ''), COALESCE(c.wipe_was, ''), r.match_rule
  FROM source_record r LEFT JOIN eas_client c ON c.record_id = r.id
 WHERE r.device_id = :device_id AND r.kind = 'eas' AND r.live = 1 AND r.state NOT IN ('left', 'discovered') ORDER BY r.id;

-- name: eas_wipe_begin :exec
-- args: record_id:text, wipe:text, by:text, state:text, then:text, was:text, now:i64
INSERT INTO eas_client (record_id, wipe, wipe_by, wipe_state, wipe_then, wipe_was, wipe_ms) VALUES (:record_id, :wipe, :by, :state, :then, :was, :now)
ON CONFLICT (record_id) DO UPDATE SET wipe = excluded.wipe, wipe_by = excluded.wipe_by, wipe_state = excluded.wipe_state, wipe_then = excluded.wipe_then,
    wipe_was = excluded.wipe_was, wipe_ms = excluded.wipe_ms;

-- What a mail client is told, and who else is told on its device. Its object may be gone.
-- name: eas_wipe :one
-- args: record_id:text
-- cols: device_id:text?, device_name:text?, mode:text?, native_id:text, state:text, wipe:text, wipe_by:text, wipe_state:text, wipe_then:text, apple_id:text?, others:i64
SELECT r.device_id, d.name, d.mode, r.native_id, r.state, COALESCE(c.wipe, ''), COALESCE(c.wipe_by, ''), COALESCE(c.wipe_state, ''), COALESCE(c.wipe_then, ''),
       (SELECT a.id FROM source_record a WHERE a.device_id = r.device_id AND a.kind = 'mdm' AND a.class = '' AND a.live = 1),
       (SELECT COUNT(*) FROM source_record o WHERE o.device_id = r.device_id AND o.kind = 'eas' AND o.live = 1 AND o.state = 'leaving' AND o.id <> r.id)
  FROM source_record r LEFT JOIN device d ON d.id = r.device_id LEFT JOIN eas_client c ON c.record_id = r.id
 WHERE r.id = :record_id AND r.live = 1;

-- name: eas_wipe_state :exec
-- args: record_id:text, state:text, now:i64
UPDATE eas_client SET wipe_state = :state, wipe_ms = :now WHERE record_id = :record_id;

-- name: eas_wipe_clear :exec
-- args: device_id:text
UPDATE eas_client SET wipe = '', wipe_by = '', wipe_state = '', wipe_then = '', wipe_was = ''
 WHERE record_id IN (SELECT id FROM source_record WHERE device_id = :device_id AND kind = 'eas' AND live = 1 AND state = 'leaving');

-- name: eas_wipe_back :exec
-- args: device_id:text, state:text
UPDATE source_record SET state = :state WHERE device_id = :device_id AND kind = 'eas' AND live = 1 AND state = 'leaving';

-- name: eas_wipe_detach :exec
-- args: device_id:text
UPDATE source_record SET device_id = NULL WHERE device_id = :device_id AND kind = 'eas' AND live = 1 AND state = 'leaving';

-- name: eas_wipe_record_state :exec
-- args: record_id:text, state:text, now:i64
UPDATE source_record SET state = :state, last_seen_ms = :now WHERE id = :record_id;

-- name: eas_wipe_forget :exec
-- args: record_id:text
DELETE FROM source_record WHERE id = :record_id AND device_id IS NULL;

-- All live records of a device, and then itself, before anything of them is changed: in the order in which everybody takes them.
-- name: eas_hold_device :many
-- args: device_id:text
-- cols: id:text
-- only: pgsql
WITH records AS MATERIALIZED (SELECT r.id FROM source_record r WHERE r.device_id = :device_id AND r.live = 1 ORDER BY r.id FOR NO KEY UPDATE)
SELECT d.id FROM device d WHERE d.id = :device_id AND (SELECT COUNT(*) FROM records) >= 0 FOR NO KEY UPDATE;
-- only: sqlite3
SELECT id FROM device WHERE id = :device_id;

-- name: eas_hold_record :many
-- args: record_id:text
-- cols: id:text
-- only: pgsql
WITH records AS MATERIALIZED (
    SELECT r.id, r.device_id FROM source_record r
     WHERE r.id = :record_id OR (r.live = 1 AND r.device_id = (SELECT x.device_id FROM source_record x WHERE x.id = :record_id)) ORDER BY r.id FOR NO KEY UPDATE)
SELECT d.id FROM device d WHERE d.id IN (SELECT k.device_id FROM records k) FOR NO KEY UPDATE;
-- only: sqlite3
SELECT r.device_id FROM source_record r WHERE r.id = :record_id AND r.device_id IS NOT NULL;

-- name: eas_wipe_device :one
-- args: device_id:text
-- cols: name:text, state:text
SELECT name, state FROM device WHERE id = :device_id;

-- ---------------------------------------------------------------- what clients do (PXY-06)

-- part: count_cols
record_id, requests, errors, bytes_in, bytes_out, last_ms, last_cmd, sync_ms, heartbeat_s, error_ms, error_http, alive_day

-- part: count_more
ON CONFLICT (record_id) DO UPDATE
   SET requests = eas_count.requests + excluded.requests, errors = eas_count.errors + excluded.errors,
       bytes_in = eas_count.bytes_in + excluded.bytes_in, bytes_out = eas_count.bytes_out + excluded.bytes_out,
       last_ms = CASE WHEN excluded.last_ms >= eas_count.last_ms THEN excluded.last_ms ELSE eas_count.last_ms END,
       last_cmd = CASE WHEN excluded.last_ms >= eas_count.last_ms THEN excluded.last_cmd ELSE eas_count.last_cmd END,
       sync_ms = CASE WHEN excluded.sync_ms > eas_count.sync_ms THEN excluded.sync_ms ELSE eas_count.sync_ms END,
       heartbeat_s = CASE WHEN excluded.heartbeat_s > 0 THEN excluded.heartbeat_s ELSE eas_count.heartbeat_s END,
       error_http = CASE WHEN excluded.error_ms > 0 AND excluded.error_ms >= eas_count.error_ms THEN excluded.error_http ELSE eas_count.error_http END,
       error_ms = CASE WHEN excluded.error_ms > eas_count.error_ms THEN excluded.error_ms ELSE eas_count.error_ms END,
       alive_day = CASE WHEN excluded.alive_day IS NULL OR eas_count.alive_day IS NULL THEN excluded.alive_day
                        WHEN excluded.sync_ms > 0 AND excluded.alive_day > eas_count.alive_day THEN excluded.alive_day ELSE eas_count.alive_day END

-- list: JSON, each record once. Whoever has gone meanwhile is passed over; in the order in which devices are taken.
-- name: eas_count_add :exec
-- args: list:text
-- only: pgsql
INSERT INTO eas_count ({count_cols})
SELECT r.id, l.requests, l.errors, l.bytes_in, l.bytes_out, l.last_ms, l.last_cmd, l.sync_ms, l.heartbeat_s, l.error_ms, l.error_http,
       CASE WHEN r.state <> 'left' THEN (CASE WHEN l.sync_ms > 0 THEN l.sync_ms ELSE l.last_ms END) / 86400000 END
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS l (id text, requests bigint, errors bigint, bytes_in bigint, bytes_out bigint, last_ms bigint,
                                                      last_cmd text, sync_ms bigint, heartbeat_s bigint, error_ms bigint, error_http bigint)
  JOIN source_record r ON r.id = l.id ORDER BY r.device_id, r.id
{count_more};
-- only: sqlite3
INSERT INTO eas_count ({count_cols})
SELECT r.id, json_extract(l.value, '$.requests'), json_extract(l.value, '$.errors'), json_extract(l.value, '$.bytes_in'), json_extract(l.value, '$.bytes_out'),
       json_extract(l.value, '$.last_ms'), json_extract(l.value, '$.last_cmd'), json_extract(l.value, '$.sync_ms'), json_extract(l.value, '$.heartbeat_s'),
       json_extract(l.value, '$.error_ms'), json_extract(l.value, '$.error_http'),
       CASE WHEN r.state <> 'left' THEN (CASE WHEN json_extract(l.value, '$.sync_ms') > 0 THEN json_extract(l.value, '$.sync_ms')
                                              ELSE json_extract(l.value, '$.last_ms') END) / 86400000 END
  FROM json_each(:list) AS l JOIN source_record r ON r.id = json_extract(l.value, '$.id') WHERE 1 = 1
{count_more};

-- Who has left is not looked for among those that are silent.
-- name: eas_count_left :exec
-- args: device_id:text
UPDATE eas_count SET alive_day = NULL
 WHERE alive_day IS NOT NULL AND record_id IN (SELECT r.id FROM source_record r WHERE r.device_id = :device_id AND r.kind = 'eas' AND (r.live = 0 OR r.state = 'left'));

-- part: mine
(:admin = '' OR EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id WHERE a.folder_id = d.folder_id AND l.admin_id = :admin))

-- part: silent
r.live = 1 AND r.state IN ('authenticated', 'enrolled') AND d.state IN ('pending', 'active')

-- Those that have synced last before this day; fits: this one can be shown and ended.
-- name: eas_stale :many
-- args: before:i64, after_day:i64, after_id:text, admin:text, count:i64
-- cols: record_id:text, alive_day:i64, fits:i64, native_id:text, class:text, state:text, attrs:text, first_ms:i64, last_ms:i64, sync_ms:i64, object_id:text?, object_name:text?, object_state:text?, mode:text?, platform:text?, model:text?, person_id:text?, person_name:text?, login:text?
SELECT c.record_id, c.alive_day, CASE WHEN {silent} AND {mine} THEN 1 ELSE 0 END, r.native_id, r.class, r.state, r.attrs, r.first_seen_ms, c.last_ms, c.sync_ms,
       d.id, d.name, d.state, d.mode, d.platform, d.model, p.id, p.name, p.login
  FROM (SELECT record_id, alive_day, last_ms, sync_ms FROM eas_count
         WHERE alive_day < :before AND (alive_day, record_id) > (:after_day, :after_id) ORDER BY alive_day, record_id LIMIT :count) c
  JOIN source_record r ON r.id = c.record_id LEFT JOIN device d ON d.id = r.device_id LEFT JOIN person p ON p.id = d.person_id
 ORDER BY c.alive_day, c.record_id;

-- others: mail apps of the device beside this one.
-- name: eas_stale_one :one
-- args: record_id:text, before:i64, admin:text
-- cols: record_id:text, native_id:text, object_id:text, object_name:text, mode:text, others:i64
SELECT r.id, r.native_id, d.id, d.name, d.mode,
       (SELECT COUNT(*) FROM source_record o WHERE o.device_id = d.id AND o.kind = 'eas' AND o.live = 1 AND o.state <> 'left' AND o.id <> r.id)
  FROM eas_count c JOIN source_record r ON r.id = c.record_id JOIN device d ON d.id = r.device_id
 WHERE c.record_id = :record_id AND c.alive_day < :before AND {silent} AND {mine};
