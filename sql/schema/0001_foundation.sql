-- The foundation: zone, people, devices, identities, enrolment, commands, policies, background work.
-- Ids are UUID text, times milliseconds since 1970 (BIGINT), JSON is TEXT, truth values BIGINT 0/1.
-- "version" columns count edits and are the ETag of the API.

-- ---------------------------------------------------------------- zone
CREATE TABLE zone_setting (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,            -- JSON, or sealed text if sealed = 1
    sealed BIGINT NOT NULL DEFAULT 0,
    updated_ms BIGINT NOT NULL
);

CREATE TABLE node (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    base_url TEXT NOT NULL,
    software TEXT NOT NULL,
    holder TEXT NOT NULL,           -- random per server start: a second live holder of the name is refused
    mdm_role BIGINT NOT NULL DEFAULT 1,
    role_removed_ms BIGINT,
    started_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL
);

-- What caches must forget (15-decisions, Invalidation). Pruned after an hour.
-- only: pgsql
CREATE TABLE change (
    seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    xid BIGINT NOT NULL DEFAULT CAST(CAST(pg_current_xact_id() AS TEXT) AS BIGINT)
);
CREATE INDEX change_place ON change (xid, seq);
-- only: sqlite3
CREATE TABLE change (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    at_ms BIGINT NOT NULL
);
-- all
CREATE INDEX change_at ON change (at_ms);

-- Background work. One row per job; leases make it run on one node at a time.
CREATE TABLE job (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    unique_key TEXT UNIQUE,         -- coalesces: a second job with the same key joins the first
    payload TEXT NOT NULL DEFAULT '{}',
    state TEXT NOT NULL DEFAULT 'waiting', -- waiting running done failed cancelled
    run_at_ms BIGINT NOT NULL,
    lease_owner TEXT,
    lease_until_ms BIGINT NOT NULL DEFAULT 0,
    attempts BIGINT NOT NULL DEFAULT 0,
    max_attempts BIGINT NOT NULL DEFAULT 10,
    progress_done BIGINT NOT NULL DEFAULT 0,
    progress_total BIGINT NOT NULL DEFAULT 0,
    cancel_asked BIGINT NOT NULL DEFAULT 0,
    result TEXT,                    -- JSON: what it did, or why it failed
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL DEFAULT '',
    finished_ms BIGINT
);
CREATE INDEX job_due ON job (state, run_at_ms);
CREATE INDEX job_kind ON job (kind, created_ms);

CREATE TABLE audit (
    id TEXT PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    ip TEXT NOT NULL,
    action TEXT NOT NULL,           -- "device.unenroll", "person.create", …
    object_kind TEXT NOT NULL,
    object_id TEXT NOT NULL,
    object_name TEXT NOT NULL,
    outcome TEXT NOT NULL,          -- "done", "refused", "failed"
    detail TEXT NOT NULL DEFAULT '{}', -- JSON: before/after, reason; secrets masked
    request_id TEXT NOT NULL DEFAULT ''
);
CREATE INDEX audit_at ON audit (at_ms, id);
CREATE INDEX audit_object ON audit (object_id, at_ms);

