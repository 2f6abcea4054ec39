"""The ActiveSync simulators against each other: what the server refuses, the phone must have earned (issue 3 item 1, issue 6)."""
import http.client
import ssl
import threading
import time

import pytest
from cryptography.hazmat.primitives import serialization

import zonefiles as zf
from harness import wait_for
from sim import wbxml
from sim.eas_apps import PROFILES, App
from sim.eas_client import EasError, Phone
from sim.eas_server import EasServer, parse_query
from sim.wbxml import Node

RAW_ID = bytes.fromhex("796acd8c9800295faabbccddeeff1213")


@pytest.fixture
def server():
    made = EasServer({"alice": "secret", "bob": "other"})
    yield made
    made.close()


@pytest.fixture
def phones(server):
    made = []

    def make(user="alice", password="secret", **more):
        made.append(Phone(server.port, user, password, **more))
        return made[-1]
    yield make
    for phone in made:
        phone.close()


def test_wbxml_round_trip():
    tree = Node("PV.Provision", Node("ST.DeviceInformation", Node("ST.Set", Node("ST.Model", "ä"))), Node("PV.RemoteWipe"),
                Node("CM.Mime", b"x\0" * 100))
    data = wbxml.encode(tree)
    again = wbxml.decode(data)
    assert data.startswith(b"\x03\x01\x6a\x00\x00\x0e\x45\x00\x12\x56\x48\x57\x03") and wbxml.encode(again) == data
    assert again.value("ST.DeviceInformation/ST.Set/ST.Model") == "ä" and again.get("CM.Mime").text == b"x\0" * 100
    for cut in range(len(data)):
        with pytest.raises(wbxml.WbxmlError):
            wbxml.decode(data[:cut])


@pytest.mark.parametrize("device_id", ["ApplTEST0001", "android_12345-6x", RAW_ID])
def test_both_query_forms_say_the_same(device_id):
    """R45"""
    plain = Phone(1, "dom\\alice", "x", device_id=device_id, device_type="WP", version="16.1")
    packed = Phone(1, "dom\\alice", "x", device_id=device_id, device_type="WP", version="16.1", form="base64")
    a, b = (parse_query(p.query("Ping", 77), p.headers(77)) for p in (plain, packed))
    assert (a.pop("form"), b.pop("form")) == ("plain", "base64")
    if device_id == "android_12345-6x":  # the simulated server takes 16 characters that are not all letters and digits for bytes
        assert b["DeviceId"] == b"android_12345-6x".hex().upper()
    else:
        assert a == b and a["DeviceId"] == plain.plain_id()


def test_example_of_the_protocol():
    found = parse_query("jAAJBAp2MTQwRGV2aWNlAApTbWFydFBob25l", {})
    assert found == {"Cmd": "Sync", "DeviceId": "v140Device", "DeviceType": "SmartPhone", "key": None, "User": "", "version": "14.0",
                     "multipart": False, "form": "base64"}


@pytest.mark.parametrize("form", ["plain", "base64"])
@pytest.mark.parametrize("version", ["12.1", "14.0", "14.1", "16.1"])
def test_a_day_of_a_phone(server, phones, form, version):
    server.policy = {"DevicePasswordEnabled": 1, "MinDevicePasswordLength": 6}
    phone = phones(version=version, form=form)
    assert phone.options().headers["MS-ASProtocolVersions"].endswith("16.1")
    assert phone.folder_sync().status == 1 and phone.folders["Inbox"] == "5"
    assert phone.policy == {"DevicePasswordEnabled": "1", "MinDevicePasswordLength": "6"} and phone.provisions == 1
    assert phone.sync() == []
    server.deliver("alice", "Subject: hello\r\n\r\nworld")
    assert phone.sync() == ["5:1"] and phone.sync() == []
    assert phone.fetch("5:1") == b"Subject: hello\r\n\r\nworld" and phone.fetch("5:9") is None
    assert phone.send(b"Subject: out\r\n\r\n\xff").http == 200 and server.boxes["alice"].sent == [b"Subject: out\r\n\r\n\xff"]
    assert not server.boxes["bob"].mails and not server.boxes["bob"].sent
    assert phone.settings().status == 1 and server.info["alice", "APPLTEST0001"]["Model"] == "iPhone14,2"
    assert {r["form"] for r in server.requests if r["Cmd"] != "OPTIONS"} == {form} and phone.provisions == 1


