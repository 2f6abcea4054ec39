-- What is removed by age is found on these (DEV-16).
DROP INDEX command_done;
CREATE INDEX command_done ON command (done_ms, id) WHERE open = 0;
CREATE INDEX device_event_at ON device_event (at_ms);
CREATE INDEX message_seen ON message (ack_ms) WHERE ack_ms IS NOT NULL;

-- Policies in force. What the resolver finds is kept once for all devices that have the same (POL-06, POL-09): a device row only names it.
DROP TABLE effective_policy;
DROP TABLE delivery;
DROP TABLE recompute;
CREATE TABLE policy_result (
    id TEXT PRIMARY KEY,            -- SHA-256 of type and settings with their origin
    type TEXT NOT NULL,
    hash TEXT NOT NULL,             -- of the values alone
    settings TEXT NOT NULL,         -- JSON: {"<setting>": {"value": v, "policy": id, "version": n, "via": "device_group:…"}}
    created_ms BIGINT NOT NULL
);
CREATE TABLE policy_result_policy ( -- the policies that reach a device with this result, whether or not a setting came from them
    result_id TEXT NOT NULL REFERENCES policy_result (id) ON DELETE CASCADE,
    policy_id TEXT NOT NULL,
    number BIGINT NOT NULL,         -- version; 0 = sandbox
    PRIMARY KEY (result_id, policy_id)
);
CREATE INDEX policy_result_policy_policy ON policy_result_policy (policy_id);
CREATE TABLE effective_policy (
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    result_id TEXT NOT NULL REFERENCES policy_result (id),
    computed_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, type)
);
CREATE INDEX effective_policy_result ON effective_policy (result_id, device_id);

-- What each channel has of it (POL-08).
CREATE TABLE delivery (
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    channel TEXT NOT NULL,          -- mdm eas agent
    result_id TEXT NOT NULL,        -- that it was made from; '' = to be taken away
    hash TEXT NOT NULL,             -- of what is to be on the device; '' = nothing
    applied TEXT NOT NULL DEFAULT '', -- hash of what the device has, as it said last; '' = nothing
    state TEXT NOT NULL,            -- pending sent applied failed not_applicable
    error TEXT NOT NULL DEFAULT '', -- of the device, or why it does not apply
    command_id TEXT,                -- that carries it now
    attempts BIGINT NOT NULL DEFAULT 0, -- in vain, since its content changed
    due_ms BIGINT,                  -- when it is queued (again); NULL: not before something happens
    held BIGINT NOT NULL DEFAULT 0, -- 1: waits for a mail account to be removed that was made by hand (EML-02); 2: it was said to be gone
    encrypt BIGINT NOT NULL DEFAULT 0, -- security: asks for encryption
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, type, channel)
);
CREATE INDEX delivery_result ON delivery (result_id, channel, state, device_id);
CREATE INDEX delivery_command ON delivery (command_id) WHERE command_id IS NOT NULL;
CREATE INDEX delivery_due ON delivery (due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX delivery_held ON delivery (updated_ms) WHERE held = 1;
CREATE INDEX delivery_hash ON delivery (hash) WHERE channel = 'mdm';
-- Contents of profiles that wait in queues: many devices get the same one; a command names it.
CREATE TABLE stored_profile (
    hash TEXT PRIMARY KEY,
    body TEXT NOT NULL,             -- base64
    created_ms BIGINT NOT NULL      -- or used last
);
CREATE INDEX stored_profile_created ON stored_profile (created_ms);
ALTER TABLE command ADD COLUMN stored TEXT; -- hash of the profile that an InstallProfile carries
CREATE INDEX command_stored ON command (stored) WHERE open = 1 AND stored IS NOT NULL;

-- What must be computed again: marks as they were made, and the devices that they came to. Two marks are never made one: whoever leaves
-- one has it seen after his own change, or not at all.
-- only: pgsql
CREATE TABLE recompute (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_kind TEXT NOT NULL,      -- as in assignment; "criteria": device whose dynamic groups are asked first; "below": the same, of a folder
    target_id TEXT NOT NULL,
    since_ms BIGINT NOT NULL DEFAULT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT),
    walked TEXT NOT NULL DEFAULT '' -- the last device that a big target was walked to
);
-- only: sqlite3
CREATE TABLE recompute (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    target_kind TEXT NOT NULL,
    target_id TEXT NOT NULL,
    since_ms BIGINT NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    walked TEXT NOT NULL DEFAULT ''
);
-- all
CREATE TABLE recompute_device (     -- names devices and does not reference them: one may be deleted while it waits here
    device_id TEXT PRIMARY KEY,
    since_ms BIGINT NOT NULL,
    criteria BIGINT NOT NULL,       -- 1: its dynamic groups first
    policies BIGINT NOT NULL        -- 1: its policies, too
);
CREATE INDEX person_folder ON person (folder_id);
CREATE INDEX user_folder_parent ON user_folder (parent_id);
ALTER TABLE device_group ADD COLUMN refresh_due_ms BIGINT NOT NULL DEFAULT 0; -- dynamic: when its devices are looked for again
CREATE INDEX device_group_dynamic ON device_group (base_kind, base_id) WHERE kind = 'dynamic';

