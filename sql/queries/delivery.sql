-- What policies have to be on devices, and what is there (POL-08, POL-10). Batches travel as one JSON list.

-- Order of locks on PostgreSQL: records, devices, then what hangs on them, pushes last. Whoever comes to a record by its commands or deliveries
-- takes this first.
-- name: delivery_hold :many
-- args: records:text
-- cols: device_id:text
-- keep
-- only: pgsql
WITH records AS MATERIALIZED (
    SELECT r.device_id FROM source_record r WHERE r.id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:records AS jsonb))))
     ORDER BY r.id FOR NO KEY UPDATE)
SELECT d.id FROM device d WHERE d.id = ANY (ARRAY(SELECT k.device_id FROM records k)) ORDER BY d.id FOR NO KEY UPDATE;
-- only: sqlite3
SELECT r.device_id FROM source_record r WHERE r.id IN (SELECT value FROM json_each(:records)) AND r.device_id IS NOT NULL;

-- part: facts
SELECT d.id, d.os_version, COALESCE(d.supervised, -1),
       CASE WHEN r.account = 'byod' OR d.inventory LIKE '%"IsUserEnrollment":true%' OR d.inventory LIKE '%"IsUserEnrollment": true%' THEN 1 ELSE 0 END,
       CASE WHEN d.inventory LIKE '%"IsMultiUser":true%' OR d.inventory LIKE '%"IsMultiUser": true%' THEN 1 ELSE 0 END,
       COALESCE(d.passcode_present, -1), COALESCE(d.passcode_compliant, -1), COALESCE(d.encryption, -1), d.compliance, d.mail, COALESCE(d.enrolled_ms, 0),
       r.id, r.state, COALESCE(r.base_url, ''),
       (SELECT count(*) FROM source_record a WHERE a.device_id = d.id AND a.kind = 'agent' AND a.live > 0),
       (SELECT count(*) FROM source_record e WHERE e.device_id = d.id AND e.kind = 'eas' AND e.live > 0 AND e.state = 'enrolled'),
       (SELECT count(*) FROM source_record n WHERE n.device_id = d.id AND n.kind = 'eas' AND n.class = 'native' AND n.live > 0 AND n.state = 'enrolled'),
       p.source_id, p.login, p.mail, COALESCE(s.simple, 0), COALESCE((SELECT MIN(u.domain) FROM user_domain u WHERE u.source_id = p.source_id), s.name)
  FROM device d

-- By its key: without statistics PostgreSQL takes the records of management for few, and would read all of them for each batch; so would it those of mail above,
-- but for live > 0, which no index of living records is for.
-- part: facts_joins
LEFT JOIN source_record r ON r.id = (SELECT m.id FROM source_record m WHERE m.device_id = d.id AND m.kind = 'mdm' AND m.class = '' AND m.live = 1)
  LEFT JOIN person p ON p.id = d.person_id LEFT JOIN user_source s ON s.id = p.source_id

-- What rendering must know of a device. Its answers about user enrolment and Shared iPad are looked for as text: no inventory is parsed. A mail
-- client that counts is one of the device's own kind that is enrolled.
-- name: delivery_facts :many
-- args: ids:text
-- cols: id:text, os_version:text, supervised:i64, user_enrolled:i64, shared_ipad:i64, passcode_present:i64, passcode_compliant:i64, encryption:i64, compliance:text, mail:text, enrolled_ms:i64, record_id:text?, record_state:text?, base_url:text, agent:i64, eas:i64, eas_native:i64, source_id:text?, login:text?, person_mail:text?, simple:i64, domain:text?
-- keep
-- only: pgsql
{facts} JOIN jsonb_array_elements_text(CAST(:ids AS jsonb)) AS v (id) ON v.id = d.id {facts_joins};
-- only: sqlite3
{facts} JOIN json_each(:ids) v ON v.value = d.id {facts_joins};

-- part: delivery_cols
d.device_id, d.type, d.channel, d.result_id, d.hash, d.applied, d.state, d.error, d.command_id, d.attempts, d.due_ms, d.held, d.encrypt

