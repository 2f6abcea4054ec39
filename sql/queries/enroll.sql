-- Enrolment: policies of people, pending enrolments, challenges, device objects made from them (domain/mdm_enroll*.c).

-- The person's folder and those above it.
-- part: folders_up
WITH RECURSIVE up (id, parent_id, depth) AS (
    SELECT f.id, f.parent_id, 0 FROM person p JOIN user_folder f ON f.id = p.folder_id WHERE p.id = :person_id
    UNION ALL
    SELECT f.id, f.parent_id, up.depth + 1 FROM up JOIN user_folder f ON f.id = up.parent_id WHERE up.depth < 64

-- Whom an enrolment policy may be assigned to, for each of `who`, in the order of POL-05: the person, groups by their order, folder up to the root, source.
-- part: enroll_targets
up (person_id, id, parent_id, depth) AS (
    SELECT p.id, f.id, f.parent_id, 0 FROM who w JOIN person p ON p.id = w.id JOIN user_folder f ON f.id = p.folder_id
    UNION ALL
    SELECT up.person_id, f.id, f.parent_id, up.depth + 1 FROM up JOIN user_folder f ON f.id = up.parent_id WHERE up.depth < 64
), target (person_id, kind, id, rank, sub, name) AS (
    SELECT p.id, 'person', p.id, 0, 0, p.name FROM who w JOIN person p ON p.id = w.id
    UNION ALL
    SELECT m.person_id, 'user_group', g.id, 1, g.position, g.name
      FROM who w JOIN user_group_member m ON m.person_id = w.id JOIN user_group g ON g.id = m.group_id
    UNION ALL
    SELECT up.person_id, 'user_folder', up.id, 2, up.depth, (SELECT f.name FROM user_folder f WHERE f.id = up.id) FROM up
    UNION ALL
    SELECT p.id, 'user_source', p.source_id, 3, 0, (SELECT s.name FROM user_source s WHERE s.id = p.source_id)
      FROM who w JOIN person p ON p.id = w.id WHERE p.source_id IS NOT NULL
)

-- part: enroll_assigned
FROM target t
  JOIN assignment a ON a.target_kind = t.kind AND a.target_id = t.id AND a.object_type = 'enrollment'
  JOIN policy p ON p.id = a.object_id AND p.type = 'enrollment' AND p.published > 0
  JOIN policy_version v ON v.policy_id = p.id AND v.number = p.published
 WHERE a.object_kind = 'policy'

-- part: enroll_order
t.rank, t.sub, t.name, a.position, a.created_ms, a.id

-- The first assignment wins as a whole.
-- name: enroll_policy_effective :one
-- args: person_id:text
-- cols: policy_id:text, policy_name:text, settings:text, target_kind:text, target_id:text, target_name:text?
-- keep
WITH RECURSIVE who (id) AS (SELECT CAST(:person_id AS TEXT)), {enroll_targets}
SELECT p.id AS policy_id, p.name AS policy_name, v.settings, t.kind AS target_kind, t.id AS target_id, t.name AS target_name
  {enroll_assigned} ORDER BY {enroll_order} LIMIT 1;

-- The same for many people; ids: JSON list. Whoever has none is not among them.
-- name: enroll_policies_effective :many
-- args: ids:text
-- cols: person_id:text, policy_id:text, policy_name:text, settings:text
-- keep
-- only: pgsql
WITH RECURSIVE who (id) AS (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))), {enroll_targets}
SELECT x.person_id, x.policy_id, x.policy_name, x.settings
  FROM (SELECT t.person_id, p.id AS policy_id, p.name AS policy_name, v.settings, ROW_NUMBER() OVER (PARTITION BY t.person_id ORDER BY {enroll_order}) AS n
          {enroll_assigned}) AS x WHERE x.n = 1;
-- only: sqlite3
WITH RECURSIVE who (id) AS (SELECT value FROM json_each(:ids)), {enroll_targets}
SELECT x.person_id, x.policy_id, x.policy_name, x.settings
  FROM (SELECT t.person_id, p.id AS policy_id, p.name AS policy_name, v.settings, ROW_NUMBER() OVER (PARTITION BY t.person_id ORDER BY {enroll_order}) AS n
          {enroll_assigned}) AS x WHERE x.n = 1;

-- name: enroll_policy_add :exec
-- args: id:text, name:text, description:text, now:i64
INSERT INTO policy (id, type, name, folder_id, description, published, created_ms)
VALUES (:id, 'enrollment', :name, '00000000-0000-4000-8000-000000000003', :description, 1, :now)
ON CONFLICT (type, name) DO NOTHING;

