-- User sources and what is cached of directories (domain/mdm_directory.c, modules/admin/admin_sources.c). Ids of cached rows are
-- made of the source and the entry, so that a log-in and a sync of the same entry meet in one row.

-- name: source_get :one
-- args: id:text
-- cols: id:text, name:text, kind:text, position:i64, simple:i64, config:text, secret:text?, enabled:i64, created_ms:i64, version:i64, people:i64, devices:i64
SELECT s.id, s.name, s.kind, s.position, s.simple, s.config, s.secret, s.enabled, s.created_ms, s.version,
       (SELECT COUNT(*) FROM person p WHERE p.source_id = s.id AND p.gone_ms IS NULL),
       (SELECT COUNT(*) FROM device d JOIN person p ON p.id = d.person_id WHERE p.source_id = s.id)
  FROM user_source s WHERE s.id = :id;

-- Sources are few: a list of all.
-- name: source_list :many
-- cols: id:text, name:text, kind:text, position:i64, simple:i64, config:text, secret:text?, enabled:i64, created_ms:i64, version:i64, people:i64, devices:i64
SELECT s.id, s.name, s.kind, s.position, s.simple, s.config, s.secret, s.enabled, s.created_ms, s.version,
       (SELECT COUNT(*) FROM person p WHERE p.source_id = s.id AND p.gone_ms IS NULL),
       (SELECT COUNT(*) FROM device d JOIN person p ON p.id = d.person_id WHERE p.source_id = s.id)
  FROM user_source s ORDER BY s.position, s.created_ms, s.id LIMIT 200;

-- name: source_domains :many
-- args: source_id:text
-- cols: domain:text
SELECT domain FROM user_domain WHERE source_id = :source_id ORDER BY domain;

-- What a log-in needs to ask a directory.
-- name: source_ask :one
-- args: id:text
-- cols: id:text, name:text, config:text, secret:text?
SELECT id, name, config, secret FROM user_source WHERE id = :id AND kind = 'ldap' AND enabled = 1;

-- name: source_ask_all :many
-- cols: id:text, name:text, config:text, secret:text?
SELECT id, name, config, secret FROM user_source WHERE kind = 'ldap' AND enabled = 1 ORDER BY position, created_ms, id LIMIT 20;

-- name: source_add :exec
-- args: id:text, name:text, config:text, secret:text?, enabled:i64, position:i64, now:i64
INSERT INTO user_source (id, name, kind, position, simple, config, secret, enabled, created_ms)
VALUES (:id, :name, 'ldap', :position, (SELECT CASE WHEN COUNT(*) = 0 THEN 1 ELSE 0 END FROM user_source WHERE simple = 1),
        :config, :secret, :enabled, :now);

-- name: source_edit :exec
-- args: id:text, version:i64, name:text, config:text, secret:text?, enabled:i64, position:i64
UPDATE user_source SET name = :name, config = :config, secret = :secret, enabled = :enabled, position = :position,
       version = version + 1
 WHERE id = :id AND version = :version;

-- At most one source is the simple one: first none, then this.
-- name: source_simple_none :exec
UPDATE user_source SET simple = 0, version = version + 1 WHERE simple = 1;

-- name: source_simple_set :exec1
-- args: id:text
UPDATE user_source SET simple = 1 WHERE id = :id;

-- Devices in use, of one source (none: '') and, if another source becomes the simple one, of the one that is it now (USR-04, USR-05).
-- name: source_touched :one
-- args: source_id:text, simple:i64, taker:text
-- cols: devices:i64
SELECT COUNT(*) FROM user_source s JOIN person p ON p.source_id = s.id JOIN device d ON d.person_id = p.id AND d.state IN ('active', 'pending')
 WHERE s.id = :source_id OR (:simple = 1 AND s.simple = 1 AND s.id <> :taker);

-- People in the order of their log-ins, with the devices whose mail account goes through the gate and was set up by hand: one row without a device for
-- who has none.
-- name: login_change_devices :many
-- args: source_id:text, after:text, max:i64
-- cols: login_key:text, device_id:text?
SELECT p.login_key, d.id
  FROM (SELECT id, login_key FROM person WHERE source_id = :source_id AND login_key > :after ORDER BY login_key LIMIT :max) p
  LEFT JOIN device d ON d.person_id = p.id AND d.state IN ('active', 'pending') AND d.mail = 'proxy'
        AND EXISTS (SELECT 1 FROM source_record r WHERE r.device_id = d.id AND r.live = 1 AND r.kind IN ('eas', 'agent'))
        AND NOT EXISTS (SELECT 1 FROM delivery x WHERE x.device_id = d.id AND x.type = 'email' AND x.channel = 'mdm' AND x.applied <> '')
 ORDER BY p.login_key;

