-- What people read later, and zone settings.

-- name: audit_add :exec1
-- args: id:text, now:i64, actor_kind:text, actor_id:text, actor_name:text, ip:text, action:text
-- args: object_kind:text, object_id:text, object_name:text, outcome:text, detail:text, request_id:text
-- keep
INSERT INTO audit (id, at_ms, actor_kind, actor_id, actor_name, ip, action, object_kind, object_id, object_name, outcome,
    detail, request_id)
VALUES (:id, :now, :actor_kind, :actor_id, :actor_name, :ip, :action, :object_kind, :object_id, :object_name, :outcome,
    :detail, :request_id);

-- name: device_event_add :exec1
-- args: id:text, device_id:text?, pending_id:text?, now:i64, kind:text, detail:text
-- keep
INSERT INTO device_event (id, device_id, pending_id, at_ms, kind, detail)
VALUES (:id, :device_id, :pending_id, :now, :kind, :detail);

-- name: message_put :exec1
-- args: id:text, object_kind:text, object_id:text, now:i64, severity:i64, code:text, text:text
INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text)
VALUES (:id, :object_kind, :object_id, :now, :severity, :code, :text)
ON CONFLICT (object_kind, object_id, code) WHERE ack_ms IS NULL
DO UPDATE SET at_ms = excluded.at_ms, severity = excluded.severity, text = excluded.text;

-- name: setting_get :one
-- args: name:text
-- cols: value:text, sealed:i64
-- keep
SELECT value, sealed FROM zone_setting WHERE name = :name;

-- name: setting_put :exec1
-- args: name:text, value:text, sealed:i64, now:i64
INSERT INTO zone_setting (name, value, sealed, updated_ms) VALUES (:name, :value, :sealed, :now)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, sealed = excluded.sealed, updated_ms = excluded.updated_ms;
