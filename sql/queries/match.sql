-- Matching in the background and what people do about it (spec 04): domain/mdm_match_run.c, domain/mdm_match_act.c.

-- ---------------------------------------------------------------- what is to be looked at

-- name: match_marks :many
-- args: max:i64
-- cols: seq:i64, person_id:text
SELECT seq, person_id FROM match_mark ORDER BY seq LIMIT :max;

-- name: match_marks_left :one
-- cols: n:i64
SELECT COUNT(*) FROM match_mark;

-- Those that were read; what came since stays.
-- name: match_marks_drop :exec
-- args: seqs:text
-- only: pgsql
DELETE FROM match_mark WHERE seq IN (SELECT CAST(x AS BIGINT) FROM jsonb_array_elements_text(CAST(:seqs AS jsonb)) AS x);
-- only: sqlite3
DELETE FROM match_mark WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: match_mark_add :exec
-- args: person_id:text
INSERT INTO match_mark (person_id) VALUES (:person_id);

-- Somebody's device has told this DeviceId: the mail app may have been guessed to be elsewhere, another person's too.
-- name: match_mark_told :exec
-- args: person_id:text, native_id:text
INSERT INTO match_mark (person_id)
SELECT :person_id
 UNION SELECT r.person_id FROM source_record r WHERE r.kind = 'eas' AND r.live = 1 AND r.native_id = :native_id AND r.person_id IS NOT NULL;

-- Everybody who has something to be matched.
-- name: match_mark_all :exec
INSERT INTO match_mark (person_id)
SELECT d.person_id FROM device d WHERE d.mode = 'eas' AND d.person_id IS NOT NULL
 UNION SELECT r.person_id FROM source_record r WHERE r.kind = 'eas' AND r.live = 1 AND r.state = 'discovered' AND r.device_id IS NULL
   AND r.person_id IS NOT NULL
 UNION SELECT r.person_id FROM source_record r WHERE r.kind = 'eas' AND r.live = 1 AND r.person_id IS NOT NULL AND r.match_rule <> '{}'
   AND r.match_rule NOT LIKE '%"tier":"exact"%';

