-- Device objects as people see them (DEV-02..04, DEV-12). Lists are keyset pages: one query for each sort order, so that the key is
-- always the front of an index and no SQL is made from data (R26). An empty text or 0 switches a filter off.

-- part: device_cols
id:text, name:text, name_key:text, person_id:text?, person_name:text?, person_login:text?, state:text, mode:text, level:text,
ownership:text, platform:text, model:text, product:text, serial:text?, os_version:text, compliance:text, test_device:i64,
lost_ms:i64?, created_ms:i64, enrolled_ms:i64?, last_contact_ms:i64?, last_eas_ms:i64?, contact_key:i64, worst:i64,
commands_open:i64, version:i64

-- part: device_row
SELECT d.id, d.name, d.name_key, d.person_id, p.name, p.login, d.state, d.mode, d.level, d.ownership, d.platform, d.model,
       d.product, d.serial, d.os_version, d.compliance, d.test_device, d.lost_ms, d.created_ms, d.enrolled_ms,
       d.last_contact_ms, d.last_eas_ms, COALESCE(d.last_contact_ms, 0),
       COALESCE((SELECT MAX(m.severity) FROM message m
                  WHERE m.object_kind = 'device' AND m.object_id = d.id AND m.ack_ms IS NULL), 0),
       (SELECT COUNT(*) FROM command c JOIN source_record s ON s.id = c.record_id AND c.open = 1
         WHERE s.device_id = d.id AND s.live = 1), d.version
  FROM device d LEFT JOIN person p ON p.id = d.person_id

-- part: device_filter_args
state:text, mode:text, platform:text, ownership:text, person:text, lost:i64, count:i64

-- part: device_filter
AND (:state = '' OR d.state = :state) AND (:mode = '' OR d.mode = :mode)
   AND (:platform = '' OR d.platform = :platform) AND (:ownership = '' OR d.ownership = :ownership)
   AND (:person = '' OR d.person_id = :person) AND (:lost = 0 OR d.lost_ms IS NOT NULL)

-- name: device_list_name_up :many
-- args: after:text, after_id:text, {device_filter_args}
-- cols: {device_cols}
{device_row}
 WHERE (d.name_key, d.id) > (:after, :after_id)
   {device_filter}
 ORDER BY d.name_key ASC, d.id ASC
 LIMIT :count;

-- name: device_list_name_down :many
-- args: after:text, after_id:text, {device_filter_args}
-- cols: {device_cols}
{device_row}
 WHERE (d.name_key, d.id) < (:after, :after_id)
   {device_filter}
 ORDER BY d.name_key DESC, d.id DESC
 LIMIT :count;

-- The first page from the end: there is no greatest text to begin from.
-- name: device_list_name_last :many
-- args: {device_filter_args}
-- cols: {device_cols}
{device_row}
 WHERE 1 = 1
   {device_filter}
 ORDER BY d.name_key DESC, d.id DESC
 LIMIT :count;

-- name: device_list_contact_up :many
-- args: after:i64, after_id:text, {device_filter_args}
-- cols: {device_cols}
{device_row}
 WHERE (COALESCE(d.last_contact_ms, 0), d.id) > (:after, :after_id)
   AND COALESCE(d.last_contact_ms, 0) >= :after -- SQLite seeks by this one
   {device_filter}
 ORDER BY COALESCE(d.last_contact_ms, 0) ASC, d.id ASC
 LIMIT :count;

-- name: device_list_contact_down :many
-- args: after:i64, after_id:text, {device_filter_args}
-- cols: {device_cols}
{device_row}
 WHERE (COALESCE(d.last_contact_ms, 0), d.id) < (:after, :after_id)
   AND COALESCE(d.last_contact_ms, 0) <= :after -- SQLite seeks by this one
   {device_filter}
 ORDER BY COALESCE(d.last_contact_ms, 0) DESC, d.id DESC
 LIMIT :count;

-- The search is a bounded set (the caller says how many at most) that is sorted and paged in memory: prefixes of name, serial number,
-- UDID, and the person's log-in and name.
-- name: device_search :many
-- args: low:text, upper:text, raw:text, {device_filter_args}
-- cols: {device_cols}
-- only: pgsql
{device_row}
 WHERE d.id IN (
        SELECT id FROM device WHERE starts_with(name_key, :low)
        UNION SELECT id FROM device WHERE starts_with(serial, :upper)
        UNION SELECT id FROM device WHERE starts_with(udid, :raw)
        UNION SELECT x.id FROM device x JOIN person y ON y.id = x.person_id
               WHERE starts_with(y.login_key, :low) OR starts_with(y.name, :raw))
   {device_filter}
 ORDER BY d.name_key, d.id
 LIMIT :count;