-- name: enroll_policy_by_name :one
-- args: name:text
-- cols: id:text
SELECT id FROM policy WHERE type = 'enrollment' AND name = :name;

-- name: enroll_policy_version_add :exec
-- args: policy_id:text, settings:text, now:i64
INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (:policy_id, 1, :settings, :now)
ON CONFLICT (policy_id, number) DO NOTHING;

-- name: enroll_policy_assign :exec
-- args: id:text, policy_id:text, target_kind:text, target_id:text, now:i64
INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, created_ms)
VALUES (:id, 'policy', :policy_id, 'enrollment', :target_kind, :target_id, :now)
ON CONFLICT (object_id, target_kind, target_id) DO NOTHING;

-- name: person_in_user_group :one
-- args: person_id:text, group_id:text
-- cols: n:i64
SELECT COUNT(*) AS n FROM user_group_member WHERE person_id = :person_id AND group_id = :group_id;

-- name: person_in_user_folder :one
-- args: person_id:text, folder_id:text
-- cols: n:i64
{folders_up}
)
SELECT COUNT(*) AS n FROM up WHERE id = :folder_id;

-- ---------------------------------------------------------------- pending enrolments

-- By the person: || keeps the planner from the index of states, which it likes while the tables are young and a run is filling them.
-- name: pending_counts :one
-- args: person_id:text, now:i64
-- cols: open:i64, devices:i64
-- keep
SELECT (SELECT COUNT(*) FROM pending_enrollment e WHERE e.person_id = :person_id AND e.expires_ms > :now
           AND e.state || '' IN ('created', 'opened', 'profile', 'issued', 'authenticated')) AS open,
       (SELECT COUNT(*) FROM device d WHERE d.person_id = :person_id
           AND d.state || '' IN ('pending', 'active', 'wipe_pending', 'blocked')) AS devices;

-- name: pending_add :exec
-- args: id:text, token_hash:text, token:text, token_head:text, person_id:text, policy_id:text, ownership:text, level:text, platform:text, origin:text, step:text, now:i64, created_by:text
-- args: valid_from_ms:i64, expires_ms:i64, phone:text, mail:text, notify:text, language:text, authorised_by:text, expected_serial:text?, expected_imei:text?, folder_id:text?
-- args: otp:text?, otp_index:text?, otp_expires_ms:i64?, run_id:text?, run_row:i64?
-- keep
INSERT INTO pending_enrollment (id, token_hash, token, token_head, person_id, policy_id, ownership, level, platform, origin, state,
                                step, created_ms, created_by, valid_from_ms, expires_ms, phone, mail, notify, language, authorised_by,
                                expected_serial, expected_imei, folder_id, otp, otp_index, otp_expires_ms, run_id, run_row)
VALUES (:id, :token_hash, :token, :token_head, :person_id, :policy_id, :ownership, :level, :platform, :origin, 'created',
        :step, :now, :created_by, :valid_from_ms, :expires_ms, :phone, :mail, :notify, :language, :authorised_by,
        :expected_serial, :expected_imei, :folder_id, :otp, :otp_index, :otp_expires_ms, :run_id, :run_row);

-- The links of somebody who may not log in (any more) are dead (R15, R35).
-- name: pending_get :one
-- args: id:text
-- cols: id:text, person_id:text?, policy_id:text?, ownership:text, level:text, platform:text, origin:text, state:text, device_id:text?, step:text, person_login:text?, person_name:text?, person_mail:text?, expected_serial:text?, expected_imei:text?, proof_hash:text?, phone:text, mail:text, notify:text, language:text, account:text, apple_account:text, created_ms:i64, valid_from_ms:i64, expires_ms:i64, folder_id:text?, version:i64
-- keep
SELECT e.id, e.person_id, e.policy_id, e.ownership, e.level, e.platform, e.origin,
       CASE WHEN (p.disabled = 1 OR p.gone_ms IS NOT NULL) AND e.state IN ('created', 'opened', 'profile') THEN 'cancelled'
            ELSE e.state END AS state, e.device_id, e.step,
       p.login AS person_login, p.name AS person_name, p.mail AS person_mail, e.expected_serial, e.expected_imei,
       e.proof_hash, e.phone, e.mail, e.notify, e.language, e.account, e.apple_account, e.created_ms, e.valid_from_ms, e.expires_ms, e.folder_id, e.version
  FROM pending_enrollment e LEFT JOIN person p ON p.id = e.person_id WHERE e.id = :id;

