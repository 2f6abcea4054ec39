-- Administrators, roles, API tokens (domain/mdm_admins.c).

-- name: role_by_name :one
-- args: name:text
-- cols: id:text, rights:text
SELECT id, rights FROM role WHERE name = :name;

-- name: admin_login_local :one
-- args: login_key:text
-- cols: id:text, password:text?, disabled:i64
SELECT id, password, disabled FROM admin WHERE login_key = :login_key AND kind = 'local';

-- name: admin_set_password :exec1
-- args: id:text, password:text
UPDATE admin SET password = :password, version = version + 1 WHERE id = :id AND kind = 'local';

-- part: admin_cols
id:text, login:text, login_key:text, name:text, mail:text, kind:text, source_id:text?, source:text?, role_id:text, role:text, rights:text, alerts:i64,
disabled:i64, folders:i64, created_ms:i64, used_ms:i64?, version:i64

-- part: admin_row
SELECT a.id, a.login, a.login_key, a.name, a.mail, a.kind, s.id, s.name, a.role_id, r.name, r.rights, a.alerts, a.disabled,
       (SELECT COUNT(*) FROM admin_folder f WHERE f.admin_id = a.id), a.created_ms,
       (SELECT MAX(s.used_ms) FROM session s WHERE s.kind = 'admin' AND s.subject_id = a.id), a.version
  FROM admin a JOIN role r ON r.id = a.role_id LEFT JOIN user_source s ON s.id = a.source_id

-- name: admins_list :many
-- args: after:text, after_id:text, count:i64
-- cols: {admin_cols}
{admin_row}
 WHERE (a.login_key, a.id) > (:after, :after_id)
 ORDER BY a.login_key, a.id
 LIMIT :count;

-- name: admins_get :one
-- args: id:text
-- cols: {admin_cols}
{admin_row}
 WHERE a.id = :id;

-- name: admins_by_login :one
-- args: login_key:text
-- cols: {admin_cols}
{admin_row}
 WHERE a.login_key = :login_key;

-- name: admins_folders :many
-- args: admin_id:text
-- cols: id:text, name:text?
SELECT a.folder_id, f.name FROM admin_folder a LEFT JOIN folder f ON f.id = a.folder_id
 WHERE a.admin_id = :admin_id ORDER BY f.name, a.folder_id;

-- name: admins_folder_known :one
-- args: id:text
-- cols: id:text
SELECT id FROM folder WHERE id = :id;

-- name: admins_folders_clear :exec
-- args: admin_id:text
DELETE FROM admin_folder WHERE admin_id = :admin_id;

-- name: admins_folder_add :exec
-- args: admin_id:text, folder_id:text
INSERT INTO admin_folder (admin_id, folder_id) VALUES (:admin_id, :folder_id) ON CONFLICT DO NOTHING;

-- name: admins_add :exec
-- args: id:text, login:text, login_key:text, name:text, mail:text, kind:text, source_id:text?, group_id:text?, password:text?, role_id:text, alerts:i64, disabled:i64, now:i64
INSERT INTO admin (id, login, login_key, name, mail, kind, source_id, group_id, password, role_id, alerts, disabled, created_ms)
VALUES (:id, :login, :login_key, :name, :mail, :kind, :source_id, :group_id, :password, :role_id, :alerts, :disabled, :now);

-- name: admins_directory_known :one
-- args: id:text
-- cols: id:text
SELECT id FROM user_source WHERE id = :id AND kind <> 'local';

-- name: admins_edit :exec
-- args: id:text, version:i64, name:text, mail:text, role_id:text, alerts:i64, disabled:i64
UPDATE admin SET name = :name, mail = :mail, role_id = :role_id, alerts = :alerts, disabled = :disabled, version = version + 1
 WHERE id = :id AND version = :version;

-- name: admins_remove :exec1
-- args: id:text
DELETE FROM admin WHERE id = :id;

-- Held until the transaction ends, so that two at once can't both take away the last but one.
-- name: admins_super_lock :one
-- cols: id:text
-- only: pgsql
SELECT id FROM role WHERE name = 'super_admin' FOR UPDATE;
-- only: sqlite3
SELECT id FROM role WHERE name = 'super_admin';

-- Who can log in without a folder limit and with every right: groups don't count, they may be empty.
-- name: admins_super_count :one
-- cols: n:i64
SELECT COUNT(*) FROM admin a JOIN role r ON r.id = a.role_id
 WHERE r.name = 'super_admin' AND a.disabled = 0 AND a.kind <> 'group'
   AND NOT EXISTS (SELECT 1 FROM admin_folder f WHERE f.admin_id = a.id);

-- part: role_cols
id:text, name:text, rights:text, builtin:i64, admins:i64, tokens:i64, version:i64

-- part: role_row
SELECT r.id, r.name, r.rights, r.builtin, (SELECT COUNT(*) FROM admin a WHERE a.role_id = r.id),
       (SELECT COUNT(*) FROM api_token t WHERE t.role_id = r.id), r.version
  FROM role r

