"""PRF-05: very many Pings that wait, in one run: through the gate, through nginx, through stock mod_proxy, and requests that httpd only
parks (the floor: no back end, nothing of ours). TLS to the phones, plain to the server behind.

HOLD=1000,20000 chooses how many, HOLD_WITH=gate,nginx,mod_proxy,floor with whom. Each process may have only so many descriptors open,
and a held Ping takes three: there are as many server processes as that needs.
"""
import itertools
import json
import os
import subprocess
import time
from pathlib import Path

import harness
import zonefiles as zf
from clients import Console
from fleet import ROOT, generate
from mail import PATH
from measure import cpu_seconds
from relay import behind
from sim.eas_client import Phone

COUNTS = [int(x) for x in os.environ.get("HOLD", "1000,20000").split(",")]
PER_PROCESS, QUIET_S = 6000, 10
QUERY = f"User={harness.PERSON}&DeviceId=HOLD@&DeviceType=iPhone&Cmd=Ping"
MANY = "AsyncRequestWorkerFactor 1000\nMaxMemFree 8\nListenBacklog 16384\n"
PATIENT = "Timeout 3700\nKeepAliveTimeout 60\n"
DEVICES = f"""
INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, created_ms)
SELECT '00000000-0000-4000-9000-' || lpad(i::text, 12, '0'), 'P' || i, 'p' || i, '{ROOT}', (SELECT id FROM person WHERE login = '{harness.PERSON}'), 'active', 'eas', 0
  FROM generate_series(0, %d) i;
INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms)
SELECT md5(id)::uuid::text, id, person_id, 'eas', 'native', 'HOLD' || right(id, 6), 'enrolled', 0, 0 FROM device WHERE mode = 'eas'"""


