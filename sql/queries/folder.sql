-- Folders and groups of devices (domain/mdm_folder.c).

-- part: folder_cols
id:text, parent_id:text?, name:text, kind:text, version:i64, settings:text, devices:i64

-- part: folder_row
SELECT f.id, f.parent_id, f.name, f.kind, f.version, f.settings,
       (SELECT COUNT(*) FROM (SELECT 1 AS one FROM device d WHERE d.folder_id = f.id ORDER BY d.name_key LIMIT 1000) AS x)
  FROM folder f

-- admin: somebody who may see some folders only.
-- part: folder_seen
(:admin = '' OR EXISTS (SELECT 1 FROM folder_above s JOIN admin_folder l ON l.folder_id = s.above_id
                         WHERE s.folder_id = f.id AND l.admin_id = :admin))

-- name: folder_list :many
-- args: admin:text, limit:i64
-- cols: {folder_cols}
{folder_row}
 WHERE {folder_seen}
 ORDER BY (SELECT COUNT(*) FROM folder_above a WHERE a.folder_id = f.id), LOWER(f.name), f.id LIMIT :limit;

-- name: folder_get :one
-- args: id:text, admin:text
-- cols: {folder_cols}
{folder_row}
 WHERE f.id = :id AND {folder_seen};

-- The tree changes one change after another, so that two at once make no loop. On SQLite the transaction holds all anyway.
-- name: folder_hold :one
-- cols: id:text
-- only: pgsql
SELECT id FROM folder WHERE parent_id IS NULL ORDER BY id LIMIT 1 FOR NO KEY UPDATE;
-- only: sqlite3
SELECT id FROM folder WHERE parent_id IS NULL ORDER BY id LIMIT 1;

-- name: folder_count :one
-- args: above:text
-- cols: n:i64, depth:i64
SELECT COUNT(*), (SELECT COUNT(*) FROM folder_above WHERE folder_id = :above) FROM folder;

-- name: folder_height :one
-- args: id:text
-- cols: n:i64
SELECT COALESCE(MAX(x.n), 0) FROM (SELECT COUNT(*) AS n FROM folder_above a JOIN folder_above t ON t.folder_id = a.folder_id AND t.above_id = :id
        JOIN folder_above own ON own.folder_id = a.above_id AND own.above_id = :id GROUP BY a.folder_id) AS x;

-- name: folder_is_below :one
-- args: id:text, above:text
-- cols: id:text
SELECT folder_id FROM folder_above WHERE folder_id = :id AND above_id = :above;

-- name: folder_add :exec
-- args: id:text, parent:text, name:text
INSERT INTO folder (id, parent_id, name) VALUES (:id, :parent, :name);

-- name: folder_set :exec
-- args: id:text, version:i64, parent:text, name:text
UPDATE folder SET parent_id = :parent, name = :name, version = version + 1 WHERE id = :id AND version = :version AND kind = 'normal';

-- name: folder_remove :exec
-- args: id:text, version:i64
DELETE FROM folder WHERE id = :id AND version = :version AND kind = 'normal';

-- A folder that came or moved, and all below it: what they stood under is forgotten, what they stand under now is written.
-- name: folder_above_drop :exec
-- args: id:text
DELETE FROM folder_above
 WHERE folder_id IN (SELECT t.folder_id FROM folder_above t WHERE t.above_id = :id)
   AND above_id NOT IN (SELECT t.folder_id FROM folder_above t WHERE t.above_id = :id);

-- name: folder_above_self :exec
-- args: id:text
INSERT INTO folder_above (folder_id, above_id) VALUES (:id, :id);

-- name: folder_above_add :exec
-- args: id:text, parent:text
INSERT INTO folder_above (folder_id, above_id)
SELECT t.folder_id, u.above_id FROM folder_above t, folder_above u WHERE t.above_id = :id AND u.folder_id = :parent;

