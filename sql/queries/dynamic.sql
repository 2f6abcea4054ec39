-- Dynamic groups (DEV-01): domain/mdm_dynamic.c.

-- part: dynamic_cols
id:text, criteria:text, base_kind:text, base_id:text?, due_ms:i64

-- part: dynamic_row
SELECT g.id, g.criteria, g.base_kind, g.base_id, g.refresh_due_ms FROM device_group g WHERE g.kind = 'dynamic'

-- id: '' = all of them.
-- name: dynamic_groups :many
-- args: id:text
-- cols: {dynamic_cols}
{dynamic_row} AND (:id = '' OR g.id = :id) ORDER BY g.id;

-- Held, so that one evaluation comes behind the other: whoever comes later has read later facts.
-- name: dynamic_groups_hold :many
-- args: id:text
-- cols: {dynamic_cols}
-- only: pgsql
{dynamic_row} AND (:id = '' OR g.id = :id) ORDER BY g.id FOR NO KEY UPDATE;
-- only: sqlite3
{dynamic_row} AND (:id = '' OR g.id = :id) ORDER BY g.id;

-- name: dynamic_due :one
-- args: now:i64
-- cols: {dynamic_cols}
{dynamic_row} AND g.refresh_due_ms <= :now ORDER BY g.refresh_due_ms, g.id LIMIT 1;

-- name: dynamic_get :one
-- args: id:text
-- cols: criteria:text, base_kind:text, base_id:text?, refreshed_ms:i64?, due_ms:i64, version:i64
SELECT criteria, base_kind, base_id, refreshed_ms, refresh_due_ms, version FROM device_group WHERE id = :id AND kind = 'dynamic';

-- name: dynamic_set :exec
-- args: id:text, criteria:text, base_kind:text, base_id:text?
UPDATE device_group SET kind = 'dynamic', criteria = :criteria, base_kind = :base_kind, base_id = :base_id, refresh_due_ms = 0,
       version = version + 1
 WHERE id = :id;

-- was: whoever asked for it again meanwhile gets it again.
-- name: dynamic_refreshed :exec
-- args: id:text, was:i64, due:i64, now:i64
UPDATE device_group SET refreshed_ms = :now, refresh_due_ms = CASE WHEN refresh_due_ms = :was THEN :due ELSE refresh_due_ms END WHERE id = :id;

-- id: '' = all of them; a time that is later than wanted is brought forward.
-- name: dynamic_hasten :exec
-- args: id:text, due:i64
UPDATE device_group SET refresh_due_ms = :due WHERE kind = 'dynamic' AND (:id = '' OR id = :id) AND refresh_due_ms > :due;

-- The groups that a group's base stands on.
-- name: dynamic_stands_on :one
-- args: base:text, id:text
-- cols: n:i64
WITH RECURSIVE b (id, n) AS (
    SELECT g.id, 1 FROM device_group g WHERE g.id = :base
    UNION SELECT u.id, b.n + 1 FROM b JOIN device_group g ON g.id = b.id AND g.kind = 'dynamic' AND g.base_kind = 'group'
           JOIN device_group u ON u.id = g.base_id WHERE b.n < 20)
SELECT COALESCE(MAX(CASE WHEN b.id = :id THEN 100 ELSE b.n END), 0) FROM b;

-- Who may come in question: the base, and whoever is in the group. One that is both may come twice. admin: who sees some folders only.
-- name: dynamic_candidates :many
-- args: id:text, kind:text, base:text, admin:text, after:text, max:i64
-- cols: device_id:text
SELECT x.id FROM (
    SELECT d.id, d.folder_id FROM device d WHERE :kind = 'zone'
    UNION ALL SELECT d.id, d.folder_id FROM folder_above a JOIN device d ON d.folder_id = a.folder_id WHERE :kind = 'folder' AND a.above_id = :base
    UNION ALL SELECT d.id, d.folder_id FROM device_group_member m JOIN device d ON d.id = m.device_id WHERE :kind = 'group' AND m.group_id = :base
    UNION ALL SELECT d.id, d.folder_id FROM device_group_member m JOIN device d ON d.id = m.device_id WHERE :kind <> 'zone' AND m.group_id = :id
  ) AS x
 WHERE x.id > :after
   AND (:admin = '' OR EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id
                                WHERE a.folder_id = x.folder_id AND l.admin_id = :admin))
 ORDER BY x.id LIMIT :max;