class Tool:
    """One process of eas_hold: commands in, an answer each."""

    def __init__(self, *args):
        self.process = subprocess.Popen([str(zf.BUILD / "bench" / "eas_hold"), *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


class Tools:
    """Several processes as one: numbers are added, except for times, of which the first or the last counts."""

    def __init__(self, tools):
        self.tools = list(tools)

    def ask(self, command):
        answers = [t.ask(command) for t in self.tools]
        return {k: min(a[k] for a in answers) if k == "at" else max(a[k] for a in answers) if k.startswith("last") else
                sum(a[k] for a in answers) for k in answers[0]}

    def close(self):
        for tool in self.tools:
            tool.close()


def processes(count):
    return max(2, -(-count // PER_PROCESS))


def servers(port, count):
    made = Tools(Tool("server", "--listen", f"127.0.0.1:{port}") for _ in range(processes(count)))
    made.ask("state")
    return made


SOURCES = itertools.cycle(range(20, 250))  # each process an address of its own: its ports are its own


def phones(front, count):
    """Numbers begin at 0 in each process, so each process has its own hundred thousands."""
    each, parts, made = -(-count // processes(count)), [], []
    for index in range(processes(count)):
        parts.append(min(each, count - sum(parts)))
        made.append(Tool("phones", "--connect", f"127.0.0.1:{front.port}", "--ca", front.ca, "--query", QUERY, "--count", parts[-1], "--first",
                         index * each, "--busy", 8, "--source", f"127.0.0.{next(SOURCES)}", *itertools.chain(*(["--header", h] for h in front.headers))))
    return Tools(made)


class Httpd:
    """A zone as a front: with our modules or without."""

    def __init__(self, bench, zone):
        self.zone = zone.start()
        self.port, self.ca = zone.device_port, zone.tls_dir / "ca.pem"
        phone = Phone(self.port, harness.PERSON, harness.PERSON_PASSWORD)
        self.headers = [f"{k}: {v}" for k, v in phone.headers().items()]

    def pids(self):
        return [self.zone.process.pid, *self.zone.child_pids()]

    def said(self):
        return [x.raw for x in self.zone.log.read()]

    def close(self):
        self.zone.kill()  # thousands of connections need no good-bye
        self.zone.close()


def gate(bench, port, count):
    """One person with all the devices; they are made when her server is known, since finding it is noted with each of them."""
    zone = bench.factory.zone("pgsql", children=count // 4000 + 2, threads=64,  # a held Ping has three descriptors here
                              cache_size="64M", log_level="warn", extra_main=MANY, extra_device=PATIENT)
    front = Httpd(bench, zone)
    behind(zone, port)
    first = Phone(front.port, harness.PERSON, harness.PERSON_PASSWORD, device_id="HOLD000000", ca=str(front.ca))

    def ready():
        told = []
        for _ in range(12):
            told.append(first.options().headers["MS-ASProtocolCommands"])
            first.close()
        return set(told) == {"Sync,FolderSync,Ping,Provision"}  # by the server that waits, not by the gate
    harness.wait_for(ready, timeout=30)
    zone.sql("INSERT INTO mail_home (person_id, server_id, accepted_ms) SELECT p.id, s.id, 0 FROM person p, eas_server s ON CONFLICT DO NOTHING")
    generate(zone, DEVICES % count)
    return front


def mod_proxy(bench, port, count):
    """A thread for each: children of as many threads as a child's descriptors let it use."""
    children = processes(count) + 2
    threads = min(9500, count // children * 13 // 10 + 64)
    return Httpd(bench, bench.factory.zone(
        "sqlite3", modules=False, children=children, threads=threads, log_level="error",
        extra_main=f"{MANY}ThreadLimit 20000\nThreadStackSize 131072\n",
        extra_device=f'{PATIENT}ProxyTimeout 3600\nProxyPass "{PATH}" "http://127.0.0.1:{port}{PATH}"'))


def floor(bench, port, count):
    return Httpd(bench, bench.factory.zone(
        "sqlite3", modules=False, children=processes(count) + 2, threads=64, log_level="warn",
        extra_main=f"{MANY}LoadModule park_module {zf.BUILD}/bench/mod_park.so\n",
        extra_device=f'{PATIENT}<Location "{PATH}">\nSetHandler park\n</Location>'))


class Nginx:
    headers = ()

    def __init__(self, bench, port, count):
        self.port, tls = zf.free_port(), bench.factory.tls
        self.ca, self.root = tls / "ca.pem", bench.factory.root / f"nginx{self.port}"
        self.root.mkdir()
        paths = "".join(f"{x}_temp_path {self.root}/{x};\n" for x in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.root / "nginx.conf").write_text(f"""
daemon off; pid {self.root}/pid; error_log {self.root}/error.log error; worker_processes {processes(count) + 2};
events {{ worker_connections 19500; }}
http {{
    access_log off; {paths}
    upstream back {{ server 127.0.0.1:{port}; keepalive 19000; }}
    server {{
        listen 127.0.0.1:{self.port} ssl backlog=16384 reuseport; keepalive_timeout 60; keepalive_requests 1000000;
        ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key; ssl_session_cache off;
        location / {{ proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 3600s; }}
    }}
}}
""")
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", str(self.root / "nginx.conf"), "-e", str(self.root / "error.log")])
        harness.wait_for(lambda: len(self.pids()) > processes(count))

    def pids(self):
        return [self.process.pid, *harness.children_of(self.process.pid)]

    def said(self):
        return (self.root / "error.log").read_text().splitlines()

    def close(self):
        self.process.terminate()
        self.process.wait(30)


FRONTS = {"gate": gate, "nginx": Nginx, "mod_proxy": mod_proxy, "floor": floor}


def memory(pids):
    """KB of the processes' own memory, and what the kernel keeps of their threads' stacks (16 KB each)."""
    kept = 0
    for pid in pids:
        status = dict(x.split(":", 1) for x in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in x)
        kept += int(status["RssAnon"].split()[0]) + 16 * int(status["Threads"])
    return kept


def threads(pids):
    return sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)


def filled(clients, back, count):
    """All have asked, and all have arrived at the server behind if there is one."""
    def all_held():
        now = clients.ask("state")
        if now["held"] < count and not now["working"] + now["to_open"]:  # a front on a busy machine may ask some to come again
            clients.ask("open")
            clients.ask("again")
        return now["held"] == count and (back is None or back.ask("state")["held"] == count)
    harness.wait_for(all_held, timeout=600, step=0.2)


def settled(pids):
    """CPU has become quiet: handshakes are done and contact times written."""
    def quiet():
        before = cpu_seconds(pids)
        time.sleep(1)
        return cpu_seconds(pids) - before < 0.03
    harness.wait_for(quiet, timeout=120, step=0)


def woken(front, clients, back, count):
    """Wakes all: seconds from the first byte behind to the last phone's answer, and CPU seconds for it."""
    before, old = cpu_seconds(front.pids()), clients.ask("state")
    began = back.ask("wake")["at"]
    harness.wait_for(lambda: clients.ask("state")["held"] == 0, timeout=300, step=0.1)
    now = clients.ask("state")
    new = {k: now[k] - old[k] for k in ("bad", "cut", "closed")}
    return {"wake_s": round(now["last"] - began, 2), "wake_cpu_s": round(cpu_seconds(front.pids()) - before, 2),
            "wake_failed": new["bad"] + new["cut"], "reconnects": new["closed"]}


def left(clients, back, some):
    """Seconds until the server behind knows that some phones have left; None if it does not know within five."""
    before, went = back.ask("state")["gone"], clients.ask(f"leave {some}")
    try:
        harness.wait_for(lambda: back.ask("state")["gone"] - before >= went["left"], timeout=5)
    except AssertionError:
        return None
    return round(back.ask("state")["last_gone"] - went["at"], 2)


def measured(bench, name, count):
    port = zf.free_port()
    back = servers(port, count)
    front = FRONTS[name](bench, port, count)
    clients, got = phones(front, count), {}
    try:
        settled(front.pids())
        base, back_or_none = memory(front.pids()), None if name == "floor" else back
        clients.ask("open")
        filled(clients, back_or_none, count)
        settled(front.pids())
        got["kb_first"] = round((memory(front.pids()) - base) / count, 1)
        before = cpu_seconds(front.pids())
        time.sleep(QUIET_S)
        got["idle_percent"] = round((cpu_seconds(front.pids()) - before) / QUIET_S * 100, 2)
        got["threads"], got["told_to_wait"] = threads(front.pids()), clients.ask("state")["bad"]
        if back_or_none:
            got |= woken(front, clients, back, count)
            clients.ask("open")  # those that were closed meanwhile
            clients.ask("again")
            filled(clients, back, count)
            settled(front.pids())
            got["kb_steady"] = round((memory(front.pids()) - base) / count, 1)
            got["gone_s"] = left(clients, back, max(50, count // 20))
        return got
    except Exception:
        print("\n".join(front.said()[-20:]))
        raise
    finally:
        clients.close()
        front.close()
        back.close()


def judged(count, got):
    """The rows of one number of Pings: what must hold, beside the neighbours of the same run."""
    ours, others = got["gate"], {k: v for k, v in got.items() if k != "gate"}

    def said(key):
        return ", ".join(f"{k} {v[key]}" for k, v in others.items() if key in v)

    def row(what, unit, key, reference, target, met, **more):
        value = ours[key]
        return {"id": "PRF-05", "name": f"{count:,} Pings held: {what} ({said(key) or 'no neighbour'})", "value": value, "unit": unit,
                "reference": reference, "ratio": round(value / reference, 2) if value is not None and reference else None, "cpu_s_per_1000": None,
                "sql_per_request": None, "target": target, "met": met, "count": count, **more}
    bare, quick = got.get("floor", {}).get("kb_first"), got.get("nginx", {}).get("wake_s")
    return [row("memory each", "KB", "kb_steady", bare, "<= floor + 16 KB", bare is not None and ours["kb_steady"] <= bare + 16, fronts=got),
            row("CPU while quiet", "% of core", "idle_percent", None, "<= 0.5 %", ours["idle_percent"] <= 0.5),
            row("wake all", "s", "wake_s", quick, "<= 2.5 x nginx", quick is not None and ours["wake_s"] <= 2.5 * quick and not ours["wake_failed"]),
            row("client gone", "s", "gone_s", None, "<= 1 s", ours["gone_s"] is not None and ours["gone_s"] <= 1)]


class World:
    def __init__(self):
        self.factory = harness.Factory()


def prf_05(_):
    wanted = [x for x in os.environ.get("HOLD_WITH", "").split(",") if x] or list(FRONTS)
    bench, rows = World(), []
    try:
        for count in COUNTS:
            got = {}
            for name in wanted:
                got[name] = measured(bench, name, count)
                print(f"        {count:,} by {name}: {got[name]}", flush=True)
            rows += judged(count, got) if "gate" in got else []
    finally:
        bench.factory.close()
    return rows
