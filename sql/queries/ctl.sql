-- mdmctl.

-- name: ctl_person :one
-- args: login_key:text
-- cols: id:text
SELECT p.id FROM person p JOIN user_source s ON s.id = p.source_id WHERE s.kind = 'local' AND p.login_key = :login_key
ORDER BY s.position, s.created_ms, s.id LIMIT 1;

-- name: ctl_people :many
-- cols: id:text, login:text, name:text, mail:text, source:text?, disabled:i64
SELECT p.id, p.login, p.name, p.mail, s.name, p.disabled FROM person p LEFT JOIN user_source s ON s.id = p.source_id
ORDER BY p.login_key, p.id;

-- name: ctl_admins :many
-- cols: id:text, login:text, name:text, kind:text, role:text, disabled:i64
SELECT a.id, a.login, a.name, a.kind, r.name, a.disabled FROM admin a JOIN role r ON r.id = a.role_id ORDER BY a.login_key;

-- Everything sealed that does not begin with "s1.<newest key>.", in pages.
-- name: ctl_sealed :many
-- args: after:text, after_id:text, newest:text, count:i64
-- cols: place:text, id:text, value:text
SELECT place, id, value FROM (
    SELECT 'bulk_row.cells' AS place, run_id || ':' || n AS id, cells AS value FROM bulk_row
    UNION ALL SELECT 'ca.private_key', kind, private_key FROM ca
    UNION ALL SELECT 'command.payload', id, payload FROM command WHERE sealed = 1
    UNION ALL SELECT 'pending_enrollment.otp', id, otp FROM pending_enrollment WHERE otp IS NOT NULL
    UNION ALL SELECT 'pending_enrollment.token', id, token FROM pending_enrollment
    UNION ALL SELECT 'quick_task.options', id, options FROM quick_task
    UNION ALL SELECT 'source_record.bootstrap_token', id, bootstrap_token FROM source_record WHERE bootstrap_token IS NOT NULL
    UNION ALL SELECT 'source_record.unlock_token', id, unlock_token FROM source_record WHERE unlock_token IS NOT NULL
    UNION ALL SELECT 'user_source.secret', id, secret FROM user_source WHERE secret IS NOT NULL
    UNION ALL SELECT 'zone_setting.value', name, value FROM zone_setting WHERE sealed = 1
) AS s
WHERE (place, id) > (:after, :after_id) AND SUBSTR(value, 1, LENGTH(:newest)) <> :newest AND value <> ''
ORDER BY place, id LIMIT :count;

-- id: run:row
-- name: reseal_bulk :exec
-- args: id:text, old:text, value:text
UPDATE bulk_row SET cells = :value WHERE run_id = SUBSTR(:id, 1, 36) AND CAST(n AS TEXT) = SUBSTR(:id, 38) AND cells = :old;

-- name: reseal_ca :exec
-- args: id:text, old:text, value:text
UPDATE ca SET private_key = :value WHERE kind = :id AND private_key = :old;

-- name: reseal_command :exec
-- args: id:text, old:text, value:text
UPDATE command SET payload = :value WHERE id = :id AND payload = :old AND sealed = 1;

-- name: reseal_pending_otp :exec
-- args: id:text, old:text, value:text
UPDATE pending_enrollment SET otp = :value WHERE id = :id AND otp = :old;

-- name: reseal_pending_token :exec
-- args: id:text, old:text, value:text
UPDATE pending_enrollment SET token = :value WHERE id = :id AND token = :old;

-- name: reseal_task :exec
-- args: id:text, old:text, value:text
UPDATE quick_task SET options = :value WHERE id = :id AND options = :old;

-- name: reseal_bootstrap_token :exec
-- args: id:text, old:text, value:text
UPDATE source_record SET bootstrap_token = :value WHERE id = :id AND bootstrap_token = :old;

-- name: reseal_unlock_token :exec
-- args: id:text, old:text, value:text
UPDATE source_record SET unlock_token = :value WHERE id = :id AND unlock_token = :old;

-- name: reseal_source :exec
-- args: id:text, old:text, value:text
UPDATE user_source SET secret = :value WHERE id = :id AND secret = :old;

-- name: reseal_setting :exec
-- args: id:text, old:text, value:text
UPDATE zone_setting SET value = :value WHERE name = :id AND value = :old AND sealed = 1;
