-- Queries of the core module: the device cache's loads, changes, contacts, the node, pruning, the look-up of callers.

-- part: live_certificates
(SELECT n.fingerprint FROM certificate n WHERE n.record_id = r.id AND n.slot = 'current'
           AND n.status IN ('issued', 'active') ORDER BY n.issued_ms DESC LIMIT 1),
(SELECT n.fingerprint FROM certificate n WHERE n.record_id = r.id AND n.slot = 'next'
           AND n.status IN ('issued', 'active') ORDER BY n.issued_ms DESC LIMIT 1)

-- part: waiting
CASE WHEN EXISTS (SELECT 1 FROM command q WHERE q.record_id = r.id AND q.open = 1) THEN 1 ELSE 0 END

-- A superseded identity counts as active while it may still be seen.
-- name: cache_by_cert :one
-- args: fingerprint:text, grace:i64
-- cols: status:text, record_id:text?, kind:text?, native_id:text?, live:i64, state:text?, expelled:i64, bearer:text?, queued:i64, device_id:text?, device_state:text?, lost_ms:i64?, current_fp:text?, next_fp:text?
-- keep
SELECT CASE WHEN c.status = 'superseded' AND c.superseded_ms > :grace THEN 'active' ELSE c.status END, c.record_id, r.kind, r.native_id, COALESCE(r.live, 0), r.state, COALESCE(r.expelled, 0), r.bearer,
       {waiting}, r.device_id, d.state, d.lost_ms,
       {live_certificates}
FROM certificate c
LEFT JOIN source_record r ON r.id = c.record_id
LEFT JOIN device d ON d.id = r.device_id
WHERE c.fingerprint = :fingerprint;

-- name: cache_by_native :one
-- args: native_id:text
-- cols: record_id:text, kind:text, native_id:text, state:text, expelled:i64, bearer:text, queued:i64, device_id:text?, device_state:text?, lost_ms:i64?, current_fp:text?, next_fp:text?
-- keep
SELECT r.id, r.kind, r.native_id, r.state, r.expelled, r.bearer, {waiting}, r.device_id, d.state, d.lost_ms,
       {live_certificates}
FROM source_record r
LEFT JOIN device d ON d.id = r.device_id
WHERE r.kind = 'mdm' AND r.native_id = :native_id AND r.live = 1;

-- Without an e-mail policy there is no mail (spec 03), if the zone wants that: always, never, or (auto) once a policy was published.
-- name: cache_by_eas :one
-- args: person_id:text, native_id:text
-- cols: record_id:text, state:text, expelled:i64, device_id:text?, device_state:text?, lost_ms:i64?, server_only:i64, gate:text?, policy:text?, policy_key:i64, key_rev:i64, key_version:i64, back_key:i64, tries:i64, tries_rev:i64, tries_ms:i64, lax:i64, account:i64
-- keep
SELECT r.id, r.state, r.expelled, r.device_id, d.state, d.lost_ms,
       CASE WHEN d.mail = 'proxy' THEN 0
            WHEN (SELECT z.value FROM zone_setting z WHERE z.name = 'mail.without_policy') = '"server_only"' THEN 1
            WHEN (SELECT z.value FROM zone_setting z WHERE z.name = 'mail.without_policy') = '"allow"' THEN CASE WHEN d.mail = 'direct' THEN 1 ELSE 0 END
            WHEN d.mail <> '' AND EXISTS (SELECT 1 FROM policy e WHERE e.type = 'email' AND e.published > 0) THEN 1 ELSE 0 END,
       d.mail_gate,
       (SELECT p.hash FROM delivery p WHERE p.device_id = r.device_id AND p.channel = 'eas' AND p.hash <> '' LIMIT 1),
       COALESCE(c.policy_key, 0), COALESCE(c.key_rev, 0), COALESCE(c.key_version, 0), COALESCE(c.back_key, 0),
       COALESCE(c.tries, 0), COALESCE(c.tries_rev, 0), COALESCE(c.tries_ms, 0),
       CASE WHEN c.lax = COALESCE((SELECT x.result_id FROM effective_policy x WHERE x.device_id = r.device_id AND x.type = 'email'), '') THEN 1 ELSE 0 END,
       CASE WHEN c.wipe = 'account' THEN 1 ELSE 0 END
FROM source_record r
LEFT JOIN device d ON d.id = r.device_id
LEFT JOIN eas_client c ON c.record_id = r.id
WHERE r.kind = 'eas' AND r.native_id = :native_id AND r.person_id = :person_id AND r.live = 1 AND r.state <> 'discovered';

-- The mark is where the next poll begins: on PostgreSQL the oldest transaction still open (its rows may yet appear below a
-- higher seq), on SQLite the last seq. There is always at least one row.
-- name: cache_changes :many
-- args: mark:i64
-- cols: mark:i64, seq:i64?, kind:text?, key:text?
-- only: pgsql
SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT), c.seq, c.kind, c.key
FROM (SELECT 1 AS one) AS o LEFT JOIN change c ON c.xid >= :mark ORDER BY c.seq;
-- only: sqlite3
SELECT (SELECT COALESCE(MAX(seq), 0) FROM change), c.seq, c.kind, c.key
FROM (SELECT 1 AS one) AS o LEFT JOIN change c ON c.seq > :mark ORDER BY c.seq;

