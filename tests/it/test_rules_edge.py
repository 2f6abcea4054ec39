"""The edge: twisted paths, routes without credentials, floods and slow senders (R01, R02, R03, R08, R09, SEC-03, API-04)."""
import itertools
import os
import re
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clients import Console, enrolled, portal
from harness import ADMIN_USER
from sim.device import CHECKIN_TYPE, CONNECT_TYPE

ROOT = Path(__file__).resolve().parents[2]
# Each handler once more behind a rule that lets nobody in: whatever reaches a handler there went past the rule.
ZONE = {"extra_device": """
    RequestReadTimeout header=10 body=5,MinRate=500
    <Location "/closed/portal">
        MDMPortal On
        SetHandler mdm-portal
        Require all denied
    </Location>
    <Location "/closed/scep">
        SetHandler mdm-scep
        Require all denied
    </Location>
    <Location "/closed/mdm">
        SetHandler mdm-device
        Require all denied
    </Location>""", "extra_admin": """
    <Location "/admin/login/icon.svg">
        Require all denied
    </Location>"""}


@pytest.fixture(scope="module", params=["sqlite3"])
def db(request):
    """The database has no part in what is tested here."""
    return request.param


@pytest.fixture(scope="module")
def device(zone):
    return enrolled(zone)


class Raw:
    """Requests as bytes, so that no client library puts them right."""

    def __init__(self, zone, admin=False, sni="localhost"):
        ctx = zone.ssl_context()
        ctx.check_hostname = False
        port = zone.admin_port if admin else zone.device_port
        self.sock = ctx.wrap_socket(socket.create_connection((zone.address, port), timeout=60), server_hostname=sni)
        self.host = f"localhost:{port}"

    def ask(self, target, method="GET", host=None, headers=()):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.host}", "Connection: close", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode("latin-1"))
        return self.answer()

    def answer(self):
        data = b""
        try:
            while chunk := self.sock.recv(65536):
                data += chunk
        except (ssl.SSLError, ConnectionError):
            pass
        head, _, body = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.1 ") else None
        return status, head.decode("latin-1"), body

    def close(self):
        self.sock.close()


def raw(zone, target, admin=False, **options):
    conn = Raw(zone, admin)
    try:
        return conn.ask(target, **options)
    finally:
        conn.close()


def twists(path):
    """Ways to write a path that some part of a server may read as it."""
    parts = path.strip("/").split("/")
    first, last = parts[0], parts[-1]
    for sep in ("//", "/./", "/x/../", "%2f", "%2F", "%252f", "/%2e/", "/%2e%2e/" + first + "/", "/..%2f", "/%2e%2e%2f", "\\",
                "%5c", "/;x=1/", ";/", "/..;/", "/%00/", "%00", "/%0d%0a", "/?/", "%3f", "%23", "/.%00./"):
        yield "/" + sep.join(parts) if len(parts) > 1 else sep.join(["", *parts])
    for tail in ("/", "/.", "/..", "//", "/%2e", ";x=1", "%3bx=1", "%00", "%00.css", "%20", "%09", "\\", "%5c", "?", "?x=/../", "/x/..",
                 "/x/../", "/%2e%2e/" + last, "%2f", "%2f..", "%c0%af", "%ef%bc%8f", "%e2%80%ae", ".", "%2e", "~", "%7f"):
        yield path + tail
    for head in ("/.", "//", "/x/..", "/portal/..;", "/portal/%2e%2e", "/portal/..%2f", "/enroll/..", "/mdm/..", "/scep/..%2f..", "/%2e",
                 "/%5c..", "/icons/..", "/%2e%2e", "/%u002e%u002e"):
        yield head + path
    yield path.upper()
    yield path.title()
    yield path.replace(last, "".join(f"%{ord(c):02x}" for c in last))
    yield path.replace(last, "".join(f"%25{ord(c):02x}" for c in last))
    yield path.replace(first, f"%{ord(first[0]):02x}" + first[1:], 1)


@pytest.mark.parametrize("path,method,admin", [
    ("/closed/portal/login", "GET", False), ("/closed/portal/api/v1/session", "POST", False),
    ("/closed/scep?operation=GetCACaps", "GET", False), ("/closed/mdm/connect", "PUT", False),
    ("/admin/login/icon.svg", "GET", True)])
