-- Address filters (ACC-02, ACC-03): one ordered list for each category, of a node or of the whole zone.
CREATE TABLE access_list (
    id TEXT PRIMARY KEY,
    node_id TEXT REFERENCES node (id) ON DELETE CASCADE, -- NULL: the zone's, asked after the node's own
    category TEXT NOT NULL,         -- admin, endpoint, tools
    version BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE UNIQUE INDEX access_list_one ON access_list (category, COALESCE(node_id, ''));

CREATE TABLE access_filter (
    list_id TEXT NOT NULL REFERENCES access_list (id) ON DELETE CASCADE,
    position BIGINT NOT NULL,       -- from 1
    action TEXT NOT NULL,           -- allow, deny
    addresses TEXT NOT NULL,        -- as typed: addresses, CIDR, ranges, separated by commas
    description TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (list_id, position)
);
