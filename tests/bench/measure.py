"""What all rows share: the zone with its devices, the load generator beside PostgreSQL's count of statements, and a row's figures."""
import json
import os
import plistlib
import re
import statistics
import subprocess
import time
from pathlib import Path

import harness
import zonefiles as zf
from mail import PATH
from sim.device import CONNECT_TYPE, Device, Portal

ROUNDS, SECONDS, CONNECTIONS, DEVICES, QUEUE = 3, 4, 32, 8, 3000
TICK = os.sysconf("SC_CLK_TCK")
POLL = CONNECT_TYPE.split(";")[0]
CONTACTS = re.compile(r"UPDATE device SET last_contact_ms = v\.ms")
LOADS = re.compile(r"c\.status END, c\.record_id, r\.kind")
BACKGROUND = re.compile(r"pg_snapshot_xmin|(FROM|UPDATE|INTO) job\b|(FROM|UPDATE|INTO) node\b|DELETE FROM notice\b|SET reminded_ms|pg_stat_|schema_version")
QUIET = set()
TURNS = re.compile(r"^\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|SET|SHOW|DISCARD)\b", re.I)
WRITES = re.compile(r"^\s*(WITH\b.*?\b)?(UPDATE|INSERT|DELETE)\b", re.S)


PREPARED = re.compile(r"^PREPARE mdm_\w+ (\([^)]*\) )?AS ")  # one that is kept counts as what it is


def calls(zone):
    """Calls so far by text, of the zone's database."""
    found = {}
    for query, n in zone.sql("SELECT query, sum(calls)::bigint FROM pg_stat_statements"
                             " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) GROUP BY query"):
        query = PREPARED.sub("", query)
        found[query] = found.get(query, 0) + n
    return found


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICK


class Bench:
    """A zone on PostgreSQL with enrolled devices; made when the first row needs it."""

    def __init__(self):
        self.factory = harness.Factory()
        self.pg = harness.Postgres("-c shared_preload_libraries=pg_stat_statements -c pg_stat_statements.max=1000")
        self.mail_port = zf.free_port()
        self.zone = self.factory.zone("pgsql", pg=self.pg, children=2, threads=64, cache_size="64M", log_level="warn",
                                      extra_device=f'ProxyPass "/bare" "http://127.0.0.1:{self.mail_port}{PATH}"')
        self.zone.sql("CREATE EXTENSION pg_stat_statements")
        self.zone.start()
        (self.zone.root / "htdocs" / "floor").write_bytes(b"")
        cafile = str(self.zone.tls_dir / "ca.pem")
        self.devices = []
        for index in range(DEVICES):
            portal = Portal(self.zone.portal_url, cafile)
            portal.login(harness.PERSON, harness.PERSON_PASSWORD)
            device = Device(cafile, seed=f"bench-{index}").enroll(portal.absolute(portal.enrollment()["profile"]))
            device.poll()
            self.devices.append(device)
        self.folder = self.zone.root / "bench"
        self.folder.mkdir()
        before = self.statements()
        time.sleep(6)
        QUIET.update(q for q, n in self.statements().items() if n > before.get(q, 0) and not TURNS.search(q))

    def close(self):
        for device in self.devices:
            device.close()
        self.factory.close()
        self.pg.close()

    def pids(self):
        return [self.zone.process.pid, *self.zone.child_pids()]

    def statements(self):
        return calls(self.zone)

    def put(self, name, message):
        path = self.folder / name
        path.write_bytes(plistlib.dumps(message))
        return path

    def load(self, message=None, kind=None, path="/mdm", method="PUT", result=None, raw=None, headers=(), expect=0):
        """Runs the generator; message(device) -> plist dict, raw: a file instead, None = a GET without body; result(device): the answer
        to commands; expect: bytes of an answer."""
        lines = []
        for index, device in enumerate(self.devices):
            body = raw or (self.put(f"body{index}", message(device)) if message else "-")
            then = self.put(f"result{index}", result(device)) if result else "-"
            lines.append(f"{device.files}/identity.pem {body} {then}\n")
        (self.folder / "list").write_text("".join(lines))
        command = [zf.BUILD / "bench" / "load", "--connect", f"127.0.0.1:{self.zone.device_port}", "--ca",
                   self.zone.tls_dir / "ca.pem", "--list", self.folder / "list", "--method", method, "--path", path,
                   "--connections", str(CONNECTIONS), "--seconds", str(SECONDS)]
        command += ["--type", kind] if kind else []
        command += ["--cycle"] if result else ["--expect-bytes", str(expect)]
        for line in headers:
            command += ["--header", line]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()  # "go": connections are made, the cache is warm
        before, cpu, db = self.statements(), cpu_seconds(self.pids()), cpu_seconds(self.pg.pids())
        out, err = process.communicate()
        cpu, db = cpu_seconds(self.pids()) - cpu, cpu_seconds(self.pg.pids()) - db
        if process.returncode:
            raise RuntimeError(f"load: {out}{err}")
        got = json.loads(out)
        got["cpu_s_per_1000"] = cpu / got["requests"] * 1000
        got["db_cpu_s_per_1000"] = db / got["requests"] * 1000
        got["sql"] = {q: n - before.get(q, 0) for q, n in self.statements().items() if n > before.get(q, 0)}
        return got


