"""The mailbox of a mail client that has no mail: what it shows, and how it ends (GATE-02, PRV-05, R09), against a simulated mail server."""
import base64
import json
import time

import pytest

import harness
from clients import portal
from mail import BEN, Post, flows, folders, ours, post_for_two, refused  # noqa: F401
from sim.wbxml import Node

ZONE = {"children": 1, "extra_device": '<Location "/core-status">\nSetHandler mdm-status\n</Location>'}


@pytest.fixture
def policy(zone):
    """Changes the enrolment policy that everybody has; as it was afterwards."""
    ident, number, text = zone.sql("SELECT policy_id, number, settings FROM policy_version v JOIN policy p ON p.id = v.policy_id"
                                   " WHERE p.type = 'enrollment' ORDER BY number DESC LIMIT 1")[0]

    def change(settings):
        zone.sql("UPDATE policy_version SET settings = ? WHERE policy_id = ? AND number = ?", settings, ident, number)
    yield lambda **more: change(json.dumps({**json.loads(text), **more}))
    change(text)


def device_of(zone, phone):
    rows = zone.sql("SELECT device_id FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = ?", phone.device_id.upper())
    return rows and rows[0][0]


def message(phone):
    """What the inbox of a device without mail shows: properties of its one mail, None if it is empty."""
    assert phone.folder_sync().status == 1 and phone.folder_key == "MDMQ-1" and list(phone.folders.values()) == ["MDMQ-inbox"]
    phone.sync(list(phone.folders)[0])
    assert len(phone.mails) <= 1 and phone.sync(list(phone.folders)[0]) == []
    return next(iter(phone.mails.values()), None)


