"""Check-in messages byte for byte, bad ones of each kind, user channels, the statuses that a device may see (IOS-01, IOS-03, IOS-04, R12)."""
import base64
import json
import plistlib
import uuid

import pytest
from cryptography import x509

from clients import Console, enrolled, new_device, portal
from harness import wait_for
from sim.device import CHECKIN_TYPE, CONNECT_TYPE, EVERYBODY, Refused

pytestmark = pytest.mark.san
HEAD = (b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" '
        b'"http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n')


@pytest.fixture(scope="module")
def device(zone):
    return enrolled(zone)


def send(zone, device, message, path="/mdm/checkin", kind=CHECKIN_TYPE):
    """(status, type, body) of a raw message by the device's certificate."""
    body = message if isinstance(message, bytes) else plistlib.dumps(message)
    status, headers, answer = zone.request("PUT", path, body, {"Content-Type": kind}, cert=f"{device.files}/identity.pem")
    return status, headers.get("Content-Type"), answer


def ask(zone, device, kind, **keys):
    return send(zone, device, {"MessageType": kind, "UDID": device.udid, **keys})


def queue(zone, native, kind="ProfileList"):
    """A command for the record with this native id."""
    ident = str(uuid.uuid4())
    zone.sql("INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, created_ms)"
             " SELECT ?, id, device_id, queue_seq + 1, ?, '{}', 'queued', 1 FROM source_record WHERE native_id = ? AND live = 1",
             ident, kind, native)
    zone.sql("UPDATE source_record SET queue_seq = queue_seq + 1 WHERE native_id = ? AND live = 1", native)
    zone.sql("INSERT INTO change (kind, key, at_ms) SELECT 'device', device_id, 0 FROM source_record WHERE native_id = ?", native)
    return ident


def record(zone, native):
    rows = zone.sql("SELECT class, state, live, push_token, push_ok, device_id FROM source_record WHERE native_id = ? ORDER BY live DESC",
                    native)
    return rows[0] if rows else None


# ---- answers, byte for byte
def test_ios01_answers_are_exact(zone, device):
    """IOS-01: what each message that has an answer gets, in Apple's form."""
    assert ask(zone, device, "TokenUpdate", Topic=device.mdm["Topic"], Token=device.token, PushMagic=device.magic)[::2] == (200, b"")
    assert ask(zone, device, "SetBootstrapToken", BootstrapToken=b"boot-\0-strap")[::2] == (200, b"")
    assert ask(zone, device, "GetBootstrapToken") == (200, "application/xml", HEAD + b'<plist version="1.0">\n<dict>\n'
        b'\t<key>BootstrapToken</key>\n\t<data>Ym9vdC0ALXN0cmFw</data>\n</dict>\n</plist>\n')
    (stored,), = zone.sql("SELECT bootstrap_token FROM source_record WHERE native_id = ?", device.udid)
    assert stored.startswith("s1."), "sealed"
    assert ask(zone, device, "SetBootstrapToken")[0] == 200
    status, _, body = ask(zone, device, "GetBootstrapToken")
    assert (status, plistlib.loads(body)) == (200, {})
    assert ask(zone, device, "ReturnToService") == (200, "application/xml", HEAD + b'<plist version="1.0">\n<dict>\n'
        b'\t<key>ReturnToService</key>\n\t<dict>\n\t\t<key>Enabled</key>\n\t\t<false/>\n\t</dict>\n</dict>\n</plist>\n')
    assert ask(zone, device, "UserAuthenticate", UserID="x")[::2] == (410, b""), "the one place"