-- What the list names are records; their devices get the times. Devices are taken in the order in which everybody takes many of them.
-- name: cache_contacts :exec
-- args: list:text
-- retry
-- only: pgsql
WITH held AS MATERIALIZED (
    SELECT d.id, l.ms, l.ip, l.peer
      FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS l (id text, ms bigint, ip text, peer text) JOIN source_record r ON r.id = l.id
      JOIN device d ON d.id = r.device_id WHERE COALESCE(d.last_contact_ms, 0) < l.ms ORDER BY d.id FOR NO KEY UPDATE OF d)
UPDATE device SET last_contact_ms = v.ms, last_contact_ip = v.ip, last_contact_peer = v.peer, lost_ms = NULL
FROM held v WHERE device.id = v.id AND COALESCE(device.last_contact_ms, 0) < v.ms;
-- only: sqlite3
UPDATE device SET last_contact_ms = v.ms, last_contact_ip = v.ip, last_contact_peer = v.peer, lost_ms = NULL
FROM (SELECT json_extract(value, '$.id') AS id, json_extract(value, '$.ms') AS ms, json_extract(value, '$.ip') AS ip,
             json_extract(value, '$.peer') AS peer
      FROM json_each(:list)) AS v JOIN source_record r ON r.id = v.id
WHERE device.id = r.device_id AND COALESCE(device.last_contact_ms, 0) < v.ms;

-- A device may have several mail clients in one list. What only mail knows has no other contact (DEV-02, DEV-06).
-- name: cache_mail_contacts :exec
-- args: list:text
-- retry
-- only: pgsql
WITH latest AS (
    SELECT DISTINCT ON (r.device_id) r.device_id AS id, l.ms, l.ip, l.peer
      FROM jsonb_to_recordset(CAST(:list AS jsonb)) AS l (id text, ms bigint, ip text, peer text) JOIN source_record r ON r.id = l.id
     ORDER BY r.device_id, l.ms DESC),
 held AS MATERIALIZED (
    SELECT d.id, l.ms, l.ip, l.peer FROM latest l JOIN device d ON d.id = l.id WHERE COALESCE(d.last_eas_ms, 0) < l.ms
     ORDER BY d.id FOR NO KEY UPDATE OF d)
UPDATE device SET last_eas_ms = v.ms,
       last_contact_ms = CASE WHEN device.mode = 'eas' THEN v.ms ELSE device.last_contact_ms END,
       last_contact_ip = CASE WHEN device.mode = 'eas' THEN v.ip ELSE device.last_contact_ip END,
       last_contact_peer = CASE WHEN device.mode = 'eas' THEN v.peer ELSE device.last_contact_peer END,
       lost_ms = CASE WHEN device.mode = 'eas' THEN NULL ELSE device.lost_ms END
FROM held v WHERE device.id = v.id AND COALESCE(device.last_eas_ms, 0) < v.ms;
-- only: sqlite3
UPDATE device SET last_eas_ms = v.ms,
       last_contact_ms = CASE WHEN device.mode = 'eas' THEN v.ms ELSE device.last_contact_ms END,
       last_contact_ip = CASE WHEN device.mode = 'eas' THEN v.ip ELSE device.last_contact_ip END,
       last_contact_peer = CASE WHEN device.mode = 'eas' THEN v.peer ELSE device.last_contact_peer END,
       lost_ms = CASE WHEN device.mode = 'eas' THEN NULL ELSE device.lost_ms END
FROM (SELECT r.device_id AS id, MAX(json_extract(l.value, '$.ms')) AS ms, json_extract(l.value, '$.ip') AS ip,
             json_extract(l.value, '$.peer') AS peer -- of the row that has the maximum
      FROM json_each(:list) AS l JOIN source_record r ON r.id = json_extract(l.value, '$.id') GROUP BY r.device_id) AS v
WHERE device.id = v.id AND COALESCE(device.last_eas_ms, 0) < v.ms;

-- Takes or keeps the name: ours already, given up, or silent for too long.
-- name: core_node_take :exec
-- args: id:text, name:text, base_url:text, conf_url:text, software:text, outbound:i64, holder:text, now:i64, silent_since:i64
-- retry
INSERT INTO node (id, name, base_url, conf_url, software, outbound, holder, started_ms, seen_ms)
VALUES (:id, :name, :base_url, :conf_url, :software, :outbound, :holder, :now, :now)
ON CONFLICT (name) DO UPDATE SET base_url = excluded.base_url, conf_url = excluded.conf_url, software = excluded.software,
    outbound = excluded.outbound,
    started_ms = CASE WHEN node.holder = excluded.holder THEN node.started_ms ELSE excluded.started_ms END,
    holder = excluded.holder, seen_ms = excluded.seen_ms
WHERE node.holder = excluded.holder OR node.seen_ms < :silent_since;

-- name: core_node_seen :one
-- args: name:text
-- cols: holder:text, seen_ms:i64
SELECT holder, seen_ms FROM node WHERE name = :name;

-- The last child of a stopping server gives the name back, unless a newer generation renewed it.
-- name: core_node_release :exec
-- args: holder:text, last:i64
-- retry
UPDATE node SET seen_ms = 0 WHERE holder = :holder AND seen_ms <= :last;

-- name: core_prune_challenges :exec
-- args: before:i64
DELETE FROM challenge WHERE expires_ms < :before;

-- name: core_prune_jobs :exec
-- args: before:i64
DELETE FROM job WHERE state IN ('done', 'failed', 'cancelled') AND finished_ms < :before;
