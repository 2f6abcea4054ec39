-- Account-driven enrolment: access tokens (domain/mdm_account.c).

-- name: account_pending :exec1
-- args: id:text, account:text, apple_account:text, expires_ms:i64
UPDATE pending_enrollment SET account = :account, apple_account = :apple_account, expires_ms = :expires_ms WHERE id = :id;

-- Those that nobody has used in time.
-- name: account_token_drop_old :exec
-- args: person_id:text, now:i64
DELETE FROM account_token WHERE person_id = :person_id AND used_ms IS NULL AND expires_ms < :now;

-- name: account_token_add :exec
-- args: hash:text, person_id:text, pending_id:text?, expires_ms:i64
INSERT INTO account_token (hash, person_id, pending_id, expires_ms) VALUES (:hash, :person_id, :pending_id, :expires_ms);

-- The enrolment of a token that is young, or was used by then.
-- name: account_token_use :one
-- args: hash:text, now:i64
-- cols: pending_id:text
UPDATE account_token SET used_ms = COALESCE(used_ms, :now)
 WHERE hash = :hash AND pending_id IS NOT NULL AND (used_ms IS NOT NULL OR expires_ms > :now)
RETURNING pending_id;

-- name: account_token_of :one
-- args: hash:text, pending_id:text
-- cols: hash:text
SELECT hash FROM account_token WHERE hash = :hash AND pending_id = :pending_id AND used_ms IS NOT NULL;

-- name: account_bearer :one
-- args: record_id:text
-- cols: bearer:text, person_id:text?, device_id:text?
SELECT bearer, person_id, device_id FROM source_record WHERE id = :record_id AND live = 1;

-- Of two requests with a new token one takes it.
-- name: account_token_take :one
-- args: hash:text, person_id:text, now:i64
-- cols: hash:text
DELETE FROM account_token WHERE hash = :hash AND person_id = :person_id AND pending_id IS NULL AND expires_ms > :now RETURNING hash;

-- name: account_bearer_set :exec1
-- args: record_id:text, bearer:text
UPDATE source_record SET bearer = :bearer WHERE id = :record_id AND live = 1;