def test_ios01_commands_are_exact(zone, device):
    """IOS-01: each word of a device that has nothing waiting gets an empty 200; a command goes out in Apple's form, after each of the words."""
    def say(**keys):
        return send(zone, device, {"UDID": device.udid, **keys}, "/mdm/connect", CONNECT_TYPE)

    def command(ident, kind):
        return (200, "application/xml", HEAD + b'<plist version="1.0">\n<dict>\n\t<key>Command</key>\n\t<dict>\n\t\t<key>RequestType</key>\n\t\t<string>'
                + kind + b'</string>\n\t</dict>\n\t<key>CommandUUID</key>\n\t<string>' + ident.upper().encode() + b'</string>\n</dict>\n</plist>\n')
    device.poll()
    stray = str(uuid.uuid4()).upper()
    for status in ("Idle", "Acknowledged", "Error", "CommandFormatError", "NotNow"):
        assert say(Status=status, **({} if status == "Idle" else {"CommandUUID": stray}))[::2] == (200, b""), status
    kinds = ["ProfileList", "CertificateList", "SecurityInfo", "Restrictions", "RestartDevice"]
    ids = [queue(zone, device.udid, kind) for kind in kinds]
    said = [{"Status": "Idle"}, {"Status": "NotNow"}, {"Status": "Error", "ErrorChain": []}, {"Status": "CommandFormatError"},
            {"Status": "Acknowledged", "Restrictions": {}}]
    wait_for(lambda: say(Status="Idle")[2])
    for n, keys in enumerate(said):
        want = command(ids[n], kinds[n].encode())
        assert say(**keys, **({"CommandUUID": ids[n - 1].upper()} if n else {})) == want, keys
    assert say(Status="Acknowledged", CommandUUID=ids[-1].upper())[::2] == (200, b"")
    assert say(Status="Idle") == command(ids[0], b"ProfileList"), "put off, and offered again"
    states = dict(zone.sql("SELECT c.id, c.state FROM command c JOIN source_record r ON r.id = c.record_id WHERE r.native_id = ?", device.udid))
    assert [states[i] for i in ids] == ["sent", "error", "format_error", "error", "acknowledged"], "an answer without its content is of no use"
    device.poll()


def test_ios01_no_declarations(zone, device):
    """IOS-01: a device that asks for declarations learns that there are none, and goes on with commands."""
    status, kind, body = ask(zone, device, "DeclarativeManagement", Endpoint="tokens")
    sync = json.loads(body)["SyncTokens"]
    assert status == 200 and kind == "application/json" and sync["DeclarationsToken"] and sync["Timestamp"].endswith("Z")
    status, kind, body = ask(zone, device, "DeclarativeManagement", Endpoint="declaration-items")
    assert status == 200 and kind == "application/json" and json.loads(body) == {
        "Declarations": {"Activations": [], "Assets": [], "Configurations": [], "Management": []},
        "DeclarationsToken": sync["DeclarationsToken"]}
    assert ask(zone, device, "DeclarativeManagement", Endpoint="status", Data=b'{"StatusItems":{}}')[::2] == (200, b"")
    for keys in ({}, {"Endpoint": ""}, {"Endpoint": 7}, {"Endpoint": "x" * 300}, {"Endpoint": "declaration/asset/x"},
                 {"Endpoint": "declaration/../tokens"}, {"Endpoint": "status"}, {"Endpoint": "status", "Data": b"{"},
                 {"Endpoint": "status", "Data": "{}"}):
        assert ask(zone, device, "DeclarativeManagement", **keys)[::2] == (400, b""), keys
    assert device.poll() == []


def test_ios01_get_token(zone, device):
    """IOS-01: not announced, and a service that we have no tokens for is 400, as Apple's documentation wants it."""
    capabilities = device.mdm["ServerCapabilities"]
    assert capabilities == ["com.apple.mdm.per-user-connections", "com.apple.mdm.bootstraptoken"]
    for keys in ({"TokenServiceType": "com.apple.maid"}, {"TokenServiceType": "com.apple.watch.pairing", "TokenParameters": {}},
                 {"TokenServiceType": "com.example.other"}, {"TokenServiceType": 1}, {"TokenServiceType": ""}, {}):
        assert ask(zone, device, "GetToken", **keys)[::2] == (400, b""), keys


