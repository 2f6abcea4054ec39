"""mod_mdm_ios on the wire: who may speak, what a bad message does, what a push brings (IOS-01..05, SEC-01, R09..R13, R38)."""
import json
import plistlib
import time
import urllib.parse
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7

import harness
import seed
import zonefiles as zf
from clients import Console, enrolled, new_device, portal
from harness import wait_for
from sim.apns import Apns
from sim.device import CHECKIN_TYPE, CONNECT_TYPE, Http, REFRESHES, Refused

pytestmark = pytest.mark.san
FORBIDDEN = {401, 403, 404, 410}
CHECKINS = ["Authenticate", "TokenUpdate", "CheckOut", "SetBootstrapToken", "GetBootstrapToken", "GetToken",
            "DeclarativeManagement"]
STATUSES = ["Idle", "Acknowledged", "Error", "CommandFormatError", "NotNow"]


@pytest.fixture(scope="module")
def device(zone):
    return enrolled(zone)


def pem(device):
    return f"{device.files}/identity.pem"


def checkin(device, kind):
    return plistlib.dumps({"MessageType": kind, "UDID": device.udid, "Topic": device.mdm["Topic"], "Token": b"evil",
                           "PushMagic": "evil", "SerialNumber": device.serial, "TokenServiceType": "com.apple.maid",
                           "Endpoint": "tokens"})


def every_message(device):
    """(path, content type, body) of each kind of message."""
    for kind in CHECKINS:
        yield "/mdm/checkin", CHECKIN_TYPE, checkin(device, kind)
    for status in STATUSES:
        yield "/mdm/connect", CONNECT_TYPE, plistlib.dumps({"UDID": device.udid, "Status": status,
                                                            "CommandUUID": str(uuid.uuid4()).upper()})


def state(zone, device):
    """All that a message could have changed of a device."""
    return zone.sql("SELECT r.state, r.live, r.push_token, r.push_magic, r.push_ok, r.unlock_token, r.bootstrap_token, r.generation,"
                    " d.state, d.name, c.status FROM source_record r JOIN device d ON d.id = r.device_id"
                    " JOIN certificate c ON c.record_id = r.id WHERE r.native_id = ?", device.udid)


def refused(zone, device, cert, signer=None):
    """Sends every kind of message for device with somebody else's identity: all 400, nothing changed."""
    before = state(zone, device)
    for path, kind, body in every_message(device):
        headers = {"Content-Type": kind}
        if signer:
            headers["Mdm-Signature"] = signer(body)
        status, _, answer = zone.request("PUT", path, body, headers, cert=cert)
        assert (status, answer) == (400, b""), (path, body)
    assert state(zone, device) == before


def foreign(tmp_path, **subject):
    """A certificate with the right name by another authority."""
    ca, ca_key = zf.make_ca("Other CA")
    cert, key = zf.issue(ca, ca_key, subject.get("cn", "intruder"), client=True)
    path = tmp_path / "foreign.pem"
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + zf._pem_key(key))
    return str(path), cert, key


# ---- identity (SEC-01, R10, R12)
def test_no_identity(zone, device):
    refused(zone, device, None)


def test_headers_are_no_identity(zone, device):
    """Only a listed proxy could bring a certificate in a header, and none is listed (R10)."""
    text = urllib.parse.quote(open(pem(device)).read().split("-----BEGIN PRIVATE")[0])
    body = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    for name in ("X-SSL-Client-Cert", "Client-Cert", "SSL_CLIENT_CERT", "X-Client-Cert"):
        assert zone.request("PUT", "/mdm/connect", body, {"Content-Type": CONNECT_TYPE, name: text})[0] == 400


def test_foreign_certificate(zone, device, tmp_path):
    path, _, _ = foreign(tmp_path, cn=device.udid)
    refused(zone, device, path)


def test_other_devices_certificate(zone, device):
    other = enrolled(zone)
    refused(zone, device, pem(other))
    assert other.poll() == [] and device.poll() == []


