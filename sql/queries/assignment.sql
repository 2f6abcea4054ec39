-- Assignments of policies (domain/mdm_assignment.c). The names of kinds of targets are those of their tables.

-- part: assignment_cols
id:text, policy_id:text, policy_name:text, type:text, target_kind:text, target_id:text, target_name:text?, conflict:text, position:i64, created_ms:i64, created_by:text, version:i64

-- part: assignment_row
SELECT a.id, a.object_id, p.name, a.object_type, a.target_kind, a.target_id,
       CASE a.target_kind
            WHEN 'person' THEN (SELECT x.name FROM person x WHERE x.id = a.target_id)
            WHEN 'user_group' THEN (SELECT x.name FROM user_group x WHERE x.id = a.target_id)
            WHEN 'user_folder' THEN (SELECT x.name FROM user_folder x WHERE x.id = a.target_id)
            WHEN 'user_source' THEN (SELECT x.name FROM user_source x WHERE x.id = a.target_id)
            WHEN 'device' THEN (SELECT x.name FROM device x WHERE x.id = a.target_id)
            WHEN 'device_group' THEN (SELECT x.name FROM device_group x WHERE x.id = a.target_id)
            WHEN 'folder' THEN (SELECT x.name FROM folder x WHERE x.id = a.target_id) END,
       a.conflict, a.position, a.created_ms, a.created_by, a.version
  FROM assignment a JOIN policy p ON p.id = a.object_id

-- admin: somebody who may see some folders only: of devices and folders he sees his own.
-- part: assignment_seen
a.object_kind = 'policy'
   AND (:admin = '' OR a.target_kind NOT IN ('device', 'folder')
        OR EXISTS (SELECT 1 FROM folder_above s JOIN admin_folder l ON l.folder_id = s.above_id
                    WHERE s.folder_id = CASE a.target_kind WHEN 'folder' THEN a.target_id
                                                           ELSE (SELECT v.folder_id FROM device v WHERE v.id = a.target_id) END
                      AND l.admin_id = :admin))

-- policy: '' = all.
-- name: assignment_list :many
-- args: policy:text, admin:text, after:text, after_id:text, count:i64
-- cols: {assignment_cols}
{assignment_row}
 WHERE (:policy = '' OR a.object_id = :policy) AND (a.target_kind, a.id) > (:after, :after_id) AND {assignment_seen}
 ORDER BY a.target_kind, a.id LIMIT :count;

-- name: assignment_of_target :many
-- args: kind:text, target:text, admin:text, count:i64
-- cols: {assignment_cols}
{assignment_row}
 WHERE a.target_kind = :kind AND a.target_id = :target AND {assignment_seen}
 ORDER BY a.object_type, a.position, a.id LIMIT :count;

-- name: assignment_get :one
-- args: id:text, admin:text
-- cols: {assignment_cols}
{assignment_row}
 WHERE a.id = :id AND {assignment_seen};

-- Without a position it comes behind those that are there.
-- name: assignment_add :exec
-- args: id:text, policy:text, type:text, kind:text, target:text, conflict:text, position:i64?, now:i64, created_by:text
INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, position, created_ms, created_by)
VALUES (:id, 'policy', :policy, :type, :kind, :target, :conflict,
        COALESCE(:position, (SELECT COALESCE(MAX(a.position), 0) + 1 FROM assignment a
                              WHERE a.target_kind = :kind AND a.target_id = :target AND a.object_type = :type)), :now, :created_by);

-- name: assignment_set :exec
-- args: id:text, version:i64, conflict:text, position:i64
UPDATE assignment SET conflict = :conflict, position = :position, version = version + 1 WHERE id = :id AND version = :version;

-- name: assignment_remove :exec
-- args: id:text, version:i64
DELETE FROM assignment WHERE id = :id AND version = :version;

-- name: assignment_drop_policy :exec
-- args: policy:text
DELETE FROM assignment WHERE object_kind = 'policy' AND object_id = :policy;