BAD = [
    ("Authenticate", {"Topic": 5}), ("Authenticate", {"Topic": ""}), ("Authenticate", {"Topic": None}),
    ("TokenUpdate", {"Token": None}), ("TokenUpdate", {"Token": "text"}), ("TokenUpdate", {"Token": b""}),
    ("TokenUpdate", {"Token": b"x" * 5000}), ("TokenUpdate", {"PushMagic": None}), ("TokenUpdate", {"PushMagic": 3}),
    ("TokenUpdate", {"PushMagic": "x" * 300}), ("TokenUpdate", {"Topic": None}), ("TokenUpdate", {"Topic": ["x"]}),
    ("TokenUpdate", {"UnlockToken": b"x" * 70000}), ("TokenUpdate", {"UnlockToken": "text"}), ("TokenUpdate", {"UserID": 5}), ("TokenUpdate", {"UserID": ""}),
    ("TokenUpdate", {"UserID": "x" * 300}), ("TokenUpdate", {"UserID": EVERYBODY}),
    ("TokenUpdate", {"UserID": EVERYBODY, "UserShortName": {}}),
    ("SetBootstrapToken", {"BootstrapToken": b"x" * 70000}), ("SetBootstrapToken", {"UserID": "u"}),
    ("SetBootstrapToken", {"BootstrapToken": "text"}),
    ("GetBootstrapToken", {"UserID": "u"}), ("Authenticate", {"UserID": "u"}), ("ReturnToService", {"UserID": "u"}),
    ("CheckOut", {"UDID": None}), ("CheckOut", {"UDID": ""}), ("CheckOut", {"UDID": 17}), ("CheckOut", {"UDID": "x" * 300}),
    ("Nonsense", {}), ("", {}), (7, {}), (None, {}), ("checkout", {}),
]


def test_ios01_bad_messages(zone, device):
    """IOS-01, IOS-04: keys that are missing, of a wrong type, too long: 400 without a body, and the device as it was."""
    good = {"Topic": device.mdm["Topic"], "Token": b"evil", "PushMagic": "evil", "UDID": device.udid, "SerialNumber": device.serial}
    before = zone.sql("SELECT state, live, push_token, push_magic, bootstrap_token, unlock_token FROM source_record WHERE native_id = ?",
                      device.udid)
    for kind, keys in BAD:
        message = {k: v for k, v in {"MessageType": kind, **good, **keys}.items() if v is not None}
        assert send(zone, device, message)[::2] == (400, b""), (kind, keys)
    for raw in (b"", b"<", b"<plist/>", b"bplist00" + bytes(40), plistlib.dumps([]), plistlib.dumps("x"), b"\xff" * 100,
                plistlib.dumps({"MessageType": "CheckOut", "UDID": device.udid})[:-20]):
        assert send(zone, device, raw)[::2] == (400, b""), raw
    assert send(zone, device, b"<" * (1024 * 1024 + 1))[0] == 413
    assert zone.sql("SELECT state, live, push_token, push_magic, bootstrap_token, unlock_token FROM source_record WHERE native_id = ?",
                    device.udid) == before
    assert device.poll() == []


def test_ios04_no_id_with_a_colon(zone):
    """A device can't take the name of another one's user."""
    victim, who = enrolled(zone), portal(zone)
    evil = new_device(zone, udid=f"{victim.udid}:USER")
    evil.install(evil.open_link(who.absolute(who.enrollment()["profile"])))
    with pytest.raises(Refused) as no:
        evil.authenticate()
    assert no.value.status == 400 and record(zone, evil.udid) is None