-- Marks are left by the tables themselves, so that no statement that changes what policies depend on can forget its own (POL-06, DEV-01). Only
-- what really changed leaves one. Assigning and publishing leave theirs in domain/mdm_recompute. The job is moved forward as push_hasten does it.
-- only: pgsql
CREATE FUNCTION recompute_hasten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job SET run_at_ms = 1
     WHERE id = (SELECT j.id FROM job j WHERE j.kind = 'policy.recompute' AND j.state IN ('waiting', 'running') AND j.run_at_ms <> 1
                  LIMIT 1 FOR UPDATE SKIP LOCKED);
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_hasten AFTER INSERT ON recompute FOR EACH STATEMENT EXECUTE FUNCTION recompute_hasten();

CREATE FUNCTION recompute_by_id() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES (TG_ARGV[0], NEW.id);
    RETURN NULL;
END $$;

CREATE FUNCTION recompute_criteria() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'criteria', NEW.id WHERE EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic');
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_device_new AFTER INSERT ON device FOR EACH ROW EXECUTE FUNCTION recompute_by_id('device');
CREATE TRIGGER recompute_device_set AFTER UPDATE OF folder_id, person_id, state, mode, level, ownership, platform, product, os_version, supervised,
    eas_device_id, test_device, inventory ON device FOR EACH ROW
    WHEN ((OLD.folder_id, OLD.person_id, OLD.state, OLD.mode, OLD.level, OLD.ownership, OLD.platform, OLD.product, OLD.os_version,
           OLD.supervised, OLD.eas_device_id, OLD.test_device, strpos(OLD.inventory, '"IsUserEnrollment": true') > 0,
           strpos(OLD.inventory, '"IsMultiUser": true') > 0)
       IS DISTINCT FROM
          (NEW.folder_id, NEW.person_id, NEW.state, NEW.mode, NEW.level, NEW.ownership, NEW.platform, NEW.product, NEW.os_version,
           NEW.supervised, NEW.eas_device_id, NEW.test_device, strpos(NEW.inventory, '"IsUserEnrollment": true') > 0,
           strpos(NEW.inventory, '"IsMultiUser": true') > 0))
    EXECUTE FUNCTION recompute_by_id('device');
