-- Device objects as people see them (DEV-02..04, DEV-12). No SQL is made from data (R26): an empty text or 0 switches a filter off.
--
-- A list never visits more rows than it says (PRF-09). A filter that few devices pass gives the set of their ids, which is sorted and paged
-- in memory; else the index of the sort order is walked from the cursor over a bounded stretch, and a page may be short.

-- part: device_filter_args
state:text, mode:text, platform:text, ownership:text, person:text, lost:i64, orphan:i64, folder:text, device_group:text, node:text, admin:text

-- orphan: the owner's user source was removed (USR-08). folder: with all below it. node: devices whose enrolment knows an address of this node. orphan, device_group, node: EXISTS would be made a join with all people, the whole group, all records. admin: an administrator who may see some folders only.
-- part: device_filter
(:state = '' OR d.state = :state) AND (:mode = '' OR d.mode = :mode)
   AND (:platform = '' OR d.platform = :platform) AND (:ownership = '' OR d.ownership = :ownership)
   AND (:person = '' OR d.person_id = :person) AND (:lost = 0 OR d.lost_ms IS NOT NULL)
   AND (:orphan = 0 OR (SELECT o.id FROM person o WHERE o.id = d.person_id AND o.source_id IS NULL) IS NOT NULL)
   AND (:folder = '' OR EXISTS (SELECT 1 FROM folder_above a WHERE a.folder_id = d.folder_id AND a.above_id = :folder))
   AND (:device_group = '' OR (SELECT g.group_id FROM device_group_member g
                               WHERE g.group_id = :device_group AND g.device_id = d.id) IS NOT NULL)
   AND (:node = '' OR (SELECT u.node_id FROM source_record r JOIN node_url u ON u.url = r.base_url AND u.node_id = :node
                        WHERE r.device_id = d.id AND r.kind = 'mdm' AND r.live = 1 LIMIT 1) IS NOT NULL)
   AND (:admin = '' OR EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id
                                WHERE a.folder_id = d.folder_id AND l.admin_id = :admin))

-- part: filter_cols
id, name_key, state, mode, platform, ownership, person_id, lost_ms, folder_id, COALESCE(last_contact_ms, 0) AS contact

-- name: device_walk_name_up :many
-- args: after:text, after_id:text, {device_filter_args}, visit:i64, count:i64
-- cols: id:text, key:text
SELECT d.id, d.name_key FROM (
    SELECT {filter_cols} FROM device
     WHERE (name_key, id) > (:after, :after_id)
     ORDER BY name_key, id LIMIT :visit) AS d
 WHERE {device_filter}
 ORDER BY name_key, id LIMIT :count;

-- name: device_walk_end_name_up :one
-- args: after:text, after_id:text, visit:i64
-- cols: id:text, key:text
SELECT id, name_key FROM device
 WHERE (name_key, id) > (:after, :after_id)
 ORDER BY name_key, id LIMIT 1 OFFSET :visit - 1;

-- name: device_walk_name_down :many
-- args: after:text, after_id:text, {device_filter_args}, visit:i64, count:i64
-- cols: id:text, key:text
SELECT d.id, d.name_key FROM (
    SELECT {filter_cols} FROM device
     WHERE (name_key, id) < (:after, :after_id)
     ORDER BY name_key DESC, id DESC LIMIT :visit) AS d
 WHERE {device_filter}
 ORDER BY name_key DESC, id DESC LIMIT :count;

-- name: device_walk_end_name_down :one
-- args: after:text, after_id:text, visit:i64
-- cols: id:text, key:text
SELECT id, name_key FROM device
 WHERE (name_key, id) < (:after, :after_id)
 ORDER BY name_key DESC, id DESC LIMIT 1 OFFSET :visit - 1;

