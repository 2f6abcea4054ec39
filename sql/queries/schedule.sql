-- Schedules (DEV-05, DEV-06): whose they are, and the devices that are due.

-- name: schedule_folders :many
-- cols: id:text, parent_id:text?, name:text, settings:text
SELECT id, parent_id, name, settings FROM folder;

-- admin: whoever may see some folders only.
-- name: schedule_folder :one
-- args: id:text, admin:text
-- cols: name:text, settings:text, version:i64
SELECT f.name, f.settings, f.version FROM folder f
 WHERE f.id = :id AND (:admin = '' OR EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id
                                               WHERE a.folder_id = f.id AND l.admin_id = :admin));

-- name: schedule_folder_set :exec
-- args: id:text, version:i64, settings:text
UPDATE folder SET settings = :settings, version = version + 1 WHERE id = :id AND version = :version;

-- name: schedule_device :one
-- args: id:text
-- cols: name:text, settings:text, version:i64, folder_id:text, due_ms:i64?
SELECT name, settings, version, folder_id, refresh_due_ms FROM device WHERE id = :id;

-- name: schedule_device_set :exec
-- args: id:text, version:i64, settings:text
UPDATE device SET settings = :settings, version = version + 1 WHERE id = :id AND version = :version;

-- Devices to be asked. waiting: an earlier question was not even sent.
-- name: schedule_due :many
-- args: now:i64, max:i64
-- cols: id:text, folder_id:text, settings:text, state:text, due_ms:i64, record_id:text?, record_state:text?, waiting:i64
SELECT d.id, d.folder_id, d.settings, d.state, d.refresh_due_ms, r.id, r.state,
       CASE WHEN EXISTS (SELECT 1 FROM command c WHERE c.record_id = r.id AND c.open = 1 AND c.state = 'queued'
                          AND c.coalesce_key = 'DeviceInformation') THEN 1 ELSE 0 END
  FROM device d LEFT JOIN source_record r ON r.device_id = d.id AND r.kind = 'mdm' AND r.class = '' AND r.live = 1
 WHERE d.refresh_due_ms IS NOT NULL AND d.refresh_due_ms <= :now
 ORDER BY d.refresh_due_ms LIMIT :max;

-- list: JSON [{"id", "due" (null: by hand only), "was"}]. Whose time somebody else has set meanwhile keeps it.
-- name: schedule_due_set :exec
-- args: list:text
-- only: pgsql
UPDATE device SET refresh_due_ms = v.due
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, due bigint, was bigint)
 WHERE device.id = v.id AND (v.was IS NULL OR device.refresh_due_ms = v.was);
-- only: sqlite3
UPDATE device SET refresh_due_ms = v.due
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.due') AS due, json_extract(value, '$.was') AS was
          FROM json_each(:list)) AS v
 WHERE device.id = v.id AND (v.was IS NULL OR device.refresh_due_ms = v.was);

-- Managed devices below a folder (all: of the zone), by id.
-- name: schedule_devices :many
-- args: folder:text, device:text, after:text, max:i64
-- cols: id:text, folder_id:text, settings:text, managed:i64
SELECT d.id, d.folder_id, d.settings,
       CASE WHEN d.state = 'active' AND EXISTS (SELECT 1 FROM source_record r WHERE r.device_id = d.id AND r.kind = 'mdm' AND r.class = ''
                                                  AND r.live = 1 AND r.state = 'enrolled') THEN 1 ELSE 0 END
  FROM device d
 WHERE d.id > :after AND (:device = '' OR d.id = :device)
   AND (:folder = '' OR EXISTS (SELECT 1 FROM folder_above a WHERE a.folder_id = d.folder_id AND a.above_id = :folder))
 ORDER BY d.id LIMIT :max;

-- Those that were silent longest, who are not flagged yet.
-- name: schedule_silent :many
-- args: after:i64, after_id:text, before:i64, max:i64
-- cols: id:text, folder_id:text, contact_ms:i64, state:text, lost:i64
SELECT d.id, d.folder_id, COALESCE(d.last_contact_ms, 0), d.state, CASE WHEN d.lost_ms IS NULL THEN 0 ELSE 1 END
  FROM device d
 WHERE (COALESCE(d.last_contact_ms, 0), d.id) > (:after, :after_id)
   AND COALESCE(d.last_contact_ms, 0) >= :after -- SQLite seeks by this one
   AND COALESCE(d.last_contact_ms, 0) < :before
 ORDER BY COALESCE(d.last_contact_ms, 0), d.id LIMIT :max;

-- Not if it was in touch meanwhile.
-- name: schedule_lost_set :exec
-- args: id:text, contact_ms:i64, now:i64
UPDATE device SET lost_ms = :now WHERE id = :id AND lost_ms IS NULL AND last_contact_ms = :contact_ms;
