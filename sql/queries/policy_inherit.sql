-- What stands above the places where a policy is assigned, nearest first: what its settings inherit from (POL-02). Of groups, whose members may be
-- anywhere, only what all devices or people of the source have. At most 20 assignments.
-- name: policy_inherit_places :many
-- args: policy_id:text
-- cols: assignment_id:text, kind:text, id:text
WITH RECURSIVE a (id, kind, target) AS (
        SELECT x.id, x.target_kind, x.target_id FROM assignment x WHERE x.object_id = :policy_id AND x.object_kind = 'policy'
         ORDER BY x.created_ms, x.id LIMIT 20),
    up (assignment_id, id, n) AS (
        SELECT a.id, f.id, 0 FROM a JOIN user_folder f ON a.kind = 'user_folder' AND f.id = a.target
        UNION ALL SELECT a.id, p.folder_id, 1 FROM a JOIN person p ON a.kind = 'person' AND p.id = a.target WHERE p.folder_id IS NOT NULL
        UNION ALL SELECT up.assignment_id, f.parent_id, up.n + 1 FROM up JOIN user_folder f ON f.id = up.id WHERE f.parent_id IS NOT NULL AND up.n < 100)
SELECT x.assignment_id, x.kind, x.id FROM (
    SELECT a.id AS assignment_id, 'folder' AS kind, f.above_id AS id, 1000000 - (SELECT COUNT(*) FROM folder_above o WHERE o.folder_id = f.above_id) AS n
      FROM a LEFT JOIN device d ON a.kind = 'device' AND d.id = a.target
      JOIN folder_above f ON (a.kind = 'folder' AND f.folder_id = a.target AND f.above_id <> a.target) OR f.folder_id = d.folder_id
                          OR (a.kind = 'device_group' AND f.folder_id = f.above_id AND f.folder_id = '00000000-0000-4000-8000-000000000001')
    UNION ALL
    SELECT a.id, 'device_group', m.group_id, g.position FROM a JOIN device_group_member m ON a.kind = 'device' AND m.device_id = a.target
      JOIN device_group g ON g.id = m.group_id
    UNION ALL
    SELECT a.id, 'user_group', m.group_id, -1000000 + g.position FROM a JOIN user_group_member m ON a.kind = 'person' AND m.person_id = a.target
      JOIN user_group g ON g.id = m.group_id
    UNION ALL
    SELECT up.assignment_id, 'user_folder', up.id, up.n FROM up WHERE up.n > 0
    UNION ALL
    SELECT a.id, 'user_source', COALESCE(f.source_id, g.source_id, p.source_id), 1000
      FROM a LEFT JOIN user_folder f ON a.kind = 'user_folder' AND f.id = a.target LEFT JOIN user_group g ON a.kind = 'user_group' AND g.id = a.target
      LEFT JOIN person p ON a.kind = 'person' AND p.id = a.target
     WHERE COALESCE(f.source_id, g.source_id, p.source_id) IS NOT NULL) AS x
 ORDER BY x.assignment_id, x.n, x.kind, x.id;
