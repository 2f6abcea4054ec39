"""Push certificate from request to test, and a push service in trouble, on both databases (PSH-01..05, NOD-03, NOD-04, SEC-08)."""
import base64
import datetime
import plistlib
import ssl
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12

import harness
import seed
import zonefiles as zf
from clients import Console
from harness import wait_for
from pushca import PEM, Apple
from sim.apns import Apns

pytestmark = pytest.mark.san
SUBJECT = {"organisation": "Example & Söhne", "unit": "IT", "name": "push", "place": "Bonn", "state": "NRW", "country": "DE",
           "mail": "apple@example.org"}
OTHER = "com.apple.mgmt.External.other"


@pytest.fixture(scope="module")
def apple(factory):
    """Apple in small: the authority that makes push certificates, the push server that knows them, a vendor."""
    folder = factory.root / "apple"
    folder.mkdir(exist_ok=True)
    return Apple(folder)


@pytest.fixture(scope="module")
def apns(apple):
    made = Apns(apple.server, apple.server, apple.root)
    yield made
    made.close()


@pytest.fixture(scope="module")
def zone(factory, db, apple, apns):
    made = factory.zone(db, extra_main=f"MDMApnsURL {apns.url}\nMDMApnsCAFile {apple.root}").start()
    yield made
    made.close()


@pytest.fixture
def console(zone):
    """A zone without certificate or request."""
    zone.sql("DELETE FROM zone_setting WHERE name LIKE 'apns.%' AND name <> 'apns.topic'")
    zone.sql("DELETE FROM push")
    zone.sql("DELETE FROM message")
    return Console(zone)


def csr_of(console):
    status, headers, body = console.call("GET", "/push/request.csr")
    assert status == 200 and "attachment" in headers["Content-Disposition"]
    return body


def numbers(csr):
    return x509.load_pem_x509_csr(csr).public_key().public_numbers()


def put(console, what, body, status=200, field=None):
    got, _, answer = console.call("PUT", f"/push/{what}", body)
    assert got == status, (got, answer)
    if field:
        assert answer["field"] == field, answer
    return answer


def test_from_nothing_to_certificate(zone, console, apple):
    """PSH-02, PSH-03: request, file for Apple, import; every step can be done again, and nothing secret is told."""
    wait_for(lambda: console.get("/push")["mdm_nodes"] == 1)  # a node reports soon after its start
    empty = console.get("/push")
    assert empty["certificate"] is None and empty["request"] is None
    made = console.post("/push/request", SUBJECT)
    assert made["request"] == {**SUBJECT, "made": made["request"]["made"], "signed": False}
    csr = csr_of(console)
    assert csr_of(console) == csr
    request = x509.load_pem_x509_csr(csr)
    assert request.public_key().key_size == 2048
    assert {a.rfc4514_attribute_name: a.value for a in request.subject} == {
        "C": "DE", "ST": "NRW", "L": "Bonn", "O": "Example & Söhne", "OU": "IT", "CN": "push", "1.2.840.113549.1.9.1": "apple@example.org"}
    assert console.call("GET", "/push/request.signed")[0] == 404
    assert put(console, "request/signed", {"file": apple.sign(csr).decode()})["request"]["signed"] is True
    status, _, text = console.call("GET", "/push/request.signed")
    assert status == 200 and plistlib.loads(base64.b64decode(text))["PushCertSignature"]
    state = put(console, "certificate", {"certificate": apple.portal(csr)})["certificate"]
    assert state["topic"] == harness.TOPIC and state["key"] == "RSA 2048" and state["state"] == "valid" and 364 <= state["days_left"] <= 366
    assert state["subject"] and state["serial"] and state["issuer"]
    sealed = dict(zone.sql("SELECT name, sealed FROM zone_setting WHERE name LIKE 'apns.%'"))
    assert sealed["apns.key"] == 1 and sealed["apns.request_key"] == 1
    assert all("PRIVATE" not in v for (v,) in zone.sql("SELECT value FROM zone_setting"))
    actions = {a for (a,) in zone.sql("SELECT action FROM audit WHERE object_id = 'apns'")}
    assert {"push_certificate.request", "push_certificate.signed", "push_certificate.import"} <= actions