-- name: assignment_count :one
-- args: kind:text, target:text
-- cols: n:i64
SELECT COUNT(*) FROM assignment WHERE target_kind = :kind AND target_id = :target;

-- part: target_name
SELECT t.name FROM person t WHERE :kind = 'person' AND t.id = :id
UNION ALL SELECT t.name FROM user_group t WHERE :kind = 'user_group' AND t.id = :id
UNION ALL SELECT t.name FROM user_folder t WHERE :kind = 'user_folder' AND t.id = :id
UNION ALL SELECT t.name FROM user_source t WHERE :kind = 'user_source' AND t.id = :id
UNION ALL SELECT t.name FROM device t WHERE :kind = 'device' AND t.id = :id
UNION ALL SELECT t.name FROM device_group t WHERE :kind = 'device_group' AND t.id = :id
UNION ALL SELECT t.name FROM folder t WHERE :kind = 'folder' AND t.id = :id

-- The target, which stays until what is assigned to it is written. On SQLite the transaction holds all anyway.
-- name: assignment_target_hold :one
-- args: kind:text, id:text
-- cols: name:text
-- only: pgsql
WITH x0 AS (SELECT t.id, t.name FROM person t WHERE :kind = 'person' AND t.id = :id FOR KEY SHARE),
     x1 AS (SELECT t.id, t.name FROM user_group t WHERE :kind = 'user_group' AND t.id = :id FOR KEY SHARE),
     x2 AS (SELECT t.id, t.name FROM user_folder t WHERE :kind = 'user_folder' AND t.id = :id FOR KEY SHARE),
     x3 AS (SELECT t.id, t.name FROM user_source t WHERE :kind = 'user_source' AND t.id = :id FOR KEY SHARE),
     x4 AS (SELECT t.id, t.name FROM device t WHERE :kind = 'device' AND t.id = :id FOR KEY SHARE),
     x5 AS (SELECT t.id, t.name FROM device_group t WHERE :kind = 'device_group' AND t.id = :id FOR KEY SHARE),
     x6 AS (SELECT t.id, t.name FROM folder t WHERE :kind = 'folder' AND t.id = :id FOR KEY SHARE)
SELECT name FROM x0
UNION ALL SELECT name FROM x1
UNION ALL SELECT name FROM x2
UNION ALL SELECT name FROM x3
UNION ALL SELECT name FROM x4
UNION ALL SELECT name FROM x5
UNION ALL SELECT name FROM x6;
-- only: sqlite3
{target_name};

-- name: assignment_target_name :one
-- args: kind:text, id:text
-- cols: name:text
{target_name};

-- name: assignment_target_within :one
-- args: kind:text, id:text, admin:text
-- cols: id:text
SELECT s.folder_id FROM folder_above s JOIN admin_folder l ON l.folder_id = s.above_id
 WHERE s.folder_id = CASE :kind WHEN 'folder' THEN :id ELSE (SELECT v.folder_id FROM device v WHERE v.id = :id) END
   AND l.admin_id = :admin LIMIT 1;

-- ---------------------------------------------------------------- what came of policies (domain/mdm_policy_status.c)

-- part: delivery_seen
(:admin = '' OR EXISTS (SELECT 1 FROM device v JOIN folder_above s ON s.folder_id = v.folder_id
                                JOIN admin_folder l ON l.folder_id = s.above_id
                         WHERE v.id = d.device_id AND l.admin_id = :admin))

-- Read from the index alone.
-- name: policy_delivery_counts :many
-- args: policy:text, admin:text
-- cols: channel:text, state:text, n:i64
SELECT d.channel, d.state, COUNT(*) FROM policy_result_policy r JOIN delivery d ON d.result_id = r.result_id
 WHERE r.policy_id = :policy AND {delivery_seen}
 GROUP BY d.channel, d.state ORDER BY d.channel, d.state;