-- name: delivery_rows :many
-- args: ids:text
-- cols: device_id:text, type:text, channel:text, result_id:text, hash:text, applied:text, state:text, error:text, command_id:text?, attempts:i64, due_ms:i64?, held:i64, encrypt:i64
-- only: pgsql
SELECT {delivery_cols} FROM delivery d WHERE d.device_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))
 ORDER BY d.device_id, d.type, d.channel FOR UPDATE;
-- only: sqlite3
SELECT {delivery_cols} FROM delivery d JOIN json_each(:ids) v ON v.value = d.device_id;

-- Servers as they are (number 0), and as policies in force were published with them (EML-05).
-- name: delivery_servers :many
-- cols: id:text, policy_id:text, number:i64, host:text, domain:text, user_form:text, enabled:i64
SELECT e.id, '', 0, e.host, e.domain, e.user_form, e.enabled FROM eas_server e
 UNION ALL SELECT e.id, s.policy_id, s.number, s.host, s.domain, s.user_form, e.enabled FROM policy_server s
  JOIN policy p ON p.id = s.policy_id AND p.published = s.number JOIN eas_server e ON e.id = s.server_id;

-- Sources with a mail server behind the gate.
-- name: delivery_sources :many
-- cols: source_id:text
SELECT DISTINCT x.source_id FROM eas_server_source x JOIN eas_server e ON e.id = x.server_id AND e.enabled = 1;

-- What the resolver found, for devices that are settled outside its job.
-- name: delivery_results :many
-- args: ids:text
-- cols: device_id:text, type:text, result_id:text, settings:text
-- keep
-- only: pgsql
SELECT e.device_id, e.type, e.result_id, p.settings FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS v (id)
  JOIN effective_policy e ON e.device_id = v.id JOIN policy_result p ON p.id = e.result_id;
-- only: sqlite3
SELECT e.device_id, e.type, e.result_id, p.settings FROM json_each(:ids) v
  JOIN effective_policy e ON e.device_id = v.value JOIN policy_result p ON p.id = e.result_id;

-- list: [{"hash", "body"}]; young: what was used since then is not touched, since many want the same.
-- name: delivery_store :exec
-- args: list:text, now:i64, young:i64
-- only: pgsql
INSERT INTO stored_profile (hash, body, created_ms)
SELECT hash, body, :now FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (hash text, body text)
 WHERE NOT EXISTS (SELECT 1 FROM stored_profile p WHERE p.hash = v.hash AND p.created_ms >= :young) ORDER BY hash
ON CONFLICT (hash) DO UPDATE SET created_ms = excluded.created_ms;
-- only: sqlite3
INSERT INTO stored_profile (hash, body, created_ms)
SELECT json_extract(value, '$.hash'), json_extract(value, '$.body'), :now FROM json_each(:list) WHERE 1
ON CONFLICT (hash) DO UPDATE SET created_ms = excluded.created_ms WHERE stored_profile.created_ms < :young;

-- part: put_cols
device_id, type, channel, result_id, hash, applied, state, error, command_id, attempts, due_ms, held, encrypt

-- part: put_update
ON CONFLICT (device_id, type, channel) DO UPDATE SET result_id = excluded.result_id, hash = excluded.hash, applied = excluded.applied,
    state = excluded.state, error = excluded.error, command_id = excluded.command_id, attempts = excluded.attempts, due_ms = excluded.due_ms,
    held = excluded.held, encrypt = excluded.encrypt,
    updated_ms = CASE WHEN delivery.state = excluded.state AND delivery.hash = excluded.hash THEN delivery.updated_ms ELSE excluded.updated_ms END