# ---- user channels
def test_ios01_user_channel(zone):
    """IOS-01: a user has a record, a token and a queue of their own; the device's stay untouched, and it says nothing of the device."""
    device = enrolled(zone)
    before = record(zone, device.udid)
    anna, ben = device.user("4F2A-ANNA", "anna", "Anna Example"), device.user("4F2A-BEN", "ben")
    assert anna.poll() == [], "not known yet"
    anna.token_update()
    ben.token_update()
    row = record(zone, anna.native)
    assert row[:5] == ("user:4F2A-ANNA", "enrolled", 1, anna.token.hex(), 1) and row[5] == before[5]
    assert record(zone, device.udid) == before
    (attrs,), = zone.sql("SELECT attrs FROM source_record WHERE native_id = ?", anna.native)
    assert json.loads(attrs) == {"short_name": "anna", "long_name": "Anna Example"}
    command = queue(zone, anna.native, "DeviceInformation")
    anna.answers["DeviceInformation"] = {"QueryResponses": {"OSVersion": "99", "DeviceName": "not the device"}}
    wait_for(lambda: anna.poll() == [("DeviceInformation", "Acknowledged")] or None)
    assert zone.sql("SELECT state FROM command WHERE id = ?", command) == [("acknowledged",)]
    assert ben.poll() == [] and device.poll() == []
    assert Console(zone).device(device.udid)["os_version"] != "99"
    other = queue(zone, device.udid, "ProfileList")
    assert wait_for(device.poll) == [("ProfileList", "Acknowledged")] and anna.poll() == []
    assert zone.sql("SELECT state FROM command WHERE id = ?", other) == [("acknowledged",)]


def test_ios01_orders_for_a_user(zone):
    """IOS-01: the channels of a device's users are listed; one is given profiles, and nothing that is for devices; history says whose it was."""
    device, other = enrolled(zone), enrolled(zone)
    console = Console(zone)
    ident = console.device(device.udid)["id"]
    assert console.get(f"/devices/{ident}/users")["items"] == []
    anna, ben = device.user(EVERYBODY, "anna@example.org", "Anna <b>Example</b>"), device.user("BEN")
    ben.token_update()
    anna.token_update()
    seen = {u["user"]: u for u in console.get(f"/devices/{ident}/users")["items"]}
    assert list(seen) == ["BEN", "anna@example.org"] and seen["BEN"]["long_name"] is None
    one = seen["anna@example.org"]
    assert (one["long_name"], one["push_ok"], one["waiting"], one["profiles"]) == ("Anna <b>Example</b>", True, 0, None)
    assert [r["class"] for r in console.get(f"/devices/{ident}/records")["items"]] == [""]
    path = f"/devices/{ident}/users/{one['id']}/commands"
    assert console.post(path, {"request_type": "InstallProfile", "payload": {"Payload": {"$data": base64.b64encode(b"<plist/>").decode()}}})["id"]
    assert console.get(f"/devices/{ident}/users")["items"][1]["waiting"] == 2, "the list of profiles is asked for behind it"
    anna.answers["ProfileList"] = {"ProfileList": [{"PayloadIdentifier": "a.b", "PayloadDisplayName": "Wi-Fi"}, "x", {"PayloadDisplayName": "none"}]}
    got = wait_for(lambda: anna.poll() or None)
    assert got == [("InstallProfile", "Acknowledged"), ("ProfileList", "Acknowledged")] and ben.poll() == [] and device.poll() == []
    after = console.get(f"/devices/{ident}/users")["items"][1]
    assert after["profiles"] == [{"identifier": "a.b", "name": "Wi-Fi"}] and after["waiting"] == 0 and after["last_seen_at"] >= one["last_seen_at"]
    assert "a.b" not in [p["identifier"] for p in console.get(f"/devices/{ident}/profiles")["items"]], "it says nothing of the device"
    history = console.get(f"/devices/{ident}/commands")["items"]
    assert {c["user"] for c in history if c["request_type"] == "InstallProfile"} == {"anna@example.org"} and None in {c["user"] for c in history}
    audit = next(a for a in console.get(f"/devices/{ident}/audit")["items"] if a["action"] == "device.command")
    assert audit["detail"]["record"] == one["id"] and "Payload" in audit["detail"]["keys"]

    for body, status, field in (({"request_type": "DeviceLock"}, 400, "request_type"), ({"request_type": "EraseDevice"}, 409, "request_type"),
                                ({"request_type": "RemoveProfile"}, 400, None), ({"request_type": "Nonsense"}, 400, "request_type"),
                                ({"request_type": "RemoveProfile", "payload": {"Identifier": device.profile.identifier}}, 409, "request_type"),
                                ({"request_type": "ProfileList", "record": "x"}, 400, "record")):
        code, _, answer = console.call("POST", path, body)
        assert code == status and (field is None or answer["field"] == field), (body, answer)
    elsewhere = console.device(other.udid)["id"]
    own = console.get(f"/devices/{ident}/records")["items"][0]["id"]
    for wrong in (path.replace(ident, elsewhere), path.replace(one["id"], own), path.replace(one["id"], "nonsense"), path.replace(ident, one["id"])):
        assert console.call("POST", wrong, {"request_type": "ProfileList"})[0] == 404, wrong
    anna.check_out()
    assert console.call("POST", path, {"request_type": "ProfileList"})[0] == 404
    assert [u["user"] for u in console.get(f"/devices/{ident}/users")["items"]] == ["BEN"]