def test_r01_no_way_round_a_rule(zone, path, method, admin):
    """R01: no spelling of a closed path reaches the handler behind it."""
    zone.log.expect("AH01630", "AH10244")  # the rule at work, and httpd that refuses a path
    plain, _, query = path.partition("?")
    assert raw(zone, path, admin, method=method)[0] == 403
    absolute = f"https://localhost:{zone.admin_port if admin else zone.device_port}"
    for target in [*twists(plain), absolute + plain, absolute + "//" + plain, f"https://x{plain}"]:
        target += "?" + query if query and "?" not in target else ""
        status, head, body = raw(zone, target, admin, method=method)
        assert status in (400, 401, 403, 404, 405, 303), (target, status, head)
        assert status != 405 or "Allow: PUT" not in head or method == "PUT", (target, head)
        assert status != 303 or "/admin/login?next=" in head, (target, head)
        assert b"POSTPKIOperation" not in body and b"<svg" not in body and b"<form" not in body, target
        assert status != 403 or "Content-Security-Policy" not in head, target  # the rule's own, not a handler's


@pytest.mark.parametrize("path,method", [("/admin/api/v1/me", "GET"), ("/admin/index.html", "GET"), ("/admin/api/v1/devices?format=csv", "GET"),
                                         ("/admin/api/v1/session", "DELETE")])
def test_r01_console_without_a_session(zone, path, method):
    """R01: nor the console's, whose log-in page is open next door."""
    zone.log.expect("AH10244")
    for target in itertools.chain(twists(path), (f"/admin/login/..{path[6:]}", f"/admin/login/%2e%2e{path[6:]}",
                                                 f"/admin/login{path}", f"/admin/login/..;{path[6:]}", f"/admin/login%2f..{path[6:]}")):
        status, head, body = raw(zone, target, True, method=method)
        assert status in (400, 401, 403, 404, 405) or (status == 303 and "/admin/login?next=" in head), (target, status, head)
        assert b"super_admin" not in body and b"last_contact_at" not in body, target


@pytest.mark.parametrize("host", ["localhost.", "LOCALHOST", "localhost:443", "localhost.:80", "admin.localhost", "127.0.0.1", "[::1]",
                                  "localhost@evil.example", "x\\y"])
def test_r01_host_header_opens_nothing(zone, host):
    """R01, R03: no Host header brings the console to the device address, or opens it."""
    for target in ("/admin/", "/admin/login", "/admin/api/v1/me", f"https://{host}/admin/login"):
        assert raw(zone, target, host=host)[0] in (400, 404), target
    assert raw(zone, "/admin/api/v1/me", True, host=host)[0] in (400, 401)


# ---- R02, R03
def admin_routes():
    table = (ROOT / "modules/admin/admin_routes.def").read_text()
    return [(m, "/admin" + p, auth) for m, p, auth in re.findall(r'^ROUTE\("(\w+)", "([^"]+)", (\w+)', table, re.M)]


def portal_routes():
    table = (ROOT / "modules/enroll/enroll_api.c").read_text()
    return [(m, "/portal" + ("/api/v1" if api else "") + p, auth)
            for m, api, p, auth in re.findall(r'^    \{"(\w+)", (API )?"([^"]+)", MDM_AUTH_(\w+)', table, re.M)]


def filled(path):
    return re.sub(r"\{\w+\}", "00000000-0000-4000-8000-000000000001", path)


SAME = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}


def test_r02_every_route_has_a_class_and_keeps_it(zone):
    """R02: walking the tables without credentials, with rubbish ones, and with those of the other side."""
    who = portal(zone)
    wrong = [{}, {"Authorization": "Bearer mdm_" + "A" * 43}, {"Authorization": "Basic YWRtaW46eA=="},
             {"Cookie": "__Host-mdm_admin=" + "A" * 43}, {"Cookie": "mdm_admin=" + "A" * 43},
             {"Cookie": who.headers["Cookie"].replace("portal", "admin")}, {"X-Remote-User": "admin", "REMOTE_USER": "admin"}]
    routes = admin_routes()
    assert len(routes) > 40 and {r[2] for r in routes} == {"PUBLIC", "ADMIN"}
    assert [r[1] for r in routes if r[2] == "PUBLIC"] == ["/admin/login", "/admin/login", "/admin/login/{file}"]
    for (method, path, auth), headers in itertools.product(routes, wrong):
        if auth != "PUBLIC":
            assert zone.request(method, filled(path), b"{}", {**SAME, **headers}, admin=True)[0] == 401, (method, path, headers)
    console = Console(zone)
    wrong = [{}, {"Cookie": "__Host-mdm_portal=" + "A" * 43}, {"Cookie": console.headers["Cookie"]},
             {"Cookie": console.headers["Cookie"].replace("admin", "portal")}]
    routes = portal_routes()
    assert len(routes) >= 16 and {r[2] for r in routes} == {"PUBLIC", "PERSON"}
    for (method, path, auth), headers in itertools.product(routes, wrong):
        if auth != "PUBLIC":
            assert zone.request(method, filled(path), b"{}", {**SAME, **headers})[0] == 401, (method, path, headers)