-- list: objects with the columns.
-- name: delivery_put :exec
-- args: list:text, now:i64
-- only: pgsql
INSERT INTO delivery ({put_cols}, updated_ms)
SELECT {put_cols}, :now FROM jsonb_to_recordset(CAST(:list AS jsonb))
    AS v (device_id text, type text, channel text, result_id text, hash text, applied text, state text, error text, command_id text,
          attempts bigint, due_ms bigint, held bigint, encrypt bigint)
{put_update};
-- only: sqlite3
INSERT INTO delivery ({put_cols}, updated_ms)
SELECT json_extract(value, '$.device_id'), json_extract(value, '$.type'), json_extract(value, '$.channel'), json_extract(value, '$.result_id'),
       json_extract(value, '$.hash'), json_extract(value, '$.applied'), json_extract(value, '$.state'), json_extract(value, '$.error'),
       json_extract(value, '$.command_id'), json_extract(value, '$.attempts'), json_extract(value, '$.due_ms'), json_extract(value, '$.held'),
       json_extract(value, '$.encrypt'), :now
  FROM json_each(:list) WHERE 1
{put_update};

-- list: [{"device_id", "type", "channel"}]
-- name: delivery_drop :exec
-- args: list:text
-- only: pgsql
DELETE FROM delivery USING jsonb_to_recordset(CAST(:list AS jsonb)) AS v (device_id text, type text, channel text)
 WHERE delivery.device_id = v.device_id AND delivery.type = v.type AND delivery.channel = v.channel;
-- only: sqlite3
DELETE FROM delivery WHERE (device_id, type, channel) IN (SELECT json_extract(value, '$.device_id'), json_extract(value, '$.type'),
                                                                 json_extract(value, '$.channel') FROM json_each(:list));

-- What is told of devices, and not edited, so that nobody finds his edit stale because of it: [{"id", "compliance", "mail"}]
-- name: delivery_devices :exec
-- args: list:text
-- only: pgsql
UPDATE device SET compliance = v.compliance, mail = v.mail
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, compliance text, mail text) WHERE device.id = v.id;
-- only: sqlite3
UPDATE device SET compliance = v.compliance, mail = v.mail
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.compliance') AS compliance, json_extract(value, '$.mail') AS mail
          FROM json_each(:list)) AS v WHERE device.id = v.id;

-- name: delivery_compliance :exec
-- args: device_id:text, compliance:text
-- keep
UPDATE device SET compliance = :compliance WHERE id = :device_id AND compliance <> :compliance;

-- list: [{"id", "device", "severity", "code", "text"}]: messages of many devices.
-- name: delivery_messages :exec
-- args: list:text, now:i64
-- only: pgsql
INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text)
SELECT id, 'device', device, :now, severity, code, text
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, device text, severity bigint, code text, text text)
ON CONFLICT (object_kind, object_id, code) WHERE ack_ms IS NULL DO UPDATE SET at_ms = excluded.at_ms, text = excluded.text;
-- only: sqlite3
INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text)
SELECT json_extract(value, '$.id'), 'device', json_extract(value, '$.device'), :now, json_extract(value, '$.severity'),
       json_extract(value, '$.code'), json_extract(value, '$.text') FROM json_each(:list) WHERE 1
ON CONFLICT (object_kind, object_id, code) WHERE ack_ms IS NULL DO UPDATE SET at_ms = excluded.at_ms, text = excluded.text;

-- list: [{"id", "device", "kind", "detail"}]: events of many devices.
-- name: delivery_events :exec
-- args: list:text, now:i64
-- only: pgsql
INSERT INTO device_event (id, device_id, at_ms, kind, detail)
SELECT id, device, :now, kind, CAST(detail AS text)
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, device text, kind text, detail jsonb);
-- only: sqlite3
INSERT INTO device_event (id, device_id, at_ms, kind, detail)
SELECT json_extract(value, '$.id'), json_extract(value, '$.device'), :now, json_extract(value, '$.kind'), json_extract(value, '$.detail')
  FROM json_each(:list);

-- ---------------------------------------------------------------- sending

-- part: due
SELECT d.device_id, d.type, d.hash, r.id FROM delivery d
  JOIN source_record r ON r.device_id = d.device_id AND r.kind = 'mdm' AND r.class = '' AND r.live = 1 AND r.state = 'enrolled'