-- name: policy_results :many
-- args: policy:text, from:text, count:i64
-- cols: id:text, number:i64
SELECT result_id, number FROM policy_result_policy WHERE policy_id = :policy AND result_id >= :from ORDER BY result_id LIMIT :count;

-- In the order of the index, from a place in it; '' = every channel, every state.
-- name: policy_delivery_walk :many
-- args: result:text, after_channel:text, after_state:text, after_id:text, channel:text, state:text, admin:text, count:i64
-- cols: device_id:text, name:text, person:text?, channel:text, state:text, error:text, attempts:i64, updated_ms:i64
SELECT d.device_id, w.name, o.name, d.channel, d.state, d.error, d.attempts, d.updated_ms
  FROM delivery d JOIN device w ON w.id = d.device_id LEFT JOIN person o ON o.id = w.person_id
 WHERE d.result_id = :result AND (d.channel, d.state, d.device_id) > (:after_channel, :after_state, :after_id)
   AND (:channel = '' OR d.channel = :channel) AND (:state = '' OR d.state = :state) AND {delivery_seen}
 ORDER BY d.channel, d.state, d.device_id LIMIT :count;

-- What is assigned to targets, [{"k", "i"}], in the version in force.
-- name: person_policy_assigned :many
-- args: targets:text
-- cols: id:text, target_kind:text, target_id:text, policy_id:text, name:text, type:text, conflict:text, position:i64, number:i64, settings:text
-- only: pgsql
SELECT a.id, a.target_kind, a.target_id, a.object_id, p.name, p.type, a.conflict, a.position, p.published, v.settings
  FROM jsonb_to_recordset(CAST(:targets AS jsonb)) AS t (k text, i text)
  JOIN assignment a ON a.target_kind = t.k AND a.target_id = t.i AND a.object_kind = 'policy'
  JOIN policy p ON p.id = a.object_id AND p.type IN ('device_control', 'security', 'email')
  JOIN policy_version v ON v.policy_id = p.id AND v.number = p.published AND p.published > 0;
-- only: sqlite3
SELECT a.id, a.target_kind, a.target_id, a.object_id, p.name, p.type, a.conflict, a.position, p.published, v.settings
  FROM json_each(:targets) AS t
  JOIN assignment a ON a.target_kind = json_extract(t.value, '$.k') AND a.target_id = json_extract(t.value, '$.i') AND a.object_kind = 'policy'
  JOIN policy p ON p.id = a.object_id AND p.type IN ('device_control', 'security', 'email')
  JOIN policy_version v ON v.policy_id = p.id AND v.number = p.published AND p.published > 0;

-- name: device_policy_effective :many
-- args: device:text
-- cols: type:text, computed_ms:i64, settings:text
SELECT e.type, e.computed_ms, r.settings FROM effective_policy e JOIN policy_result r ON r.id = e.result_id
 WHERE e.device_id = :device ORDER BY e.type;

-- name: device_policy_reach :many
-- args: device:text
-- cols: type:text, policy_id:text, name:text?, number:i64
SELECT e.type, r.policy_id, p.name, r.number FROM effective_policy e JOIN policy_result_policy r ON r.result_id = e.result_id
  LEFT JOIN policy p ON p.id = r.policy_id
 WHERE e.device_id = :device ORDER BY e.type, p.name, r.policy_id;

-- name: device_policy_deliveries :many
-- args: device:text
-- cols: type:text, channel:text, state:text, error:text, attempts:i64, updated_ms:i64
SELECT type, channel, state, error, attempts, updated_ms FROM delivery WHERE device_id = :device ORDER BY type, channel;

-- Marked itself: marks of folders and groups come to it as they are found.
-- name: device_policy_waits :one
-- args: device:text
-- cols: n:i64
SELECT (SELECT COUNT(*) FROM recompute_device WHERE device_id = :device)
     + (SELECT COUNT(*) FROM recompute WHERE target_id = :device AND target_kind IN ('device', 'criteria'));
