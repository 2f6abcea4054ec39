-- Nodes of the zone: role, names, devices that know their address (NOD-02, NOD-03, NOD-06, NOD-08; domain/mdm_nodes.c).

-- part: node_cols
n.id, n.name, n.base_url, n.conf_url, n.software, n.mdm_role, n.role_removed_ms, n.outbound, n.names, n.extra_names, n.default_name,
n.started_ms, n.seen_ms, n.version,
(SELECT COUNT(*) FROM (SELECT 1 AS one FROM node_url u JOIN source_record s ON s.base_url = u.url AND s.base_url <> '' AND s.kind = 'mdm' AND s.live = 1 AND s.class = ''
                        WHERE u.node_id = n.id LIMIT 1000) AS c)

-- part: node_types
id:text, name:text, base_url:text, conf_url:text, software:text, mdm_role:i64, role_removed_ms:i64?, outbound:i64, names:text, extra_names:text, default_name:text, started_ms:i64, seen_ms:i64, version:i64, devices:i64

-- name: node_list :many
-- cols: {node_types}
SELECT {node_cols} FROM node n ORDER BY n.name LIMIT 200;

-- name: node_get :one
-- args: id:text
-- cols: {node_types}
SELECT {node_cols} FROM node n WHERE n.id = :id;

-- Other nodes with the role, and devices that know an address of this node and of no other one with the role; at most 1,000 are counted.
-- name: node_alone :one
-- args: id:text
-- cols: others:i64, devices:i64
SELECT (SELECT COUNT(*) FROM node o WHERE o.id <> :id AND o.mdm_role = 1),
       (SELECT COUNT(*) FROM (SELECT 1 AS one FROM node_url u JOIN source_record s ON s.base_url = u.url AND s.base_url <> '' AND s.kind = 'mdm' AND s.live = 1 AND s.class = ''
                               WHERE u.node_id = :id
                                 AND NOT EXISTS (SELECT 1 FROM node_url e JOIN node o ON o.id = e.node_id AND o.mdm_role = 1
                                                  WHERE e.url = u.url AND e.node_id <> :id) LIMIT 1000) AS c);

-- name: node_role_set :exec1
-- args: id:text, version:i64, role:i64, removed_ms:i64?
UPDATE node SET mdm_role = :role, role_removed_ms = :removed_ms, version = version + 1 WHERE id = :id AND version = :version;

-- name: node_names_set :exec1
-- args: id:text, version:i64, extra_names:text, default_name:text, base_url:text
UPDATE node SET extra_names = :extra_names, default_name = :default_name, base_url = :base_url, version = version + 1
 WHERE id = :id AND version = :version;

-- name: node_delete :exec1
-- args: id:text, version:i64
DELETE FROM node WHERE id = :id AND version = :version;

-- Work that only this node would do.
-- name: node_jobs_drop :exec
-- args: name:text
DELETE FROM job WHERE kind IN ('apns.test@' || :name, 'node.names@' || :name);

-- name: node_url_add :exec
-- args: id:text, url:text
INSERT INTO node_url (url, node_id) VALUES (:url, :id) ON CONFLICT (url, node_id) DO NOTHING;

-- What a server must know of its own row.
-- name: node_own :one
-- args: name:text
-- cols: id:text, mdm_role:i64, default_name:text
SELECT id, mdm_role, default_name FROM node WHERE name = :name;

-- name: node_names_found :exec
-- args: name:text, names:text
UPDATE node SET names = :names WHERE name = :name;

-- The address that the profile of an enrolment holds, and then its device's record; with it the account that it was begun with (IOS-08).
-- name: pending_url :exec
-- args: id:text, url:text
UPDATE pending_enrollment SET base_url = :url WHERE id = :id;

-- name: record_url :exec
-- args: id:text, pending_id:text
UPDATE source_record SET base_url = (SELECT e.base_url FROM pending_enrollment e WHERE e.id = :pending_id),
       account = (SELECT e.account FROM pending_enrollment e WHERE e.id = :pending_id),
       apple_account = (SELECT e.apple_account FROM pending_enrollment e WHERE e.id = :pending_id),
       bearer = COALESCE((SELECT t.hash FROM account_token t WHERE t.pending_id = :pending_id), '')
 WHERE id = :id;
