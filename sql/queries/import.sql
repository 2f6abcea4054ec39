-- Devices that another server managed (IOS-13, domain/mdm_import.c).

-- The live record of an id, with what tells whether it has spoken to us since it was imported.
-- name: import_record :one
-- args: native_id:text
-- cols: id:text, device_id:text?, topic:text?, push_token:text?, push_magic:text?, push_token_ms:i64, unlock_token:text?, bootstrap_token:text?, attrs:text, ip:text, has_person:i64
SELECT r.id, r.device_id, r.topic, r.push_token, r.push_magic, r.push_token_ms, r.unlock_token, r.bootstrap_token, r.attrs,
       COALESCE(d.last_contact_ip, ''), CASE WHEN r.person_id IS NULL THEN 0 ELSE 1 END
  FROM source_record r LEFT JOIN device d ON d.id = r.device_id
 WHERE r.kind = 'mdm' AND r.native_id = :native_id AND r.live = 1;

-- name: import_certificate :one
-- args: fingerprint:text
-- cols: record_id:text?, native_id:text?, live:i64
SELECT c.record_id, r.native_id, COALESCE(r.live, 0)
  FROM certificate c LEFT JOIN source_record r ON r.id = c.record_id WHERE c.fingerprint = :fingerprint;

-- A foreign identity: the fingerprint stands in for the serial number, which only its own authority could make unique.
-- name: import_certificate_add :exec1
-- args: fingerprint:text, subject:text, record_id:text, not_before:i64, not_after:i64, now:i64, der:text
INSERT INTO certificate (fingerprint, serial, subject, record_id, status, slot, not_before_ms, not_after_ms, issued_ms, imported, der)
VALUES (:fingerprint, :fingerprint, :subject, :record_id, 'active', 'current', :not_before, :not_after, :now, 1, :der);

-- name: import_person :many
-- args: login_key:text
-- cols: id:text
SELECT id FROM person WHERE (login_key = :login_key OR mail_key = :login_key) AND gone_ms IS NULL ORDER BY id LIMIT 2;

-- name: import_device_add :exec1
-- args: id:text, name:text, name_key:text, person_id:text?, ownership:text, model:text, product:text, serial:text?, udid:text?, imei:text?, os_version:text, build:text, enrolled_ms:i64, seen_ms:i64?, now:i64
INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, ownership, platform, model, product, serial, udid, imei,
                    os_version, build, created_ms, enrolled_ms, last_contact_ms)
VALUES (:id, :name, :name_key, '00000000-0000-4000-8000-000000000001', :person_id, 'active', 'ios_mdm', :ownership, 'ios', :model,
        :product, :serial, :udid, :imei, :os_version, :build, :now, :enrolled_ms, :seen_ms);

-- An object that is known here and managed no more: name, folder, groups and history stay.
-- name: import_device_again :exec1
-- args: id:text, person_id:text?, model:text, product:text, serial:text?, udid:text?, imei:text?, os_version:text, build:text, enrolled_ms:i64, seen_ms:i64?
UPDATE device SET person_id = COALESCE(:person_id, person_id), state = 'active', lost_ms = NULL, platform = 'ios', level = 'managed',
       mode = CASE WHEN EXISTS (SELECT 1 FROM source_record s WHERE s.device_id = device.id AND s.kind = 'eas' AND s.live = 1
                                   AND s.state = 'enrolled') THEN 'ios_mdm_eas' ELSE 'ios_mdm' END,
       model = CASE WHEN :model = '' THEN model ELSE :model END, product = CASE WHEN :product = '' THEN product ELSE :product END,
       serial = COALESCE(:serial, serial), udid = COALESCE(:udid, udid), imei = COALESCE(:imei, imei),
       os_version = CASE WHEN :os_version = '' THEN os_version ELSE :os_version END,
       build = CASE WHEN :build = '' THEN build ELSE :build END, enrolled_ms = :enrolled_ms,
       last_contact_ms = COALESCE(:seen_ms, last_contact_ms), last_contact_ip = '', version = version + 1
 WHERE id = :id;

-- name: import_record_add :exec1
-- args: id:text, device_id:text, person_id:text?, native_id:text, topic:text, push_token:text, push_magic:text, token_ms:i64, unlock_token:text?, bootstrap_token:text?, attrs:text, now:i64
INSERT INTO source_record (id, device_id, person_id, kind, native_id, state, topic, push_token, push_magic, push_token_ms, push_ok,
                           unlock_token, bootstrap_token, attrs, first_seen_ms, last_seen_ms)
VALUES (:id, :device_id, :person_id, 'mdm', :native_id, 'enrolled', :topic, :push_token, :push_magic, :token_ms, 1,
        :unlock_token, :bootstrap_token, :attrs, :now, :now);

-- name: import_record_set :exec1
-- args: id:text, topic:text, push_token:text, push_magic:text, token_ms:i64, unlock_token:text?, bootstrap_token:text?, attrs:text
UPDATE source_record SET topic = :topic, push_token = :push_token, push_magic = :push_magic, push_token_ms = :token_ms, push_ok = 1,
       unlock_token = COALESCE(:unlock_token, unlock_token), bootstrap_token = COALESCE(:bootstrap_token, bootstrap_token),
       attrs = :attrs
 WHERE id = :id AND live = 1;

-- name: import_record_person :exec1
-- args: id:text, person_id:text
UPDATE source_record SET person_id = :person_id WHERE id = :id;

-- name: import_device_person :exec
-- args: id:text, person_id:text
UPDATE device SET person_id = :person_id, version = version + 1 WHERE id = :id AND person_id IS NULL;
