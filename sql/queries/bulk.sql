-- Bulk runs (PEN-06, domain/mdm_bulk*.c). admin: whoever may see some folders only sees what he uploaded himself.

-- A run whose job has ended without ending it goes no further.
-- part: bulk_state
CASE WHEN r.state IN ('checking', 'running', 'removing') AND NOT EXISTS (SELECT 1 FROM job j WHERE j.unique_key = 'bulk:' || r.id) THEN 'failed'
     ELSE r.state END

-- part: bulk_cols
id:text, state:text, file:text, options:text, titles:text, total:i64, walked:i64, good:i64, bad:i64, warned:i64, made:i64, error:text, created_by:text, created_ms:i64, started_ms:i64?, changed_ms:i64

-- part: bulk_select
SELECT r.id, {bulk_state} AS state, r.file, r.options, r.titles, r.total, r.walked, r.good, r.bad, r.warned, r.made, r.error, r.created_by,
       r.created_ms, r.started_ms, r.changed_ms
  FROM bulk_run r

-- name: bulk_add :exec
-- args: id:text, file:text, options:text, titles:text, admin_id:text, limit_admin:text, created_by:text, now:i64
INSERT INTO bulk_run (id, state, file, options, titles, admin_id, limit_admin, created_by, created_ms, changed_ms)
VALUES (:id, 'uploading', :file, :options, :titles, :admin_id, :limit_admin, :created_by, :now, :now);

-- list: JSON [{"n", "line", "cells", "otp", "result", "field", "note"}]; otp: its index
-- name: bulk_rows_add :exec
-- args: run_id:text, list:text
-- only: pgsql
INSERT INTO bulk_row (run_id, n, line, cells, otp_index, result, field, note)
SELECT :run_id, v.n, v.line, v.cells, v.otp, v.result, v.field, v.note
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (n bigint, line bigint, cells text, otp text, result text, field text, note text);
-- only: sqlite3
INSERT INTO bulk_row (run_id, n, line, cells, otp_index, result, field, note)
SELECT :run_id, json_extract(value, '$.n'), json_extract(value, '$.line'), json_extract(value, '$.cells'), json_extract(value, '$.otp'), json_extract(value, '$.result'),
       json_extract(value, '$.field'), json_extract(value, '$.note') FROM json_each(:list);

-- name: bulk_uploaded :exec1
-- args: id:text, total:i64, now:i64
UPDATE bulk_run SET state = 'checking', total = :total, changed_ms = :now WHERE id = :id AND state = 'uploading';

-- name: bulk_drop :exec
-- args: id:text
DELETE FROM bulk_run WHERE id = :id;

-- name: bulk_get :one
-- args: id:text, admin:text
-- cols: {bulk_cols}
{bulk_select}
 WHERE r.id = :id AND r.state NOT IN ('uploading', 'removing') AND (:admin = '' OR r.limit_admin = :admin);

-- name: bulk_list :many
-- args: admin:text, before:i64, before_id:text, count:i64
-- cols: {bulk_cols}
{bulk_select}
 WHERE (r.created_ms, r.id) < (:before, :before_id) AND r.state NOT IN ('uploading', 'removing') AND (:admin = '' OR r.limit_admin = :admin)
 ORDER BY r.created_ms DESC, r.id DESC LIMIT :count;

-- The run as its job sees it.
-- name: bulk_work :one
-- args: id:text
-- cols: state:text, options:text, titles:text, total:i64, walked:i64, cancel_open:i64, admin_id:text, limit_admin:text, created_by:text
SELECT state, options, titles, total, walked, cancel_open, admin_id, limit_admin, created_by FROM bulk_run WHERE id = :id;

-- A run begins with the first row; one that has failed goes on.
-- name: bulk_start :exec1
-- args: id:text, now:i64
UPDATE bulk_run SET walked = CASE state WHEN 'checked' THEN 0 ELSE walked END, good = CASE state WHEN 'checked' THEN 0 ELSE good END,
       bad = CASE state WHEN 'checked' THEN 0 ELSE bad END, warned = CASE state WHEN 'checked' THEN 0 ELSE warned END,
       started_ms = CASE WHEN state = 'checked' THEN :now ELSE started_ms END,
       state = CASE state WHEN 'checked' THEN 'running' ELSE state END, error = '', changed_ms = :now
 WHERE id = :id AND state IN ('checking', 'checked', 'running');

