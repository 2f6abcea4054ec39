-- Notices by mail and SMS (MAIL-01, MAIL-02, PEN-05).

-- list: [{"id", "key", "channel", "event", "person", "device", "pending", "name", "mail", "phone", "vars", "since"}], no key twice. Who has no recipient is left out, and what was told since (0: whenever).
-- name: notice_add :exec
-- args: list:text, now:i64, until_ms:i64
-- keep
-- only: pgsql
INSERT INTO notice (id, key, channel, event, person_id, device_id, pending_id, device_name, to_name, mail, phone, vars, due_ms, until_ms, created_ms)
SELECT v.id, v.key, v.channel, v.event, CASE WHEN v.mail = '' THEN COALESCE(v.person, d.person_id) END, v.device, v.pending, COALESCE(d.name, ''), v.name,
       v.mail, v.phone, v.vars, :now, :until_ms, :now
  FROM jsonb_to_recordset(CAST(:list AS jsonb))
       AS v (id text, key text, channel text, event text, person text, device text, pending text, name text, mail text, phone text, vars text, since bigint)
  LEFT JOIN device d ON d.id = v.device
 WHERE (v.mail <> '' OR v.phone <> '' OR COALESCE(v.person, d.person_id) IS NOT NULL)
   AND (v.since = 0 OR NOT EXISTS (SELECT 1 FROM notice o WHERE o.key = v.key AND o.created_ms > v.since)) ORDER BY v.key
ON CONFLICT (key) WHERE state = 'waiting' DO UPDATE SET vars = excluded.vars, device_name = excluded.device_name, pending_id = excluded.pending_id,
    phone = excluded.phone, until_ms = excluded.until_ms;
-- only: sqlite3
INSERT INTO notice (id, key, channel, event, person_id, device_id, pending_id, device_name, to_name, mail, phone, vars, due_ms, until_ms, created_ms)
SELECT v.value ->> 'id', v.value ->> 'key', v.value ->> 'channel', v.value ->> 'event',
       CASE WHEN v.value ->> 'mail' = '' THEN COALESCE(v.value ->> 'person', d.person_id) END, v.value ->> 'device', v.value ->> 'pending',
       COALESCE(d.name, ''), v.value ->> 'name', v.value ->> 'mail', v.value ->> 'phone', v.value ->> 'vars', :now, :until_ms, :now
  FROM json_each(:list) v LEFT JOIN device d ON d.id = v.value ->> 'device'
 WHERE (v.value ->> 'mail' <> '' OR v.value ->> 'phone' <> '' OR COALESCE(v.value ->> 'person', d.person_id) IS NOT NULL)
   AND (v.value ->> 'since' = 0 OR NOT EXISTS (SELECT 1 FROM notice o WHERE o.key = v.value ->> 'key' AND o.created_ms > v.value ->> 'since'))
ON CONFLICT (key) WHERE state = 'waiting' DO UPDATE SET vars = excluded.vars, device_name = excluded.device_name, pending_id = excluded.pending_id,
    phone = excluded.phone, until_ms = excluded.until_ms;

-- name: notice_pending :one
-- args: id:text
-- cols: person_id:text?, person_name:text?, mail:text, phone:text
-- keep
SELECT e.person_id, p.name, e.mail, e.phone FROM pending_enrollment e LEFT JOIN person p ON p.id = e.person_id WHERE e.id = :id;

-- Administrators who receive alerts; of a device only those who may see it.
-- name: notice_admins :many
-- args: device:text
-- cols: id:text, name:text, mail:text
SELECT a.id, a.name, a.mail FROM admin a
 WHERE a.alerts = 1 AND a.disabled = 0 AND a.mail <> ''
   AND (:device = '' OR NOT EXISTS (SELECT 1 FROM admin_folder l WHERE l.admin_id = a.id)
        OR EXISTS (SELECT 1 FROM device d JOIN folder_above f ON f.folder_id = d.folder_id JOIN admin_folder l ON l.folder_id = f.above_id
                    WHERE d.id = :device AND l.admin_id = a.id))
 ORDER BY a.id LIMIT 200;