CREATE TRIGGER recompute_criteria_new AFTER INSERT ON device FOR EACH ROW EXECUTE FUNCTION recompute_criteria();
CREATE TRIGGER recompute_criteria_set AFTER UPDATE OF name, folder_id, person_id, state, mode, level, ownership, platform, model, product, serial,
    udid, imei, eas_device_id, os_version, build, phone, supervised, passcode_present, passcode_compliant, encryption, battery, capacity_gb,
    free_gb, compliance, inventory, test_device, department, site, location ON device FOR EACH ROW
    WHEN ((OLD.name, OLD.folder_id, OLD.person_id, OLD.state, OLD.mode, OLD.level, OLD.ownership, OLD.platform, OLD.model, OLD.product,
           OLD.serial, OLD.udid, OLD.imei, OLD.eas_device_id, OLD.os_version, OLD.build, OLD.phone, OLD.supervised, OLD.passcode_present,
           OLD.passcode_compliant, OLD.encryption, OLD.battery, OLD.capacity_gb, OLD.free_gb, OLD.compliance, OLD.inventory,
           OLD.test_device, OLD.department, OLD.site, OLD.location)
       IS DISTINCT FROM
          (NEW.name, NEW.folder_id, NEW.person_id, NEW.state, NEW.mode, NEW.level, NEW.ownership, NEW.platform, NEW.model, NEW.product,
           NEW.serial, NEW.udid, NEW.imei, NEW.eas_device_id, NEW.os_version, NEW.build, NEW.phone, NEW.supervised, NEW.passcode_present,
           NEW.passcode_compliant, NEW.encryption, NEW.battery, NEW.capacity_gb, NEW.free_gb, NEW.compliance, NEW.inventory,
           NEW.test_device, NEW.department, NEW.site, NEW.location))
    EXECUTE FUNCTION recompute_criteria();

CREATE FUNCTION recompute_apps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT DISTINCT 'criteria', r.device_id FROM touched r WHERE EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic');
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_app_new AFTER INSERT ON device_app REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION recompute_apps();
CREATE TRIGGER recompute_app_set AFTER UPDATE ON device_app REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION recompute_apps();
CREATE TRIGGER recompute_app_gone AFTER DELETE ON device_app REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION recompute_apps();

CREATE FUNCTION recompute_members() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT DISTINCT 'device', r.device_id FROM touched r
    UNION ALL SELECT DISTINCT 'criteria', r.device_id FROM touched r
                JOIN device_group g ON g.kind = 'dynamic' AND g.base_kind = 'group' AND g.base_id = r.group_id;
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_member_new AFTER INSERT ON device_group_member REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_members();
CREATE TRIGGER recompute_member_gone AFTER DELETE ON device_group_member REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_members();
CREATE TRIGGER recompute_group_set AFTER UPDATE OF position ON device_group FOR EACH ROW WHEN (OLD.position <> NEW.position)
    EXECUTE FUNCTION recompute_by_id('device_group');
CREATE TRIGGER recompute_folder_set AFTER UPDATE OF parent_id ON folder FOR EACH ROW WHEN (OLD.parent_id IS DISTINCT FROM NEW.parent_id)
    EXECUTE FUNCTION recompute_by_id('below');

CREATE FUNCTION recompute_people() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id) SELECT DISTINCT 'person', r.person_id FROM touched r;
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_user_member_new AFTER INSERT ON user_group_member REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_people();
CREATE TRIGGER recompute_user_member_gone AFTER DELETE ON user_group_member REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_people();
CREATE TRIGGER recompute_user_group_set AFTER UPDATE OF position ON user_group FOR EACH ROW WHEN (OLD.position <> NEW.position)
    EXECUTE FUNCTION recompute_by_id('user_group');
CREATE TRIGGER recompute_user_folder_set AFTER UPDATE OF parent_id, source_id ON user_folder FOR EACH ROW
    WHEN (OLD.parent_id IS DISTINCT FROM NEW.parent_id OR OLD.source_id <> NEW.source_id) EXECUTE FUNCTION recompute_by_id('user_folder');
