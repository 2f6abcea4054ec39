"""The ActiveSync gate with real servers on both engines (GATE-01, -04, -05, MAT-01, R09, R17, R44, R45, OBS-03)."""
import base64
import json
import uuid

import pytest

import harness
from clients import enrolled, portal
from mail import BEN, FOLDERS, PATH, Post, eas_id, flows, folders, ours, post_for_two, refused  # noqa: F401

ZONE = {"extra_main": 'CustomLog "logs/notes.log" "%>s|%m|%{mdm-user}n|%{mdm-action}n|%{mdm-decision}n|%{mdm-device}n"',
        "extra_device": '<Location "/core-status">\nSetHandler mdm-status\n</Location>'}


@pytest.fixture
def known(zone, post):
    """Enrols an Apple device; the mail client of the same phone is known by its DeviceId: (phone, device id)."""
    def make(who=None, **more):
        device = enrolled(zone, who=who and portal(zone, *who))
        phone = post.phone(*(who or ()), device_id=eas_id(device), **more)
        return phone, post.console.device(device.udid)["id"]
    return make


def records(zone, device_id):
    return zone.sql("SELECT person_id, device_id, state FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = ?",
                    device_id.upper())


@pytest.mark.parametrize("form", ["plain", "base64"])
@pytest.mark.parametrize("version", ["12.1", "14.1", "16.1"])
def test_unknown_phone_is_pending(zone, post, form, version):
    """GATE-01, issue 3 item 1: an object that waits, an account that works and has no mail."""
    ident = f"NEW{form}{version.replace('.', 'X')}{zone.db_url[:1]}"
    phone = post.phone(device_id=ident, form=form, version=version)
    before = post.seen()
    assert ours(folders(phone))
    for command, status in (("Sync", 13), ("Ping", 3), ("Search", 130), ("SendMail", 130)):
        answer = phone.post(command, body=b"")
        assert answer.status == status or (status == 130 and version == "12.1" and answer.http == 403), (command, answer.http, answer.status)
    assert post.seen() == before and len(records(zone, ident)) == 1
    whole = post.console.get(f"/devices/{records(zone, ident)[0][1]}")
    assert whole["state"] == "pending" and whole["mode"] == "eas"


@pytest.mark.san
def test_one_phone_is_one_device(zone, post, known):
    """MAT-01: the enrolled phone's mail client joins its object at once; mail flows; unenrolling stops it on the next request."""
    phone, ident = known()
    assert phone.options().http == 200
    assert phone.folder_sync().status == 1 and phone.sync() == []
    post.back.deliver(harness.PERSON, "Subject: hello\r\n\r\nworld")
    assert phone.ping(1).status in (1, 2) and len(phone.sync()) == 1
    assert phone.send(b"Subject: out\r\n\r\nx").http == 200
    assert post.back.boxes[harness.PERSON].sent.pop() == b"Subject: out\r\n\r\nx"
    whole = post.console.get(f"/devices/{ident}")
    assert whole["mode"] == "ios_mdm_eas" and records(zone, phone.device_id)[0][1] == ident
    post.console.post(f"/devices/{ident}/unenroll", {"wipe": "selective", "then": "retire"})
    harness.wait_for(lambda: refused(phone.post("FolderSync", FOLDERS), "14.1"))
    before = post.seen()
    assert refused(phone.post("Sync", body=b""), "14.1") and post.seen() == before


@pytest.mark.parametrize("form, version", [("plain", "12.1"), ("base64", "16.1")])
def test_completed_in_the_portal_until_retired(zone, post, form, version):
    """Issue 3 item 1, POR-05, GATE-01: pending, completed by its owner, mail, retired by an administrator: no mail within 2 s."""
    phone = post.phone(device_id=f"PORTAL{form}0", form=form, version=version)
    assert ours(folders(phone))
    device = records(zone, phone.device_id)[0][1]
    status, got = portal(zone).call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})
    assert status == 200, got
    harness.wait_for(lambda: flows(folders(phone)))
    assert phone.folder_sync().status == 1
    post.back.deliver(harness.PERSON, "Subject: hello\r\n\r\nworld")
    found = phone.sync()
    assert found and phone.fetch(found[-1]) == b"Subject: hello\r\n\r\nworld"
    assert phone.ping(1).status == 1 and phone.send(b"Subject: out\r\n\r\nx").http == 200
    assert post.back.boxes[harness.PERSON].sent.pop() == b"Subject: out\r\n\r\nx"
    post.console.post(f"/devices/{device}/retire", {"reason": "test"})
    harness.wait_for(lambda: refused(phone.post("FolderSync", FOLDERS), version))
    before = post.seen()
    assert refused(phone.post("Sync", body=b""), version) and post.seen() == before
    assert len(records(zone, phone.device_id)) == 1  # it is not pending again