-- name: bulk_cancel :exec1
-- args: id:text, now:i64
UPDATE bulk_run SET state = 'cancelled', changed_ms = :now WHERE id = :id AND state IN ('checking', 'running');

-- name: bulk_remove :exec1
-- args: id:text, cancel_open:i64, now:i64
UPDATE bulk_run SET state = 'removing', cancel_open = :cancel_open, changed_ms = :now WHERE id = :id AND state <> 'removing';

-- name: bulk_failed :exec
-- args: id:text, error:text
UPDATE bulk_run SET error = :error WHERE id = :id;

-- name: bulk_ended :exec1
-- args: id:text, state:text, ended:text, now:i64
UPDATE bulk_run SET state = :ended, changed_ms = :now WHERE id = :id AND state = :state;

-- ---------------------------------------------------------------- rows

-- name: bulk_rows :many
-- args: run_id:text, after:i64, max:i64
-- cols: n:i64, line:i64, cells:text, result:text, field:text, note:text, made:i64
SELECT n, line, cells, result, field, note, made FROM bulk_row WHERE run_id = :run_id AND n > :after ORDER BY n LIMIT :max;

-- result: "" = all.
-- name: bulk_rows_of :many
-- args: run_id:text, result:text, after:i64, max:i64
-- cols: n:i64, line:i64, cells:text, result:text, field:text, note:text, made:i64
SELECT n, line, cells, result, field, note, made FROM bulk_row
 WHERE run_id = :run_id AND n > :after AND (:result = '' OR result = :result) ORDER BY n LIMIT :max;

-- list: JSON [{"n", "result", "field", "note", "made"}]
-- name: bulk_rows_set :exec
-- args: run_id:text, list:text
-- only: pgsql
UPDATE bulk_row b SET result = v.result, field = v.field, note = v.note, made = v.made
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (n bigint, result text, field text, note text, made bigint)
 WHERE b.run_id = :run_id AND b.n = v.n;
-- only: sqlite3
UPDATE bulk_row SET result = v.result, field = v.field, note = v.note, made = v.made
  FROM (SELECT json_extract(value, '$.n') AS n, json_extract(value, '$.result') AS result, json_extract(value, '$.field') AS field,
               json_extract(value, '$.note') AS note, json_extract(value, '$.made') AS made FROM json_each(:list)) AS v
 WHERE bulk_row.run_id = :run_id AND bulk_row.n = v.n
   AND bulk_row.n IN (SELECT json_extract(value, '$.n') FROM json_each(:list)); -- else SQLite goes through all rows of the run

-- Only who has gone on from where the run stands may say how far it is.
-- name: bulk_walked :exec1
-- args: id:text, state:text, was:i64, walked:i64, good:i64, bad:i64, warned:i64, made:i64
UPDATE bulk_run SET walked = :walked, good = good + :good, bad = bad + :bad, warned = warned + :warned, made = made + :made, error = ''
 WHERE id = :id AND state = :state AND walked = :was;

-- name: bulk_rows_drop :exec
-- args: run_id:text, max:i64
-- only: pgsql
DELETE FROM bulk_row
 WHERE run_id = :run_id AND n = ANY (ARRAY(SELECT b.n FROM bulk_row b WHERE b.run_id = :run_id ORDER BY b.n LIMIT :max));
-- only: sqlite3
DELETE FROM bulk_row
 WHERE run_id = :run_id AND n IN (SELECT b.n FROM bulk_row b WHERE b.run_id = :run_id ORDER BY b.n LIMIT :max);

-- ---------------------------------------------------------------- what it made

-- name: bulk_open :many
-- args: run_id:text, now:i64, max:i64
-- cols: id:text
SELECT e.id FROM pending_enrollment e
 WHERE e.run_id = :run_id AND e.state IN ('created', 'opened', 'profile') AND e.expires_ms > :now
 ORDER BY e.run_row LIMIT :max;

-- name: bulk_made :many
-- args: run_id:text, least:i64, most:i64
-- cols: id:text, run_row:i64, expires_ms:i64
SELECT e.id, e.run_row, e.expires_ms FROM pending_enrollment e
 WHERE e.run_id = :run_id AND e.run_row >= :least AND e.run_row <= :most
 ORDER BY e.run_row;

-- ---------------------------------------------------------------- people