def sign(cert, key, content):
    import base64
    return base64.b64encode(pkcs7.PKCS7SignatureBuilder().set_data(content).add_signer(cert, key, hashes.SHA256())
                            .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])).decode()


def test_signature_misuse(zone, device, tmp_path):
    """Over another body, by another device, by a foreign certificate, and no signature at all."""
    other = enrolled(zone)
    _, cert, key = foreign(tmp_path)
    refused(zone, device, None, lambda body: sign(device.cert, device.key, body + b" "))
    refused(zone, device, None, lambda body: sign(other.cert, other.key, body))
    refused(zone, device, None, lambda body: sign(cert, key, body))
    refused(zone, device, None, lambda body: "bm9uc2Vuc2U=")
    idle = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    status, _, _ = zone.request("PUT", "/mdm/connect", idle, {"Content-Type": CONNECT_TYPE,
                                                              "Mdm-Signature": sign(device.cert, device.key, idle)})
    assert status == 200


def test_issued_certificate_before_authenticate(zone):
    """An identity that is bound to nothing can do nothing but Authenticate."""
    who, fresh = portal(zone), new_device(zone)
    fresh.install(fresh.open_link(who.absolute(who.enrollment()["profile"])))
    with pytest.raises(Refused) as no:
        fresh.token_update()
    assert no.value.status == 400
    with pytest.raises(Refused) as no:
        fresh.connect(Status="Idle")
    assert no.value.status == 400
    fresh.authenticate()
    fresh.token_update()
    assert fresh.poll()


def test_fresh_certificate_cannot_take_a_device_of_another_person(zone, device):
    """MAT-07, R12: another person with the UDID of a device in use is refused, and the first keeps its management."""
    zone.ctl("user", "add", "eve", "--name", "Eve Example", "--mail", "eve@example.org", "--password-stdin",
             stdin=harness.PERSON_PASSWORD + "\n", check=False)
    device.poll()
    who, thief = portal(zone, "eve"), new_device(zone, udid=device.udid, serial=device.serial)
    made = who.enrollment()
    before = state(zone, device)
    device.connect(Status="Idle")  # written behind, and counts at once
    thief.install(thief.open_link(who.absolute(made["profile"])))
    with pytest.raises(Refused) as no:
        thief.authenticate()
    assert no.value.status == 400
    assert state(zone, device) == before
    assert device.poll() == []


# ---- form of messages
@pytest.mark.parametrize("path", ["/mdm", "/mdm/connect", "/mdm/checkin"])
def test_one_url_or_two(zone, device, path):
    """The content type says what it is, whichever address it comes to."""
    idle = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    assert zone.request("PUT", path, idle, {"Content-Type": CONNECT_TYPE}, cert=pem(device))[0] == 200
    status, headers, body = zone.request("PUT", path, checkin(device, "GetBootstrapToken"), {"Content-Type": CHECKIN_TYPE},
                                         cert=pem(device))
    assert (status, headers.get_content_type()) == (200, "application/xml") and plistlib.loads(body) == {}


def test_poll_without_content_type(zone, device):
    idle = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    assert zone.request("PUT", "/mdm/connect", idle, {}, cert=pem(device))[0] == 200
    for kind in ("text/plain", "application/json", "application/x-apple-aspen-mdm-checkinx"):
        assert zone.request("PUT", "/mdm/connect", idle, {"Content-Type": kind}, cert=pem(device))[0] == 400


