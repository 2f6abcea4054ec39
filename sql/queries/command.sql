-- The command queue. Open commands are few and have an index of their own: nothing here grows with the history (PRF-02).

-- name: command_record :one
-- args: device_id:text
-- cols: id:text, state:text, expelled:i64, account:text
-- keep
SELECT id, state, expelled, account FROM source_record WHERE device_id = :device_id AND kind = 'mdm' AND class = '' AND live = 1;

-- What is known of the device of a record.
-- name: command_known :one
-- args: record_id:text
-- cols: inventory:text, device_id:text, account:text
-- keep
SELECT d.inventory, d.id, r.account FROM source_record r JOIN device d ON d.id = r.device_id WHERE r.id = :record_id;

-- One that is being sent at this moment is not waited for: it goes out.
-- name: command_supersede :exec
-- args: record_id:text, coalesce_key:text, now:i64
-- keep
-- only: pgsql
UPDATE command SET open = 0, state = 'superseded', done_ms = :now
 WHERE id = ANY (ARRAY(SELECT c.id FROM command c WHERE c.record_id = :record_id AND c.open = 1 AND c.state = 'queued'
                                                    AND c.coalesce_key = :coalesce_key FOR UPDATE SKIP LOCKED));
-- only: sqlite3
UPDATE command SET open = 0, state = 'superseded', done_ms = :now
 WHERE record_id = :record_id AND open = 1 AND state = 'queued' AND coalesce_key = :coalesce_key;

-- name: command_seq :one
-- args: record_id:text
-- cols: seq:i64, waiting:i64, device_id:text?, state:text
-- keep
UPDATE source_record SET queue_seq = queue_seq + 1
 WHERE id = :record_id AND live = 1
RETURNING queue_seq,
          (SELECT count(*) FROM command c WHERE c.record_id = source_record.id AND c.open = 1), device_id, state;

-- name: command_insert :exec
-- args: id:text, record_id:text, device_id:text, seq:i64, request_type:text, payload:text, sealed:i64, coalesce_key:text?, leaving:i64, task_id:text?, now:i64, created_by:text, expires_ms:i64?
-- keep
INSERT INTO command (id, record_id, device_id, seq, request_type, payload, sealed, state, coalesce_key, leaving, task_id,
                     created_ms, created_by, expires_ms)
VALUES (:id, :record_id, :device_id, :seq, :request_type, :payload, :sealed, 'queued', :coalesce_key, :leaving, :task_id,
        :now, :created_by, :expires_ms);

-- The profile that a command names.
-- part: stored_body
(SELECT s.body FROM stored_profile s WHERE s.hash = command.stored)

-- What a user enrolment is not asked or told.
-- part: account_of
(SELECT a.account FROM source_record a WHERE a.id = command.record_id)

-- A command that was offered five times without an answer lets the others pass. One that was replaced while this waited for it is not sent: who
-- replaced it wakes the device.
-- name: command_next :one
-- args: record_id:text, now:i64, skip_notnow:i64
-- cols: id:text, request_type:text, payload:text, sealed:i64, stored:text?, body:text?, account:text?
-- keep
UPDATE command SET state = 'sent', offers = offers + 1, sent_ms = :now
 WHERE id = (SELECT c.id FROM command c
              WHERE c.record_id = :record_id AND c.open = 1 AND (c.expires_ms IS NULL OR c.expires_ms > :now)
                AND (:skip_notnow = 0 OR c.state <> 'notnow')
                AND (c.leaving = 1 OR EXISTS (SELECT 1 FROM source_record r
                                               WHERE r.id = :record_id AND r.state = 'enrolled'))
              ORDER BY CASE WHEN c.offers >= 5 THEN 1 ELSE 0 END, c.seq LIMIT 1)
   AND open = 1
RETURNING id, request_type, payload, sealed, stored, {stored_body}, {account_of};

-- Its content, which came while the command was offered.
-- name: command_stored :one
-- args: hash:text
-- cols: body:text
-- keep
SELECT body FROM stored_profile WHERE hash = :hash;

