#!/usr/bin/env python3
"""`make -f apxs.mk bench`: each row beside its floor in the same run (spec 14-performance).

Rows of bench.json: {id, name, value, unit, reference, ratio, cpu_s_per_1000, sql_per_request, …}. reference is the floor's
value in the same unit, ratio = value / reference; null where a row has none.
"""
import json
import os
import plistlib
import re
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "it"), str(TESTS / "lib"), str(TESTS)]
import harness  # noqa: E402
import zonefiles as zf  # noqa: E402
from sim.device import CHECKIN_TYPE, CONNECT_TYPE, Device, Portal  # noqa: E402

SECONDS, CONNECTIONS, DEVICES = 6, 32, 8
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(zone):
    total = 0
    for pid in [zone.process.pid, *zone.child_pids()]:
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
        self.pg = harness.Postgres("-c log_statement=mod -c synchronous_commit=on")
        self.zone = self.factory.zone("pgsql", pg=self.pg, children=2, threads=64, cache_size="64M", log_level="warn")
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

    def close(self):
        for device in self.devices:
            device.close()
        self.factory.close()
        self.pg.close()

    def pg_value(self, expression, table="pg_stat_database WHERE datname = current_database()"):
        time.sleep(1.2)  # statistics of other sessions arrive with a delay
        return self.zone.sql(f"SELECT {expression} FROM {table}")[0][0]

    def counts(self):
        row = "xact_commit + xact_rollback"
        return int(self.pg_value(row))

    def writes(self):
        """UPDATE, INSERT and DELETE statements so far, by table, from the server's log."""
        text = (self.pg.root / "log").read_text(errors="replace")
        return re.findall(r"(?:statement|execute [^:]*): *(?:WITH .*? )?(UPDATE|INSERT INTO|DELETE FROM) (\w+)", text, re.S)

    def load(self, message=None, kind=None, path="/mdm", method="PUT"):
        """Runs the generator; message(device) -> plist dict, None = a GET without body."""
        lines = []
        for index, device in enumerate(self.devices):
            body = "-"
            if message:
                body = self.folder / f"body{index}"
                body.write_bytes(plistlib.dumps(message(device)))
            lines.append(f"{device.files}/identity.pem {body}\n")
        (self.folder / "list").write_text("".join(lines))
        command = [zf.BUILD / "bench" / "load", "--connect", f"127.0.0.1:{self.zone.device_port}", "--ca",
                   self.zone.tls_dir / "ca.pem", "--list", self.folder / "list", "--method", method, "--path", path,
                   "--connections", str(CONNECTIONS), "--seconds", str(SECONDS), "--expect-bytes", "0"]
        if kind:
            command += ["--type", kind]
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()  # "go"
        before = cpu_seconds(self.zone)
        out, err = process.communicate()
        cpu = cpu_seconds(self.zone) - before
        if process.returncode:
            raise RuntimeError(f"load: {out}{err}")
        got = json.loads(out)
        got["cpu_s_per_1000"] = round(cpu / got["requests"] * 1000, 4)
        return got

    def background(self):
        """Transactions per second of an idle zone."""
        before, began = self.counts(), time.monotonic()
        time.sleep(SECONDS)
        return (self.counts() - before) / (time.monotonic() - began)

    def loaded(self, *args, **kwargs):
        """load() with the statements per request, the background taken off."""
        idle = self.background()
        before, began = self.counts(), time.monotonic()
        got = self.load(*args, **kwargs)
        extra = self.counts() - before - idle * (time.monotonic() - began)
        got["sql_per_request"] = round(max(extra, 0) / got["requests"], 5)
        return got


def idle(device):
    return {"UDID": device.udid, "Status": "Idle"}


def token_update(device):
    return {"MessageType": "TokenUpdate", "UDID": device.udid, "Topic": device.mdm["Topic"], "Token": device.token,
            "PushMagic": device.magic, "UnlockToken": device.unlock_token, "AwaitingConfiguration": False}


