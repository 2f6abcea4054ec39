-- What enrolment and matching still lacked (spec 03, 04, 05).

-- ---------------------------------------------------------------- account-driven enrolment (IOS-08)
ALTER TABLE pending_enrollment ADD COLUMN account TEXT NOT NULL DEFAULT '';       -- byod adde: begun on the device with a managed Apple account
ALTER TABLE pending_enrollment ADD COLUMN apple_account TEXT NOT NULL DEFAULT ''; -- that account
ALTER TABLE source_record ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE source_record ADD COLUMN apple_account TEXT NOT NULL DEFAULT '';
ALTER TABLE source_record ADD COLUMN bearer TEXT NOT NULL DEFAULT '';             -- SHA-256 of what its device shows beside its certificate
-- What a log-in on a device was answered with. It becomes a record's at Authenticate.
CREATE TABLE account_token (
    hash TEXT PRIMARY KEY,          -- SHA-256 of the token
    person_id TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    pending_id TEXT UNIQUE REFERENCES pending_enrollment (id) ON DELETE CASCADE, -- NULL: a device that is enrolled asked to log in again
    expires_ms BIGINT NOT NULL,     -- it may first be used until then
    used_ms BIGINT                  -- first shown
);
CREATE INDEX account_token_person ON account_token (person_id);

-- ---------------------------------------------------------------- rows of bulk runs say more (PEN-06)
ALTER TABLE pending_enrollment ADD COLUMN valid_from_ms BIGINT NOT NULL DEFAULT 0; -- of no use before; 0: at once
ALTER TABLE pending_enrollment ADD COLUMN folder_id TEXT;      -- where its device comes to be; NULL: as the policy's rules say
ALTER TABLE pending_enrollment ADD COLUMN otp_index TEXT;      -- HMAC of the one-time password, by which equal ones are found
CREATE INDEX pending_otp ON pending_enrollment (otp_index) WHERE otp_index IS NOT NULL;
ALTER TABLE bulk_row ADD COLUMN otp_index TEXT NOT NULL DEFAULT ''; -- as of pending_enrollment; '': none is given
CREATE INDEX bulk_row_otp ON bulk_row (run_id, otp_index, n) WHERE otp_index <> '';

-- ---------------------------------------------------------------- notices
ALTER TABLE pending_enrollment ADD COLUMN reminded_ms BIGINT NOT NULL DEFAULT 0; -- when its person was told that it ends soon
CREATE INDEX notice_pending ON notice (pending_id, created_ms) WHERE pending_id IS NOT NULL;
DELETE FROM job WHERE kind = 'apns.expiry'; -- zone.expiry watches the push certificate and all else that ends some day

-- ---------------------------------------------------------------- a link is named by its beginning (PEN-02)
ALTER TABLE pending_enrollment ADD COLUMN token_head TEXT NOT NULL DEFAULT ''; -- the first characters of its token, which people read out; not enough to use it
CREATE INDEX pending_token_head ON pending_enrollment (LOWER(token_head)) WHERE token_head <> '';

-- ---------------------------------------------------------------- matches that can be undone (MAT-03, MAT-06)
-- What a match took away: the object that the mail record had, and what the device was called that took it in.
CREATE TABLE match_undo (
    record_id TEXT PRIMARY KEY REFERENCES source_record (id) ON DELETE CASCADE,
    device_id TEXT NOT NULL,        -- where it stands since
    at_ms BIGINT NOT NULL,
    by_person BIGINT NOT NULL,      -- 1: its owner said so, who may take it back for a while (MAT-05)
    id TEXT NOT NULL,               -- of the object that went; as device, up to enrolled_ms
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,
    folder_id TEXT NOT NULL,
    state TEXT NOT NULL,
    ownership TEXT NOT NULL,
    platform TEXT NOT NULL,
    model TEXT NOT NULL,
    product TEXT NOT NULL,
    build TEXT NOT NULL,
    os_version TEXT NOT NULL,
    imei TEXT,
    department TEXT NOT NULL,
    site TEXT NOT NULL,
    location TEXT NOT NULL,
    notes TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    enrolled_ms BIGINT,
    event_ids TEXT NOT NULL,        -- JSON: what came along with it
    group_ids TEXT NOT NULL,
    assignment_ids TEXT NOT NULL,
    kept_name TEXT NOT NULL,        -- of the device before it took the other one's
    kept_name_key TEXT NOT NULL,
    kept_folder_id TEXT NOT NULL,
    kept_department TEXT NOT NULL,
    kept_site TEXT NOT NULL,
    kept_location TEXT NOT NULL,
    kept_notes TEXT NOT NULL,
    kept_created_ms BIGINT NOT NULL
);
CREATE INDEX match_undo_device ON match_undo (device_id, at_ms) WHERE by_person = 1;
ALTER TABLE match_exception ADD COLUMN reminded_ms BIGINT; -- its owner was asked again
CREATE INDEX match_exception_asked ON match_exception (since_ms) WHERE code = 'manual_pending';