-- name: pending_id_by_token :one
-- args: token_hash:text
-- cols: id:text
-- keep
SELECT id FROM pending_enrollment WHERE token_hash = :token_hash;

-- name: pending_of_person :many
-- args: person_id:text, limit:i64
-- cols: id:text, token:text, state:text, platform:text, ownership:text, level:text, device_id:text?, step:text, created_ms:i64, expires_ms:i64, version:i64
SELECT id, token, state, platform, ownership, level, device_id, step, created_ms, expires_ms, version
  FROM pending_enrollment WHERE person_id = :person_id ORDER BY created_ms DESC, id LIMIT :limit;

-- name: pending_token :one
-- args: id:text
-- cols: token:text
-- keep
SELECT token FROM pending_enrollment WHERE id = :id;

-- Holds the row so that two steps at once are written one after the other.
-- name: pending_step_get :one
-- args: id:text
-- cols: state:text, step:text, device_id:text?
-- keep
-- only: pgsql
SELECT state, step, device_id FROM pending_enrollment WHERE id = :id FOR UPDATE;
-- only: sqlite3
SELECT state, step, device_id FROM pending_enrollment WHERE id = :id;

-- name: pending_step_set :exec1
-- args: id:text, state:text, step:text, finished_ms:i64?
-- keep
UPDATE pending_enrollment SET state = :state, step = :step, finished_ms = :finished_ms, version = version + 1
 WHERE id = :id;

-- name: pending_set_device :exec1
-- args: id:text, device_id:text
-- keep
UPDATE pending_enrollment SET device_id = :device_id, version = version + 1 WHERE id = :id;

-- ---------------------------------------------------------------- challenges

-- name: challenge_drop_unused :exec
-- args: pending_id:text
-- keep
DELETE FROM challenge WHERE pending_id = :pending_id AND used_ms IS NULL;

-- All of an enrolment, used or not, with what was issued for them.
-- name: challenge_drop_all :many
-- args: pending_id:text
-- cols: fingerprint:text?
DELETE FROM challenge WHERE pending_id = :pending_id RETURNING fingerprint;

-- name: challenge_add :exec
-- args: hash:text, pending_id:text, subject:text, purpose:text, expires_ms:i64
-- keep
INSERT INTO challenge (hash, pending_id, subject, purpose, expires_ms) VALUES (:hash, :pending_id, :subject, :purpose, :expires_ms);

-- service: 1 for that of a Profile Service, which SCEP does not take, nor the other way round.
-- name: challenge_use :one
-- args: hash:text, service:i64, now:i64, transaction_id:text, csr_hash:text
-- cols: pending_id:text?, record_id:text?, subject:text, purpose:text
-- keep
UPDATE challenge SET used_ms = :now, transaction_id = :transaction_id, csr_hash = :csr_hash
 WHERE hash = :hash AND used_ms IS NULL AND expires_ms > :now AND CASE purpose WHEN 'service' THEN 1 ELSE 0 END = :service
   AND (pending_id IS NULL OR EXISTS (SELECT 1 FROM pending_enrollment e JOIN person p ON p.id = e.person_id
        WHERE e.id = challenge.pending_id AND e.state IN ('created', 'opened', 'profile') AND e.expires_ms > :now
          AND p.disabled = 0 AND p.gone_ms IS NULL))
RETURNING pending_id, record_id, subject, purpose;

-- name: challenge_get :one
-- args: hash:text
-- cols: pending_id:text?, record_id:text?, subject:text, purpose:text, expires_ms:i64, used_ms:i64?, csr_hash:text?, fingerprint:text?
-- keep
SELECT pending_id, record_id, subject, purpose, expires_ms, used_ms, csr_hash, fingerprint FROM challenge WHERE hash = :hash;

-- The identity by which the device of this enrolment signs its second answer.
-- name: challenge_report_identity :one
-- args: pending_id:text, fingerprint:text
-- cols: hash:text
SELECT hash FROM challenge WHERE pending_id = :pending_id AND purpose = 'report' AND fingerprint = :fingerprint;

-- name: challenge_set_issued :exec1
-- args: hash:text, fingerprint:text
-- keep
UPDATE challenge SET fingerprint = :fingerprint WHERE hash = :hash AND used_ms IS NOT NULL;

-- ---------------------------------------------------------------- device objects

