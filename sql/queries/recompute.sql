-- Effective policies computed again (POL-06, POL-09): domain/mdm_recompute.c, domain/mdm_recompute_batch.c.

-- name: recompute_mark :exec
-- args: kind:text, id:text, now:i64
INSERT INTO recompute (target_kind, target_id, since_ms) VALUES (:kind, :id, :now);

-- name: recompute_mark_devices :exec
-- args: ids:text, now:i64
-- only: pgsql
INSERT INTO recompute (target_kind, target_id, since_ms)
SELECT 'device', x, :now FROM jsonb_array_elements_text(CAST(:ids AS jsonb)) AS x;
-- only: sqlite3
INSERT INTO recompute (target_kind, target_id, since_ms) SELECT 'device', value, :now FROM json_each(:ids);

-- name: recompute_mark_policy :exec
-- args: policy_id:text, now:i64
INSERT INTO recompute (target_kind, target_id, since_ms)
SELECT a.target_kind, a.target_id, :now FROM assignment a WHERE a.object_kind = 'policy' AND a.object_id = :policy_id;

-- name: recompute_left :one
-- cols: marks:i64, devices:i64, since_ms:i64?
SELECT (SELECT COUNT(*) FROM recompute), (SELECT COUNT(*) FROM recompute_device),
       (SELECT MIN(x.ms) FROM (SELECT MIN(r.since_ms) AS ms FROM recompute r UNION ALL SELECT MIN(d.since_ms) FROM recompute_device d) AS x);

-- Marks are not counted: a synchronisation of a directory leaves hundreds of thousands.
-- name: recompute_more :one
-- cols: more:i64
SELECT CASE WHEN EXISTS (SELECT 1 FROM recompute_device) THEN 1 ELSE 0 END AS more;

-- ---------------------------------------------------------------- from marks to devices

-- Whom a target reaches; only one branch is asked.
-- part: reached
SELECT d.id, d.state FROM device d WHERE :kind IN ('device', 'criteria') AND d.id = :id
UNION ALL SELECT d.id, d.state FROM device d WHERE :kind = 'person' AND d.person_id = :id
UNION ALL SELECT d.id, d.state FROM device_group_member m JOIN device d ON d.id = m.device_id WHERE :kind = 'device_group' AND m.group_id = :id
UNION ALL SELECT d.id, d.state FROM folder_above a JOIN device d ON d.folder_id = a.folder_id
           WHERE :kind IN ('folder', 'below') AND a.above_id = :id
UNION ALL SELECT d.id, d.state FROM user_group_member m JOIN device d ON d.person_id = m.person_id
           WHERE :kind = 'user_group' AND m.group_id = :id
UNION ALL SELECT d.id, d.state FROM person p JOIN device d ON d.person_id = p.id WHERE :kind = 'user_source' AND p.source_id = :id
UNION ALL SELECT d.id, d.state
            FROM (WITH RECURSIVE f (id) AS (SELECT u.id FROM user_folder u WHERE u.id = :id AND :kind = 'user_folder'
                                             UNION SELECT u.id FROM f JOIN user_folder u ON u.parent_id = f.id)
                  SELECT f.id FROM f) AS below
            JOIN person p ON p.folder_id = below.id JOIN device d ON d.person_id = p.id

-- name: recompute_reach :one
-- args: kind:text, id:text, most:i64
-- cols: n:i64
SELECT COUNT(*) FROM (SELECT x.id FROM ({reached}) AS x WHERE x.state NOT IN ('pending', 'retired', 'removed') LIMIT :most) AS y;

-- The oldest mark of a target that may be big; of two nodes each has its own.
-- name: recompute_big :one
-- cols: seq:i64, kind:text, id:text, since_ms:i64, walked:text
-- only: pgsql
SELECT seq, target_kind, target_id, since_ms, walked FROM recompute WHERE target_kind NOT IN ('device', 'criteria', 'person')
 ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED;
-- only: sqlite3
SELECT seq, target_kind, target_id, since_ms, walked FROM recompute WHERE target_kind NOT IN ('device', 'criteria', 'person')
 ORDER BY seq LIMIT 1;

