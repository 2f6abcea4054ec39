"""The relay behind the gate (PXY-01, PXY-03, PXY-05, SEC-06, R44): what reaches the back end, what comes back. Nothing of it depends on
the database's engine."""
import base64
import contextlib
import hashlib
import http.client
import re
import socket
import ssl
import threading
from pathlib import Path

import pytest

import harness
import zonefiles as zf
from clients import enrolled
from mail import PATH, Post, eas_id, one_engine, post_with_device, raw  # noqa: F401
from sim.eas_server import EasServer
from sim.wbxml import Node, decode, encode

LIMIT = 2 << 20  # at one of the protocol's two addresses
ZONE = {"children": 1, "extra_device": f"ProxyTimeout 8\n<LocationMatch '(?i)default.eas$'>\nLimitRequestBody {LIMIT}\n</LocationMatch>"}
FOLDERS = Node("FH.FolderSync", Node("FH.SyncKey", "0"))
# What may reach a back end, besides what mod_proxy says of the way.
HEADERS = {"Host", "Authorization", "User-Agent", "Accept-Encoding", "Accept-Language", "Cookie", "Content-Type", "Content-Length",
           "Transfer-Encoding", "MS-ASProtocolVersion", "X-MS-PolicyKey", "X-Forwarded-For", "X-Forwarded-Host",
           "X-Forwarded-Server", "Connection"}


@pytest.fixture
def phone(post):
    """The mail client of the enrolled device: known from the first request."""
    post.back.script.clear()
    yield post.phone(device_id=eas_id(post.device))
    post.back.script.clear()


def test_options_is_the_intersection(zone, post, phone, monkeypatch):
    """PXY-05: our versions and the back end's, asked once and kept."""
    monkeypatch.setattr("sim.eas_server.VERSIONS", "2.5,12.0,12.1,14.0,14.1,16.0,16.1,17.0")
    answer = phone.options()
    assert answer.http == 200 and answer.headers["MS-ASProtocolVersions"] == "12.1,14.0,14.1,16.0,16.1"
    assert {"Sync", "Ping", "Provision"} <= set(answer.headers["MS-ASProtocolCommands"].split(",")) and answer.body == b""
    before = post.seen()
    assert phone.options().http == 200 and post.seen() == before


@pytest.mark.san
@pytest.mark.parametrize("form", ["plain", "base64"])
def test_back_end_gets_one_canonical_line(zone, post, phone, form):
    """R44, SEC-06: rebuilt from parsed parts; no header that the protocol does not need; none is dropped by another one's order; cookies of
    other servers stay away (facts 2.9), and a policy key that the server did not give goes to nobody (PRV-02)."""
    phone.form = form
    query = phone.query("FolderSync", 77)
    if form == "plain":
        query = query.replace("Cmd=FolderSync", "cmd=foldersync") + "&x=%2e%2e%2f&AttachmentName="
    body = encode(FOLDERS)
    phone.http.request("POST", "/microsoft-SERVER-activesync/Default.EAS?" + query, body, {
        **phone.headers(77), "Content-Type": "application/vnd.ms-sync.wbxml", "Cookie": f"a=b; mdm{post.row['id'][:8]}-c=d; mdm00000000-e=f", "Accept-Language": "de",
        "Connection": "keep-alive, Authorization, X-Forwarded-For, User-Agent", "X-Forwarded-For": "1.2.3.4", "Expect": "100-continue",
        "Keep-Alive": "x", "Proxy-Authorization": "Basic eA==", "Upgrade": "h2c", "TE": "trailers", "Range": "bytes=0-1",
        "X-Original-URL": "/owa", "X-HTTP-Method-Override": "DELETE", "Max-Forwards": "0", "Via": "1.1 x", "Forwarded": "for=1.2.3.4"})
    assert phone.finish().status == 1
    got = post.back.of("FolderSync")[-1]
    if form == "plain":
        assert got["target"] == (f"{PATH}?Cmd=FolderSync&User=anna&DeviceId={eas_id(post.device)}&DeviceType=iPhone")
    else:
        assert got["target"] == f"{PATH}?{phone.query('FolderSync')}"
    assert set(got["headers"]) <= HEADERS, got["headers"]
    assert got["body"] == body and got["key"] is None and got["headers"]["User-Agent"] == phone.agent
    assert got["headers"]["X-Forwarded-For"] in ("127.0.0.1", "::1") and got["headers"]["Cookie"] == "c=d"
    assert base64.b64decode(got["headers"]["Authorization"][6:]).decode() == f"{harness.PERSON}:{harness.PERSON_PASSWORD}"