-- A device seen before, by its own identifiers: objects that are still managed first, the newest first.
-- name: enroll_device_known :many
-- args: udid:text?, serial:text?
-- cols: id:text, person_id:text?, state:text, name:text, last_contact_ms:i64?, created_ms:i64
SELECT d.id, d.person_id, d.state, d.name, d.last_contact_ms, d.created_ms FROM device d
 WHERE d.udid = :udid OR d.serial = :serial
 ORDER BY CASE d.state WHEN 'blocked' THEN 0 WHEN 'retired' THEN 2 WHEN 'removed' THEN 2 ELSE 1 END, d.created_ms DESC, d.id
 LIMIT 20;

-- name: enroll_live_record :one
-- args: kind:text, native_id:text
-- cols: id:text, device_id:text?, state:text, last_seen_ms:i64
-- keep
SELECT id, device_id, state, last_seen_ms FROM source_record WHERE live = 1 AND kind = :kind AND native_id = :native_id;

-- Whose a user enrolment is that a device says it is.
-- name: enroll_native_owner :one
-- args: kind:text, native_id:text
-- cols: device_id:text?, person_id:text?, state:text
SELECT r.device_id, r.person_id, r.state FROM source_record r WHERE r.live = 1 AND r.kind = :kind AND r.native_id = :native_id;

-- name: enroll_device_records :many
-- args: device_id:text, kind:text
-- cols: id:text, native_id:text, state:text, last_seen_ms:i64
-- keep
SELECT id, native_id, state, last_seen_ms FROM source_record WHERE live = 1 AND device_id = :device_id AND kind = :kind;

-- The last time at which the device of a record fetched, put off or answered a command.
-- name: enroll_record_used :one
-- args: record_id:text
-- cols: ms:i64
SELECT COALESCE(MAX(u.ms), 0) FROM (
    SELECT sent_ms AS ms FROM command WHERE record_id = :record_id
    UNION ALL SELECT notnow_ms FROM command WHERE record_id = :record_id
    UNION ALL SELECT done_ms FROM command WHERE record_id = :record_id AND state IN ('acknowledged', 'error', 'format_error')) AS u;

-- name: enroll_record_end :exec
-- args: id:text, now:i64
UPDATE source_record SET live = 0, state = 'left', push_ok = 0, push_token = NULL, push_magic = NULL, unlock_token = NULL,
       last_seen_ms = :now WHERE id = :id;

-- name: enroll_record_again :exec1
-- args: id:text, person_id:text, topic:text?, attrs:text, now:i64
UPDATE source_record SET person_id = :person_id, state = 'authenticated', generation = generation + 1, topic = :topic,
       push_token = NULL, push_magic = NULL, push_ok = 0, unlock_token = NULL, bootstrap_token = NULL,
       awaiting_configuration = 0, expelled = 0, attrs = :attrs, last_seen_ms = :now
 WHERE id = :id AND live = 1;

-- name: enroll_record_add :exec
-- args: id:text, device_id:text, person_id:text, kind:text, native_id:text, topic:text?, attrs:text, now:i64
INSERT INTO source_record (id, device_id, person_id, kind, native_id, state, topic, attrs, first_seen_ms, last_seen_ms)
VALUES (:id, :device_id, :person_id, :kind, :native_id, 'authenticated', :topic, :attrs, :now, :now);

-- name: enroll_record_done :exec1
-- args: id:text
UPDATE source_record SET state = 'enrolled' WHERE id = :id AND live = 1;

-- name: match_key_drop :exec
-- args: record_id:text
DELETE FROM match_key WHERE record_id = :record_id;

-- name: match_key_add :exec
-- args: space:text, value:text, record_id:text
-- keep
INSERT INTO match_key (space, value, record_id) VALUES (:space, :value, :record_id)
ON CONFLICT (space, value, record_id) DO NOTHING;

-- name: device_name_taken :one
-- args: name_key:text, self:text
-- cols: id:text
-- keep
SELECT id FROM device WHERE name_key = :name_key AND id <> :self LIMIT 1;

-- name: device_seq_next :one
-- args: now:i64
-- cols: value:text
INSERT INTO zone_setting (name, value, sealed, updated_ms) VALUES ('device.seq', '1', 0, :now)
ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(zone_setting.value AS BIGINT) + 1 AS TEXT), updated_ms = excluded.updated_ms
RETURNING value;

