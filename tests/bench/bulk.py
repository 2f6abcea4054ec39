"""PEN-06: a file of 50,000 rows, all of different people: upload, check, run, result; what a row costs, at the end as at the beginning, and that no child grows.
PEN_ROWS=2000 makes it short."""
import os
import threading
import time

import harness
from clients import Console
from measure import calls, cpu_seconds
from tasks import memory_mb

ROWS = int(os.environ.get("PEN_ROWS", 50_000))
LIMITS = {"memory_mb": 16, "upload_s": 60, "page_ms": 500}


def people(zone, rows):
    source = zone.sql("SELECT source_id FROM person WHERE login = ?", harness.PERSON)[0][0]
    zone.sql("INSERT INTO person (id, source_id, login, login_key, name, mail, mail_key, created_ms) "
             "SELECT '00000000-0000-4000-8000-' || LPAD(i::text, 12, '0'), ?, 'bulk' || i, 'bulk' || i, 'Bulk ' || i, 'bulk' || i || '@example.org', "
             "'bulk' || i || '@example.org', 1 FROM generate_series(1, ?) AS i", source, rows)


class Watch(threading.Thread):
    """Memory of the children, how long the page's look at the run takes, and how far it is at which cost: (walked, CPU of all)."""

    def __init__(self, zone, pg):
        super().__init__(daemon=True)
        self.zone, self.pg, self.console, self.memory, self.looks, self.steps, self.over = zone, pg, Console(zone), [], [], [], threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            self.memory.append(memory_mb(self.zone))
            began = time.monotonic()
            run = self.console.get("/bulk-runs")["items"]
            self.looks.append((time.monotonic() - began) * 1000)
            if run and run[0]["state"] == "running":
                self.steps.append((run[0]["walked"], cpu_seconds([self.zone.process.pid, *self.zone.child_pids(), *self.pg.pids()])))

    def per_1000(self, least, most):
        """CPU seconds of the rows between these shares of them."""
        inside = [step for step in self.steps if ROWS * least <= step[0] <= ROWS * most]
        (first, began), (last, ended) = inside[0], inside[-1]
        return (ended - began) / (last - first) * 1000


def phase(zone, pg, act, until):
    """Seconds, statements, CPU of httpd and of the database, of act and what it began."""
    pids = lambda: [zone.process.pid, *zone.child_pids()]  # noqa: E731
    sql, cpu, db, began = calls(zone), cpu_seconds(pids()), cpu_seconds(pg.pids()), time.monotonic()
    act()
    harness.wait_for(until, timeout=3600, step=0.2)
    return {"seconds": round(time.monotonic() - began, 1), "cpu_s_per_1000": round((cpu_seconds(pids()) - cpu) / ROWS * 1000, 3),
            "db_cpu_s_per_1000": round((cpu_seconds(pg.pids()) - db) / ROWS * 1000, 3),
            "sql_per_row": round((sum(calls(zone).values()) - sum(sql.values())) / ROWS, 2)}


def pen_06(_):
    factory, pg = harness.Factory(), harness.Postgres("-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=1000")
    zone = None
    try:
        zone = factory.zone("pgsql", pg=pg, children=1, log_level="warn")
        zone.sql("CREATE EXTENSION pg_stat_statements")
        zone.start()
        people(zone, ROWS)
        console, run = Console(zone), {}
        text = ("username,email,notify,cost centre\n" + "".join(f"bulk{i},bulk{i}@example.org,none,{i % 90}\n" for i in range(1, ROWS + 1))).encode()
        watch = Watch(zone, pg)
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
    first, last = watch.per_1000(0, 0.3), watch.per_1000(0.7, 1)
    seen = {"memory_mb": round(max(watch.memory[half:]) - max(watch.memory[:half]), 1), "upload_s": run["upload_s"], "page_ms": round(sorted(watch.looks)[len(watch.looks) * 99 // 100], 1)}
    return {"id": "PEN-06", "name": f"bulk run of {ROWS:,} rows: enrolments made (ratio: CPU of a row at the end to one at the beginning)", "value": round(ROWS / made["seconds"], 1),
            "unit": "rows/s", "reference": None, "ratio": round(last / first, 2), "cpu_s_per_1000": round(made["cpu_s_per_1000"] + made["db_cpu_s_per_1000"], 3),
            "sql_per_request": made["sql_per_row"], "check": check, "run": made, "result": result, **seen, "child_mb": round(max(watch.memory), 1), "limits": LIMITS,
            "target": "each person one enrolment, memory flat, the last rows cost what the first do (ratio <= 1.3), the console goes on",
            "met": tuple(n) == (ROWS, ROWS) and run["lines"] == ROWS and last <= 1.3 * first and all(seen[k] <= most for k, most in LIMITS.items())}
