"""The three ways to bring an identity, and what comes of two at once (IOS-02, R10, R11, R12)."""
import base64
import plistlib
import urllib.parse

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

import zonefiles as zf
from clients import enrolled
from sim.device import CHECKIN_TYPE, CONNECT_TYPE

pytestmark = pytest.mark.san
HEADER = "X-Device-Cert"
FORMS = {
    "rfc9440": lambda c: ":" + base64.b64encode(c.public_bytes(Encoding.DER)).decode() + ":",
    "der": lambda c: base64.b64encode(c.public_bytes(Encoding.DER)).decode(),
    "pem": lambda c: urllib.parse.quote(c.public_bytes(Encoding.PEM).decode()),
    "pem-safe": lambda c: urllib.parse.quote(c.public_bytes(Encoding.PEM).decode(), safe="+=/"),
}


@pytest.fixture(scope="module")
def zone(factory, db):
    """Whoever comes from 127.0.0.1 is a listed proxy."""
    made = factory.zone(db, extra_main=f"MDMCertificateHeader {HEADER} from 127.0.0.1, 192.0.2.0/24")
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def strict(factory, db):
    """The proxies are elsewhere."""
    made = factory.zone(db, extra_main=f"MDMCertificateHeader {HEADER} from 192.0.2.0/24 2001:db8::1")
    made.start()
    yield made
    made.close()


def poll(zone, device, header=None, cert=None, signer=None, name=HEADER, message=None, **more):
    body = plistlib.dumps(message or {"UDID": device.udid, "Status": "Idle"})
    headers = {"Content-Type": CHECKIN_TYPE if message else CONNECT_TYPE, **more}
    if header is not None:
        headers[name] = header
    if signer:
        signed = (pkcs7.PKCS7SignatureBuilder().set_data(body).add_signer(signer.cert, signer.key, hashes.SHA256())
                  .sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]))
        headers["Mdm-Signature"] = base64.b64encode(signed).decode()
    return zone.request("PUT", "/mdm", body, headers, cert=cert and f"{cert.files}/identity.pem")[0]


def test_ios02_a_listed_proxys_header(zone):
    """IOS-02: each form that proxies write; check-in as well as polls."""
    device = enrolled(zone)
    for form, write in FORMS.items():
        assert poll(zone, device, write(device.cert)) == 200, form
        assert poll(zone, device, write(device.cert), message={"MessageType": "GetBootstrapToken", "UDID": device.udid}) == 200, form
    assert poll(zone, device) == 400, "no header, no identity"


def test_r10_the_header_is_no_way_around(zone):
    """R10, R12: foreign, another device's, revoked, broken; another header's name."""
    device, other, gone = enrolled(zone), enrolled(zone), enrolled(zone)
    write = FORMS["rfc9440"]
    gone.check_out()
    foreign, _ = zf.issue(*zf.make_ca("Other CA"), device.udid, client=True)
    assert poll(zone, device, write(foreign)) == 400
    assert poll(zone, device, write(other.cert)) == 400
    assert poll(zone, gone, write(gone.cert)) == 400
    good = write(device.cert)
    for bad in ("x", ":", "::", good[:-1], good[1:-40], ":" + "A" * 4000 + ":", "-----BEGIN CERTIFICATE-----", "%2D%2D", "%zz", good * 2,
                "-----BEGIN%20CERTIFICATE-----%00%zz"):
        assert poll(zone, device, bad) == 400, bad
    for name in ("Client-Cert", "X-SSL-Client-Cert", "SSL_CLIENT_CERT"):
        assert poll(zone, device, good, name=name) == 400, name
    assert poll(zone, device, good) == 200 and poll(zone, other, write(other.cert)) == 200


def test_r10_the_header_of_others_is_ignored(strict):
    """R10, R11: from an address that is not listed it counts for nothing, whatever other headers say, and the log says so."""
    device = enrolled(strict)
    for more in ({}, {"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}, {"X-Real-IP": "192.0.2.1"}):
        assert poll(strict, device, FORMS["rfc9440"](device.cert), **more) == 400
    assert poll(strict, device, FORMS["rfc9440"](enrolled(strict).cert), cert=device) == 200, "the own certificate holds"
    assert strict.log.has("MDM0454")


def test_ios02_two_that_contradict(zone):
    """IOS-02: two channels must name one device; a signature that does not fit is no less wrong beside a good certificate."""
    device, other = enrolled(zone), enrolled(zone)
    header = FORMS["pem"]
    assert poll(zone, device, header(device.cert), cert=device, signer=device) == 200
    assert poll(zone, device, cert=device, signer=device) == 200
    assert poll(zone, device, header(other.cert), cert=device) == 400
    assert poll(zone, device, header(device.cert), cert=other) == 400
    assert poll(zone, device, cert=device, signer=other) == 400
    assert poll(zone, device, cert=other, signer=device) == 400
    assert poll(zone, device, header(other.cert), signer=device) == 400
    assert poll(zone, device, cert=device, **{"Mdm-Signature": "bm9uc2Vuc2U="}) == 400
    assert poll(zone, device, cert=device) == 200 and poll(zone, other, cert=other) == 200


@pytest.mark.parametrize("line", ["MDMCertificateHeader X", "MDMCertificateHeader X from", "MDMCertificateHeader X to 127.0.0.1",
                                  "MDMCertificateHeader X from nowhere", "MDMCertificateHeader X from 127.0.0.1/99"])
def test_ios02_configuration(factory, line):
    """A line that can't hold is refused at the start, with the reason."""
    made = factory.zone("sqlite3", extra_main=line)
    try:
        with pytest.raises(Exception):
            made.start()
    finally:
        made.close()
