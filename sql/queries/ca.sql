-- The zone's certification authority and the identities it issued.

-- name: ca_find :one
-- args: kind:text
-- cols: certificate:text, private_key:text
SELECT certificate, private_key FROM ca WHERE kind = :kind;

-- name: ca_all :many
-- cols: kind:text, certificate:text, private_key:text
SELECT kind, certificate, private_key FROM ca;

-- A second node that makes the same kind at the same time gets a conflict and reads what the first has made.
-- name: ca_add :exec1
-- args: id:text, kind:text, certificate:text, private_key:text, now:i64
INSERT INTO ca (id, kind, certificate, private_key, created_ms) VALUES (:id, :kind, :certificate, :private_key, :now);

-- name: ca_replace :exec
-- args: certificate:text, private_key:text, now:i64, kind:text, old:text
UPDATE ca SET certificate = :certificate, private_key = :private_key, created_ms = :now
WHERE kind = :kind AND certificate = :old;

-- name: certificate_add :exec1
-- args: fingerprint:text, serial:text, subject:text, pending_id:text?, record_id:text?, slot:text, not_before:i64, not_after:i64, now:i64, der:text
INSERT INTO certificate (fingerprint, serial, subject, pending_id, record_id, status, slot, not_before_ms, not_after_ms, issued_ms, der)
VALUES (:fingerprint, :serial, :subject, :pending_id, :record_id, 'issued', :slot, :not_before, :not_after, :now, :der);

-- name: certificate_find :one
-- args: fingerprint:text
-- cols: record_id:text?, pending_id:text?, status:text, not_after:i64, der:text
SELECT record_id, pending_id, status, not_after_ms, der FROM certificate WHERE fingerprint = :fingerprint;

-- A record whose identity may be renewed: in management, and with an identity that is in use.
-- name: certificate_renewable :one
-- args: record_id:text
-- cols: id:text
SELECT s.id FROM source_record s WHERE s.id = :record_id AND s.live = 1 AND s.expelled = 0 AND s.state = 'enrolled'
AND EXISTS (SELECT 1 FROM certificate c WHERE c.record_id = s.id AND c.status = 'active');

-- name: certificate_revoke :exec
-- args: now:i64, reason:text, fingerprint:text
UPDATE certificate SET status = 'revoked', revoked_ms = :now, revoke_reason = :reason
WHERE fingerprint = :fingerprint AND status <> 'revoked';

-- name: certificate_of_record :many
-- args: record_id:text, keep:text, keep_pending:text
-- cols: fingerprint:text
SELECT fingerprint FROM certificate
 WHERE record_id = :record_id AND status <> 'revoked' AND fingerprint <> :keep
   AND (pending_id IS NULL OR pending_id <> :keep_pending);

-- name: certificate_device :one
-- args: fingerprint:text
-- cols: device_id:text?
SELECT s.device_id FROM certificate c JOIN source_record s ON s.id = c.record_id WHERE c.fingerprint = :fingerprint;

-- What a revocation list must name: revoked and not expired.
-- name: certificate_revoked :many
-- args: now:i64
-- cols: serial:text, revoked_ms:i64
SELECT serial, COALESCE(revoked_ms, issued_ms) FROM certificate WHERE status = 'revoked' AND not_after_ms > :now
ORDER BY serial;
