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
-- only: pgsql
WITH c AS (INSERT INTO change (kind, key, at_ms) VALUES (:kind, :key, :now) RETURNING seq)
SELECT pg_notify('mdm_change', '') FROM c;
-- only: sqlite3
INSERT INTO change (kind, key, at_ms) VALUES (:kind, :key, :now);

-- Changes after a position, in the order in which they can't be overtaken: on PostgreSQL sequence numbers become visible
-- out of order, so the position is (transaction, sequence) and rows wait until no older transaction is open.
-- name: change_since :many
-- args: xid:i64, seq:i64, max:i64
-- cols: xid:i64, seq:i64, kind:text, key:text
-- only: pgsql
SELECT xid, seq, kind, key FROM change
WHERE (xid, seq) > (:xid, :seq) AND xid < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)
ORDER BY xid, seq LIMIT :max;
-- only: sqlite3
SELECT 0, seq, kind, key FROM change WHERE (0, seq) > (:xid, :seq) ORDER BY seq LIMIT :max;

-- The position "now": what comes later is seen by change_since.
-- name: change_head :one
-- cols: xid:i64, seq:i64
-- only: pgsql
SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) - 1, 9223372036854775807;
-- only: sqlite3
SELECT 0, COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'change'), 0);

-- name: change_prune :exec
-- args: before:i64
DELETE FROM change WHERE at_ms < :before;