def test_hostile_text(zone, device, console):
    """Control characters and markup of a device stay data, and reach no log line as they are (R24, R28)."""
    evil = "<script>alert(1)</script>\u202e'; DROP TABLE device; -- %n ${x}"
    device.answers["DeviceInformation"] = {"QueryResponses": {"ModelName": evil, "OSVersion": "1" * 5000, "UDID": "OTHER"}}
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/refresh")
    assert ("DeviceInformation", "Acknowledged") in device.poll()
    device.answers.clear()
    seen = console.get(f"/devices/{ident}")
    assert seen["model"].startswith("<script>") and len(seen["os_version"]) <= 255 and seen["udid"] == device.udid
    bad = plistlib.dumps({"UDID": device.udid, "Status": "Idle\nMDM9999 forged line"})
    assert zone.request("PUT", "/mdm/connect", bad, {"Content-Type": CONNECT_TYPE}, cert=pem(device))[0] == 400
    assert "\nMDM9999" not in (zone.root / "logs" / "error.log").read_text(errors="replace")


def test_enrolment_id(zone):
    """UDID of 40 hex digits and an EnrollmentID are as good as any."""
    for udid in ("0123456789abcdef0123456789abcdef01234567", "00008030-001C2D223A9A802E"):
        assert enrolled(zone, new_device(zone, udid=udid)).poll() == []


# ---- queue (IOS-05, DEV-14, R38)
def commands(zone, device):
    return dict(zone.sql("SELECT c.id, c.state FROM command c JOIN source_record r ON r.id = c.record_id WHERE r.native_id = ?"
                         " AND r.live = 1", device.udid))


def test_result_twice_and_unknown(zone, device, console):
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/refresh")
    first = device.connect(Status="Idle")
    status, keys = device.run(first["Command"]["RequestType"], first["Command"])
    second = device.connect(Status=status, CommandUUID=first["CommandUUID"], **keys)
    assert second["CommandUUID"] != first["CommandUUID"]
    again = device.connect(Status="Error", CommandUUID=first["CommandUUID"])  # the answer was lost, the device repeats
    assert again["CommandUUID"] == second["CommandUUID"]
    assert commands(zone, device)[first["CommandUUID"].lower()] == "acknowledged"
    assert device.connect(Status="Acknowledged", CommandUUID=str(uuid.uuid4()))["CommandUUID"] == second["CommandUUID"]
    assert device.poll() and device.poll() == []


def test_garbage_answer_blocks_nothing(zone, device, console):
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/refresh")
    first = device.connect(Status="Idle")
    body = (b"<?xml version='1.0'?><plist version='1.0'><dict><key>CommandUUID</key><string>" + first["CommandUUID"].encode()
            + b"</string><key>QueryResponses</key><dict><key>x</key><string>\x00\xff")
    status, _, answer = device.put(device.mdm["ServerURL"], CONNECT_TYPE, body)
    assert status == 200
    second = plistlib.loads(answer)
    assert second["CommandUUID"] != first["CommandUUID"]
    kind = second["Command"]["RequestType"]
    device.connect(Status="Acknowledged", CommandUUID=second["CommandUUID"], QueryResponses=[1], SecurityInfo="x",
                   InstalledApplicationList={})
    done = commands(zone, device)
    assert done[first["CommandUUID"].lower()] == "error" and done[second["CommandUUID"].lower()] == "error", kind
    device.poll()
    assert device.poll() == []


@pytest.mark.parametrize("named, chunked", [(True, False), (True, True), (False, False)])
def test_too_long_an_answer_blocks_nothing(zone, device, console, named, chunked):
    """IOS-05, DEV-14: more than 8 MiB: what it answers has failed, and the next one is given."""
    console.post(f"/devices/{console.device(device.udid)['id']}/refresh")
    first = device.connect(Status="Idle")
    head = (b"<?xml version='1.0'?><plist version='1.0'><dict><key>CommandUUID</key><string>"
            + first["CommandUUID"].encode() + b"</string>") if named else b""
    body = head + b" " * (9 << 20)
    pieces = (body[i:i + 65536] for i in range(0, len(body), 65536)) if chunked else body
    status, _, answer = zone.request("PUT", "/mdm", pieces, {"Content-Type": CONNECT_TYPE}, cert=f"{device.files}/identity.pem")
    assert status == 200 and plistlib.loads(answer)["CommandUUID"] != first["CommandUUID"]
    assert commands(zone, device)[first["CommandUUID"].lower()] == "error"
    assert device.poll() and device.poll() == []


