#!/usr/bin/env python3
"""`make -f apxs.mk test`: all parts, several at a time, a log per part, and one last line that adds them up.

A part fails if a test in it fails, if it can't be built, or if it ran nothing. PARTS=it,guards runs some of them. What has a number
(it.1, it.2) is one part that is run by several, see share.py.
"""
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ["MDM_BUILD"]).resolve()
LOGS = BUILD / "logs"
SAN = BUILD.parent / (BUILD.name + "-san")
MAKE = ["make", "-f", "apxs.mk", f"BUILD={BUILD}"]
MAKE_SAN = [*MAKE, "SANITIZE=1"]  # apxs.mk puts it beside the other build folder
PYTEST = ["/usr/bin/python3", "-W", "ignore", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--durations=8", "-ra"]
SHARE = LOGS / "share"
RUNNING = set()


def pytest(name, *args, **env):
    return {"name": name, "cmd": [*PYTEST, f"--junitxml={LOGS}/{name}.xml", *args], "env": env, "count": from_xml}


def shared(name, *args):
    """One of several that run the same tests together."""
    folder = SHARE / name.split(".")[0]
    return pytest(name, "-p", "share", *args, MDM_SHARE=str(folder), PYTHONPATH=str(ROOT / "tests" / "run"))


def from_xml(name, text):
    """(passed, failed, skipped) of a pytest run."""
    path = LOGS / f"{name}.xml"
    if not path.exists():
        return 0, 0, 0
    suite = ET.parse(path).getroot().find("testsuite")
    total, bad, skipped = (int(suite.get(k)) for k in ("tests", "failures", "skipped"))
    bad += int(suite.get("errors"))
    return max(total - bad - skipped, 0), bad, skipped


def from_cmocka(name, text):
    """cmocka's summaries; a program that ends without one counts as a failure."""
    passed = sum(map(int, re.findall(r"\[  PASSED  \] (\d+) test", text)))
    failed = sum(map(int, re.findall(r"\[  FAILED  \].*?(\d+) test\(s\), listed", text)))
    skipped = sum(map(int, re.findall(r"\[  SKIPPED \].*?(\d+) test", text)))
    programs, finished = len(re.findall(r"^# \S*test_\w+( on PostgreSQL)?$", text, re.M)), len(re.findall(r"\[==========\] .*? run\.", text))
    return passed, failed + max(programs - finished, 0), skipped


def from_lines(name, text):
    """Lines "ok <name>" and "not ok <name>"."""
    return len(re.findall(r"^ok ", text, re.M)), len(re.findall(r"^not ok ", text, re.M)), 0


# More lanes than cores, because the tests wait as much as they work; a lane runs its parts in order, and helps others when it has done.
LANES = [
    [{"name": "sql", "cmd": [*MAKE, "sql-test"], "count": from_cmocka}, shared("it.1", "tests/it"), shared("browser.2", "tests/browser")],
    [{"name": "fuzz", "cmd": [*MAKE, "fuzz"], "count": from_lines}, shared("it.2", "tests/it"), shared("browser.3", "tests/browser")],
    [shared("browser.1", "tests/browser"), shared("it.3", "tests/it"), pytest("queries", "tests/sql")],
    [pytest("guards", "tests/guards"),
     {"name": "unit", "cmd": [*MAKE, "unit"], "count": from_cmocka},
     {"name": "san-unit", "cmd": [*MAKE_SAN, "unit"], "count": from_cmocka},
     {"name": "san-build", "cmd": [*MAKE_SAN, "all"], "count": None},
     pytest("san-it", "tests/it", "-m", "san", MDM_SANITIZE="1", MDM_BUILD=str(SAN)),
     shared("it.4", "tests/it")],
]


def part_of(p):
    return p["name"].split(".")[0]


class Result:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.ran = {}  # part: tests
        self.bad = []


def run(part, result, lock):
    name, log, began = part["name"], LOGS / f"{part['name']}.log", time.monotonic()
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", **part.get("env", {}))
    env.pop("MAKEFLAGS", None)
    env.pop("MAKELEVEL", None)
    (LOGS / f"{name}.xml").unlink(missing_ok=True)
    with open(log, "wb") as out:
        process = subprocess.Popen(part["cmd"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   env=env, start_new_session=True)
        RUNNING.add(process)
        code = process.wait()
        RUNNING.discard(process)
    text = log.read_text(errors="replace")
    passed, failed, skipped = part["count"](name, text) if part["count"] else (0, 0, 0)
    if code and not failed:
        failed = 1  # it did not build, crashed, or found nothing to run
    with lock:
        if part["count"]:
            result.ran[part_of(part)] = result.ran.get(part_of(part), 0) + passed + failed
        result.passed, result.failed, result.skipped = (result.passed + passed, result.failed + failed,
                                                        result.skipped + skipped)
        took = time.monotonic() - began
        print(f"{name:<10} {passed:>5} passed {failed:>4} failed {skipped:>4} skipped {took:>6.0f} s", flush=True)
        if failed:
            result.bad.append((name, log, text))
            print("\n".join("    | " + x for x in text.splitlines()[-25:]), flush=True)


def main():
    LOGS.mkdir(parents=True, exist_ok=True)
    wanted = set(filter(None, os.environ.get("PARTS", "").split(",")))
    known = {part_of(p) for lane in LANES for p in lane}
    shutil.rmtree(SHARE, ignore_errors=True)
    for part in known:
        (SHARE / part).mkdir(parents=True)
    if wanted - known:
        print(f"PARTS: unknown {sorted(wanted - known)}; there are {', '.join(sorted(known))}", file=sys.stderr)
        return 2

    def interrupted(*_):
        for number in (signal.SIGINT, signal.SIGTERM):  # pytest ends its servers at the first
            for process in list(RUNNING):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
            end = time.monotonic() + 30
            while number == signal.SIGINT and time.monotonic() < end and any(p.poll() is None for p in list(RUNNING)):
                time.sleep(0.2)
        os._exit(130)
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    result, lock = Result(), threading.Lock()
    threads = [threading.Thread(target=lambda lane=lane: [run(p, result, lock) for p in lane
                                                          if not wanted or part_of(p) in wanted]) for lane in LANES]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.5)
    for part in sorted(p for p, n in result.ran.items() if not n):
        print(f"failed: {part} ran nothing")
        result.failed += 1
    for name, log, text in result.bad:  # once more, as the last that is read may be all that is kept
        print(f"failed: {name}, see {log}")
        print("\n".join(f"    | {x[:400]}" for x in re.findall(r"^(?:FAILED|ERROR|not ok|E  |\[  FAILED).*|.*(?:error|\*\*\*): .*", text, re.M)[-12:]))
    print(f"{result.passed} passed, {result.failed} failed, {result.skipped} skipped")
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main())