@pytest.mark.san
@pytest.mark.parametrize("form, version", [("plain", "12.1"), ("plain", "14.1"), ("base64", "16.1")])
def test_pending_message_complete_reload(zone, post, form, version):
    """GATE-02: message seen, fetched, refused to be answered; the person completes; the client loads the real mailbox; nothing passed before."""
    post.back.deliver(harness.PERSON, "Subject: secret\r\n\r\nnobody may see this yet")
    phone, before = post.phone(device_id=f"QUIET{form}{version[:2]}", form=form, version=version), post.seen()
    mail = message(phone)
    assert mail.value("EM.Subject") == "One step to go before your mail arrives" and mail.value("EM.Read") == "0"
    assert f"{zone.public_url}/enroll/" in mail.value("AB.Body/AB.Data")
    number = next(iter(phone.mails))
    got = phone.command("ItemOperations", Node("IO.ItemOperations", Node(
        "IO.Fetch", Node("IO.Store", "Mailbox"), Node("AS.CollectionId", "MDMQ-inbox"), Node("AS.ServerId", number),
        Node("IO.Options", Node("AS.MIMESupport", 2)))))
    mime = got.doc.value("IO.Response/IO.Fetch/IO.Properties/AB.Body/AB.Data")
    assert "Subject: One step" in mime and "anna@example.org" in mime
    answer = phone.send(b"Subject: out\r\n\r\nx")
    assert answer.status == 130 if version != "12.1" else answer.http == 403
    assert phone.ping(1).status == 1 and phone.options().http == 200
    assert not [r for r in post.back.requests[before:] if r["Cmd"] != "OPTIONS"] and not post.back.boxes[harness.PERSON].sent
    assert portal(zone).call("POST", f"/api/v1/devices/{device_of(zone, phone)}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: phone.post("FolderSync", Node("FH.FolderSync", Node("FH.SyncKey", "MDMQ-1")), phone.key).status == 9)
    stale = phone.command("Sync", Node("AS.Sync", Node("AS.Collections", Node(
        "AS.Collection", Node("AS.SyncKey", phone.sync_keys["MDMQ-inbox"]), Node("AS.CollectionId", "MDMQ-inbox")))))
    assert stale.doc.value("AS.Collections/AS.Collection/AS.Status") == "3"
    assert phone.ping(1).status == 7
    assert phone.folder_sync().status == 1 and "MDMQ-inbox" not in phone.folders.values()
    found = phone.sync()
    assert b"secret" in phone.fetch(found[-1]) and phone.sync() == []


def test_german_client_reads_german(zone, post):
    """GATE-02: the language is that of the client."""
    phone = post.phone(device_id="GERMAN000001")
    was = phone.headers
    phone.headers = lambda *args: {**was(*args), "Accept-Language": "de-DE"}
    assert message(phone).value("EM.Subject") == "Noch ein Schritt, dann kommt Ihre Post" and list(phone.folders) == ["Posteingang"]


@pytest.mark.parametrize("change, subject", [
    ({"max_devices": 1}, "You have too many devices for one more"),
    ({"platforms": {"ios": True, "android": True, "eas": False}}, "This kind of device can't have your mail")], ids=["limit", "kind"])
def test_each_reason_has_its_text(zone, post, policy, change, subject):
    """GATE-02: a limit on devices and what is not allowed show their own message; no record is made, and releasing it lets the client in."""
    if "max_devices" in change:
        first = post.phone(*BEN, device_id="BENSFIRST001")
        assert ours(folders(first))
        assert portal(zone, *BEN).call("POST", f"/api/v1/devices/{device_of(zone, first)}/complete", {"ownership": "personal"})[0] == 200
    policy(**change)
    phone = post.phone(*BEN, device_id=f"BENSOTHER{len(change)}{subject[:4].strip()}")
    assert message(phone).value("EM.Subject") == subject
    assert phone.provision() is False and phone.settings().status == 1
    assert not device_of(zone, phone)
    assert phone.http.sock is not None  # one connection served it all


def test_no_enrolment_policy(zone, post):
    """GATE-02, ENR-01; as soon as an enrolment policy is for him, the person's app is asked no more to wait."""
    rows = zone.sql("SELECT id, target_id FROM assignment WHERE object_type = 'enrollment'")
    zone.sql("UPDATE assignment SET target_id = 'none' WHERE object_type = 'enrollment'")
    try:
        phone = post.phone(device_id="NOPOLICY0001")
        assert message(phone).value("EM.Subject") == "This device can't have your mail" and not device_of(zone, phone)
    finally:
        for ident, target in rows:
            zone.sql("UPDATE assignment SET target_id = ? WHERE id = ?", target, ident)
    _, head, one = post.console.call("GET", f"/assignments/{rows[0][0]}")
    assert post.console.call("PATCH", f"/assignments/{one['id']}", {"position": one["position"]}, If_Match=head["ETag"])[0] == 200
    harness.wait_for(lambda: phone.folder_sync() and device_of(zone, phone))


def test_bad_bodies(zone, post):
    """R09: what is no document, too big or deep, is refused without harm."""
    phone = post.phone(device_id="BADBODY00001")
    answer = folders(phone)
    assert ours(answer), (answer.http, answer.status, dict(answer.headers))
    for body in (b"<html>", b"\x03\x01\x6a\x00" + b"\x45" * 5000, b"\x03\x01\x6a\x00\x45" + b"\x03a\x00" * 30000):
        for command in ("Sync", "FolderSync", "ItemOperations", "GetItemEstimate", "MoveItems", "Ping"):
            assert phone.post(command, body=body).http in (400, 413), (command, body[:8])
            phone.http.close()
    assert ours(folders(phone))


def client(post, device):
    return next(r["client"] for r in post.console.get(f"/devices/{device}/records")["items"] if r["kind"] == "eas")


def test_device_information(zone, post):
    """PRV-04: answered here while there is no mail, passed on afterwards; kept either way; agent and version renewed when they change."""
    phone = post.phone(device_id="INFORMATION1", device_type="Android", agent="Android-Mail/7.2")
    assert ours(folders(phone))
    device = device_of(zone, phone)
    more = Node("ST.DeviceInformation", Node("ST.Set", Node("ST.Model", "Pixel 7"), Node("ST.IMEI", "356938035643809"), Node("ST.OS", "Android 14.1"),
                                             Node("ST.OSLanguage", "de-DE"), Node("ST.PhoneNumber", "+49 30 1"), Node("ST.MobileOperator", "Tele")))
    answer = phone.post("Settings", Node("ST.Settings", more, Node("ST.Oof", Node("ST.Get"))))
    assert (answer.doc.value("ST.DeviceInformation/ST.Status"), answer.doc.value("ST.Oof/ST.Status")) == ("1", "3")
    assert not post.back.of("Settings")
    assert {"model": "Pixel 7", "imei": "356938035643809", "os": "Android 14.1", "language": "de-DE", "phone": "+49 30 1", "operator": "Tele",
            "user_agent": "Android-Mail/7.2", "version": "14.1", "type": "Android"} == client(post, device)
    assert zone.sql("SELECT value FROM match_key k JOIN source_record r ON r.id = k.record_id WHERE r.device_id = ? AND space = 'imei'", device) == [("35693803564380",)]
    whole = post.console.get(f"/devices/{device}")
    assert (whole["imei"], whole["os_version"]) == ("356938035643809", "14.1")
    assert phone.post("Settings", body=b"<xml>").http == 400
    assert portal(zone).call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: flows(folders(phone)))
    phone.version, phone.agent = "16.1", "Android-Mail/8.0"
    assert phone.settings().status == 1 and post.back.info[harness.PERSON, "INFORMATION1"]["FriendlyName"] == "Phone of the test"
    harness.wait_for(lambda: (got := client(post, device))["name"] == "Phone of the test" and got["os"] == "iOS 18.1")
    other = post.phone(device_id="INFORMATION1", version="16.1", agent="Android-Mail/9.0")
    assert flows(folders(other))