-- Ends one and offers the next: a whole answer in one statement (PRF-02).
-- name: command_answer :many
-- args: record_id:text, done:text, leaving:i64, state:text, error:text?, result:text?, now:i64
-- cols: id:text, request_type:text, payload:text, sealed:i64, stored:text?, body:text?, account:text?, open:i64, leaving:i64, coalesce_key:text?
-- keep
UPDATE command SET state = CASE WHEN id = :done THEN :state ELSE 'sent' END,
                   open = CASE WHEN id = :done THEN 0 ELSE 1 END,
                   done_ms = CASE WHEN id = :done THEN :now ELSE done_ms END,
                   error = CASE WHEN id = :done THEN :error ELSE error END,
                   result = CASE WHEN id = :done THEN :result ELSE result END,
                   sent_ms = CASE WHEN id = :done THEN sent_ms ELSE :now END,
                   offers = offers + CASE WHEN id = :done THEN 0 ELSE 1 END
 WHERE (id = :done AND record_id = :record_id AND open = 1 AND leaving <= :leaving)
    OR (open = 1 AND id = (
             SELECT c.id FROM command c
              WHERE c.record_id = :record_id AND c.open = 1 AND c.id <> :done AND c.state <> 'notnow'
                AND (c.expires_ms IS NULL OR c.expires_ms > :now)
                AND (c.leaving = 1 OR EXISTS (SELECT 1 FROM source_record r
                                               WHERE r.id = :record_id AND r.state = 'enrolled'))
              ORDER BY CASE WHEN c.offers >= 5 THEN 1 ELSE 0 END, c.seq LIMIT 1))
RETURNING id, request_type, payload, sealed, stored, CASE WHEN command.open = 1 THEN {stored_body} END, {account_of}, open, leaving, coalesce_key;

-- ---------------------------------------------------------------- many at once

-- What waits of these keys, oldest first; records, keys: JSON lists. One that is being sent at this moment is not waited for: it goes out. No join
-- with the lists: of a young table the planner knows nothing, and then a batch took seconds.
-- name: commands_waiting :many
-- args: records:text, keys:text
-- cols: id:text, record_id:text, device_id:text?, seq:i64, request_type:text, payload:text, stored:text?, state:text, coalesce_key:text
-- only: pgsql
SELECT c.id, c.record_id, c.device_id, c.seq, c.request_type, c.payload, c.stored, c.state, c.coalesce_key FROM command c
 WHERE c.record_id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:records AS jsonb)))) AND c.open = 1 AND c.state IN ('queued', 'notnow')
   AND c.coalesce_key = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:keys AS jsonb)))) ORDER BY c.record_id, c.seq FOR UPDATE SKIP LOCKED;
-- only: sqlite3
SELECT c.id, c.record_id, c.device_id, c.seq, c.request_type, c.payload, c.stored, c.state, c.coalesce_key
  FROM json_each(:records) v JOIN command c ON c.record_id = v.value
 WHERE c.open = 1 AND c.state IN ('queued', 'notnow') AND c.coalesce_key IN (SELECT value FROM json_each(:keys)) ORDER BY c.record_id, c.seq;

-- ids: JSON list, of rows that are held.
-- name: commands_supersede :exec
-- args: ids:text, now:i64
-- only: pgsql
UPDATE command SET open = 0, state = 'superseded', done_ms = :now WHERE id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))));
-- only: sqlite3
UPDATE command SET open = 0, state = 'superseded', done_ms = :now WHERE id IN (SELECT value FROM json_each(:ids));

-- list: [{"id", "type", "payload", "sealed", "stored"}], of rows that are held.
-- name: commands_renew :exec
-- args: list:text
-- only: pgsql
UPDATE command SET request_type = v.type, payload = v.payload, sealed = v.sealed, stored = v.stored
  FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS v (id text, type text, payload text, sealed bigint, stored text) WHERE command.id = v.id;
-- only: sqlite3
UPDATE command SET request_type = v.type, payload = v.payload, sealed = v.sealed, stored = v.stored
  FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.type') AS type, json_extract(value, '$.payload') AS payload,
               json_extract(value, '$.sealed') AS sealed, json_extract(value, '$.stored') AS stored FROM json_each(:list)) AS v
 WHERE command.id = v.id;

-- list: [{"record", "n"}]: so many numbers are given out, up to queue_seq. In an order that is always the same: two batches never wait for
-- each other.
-- name: commands_seq :many
-- args: list:text
-- cols: id:text, seq:i64, waiting:i64, device_id:text?, state:text
-- only: pgsql
WITH v AS (SELECT r.id, x.n FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS x (record text, n bigint) JOIN source_record r ON r.id = x.record
            WHERE r.live = 1 ORDER BY r.id FOR UPDATE OF r)
UPDATE source_record SET queue_seq = queue_seq + v.n FROM v WHERE source_record.id = v.id
RETURNING source_record.id, queue_seq, (SELECT count(*) FROM command c WHERE c.record_id = source_record.id AND c.open = 1), device_id, state;
-- only: sqlite3
UPDATE source_record SET queue_seq = queue_seq + v.n
  FROM (SELECT json_extract(value, '$.record') AS record, json_extract(value, '$.n') AS n FROM json_each(:list)) AS v
 WHERE source_record.id = v.record AND live = 1
RETURNING id, queue_seq, (SELECT count(*) FROM command c WHERE c.record_id = source_record.id AND c.open = 1), device_id, state;

