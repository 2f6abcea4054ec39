"""What mail clients did, and those that are silent (PXY-06)."""
import pytest

import harness
from clients import portal
from mail import Post

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
    harness.wait_for(lambda: made.folder_sync().status == 1 and "Inbox" in made.folders)
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
    got = use(zone, post, phone, lambda u: u["last_command"] == "Ping")
    assert got["last_sync_at"] == got["last_at"] and got["heartbeat_seconds"] == 480 and got["errors"] == 0
    assert got["requests"] >= 5 and got["bytes_in"] > 100 and got["bytes_out"] > 100 and got["last_error_at"] is None
    post.back.script["SmartReply"] = [{"status": 500}]
    assert phone.send(b"Subject: y\r\n\r\ny", "SmartReply", of="5:1").http == 503
    then = use(zone, post, phone, lambda u: u["errors"] == 1)
    assert then["last_command"] == "SmartReply" and then["last_error_http"] == 503 and then["last_error_at"] == then["last_at"]
    assert then["last_sync_at"] == got["last_sync_at"] and then["requests"] == got["requests"] + 1 and then["heartbeat_seconds"] == 480
    assert then["bytes_in"] > got["bytes_in"]