def test_r02_nothing_for_debugging_is_open(zone):
    for path in ("/server-status", "/server-info", "/mdm-status", "/status", "/metrics", "/debug", "/admin/api/v1/", "/portal/api",
                 "/.git/config", "/httpd.conf", "/portal/ui/", "/portal/ui/../../httpd.conf"):
        assert zone.request("GET", path)[0] in (400, 404), path
        assert zone.request("GET", path, admin=True)[0] in (400, 401, 404), path


def test_r03_no_admin_url_on_the_device_address(zone):
    """R03: not even with a session."""
    cookie = Console(zone).headers["Cookie"]
    for method, path, _ in admin_routes():
        status, _, _ = zone.request(method, filled(path), b"{}", {**SAME, "Cookie": cookie, "Host": f"localhost:{zone.admin_port}"})
        assert status == 404 or (status == 405 and method != "GET"), (method, path)  # httpd has no PUT for files


def test_api04_no_change_by_get_or_from_elsewhere(zone):
    """API-04, R23: every changing route of both tables refuses another origin; none changes anything by GET."""
    console, who = Console(zone), portal(zone)
    for routes, cookie, admin in ((admin_routes(), console.headers["Cookie"], True), (portal_routes(), who.headers["Cookie"], False)):
        own = f"https://localhost:{zone.admin_port if admin else zone.device_port}"
        for method, path, _ in routes:
            if method == "GET":
                continue
            for head in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site", "Origin": own},
                         {"Sec-Fetch-Site": "same-site"}, {"Origin": own + ".evil.example"}, {"Origin": own.replace("https", "http")},
                         {"Referer": own}):
                sent = {"Cookie": cookie, "Content-Type": "application/json", **head}
                assert zone.request(method, filled(path), b"{}", sent, admin=admin)[0] == 403, (method, path, head)
    assert console.get("/me")["login"] == ADMIN_USER
    assert who.call("GET", "/api/v1/me")[0] == 200


# ---- R08
def put(zone, device, body, kind=CHECKIN_TYPE, path="/mdm"):
    return zone.request("PUT", path, body, {"Content-Type": kind}, cert=f"{device.files}/identity.pem")


HEAD = b'<?xml version="1.0" encoding="UTF-8"?>'
LAUGHS = HEAD + b"<!DOCTYPE plist [<!ENTITY a 'ha'>" + b"".join(
    b"<!ENTITY %c '%s'>" % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)) + b"]><plist version='1.0'><string>&j;</string></plist>"


def nested(tag, n):
    return HEAD + b"<plist version='1.0'>" + b"<%s>" % tag * n + b"</%s>" % tag * n + b"</plist>"


def dict_of(inner):
    return HEAD + b"<plist version='1.0'><dict><key>MessageType</key><string>TokenUpdate</string>" + inner + b"</dict></plist>"