def test_server_only_without_an_email_policy(zone, post):
    """Spec 03, GATE-06, EML-04: once the zone has an e-mail policy, a mail device needs one that goes through the proxy; within seconds either way."""
    phone = post.phone(device_id="SERVERONLY0")
    phone.post("FolderSync", FOLDERS)
    device = records(zone, phone.device_id)[0][1]
    portal(zone).call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})
    harness.wait_for(lambda: flows(folders(phone)))
    assert post.console.get(f"/devices/{device}")["mail_mode"] in (None, "none")  # no such policy in the zone: as before
    policy = str(uuid.uuid4())
    settings = '{"email.direct": {"corporate": false, "personal": %s}}'
    mark = lambda: zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('device', ?)", device)
    zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, 'email', ?, 1, 0)", policy, policy)
    zone.sql("INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (?, 1, ?, 0)", policy, settings % "false")
    try:
        harness.wait_for(lambda: post.console.get(f"/devices/{device}")["mail_mode"] == "none")
        zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('device', ?, 0)", device)
        harness.wait_for(lambda: ours(folders(phone)))
        zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, created_ms)"
                 " VALUES (?, 'policy', ?, 'email', 'device', ?, 'device_first', 0)", str(uuid.uuid4()), policy, device)
        mark()
        harness.wait_for(lambda: flows(folders(phone)))
        zone.publish(policy, settings % "true")
        mark()
        harness.wait_for(lambda: ours(folders(phone)))
        assert post.console.get(f"/devices/{device}")["mail_mode"] == "direct"
    finally:
        for statement in ("DELETE FROM assignment WHERE object_id = ?", "DELETE FROM policy_version WHERE policy_id = ?", "DELETE FROM policy WHERE id = ?"):
            zone.sql(statement, policy)
        mark()


CREDENTIALS = [None, "", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"anna").decode(), "Bearer x",
               "Basic " + base64.b64encode(b"anna:").decode(), "Basic " + base64.b64encode(b":x").decode(),
               "Basic " + base64.b64encode(b"anna:wrong\0" + harness.PERSON_PASSWORD.encode()).decode(),
               "Basic " + base64.b64encode(b"nobody:x").decode(), "Basic " + base64.b64encode(b"anna:wrong").decode()]


@pytest.mark.parametrize("header", CREDENTIALS, ids=lambda x: str(x)[:16])
def test_wrong_credentials(zone, post, header):
    """USR-09, issue 3: 401 for wrong and missing ones, nothing reaches the back end, no record is made."""
    phone, before = post.phone(device_id="WRONGCRED0001"), post.seen()
    for method in ("POST", "OPTIONS"):
        headers = {k: v for k, v in phone.headers().items() if k != "Authorization"}
        phone.http.request(method, f"{PATH}?{phone.query('FolderSync')}", headers={**headers, **({"Authorization": header} if header else {})})
        answer = phone.finish()
        assert answer.http == 401 and answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert post.seen() == before and not records(zone, "WRONGCRED0001")


def test_refusals_read_no_body(zone, post):
    """R09: whoever gets no mail is told so before a byte of a huge body is sent, and the connection ends."""
    for phone in (post.phone(password="wrong"), post.phone(device_id="NOBODY00001"), post.phone(device_id="a/b")):
        phone.http.putrequest("POST", f"{PATH}?{phone.query('SendMail')}")
        for name, value in {**phone.headers(), "Content-Type": "message/rfc822", "Content-Length": "1000000000"}.items():
            phone.http.putheader(name, value)
        phone.http.endheaders()
        answer = phone.finish()
        assert (answer.http in (400, 401) or answer.status == 130) and answer.headers["Connection"] == "close"


def contradictions(phone):
    """Requests that say two things at once, in both forms: (query, headers)."""
    plain, packed = dict(phone.headers()), {k: v for k, v in phone.headers().items() if k != "MS-ASProtocolVersion"}
    q = f"User=anna&DeviceId={phone.device_id}&DeviceType=iPhone&Cmd=Sync"

    def blob(user=b"anna", twice=False, key=None, cut=0, device=None):
        ident = (device or phone.device_id).encode()
        raw = bytes([141, 0, 9, 4, len(ident)]) + ident + (b"\0" if key is None else b"\4" + key) + b"\6iPhone"
        raw += bytes([8, len(user)]) + user + (bytes([8, 3]) + b"ben" if twice else b"")
        return base64.b64encode(raw[:len(raw) - cut]).decode()
    return {
        "another user": [(q.replace("anna", "ben"), plain), (blob(b"ben"), packed)],
        "another domain": [(q.replace("anna", "anna%40elsewhere.example"), {**plain, "Authorization": "Basic " + base64.b64encode(
            f"anna@example.org:{harness.PERSON_PASSWORD}".encode()).decode()})],
        "user twice": [(q + "&User=ben", plain), (blob(twice=True), packed)],
        "two devices": [(q + "&DeviceId=OTHER1234567", plain), (q + "&deviceid=OTHER1234567", plain)],
        "two commands": [(q + "&Cmd=SendMail", plain)],
        "two versions": [(q, {**plain, "MS-ASProtocolVersion": "14.1, 12.1"}), (blob(), {**packed, "MS-ASProtocolVersion": "16.1"})],
        "two keys": [(blob(key=b"\1\0\0\0"), {**packed, "X-MS-PolicyKey": "2"})],
        "no device": [(q.replace(phone.device_id, ""), plain)],
        "cut": [(q.replace("iPhone", "%4"), plain), (blob(cut=3), packed)],
        "wild device": [(q.replace(phone.device_id, "a%2F..%2Fb"), plain), (blob(device="a/../b"), packed)],
        "no version": [(q, packed)],
        "old version": [(q, {**plain, "MS-ASProtocolVersion": "1.0"})],
        "no such command": [(q.replace("Sync", "Format"), plain)],
    }


