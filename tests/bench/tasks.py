"""DEV-07: a quick task for all devices of a filter, 100,000 of them, while pushes go out and devices poll; and one that is cancelled."""
import statistics
import threading
import time
from pathlib import Path

import harness
import zonefiles as zf
from clients import Console, enrolled, new_device
from fleet import RECORDS, filling, generate
from measure import cpu_seconds
from pushca import Apple
from pushes import PushService

DEVICES, MEANT = 100_000, 98_000  # each fiftieth one is retired
LIMITS = {"answer_ms": 500, "look_ms": 100, "poll_ms": 100, "cancel_s": 3, "memory_mb": 8}


def memory_mb(zone):
    total = 0
    for pid in zone.child_pids():
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) if line.startswith("Pss_Anon") else 0
    return total / 1024


class Watch(threading.Thread):
    """What others see meanwhile: the console's look at the task, a device that polls, pushes that go out, memory."""

    def __init__(self, zone, task, device):
        super().__init__()
        self.zone, self.task, self.device, self.console = zone, task, device, Console(zone)
        self.looks, self.polls, self.memory, self.over = [], [], [], threading.Event()

    def run(self):
        while not self.over.wait(0.5):
            for seen, what in ((self.looks, lambda: self.console.get(f"/tasks/{self.task}")), (self.polls, self.device.poll)):
                began = time.monotonic()
                what()
                seen.append((time.monotonic() - began) * 1000)
            self.memory.append(memory_mb(self.zone))

    def end(self):
        self.over.set()
        self.join()
        return {"look_ms": round(statistics.median(self.looks), 1), "poll_ms": round(statistics.median(self.polls), 1),
                "memory_mb": round(max(self.memory[len(self.memory) // 2:]) - max(self.memory[:len(self.memory) // 2]), 1)}


def waiting(zone, task):
    rows = zone.sql("SELECT state, walked FROM quick_task WHERE id = ?", task)
    return rows[0][0] != "running" or zone.sql("SELECT 1 FROM quick_task_device WHERE task_id = ? AND state = 'waiting' LIMIT 1", task)


def run(zone, pg, device, kind, options):
    """One task until each device has its order."""
    console, pids = Console(zone), lambda: [zone.process.pid, *zone.child_pids()]
    cpu, db, began = cpu_seconds(pids()), cpu_seconds(pg.pids()), time.monotonic()
    task = console.post("/tasks", {"kind": kind, "options": options, "filter": {"platform": "ios", "state": "active"}, "spread_minutes": 60})["id"]
    answer = (time.monotonic() - began) * 1000
    watch = Watch(zone, task, device)
    watch.start()
    harness.wait_for(lambda: not waiting(zone, task), timeout=1800, step=0.5)
    took = time.monotonic() - began
    cpu, db = cpu_seconds(pids()) - cpu, cpu_seconds(pg.pids()) - db
    n = zone.sql("SELECT count(*) FROM quick_task_device WHERE task_id = ? AND state = 'ordered'", task)[0][0]
    return task, {"devices": n, "seconds": round(took, 1), "answer_ms": round(answer, 1), "cpu_s_per_1000": round(cpu / n * 1000, 4),
                   "db_cpu_s_per_1000": round(db / n * 1000, 4), **watch.end()}


def cancelled(zone, pg):
    """A task is taken back in the middle: seconds until the last order that was still given, and until all is taken back."""
    console = Console(zone)
    task = console.post("/tasks", {"kind": "lock", "filter": {"platform": "ios", "state": "active"}, "spread_minutes": 600})["id"]
    harness.wait_for(lambda: zone.sql("SELECT count(*) FROM command WHERE task_id = ?", task)[0][0] > DEVICES // 5, timeout=600, step=0.2)
    cpu, began = cpu_seconds(pg.pids()), time.monotonic()
    console.post(f"/tasks/{task}/cancel", want=(202,))
    answer, asked = time.monotonic() - began, time.time() * 1000
    harness.wait_for(lambda: zone.sql("SELECT state FROM quick_task WHERE id = ?", task)[0][0] == "cancelled", timeout=600, step=0.2)
    took = time.monotonic() - began
    last = zone.sql("SELECT max(created_ms) FROM command WHERE task_id = ?", task)[0][0]
    back = zone.sql("SELECT count(*) FROM command WHERE task_id = ? AND state = 'cancelled'", task)[0][0]
    return {"cancel_answer_ms": round(answer * 1000, 1), "cancel_s": round(max(0, last - asked) / 1000, 2), "taken_back": back,
            "taken_back_s": round(took, 1), "taken_back_db_cpu_s_per_1000": round((cpu_seconds(pg.pids()) - cpu) / max(back, 1) * 1000, 3)}


def dev_07(_):
    factory, pg = harness.Factory(), harness.Postgres()
    zone = service = None
    try:
        apple = Apple(factory.root)
        service = PushService(factory.root, apple)
        zone = factory.zone("pgsql", pg=pg, children=2, log_level="warn",
                            extra_main=f"MDMApnsURL https://localhost:{service.port}\nMDMApnsCAFile {apple.root}")
        zone.ctl("push-cert", "import", *apple.pair(factory.root))
        generate(zone, filling(DEVICES), RECORDS)
        zone.start()
        device = new_device(zone)
        service.knows(device.token.hex())
        enrolled(zone, device)
        before = zone.sql("SELECT count(*) FROM push")[0][0]
        runs = {kind: run(zone, pg, device, kind, options)[1] for kind, options in (("lock", {"message": "Please"}), ("refresh", {}))}
        pushed = before + sum(r["devices"] for r in runs.values()) - zone.sql("SELECT count(*) FROM push")[0][0]
        back = cancelled(zone, pg)
    finally:
        if zone:
            zone.close()
        if service:
            service.close()
        factory.close()
        pg.close()
    worst = {k: max(r[k] for r in runs.values()) for k in ("answer_ms", "look_ms", "poll_ms", "memory_mb")} | {"cancel_s": back["cancel_s"]}
    refresh = runs["refresh"]
    return {"id": "DEV-07", "name": f"quick task for {refresh['devices']:,} devices: refresh (floor: lock)",
            "value": round(refresh["devices"] / refresh["seconds"], 1), "unit": "devices/s",
            "reference": round(runs["lock"]["devices"] / runs["lock"]["seconds"], 1),
            "ratio": round(runs["lock"]["seconds"] / refresh["seconds"], 3), "cpu_s_per_1000": refresh["cpu_s_per_1000"] + refresh["db_cpu_s_per_1000"],
            "sql_per_request": None, "runs": runs, "pushed": pushed, **back, "limits": LIMITS,
            "target": "answer at once, looks and polls go on, memory flat, cancelled at once",
            "met": all(worst[k] <= most for k, most in LIMITS.items())}