def test_detect_mode_and_exceptions(zone, post, policy):
    """GATE-03: detect mode lets pass and counts what it would have held; exceptions of a device come first; what is left alone stays."""
    def counted():
        return json.loads(zone.request("GET", "/core-status")[2])["mail_detected"]

    def exception(word):
        assert post.console.call("PUT", f"/devices/{device}/mail-gate", {"exception": word})[0] == 204
    waiting, policy_free = post.phone(device_id="DETECTED0001"), post.phone(*BEN, device_id="DETECTED0002")
    assert ours(folders(waiting))
    device, before = device_of(zone, waiting), counted()
    assert post.console.get("/mail-gate") == {"mode": "on", "without_policy": "auto", "language": "en"}
    assert post.console.call("PUT", "/mail-gate", {"mode": "off"})[0] == 400
    try:
        assert post.console.call("PUT", "/mail-gate", {"mode": "detect", "language": "de"})[0] == 200
        harness.wait_for(lambda: flows(folders(waiting)))
        policy(platforms={"ios": True, "android": True, "eas": False})
        assert flows(folders(policy_free)) and not device_of(zone, policy_free) and counted() >= before + 2
        exception("block")
        harness.wait_for(lambda: refused(folders(waiting)))
    finally:
        post.console.call("PUT", "/mail-gate", {"mode": "on", "language": "en"})
    exception("allow")
    harness.wait_for(lambda: flows(folders(waiting)))
    harness.wait_for(lambda: ours(folders(policy_free)))
    exception(None)
    harness.wait_for(lambda: ours(folders(waiting)))
    assert [e["kind"] for e in post.console.get(f"/devices/{device}/events")["items"]].count("mail.gate") == 3


def test_without_a_policy_there_is_no_mail(zone, post):
    """Spec 03, PRV-05: where the zone wants that, a device without e-mail policy is server-only: it works, is empty, and says nothing."""
    phone = post.phone(device_id="NOEMAILPOLICY")
    assert ours(folders(phone))
    assert portal(zone).call("POST", f"/api/v1/devices/{device_of(zone, phone)}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: flows(folders(phone)))
    try:
        post.console.call("PUT", "/mail-gate", {"without_policy": "server_only"})
        harness.wait_for(lambda: ours(folders(phone)))
        before = post.seen()
        assert message(phone) is None and phone.settings().status == 1
        assert post.seen() == before
    finally:
        post.console.call("PUT", "/mail-gate", {"without_policy": "auto"})
    harness.wait_for(lambda: flows(folders(phone)))


def statements(zone):
    return json.loads(zone.request("GET", "/core-status")[2])["db_statements"]


def test_floods_cost_nothing(zone, post, policy):
    """GATE-02: a pending or denied device that asks again and again costs no statements; unknown DeviceIds of one person are bounded."""
    pending = post.phone(device_id="FLOODPENDING")
    message(pending)
    harness.wait_for(lambda: zone.sql("SELECT COUNT(*) FROM recompute") == [(0,)])  # whose end is a change that is heard
    policy(platforms={"ios": True, "android": True, "eas": False})
    denied = post.phone(device_id="FLOODDENIED0")
    for phone in (pending, denied):
        assert ours(folders(phone))

        def free(phone=phone):
            """two hundred requests cost no more than as much time without them; a job may come in between"""
            before, begun = statements(zone), time.monotonic()
            for _ in range(100):
                assert ours(folders(phone)) and phone.post("Sync", body=b"").status == 13
            after = statements(zone)
            time.sleep(time.monotonic() - begun)
            return after - before < statements(zone) - after + 100
        harness.wait_for(free)
    flood = post.phone(*BEN)

    def another(i):
        flood.device_id = f"FLOOD{i:07}"
        return folders(flood)
    answer = next(a for a in map(another, range(500)) if not ours(a))
    assert answer.http == 503 and int(answer.headers["Retry-After"]) > 0
    assert ours(folders(pending)), "who is known is not held up"
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'eas.first_contact' AND outcome = 'refused'")[0][0] <= 45
