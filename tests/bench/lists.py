"""PRF-09: the console's list of devices with a million of them, through the API, on PostgreSQL.

Floor: the list of one device's commands (a page that reads a handful of rows by key) in the same run. Visited rows are what PostgreSQL says it
fetched from tables and indexes for one page; the page's own look-ups (owner, messages, commands of 50 rows) are among them.
"""
import statistics
import time

from clients import Console
from fleet import RECORDS, ROOT, filling, generate

DEVICES, REPEATS = 1_000_000, 5
LIMIT_MS, LIMIT_ROWS = 100, 20_000  # a walk of 5,000 rows, each in the index and in the table, and the page's look-ups

NODE = "00000000-0000-4000-d000-000000000001"
# Each filter with a value that many devices have and with one that few have, and some together.
FILTERS = ["", "state=active", "state=blocked", "state=retired", "mode=ios_mdm", "mode=eas", "platform=blackberry", "platform=ios",
           "ownership=corporate", "lost=1", "source_removed=1", f"node={NODE}", f"node={NODE[:-1]}2", f"node={NODE}&state=blocked&source_removed=1",
           "folder=00000000-0000-4000-a000-000000000007", f"folder={ROOT}", "person=00000000-0000-4000-b000-000000000042",
           "group=00000000-0000-4000-c000-000000000001", "group=00000000-0000-4000-c000-000000000002", "q=phone%200001", "q=SER4242",
           "q=u4242", "q=nothing", "state=blocked&platform=blackberry&ownership=corporate"]
# A node whose address all profiles have, one with none; one person in fifty of a source that was removed: more than a page is sorted from.
FURTHER = f"""
INSERT INTO node (id, name, base_url, software, holder, started_ms, seen_ms) VALUES ('{NODE}', 'many', '', '', '', 0, 0),
       ('{NODE[:-1]}2', 'none', '', '', '', 0, 0);
INSERT INTO node_url (url, node_id) VALUES ('https://mdm.example.org', '{NODE}');
UPDATE person SET source_id = NULL WHERE login LIKE 'u%00' OR login LIKE 'u%50'"""
SORTS = ["name", "-name", "last_contact", "-last_contact"]


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
    generate(zone, filling(DEVICES), RECORDS, FURTHER)
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
