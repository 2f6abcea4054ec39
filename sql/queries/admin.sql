-- What the administration shows and changes besides devices. Keyset pages as in device.sql.
-- :limit is an administrator whose folders, with all below them, bound what is seen of devices; '' = all.

-- part: below
SELECT a.folder_id FROM admin_folder l JOIN folder_above a ON a.above_id = l.folder_id WHERE l.admin_id = :limit

-- name: admin_people_list :many
-- args: after:text, after_id:text, count:i64
-- cols: id:text, login:text, name:text, mail:text, phone:text, source_name:text?, source_kind:text?, disabled:i64, gone_ms:i64?, created_ms:i64, devices:i64, version:i64
SELECT p.id, p.login, p.name, p.mail, p.phone, u.name, u.kind, p.disabled, p.gone_ms, p.created_ms,
       (SELECT COUNT(*) FROM device d WHERE d.person_id = p.id), p.version
  FROM person p LEFT JOIN user_source u ON u.id = p.source_id
 WHERE (p.name, p.id) > (:after, :after_id)
 ORDER BY p.name, p.id
 LIMIT :count;

-- name: admin_people_search :many
-- args: low:text, raw:text, count:i64
-- cols: id:text, login:text, name:text, mail:text, phone:text, source_name:text?, source_kind:text?, disabled:i64, gone_ms:i64?, created_ms:i64, devices:i64, version:i64
-- only: pgsql
SELECT p.id, p.login, p.name, p.mail, p.phone, u.name, u.kind, p.disabled, p.gone_ms, p.created_ms,
       (SELECT COUNT(*) FROM device d WHERE d.person_id = p.id), p.version
  FROM person p LEFT JOIN user_source u ON u.id = p.source_id
 WHERE starts_with(p.login_key, :low) OR starts_with(p.mail_key, :low) OR starts_with(p.name, :raw)
 ORDER BY p.name, p.id
 LIMIT :count;
-- only: sqlite3
SELECT p.id, p.login, p.name, p.mail, p.phone, u.name, u.kind, p.disabled, p.gone_ms, p.created_ms,
       (SELECT COUNT(*) FROM device d WHERE d.person_id = p.id), p.version
  FROM person p LEFT JOIN user_source u ON u.id = p.source_id
 WHERE (p.login_key >= :low AND p.login_key < :low || char(1114111))
    OR (p.mail_key >= :low AND p.mail_key < :low || char(1114111))
    OR (p.name >= :raw AND p.name < :raw || char(1114111))
 ORDER BY p.name, p.id
 LIMIT :count;

-- Groups (kind user_group) or folders (user_folder) of people, as their sources have them; q: part of the name, source: id of one; '' = all.
-- name: admin_user_sets :many
-- args: kind:text, source:text, after:text, after_id:text, q:text, count:i64
-- cols: id:text, name:text, dn:text?, source_id:text, source_name:text
SELECT x.id, x.name, x.dn, u.id, u.name
  FROM (SELECT g.id, g.name, g.dn, g.source_id FROM user_group g WHERE :kind = 'user_group'
        UNION ALL SELECT f.id, f.name, f.dn, f.source_id FROM user_folder f WHERE :kind = 'user_folder') x JOIN user_source u ON u.id = x.source_id
 WHERE (x.name, x.id) > (:after, :after_id) AND (:source = '' OR x.source_id = :source) AND (:q = '' OR REPLACE(LOWER(x.name), :q, '') <> LOWER(x.name))
 ORDER BY x.name, x.id LIMIT :count;

-- name: admin_person :one
-- args: id:text
-- cols: id:text, login:text, name:text, mail:text, phone:text, source_name:text?, source_kind:text?, disabled:i64, gone_ms:i64?, created_ms:i64, devices:i64, version:i64
SELECT p.id, p.login, p.name, p.mail, p.phone, u.name, u.kind, p.disabled, p.gone_ms, p.created_ms,
       (SELECT COUNT(*) FROM device d WHERE d.person_id = p.id), p.version
  FROM person p LEFT JOIN user_source u ON u.id = p.source_id
 WHERE p.id = :id;

-- name: admin_person_edit :exec
-- args: id:text, version:i64, name:text, mail:text, mail_key:text, phone:text, disabled:i64
UPDATE person SET name = :name, mail = :mail, mail_key = :mail_key, phone = :phone, disabled = :disabled, version = version + 1
 WHERE id = :id AND version = :version;

-- part: admin_pending_cols
id:text, person_id:text?, person_name:text?, person_login:text?, ownership:text, level:text, platform:text, origin:text, state:text, step:text, device_id:text?, created_ms:i64, created_by:text, valid_from_ms:i64, expires_ms:i64, finished_ms:i64?, version:i64, phone:text, authorised_by:text, has_otp:i64, otp_expires_ms:i64?, otp_used_ms:i64?, otp_tries:i64, token_head:text, serial:text?, imei:text?