-- name: recompute_reached :many
-- args: kind:text, id:text, after:text, max:i64
-- cols: device_id:text
SELECT x.id FROM ({reached}) AS x WHERE x.id > :after ORDER BY x.id LIMIT :max;

-- name: recompute_walked :exec
-- args: seq:i64, walked:text
UPDATE recompute SET walked = :walked WHERE seq = :seq;

-- Marks of single devices and people, many at once. Deleted here: whoever adds the devices does it in this transaction.
-- name: recompute_small :many
-- args: max:i64
-- cols: kind:text, id:text, since_ms:i64
-- only: pgsql
DELETE FROM recompute WHERE seq = ANY (ARRAY(SELECT r.seq FROM recompute r WHERE r.target_kind IN ('device', 'criteria', 'person')
                                              ORDER BY r.seq LIMIT :max FOR UPDATE SKIP LOCKED))
RETURNING target_kind, target_id, since_ms;
-- only: sqlite3
DELETE FROM recompute WHERE seq IN (SELECT r.seq FROM recompute r WHERE r.target_kind IN ('device', 'criteria', 'person')
                                     ORDER BY r.seq LIMIT :max)
RETURNING target_kind, target_id, since_ms;

-- name: recompute_mark_drop :exec
-- args: seq:i64
DELETE FROM recompute WHERE seq = :seq;

-- name: recompute_of_people :many
-- args: people:text
-- cols: device_id:text
-- only: pgsql
SELECT d.id FROM (SELECT DISTINCT jsonb_array_elements_text(CAST(:people AS jsonb)) AS id) AS v
  CROSS JOIN LATERAL (SELECT o.id FROM device o WHERE o.person_id = v.id OFFSET 0) AS d; -- one after the other, whatever is known of how many there are
-- only: sqlite3
SELECT d.id FROM device d WHERE d.person_id IN (SELECT value FROM json_each(:people));

-- list: JSON [{"id", "criteria", "policies"}], by id. A device that is taken at this moment is waited for: its row comes back behind it.
-- name: recompute_add :exec
-- args: list:text, since_ms:i64
-- only: pgsql
INSERT INTO recompute_device (device_id, since_ms, criteria, policies)
SELECT v.id, :since_ms, v.criteria, v.policies
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, criteria bigint, policies bigint) ORDER BY v.id
ON CONFLICT (device_id) DO UPDATE SET criteria = GREATEST(recompute_device.criteria, excluded.criteria),
    policies = GREATEST(recompute_device.policies, excluded.policies);
-- only: sqlite3
INSERT INTO recompute_device (device_id, since_ms, criteria, policies)
SELECT json_extract(value, '$.id'), :since_ms, json_extract(value, '$.criteria'), json_extract(value, '$.policies') FROM json_each(:list) WHERE 1 = 1
ON CONFLICT (device_id) DO UPDATE SET criteria = MAX(recompute_device.criteria, excluded.criteria),
    policies = MAX(recompute_device.policies, excluded.policies);

-- ---------------------------------------------------------------- a batch of devices and their facts

-- The rows are gone with this transaction: the facts are read afterwards, so whoever changes one later adds a row again. The devices and their
-- records are held, but never waited for: a device that is at work itself is left for later, and no check-in waits for who waits for it.
-- One after the other by its key: side by side in the order of ids, each batch would begin with all devices that were done before it.
-- name: recompute_take :many
-- args: max:i64
-- cols: device_id:text, criteria:i64, policies:i64
-- only: pgsql
WITH free AS MATERIALIZED (
    SELECT r.device_id FROM (SELECT w.device_id FROM recompute_device w ORDER BY w.device_id FOR UPDATE SKIP LOCKED) AS r
     CROSS JOIN LATERAL (SELECT d.id FROM device d WHERE d.id = r.device_id FOR NO KEY UPDATE SKIP LOCKED) AS d LIMIT :max),
 known AS MATERIALIZED (
    SELECT f.device_id, (SELECT s.id FROM source_record s WHERE s.device_id = f.device_id AND s.kind = 'mdm' AND s.class = '' AND s.live = 1) AS record_id
      FROM free f),
 records AS MATERIALIZED (
    SELECT s.id FROM source_record s WHERE s.id = ANY (ARRAY(SELECT k.record_id FROM known k)) FOR NO KEY UPDATE SKIP LOCKED)
