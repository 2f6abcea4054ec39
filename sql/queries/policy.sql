-- Policies, their versions, folders (domain/mdm_policies.c, mdm_policy_versions.c, mdm_policy_folder.c).

-- part: policy_cols
id:text, type:text, name:text, folder_id:text?, folder_name:text?, description:text, published:i64, has_sandbox:i64, republish:i64, created_ms:i64, version:i64, assignments:i64, devices:i64

-- Counting ends at 1000.
-- part: policy_row
SELECT p.id, p.type, p.name, p.folder_id, f.name AS folder_name, p.description, p.published, p.has_sandbox, p.republish, p.created_ms,
       p.version,
       (SELECT COUNT(*) FROM (SELECT 1 AS one FROM assignment a WHERE a.object_id = p.id AND a.object_kind = 'policy' LIMIT 1000) AS x),
       (SELECT COUNT(*) FROM (SELECT 1 AS one FROM policy_result_policy r JOIN effective_policy e ON e.result_id = r.result_id
                               WHERE r.policy_id = p.id LIMIT 1000) AS y)
  FROM policy p LEFT JOIN policy_folder f ON f.id = p.folder_id

-- An empty text switches a filter off; q is lower case and stands anywhere in the name.
-- name: policy_list :many
-- args: after:text, after_id:text, type:text, folder:text, q:text, count:i64
-- cols: {policy_cols}
{policy_row}
 WHERE (p.name, p.id) > (:after, :after_id) AND (:type = '' OR p.type = :type) AND (:folder = '' OR p.folder_id = :folder)
   AND (:q = '' OR REPLACE(LOWER(p.name), :q, '') <> LOWER(p.name))
 ORDER BY p.name, p.id LIMIT :count;

-- name: policy_get :one
-- args: id:text
-- cols: {policy_cols}
{policy_row}
 WHERE p.id = :id;

-- What an assignment stands on must not go before it is written. On SQLite the transaction holds all anyway.
-- name: policy_hold :one
-- args: id:text
-- cols: type:text, name:text, published:i64
-- only: pgsql
SELECT type, name, published FROM policy WHERE id = :id FOR KEY SHARE;
-- only: sqlite3
SELECT type, name, published FROM policy WHERE id = :id;

-- name: policy_add :exec
-- args: id:text, type:text, name:text, folder:text, description:text, published:i64, has_sandbox:i64, now:i64
INSERT INTO policy (id, type, name, folder_id, description, published, has_sandbox, created_ms)
VALUES (:id, :type, :name, :folder, :description, :published, :has_sandbox, :now);

-- name: policy_set :exec
-- args: id:text, version:i64, name:text, folder:text, description:text
UPDATE policy SET name = :name, folder_id = :folder, description = :description, version = version + 1
 WHERE id = :id AND version = :version;

-- name: policy_next :exec
-- args: id:text, version:i64, published:i64, has_sandbox:i64, republish:i64
UPDATE policy SET published = :published, has_sandbox = :has_sandbox, republish = :republish, version = version + 1
 WHERE id = :id AND version = :version;

-- name: policy_remove :exec
-- args: id:text, version:i64
DELETE FROM policy WHERE id = :id AND version = :version;

-- ---------------------------------------------------------------- versions

-- name: policy_version_get :one
-- args: policy_id:text, number:i64
-- cols: number:i64, settings:text, level_corporate:text, level_personal:text, note:text, created_ms:i64, created_by:text
SELECT number, settings, level_corporate, level_personal, note, created_ms, created_by FROM policy_version
 WHERE policy_id = :policy_id AND number = :number;

-- Newest first, the sandbox (0) last.
-- name: policy_version_list :many
-- args: policy_id:text, below:i64, count:i64
-- cols: number:i64, level_corporate:text, level_personal:text, note:text, created_ms:i64, created_by:text
SELECT number, level_corporate, level_personal, note, created_ms, created_by FROM policy_version
 WHERE policy_id = :policy_id AND number < :below ORDER BY number DESC LIMIT :count;

-- name: policy_version_put :exec
-- args: policy_id:text, number:i64, settings:text, level_corporate:text, level_personal:text, note:text, now:i64, created_by:text
INSERT INTO policy_version (policy_id, number, settings, level_corporate, level_personal, note, created_ms, created_by)
VALUES (:policy_id, :number, :settings, :level_corporate, :level_personal, :note, :now, :created_by)
ON CONFLICT (policy_id, number) DO UPDATE SET settings = :settings, level_corporate = :level_corporate,
       level_personal = :level_personal, note = :note, created_ms = :now, created_by = :created_by;