-- Whoever is at work with one of them goes first: the matcher waits for nobody, and looks again at its next run.
-- name: match_hold_people :many
-- args: ids:text
-- cols: id:text
-- only: pgsql
SELECT id FROM person WHERE id IN (SELECT x FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED;
-- only: sqlite3
SELECT id FROM person WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id;

-- name: match_person :one
-- args: id:text
-- cols: id:text
SELECT id FROM person WHERE id = :id;

-- name: match_hold_records :many
-- args: ids:text
-- cols: id:text
-- only: pgsql
SELECT id FROM source_record WHERE id IN (SELECT x FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x) ORDER BY id
   FOR NO KEY UPDATE SKIP LOCKED;
-- only: sqlite3
SELECT id FROM source_record WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id;

-- name: match_hold_devices :many
-- args: ids:text
-- cols: id:text
-- only: pgsql
SELECT id FROM device WHERE id IN (SELECT x FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x) ORDER BY id FOR UPDATE SKIP LOCKED;
-- only: sqlite3
SELECT id FROM device WHERE id IN (SELECT value FROM json_each(:ids)) ORDER BY id;

-- A record that only a mail server has told of may have no device (EAS-05).
-- part: match_device
d.id, COALESCE(d.name, ''), COALESCE(d.state, ''), COALESCE(d.mode, '')

-- part: match_records
SELECT r.person_id, r.id, r.kind, r.class, r.native_id, r.state, r.attrs, r.match_rule, r.first_seen_ms, {match_device},
       COALESCE(d.platform, 'unknown'), COALESCE(d.model, ''), COALESCE(d.product, ''), d.serial, d.imei, COALESCE(d.os_version, ''),
       COALESCE(d.build, ''), COALESCE(d.phone, ''), d.enrolled_ms,
       (SELECT MAX(k.value) FROM match_key k WHERE k.record_id = r.id AND k.space = 'easid'),
       (SELECT COUNT(*) FROM match_key k JOIN source_record s ON s.id = k.record_id
         WHERE r.kind = 'eas' AND k.space = 'easid' AND k.value = UPPER(r.native_id) AND s.live = 1 AND s.person_id <> r.person_id),
       (SELECT COUNT(*) FROM source_record o
         WHERE r.kind = 'eas' AND o.kind = 'eas' AND o.live = 1 AND o.native_id = r.native_id AND o.person_id <> r.person_id AND o.state <> 'left'
           AND NOT EXISTS (SELECT 1 FROM source_record y JOIN source_record z ON z.kind = 'eas' AND z.live = 1 AND z.native_id = y.native_id
                            WHERE y.person_id = o.person_id AND y.kind = 'eas' AND y.live > 0 AND y.native_id <> r.native_id
                              AND z.person_id NOT IN (o.person_id, r.person_id))),
       COALESCE((SELECT c.last_ms FROM eas_count c WHERE c.record_id = r.id AND c.last_ms > r.last_seen_ms), r.last_seen_ms), COALESCE(d.last_contact_ms, 0)

-- Living records of these people and what is known of their phones. foreign_key: the DeviceId is one that another person's device has told;
-- shared: one that a mail app of another person has, unless that is a mailbox: others yet have another of its DeviceIds.
-- live > 0: by the person, not by an index of all that live.
-- name: match_records :many
-- args: ids:text
-- cols: person_id:text, id:text, kind:text, class:text, native_id:text, state:text, attrs:text, match_rule:text, first_seen_ms:i64, device_id:text?, device_name:text, device_state:text, device_mode:text, platform:text, model:text, product:text, serial:text?, imei:text?, os_version:text, build:text, phone:text, enrolled_ms:i64?, told:text?, foreign_key:i64, shared:i64, last_ms:i64, contact_ms:i64
-- only: pgsql
{match_records}
  FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x
  JOIN source_record r ON r.person_id = x AND r.kind IN ('mdm', 'agent', 'eas') AND r.live = 1
  LEFT JOIN device d ON d.id = r.device_id
 WHERE r.class NOT LIKE 'user:%'
 ORDER BY r.person_id, r.id;
-- only: sqlite3
{match_records}
  FROM json_each(:ids) AS x
  JOIN source_record r ON r.person_id = x.value AND r.kind IN ('mdm', 'agent', 'eas') AND r.live = 1
  LEFT JOIN device d ON d.id = r.device_id
 WHERE r.class NOT LIKE 'user:%'
 ORDER BY r.person_id, r.id;

-- name: match_splits :many
-- args: ids:text
-- cols: a:text, b:text
-- only: pgsql
SELECT s.a, s.b FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x JOIN source_record r ON r.person_id = x JOIN match_split s ON s.a = r.id;
-- only: sqlite3
SELECT s.a, s.b FROM json_each(:ids) AS x JOIN source_record r ON r.person_id = x.value JOIN match_split s ON s.a = r.id;

-- ---------------------------------------------------------------- what could not be settled

-- Whoever has not answered in time is not asked anew by what is found again.
-- part: exception_code
CASE WHEN match_exception.code = 'manual_timed_out' AND excluded.code = 'manual_pending' THEN match_exception.code ELSE excluded.code END

-- part: exception_again
ON CONFLICT (record_id) DO UPDATE
   SET code = {exception_code}, candidates = excluded.candidates, person_id = excluded.person_id,
       ignored_ms = CASE WHEN match_exception.code = {exception_code} THEN match_exception.ignored_ms ELSE NULL END
 WHERE match_exception.code <> {exception_code} OR match_exception.candidates <> excluded.candidates

-- The same again writes nothing. Who ignored one sees it again when it is another one.
-- name: match_exceptions_put :exec
-- args: list:text, now:i64
-- only: pgsql
INSERT INTO match_exception (record_id, person_id, code, candidates, since_ms)
SELECT x.record_id, x.person_id, x.code, x.candidates, :now
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS x (record_id TEXT, person_id TEXT, code TEXT, candidates TEXT)
 WHERE EXISTS (SELECT 1 FROM source_record r WHERE r.id = x.record_id)
{exception_again};
-- only: sqlite3
INSERT INTO match_exception (record_id, person_id, code, candidates, since_ms)
SELECT json_extract(x.value, '$.record_id'), json_extract(x.value, '$.person_id'), json_extract(x.value, '$.code'),
       json_extract(x.value, '$.candidates'), :now
  FROM json_each(:list) AS x
 WHERE EXISTS (SELECT 1 FROM source_record r WHERE r.id = json_extract(x.value, '$.record_id'))
{exception_again};

-- Their owners were asked, and have not answered for so long.
-- name: match_asked_ended :exec
-- args: before:i64
UPDATE match_exception SET code = 'manual_timed_out', ignored_ms = NULL WHERE code = 'manual_pending' AND since_ms < :before;

-- name: match_asked_again :many
-- args: before:i64, now:i64, max:i64
-- cols: device_id:text?
UPDATE match_exception SET reminded_ms = :now
 WHERE record_id IN (SELECT e.record_id FROM match_exception e WHERE e.code = 'manual_pending' AND e.since_ms < :before AND e.reminded_ms IS NULL
                      ORDER BY e.since_ms, e.record_id LIMIT :max)
RETURNING (SELECT r.device_id FROM source_record r WHERE r.id = match_exception.record_id);

-- name: match_exceptions_solved :exec
-- args: people:text, keep:text
-- only: pgsql
DELETE FROM match_exception e
 WHERE e.person_id IN (SELECT x FROM jsonb_array_elements_text(CAST(:people AS jsonb)) AS x)
   AND e.record_id NOT IN (SELECT y FROM jsonb_array_elements_text(CAST(:keep AS jsonb)) AS y);
-- only: sqlite3
DELETE FROM match_exception
 WHERE person_id IN (SELECT value FROM json_each(:people)) AND record_id NOT IN (SELECT value FROM json_each(:keep));

-- name: match_exception_count :one
-- cols: n:i64
SELECT COUNT(*) FROM match_exception WHERE ignored_ms IS NULL;

-- name: match_exception_drop :exec
-- args: record_id:text
DELETE FROM match_exception WHERE record_id = :record_id;

-- name: match_exception_ignore :exec1
-- args: record_id:text, now:i64
UPDATE match_exception SET ignored_ms = :now WHERE record_id = :record_id;

-- The newest first. ignored: 1 shows those too.
-- name: match_exception_list :many
-- args: before:i64, before_id:text, code:text, ignored:i64, origin:text, max:i64
-- cols: record_id:text, code:text, candidates:text, since_ms:i64, ignored_ms:i64?, person_id:text, person_name:text, person_login:text, person_mail:text, class:text, native_id:text, attrs:text, first_seen_ms:i64, last_seen_ms:i64, state:text, device_id:text?, device_name:text, device_state:text, platform:text
SELECT e.record_id, e.code, e.candidates, e.since_ms, e.ignored_ms, p.id, p.name, p.login, p.mail, r.class, r.native_id, r.attrs, r.first_seen_ms,
       r.last_seen_ms, r.state, d.id, COALESCE(d.name, ''), COALESCE(d.state, ''), COALESCE(d.platform, 'unknown')
  FROM match_exception e JOIN source_record r ON r.id = e.record_id JOIN person p ON p.id = e.person_id LEFT JOIN device d ON d.id = r.device_id
 WHERE (e.since_ms < :before OR (e.since_ms = :before AND e.record_id < :before_id))
   AND (:code = '' OR e.code = :code) AND (:ignored = 1 OR e.ignored_ms IS NULL)
   AND (:origin = '' OR CASE r.state WHEN 'discovered' THEN 'discovered' ELSE 'gate' END = :origin)
 ORDER BY e.since_ms DESC, e.record_id DESC LIMIT :max;

-- ---------------------------------------------------------------- what people decide

-- name: match_mail :one
-- args: record_id:text
-- cols: id:text, person_id:text, native_id:text, class:text, state:text, attrs:text, device_id:text?, device_name:text, device_state:text, device_mode:text, ownership:text, platform:text, folder_id:text?, model:text, product:text, build:text
SELECT r.id, r.person_id, r.native_id, r.class, r.state, r.attrs, {match_device}, COALESCE(d.ownership, ''), COALESCE(d.platform, 'unknown'),
       d.folder_id, COALESCE(d.model, ''), COALESCE(d.product, ''), COALESCE(d.build, '')
  FROM source_record r LEFT JOIN device d ON d.id = r.device_id
 WHERE r.id = :record_id AND r.kind = 'eas' AND r.live = 1 AND r.person_id IS NOT NULL
   AND (d.id IS NOT NULL OR r.state = 'discovered');

-- name: match_target :one
-- args: id:text
-- cols: person_id:text?, state:text, mode:text, level:text, platform:text, ownership:text, managed:i64
SELECT d.person_id, d.state, d.mode, d.level, d.platform, d.ownership,
       (SELECT COUNT(*) FROM source_record r WHERE r.device_id = d.id AND r.live = 1 AND r.kind IN ('mdm', 'agent') AND r.state = 'enrolled')
  FROM device d WHERE d.id = :id;

-- Devices with mail alone whose place for this kind of client is free: what waits for its phone to come back is first.
-- name: match_mail_devices :many
-- args: person_id:text, device_id:text, class:text, since:i64
-- cols: id:text, name:text, model:text, product:text, os_version:text, platform:text, state:text, serial:text?, imei:text?, last_ms:i64
SELECT d.id, d.name, d.model, d.product, d.os_version, d.platform, d.state, d.serial, d.imei, COALESCE(d.last_eas_ms, 0)
  FROM device d
 WHERE d.person_id = :person_id AND d.id <> :device_id AND d.level = 'email_only' AND d.mode IN ('eas', 'unknown') AND d.state IN ('active', 'removed')
   AND NOT EXISTS (SELECT 1 FROM source_record r WHERE r.device_id = d.id AND r.kind = 'eas' AND r.live = 1 AND r.class = :class
                      AND r.state NOT IN ('left', 'discovered')
                      AND COALESCE((SELECT c.last_ms FROM eas_count c WHERE c.record_id = r.id AND c.last_ms > r.last_seen_ms), r.last_seen_ms) > :since)
 ORDER BY CASE d.state WHEN 'removed' THEN 0 ELSE 1 END, d.name_key, d.id LIMIT 50;

-- The device whose only mail client was parted from it.
-- name: match_left :exec
-- args: id:text
UPDATE device SET mode = REPLACE(mode, '_eas', ''), eas_device_id = NULL, version = version + 1
 WHERE id = :id AND NOT EXISTS (SELECT 1 FROM source_record r WHERE r.device_id = device.id AND r.kind = 'eas' AND r.live = 1 AND r.state <> 'discovered');

-- name: match_rule_set :exec1
-- args: record_id:text, match_rule:text
UPDATE source_record SET match_rule = :match_rule WHERE id = :record_id;

-- ---------------------------------------------------------------- what a match took away, and its return

-- name: match_undo_drop :exec
-- args: record_id:text
-- keep
DELETE FROM match_undo WHERE record_id = :record_id;

-- part: undo_into
INSERT INTO match_undo (record_id, device_id, at_ms, by_person, id, name, name_key, folder_id, state, ownership, platform, model, product, build, os_version,
                        imei, department, site, location, notes, created_ms, enrolled_ms, kept_name, kept_name_key, kept_folder_id, kept_department,
                        kept_site, kept_location, kept_notes, kept_created_ms, event_ids, group_ids, assignment_ids)
SELECT :record_id, t.id, :now, :by_person, f.id, f.name, f.name_key, f.folder_id, f.state, f.ownership, f.platform, f.model, f.product, f.build, f.os_version,
       f.imei, f.department, f.site, f.location, f.notes, f.created_ms, f.enrolled_ms, t.name, t.name_key, t.folder_id, t.department, t.site, t.location,
       t.notes, t.created_ms,

-- part: undo_events
(SELECT e.id AS x FROM device_event e WHERE e.device_id = f.id ORDER BY e.at_ms DESC, e.id LIMIT 500) AS v

-- part: undo_groups
(SELECT m.group_id AS x FROM device_group_member m WHERE m.device_id = f.id
    AND NOT EXISTS (SELECT 1 FROM device_group_member o WHERE o.device_id = t.id AND o.group_id = m.group_id)) AS v

-- part: undo_assignments
(SELECT a.id AS x FROM assignment a WHERE a.target_kind = 'device' AND a.target_id = f.id
    AND NOT EXISTS (SELECT 1 FROM assignment o WHERE o.object_id = a.object_id AND o.target_kind = 'device' AND o.target_id = t.id)) AS v

-- Before the two become one.
-- name: match_undo_put :exec
-- args: record_id:text, from_id:text, to_id:text, by_person:i64, now:i64
-- keep
-- only: pgsql
{undo_into}
       (SELECT COALESCE(CAST(jsonb_agg(v.x) AS TEXT), '[]') FROM {undo_events}), (SELECT COALESCE(CAST(jsonb_agg(v.x) AS TEXT), '[]') FROM {undo_groups}),
       (SELECT COALESCE(CAST(jsonb_agg(v.x) AS TEXT), '[]') FROM {undo_assignments})
  FROM device f, device t WHERE f.id = :from_id AND t.id = :to_id;
-- only: sqlite3
{undo_into}
       (SELECT json_group_array(v.x) FROM {undo_events}), (SELECT json_group_array(v.x) FROM {undo_groups}), (SELECT json_group_array(v.x) FROM {undo_assignments})
  FROM device f, device t WHERE f.id = :from_id AND t.id = :to_id;

-- What stands for this record as long as it is where that match has brought it, and nobody has its object's id.
-- name: match_undo :one
-- args: record_id:text, device_id:text
-- cols: id:text, state:text, event_ids:text, group_ids:text, assignment_ids:text
SELECT u.id, u.state, u.event_ids, u.group_ids, u.assignment_ids FROM match_undo u
 WHERE u.record_id = :record_id AND u.device_id = :device_id AND NOT EXISTS (SELECT 1 FROM device d WHERE d.id = u.id);

-- The record that this person has said to be on this device, not long ago.
-- name: match_undo_said :one
-- args: device_id:text, person_id:text, since:i64
-- cols: record_id:text
SELECT u.record_id FROM match_undo u JOIN source_record r ON r.id = u.record_id
 WHERE u.device_id = :device_id AND u.by_person = 1 AND u.at_ms > :since AND r.device_id = u.device_id AND r.person_id = :person_id AND r.state = 'enrolled'
   AND NOT EXISTS (SELECT 1 FROM device d WHERE d.id = u.id)
 ORDER BY u.at_ms DESC, u.record_id LIMIT 1;

-- What was pending, and is to have mail, stands beside the device that it was on.
-- name: match_undo_device :exec1
-- args: record_id:text, state:text, now:i64
INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, level, ownership, platform, model, product, build, os_version, imei, department, site,
                    location, notes, created_ms, enrolled_ms, eas_device_id, last_eas_ms)