-- Counts what is no device, or a pending one, so that a list is taken as a whole or not at all.
-- name: devices_of_list :one
-- args: ids:text, admin:text
-- cols: found:i64, pending:i64
-- only: pgsql
SELECT COUNT(*), COALESCE(SUM(CASE WHEN f.kind = 'pending' THEN 1 ELSE 0 END), 0) FROM device d JOIN folder f ON f.id = d.folder_id
 WHERE d.id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))
   AND {folder_seen};
-- only: sqlite3
SELECT COUNT(*), COALESCE(SUM(CASE WHEN f.kind = 'pending' THEN 1 ELSE 0 END), 0) FROM device d JOIN folder f ON f.id = d.folder_id
 WHERE d.id IN (SELECT value FROM json_each(:ids))
   AND {folder_seen};

-- name: devices_move :exec
-- args: ids:text, folder:text
-- only: pgsql
UPDATE device SET folder_id = :folder, version = version + 1
 WHERE id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))) AND folder_id <> :folder;
-- only: sqlite3
UPDATE device SET folder_id = :folder, version = version + 1
 WHERE id IN (SELECT value FROM json_each(:ids)) AND folder_id <> :folder;

-- Devices that were refreshed by hand only are looked at under the schedule of where they are now.
-- name: devices_due :exec
-- args: ids:text, now:i64
-- only: pgsql
UPDATE device SET refresh_due_ms = :now
 WHERE id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))) AND refresh_due_ms IS NULL;
-- only: sqlite3
UPDATE device SET refresh_due_ms = :now
 WHERE id IN (SELECT value FROM json_each(:ids)) AND refresh_due_ms IS NULL;

-- ---------------------------------------------------------------- groups

-- part: group_cols
id:text, name:text, kind:text, position:i64, version:i64, devices:i64

-- part: group_row
SELECT g.id, g.name, g.kind, g.position, g.version,
       (SELECT COUNT(*) FROM (SELECT 1 AS one FROM device_group_member m WHERE m.group_id = g.id LIMIT 1000) AS x)
  FROM device_group g

-- name: group_list :many
-- args: after:text, count:i64
-- cols: {group_cols}
{group_row}
 WHERE g.name > :after ORDER BY g.name LIMIT :count;

-- name: group_get :one
-- args: id:text
-- cols: {group_cols}
{group_row}
 WHERE g.id = :id;

-- name: group_add :exec
-- args: id:text, name:text, position:i64
INSERT INTO device_group (id, name, kind, position) VALUES (:id, :name, 'static', :position);

-- name: group_set :exec
-- args: id:text, version:i64, name:text, position:i64
UPDATE device_group SET name = :name, position = :position, version = version + 1 WHERE id = :id AND version = :version;

-- name: group_remove :exec
-- args: id:text, version:i64
DELETE FROM device_group WHERE id = :id AND version = :version;

-- A device of the group that is in none of the administrator's folders.
-- name: group_beyond :one
-- args: id:text, admin:text
-- cols: device_id:text
SELECT m.device_id FROM device_group_member m JOIN device d ON d.id = m.device_id
 WHERE m.group_id = :id
   AND NOT EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id
                    WHERE a.folder_id = d.folder_id AND l.admin_id = :admin)
 LIMIT 1;

-- name: group_members_add :exec
-- args: id:text, ids:text
-- only: pgsql
INSERT INTO device_group_member (group_id, device_id)
SELECT :id, x FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x ON CONFLICT DO NOTHING;
-- only: sqlite3
INSERT INTO device_group_member (group_id, device_id)
SELECT :id, value FROM json_each(:ids) WHERE 1 = 1 ON CONFLICT DO NOTHING;

-- name: group_members_drop :exec
-- args: id:text, ids:text
-- only: pgsql
DELETE FROM device_group_member WHERE group_id = :id AND device_id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)));
-- only: sqlite3
DELETE FROM device_group_member WHERE group_id = :id AND device_id IN (SELECT value FROM json_each(:ids));