DELETE FROM recompute_device
 WHERE device_id = ANY (ARRAY(SELECT k.device_id FROM known k WHERE k.record_id IS NULL OR k.record_id IN (SELECT h.id FROM records h)))
RETURNING device_id, criteria, policies;
-- only: sqlite3
DELETE FROM recompute_device WHERE device_id IN (SELECT r.device_id FROM recompute_device r ORDER BY r.device_id LIMIT :max)
RETURNING device_id, criteria, policies;

-- Devices that were deleted while they waited.
-- name: recompute_orphans :exec
-- only: pgsql
DELETE FROM recompute_device WHERE device_id = ANY (ARRAY(
    SELECT r.device_id FROM recompute_device r WHERE NOT EXISTS (SELECT 1 FROM device d WHERE d.id = r.device_id) FOR UPDATE SKIP LOCKED));
-- only: sqlite3
DELETE FROM recompute_device WHERE NOT EXISTS (SELECT 1 FROM device d WHERE d.id = recompute_device.device_id);

-- Is there anything that may concern the device?
-- name: recompute_waiting :one
-- args: device_id:text
-- cols: waiting:i64
SELECT CASE WHEN EXISTS (SELECT 1 FROM recompute) OR EXISTS (SELECT 1 FROM recompute_device d WHERE d.device_id = :device_id) THEN 1 ELSE 0 END;

-- Before its facts are read. Whoever adds it at this moment has it computed again.
-- name: recompute_drop :exec
-- args: device_id:text
-- only: pgsql
DELETE FROM recompute_device WHERE device_id = ANY (ARRAY(
    SELECT r.device_id FROM recompute_device r WHERE r.device_id = :device_id AND r.criteria = 0 FOR UPDATE SKIP LOCKED));
-- only: sqlite3
DELETE FROM recompute_device WHERE device_id = :device_id AND criteria = 0;

-- No device of the batch goes away before its end.
-- name: recompute_devices :many
-- args: ids:text
-- cols: id:text, state:text, ownership:text, test_device:i64, folder_id:text, person_id:text?, user_folder:text?, source_id:text?
-- only: pgsql
SELECT d.id, d.state, d.ownership, d.test_device, d.folder_id, d.person_id, p.folder_id, p.source_id
  FROM device d LEFT JOIN person p ON p.id = d.person_id
 WHERE d.id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))) ORDER BY d.id FOR KEY SHARE OF d;
-- only: sqlite3
SELECT d.id, d.state, d.ownership, d.test_device, d.folder_id, d.person_id, p.folder_id, p.source_id
  FROM device d LEFT JOIN person p ON p.id = d.person_id
 WHERE d.id IN (SELECT value FROM json_each(:ids)) ORDER BY d.id;

-- The groups and folders of the batch, nearest first: owner is a device, a person, a folder.
-- name: recompute_places :many
-- args: devices:text, people:text, folders:text, user_folders:text
-- cols: kind:text, owner:text, target:text
-- only: pgsql
SELECT x.kind, x.owner, x.target FROM (
    SELECT 'device_group' AS kind, m.device_id AS owner, m.group_id AS target, g.position AS n
      FROM (SELECT DISTINCT jsonb_array_elements_text(CAST(:devices AS jsonb)) AS id) AS v
     CROSS JOIN LATERAL (SELECT i.device_id, i.group_id FROM device_group_member i WHERE i.device_id = v.id OFFSET 0) AS m
      JOIN device_group g ON g.id = m.group_id
    UNION ALL
    SELECT 'user_group', m.person_id, m.group_id, g.position
      FROM (SELECT DISTINCT jsonb_array_elements_text(CAST(:people AS jsonb)) AS id) AS v
     CROSS JOIN LATERAL (SELECT i.person_id, i.group_id FROM user_group_member i WHERE i.person_id = v.id OFFSET 0) AS m
      JOIN user_group g ON g.id = m.group_id
    UNION ALL
    SELECT 'folder', a.folder_id, a.above_id, -(SELECT COUNT(*) FROM folder_above up WHERE up.folder_id = a.above_id) FROM folder_above a
     WHERE a.folder_id IN (SELECT jsonb_array_elements_text(CAST(:folders AS jsonb)))
    UNION ALL
    SELECT 'user_folder', u.owner, u.id, u.n
      FROM (WITH RECURSIVE up (owner, id, n) AS (
                SELECT f.id, f.id, 0 FROM user_folder f WHERE f.id IN (SELECT jsonb_array_elements_text(CAST(:user_folders AS jsonb)))
                UNION ALL SELECT up.owner, f.parent_id, up.n + 1 FROM up JOIN user_folder f ON f.id = up.id
                 WHERE f.parent_id IS NOT NULL AND up.n < 100)
            SELECT up.owner, up.id, up.n FROM up) AS u) AS x
 ORDER BY x.kind, x.owner, x.n, x.target;
