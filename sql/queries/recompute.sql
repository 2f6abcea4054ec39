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
