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