def test_ping_is_held_until_mail_comes(server, phones):
    phone = phones()
    phone.folder_sync()
    phone.start("Ping", phone.ping_document(60))
    wait_for(lambda: server.held == 1)
    server.deliver("alice", "x")
    answer = phone.finish()
    assert answer.status == 2 and answer.doc.value("PG.Folders/PG.Folder") == "5"
    start = time.monotonic()
    assert phone.ping(0.3).status == 1 and time.monotonic() - start > 0.25


def test_mail_of_others_ends_no_ping(server, phones):
    phone = phones()
    threading.Timer(0.1, server.deliver, ("bob", "x")).start()
    assert phone.ping(0.4).status == 1


def test_ping_of_a_phone_that_left_ends(server, phones):
    phone = phones()
    phone.start("Ping", phone.ping_document(60))
    wait_for(lambda: server.held == 1)
    phone.close()
    wait_for(lambda: server.held == 0)
    assert server.gone == 1


@pytest.mark.parametrize("user, password", [("alice", "wrong"), ("alice", ""), ("nobody", "secret")])
def test_wrong_credentials(server, phones, user, password):
    phone = phones(user, password)
    assert phone.options().http == 401 and phone.folder_sync().http == 401


def test_domain_and_mail_log_in(server, phones):
    assert phones("DOM\\alice").folder_sync().status == 1 and phones("alice@example.org").folder_sync().status == 1


@pytest.mark.parametrize("version, stopped", [("12.1", 449), ("14.1", 200)])
def test_policy_must_be_acknowledged(server, phones, version, stopped):
    server.policy = {"AllowCamera": 0}
    phone = phones(version=version)
    doc = Node("FH.FolderSync", Node("FH.SyncKey", "0"))
    answer = phone.post("FolderSync", doc)
    assert answer.http == stopped and answer.status == (0 if version == "12.1" else 142)
    assert phone.provision() and phone.post("FolderSync", doc, phone.key).status == 1
    assert phone.post("FolderSync", doc, phone.key + 1).status == (0 if version == "12.1" else 144)
    assert phones("bob", "other", version=version).post("FolderSync", doc, phone.key).status != 1
    server.policy = None
    assert phone.provision() is False


def test_wipe(server, phones):
    """R18: the wipe is of one user's device."""
    server.wipe.add(("alice", "APPLTEST0001"))
    assert phones("bob", "other").folder_sync().status == 1
    phone = phones()
    assert phone.folder_sync().status == 140 and phone.wiped and not server.wipe


FAULTS = [({"status": 503, "headers": {"Retry-After": "120"}}, 503), ({"status": 449}, 449), ({"status": 451, "headers": {
    "X-MS-Location": "https://other.example/Microsoft-Server-ActiveSync"}}, 451), ({"status": 401}, 401)]


@pytest.mark.parametrize("step, code", FAULTS)
def test_scripted_codes(server, phones, step, code):
    server.script["Sync"] = [step, {}]
    phone = phones()
    phone.folder_sync()
    answer = phone.post("Sync", body=b"")
    assert answer.http == code and not [k for k, v in step.get("headers", {}).items() if answer.headers[k] != v]
    assert phone.post("Sync", body=b"").http == 200


def test_scripted_answers(server, phones):
    phone = phones()
    server.script["FolderSync"] = [{"eas": 111}, {"html": True}, {"reset": True}, {"cut": True}, {"hang": True}, {"delay": 0.3}, {}]
    assert phone.folder_sync().status == 111
    answer = phone.folder_sync()
    assert answer.http == 200 and answer.doc is None and b"<html>" in answer.body
    for wrong, limit in [(OSError, 60), ((OSError, http.client.IncompleteRead), 60), (TimeoutError, 1)]:
        phone.http.timeout = limit
        with pytest.raises(wrong):
            phone.folder_sync()
        phone.close()
    phone.http.timeout = 60
    start = time.monotonic()
    assert phone.folder_sync().status == 1 and time.monotonic() - start >= 0.3


def test_answer_that_is_no_policy(server, phones):
    server.provision = lambda *_: Node("PV.Provision", Node("PV.Status", 2))
    with pytest.raises(EasError):
        phones().provision()


