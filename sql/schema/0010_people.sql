-- People, directories and administrators (spec 02).

-- ---------------------------------------------------------------- an administrator that is a directory's group (USR-12)
-- The same DN may stand in several directories, and who runs one of them gives no rights by it in another's name: a group is one source's.
ALTER TABLE admin ADD COLUMN source_id TEXT REFERENCES user_source (id) ON DELETE SET NULL; -- kind group: NULL = nobody, its source is unknown or gone
ALTER TABLE admin ADD COLUMN group_id TEXT; -- kind group: as user_group.id, whether it has been seen or not
-- Groups that were named by a DN alone stay if one source only has shown it. The others are of no source, and give nobody any right.
UPDATE admin SET group_id = (SELECT MIN(g.id) FROM user_group g JOIN user_source s ON s.id = g.source_id AND s.kind <> 'local'
                              WHERE LOWER(g.dn) = LOWER(admin.login_key))
 WHERE kind = 'group' AND 1 = (SELECT COUNT(*) FROM user_group g JOIN user_source s ON s.id = g.source_id AND s.kind <> 'local'
                                WHERE LOWER(g.dn) = LOWER(admin.login_key));
UPDATE admin SET source_id = (SELECT source_id FROM user_group WHERE id = admin.group_id) WHERE group_id IS NOT NULL;
UPDATE admin SET login_key = login_key || ' ' || COALESCE(source_id, '') WHERE kind = 'group';
CREATE INDEX admin_group ON admin (group_id) WHERE group_id IS NOT NULL;

-- Without statistics PostgreSQL takes an index of what is managed and lives for a short one, and walked it for devices by their ids: now it is of use for URLs only.
DROP INDEX source_record_url;
CREATE INDEX source_record_url ON source_record (base_url, device_id) WHERE live = 1 AND kind = 'mdm' AND base_url <> '';

-- Its first column was of no use: it is what the index is for, so PostgreSQL leaves it out of the search and read all mail records for one DeviceId.
DROP INDEX source_record_native;
CREATE UNIQUE INDEX source_record_native ON source_record (native_id, person_id) WHERE live = 1 AND kind = 'eas';
