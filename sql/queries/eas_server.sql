-- ActiveSync servers behind the gate (domain/mdm_eas_server.c).

-- name: eas_routes :many
-- cols: source_id:text, id:text, name:text, host:text, port:i64, tls:i64, domain:text, user_form:text, pin:text, enabled:i64, version:i64
SELECT l.source_id, s.id, s.name, s.host, s.port, s.tls, s.domain, s.user_form, s.pin, s.enabled, s.version
  FROM eas_server_source l JOIN eas_server s ON s.id = l.server_id
 ORDER BY l.source_id, l.position, s.id;

-- name: eas_server_list :many
-- args: name:text, id:text, n:i64
-- cols: id:text, name:text, host:text, port:i64, tls:i64, domain:text, user_form:text, pin:text, enabled:i64, created_ms:i64, version:i64
SELECT id, name, host, port, tls, domain, user_form, pin, enabled, created_ms, version FROM eas_server
 WHERE (name, id) > (:name, :id) ORDER BY name, id LIMIT :n;

-- name: eas_server_get :one
-- args: id:text
-- cols: id:text, name:text, host:text, port:i64, tls:i64, domain:text, user_form:text, pin:text, enabled:i64, created_ms:i64, version:i64
SELECT id, name, host, port, tls, domain, user_form, pin, enabled, created_ms, version FROM eas_server WHERE id = :id;

-- name: eas_server_sources :many
-- args: server_id:text
-- cols: id:text, name:text, position:i64
SELECT u.id, u.name, l.position FROM eas_server_source l JOIN user_source u ON u.id = l.source_id
 WHERE l.server_id = :server_id ORDER BY u.position, u.name, u.id;

-- name: eas_server_add :exec
-- args: id:text, name:text, host:text, port:i64, tls:i64, domain:text, user_form:text, enabled:i64, now:i64
INSERT INTO eas_server (id, name, host, port, tls, domain, user_form, enabled, created_ms)
VALUES (:id, :name, :host, :port, :tls, :domain, :user_form, :enabled, :now);

-- name: eas_server_edit :exec
-- args: id:text, version:i64, name:text, host:text, port:i64, tls:i64, domain:text, user_form:text, pin:text, enabled:i64
UPDATE eas_server SET name = :name, host = :host, port = :port, tls = :tls, domain = :domain, user_form = :user_form, pin = :pin,
       enabled = :enabled, version = version + 1
 WHERE id = :id AND version = :version;

-- name: eas_server_delete :exec
-- args: id:text, version:i64
DELETE FROM eas_server WHERE id = :id AND version = :version;