-- Begun on a device with a managed Apple account is a way of its own (IOS-08).
-- part: admin_pending_origin
CASE WHEN e.account <> '' THEN 'account' ELSE e.origin END

-- part: admin_pending_rows
SELECT e.id, e.person_id, p.name, p.login, e.ownership, e.level, e.platform, {admin_pending_origin} AS origin, e.state, e.step, e.device_id, e.created_ms,
       e.created_by, e.valid_from_ms, e.expires_ms, e.finished_ms, e.version, e.phone, e.authorised_by, CASE WHEN e.otp IS NULL THEN 0 ELSE 1 END AS has_otp,
       e.otp_expires_ms, e.otp_used_ms, e.otp_tries, e.token_head, e.expected_serial, e.expected_imei
  FROM pending_enrollment e LEFT JOIN person p ON p.id = e.person_id

-- name: admin_pending_list :many
-- args: after:i64, after_id:text, state:text, open:i64, person:text, origin:text, platform:text, count:i64
-- cols: {admin_pending_cols}
{admin_pending_rows}
 WHERE (e.created_ms, e.id) < (:after, :after_id)
   AND (:state = '' OR e.state = :state)
   AND (:open = 0 OR e.state IN ('created', 'opened', 'profile', 'issued', 'authenticated', 'locked'))
   AND (:person = '' OR e.person_id = :person)
   AND (:origin = '' OR {admin_pending_origin} = :origin)
   AND (:platform = '' OR e.platform = :platform)
 ORDER BY e.created_ms DESC, e.id DESC
 LIMIT :count;

-- By what people read out of their link; in any state.
-- name: admin_pending_by_token :many
-- args: head:text, after:i64, after_id:text, count:i64
-- cols: {admin_pending_cols}
{admin_pending_rows}
 WHERE LOWER(e.token_head) = LOWER(:head) AND e.token_head <> '' AND (e.created_ms, e.id) < (:after, :after_id)
 ORDER BY e.created_ms DESC, e.id DESC
 LIMIT :count;

-- name: admin_pending :one
-- args: id:text
-- cols: {admin_pending_cols}
{admin_pending_rows}
 WHERE e.id = :id;

-- Whose folders are limited sees what was done to devices in them.
-- name: admin_audit_list :many
-- args: after:i64, after_id:text, limit:text, count:i64
-- cols: id:text, at_ms:i64, actor_kind:text, actor_id:text, actor_name:text, ip:text, action:text, object_kind:text, object_id:text, object_name:text, outcome:text, detail:text, request_id:text
SELECT id, at_ms, actor_kind, actor_id, actor_name, ip, action, object_kind, object_id, object_name, outcome, detail, request_id
  FROM audit
 WHERE (at_ms, id) < (:after, :after_id)
   AND (:limit = '' OR (object_kind = 'device' AND EXISTS (SELECT 1 FROM device d WHERE d.id = object_id AND d.folder_id IN ({below}))))
 ORDER BY at_ms DESC, id DESC
 LIMIT :count;

-- name: admin_audit_object :many
-- args: object_id:text, after:i64, after_id:text, count:i64
-- cols: id:text, at_ms:i64, actor_kind:text, actor_id:text, actor_name:text, ip:text, action:text, object_kind:text, object_id:text, object_name:text, outcome:text, detail:text, request_id:text
SELECT id, at_ms, actor_kind, actor_id, actor_name, ip, action, object_kind, object_id, object_name, outcome, detail, request_id
  FROM audit
 WHERE object_id = :object_id AND (at_ms, id) < (:after, :after_id)
 ORDER BY at_ms DESC, id DESC
 LIMIT :count;

-- name: admin_jobs_list :many
-- args: after:i64, after_id:text, state:text, count:i64
-- cols: id:text, kind:text, state:text, run_at_ms:i64, attempts:i64, max_attempts:i64, progress_done:i64, progress_total:i64, cancel_asked:i64, result:text?, created_ms:i64, created_by:text, finished_ms:i64?
SELECT id, kind, state, run_at_ms, attempts, max_attempts, progress_done, progress_total, cancel_asked, result, created_ms,
       created_by, finished_ms
  FROM job
 WHERE (created_ms, id) < (:after, :after_id) AND (:state = '' OR state = :state)
 ORDER BY created_ms DESC, id DESC
 LIMIT :count;

-- name: admin_job :one
-- args: id:text
-- cols: id:text, kind:text, state:text, run_at_ms:i64, attempts:i64, max_attempts:i64, progress_done:i64, progress_total:i64, cancel_asked:i64, result:text?, created_ms:i64, created_by:text, finished_ms:i64?
SELECT id, kind, state, run_at_ms, attempts, max_attempts, progress_done, progress_total, cancel_asked, result, created_ms,
       created_by, finished_ms
  FROM job WHERE id = :id;