-- list: JSON [{"k", "u", "d", "m"}]: what was typed, log-in and domain in lower case, the address or "". how: 0 = by the log-in, 1 = by the address.
-- Sources are found as for a log-in: no domain is the simple one's; a domain is an alias, or the name of a source without one.
-- part: bulk_who
p.id, p.source_id, p.folder_id, p.login, p.name, p.mail, p.phone, p.version,
       CASE WHEN p.disabled = 1 OR p.gone_ms IS NOT NULL OR s.enabled = 0 THEN 1 ELSE 0 END AS disabled

-- part: bulk_source
CASE WHEN a.d = '' THEN (SELECT x.id FROM user_source x WHERE x.simple = 1 ORDER BY x.id LIMIT 1)
     ELSE COALESCE((SELECT x.source_id FROM user_domain x WHERE x.domain = a.d),
                   (SELECT x.id FROM user_source x WHERE LOWER(x.name) = a.d AND x.simple = 0
                       AND NOT EXISTS (SELECT 1 FROM user_domain y WHERE y.source_id = x.id) ORDER BY x.position, x.id LIMIT 1)) END

-- part: bulk_found
SELECT a.k, 0 AS how, {bulk_who}
  FROM asked a JOIN person p ON p.source_id = a.s AND p.login_key = a.u JOIN user_source s ON s.id = p.source_id
UNION ALL
SELECT a.k, 1 AS how, {bulk_who}
  FROM asked a JOIN person p ON p.mail_key = a.m JOIN user_source s ON s.id = p.source_id
 WHERE a.m <> '' AND s.enabled = 1

-- name: bulk_people :many
-- args: list:text
-- cols: k:text, how:i64, id:text, source_id:text, folder_id:text?, login:text, name:text, mail:text, phone:text, version:i64, disabled:i64
-- only: pgsql
WITH asked AS MATERIALIZED (
    SELECT a.k, a.u, a.m, {bulk_source} AS s
      FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS a (k text, u text, d text, m text))
{bulk_found};
-- only: sqlite3
WITH asked AS MATERIALIZED (
    SELECT a.k, a.u, a.m, {bulk_source} AS s
      FROM (SELECT json_extract(value, '$.k') AS k, json_extract(value, '$.u') AS u, json_extract(value, '$.d') AS d,
                   json_extract(value, '$.m') AS m FROM json_each(:list)) AS a)
{bulk_found};

-- ---------------------------------------------------------------- what rows name

-- The folders that somebody may see.
-- name: bulk_folders :many
-- args: admin:text, max:i64
-- cols: id:text, parent_id:text?, name:text, kind:text
SELECT f.id, f.parent_id, f.name, f.kind FROM folder f
 WHERE :admin = '' OR EXISTS (SELECT 1 FROM folder_above s JOIN admin_folder l ON l.folder_id = s.above_id
                               WHERE s.folder_id = f.id AND l.admin_id = :admin)
 ORDER BY f.id LIMIT :max;

-- Rows whose one-time password an earlier row has, and its line.
-- name: bulk_otp_twice :many
-- args: run_id:text, least:i64, most:i64
-- cols: n:i64, line:i64
SELECT b.n, f.line FROM bulk_row b
  JOIN bulk_row f ON f.run_id = b.run_id
   AND f.n = (SELECT o.n FROM bulk_row o WHERE o.run_id = b.run_id AND o.otp_index = b.otp_index AND o.otp_index <> '' ORDER BY o.n LIMIT 1)
 WHERE b.run_id = :run_id AND b.n >= :least AND b.n <= :most AND b.otp_index <> '' AND f.n < b.n;

-- ---------------------------------------------------------------- age

-- The oldest run whose time is over: what has ended or failed, or what nobody has started.
-- name: bulk_old :one
-- args: before:i64
-- cols: id:text, state:text
SELECT r.id, r.state FROM bulk_run r
 WHERE r.changed_ms < :before AND (r.state IN ('uploading', 'checked', 'done', 'cancelled') OR {bulk_state} = 'failed')
 ORDER BY r.created_ms, r.id LIMIT 1;

-- name: bulk_forgotten :exec
-- args: before:i64, max:i64
-- only: pgsql
DELETE FROM bulk_run
 WHERE id = ANY (ARRAY(SELECT r.id FROM bulk_run r WHERE r.state = 'expired' AND r.changed_ms < :before ORDER BY r.created_ms LIMIT :max));
-- only: sqlite3
DELETE FROM bulk_run
 WHERE id IN (SELECT r.id FROM bulk_run r WHERE r.state = 'expired' AND r.changed_ms < :before ORDER BY r.created_ms LIMIT :max);