-- An e-mail policy names its server by id: in force, or in the sandbox (EAS-04, EML-05).
-- name: eas_server_policies :many
-- args: id:text
-- cols: name:text
-- only: pgsql
SELECT p.name FROM policy p
 WHERE p.type = 'email' AND EXISTS (SELECT 1 FROM policy_version v WHERE v.policy_id = p.id AND v.number IN (0, p.published)
                                       AND :id IN (CAST(v.settings AS jsonb) #>> '{email.direct_server,corporate}', CAST(v.settings AS jsonb) #>> '{email.direct_server,personal}'))
 ORDER BY p.name LIMIT 5;
-- only: sqlite3
SELECT p.name FROM policy p
 WHERE p.type = 'email' AND EXISTS (SELECT 1 FROM policy_version v WHERE v.policy_id = p.id AND v.number IN (0, p.published)
                                       AND :id IN (json_extract(v.settings, '$."email.direct_server".corporate'), json_extract(v.settings, '$."email.direct_server".personal')))
 ORDER BY p.name LIMIT 5;

-- name: eas_server_republish :exec
-- args: id:text
-- only: pgsql
UPDATE policy SET republish = 1, version = version + 1
 WHERE type = 'email' AND EXISTS (SELECT 1 FROM policy_version v WHERE v.policy_id = policy.id AND v.number = policy.published
                                     AND :id IN (CAST(v.settings AS jsonb) #>> '{email.direct_server,corporate}', CAST(v.settings AS jsonb) #>> '{email.direct_server,personal}'));
-- only: sqlite3
UPDATE policy SET republish = 1, version = version + 1
 WHERE type = 'email' AND EXISTS (SELECT 1 FROM policy_version v WHERE v.policy_id = policy.id AND v.number = policy.published
                                     AND :id IN (json_extract(v.settings, '$."email.direct_server".corporate'), json_extract(v.settings, '$."email.direct_server".personal')));

-- name: eas_source :one
-- args: id:text
-- cols: name:text, version:i64
SELECT name, version FROM user_source WHERE id = :id;

-- The order of servers is part of the source: whoever changes it changes the source's version.
-- name: eas_source_next :exec
-- args: id:text, version:i64
UPDATE user_source SET version = version + 1 WHERE id = :id AND version = :version;

-- name: eas_source_touch :exec
-- args: server_id:text
UPDATE user_source SET version = version + 1 WHERE id IN (SELECT source_id FROM eas_server_source WHERE server_id = :server_id);

-- name: eas_source_servers :many
-- args: source_id:text
-- cols: id:text, name:text, host:text, enabled:i64
SELECT s.id, s.name, s.host, s.enabled FROM eas_server_source l JOIN eas_server s ON s.id = l.server_id
 WHERE l.source_id = :source_id ORDER BY l.position, s.id;

-- name: eas_source_clear :exec
-- args: source_id:text
DELETE FROM eas_server_source WHERE source_id = :source_id;

-- name: eas_link_put :exec
-- args: server_id:text, source_id:text, position:i64
INSERT INTO eas_server_source (server_id, source_id, position) VALUES (:server_id, :source_id, :position);

-- Behind the source's other servers.
-- name: eas_link_add :exec
-- args: server_id:text, source_id:text
INSERT INTO eas_server_source (server_id, source_id, position)
VALUES (:server_id, :source_id,
        (SELECT COALESCE(MAX(position), 0) + 1 FROM eas_server_source WHERE source_id = :source_id))
ON CONFLICT DO NOTHING;

-- name: eas_link_drop :exec
-- args: server_id:text, source_id:text
DELETE FROM eas_server_source WHERE server_id = :server_id AND source_id = :source_id;

-- ---------------------------------------------------------------- where a person's mail is (domain/mdm_eas_home.c)

-- name: mail_home_get :one
-- args: person_id:text
-- cols: server_id:text?, refused_ms:i64?
SELECT server_id, refused_ms FROM mail_home WHERE person_id = :person_id;

-- A server that was deleted meanwhile is not kept.
-- name: mail_home_put :exec
-- args: person_id:text, server_id:text, now:i64
INSERT INTO mail_home (person_id, server_id, accepted_ms)
SELECT p.id, s.id, :now FROM person p JOIN eas_server s ON s.id = :server_id WHERE p.id = :person_id
ON CONFLICT (person_id) DO UPDATE SET server_id = excluded.server_id, accepted_ms = excluded.accepted_ms, refused_ms = NULL;

-- Only by one who knows the servers as they are now.
-- name: mail_home_refuse :exec
-- args: person_id:text, now:i64, stamp:i64
INSERT INTO mail_home (person_id, refused_ms)
SELECT p.id, :now FROM person p
 WHERE p.id = :person_id AND :stamp = (SELECT COALESCE(SUM(s.version + 1000), 0) FROM eas_server_source l JOIN eas_server s ON s.id = l.server_id
                                          WHERE l.source_id = p.source_id AND s.enabled = 1)
ON CONFLICT (person_id) DO UPDATE SET refused_ms = excluded.refused_ms;

-- Somebody has changed servers or their order: everybody may try again.
-- name: mail_home_again :many
-- cols: person_id:text
UPDATE mail_home SET refused_ms = NULL WHERE refused_ms IS NOT NULL RETURNING person_id;

-- name: mail_home_devices :many
-- args: person_id:text
-- cols: device_id:text
SELECT DISTINCT device_id FROM source_record
 WHERE kind = 'eas' AND live = 1 AND state = 'enrolled' AND person_id = :person_id AND device_id IS NOT NULL;

-- The server that e-mail policies send a person's devices to directly; none as long as one device goes through the gate. Pending devices have no
-- say: a client that asks where its mail is may be new.
-- part: mail_direct
FROM device d JOIN effective_policy e ON e.device_id = d.id AND e.type = 'email' JOIN policy_result r ON r.id = e.result_id
        WHERE d.person_id = p.id AND d.mail = 'direct' AND d.state = 'active'
          AND NOT EXISTS (SELECT 1 FROM device x WHERE x.person_id = p.id AND x.mail = 'proxy' AND x.state = 'active')
        ORDER BY d.created_ms DESC, d.id LIMIT 1

-- name: mail_home_direct :one
-- args: person_id:text
-- cols: name:text, host:text?, port:i64, tls:i64
-- only: pgsql
SELECT p.name, s.host, COALESCE(s.port, 0), COALESCE(s.tls, 1)
  FROM person p LEFT JOIN eas_server s ON s.id = (SELECT CAST(r.settings AS jsonb) #>> '{email.direct_server,value}'
       {mail_direct})
 WHERE p.id = :person_id;
-- only: sqlite3
SELECT p.name, s.host, COALESCE(s.port, 0), COALESCE(s.tls, 1)
  FROM person p LEFT JOIN eas_server s ON s.id = (SELECT json_extract(r.settings, '$."email.direct_server".value')
       {mail_direct})
 WHERE p.id = :person_id;