-- Whose records have to be held before their rows are queued.
-- name: delivery_due :many
-- args: now:i64, max:i64
-- cols: device_id:text, type:text, hash:text, record_id:text
{due} WHERE d.due_ms <= :now AND d.channel = 'mdm' ORDER BY d.due_ms, d.device_id, d.type LIMIT :max;

-- name: delivery_due_of :many
-- args: ids:text, now:i64
-- cols: device_id:text, type:text, hash:text, record_id:text
-- only: pgsql
{due} WHERE d.due_ms <= :now AND d.channel = 'mdm' AND d.device_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))
 ORDER BY d.device_id, d.type;
-- only: sqlite3
{due} WHERE d.due_ms <= :now AND d.channel = 'mdm' AND d.device_id IN (SELECT value FROM json_each(:ids)) ORDER BY d.device_id, d.type;

-- list: [{"device", "type", "command", "due"}]: queued, or why not.
-- name: delivery_queued :exec
-- args: list:text, now:i64
-- only: pgsql
UPDATE delivery SET command_id = v.command, due_ms = v.due, updated_ms = :now
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (device text, type text, command text, due bigint)
 WHERE delivery.device_id = v.device AND delivery.type = v.type AND delivery.channel = 'mdm';
-- only: sqlite3
UPDATE delivery SET command_id = v.command, due_ms = v.due, updated_ms = :now
  FROM (SELECT json_extract(value, '$.device') AS device, json_extract(value, '$.type') AS type, json_extract(value, '$.command') AS command,
               json_extract(value, '$.due') AS due FROM json_each(:list)) AS v
 WHERE delivery.device_id = v.device AND delivery.type = v.type AND delivery.channel = 'mdm';

-- A new enrolment begins: everything that was there has gone, and nothing is queued before the device is up.
-- name: delivery_cleared :exec
-- args: record_id:text, now:i64
UPDATE delivery SET state = 'pending', applied = '', command_id = NULL, due_ms = NULL, error = '', attempts = 0, updated_ms = :now,
                    held = CASE WHEN held = 1 THEN 1 ELSE 0 END
 WHERE channel = 'mdm' AND state <> 'not_applicable'
   AND device_id = (SELECT r.device_id FROM source_record r WHERE r.id = :record_id AND r.kind = 'mdm' AND r.class = '');

-- name: delivery_left :exec
-- args: device_id:text
DELETE FROM delivery WHERE device_id = :device_id AND channel = 'mdm';

-- A refresh gives what went wrong another try, and finds what waited for the device.
-- name: delivery_refresh :many
-- args: record_id:text, now:i64
-- cols: device_id:text, type:text
UPDATE delivery SET state = 'pending', due_ms = :now, error = ''
 WHERE channel = 'mdm' AND command_id IS NULL AND held <> 1 AND state IN ('pending', 'failed')
   AND (hash <> '' OR applied <> '')
   AND device_id = (SELECT r.device_id FROM source_record r WHERE r.id = :record_id AND r.kind = 'mdm' AND r.class = '')
RETURNING device_id, type;

-- An administrator took the command back: it is queued again by the next change or refresh.
-- name: delivery_cancelled :exec
-- args: command_id:text, error:text, now:i64
UPDATE delivery SET command_id = NULL, due_ms = NULL, error = :error, updated_ms = :now
 WHERE command_id = :command_id;

-- ---------------------------------------------------------------- what devices say

-- part: answered
RETURNING device_id, type, hash,
          (SELECT count(*) FROM command c JOIN source_record r ON r.id = c.record_id AND r.class = ''
            WHERE r.device_id = delivery.device_id AND r.kind = 'mdm' AND r.live = 1 AND c.open = 1 AND c.request_type = 'ProfileList')

