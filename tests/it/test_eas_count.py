"""What mail clients did, and those that are silent (PXY-06)."""
import time

import pytest

import harness
from clients import enrolled, portal
from mail import Post, eas_id
from test_admin import problem

ZONE = {"children": 1}


@pytest.fixture(scope="module")
def post(zone):
    made = Post(zone).ready()
    made.numbers = 0
    yield made
    made.close()


@pytest.fixture
def phone(zone, post):
    """A mail app whose person has finished it."""
    post.numbers += 1
    post.back.script.clear()
    made = post.phone(device_id=f"COUNTED{post.numbers:04}")
    made.post("FolderSync", None)
    made.object, made.record = zone.sql("SELECT device_id, id FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = ?", made.device_id)[0]
    assert portal(zone).call("POST", f"/api/v1/devices/{made.object}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: made.folder_sync().status == 1 and not made.folder_key.startswith("MDMQ"))
    return made


def use(zone, post, phone, until):
    """The counters of its record, as soon as they fit; they are written behind."""
    def now():
        """the counters"""
        records = post.console.get(f"/devices/{phone.object}/records")["items"]
        got = next(r for r in records if r["id"] == phone.record)["use"]
        return got if got and until(got) else None
    return harness.wait_for(now)


def test_what_a_mail_client_did_is_counted(zone, post, phone):
    """Requests, bytes both ways, last command, sync and heartbeat: by a Sync, a Ping that was held, and a failure at the mail server."""
    zone.log.expect("MDM0810")
    assert phone.sync() is not None
    phone.start("Ping", phone.ping_document(480), phone.key)
    harness.wait_for(lambda: post.back.held == 1)
    post.back.deliver(harness.PERSON, "Subject: news\r\n\r\nx")
    assert phone.finish().status == 2
    post.back.script["SmartReply"] = [{"status": 500}]
    assert phone.send(b"Subject: y\r\n\r\ny", "SmartReply", of="5:1").http == 503
    got = use(zone, post, phone, lambda u: u["errors"] == 1)
    assert got["heartbeat_seconds"] == 480 and got["last_command"] == "SmartReply" and got["last_error_http"] == 503
    assert got["last_error_at"] == got["last_at"] >= got["last_sync_at"] > "2026"
    assert got["requests"] >= 6 and got["bytes_in"] > 100 and got["bytes_out"] > 100


def silence(zone, phone, days=40):
    """As if it had synced last so long ago; what it did just now is added later and does not speak of a sync."""
    zone.sql("INSERT INTO eas_count (record_id, requests, errors, bytes_in, bytes_out, last_ms, last_cmd, sync_ms, heartbeat_s, error_ms, error_http, alive_day)"
             " VALUES (?, 1, 0, 0, 0, 0, 'Sync', 0, 0, 0, 0, ?) ON CONFLICT (record_id) DO UPDATE SET alive_day = excluded.alive_day", phone.record,
             int(time.time() // 86400) - days)


def silent(post, days=30):
    return {x["id"]: x for x in post.console.get(f"/stale-mail?days={days}")["items"]}


def end(post, **more):
    status, _, got = post.console.call("POST", "/stale-mail/end", {"days": 30, "then": "retire", **more})
    assert status == 200, got
    return got["ended"], got["passed"]


def test_silent_apps_are_listed_and_ended(zone, post, phone):
    """A list by days, as a page and as CSV; what is selected is retired by what retires devices, with its audit; an administrator can take it back, and
    the app goes on with the same object."""
    silence(zone, phone)
    item = silent(post)[phone.record]
    assert item["device"]["id"] == phone.object and item["person"]["login"] == harness.PERSON and item["silent_days"] - 40 in (0, 1)
    assert item["device_id"] == phone.device_id and phone.record not in silent(post, 41) and phone.record in silent(post, 39)
    assert phone.record.encode() in post.console.call("GET", "/stale-mail?format=csv")[2]
    for bad, field in (({"then": "wipe"}, "then"), ({"records": []}, "records"), ({"records": ["x"]}, "records"), ({"records": [phone.record], "all": True}, "records"),
                       ({}, "records"), ({"all": True, "days": 0}, "days"), ({"all": True, "x": 1}, "x")):
        problem(post.console.call("POST", "/stale-mail/end", {"days": 30, "then": "retire", **bad}), 400, field)
    problem(post.console.call("GET", "/stale-mail?days=0"), 400, "days")
    assert end(post, records=[phone.record], reason="gone") == (1, 0)
    assert end(post, records=[phone.record]) == (0, 1) and phone.record not in silent(post)
    assert post.console.get(f"/devices/{phone.object}")["state"] == "retired"
    assert "device.retire" in [a["action"] for a in post.console.get(f"/devices/{phone.object}/audit")["items"]]
    harness.wait_for(lambda: phone.folder_sync().status == 129)
    assert post.console.call("POST", f"/devices/{phone.object}/unretire", {"reason": "is back"})[0] == 204
    harness.wait_for(lambda: phone.folder_sync().status == 1)
    assert zone.sql("SELECT device_id FROM source_record WHERE id = ?", phone.record) == [(phone.object,)]


def test_all_silent_ones_are_deleted(zone, post, phone):
    """What is known by mail alone goes; a managed device stays as it is, without its mail app, which finds it again when it comes back. One that has
    synced since is passed over."""
    managed = post.phone(device_id=eas_id(enrolled(zone)))
    harness.wait_for(lambda: managed.folder_sync().status == 1 and not managed.folder_key.startswith("MDMQ"))
    managed.object, managed.record = zone.sql("SELECT device_id, id FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = ?", managed.device_id)[0]
    for one in (phone, managed):
        silence(zone, one)
    assert {phone.record, managed.record} <= set(silent(post))
    silence(zone, managed, 0)
    assert managed.record not in silent(post) and end(post, records=[managed.record]) == (0, 1)
    silence(zone, managed)
    ended, passed = end(post, all=True, then="delete")
    assert ended >= 2 and passed == 0 and not silent(post) and end(post, all=True) == (0, 0)
    assert post.console.call("GET", f"/devices/{phone.object}")[0] == 404
    now = post.console.get(f"/devices/{managed.object}")
    assert (now["state"], now["mode"]) == ("active", "ios_mdm")
    harness.wait_for(lambda: managed.folder_sync().status == 1)
    assert post.console.get(f"/devices/{managed.object}")["mode"] == "ios_mdm_eas"
    harness.wait_for(lambda: phone.folder_sync().doc.value("FH.SyncKey") == "MDMQ-1")
    assert zone.sql("SELECT COUNT(*) FROM source_record WHERE kind = 'eas' AND native_id = ? AND device_id <> ?", phone.device_id, phone.object) == [(1,)]