-- name: device_walk_name_last :many
-- args: {device_filter_args}, visit:i64, count:i64
-- cols: id:text, key:text
SELECT d.id, d.name_key FROM (
    SELECT {filter_cols} FROM device
     WHERE 1 = 1
     ORDER BY name_key DESC, id DESC LIMIT :visit) AS d
 WHERE {device_filter}
 ORDER BY name_key DESC, id DESC LIMIT :count;

-- name: device_walk_end_name_last :one
-- args: visit:i64
-- cols: id:text, key:text
SELECT id, name_key FROM device
 WHERE 1 = 1
 ORDER BY name_key DESC, id DESC LIMIT 1 OFFSET :visit - 1;

-- name: device_walk_contact_up :many
-- args: after:i64, after_id:text, {device_filter_args}, visit:i64, count:i64
-- cols: id:text, key:i64
SELECT d.id, d.contact FROM (
    SELECT {filter_cols} FROM device
     WHERE (COALESCE(last_contact_ms, 0), id) > (:after, :after_id)
       AND COALESCE(last_contact_ms, 0) >= :after -- SQLite seeks by this one
     ORDER BY COALESCE(last_contact_ms, 0), id LIMIT :visit) AS d
 WHERE {device_filter}
 ORDER BY d.contact, d.id LIMIT :count;

-- name: device_walk_end_contact_up :one
-- args: after:i64, after_id:text, visit:i64
-- cols: id:text, key:i64
SELECT id, COALESCE(last_contact_ms, 0) FROM device
 WHERE (COALESCE(last_contact_ms, 0), id) > (:after, :after_id)
       AND COALESCE(last_contact_ms, 0) >= :after -- SQLite seeks by this one
 ORDER BY COALESCE(last_contact_ms, 0), id LIMIT 1 OFFSET :visit - 1;

-- name: device_walk_contact_down :many
-- args: after:i64, after_id:text, {device_filter_args}, visit:i64, count:i64
-- cols: id:text, key:i64
SELECT d.id, d.contact FROM (
    SELECT {filter_cols} FROM device
     WHERE (COALESCE(last_contact_ms, 0), id) < (:after, :after_id)
       AND COALESCE(last_contact_ms, 0) <= :after -- SQLite seeks by this one
     ORDER BY COALESCE(last_contact_ms, 0) DESC, id DESC LIMIT :visit) AS d
 WHERE {device_filter}
 ORDER BY d.contact DESC, d.id DESC LIMIT :count;

-- name: device_walk_end_contact_down :one
-- args: after:i64, after_id:text, visit:i64
-- cols: id:text, key:i64
SELECT id, COALESCE(last_contact_ms, 0) FROM device
 WHERE (COALESCE(last_contact_ms, 0), id) < (:after, :after_id)
       AND COALESCE(last_contact_ms, 0) <= :after -- SQLite seeks by this one
 ORDER BY COALESCE(last_contact_ms, 0) DESC, id DESC LIMIT 1 OFFSET :visit - 1;

-- The devices that pass one filter, if they are few: each branch reads one index, and at most :count rows of it. Platform and mode have an
-- index of all but the common value, which is no rare one to ask for.
-- name: device_ids_of :many
-- args: kind:text, value:text, count:i64
-- cols: id:text
SELECT a.id FROM (SELECT id FROM device WHERE :kind = 'state' AND state = :value
                   ORDER BY state, name_key, id LIMIT :count) AS a
UNION ALL SELECT b.id FROM (SELECT id FROM device WHERE :kind = 'person' AND person_id = :value LIMIT :count) AS b
UNION ALL SELECT h.id FROM (SELECT id FROM device WHERE :kind = 'platform' AND platform = :value AND platform <> 'ios'
                             LIMIT :count) AS h
UNION ALL SELECT i.id FROM (SELECT id FROM device WHERE :kind = 'mode' AND mode = :value AND mode <> 'ios_mdm' LIMIT :count) AS i
UNION ALL SELECT c.id FROM (SELECT id FROM device WHERE :kind = 'lost' AND lost_ms IS NOT NULL LIMIT :count) AS c
UNION ALL SELECT j.id FROM (SELECT x.id FROM person y JOIN device x ON x.person_id = y.id
                             WHERE :kind = 'orphan' AND y.source_id IS NULL LIMIT :count) AS j
