"""USR-07: the first and a second synchronisation of a directory of 100,000 people in 500 groups, and log-ins of its people beside it."""
import http.client
import json
import os
import statistics
import threading
import time

import harness
from clients import Console
from measure import TURNS, calls, cpu_seconds
from slapd import ROOT_PASSWORD, Slapd
from tasks import memory_mb

PEOPLE, GROUPS, EACH, ALL = int(os.environ.get("USR_PEOPLE") or 100_000), 500, 400, 5  # the first groups have everybody in them
LIMITS = {"seconds": 300, "login_p99_ms": 50}


def directory():
    people = [(f"person{i}", f"pass-{i}-Word", f"person{i}@example.org", f"Person {i}") for i in range(PEOPLE)]
    members = lambda g: range(PEOPLE) if g < ALL else range(g, PEOPLE, max(PEOPLE // EACH, 1))
    return Slapd(people, [(f"group{g}", [f"person{i}" for i in members(g)]) for g in range(GROUPS)])


class Logins(threading.Thread):
    """One after the other, each another person, over one connection."""

    def __init__(self, zone):
        super().__init__()
        self.zone, self.took, self.over, self.bad = zone, [], threading.Event(), []

    def run(self):
        conn = http.client.HTTPSConnection("localhost", self.zone.device_port, timeout=60, context=self.zone.ssl_context())
        i = 0
        while not self.over.wait(0.1):
            i = (i + 7919) % PEOPLE
            began = time.monotonic()
            conn.request("POST", "/portal/api/v1/session", json.dumps({"login": f"person{i}@corp", "password": f"pass-{i}-Word"}),
                         {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"})
            answer = conn.getresponse()
            said = answer.read()
            self.took.append((time.monotonic() - began) * 1000)
            if answer.status != 204:
                self.bad.append((answer.status, said[:300]))
        conn.close()

    def end(self):
        self.over.set()
        self.join()
        if self.bad:
            raise RuntimeError(f"log-ins failed: {self.bad[:5]}")
        return {"login_p50_ms": round(statistics.median(self.took), 1), "login_p99_ms": round(sorted(self.took)[int(len(self.took) * .99)], 1), "logins": len(self.took)}


def synced(zone, since):
    rows = zone.sql("SELECT result FROM job WHERE kind = 'ldap.sync' AND state = 'waiting' AND (run_at_ms > ? OR result LIKE '%\"error\"%')", since + 600_000)
    found = json.loads(rows[0][0]) if rows and rows[0][0] else {}
    if "error" in found:
        raise RuntimeError(found["error"])
    return found if found.get("people") == PEOPLE else None


def sync(zone, pg, slapd, ask):
    """From asking to its end, with log-ins beside it."""
    count = lambda: calls(zone)
    pids = lambda: [zone.process.pid, *zone.child_pids()]
    logins, before, memory = Logins(zone), count(), memory_mb(zone)
    cpu, db, ldap, began, since = cpu_seconds(pids()), cpu_seconds(pg.pids()), cpu_seconds([slapd.process.pid]), time.monotonic(), time.time() * 1000
    ask()
    logins.start()
    most = [memory]
    found = harness.wait_for(lambda: most.append(memory_mb(zone)) or synced(zone, since), timeout=900, step=0.5)
    took = time.monotonic() - began
    after = count()
    return {"seconds": round(took, 1), "groups": found["groups"], "cpu_s_per_1000": round((cpu_seconds(pids()) - cpu) / PEOPLE * 1000, 4),
            "db_cpu_s_per_1000": round((cpu_seconds(pg.pids()) - db) / PEOPLE * 1000, 4), "ldap_cpu_s_per_1000": round((cpu_seconds([slapd.process.pid]) - ldap) / PEOPLE * 1000, 4),
            "sql_per_person": round(sum(n - before.get(q, 0) for q, n in after.items() if not TURNS.search(q)) / PEOPLE, 3),
            "memory_mb": round(max(most) - memory, 1), **logins.end()}


def alone(zone, pg, slapd, seconds=20):
    """Log-ins with no synchronisation beside them, and the CPU of each (which has the background of the servers in it)."""
    spent = lambda: [cpu_seconds(p) for p in ([zone.process.pid, *zone.child_pids()], pg.pids(), [slapd.process.pid])]
    logins, before = Logins(zone), spent()
    logins.start()
    time.sleep(seconds)
    got = logins.end()
    return {**got, **{name: round((b - a) * 1000 / got["logins"], 2) for name, a, b in zip(("cpu_ms", "db_cpu_ms", "ldap_cpu_ms"), before, spent())}}


def usr_07(_):
    factory, pg, slapd = harness.Factory(), harness.Postgres("-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=1000"), directory()
    try:
        zone = factory.zone("pgsql", pg=pg, children=1, threads=64)
        zone.sql("CREATE EXTENSION pg_stat_statements")
        zone.start()
        console = Console(zone)
        config = {"name": "Corp", "domains": ["corp"], "secret": ROOT_PASSWORD, "config": slapd.config("none", timeout_s=30)}
        first = sync(zone, pg, slapd, lambda: console.post("/sources", config))
        source = next(s["id"] for s in console.get("/sources")["items"] if s["name"] == "Corp")
        again = sync(zone, pg, slapd, lambda: console.post(f"/sources/{source}/sync"))
        floor = alone(zone, pg, slapd)
    finally:
        factory.close()
        pg.close()
        slapd.close()
    return {"id": "USR-07", "name": f"synchronisation of {PEOPLE} people in {GROUPS} groups, log-ins beside it", "value": first["seconds"], "unit": "s",
            "reference": LIMITS["seconds"], "ratio": round(first["seconds"] / LIMITS["seconds"], 3), "cpu_s_per_1000": first["cpu_s_per_1000"],
            "sql_per_request": first["sql_per_person"], "login_p99_to_quiet": round(first["login_p99_ms"] / floor["login_p99_ms"], 2), "first": first, "again": again, "quiet": floor, "limits": LIMITS,
            "target": "<= 300 s, log-in p99 <= 50 ms", "met": first["seconds"] <= LIMITS["seconds"] and first["login_p99_ms"] <= LIMITS["login_p99_ms"]}
