-- One-time passwords of pending enrolments (domain/mdm_otp.c).

-- name: otp_put :exec1
-- args: id:text, otp:text, otp_index:text, expires_ms:i64
-- keep
UPDATE pending_enrollment SET otp = :otp, otp_index = :otp_index, otp_expires_ms = :expires_ms, otp_tries = 0, otp_used_ms = NULL, proof_hash = NULL
 WHERE id = :id;

-- An enrolment that is still open has this one. || as in pending_counts.
-- name: otp_taken :one
-- args: otp_index:text, now:i64
-- cols: id:text
-- keep
SELECT id FROM pending_enrollment
 WHERE otp_index = :otp_index AND state || '' IN ('created', 'opened', 'profile') AND otp_expires_ms > :now LIMIT 1;

-- What a link may still do ends with its person (R15, R35).
-- name: otp_row :one
-- args: id:text
-- cols: otp:text?, otp_expires_ms:i64?, otp_used_ms:i64?, otp_tries:i64, state:text, expires_ms:i64
-- keep
SELECT otp, otp_expires_ms, otp_used_ms, otp_tries, state, expires_ms FROM pending_enrollment WHERE id = :id;

-- name: pending_of_run :one
-- args: run_id:text, run_row:i64
-- cols: id:text
-- keep
SELECT id FROM pending_enrollment WHERE run_id = :run_id AND run_row = :run_row;

-- A try holds its row, so that of two right ones at once one wins.
-- part: otp_tried_row
SELECT e.id, e.person_id, p.login AS person_login, e.origin, e.platform, e.level, e.valid_from_ms, e.expires_ms, e.otp, e.otp_expires_ms, e.otp_tries, e.version,
       CASE WHEN p.disabled = 0 AND p.gone_ms IS NULL AND e.state IN ('created', 'opened', 'profile') THEN 1 ELSE 0 END AS usable
  FROM pending_enrollment e JOIN person p ON p.id = e.person_id WHERE e.token_hash = :token_hash

-- name: otp_try_row :one
-- args: token_hash:text
-- cols: id:text, person_id:text, person_login:text, origin:text, platform:text, level:text, valid_from_ms:i64, expires_ms:i64, otp:text?, otp_expires_ms:i64?, otp_tries:i64, version:i64, usable:i64
-- keep
-- only: pgsql
{otp_tried_row} FOR UPDATE OF e;
-- only: sqlite3
{otp_tried_row};

-- name: otp_tried :exec
-- args: id:text, version:i64, fits:i64, used:i64, limit:i64, now:i64, proof_hash:text
UPDATE pending_enrollment SET
       otp = CASE WHEN :used = 1 THEN NULL ELSE otp END,
       otp_index = CASE WHEN :used = 1 THEN NULL ELSE otp_index END,
       otp_used_ms = CASE WHEN :used = 1 THEN :now ELSE otp_used_ms END,
       proof_hash = CASE WHEN :fits = 1 THEN :proof_hash ELSE proof_hash END,
       otp_tries = CASE WHEN :fits = 1 THEN otp_tries ELSE otp_tries + 1 END,
       state = CASE WHEN :fits = 0 AND otp_tries + 1 >= :limit THEN 'locked' ELSE state END,
       version = version + 1
 WHERE id = :id AND version = :version AND state IN ('created', 'opened', 'profile');

-- A new password opens what was locked or too late, or was used by a device that never finished; the profile that was handed out before is void.
-- name: otp_reset :exec1
-- args: id:text, step:text, expires_ms:i64
UPDATE pending_enrollment SET state = 'created', step = :step, expires_ms = :expires_ms, finished_ms = NULL, device_id = NULL, version = version + 1
 WHERE id = :id AND state IN ('created', 'opened', 'profile', 'issued', 'authenticated', 'locked', 'expired');
