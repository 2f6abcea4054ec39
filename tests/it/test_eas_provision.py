"""Provision, policy keys and wipes through the gate, on both engines (PRV-01 to PRV-03, POL-07, POL-10, R18)."""
import json
import uuid

import pytest

import harness
from clients import enrolled, portal
from mail import BEN, eas_id, flows, folders, ours, post_for_two  # noqa: F401
from sim.eas_server import POLICY_TYPE
from sim.wbxml import Node, encode

ZONE = {"children": 1}
FOLDERS = Node("FH.FolderSync", Node("FH.SyncKey", "0"))
PIN = {"security.password": True, "security.min_length": 6}


@pytest.fixture
def mail_only(zone, post):
    """A phone whose mail was completed in the portal: (phone, id of the device)."""
    def make(ident, who=(), **more):
        phone = post.phone(*who, device_id=ident, **more)
        phone.post("FolderSync", FOLDERS)
        device = zone.sql("SELECT s.device_id FROM source_record s JOIN person p ON p.id = s.person_id WHERE s.native_id = ? AND s.live = 1 AND p.login = ?",
                          ident, phone.user)[0][0]
        status, got = (portal(zone, *who) if who else portal(zone)).call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})
        assert status == 200, got
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 1)
        return phone, device
    return make


@pytest.fixture
def policy(zone, post):
    """policy(device, {"security.min_length": 6}, "security"): what the device's policies ask from now on; gone after the test."""
    made = {}

    def assign(device, settings, kind="security"):
        ident = made.setdefault((device, kind), str(uuid.uuid4()))
        zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, ?, ?, 1, 0) ON CONFLICT DO NOTHING", ident, kind, ident)
        zone.publish(ident, json.dumps({k: {"corporate": v, "personal": v} for k, v in settings.items()}))
        zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, created_ms)"
                 " SELECT ?, 'policy', ?, ?, 'device', ?, 'device_first', 0 WHERE NOT EXISTS (SELECT 1 FROM assignment WHERE object_id = ?)",
                 str(uuid.uuid4()), ident, kind, device, ident)
        before = delivery(zone, device)
        zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('device', ?)", device)
        if kind == "security":
            harness.wait_for(lambda: delivery(zone, device)[1:2] != before[1:2])
    yield assign
    for (device, _), ident in made.items():
        for statement in ("DELETE FROM assignment WHERE object_id = ?", "DELETE FROM policy_version WHERE policy_id = ?", "DELETE FROM policy WHERE id = ?"):
            zone.sql(statement, ident)
        zone.sql("INSERT INTO recompute (target_kind, target_id) SELECT 'device', id FROM device WHERE id = ?", device)


def delivery(zone, device):
    """State and hash of what the mail app has to have."""
    rows = zone.sql("SELECT state, hash, error FROM delivery WHERE device_id = ? AND channel = 'eas' AND hash <> ''", device)
    return rows[0] if rows else ()


def told(answer, status, version):
    return answer.http == 449 if version == "12.1" else (answer.http, answer.status) == (200, status)


def offer(phone, key=0):
    answer = phone.post("Provision", Node("PV.Provision", phone._policy()), key)
    return answer, answer.doc.get("PV.Policies/PV.Policy")


def final(key):
    return encode(Node("PV.Provision", Node("PV.Status", 1), Node("PV.Policies", Node(
        "PV.Policy", Node("PV.PolicyType", POLICY_TYPE), Node("PV.Status", 1), Node("PV.PolicyKey", key)))))


def ack(phone, key, status=1):
    return phone.post("Provision", Node("PV.Provision", phone._policy(Node("PV.PolicyKey", key), Node("PV.Status", status))), key)