HOSTILE = {
    "file": HEAD + b"<!DOCTYPE plist [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><plist version='1.0'><dict><key>MessageType</key>"
                   b"<string>&x;</string></dict></plist>",
    "http": HEAD + b"<!DOCTYPE plist SYSTEM 'http://127.0.0.1:9/x.dtd'><plist version='1.0'><dict><key>A</key><string>&y;</string></dict></plist>",
    "parameter": HEAD + b"<!DOCTYPE plist [<!ENTITY % x SYSTEM 'file:///etc/passwd'> %x;]><plist version='1.0'><dict/></plist>",
    "laughs": LAUGHS,
    "attribute": HEAD + b"<!DOCTYPE plist [<!ATTLIST plist version CDATA '1.0'><!ENTITY x 'y'>]><plist><dict/></plist>",
    "deep": nested(b"array", 40000), "deep dict": nested(b"dict", 40000),
    "flood of keys": dict_of(b"<key>k</key><string>v</string>" * 30000),
    "flood of elements": dict_of(b"<key>k</key><array>" + b"<true/>" * 140000 + b"</array>"),
    "long key": dict_of(b"<key>" + b"k" * 900000 + b"</key><true/>"),
    "include": HEAD + b"<plist version='1.0' xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='file:///etc/passwd' parse='text'/></plist>",
    "utf-16": '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><dict/></plist>'.encode("utf-16"),
    "utf-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADw-plist+AD4-+ADw-dict/+AD4-+ADw-/plist+AD4-',
    "binary cycle": b"bplist00" + b"\xa1\x00" + b"\x08" + bytes(6) + b"\x01\x01" + (1).to_bytes(8, "big") + bytes(8) + (10).to_bytes(8, "big"),
    "binary count": b"bplist00" + b"\xd0" * 8 + bytes(6) + b"\x08\x08" + b"\xff" * 24,
}


@pytest.mark.san
@pytest.mark.parametrize("name", HOSTILE)
def test_r08_hostile_plists(zone, device, name):
    """R08, SEC-03: refused with 400 or 413 by both endpoints, and no file or network is touched."""
    for kind in (CHECKIN_TYPE, CONNECT_TYPE):
        status, _, body = put(zone, device, HOSTILE[name], kind)
        assert status in (400, 413) and body == b""
    assert device.poll() == []
    text = (zone.root / "logs" / "error.log").read_text(errors="replace")
    assert "root:" not in text


@pytest.mark.san
def test_r08_hostile_json_and_forms(zone):
    """R08, SEC-03: depth, size, duplicates and floods in bodies that need no log-in."""
    def post(path, body, kind="application/json", admin=False):
        return zone.request("POST", path, body, {"Content-Type": kind, "Sec-Fetch-Site": "same-origin"}, admin=admin)[0]
    session = "/portal/api/v1/session"
    for body in (b"[" * 16000, b'{"a":' * 2500 + b"1" + b"}" * 2500, b'{"login":"a","login":"b","password":"c"}', b'"' * 9, b"\xff\xfe{}",
                 b'{"login":"\\u0000","password":"x"}', b'{"login":"\xed\xa0\x80","password":"x"}', b'{"login":1e400,"password":"x"}', b"{}" * 50):
        assert post(session, body) == 400, body[:40]
    assert post(session, b" " * 20000) == 413
    form = "application/x-www-form-urlencoded"
    for path, admin in (("/portal/login", False), ("/admin/login", True)):
        assert post(path, b"a=b&" * 5000, form, admin) in (400, 413)
        assert post(path, b"login=" + b"x" * 9000, form, admin) in (400, 413)
        assert post(path, b"login=" + b"x" * 70000, form, admin) == 413
        assert post(path, b"login=%00&password=x", form, admin) == 400
        assert post(path, b"login=%ff&password=x", form, admin) == 400
        assert post(path, b"login=%zz&password=x", form, admin) == 400
        assert post(path, b"--b\r\n", "multipart/form-data; boundary=b", admin) == 415


# ---- R09
def rss(zone):
    return sum(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) for pid in zone.child_pids()) * 1024


def flood(zone, method, target, admin, announced, kind, headers=()):
    """Sends up to 1 GB until an answer comes: (status, bytes that were taken)."""
    conn = Raw(zone, admin)
    block, sent, total = b"x" * 65536, 0, 1 << 30
    length = f"Content-Length: {total}" if announced else "Transfer-Encoding: chunked"
    try:
        conn.sock.sendall("\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {conn.host}", length, f"Content-Type: {kind}",
                                       "Sec-Fetch-Site: same-origin", *headers, "", ""]).encode())
        conn.sock.setblocking(False)
        out, answer, end = b"", b"", time.monotonic() + 60
        while sent < total and time.monotonic() < end and b"\r\n\r\n" not in answer:
            try:
                answer += conn.sock.recv(65536)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            out = out or (block if announced else b"10000\r\n" + block + b"\r\n")
            try:
                n = conn.sock.send(out)
                out, sent = out[n:], sent + n
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                time.sleep(0.001)
    except (ssl.SSLError, OSError):
        pass
    finally:
        conn.close()
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None, sent


