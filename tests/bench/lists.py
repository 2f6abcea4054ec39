"""PRF-09: the console's list of devices with a million of them, through the API, on PostgreSQL.

Floor: the list of one device's commands (a page that reads a handful of rows by key) in the same run. Visited rows are what PostgreSQL says it
fetched from tables and indexes for one page; the page's own look-ups (owner, messages, commands of 50 rows) are among them.
"""
import statistics
import time

from clients import Console

DEVICES, PEOPLE, FOLDERS, REPEATS = 1_000_000, 10_000, 40, 5
LIMIT_MS, LIMIT_ROWS = 100, 20_000  # a walk of 5,000 rows, each in the index and in the table, and the page's look-ups
ROOT = "00000000-0000-4000-8000-000000000001"



def filling(devices):
    """Folders, people, devices and groups, each device in all of them."""
    return f"""
INSERT INTO folder (id, parent_id, name) SELECT '00000000-0000-4000-a000-' || lpad(i::text, 12, '0'), '{ROOT}', 'Site ' || i
  FROM generate_series(1, {FOLDERS}) i;
INSERT INTO folder_above (folder_id, above_id) SELECT id, id FROM folder WHERE name LIKE 'Site %';
INSERT INTO folder_above (folder_id, above_id) SELECT id, '{ROOT}' FROM folder WHERE name LIKE 'Site %';
INSERT INTO person (id, source_id, login, login_key, name, mail, mail_key, created_ms)
SELECT '00000000-0000-4000-b000-' || lpad(i::text, 12, '0'), (SELECT id FROM user_source LIMIT 1), 'u' || i, 'u' || i, 'Person ' || i,
       'u' || i || '@example.org', 'u' || i || '@example.org', 0 FROM generate_series(1, {PEOPLE}) i;
INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, platform, ownership, model, serial, udid, imei, os_version,
                    created_ms, enrolled_ms, last_contact_ms, lost_ms)
SELECT '00000000-0000-4000-9000-' || lpad(i::text, 12, '0'), 'Phone ' || lpad(((i * 7919) % {devices})::text, 7, '0'),
       'phone ' || lpad(((i * 7919) % {devices})::text, 7, '0'), '00000000-0000-4000-a000-' || lpad((1 + i % {FOLDERS})::text, 12, '0'),
       '00000000-0000-4000-b000-' || lpad((1 + i % {PEOPLE})::text, 12, '0'),
       CASE WHEN i % 100000 = 7 THEN 'blocked' WHEN i % 50 = 3 THEN 'retired' ELSE 'active' END, 'ios_mdm',
       CASE WHEN i % 300000 = 11 THEN 'blackberry' ELSE 'ios' END, CASE WHEN i % 3 = 0 THEN 'corporate' ELSE 'personal' END, 'iPhone',
       'SER' || i, upper(md5(i::text)), lpad(i::text, 15, '0'), '17.5', 0, 0, 1700000000000 + (i * 104729) % 100000000,
       CASE WHEN i % 20000 = 5 THEN 1700000000000 END FROM generate_series(1::bigint, {devices}) i;
INSERT INTO device_group (id, name, kind) VALUES ('00000000-0000-4000-c000-000000000001', 'Large', 'static'),
       ('00000000-0000-4000-c000-000000000002', 'Small', 'static');
INSERT INTO device_group_member (group_id, device_id) SELECT '00000000-0000-4000-c000-000000000001', id FROM device WHERE serial LIKE '%0';
INSERT INTO device_group_member (group_id, device_id) SELECT '00000000-0000-4000-c000-000000000002', id FROM device WHERE serial LIKE '%0000';
"""


FILTERS = ["", "state=active", "state=blocked", "state=retired", "platform=blackberry", "platform=ios", "ownership=corporate", "lost=1",
           "folder=00000000-0000-4000-a000-000000000007", f"folder={ROOT}", "person=00000000-0000-4000-b000-000000000042",
           "group=00000000-0000-4000-c000-000000000001", "group=00000000-0000-4000-c000-000000000002", "q=phone%200001", "q=SER4242",
           "q=u4242", "q=nothing", "state=blocked&platform=blackberry&ownership=corporate"]
SORTS = ["name", "-name", "last_contact", "-last_contact"]


def fill(zone, devices=DEVICES):
    for statement in filter(str.strip, filling(devices).split(";")):
        zone.sql(statement)
    for table in ("device", "person", "device_group_member", "folder_above"):
        zone.sql(f"ANALYZE {table}")


def visited(zone):
    return int(zone.sql("SELECT (SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_user_tables)"
                        " + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)")[0][0])


def timed(console, path):
    began = time.perf_counter()
    console.get(path)
    return (time.perf_counter() - began) * 1000


def rows_of(zone, console, path):
    """Rows that one page visits; statistics come within a second of the work."""
    time.sleep(1.2)
    console.get("/me")
    time.sleep(1.2)
    before = visited(zone)
    for _ in range(3):
        console.get(path)
    time.sleep(1.2)
    console.get("/me")
    time.sleep(1.2)
    return (visited(zone) - before) // 3


def prf_09(bench):
    zone = bench.zone
    console = Console(zone)
    fill(zone)
    floor = [timed(console, "/folders/" + ROOT) for _ in range(20)]
    pages = {}
    for query in FILTERS:
        for sort in SORTS:
            path = f"/devices?limit=50&sort={sort}&{query}"
            timed(console, path)
            pages[path] = statistics.median(timed(console, path) for _ in range(REPEATS))
    slowest = sorted(pages, key=pages.get, reverse=True)
    rows = {path: rows_of(zone, console, path) for path in slowest[:6]}
    worst, value = slowest[0], round(pages[slowest[0]], 1)
    return {"id": "PRF-09", "name": f"first page of {DEVICES:,} devices, slowest of {len(pages)} filters and orders (floor: one folder)",
            "value": value, "unit": "ms", "reference": round(statistics.median(floor), 2),
            "ratio": round(value / statistics.median(floor), 1), "cpu_s_per_1000": None, "sql_per_request": None, "slowest": worst,
            "median_ms": round(statistics.median(pages.values()), 1), "rows_visited": rows, "target": f"<= {LIMIT_MS} ms, <= {LIMIT_ROWS} rows",
            "met": value <= LIMIT_MS and max(rows.values()) <= LIMIT_ROWS}