SELECT u.id, u.name, u.name_key, CASE WHEN u.state = :state THEN COALESCE((SELECT f.id FROM folder f WHERE f.id = u.folder_id), t.folder_id) ELSE t.folder_id END,
       r.person_id, :state, 'eas', 'email_only', u.ownership, u.platform, u.model, u.product, u.build, u.os_version, u.imei, u.department, u.site, u.location,
       u.notes, u.created_ms, CASE WHEN :state = 'pending' THEN u.enrolled_ms ELSE COALESCE(u.enrolled_ms, :now) END, r.native_id, r.last_seen_ms
  FROM match_undo u JOIN source_record r ON r.id = u.record_id JOIN device t ON t.id = u.device_id
 WHERE u.record_id = :record_id;

-- The device is called and stands again as before, unless somebody has named or moved it since.
-- name: match_undo_kept :exec
-- args: record_id:text
UPDATE device SET (name, name_key, folder_id, department, site, location, notes, created_ms) =
       (SELECT CASE WHEN device.name = u.name THEN u.kept_name ELSE device.name END, CASE WHEN device.name = u.name THEN u.kept_name_key ELSE device.name_key END,
               CASE WHEN device.folder_id = u.folder_id THEN COALESCE((SELECT f.id FROM folder f WHERE f.id = u.kept_folder_id), device.folder_id)
                    ELSE device.folder_id END,
               CASE WHEN device.department = u.department THEN u.kept_department ELSE device.department END,
               CASE WHEN device.site = u.site THEN u.kept_site ELSE device.site END,
               CASE WHEN device.location = u.location THEN u.kept_location ELSE device.location END,
               CASE WHEN device.notes = u.notes THEN u.kept_notes ELSE device.notes END, u.kept_created_ms
          FROM match_undo u WHERE u.record_id = :record_id), version = version + 1
 WHERE id = (SELECT u.device_id FROM match_undo u WHERE u.record_id = :record_id);

