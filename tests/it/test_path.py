"""The path of issue 2, section 4, on real protocol bytes and on both databases."""
import pytest

from clients import enrolled, new_device, portal
from harness import wait_for
from sim import der, scep
from sim.device import CHECKIN_TYPE, CONNECT_TYPE, Device, Profile, REFRESHES, Refused


pytestmark = pytest.mark.san


def test_whole_path(zone, console):
    """Portal, profile, SCEP, check-in, inventory, console, CheckOut, and the same object when it comes back."""
    who, device = portal(zone), new_device(zone)
    made = who.enrollment()
    data = device.open_link(who.absolute(made["profile"]))
    profile = Profile(data)
    assert profile.signer is not None and profile.verified
    assert profile.mdm()["Topic"].startswith("com.apple.mgmt.External.")
    assert profile.mdm()["CheckOutWhenRemoved"] is True

    device.install(data)
    assert der.issued_by(device.cert, device.ca)
    device.authenticate()
    before = console.device(device.udid)
    assert before["state"] == "pending"
    device.token_update()
    assert console.device(device.udid)["state"] == "active"

    handled = device.poll()
    assert REFRESHES <= {kind for kind, status in handled if status == "Acknowledged"}
    seen = console.device(device.udid)
    assert (seen["serial"], seen["os_version"], seen["product"]) == (device.serial, device.os_version, device.product)
    assert seen["passcode_present"] is True and seen["battery"] == pytest.approx(0.71)
    apps = {a["identifier"] for a in console.get(f"/devices/{seen['id']}/apps")["items"]}
    assert apps == {a[0] for a in device.apps}
    assert device.poll() == []

    assert who.call("GET", f"/api/v1/enrollments/{made['id']}")[1]["state"] == "completed"

    device.check_out()
    assert console.device(device.udid)["state"] == "removed"
    with pytest.raises(Refused) as refused:
        device.poll()
    assert refused.value.status == 400

    again = Device(str(zone.tls_dir / "ca.pem"), udid=device.udid, serial=device.serial)
    enrolled(zone, again)
    back = console.device(device.udid)
    assert (back["id"], back["state"]) == (seen["id"], "active")


def test_profile_is_single_use(zone):
    """After the identity was issued, the link gives nothing more (R15)."""
    who = portal(zone)
    made = who.enrollment()
    device = new_device(zone).enroll(who.absolute(made["profile"]))
    status, _, body = device.http.fetch("GET", who.absolute(made["profile"]))
    assert status in (403, 404, 410) and not body.startswith(b"0\x82")


def test_challenge_is_single_use_and_bound(zone):
    """A second device with the same profile gets no identity; the same request again gets the same certificate (R14)."""
    who = portal(zone)
    first, second = new_device(zone), new_device(zone)
    data = first.open_link(who.absolute(who.enrollment()["profile"]))
    payload = Profile(data).identity()
    client = scep.Client(payload["URL"], first.http.fetch)
    ra, _ = client.ca_certs()
    request = scep.Request(payload["Subject"], payload["Challenge"], 2048)
    message = request.message(ra)
    cert = request.answer(client.pki(message), ra)
    assert request.answer(client.pki(message), ra) == cert
    with pytest.raises(scep.ScepError) as refused:
        second.install(data)
    assert refused.value.fail == "2"
    with pytest.raises(scep.ScepError):
        other = scep.Request(payload["Subject"], "no-such-challenge", 2048)
        other.answer(client.pki(other.message(ra)), ra)


@pytest.mark.parametrize("options", [{"get": True}, {"cipher": "aes128"}, {"cipher": "aes256", "get": True}], ids=str)
def test_scep_ways(zone, options):
    who, device = portal(zone), new_device(zone)
    device.install(device.open_link(who.absolute(who.enrollment()["profile"])), **options)
    device.authenticate()
    device.token_update()
    assert REFRESHES <= {kind for kind, _ in device.poll()}


def test_old_ciphers_are_refused_unless_switched_on(zone):
    who, device = portal(zone), new_device(zone)
    data = device.open_link(who.absolute(who.enrollment()["profile"]))
    with pytest.raises(scep.ScepError):
        device.install(data, cipher="des3")
    with pytest.raises(scep.ScepError):
        device.install(data, digest="sha1")


def test_scep_capabilities(zone):
    fetch = new_device(zone).http.fetch
    client = scep.Client(f"{zone.public_url}/scep", fetch)
    caps = client.caps()
    assert {"AES", "SHA-256", "POSTPKIOperation", "SCEPStandard", "Renewal"} <= set(caps) and "DES3" not in caps
    ra, ca = client.ca_certs()
    assert ca.issuer == ca.subject and der.issued_by(ra, ca) or ra == ca


def test_unenrol(zone, console):
    """The administrator ends management: the removal is delivered, then the identity is of no use (15-decisions)."""
    device = enrolled(zone)
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/unenroll", {"wipe": "selective", "then": "retire", "reason": "test"})
    assert ("RemoveProfile", "Acknowledged") in device.poll()
    wait_for(lambda: console.device(device.udid)["state"] == "retired")
    with pytest.raises(Refused) as refused:
        device.connect(Status="Idle")
    assert refused.value.status == 400


def test_removed_by_the_administrator_and_back(zone, console):
    """Section 4.2: the administrator removes a device; released again, it comes back onto the same object with a new identity."""
    device = enrolled(zone)
    ident, old = console.device(device.udid)["id"], device.cert
    console.post(f"/devices/{ident}/unenroll", {"wipe": "selective", "then": "retire", "reason": "test"})
    device.poll()
    wait_for(lambda: console.get(f"/devices/{ident}")["state"] == "retired")
    console.post(f"/devices/{ident}/unretire", {"reason": "test"})
    back = enrolled(zone, new_device(zone, udid=device.udid, serial=device.serial))
    seen = console.get(f"/devices/{ident}")
    assert (seen["state"], seen["udid"]) == ("active", device.udid) and back.cert != old
    assert back.poll() == []
    assert zone.sql("SELECT COUNT(*) FROM device WHERE udid = ?", device.udid)[0][0] == 1


