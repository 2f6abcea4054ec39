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

-- What a mail client does, added up and written behind every few seconds (PXY-06). Times: 0 = never.
CREATE TABLE eas_count (
    record_id TEXT PRIMARY KEY REFERENCES source_record (id) ON DELETE CASCADE,
    requests BIGINT NOT NULL,
    errors BIGINT NOT NULL,         -- answered with 400 or more, but for 449
    bytes_in BIGINT NOT NULL,       -- of bodies, from the client
    bytes_out BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    last_cmd TEXT NOT NULL,
    sync_ms BIGINT NOT NULL,        -- the last answered Sync or Ping
    heartbeat_s BIGINT NOT NULL,    -- that the client asked for last; 0: none
    error_ms BIGINT NOT NULL,
    error_http BIGINT NOT NULL,
    alive_day BIGINT                -- day since 1970 of sync_ms, or of the first request; NULL: has left. Its index changes once a day
);
CREATE INDEX eas_count_alive ON eas_count (alive_day, record_id) WHERE alive_day IS NOT NULL;
INSERT INTO eas_count (record_id, requests, errors, bytes_in, bytes_out, last_ms, last_cmd, sync_ms, heartbeat_s, error_ms, error_http, alive_day)
SELECT r.id, 0, 0, 0, 0, COALESCE(d.last_eas_ms, 0), '', 0, 0, 0, 0, CASE WHEN r.state = 'left' THEN NULL ELSE COALESCE(d.last_eas_ms, r.first_seen_ms) / 86400000 END
  FROM source_record r JOIN device d ON d.id = r.device_id WHERE r.kind = 'eas' AND r.live = 1 AND r.state <> 'discovered';
-- only: pgsql
ALTER TABLE eas_count SET (fillfactor = 80);
-- all
-- ---------------------------------------------------------------- notices by SMS
ALTER TABLE notice ADD COLUMN channel TEXT NOT NULL DEFAULT 'mail'; -- mail sms
ALTER TABLE notice ADD COLUMN phone TEXT NOT NULL DEFAULT '';  -- E.164, of channel sms
ALTER TABLE notice ADD COLUMN pending_id TEXT;                 -- the enrolment that it tells of; not referenced: it may go while this waits
ALTER TABLE notice ADD COLUMN ref TEXT NOT NULL DEFAULT '';    -- what the gateway calls a message that it has taken
ALTER TABLE notice_template ADD COLUMN sms TEXT NOT NULL DEFAULT '';
DROP INDEX notice_due;
CREATE INDEX notice_due ON notice (channel, due_ms) WHERE state = 'waiting';
CREATE INDEX notice_sms ON notice (done_ms) WHERE channel = 'sms' AND state = 'sent'; -- how many today
