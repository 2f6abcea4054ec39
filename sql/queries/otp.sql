-- One-time passwords of pending enrolments (domain/mdm_otp.c).

-- name: otp_put :exec1
-- args: id:text, otp:text, otp_hash:text, expires_ms:i64
UPDATE pending_enrollment SET otp = :otp, otp_hash = :otp_hash, otp_expires_ms = :expires_ms, otp_tries = 0, otp_used_ms = NULL, proof_hash = NULL
 WHERE id = :id;

-- What a link may still do ends with its person (R15, R35).
-- name: otp_row :one
-- args: id:text
-- cols: otp:text?, otp_expires_ms:i64?, otp_used_ms:i64?, otp_tries:i64, state:text, expires_ms:i64
SELECT otp, otp_expires_ms, otp_used_ms, otp_tries, state, expires_ms FROM pending_enrollment WHERE id = :id;

-- name: pending_provisioned :exec1
-- args: id:text, phone:text, mail:text, notify:text, language:text, authorised_by:text, expected_serial:text?, expected_imei:text?, run_id:text?, run_row:i64?
UPDATE pending_enrollment SET phone = :phone, mail = :mail, notify = :notify, language = :language, authorised_by = :authorised_by,
       expected_serial = :expected_serial, expected_imei = :expected_imei, run_id = :run_id, run_row = :run_row
 WHERE id = :id;

-- name: pending_of_run :one
-- args: run_id:text, run_row:i64
-- cols: id:text
SELECT id FROM pending_enrollment WHERE run_id = :run_id AND run_row = :run_row;