@pytest.mark.parametrize("field, value", [("organisation", ""), ("country", "Germany"), ("country", "de"), ("mail", "nobody"),
                                          ("name", "x" * 65), ("organisation", "a\nb"), ("colour", "red")])
def test_bad_requests(console, field, value):
    status, _, body = console.call("POST", "/push/request", {**SUBJECT, field: value})
    assert status == 400 and body["field"] == field
    assert console.get("/push")["request"] is None


def test_signed_files_of_others(console, apple):
    """PSH-02: base64 and property list are taken; another request, a wrong signature and rubbish are not."""
    assert put(console, "request/signed", {"file": "x"}, 409)
    console.post("/push/request", SUBJECT)
    first = csr_of(console)
    put(console, "request/signed", {"file": base64.encodebytes(apple.sign(first)).decode()})
    console.post("/push/request", SUBJECT)
    second = csr_of(console)
    assert first != second and console.get("/push")["request"]["signed"] is False
    for bad in [apple.sign(first), apple.sign(second, spoil=b"x"), b"rubbish!", plistlib.dumps({"a": 1}), plistlib.dumps([]),
                apple.sign(second).replace(b"BEGIN CERT", b"BEGIN DIRT")]:
        put(console, "request/signed", {"file": bad.decode()}, 400, "file")
    assert console.get("/push")["request"]["signed"] is False


def test_renewing(zone, console, apple):
    """PSH-04: same or new key, same topic; another topic only when confirmed, and it says how many devices it costs."""
    console.post("/push/request", SUBJECT)
    first = csr_of(console)
    put(console, "certificate", {"certificate": apple.portal(first)})
    serial = console.get("/push")["certificate"]["serial"]
    console.post("/push/request", {**SUBJECT, "keep_key": True})
    same = csr_of(console)
    assert numbers(same) == numbers(first)
    assert put(console, "certificate", {"certificate": apple.portal(same)})["certificate"]["serial"] != serial
    console.post("/push/request", SUBJECT)
    fresh = csr_of(console)
    assert numbers(fresh) != numbers(first)
    put(console, "certificate", {"certificate": apple.portal(fresh)})
    put(console, "certificate", {"certificate": apple.portal(first)}, 400, "certificate")  # its key is gone
    zone.sql("DELETE FROM source_record")
    for _ in range(3):
        seed.record(zone, None, topic=harness.TOPIC)
    said = put(console, "certificate", {"certificate": apple.portal(fresh, uid=OTHER)}, 409, "new_topic")["detail"]
    assert harness.TOPIC in said and OTHER in said and "3 devices" in said
    assert console.get("/push")["certificate"]["topic"] == harness.TOPIC and console.get("/push")["certificate"]["devices"] == 3
    assert put(console, "certificate", {"certificate": apple.portal(fresh, uid=OTHER), "new_topic": True})["certificate"]["topic"] == OTHER
    put(console, "certificate", {"certificate": apple.portal(fresh), "new_topic": True})
    zone.sql("DELETE FROM source_record")


def test_bad_certificates(console, apple):
    """PSH-03: not yet valid is explained with both clocks."""
    console.post("/push/request", SUBJECT)
    csr = csr_of(console)
    said = put(console, "certificate", {"certificate": apple.portal(csr, days=(2, 300))}, 400, "certificate")["detail"]
    now = datetime.datetime.utcnow()
    assert (now + datetime.timedelta(days=2)).strftime("%Y-%m-%d") in said and now.strftime("%Y-%m-%d") in said and "clock" in said
    put(console, "certificate", {"certificate": apple.portal(csr, days=(-300, -1))}, 400, "certificate")
    put(console, "certificate", {"certificate": apple.portal(csr, uid="com.example.app")}, 400, "certificate")
    put(console, "certificate", {"certificate": "rubbish"}, 400, "certificate")
    put(console, "certificate", {}, 400, "certificate")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    stray = apple.certify(other.public_key()).public_bytes(PEM).decode()
    put(console, "certificate", {"certificate": stray}, 400, "certificate")
    put(console, "certificate", {"certificate": stray, "key": zf._pem_key(rsa.generate_private_key(65537, 2048)).decode()}, 400, "key")
    assert console.get("/push")["certificate"] is None