def test_ios01_user_results(zone):
    """IOS-05 on a user's channel: put off, failed, said twice, and an answer that nobody can read."""
    device = enrolled(zone)
    anna = device.user("ANNA")
    anna.token_update()
    first, second = queue(zone, anna.native), queue(zone, anna.native, "CertificateList")
    one = wait_for(lambda: anna.connect(Status="Idle"))
    two = anna.connect(Status="NotNow", CommandUUID=one["CommandUUID"])
    assert (one["CommandUUID"].lower(), two["CommandUUID"].lower()) == (first, second)
    assert anna.connect(Status="Error", CommandUUID=two["CommandUUID"], ErrorChain=[{"ErrorCode": 1, "ErrorDomain": "x"}]) is None
    assert anna.connect(Status="Acknowledged", CommandUUID=two["CommandUUID"]) in (None, one)
    again = anna.connect(Status="Idle")
    assert again == one
    broken = plistlib.dumps({**anna.names, "UDID": device.udid, "Status": "Acknowledged", "CommandUUID": again["CommandUUID"]})
    assert send(zone, device, broken.replace(b"</plist>", b""), "/mdm/connect", CONNECT_TYPE)[0] == 200
    assert dict(zone.sql("SELECT c.id, c.state FROM command c JOIN source_record r ON r.id = c.record_id WHERE r.native_id = ?",
                         anna.native)) == {first: "error", second: "error"}
    assert anna.poll() == []


def test_ios01_shared_ipad(zone):
    """Facts 3.2: a Shared iPad sends one UserID for all: the short name tells people apart."""
    device = enrolled(zone)
    anna, ben = device.user(EVERYBODY, "anna@example.org"), device.user(EVERYBODY.lower(), "ben@example.org")
    anna.token_update()
    ben.token_update(AwaitingConfiguration=True)
    assert record(zone, anna.native)[0] == "user:anna@example.org" and record(zone, ben.native)[0] == "user:ben@example.org"
    queue(zone, ben.native)
    wait_for(lambda: ben.poll() == [("ProfileList", "Acknowledged")] or None)
    assert anna.poll() == []


def test_ios01_user_enrolment(zone):
    """Facts 3.2: EnrollmentID and EnrollmentUserID instead of UDID and UserID."""
    device = enrolled(zone)
    base = {"EnrollmentID": device.udid, "EnrollmentUserID": "USER-1", "Topic": device.mdm["Topic"], "Token": b"t", "PushMagic": "m"}
    assert send(zone, device, {"MessageType": "TokenUpdate", **base})[0] == 200
    assert record(zone, f"{device.udid}:USER-1")[:3] == ("user:USER-1", "enrolled", 1)