def test_bad_requests(server, phones):
    phone = phones()
    assert phone.post("Sync", body=b"<html>").http == 400
    assert phone.post("Settings", body=b"").http == 400
    assert phone.post("Search", Node("SR.Search")).http == 400
    assert phone.post("ValidateCert", Node("VC.ValidateCert")).http == 501
    phone.http.request("POST", "/EWS?Cmd=Sync&DeviceId=a", headers=phone.headers())
    assert phone.finish().http == 404
    phone.http.request("POST", "/Microsoft-Server-ActiveSync?jAAJ", headers=phone.headers())
    assert phone.finish().http == 400


def test_lost_keys_start_again(server, phones):
    phone = phones()
    phone.folder_key = "MDMQ-1"
    assert phone.folder_sync().status == 1 and "Calendar" in phone.folders
    phone.sync_keys["5"] = "MDMQ-1"
    assert phone.sync() == [] and phone.sync_keys["5"] == "S0"


def test_chunked_body(server, phones):
    phone = phones(version="12.1")
    phone.http.request("POST", "/Microsoft-Server-ActiveSync?" + phone.query("SendMail"), body=iter([b"a" * 70000, b"b"]),
                       headers={**phone.headers(), "Content-Type": "message/rfc822"}, encode_chunked=True)
    assert phone.finish().http == 200 and server.boxes["alice"].sent == [b"a" * 70000 + b"b"]


# ---- a mailbox in motion

def test_changes_travel_both_ways(server, phones):
    one, two = phones(device_id="ONE0001"), phones(device_id="TWO0001")
    numbers = [server.deliver("alice", f"Subject: {i}\r\n\r\nx") for i in range(5)]
    for phone in (one, two):
        phone.folder_sync()
        assert phone.sync() == numbers
    read = Node("AS.Commands", Node("AS.Change", Node("AS.ServerId", numbers[0]), Node("AS.ApplicationData", Node("EM.Read", 1))),
                Node("AS.Delete", Node("AS.ServerId", numbers[1])))
    assert one.sync("Inbox", read) == []  # its own doing is no news
    answer = two.post("Sync", two.sync_document())
    commands = answer.doc.get("AS.Collections/AS.Collection/AS.Commands")
    assert [(k.name, k.value("AS.ServerId")) for k in commands.kids] == [("AS.Change", numbers[0]), ("AS.Delete", numbers[1])]
    assert answer.doc.get("AS.Collections/AS.Collection/AS.Commands/AS.Change/AS.ApplicationData").value("EM.Read") == "1"
    move = Node("MV.Move", Node("MV.SrcMsgId", numbers[2]), Node("MV.SrcFldId", "5"), Node("MV.DstFldId", "4"))
    assert one.post("MoveItems", Node("MV.MoveItems", move)).doc.value("MV.Response/MV.Status") == "3"
    assert len(server.boxes["alice"].mails) == 3 and not server.boxes["bob"].mails


def test_many_mails_come_in_windows(server, phones):
    phone = phones()
    phone.folder_sync()
    for i in range(7):
        server.deliver("alice", f"Subject: {i}")
    assert phone.sync("Inbox", Node("AS.WindowSize", 3)) == ["5:1", "5:2", "5:3"]
    estimate = Node("GE.GetItemEstimate", Node("GE.Collections", Node("GE.Collection", Node("AS.SyncKey", phone.sync_keys["5"]),
                                                                      Node("GE.CollectionId", "5"))))
    assert phone.post("GetItemEstimate", estimate).doc.value("GE.Response/GE.Collection/GE.Estimate") == "4"
    answer = phone.post("Sync", phone.sync_document("Inbox", Node("AS.WindowSize", 3)))
    assert answer.doc.get("AS.Collections/AS.Collection/AS.MoreAvailable")
    phone.sync_keys["5"] = answer.doc.value("AS.Collections/AS.Collection/AS.SyncKey")
    assert phone.sync() == ["5:7"] and phone.sync() == []


@pytest.mark.parametrize("wait", [Node("AS.Wait", 1), Node("AS.HeartbeatInterval", 60)])
def test_long_sync(server, phones, wait):
    """PXY-02: Sync waits like Ping, and its empty form waits as the last one did."""
    phone = phones()
    phone.folder_sync(), phone.sync()
    phone.start("Sync", phone.sync_document(wait=[wait]))
    wait_for(lambda: server.held == 1)
    server.deliver("alice", "x")
    assert len(phone.finish().doc.get("AS.Collections/AS.Collection/AS.Commands").kids) == 1
    assert phone.sync() == ["5:1"]
    nothing = phone.post("Sync", phone.sync_document(wait=[Node("AS.HeartbeatInterval", 0.1)]))
    assert nothing.http == 200 and nothing.body == b""
    phone.start("Sync", body=b"")
    server.deliver("alice", "y")
    assert len(phone.finish().doc.get("AS.Collections/AS.Collection/AS.Commands").kids) == 1
    wrong = phone.post("Sync", phone.sync_document(wait=[Node("AS.Wait", 1), Node("AS.HeartbeatInterval", 60)]))
    assert wrong.status == 4
    wrong = phone.post("Sync", phone.sync_document(wait=[Node("AS.Wait", 60)]))
    assert wrong.status == 14 and wrong.doc.value("AS.Limit") == "59"


