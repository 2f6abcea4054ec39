"""Two changes at once on PostgreSQL: a row that another transaction holds makes both read before either writes (MAT-09, DEV-01, DEV-12)."""
import threading

import psycopg2
import pytest

import harness
import seed
from clients import Console
from test_enroll import Browser
from test_folders import edit, folder


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
        self.join(20)
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