-- name: admin_job_cancel :exec
-- args: id:text
UPDATE job SET cancel_asked = 1 WHERE id = :id AND state IN ('waiting', 'running');

-- name: admin_messages_list :many
-- args: after:i64, after_id:text, object_id:text, open:i64, severity:i64, limit:text, count:i64
-- cols: id:text, object_kind:text, object_id:text, object_name:text?, at_ms:i64, severity:i64, code:text, text:text, ack_ms:i64?, ack_by:text?
SELECT m.id, m.object_kind, m.object_id, d.name, m.at_ms, m.severity, m.code, m.text, m.ack_ms, m.ack_by
  FROM message m LEFT JOIN device d ON m.object_kind = 'device' AND d.id = m.object_id
 WHERE (m.at_ms, m.id) < (:after, :after_id)
   AND (:object_id = '' OR m.object_id = :object_id) AND (:open = 0 OR m.ack_ms IS NULL)
   AND m.severity >= :severity AND (:limit = '' OR d.folder_id IN ({below}))
 ORDER BY m.at_ms DESC, m.id DESC
 LIMIT :count;

-- name: admin_message_ack :exec
-- args: id:text, now_ms:i64, who:text
UPDATE message SET ack_ms = :now_ms, ack_by = :who WHERE id = :id AND ack_ms IS NULL;

-- name: admin_message_delete :exec1
-- args: id:text
DELETE FROM message WHERE id = :id;

-- name: admin_messages_ack :exec
-- args: object_id:text, limit:text, now_ms:i64, who:text, count:i64
UPDATE message SET ack_ms = :now_ms, ack_by = :who
 WHERE id IN (SELECT m.id FROM message m LEFT JOIN device d ON m.object_kind = 'device' AND d.id = m.object_id
               WHERE m.ack_ms IS NULL AND m.at_ms <= :now_ms AND (:object_id = '' OR m.object_id = :object_id)
                 AND (:limit = '' OR d.folder_id IN ({below}))
               ORDER BY m.at_ms, m.id LIMIT :count);

-- name: admin_message :one
-- args: id:text
-- cols: id:text, code:text, object_kind:text, object_id:text
SELECT id, code, object_kind, object_id FROM message WHERE id = :id;

-- name: admin_nodes :many
-- cols: id:text, name:text, base_url:text, software:text, mdm_role:i64, started_ms:i64, seen_ms:i64
SELECT id, name, base_url, software, mdm_role, started_ms, seen_ms FROM node ORDER BY name LIMIT 200;

-- name: admin_count_devices :many
-- args: limit:text
-- cols: state:text, platform:text, mode:text, n:i64
SELECT state, platform, mode, COUNT(*) FROM device WHERE (:limit = '' OR folder_id IN ({below})) GROUP BY state, platform, mode ORDER BY state, platform, mode;

-- name: admin_counts :one
-- args: now_ms:i64, day_ms:i64, limit:text
-- cols: people:i64, local_people:i64, sources:i64, pending_open:i64, enrolled_day:i64, contact_day:i64, lost:i64, jobs_waiting:i64, jobs_failed:i64, messages_open:i64, nodes:i64, nodes_live:i64, commands_open:i64
SELECT (SELECT COUNT(*) FROM person),
       (SELECT COUNT(*) FROM person p JOIN user_source u ON u.id = p.source_id WHERE u.kind = 'local'),
       (SELECT COUNT(*) FROM user_source WHERE enabled = 1),
       (SELECT COUNT(*) FROM pending_enrollment
         WHERE state IN ('created', 'opened', 'profile', 'issued', 'authenticated', 'locked') AND expires_ms > :now_ms),
       (SELECT COUNT(*) FROM device WHERE enrolled_ms >= :day_ms AND (:limit = '' OR folder_id IN ({below}))),
       (SELECT COUNT(*) FROM device WHERE last_contact_ms >= :day_ms AND (:limit = '' OR folder_id IN ({below}))),
       (SELECT COUNT(*) FROM device WHERE lost_ms IS NOT NULL AND (:limit = '' OR folder_id IN ({below}))),
       (SELECT COUNT(*) FROM job WHERE state IN ('waiting', 'running')),
       (SELECT COUNT(*) FROM job WHERE state = 'failed'),
       (SELECT COUNT(*) FROM message m LEFT JOIN device d ON m.object_kind = 'device' AND d.id = m.object_id
         WHERE m.ack_ms IS NULL AND (:limit = '' OR d.folder_id IN ({below}))),
       (SELECT COUNT(*) FROM node),
       (SELECT COUNT(*) FROM node WHERE seen_ms > :now_ms - 90000),
       (SELECT COUNT(DISTINCT c.record_id) FROM command c LEFT JOIN device d ON d.id = c.device_id
         WHERE c.open = 1 AND (:limit = '' OR d.folder_id IN ({below})));