@pytest.mark.parametrize("form, version", [("base64", "12.1"), ("plain", "14.0"), ("plain", "14.1"), ("base64", "16.1")])
def test_handshake(zone, post, mail_only, policy, form, version):
    """PRV-01: told to provision, two steps, the key from then on; wrong and old ones; the back end sees neither keys nor documents of ours."""
    phone, device = mail_only(f"SHAKE{version.replace('.', 'X')}", form=form, version=version)
    policy(device, PIN)
    harness.wait_for(lambda: told(phone.post("FolderSync", FOLDERS), 142, version))
    before = len(post.back.of("FolderSync"))
    assert told(phone.post("FolderSync", FOLDERS, 0), 142, version) and told(phone.post("Sync", key=99), 142, version)
    first, offered = offer(phone)
    temp = int(offered.value("PV.PolicyKey"))
    document = {k.name[3:]: k.text for k in offered.get("PV.Data/PV.EASProvisionDoc").kids}
    assert first.status == 1 and (document["DevicePasswordEnabled"], document["MinDevicePasswordLength"]) == ("1", "6") and temp
    refused = ack(phone, temp ^ 1)
    assert refused.doc.value("PV.Policies/PV.Policy/PV.Status") == "5"
    assert told(phone.post("FolderSync", FOLDERS, temp), 142, version)
    second = ack(phone, temp)
    phone.key = int(second.doc.value("PV.Policies/PV.Policy/PV.PolicyKey"))
    assert second.body == final(phone.key) == ack(phone, temp).body and phone.key not in (0, temp)
    assert len(post.back.of("FolderSync")) == before
    assert phone.post("FolderSync", FOLDERS, phone.key).status == 1 and post.back.of("FolderSync")[-1]["key"] is None
    assert delivery(zone, device)[0] == "applied"
    assert told(phone.post("FolderSync", FOLDERS, phone.key ^ 1), 144, version)
    policy(device, {**PIN, "security.min_length": 8})
    harness.wait_for(lambda: told(phone.post("FolderSync", FOLDERS, phone.key), 143, version))
    assert phone.ping(1).status in (1, 7) or phone.version == "12.1"  # carries no key
    assert phone.folder_sync().status == 1 and phone.policy["MinDevicePasswordLength"] == "8"
    attrs = zone.sql("SELECT attrs FROM source_record WHERE native_id = ?", phone.device_id)[0][0]
    assert ("Phone of the test" in attrs) == (version in ("14.1", "16.1"))  # PRV-04: it comes with the handshake from 14.1 on


def test_detect_mode_asks_for_nothing(zone, post, mail_only, policy):
    """GATE-03: without a key it passes and is counted; a phone that wants to may provision."""
    phone, device = mail_only("DETECTKEY01")
    pending = post.phone(device_id="DETECTKEY02")  # tells when the mode is another: who is told to provision too often is let alone (PRV-02)
    policy(device, PIN)
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 142)
    try:
        assert post.console.call("PUT", "/mail-gate", {"mode": "detect"})[0] == 200
        harness.wait_for(lambda: flows(folders(pending)))
        assert phone.post("FolderSync", FOLDERS).status == 1
        assert phone.provision() and phone.policy["MinDevicePasswordLength"] == "6"
    finally:
        post.console.call("PUT", "/mail-gate", {"mode": "on"})
    harness.wait_for(lambda: ours(folders(pending)))
    assert phone.post("FolderSync", FOLDERS).status == 142
    assert phone.post("FolderSync", FOLDERS, phone.key).status == 1


def test_policy_of_the_mail_server(zone, post, mail_only, policy):
    """PRV-02, POL-07: the stricter of both; taken in the device's place; its key goes with relayed requests; forgotten, it is asked for again."""
    phone, device = mail_only("SERVERPOLICY1")
    policy(device, PIN)
    post.back.policy = {"DevicePasswordEnabled": 1, "MinDevicePasswordLength": 4, "AllowCamera": 0}
    try:
        assert phone.folder_sync().status == 1 and phone.provisions
        assert (phone.policy["MinDevicePasswordLength"], phone.policy["AllowCamera"]) == ("6", "0")
        kind, theirs = post.back.keys[phone.user, phone.device_id.upper()]
        assert kind == "final" and theirs != phone.key and post.back.of("FolderSync")[-1]["key"] == theirs
        post.back.keys.clear()  # the server has forgotten, or has another policy
        post.back.policy["MinDevicePasswordLength"] = 9
        provisions = phone.provisions
        assert phone.folder_sync().status == 1 and phone.provisions == provisions + 1 and phone.policy["MinDevicePasswordLength"] == "9"
        # the server is away: nothing is half done
        post.back.script["Provision"] = [{"status": 500}]
        answer = phone.post("Provision", Node("PV.Provision", phone._policy()), 0)
        assert answer.http == 503 and int(answer.headers["Retry-After"]) > 0
        assert phone.post("FolderSync", FOLDERS, phone.key).status == 1
    finally:
        post.back.policy = None
        post.back.script.clear()