-- only: sqlite3
{device_row}
 WHERE d.id IN (
        SELECT id FROM device WHERE name_key >= :low AND name_key < :low || char(1114111)
        UNION SELECT id FROM device WHERE serial >= :upper AND serial < :upper || char(1114111)
        UNION SELECT id FROM device WHERE udid >= :raw AND udid < :raw || char(1114111)
        UNION SELECT x.id FROM device x JOIN person y ON y.id = x.person_id
               WHERE (y.login_key >= :low AND y.login_key < :low || char(1114111)) OR substr(y.name, 1, length(:raw)) = :raw)
   {device_filter}
 ORDER BY d.name_key, d.id
 LIMIT :count;

-- name: device_full :one
-- args: id:text
-- cols: id:text, name:text, folder_id:text, folder_name:text, person_id:text?, person_name:text?, person_login:text?, state:text, mode:text, level:text, ownership:text, platform:text, model:text, product:text, serial:text?, udid:text?, imei:text?, eas_device_id:text?, os_version:text, build:text, phone:text, supervised:i64?, passcode_present:i64?, passcode_compliant:i64?, encryption:i64?, battery:f64?, capacity_gb:f64?, free_gb:f64?, compliance:text, inventory:text, inventory_ms:i64?, test_device:i64, lost_ms:i64?, department:text, site:text, location:text, notes:text, created_ms:i64, enrolled_ms:i64?, last_contact_ms:i64?, last_contact_ip:text, last_eas_ms:i64?, version:i64
SELECT d.id, d.name, d.folder_id, f.name, d.person_id, p.name, p.login, d.state, d.mode, d.level, d.ownership, d.platform, d.model,
       d.product, d.serial, d.udid, d.imei, d.eas_device_id, d.os_version, d.build, d.phone, d.supervised, d.passcode_present,
       d.passcode_compliant, d.encryption, d.battery, d.capacity_gb, d.free_gb, d.compliance, d.inventory, d.inventory_ms,
       d.test_device, d.lost_ms, d.department, d.site, d.location, d.notes, d.created_ms, d.enrolled_ms, d.last_contact_ms,
       d.last_contact_ip, d.last_eas_ms, d.version
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

-- name: device_records :many
-- args: device_id:text
-- cols: id:text, kind:text, class:text, live:i64, native_id:text, state:text, push_ok:i64, has_token:i64, generation:i64, queued:i64, expelled:i64, first_seen_ms:i64, last_seen_ms:i64, push_due_ms:i64?, push_error:text?
SELECT s.id, s.kind, s.class, s.live, s.native_id, s.state, s.push_ok, CASE WHEN s.push_token IS NULL THEN 0 ELSE 1 END,
       s.generation, s.queued, s.expelled, s.first_seen_ms, s.last_seen_ms, q.due_ms, q.last_error
  FROM source_record s LEFT JOIN push q ON q.record_id = s.id
 WHERE s.device_id = :device_id
 ORDER BY s.live DESC, s.last_seen_ms DESC, s.id
 LIMIT 20;

-- name: device_certs_detach :exec
-- args: device_id:text
UPDATE certificate SET record_id = NULL
 WHERE record_id IN (SELECT id FROM source_record WHERE device_id = :device_id);

-- name: device_apps :many
-- args: device_id:text, after:text, count:i64
-- cols: identifier:text, name:text, version:text, short_version:text, size:i64?, managed:i64
SELECT identifier, name, version, short_version, size, managed
  FROM device_app
 WHERE device_id = :device_id AND identifier > :after
 ORDER BY identifier
 LIMIT :count;

-- name: device_events :many
-- args: device_id:text, after:i64, after_id:text, count:i64
-- cols: id:text, at_ms:i64, kind:text, detail:text
SELECT id, at_ms, kind, detail
  FROM device_event
 WHERE device_id = :device_id AND (at_ms, id) < (:after, :after_id)
 ORDER BY at_ms DESC, id DESC
 LIMIT :count;
