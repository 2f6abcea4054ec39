"""Mail apps as they come, through a phone's whole life with the gate (GATE-01, GATE-02, PRV-01, PRV-03, R45): which command comes when, and
what the app shows."""
import pytest

import harness
from clients import portal
from mail import Post
from sim.eas_apps import PROFILES, App


@pytest.fixture(scope="module")
def post(zone):
    made = Post(zone).ready()
    made.numbers = 1000
    yield made
    made.close()


@pytest.fixture(params=PROFILES)
def app(zone, post, request):
    post.numbers += 1
    made = App(request.param, zone.device_port, harness.PERSON, harness.PERSON_PASSWORD, post.numbers, ca=str(zone.tls_dir / "ca.pem"), timeout=40)
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
    """First contact: the app gets nothing of the mailbox."""
    before = post.seen()
    app.visit()
    assert not [r for r in post.back.requests[before:] if r["Cmd"] not in ("OPTIONS", "Provision")] and not app.heard


def has_mail(zone, post, app, subject):
    """Completed: the mailbox, a mail, and news by Ping."""
    harness.wait_for(lambda: app.visit() and app.state == "mail" and "Sent" in app.folders, timeout=40, step=0.2)
    post.back.deliver(harness.PERSON, f"Subject: {subject}\r\n\r\nx")
    assert app.wait() == 2
    assert app.visit() and subject in app.inbox.values() and app.heard == {harness.PERSON}


def test_a_phones_life(zone, post, app):
    """First contact, completed in the portal, mail and news, busy server, retired."""
    waits_outside(zone, post, app)
    complete(zone, app)
    has_mail(zone, post, app, f"to {app.profile} {zone.db_url[:2]}")
    post.back.script["*"] = [{"status": 503, "headers": {"Retry-After": "7", "X-MS-ASThrottle": "CommandFrequency"}}]
    assert not app.visit() and (app.state, app.retry_after) == ("later", 7)
    post.back.script.clear()
    assert app.visit() and app.state == "mail"
    device = device_of(zone, app)
    post.console.post(f"/devices/{device}/retire", {"reason": "test"})
    harness.wait_for(lambda: not app.visit() and app.state == "blocked", timeout=40)
    assert not post.back.trouble