CREATE TRIGGER recompute_person_set AFTER UPDATE OF folder_id, source_id, login, name, mail, phone, disabled, gone_ms ON person FOR EACH ROW
    WHEN ((OLD.folder_id, OLD.source_id, OLD.login, OLD.name, OLD.mail, OLD.phone, OLD.disabled, OLD.gone_ms)
       IS DISTINCT FROM (NEW.folder_id, NEW.source_id, NEW.login, NEW.name, NEW.mail, NEW.phone, NEW.disabled, NEW.gone_ms))
    EXECUTE FUNCTION recompute_by_id('person');

CREATE FUNCTION recompute_record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'device', r.id FROM (SELECT OLD.device_id AS id UNION SELECT NEW.device_id) AS r WHERE r.id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_record_new AFTER INSERT ON source_record FOR EACH ROW EXECUTE FUNCTION recompute_record();
CREATE TRIGGER recompute_record_set AFTER UPDATE OF device_id, state, live, generation ON source_record FOR EACH ROW
    WHEN ((OLD.device_id, OLD.state, OLD.live, OLD.generation) IS DISTINCT FROM (NEW.device_id, NEW.state, NEW.live, NEW.generation))
    EXECUTE FUNCTION recompute_record();

-- What mail accounts are made of, once there are e-mail policies. Another host or form of names of a server waits for publishing (EML-05).
CREATE FUNCTION recompute_sources() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT DISTINCT 'user_source', r.source_id FROM touched r WHERE EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email');
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_link_new AFTER INSERT ON eas_server_source REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_sources();
CREATE TRIGGER recompute_link_gone AFTER DELETE ON eas_server_source REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_sources();
CREATE TRIGGER recompute_domain_new AFTER INSERT ON user_domain REFERENCING NEW TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_sources();
CREATE TRIGGER recompute_domain_gone AFTER DELETE ON user_domain REFERENCING OLD TABLE AS touched FOR EACH STATEMENT
    EXECUTE FUNCTION recompute_sources();
CREATE TRIGGER recompute_source_set AFTER UPDATE OF simple ON user_source FOR EACH ROW WHEN (OLD.simple <> NEW.simple)
    EXECUTE FUNCTION recompute_by_id('user_source');
CREATE FUNCTION recompute_server() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id) SELECT 'user_source', x.source_id FROM eas_server_source x WHERE x.server_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_server_set AFTER UPDATE OF enabled ON eas_server FOR EACH ROW WHEN (OLD.enabled <> NEW.enabled)
    EXECUTE FUNCTION recompute_server();
CREATE FUNCTION recompute_all() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'folder', f.id FROM folder f WHERE f.parent_id IS NULL AND EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email');
    RETURN NULL;
END $$;
CREATE TRIGGER recompute_host_new AFTER INSERT ON zone_setting FOR EACH ROW WHEN (NEW.name = 'eas.public_host') EXECUTE FUNCTION recompute_all();
CREATE TRIGGER recompute_host_set AFTER UPDATE ON zone_setting FOR EACH ROW WHEN (NEW.name = 'eas.public_host' AND OLD.value <> NEW.value)
    EXECUTE FUNCTION recompute_all();
CREATE TRIGGER recompute_host_gone AFTER DELETE ON zone_setting FOR EACH ROW WHEN (OLD.name = 'eas.public_host') EXECUTE FUNCTION recompute_all();
-- only: sqlite3
-- One connection writes at a time: there a device that is marked need not be marked twice by its apps.
CREATE INDEX recompute_target ON recompute (target_id, target_kind);
CREATE TRIGGER recompute_hasten AFTER INSERT ON recompute
BEGIN
    UPDATE job SET run_at_ms = 1 WHERE kind = 'policy.recompute' AND state IN ('waiting', 'running') AND run_at_ms <> 1;