UNION ALL SELECT d.device_id FROM (SELECT device_id FROM device_group_member WHERE :kind = 'group' AND group_id = :value
                                    LIMIT :count) AS d
UNION ALL SELECT e.id FROM (SELECT x.id FROM folder_above f JOIN device x ON x.folder_id = f.folder_id
                             WHERE :kind = 'folder' AND f.above_id = :value LIMIT :count) AS e
UNION ALL SELECT g.id FROM (SELECT x.id FROM admin_folder l JOIN folder_above f ON f.above_id = l.folder_id
                              JOIN device x ON x.folder_id = f.folder_id
                             WHERE :kind = 'admin' AND l.admin_id = :value LIMIT :count) AS g
UNION ALL SELECT j.device_id FROM (SELECT r.device_id FROM node_url u JOIN source_record r ON r.base_url = u.url AND r.base_url <> ''
                             WHERE :kind = 'node' AND u.node_id = :value AND r.kind = 'mdm' AND r.live = 1 AND r.class = ''
                               AND r.device_id IS NOT NULL LIMIT :count) AS j;

-- The search: prefixes of name, serial number, UDID, IMEI, ActiveSync DeviceId, and of the person's log-in and name. Texts are ordered by
-- bytes on both engines, so a prefix is a range of an index, of which the first ones are taken; top: the last character that there is.
-- name: device_search :many
-- args: low:text, upper:text, raw:text, top:text, count:i64
-- cols: id:text
SELECT s.id FROM (
        SELECT a.id FROM (SELECT id FROM device WHERE name_key >= :low AND name_key < :low || :top ORDER BY name_key LIMIT :count) AS a
        UNION SELECT b.id FROM (SELECT id FROM device WHERE serial >= :upper AND serial < :upper || :top ORDER BY serial LIMIT :count) AS b
        UNION SELECT c.id FROM (SELECT id FROM device WHERE udid >= :raw AND udid < :raw || :top ORDER BY udid LIMIT :count) AS c
        UNION SELECT d.id FROM (SELECT id FROM device WHERE imei >= :raw AND imei < :raw || :top ORDER BY imei LIMIT :count) AS d
        UNION SELECT e.id FROM (SELECT id FROM device WHERE eas_device_id >= :upper AND eas_device_id < :upper || :top
                                 ORDER BY eas_device_id LIMIT :count) AS e
        UNION SELECT f.id FROM (SELECT x.id FROM (SELECT id FROM person WHERE login_key >= :low AND login_key < :low || :top
                                                   ORDER BY login_key LIMIT :count) AS p JOIN device x ON x.person_id = p.id LIMIT :count) AS f
        UNION SELECT g.id FROM (SELECT x.id FROM (SELECT id FROM person WHERE LOWER(name) >= :low AND LOWER(name) < :low || :top
                                                   ORDER BY LOWER(name) LIMIT :count) AS p JOIN device x ON x.person_id = p.id LIMIT :count) AS g) AS s
 LIMIT :count;

-- part: device_rows
SELECT d.id, d.name, d.name_key, d.person_id, p.name, p.login, d.state, d.mode, d.level, d.ownership, d.platform, d.model,
       d.product, d.serial, d.os_version, d.compliance, d.test_device, d.folder_id, f.name, d.lost_ms, d.created_ms, d.enrolled_ms,
       d.last_eas_ms, COALESCE(d.last_contact_ms, 0),
       COALESCE((SELECT MAX(m.severity) FROM message m
                  WHERE m.object_kind = 'device' AND m.object_id = d.id AND m.ack_ms IS NULL), 0),
       (SELECT COUNT(*) FROM command c JOIN source_record s ON s.id = c.record_id AND c.open = 1
         WHERE s.device_id = d.id AND s.live = 1), d.version
  FROM device d JOIN folder f ON f.id = d.folder_id LEFT JOIN person p ON p.id = d.person_id