-- ---------------------------------------------------------------- people
CREATE TABLE user_source (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,             -- local, ldap
    position BIGINT NOT NULL DEFAULT 0,
    simple BIGINT NOT NULL DEFAULT 0, -- its people log in without a domain; at most one
    config TEXT NOT NULL DEFAULT '{}',
    secret TEXT,                    -- sealed bind password
    enabled BIGINT NOT NULL DEFAULT 1,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX user_source_simple ON user_source (simple) WHERE simple = 1;

CREATE TABLE user_domain (
    domain TEXT PRIMARY KEY,        -- lower case, unique over all sources
    source_id TEXT NOT NULL REFERENCES user_source (id) ON DELETE CASCADE
);

CREATE TABLE user_folder (          -- a source's containers
    id TEXT PRIMARY KEY,
    source_id TEXT NOT NULL REFERENCES user_source (id) ON DELETE CASCADE,
    parent_id TEXT REFERENCES user_folder (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    dn TEXT
);

CREATE TABLE user_group (
    id TEXT PRIMARY KEY,
    source_id TEXT NOT NULL REFERENCES user_source (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    dn TEXT,
    position BIGINT NOT NULL DEFAULT 0 -- precedence among groups: smaller first
);

CREATE TABLE person (
    id TEXT PRIMARY KEY,
    source_id TEXT REFERENCES user_source (id) ON DELETE SET NULL, -- NULL: source removed (USR-08)
    folder_id TEXT REFERENCES user_folder (id) ON DELETE SET NULL,
    login TEXT NOT NULL,
    login_key TEXT NOT NULL,        -- lower case
    name TEXT NOT NULL,
    mail TEXT NOT NULL DEFAULT '',
    mail_key TEXT NOT NULL DEFAULT '',
    phone TEXT NOT NULL DEFAULT '',
    guid TEXT,
    dn TEXT,
    password TEXT,                  -- local source: scrypt hash
    disabled BIGINT NOT NULL DEFAULT 0,
    gone_ms BIGINT,
    created_ms BIGINT NOT NULL,
    refreshed_ms BIGINT,
    version BIGINT NOT NULL DEFAULT 1,
    UNIQUE (source_id, login_key)
);
CREATE INDEX person_mail ON person (mail_key);
CREATE INDEX person_name ON person (name, id);

CREATE TABLE user_group_member (
    group_id TEXT NOT NULL REFERENCES user_group (id) ON DELETE CASCADE,
    person_id TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, person_id)
);
CREATE INDEX user_group_member_person ON user_group_member (person_id);

-- ---------------------------------------------------------------- administrators, sessions
CREATE TABLE role (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    rights TEXT NOT NULL,           -- JSON: {"device": ["read","write",…], …}; "*" = all
    builtin BIGINT NOT NULL DEFAULT 0,
    version BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE admin (
    id TEXT PRIMARY KEY,
    login TEXT NOT NULL,
    login_key TEXT NOT NULL UNIQUE, -- lower case; also matched against r->user of other httpd authentication
    name TEXT NOT NULL DEFAULT '',
    mail TEXT NOT NULL DEFAULT '',
    kind TEXT NOT NULL,             -- local (password here), external (httpd authenticates), group (LDAP group DN)
    password TEXT,
    role_id TEXT NOT NULL REFERENCES role (id),
    alerts BIGINT NOT NULL DEFAULT 0,
    disabled BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE admin_folder (         -- none = the whole zone
    admin_id TEXT NOT NULL REFERENCES admin (id) ON DELETE CASCADE,
    folder_id TEXT NOT NULL,
    PRIMARY KEY (admin_id, folder_id)
);

CREATE TABLE session (
    token_hash TEXT PRIMARY KEY,    -- SHA-256 of the cookie's token
    kind TEXT NOT NULL,             -- admin, portal
    subject_id TEXT NOT NULL,       -- admin.id or person.id
    created_ms BIGINT NOT NULL,
    used_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,     -- absolute
    ip TEXT NOT NULL DEFAULT '',
    agent TEXT NOT NULL DEFAULT ''
);
CREATE INDEX session_subject ON session (kind, subject_id);
CREATE INDEX session_expires ON session (expires_ms);

CREATE TABLE api_token (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    admin_id TEXT NOT NULL REFERENCES admin (id) ON DELETE CASCADE,
    role_id TEXT NOT NULL REFERENCES role (id),
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    used_ms BIGINT
);

-- ---------------------------------------------------------------- device objects
CREATE TABLE folder (               -- device folders; root "Mobile Devices" and "Pending Enrollment" are fixed
    id TEXT PRIMARY KEY,
    parent_id TEXT REFERENCES folder (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL DEFAULT 'normal', -- root, pending, normal
    settings TEXT NOT NULL DEFAULT '{}', -- refresh and removal schedule
    version BIGINT NOT NULL DEFAULT 1,
    UNIQUE (parent_id, name)
);

CREATE TABLE device (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    name_key TEXT NOT NULL,         -- lower case, for search and sort
    folder_id TEXT NOT NULL REFERENCES folder (id),
    person_id TEXT REFERENCES person (id) ON DELETE SET NULL,
    state TEXT NOT NULL,            -- pending active wipe_pending retired blocked removed
    mode TEXT NOT NULL,             -- ios_mdm ios_mdm_eas android_app android_app_eas eas unknown
    level TEXT NOT NULL DEFAULT 'managed', -- managed email_only
    ownership TEXT NOT NULL DEFAULT 'personal', -- corporate personal
    platform TEXT NOT NULL DEFAULT 'unknown', -- ios android windows blackberry unknown
    model TEXT NOT NULL DEFAULT '',
    product TEXT NOT NULL DEFAULT '', -- iPhone15,2
    serial TEXT,
    udid TEXT,
    imei TEXT,
    eas_device_id TEXT,
    os_version TEXT NOT NULL DEFAULT '',
    build TEXT NOT NULL DEFAULT '',
    phone TEXT NOT NULL DEFAULT '',
    supervised BIGINT,
    passcode_present BIGINT,
    passcode_compliant BIGINT,
    encryption BIGINT,              -- HardwareEncryptionCaps
    battery DOUBLE PRECISION,
    capacity_gb DOUBLE PRECISION,
    free_gb DOUBLE PRECISION,
    compliance TEXT NOT NULL DEFAULT 'unknown', -- compliant noncompliant unknown
    inventory TEXT NOT NULL DEFAULT '{}', -- the rest, JSON by section
    inventory_ms BIGINT,
    test_device BIGINT NOT NULL DEFAULT 0,
    lost_ms BIGINT,
    department TEXT NOT NULL DEFAULT '',
    site TEXT NOT NULL DEFAULT '',
    location TEXT NOT NULL DEFAULT '',
    notes TEXT NOT NULL DEFAULT '',
    settings TEXT NOT NULL DEFAULT '{}', -- own refresh schedule
    created_ms BIGINT NOT NULL,
    enrolled_ms BIGINT,
    last_contact_ms BIGINT,         -- written behind (PRF-12)
    last_contact_ip TEXT NOT NULL DEFAULT '',
    last_eas_ms BIGINT,
    version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX device_folder ON device (folder_id, name_key, id);
CREATE INDEX device_person ON device (person_id);
CREATE INDEX device_name ON device (name_key, id);
CREATE INDEX device_state ON device (state, name_key, id);
CREATE INDEX device_contact ON device (COALESCE(last_contact_ms, 0), id); -- the expression of the list that sorts by it
CREATE INDEX device_serial ON device (serial);
CREATE INDEX device_udid ON device (udid);

CREATE TABLE device_group (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,             -- static dynamic
    criteria TEXT,                  -- dynamic: JSON
    base_kind TEXT NOT NULL DEFAULT 'zone', -- zone folder group
    base_id TEXT,
    position BIGINT NOT NULL DEFAULT 0, -- precedence among groups: smaller first
    refreshed_ms BIGINT,
    version BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE device_group_member (
    group_id TEXT NOT NULL REFERENCES device_group (id) ON DELETE CASCADE,
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    PRIMARY KEY (group_id, device_id)
);
CREATE INDEX device_group_member_device ON device_group_member (device_id);

CREATE TABLE device_app (
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    identifier TEXT NOT NULL,
    name TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    short_version TEXT NOT NULL DEFAULT '',
    size BIGINT,
    managed BIGINT NOT NULL DEFAULT 0,
    detail TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (device_id, identifier)
);

CREATE TABLE device_event (         -- the device's timeline: enrolment steps, changes
    id TEXT PRIMARY KEY,
    device_id TEXT REFERENCES device (id) ON DELETE CASCADE,
    pending_id TEXT,                -- before there is a device
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,             -- "enroll.profile", "enroll.scep", "enroll.authenticate", "enroll.token", "checkout", …
    detail TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX device_event_device ON device_event (device_id, at_ms);
CREATE INDEX device_event_pending ON device_event (pending_id, at_ms);

CREATE TABLE message (              -- what an administrator should see and acknowledge
    id TEXT PRIMARY KEY,
    object_kind TEXT NOT NULL,      -- device, bundle, zone
    object_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    severity BIGINT NOT NULL,       -- 1 normal 2 warning 3 error
    code TEXT NOT NULL,
    text TEXT NOT NULL,
    ack_ms BIGINT,
    ack_by TEXT
);
CREATE INDEX message_object ON message (object_kind, object_id, at_ms);
CREATE UNIQUE INDEX message_open ON message (object_kind, object_id, code) WHERE ack_ms IS NULL;

-- ---------------------------------------------------------------- source records and identities
CREATE TABLE source_record (
    id TEXT PRIMARY KEY,
    device_id TEXT REFERENCES device (id) ON DELETE CASCADE,
    person_id TEXT REFERENCES person (id) ON DELETE SET NULL,
    kind TEXT NOT NULL,             -- mdm agent eas ade
    class TEXT NOT NULL DEFAULT '', -- eas: native, outlook:<app>, other:<n>
    live BIGINT NOT NULL DEFAULT 1,
    native_id TEXT NOT NULL,        -- UDID or EnrollmentID; EAS: DeviceId
    state TEXT NOT NULL,            -- issued authenticated enrolled leaving left
    topic TEXT,
    push_token TEXT,                -- hex
    push_magic TEXT,
    push_ok BIGINT NOT NULL DEFAULT 0, -- may be pushed: TokenUpdate seen and not refused since
    unlock_token TEXT,              -- sealed
    bootstrap_token TEXT,           -- sealed
    awaiting_configuration BIGINT NOT NULL DEFAULT 0,
    expelled BIGINT NOT NULL DEFAULT 0, -- an administrator decided: 403 com.apple.unrecognized.device
    generation BIGINT NOT NULL DEFAULT 1, -- counts re-enrolments
    queue_seq BIGINT NOT NULL DEFAULT 0,  -- last command sequence number given out (DEV-15)
    queued BIGINT NOT NULL DEFAULT 0,     -- commands open in the queue
    attrs TEXT NOT NULL DEFAULT '{}',
    match_rule TEXT NOT NULL DEFAULT '{}',
    first_seen_ms BIGINT NOT NULL,
    last_seen_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX source_record_native ON source_record (kind, native_id, person_id) WHERE live = 1 AND kind = 'eas';
CREATE UNIQUE INDEX source_record_mdm ON source_record (kind, native_id) WHERE live = 1 AND kind IN ('mdm', 'agent', 'ade');
CREATE UNIQUE INDEX source_record_one ON source_record (device_id, kind, class) WHERE live = 1;
CREATE INDEX source_record_device ON source_record (device_id);
CREATE INDEX source_record_person ON source_record (person_id, kind);

CREATE TABLE match_key (            -- normalised identifiers for certain matches (facts/android.md 7.5)
    space TEXT NOT NULL,            -- udid serial imei easid …
    value TEXT NOT NULL,
    record_id TEXT NOT NULL REFERENCES source_record (id) ON DELETE CASCADE,
    PRIMARY KEY (space, value, record_id)
);
CREATE INDEX match_key_record ON match_key (record_id);

CREATE TABLE ca (                   -- the built-in certification authority and its SCEP registration authority
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL UNIQUE,      -- ca, ra, profile (profile signer)
    certificate TEXT NOT NULL,      -- PEM
    private_key TEXT NOT NULL,      -- sealed PEM
    created_ms BIGINT NOT NULL
);

CREATE TABLE certificate (          -- every identity that we issued
    fingerprint TEXT PRIMARY KEY,   -- SHA-256 of the DER, hex
    serial TEXT NOT NULL UNIQUE,    -- hex
    subject TEXT NOT NULL,
    pending_id TEXT,                -- the enrolment it was issued for
    record_id TEXT REFERENCES source_record (id) ON DELETE CASCADE, -- bound at Authenticate
    status TEXT NOT NULL,           -- issued active superseded revoked
    slot TEXT NOT NULL DEFAULT 'current', -- current next (during renewal)
    not_before_ms BIGINT NOT NULL,
    not_after_ms BIGINT NOT NULL,
    issued_ms BIGINT NOT NULL,
    revoked_ms BIGINT,
    revoke_reason TEXT,
    first_used_ms BIGINT,
    der TEXT NOT NULL DEFAULT ''     -- base64: a repeated request gets the same certificate again
);
CREATE INDEX certificate_record ON certificate (record_id);
CREATE INDEX certificate_expiry ON certificate (not_after_ms);

-- ---------------------------------------------------------------- enrolment
CREATE TABLE pending_enrollment (
    id TEXT PRIMARY KEY,
    token_hash TEXT NOT NULL UNIQUE, -- SHA-256 of the link token
    token TEXT NOT NULL,            -- sealed link token (viewable by those entitled)
    person_id TEXT REFERENCES person (id) ON DELETE CASCADE,
    policy_id TEXT,                 -- enrolment policy that allowed it
    ownership TEXT NOT NULL,
    level TEXT NOT NULL DEFAULT 'managed',
    platform TEXT NOT NULL DEFAULT 'unknown',
    origin TEXT NOT NULL,           -- self single bulk ade
    phone TEXT NOT NULL DEFAULT '',
    otp TEXT,                       -- sealed
    otp_expires_ms BIGINT,
    otp_tries BIGINT NOT NULL DEFAULT 0,
    state TEXT NOT NULL,            -- created opened profile issued authenticated completed expired cancelled locked
    step TEXT NOT NULL DEFAULT '{}', -- JSON: time of each step, last error for people
    expected_serial TEXT,
    device_id TEXT,                 -- once known; or the device that is enrolled again
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL DEFAULT '',
    expires_ms BIGINT NOT NULL,
    finished_ms BIGINT,
    version BIGINT NOT NULL DEFAULT 1
);
CREATE INDEX pending_person ON pending_enrollment (person_id, created_ms);
CREATE INDEX pending_state ON pending_enrollment (state, expires_ms);

CREATE TABLE challenge (            -- single-use SCEP challenges (SEC-02, R14)
    hash TEXT PRIMARY KEY,          -- SHA-256 of the challenge
    pending_id TEXT REFERENCES pending_enrollment (id) ON DELETE CASCADE,
    record_id TEXT REFERENCES source_record (id) ON DELETE CASCADE, -- renewal of this record instead
    subject TEXT NOT NULL,          -- the CN that the server sets
    expires_ms BIGINT NOT NULL,
    used_ms BIGINT,
    transaction_id TEXT,            -- the same client may repeat the same request
    fingerprint TEXT,               -- what was issued
    csr_hash TEXT                   -- SHA-256 of the request that used it
);

-- ---------------------------------------------------------------- commands
CREATE TABLE command (
    id TEXT PRIMARY KEY,            -- CommandUUID
    record_id TEXT NOT NULL REFERENCES source_record (id) ON DELETE CASCADE,
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,            -- order in the record's queue
    request_type TEXT NOT NULL,
    payload TEXT NOT NULL,          -- JSON of the Command dictionary's further keys; sealed if it holds a secret
    sealed BIGINT NOT NULL DEFAULT 0,
    open BIGINT NOT NULL DEFAULT 1, -- 1 while queued or sent or not now
    state TEXT NOT NULL,            -- queued sent notnow acknowledged error format_error expired cancelled superseded
    coalesce_key TEXT,              -- a newer one with the same key replaces an open one that was not sent
    leaving BIGINT NOT NULL DEFAULT 0, -- removal or wipe: the only thing a leaving device may fetch
    task_id TEXT,
    offers BIGINT NOT NULL DEFAULT 0,
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL DEFAULT '',
    sent_ms BIGINT,
    notnow_ms BIGINT,
    done_ms BIGINT,
    expires_ms BIGINT,
    error TEXT,                     -- JSON: ErrorChain or our reason
    UNIQUE (record_id, seq)
);
CREATE INDEX command_open ON command (record_id, open, seq);
CREATE INDEX command_device ON command (device_id, created_ms);
CREATE INDEX command_done ON command (done_ms);
CREATE INDEX command_task ON command (task_id);

CREATE TABLE quick_task (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    options TEXT NOT NULL DEFAULT '{}',
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    spread_s BIGINT NOT NULL DEFAULT 0,
    expires_ms BIGINT,
    hidden BIGINT NOT NULL DEFAULT 0,
    state TEXT NOT NULL             -- running done cancelled
);

CREATE TABLE quick_task_device (
    task_id TEXT NOT NULL REFERENCES quick_task (id) ON DELETE CASCADE,
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    command_id TEXT,
    state TEXT NOT NULL,            -- initiated notified delivered succeeded failed expired not_applicable
    reason TEXT NOT NULL DEFAULT '',
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (task_id, device_id)
);

-- ---------------------------------------------------------------- push: one row per record that must be woken
CREATE TABLE push (
    record_id TEXT PRIMARY KEY REFERENCES source_record (id) ON DELETE CASCADE,
    due_ms BIGINT NOT NULL,
    attempts BIGINT NOT NULL DEFAULT 0,
    lease_owner TEXT,
    lease_until_ms BIGINT NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT ''
);
CREATE INDEX push_due ON push (due_ms);

-- ---------------------------------------------------------------- policies
CREATE TABLE policy_folder (
    id TEXT PRIMARY KEY,
    parent_id TEXT REFERENCES policy_folder (id),
    name TEXT NOT NULL,
    UNIQUE (parent_id, name)
);

CREATE TABLE policy (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,             -- device_control security email enrollment
    name TEXT NOT NULL,
    folder_id TEXT REFERENCES policy_folder (id),
    description TEXT NOT NULL DEFAULT '',
    published BIGINT NOT NULL DEFAULT 0, -- number of the version in force; 0 = none yet
    has_sandbox BIGINT NOT NULL DEFAULT 0,
    republish BIGINT NOT NULL DEFAULT 0, -- something it uses has changed (EML-05)
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1,
    UNIQUE (type, name)
);

CREATE TABLE policy_version (       -- number 0 is the sandbox
    policy_id TEXT NOT NULL REFERENCES policy (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    settings TEXT NOT NULL,         -- JSON: {"<setting>": {"corporate": v, "personal": v}}; v: value, "inherit", null = not set
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (policy_id, number)
);

CREATE TABLE assignment (           -- policy or bundle → user side or device side
    id TEXT PRIMARY KEY,
    object_kind TEXT NOT NULL,      -- policy bundle
    object_id TEXT NOT NULL,
    object_type TEXT NOT NULL,      -- the policy's type; "bundle"
    target_kind TEXT NOT NULL,      -- person user_group user_folder user_source device device_group folder
    target_id TEXT NOT NULL,
    conflict TEXT NOT NULL DEFAULT 'user_first', -- user_first device_first device_only user_only; device-side targets
    position BIGINT NOT NULL DEFAULT 0, -- among assignments to the same target: smaller first
    options TEXT NOT NULL DEFAULT '{}', -- schedule, block
    created_ms BIGINT NOT NULL,
    created_by TEXT NOT NULL DEFAULT '',
    UNIQUE (object_id, target_kind, target_id)
);
CREATE INDEX assignment_target ON assignment (target_kind, target_id, object_type);

CREATE TABLE effective_policy (     -- result of the resolver, one row per device and type
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    hash TEXT NOT NULL,
    settings TEXT NOT NULL,         -- JSON: {"<setting>": {"value": v, "policy": id, "version": n, "via": "device_group:…"}}
    computed_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, type)
);

CREATE TABLE delivery (             -- what each channel has of it
    device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,
    type TEXT NOT NULL,
    channel TEXT NOT NULL,          -- mdm eas agent
    hash TEXT NOT NULL,
    state TEXT NOT NULL,            -- pending sent applied failed not_applicable
    error TEXT NOT NULL DEFAULT '',
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, type, channel)
);
CREATE INDEX delivery_state ON delivery (type, state);

CREATE TABLE recompute (            -- devices whose effective policy must be computed again
    device_id TEXT PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
    since_ms BIGINT NOT NULL
);

-- ---------------------------------------------------------------- fixed rows
INSERT INTO folder (id, parent_id, name, kind) VALUES
    ('00000000-0000-4000-8000-000000000001', NULL, 'Mobile Devices', 'root'),
    ('00000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001', 'Pending Enrollment', 'pending');
INSERT INTO policy_folder (id, parent_id, name) VALUES ('00000000-0000-4000-8000-000000000003', NULL, 'Policies');
INSERT INTO role (id, name, rights, builtin) VALUES
    ('00000000-0000-4000-8000-000000000011', 'super_admin', '{"*":["*"]}', 1),
    ('00000000-0000-4000-8000-000000000012', 'help_desk',
     '{"device":["read","task"],"pending":["read","write"],"exception":["read","write"],"task":["read","write"],"person":["read"]}', 1),
    ('00000000-0000-4000-8000-000000000013', 'auditor', '{"*":["read"]}', 1),
    ('00000000-0000-4000-8000-000000000014', 'administrator',
     '{"device":["*"],"pending":["*"],"exception":["*"],"task":["*"],"policy":["*"],"bundle":["*"],"person":["*"],"folder":["*"],"group":["*"],"audit":["read"]}', 1),
    ('00000000-0000-4000-8000-000000000015', 'super_help_desk',
     '{"device":["read","write","task"],"pending":["read","write"],"exception":["read","write"],"task":["read","write"],"person":["read","write"]}', 1);