def test_commands_survive_a_kill(zone, device, console):
    """REL-01, DEV-14: accepted commands are there after kill -9 of a child."""
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/refresh")
    device.connect(Status="Idle")
    zone.kill_child()
    wait_for(zone.answers)
    device.http.close()
    assert REFRESHES == {k for k, s in device.poll() if s == "Acknowledged"}


def test_reenrolment_clears_the_queue(zone, console):
    """IOS-03, R39: Authenticate again: same object, old commands gone, push off until TokenUpdate."""
    back = enrolled(zone)
    ident = console.device(back.udid)["id"]
    console.post(f"/devices/{ident}/refresh")
    old = {i for i, s in commands(zone, back).items() if s == "queued"}
    back.authenticate()
    assert {commands(zone, back)[i] for i in old} == {"cancelled"}
    assert zone.sql("SELECT push_ok FROM source_record WHERE native_id = ? AND live = 1", back.udid) == [(0,)]
    assert back.connect(Status="Idle") is None
    back.token_update(UnlockToken=None)
    assert len(back.poll()) == len(REFRESHES)
    assert console.device(back.udid)["id"] == ident
    assert zone.sql("SELECT count(*) FROM source_record WHERE native_id = ? AND unlock_token IS NOT NULL", back.udid) == [(1,)]


def test_expelled(zone):
    """IOS-04: the only 403, by decision; Apple's JSON makes the device leave."""
    out = enrolled(zone)
    zone.sql("UPDATE source_record SET expelled = 1 WHERE native_id = ?", out.udid)
    zone.sql("INSERT INTO change (kind, key, at_ms) SELECT 'device', device_id, 0 FROM source_record WHERE native_id = ?", out.udid)

    def told():
        try:
            out.connect(Status="Idle")
        except Refused as no:
            return no.status == 403
    wait_for(told)
    assert out.enrolled is False


# ---- SCEP over HTTP
def test_scep_form(zone):
    assert zone.request("GET", "/scep?operation=GetCACaps")[1].get_content_type() == "text/plain"
    status, headers, _ = zone.request("PUT", "/scep?operation=PKIOperation", b"x")
    assert status == 405 and "POST" in headers["Allow"]
    for query in ("", "?operation=", "?operation=Nonsense", "?operation=PKIOperation", "?operation=%00", "?operation=%",
                  "?operation=PKIOperation&message=%%%", "?operation=PKIOperation&message=!!!!"):
        assert zone.request("GET", "/scep" + query)[0] == 400, query


def test_revocation_list(zone):
    """IOS-06: the list that identities name holds what was revoked, and nothing else; the authority signs it."""
    gone, stays = enrolled(zone), enrolled(zone)
    mine, its = (x509.load_pem_x509_certificate(open(pem(d), "rb").read()) for d in (gone, stays))
    points = mine.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [n.value for p in points for n in p.full_name] == [f"{zone.public_url}/scep/crl"]

    def revoked():
        status, headers, body = zone.request("GET", "/scep/crl")
        assert status == 200 and headers.get_content_type() == "application/pkix-crl"
        crl = x509.load_der_x509_crl(body)
        ca = x509.load_pem_x509_certificate(zone.sql("SELECT certificate FROM ca WHERE kind = 'ca'")[0][0].encode())
        assert crl.issuer == ca.subject and crl.is_signature_valid(ca.public_key())
        assert crl.get_revoked_certificate_by_serial_number(its.serial_number) is None
        return crl.get_revoked_certificate_by_serial_number(mine.serial_number)
    assert revoked() is None
    gone.check_out()
    wait_for(revoked)
    status, headers, _ = zone.request("POST", "/scep/crl", b"x")
    assert status == 405 and headers["Allow"] == "GET, HEAD"
    assert zone.request("GET", "/scep/crl/more")[0] == 400