END;
CREATE TRIGGER recompute_device_new AFTER INSERT ON device
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('device', NEW.id);
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'criteria', NEW.id WHERE EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic');
END;
CREATE TRIGGER recompute_device_set AFTER UPDATE OF folder_id, person_id, state, mode, level, ownership, platform, product, os_version, supervised,
    eas_device_id, test_device, inventory ON device
    WHEN OLD.folder_id <> NEW.folder_id OR OLD.person_id IS NOT NEW.person_id OR OLD.state <> NEW.state OR OLD.mode <> NEW.mode
      OR OLD.level <> NEW.level OR OLD.ownership <> NEW.ownership OR OLD.platform <> NEW.platform OR OLD.product <> NEW.product
      OR OLD.os_version <> NEW.os_version OR OLD.supervised IS NOT NEW.supervised OR OLD.eas_device_id IS NOT NEW.eas_device_id
      OR OLD.test_device <> NEW.test_device
      OR (instr(OLD.inventory, '"IsUserEnrollment":true') > 0) <> (instr(NEW.inventory, '"IsUserEnrollment":true') > 0)
      OR (instr(OLD.inventory, '"IsMultiUser":true') > 0) <> (instr(NEW.inventory, '"IsMultiUser":true') > 0)
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('device', NEW.id);
END;
CREATE TRIGGER recompute_criteria_set AFTER UPDATE OF name, folder_id, person_id, state, mode, level, ownership, platform, model, product, serial,
    udid, imei, eas_device_id, os_version, build, phone, supervised, passcode_present, passcode_compliant, encryption, battery, capacity_gb,
    free_gb, compliance, inventory, test_device, department, site, location ON device
    WHEN (OLD.name <> NEW.name OR OLD.folder_id <> NEW.folder_id OR OLD.person_id IS NOT NEW.person_id OR OLD.state <> NEW.state
      OR OLD.mode <> NEW.mode OR OLD.level <> NEW.level OR OLD.ownership <> NEW.ownership OR OLD.platform <> NEW.platform
      OR OLD.model <> NEW.model OR OLD.product <> NEW.product OR OLD.serial IS NOT NEW.serial OR OLD.udid IS NOT NEW.udid
      OR OLD.imei IS NOT NEW.imei OR OLD.eas_device_id IS NOT NEW.eas_device_id OR OLD.os_version <> NEW.os_version
      OR OLD.build <> NEW.build OR OLD.phone <> NEW.phone OR OLD.supervised IS NOT NEW.supervised
      OR OLD.passcode_present IS NOT NEW.passcode_present OR OLD.passcode_compliant IS NOT NEW.passcode_compliant
      OR OLD.encryption IS NOT NEW.encryption OR OLD.battery IS NOT NEW.battery OR OLD.capacity_gb IS NOT NEW.capacity_gb
      OR OLD.free_gb IS NOT NEW.free_gb OR OLD.compliance <> NEW.compliance OR OLD.inventory <> NEW.inventory
      OR OLD.test_device <> NEW.test_device OR OLD.department <> NEW.department OR OLD.site <> NEW.site OR OLD.location <> NEW.location)
     AND EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic')
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('criteria', NEW.id);
END;
CREATE TRIGGER recompute_app_new AFTER INSERT ON device_app WHEN EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic')
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'criteria', NEW.device_id
     WHERE NOT EXISTS (SELECT 1 FROM recompute r WHERE r.target_id = NEW.device_id AND r.target_kind = 'criteria');
END;
CREATE TRIGGER recompute_app_set AFTER UPDATE ON device_app
    WHEN (OLD.name <> NEW.name OR OLD.version <> NEW.version OR OLD.short_version <> NEW.short_version)
     AND EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic')
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'criteria', NEW.device_id
     WHERE NOT EXISTS (SELECT 1 FROM recompute r WHERE r.target_id = NEW.device_id AND r.target_kind = 'criteria');
END;
CREATE TRIGGER recompute_app_gone AFTER DELETE ON device_app WHEN EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic')
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'criteria', OLD.device_id
     WHERE NOT EXISTS (SELECT 1 FROM recompute r WHERE r.target_id = OLD.device_id AND r.target_kind = 'criteria');