-- Holds the record and the device first, as delivery_hold does: an answer is to be few statements.
-- name: delivery_answered :one
-- args: record_id:text, command_id:text, state:text, error:text, now:i64
-- cols: device_id:text, type:text, hash:text, asks:i64
-- keep
-- only: pgsql
WITH held AS MATERIALIZED (
    SELECT r.id FROM source_record r JOIN device d ON d.id = r.device_id WHERE r.id = :record_id FOR NO KEY UPDATE OF r FOR NO KEY UPDATE OF d)
UPDATE delivery SET command_id = NULL, state = :state, error = :error, updated_ms = :now, due_ms = NULL
 WHERE command_id = :command_id AND (SELECT count(*) FROM held) >= 0
{answered};
-- only: sqlite3
UPDATE delivery SET command_id = NULL, state = :state, error = :error, updated_ms = :now, due_ms = NULL
 WHERE command_id = :command_id AND :record_id = :record_id
{answered};

-- What its list of profiles shows; list: [{"type", "hash", "applied", "state", "error", "attempts", "due"}]. Content that has changed meanwhile was
-- not meant.
-- name: delivery_said :exec
-- args: device_id:text, list:text, now:i64
-- only: pgsql
UPDATE delivery SET applied = v.applied, state = v.state, error = v.error, attempts = v.attempts, due_ms = v.due, updated_ms = :now
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (type text, hash text, applied text, state text, error text, attempts bigint, due bigint)
 WHERE delivery.device_id = :device_id AND delivery.channel = 'mdm' AND delivery.type = v.type AND delivery.hash = v.hash;
-- only: sqlite3
UPDATE delivery SET applied = v.applied, state = v.state, error = v.error, attempts = v.attempts, due_ms = v.due, updated_ms = :now
  FROM (SELECT json_extract(value, '$.type') AS type, json_extract(value, '$.hash') AS hash, json_extract(value, '$.applied') AS applied,
               json_extract(value, '$.state') AS state, json_extract(value, '$.error') AS error,
               json_extract(value, '$.attempts') AS attempts, json_extract(value, '$.due') AS due FROM json_each(:list)) AS v
 WHERE delivery.device_id = :device_id AND delivery.channel = 'mdm' AND delivery.type = v.type AND delivery.hash = v.hash;

-- What had to be taken away has gone.
-- name: delivery_gone :exec
-- args: device_id:text
DELETE FROM delivery WHERE device_id = :device_id AND channel = 'mdm' AND state = 'gone';

-- name: delivery_eas_said :exec
-- args: device_id:text, hash:text, state:text, error:text, now:i64
-- keep
UPDATE delivery SET applied = CASE WHEN :state = 'applied' THEN hash ELSE applied END, state = :state, error = :error, updated_ms = :now
 WHERE device_id = :device_id AND channel = 'eas' AND hash = :hash;

-- ---------------------------------------------------------------- mail accounts made by hand (EML-02)

-- No mail was asked for since: the account is gone.
-- name: delivery_silent :many
-- args: before:i64, max:i64
-- cols: device_id:text, record_id:text?
SELECT d.device_id, (SELECT r.id FROM source_record r WHERE r.device_id = d.device_id AND r.kind = 'mdm' AND r.class = '' AND r.live = 1)
  FROM delivery d JOIN device v ON v.id = d.device_id
 WHERE d.held = 1 AND d.updated_ms < :before AND COALESCE(v.last_eas_ms, 0) < :before ORDER BY d.updated_ms LIMIT :max;

-- name: delivery_release :exec1
-- args: device_id:text, now:i64
UPDATE delivery SET held = 2, error = '', due_ms = :now, updated_ms = :now WHERE device_id = :device_id AND held = 1;

-- ---------------------------------------------------------------- sweeping

-- name: delivery_sweep :exec
-- args: before:i64, max:i64
DELETE FROM stored_profile WHERE hash IN (
    SELECT s.hash FROM stored_profile s
     WHERE s.created_ms < :before AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.hash = s.hash AND d.channel = 'mdm')
       AND NOT EXISTS (SELECT 1 FROM command c WHERE c.stored = s.hash AND c.open = 1) LIMIT :max);
