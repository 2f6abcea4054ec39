-- Schema and invalidation.

-- name: schema_table_there :one
-- only: pgsql
-- cols: found:i64
SELECT COUNT(*) FROM pg_catalog.pg_class c WHERE c.relname = 'schema_version' AND pg_catalog.pg_table_is_visible(c.oid);
-- only: sqlite3
SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema_version';

-- name: schema_table_make :exec
CREATE TABLE IF NOT EXISTS schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_ms BIGINT NOT NULL);

-- name: schema_version_found :one
-- cols: version:i64
SELECT COALESCE(MAX(version), 0) FROM schema_version;

-- name: schema_version_add :exec1
-- args: version:i64, name:text, now:i64
INSERT INTO schema_version (version, name, applied_ms) VALUES (:version, :name, :now);

-- Only one node migrates at a time. SQLite holds its one write lock by then (BEGIN IMMEDIATE).
-- name: schema_lock :one
-- cols: ok:i64
-- only: pgsql
SELECT 1 FROM (SELECT pg_advisory_xact_lock(1835297900)) AS l;
-- only: sqlite3
SELECT 1;

-- A change and the call that wakes the readers in one statement. The payload is empty, so that many
-- changes of one transaction wake them once.
-- name: change_add :exec
-- args: kind:text, key:text, now:i64
-- keep
-- only: pgsql
WITH c AS (INSERT INTO change (kind, key, at_ms) VALUES (:kind, :key, :now) RETURNING seq)
SELECT pg_notify('mdm_change', '') FROM c;
-- only: sqlite3
INSERT INTO change (kind, key, at_ms) VALUES (:kind, :key, :now);

-- keys: a JSON list.
-- name: change_add_many :exec
-- args: kind:text, keys:text, now:i64
-- keep
-- only: pgsql
WITH c AS (INSERT INTO change (kind, key, at_ms) SELECT :kind, k, :now FROM jsonb_array_elements_text(CAST(:keys AS jsonb)) AS k RETURNING seq)
SELECT pg_notify('mdm_change', '') FROM c LIMIT 1;
-- only: sqlite3
INSERT INTO change (kind, key, at_ms) SELECT :kind, value, :now FROM json_each(:keys);

-- name: change_prune :exec
-- args: before:i64
DELETE FROM change WHERE at_ms < :before;