-- name: match_undo_events :exec
-- args: ids:text, device_id:text
-- only: pgsql
UPDATE device_event SET device_id = :device_id WHERE id IN (SELECT x FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x);
-- only: sqlite3
UPDATE device_event SET device_id = :device_id WHERE id IN (SELECT value FROM json_each(:ids));

-- name: match_undo_groups :exec
-- args: ids:text, device_id:text, left_id:text
-- only: pgsql
UPDATE device_group_member SET device_id = :device_id
 WHERE device_id = :left_id AND group_id IN (SELECT x FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x);
-- only: sqlite3
UPDATE device_group_member SET device_id = :device_id WHERE device_id = :left_id AND group_id IN (SELECT value FROM json_each(:ids));

-- name: match_undo_assignments :exec
-- args: ids:text, device_id:text, left_id:text
-- only: pgsql
UPDATE assignment SET target_id = :device_id
 WHERE target_kind = 'device' AND target_id = :left_id AND id IN (SELECT x FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x);
-- only: sqlite3
UPDATE assignment SET target_id = :device_id
 WHERE target_kind = 'device' AND target_id = :left_id AND id IN (SELECT value FROM json_each(:ids));

-- name: match_split_add :exec
-- args: mail_id:text, device_id:text, now:i64
INSERT INTO match_split (a, b, at_ms)
SELECT :mail_id, r.id, :now FROM source_record r WHERE r.device_id = :device_id AND r.kind IN ('mdm', 'agent') AND r.live = 1 AND r.class NOT LIKE 'user:%'
ON CONFLICT (a, b) DO NOTHING;

-- name: match_split_drop :exec
-- args: mail_id:text, device_id:text
DELETE FROM match_split
 WHERE a = :mail_id AND b IN (SELECT r.id FROM source_record r WHERE r.device_id = :device_id);

-- ---------------------------------------------------------------- the runs

-- name: match_last :one
-- cols: run_at_ms:i64, result:text?
SELECT run_at_ms, result FROM job WHERE unique_key = 'period:match.run';
