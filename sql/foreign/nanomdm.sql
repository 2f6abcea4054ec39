-- Device channels of a NanoMDM database, page by page: $1 is the last id of the page before. Its times have no zone: they are the server's.
SELECT e.id, e.type, CASE WHEN e.enabled THEN '1' ELSE '0' END, e.topic, e.push_magic, e.token_hex,
       CAST(CAST(EXTRACT(EPOCH FROM CAST(d.token_update_at AS TIMESTAMPTZ)) * 1000 AS BIGINT) AS TEXT),
       CAST(CAST(EXTRACT(EPOCH FROM CAST(e.last_seen_at AS TIMESTAMPTZ)) * 1000 AS BIGINT) AS TEXT),
       CAST(CAST(EXTRACT(EPOCH FROM CAST(d.authenticate_at AS TIMESTAMPTZ)) * 1000 AS BIGINT) AS TEXT),
       d.serial_number, d.authenticate, d.token_update, d.bootstrap_token_b64, d.identity_cert,
       (SELECT STRING_AGG(c.sha256, ' ' ORDER BY c.updated_at DESC, c.sha256) FROM cert_auth_associations c WHERE c.id = e.id)
  FROM enrollments e JOIN devices d ON d.id = e.device_id
 WHERE e.user_id IS NULL AND e.id > $1
 ORDER BY e.id LIMIT 200
