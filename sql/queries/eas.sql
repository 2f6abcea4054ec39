-- ActiveSync source records: first contact, certain matches, finishing, leaving (domain/mdm_eas*.c).

-- The person's mail records change one after another. On SQLite the transaction holds all anyway.
-- name: eas_hold :one
-- args: person_id:text
-- cols: id:text
-- keep
-- only: pgsql
SELECT id FROM person WHERE id = :person_id FOR NO KEY UPDATE;
-- only: sqlite3
SELECT id FROM person WHERE id = :person_id;

-- part: eas_record_cols
id:text, native_id:text, class:text, state:text, attrs:text, device_id:text?, device_name:text, device_state:text, device_mode:text, device_level:text, device_platform:text, match_rule:text, device_told:text?

-- What the device itself has told as its DeviceId contradicts another one.
-- part: eas_record_row
SELECT r.id, r.native_id, r.class, r.state, r.attrs, d.id, COALESCE(d.name, ''), COALESCE(d.state, ''), COALESCE(d.mode, ''), COALESCE(d.level, ''),
       COALESCE(d.platform, 'unknown'), r.match_rule,
       (SELECT MAX(k.value) FROM source_record s JOIN match_key k ON k.record_id = s.id AND k.space = 'easid'
         WHERE s.device_id = d.id AND s.kind = 'mdm' AND s.live = 1)
  FROM source_record r LEFT JOIN device d ON d.id = r.device_id

-- One that only a mail server has told of may have no device.
-- name: eas_record :one
-- args: person_id:text, native_id:text
-- cols: {eas_record_cols}
-- keep
{eas_record_row}
 WHERE r.kind = 'eas' AND r.live = 1 AND r.person_id = :person_id AND r.native_id = :native_id
   AND (d.id IS NOT NULL OR r.state = 'discovered');

-- name: eas_record_of :one
-- args: person_id:text, device_id:text
-- cols: {eas_record_cols}
-- keep
{eas_record_row}
 WHERE r.kind = 'eas' AND r.live = 1 AND r.person_id = :person_id AND r.device_id = :device_id AND r.state <> 'discovered'
 ORDER BY CASE r.class WHEN 'native' THEN 0 ELSE 1 END, r.last_seen_ms DESC, r.id
 LIMIT 1;

-- Objects of the person whose Apple record has this DeviceId, or the serial number that it is derived from. Living records first.
-- name: eas_known :many
-- args: person_id:text, easid:text, serial:text
-- cols: device_id:text, device_state:text, space:text, live:i64, told:text?
-- keep
SELECT d.id, d.state, k.space, r.live,
       (SELECT MAX(e.value) FROM match_key e WHERE e.record_id = r.id AND e.space = 'easid')
  FROM match_key k
  JOIN source_record r ON r.id = k.record_id AND r.kind = 'mdm'
  JOIN device d ON d.id = r.device_id
 WHERE ((k.space = 'easid' AND k.value = :easid) OR (k.space = 'serial' AND k.value = :serial))
   AND r.person_id = :person_id AND d.person_id = :person_id
 ORDER BY r.live DESC, CASE k.space WHEN 'easid' THEN 0 ELSE 1 END, r.last_seen_ms DESC, d.id
 LIMIT 20;

-- The same DeviceId with other people (GATE-05).
-- name: eas_others :many
-- args: native_id:text, person_id:text
-- cols: device_id:text
-- keep
SELECT device_id FROM source_record
 WHERE kind = 'eas' AND live = 1 AND native_id = :native_id AND person_id <> :person_id AND device_id IS NOT NULL AND state <> 'discovered'
 ORDER BY last_seen_ms DESC, id LIMIT 5;

-- name: eas_pending_count :one
-- args: person_id:text
-- cols: n:i64
-- keep
SELECT COUNT(*) FROM device WHERE person_id = :person_id AND state = 'pending' AND mode = 'eas';

-- name: eas_refused_lately :one
-- args: person_id:text, native_id:text, since:i64
-- cols: of_id:i64, of_person:i64
SELECT COALESCE(SUM(CASE WHEN object_name = :native_id THEN 1 ELSE 0 END), 0), COUNT(*)
  FROM audit WHERE object_id = :person_id AND at_ms > :since AND action = 'eas.first_contact' AND outcome = 'refused';

-- ---------------------------------------------------------------- records

