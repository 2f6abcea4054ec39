"""PEN-06: a file of 50,000 rows, all of different people: upload, check, run, result; what it costs, and that no child grows."""
import threading
import time

import harness
from clients import Console
from measure import cpu_seconds
from tasks import memory_mb

ROWS = 50_000
LIMITS = {"memory_mb": 16, "upload_s": 60, "page_ms": 500}


def people(zone, rows):
    source = zone.sql("SELECT source_id FROM person WHERE login = ?", harness.PERSON)[0][0]
    zone.sql("INSERT INTO person (id, source_id, login, login_key, name, mail, mail_key, created_ms) "
             "SELECT '00000000-0000-4000-8000-' || LPAD(i::text, 12, '0'), ?, 'bulk' || i, 'bulk' || i, 'Bulk ' || i, 'bulk' || i || '@example.org', "
             "'bulk' || i || '@example.org', 1 FROM generate_series(1, ?) AS i", source, rows)


class Watch(threading.Thread):
    """Memory of the children, and how long the page's look at the run takes."""

    def __init__(self, zone):
        super().__init__(daemon=True)
        self.zone, self.console, self.memory, self.looks, self.over = zone, Console(zone), [], [], threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            self.memory.append(memory_mb(self.zone))
            began = time.monotonic()
            self.console.get("/bulk-runs")
            self.looks.append((time.monotonic() - began) * 1000)


def phase(zone, pg, act, until):
    """Seconds, CPU of httpd and of the database, of act and what it began."""
    pids = lambda: [zone.process.pid, *zone.child_pids()]  # noqa: E731
    cpu, db, began = cpu_seconds(pids()), cpu_seconds(pg.pids()), time.monotonic()
    act()
    harness.wait_for(until, timeout=3600, step=0.2)
    return {"seconds": round(time.monotonic() - began, 1), "cpu_s_per_1000": round((cpu_seconds(pids()) - cpu) / ROWS * 1000, 3),
            "db_cpu_s_per_1000": round((cpu_seconds(pg.pids()) - db) / ROWS * 1000, 3)}


def pen_06(_):
    factory, pg = harness.Factory(), harness.Postgres()
    zone = None
    try:
        zone = factory.zone("pgsql", pg=pg, children=1, log_level="warn").start()
        people(zone, ROWS)
        console, run = Console(zone), {}
        text = ("username,email,notify,cost centre\n" + "".join(f"bulk{i},bulk{i}@example.org,none,{i % 90}\n" for i in range(1, ROWS + 1))).encode()
        watch = Watch(zone)
        watch.start()

        def upload():
            status, _, raw = console.http.fetch("POST", console.base + "/api/v1/bulk-runs?file=bench.csv", text, {**console.headers, "Content-Type": "text/csv"})
            assert status == 202, raw
            run["id"] = zone.sql("SELECT id FROM bulk_run")[0][0]
        state = lambda: zone.sql("SELECT state FROM bulk_run")[0][0]  # noqa: E731
        began = time.monotonic()
        check = phase(zone, pg, lambda: (upload(), run.update(upload_s=round(time.monotonic() - began, 1))), lambda: state() == "checked")
        made = phase(zone, pg, lambda: console.post(f"/bulk-runs/{run['id']}/start"), lambda: state() == "done")
        result = phase(zone, pg, lambda: run.update(lines=console.call("GET", f"/bulk-runs/{run['id']}/result")[2].count(b'"created"')), lambda: True)
        watch.over.set()
        watch.join()
        n = zone.sql("SELECT COUNT(*), COUNT(DISTINCT person_id) FROM pending_enrollment WHERE run_id = ?", run["id"])[0]
    finally:
        if zone:
            zone.close()
        factory.close()
        pg.close()
    half = len(watch.memory) // 2
    seen = {"memory_mb": round(max(watch.memory[half:]) - max(watch.memory[:half]), 1), "upload_s": run["upload_s"], "page_ms": round(sorted(watch.looks)[len(watch.looks) * 99 // 100], 1)}
    return {"id": "PEN-06", "name": f"bulk run of {ROWS:,} rows: enrolments made", "value": round(ROWS / made["seconds"], 1), "unit": "rows/s", "reference": None, "ratio": None,
            "cpu_s_per_1000": round(made["cpu_s_per_1000"] + made["db_cpu_s_per_1000"], 3), "sql_per_request": None, "check": check, "run": made, "result": result, **seen,
            "limits": LIMITS, "target": "each person one enrolment, memory flat, the console goes on",
            "met": tuple(n) == (ROWS, ROWS) and run["lines"] == ROWS and all(seen[k] <= most for k, most in LIMITS.items())}