-- ids: JSON list. The filters once more, for sets of ids that were found by one of them.
-- name: device_rows :many
-- args: ids:text, {device_filter_args}
-- cols: id:text, name:text, name_key:text, person_id:text?, person_name:text?, person_login:text?, state:text, mode:text, level:text, ownership:text, platform:text, model:text, product:text, serial:text?, os_version:text, compliance:text, test_device:i64, folder_id:text, folder_name:text, lost_ms:i64?, created_ms:i64, enrolled_ms:i64?, last_eas_ms:i64?, contact_key:i64, worst:i64, commands_open:i64, version:i64
-- only: pgsql
{device_rows}
 WHERE d.id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))))
   AND {device_filter};
-- only: sqlite3
{device_rows}
 WHERE d.id IN (SELECT value FROM json_each(:ids))
   AND {device_filter};

-- name: device_within :one
-- args: id:text, admin:text
-- cols: id:text
SELECT d.id FROM device d
 WHERE d.id = :id AND EXISTS (SELECT 1 FROM folder_above a JOIN admin_folder l ON l.folder_id = a.above_id
                               WHERE a.folder_id = d.folder_id AND l.admin_id = :admin);

-- name: device_full :one
-- args: id:text
-- cols: id:text, name:text, folder_id:text, folder_name:text, person_id:text?, person_name:text?, person_login:text?, state:text, mode:text, level:text, ownership:text, platform:text, model:text, product:text, serial:text?, udid:text?, imei:text?, eas_device_id:text?, os_version:text, build:text, phone:text, supervised:i64?, passcode_present:i64?, passcode_compliant:i64?, encryption:i64?, battery:f64?, capacity_gb:f64?, free_gb:f64?, compliance:text, mail:text, mail_gate:text, inventory:text, inventory_ms:i64?, test_device:i64, lost_ms:i64?, department:text, site:text, location:text, notes:text, created_ms:i64, enrolled_ms:i64?, last_contact_ms:i64?, last_contact_ip:text, last_contact_peer:text, last_eas_ms:i64?, version:i64
-- keep
SELECT d.id, d.name, d.folder_id, f.name, d.person_id, p.name, p.login, d.state, d.mode, d.level, d.ownership, d.platform, d.model,
       d.product, d.serial, d.udid, d.imei, d.eas_device_id, d.os_version, d.build, d.phone, d.supervised, d.passcode_present,
       d.passcode_compliant, d.encryption, d.battery, d.capacity_gb, d.free_gb, d.compliance, d.mail, d.mail_gate, d.inventory, d.inventory_ms,
       d.test_device, d.lost_ms, d.department, d.site, d.location, d.notes, d.created_ms, d.enrolled_ms, d.last_contact_ms,
       d.last_contact_ip, d.last_contact_peer, d.last_eas_ms, d.version
  FROM device d JOIN folder f ON f.id = d.folder_id LEFT JOIN person p ON p.id = d.person_id
 WHERE d.id = :id;

-- name: device_edit :exec
-- args: id:text, version:i64, name:text, name_key:text, ownership:text, department:text, site:text, location:text, notes:text, test_device:i64
UPDATE device SET name = :name, name_key = :name_key, ownership = :ownership, department = :department, site = :site,
       location = :location, notes = :notes, test_device = :test_device, version = version + 1
 WHERE id = :id AND version = :version;

-- name: device_state_set :exec
-- args: id:text, state:text
UPDATE device SET state = :state, version = version + 1 WHERE id = :id;

-- name: device_remove :exec
-- args: id:text
DELETE FROM device WHERE id = :id;

