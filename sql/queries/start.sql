-- The checklist of a new zone (domain/mdm_start.c): is there anything, not how much.

-- name: start_counts :one
-- args: live_ms:i64
-- cols: directories:i64, directories_off:i64, local_people:i64, nodes:i64, nodes_live:i64, eas_servers:i64, eas_linked:i64, devices:i64
SELECT CASE WHEN EXISTS (SELECT 1 FROM user_source WHERE kind = 'ldap' AND enabled = 1) THEN 1 ELSE 0 END,
       CASE WHEN EXISTS (SELECT 1 FROM user_source WHERE kind = 'ldap' AND enabled = 0) THEN 1 ELSE 0 END,
       CASE WHEN EXISTS (SELECT 1 FROM user_source s JOIN person p ON p.source_id = s.id WHERE s.kind = 'local' AND s.enabled = 1) THEN 1 ELSE 0 END,
       CASE WHEN EXISTS (SELECT 1 FROM node) THEN 1 ELSE 0 END,
       CASE WHEN EXISTS (SELECT 1 FROM node WHERE mdm_role = 1 AND seen_ms > :live_ms) THEN 1 ELSE 0 END,
       CASE WHEN EXISTS (SELECT 1 FROM eas_server) THEN 1 ELSE 0 END,
       CASE WHEN EXISTS (SELECT 1 FROM eas_server_source l JOIN eas_server e ON e.id = l.server_id JOIN user_source s ON s.id = l.source_id
                          WHERE e.enabled = 1 AND s.enabled = 1) THEN 1 ELSE 0 END,
       CASE WHEN EXISTS (SELECT 1 FROM device) THEN 1 ELSE 0 END;

-- name: start_policies :many
-- cols: type:text, there:i64, published:i64, assigned:i64
SELECT p.type, COUNT(*), SUM(CASE WHEN p.published > 0 THEN 1 ELSE 0 END),
       SUM(CASE WHEN p.published > 0 AND EXISTS (SELECT 1 FROM assignment a WHERE a.object_id = p.id AND a.object_kind = 'policy') THEN 1 ELSE 0 END)
  FROM policy p GROUP BY p.type ORDER BY p.type;

-- What came of the last sync of each directory.
-- name: start_syncs :many
-- cols: name:text, result:text
SELECT s.name, j.result FROM user_source s JOIN job j ON j.unique_key = 'ldap.sync:' || s.id
 WHERE s.kind = 'ldap' AND s.enabled = 1 AND j.result IS NOT NULL ORDER BY s.position, s.created_ms, s.id LIMIT 200;