END;
CREATE TRIGGER recompute_member_new AFTER INSERT ON device_group_member
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('device', NEW.device_id);
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'criteria', NEW.device_id
     WHERE EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic' AND g.base_kind = 'group' AND g.base_id = NEW.group_id);
END;
CREATE TRIGGER recompute_member_gone AFTER DELETE ON device_group_member
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('device', OLD.device_id);
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'criteria', OLD.device_id
     WHERE EXISTS (SELECT 1 FROM device_group g WHERE g.kind = 'dynamic' AND g.base_kind = 'group' AND g.base_id = OLD.group_id);
END;
CREATE TRIGGER recompute_group_set AFTER UPDATE OF position ON device_group WHEN OLD.position <> NEW.position
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('device_group', NEW.id);
END;
CREATE TRIGGER recompute_folder_set AFTER UPDATE OF parent_id ON folder WHEN OLD.parent_id IS NOT NEW.parent_id
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('below', NEW.id);
END;
CREATE TRIGGER recompute_user_member_new AFTER INSERT ON user_group_member
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('person', NEW.person_id);
END;
CREATE TRIGGER recompute_user_member_gone AFTER DELETE ON user_group_member
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('person', OLD.person_id);
END;
CREATE TRIGGER recompute_user_group_set AFTER UPDATE OF position ON user_group WHEN OLD.position <> NEW.position
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('user_group', NEW.id);
END;
CREATE TRIGGER recompute_user_folder_set AFTER UPDATE OF parent_id, source_id ON user_folder
    WHEN OLD.parent_id IS NOT NEW.parent_id OR OLD.source_id <> NEW.source_id
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('user_folder', NEW.id);
END;
CREATE TRIGGER recompute_person_set AFTER UPDATE OF folder_id, source_id, login, name, mail, phone, disabled, gone_ms ON person
    WHEN OLD.folder_id IS NOT NEW.folder_id OR OLD.source_id IS NOT NEW.source_id OR OLD.login <> NEW.login OR OLD.name <> NEW.name
      OR OLD.mail <> NEW.mail OR OLD.phone <> NEW.phone OR OLD.disabled <> NEW.disabled OR OLD.gone_ms IS NOT NEW.gone_ms
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('person', NEW.id);
END;
CREATE TRIGGER recompute_record_new AFTER INSERT ON source_record WHEN NEW.device_id IS NOT NULL
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('device', NEW.device_id);
END;
CREATE TRIGGER recompute_record_set AFTER UPDATE OF device_id, state, live, generation ON source_record
    WHEN OLD.device_id IS NOT NEW.device_id OR OLD.state <> NEW.state OR OLD.live <> NEW.live OR OLD.generation <> NEW.generation
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'device', r.id FROM (SELECT OLD.device_id AS id UNION SELECT NEW.device_id) AS r WHERE r.id IS NOT NULL;
END;
CREATE TRIGGER recompute_link_new AFTER INSERT ON eas_server_source WHEN EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email')
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('user_source', NEW.source_id);
END;
CREATE TRIGGER recompute_link_gone AFTER DELETE ON eas_server_source WHEN EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email')
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('user_source', OLD.source_id);
END;
CREATE TRIGGER recompute_domain_new AFTER INSERT ON user_domain WHEN EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email')
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('user_source', NEW.source_id);
END;
CREATE TRIGGER recompute_domain_gone AFTER DELETE ON user_domain WHEN EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email')
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('user_source', OLD.source_id);
END;
CREATE TRIGGER recompute_source_set AFTER UPDATE OF simple ON user_source WHEN OLD.simple <> NEW.simple
BEGIN
    INSERT INTO recompute (target_kind, target_id) VALUES ('user_source', NEW.id);