-- name: roles_list :many
-- args: after:text, after_id:text, count:i64
-- cols: {role_cols}
{role_row}
 WHERE (r.name, r.id) > (:after, :after_id) ORDER BY r.name, r.id LIMIT :count;

-- name: roles_get :one
-- args: id:text
-- cols: {role_cols}
{role_row}
 WHERE r.id = :id;

-- name: roles_add :exec
-- args: id:text, name:text, rights:text
INSERT INTO role (id, name, rights) VALUES (:id, :name, :rights);

-- name: roles_edit :exec
-- args: id:text, version:i64, name:text, rights:text
UPDATE role SET name = :name, rights = :rights, version = version + 1 WHERE id = :id AND version = :version;

-- name: roles_remove :exec1
-- args: id:text
DELETE FROM role WHERE id = :id AND builtin = 0;

-- A role that shrinks takes with it the tokens of its holders that were made for another one.
-- name: roles_tokens_end :exec
-- args: id:text
DELETE FROM api_token WHERE role_id <> :id AND admin_id IN (SELECT a.id FROM admin a WHERE a.role_id = :id);

-- Tokens with a role, and what their administrators may.
-- name: roles_tokens :many
-- args: id:text
-- cols: id:text, owner_rights:text
SELECT t.id, r.rights FROM api_token t JOIN admin a ON a.id = t.admin_id JOIN role r ON r.id = a.role_id
 WHERE t.role_id = :id AND a.role_id <> :id;

-- name: api_tokens_list :many
-- args: admin_id:text, after:i64, after_id:text, count:i64
-- cols: id:text, name:text, admin_id:text, login:text, role_id:text, role:text, created_ms:i64, expires_ms:i64, used_ms:i64?
SELECT t.id, t.name, t.admin_id, a.login, t.role_id, r.name, t.created_ms, t.expires_ms, t.used_ms
  FROM api_token t JOIN admin a ON a.id = t.admin_id JOIN role r ON r.id = t.role_id
 WHERE (t.created_ms, t.id) < (:after, :after_id) AND (:admin_id = '' OR t.admin_id = :admin_id)
 ORDER BY t.created_ms DESC, t.id DESC
 LIMIT :count;

-- name: api_token_get :one
-- args: id:text
-- cols: id:text, name:text, admin_id:text, login:text, role_id:text, role:text, rights:text, created_ms:i64, expires_ms:i64, used_ms:i64?
SELECT t.id, t.name, t.admin_id, a.login, t.role_id, r.name, r.rights, t.created_ms, t.expires_ms, t.used_ms
  FROM api_token t JOIN admin a ON a.id = t.admin_id JOIN role r ON r.id = t.role_id
 WHERE t.id = :id;

-- name: api_token_remove :exec1
-- args: id:text
DELETE FROM api_token WHERE id = :id;

-- What an administrator may do, or a person as a member of a directory's groups.
-- name: admin_rights_of :many
-- args: id:text
-- cols: rights:text
SELECT r.rights FROM admin a JOIN role r ON r.id = a.role_id
 WHERE a.disabled = 0
   AND (a.id = :id OR (a.kind = 'group' AND EXISTS (
          SELECT 1 FROM user_group_member m JOIN person p ON p.id = m.person_id
           WHERE m.person_id = :id AND m.group_id = a.group_id AND p.source_id = a.source_id)));

-- An administrator that another httpd module has authenticated: by name, else as a member of one directory's group. A name that two
-- people of the directories have is nobody's.
-- name: admin_by_user :one
-- args: login_key:text
-- cols: id:text, login:text, name:text, kind:text, role:text, rights:text, folders:i64
SELECT a.id, a.login, a.name, a.kind, r.name, r.rights, (SELECT COUNT(*) FROM admin_folder f WHERE f.admin_id = a.id)
  FROM admin a JOIN role r ON r.id = a.role_id
 WHERE a.disabled = 0
   AND ((a.kind <> 'group' AND a.login_key = :login_key)
     OR (a.kind = 'group' AND EXISTS (
          SELECT 1 FROM person p JOIN user_source s ON s.id = p.source_id
            JOIN user_group_member m ON m.person_id = p.id
           WHERE p.login_key = :login_key AND p.disabled = 0 AND p.gone_ms IS NULL AND s.kind <> 'local' AND s.enabled = 1
             AND m.group_id = a.group_id AND p.source_id = a.source_id
             AND NOT EXISTS (SELECT 1 FROM person o JOIN user_source os ON os.id = o.source_id
                              WHERE o.login_key = :login_key AND o.id <> p.id AND o.gone_ms IS NULL AND os.kind <> 'local'))
        AND NOT EXISTS (SELECT 1 FROM admin n WHERE n.login_key = :login_key AND n.kind <> 'group')))
 ORDER BY CASE WHEN a.kind = 'group' THEN 1 ELSE 0 END, a.created_ms, a.id
 LIMIT 1;