-- Takes over the record that a mail server's list has made of this device (EAS-05), with what it told.
-- name: eas_record_add :one
-- args: id:text, device_id:text, person_id:text, class:text, native_id:text, attrs:text, now:i64
-- cols: id:text
-- keep
-- only: pgsql
INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, attrs, first_seen_ms, last_seen_ms)
VALUES (:id, :device_id, :person_id, 'eas', :class, :native_id, 'authenticated', :attrs, :now, :now)
ON CONFLICT (native_id, person_id) WHERE live = 1 AND kind = 'eas' DO UPDATE
   SET device_id = excluded.device_id, class = excluded.class, state = excluded.state, last_seen_ms = excluded.last_seen_ms,
       attrs = CAST(CAST(source_record.attrs AS jsonb) || CAST(excluded.attrs AS jsonb) AS TEXT),
       first_seen_ms = CASE WHEN source_record.first_seen_ms > 0 THEN source_record.first_seen_ms ELSE excluded.first_seen_ms END
 WHERE source_record.state = 'discovered'
RETURNING id;
-- only: sqlite3
INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, attrs, first_seen_ms, last_seen_ms)
VALUES (:id, :device_id, :person_id, 'eas', :class, :native_id, 'authenticated', :attrs, :now, :now)
ON CONFLICT (native_id, person_id) WHERE live = 1 AND kind = 'eas' DO UPDATE
   SET device_id = excluded.device_id, class = excluded.class, state = excluded.state, last_seen_ms = excluded.last_seen_ms,
       attrs = json_patch(source_record.attrs, excluded.attrs),
       first_seen_ms = CASE WHEN source_record.first_seen_ms > 0 THEN source_record.first_seen_ms ELSE excluded.first_seen_ms END
 WHERE source_record.state = 'discovered'
RETURNING id;

-- Who holds the place of this class on the device.
-- name: eas_slot :one
-- args: device_id:text, class:text, record_id:text
-- cols: id:text, state:text, match_rule:text, last_ms:i64
-- keep
SELECT r.id, r.state, r.match_rule, COALESCE((SELECT c.last_ms FROM eas_count c WHERE c.record_id = r.id AND c.last_ms > r.last_seen_ms), r.last_seen_ms)
  FROM source_record r
 WHERE r.device_id = :device_id AND r.kind = 'eas' AND r.class = :class AND r.live = 1 AND r.id <> :record_id;

-- Of clients that are neither the system's own nor Outlook a device has any number.
-- name: eas_other_class :exec
-- args: id:text, device_id:text
UPDATE source_record SET class = 'other:' || (SELECT COALESCE(MAX(CAST(SUBSTR(o.class, 7) AS INTEGER)), 0) + 1 FROM source_record o
                                               WHERE o.device_id = :device_id AND o.kind = 'eas' AND o.class LIKE 'other:%')
 WHERE id = :id;

-- name: eas_record_end :exec
-- args: id:text, now:i64
UPDATE source_record SET live = 0, state = 'left', last_seen_ms = :now WHERE id = :id;

-- name: eas_record_join :exec1
-- args: id:text, device_id:text, match_rule:text, now:i64
-- keep
UPDATE source_record SET device_id = :device_id, state = 'enrolled', match_rule = :match_rule, last_seen_ms = :now
 WHERE id = :id AND live = 1;

-- What only a mail server has told of stands on a device for information (EAS-05). device_id NULL: on none any more.
-- name: eas_told_place :one
-- args: id:text, device_id:text?, match_rule:text
-- cols: name:text?
UPDATE source_record SET device_id = :device_id, match_rule = :match_rule WHERE id = :id AND live = 1 AND state = 'discovered'
RETURNING (SELECT d.name FROM device d WHERE d.id = :device_id);

-- name: eas_record_state :exec1
-- args: id:text, device_id:text, state:text, now:i64
-- keep
UPDATE source_record SET device_id = :device_id, state = :state, last_seen_ms = :now WHERE id = :id AND live = 1;

-- name: eas_records_left :exec
-- args: device_id:text
UPDATE source_record SET state = 'left' WHERE device_id = :device_id AND kind = 'eas' AND live = 1 AND state NOT IN ('left', 'discovered');

-- name: eas_key_put :exec
-- args: record_id:text, value:text
-- keep
INSERT INTO match_key (space, value, record_id) VALUES ('easid', :value, :record_id)
ON CONFLICT (space, value, record_id) DO NOTHING;