def test_no_policy_at_all(zone, post, mail_only):
    """Nobody asks for anything: nothing is wanted of the phone, and one that provisions all the same gets a key and is held to it."""
    phone, _ = mail_only("NOPOLICY001")
    assert phone.post("FolderSync", FOLDERS).status == 1
    assert phone.provision() and phone.policy["DevicePasswordEnabled"] == "0"
    assert phone.post("FolderSync", FOLDERS, phone.key).status == 1 and phone.post("FolderSync", FOLDERS, phone.key ^ 1).status == 144


def test_who_does_not_obey(zone, post, mail_only, policy):
    """PRV-01, POL-10: the e-mail policy decides; the device shows it; no prompt loop."""
    phone, device = mail_only("DISOBEYS001")
    policy(device, {"email.unprovisioned": False}, "email")
    policy(device, PIN)
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 142)
    answer = ack(phone, int(offer(phone)[1].value("PV.PolicyKey")), 2)
    assert answer.status == 139 and delivery(zone, device)[0] == "failed" and "part" in delivery(zone, device)[2]
    assert phone.post("FolderSync", FOLDERS, 0).status == 129 and phone.post("FolderSync", FOLDERS).status == 141
    assert zone.sql("SELECT COUNT(*) FROM message WHERE object_id = ? AND code = 'eas.policy'", device) == [(1,)]
    assert post.console.get(f"/devices/{device}")["compliance"] == "noncompliant"
    assert phone.folder_sync().status == 1 and delivery(zone, device)[0] == "applied"  # until it does after all


@pytest.mark.parametrize("body", [b"x", b"\x03\x01\x6a\x00\x45", encode(FOLDERS), b"\x03\x01\x6a\x00" + b"\x45" * 5000,
                                  encode(Node("PV.Provision", Node("PV.Policies", Node("PV.Policy", Node("PV.Status", 9)))))])
def test_hostile_documents(zone, post, mail_only, body):
    """R09: a bounded body, an answer to all of it."""
    phone = post.phone(device_id="HOSTILE0001")
    phone.post("FolderSync", FOLDERS)
    answer = phone.post("Provision", body=body)
    assert (answer.http, answer.status) == (200, 2)
    assert phone.post("Provision", body=body + b"\0" * 70000).http == 413
    old = post.phone(device_id="HOSTILE0001", version="12.1")
    assert old.post("Provision", body=body).http == 400


# ---------------------------------------------------------------- wipes


def wipe(post, device, how, then="retire"):
    post.console.post(f"/devices/{device}/unenroll", {"wipe": how, "then": then, "reason": "test"})


def state(zone, phone):
    return zone.sql("SELECT s.state, c.wipe_state FROM source_record s JOIN person p ON p.id = s.person_id LEFT JOIN eas_client c ON c.record_id = s.id "
                    "WHERE s.native_id = ? AND s.live = 1 AND p.login = ?", phone.device_id, phone.user)


def events(post, device):
    return [e["kind"] for e in post.console.get(f"/devices/{device}/events?limit=200")["items"]]


@pytest.mark.parametrize("how, version, element", [("full", "12.1", "PV.RemoteWipe"), ("full", "14.1", "PV.RemoteWipe"),
                                                   ("selective", "16.1", "PV.AccountOnlyRemoteWipe")])
def test_wipe(zone, post, mail_only, how, version, element):
    """PRV-03, DEV-12: told at every command, hears what to do, says that it did; refused from then on, and wiped once."""
    phone, device = mail_only(f"WIPE{how[:4].upper()}{version.replace('.', '')}", version=version)
    wipe(post, device, how)
    harness.wait_for(lambda: told(phone.post("FolderSync", FOLDERS, 1), 140, version))
    before = post.seen()
    for command in ("Sync", "Ping", "Settings", "SendMail"):
        assert phone.post(command, key=1).http in ((449,) if version == "12.1" else (200, 449)), command
    assert state(zone, phone) == [("leaving", "asked")]
    other = "PV.AccountOnlyRemoteWipe" if element == "PV.RemoteWipe" else "PV.RemoteWipe"
    for early in (element, other):  # nobody has told it yet
        assert phone.post("Provision", Node("PV.Provision", Node(early, Node("PV.Status", 1))), 0).http in (200, 400)
    assert state(zone, phone) == [("leaving", "asked")]
    assert phone.post("Provision", body=b"").body == encode(Node("PV.Provision", Node("PV.Status", 1), Node(element)))
    assert state(zone, phone) == [("leaving", "sent")]
    assert post.console.call("POST", f"/devices/{device}/unenroll/cancel")[0] == 409
    failed = phone.post("Provision", Node("PV.Provision", Node(element, Node("PV.Status", 2))), 0)
    assert failed.status == 2 and state(zone, phone) == [("leaving", "failed")]
    assert phone.provision() and phone.wiped and state(zone, phone) == [("left", "done")]
    assert post.seen() == before
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS, 1).http == 403 if version == "12.1" else phone.post("FolderSync", FOLDERS).status == 129)
    whole = post.console.get(f"/devices/{device}")
    assert whole["state"] == "retired"
    assert {"unenroll.asked", "mail.wipe_sent", "mail.wipe_failed", "mail.wiped"} <= set(events(post, device))