WRONG_PATHS = ["/Microsoft-Server-ActiveSync/../EWS/Exchange.asmx", "/x/../Microsoft-Server-ActiveSync", "/Microsoft-Server-ActiveSync/./",
               "/Microsoft-Server-ActiveSync%2f..%2fEWS", "/%4dicrosoft-Server-ActiveSync", "//Microsoft-Server-ActiveSync",
               "/Microsoft-Server-ActiveSync//", "/Microsoft-Server-ActiveSync/%2e%2e/EWS", "/Microsoft-Server-ActiveSync/default.eas/x",
               "/Microsoft-Server-ActiveSync;x", "/EWS/Exchange.asmx", "/PowerShell",
               "/Microsoft-Server-ActiveSync\\..\\EWS", "/Microsoft-Server-ActiveSync%00", "/Microsoft-Server-ActiveSync%5c..%5cEWS"]


@pytest.mark.parametrize("path", WRONG_PATHS)
def test_only_the_one_path_is_relayed(zone, post, phone, path):
    """R44, SEC-06"""
    zone.log.expect("AH00026")  # httpd's own word for encoded slashes
    before = post.seen()
    phone.http.request("POST", f"{path}?{phone.query('FolderSync')}", encode(FOLDERS), phone.headers())
    assert 400 <= phone.finish().http < 500 and post.seen() == before


@pytest.mark.parametrize("method, code", [("GET", 501), ("HEAD", 501), ("PUT", 501), ("DELETE", 501), ("PROPFIND", 501)])
def test_other_methods(zone, post, phone, method, code):
    before = post.seen()
    phone.http.request(method, f"{PATH}?{phone.query('Sync')}", headers=phone.headers())
    assert phone.finish().http == code and post.seen() == before