-- name: notice_claim :many
-- args: channel:text, owner:text, lease_until:i64, now:i64, max:i64
-- cols: id:text
-- only: pgsql
UPDATE notice SET lease_owner = :owner, lease_until_ms = :lease_until
 WHERE id = ANY (ARRAY(SELECT n.id FROM notice n WHERE n.state = 'waiting' AND n.channel = :channel AND n.due_ms <= :now AND n.lease_until_ms <= :now
                        ORDER BY n.due_ms LIMIT :max FOR UPDATE SKIP LOCKED))
RETURNING id;
-- only: sqlite3
UPDATE notice SET lease_owner = :owner, lease_until_ms = :lease_until
 WHERE id IN (SELECT n.id FROM notice n WHERE n.state = 'waiting' AND n.channel = :channel AND n.due_ms <= :now AND n.lease_until_ms <= :now
               ORDER BY n.due_ms LIMIT :max)
RETURNING id;

-- ids: a JSON list.
-- name: notice_rows :many
-- args: ids:text
-- cols: id:text, event:text, person_id:text?, pending_id:text?, device_name:text, to_name:text, mail:text, phone:text, vars:text, attempts:i64, created_ms:i64, person_name:text?, person_mail:text?, person_login:text?, device_model:text?, device_platform:text?, language:text?, created_by:text?
-- only: pgsql
SELECT n.id, n.event, n.person_id, n.pending_id, n.device_name, n.to_name, n.mail, n.phone, n.vars, n.attempts, n.created_ms, p.name, p.mail, p.login,
       d.model, d.platform, e.language, e.created_by
  FROM notice n LEFT JOIN person p ON p.id = n.person_id AND p.gone_ms IS NULL AND p.disabled = 0
  LEFT JOIN pending_enrollment e ON e.id = n.pending_id LEFT JOIN device d ON d.id = n.device_id
 WHERE n.id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))) ORDER BY n.created_ms, n.id;
-- only: sqlite3
SELECT n.id, n.event, n.person_id, n.pending_id, n.device_name, n.to_name, n.mail, n.phone, n.vars, n.attempts, n.created_ms, p.name, p.mail, p.login,
       d.model, d.platform, e.language, e.created_by
  FROM notice n LEFT JOIN person p ON p.id = n.person_id AND p.gone_ms IS NULL AND p.disabled = 0
  LEFT JOIN pending_enrollment e ON e.id = n.pending_id LEFT JOIN device d ON d.id = n.device_id
 WHERE n.id IN (SELECT value FROM json_each(:ids)) ORDER BY n.created_ms, n.id;

-- Only who has the lease says what came of it.
-- name: notice_done :exec
-- args: id:text, owner:text, state:text, name:text, mail:text, ref:text, error:text, now:i64
UPDATE notice SET state = :state, to_name = :name, mail = :mail, ref = :ref, error = :error, done_ms = :now, attempts = attempts + 1, lease_owner = NULL, lease_until_ms = 0
 WHERE id = :id AND lease_owner = :owner AND state = 'waiting';

-- name: notice_later :exec
-- args: id:text, owner:text, due_ms:i64, error:text
UPDATE notice SET due_ms = :due_ms, error = :error, attempts = attempts + 1, lease_owner = NULL, lease_until_ms = 0
 WHERE id = :id AND lease_owner = :owner AND state = 'waiting';

-- Not tried: due as before.
-- name: notice_release :exec
-- args: owner:text, ids:text
-- only: pgsql
UPDATE notice SET lease_owner = NULL, lease_until_ms = 0
 WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))) AND lease_owner = :owner AND state = 'waiting';
-- only: sqlite3
UPDATE notice SET lease_owner = NULL, lease_until_ms = 0
 WHERE id IN (SELECT value FROM json_each(:ids)) AND lease_owner = :owner AND state = 'waiting';