-- Looked at are people with a mail record that stands on an object of its own or on none, or on a device for other than certain reasons: a guess may turn out
-- wrong. What the matcher itself writes is no news of those.
-- only: pgsql
CREATE OR REPLACE FUNCTION match_look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1
                      AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')
                           OR (r.match_rule <> '{}' AND r.match_rule NOT LIKE '%"tier":"exact"%')));
    RETURN NULL;
END $$;
CREATE FUNCTION match_look_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1
                      AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')
                           OR (OLD.match_rule = NEW.match_rule AND r.match_rule <> '{}' AND r.match_rule NOT LIKE '%"tier":"exact"%')));
    RETURN NULL;
END $$;
CREATE FUNCTION match_look_device() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1
                      AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')
                           OR (OLD.mode = NEW.mode AND OLD.eas_device_id IS NOT DISTINCT FROM NEW.eas_device_id AND r.match_rule <> '{}'
                               AND r.match_rule NOT LIKE '%"tier":"exact"%')));
    RETURN NULL;
END $$;
DROP TRIGGER match_record_set ON source_record;
DROP TRIGGER match_device_set ON device;
CREATE TRIGGER match_record_set AFTER UPDATE OF device_id, state, live, attrs, person_id ON source_record FOR EACH ROW
    WHEN (NEW.person_id IS NOT NULL AND (OLD.device_id, OLD.state, OLD.live, OLD.attrs, OLD.person_id)
                                        IS DISTINCT FROM (NEW.device_id, NEW.state, NEW.live, NEW.attrs, NEW.person_id))
    EXECUTE FUNCTION match_look_record();
CREATE TRIGGER match_device_set AFTER UPDATE OF person_id, state, mode, platform, model, product, serial, imei, eas_device_id, os_version, build, phone
    ON device FOR EACH ROW
    WHEN (NEW.person_id IS NOT NULL AND (OLD.person_id, OLD.state, OLD.mode, OLD.platform, OLD.model, OLD.product, OLD.serial, OLD.imei,
                                         OLD.eas_device_id, OLD.os_version, OLD.build, OLD.phone)
                                        IS DISTINCT FROM (NEW.person_id, NEW.state, NEW.mode, NEW.platform, NEW.model, NEW.product, NEW.serial,
                                                          NEW.imei, NEW.eas_device_id, NEW.os_version, NEW.build, NEW.phone))
    EXECUTE FUNCTION match_look_device();
-- only: sqlite3
DROP TRIGGER match_record_new;
DROP TRIGGER match_record_set;
DROP TRIGGER match_device_set;
CREATE TRIGGER match_record_new AFTER INSERT ON source_record WHEN NEW.person_id IS NOT NULL
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1
                      AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')
                           OR (r.match_rule <> '{}' AND r.match_rule NOT LIKE '%"tier":"exact"%')));
END;
CREATE TRIGGER match_record_set AFTER UPDATE OF device_id, state, live, attrs, person_id ON source_record
    WHEN NEW.person_id IS NOT NULL AND (OLD.device_id IS NOT NEW.device_id OR OLD.state <> NEW.state OR OLD.live <> NEW.live
      OR OLD.attrs <> NEW.attrs OR OLD.person_id IS NOT NEW.person_id)
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r LEFT JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1
                      AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')
                           OR (OLD.match_rule = NEW.match_rule AND r.match_rule <> '{}'
                               AND r.match_rule NOT LIKE '%"tier":"exact"%')));
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
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1
                      AND (d.mode = 'eas' OR (r.device_id IS NULL AND r.state = 'discovered')
                           OR (OLD.mode = NEW.mode AND OLD.eas_device_id IS NEW.eas_device_id AND r.match_rule <> '{}'
                               AND r.match_rule NOT LIKE '%"tier":"exact"%')));
END;
-- all
