"""A pytest plugin (-p share): several runs of pytest share the tests of a folder. Each takes the next file, with one database engine,
that no other has taken; MDM_SHARE names the folder where that is noted. The order is the same for all: what takes long comes first."""
import os
from pathlib import Path

LONG = ("test_run", "test_faults", "test_push", "test_wcag", "test_core_cache", "test_identity", "test_console", "test_rules_identity",
        "test_eas_faults", "test_ios", "test_core", "test_eas", "test_races", "test_notices")


def heaps(items):
    """Lists of tests that share their zones."""
    made = {}
    for item in items:
        engine = item.callspec.params.get("db", "") if hasattr(item, "callspec") else ""
        made.setdefault((item.path.stem, engine), []).append(item)
    return sorted(made.items(), key=lambda heap: LONG.index(heap[0][0]) if heap[0][0] in LONG else len(LONG))


def take(left):
    """The next heap that is free, or []."""
    while left:
        name, items = left.pop(0)
        try:
            os.close(os.open(Path(os.environ["MDM_SHARE"]) / "-".join(name), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return items
    return []


def pytest_runtestloop(session):
    if session.testsfailed or session.config.option.collectonly:
        return None  # pytest says what could not be collected
    left = heaps(session.items)
    mine = take(left)
    while mine:
        item = mine.pop(0)
        mine = mine or take(left)  # before the last test of a heap, so that what belongs to the whole run stays
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=mine[0] if mine else None)
        if session.shouldfail or session.shouldstop:
            raise session.Interrupted(session.shouldfail or session.shouldstop)
    return True