def test_contradictions_are_refused_alike(zone, post, known):
    """R45, GATE-01: parts that contradict are refused in both query forms, before anything reaches the back end."""
    phone, _ = known()
    assert phone.post("FolderSync", FOLDERS).status == 1
    before = post.seen()
    for name, requests in contradictions(phone).items():
        for query, headers in requests:
            phone.http.request("POST", f"{PATH}?{query}", headers=headers)
            assert phone.finish().http == (501 if "command" in name else 400), (name, query)
    assert post.seen() == before


def test_both_forms_get_the_same_verdict(zone, post, known):
    """R45: known, unknown, retired, another person's: the verdict does not depend on the form or on the case of the DeviceId."""
    phone, ident = known()
    for version in ("12.1", "14.1"):
        for user, password, device, want in [(harness.PERSON, harness.PERSON_PASSWORD, phone.device_id, True),
                                             (*BEN, phone.device_id, False), (harness.PERSON, harness.PERSON_PASSWORD, "UNSEEN00001", False)]:
            for form in ("plain", "base64"):
                for spelling in (device, device.upper(), device.lower()):
                    answer = post.phone(user, password, device_id=spelling, form=form, version=version).post("FolderSync", FOLDERS)
                    assert flows(answer) if want else ours(answer), (version, user, spelling, form)


def test_device_id_of_another_person(zone, post, known):
    """R17, GATE-05: a record of its own that waits, an exception on the first one, whose state stays."""
    phone, ident = known()
    assert phone.folder_sync().status == 1
    thief = post.phone(*BEN, device_id=phone.device_id)
    assert ours(folders(thief))
    assert not [r for r in post.back.requests if base64.b64decode(r["headers"]["Authorization"][6:]).startswith(b"ben:") and
                r["Cmd"] != "OPTIONS"]
    rows = records(zone, phone.device_id)
    assert len(rows) == 2 and len({r[0] for r in rows}) == 2 and len({r[1] for r in rows}) == 2
    assert phone.post("FolderSync", FOLDERS).status == 1
    assert zone.sql("SELECT COUNT(*) FROM message WHERE object_id = ?", ident)[0][0] == 1


def test_notes_for_logs(zone, post, known):
    """OBS-03"""
    phone, ident = known()
    path = zone.root / "logs" / "notes.log"
    phone.post("FolderSync", FOLDERS)
    post.phone(password="wrong").options()
    post.phone(device_id="NOTES000001").post("Sync", body=b"")

    def lines():
        text = path.read_text()
        return [f"200|POST|anna|FolderSync|allow|{ident}" in text, "401|OPTIONS|-|OPTIONS|log-in refused|-" in text,
                "200|POST|anna|Sync|pending|" in text]
    harness.wait_for(lambda: all(lines()))


def test_contact_is_noted(zone, post, known):
    """PXY-06, PRF-12: the object shows when its mail client was last here."""
    phone, ident = known()
    phone.folder_sync()
    harness.wait_for(lambda: post.console.get(f"/devices/{ident}")["last_eas_at"], step=0.3)


def test_no_server_for_a_source(factory, db):
    """Nothing to relay to: 503, for OPTIONS too."""
    zone = factory.zone(db).start()
    post = Post(zone, enabled=False)
    try:
        phone = post.phone()
        harness.wait_for(lambda: phone.options().http == 503)
        assert int(phone.options().headers["Retry-After"]) > 0
    finally:
        post.close()
        zone.close()


def test_decisions_are_counted(zone, post, known):
    """OBS-01: what was let through and what was withheld, and what the gate knew of log-ins without asking."""
    def counts():
        body = json.loads(zone.request("GET", "/core-status")[2])
        return [body[n] for n in ("mail_allowed", "mail_withheld", "mail_logins_checked")]
    phone, _ = known()
    assert phone.folder_sync().status == 1
    stranger = post.phone(device_id="COUNTED0001" + zone.db_url[:1])
    before = counts()
    assert [phone.folder_sync().status for _ in range(3)] == [1] * 3
    assert all(ours(folders(stranger)) for _ in range(2))
    assert [b - a for a, b in zip(before, counts())] == [3, 2, 0]
