"""Two changes at once on PostgreSQL: a row that another transaction holds makes both read before either writes (MAT-09, DEV-01, DEV-12)."""
import json
import threading
import uuid

import psycopg2
import pytest

import harness
import seed
from clients import Console, enrolled
from test_enroll import Browser
from test_folders import edit, folder


ZONE = {"children": 2}


@pytest.fixture(scope="module", params=["pgsql"])
def db(request):
    """SQLite has one writer: there such changes come one after another."""
    return request.param


@pytest.fixture
def hold(zone):
    """hold(statement, *args): runs it in a transaction that stays open; the answer's commit() ends it."""
    held = []

    def take(statement, *args):
        held.append(psycopg2.connect(zone.db_url.split(":", 1)[1]))
        held[-1].cursor().execute(statement, args)
        return held[-1]
    yield take
    for one in held:
        one.close()


def waiting(zone, count):
    """So many of the server's connections wait for a lock."""
    return zone.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")[0][0] >= count


class Call(threading.Thread):
    """One request beside the test."""

    def __init__(self, fn, *args, **named):
        super().__init__(daemon=True)
        self.run, self.got = lambda: setattr(self, "got", fn(*args, **named)), None
        self.start()

    def answer(self):
        self.join(harness.PATIENCE)
        return self.got


@pytest.mark.parametrize("state", ["blocked", "retired"])
def test_finishing_mail_does_not_undo_an_administrators_decision(zone, hold, state):
    """POR-05, DEV-12: the device was put aside after its state was read: the person gets no mail by it."""
    anna = Browser(zone)
    assert anna.login() == 204
    device = seed.mail_device(zone, seed.person_id(zone, harness.PERSON), f"RACE{state.upper()}01")
    decision = hold("UPDATE device SET state = %s, version = version + 1 WHERE id = %s", state, device)
    call = Call(anna.call, "POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})
    harness.wait_for(lambda: waiting(zone, 1))
    decision.commit()
    assert call.answer()[0] == 409
    assert zone.sql("SELECT d.state, r.state FROM device d JOIN source_record r ON r.device_id = d.id WHERE d.id = ?", device) == [(state, "authenticated")]


def test_two_moves_make_no_loop(zone, hold):
    """DEV-01: A below B and B below A at the same time: one of them is refused, and the tree stays a tree."""
    consoles = Console(zone), Console(zone)
    a, b = (folder(consoles[0], f"Race {i}") for i in "AB")
    both = hold("SELECT id FROM folder WHERE id IN (%s, %s) FOR UPDATE", a, b)
    calls = [Call(edit, console, f"/folders/{one}", {"parent": other}) for console, one, other in zip(consoles, (a, b), (b, a))]
    harness.wait_for(lambda: waiting(zone, 2))
    both.commit()
    assert sorted(call.answer()[0] for call in calls) == [200, 409]
    above = zone.sql("SELECT folder_id, above_id FROM folder_above WHERE folder_id IN (?, ?)", a, b)
    assert not ((a, b) in above and (b, a) in above)
    assert len(above) == 5 and {(a, seed.ROOT_FOLDER), (b, seed.ROOT_FOLDER)} < set(above)


# ---------------------------------------------------------------- devices at work and the job that computes their policies


def policy_for_all(zone, value, folder=seed.ROOT_FOLDER):
    """A security policy for a folder, as assigning leaves it."""
    ident = str(uuid.uuid4())
    settings = json.dumps({"security.password": {"corporate": True, "personal": True}, "security.min_length": {"corporate": value, "personal": value}})
    zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, 'security', ?, 1, 0)", ident, ident)
    zone.sql("INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (?, 1, ?, 0)", ident, settings)
    zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, created_ms)"
             " VALUES (?, 'policy', ?, 'security', 'folder', ?, 'device_first', 0)", str(uuid.uuid4()), ident, folder)
    return ident


def publish(zone, policy, value, folder=seed.ROOT_FOLDER):
    settings = json.dumps({"security.password": {"corporate": True, "personal": True}, "security.min_length": {"corporate": value, "personal": value}})
    zone.publish(policy, settings)
    zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('folder', ?)", folder)