SMUGGLED = [(["Content-Length: 5", "Transfer-Encoding: chunked"], b"0\r\n\r\n"), (["Content-Length: 5", "Content-Length: 6"], b"hello!"),
            (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"), (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
            (["Content-Length: +5"], b"hello"), (["Content-Length : 5"], b"hello"), (["X: y\r\n folded", "Content-Length: 5"], b"hello"),
            (["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], b"0\r\n\r\n")]


@pytest.mark.parametrize("headers, body", SMUGGLED, ids=lambda x: str(x)[:40])
def test_lengths_that_contradict(zone, post, phone, headers, body):
    """SEC-06, R44: a request has one length for both sides, or is refused; what hides behind it is never a request of its own."""
    before = post.seen()
    hidden = f"POST {PATH}?{phone.query('Search')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    own = [f"{k}: {v}" for k, v in phone.headers().items()]
    got = raw(zone, "\r\n".join([f"POST {PATH}?{phone.query('FolderSync')} HTTP/1.1", "Host: localhost", "Connection: close", *own, *headers,
                                 "", ""]).encode() + body + hidden)
    assert got.startswith(b"HTTP/1.1 ") and got.count(b"HTTP/1.1 ") == 1, got[:200]
    after = post.back.requests[before:]
    assert len(after) <= 1 and not [r for r in after if r["Cmd"] != "FolderSync"]
    for r in after:
        assert ("Content-Length" in r["headers"]) + ("Transfer-Encoding" in r["headers"]) <= 1, r["headers"]


# What the back end does, what the phone gets: code, and a word of MDM0810's line if there has to be one.
FAULTS = [({"status": 401, "headers": {"WWW-Authenticate": "Basic"}}, 503, "refuses a log-in"),
          ({"status": 451, "headers": {"X-MS-Location": "https://other.example/x"}}, 503, "451"), ({"status": 500}, 503, "500"),
          ({"status": 502}, 503, "502"), ({"status": 504}, 503, "504"), ({"status": 302, "headers": {"Location": "https://x.example/"}}, 503, "302"),
          ({"status": 404}, 503, "404"), ({"html": True}, 503, "page"), ({"status": 503, "headers": {"Retry-After": "77"}}, 503, None),
          ({"status": 403}, 403, None), ({"status": 456}, 456, None), ({"status": 507}, 507, None),
          ({"status": 457, "headers": {"X-MS-Credential-Service-Url": "https://x.example/pw"}}, 457, None), ({"status": 501}, 501, None)]


@pytest.mark.san
@pytest.mark.parametrize("step, code, word", FAULTS, ids=lambda x: str(x)[:30])
def test_what_a_back_end_may_say(zone, post, phone, step, code, word):
    """Facts 2.8, 2.9, 4: never 401 for a back end's refusal, never 500 or 502, no redirect, no page."""
    zone.log.expect("MDM0810")
    assert phone.post("FolderSync", FOLDERS).status == 1  # the mail is here: one refusal proves nothing
    post.back.script["FolderSync"] = [step]
    answer = phone.post("FolderSync", FOLDERS)
    assert answer.http == code and answer.body == b"" and answer.headers["Content-Length"] == "0"
    for name in ("WWW-Authenticate", "Location", "X-MS-Location", "Content-Type"):
        assert name not in answer.headers
    again = answer.headers["Retry-After"]
    if code == 503 and "Retry-After" not in step.get("headers", {}):
        assert 30 <= int(again) <= 90  # 60; of what had to wait, not all at once
    else:
        assert again == step.get("headers", {}).get("Retry-After")
    assert answer.headers["X-MS-Credential-Service-Url"] == (step["headers"]["X-MS-Credential-Service-Url"] if code == 457 else None)
    line = zone.log.has("MDM0810", wait=harness.PATIENCE if word else 0)
    assert (word in line.raw) if word else line is None
    post.back.script.clear()
    assert phone.post("FolderSync", FOLDERS).status == 1


@pytest.mark.parametrize("version, code, status", [("12.1", 449, 0), ("14.1", 200, 142)])
def test_a_policy_that_the_back_end_no_longer_knows(zone, post, phone, version, code, status):
    """Facts 2.3, 4: 449 of a back end in the words of the phone's version."""
    phone.version = version
    post.back.script["FolderSync"] = [{"status": 449}]
    answer = phone.post("FolderSync", FOLDERS)
    assert (answer.http, answer.status) == (code, status)


def test_answers_pass_with_their_headers(zone, post, phone):
    post.back.script["Sync"] = [{"status": 200, "headers": {
        "Set-Cookie": "X-BackEndCookie=1; path=/", "X-MS-RP": "2.5,12.0", "X-MS-ASThrottle": "x", "MS-Server-ActiveSync": "15.2",
        "X-FEServer": "INTERNAL1", "X-Powered-By": "x", "WWW-Authenticate": "Basic", "Connection": "X-MS-RP2"}}]
    answer = phone.post("Sync", body=b"")
    assert answer.http == 200 and answer.body == b""
    for name in ("X-MS-RP", "X-MS-ASThrottle", "MS-Server-ActiveSync"):
        assert answer.headers[name], name
    assert answer.headers["Set-Cookie"] == f"mdm{post.row['id'][:8]}-X-BackEndCookie=1; path=/"
    for name in ("X-FEServer", "X-Powered-By", "WWW-Authenticate"):
        assert name not in answer.headers


@pytest.mark.san
@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_broken_before_the_answer(zone, post, phone, fault):
    """A back end that resets or says nothing: 503 for a first request and for a later one of the same connection alike."""
    zone.log.expect("AH01102", "AH00898", "AH01110", "MDM0810")
    for _ in range(2):
        post.back.script["FolderSync"] = [{fault: True}]
        answer = phone.post("FolderSync", FOLDERS)
        assert answer.http == 503 and int(answer.headers["Retry-After"]) > 0 and answer.body == b""
        post.back.script.clear()
        assert phone.post("FolderSync", FOLDERS).status == 1


@pytest.mark.san
def test_cut_within_the_answer(zone, post, phone):
    """The phone notices: it gets no whole answer, and no error that would make it load everything again."""
    zone.log.expect("MDM0831", "MDM0810")
    post.back.script["FolderSync"] = [{"cut": True}]
    try:
        assert phone.post("FolderSync", FOLDERS).http == 503  # noticed before a byte was passed on
    except (OSError, http.client.HTTPException):
        pass
    phone.close()
    post.back.script.clear()
    assert phone.post("FolderSync", FOLDERS).status == 1


def test_dead_back_end(zone, post, phone):
    """Nobody listens: 503, also for OPTIONS that were never answered."""
    zone.log.expect("AH00957", "AH01114", "AH00898", "AH00959")
    post.edit(port=zf.free_port())
    try:
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http == 503)
        answer = harness.wait_for(lambda: (a := phone.options()).http == 503 and a)
        assert int(answer.headers["Retry-After"]) == 60
    finally:
        post.edit(port=post.back.port)
        post.ready()
    assert phone.post("FolderSync", FOLDERS).status == 1


@pytest.mark.parametrize("version", ["12.1", "14.1"])
def test_chunked_upload(zone, post, phone, version):
    """Facts 2.9: phones may send chunked bodies."""
    phone.version = version
    mime = b"Subject: x\r\n\r\n" + b"a" * 70000
    body = mime if version == "12.1" else encode(Node("CM.SendMail", Node("CM.ClientId", "1"), Node("CM.Mime", mime)))
    kind = "message/rfc822" if version == "12.1" else "application/vnd.ms-sync.wbxml"
    phone.http.request("POST", f"{PATH}?{phone.query('SendMail')}", iter([body[:5], body[5:60000], body[60000:]]),
                       {**phone.headers(), "Content-Type": kind}, encode_chunked=True)
    assert phone.finish().http == 200 and post.back.boxes[harness.PERSON].sent.pop() == mime


def memory(zone):
    """KB that the children have in memory of their own, at most so far."""
    return sum(int(line.split()[1]) for pid in zone.child_pids() for line in Path(f"/proc/{pid}/status").read_text().splitlines()
               if line.startswith("RssAnon:"))


def test_large_bodies_stream(zone, post, phone):
    """PXY-01, R09: 100 MB up and 100 MB down while the server's memory stays as it is."""
    size, mime = 100 << 20, b"Subject: x\r\n\r\n" + b"x" * (100 << 20)
    phone.version, most, done = "12.1", [0], threading.Event()
    assert phone.post("FolderSync", FOLDERS).http == 200
    before = memory(zone)

    def watch():
        while not done.wait(0.02):
            most[0] = max(most[0], memory(zone))
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert phone.send(mime).http == 200
        assert len(post.back.boxes[harness.PERSON].sent.pop()) == len(mime)
        post.back.requests[-1]["body"] = b""
        post.back.script["GetAttachment"] = [{"status": 200, "body": b"y" * size}]
        assert len(phone.post("GetAttachment", body=b"").body) == size
    finally:
        done.set()
        watcher.join()
    assert most[0] - before < 16 << 10, (before, most[0])


@pytest.mark.san
def test_body_over_the_limit(zone, post, phone):
    """R09: refused by its length before anything of it is read; a chunked one when it has become too long."""
    zone.log.expect("AH01588", "AH02608", "AH01097")
    sent, before = len(post.back.boxes[harness.PERSON].sent), post.seen()
    phone.http.putrequest("POST", f"{PATH}/default.eas?{phone.query('SendMail')}")
    for name, value in {**phone.headers(), "Content-Type": "message/rfc822", "Content-Length": str(LIMIT + 1)}.items():
        phone.http.putheader(name, value)
    phone.http.endheaders()
    assert phone.finish().http == 413 and post.seen() == before
    phone.close()
    part = b"z" * (1 << 16)
    phone.http.putrequest("POST", f"{PATH}/default.eas?{phone.query('SendMail')}")
    for name, value in {**phone.headers(), "Content-Type": "message/rfc822", "Transfer-Encoding": "chunked"}.items():
        phone.http.putheader(name, value)
    phone.http.endheaders()
    try:
        for _ in range(33):
            phone.http.send(b"10000\r\n" + part + b"\r\n")
        code = phone.finish().http
    except ConnectionError:  # the server has answered and closed while we were still sending
        code = 413
    assert code == 413 and len(post.back.boxes[harness.PERSON].sent) == sent
    phone.close()


def test_phone_that_leaves_within_its_mail(zone, post, phone):
    """Half a body: the back end never has a whole mail."""
    zone.log.expect("AH02608", "AH01097")
    sent = len(post.back.boxes[harness.PERSON].sent)
    phone.version = "12.1"
    phone.http.putrequest("POST", f"{PATH}?{phone.query('SendMail')}")
    for name, value in {**phone.headers(), "Content-Type": "message/rfc822", "Content-Length": "100000"}.items():
        phone.http.putheader(name, value)
    phone.http.endheaders(b"x" * 50000)
    phone.close()
    assert phone.post("FolderSync", FOLDERS).http == 200
    assert len(post.back.boxes[harness.PERSON].sent) == sent


def test_user_name_in_the_form_of_the_server(zone, post, phone):
    """EAS-03: log-in and User= are written as the back end wants them, in both query forms."""
    try:
        for change, want in [({"user_form": "domain_user", "domain": "CORP"}, "CORP\\anna"), ({"user_form": "mail"}, "anna@example.org")]:
            post.edit(**change)
            for phone.form in ("plain", "base64"):
                def rewritten():
                    assert phone.post("FolderSync", FOLDERS).status == 1
                    got = post.back.of("FolderSync")[-1]
                    login = base64.b64decode(got["headers"]["Authorization"][6:]).decode()
                    return got["User"] == want and login == f"{want}:{harness.PERSON_PASSWORD}"
                harness.wait_for(rewritten)
    finally:
        post.edit(user_form="as_typed")
        post.ready()


def test_back_end_over_tls(zone, post, phone, tmp_path):
    """R46, SEC-06: verified by default. The right certificate is talked to, another one is not."""
    contexts = {}
    ca, key = zf.load_ca(zone.tls_dir)
    other, other_key = zf.make_ca("Somebody else's CA")
    for name, (authority, authority_key, host) in {"right": (ca, key, "localhost"), "unknown": (other, other_key, "localhost"),
                                                   "name": (ca, key, "other.example")}.items():
        cert, cert_key = zf.issue(authority, authority_key, host, dns=[host])
        pem = tmp_path / name
        pem.write_bytes(cert.public_bytes(zf.serialization.Encoding.PEM) + zf._pem_key(cert_key))
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        contexts[name].load_cert_chain(pem)
    zone.log.expect("AH00898", "AH01084", "AH01097", "AH02411", "AH00961", "AH02040", "AH02039", "AH01102", "AH02005", "AH02032", "AH01110",
                    "AH00957", "AH01114")
    old = f"/eas-servers/{post.row['id']}"
    for name, code in (("right", 200), ("unknown", 503), ("name", 503)):
        secure = Post(zone, context=contexts[name])
        order = f"/sources/{secure.row['sources'][0]['id']}/eas-servers"
        try:
            status, headers, _ = secure.console.call("GET", order)
            status, _, now = secure.console.call("PUT", order, {"servers": [secure.row["id"]]}, If_Match=headers["ETag"])
            assert status == 200, now
            if code == 200:
                harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 1 and secure.back.of("FolderSync"))
            else:
                harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http == 503)
                assert not secure.back.of("FolderSync")
        finally:
            headers = secure.console.call("GET", order)[1]
            secure.console.call("PUT", order, {"servers": [post.row["id"]]}, If_Match=headers["ETag"])
            secure.close()
    assert post.console.get(old)
    post.ready()


def self_signed(tmp_path, name):
    """A context of a server that nobody knows, and the fingerprint that an administrator accepts."""
    ca, key = zf.make_ca("Nobody's CA")
    cert, cert_key = zf.issue(ca, key, "other.example", dns=["other.example"])
    pem = tmp_path / name
    pem.write_bytes(cert.public_bytes(zf.serialization.Encoding.PEM) + zf._pem_key(cert_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, hashlib.sha256(cert.public_bytes(zf.serialization.Encoding.DER)).hexdigest()


@pytest.mark.san
def test_only_the_accepted_certificate(zone, post, phone, tmp_path):
    """EAS-01: the server must show the very certificate that was accepted: of an authority and a name that nobody knows, and no other."""
    zone.log.expect("AH00898", "AH01084", "AH01097", "AH02039", "AH02005", "AH02032", "AH01110", "AH00957", "AH01114", "AH02008", "MDM0003")
    context, right = self_signed(tmp_path, "right")
    secure = Post(zone, context=context)
    order = f"/sources/{secure.row['sources'][0]['id']}/eas-servers"

    def choose(server):
        status, _, now = secure.console.call("PUT", order, {"servers": [server]}, If_Match=secure.console.call("GET", order)[1]["ETag"])
        assert status == 200, now

    def accept(fingerprint):
        zone.sql("UPDATE eas_server SET pin = ? WHERE id = ?", fingerprint, secure.row["id"])
        zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('eas_server', ?, 0)", secure.row["id"])
    try:
        accept(right)
        choose(secure.row["id"])
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 1 and secure.back.of("FolderSync"))
        accept("0" * 64)
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http == 503)
        seen = len(secure.back.of("FolderSync"))
        assert phone.post("FolderSync", FOLDERS).http == 503 and len(secure.back.of("FolderSync")) == seen
    finally:
        choose(post.row["id"])
        secure.close()
    post.ready()


def test_a_mailbox_that_was_moved(zone, post, phone):
    """Facts 2.9: 451 to a server that is set up here is followed by us, once; the phone hears nothing of it."""
    other = EasServer({harness.PERSON: harness.PERSON_PASSWORD})
    source = post.row["sources"][0]["id"]
    row = post.console.post("/eas-servers", {"name": "New home", "host": "localhost", "port": other.port, "tls": False, "sources": [source]})
    try:
        post.back.script["FolderSync"] = [{"status": 451, "headers": {"X-MS-Location": "https://localhost/Microsoft-Server-ActiveSync"}}]
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 1)
        assert other.of("FolderSync") and "X-MS-Location" not in phone.post("FolderSync", FOLDERS).headers
        other.script["FolderSync"] = [{"status": 451, "headers": {"X-MS-Location": "http://127.0.0.1/"}}]
        zone.log.expect("MDM0810")
        assert phone.post("FolderSync", FOLDERS).http == 503
    finally:
        post.back.script.clear()
        post.console.call("DELETE", f"/eas-servers/{row['id']}", If_Match=f'"{post.console.get("/eas-servers/" + row["id"])["version"]}"')
        other.close()