def row(ident, name, got, floor, **extra):
    return {"id": ident, "name": name, "value": got["per_second"], "unit": "requests/s",
            "reference": floor["per_second"] if floor else None,
            "ratio": round(got["per_second"] / floor["per_second"], 3) if floor else None,
            "cpu_s_per_1000": got["cpu_s_per_1000"], "sql_per_request": got.get("sql_per_request"),
            "reference_cpu_s_per_1000": floor["cpu_s_per_1000"] if floor else None,
            "p50_ms": got["p50_ms"], "p99_ms": got["p99_ms"], **extra}


def prf_01(bench):
    floor = bench.load(method="GET", path="/floor")
    got = bench.loaded(idle, CONNECT_TYPE.split(";")[0])
    return row("PRF-01", "Idle poll, nothing queued, mutual TLS kept alive (floor: static file)", got, floor, target=0.6)


def prf_03(bench):
    floor = bench.load(idle, CONNECT_TYPE.split(";")[0])
    before = len(bench.writes())
    got = bench.loaded(token_update, CHECKIN_TYPE)
    writes = [w for w in bench.writes()[before:]]
    per = round(len(writes) / got["requests"], 5)
    return row("PRF-03", "TokenUpdate of a known device, nothing new (floor: Idle poll)", got, floor, writes_per_request=per)


def prf_06(bench):
    done = subprocess.run([str(zf.BUILD / "bench" / "bench_cidr")], capture_output=True, text=True)
    got = json.loads(done.stdout.strip().splitlines()[-1])
    return {"id": "PRF-06", "name": "access filters: 10,000 of them, one look-up", "value": got["value"], "unit": "ns",
            "reference": 200, "ratio": round(got["value"] / 200, 3), "cpu_s_per_1000": None, "sql_per_request": 0,
            "filters": got["filters"], "reload_ms": got["reload_ms"]}


def prf_07(bench):
    done = subprocess.run([str(zf.BUILD / "bench" / "bench_devcache")], capture_output=True, text=True)
    got = json.loads(done.stdout.strip().splitlines()[-1])
    value = got["value"]
    return {"id": "PRF-07", "name": "device cache: a million devices, one look-up", "value": value, "unit": "ns",
            "reference": 1000, "ratio": round(value / 1000, 3), "cpu_s_per_1000": None,
            "sql_per_request": 0, **{k: v for k, v in got.items() if k not in ("id", "name", "value", "unit")}}


def prf_12(bench):
    before, began = len(bench.writes()), time.monotonic()
    got = bench.load(idle, CONNECT_TYPE.split(";")[0])
    took = time.monotonic() - began
    contact = [w for w in bench.writes()[before:] if w[1] in ("device", "source_record") and w[0] == "UPDATE"]
    per = round(len(contact) / took, 3)
    return {"id": "PRF-12", "name": "contact times written while devices poll", "value": per, "unit": "UPDATE/s",
            "reference": 1, "ratio": per, "cpu_s_per_1000": got["cpu_s_per_1000"],
            "sql_per_request": round(len(contact) / got["requests"], 6), "requests_per_second": got["per_second"]}


ROWS = {"PRF-01": prf_01, "PRF-03": prf_03, "PRF-06": prf_06, "PRF-07": prf_07, "PRF-12": prf_12}
NO_ZONE = {"PRF-06", "PRF-07"}


def main():
    wanted = [x for x in os.environ.get("BENCH", "").replace(" ", "").split(",") if x] or list(ROWS)
    unknown = [x for x in wanted if x not in ROWS]
    if unknown:
        print(f"BENCH: unknown {', '.join(unknown)}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 2
    bench = Bench() if set(wanted) - NO_ZONE else None
    rows = []
    try:
        for ident in wanted:
            rows.append(ROWS[ident](bench))
            r = rows[-1]
            print(f"{r['id']}  {r['value']:>10} {r['unit']:<11} floor {r['reference'] or '-':>10} ratio {r['ratio'] or '-':>6} "
                  f"cpu s/1000 {r['cpu_s_per_1000'] or '-':>7} sql/request {r['sql_per_request'] if r['sql_per_request'] is not None else '-':>8}"
                  f"  {r['name']}", flush=True)
    finally:
        if bench:
            bench.close()
    out = zf.BUILD / "bench.json"
    out.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
