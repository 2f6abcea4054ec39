-- Address filters (domain/mdm_access.c).

-- name: access_list :one
-- args: node_id:text?, category:text
-- cols: id:text, version:i64
SELECT id, version FROM access_list WHERE category = :category AND COALESCE(node_id, '') = COALESCE(:node_id, '');

-- name: access_filters :many
-- args: list_id:text
-- cols: position:i64, action:text, addresses:text, description:text
SELECT position, action, addresses, description FROM access_filter WHERE list_id = :list_id ORDER BY position;

-- What holds on a node: its own filters, then the zone's.
-- name: access_effective :many
-- args: node:text
-- cols: category:text, of_node:i64, position:i64, action:text, addresses:text, description:text
SELECT l.category, CASE WHEN l.node_id IS NULL THEN 0 ELSE 1 END, f.position, f.action, f.addresses, f.description
  FROM access_list l JOIN access_filter f ON f.list_id = l.id LEFT JOIN node n ON n.id = l.node_id
 WHERE l.node_id IS NULL OR n.name = :node
 ORDER BY l.category, CASE WHEN l.node_id IS NULL THEN 1 ELSE 0 END, f.position;

-- name: access_list_add :exec
-- args: id:text, node_id:text?, category:text, now:i64
INSERT INTO access_list (id, node_id, category, version, updated_ms) VALUES (:id, :node_id, :category, 1, :now);

-- name: access_list_next :exec
-- args: id:text, version:i64, now:i64
UPDATE access_list SET version = version + 1, updated_ms = :now WHERE id = :id AND version = :version;

-- name: access_filters_clear :exec
-- args: list_id:text
DELETE FROM access_filter WHERE list_id = :list_id;

-- name: access_filters_add :exec
-- args: list_id:text, filters:text
-- only: pgsql
INSERT INTO access_filter (list_id, position, action, addresses, description)
SELECT :list_id, x.position, x.action, x.addresses, x.description
  FROM jsonb_to_recordset(CAST(:filters AS jsonb)) AS x(position bigint, action text, addresses text, description text);
-- only: sqlite3
INSERT INTO access_filter (list_id, position, action, addresses, description)
SELECT :list_id, json_extract(value, '$.position'), json_extract(value, '$.action'), json_extract(value, '$.addresses'),
       json_extract(value, '$.description')
  FROM json_each(:filters);