ODD = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
       b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
       b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n", b"HTTP/1.1 200 OK\r\nX y: z\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"hello\r\n\r\n",
       b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 101 + b"\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 9000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
       b"HTTP/1.1 100 Continue\r\n\r\n" * 11 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 101 Switching\r\n\r\n",
       b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"]


@pytest.mark.san
def test_answers_that_are_no_http(zone, post, phone):
    """PXY-01: what two readers could understand differently is understood by nobody: 503, and the connection is not used again."""
    zone.log.expect("MDM0810", "MDM0831", "AH00957", "MDM0003")
    assert phone.post("FolderSync", FOLDERS).status == 1
    listener, answers = socket.create_server(("127.0.0.1", 0)), list(ODD)

    def serve():
        while answers:
            with listener.accept()[0] as peer:
                peer.settimeout(5)
                with contextlib.suppress(OSError):
                    if b"OPTIONS " in peer.recv(65536):
                        continue
                    peer.sendall(answers.pop(0) if answers else b"")
                    peer.recv(1)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    row = post.row["id"]
    old = post.row["port"]
    zone.sql("UPDATE eas_server SET port = ? WHERE id = ?", listener.getsockname()[1], row)
    zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('eas_server', ?, 0)", row)
    try:
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http == 503)
        for _ in range(len(ODD) - 1):
            assert phone.post("FolderSync", FOLDERS).http == 503
        harness.wait_for(lambda: not answers)
    finally:
        zone.sql("UPDATE eas_server SET port = ? WHERE id = ?", old, row)
        zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('eas_server', ?, 0)", row)
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http == 200)
        post.ready()
        listener.close()


