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