END;
CREATE TRIGGER recompute_server_set AFTER UPDATE OF enabled ON eas_server WHEN OLD.enabled <> NEW.enabled
BEGIN
    INSERT INTO recompute (target_kind, target_id) SELECT 'user_source', x.source_id FROM eas_server_source x WHERE x.server_id = NEW.id;
END;
CREATE TRIGGER recompute_host_new AFTER INSERT ON zone_setting WHEN NEW.name = 'eas.public_host'
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'folder', f.id FROM folder f WHERE f.parent_id IS NULL AND EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email');
END;
CREATE TRIGGER recompute_host_set AFTER UPDATE ON zone_setting WHEN NEW.name = 'eas.public_host' AND OLD.value <> NEW.value
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'folder', f.id FROM folder f WHERE f.parent_id IS NULL AND EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email');
END;
CREATE TRIGGER recompute_host_gone AFTER DELETE ON zone_setting WHEN OLD.name = 'eas.public_host'
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'folder', f.id FROM folder f WHERE f.parent_id IS NULL AND EXISTS (SELECT 1 FROM policy p WHERE p.type = 'email');
END;
-- all

ALTER TABLE policy_version ADD COLUMN level_corporate TEXT NOT NULL DEFAULT 'none'; -- preset it began with (POL-03)
ALTER TABLE policy_version ADD COLUMN level_personal TEXT NOT NULL DEFAULT 'none';
ALTER TABLE policy_version ADD COLUMN note TEXT NOT NULL DEFAULT '';

ALTER TABLE policy_folder ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
ALTER TABLE assignment ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
CREATE INDEX device_test ON device (id) WHERE test_device = 1; -- those whom sandboxes reach

-- What is assigned to something that goes, goes with it. Its devices are marked by their own triggers.
-- only: pgsql
CREATE FUNCTION assignment_target_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM assignment WHERE target_kind = TG_TABLE_NAME AND target_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER assignment_person_gone AFTER DELETE ON person FOR EACH ROW EXECUTE FUNCTION assignment_target_gone();
CREATE TRIGGER assignment_user_group_gone AFTER DELETE ON user_group FOR EACH ROW EXECUTE FUNCTION assignment_target_gone();
CREATE TRIGGER assignment_user_folder_gone AFTER DELETE ON user_folder FOR EACH ROW EXECUTE FUNCTION assignment_target_gone();
CREATE TRIGGER assignment_user_source_gone AFTER DELETE ON user_source FOR EACH ROW EXECUTE FUNCTION assignment_target_gone();
CREATE TRIGGER assignment_device_gone AFTER DELETE ON device FOR EACH ROW EXECUTE FUNCTION assignment_target_gone();
CREATE TRIGGER assignment_device_group_gone AFTER DELETE ON device_group FOR EACH ROW EXECUTE FUNCTION assignment_target_gone();
CREATE TRIGGER assignment_folder_gone AFTER DELETE ON folder FOR EACH ROW EXECUTE FUNCTION assignment_target_gone();
-- only: sqlite3
CREATE TRIGGER assignment_person_gone AFTER DELETE ON person BEGIN DELETE FROM assignment WHERE target_kind = 'person' AND target_id = OLD.id; END;
CREATE TRIGGER assignment_user_group_gone AFTER DELETE ON user_group BEGIN DELETE FROM assignment WHERE target_kind = 'user_group' AND target_id = OLD.id; END;
CREATE TRIGGER assignment_user_folder_gone AFTER DELETE ON user_folder BEGIN DELETE FROM assignment WHERE target_kind = 'user_folder' AND target_id = OLD.id; END;
CREATE TRIGGER assignment_user_source_gone AFTER DELETE ON user_source BEGIN DELETE FROM assignment WHERE target_kind = 'user_source' AND target_id = OLD.id; END;
CREATE TRIGGER assignment_device_gone AFTER DELETE ON device BEGIN DELETE FROM assignment WHERE target_kind = 'device' AND target_id = OLD.id; END;
CREATE TRIGGER assignment_device_group_gone AFTER DELETE ON device_group BEGIN DELETE FROM assignment WHERE target_kind = 'device_group' AND target_id = OLD.id; END;
CREATE TRIGGER assignment_folder_gone AFTER DELETE ON folder BEGIN DELETE FROM assignment WHERE target_kind = 'folder' AND target_id = OLD.id; END;
-- all

