#!/usr/bin/env python3
"""`make -f apxs.mk soak`: hours of polls, token updates, inventory, graceful restarts and killed children on one zone.

SOAK_MINUTES (default 60), SOAK_DB (sqlite3 or pgsql). Fails on a wrong or missing answer, on an unexpected log line, or if
the children's memory keeps growing. Prints a line per minute (or sixteenth of a short run) and a summary for docs/.
"""
import os
import random
import sys
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "it"), str(TESTS / "lib"), str(TESTS)]
import harness  # noqa: E402
from clients import Console, enrolled  # noqa: E402
from test_faults import Load, idle, new_token  # noqa: E402


def memory_mb(zone):
    """Memory of httpd and its children that is not the shared cache; what a fork shares counts once."""
    total = 0
    for pid in [zone.process.pid, *zone.child_pids()]:
        try:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss_Anon"):
                    total += int(line.split()[1])
        except OSError:
            continue
    return round(total / 1024, 1)


def main():
    minutes, db = float(os.environ.get("SOAK_MINUTES", "60")), os.environ.get("SOAK_DB", "sqlite3")
    factory = harness.Factory()
    zone = factory.zone(db).start()
    devices = [enrolled(zone) for _ in range(8)]
    console, seen, bad, restarts, kills = Console(zone), [], [], 0, 0
    idents = [console.device(d.udid)["id"] for d in devices]
    end, pace = time.monotonic() + minutes * 60, min(60, minutes * 60 / 16)  # short runs have restarts and kills as well
    with Load(devices[:6], lambda d: idle(d) if random.random() < 0.9 else new_token(d)) as load:
        while time.monotonic() < end:
            round_end = min(time.monotonic() + pace, end)
            while time.monotonic() < round_end:
                console.post(f"/devices/{random.choice(idents[6:])}/refresh")
                for device in devices[6:]:
                    device.poll()
                time.sleep(1)
            seen.append(memory_mb(zone))
            print(f"{load.answered} answered, {len(load.wrong)} wrong, {len(load.missing)} missing, {seen[-1]} MB", flush=True)
            if len(seen) % 5 == 0:
                zone.graceful()
                restarts += 1
            elif len(seen) % 7 == 0:
                zone.kill_child()
                kills += 1
            bad += [x.raw for x in zone.log.unexpected()]
            zone.log.next_test()
    # Memory after the first quarter against the end: restarts make it jump, growth without end shows over hours.
    quarter = seen[:max(len(seen) // 4, 1)]
    grown = seen[-1] / max(max(quarter), 1)
    factory.close()
    print(f"soak: {minutes:g} minutes on {db}: {load.answered} answers, {len(load.wrong)} wrong, {len(load.missing)} missing, "
          f"{restarts} graceful restarts, {kills} killed children, {len(bad)} unexpected log lines, memory ×{grown:.2f}")
    print("\n".join(bad[:10]))
    return 1 if load.wrong or load.missing or bad or grown > 2 else 0


sys.exit(main())