-- name: enroll_folder_exists :one
-- args: id:text
-- cols: id:text, name:text
-- keep
SELECT id, name FROM folder WHERE id = :id AND kind <> 'pending';

-- name: enroll_device_add :exec
-- args: id:text, name:text, name_key:text, folder_id:text, person_id:text, mode:text, level:text, ownership:text, platform:text, model:text, product:text, serial:text?, udid:text?, imei:text?, os_version:text, build:text, now:i64
INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, level, ownership, platform, model, product,
                    serial, udid, imei, os_version, build, created_ms)
VALUES (:id, :name, :name_key, :folder_id, :person_id, 'pending', :mode, :level, :ownership, :platform, :model, :product,
        :serial, :udid, :imei, :os_version, :build, :now);

-- Name, folder, groups, assignments and history stay (MAT-07).
-- name: enroll_device_again :exec1
-- args: id:text, person_id:text, mode:text, level:text, ownership:text, platform:text, model:text, product:text, serial:text?, udid:text?, imei:text?, os_version:text, build:text
UPDATE device SET person_id = :person_id, state = 'pending', lost_ms = NULL, level = :level, ownership = :ownership,
       mode = CASE WHEN :mode <> 'eas' AND EXISTS (SELECT 1 FROM source_record s
                   WHERE s.device_id = device.id AND s.kind = 'eas' AND s.live = 1 AND s.state = 'enrolled') THEN :mode || '_eas' ELSE :mode END,
       platform = :platform, model = CASE WHEN :model = '' THEN model ELSE :model END,
       product = CASE WHEN :product = '' THEN product ELSE :product END,
       serial = COALESCE(:serial, serial), udid = COALESCE(:udid, udid), imei = COALESCE(:imei, imei),
       os_version = :os_version, build = :build, version = version + 1
 WHERE id = :id;

-- name: enroll_device_retire :exec1
-- args: id:text
UPDATE device SET state = 'retired', mode = 'unknown', version = version + 1 WHERE id = :id;

-- name: enroll_device_active :exec1
-- args: id:text, now:i64
UPDATE device SET state = 'active', enrolled_ms = :now, last_contact_ms = :now, version = version + 1,
       refresh_due_ms = :now + 3600000 -- the first questions are asked now; the schedule holds from there
 WHERE id = :id AND state IN ('pending', 'active');

-- name: enroll_device_name :one
-- args: id:text
-- cols: name:text, person_id:text?, state:text
SELECT name, person_id, state FROM device WHERE id = :id;

-- ---------------------------------------------------------------- the portal

-- unsettled: a mail app that could be one of several managed devices. said: its person has just said that a mail app is on it. promised: somebody has said whose the mail device is that waits (PEN-01).
-- name: portal_devices :many
-- args: person_id:text, now:i64, undo:i64
-- cols: id:text, name:text, model:text, platform:text, os_version:text, state:text, mode:text, ownership:text, level:text, enrolled_ms:i64?, last_contact_ms:i64?, last_eas_ms:i64?, version:i64, by_hand:i64, unsettled:i64, promised:i64, said:i64
-- keep
SELECT id, name, model, platform, os_version, state, mode, ownership, level, enrolled_ms, last_contact_ms, last_eas_ms, version,
       (SELECT COUNT(*) FROM delivery d WHERE d.device_id = device.id AND d.held = 1),
       (SELECT COUNT(*) FROM source_record r JOIN match_exception x ON x.record_id = r.id AND x.code = 'ambiguous'
         WHERE r.device_id = device.id AND device.mode = 'eas' AND device.state = 'active'),
       (SELECT COUNT(*) FROM pending_enrollment e WHERE e.person_id = device.person_id AND e.level = 'email_only' AND e.state IN ('created', 'opened')
           AND e.expires_ms > :now AND e.valid_from_ms <= :now AND e.ownership = device.ownership AND device.state = 'pending' AND device.mode = 'eas'),
       (SELECT COUNT(*) FROM match_undo u JOIN source_record r ON r.id = u.record_id AND r.device_id = u.device_id AND r.state = 'enrolled'
         WHERE u.device_id = device.id AND u.by_person = 1 AND u.at_ms > :undo)
  FROM device WHERE person_id = :person_id ORDER BY name_key, id LIMIT 200;

-- name: portal_device :one
-- args: id:text, person_id:text
-- cols: id:text, name:text, state:text, ownership:text, level:text, mode:text
SELECT id, name, state, ownership, level, mode FROM device WHERE id = :id AND person_id = :person_id;
