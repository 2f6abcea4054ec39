-- Refresh schedules (DEV-05): when a device is asked for its inventory next.
ALTER TABLE device ADD COLUMN refresh_due_ms BIGINT;
CREATE INDEX device_refresh ON device (refresh_due_ms) WHERE refresh_due_ms IS NOT NULL;
-- When the device brought its token: what Apple says of an earlier one does not count (PSH-01).
ALTER TABLE source_record ADD COLUMN push_token_ms BIGINT NOT NULL DEFAULT 0;

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

-- What lists ask for by one filter (PRF-09).
CREATE INDEX device_lost ON device (lost_ms) WHERE lost_ms IS NOT NULL;
CREATE INDEX device_imei ON device (imei);
CREATE INDEX device_eas ON device (eas_device_id);
-- Identities for life (IOS-06): when the renewal of one is asked for (again), and since when a newer one is used instead.
ALTER TABLE certificate ADD COLUMN renew_ms BIGINT;
ALTER TABLE certificate ADD COLUMN superseded_ms BIGINT;
UPDATE certificate SET renew_ms = (not_before_ms + not_after_ms) / 2;
CREATE INDEX certificate_renew ON certificate (renew_ms) WHERE slot = 'current' AND status = 'active';
CREATE INDEX certificate_ends ON certificate (not_after_ms, fingerprint) WHERE slot = 'current' AND status = 'active';
CREATE INDEX certificate_old ON certificate (superseded_ms) WHERE status = 'superseded';
