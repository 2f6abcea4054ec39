-- People and their sources (domain/mdm_people.c).

-- name: person_get :one
-- args: id:text
-- cols: id:text, source_id:text?, folder_id:text?, login:text, name:text, mail:text, phone:text, disabled:i64, gone_ms:i64?, version:i64
-- keep
SELECT id, source_id, folder_id, login, name, mail, phone, disabled, gone_ms, version FROM person WHERE id = :id;

-- Holds the person's row until the transaction ends, so that limits are counted by one caller at a time.
-- name: person_lock :one
-- args: id:text
-- cols: id:text
-- keep
-- only: pgsql
SELECT id FROM person WHERE id = :id FOR UPDATE;
-- only: sqlite3
SELECT id FROM person WHERE id = :id;

-- name: person_login_local :one
-- args: source_id:text, login_key:text
-- cols: id:text, password:text?, disabled:i64, gone_ms:i64?
-- keep
SELECT id, password, disabled, gone_ms FROM person WHERE source_id = :source_id AND login_key = :login_key;

-- Two rows mean that the address is not one person's: nobody logs in with it.
-- name: person_login_mail :many
-- args: mail_key:text
-- cols: id:text, source_id:text, source_kind:text, login_key:text, password:text?, disabled:i64, gone_ms:i64?
SELECT p.id, s.id AS source_id, s.kind AS source_kind, p.login_key, p.password, p.disabled, p.gone_ms
  FROM person p JOIN user_source s ON s.id = p.source_id
 WHERE p.mail_key = :mail_key AND s.enabled = 1
 ORDER BY p.id LIMIT 2;

-- name: user_source_simple :one
-- cols: id:text, kind:text, enabled:i64, name:text, config:text, secret:text?
-- keep
SELECT id, kind, enabled, name, config, secret FROM user_source WHERE simple = 1;

-- name: user_source_by_domain :one
-- args: domain:text
-- cols: id:text, kind:text, enabled:i64, name:text, config:text, secret:text?
-- keep
SELECT s.id, s.kind, s.enabled, s.name, s.config, s.secret FROM user_domain d JOIN user_source s ON s.id = d.source_id WHERE d.domain = :domain;

-- A source without simple log-in and without an alias is known by its name (USR-05).
-- name: user_source_by_name :one
-- args: name:text
-- cols: id:text, kind:text, enabled:i64, name:text, config:text, secret:text?
SELECT s.id, s.kind, s.enabled, s.name, s.config, s.secret FROM user_source s
 WHERE LOWER(s.name) = :name AND s.simple = 0
   AND NOT EXISTS (SELECT 1 FROM user_domain d WHERE d.source_id = s.id)
 ORDER BY s.position, s.id LIMIT 1;

-- True if some source can be named: then the log-in page shows the domain field.
-- name: user_domain_needed :one
-- cols: n:i64
SELECT COUNT(*) AS n FROM user_source WHERE enabled = 1 AND simple = 0;

-- name: user_source_local :one
-- cols: id:text
SELECT id FROM user_source WHERE kind = 'local' ORDER BY position, created_ms, id LIMIT 1;

-- name: user_source_add_local :exec
-- args: id:text, name:text, now:i64
INSERT INTO user_source (id, name, kind, position, simple, created_ms)
VALUES (:id, :name, 'local', 0, (SELECT CASE WHEN COUNT(*) = 0 THEN 1 ELSE 0 END FROM user_source WHERE simple = 1), :now)
ON CONFLICT (name) DO NOTHING;

-- Which of these log-ins (JSON) the local source has.
-- name: people_taken :many
-- args: logins:text
-- cols: login_key:text
-- only: pgsql
SELECT p.login_key FROM person p JOIN user_source s ON s.id = p.source_id AND s.kind = 'local'
 WHERE p.login_key IN (SELECT value FROM jsonb_array_elements_text(CAST(:logins AS jsonb)));
-- only: sqlite3
SELECT p.login_key FROM person p JOIN user_source s ON s.id = p.source_id AND s.kind = 'local'
 WHERE p.login_key IN (SELECT value FROM json_each(:logins));

-- name: person_add :exec
-- args: id:text, source_id:text, login:text, login_key:text, name:text, mail:text, mail_key:text, phone:text, password:text?, now:i64
INSERT INTO person (id, source_id, login, login_key, name, mail, mail_key, phone, password, created_ms)
VALUES (:id, :source_id, :login, :login_key, :name, :mail, :mail_key, :phone, :password, :now);

-- name: person_set_password :exec1
-- args: id:text, password:text
UPDATE person SET password = :password, version = version + 1 WHERE id = :id;

-- name: person_source_kind :one
-- args: id:text
-- cols: login:text, kind:text?
SELECT p.login, s.kind FROM person p LEFT JOIN user_source s ON s.id = p.source_id WHERE p.id = :id;