def test_revocation_list_is_kept(fresh_zone):
    """IOS-06, SEC-07: whoever asks gets the same bytes until something is revoked; 304 for who has them; 10,000 entries."""
    zone = fresh_zone(children=1)
    gone, one = enrolled(zone), Http(str(zone.tls_dir / "ca.pem"))  # one connection: one child, whose list it is

    def fetch(tag=None):
        status, headers, body = one.fetch("GET", f"{zone.public_url}/scep/crl", None, {"If-None-Match": tag} if tag else {})
        return status, headers["ETag"], headers["Cache-Control"], body

    def serials(body):
        return {entry.serial_number for entry in x509.load_der_x509_crl(body)}
    def revoke(begin, end):
        """Behind the server's back: nothing says that there was a change."""
        zone.sql(f"WITH RECURSIVE n(i) AS (SELECT {begin} UNION ALL SELECT i + 1 FROM n WHERE i < {end}) INSERT INTO certificate (fingerprint, serial,"
                 " subject, status, slot, not_before_ms, not_after_ms, issued_ms, renew_ms, der, revoked_ms, revoke_reason) SELECT 'made ' || i,"
                 " '00' || CAST(100000 + i AS TEXT), 'CN=x', 'revoked', 'current', 0, 4000000000000, 0, 0, '', 1, 'checkout' FROM n")
    revoke(1, 10000)
    looks = iter(range(10001, 11000))

    def kept():
        before, began, n = fetch(), time.monotonic(), next(looks)
        revoke(n, n)
        wait_for(lambda: time.monotonic() > began + 3.1)  # it is never made more often than each three seconds
        return before if fetch() == before else None  # a child that has just begun reads once more
    first = wait_for(kept)
    assert first[0] == 200 and first[2] == "public, max-age=300" and len(serials(first[3])) >= 10000
    assert fetch(first[1])[::3] == (304, b"")
    gone.check_out()
    wait_for(lambda: fetch()[3] != first[3])
    second = fetch()
    mine = x509.load_pem_x509_certificate(open(pem(gone), "rb").read()).serial_number
    assert second[1] != first[1] and len(serials(second[3])) > len(serials(first[3])) and mine in serials(second[3])
    assert fetch(first[1])[0] == 200 and fetch(second[1])[0] == 304


def test_scep_limits(fresh_zone):
    """Too long a message is 413; who sends rubbish again and again has to wait (SEC-07, R09)."""
    zone = fresh_zone()
    assert zone.request("POST", "/scep?operation=PKIOperation", b"0" * (65 * 1024))[0] == 413
    answers = [zone.request("POST", "/scep?operation=PKIOperation", b"rubbish") for _ in range(23)]
    assert answers[0][0] == 400 and answers[-1][0] == 429
    assert int(answers[-1][1]["Retry-After"]) >= 1
    assert {a[0] for a in answers} == {400, 429}


# ---- push (facts 5.1, REL-04)
@pytest.fixture(scope="module")
def pushed(factory, db):
    """A zone with a push certificate, and the server that it pushes to."""
    folder = factory.root / f"apns-{db}"  # pytest's own folders are closed to the server's user whenever another pytest begins
    folder.mkdir()
    ca, ca_key = zf.make_ca("Push CA")

    def write(name, cert, key=None):
        path = folder / name
        path.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + (zf._pem_key(key) if key else b""))
        path.chmod(0o644)
        return str(path)
    root = write("ca.pem", ca)
    server = write("server.pem", *zf.issue(ca, ca_key, "localhost", dns=["localhost"]))
    cert, key = zf.issue(ca, ca_key, "push", client=True, uid=harness.TOPIC)
    client, client_key = write("client.pem", cert), folder / "client.key"
    client_key.write_bytes(zf._pem_key(key))
    apns = Apns(server, server, root)
    zone = factory.zone(db, extra_main=f"MDMApnsURL {apns.url}\nMDMApnsCAFile {root}")
    zone.ctl("push-cert", "import", client, str(client_key))
    zone.start()
    yield zone, apns
    zone.close()
    apns.close()