-- name: source_delete :exec1
-- args: id:text
DELETE FROM user_source WHERE id = :id AND kind = 'ldap';

-- name: source_domains_clear :exec
-- args: source_id:text
DELETE FROM user_domain WHERE source_id = :source_id;

-- name: source_domain_add :exec
-- args: source_id:text, domain:text
INSERT INTO user_domain (domain, source_id) VALUES (:domain, :source_id);

-- name: source_sessions_end :exec
-- args: source_id:text
DELETE FROM session WHERE kind = 'portal' AND subject_id IN (SELECT id FROM person WHERE source_id = :source_id);

-- Somebody else has this log-in now: the earlier person is gone, and the name is free.
-- name: dir_login_taken :many
-- args: source_id:text, login_key:text, id:text, now:i64
-- cols: id:text
UPDATE person SET login_key = login_key || '#' || id, gone_ms = COALESCE(gone_ms, :now), version = version + 1
 WHERE source_id = :source_id AND login_key = :login_key AND id <> :id
RETURNING id;

-- Whoever is there is updated, never by ON CONFLICT DO UPDATE: that locks the row as if its log-in changed, which members of groups that are stored at
-- the same time wait for, while they have what this transaction wants next.
-- name: dir_person_put :exec
-- args: id:text, source_id:text, folder_id:text, login:text, login_key:text, name:text, mail:text, mail_key:text, phone:text, guid:text, dn:text, now:i64
-- only: pgsql
WITH u AS (
    UPDATE person SET folder_id = :folder_id, login = :login, login_key = :login_key, name = :name, mail = :mail, mail_key = :mail_key, phone = :phone,
           dn = :dn, gone_ms = NULL, refreshed_ms = :now,
           version = version + CASE WHEN login = :login AND name = :name AND mail = :mail AND phone = :phone AND gone_ms IS NULL THEN 0 ELSE 1 END
     WHERE id = :id)
INSERT INTO person (id, source_id, folder_id, login, login_key, name, mail, mail_key, phone, guid, dn, created_ms, refreshed_ms)
VALUES (:id, :source_id, :folder_id, :login, :login_key, :name, :mail, :mail_key, :phone, :guid, :dn, :now, :now)
ON CONFLICT (id) DO NOTHING;
-- only: sqlite3
INSERT INTO person (id, source_id, folder_id, login, login_key, name, mail, mail_key, phone, guid, dn, created_ms, refreshed_ms)
VALUES (:id, :source_id, :folder_id, :login, :login_key, :name, :mail, :mail_key, :phone, :guid, :dn, :now, :now)
ON CONFLICT (id) DO UPDATE SET folder_id = :folder_id, login = :login, login_key = :login_key, name = :name, mail = :mail,
    mail_key = :mail_key, phone = :phone, dn = :dn, gone_ms = NULL, refreshed_ms = :now,
    version = person.version + CASE WHEN person.login = :login AND person.name = :name AND person.mail = :mail
                                     AND person.phone = :phone AND person.gone_ms IS NULL THEN 0 ELSE 1 END;

-- The same for a page of people; who is as the directory says it is not written. list: [{"id", "login", "login_key", "name", "mail", "mail_key", "phone", "guid", "dn"}], no id and no log-in twice.
-- part: dir_people
jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, login text, login_key text, name text, mail text, mail_key text, phone text, guid text, dn text)

-- name: dir_logins_taken :many
-- args: source_id:text, list:text, now:i64
-- cols: id:text
-- only: pgsql
UPDATE person SET login_key = person.login_key || '#' || person.id, gone_ms = COALESCE(person.gone_ms, :now), version = person.version + 1
  FROM {dir_people} WHERE person.source_id = :source_id AND person.login_key = v.login_key AND person.id <> v.id
RETURNING person.id;
-- only: sqlite3
UPDATE person SET login_key = person.login_key || '#' || person.id, gone_ms = COALESCE(person.gone_ms, :now), version = person.version + 1
  FROM json_each(:list) v WHERE person.source_id = :source_id AND person.login_key = v.value ->> 'login_key' AND person.id <> v.value ->> 'id'
RETURNING id;

-- name: dir_people_put :exec
-- args: source_id:text, folder_id:text, list:text, now:i64
-- only: pgsql
WITH u AS (
    UPDATE person SET folder_id = :folder_id, login = v.login, login_key = v.login_key, name = v.name, mail = v.mail, mail_key = v.mail_key, phone = v.phone,
           dn = v.dn, gone_ms = NULL, refreshed_ms = :now,
           version = person.version + CASE WHEN person.login = v.login AND person.name = v.name AND person.mail = v.mail AND person.phone = v.phone
                                            AND person.gone_ms IS NULL THEN 0 ELSE 1 END
      FROM {dir_people} WHERE person.id = v.id
       AND (person.folder_id, person.login, person.name, person.mail, person.phone, person.dn, person.gone_ms)
           IS DISTINCT FROM (:folder_id, v.login, v.name, v.mail, v.phone, v.dn, NULL))
