-- Refresh schedules (DEV-05): when a device is asked for its inventory next.
ALTER TABLE device ADD COLUMN refresh_due_ms BIGINT;
CREATE INDEX device_refresh ON device (refresh_due_ms) WHERE refresh_due_ms IS NOT NULL;
-- When the device brought its token: what Apple says of an earlier one does not count (PSH-01).
ALTER TABLE source_record ADD COLUMN push_token_ms BIGINT NOT NULL DEFAULT 0;

-- Address of the connection itself at the last contact; last_contact_ip is the effective one (ACC-08).
ALTER TABLE device ADD COLUMN last_contact_peer TEXT NOT NULL DEFAULT '';

-- Every folder with itself and all above it: who is below a folder is one look-up.
CREATE TABLE folder_above (
    folder_id TEXT NOT NULL REFERENCES folder (id) ON DELETE CASCADE,
    above_id TEXT NOT NULL REFERENCES folder (id) ON DELETE CASCADE,
    PRIMARY KEY (folder_id, above_id)
);
CREATE INDEX folder_above_above ON folder_above (above_id, folder_id);
INSERT INTO folder_above (folder_id, above_id)
    WITH RECURSIVE up (folder_id, above_id) AS (
        SELECT id, id FROM folder
        UNION ALL SELECT u.folder_id, f.parent_id FROM up u JOIN folder f ON f.id = u.above_id WHERE f.parent_id IS NOT NULL)
    SELECT folder_id, above_id FROM up;

-- Texts that lists sort and search by are ordered by bytes, as SQLite does and whatever the database's locale: a prefix is a range.
-- only: pgsql
ALTER TABLE device ALTER COLUMN name_key TYPE TEXT COLLATE "C", ALTER COLUMN serial TYPE TEXT COLLATE "C",
    ALTER COLUMN udid TYPE TEXT COLLATE "C", ALTER COLUMN imei TYPE TEXT COLLATE "C", ALTER COLUMN eas_device_id TYPE TEXT COLLATE "C";
ALTER TABLE person ALTER COLUMN login_key TYPE TEXT COLLATE "C", ALTER COLUMN name TYPE TEXT COLLATE "C";
-- all
CREATE INDEX person_login ON person (login_key);
CREATE INDEX person_lower_name ON person (LOWER(name));

-- What lists ask for by one filter (PRF-09).
CREATE INDEX device_lost ON device (lost_ms) WHERE lost_ms IS NOT NULL;
CREATE INDEX device_platform ON device (platform) WHERE platform <> 'ios';
CREATE INDEX device_mode ON device (mode) WHERE mode <> 'ios_mdm';
CREATE INDEX message_at ON message (at_ms, id);
CREATE INDEX device_imei ON device (imei);
CREATE INDEX device_eas ON device (eas_device_id);
-- Identities for life (IOS-06): when the renewal of one is asked for (again), and since when a newer one is used instead.
ALTER TABLE certificate ADD COLUMN renew_ms BIGINT;
ALTER TABLE certificate ADD COLUMN superseded_ms BIGINT;
UPDATE certificate SET renew_ms = (not_before_ms + not_after_ms) / 2;
-- Identities of devices that came from another server (IOS-13): known by hash, not in our revocation list, never renewed by us.
ALTER TABLE certificate ADD COLUMN imported BIGINT NOT NULL DEFAULT 0;
CREATE INDEX certificate_renew ON certificate (renew_ms) WHERE slot = 'current' AND status = 'active';
CREATE INDEX certificate_ends ON certificate (not_after_ms, fingerprint) WHERE slot = 'current' AND status = 'active';
CREATE INDEX certificate_old ON certificate (superseded_ms) WHERE status = 'superseded';

-- Commands: what they brought, and how often they were refused; a wipe outlives its device object (DEV-12). Whether a record has open
-- ones is asked of the table, not counted beside it.
DROP INDEX command_open;
ALTER TABLE source_record DROP COLUMN queued;
-- only: pgsql
ALTER TABLE command ALTER COLUMN device_id DROP NOT NULL;
ALTER TABLE command ADD COLUMN result TEXT;
ALTER TABLE command ADD COLUMN refusals BIGINT NOT NULL DEFAULT 0;
-- only: sqlite3
ALTER TABLE command RENAME TO command_old;
CREATE TABLE command (
    id TEXT PRIMARY KEY,
    record_id TEXT NOT NULL REFERENCES source_record (id) ON DELETE CASCADE,
    device_id TEXT REFERENCES device (id) ON DELETE CASCADE, -- NULL: a wipe whose object was deleted
    seq BIGINT NOT NULL,
    request_type TEXT NOT NULL,
    payload TEXT NOT NULL,
    sealed BIGINT NOT NULL DEFAULT 0,
    open BIGINT NOT NULL DEFAULT 1,
    state TEXT NOT NULL,
    coalesce_key TEXT,
    leaving BIGINT NOT NULL DEFAULT 0,
    task_id TEXT,
    offers BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL DEFAULT '',
    sent_ms BIGINT,
    notnow_ms BIGINT,
    done_ms BIGINT,
    expires_ms BIGINT,
    error TEXT,
    result TEXT,                    -- JSON: what the answer said beyond its status, if nothing else keeps it
    refusals BIGINT NOT NULL DEFAULT 0, -- removal and wipe: how often the device answered with an error
    UNIQUE (record_id, seq)
);
INSERT INTO command (id, record_id, device_id, seq, request_type, payload, sealed, open, state, coalesce_key, leaving, task_id,
                         offers, created_ms, created_by, sent_ms, notnow_ms, done_ms, expires_ms, error)