-- A device that was erased has another DeviceId.
-- name: eas_key_drop :exec
-- args: record_id:text, keep:text
-- keep
DELETE FROM match_key WHERE record_id = :record_id AND space = 'easid' AND value <> :keep;

-- name: eas_gate_device :one
-- args: id:text, word:text
-- cols: name:text
UPDATE device SET mail_gate = :word, version = version + 1 WHERE id = :id RETURNING name;

-- ---------------------------------------------------------------- what a client says of itself (PRV-04)

-- name: eas_said :one
-- args: id:text
-- cols: attrs:text, device_id:text?
-- keep
SELECT attrs, device_id FROM source_record WHERE id = :id AND kind = 'eas' AND live = 1;

-- name: eas_said_put :exec
-- args: id:text, attrs:text
-- keep
UPDATE source_record SET attrs = :attrs WHERE id = :id;

-- name: eas_imei_drop :exec
-- args: record_id:text, keep:text
-- keep
DELETE FROM match_key WHERE record_id = :record_id AND space = 'imei' AND value <> :keep;

-- name: eas_imei_put :exec
-- args: record_id:text, value:text
-- keep
INSERT INTO match_key (space, value, record_id) VALUES ('imei', :value, :record_id)
ON CONFLICT (space, value, record_id) DO NOTHING;

-- A managed device tells better itself. What is said as a model counts where nothing better is known.
-- name: eas_said_device :exec
-- args: id:text, imei:text, model:text, os_version:text
-- keep
UPDATE device SET imei = CASE WHEN :imei <> '' THEN :imei ELSE imei END,
       model = CASE WHEN :model <> '' AND product = '' THEN :model ELSE model END,
       os_version = CASE WHEN :os_version <> '' THEN :os_version ELSE os_version END
 WHERE id = :id AND mode = 'eas';

-- ---------------------------------------------------------------- device objects

-- name: eas_device_add :exec
-- args: id:text, name:text, name_key:text, person_id:text, ownership:text, platform:text, model:text, product:text, build:text, native_id:text, now:i64
-- keep
INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, level, ownership, platform, model, product, build,
                    eas_device_id, created_ms, last_eas_ms)
VALUES (:id, :name, :name_key, '00000000-0000-4000-8000-000000000002', :person_id, 'pending', 'eas', 'email_only', :ownership,
        :platform, :model, :product, :build, :native_id, :now, :now);

-- An object that its phone had left: name, folder, groups and history stay (MAT-07). was: an administrator may have decided otherwise since.
-- name: eas_device_again :exec1
-- args: id:text, was:text, native_id:text, now:i64
UPDATE device SET state = 'pending', mode = 'eas', level = 'email_only', eas_device_id = :native_id, lost_ms = NULL,
       last_eas_ms = :now, version = version + 1
 WHERE id = :id AND state = :was;

-- An enrolment for mail only that was made for a person and that such a device uses up; for this system first, the oldest first.
-- name: eas_promised :one
-- args: person_id:text, platform:text, serial:text, now:i64
-- cols: id:text, ownership:text, folder_id:text?
-- keep
SELECT id, ownership, folder_id FROM pending_enrollment
 WHERE person_id = :person_id AND level = 'email_only' AND state IN ('created', 'opened') AND expires_ms > :now AND valid_from_ms <= :now
   AND (platform = 'unknown' OR platform = :platform)
   AND (expected_serial IS NULL OR UPPER(expected_serial) = UPPER(:serial)) AND expected_imei IS NULL
 ORDER BY CASE platform WHEN 'unknown' THEN 1 ELSE 0 END, created_ms, id LIMIT 1;

-- name: eas_device :one
-- args: id:text, person_id:text
-- cols: name:text, state:text, mode:text, level:text, platform:text, model:text, product:text, serial:text?, build:text, os_version:text, folder_kind:text
-- keep
SELECT d.name, d.state, d.mode, d.level, d.platform, d.model, d.product, d.serial, d.build, d.os_version, f.kind
  FROM device d JOIN folder f ON f.id = d.folder_id WHERE d.id = :id AND d.person_id = :person_id;

-- Its person says what system it has; what the mail app itself has told stays.
-- name: eas_device_platform :exec
-- args: id:text, person_id:text, platform:text
UPDATE device SET platform = :platform, version = version + 1
 WHERE id = :id AND person_id = :person_id AND mode IN ('eas', 'unknown') AND level = 'email_only' AND platform = 'unknown';