@pytest.mark.parametrize("announced", [True, False], ids=["length", "chunked"])
@pytest.mark.parametrize("method,target,admin,kind,want", [
    ("PUT", "/mdm/checkin", False, CHECKIN_TYPE, {400}), ("PUT", "/mdm/connect", False, CONNECT_TYPE, {400}),
    ("POST", "/scep?operation=PKIOperation", False, "application/x-pki-message", {413}),
    ("GET", "/scep?operation=GetCACaps", False, "text/plain", {200}),
    ("POST", "/portal/api/v1/session", False, "application/json", {413}),
    ("POST", "/portal/login", False, "application/x-www-form-urlencoded", {413}),
    ("POST", "/portal/api/v1/enrollments", False, "application/json", {401}),
    ("GET", "/enroll/nothing", False, "text/plain", {403}), ("POST", "/enroll/nothing", False, "text/plain", {415}),
    ("POST", "/enroll/nothing", False, "application/x-www-form-urlencoded", {413}),
    ("POST", "/admin/login", True, "application/x-www-form-urlencoded", {413}),
    ("POST", "/admin/api/v1/people", True, "application/json", {401})])
def test_r09_a_gigabyte_is_not_read(zone, method, target, admin, kind, want, announced):
    """R09: a body beyond the limit is neither kept nor read to its end; the answer comes at once."""
    before = rss(zone)
    status, sent = flood(zone, method, target, admin, announced, kind)
    assert sent < 32 << 20, f"{sent >> 20} MB were read"
    assert status in want
    assert rss(zone) - before < 24 << 20


def test_rel07_memory_of_log_ins_goes_back(zone):
    """REL-07: a password's hash takes 16 MB; many at once leave nothing behind."""
    before = rss(zone)
    with ThreadPoolExecutor(12) as people:
        assert len(list(people.map(lambda _: portal(zone), range(48)))) == 48
    assert rss(zone) - before < 64 << 20


def test_r09_slow_senders_hold_nothing(zone):
    """R09: who stops in the middle of a body or header is dropped, and others are served meanwhile."""
    slow = []
    for request in (b"POST /scep?operation=PKIOperation HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\nx",
                    b"POST /portal/api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    b"Sec-Fetch-Site: same-origin\r\nContent-Length: 999\r\n\r\n{", b"PUT /mdm HTTP/1.1\r\nHost: "):
        for _ in range(10):
            conn = Raw(zone)
            conn.sock.sendall(request)
            slow.append(conn)
    assert zone.request("GET", "/scep?operation=GetCACaps")[0] == 200
    statuses = {conn.answer()[0] for conn in slow}  # each ends, in less than the time that such a connection may be silent for us
    assert statuses <= {400, 408, 503, None}, statuses
    for conn in slow:
        conn.close()


def test_r01_length_conflicts(zone):
    """R09, R44's cousin at our own door: a request with two lengths has no body at all that could become a second request."""
    smuggled = "GET /portal/login HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for headers in (["Content-Length: 5", "Content-Length: 6"], ["Content-Length: 5", "Transfer-Encoding: chunked"],
                    ["Transfer-Encoding: gzip, chunked, identity"], ["Content-Length: -1"], ["Content-Length: 0x10"], ["Content-Length: 1e3"]):
        conn = Raw(zone)
        conn.sock.sendall("\r\n".join(["POST /portal/api/v1/session HTTP/1.1", "Host: localhost", "Content-Type: application/json",
                                       "Sec-Fetch-Site: same-origin", *headers, "", "0", "", smuggled]).encode())
        status, head, body = conn.answer()
        conn.close()
        assert status in (400, 411, 413, 501) and b"<form" not in body, (headers, head)


@pytest.mark.parametrize("on", [False, True])
def test_core_dumps_hold_no_secrets(fresh_zone, on):
    """SEC-04: a child is closed to dumps and to its own user, in spite of CoreDumpDirectory, and the log says so; a directive opens it."""
    zone = fresh_zone(children=1, extra_main="MDMCoreDumps On" if on else "")
    pid = zone.child_pids()[0]
    own = int(re.search(r"^Uid:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.M)[1])
    assert (os.stat(f"/proc/{pid}/mem").st_uid == own) is on
    assert ("MDM0208" in (zone.root / "logs" / "error.log").read_text()) is not on
