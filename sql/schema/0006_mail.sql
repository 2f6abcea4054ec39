-- ActiveSync complete: servers of people, policy keys, back ends' keys, wipes.

-- Which of its source's servers a person's mail is on (EAS-01). A server that is deleted is nobody's.
CREATE TABLE mail_home (
    person_id TEXT PRIMARY KEY REFERENCES person (id) ON DELETE CASCADE,
    server_id TEXT REFERENCES eas_server (id) ON DELETE CASCADE, -- that accepted the person; NULL: none yet
    accepted_ms BIGINT,             -- when it was found, not each time
    refused_ms BIGINT               -- when all linked servers refused the person; NULL: they don't
);
CREATE INDEX mail_home_server ON mail_home (server_id);
CREATE INDEX mail_home_refused ON mail_home (refused_ms) WHERE refused_ms IS NOT NULL;

-- What was agreed with a mail client by Provision (PRV-01 to PRV-03). Keys are unsigned 32 bit, 0 = none; revisions as mdm_delivery_rev() makes them.
CREATE TABLE eas_client (
    record_id TEXT PRIMARY KEY REFERENCES source_record (id) ON DELETE CASCADE,
    policy_key BIGINT NOT NULL DEFAULT 0,   -- that its requests have to carry
    key_rev BIGINT NOT NULL DEFAULT 0,      -- revision of the policy that the key stands for; 0: none was asked for
    key_version BIGINT NOT NULL DEFAULT 0,  -- protocol version that it was written for
    key_doc TEXT NOT NULL DEFAULT '',       -- SHA-256 of what we asked, as that version got it
    temp_key BIGINT NOT NULL DEFAULT 0,     -- offered; stays after it was acknowledged, so that an answer that was lost is given again
    temp_rev BIGINT NOT NULL DEFAULT 0,
    temp_version BIGINT NOT NULL DEFAULT 0,
    temp_doc TEXT NOT NULL DEFAULT '',
    temp_done BIGINT NOT NULL DEFAULT 0,    -- 1: acknowledged
    back_key BIGINT NOT NULL DEFAULT 0,     -- the mail server's, for relayed requests
    back_temp BIGINT NOT NULL DEFAULT 0,
    tries BIGINT NOT NULL DEFAULT 0,        -- how often it was told to provision, or began it, for this revision
    tries_rev BIGINT NOT NULL DEFAULT 0,
    tries_ms BIGINT NOT NULL DEFAULT 0,     -- the first of them
    lax TEXT,                               -- gets mail without policies: the result of the e-mail policy that allows it; '' = there is none; NULL = not
    wipe TEXT NOT NULL DEFAULT '',          -- full account
    wipe_by TEXT NOT NULL DEFAULT '',       -- admin server
    wipe_state TEXT NOT NULL DEFAULT '',    -- asked sent done failed
    wipe_then TEXT NOT NULL DEFAULT '',     -- retire delete
    wipe_was TEXT NOT NULL DEFAULT '',      -- state of the device before
    wipe_ms BIGINT                          -- of wipe_state
);

-- What mail servers' own device lists tell (EAS-05). A device that was never here is a record in state "discovered" without a device object.
CREATE TABLE eas_told (
    server_id TEXT NOT NULL REFERENCES eas_server (id) ON DELETE CASCADE,
    record_id TEXT NOT NULL REFERENCES source_record (id) ON DELETE CASCADE,
    said TEXT NOT NULL,             -- JSON: type, model, user_agent
    first_ms BIGINT NOT NULL,       -- 0: not told
    last_ms BIGINT NOT NULL,
    told_ms BIGINT NOT NULL,
    PRIMARY KEY (server_id, record_id)
);
CREATE INDEX eas_told_record ON eas_told (record_id);


-- Nothing asks for commands by their task: each device of one names its command.
DROP INDEX command_task;
-- only: pgsql
-- What a batch writes to rows it writes to very many: with room in the page the new version needs no entry in any index (POL-09).
ALTER TABLE source_record SET (fillfactor = 80);
ALTER TABLE device SET (fillfactor = 80);
ALTER TABLE push SET (fillfactor = 80);
-- all

-- The gate's exception for a device, whatever its state and policies say (GATE-03): allow block.
ALTER TABLE device ADD COLUMN mail_gate TEXT NOT NULL DEFAULT '';
-- A server as the version of an e-mail policy that goes past our proxy was published with it: an edit waits for publishing (EML-05). A sandbox has
-- the server as it is.
CREATE TABLE policy_server (
    policy_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    server_id TEXT NOT NULL REFERENCES eas_server (id) ON DELETE CASCADE,
    host TEXT NOT NULL,
    domain TEXT NOT NULL,
    user_form TEXT NOT NULL,
    PRIMARY KEY (policy_id, number, server_id),
    FOREIGN KEY (policy_id, number) REFERENCES policy_version (policy_id, number) ON DELETE CASCADE
);
CREATE INDEX policy_server_named ON policy_server (server_id);
-- A server that is disabled makes no account: whom its e-mail policies reach are looked at, too.
-- only: pgsql
INSERT INTO policy_server (policy_id, number, server_id, host, domain, user_form)
SELECT v.policy_id, v.number, e.id, e.host, e.domain, e.user_form FROM policy p
  JOIN policy_version v ON v.policy_id = p.id AND v.number = p.published AND p.published > 0
  JOIN eas_server e ON e.id IN (CAST(v.settings AS jsonb) #>> '{email.direct_server,corporate}', CAST(v.settings AS jsonb) #>> '{email.direct_server,personal}')
 WHERE p.type = 'email';
CREATE OR REPLACE FUNCTION recompute_server() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'user_source', x.source_id FROM eas_server_source x WHERE x.server_id = NEW.id
     UNION SELECT a.target_kind, a.target_id FROM policy p
      JOIN policy_version v ON v.policy_id = p.id AND v.number IN (0, p.published) AND NEW.id IN (CAST(v.settings AS jsonb) #>> '{email.direct_server,corporate}', CAST(v.settings AS jsonb) #>> '{email.direct_server,personal}')
      JOIN assignment a ON a.object_kind = 'policy' AND a.object_id = p.id
     WHERE p.type = 'email';
    RETURN NULL;
END $$;
-- only: sqlite3
INSERT INTO policy_server (policy_id, number, server_id, host, domain, user_form)
SELECT v.policy_id, v.number, e.id, e.host, e.domain, e.user_form FROM policy p
  JOIN policy_version v ON v.policy_id = p.id AND v.number = p.published AND p.published > 0
  JOIN eas_server e ON e.id IN (json_extract(v.settings, '$."email.direct_server".corporate'), json_extract(v.settings, '$."email.direct_server".personal'))
 WHERE p.type = 'email';
DROP TRIGGER recompute_server_set;
CREATE TRIGGER recompute_server_set AFTER UPDATE OF enabled ON eas_server WHEN OLD.enabled <> NEW.enabled
BEGIN
    INSERT INTO recompute (target_kind, target_id)
    SELECT 'user_source', x.source_id FROM eas_server_source x WHERE x.server_id = NEW.id
     UNION SELECT a.target_kind, a.target_id FROM policy p
      JOIN policy_version v ON v.policy_id = p.id AND v.number IN (0, p.published) AND NEW.id IN (json_extract(v.settings, '$."email.direct_server".corporate'), json_extract(v.settings, '$."email.direct_server".personal'))
      JOIN assignment a ON a.object_kind = 'policy' AND a.object_id = p.id
     WHERE p.type = 'email';
END;
-- all