def test_pkcs12(console, apple):
    """PSH-02: an existing certificate with its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    cert = apple.certify(key.public_key())

    def p12(password, with_key=True):
        kind = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        return base64.b64encode(pkcs12.serialize_key_and_certificates(b"push", key if with_key else None, cert, [apple.ca], kind)).decode()
    put(console, "certificate", {"p12": p12(b"geheim"), "password": "wrong"}, 400, "password")
    put(console, "certificate", {"p12": p12(b"geheim")}, 400, "password")
    put(console, "certificate", {"p12": p12(None, with_key=False)}, 400, "p12")
    put(console, "certificate", {"p12": base64.b64encode(b"rubbish").decode()}, 400, "p12")
    put(console, "certificate", {"p12": "!"}, 400, "p12")
    put(console, "certificate", {"p12": p12(b"geheim"), "certificate": "x"}, 400, "certificate")
    assert put(console, "certificate", {"p12": p12(b"geheim"), "password": "geheim"})["certificate"]["topic"] == harness.TOPIC
    assert put(console, "certificate", {"p12": p12(None)})["certificate"]["topic"] == harness.TOPIC


class Signer(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = self.server.answer(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


def test_signing_service(zone, console, apple, factory):
    """PSH-02: the request goes to a configured address and comes back signed; refusals and rubbish are told."""
    server = HTTPServer(("127.0.0.1", 0), Signer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(factory.tls / "server.pem", factory.tls / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        console.post("/push/request", SUBJECT)
        console.post("/push/request/sign", want=(409,))
        for bad in ("http://localhost/", "ftp://x", "https://a b"):
            put(console, "signing", {"url": bad}, 400, "url")
        put(console, "signing", {"url": f"https://localhost:{server.server_port}/sign"})
        server.answer = lambda body: (403, b"no")
        assert "403" in console.post("/push/request/sign", want=(409,))["detail"]
        server.answer = lambda body: (200, b"rubbish!")
        console.post("/push/request/sign", want=(400,))
        server.answer = lambda body: (200, apple.sign(body))
        assert console.post("/push/request/sign")["request"]["signed"] is True
        put(console, "signing", {"url": "https://localhost:1/"})
        console.post("/push/request/sign", want=(409,))
    finally:
        server.shutdown()
        server.server_close()


def test_refused_without_a_node(zone, console, apple):
    """NOD-03: no set-up while no node has the MDM role."""
    zone.sql("UPDATE node SET mdm_role = 0")
    try:
        assert console.post("/push/request", SUBJECT, want=(409,))["field"] == "node"
        assert console.get("/push")["mdm_nodes"] == 0
    finally:
        zone.sql("UPDATE node SET mdm_role = 1")


def configured(console, apple, **options):
    console.post("/push/request", SUBJECT)
    put(console, "certificate", {"certificate": apple.portal(csr_of(console), **options)})


def ask_test(console):
    console.post("/push/test")
    return wait_for(lambda: (lambda r: r if all(x["state"] in ("done", "down") for x in r) else None)(console.get("/push/test")["items"]))


def test_test_on_this_node(zone, console, apple, apns):
    """PSH-05, NOD-04: what works, what Apple refuses, what can't be reached."""
    console.post("/push/test", want=(409,))
    configured(console, apple)
    zone.sql("INSERT INTO node (id, name, base_url, software, holder, mdm_role, started_ms, seen_ms) VALUES (?, 'gone', '', '', '', 1, 0, 0)",
             "00000000-0000-4000-8000-000000000099")
    try:
        results = {r["node"]: r for r in ask_test(console)}
        assert results.pop("gone")["state"] == "down"
        (mine,) = results.values()
        assert mine["ok"] is True and (mine["step"], mine["status"], mine["reason"]) == ("apns", 400, "BadDeviceToken")
        apns.script["0" * 64] = [{"status": 403, "reason": "BadCertificate"}]
        (mine,) = [r for r in ask_test(console) if r["node"] != "gone"]
        assert mine["ok"] is False and (mine["status"], mine["reason"]) == (403, "BadCertificate")
        apns.script["0" * 64] = [{"reset": True}]
        (mine,) = [r for r in ask_test(console) if r["node"] != "gone"]
        assert mine["ok"] is False and mine["status"] == 0 and mine["text"]
    finally:
        apns.script.clear()
        zone.sql("DELETE FROM node WHERE name = 'gone'")