def test_not_now_and_errors(zone, console):
    """A command that was put off stays; one that failed is told (IOS-05)."""
    device = enrolled(zone)
    ident = console.device(device.udid)["id"]
    device.answers["SecurityInfo"] = {"Status": "NotNow"}
    device.answers["DeviceInformation"] = {"Status": "Error", "ErrorChain": [
        {"ErrorDomain": "MCMDMErrorDomain", "ErrorCode": 12021, "LocalizedDescription": "no", "USEnglishDescription": "no"}]}
    console.post(f"/devices/{ident}/refresh")
    polled = device.poll()
    handled = dict(polled)
    assert len(polled) == len(REFRESHES), "what was put off is not offered again in the same session"
    assert handled["SecurityInfo"] == "NotNow" and handled["DeviceInformation"] == "Error"
    assert handled["InstalledApplicationList"] == "Acknowledged"
    device.answers.clear()
    assert ("SecurityInfo", "Acknowledged") in device.poll()


def test_signed_messages(fresh_zone):
    """SignMessage without any client certificate."""
    zone = fresh_zone(extra_main="MDMSignMessage On")
    device = new_device(zone)
    device.use_client_cert = False
    enrolled(zone, device)
    assert device.mdm["SignMessage"] is True and device.http.cert is None
    assert device.poll() == []
    device.use_signature = False
    with pytest.raises(Refused) as refused:
        device.poll()
    assert refused.value.status == 400


def test_old_clients(fresh_zone):
    """3DES and SHA-1 when the administrator allows them."""
    zone = fresh_zone(extra_main="MDMScepLegacy On")
    who, device = portal(zone), new_device(zone)
    assert "DES3" in scep.Client(f"{zone.public_url}/scep", device.http.fetch).caps()
    device.install(device.open_link(who.absolute(who.enrollment()["profile"])), cipher="des3", digest="sha1", get=True)
    device.authenticate()
    device.token_update()
    assert device.poll()


# ---- section 6: bad input
def put(zone, device, body, kind=CONNECT_TYPE, method="PUT", path="/mdm", cert=True, **headers):
    pem = f"{device.files}/identity.pem" if cert else None
    return zone.request(method, path, body, {"Content-Type": kind, **headers}, cert=pem)


@pytest.fixture(scope="module")
def device(zone):
    return enrolled(zone)


def test_wrong_method(zone, device):
    for method in ("GET", "POST", "DELETE"):
        status, headers, _ = put(zone, device, None, method=method)
        assert (status, headers["Allow"]) == (405, "PUT")


def test_too_large(zone, device):
    assert put(zone, device, b"<plist/>" + b" " * (9 << 20))[0] == 413, "it answers nothing"
    assert put(zone, device, b" " * (2 << 20), kind=CHECKIN_TYPE)[0] == 413


@pytest.mark.parametrize("body", [b"", b"hello", b"<html/>", b"\x00\xff" * 40, b"<?xml version='1.0'?><plist><dict><key>Status</key>",
                                  b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><plist version='1.0'><dict/></plist>",
                                  b"bplist00" + bytes(32)], ids=range(7))
def test_not_a_plist(zone, device, body):
    assert put(zone, device, body)[0] == 400
    assert put(zone, device, body, kind=CHECKIN_TYPE)[0] == 400


@pytest.mark.parametrize("field,message", [
    ("Status", {"UDID": None}), ("Status", {"UDID": None, "Status": 7}), ("MessageType", {"UDID": None}),
    ("UDID", {"MessageType": "TokenUpdate"})], ids=str)
def test_wrong_plist_is_logged_with_the_field(zone, device, field, message):
    import plistlib
    body = plistlib.dumps({k: device.udid if v is None else v for k, v in message.items()})
    kind = CHECKIN_TYPE if field == "MessageType" or "MessageType" in message else CONNECT_TYPE
    assert put(zone, device, body, kind=kind)[0] == 400
    assert zone.log.has(field)


def test_identity_problems(zone, device, factory, tmp_path):
    """Missing, foreign and mismatching identities: 400, never 401, 403, 404, 410 (15-decisions)."""
    import plistlib
    from cryptography.hazmat.primitives import serialization
    import zonefiles as zf
    idle = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    assert put(zone, device, idle)[0] == 200
    assert put(zone, device, idle, cert=False)[0] == 400
    ca, ca_key = zf.make_ca("Other CA")
    cert, key = zf.issue(ca, ca_key, "intruder", client=True)
    pem = tmp_path / "intruder.pem"
    pem.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + zf._pem_key(key))
    assert zone.request("PUT", "/mdm", idle, {"Content-Type": CONNECT_TYPE}, cert=str(pem))[0] == 400
    other = enrolled(zone)
    assert put(zone, other, idle)[0] == 400
    assert put(zone, device, idle, **{"Mdm-Signature": "bm9uc2Vuc2U="}, cert=False)[0] == 400
    assert device.poll() == []


def test_unknown_paths(zone):
    assert zone.request("GET", "/no/such/page")[0] == 404
    assert zone.request("GET", "/portal/api/v1/nothing")[0] == 404
    assert zone.request("GET", "/admin/")[0] == 404, "R03: the console does not answer on the device address"


def test_restart_keeps_devices(zone, device, console):
    """A graceful restart and a cold cache change nothing for an enrolled device."""
    zone.graceful()
    assert device.poll() == []
    assert console.device(device.udid)["state"] == "active"
