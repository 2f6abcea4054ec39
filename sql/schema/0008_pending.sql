-- Enrolments made for others, their one-time passwords, bulk runs and what is sent to people of them (spec 03 PEN, MAIL).

-- ---------------------------------------------------------------- one-time passwords and who made it
ALTER TABLE pending_enrollment ADD COLUMN otp_hash TEXT;       -- keyed hash that tries are judged by; goes with otp
ALTER TABLE pending_enrollment ADD COLUMN otp_used_ms BIGINT;
ALTER TABLE pending_enrollment ADD COLUMN proof_hash TEXT;     -- SHA-256 of what the browser got that gave the right OTP or password
ALTER TABLE pending_enrollment ADD COLUMN notify TEXT NOT NULL DEFAULT '';       -- '' mail sms both: again at a reset
ALTER TABLE pending_enrollment ADD COLUMN mail TEXT NOT NULL DEFAULT '';         -- '' the person's
ALTER TABLE pending_enrollment ADD COLUMN language TEXT NOT NULL DEFAULT '';
ALTER TABLE pending_enrollment ADD COLUMN authorised_by TEXT NOT NULL DEFAULT '';
ALTER TABLE pending_enrollment ADD COLUMN expected_imei TEXT;
ALTER TABLE pending_enrollment ADD COLUMN run_id TEXT;         -- the row of a bulk run that made it
ALTER TABLE pending_enrollment ADD COLUMN run_row BIGINT;
CREATE UNIQUE INDEX pending_run ON pending_enrollment (run_id, run_row) WHERE run_id IS NOT NULL;
CREATE INDEX pending_ended ON pending_enrollment (expires_ms, id);
