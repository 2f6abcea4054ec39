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
    attempts BIGINT NOT NULL DEFAULT 0,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (device_id, type, channel)
);
CREATE INDEX delivery_result ON delivery (result_id, channel, state, device_id);
CREATE INDEX delivery_command ON delivery (command_id) WHERE command_id IS NOT NULL;
-- Contents of profiles that wait in queues: many devices get the same one; a command names it by {"$stored": hash}.
CREATE TABLE stored_profile (
    hash TEXT PRIMARY KEY,
    body TEXT NOT NULL,             -- base64
    created_ms BIGINT NOT NULL
);

-- What must be computed again: marks as they were made, and the devices that they came to.
CREATE TABLE recompute (
    id TEXT PRIMARY KEY,
    target_kind TEXT NOT NULL,      -- as in assignment; or "criteria": device whose inventory changed, its dynamic groups first
    target_id TEXT NOT NULL,
    since_ms BIGINT NOT NULL
);
CREATE INDEX recompute_since ON recompute (since_ms, id);
CREATE TABLE recompute_device (
    device_id TEXT PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
    since_ms BIGINT NOT NULL
);

ALTER TABLE policy_version ADD COLUMN level_corporate TEXT NOT NULL DEFAULT 'none'; -- preset it began with (POL-03)
ALTER TABLE policy_version ADD COLUMN level_personal TEXT NOT NULL DEFAULT 'none';
ALTER TABLE policy_version ADD COLUMN note TEXT NOT NULL DEFAULT '';