def test_empty_forms_without_a_first_one(server, phones):
    phone = phones()
    assert phone.post("Sync", body=b"").status == 13 and phone.post("Ping", body=b"").status == 3
    phone.folder_sync()
    assert phone.ping(0.1).status == 1 and phone.post("Ping", body=b"").status == 1
    assert phone.ping(4000).status == 5


@pytest.mark.parametrize("form", ["plain", "base64"])
@pytest.mark.parametrize("version", ["12.1", "14.1", "16.1"])
def test_attachments_in_pieces(server, phones, version, form):
    number = server.deliver("alice", "Subject: large", {"film.mov": 5_000_000})
    phone, other = phones(version=version, form=form), phones("bob", "other", version=version, form=form)
    assert phone.download(f"{number}/film.mov") == (200, 5_000_000, {"alice"}) and phone.heard == {"alice"}
    assert other.download(f"{number}/film.mov")[2] == set()


@pytest.mark.parametrize("form", ["plain", "base64"])
@pytest.mark.parametrize("version", ["12.1", "14.1"])
def test_replies_and_who_gets_them(server, phones, version, form):
    number, phone = server.deliver("alice", "Subject: question"), phones(version=version, form=form)
    mime = b"To: bob@example.org\r\nSubject: answer\r\n\r\nx"
    assert phone.send(mime, "SmartReply", number).http == 200
    assert server.boxes["alice"].smart == [("SmartReply", number)] and server.boxes["alice"].sent == [mime]
    assert server.boxes["bob"].mails == [("5:1", mime)] and list(server.boxes["alice"].folders["6"].items)
    answer = phone.send(mime, "SmartForward", "5:99")
    assert answer.http == 500 if version == "12.1" else answer.status == 150


def test_folders_of_ones_own(server, phones):
    phone = phones()
    phone.folder_sync()
    made = phone.post("FolderCreate", Node("FH.FolderCreate", Node("FH.SyncKey", phone.folder_key), Node("FH.ParentId", "0"),
                                           Node("FH.DisplayName", "Mine"), Node("FH.Type", 12))).doc.value("FH.ServerId")
    assert phone.folder_sync().status == 1 and phone.folders["Mine"] == made
    assert phone.post("FolderDelete", Node("FH.FolderDelete", Node("FH.SyncKey", phone.folder_key), Node("FH.ServerId", made))).status == 1
    changes = phone.folder_sync().doc.get("FH.Changes")
    assert [k.name for k in changes.kids] == ["FH.Count", "FH.Delete"]


def test_search_and_settings(server, phones):
    server.deliver("alice", "Subject: needle")
    server.deliver("bob", "Subject: needle")
    phone = phones()
    query = lambda name: Node("SR.Search", Node("SR.Store", Node("SR.Name", name), Node("SR.Query", Node("SR.FreeText", "needle"))))
    assert phone.post("Search", query("Mailbox")).doc.value("SR.Response/SR.Store/SR.Total") == "1" and phone.heard == {"alice"}
    answer = phone.post("Settings", Node("ST.Settings", Node("ST.UserInformation", Node("ST.Get"))))
    assert answer.doc.value("ST.UserInformation/ST.Get/ST.EmailAddresses/ST.SMTPAddress") == "alice@example.org"


@pytest.mark.parametrize("version, stopped", [("12.1", 449), ("16.1", 200)])
def test_own_policy_and_its_renewal(server, phones, version, stopped):
    server.policies["alice"] = {"AllowCamera": 0}
    phone, other = phones(version=version), phones("bob", "other", version=version)
    assert other.folder_sync().status == 1 and other.provisions == 0
    assert phone.folder_sync().status == 1 and phone.provisions == 1
    server.ask_again("alice")
    answer = phone.post("FolderSync", Node("FH.FolderSync", Node("FH.SyncKey", "0")), phone.key)
    assert answer.http == stopped and answer.status in (0, 143)
    assert phone.folder_sync().status == 1 and phone.provisions == 2