def fill_queues(bench, commands):
    """So many commands wait for each device."""
    for device in bench.devices:
        bench.zone.sql("INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, created_ms)"
                       " SELECT gen_random_uuid()::text, r.id, r.device_id, r.queue_seq + n, 'DeviceLock', '{}', 'queued', 0"
                       f" FROM source_record r, generate_series(1, {commands}) n WHERE r.native_id = ? AND r.live = 1", device.udid)
        bench.zone.sql(f"UPDATE source_record SET queue_seq = queue_seq + {commands}"
                       " WHERE native_id = ? AND live = 1", device.udid)
    bench.zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('all', '', 0)")
    time.sleep(1.5)  # the node has seen it


def idle(device):
    return {"UDID": device.udid, "Status": "Idle"}


def acknowledged(device):
    return {"UDID": device.udid, "Status": "Acknowledged", "CommandUUID": "@" * 36}


def token_update(device):
    return {"MessageType": "TokenUpdate", "UDID": device.udid, "Topic": device.mdm["Topic"], "Token": device.token,
            "PushMagic": device.magic, "UnlockToken": device.unlock_token, "AwaitingConfiguration": False}


def count(rounds, wanted):
    return sum(n for got in rounds for q, n in got["sql"].items() if wanted(q))


def ours(query):
    return query not in QUIET and not any(x.search(query) for x in (BACKGROUND, CONTACTS, TURNS, LOADS))


def median(rounds, field, digits=4):
    return round(statistics.median(got[field] for got in rounds), digits)


def row(ident, name, works, floors, **extra):
    requests = sum(got["requests"] for got in works)
    ratios = [w["per_second"] / f["per_second"] for w, f in zip(works, floors)]
    return {"id": ident, "name": name, "value": median(works, "per_second", 1), "unit": "requests/s",
            "reference": median(floors, "per_second", 1), "ratio": round(statistics.median(ratios), 3),
            "ratios": [round(x, 3) for x in ratios],
            "cpu_s_per_1000": median(works, "cpu_s_per_1000"), "reference_cpu_s_per_1000": median(floors, "cpu_s_per_1000"),
            "sql_per_request": round(count(works, ours) / requests, 4),
            "writes_per_request": round(count(works, lambda q: ours(q) and WRITES.search(q)) / requests, 4),
            "round_trips_per_request": round(count(works, lambda q: ours(q) or TURNS.search(q)) / requests, 4),
            "cache_loads": count(works, LOADS.search),
            "p50_ms": median(works, "p50_ms"), "p99_ms": median(works, "p99_ms"), "requests": requests, **extra}


def static_file(bench):
    return bench.load(method="GET", path="/floor")


def turns(floor, work, rounds=ROUNDS):
    """Floor and work in turn; the rounds of both."""
    floors, works = [], []
    for _ in range(rounds):
        floors.append(floor())
        works.append(work())
    return floors, works
