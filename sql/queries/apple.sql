-- Check-in, leaving, inventory of Apple devices.

-- A superseded identity counts as active while it may still be seen.
-- name: apple_identity :one
-- args: fingerprint:text, grace:i64
-- cols: status:text, slot:text, subject:text, pending_id:text?, pending_state:text?, record_id:text?, device_id:text?, native_id:text?, state:text?, live:i64?, topic:text?, push_token:text?, push_magic:text?, push_ok:i64?, unlock_token:text?, bootstrap_token:text?, awaiting:i64?, expelled:i64?, bearer:text
-- keep
SELECT CASE WHEN c.status = 'superseded' AND c.superseded_ms > :grace THEN 'active' ELSE c.status END, c.slot, c.subject,
       c.pending_id, p.state, r.id, r.device_id, r.native_id, r.state, r.live, r.topic, r.push_token,
       r.push_magic, r.push_ok, r.unlock_token, r.bootstrap_token, r.awaiting_configuration, r.expelled, COALESCE(r.bearer, '')
  FROM certificate c LEFT JOIN source_record r ON r.id = c.record_id LEFT JOIN pending_enrollment p ON p.id = c.pending_id
 WHERE c.fingerprint = :fingerprint;

-- name: apple_cert_take :exec
-- args: fingerprint:text, now:i64
-- keep
UPDATE certificate SET status = 'active', first_used_ms = :now
 WHERE fingerprint = :fingerprint AND status = 'issued' AND record_id IS NULL;

-- name: apple_cert_bind :exec1
-- args: fingerprint:text, record_id:text
UPDATE certificate SET record_id = :record_id WHERE fingerprint = :fingerprint;

-- name: apple_cert_unlink :exec
-- args: record_id:text
UPDATE certificate SET record_id = NULL WHERE record_id = :record_id;

-- name: apple_authenticated :exec1
-- args: record_id:text, topic:text?, again:i64, now:i64
UPDATE source_record
   SET state = 'authenticated', push_ok = 0, topic = COALESCE(:topic, topic), awaiting_configuration = 0,
       generation = generation + :again, last_seen_ms = :now
 WHERE id = :record_id AND live = 1;

-- name: apple_token :one
-- args: record_id:text, topic:text, push_token:text, push_magic:text, unlock_token:text?, awaiting:i64, now:i64
-- cols: device_id:text?, queued:i64
-- keep
UPDATE source_record
   SET topic = :topic, push_token = :push_token, push_token_ms = :now, push_magic = :push_magic, push_ok = 1,
       state = CASE WHEN state = 'leaving' THEN 'leaving' ELSE 'enrolled' END,
       unlock_token = COALESCE(:unlock_token, unlock_token), awaiting_configuration = :awaiting, last_seen_ms = :now
 WHERE id = :record_id AND live = 1
RETURNING device_id, (SELECT count(*) FROM command q WHERE q.record_id = source_record.id AND q.open = 1);

-- name: apple_bootstrap :exec1
-- args: record_id:text, bootstrap_token:text?
UPDATE source_record SET bootstrap_token = :bootstrap_token WHERE id = :record_id AND live = 1;

-- name: apple_active :exec
-- args: device_id:text
-- keep
UPDATE device SET state = 'active', version = version + 1 WHERE id = :device_id AND state IN ('pending', 'removed');

-- name: apple_device_os :exec
-- args: device_id:text, os_version:text?, build:text?, product:text?
-- keep
UPDATE device SET os_version = COALESCE(:os_version, os_version), build = COALESCE(:build, build),
                  product = COALESCE(:product, product)
 WHERE id = :device_id;

-- name: apple_record :one
-- args: record_id:text
-- cols: device_id:text?, state:text, native_id:text, device_state:text?, device_name:text?
-- keep
SELECT r.device_id, r.state, r.native_id, d.state, d.name
  FROM source_record r LEFT JOIN device d ON d.id = r.device_id
 WHERE r.id = :record_id AND r.live = 1;

-- name: apple_left :exec1
-- args: record_id:text, now:i64
UPDATE source_record
   SET live = 0, state = 'left', push_ok = 0, push_token = NULL, push_magic = NULL, unlock_token = NULL,
       bootstrap_token = NULL, last_seen_ms = :now
 WHERE id = :record_id AND live = 1;

-- name: apple_device_left :exec
-- args: device_id:text, state:text, mode:text
UPDATE device SET state = :state, mode = CASE WHEN :mode = '' THEN mode ELSE :mode END, version = version + 1
 WHERE id = :device_id;

-- name: apple_device_delete :exec
-- args: device_id:text
DELETE FROM device WHERE id = :device_id;

-- A user enrolment has no number of the device, whatever it says.
-- part: owners
EXISTS (SELECT 1 FROM source_record u WHERE u.device_id = device.id AND u.live = 1 AND u.account = 'byod')