-- Quick tasks (DEV-07): each one's own job looks until all of its devices have ended.
ALTER TABLE quick_task ADD COLUMN open BIGINT NOT NULL DEFAULT 1; -- devices that had not ended, as of checked_ms
DROP INDEX quick_task_running;
UPDATE quick_task SET walked = (SELECT COUNT(*) FROM quick_task_device t WHERE t.task_id = quick_task.id) WHERE walked = 0;
INSERT INTO job (id, kind, unique_key, payload, run_at_ms, max_attempts, created_ms)
SELECT q.id, 'task.run', 'task:' || q.id, '{"task":"' || q.id || '"}', 1, 1000, q.created_ms FROM quick_task q WHERE q.state = 'running'
ON CONFLICT DO NOTHING;

-- What the pages of push count, and who is tried again when there is a new certificate (PSH-01, PSH-03).
CREATE INDEX push_tried ON push (due_ms) WHERE attempts > 0;
CREATE INDEX source_record_topic ON source_record (topic) WHERE kind = 'mdm' AND live = 1 AND push_token IS NOT NULL;

-- No statement here is worth compiling, and costs that the planner takes from bounds (LIMIT) make it think so: tenths of a second each.
-- only: pgsql
DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET jit = off', current_database());
EXCEPTION WHEN insufficient_privilege THEN NULL; -- the database is somebody else's
END $$;
-- all

-- What the e-mail policy makes of the device's mail (spec 03): proxy direct none (no such policy); '' = not computed yet.
ALTER TABLE device ADD COLUMN mail TEXT NOT NULL DEFAULT '';

-- Notices by mail (MAIL-01, MAIL-02). Rendered when they are sent, to the address that the person has then.
CREATE TABLE notice (
    id TEXT PRIMARY KEY,            -- also that of the message: one that is sent again is known by it
    key TEXT NOT NULL,              -- a second one of the same key joins the one that waits
    event TEXT NOT NULL,            -- conf/notices.json
    person_id TEXT,                 -- names people and devices and does not reference them: both may go while it waits; NULL: an administrator
    device_id TEXT,
    device_name TEXT NOT NULL DEFAULT '',
    to_name TEXT NOT NULL DEFAULT '',
    mail TEXT NOT NULL DEFAULT '',  -- '' until it is known: as it was used last
    vars TEXT NOT NULL DEFAULT '{}', -- JSON: values of the template's variables
    state TEXT NOT NULL DEFAULT 'waiting', -- waiting sent failed
    attempts BIGINT NOT NULL DEFAULT 0, -- of this message; a server that is away does not count
    due_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,       -- then it fails
    lease_owner TEXT,
    lease_until_ms BIGINT NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '', -- what the mail server said last
    created_ms BIGINT NOT NULL,
    done_ms BIGINT
);
CREATE UNIQUE INDEX notice_open ON notice (key) WHERE state = 'waiting';
CREATE INDEX notice_key ON notice (key, created_ms);
CREATE INDEX notice_due ON notice (due_ms) WHERE state = 'waiting';
CREATE INDEX notice_created ON notice (created_ms, id);
CREATE INDEX notice_state ON notice (state, created_ms, id);
CREATE INDEX notice_done ON notice (done_ms) WHERE done_ms IS NOT NULL;
CREATE TABLE notice_template (      -- texts that an administrator has changed; the others come with the product
    event TEXT NOT NULL,
    language TEXT NOT NULL,
    subject TEXT NOT NULL,
    text TEXT NOT NULL,
    html TEXT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (event, language)
);