def test_untrusted_certificate_is_told(zone, console, apple, apns):
    """NOD-04: a certificate that the push server does not know ends in TLS."""
    stranger = Apple.__new__(Apple)
    stranger.ca, stranger.ca_key = zf.make_ca("Other CA")
    console.post("/push/request", SUBJECT)
    put(console, "certificate", {"certificate": stranger.portal(csr_of(console))})
    (mine,) = ask_test(console)
    assert (mine["ok"], mine["step"], mine["status"]) == (False, "tls", 0), mine


def test_every_node_is_tested(factory, db, apple, apns):
    """NOD-04: the answer lists the nodes that failed, and why; here one whose way to Apple is closed."""
    conf = f"MDMApnsCAFile {apple.root}\nMDMApnsURL "
    one = factory.zone(db, children=1, extra_main=f"{conf}{apns.url}\nMDMNodeName one").start()
    root = factory.root / f"{one.root.name}-two"
    root.mkdir()
    two = harness.Zone(one.db_url, root=root, tls_dir=one.tls_dir, key_file=one.key_file, children=1,
                       extra_main=f"{conf}https://localhost:{zf.free_port()}\nMDMNodeName two").start()
    try:
        wait_for(lambda: one.sql("SELECT count(*) FROM node WHERE seen_ms > 0") == [(2,)])
        console = Console(one)
        configured(console, apple)
        results = {r["node"]: r for r in ask_test(console)}
        assert results["one"]["ok"] is True
        assert (results["two"]["ok"], results["two"]["step"], results["two"]["reason"]) == (False, "tcp", "connect")
    finally:
        two.close()
        one.close()


@pytest.mark.parametrize("days, severity", [(29, 2), (6, 3), (0.5, 3)])
def test_expiry_is_told(zone, console, apple, days, severity):
    """PSH-05: 30, 14, 7 and 1 days before the end, each once: message and audit."""
    configured(console, apple, days=(-300, days))
    for _ in range(2):
        zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'zone.expiry'")
        wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'zone.expiry' AND state = 'waiting' AND run_at_ms > 1"))
    assert zone.sql("SELECT code, severity FROM message WHERE object_id = 'apns'") == [("push.expiring", severity)]
    assert console.get("/push")["certificate"]["state"] == "expiring"
    configured(console, apple)
    assert zone.sql("SELECT 1 FROM message WHERE object_id = 'apns' AND ack_ms IS NULL") == [], "a new one settles it"


# ---- the stream of pushes
def crowd(zone, tokens):
    zone.sql("DELETE FROM source_record")
    for token in tokens:
        zone.sql("INSERT INTO push (record_id, due_ms) VALUES (?, 0)", seed.record(zone, None, push_token=token))


def left(zone):
    return zone.sql("SELECT count(*) FROM push")[0][0]


def push_now(zone):
    """Nobody waits for another try. Rows on their way are left alone: what is locked when its push has ended keeps its lease of minutes."""
    zone.sql("UPDATE push SET due_ms = 0 WHERE due_ms > 0 AND lease_owner IS NULL")
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'apns.push' AND state = 'waiting'")


