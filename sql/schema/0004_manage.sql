-- Refresh schedules (DEV-05): when a device is asked for its inventory next.
ALTER TABLE device ADD COLUMN refresh_due_ms BIGINT;
CREATE INDEX device_refresh ON device (refresh_due_ms) WHERE refresh_due_ms IS NOT NULL;
-- When the device brought its token: what Apple says of an earlier one does not count (PSH-01).
ALTER TABLE source_record ADD COLUMN push_token_ms BIGINT NOT NULL DEFAULT 0;