-- only: sqlite3
SELECT x.kind, x.owner, x.target FROM (
    SELECT 'device_group' AS kind, m.device_id AS owner, m.group_id AS target, g.position AS n
      FROM device_group_member m JOIN device_group g ON g.id = m.group_id WHERE m.device_id IN (SELECT value FROM json_each(:devices))
    UNION ALL
    SELECT 'user_group', m.person_id, m.group_id, g.position FROM user_group_member m JOIN user_group g ON g.id = m.group_id
     WHERE m.person_id IN (SELECT value FROM json_each(:people))
    UNION ALL
    SELECT 'folder', a.folder_id, a.above_id, -(SELECT COUNT(*) FROM folder_above up WHERE up.folder_id = a.above_id) FROM folder_above a
     WHERE a.folder_id IN (SELECT value FROM json_each(:folders))
    UNION ALL
    SELECT 'user_folder', u.owner, u.id, u.n
      FROM (WITH RECURSIVE up (owner, id, n) AS (
                SELECT f.id, f.id, 0 FROM user_folder f WHERE f.id IN (SELECT value FROM json_each(:user_folders))
                UNION ALL SELECT up.owner, f.parent_id, up.n + 1 FROM up JOIN user_folder f ON f.id = up.id
                 WHERE f.parent_id IS NOT NULL AND up.n < 100)
            SELECT up.owner, up.id, up.n FROM up) AS u) AS x
 ORDER BY x.kind, x.owner, x.n, x.target;

-- What is assigned to targets. targets: JSON [{"k", "i"}]. A test device gets the sandbox of a policy that has one.
-- name: recompute_assigned :many
-- args: targets:text
-- cols: id:text, target_kind:text, target_id:text, policy_id:text, type:text, conflict:text, position:i64, published:i64, sandbox:text?
-- only: pgsql
SELECT a.id, a.target_kind, a.target_id, a.object_id, p.type, a.conflict, a.position, p.published, s.settings
  FROM jsonb_to_recordset(CAST(:targets AS jsonb)) AS t (k text, i text)
  JOIN assignment a ON a.target_kind = t.k AND a.target_id = t.i AND a.object_kind = 'policy'
  JOIN policy p ON p.id = a.object_id AND p.type IN ('device_control', 'security', 'email')
  LEFT JOIN policy_version s ON s.policy_id = p.id AND s.number = 0 AND p.has_sandbox = 1
 ORDER BY a.target_kind, a.target_id, a.position, a.object_id;
-- only: sqlite3
SELECT a.id, a.target_kind, a.target_id, a.object_id, p.type, a.conflict, a.position, p.published, s.settings
  FROM json_each(:targets) AS t
  JOIN assignment a ON a.target_kind = json_extract(t.value, '$.k') AND a.target_id = json_extract(t.value, '$.i') AND a.object_kind = 'policy'
  JOIN policy p ON p.id = a.object_id AND p.type IN ('device_control', 'security', 'email')
  LEFT JOIN policy_version s ON s.policy_id = p.id AND s.number = 0 AND p.has_sandbox = 1
 ORDER BY a.target_kind, a.target_id, a.position, a.object_id;

