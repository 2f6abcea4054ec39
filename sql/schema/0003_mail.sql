-- ActiveSync servers and which user sources they serve (EAS-01, USR-13).
CREATE TABLE eas_server (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    host TEXT NOT NULL,
    port BIGINT NOT NULL,
    tls BIGINT NOT NULL DEFAULT 1,
    domain TEXT NOT NULL DEFAULT '',  -- Windows or mail domain that user names are written with
    user_form TEXT NOT NULL DEFAULT 'as_typed', -- as_typed, user, domain_user, mail (EAS-03)
    pin TEXT NOT NULL DEFAULT '',     -- SHA-256 (hex) of the certificate that an administrator accepted; '': publicly trusted
    enabled BIGINT NOT NULL DEFAULT 1,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL DEFAULT 1
);

CREATE TABLE eas_server_source (
    server_id TEXT NOT NULL REFERENCES eas_server (id) ON DELETE CASCADE,
    source_id TEXT NOT NULL REFERENCES user_source (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,         -- order among the servers of the source, from 1
    PRIMARY KEY (server_id, source_id)
);
CREATE INDEX eas_server_source_order ON eas_server_source (source_id, position);

-- Administrators keep user sources and mail servers too.
UPDATE role SET rights = '{"device":["*"],"pending":["*"],"exception":["*"],"task":["*"],"policy":["*"],"bundle":["*"],"person":["*"],"folder":["*"],"group":["*"],"source":["*"],"mail":["*"],"audit":["read"]}'
 WHERE id = '00000000-0000-4000-8000-000000000014';
