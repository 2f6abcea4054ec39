"""Generated fleets on PostgreSQL, for all rows that need one: folders, people, devices in groups, and what the channels know of them.

Ids tell what they are: '…-9000-…' devices, '…-a000-…' folders, '…-b000-…' people, '…-c000-…' groups; the number at the end counts from 1.
"""
import zonefiles as zf

import harness

PEOPLE, FOLDERS = 10_000, 40
ROOT = "00000000-0000-4000-8000-000000000001"


def uid(kind, number):
    """SQL: the id of the so many-th thing of a kind; number is SQL as well."""
    return f"'00000000-0000-4000-{kind}000-' || lpad(({number})::text, 12, '0')"


def filling(devices):
    """Folders, people, devices and groups, each device in all of them."""
    return f"""
INSERT INTO folder (id, parent_id, name) SELECT {uid('a', 'i')}, '{ROOT}', 'Site ' || i FROM generate_series(1, {FOLDERS}) i;
INSERT INTO folder_above (folder_id, above_id) SELECT id, id FROM folder WHERE name LIKE 'Site %';
INSERT INTO folder_above (folder_id, above_id) SELECT id, '{ROOT}' FROM folder WHERE name LIKE 'Site %';
INSERT INTO person (id, source_id, login, login_key, name, mail, mail_key, created_ms)
SELECT {uid('b', 'i')}, (SELECT id FROM user_source LIMIT 1), 'u' || i, 'u' || i, 'Person ' || i,
       'u' || i || '@example.org', 'u' || i || '@example.org', 0 FROM generate_series(1, {PEOPLE}) i;
INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, platform, ownership, model, serial, udid, imei, os_version,
                    created_ms, enrolled_ms, last_contact_ms, lost_ms)
SELECT {uid('9', 'i')}, 'Phone ' || lpad(((i * 7919) % {devices})::text, 7, '0'),
       'phone ' || lpad(((i * 7919) % {devices})::text, 7, '0'), {uid('a', f'1 + i % {FOLDERS}')}, {uid('b', f'1 + i % {PEOPLE}')},
       CASE WHEN i % 100000 = 7 THEN 'blocked' WHEN i % 50 = 3 THEN 'retired' ELSE 'active' END, 'ios_mdm',
       CASE WHEN i % 300000 = 11 THEN 'blackberry' ELSE 'ios' END, CASE WHEN i % 3 = 0 THEN 'corporate' ELSE 'personal' END, 'iPhone',
       'SER' || i, upper(md5(i::text)), lpad(i::text, 15, '0'), '17.5', 0, 0, 1700000000000 + (i * 104729) % 100000000,
       CASE WHEN i % 20000 = 5 THEN 1700000000000 END FROM generate_series(1::bigint, {devices}) i;
INSERT INTO device_group (id, name, kind) VALUES ({uid('c', 1)}, 'Large', 'static'), ({uid('c', 2)}, 'Small', 'static');
INSERT INTO device_group_member (group_id, device_id) SELECT {uid('c', 1)}, id FROM device WHERE serial LIKE '%0';
INSERT INTO device_group_member (group_id, device_id) SELECT {uid('c', 2)}, id FROM device WHERE serial LIKE '%0000'"""


# What the channels know of them: a record of management with its identity, for each tenth one of mail as well.
RECORDS = f"""
INSERT INTO source_record (id, device_id, person_id, kind, native_id, state, topic, push_token, push_magic, push_ok, base_url, first_seen_ms, last_seen_ms)
SELECT md5('r' || id)::uuid::text, id, person_id, 'mdm', udid, 'enrolled', '{harness.TOPIC}', 'ab', 'magic', 1, 'https://mdm.example.org', 0, 0
  FROM device WHERE serial LIKE 'SER%';
INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms)
SELECT md5('e' || id)::uuid::text, id, person_id, 'eas', 'native', serial, 'enrolled', 0, 0 FROM device WHERE serial LIKE 'SER%0';
INSERT INTO certificate (fingerprint, serial, subject, record_id, status, not_before_ms, not_after_ms, issued_ms)
SELECT md5('a' || id) || md5('b' || id), md5(id), '', md5('r' || id)::uuid::text, 'active', 0, 4000000000000, 0 FROM device
 WHERE serial LIKE 'SER%'"""


def generate(zone, *texts):
    """Runs statements that make very many rows: without checks of foreign keys, and with indexes (but for keys) made anew at the end."""
    import psycopg2
    db = psycopg2.connect(zf.split_db(zone.db_url)[1])
    db.autocommit = True
    cursor = db.cursor()
    statements = [s for text in texts for s in text.split(";") if s.strip()]
    tables = sorted({s.split("INSERT INTO ", 1)[1].split()[0] for s in statements if "INSERT INTO " in s})
    try:
        cursor.execute("SET session_replication_role = replica; SET maintenance_work_mem = '256MB'; SET work_mem = '64MB'")
        cursor.execute("SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i"
                       " JOIN pg_class t ON t.oid = i.indrelid WHERE t.relname = ANY (%s) AND NOT i.indisunique", (tables,))
        indexes = cursor.fetchall()
        for name, _ in indexes:
            cursor.execute(f"DROP INDEX {name}")
        for statement in statements:
            cursor.execute(statement)
        for _, definition in indexes:
            cursor.execute(definition)
        for table in tables:
            cursor.execute(f"VACUUM (ANALYZE) {table}")
        cursor.execute("CHECKPOINT")
    finally:
        db.close()