-- name: policy_version_note :exec
-- args: policy_id:text, number:i64, note:text
UPDATE policy_version SET note = :note WHERE policy_id = :policy_id AND number = :number;

-- name: policy_version_drop :exec
-- args: policy_id:text, number:i64
DELETE FROM policy_version WHERE policy_id = :policy_id AND number = :number;

-- The servers that a version names, as they are when it is published (EML-05).
-- name: policy_servers_keep :exec
-- args: policy_id:text, number:i64, corporate:text?, personal:text?
INSERT INTO policy_server (policy_id, number, server_id, host, domain, user_form)
SELECT :policy_id, :number, e.id, e.host, e.domain, e.user_form FROM eas_server e WHERE e.id IN (:corporate, :personal);

-- A server that a version names stays until it is written (EAS-04).
-- name: policy_server_hold :one
-- args: id:text
-- cols: id:text
-- only: pgsql
SELECT id FROM eas_server WHERE id = :id FOR KEY SHARE;
-- only: sqlite3
SELECT id FROM eas_server WHERE id = :id;

-- Those whom a sandbox reaches.
-- name: policy_test_devices :many
-- args: count:i64
-- cols: id:text
SELECT id FROM device WHERE test_device = 1 LIMIT :count;

-- ---------------------------------------------------------------- folders of policies

-- part: policy_folder_cols
id:text, parent_id:text?, name:text, version:i64, policies:i64, folders:i64

-- part: policy_folder_row
SELECT f.id, f.parent_id, f.name, f.version, (SELECT COUNT(*) FROM policy p WHERE p.folder_id = f.id),
       (SELECT COUNT(*) FROM policy_folder c WHERE c.parent_id = f.id)
  FROM policy_folder f

-- name: policy_folder_list :many
-- args: limit:i64
-- cols: {policy_folder_cols}
{policy_folder_row}
 ORDER BY LOWER(f.name), f.id LIMIT :limit;

-- name: policy_folder_get :one
-- args: id:text
-- cols: {policy_folder_cols}
{policy_folder_row}
 WHERE f.id = :id;

-- The tree changes one change after another, so that two at once make no loop.
-- name: policy_folder_hold :one
-- cols: id:text
-- only: pgsql
SELECT id FROM policy_folder WHERE parent_id IS NULL ORDER BY id LIMIT 1 FOR NO KEY UPDATE;
-- only: sqlite3
SELECT id FROM policy_folder WHERE parent_id IS NULL ORDER BY id LIMIT 1;

-- name: policy_folder_add :exec
-- args: id:text, parent:text, name:text
INSERT INTO policy_folder (id, parent_id, name) VALUES (:id, :parent, :name);

-- name: policy_folder_set :exec
-- args: id:text, version:i64, parent:text, name:text
UPDATE policy_folder SET parent_id = :parent, name = :name, version = version + 1 WHERE id = :id AND version = :version;

-- name: policy_folder_remove :exec
-- args: id:text, version:i64
DELETE FROM policy_folder WHERE id = :id AND version = :version;

-- A folder and those that it is in.
-- name: policy_folder_up :many
-- args: id:text, most:i64
-- cols: id:text
WITH RECURSIVE up (id, parent_id, depth) AS (
    SELECT f.id, f.parent_id, 1 FROM policy_folder f WHERE f.id = :id
    UNION ALL
    SELECT f.id, f.parent_id, up.depth + 1 FROM up JOIN policy_folder f ON f.id = up.parent_id WHERE up.depth < :most
)
SELECT id FROM up ORDER BY depth;

-- name: policy_folder_height :one
-- args: id:text, most:i64
-- cols: n:i64
WITH RECURSIVE down (id, depth) AS (
    SELECT f.id, 1 FROM policy_folder f WHERE f.id = :id
    UNION ALL
    SELECT f.id, down.depth + 1 FROM down JOIN policy_folder f ON f.parent_id = down.id WHERE down.depth < :most
)
SELECT COALESCE(MAX(depth), 0) FROM down;

-- name: policy_folder_count :one
-- cols: n:i64
SELECT COUNT(*) FROM policy_folder;