-- part: dynamic_facts
SELECT d.id, d.name, d.platform, d.model, d.product, d.serial, d.udid, d.imei, d.eas_device_id, d.os_version, d.build, d.phone, d.state, d.mode,
       d.level, d.ownership, d.compliance, d.department, d.site, d.location, d.supervised, d.test_device, d.passcode_present,
       d.passcode_compliant, d.encryption, d.battery, d.capacity_gb, d.free_gb, d.last_contact_ms, d.enrolled_ms, d.inventory

-- name: dynamic_devices :many
-- args: ids:text
-- cols: id:text, name:text, platform:text, model:text, product:text, serial:text?, udid:text?, imei:text?, eas_device_id:text?, os_version:text
-- cols: build:text, phone:text, state:text, mode:text, level:text, ownership:text, compliance:text, department:text, site:text, location:text
-- cols: supervised:i64?, test_device:i64, passcode_present:i64?, passcode_compliant:i64?, encryption:i64?, battery:f64?, capacity_gb:f64?, free_gb:f64?
-- cols: last_contact_ms:i64?, enrolled_ms:i64?, inventory:text, apps:text
-- only: pgsql
{dynamic_facts}, (SELECT CAST(COALESCE(jsonb_agg(a.identifier), '[]') AS text) FROM device_app a WHERE a.device_id = d.id)
  FROM device d WHERE d.id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))) ORDER BY d.id;
-- only: sqlite3
{dynamic_facts}, (SELECT json_group_array(a.identifier) FROM device_app a WHERE a.device_id = d.id)
  FROM device d WHERE d.id IN (SELECT value FROM json_each(:ids)) ORDER BY d.id;

-- Which of the devices are in the base of which group (all are in the zone), and which in the group. id: '' = of all groups.
-- name: dynamic_places :many
-- args: ids:text, id:text
-- cols: kind:text, group_id:text, device_id:text
-- only: pgsql
SELECT 'base', g.id, d.id FROM device_group g JOIN folder_above a ON a.above_id = g.base_id JOIN device d ON d.folder_id = a.folder_id
 WHERE g.kind = 'dynamic' AND g.base_kind = 'folder' AND (:id = '' OR g.id = :id)
   AND d.id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))
UNION ALL SELECT 'base', g.id, m.device_id FROM device_group g JOIN device_group_member m ON m.group_id = g.base_id
 WHERE g.kind = 'dynamic' AND g.base_kind = 'group' AND (:id = '' OR g.id = :id)
   AND m.device_id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))
UNION ALL SELECT 'member', g.id, m.device_id FROM device_group g JOIN device_group_member m ON m.group_id = g.id
 WHERE g.kind = 'dynamic' AND (:id = '' OR g.id = :id) AND m.device_id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)));
-- only: sqlite3
SELECT 'base', g.id, d.id FROM device_group g JOIN folder_above a ON a.above_id = g.base_id JOIN device d ON d.folder_id = a.folder_id
 WHERE g.kind = 'dynamic' AND g.base_kind = 'folder' AND (:id = '' OR g.id = :id) AND d.id IN (SELECT value FROM json_each(:ids))
UNION ALL SELECT 'base', g.id, m.device_id FROM device_group g JOIN device_group_member m ON m.group_id = g.base_id
 WHERE g.kind = 'dynamic' AND g.base_kind = 'group' AND (:id = '' OR g.id = :id) AND m.device_id IN (SELECT value FROM json_each(:ids))
UNION ALL SELECT 'member', g.id, m.device_id FROM device_group g JOIN device_group_member m ON m.group_id = g.id
 WHERE g.kind = 'dynamic' AND (:id = '' OR g.id = :id) AND m.device_id IN (SELECT value FROM json_each(:ids));

-- list: JSON [{"g", "d"}]
-- name: dynamic_add :exec
-- args: list:text
-- only: pgsql
INSERT INTO device_group_member (group_id, device_id)
SELECT v.g, v.d FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (g text, d text) ORDER BY 1, 2 ON CONFLICT DO NOTHING;
-- only: sqlite3
INSERT INTO device_group_member (group_id, device_id)
SELECT json_extract(value, '$.g'), json_extract(value, '$.d') FROM json_each(:list) WHERE 1 = 1 ON CONFLICT DO NOTHING;

-- name: dynamic_drop :exec
-- args: list:text
-- only: pgsql
DELETE FROM device_group_member m USING jsonb_to_recordset(CAST(:list AS jsonb)) AS v (g text, d text) WHERE m.group_id = v.g AND m.device_id = v.d;
-- only: sqlite3
DELETE FROM device_group_member WHERE (group_id, device_id) IN (SELECT json_extract(value, '$.g'), json_extract(value, '$.d') FROM json_each(:list));