INSERT INTO person (id, source_id, folder_id, login, login_key, name, mail, mail_key, phone, guid, dn, created_ms, refreshed_ms)
SELECT v.id, :source_id, :folder_id, v.login, v.login_key, v.name, v.mail, v.mail_key, v.phone, v.guid, v.dn, :now, :now FROM {dir_people}
 WHERE NOT EXISTS (SELECT 1 FROM person p WHERE p.id = v.id) ORDER BY v.id
ON CONFLICT (id) DO NOTHING;
-- only: sqlite3
INSERT INTO person (id, source_id, folder_id, login, login_key, name, mail, mail_key, phone, guid, dn, created_ms, refreshed_ms)
SELECT v.value ->> 'id', :source_id, :folder_id, v.value ->> 'login', v.value ->> 'login_key', v.value ->> 'name', v.value ->> 'mail', v.value ->> 'mail_key',
       v.value ->> 'phone', v.value ->> 'guid', v.value ->> 'dn', :now, :now FROM json_each(:list) v WHERE 1 = 1
ON CONFLICT (id) DO UPDATE SET folder_id = excluded.folder_id, login = excluded.login, login_key = excluded.login_key, name = excluded.name,
    mail = excluded.mail, mail_key = excluded.mail_key, phone = excluded.phone, dn = excluded.dn, gone_ms = NULL, refreshed_ms = :now,
    version = person.version + CASE WHEN person.login = excluded.login AND person.name = excluded.name AND person.mail = excluded.mail
                                     AND person.phone = excluded.phone AND person.gone_ms IS NULL THEN 0 ELSE 1 END
 WHERE person.folder_id IS NOT excluded.folder_id OR person.login <> excluded.login OR person.name <> excluded.name OR person.mail <> excluded.mail
    OR person.phone <> excluded.phone OR person.dn IS NOT excluded.dn OR person.gone_ms IS NOT NULL;

-- Each log-in and each page of a sync names its folder and groups: a row that is as it should be is not locked, so that they do not wait for each other.
-- name: dir_folder_put :exec
-- args: id:text, source_id:text, name:text, dn:text
-- only: pgsql
WITH u AS (UPDATE user_folder SET name = :name, dn = :dn WHERE id = :id AND (name, dn) IS DISTINCT FROM (:name, :dn))
INSERT INTO user_folder (id, source_id, name, dn) VALUES (:id, :source_id, :name, :dn) ON CONFLICT DO NOTHING;
-- only: sqlite3
INSERT INTO user_folder (id, source_id, name, dn) VALUES (:id, :source_id, :name, :dn)
ON CONFLICT (id) DO UPDATE SET name = :name, dn = :dn;

-- name: dir_group_put :exec
-- args: id:text, source_id:text, name:text, dn:text
-- only: pgsql
WITH u AS (UPDATE user_group SET name = :name, dn = :dn WHERE id = :id AND (name, dn) IS DISTINCT FROM (:name, :dn))
INSERT INTO user_group (id, source_id, name, dn) VALUES (:id, :source_id, :name, :dn) ON CONFLICT DO NOTHING;
-- only: sqlite3
INSERT INTO user_group (id, source_id, name, dn) VALUES (:id, :source_id, :name, :dn)
ON CONFLICT (id) DO UPDATE SET name = :name, dn = :dn;

-- Somebody as stored, with everything that a log-in may bring up to date: mostly nothing is new, and nothing is written. groups: ids in order.
-- name: dir_person_now :one
-- args: id:text
-- cols: folder_id:text?, login:text, name:text, mail:text, phone:text, dn:text?, gone_ms:i64?, disabled:i64, version:i64, groups:text
-- keep
-- only: pgsql
SELECT p.folder_id, p.login, p.name, p.mail, p.phone, p.dn, p.gone_ms, p.disabled, p.version,
       (SELECT COALESCE(string_agg(m.group_id, ',' ORDER BY m.group_id COLLATE "C"), '') FROM user_group_member m WHERE m.person_id = p.id)
  FROM person p WHERE p.id = :id;
-- only: sqlite3
SELECT p.folder_id, p.login, p.name, p.mail, p.phone, p.dn, p.gone_ms, p.disabled, p.version,
       (SELECT COALESCE(group_concat(m.group_id, ','), '')
          FROM (SELECT group_id FROM user_group_member WHERE person_id = p.id ORDER BY group_id) m)
  FROM person p WHERE p.id = :id;

-- name: dir_person_groups :many
-- args: person_id:text
-- cols: group_id:text
SELECT group_id FROM user_group_member WHERE person_id = :person_id;