-- name: eas_device_place :exec1
-- args: id:text, name:text, name_key:text, folder_id:text
-- keep
UPDATE device SET name = :name, name_key = :name_key, folder_id = :folder_id WHERE id = :id;

-- name: eas_device_complete :exec1
-- args: id:text, was:text, ownership:text, now:i64
-- keep
UPDATE device SET state = 'active', mode = 'eas', level = 'email_only', ownership = :ownership, enrolled_ms = :now,
       version = version + 1
 WHERE id = :id AND state = :was;

-- name: eas_device_joined :one
-- args: id:text, native_id:text
-- cols: name:text
-- keep
UPDATE device SET mode = CASE WHEN mode IN ('ios_mdm', 'android_app') THEN mode || '_eas' ELSE mode END,
       eas_device_id = :native_id, version = version + 1
 WHERE id = :id
RETURNING name;

-- name: eas_device_left :exec
-- args: id:text
UPDATE device SET mode = CASE WHEN mode = 'eas' AND state = 'retired' THEN 'unknown' ELSE REPLACE(mode, '_eas', '') END,
       version = version + 1
 WHERE id = :id;

-- ---------------------------------------------------------------- merging

-- name: eas_apple :one
-- args: record_id:text
-- cols: device_id:text, person_id:text, state:text, serial:text?, told:text?
SELECT d.id, d.person_id, d.state, d.serial,
       (SELECT MAX(k.value) FROM match_key k WHERE k.record_id = r.id AND k.space = 'easid')
  FROM source_record r JOIN device d ON d.id = r.device_id AND d.person_id = r.person_id
 WHERE r.id = :record_id AND r.live = 1 AND r.kind = 'mdm';

-- name: eas_move_events :exec
-- args: from_id:text, to_id:text
-- keep
UPDATE device_event SET device_id = :to_id WHERE device_id = :from_id;

-- name: eas_move_messages :exec
-- args: from_id:text, to_id:text
-- keep
UPDATE message SET object_id = :to_id
 WHERE object_kind = 'device' AND object_id = :from_id
   AND NOT EXISTS (SELECT 1 FROM message o WHERE o.object_kind = 'device' AND o.object_id = :to_id AND o.code = message.code
                      AND o.ack_ms IS NULL);

-- name: eas_move_groups :exec
-- args: from_id:text, to_id:text
-- keep
INSERT INTO device_group_member (group_id, device_id)
SELECT group_id, :to_id FROM device_group_member WHERE device_id = :from_id
ON CONFLICT (group_id, device_id) DO NOTHING;

-- name: eas_move_assignments :exec
-- args: from_id:text, to_id:text
-- keep
UPDATE assignment SET target_id = :to_id
 WHERE target_kind = 'device' AND target_id = :from_id
   AND NOT EXISTS (SELECT 1 FROM assignment o WHERE o.object_id = assignment.object_id AND o.target_kind = 'device'
                      AND o.target_id = :to_id);

-- An object that was in use keeps what people gave it, though the record of a new enrolment made another one (MAT-07).
-- name: eas_move_identity :exec
-- args: from_id:text, to_id:text
-- keep
UPDATE device SET (name, name_key, folder_id, department, site, location, notes, created_ms) =
       (SELECT f.name, f.name_key, f.folder_id, f.department, f.site, f.location, f.notes, f.created_ms
          FROM device f WHERE f.id = :from_id), version = version + 1
 WHERE id = :to_id AND created_ms >= (SELECT o.created_ms FROM device o WHERE o.id = :from_id);

-- Its record has moved by now; what is left goes with it.
-- name: eas_device_drop :exec
-- args: id:text
-- keep
DELETE FROM device WHERE id = :id;

-- ---------------------------------------------------------------- the portal

-- How the person's mail app logs in here, and whether there is a server behind the gate for it.
-- name: eas_account :one
-- args: person_id:text
-- cols: login:text, mail:text, simple:i64, domain:text?, servers:i64
SELECT p.login, p.mail, COALESCE(s.simple, 0),
       COALESCE((SELECT MIN(u.domain) FROM user_domain u WHERE u.source_id = p.source_id), s.name),
       (SELECT COUNT(*) FROM eas_server_source x JOIN eas_server e ON e.id = x.server_id AND e.enabled = 1
         WHERE x.source_id = p.source_id)
  FROM person p LEFT JOIN user_source s ON s.id = p.source_id
 WHERE p.id = :person_id;