SELECT id, record_id, device_id, seq, request_type, payload, sealed, open, state, coalesce_key, leaving, task_id, offers,
       created_ms, created_by, sent_ms, notnow_ms, done_ms, expires_ms, error FROM command_old;
DROP TABLE command_old;
CREATE INDEX command_device ON command (device_id, created_ms);
CREATE INDEX command_done ON command (done_ms);
CREATE INDEX command_task ON command (task_id);
-- all
CREATE INDEX command_open ON command (record_id, seq) WHERE open = 1;
CREATE INDEX command_expiry ON command (expires_ms) WHERE open = 1 AND expires_ms IS NOT NULL;
CREATE INDEX command_leaving ON command (sent_ms) WHERE open = 1 AND leaving = 1;

-- SQLite has no DELETE inside WITH: a list of apps is written through this view, so that it is one statement there as well.
-- only: sqlite3
CREATE VIEW device_app_list AS SELECT device_id, detail AS apps FROM device_app;
CREATE TRIGGER device_app_list_put INSTEAD OF INSERT ON device_app_list
BEGIN
    DELETE FROM device_app WHERE device_id = NEW.device_id
       AND identifier NOT IN (SELECT json_extract(value, '$.identifier') FROM json_each(NEW.apps));
    INSERT INTO device_app (device_id, identifier, name, version, short_version, size, detail)
    SELECT NEW.device_id, json_extract(value, '$.identifier'), json_extract(value, '$.name'), json_extract(value, '$.version'),
           json_extract(value, '$.short_version'), json_extract(value, '$.size'), json_extract(value, '$.detail')
      FROM json_each(NEW.apps) WHERE true
    ON CONFLICT (device_id, identifier) DO UPDATE
       SET name = excluded.name, version = excluded.version, short_version = excluded.short_version, size = excluded.size,
           detail = excluded.detail;
END;
-- all

-- What a challenge is for: identity (of management, by SCEP), service (an answer to the Profile Service), report (the identity that signs the
-- second answer, and nothing else).
ALTER TABLE challenge ADD COLUMN purpose TEXT NOT NULL DEFAULT 'identity';
CREATE INDEX challenge_pending ON challenge (pending_id);

-- Quick tasks (DEV-07). Devices are named here and not referenced: what became of one is still to be seen after it was deleted.
DROP TABLE quick_task_device;
DROP TABLE quick_task;
CREATE TABLE quick_task (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    summary TEXT NOT NULL,              -- JSON for people, without what may be secret
    options TEXT NOT NULL,              -- JSON, sealed
    target TEXT NOT NULL,               -- JSON: {"devices": n} or {"filter": {…}}
    cursor TEXT,                        -- preparing: how far the list was walked
    walked BIGINT NOT NULL DEFAULT 0,
    limit_admin TEXT NOT NULL DEFAULT '', -- whoever started it may see some folders only
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    spread_ms BIGINT NOT NULL DEFAULT 0,
    expiry_ms BIGINT NOT NULL DEFAULT 0,  -- after a device was to be notified; 0 = never
    hidden BIGINT NOT NULL DEFAULT 0,
    state TEXT NOT NULL,                -- preparing running done cancelling cancelled
    counts TEXT NOT NULL DEFAULT '{}',  -- devices by state, as of checked_ms
    checked_ms BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX quick_task_created ON quick_task (created_ms, id);
CREATE INDEX quick_task_running ON quick_task (checked_ms) WHERE state = 'running';
CREATE TABLE quick_task_device (
    task_id TEXT NOT NULL REFERENCES quick_task (id) ON DELETE CASCADE,
    device_id TEXT NOT NULL,
    n BIGINT NOT NULL,                  -- the order of the list when the task began
    name TEXT NOT NULL,
    command_id TEXT,
    state TEXT NOT NULL,                -- waiting ordered not_applicable failed cancelled; with a command, it tells the rest
    reason TEXT NOT NULL DEFAULT '',
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (task_id, device_id),
    UNIQUE (task_id, n)
);
CREATE INDEX quick_task_device_waiting ON quick_task_device (task_id, n) WHERE state = 'waiting';
CREATE INDEX quick_task_device_command ON quick_task_device (command_id) WHERE command_id IS NOT NULL;

-- Nodes: the names that devices may be given, and each address that a node has given to any (NOD-02, NOD-06). names: [{"name", "from"}] as found;
-- extra_names: of administrators; default_name: "" = the host of conf_url.
ALTER TABLE node ADD COLUMN conf_url TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN names TEXT NOT NULL DEFAULT '[]';
ALTER TABLE node ADD COLUMN extra_names TEXT NOT NULL DEFAULT '[]';
ALTER TABLE node ADD COLUMN default_name TEXT NOT NULL DEFAULT '';
ALTER TABLE node ADD COLUMN outbound BIGINT NOT NULL DEFAULT 1;
ALTER TABLE node ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
CREATE TABLE node_url (
    url TEXT NOT NULL,
    node_id TEXT NOT NULL REFERENCES node (id) ON DELETE CASCADE,
    PRIMARY KEY (url, node_id)
);
CREATE INDEX node_url_node ON node_url (node_id);
ALTER TABLE pending_enrollment ADD COLUMN base_url TEXT NOT NULL DEFAULT '';
ALTER TABLE source_record ADD COLUMN base_url TEXT NOT NULL DEFAULT ''; -- in the profile of the device; "" = not known
CREATE INDEX source_record_url ON source_record (base_url, device_id) WHERE live = 1 AND kind = 'mdm';