def test_push_wakes_a_device(pushed):
    """A command reaches a device within a moment, with one push for the whole queue."""
    zone, apns = pushed
    device, console = enrolled(zone), Console(zone)
    wait_for(lambda: apns.of(device.token))
    count = len(apns.of(device.token))
    woken = []
    apns.listen(device.token, lambda: woken.append(device.poll()))
    ident = console.device(device.udid)["id"]
    wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'apns.push' AND state = 'waiting' AND run_at_ms > 0"))
    zone.sql("UPDATE job SET run_at_ms = ? WHERE kind = 'apns.push' AND state = 'waiting'", seed.now_ms() + 3_600_000)  # it is woken, or nobody is
    console.post(f"/devices/{ident}/refresh")
    wait_for(lambda: woken)
    assert len(woken[0]) == len(REFRESHES)
    push = apns.of(device.token)[-1]
    assert len(apns.of(device.token)) == count + 1
    assert push["headers"]["apns-topic"] == harness.TOPIC and push["headers"]["apns-push-type"] == "mdm"
    assert json.loads(push["body"]) == {"mdm": device.magic}, "and nothing else"
    wait_for(lambda: zone.sql("SELECT count(*) FROM push") == [(0,)])
    assert apns.connections <= 4


def test_dead_token(pushed):
    """410: no push until the device brings a token again."""
    zone, apns = pushed
    device, console = enrolled(zone), Console(zone)
    wait_for(lambda: apns.of(device.token))
    apns.script[device.token.hex()] = [{"status": 410, "reason": "Unregistered", "timestamp": int(time.time() * 1000) + 60000}]
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/refresh")
    wait_for(lambda: zone.sql("SELECT push_ok FROM source_record WHERE native_id = ?", device.udid) == [(0,)])
    count = len(apns.of(device.token))
    del apns.script[device.token.hex()]
    device.token_update()
    wait_for(lambda: len(apns.of(device.token)) > count)


def test_hanging_push_stops_nothing_else(pushed):
    """REL-04: while a push waits for an answer that never comes other jobs run, and other devices are pushed."""
    zone, apns = pushed
    stuck, other, console = enrolled(zone), enrolled(zone), Console(zone)
    wait_for(lambda: apns.of(stuck.token) and apns.of(other.token))
    apns.script[stuck.token.hex()] = [{"hang": True}]
    count, before = len(apns.of(stuck.token)), len(apns.of(other.token))
    console.post(f"/devices/{console.device(stuck.udid)['id']}/refresh")
    wait_for(lambda: len(apns.of(stuck.token)) > count)
    zone.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'core.prune'")
    console.post(f"/devices/{console.device(other.udid)['id']}/refresh")
    wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'core.prune' AND run_at_ms > 0"))
    wait_for(lambda: len(apns.of(other.token)) > before)
    record = zone.sql("SELECT id FROM source_record WHERE native_id = ?", other.udid)[0][0]
    wait_for(lambda: zone.sql("SELECT 1 FROM push WHERE record_id = ?", record) == [])
    assert len(zone.sql("SELECT 1 FROM push WHERE last_error = ''")) == 1, "the first one still hangs"
    del apns.script[stuck.token.hex()]


def test_refused_certificate_is_told(pushed):
    zone, apns = pushed
    device, console = enrolled(zone), Console(zone)
    wait_for(lambda: apns.of(device.token))
    apns.script[device.token.hex()] = [{"status": 403, "reason": "BadCertificate"}]
    zone.log.expect("MDM0500")
    console.post(f"/devices/{console.device(device.udid)['id']}/refresh")
    wait_for(lambda: zone.sql("SELECT code FROM message WHERE code = 'push.refused'"))
    assert zone.sql("SELECT push_ok FROM source_record WHERE native_id = ?", device.udid) == [(1,)]
