"""Test authentication of an ActiveSync server with a live account, and where such tests may not go (EAS-01..03, SEC-04, SEC-08, UI-01)."""
import http.client
import json
import socket
import ssl
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
import zonefiles as zf
from mail import Post
from slapd import Slapd
from sim.device import Portal
from sim.eas_server import EasServer

STEPS = ["dns", "tcp", "tls", "user", "options", "versions", "foldersync"]
PASSWORD = "Secret:with-colon-9"


@pytest.fixture(scope="module")
def contexts(factory, tmp_path_factory):
    """Server side TLS: of the trusted authority, of another one (twice), of the trusted one for another name."""
    ca, key = zf.load_ca(factory.tls)
    other, other_key = zf.make_ca("Somebody else's CA")
    made, folder = {}, tmp_path_factory.mktemp("tls")
    for name, (authority, authority_key, host) in {"right": (ca, key, "localhost"), "unknown": (other, other_key, "localhost"),
                                                   "changed": (other, other_key, "localhost"), "name": (ca, key, "other.example")}.items():
        cert, cert_key = zf.issue(authority, authority_key, host, dns=[host])
        (folder / name).write_bytes(cert.public_bytes(zf.serialization.Encoding.PEM) + zf._pem_key(cert_key))
        made[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made[name].load_cert_chain(folder / name)
    return made


@pytest.fixture
def post(zone, contexts):
    """Makes back ends: post(context="right", **members of the server)."""
    made = []

    def make(context="right", **server):
        made.append(Post(zone, users={harness.PERSON: PASSWORD}, context=contexts.get(context), **server))
        return made[-1]
    yield make
    for one in made:
        one.close()


def ask(post, login=harness.PERSON, password=PASSWORD):
    """{step: (ok, text)} in order; every step has a time."""
    steps = post.console.post(f"/eas-servers/{post.row['id']}/test", {"login": login, "password": password})["steps"]
    assert all(s["ms"] >= 0 for s in steps), steps
    return {s["step"]: (s["ok"], s["text"]) for s in steps}, steps


def test_all_steps_with_a_live_account(zone, post):
    """EAS-02: every step with result and time, the certificate shown; the password is nowhere afterwards (SEC-04)."""
    back = post()
    said, steps = ask(back)
    assert [s["step"] for s in steps] == STEPS and all(s["ok"] for s in steps), steps
    shown = steps[2]["certificate"]
    assert shown["accepted"] and "localhost" in shown["subject"] and shown["issuer"] and len(shown["sha256"]) == 64
    assert shown["not_before"] < shown["not_after"]
    assert said["user"][1] == harness.PERSON and "14.1" in said["versions"][1] and "folders" in said["foldersync"][1]
    synced = back.back.of("FolderSync")[0]
    assert (synced["User"], synced["version"]) == (harness.PERSON, "16.1")
    ask(back)
    assert {r["DeviceId"] for r in back.back.of("FolderSync")} == {synced["DeviceId"]}  # one partnership, however often
    zone.log.read()
    assert not [x for x in zone.log.lines if PASSWORD in x.raw]
    assert not [r for r in zone.sql("SELECT detail FROM audit") if PASSWORD in str(r[0])]


def test_certificate_is_compared_and_accepted(post, contexts):
    """EAS-01, R46: an unknown one ends the test before any password is sent; accepted, it is held to; nothing else will do."""
    back = post("unknown")
    said, steps = ask(back)
    assert [s["step"] for s in steps] == STEPS[:3] and not said["tls"][0] and not back.seen()
    shown = steps[2]["certificate"]
    assert not shown["accepted"] and "Somebody else's CA" in shown["issuer"]
    path = f"/eas-servers/{back.row['id']}/certificate"
    assert back.console.call("PUT", path, {"sha256": shown["sha256"]}, If_Match='"1"')[0] == 200
    said, steps = ask(back)
    assert all(s["ok"] for s in steps) and steps[2]["certificate"]["accepted"] and "accepted" in said["tls"][1]
    asked = back.seen()
    changed = EasServer({harness.PERSON: PASSWORD}, context=contexts["changed"])
    try:
        back.edit(port=changed.port)  # drops the pin
        version = back.console.get(f"/eas-servers/{back.row['id']}")["version"]
        assert back.console.call("PUT", path, {"sha256": shown["sha256"]}, If_Match=f'"{version}"')[0] == 200
        said, steps = ask(back)
        assert [s["step"] for s in steps] == STEPS[:3] and "another certificate" in said["tls"][1]
        assert steps[2]["certificate"]["sha256"] != shown["sha256"] and not changed.requests and back.seen() == asked
    finally:
        changed.close()


def test_certificate_for_another_name(post):
    back = post("name")
    said, steps = ask(back)
    assert list(said)[-1] == "tls" and not said["tls"][0] and not back.seen() and "other.example" in steps[2]["certificate"]["subject"]


@pytest.mark.parametrize("command, script, ok, words", [
    ("OPTIONS", {"status": 401}, False, "password is wrong"), ("OPTIONS", {"status": 403}, False, "403"),
    ("OPTIONS", {"html": True}, False, "web page"), ("OPTIONS", {"reset": True}, False, ""), ("OPTIONS", {"status": 302, "headers": {
        "Location": "https://login.example/\tx"}}, False, "https://login.example/"), ("OPTIONS", {"status": 503}, False, "busy"),
    ("OPTIONS", {"status": 200, "headers": {"MS-ASProtocolVersions": "2.5,12.0,<b>"}}, False, "2.5"),
    ("OPTIONS", {"status": 200, "headers": {"MS-ASProtocolVersions": "12.1"}, "body": b"x" * 70000}, False, ""),
    ("FolderSync", {"status": 401}, False, "password is wrong"), ("FolderSync", {"status": 403}, False, "403"),
    ("FolderSync", {"status": 449}, True, "policy"), ("FolderSync", {"eas": 142}, True, "policy"),
    ("FolderSync", {"status": 451, "headers": {"X-MS-Location": "https://east.example/Microsoft-Server-ActiveSync"}}, False, "east.example"),
    ("FolderSync", {"html": True}, False, "web page"), ("FolderSync", {"eas": 126}, False, "does not let"),
    ("FolderSync", {"eas": 177}, False, "too many"), ("FolderSync", {"eas": 110}, False, "110"), ("FolderSync", {"cut": True}, False, ""),
    ("FolderSync", {"status": 500}, False, "500"), ("FolderSync", {"status": 200}, False, "web page")])
def test_answers_of_servers(post, command, script, ok, words):
    """EAS-02: what a server says becomes a sentence; nothing behind a failure is asked."""
    back = post(None)
    back.back.script[command] = [script]
    said, steps = ask(back)
    last = steps[-1]
    want = {"OPTIONS": "versions" if "2.5" in words else "options", "FolderSync": "foldersync"}[command]
    assert (last["step"], last["ok"]) == (want, ok) and words in last["text"] and last["text"], last
    assert said["tls"] == (True, "not used: passwords travel in clear")
    if command == "OPTIONS":
        assert not back.back.of("FolderSync")


def test_wrong_password_and_unknown_people(post):
    """EAS-02: each is said for itself; who is unknown to the user sources is still tried at the server."""
    back = post()
    said, _ = ask(back, password="wrong")
    assert said["user"][0] and list(said)[-1] == "options" and "401" in said["options"][1]
    back.back.users["nobody"] = "x"
    back.back.boxes["nobody"] = back.back.boxes[harness.PERSON]
    said, steps = ask(back, "nobody", "x")
    assert [s["step"] for s in steps] == STEPS and not said["user"][0] and "user source" in said["user"][1] and said["foldersync"][0]


def test_forms_of_names(zone, post):
    r"""EAS-02, EAS-03: domain\user and e-mail; a missing address is said by name of the cure."""
    back = post(None, domain="CORP", user_form="domain_user")
    zone.sql("INSERT INTO user_domain (source_id, domain) VALUES (?, 'house')", back.row["sources"][0]["id"])
    said, _ = ask(back, f"House\\{harness.PERSON}")
    assert said["user"] == (True, f"CORP\\{harness.PERSON}") and back.back.of("FolderSync")[-1]["User"] == f"CORP\\{harness.PERSON}"
    back.edit(user_form="as_typed")
    said, _ = ask(back, "anna@missing.example")
    assert not said["user"][0] and "address" in said["user"][1] and said["options"][0]
    was = zone.sql("SELECT mail, mail_key FROM person WHERE login = ?", harness.PERSON)[0]
    try:
        zone.sql("UPDATE person SET mail = '', mail_key = '' WHERE login = ?", harness.PERSON)
        back.edit(user_form="mail")
        said, steps = ask(back)
        assert steps[-1]["step"] == "user" and not said["user"][0] and "e-mail" in said["user"][1] and "source has none" in said["user"][1]
        zone.sql("UPDATE person SET mail = ?, mail_key = ? WHERE login = ?", "anna@corp.example", "anna@corp.example", harness.PERSON)
        for typed in (harness.PERSON, "Anna@corp.example"):
            said, _ = ask(back, typed)
            assert said["user"] == (True, "anna@corp.example") and said["foldersync"][0]
    finally:
        zone.sql("UPDATE person SET mail = ?, mail_key = ? WHERE login = ?", *was, harness.PERSON)
        zone.sql("DELETE FROM user_domain WHERE domain = 'house'")


def test_dead_and_silent_servers(zone, post):
    """REL-04: no name, no port, a port that never speaks: each ends, at its step."""
    back = post()
    back.edit(host="nowhere.invalid")
    said, _ = ask(back)
    assert list(said) == ["dns"] and not said["dns"][0]
    back.edit(host="localhost", port=zf.free_port())
    said, _ = ask(back)
    assert list(said) == ["dns", "tcp"] and not said["tcp"][0] and "refused" in said["tcp"][1]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        back.edit(port=silent.getsockname()[1])
        said, steps = ask(back)
        assert list(said) == STEPS[:3] and not said["tls"][0] and "certificate" not in steps[2]


def test_requests_of_the_api(post):
    """API-04: fields are named, unknown ones and servers refused, other roles as well."""
    back = post(None)
    path = f"/eas-servers/{back.row['id']}/test"
    for field, body in [("login", {"password": "x"}), ("password", {"login": "x"}), ("password", {"login": "x", "password": ""}),
                        ("login", {"login": "a:b", "password": "x"}), ("login", {"login": "a\nb", "password": "x"}),
                        ("login", {"login": "x" * 257, "password": "x"}), ("host", {"login": "x", "password": "x", "host": "y"})]:
        status, _, said = back.console.call("POST", path, body)
        assert (status, said["field"]) == (400, field), said
    assert back.console.call("POST", "/eas-servers/00000000-0000-4000-8000-00000000dead/test", {"login": "x", "password": "x"})[0] == 404
    assert not back.seen()


def test_steps_come_one_by_one_and_hold_no_database(fresh_zone):
    """UI-01, house rule: each line is sent as soon as its step has ended; servers that hang keep no database connection."""
    zone = fresh_zone(children=1, threads=16, extra_main="MDMDatabaseConnections 2")
    back = Post(zone, users={harness.PERSON: PASSWORD})
    back.back.script["OPTIONS"] = [{"hang": True}]
    at = urllib.parse.urlsplit(back.console.base)

    def begin(_):
        wire = http.client.HTTPSConnection(at.hostname, at.port, timeout=30, context=zone.ssl_context())
        wire.request("POST", f"{at.path}/api/v1/eas-servers/{back.row['id']}/test", json.dumps({"login": harness.PERSON, "password": PASSWORD}),
                     {**back.console.headers, "Content-Type": "application/json", "Accept": "application/x-ndjson"})
        answer = wire.getresponse()
        assert answer.status == 200 and answer.headers["Content-Type"] == "application/x-ndjson"
        return wire, answer, [json.loads(answer.readline())["step"] for _ in range(2)]
    with ThreadPoolExecutor(5) as pool:
        held = list(pool.map(begin, range(5)))
    assert [first for _, _, first in held] == [["dns", "tcp"]] * 5
    harness.wait_for(lambda: back.seen() == 5)
    assert back.console.get("/eas-servers")["items"]  # while five tests hang
    back.close()
    for wire, answer, _ in held:
        rest = [json.loads(line) for line in answer.read().splitlines()]
        assert [(s["step"], s["ok"]) for s in rest] == [("tls", True), ("user", True), ("options", False)]
        wire.close()


def test_own_addresses_are_refused_unless_allowed(fresh_zone):
    """SEC-08: connection tests and directories, by address and by name; nothing reaches the service."""
    zone = fresh_zone(children=1, extra_main="MDMOutboundLocal Off")
    zone.log.expect("MDM0120", "MDM0121")
    directory = Slapd([("carla", "carla-Pass-1")])
    back = Post(zone, users={harness.PERSON: PASSWORD})
    try:
        for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "169.254.169.254"):
            back.edit(host=host)
            said, _ = ask(back)
            assert list(said) == ["dns"] and not said["dns"][0] and "MDMOutboundLocal" in said["dns"][1], host
        assert not back.seen()
        made = back.console.post("/sources", {"name": "Corp", "secret": "x", "domains": ["corp"], "config": directory.config("none")})
        steps = back.console.post(f"/sources/{made['id']}/test")["steps"]
        assert [s["step"] for s in steps] == ["dns"] and "MDMOutboundLocal" in steps[0]["text"]
        portal = Portal(zone.portal_url, str(zone.tls_dir / "ca.pem"))
        assert portal.call("POST", "/api/v1/session", {"login": "carla@corp", "password": "carla-Pass-1"})[0] == 503
    finally:
        back.close()
        directory.close()