-- Waited too long. Its error, if there is one, stays.
-- name: notice_give_up :exec
-- args: channel:text, now:i64, why:text, max:i64
-- only: pgsql
UPDATE notice SET state = 'failed', done_ms = :now, error = CASE WHEN error = '' THEN :why ELSE error END, lease_owner = NULL, lease_until_ms = 0
 WHERE id = ANY (ARRAY(SELECT n.id FROM notice n WHERE n.state = 'waiting' AND n.channel = :channel AND n.due_ms <= :now AND n.until_ms <= :now AND n.lease_until_ms <= :now
                        ORDER BY n.due_ms LIMIT :max FOR UPDATE SKIP LOCKED));
-- only: sqlite3
UPDATE notice SET state = 'failed', done_ms = :now, error = CASE WHEN error = '' THEN :why ELSE error END, lease_owner = NULL, lease_until_ms = 0
 WHERE id IN (SELECT n.id FROM notice n WHERE n.state = 'waiting' AND n.channel = :channel AND n.due_ms <= :now AND n.until_ms <= :now AND n.lease_until_ms <= :now
               ORDER BY n.due_ms LIMIT :max);

-- name: notice_next :one
-- args: channel:text
-- cols: due_ms:i64
SELECT due_ms FROM notice WHERE state = 'waiting' AND channel = :channel ORDER BY due_ms LIMIT 1;

-- The server is another one, or takes mail again; so with the gateway.
-- name: notice_now :exec
-- args: channel:text, now:i64
UPDATE notice SET due_ms = :now WHERE state = 'waiting' AND channel = :channel AND attempts > 0 AND due_ms > :now;

-- name: notice_clock_back :exec
-- args: now:i64, step:i64
UPDATE notice SET due_ms = CASE WHEN due_ms - :step > :now THEN due_ms - :step ELSE :now END WHERE state = 'waiting' AND due_ms > :now;

-- What the mail server or the gateway was blamed for is over.
-- name: notice_message_done :exec
-- args: object:text, now:i64, by:text
UPDATE message SET ack_ms = :now, ack_by = :by WHERE object_kind = 'zone' AND object_id = :object AND ack_ms IS NULL;

-- ---------------------------------------------------------------- the outbox

-- part: notice_columns
n.id, n.event, n.state, n.person_id, COALESCE(p.name, n.to_name), CASE WHEN n.mail = '' AND n.channel = 'mail' THEN COALESCE(p.mail, '') ELSE n.mail END, n.device_id,
       n.device_name, n.attempts, n.due_ms, n.error, n.created_ms, n.done_ms, n.channel, n.phone, n.ref

-- part: notice_mine
(:limit = '' OR EXISTS (SELECT 1 FROM device d JOIN folder_above f ON f.folder_id = d.folder_id JOIN admin_folder l ON l.folder_id = f.above_id
                         WHERE d.id = n.device_id AND l.admin_id = :limit))

-- part: notice_row
id:text, event:text, state:text, person_id:text?, to_name:text, mail:text, device_id:text?, device_name:text, attempts:i64, due_ms:i64, error:text, created_ms:i64, done_ms:i64?, channel:text, phone:text, ref:text

-- name: notice_list :many
-- args: after:i64, after_id:text, limit:text, count:i64
-- cols: {notice_row}
SELECT {notice_columns} FROM notice n LEFT JOIN person p ON p.id = n.person_id
 WHERE (n.created_ms, n.id) < (:after, :after_id) AND {notice_mine}
 ORDER BY n.created_ms DESC, n.id DESC LIMIT :count;

-- name: notice_list_state :many
-- args: state:text, after:i64, after_id:text, limit:text, count:i64
-- cols: {notice_row}
SELECT {notice_columns} FROM notice n LEFT JOIN person p ON p.id = n.person_id
 WHERE n.state = :state AND (n.created_ms, n.id) < (:after, :after_id) AND {notice_mine}
 ORDER BY n.created_ms DESC, n.id DESC LIMIT :count;

-- name: notice_get :one
-- args: id:text, limit:text
-- cols: {notice_row}
SELECT {notice_columns} FROM notice n LEFT JOIN person p ON p.id = n.person_id WHERE n.id = :id AND {notice_mine};