def test_ios01_user_channel_ends(zone):
    """With the user's CheckOut; with the device's; with its Authenticate: the next TokenUpdate opens it again."""
    device = enrolled(zone)
    anna, ben = device.user("ANNA"), device.user("BEN")
    for user in (anna, ben):
        user.token_update()
    anna.check_out()
    assert record(zone, anna.native)[1:5] == ("left", 0, None, 0) and record(zone, ben.native)[1] == "enrolled"
    assert record(zone, device.udid)[1] == "enrolled" and device.poll() == []
    anna.check_out()  # said again
    anna.token_update()
    waiting = queue(zone, anna.native)
    device.authenticate()
    assert record(zone, anna.native)[1:3] == ("left", 0)
    assert zone.sql("SELECT state FROM command WHERE id = ?", waiting) == [("cancelled",)]
    with pytest.raises(Refused) as no:
        anna.token_update()
    assert no.value.status == 400, "the device comes first"
    device.token_update()
    device.poll()
    anna.token_update()
    assert record(zone, anna.native)[1:3] == ("enrolled", 1)
    device.check_out()
    assert zone.sql("SELECT count(*) FROM source_record WHERE device_id = ? AND live = 1", record(zone, device.udid)[5]) == [(0,)]


def test_ios01_users_are_bounded(zone):
    """SEC-03: a device can't open channels without end: the one that was silent longest makes room."""
    device = enrolled(zone)
    for i in range(66):
        device.user(f"U{i}").token_update()
    rows = zone.sql("SELECT native_id FROM source_record WHERE native_id LIKE ? AND live = 1 AND class <> ''", f"{device.udid}:%")
    assert len(rows) == 64 and (f"{device.udid}:U65",) in rows


def test_r12_users_of_another_device(zone):
    """R12: a certificate speaks for the users of its own device only."""
    device, other = enrolled(zone), enrolled(zone)
    anna = other.user("ANNA")
    anna.token_update()
    before, waiting = record(zone, anna.native), queue(zone, anna.native)
    for kind in ("TokenUpdate", "CheckOut", "GetToken", "DeclarativeManagement"):
        assert send(zone, device, {"MessageType": kind, "UDID": other.udid, "UserID": "ANNA", "Topic": "x", "Token": b"evil",
                                   "PushMagic": "evil", "Endpoint": "tokens"})[0] == 400, kind
    for status in ("Idle", "Acknowledged", "Error", "NotNow"):
        assert send(zone, device, {"UDID": other.udid, "UserID": "ANNA", "Status": status, "CommandUUID": waiting.upper()},
                    "/mdm/connect", CONNECT_TYPE)[0] == 400, status
    # The own id, and a user that would be the other's channel if ids were glued together carelessly.
    assert send(zone, device, {"UDID": device.udid, "UserID": "ANNA", "Status": "Acknowledged", "CommandUUID": waiting.upper()},
                "/mdm/connect", CONNECT_TYPE)[::2] == (200, b"")
    assert record(zone, anna.native) == before and record(zone, f"{device.udid}:ANNA") is None
    assert zone.sql("SELECT state FROM command WHERE id = ?", waiting) == [("queued",)]
    wait_for(lambda: anna.poll() == [("ProfileList", "Acknowledged")] or None)


def test_ios07_service_config(zone):
    """IOS-07: what Apple Configurator asks: JSON for everybody, the roots as base64 DER, and no organisation data."""
    status, headers, body = zone.request("GET", "/MDMServiceConfig")
    told = json.loads(body)
    assert status == 200 and headers["Content-Type"] == "application/json; charset=UTF8"
    assert told == {"dep_anchor_certs_url": f"{zone.public_url}/MDMServiceConfig/anchors"}
    status, headers, body = zone.request("GET", "/MDMServiceConfig/anchors")
    assert status == 200 and headers["Content-Type"] == "application/json; charset=UTF8"
    roots = json.loads(body)
    assert roots
    for root in roots:
        assert x509.load_der_x509_certificate(base64.b64decode(root)).subject
    assert zone.request("POST", "/MDMServiceConfig", b"x")[0] == 405