def lengths(zone, *devices):
    """What each device is to have now."""
    rows = dict(zone.sql("SELECT e.device_id, r.settings FROM effective_policy e JOIN policy_result r ON r.id = e.result_id WHERE e.type = 'security'"))
    return [json.loads(rows[d])["security.min_length"]["value"] if d in rows else None for d in devices]


def unpublish(zone, policy):
    zone.sql("DELETE FROM assignment WHERE object_id = ?", policy)
    zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('folder', ?)", seed.ROOT_FOLDER)


def test_the_job_waits_for_no_device_that_is_at_work(zone, hold):
    """POL-09, IOS-03: one device's check-in is under way: the others are computed meanwhile, it is computed behind, and nobody waits."""
    console = Console(zone)
    devices = [console.device(enrolled(zone).udid)["id"] for _ in range(2)]
    check_in = hold("UPDATE source_record SET last_seen_ms = last_seen_ms WHERE device_id = %s", devices[0])
    policy = policy_for_all(zone, 5)
    publish(zone, policy, 7)
    harness.wait_for(lambda: lengths(zone, devices[1]) == [7])
    assert lengths(zone, devices[0]) == [None] and not waiting(zone, 1)
    check_in.commit()
    harness.wait_for(lambda: lengths(zone, *devices) == [7, 7])
    unpublish(zone, policy)


def test_orders_of_a_task_and_contacts_that_are_written(zone, hold):
    """DEV-07, DEV-14, PRF-12: a task that orders from many devices takes all records and then the devices in one order, as who writes contacts does."""
    console, tail = Console(zone), str(uuid.uuid4())[1:]
    devices = high, low = "f" + tail, "0" + tail
    records = [seed.record(zone, seed.device(zone, f"Contact {i}", id=i) and i) for i in devices]
    contacts = hold("SELECT id FROM device WHERE id = %s FOR NO KEY UPDATE", low)
    task = console.post("/tasks", {"kind": "unenroll", "devices": devices, "confirm": 2, "options": {"wipe": "selective", "then": "retire"}})["id"]
    harness.wait_for(lambda: waiting(zone, 1))
    free = lambda table, *ids: [r[0] for r in zone.sql(f"SELECT id FROM {table} WHERE id IN (?, ?) FOR NO KEY UPDATE SKIP LOCKED", *ids)]  # noqa: E731
    harness.wait_for(lambda: free("source_record", *records) == [] and free("device", *devices) == [high])  # policies may be computed for a moment
    contacts.commit()
    harness.wait_for(lambda: all(d["command"] for d in console.get(f"/tasks/{task}/devices")["items"]))


def test_devices_enrol_while_policies_change(zone):
    """POL-09, IOS-03, DEV-07: check-ins, refreshes, moves and publications at once: no device is refused, no statement dies, all have the last one."""
    console = Console(zone)
    office = folder(console, f"Office {uuid.uuid4()}")
    policy, over, devices, faults = policy_for_all(zone, 4), threading.Event(), [], []

    def guarded(fn):
        def run():
            try:
                while not over.is_set():
                    fn()
            except Exception as e:  # told below
                faults.append(repr(e))
        return threading.Thread(target=run, daemon=True)

    def enrol():
        own = Console(zone)
        for _ in range(6):
            d = enrolled(zone)
            devices.append((d, own.device(d.udid)["id"]))
            d.poll()
        raise StopIteration

    def disturb():
        own = Console(zone)
        for _, ident in list(devices):
            own.post(f"/devices/{ident}/refresh")
        if devices:
            own.call("POST", "/devices/move", {"devices": [i for _, i in devices], "folder": office})
            own.call("POST", "/devices/move", {"devices": [i for _, i in devices], "folder": seed.ROOT_FOLDER})
            own.call("POST", "/tasks", {"kind": "refresh", "devices": [i for _, i in devices]})

    workers = [guarded(enrol) for _ in range(2)] + [guarded(disturb)]
    for w in workers:
        w.start()
    for n in range(5, 40):
        publish(zone, policy, n % 10 + 4)
        workers[n % 2].join(0.2)
    for w in workers[:2]:
        w.join(harness.PATIENCE)
    over.set()
    workers[2].join(harness.PATIENCE)
    assert set(faults) <= {repr(StopIteration())}
    publish(zone, policy, 16)
    harness.wait_for(lambda: lengths(zone, *[i for _, i in devices]) == [16] * 12)
    unpublish(zone, policy)