-- Without the channels of its users: apple_user_list.
-- Why a mail client that may have its mail gets none (spec 03); refused: since then a server that refused the person was asked.
-- name: device_records :many
-- args: device_id:text, refused:i64
-- cols: id:text, kind:text, class:text, live:i64, native_id:text, state:text, push_ok:i64, has_token:i64, generation:i64, queued:i64, expelled:i64, attrs:text, match_rule:text, first_seen_ms:i64, last_seen_ms:i64, push_due_ms:i64?, push_error:text?, server_id:text?, server_name:text?, withheld:text?, requests:i64?, errors:i64?, bytes_in:i64?, bytes_out:i64?, last_ms:i64?, last_cmd:text?, sync_ms:i64?, heartbeat_s:i64?, error_ms:i64?, error_http:i64?
SELECT s.id, s.kind, s.class, s.live, s.native_id, s.state, s.push_ok, CASE WHEN s.push_token IS NULL THEN 0 ELSE 1 END,
       s.generation, (SELECT COUNT(*) FROM command o WHERE o.record_id = s.id AND o.open = 1), s.expelled, s.attrs, s.match_rule,
       s.first_seen_ms, s.last_seen_ms, q.due_ms, q.last_error, m.id, m.name,
       CASE WHEN s.kind <> 'eas' OR s.live = 0 OR s.state <> 'enrolled' THEN NULL
            WHEN d.mail IN ('none', 'direct') AND EXISTS (SELECT 1 FROM policy e WHERE e.type = 'email' AND e.published > 0)
            THEN CASE d.mail WHEN 'none' THEN 'no_policy' ELSE 'direct' END
            WHEN NOT EXISTS (SELECT 1 FROM person p JOIN eas_server_source l ON l.source_id = p.source_id WHERE p.id = s.person_id) THEN 'no_server'
            WHEN h.refused_ms > :refused THEN 'refused' END,
       c.requests, c.errors, c.bytes_in, c.bytes_out, c.last_ms, c.last_cmd, c.sync_ms, c.heartbeat_s, c.error_ms, c.error_http
  FROM source_record s JOIN device d ON d.id = s.device_id
  LEFT JOIN eas_count c ON c.record_id = s.id
  LEFT JOIN push q ON q.record_id = s.id
  LEFT JOIN mail_home h ON h.person_id = s.person_id AND s.kind = 'eas'
  LEFT JOIN eas_server m ON m.id = h.server_id
 WHERE s.device_id = :device_id AND (s.kind <> 'mdm' OR s.class = '')
 ORDER BY s.live DESC, s.last_seen_ms DESC, s.id
 LIMIT 20;

-- name: device_certs_detach :exec
-- args: device_id:text
UPDATE certificate SET record_id = NULL
 WHERE record_id IN (SELECT id FROM source_record WHERE device_id = :device_id);

-- name: device_apps :many
-- args: device_id:text, after:text, count:i64
-- cols: identifier:text, name:text, version:text, short_version:text, size:i64?, managed:text?
-- only: pgsql
SELECT a.identifier, a.name, a.version, a.short_version, a.size,
       CAST(d.inventory AS jsonb) -> 'managed_apps' -> a.identifier ->> 'status'
  FROM device_app a JOIN device d ON d.id = a.device_id
 WHERE a.device_id = :device_id AND a.identifier > :after
 ORDER BY a.identifier
 LIMIT :count;
-- only: sqlite3
SELECT a.identifier, a.name, a.version, a.short_version, a.size,
       (SELECT json_extract(m.value, '$.status') FROM json_each(d.inventory, '$.managed_apps') m WHERE m.key = a.identifier)
  FROM device_app a JOIN device d ON d.id = a.device_id
 WHERE a.device_id = :device_id AND a.identifier > :after
 ORDER BY a.identifier
 LIMIT :count;

-- name: device_events :many
-- args: device_id:text, after:i64, after_id:text, count:i64
-- cols: id:text, at_ms:i64, kind:text, detail:text
SELECT id, at_ms, kind, detail
  FROM device_event
 WHERE device_id = :device_id AND (at_ms, id) < (:after, :after_id)
 ORDER BY at_ms DESC, id DESC
 LIMIT :count;