@pytest.mark.parametrize("step", [{"goaway": True}, {"goaway": "refuse"}, {"reset": True}])
def test_connection_ends_in_mid_batch(zone, console, apple, apns, step):
    """R38: GOAWAY and resets among many pushes: every device is pushed, each at least once, none is given up."""
    tokens = [f"{i:04x}" for i in range(1, 301)]
    for token in tokens[40::60]:
        apns.script[token] = [step, {}]
    configured(console, apple)
    crowd(zone, tokens)
    wait_for(lambda: push_now(zone) or left(zone) == 0, step=0.3)
    answered = {p["token"] for p in apns.pushes if p.get("status") == 200}
    assert set(tokens) <= answered
    assert zone.sql("SELECT count(*) FROM source_record WHERE push_ok = 1") == [(300,)]
    apns.script.clear()
    apns.pushes.clear()


def test_reasons_on_the_wire(zone, console, apple, apns):
    """PSH-01: what each answer does to row and device; the connection stays."""
    later = seed.now_ms() + 3600000
    steps = {"a1": {"status": 410, "reason": "Unregistered", "timestamp": later}, "a2": {"status": 400, "reason": "BadDeviceToken"},
             "a3": {"status": 429, "reason": "TooManyRequests"}, "a4": {"status": 500, "reason": "InternalServerError"},
             "a5": {"status": 400, "reason": "IdleTimeout"}, "a6": {"status": 410, "reason": "Unregistered", "timestamp": 5}, "a7": {}}
    apns.script.update({t: [s] for t, s in steps.items()})
    configured(console, apple)
    crowd(zone, steps)
    zone.sql("UPDATE source_record SET push_token_ms = ?", seed.now_ms())
    wait_for(lambda: zone.sql("SELECT count(*) FROM push WHERE attempts = 0") == [(0,)])
    rows = dict(zone.sql("SELECT r.push_token, p.last_error FROM push p JOIN source_record r ON r.id = p.record_id"))
    assert rows == {"a3": "TooManyRequests", "a4": "InternalServerError", "a5": "IdleTimeout", "a6": "Unregistered"}
    assert {t for (t,) in zone.sql("SELECT push_token FROM source_record WHERE push_ok = 0")} == {"a1", "a2"}
    assert zone.sql("SELECT count(*) FROM message") == [(0,)]
    apns.script.clear()


def test_one_connection_for_many_batches(zone, console, apple, apns):
    """PSH-01: connections are long-lived: over batches and over runs of the job."""
    configured(console, apple)
    crowd(zone, ["b1"])
    wait_for(lambda: left(zone) == 0)
    before = apns.connections
    for _ in range(3):
        crowd(zone, [f"{i:04x}" for i in range(1, 151)])
        wait_for(lambda: push_now(zone) or left(zone) == 0, step=0.2)
    assert apns.connections - before <= 4, "at most one for each child, and those that a stream limit asks for"


def test_refused_certificate_stops_everything(zone, console, apple, apns):
    """A 403 stops the pushes with one message; a new certificate lets them go at once."""
    tokens = [f"c{i:03x}" for i in range(50)]
    apns.script.update({t: [{"status": 403, "reason": "BadCertificate"}] for t in tokens})
    configured(console, apple)
    zone.log.expect("MDM0500")
    crowd(zone, tokens)
    wait_for(lambda: console.get("/push")["stopped"])
    assert console.get("/push")["stopped"]["reason"] == "BadCertificate"
    assert zone.sql("SELECT code FROM message") == [("push.refused",)]
    apns.script.clear()
    wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'apns.push' AND state = 'waiting'"))
    configured(console, apple)
    assert console.get("/push")["stopped"] is None
    wait_for(lambda: push_now(zone) or left(zone) == 0, step=0.2)
    assert zone.sql("SELECT count(*) FROM message WHERE ack_ms IS NULL") == [(0,)]