def test_account_only_wipe(server, phones):
    server.wipe_account.add(("alice", "APPLTEST0001"))
    phone = phones(version="16.1")
    assert phone.folder_sync().status == 140 and phone.wiped and not server.wipe_account


def test_cookies_and_users_that_don_t_fit_are_noticed(server, phones):
    server.cookies = True
    phone = phones()
    assert phone.folder_sync().status == 1 and phone.cookie == "X-BackEndCookie=of-alice" and phone.sync() == []
    assert not server.trouble
    other = phones("bob", "other")
    other.cookie = phone.cookie
    other.folder_sync()
    other.http.request("POST", "/Microsoft-Server-ActiveSync?User=alice&DeviceId=X1&DeviceType=x&Cmd=Ping", headers=other.headers())
    other.finish()
    assert len(server.trouble) == 2


def test_answers_in_bad_shape(server, phones):
    phone = phones()
    server.script["FolderSync"] = [{"slow": 0.0005}, {"cut": 20}, {"cut": True}, {"stall": 150}, {}]
    assert phone.folder_sync().status == 1
    for wrong, limit in [((OSError, http.client.HTTPException), 60)] * 2 + [(TimeoutError, 1)]:
        phone.close()
        phone.http.timeout = limit
        with pytest.raises(wrong):
            phone.folder_sync()
    phone.close()
    phone.http.timeout = 60
    assert phone.folder_sync().status == 1


def test_version_that_is_not_offered(server, phones):
    server.offered = "14.0,14.1"
    assert phones(version="16.1").folder_sync().http == 400 and phones(version="14.1").folder_sync().status == 1


def test_tls(tmp_path):
    ca, ca_key = zf.make_ca("Mail CA")
    cert, key = zf.issue(ca, ca_key, "localhost", dns=["localhost"])
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "server.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM) + zf._pem_key(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    server = EasServer({"alice": "secret"}, context=context)
    phone = Phone(server.port, "alice", "secret", ca=str(tmp_path / "ca.pem"))
    try:
        assert phone.folder_sync().status == 1
        phone.start("Ping", phone.ping_document(30))
        wait_for(lambda: server.held == 1)
        server.deliver("alice", "x")
        assert phone.finish().status == 2
        phone.start("Ping", phone.ping_document(60))
        wait_for(lambda: server.held == 1)
        phone.close()
        wait_for(lambda: server.gone == 1)
    finally:
        phone.close()
        server.close()


# ---- mail apps

@pytest.mark.parametrize("profile", PROFILES)
def test_apps_live_with_a_server(server, profile):
    """Each app finds its version, takes the policy, gets mail and news, begins anew when keys are lost, and obeys a wipe."""
    server.policy, app = {"DevicePasswordEnabled": 1}, App(profile, server.port, "alice", "secret")
    assert app.visit() and app.state == "mail" and app.provisions == 1 and not app.inbox
    server.deliver("alice", "Subject: one")
    assert app.wait() == 2 and app.visit() and list(app.inbox.values()) == ["one"]
    assert app.wait(0.1) == 1 and app.beat == 1
    server.ask_again("alice")
    assert app.visit() and app.provisions == 2
    app.folder_key, app.sync_keys["5"] = "MDMQ-1", "MDMQ-1"
    assert app.visit() and list(app.inbox.values()) == ["one"]
    assert server.info["alice", app.plain_id().upper()]["Model"] and app.heard == {"alice"}
    server.wipe.add(("alice", app.plain_id().upper()))
    assert not app.visit() and app.state == "wiped" and not app.visit()
    app.close()


@pytest.mark.parametrize("step, state", [({"status": 403}, "blocked"), ({"eas": 129}, "blocked"), ({"status": 503, "headers": {"Retry-After": "9"}}, "later"),
                                         ({"status": 401}, "password"), ({"status": 449}, "stuck"), ({"eas": 142}, "stuck")])
def test_what_apps_make_of_refusals(server, step, state):
    server.policy, app = {"AllowCamera": 1}, App("ios", server.port, "alice", "secret")
    server.script["FolderSync"] = [step]
    assert not app.visit() and app.state == state and app.provisions <= 1
    server.script.clear()
    assert app.visit() is (state != "password")
    app.close()