-- name: recompute_version :one
-- args: policy_id:text, number:i64
-- cols: settings:text
SELECT settings FROM policy_version WHERE policy_id = :policy_id AND number = :number;

-- ---------------------------------------------------------------- results

-- list: JSON [{"i", "t", "h", "s"}]. A result that is found again stays young: the sweep takes old ones only. Young ones are not
-- touched, since many want the same.
-- name: recompute_results_put :exec
-- args: list:text, now:i64, young:i64
-- only: pgsql
INSERT INTO policy_result (id, type, hash, settings, created_ms)
SELECT DISTINCT v.i, v.t, v.h, v.s, :now FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (i text, t text, h text, s text)
 WHERE NOT EXISTS (SELECT 1 FROM policy_result r WHERE r.id = v.i AND r.created_ms >= :young) ORDER BY 1
ON CONFLICT (id) DO UPDATE SET created_ms = excluded.created_ms WHERE policy_result.created_ms < :young;
-- only: sqlite3
INSERT INTO policy_result (id, type, hash, settings, created_ms)
SELECT json_extract(value, '$.i'), json_extract(value, '$.t'), json_extract(value, '$.h'), json_extract(value, '$.s'), :now
  FROM json_each(:list) WHERE 1 = 1
ON CONFLICT (id) DO UPDATE SET created_ms = excluded.created_ms WHERE policy_result.created_ms < :young;

-- list: JSON [{"r", "p", "n"}]
-- name: recompute_result_policies :exec
-- args: list:text
-- only: pgsql
INSERT INTO policy_result_policy (result_id, policy_id, number)
SELECT v.r, v.p, v.n FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (r text, p text, n bigint) ORDER BY 1, 2
ON CONFLICT DO NOTHING;
-- only: sqlite3
INSERT INTO policy_result_policy (result_id, policy_id, number)
SELECT json_extract(value, '$.r'), json_extract(value, '$.p'), json_extract(value, '$.n') FROM json_each(:list) WHERE 1 = 1
ON CONFLICT DO NOTHING;

-- name: recompute_effective :many
-- args: ids:text
-- cols: device_id:text, type:text, result_id:text
-- only: pgsql
SELECT device_id, type, result_id FROM effective_policy WHERE device_id IN (SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)));
-- only: sqlite3
SELECT device_id, type, result_id FROM effective_policy WHERE device_id IN (SELECT value FROM json_each(:ids));

-- list: JSON [{"d", "t", "r"}]
-- name: recompute_effective_put :exec
-- args: list:text, now:i64
-- only: pgsql
INSERT INTO effective_policy (device_id, type, result_id, computed_ms)
SELECT v.d, v.t, v.r, :now FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (d text, t text, r text) ORDER BY 1, 2
ON CONFLICT (device_id, type) DO UPDATE SET result_id = excluded.result_id, computed_ms = excluded.computed_ms;
-- only: sqlite3
INSERT INTO effective_policy (device_id, type, result_id, computed_ms)
SELECT json_extract(value, '$.d'), json_extract(value, '$.t'), json_extract(value, '$.r'), :now FROM json_each(:list) WHERE 1 = 1
ON CONFLICT (device_id, type) DO UPDATE SET result_id = excluded.result_id, computed_ms = excluded.computed_ms;

-- name: recompute_effective_drop :exec
-- args: list:text
-- only: pgsql
DELETE FROM effective_policy e USING jsonb_to_recordset(CAST(:list AS jsonb)) AS v (d text, t text) WHERE e.device_id = v.d AND e.type = v.t;
-- only: sqlite3
DELETE FROM effective_policy WHERE (device_id, type) IN (SELECT json_extract(value, '$.d'), json_extract(value, '$.t') FROM json_each(:list));

-- name: recompute_sweep :exec
-- args: before:i64, max:i64
DELETE FROM policy_result WHERE id IN (
    SELECT r.id FROM policy_result r
     WHERE r.created_ms < :before AND NOT EXISTS (SELECT 1 FROM effective_policy e WHERE e.result_id = r.id)
       AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.result_id = r.id) LIMIT :max);