-- name: commands_insert :exec
-- args: list:text, now:i64, created_by:text
-- only: pgsql
INSERT INTO command (id, record_id, device_id, seq, request_type, payload, sealed, stored, state, coalesce_key, task_id, created_ms, created_by,
                     expires_ms)
SELECT id, record, device, seq, type, payload, sealed, stored, 'queued', key, task, :now, :created_by, expires
  FROM jsonb_to_recordset(CAST(:list AS jsonb))
    AS v (id text, record text, device text, seq bigint, type text, payload text, sealed bigint, stored text, key text, task text,
          expires bigint);
-- only: sqlite3
INSERT INTO command (id, record_id, device_id, seq, request_type, payload, sealed, stored, state, coalesce_key, task_id, created_ms, created_by,
                     expires_ms)
SELECT json_extract(value, '$.id'), json_extract(value, '$.record'), json_extract(value, '$.device'), json_extract(value, '$.seq'),
       json_extract(value, '$.type'), json_extract(value, '$.payload'), json_extract(value, '$.sealed'), json_extract(value, '$.stored'),
       'queued', json_extract(value, '$.key'), json_extract(value, '$.task'), :now, :created_by, json_extract(value, '$.expires')
  FROM json_each(:list);

-- The command that a device has and has not answered.
-- name: command_sent_last :one
-- args: record_id:text
-- cols: id:text
SELECT id FROM command WHERE record_id = :record_id AND open = 1 AND state = 'sent' ORDER BY sent_ms DESC, seq DESC LIMIT 1;

-- name: command_notnow :one
-- args: id:text, record_id:text, now:i64
-- cols: offers:i64
-- keep
UPDATE command SET state = 'notnow', notnow_ms = :now
 WHERE id = :id AND record_id = :record_id AND open = 1
RETURNING offers;

-- name: command_fail :exec
-- args: id:text, record_id:text, error:text, now:i64
UPDATE command SET open = 0, state = 'error', error = :error, done_ms = :now
 WHERE id = :id AND record_id = :record_id AND state NOT IN ('cancelled', 'superseded', 'expired');

-- name: command_expire :many
-- args: now:i64
-- cols: id:text, device_id:text?, task_id:text?
UPDATE command SET open = 0, state = 'expired', done_ms = :now
 WHERE id IN (SELECT c.id FROM command c WHERE c.open = 1 AND c.expires_ms IS NOT NULL AND c.expires_ms <= :now
               ORDER BY c.expires_ms LIMIT 500)
RETURNING id, device_id, task_id;

-- name: command_clear :exec
-- args: record_id:text, now:i64
UPDATE command SET open = 0, state = 'cancelled', done_ms = :now WHERE record_id = :record_id AND open = 1;

-- name: command_cancel :one
-- args: id:text, device_id:text, now:i64
-- cols: record_id:text, leaving:i64, request_type:text
UPDATE command SET open = 0, state = 'cancelled', done_ms = :now
 WHERE id = :id AND device_id = :device_id AND open = 1 AND (leaving = 0 OR state = 'queued')
RETURNING record_id, leaving, request_type;

-- name: command_exists :one
-- args: id:text, device_id:text
-- cols: open:i64
SELECT open FROM command WHERE id = :id AND device_id = :device_id;

-- The last ones of each of its records, in order of their sequence (DEV-15); between records, and only there, the clock tells.
-- name: command_list :many
-- args: device_id:text, max:i64
-- cols: id:text, request_type:text, state:text, created_by:text, error:text?, seq:i64, open:i64, leaving:i64, offers:i64, created_ms:i64, sent_ms:i64?, notnow_ms:i64?, done_ms:i64?, expires_ms:i64?, refusals:i64, result:text?, push_ok:i64, record_state:text, push_error:text?, class:text, task_id:text?
SELECT c.id, c.request_type, c.state, c.created_by, c.error, c.seq, c.open, c.leaving, c.offers, c.created_ms, c.sent_ms,
       c.notnow_ms, c.done_ms, c.expires_ms, c.refusals, c.result, r.push_ok, r.state, p.last_error, r.class, c.task_id
  FROM (SELECT q.*, MAX(q.created_ms) OVER (PARTITION BY q.record_id ORDER BY q.seq) AS at_ms
          FROM source_record s JOIN command q ON q.record_id = s.id
         WHERE s.device_id = :device_id AND s.kind = 'mdm' AND q.device_id = :device_id AND q.seq > s.queue_seq - :max) AS c
  JOIN source_record r ON r.id = c.record_id LEFT JOIN push p ON p.record_id = c.record_id
 ORDER BY c.at_ms DESC, c.seq DESC, c.id LIMIT :max;

