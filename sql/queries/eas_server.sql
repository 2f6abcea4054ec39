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
-- keep
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
-- keep
SELECT server_id, refused_ms FROM mail_home WHERE person_id = :person_id;

-- A server that was deleted meanwhile is not kept.
-- name: mail_home_put :exec
-- args: person_id:text, server_id:text, now:i64
-- keep
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
-- keep
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

-- ---------------------------------------------------------------- servers' own device lists (domain/mdm_eas_discovered.c)

-- What the gate knows stays as it is; on a device that it was matched with a record keeps its place. fresh: the record was made now. A time that is not known is 0.
-- name: discovered_records :many
-- args: list:text
-- cols: fresh:i64
-- only: pgsql
INSERT INTO source_record (id, person_id, kind, class, native_id, state, attrs, first_seen_ms, last_seen_ms)
SELECT x.id, p.id, 'eas', x.class, x.native, 'discovered', x.attrs, x.first_ms, x.last_ms
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS x (id TEXT, person TEXT, native TEXT, class TEXT, attrs TEXT, first_ms BIGINT, last_ms BIGINT)
  JOIN person p ON p.id = x.person
 ORDER BY x.person, x.native
ON CONFLICT (native_id, person_id) WHERE live = 1 AND kind = 'eas' DO UPDATE
   SET attrs = excluded.attrs, class = CASE WHEN source_record.device_id IS NULL THEN excluded.class ELSE source_record.class END,
       last_seen_ms = excluded.last_seen_ms
 WHERE source_record.state = 'discovered'
   AND (excluded.last_seen_ms > source_record.last_seen_ms OR (excluded.last_seen_ms = source_record.last_seen_ms AND excluded.attrs <> source_record.attrs))
RETURNING CASE WHEN EXISTS (SELECT 1 FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS y (id TEXT) WHERE y.id = source_record.id) THEN 1 ELSE 0 END;
-- only: sqlite3
INSERT INTO source_record (id, person_id, kind, class, native_id, state, attrs, first_seen_ms, last_seen_ms)
SELECT json_extract(x.value, '$.id'), p.id, 'eas', json_extract(x.value, '$.class'), json_extract(x.value, '$.native'), 'discovered',
       json_extract(x.value, '$.attrs'), json_extract(x.value, '$.first_ms'), json_extract(x.value, '$.last_ms')
  FROM json_each(:list) AS x JOIN person p ON p.id = json_extract(x.value, '$.person')
 WHERE 1
ON CONFLICT (native_id, person_id) WHERE live = 1 AND kind = 'eas' DO UPDATE
   SET attrs = excluded.attrs, class = CASE WHEN source_record.device_id IS NULL THEN excluded.class ELSE source_record.class END,
       last_seen_ms = excluded.last_seen_ms
 WHERE source_record.state = 'discovered'
   AND (excluded.last_seen_ms > source_record.last_seen_ms OR (excluded.last_seen_ms = source_record.last_seen_ms AND excluded.attrs <> source_record.attrs))
RETURNING CASE WHEN id IN (SELECT json_extract(y.value, '$.id') FROM json_each(:list) AS y) THEN 1 ELSE 0 END;

-- An older list does not undo a newer one.
-- name: discovered_told :exec
-- args: server_id:text, list:text, now:i64
-- only: pgsql
INSERT INTO eas_told (server_id, record_id, said, first_ms, last_ms, told_ms)
SELECT e.id, r.id, x.attrs, x.first_ms, x.last_ms, :now
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS x (person TEXT, native TEXT, attrs TEXT, first_ms BIGINT, last_ms BIGINT)
  JOIN LATERAL (SELECT y.id FROM source_record y WHERE y.kind = 'eas' AND y.live = 1 AND y.native_id = x.native AND y.person_id = x.person LIMIT 1) AS r ON TRUE
  JOIN eas_server e ON e.id = :server_id
 ORDER BY r.id
ON CONFLICT (server_id, record_id) DO UPDATE
   SET said = excluded.said, first_ms = excluded.first_ms, last_ms = excluded.last_ms, told_ms = excluded.told_ms
 WHERE excluded.last_ms > eas_told.last_ms
    OR (excluded.last_ms = eas_told.last_ms AND (excluded.said <> eas_told.said OR excluded.first_ms <> eas_told.first_ms));
-- only: sqlite3
INSERT INTO eas_told (server_id, record_id, said, first_ms, last_ms, told_ms)
SELECT e.id, r.id, json_extract(x.value, '$.attrs'), json_extract(x.value, '$.first_ms'), json_extract(x.value, '$.last_ms'), :now
  FROM json_each(:list) AS x
  JOIN source_record r ON r.kind = 'eas' AND r.live = 1 AND r.native_id = json_extract(x.value, '$.native') AND r.person_id = json_extract(x.value, '$.person')
  JOIN eas_server e ON e.id = :server_id
 WHERE 1
ON CONFLICT (server_id, record_id) DO UPDATE
   SET said = excluded.said, first_ms = excluded.first_ms, last_ms = excluded.last_ms, told_ms = excluded.told_ms
 WHERE excluded.last_ms > eas_told.last_ms
    OR (excluded.last_ms = eas_told.last_ms AND (excluded.said <> eas_told.said OR excluded.first_ms <> eas_told.first_ms));

-- name: discovered_list :many
-- args: server_id:text, native_id:text, id:text, n:i64
-- cols: record_id:text, native_id:text, state:text, class:text, said:text, first_ms:i64, last_ms:i64, told_ms:i64, person_id:text?, person_name:text?, login:text?, object_id:text?, object_name:text?
SELECT r.id, r.native_id, r.state, r.class, t.said, t.first_ms, t.last_ms, t.told_ms, p.id, p.name, p.login, d.id, d.name
  FROM eas_told t JOIN source_record r ON r.id = t.record_id LEFT JOIN person p ON p.id = r.person_id LEFT JOIN device d ON d.id = r.device_id
 WHERE t.server_id = :server_id AND (r.native_id, r.id) > (:native_id, :id)
 ORDER BY r.native_id, r.id LIMIT :n;

-- With a server goes what it alone has told of mail clients that were never here.
-- name: discovered_forget :exec
-- args: server_id:text
DELETE FROM source_record
 WHERE kind = 'eas' AND state = 'discovered'
   AND id IN (SELECT t.record_id FROM eas_told t WHERE t.server_id = :server_id)
   AND NOT EXISTS (SELECT 1 FROM eas_told o WHERE o.record_id = source_record.id AND o.server_id <> :server_id);