def test_wipe_of_an_account_needs_its_protocol(zone, post, mail_only):
    """PRV-03: below 16.1 an account can't be wiped: its mail ends at once, the object is what was asked for."""
    phone, device = mail_only("OLDACCOUNT1", version="14.1")
    wipe(post, device, "selective", "delete")
    harness.wait_for(lambda: post.console.call("GET", f"/devices/{device}")[0] == 404)
    phone, device = mail_only("OLDACCOUNT2", version="14.1")
    wipe(post, device, "selective")
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 129)
    assert state(zone, phone) == [("left", None)] and post.console.get(f"/devices/{device}")["state"] == "retired"


def test_wipe_of_one_of_two_people(zone, post, mail_only):
    """R18, R17: one DeviceId, two people: the other one is not wiped, cannot acknowledge, and keeps mail; taken back, it is as before."""
    anna, device = mail_only("TWOPEOPLE01")
    ben, other = mail_only("TWOPEOPLE01", BEN)
    wipe(post, device, "full", "delete")
    harness.wait_for(lambda: anna.post("FolderSync", FOLDERS).status == 140)
    assert ben.post("FolderSync", FOLDERS).status == 1 and ben.provision() and not ben.wiped
    assert ben.post("Provision", Node("PV.Provision", Node("PV.RemoteWipe", Node("PV.Status", 1))), 0).status == 2
    assert state(zone, anna) == [("leaving", "asked")] and state(zone, ben)[0][0] == "enrolled"
    assert post.console.get(f"/devices/{device}")["state"] == "wipe_pending"
    assert post.console.call("POST", f"/devices/{device}/unenroll/cancel")[0] == 204
    harness.wait_for(lambda: anna.post("FolderSync", FOLDERS).status == 1)
    assert post.console.get(f"/devices/{device}")["state"] == "active" and post.console.call("POST", f"/devices/{device}/unenroll/cancel")[0] == 409
    wipe(post, device, "full", "delete")
    assert post.console.call("DELETE", f"/devices/{device}")[0] == 204  # the wipe outlives its object
    harness.wait_for(lambda: anna.post("FolderSync", FOLDERS).status == 140)
    assert anna.provision() and anna.wiped and state(zone, anna) == []
    assert ben.post("FolderSync", FOLDERS, ben.key).status == 1 and post.console.get(f"/devices/{other}")["state"] == "active"


def test_wipe_of_a_managed_device_by_mail(zone, post):
    """DEV-12: a full wipe goes by whichever channel asks first; confirmed by mail, management ends, too."""
    device = enrolled(zone)
    phone = post.phone(device_id=eas_id(device))
    assert phone.folder_sync().status == 1
    ident = post.console.device(device.udid)["id"]
    wipe(post, ident, "full")
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 140)
    assert phone.provision() and phone.wiped
    assert zone.sql("SELECT live FROM source_record WHERE device_id = ? AND kind = 'mdm'", ident) == [(0,)]
    assert "unenroll.done" in events(post, ident)


def test_wipe_by_the_mail_server(zone, post, mail_only):
    """PRV-03: passed on, recorded, and the server hears of it."""
    phone, device = mail_only("SERVERWIPE1")
    post.back.wipe.add((phone.user, phone.device_id))
    assert phone.command("FolderSync", FOLDERS).status in (140, 0) and phone.wiped
    assert not post.back.wipe and state(zone, phone) == [("left", "done")]
    assert "mail.wiped" in events(post, device) and zone.sql("SELECT COUNT(*) FROM message WHERE object_id = ? AND code = 'wipe.server'", device) == [(1,)]
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 129)