-- name: command_unlock :one
-- args: record_id:text
-- cols: unlock_token:text?
SELECT unlock_token FROM source_record WHERE id = :record_id;

-- A removal or wipe that the device refused is offered again, until it was refused so often.
-- name: leave_again :one
-- args: id:text, record_id:text, now:i64, most:i64
-- cols: open:i64, refusals:i64
UPDATE command SET refusals = refusals + 1, open = CASE WHEN refusals + 1 < :most THEN 1 ELSE 0 END,
                   state = CASE WHEN refusals + 1 < :most THEN 'notnow' ELSE state END,
                   notnow_ms = CASE WHEN refusals + 1 < :most THEN :now ELSE notnow_ms END,
                   done_ms = CASE WHEN refusals + 1 < :most THEN NULL ELSE done_ms END
 WHERE id = :id AND record_id = :record_id AND leaving = 1
RETURNING open, refusals;

-- The open removal or wipe of a device.
-- name: leave_open :one
-- args: device_id:text
-- cols: id:text, record_id:text, request_type:text, state:text
SELECT c.id, c.record_id, c.request_type, c.state FROM source_record r JOIN command c ON c.record_id = r.id
 WHERE r.device_id = :device_id AND r.live = 1 AND r.state = 'leaving' AND c.open = 1 AND c.leaving = 1;

-- Sent wipes that were never answered: a device that erases itself says so at most once (facts 3.4). A device that calls gets it
-- again, which renews the time.
-- name: leave_silent :many
-- args: before:i64
-- cols: record_id:text
SELECT record_id FROM command
 WHERE open = 1 AND leaving = 1 AND sent_ms < :before AND state = 'sent' AND request_type = 'EraseDevice' LIMIT 100;

-- The device object goes, its wipe stays.
-- name: leave_detach_commands :exec
-- args: record_id:text
UPDATE command SET device_id = NULL WHERE record_id = :record_id AND open = 1 AND leaving = 1;

-- name: leave_detach_record :exec
-- args: record_id:text
UPDATE source_record SET device_id = NULL WHERE id = :record_id;

-- name: leave_forget :exec
-- args: record_id:text
DELETE FROM source_record WHERE id = :record_id AND device_id IS NULL;

-- name: unenroll_begin :exec1
-- args: record_id:text
UPDATE source_record SET state = 'leaving' WHERE id = :record_id AND live = 1 AND state <> 'leaving';

-- name: unenroll_undo :exec
-- args: record_id:text
UPDATE source_record SET state = CASE WHEN push_token IS NULL THEN 'authenticated' ELSE 'enrolled' END
 WHERE id = :record_id AND live = 1 AND state = 'leaving';

-- name: unenroll_device :one
-- args: device_id:text, state:text
-- cols: name:text
UPDATE device SET state = :state, version = version + 1 WHERE id = :device_id RETURNING name;

-- What decides which actions a device can get. live > 0: mail's records by the device, not by an index of all that live.
-- part: action_facts
SELECT d.id, d.name, d.state, d.os_version, d.supervised, d.inventory, r.id, r.state, CASE WHEN r.unlock_token IS NULL THEN 0 ELSE 1 END,
       (SELECT c.state FROM command c WHERE c.record_id = r.id AND c.open = 1 AND c.leaving = 1 LIMIT 1),
       COALESCE(r.account, ''), d.model, d.serial, d.platform, o.login, o.name, o.mail,
       (SELECT MAX(m.state) FROM source_record m WHERE m.device_id = d.id AND m.kind = 'eas' AND m.live > 0 AND m.state IN ('enrolled', 'leaving')),
       (SELECT COUNT(*) FROM source_record m JOIN eas_client w ON w.record_id = m.id AND w.wipe_state = 'sent'
         WHERE m.device_id = d.id AND m.kind = 'eas' AND m.live > 0 AND m.state = 'leaving')
  FROM device d
       LEFT JOIN source_record r ON r.id = (SELECT x.id FROM source_record x WHERE x.device_id = d.id AND x.kind = 'mdm' AND x.class = '' AND x.live = 1)
       LEFT JOIN person o ON o.id = d.person_id

-- ids: JSON list.
-- name: action_facts :many
-- args: ids:text
-- cols: id:text, name:text, state:text, os_version:text, supervised:i64?, inventory:text, record_id:text?, record_state:text?, unlock:i64, leaving:text?, account:text, model:text?, serial:text?, platform:text, login:text?, person:text?, mail:text?, mail_state:text?, mail_fetched:i64
-- only: pgsql
{action_facts}
 WHERE d.id = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))));
-- only: sqlite3
{action_facts}
 WHERE d.id IN (SELECT value FROM json_each(:ids));
