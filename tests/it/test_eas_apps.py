"""Mail apps as they come, through a phone's whole life with the gate (GATE-01, GATE-02, PRV-01, PRV-03, R45): which command comes when, and
what the app shows."""
import json
import uuid

import pytest

import harness
from clients import portal
from mail import Post
from sim.eas_apps import PROFILES, App


@pytest.fixture(scope="module")
def db(request):
    return request.param


@pytest.fixture(scope="module")
def post(zone):
    made = Post(zone).ready()
    made.numbers = 1000
    yield made
    made.close()


# All apps on one engine; one of each query form on the other.
LIVES = pytest.mark.parametrize("db, profile", [("sqlite3", p) for p in PROFILES] + [("pgsql", "ios"), ("pgsql", "wp")], indirect=True, scope="module")


@pytest.fixture
def profile(request):
    return request.param


@pytest.fixture
def app(zone, post, profile):
    """A new phone; profile has the scope of db, this has not."""
    post.numbers += 1
    made = App(profile, zone.device_port, harness.PERSON, harness.PERSON_PASSWORD, post.numbers, ca=str(zone.tls_dir / "ca.pem"))
    post.phones.append(made)
    post.back.script.clear()
    return made


def device_of(zone, app):
    rows = zone.sql("SELECT device_id FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = ?", app.plain_id().upper())
    assert len(rows) == 1
    return rows[0][0]


def complete(zone, app):
    status, got = portal(zone).call("POST", f"/api/v1/devices/{device_of(zone, app)}/complete", {"ownership": "personal"})
    assert status == 200, got


def waits_outside(zone, post, app):
    """First contact: the app shows an account that works, with one message that says what to do, and nothing of the mailbox."""
    before = post.seen()
    assert app.visit() and app.state == "mail" and [x[:8] for x in app.inbox.values()] == ["One step"]
    assert not [r for r in post.back.requests[before:] if r["Cmd"] not in ("OPTIONS", "Provision")] and not app.heard


def shorter_than(zone, device, length):
    """The device's passcode policy from now on."""
    name, rows = f"passcode of {device}", "SELECT id FROM policy WHERE name = ?"
    settings = json.dumps({k: {"corporate": v, "personal": v} for k, v in (("security.password", True), ("security.min_length", length))})
    if not zone.sql(rows, name):
        ident = str(uuid.uuid4())
        zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, 'security', ?, 1, 0)", ident, name)
        zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, created_ms)"
                 " VALUES (?, 'policy', ?, 'security', 'device', ?, 'device_first', 0)", str(uuid.uuid4()), ident, device)
    zone.publish(zone.sql(rows, name)[0][0], settings)
    zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('device', ?)", device)


def takes(app, length):
    """The app has provisioned for a passcode of this length and lives on."""
    harness.wait_for(lambda: app.visit() and app.policy.get("MinDevicePasswordLength") == str(length))
    assert app.state == "mail" and app.key


def has_mail(zone, post, app, subject):
    """Completed: the mailbox, a mail, and news by Ping."""
    harness.wait_for(lambda: app.visit() and app.state == "mail" and "Sent" in app.folders, step=0.2)
    post.back.deliver(harness.PERSON, f"Subject: {subject}\r\n\r\nx")
    assert app.wait() == 2
    assert app.visit() and subject in app.inbox.values() and app.heard == {harness.PERSON}


@LIVES
def test_a_phones_life(zone, post, app):
    """First contact, completed in the portal, a policy, mail and news, a busy server, another policy, wiped, and back again."""
    waits_outside(zone, post, app)
    complete(zone, app)
    device = device_of(zone, app)
    shorter_than(zone, device, 6)
    takes(app, 6)
    has_mail(zone, post, app, f"to {app.profile} {zone.db_url[:2]}")
    post.back.script["*"] = [{"status": 503, "headers": {"Retry-After": "7", "X-MS-ASThrottle": "CommandFrequency"}}]
    assert not app.visit() and (app.state, app.retry_after) == ("later", 7)
    post.back.script.clear()
    assert app.visit() and app.state == "mail"
    provisions = app.provisions
    shorter_than(zone, device, 8)
    takes(app, 8)
    assert app.provisions == provisions + 1
    post.console.post(f"/devices/{device}/unenroll", {"wipe": "full", "then": "retire", "reason": "test"})
    harness.wait_for(lambda: not app.visit() and app.state == "wiped")
    again = App(app.profile, zone.device_port, harness.PERSON, harness.PERSON_PASSWORD, post.numbers, ca=str(zone.tls_dir / "ca.pem"))
    post.phones.append(again)
    harness.wait_for(lambda: not again.visit() and again.state == "blocked")  # restored from a copy, it is not wiped again
    assert again.plain_id() == app.plain_id() and not again.wiped and not post.back.trouble and not again.heard


@pytest.mark.parametrize("db, profile", [("sqlite3", "ios"), ("sqlite3", "samsung"), ("sqlite3", "old")], indirect=True, scope="module")
def test_policies_of_both_sides(zone, post, app):
    """PRV-02: the mail server's own policy is taken for the app, the stricter of both arrives, and when the server asks again the app provisions
    once more with us."""
    post.back.policies[harness.PERSON] = {"DevicePasswordEnabled": 1, "MinDevicePasswordLength": 10, "AllowCamera": 0}
    try:
        waits_outside(zone, post, app)
        complete(zone, app)
        shorter_than(zone, device_of(zone, app), 6)
        takes(app, 10)
        assert app.policy["AllowCamera"] == "0" and app.policy["DevicePasswordEnabled"] == "1"
        kind, key = post.back.keys[harness.PERSON, app.plain_id().upper()]
        assert kind == "final" and key != app.key and post.back.of("Sync")[-1]["key"] == key
        provisions = app.provisions
        post.back.ask_again(harness.PERSON)
        assert app.visit() and app.state == "mail" and app.provisions == provisions + 1
        assert post.back.keys[harness.PERSON, app.plain_id().upper()][1] != key
    finally:
        post.back.policies.clear()