-- name: notice_retry :exec
-- args: id:text, now:i64, until_ms:i64
UPDATE notice SET state = 'waiting', attempts = 0, due_ms = :now, until_ms = :until_ms, done_ms = NULL, error = ''
 WHERE id = :id AND state <> 'sent' AND lease_until_ms <= :now;

-- One that is handed over just now is not taken back.
-- name: notice_cancel :exec
-- args: id:text, now:i64
UPDATE notice SET state = 'cancelled', done_ms = :now WHERE id = :id AND state = 'waiting' AND lease_until_ms <= :now;

-- At most 1,000 of each are counted: this is for people.
-- name: notice_counts :one
-- args: channel:text
-- cols: waiting:i64, failed:i64
SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM notice WHERE state = 'waiting' AND channel = :channel LIMIT 1000) w),
       (SELECT COUNT(*) FROM (SELECT 1 AS one FROM notice WHERE state = 'failed' AND channel = :channel LIMIT 1000) f);

-- ids: a JSON list of pending enrolments. What their people were told of them.
-- part: notice_told
n.pending_id, n.id, n.event, n.channel, n.state, n.error, n.due_ms, n.done_ms FROM notice n

-- part: notice_told_which
n.event IN ('enroll_provisioned', 'enroll_otp', 'enroll_expiring') ORDER BY n.created_ms DESC, n.id DESC LIMIT 1000

-- name: notice_told_of :many
-- args: ids:text
-- cols: pending_id:text, id:text, event:text, channel:text, state:text, error:text, due_ms:i64, done_ms:i64?
-- only: pgsql
SELECT {notice_told} WHERE n.pending_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb)))) AND {notice_told_which};
-- only: sqlite3
SELECT {notice_told} WHERE n.pending_id IN (SELECT value FROM json_each(:ids)) AND {notice_told_which};

-- Enrolments whose people were told of them, that were to be open for two days at least and end within the last of them; each is reminded of once.
-- part: notice_ending
e.state IN ('created', 'opened', 'profile') AND e.expires_ms > :now AND e.expires_ms <= :now + 86400000 AND e.notify <> ''
   AND e.expires_ms - e.created_ms >= 172800000 AND e.reminded_ms < e.expires_ms - 86400000

-- name: notice_remind :many
-- args: now:i64, max:i64
-- cols: id:text, notify:text
UPDATE pending_enrollment SET reminded_ms = :now
 WHERE id IN (SELECT e.id FROM pending_enrollment e WHERE {notice_ending} ORDER BY e.expires_ms LIMIT :max)
RETURNING id, notify;

-- Text messages that the gateway has taken since then.
-- name: notice_sms_sent :one
-- args: since:i64
-- cols: n:i64
SELECT COUNT(*) FROM notice WHERE channel = 'sms' AND state = 'sent' AND done_ms >= :since;

-- ---------------------------------------------------------------- templates

-- name: notice_templates :many
-- cols: event:text, language:text, subject:text, text:text, html:text, sms:text, version:i64, updated_ms:i64
SELECT event, language, subject, text, html, sms, version, updated_ms FROM notice_template ORDER BY event, language;

-- name: notice_template :one
-- args: event:text, language:text
-- cols: subject:text, text:text, html:text, sms:text, version:i64, updated_ms:i64
SELECT subject, text, html, sms, version, updated_ms FROM notice_template WHERE event = :event AND language = :language;

-- version: of the row that is replaced; 0: there is none.
-- name: notice_template_put :exec
-- args: event:text, language:text, subject:text, text:text, html:text, sms:text, version:i64, now:i64
INSERT INTO notice_template (event, language, subject, text, html, sms, version, updated_ms)
VALUES (:event, :language, :subject, :text, :html, :sms, :version + 1, :now)
ON CONFLICT (event, language) DO UPDATE SET subject = excluded.subject, text = excluded.text, html = excluded.html, sms = excluded.sms,
    version = excluded.version,
    updated_ms = excluded.updated_ms
 WHERE notice_template.version = :version;

-- name: notice_template_drop :exec
-- args: event:text, language:text, version:i64
DELETE FROM notice_template WHERE event = :event AND language = :language AND version = :version;