-- name: dir_person_groups_drop :exec
-- args: person_id:text, groups:text
-- only: pgsql
DELETE FROM user_group_member WHERE person_id = :person_id
   AND group_id NOT IN (SELECT value FROM jsonb_array_elements_text(CAST(:groups AS jsonb)));
-- only: sqlite3
DELETE FROM user_group_member WHERE person_id = :person_id AND group_id NOT IN (SELECT value FROM json_each(:groups));

-- name: dir_member_put :exec
-- args: group_id:text, person_id:text
INSERT INTO user_group_member (group_id, person_id) VALUES (:group_id, :person_id) ON CONFLICT DO NOTHING;

-- name: dir_group_people_drop :exec
-- args: group_id:text, people:text
-- only: pgsql
DELETE FROM user_group_member WHERE group_id = :group_id
   AND person_id NOT IN (SELECT value FROM jsonb_array_elements_text(CAST(:people AS jsonb)));
-- only: sqlite3
DELETE FROM user_group_member WHERE group_id = :group_id AND person_id NOT IN (SELECT value FROM json_each(:people));

-- Only people who are still there: one may have gone since the page was read. Mostly all are members already, which is one look at an index each.
-- name: dir_group_people_put :exec
-- args: group_id:text, people:text
-- only: pgsql
INSERT INTO user_group_member (group_id, person_id)
SELECT :group_id, v.id FROM jsonb_array_elements_text(CAST(:people AS jsonb)) v (id)
 WHERE NOT EXISTS (SELECT 1 FROM user_group_member m WHERE m.group_id = :group_id AND m.person_id = v.id)
   AND EXISTS (SELECT 1 FROM person p WHERE p.id = v.id) ORDER BY v.id
ON CONFLICT DO NOTHING;
-- only: sqlite3
INSERT INTO user_group_member (group_id, person_id)
SELECT :group_id, v.value FROM json_each(:people) v
 WHERE NOT EXISTS (SELECT 1 FROM user_group_member m WHERE m.group_id = :group_id AND m.person_id = v.value)
   AND EXISTS (SELECT 1 FROM person p WHERE p.id = v.value)
ON CONFLICT DO NOTHING;

-- name: dir_groups_empty :exec
-- args: source_id:text, seen:text
-- only: pgsql
DELETE FROM user_group_member WHERE group_id IN (SELECT g.id FROM user_group g WHERE g.source_id = :source_id AND g.dn IS NOT NULL
   AND g.id <> ALL (ARRAY(SELECT jsonb_array_elements_text(CAST(:seen AS jsonb)))));
-- only: sqlite3
DELETE FROM user_group_member WHERE group_id IN (SELECT g.id FROM user_group g WHERE g.source_id = :source_id AND g.dn IS NOT NULL
   AND g.id NOT IN (SELECT value FROM json_each(:seen)));

-- name: dir_groups_drop :exec
-- args: source_id:text, seen:text
-- only: pgsql
DELETE FROM user_group WHERE source_id = :source_id AND dn IS NOT NULL AND id <> ALL (ARRAY(SELECT jsonb_array_elements_text(CAST(:seen AS jsonb))))
   AND NOT EXISTS (SELECT 1 FROM user_group_member m WHERE m.group_id = user_group.id)
   AND NOT EXISTS (SELECT 1 FROM assignment a WHERE a.target_kind = 'user_group' AND a.target_id = user_group.id);
-- only: sqlite3
DELETE FROM user_group WHERE source_id = :source_id AND dn IS NOT NULL AND id NOT IN (SELECT value FROM json_each(:seen))
   AND NOT EXISTS (SELECT 1 FROM user_group_member m WHERE m.group_id = user_group.id)
   AND NOT EXISTS (SELECT 1 FROM assignment a WHERE a.target_kind = 'user_group' AND a.target_id = user_group.id);

-- began: not if it was written since; 0 = anyway.
-- name: dir_person_gone :exec
-- args: source_id:text, id:text, began:i64, now:i64
UPDATE person SET gone_ms = :now, version = version + 1
 WHERE source_id = :source_id AND id = :id AND gone_ms IS NULL AND (:began = 0 OR refreshed_ms IS NULL OR refreshed_ms < :began);

-- Who is here and was not written since, in order of log-ins: those whom a synchronisation has not seen are gone.
-- name: dir_people_there :many
-- args: source_id:text, began:i64, after:text, max:i64
-- cols: id:text, login_key:text
SELECT id, login_key FROM person
 WHERE source_id = :source_id AND login_key > :after AND gone_ms IS NULL AND (refreshed_ms IS NULL OR refreshed_ms < :began)
 ORDER BY login_key LIMIT :max;

-- name: dir_people_count :one
-- args: source_id:text
-- cols: n:i64
SELECT COUNT(*) AS n FROM person WHERE source_id = :source_id AND gone_ms IS NULL;
