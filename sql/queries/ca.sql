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
-- args: fingerprint:text, serial:text, subject:text, pending_id:text?, record_id:text?, slot:text, not_before:i64, not_after:i64, now:i64, renew:i64, der:text
INSERT INTO certificate (fingerprint, serial, subject, pending_id, record_id, status, slot, not_before_ms, not_after_ms, issued_ms,
                         renew_ms, der)
VALUES (:fingerprint, :serial, :subject, :pending_id, :record_id, 'issued', :slot, :not_before, :not_after, :now, :renew, :der);

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

-- What a revocation list must name: revoked, not expired, and ours.
-- name: certificate_revoked :many
-- args: now:i64
-- cols: serial:text, revoked_ms:i64, reason:text?
SELECT serial, COALESCE(revoked_ms, issued_ms), revoke_reason FROM certificate WHERE status = 'revoked' AND not_after_ms > :now AND imported = 0
ORDER BY serial;

-- ---------------------------------------------------------------- renewal (IOS-06)

-- Renewed identities that were issued and never used: a newer one takes their place.
-- name: certificate_next_unused :many
-- args: record_id:text, keep:text
-- cols: fingerprint:text
SELECT fingerprint FROM certificate
 WHERE record_id = :record_id AND slot = 'next' AND status = 'issued' AND fingerprint <> :keep;

-- name: certificate_promote :exec
-- args: fingerprint:text, now:i64
UPDATE certificate SET slot = 'current', status = 'active', first_used_ms = :now
 WHERE fingerprint = :fingerprint AND slot = 'next' AND status = 'issued';

-- name: certificate_supersede :exec
-- args: fingerprint:text, now:i64
UPDATE certificate SET status = 'superseded', superseded_ms = :now
 WHERE record_id = (SELECT n.record_id FROM certificate n WHERE n.fingerprint = :fingerprint)
   AND fingerprint <> :fingerprint AND status IN ('issued', 'active');

-- Identities whose renewal is due, longest due first. A removed or leaving device renews nothing.
-- name: identity_due :many
-- args: now:i64, count:i64
-- cols: fingerprint:text, record_id:text, topic:text?, base_url:text, account:text, apple_account:text
SELECT c.fingerprint, c.record_id, r.topic, r.base_url, r.account, r.apple_account
  FROM certificate c JOIN source_record r ON r.id = c.record_id
 WHERE c.slot = 'current' AND c.status = 'active' AND c.renew_ms <= :now
   AND r.live = 1 AND r.state = 'enrolled' AND r.expelled = 0
 ORDER BY c.renew_ms LIMIT :count;

-- Takes a due one: nobody else asks for its renewal before this time.
-- name: identity_take :exec
-- args: fingerprint:text, now:i64, again:i64
UPDATE certificate SET renew_ms = :again
 WHERE fingerprint = :fingerprint AND renew_ms <= :now AND slot = 'current' AND status = 'active';

-- name: identity_challenge_drop :exec
-- args: record_id:text
DELETE FROM challenge WHERE record_id = :record_id AND used_ms IS NULL;

-- name: identity_challenge_add :exec
-- args: hash:text, record_id:text, subject:text, expires:i64
INSERT INTO challenge (hash, record_id, subject, expires_ms) VALUES (:hash, :record_id, :subject, :expires);

-- name: identity_old :many
-- args: before:i64, count:i64
-- cols: fingerprint:text
SELECT fingerprint FROM certificate WHERE status = 'superseded' AND superseded_ms <= :before ORDER BY superseded_ms LIMIT :count;

-- Devices whose identity ends soon and whose last renewal failed. Each is told of once a day; never again, for this identity, once an
-- administrator has seen it.
-- name: identity_ending :many
-- args: before:i64, day_ago:i64, code:text, count:i64
-- cols: device_id:text, not_after:i64
SELECT r.device_id, c.not_after_ms
  FROM certificate c JOIN source_record r ON r.id = c.record_id AND r.live = 1 AND r.state = 'enrolled'
 WHERE c.not_after_ms <= :before AND c.slot = 'current' AND c.status = 'active' AND r.device_id IS NOT NULL
   AND NOT EXISTS (SELECT 1 FROM certificate n WHERE n.record_id = c.record_id AND n.slot = 'next' AND n.status = 'issued')
   AND (SELECT q.state FROM command q WHERE q.record_id = c.record_id AND q.coalesce_key = 'identity.renew'
         ORDER BY q.seq DESC LIMIT 1) IN ('error', 'format_error', 'failed', 'expired')
   AND NOT EXISTS (SELECT 1 FROM message m WHERE m.object_kind = 'device' AND m.object_id = r.device_id AND m.code = :code
                      AND m.at_ms >= c.issued_ms AND (m.ack_ms IS NOT NULL OR m.at_ms > :day_ago))
 ORDER BY c.not_after_ms LIMIT :count;

-- name: identity_ending_done :exec
-- args: device_id:text, code:text, now:i64
UPDATE message SET ack_ms = :now, ack_by = '' WHERE object_kind = 'device' AND object_id = :device_id AND code = :code AND ack_ms IS NULL;

-- Identities in use by the end of their life, and what has become of the last request to renew them.
-- name: identity_list :many
-- args: before:i64, after:i64, after_id:text, limit:text, count:i64
-- cols: fingerprint:text, serial:text, not_after:i64, renew:i64?, device_id:text?, device_name:text?, issued:i64, command_state:text?, command_error:text?
SELECT c.fingerprint, c.serial, c.not_after_ms, c.renew_ms, r.device_id, d.name,
       (SELECT COUNT(*) FROM certificate n WHERE n.record_id = c.record_id AND n.slot = 'next' AND n.status = 'issued'),
       (SELECT q.state FROM command q WHERE q.record_id = c.record_id AND q.coalesce_key = 'identity.renew'
         ORDER BY q.seq DESC LIMIT 1),
       (SELECT q.error FROM command q WHERE q.record_id = c.record_id AND q.coalesce_key = 'identity.renew'
         ORDER BY q.seq DESC LIMIT 1)
  FROM certificate c JOIN source_record r ON r.id = c.record_id AND r.live = 1 LEFT JOIN device d ON d.id = r.device_id
 WHERE c.slot = 'current' AND c.status = 'active' AND c.not_after_ms < :before
   AND (c.not_after_ms, c.fingerprint) > (:after, :after_id)
   AND (:limit = '' OR d.folder_id IN (SELECT a.folder_id FROM admin_folder l JOIN folder_above a ON a.above_id = l.folder_id
                                        WHERE l.admin_id = :limit))
 ORDER BY c.not_after_ms, c.fingerprint LIMIT :count;
