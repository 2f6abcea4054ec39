-- Enrolments made for others, their one-time passwords, bulk runs and what is sent to people of them (spec 03 PEN, MAIL).

-- ---------------------------------------------------------------- one-time passwords and who made it
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

-- ---------------------------------------------------------------- what only mail servers have told of takes part in matching (EAS-05)
CREATE INDEX source_record_loose ON source_record (person_id) WHERE kind = 'eas' AND live = 1 AND state = 'discovered' AND device_id IS NULL;
INSERT INTO match_mark (person_id)
SELECT DISTINCT r.person_id FROM source_record r WHERE r.kind = 'eas' AND r.live = 1 AND r.state = 'discovered' AND r.device_id IS NULL AND r.person_id IS NOT NULL;
-- only: pgsql
CREATE OR REPLACE FUNCTION match_look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')));
    RETURN NULL;
END $$;
-- only: sqlite3
DROP TRIGGER match_record_new;
DROP TRIGGER match_record_set;
DROP TRIGGER match_device_set;
CREATE TRIGGER match_record_new AFTER INSERT ON source_record WHEN NEW.person_id IS NOT NULL
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')));
END;
CREATE TRIGGER match_record_set AFTER UPDATE OF device_id, state, live, attrs, person_id ON source_record
    WHEN NEW.person_id IS NOT NULL AND (OLD.device_id IS NOT NEW.device_id OR OLD.state <> NEW.state OR OLD.live <> NEW.live
      OR OLD.attrs <> NEW.attrs OR OLD.person_id IS NOT NEW.person_id)
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')));
END;
CREATE TRIGGER match_device_set AFTER UPDATE OF person_id, state, mode, platform, model, product, serial, imei, eas_device_id, os_version, build, phone
    ON device
    WHEN NEW.person_id IS NOT NULL AND (OLD.person_id IS NOT NEW.person_id OR OLD.state <> NEW.state OR OLD.mode <> NEW.mode
      OR OLD.platform <> NEW.platform OR OLD.model <> NEW.model OR OLD.product <> NEW.product OR OLD.serial IS NOT NEW.serial
      OR OLD.imei IS NOT NEW.imei OR OLD.eas_device_id IS NOT NEW.eas_device_id OR OLD.os_version <> NEW.os_version
      OR OLD.build <> NEW.build OR OLD.phone <> NEW.phone)
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')));
END;
-- all
-- Whom the mail server told of keeps that when the device that it was matched with goes, or goes to somebody else.
-- only: pgsql
CREATE FUNCTION match_loosen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE source_record SET device_id = NULL, match_rule = '{}' WHERE device_id = OLD.id AND kind = 'eas' AND state = 'discovered';
    RETURN OLD;
END $$;
CREATE TRIGGER match_device_gone BEFORE DELETE ON device FOR EACH ROW EXECUTE FUNCTION match_loosen();
CREATE TRIGGER match_device_owner AFTER UPDATE OF person_id ON device FOR EACH ROW WHEN (NEW.person_id IS DISTINCT FROM OLD.person_id)
    EXECUTE FUNCTION match_loosen();
-- only: sqlite3
CREATE TRIGGER match_device_gone BEFORE DELETE ON device
BEGIN
    UPDATE source_record SET device_id = NULL, match_rule = '{}' WHERE device_id = OLD.id AND kind = 'eas' AND state = 'discovered';
END;
CREATE TRIGGER match_device_owner AFTER UPDATE OF person_id ON device WHEN NEW.person_id IS NOT OLD.person_id
BEGIN
    UPDATE source_record SET device_id = NULL, match_rule = '{}' WHERE device_id = OLD.id AND kind = 'eas' AND state = 'discovered';
END;
-- all

-- ---------------------------------------------------------------- bulk runs (PEN-06)
CREATE TABLE bulk_run (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,            -- uploading checking checked running done cancelled removing expired
    file TEXT NOT NULL,             -- its name, for people
    options TEXT NOT NULL,          -- JSON: what holds for rows that say nothing
    titles TEXT NOT NULL,           -- JSON: the first row
    total BIGINT NOT NULL DEFAULT 0,
    walked BIGINT NOT NULL DEFAULT 0, -- rows that the check, or the run, is through with
    good BIGINT NOT NULL DEFAULT 0, -- of these
    bad BIGINT NOT NULL DEFAULT 0,
    warned BIGINT NOT NULL DEFAULT 0, -- among the good ones
    made BIGINT NOT NULL DEFAULT 0, -- enrolments
    error TEXT NOT NULL DEFAULT '', -- why it can't go on
    cancel_open BIGINT NOT NULL DEFAULT 0, -- removing: what it made and nobody has used goes too
    admin_id TEXT NOT NULL,
    limit_admin TEXT NOT NULL,      -- as context's actor.limit: who sees it, and within which folders it works
    created_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    started_ms BIGINT,
    changed_ms BIGINT NOT NULL      -- when its state changed
);
CREATE INDEX bulk_run_created ON bulk_run (created_ms, id);
CREATE TABLE bulk_row (
    run_id TEXT NOT NULL REFERENCES bulk_run (id) ON DELETE CASCADE,
    n BIGINT NOT NULL,              -- from 1
    line BIGINT NOT NULL,           -- of the file
    cells TEXT NOT NULL,            -- sealed JSON list; '': it could not be read, note says why
    result TEXT NOT NULL DEFAULT '', -- '' good warning bad
    field TEXT NOT NULL DEFAULT '', -- title of the cell at fault
    note TEXT NOT NULL DEFAULT '',  -- what is wrong, or worth knowing
    made BIGINT NOT NULL DEFAULT 0, -- enrolments: run_row is n * 100 and on
    PRIMARY KEY (run_id, n)
);
