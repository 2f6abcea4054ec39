-- One phone, one device object: what the background matcher has to look at, what it could not settle, and what is never joined again (spec 04).
-- People of whose records something has changed. Two marks are never made one: whoever leaves one has it seen after his own change.
-- only: pgsql
CREATE TABLE match_mark (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id TEXT NOT NULL
);
-- only: sqlite3
CREATE TABLE match_mark (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    person_id TEXT NOT NULL
);
-- all
CREATE TABLE match_split (          -- records that an administrator has parted
    a TEXT NOT NULL REFERENCES source_record (id) ON DELETE CASCADE,
    b TEXT NOT NULL REFERENCES source_record (id) ON DELETE CASCADE,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (a, b)
);
CREATE INDEX match_split_b ON match_split (b);
CREATE TABLE match_exception (      -- mail records that no rule could settle
    record_id TEXT PRIMARY KEY REFERENCES source_record (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    code TEXT NOT NULL,             -- multiple_exact slot_taken ambiguous no_candidate owner_conflict too_many
    candidates TEXT NOT NULL,       -- JSON: device, name, score, what was compared, what excludes it
    since_ms BIGINT NOT NULL,
    ignored_ms BIGINT               -- an administrator does not want to see it until its code changes
);
CREATE INDEX match_exception_person ON match_exception (person_id);
CREATE INDEX match_exception_since ON match_exception (since_ms, record_id);

-- A mail record that stands on an object of its own is what the matcher looks for; people without one are not looked at.
INSERT INTO match_mark (person_id)
SELECT DISTINCT d.person_id FROM device d WHERE d.mode = 'eas' AND d.person_id IS NOT NULL;
CREATE INDEX device_mail_only ON device (person_id) WHERE mode = 'eas';
-- only: pgsql
CREATE FUNCTION match_look() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND d.mode = 'eas');
    RETURN NULL;
END $$;
CREATE TRIGGER match_record_new AFTER INSERT ON source_record FOR EACH ROW WHEN (NEW.person_id IS NOT NULL) EXECUTE FUNCTION match_look();
CREATE TRIGGER match_record_set AFTER UPDATE OF device_id, state, live, attrs, person_id ON source_record FOR EACH ROW
    WHEN (NEW.person_id IS NOT NULL AND (OLD.device_id, OLD.state, OLD.live, OLD.attrs, OLD.person_id)
                                        IS DISTINCT FROM (NEW.device_id, NEW.state, NEW.live, NEW.attrs, NEW.person_id))
    EXECUTE FUNCTION match_look();
CREATE TRIGGER match_device_set AFTER UPDATE OF person_id, state, mode, platform, model, product, serial, imei, eas_device_id, os_version, build, phone
    ON device FOR EACH ROW
    WHEN (NEW.person_id IS NOT NULL AND (OLD.person_id, OLD.state, OLD.mode, OLD.platform, OLD.model, OLD.product, OLD.serial, OLD.imei,
                                         OLD.eas_device_id, OLD.os_version, OLD.build, OLD.phone)
                                        IS DISTINCT FROM (NEW.person_id, NEW.state, NEW.mode, NEW.platform, NEW.model, NEW.product, NEW.serial,
                                                          NEW.imei, NEW.eas_device_id, NEW.os_version, NEW.build, NEW.phone))
    EXECUTE FUNCTION match_look();
-- only: sqlite3
CREATE TRIGGER match_record_new AFTER INSERT ON source_record WHEN NEW.person_id IS NOT NULL
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND d.mode = 'eas');
END;
CREATE TRIGGER match_record_set AFTER UPDATE OF device_id, state, live, attrs, person_id ON source_record
    WHEN NEW.person_id IS NOT NULL AND (OLD.device_id IS NOT NEW.device_id OR OLD.state <> NEW.state OR OLD.live <> NEW.live
      OR OLD.attrs <> NEW.attrs OR OLD.person_id IS NOT NEW.person_id)
BEGIN
    INSERT INTO match_mark (person_id)
    SELECT NEW.person_id
     WHERE EXISTS (SELECT 1 FROM source_record r JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND d.mode = 'eas');
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
     WHERE EXISTS (SELECT 1 FROM source_record r JOIN device d ON d.id = r.device_id
                    WHERE r.person_id = NEW.person_id AND r.kind = 'eas' AND r.live = 1 AND d.mode = 'eas');
END;
-- all