@pytest.mark.parametrize("more, word", [("Protocols h2 http/1.1", "MDM0821"), ("Protocols http/1.1", None)])
def test_http2_is_refused_at_the_start(factory, more, word):
    """PXY-03: httpd -t says it, with the directive to set."""
    zone = factory.zone("sqlite3", extra_device=more)
    zone.prepare()
    code, said = zone.config_test()
    assert (code != 0 and word in said and "Protocols http/1.1" in said) if word else code == 0, said
    zone.close()


@pytest.mark.parametrize("missing, words", [("mod_proxy|ProxyTimeout", ("MDM0820", "mod_proxy")),
                                            ("SSLProxyVerify", ("MDM0824", "SSLProxyVerify require"))])
def test_what_the_relay_needs_is_checked_at_the_start(factory, missing, words):
    """PXY-03, R46: httpd -t says it."""
    zone = factory.zone("sqlite3")
    zone.prepare()
    conf = zone.root / "httpd.conf"
    conf.write_text("\n".join(x for x in conf.read_text().splitlines() if not re.search(missing, x)))
    code, said = zone.config_test()
    assert code != 0 and all(word in said for word in words), said
    zone.close()


def test_address_filter_holds_for_mail(factory):
    """ACC-03, GATE-06: a client from an address that may not come is asked to come again; nothing reaches the back end."""
    zone = factory.zone("sqlite3", extra_main='MDMAccessRule endpoint deny "127.0.0.0/8, ::1" "nobody"').start()
    post = Post(zone)
    try:
        answer = post.phone().options()
        assert answer.http == 503 and int(answer.headers["Retry-After"]) > 0 and post.seen() == 0
    finally:
        post.close()
        zone.close()
