"""PRF-08: pushes of one node to a stand-in of Apple's push service, a million devices on their schedule, on PostgreSQL."""
import re
import subprocess
import time
from pathlib import Path

import harness
import zonefiles as zf
from measure import cpu_seconds
from pushca import Apple

PUSH_DUE, PUSH_ALL, PUSH_MINUTES, PUSH_STREAMS = 40_000, 1_000_000, 120, 100
PUSH_CLAIM = ("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT q.record_id FROM push q WHERE q.due_ms <= 1 AND q.lease_until_ms <= 1"
              " ORDER BY q.due_ms LIMIT 100 FOR UPDATE SKIP LOCKED")


class PushService:
    """nghttpd as Apple's push service: every push is accepted. It must be faster than we are."""

    def __init__(self, folder, apple, check=True):
        self.tokens = folder / "docs" / "3" / "device"
        self.tokens.mkdir(parents=True, exist_ok=True)
        self.knows("ab")
        self.port = zf.free_port()
        self.process = subprocess.Popen(["nghttpd", *(["--verify-client"] if check else []), "-m", "1000", "-d", str(folder / "docs"),
                                         "--address=127.0.0.1", str(self.port), apple.server, apple.server],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        harness.wait_for(lambda: self.connections() is not None)

    def knows(self, token):
        (self.tokens / token).write_bytes(b"")

    def connections(self):
        """How many others have to it; None while it does not listen."""
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        if not any(r[1].endswith(f":{self.port:04X}") and r[3] == "0A" for r in rows):
            return None
        return sum(r[2].endswith(f":{self.port:04X}") and r[3] == "01" for r in rows)

    def close(self):
        self.process.terminate()
        self.process.wait()


def push_floor(folder, apple):
    """What another client reaches on one connection to it."""
    service = PushService(folder, apple, check=False)
    try:
        (folder / "body").write_text('{"mdm":"magic"}')
        done = subprocess.run(["h2load", "-n", "40000", "-c", "1", "-m", str(PUSH_STREAMS), "-d", str(folder / "body"),
                               f"https://127.0.0.1:{service.port}/3/device/ab"], capture_output=True, text=True, check=True)
        if "40000 2xx" not in done.stdout:
            raise RuntimeError(f"h2load: {done.stdout}{done.stderr}")
        return float(re.search(r"([\d.]+) req/s", done.stdout)[1])
    finally:
        service.close()


def push_rows(zone):
    """A million devices on a schedule, the first ones due now."""
    now = int(time.time() * 1000)
    zone.sql("INSERT INTO source_record (id, kind, native_id, state, topic, push_ok, push_token, push_magic, first_seen_ms, last_seen_ms)"
             f" SELECT 'r' || i, 'mdm', 'n' || i, 'enrolled', '{harness.TOPIC}', 1, 'ab', 'magic', 0, 0 FROM generate_series(1, {PUSH_ALL}) i")
    zone.sql("INSERT INTO push (record_id, due_ms) SELECT 'r' || i,"
             f" CASE WHEN i <= {PUSH_DUE} THEN 0 ELSE {now} + 3600000 + i * 60000::bigint * {PUSH_MINUTES} / {PUSH_ALL} END"
             f" FROM generate_series(1, {PUSH_ALL}) i")
    zone.sql("ANALYZE push")
    zone.sql("ANALYZE source_record")


def push_plan(zone):
    """(node types, rows read) of the claim."""
    todo, kinds, rows = [zone.sql(PUSH_CLAIM)[0][0][0]["Plan"]], [], 0
    while todo:
        node = todo.pop()
        kinds.append(node["Node Type"])
        rows = max(rows, node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        todo += node.get("Plans", [])
    return kinds, rows


def push_run(zone, service):
    """Seconds, CPU seconds and the largest number of connections until nothing is due."""
    connections, began, cpu = 0, time.monotonic(), cpu_seconds([zone.process.pid, *zone.child_pids()])
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'apns.push'")
    while zone.sql("SELECT 1 FROM push WHERE due_ms <= 1 LIMIT 1"):
        connections = max(connections, service.connections())
        time.sleep(0.1)
    return time.monotonic() - began, cpu_seconds([zone.process.pid, *zone.child_pids()]) - cpu, connections


def prf_08(bench):
    factory, pg = harness.Factory(), harness.Postgres()
    zone = service = None
    try:
        apple = Apple(factory.root)
        floor = push_floor(factory.root, apple)
        service = PushService(factory.root, apple)
        zone = factory.zone("pgsql", pg=pg, children=1, log_level="warn",
                            extra_main=f"MDMApnsURL https://localhost:{service.port}\nMDMApnsCAFile {apple.root}")
        cert, key = apple.pair(factory.root)
        zone.ctl("push-cert", "import", cert, key)
        push_rows(zone)
        kinds, read = push_plan(zone)
        zone.start()
        took, cpu, connections = push_run(zone, service)
        refused, again = zone.sql("SELECT code, text FROM message"), zone.sql("SELECT count(*) FROM push WHERE attempts > 0")[0][0]
        if refused or zone.sql("SELECT count(*) FROM push") != [(PUSH_ALL - PUSH_DUE + again,)]:
            raise RuntimeError(f"a push was refused: {refused}")
    finally:
        if zone:
            zone.close()
        if service:
            service.close()
        factory.close()
        pg.close()
    rate, per = PUSH_DUE / took, cpu / PUSH_DUE * 1000
    share = per * PUSH_ALL / (PUSH_MINUTES * 60) / 1000
    return {"id": "PRF-08", "name": f"pushes over {connections} connection(s), {PUSH_ALL:,} devices waiting", "value": round(rate, 1), "unit": "pushes/s",
            "reference": round(floor, 1), "ratio": round(rate / floor, 3), "cpu_s_per_1000": round(per, 4), "sql_per_request": None,
            "core_share_of_schedule": round(share, 4), "claim_nodes": kinds, "claim_rows_read": read, "connections": connections, "tried_again": again,
            "target": ">= 1000/s on one connection (a second while the first is being cut); a million in 120 minutes < 0.25 of a core; a claim reads <= 200 rows by index",
            "met": rate >= 1000 and connections <= 2 and share < 0.25 and read <= 200 and "Seq Scan" not in kinds}