-- part: inventory_set
inventory_ms = :now, model = COALESCE(:model, model), product = COALESCE(:product, product),
serial = CASE WHEN {owners} THEN serial ELSE COALESCE(serial, :serial) END, udid = CASE WHEN {owners} THEN udid ELSE COALESCE(udid, :udid) END,
imei = CASE WHEN {owners} THEN imei ELSE COALESCE(:imei, imei) END,
eas_device_id = COALESCE(:eas_device_id, eas_device_id), os_version = COALESCE(:os_version, os_version),
build = COALESCE(:build, build), phone = CASE WHEN {owners} THEN phone ELSE COALESCE(:phone, phone) END, supervised = COALESCE(:supervised, supervised),
passcode_present = COALESCE(:passcode_present, passcode_present),
passcode_compliant = COALESCE(:passcode_compliant, passcode_compliant),
encryption = COALESCE(:encryption, encryption), battery = COALESCE(:battery, battery),
capacity_gb = COALESCE(:capacity_gb, capacity_gb), free_gb = COALESCE(:free_gb, free_gb)

-- part: inventory_known
(SELECT COUNT(*) FROM source_record s JOIN match_key k ON k.record_id = s.id AND k.space = 'easid' AND k.value = :eas_key
          WHERE s.device_id = device.id AND s.kind = 'mdm' AND s.live = 1)

-- What policies have to be there, for the answers that say whether they are (POL-10); and what compliance is judged by.
-- part: deliveries_pgsql
(SELECT CAST(jsonb_agg(jsonb_build_object('type', x.type, 'channel', x.channel, 'result', x.result_id, 'hash', x.hash, 'applied', x.applied,
    'state', x.state, 'error', x.error, 'command', x.command_id, 'attempts', x.attempts, 'encrypt', x.encrypt)) AS text)
   FROM delivery x WHERE x.device_id = device.id)

-- part: deliveries_sqlite
(SELECT json_group_array(json_object('type', x.type, 'channel', x.channel, 'result', x.result_id, 'hash', x.hash, 'applied', x.applied,
    'state', x.state, 'error', x.error, 'command', x.command_id, 'attempts', x.attempts, 'encrypt', x.encrypt))
   FROM delivery x WHERE x.device_id = device.id)

-- part: judged
COALESCE(device.passcode_present, -1), COALESCE(device.passcode_compliant, -1), COALESCE(device.encryption, -1), device.compliance

-- name: compliance_facts :one
-- args: device_id:text
-- cols: passcode_present:i64, passcode_compliant:i64, encryption:i64, compliance:text, deliveries:text?
-- keep
-- only: pgsql
SELECT {judged}, {deliveries_pgsql} FROM device WHERE device.id = :device_id;
-- only: sqlite3
SELECT {judged}, {deliveries_sqlite} FROM device WHERE device.id = :device_id;

-- Serial number and UDID are what enrolment proved: an answer only fills them if they were unknown. "watch" holds the values whose change
-- people want to see; what it said before comes back. eas_known: the DeviceId is a match key already.
-- Answers that may queue policies or find mail clients hold the record before the device, as delivery_hold does: an answer is to be few statements.
-- name: inventory_device :one
-- args: device_id:text, section:text, body:text, watch:text, now:i64, model:text?, product:text?, serial:text?, udid:text?, imei:text?, eas_device_id:text?, eas_key:text?, os_version:text?, build:text?, phone:text?, supervised:i64?, passcode_present:i64?, passcode_compliant:i64?, encryption:i64?, battery:f64?, capacity_gb:f64?, free_gb:f64?
-- cols: was:text?, eas_known:i64, passcode_present:i64, passcode_compliant:i64, encryption:i64, compliance:text, deliveries:text?
-- keep
-- only: pgsql
WITH held AS MATERIALIZED (
    SELECT r.id FROM source_record r WHERE r.device_id = :device_id AND r.kind = 'mdm' AND r.class = '' AND r.live = 1
       AND (CAST(:section AS text) IN ('profiles', 'security') OR :eas_key IS NOT NULL) FOR NO KEY UPDATE)
UPDATE device SET
    inventory = CAST(CAST(inventory AS jsonb) || jsonb_build_object(
        CAST(:section AS text), CAST(:body AS jsonb),
        'was', COALESCE(CAST(inventory AS jsonb) -> 'watch', '{}'),
        'watch', COALESCE(CAST(inventory AS jsonb) -> 'watch', '{}') || CAST(:watch AS jsonb)) AS text),
    {inventory_set}
 WHERE id = :device_id AND (SELECT count(*) FROM held) >= 0
RETURNING CAST(inventory AS jsonb) ->> 'was',
          {inventory_known}, {judged}, CASE WHEN CAST(:section AS text) IN ('profiles', 'security') THEN {deliveries_pgsql} END;
-- only: sqlite3
UPDATE device SET
    inventory = json_set(inventory, '$.' || :section, json(:body),
        '$.was', json(COALESCE(json_extract(inventory, '$.watch'), '{}')),
        '$.watch', json_patch(COALESCE(json_extract(inventory, '$.watch'), '{}'), :watch)),
    {inventory_set}
 WHERE id = :device_id
RETURNING json_extract(inventory, '$.was'), {inventory_known}, {judged},
          CASE WHEN :section IN ('profiles', 'security') THEN {deliveries_sqlite} END;

