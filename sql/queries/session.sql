-- Sessions and API tokens (domain/mdm_session.c). Only hashes are stored.

-- name: session_add :exec
-- args: token_hash:text, kind:text, subject_id:text, now:i64, expires_ms:i64, ip:text, agent:text
-- keep
INSERT INTO session (token_hash, kind, subject_id, created_ms, used_ms, expires_ms, ip, agent)
VALUES (:token_hash, :kind, :subject_id, :now, :now, :expires_ms, :ip, :agent);

-- name: session_find_admin :one
-- args: token_hash:text, now:i64, idle_from:i64
-- cols: subject_id:text, login:text, name:text, role:text, rights:text, folders:i64, created_ms:i64, used_ms:i64, expires_ms:i64
-- keep
SELECT s.subject_id, a.login, a.name, r.name AS role, r.rights,
       (SELECT COUNT(*) FROM admin_folder f WHERE f.admin_id = a.id), s.created_ms, s.used_ms, s.expires_ms
  FROM session s JOIN admin a ON a.id = s.subject_id JOIN role r ON r.id = a.role_id
 WHERE s.token_hash = :token_hash AND s.kind = 'admin' AND s.expires_ms > :now AND s.used_ms > :idle_from
   AND a.disabled = 0;

-- name: session_find_person :one
-- args: token_hash:text, now:i64, idle_from:i64
-- cols: subject_id:text, login:text, name:text, created_ms:i64, used_ms:i64, expires_ms:i64
-- keep
SELECT s.subject_id, p.login, p.name, s.created_ms, s.used_ms, s.expires_ms
  FROM session s JOIN person p ON p.id = s.subject_id
 WHERE s.token_hash = :token_hash AND s.kind = 'portal' AND s.expires_ms > :now AND s.used_ms > :idle_from
   AND p.disabled = 0 AND p.gone_ms IS NULL AND p.source_id IS NOT NULL;

-- name: session_touch :exec
-- args: token_hash:text, now:i64
-- keep
UPDATE session SET used_ms = :now WHERE token_hash = :token_hash AND used_ms < :now;

-- name: session_delete :exec
-- args: token_hash:text
DELETE FROM session WHERE token_hash = :token_hash;

-- name: session_delete_subject :exec
-- args: kind:text, subject_id:text
DELETE FROM session WHERE kind = :kind AND subject_id = :subject_id;

-- name: session_delete_old :exec
-- args: now:i64
DELETE FROM session WHERE expires_ms <= :now;

-- name: api_token_add :exec
-- args: id:text, name:text, token_hash:text, admin_id:text, role_id:text, now:i64, expires_ms:i64
INSERT INTO api_token (id, name, token_hash, admin_id, role_id, created_ms, expires_ms)
VALUES (:id, :name, :token_hash, :admin_id, :role_id, :now, :expires_ms);

-- name: api_token_find :one
-- args: token_hash:text, now:i64
-- cols: id:text, admin_id:text, login:text, name:text, role:text, rights:text, folders:i64, created_ms:i64, used_ms:i64?, expires_ms:i64
-- keep
SELECT t.id, t.admin_id, a.login, a.name, r.name AS role, r.rights,
       (SELECT COUNT(*) FROM admin_folder f WHERE f.admin_id = a.id), t.created_ms, t.used_ms, t.expires_ms
  FROM api_token t JOIN admin a ON a.id = t.admin_id JOIN role r ON r.id = t.role_id
 WHERE t.token_hash = :token_hash AND t.expires_ms > :now AND a.disabled = 0;

-- name: api_token_touch :exec
-- args: id:text, now:i64
-- keep
UPDATE api_token SET used_ms = :now WHERE id = :id;

-- name: api_token_delete_admin :exec
-- args: admin_id:text
DELETE FROM api_token WHERE admin_id = :admin_id;