-- name: inventory_apps :exec
-- args: device_id:text, apps:text
-- only: pgsql
WITH given AS (
    SELECT x.identifier, x.name, x.version, x.short_version, x.size, CAST(x.detail AS text) AS detail
      FROM jsonb_to_recordset(CAST(:apps AS jsonb))
        AS x(identifier text, name text, version text, short_version text, size bigint, detail jsonb)
), gone AS (
    DELETE FROM device_app a WHERE a.device_id = :device_id
       AND NOT EXISTS (SELECT 1 FROM given g WHERE g.identifier = a.identifier)
)
INSERT INTO device_app AS a (device_id, identifier, name, version, short_version, size, detail)
SELECT CAST(:device_id AS text), identifier, name, version, short_version, size, detail FROM given
ON CONFLICT (device_id, identifier) DO UPDATE
   SET name = excluded.name, version = excluded.version, short_version = excluded.short_version, size = excluded.size,
       detail = excluded.detail
 WHERE (a.name, a.version, a.short_version, a.detail) <> (excluded.name, excluded.version, excluded.short_version, excluded.detail)
    OR a.size IS DISTINCT FROM excluded.size;
-- only: sqlite3
INSERT INTO device_app_list (device_id, apps) VALUES (:device_id, :apps);

-- ---------------------------------------------------------------- user channels (IOS-01)

-- name: apple_user :one
-- args: native_id:text, device_id:text
-- cols: id:text, topic:text?, push_token:text?, push_magic:text?, push_ok:i64, awaiting:i64, queued:i64
SELECT id, topic, push_token, push_magic, push_ok, awaiting_configuration,
       (SELECT count(*) FROM command q WHERE q.record_id = source_record.id AND q.open = 1)
  FROM source_record WHERE kind = 'mdm' AND native_id = :native_id AND live = 1 AND class <> '' AND device_id = :device_id;

-- A channel of the device's record: same device, same person, enrolled with its first token.
-- name: apple_user_add :exec1
-- args: id:text, record_id:text, class:text, native_id:text, topic:text, push_token:text, push_magic:text, awaiting:i64, attrs:text, now:i64
INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, topic, push_token, push_token_ms, push_magic,
                           push_ok, awaiting_configuration, attrs, first_seen_ms, last_seen_ms)
SELECT :id, r.device_id, r.person_id, 'mdm', :class, :native_id, 'enrolled', :topic, :push_token, :now, :push_magic, 1, :awaiting,
       :attrs, :now, :now
  FROM source_record r WHERE r.id = :record_id AND r.live = 1 AND r.state = 'enrolled';

-- The live channels of a device but for those that spoke last.
-- name: apple_users :many
-- args: device_id:text, keep:i64
-- cols: id:text
SELECT id FROM source_record WHERE device_id = :device_id AND kind = 'mdm' AND class <> '' AND live = 1
 ORDER BY last_seen_ms DESC, id LIMIT 1000 OFFSET :keep;

-- name: apple_user_record :one
-- args: id:text, device_id:text
-- cols: id:text
SELECT id FROM source_record
 WHERE id = :id AND device_id = :device_id AND kind = 'mdm' AND class <> '' AND live = 1 AND state = 'enrolled';

-- For people: when a user's channel was last heard of, as far as the last commands tell, and the profiles that it last told of.
-- name: apple_user_list :many
-- args: device_id:text, max:i64
-- cols: id:text, class:text, attrs:text, push_ok:i64, waiting:i64, first_seen_ms:i64, last_seen_ms:i64, used_ms:i64, profiles:text?
SELECT r.id, r.class, r.attrs, r.push_ok, (SELECT COUNT(*) FROM command o WHERE o.record_id = r.id AND o.open = 1), r.first_seen_ms,
       r.last_seen_ms,
       (SELECT COALESCE(MAX(COALESCE(u.done_ms, u.notnow_ms, u.sent_ms, 0)), 0)
          FROM (SELECT c.done_ms, c.notnow_ms, c.sent_ms FROM command c
                 WHERE c.record_id = r.id AND c.sent_ms IS NOT NULL AND c.state IN ('sent', 'notnow', 'acknowledged', 'error', 'format_error')
                 ORDER BY c.seq DESC LIMIT 20) AS u),
       (SELECT c.result FROM command c
         WHERE c.record_id = r.id AND c.request_type = 'ProfileList' AND c.state = 'acknowledged' ORDER BY c.seq DESC LIMIT 1)
  FROM source_record r
 WHERE r.device_id = :device_id AND r.kind = 'mdm' AND r.class <> '' AND r.live = 1
 ORDER BY r.first_seen_ms, r.id LIMIT :max;

-- name: apple_user_of_command :one
-- args: command:text, device_id:text
-- cols: id:text
SELECT r.id FROM command c JOIN source_record r ON r.id = c.record_id
 WHERE c.id = :command AND c.open = 1 AND r.device_id = :device_id AND r.kind = 'mdm' AND r.class <> '' AND r.live = 1;
