"""Notices by mail, against a real mail server and scripted bad ones (MAIL-01, MAIL-02, REL-01, REL-04, SEC-04, R05, R16, R24, R30)."""
import json
import uuid

import pytest

import harness
import seed
import smtpd
import zonefiles as zf
from clients import Console, enrolled, new_device
from mail import Post

FROM = "mdm@example.org"
PLAIN = {"tls": "none", "user": "", "password": "", "from": FROM, "from_name": "Device management"}
HOSTILE = "<b>Eve</b>\r\nBcc: victim@example.org ${portal.url} \u202egnp"


@pytest.fixture
def anna(zone):
    ident = seed.person_id(zone, harness.PERSON)
    zone.sql("UPDATE person SET mail = 'anna@example.org' WHERE id = ?", ident)
    return ident


@pytest.fixture(autouse=True)
def nothing_is_left(zone, console):
    yield
    assert console.call("PUT", "/notifications/server", {"host": ""})[0] == 200
    zone.sql("DELETE FROM notice")
    zone.sql("DELETE FROM notice_template")


@pytest.fixture
def tls(zone):
    """A mail server of the zone's authority."""
    made = []

    def start(**options):
        made.append(smtpd.Server(smtpd.context(zone.tls_dir), **options))
        return made[-1]
    yield start
    for one in made:
        one.stop()


@pytest.fixture
def scripted():
    made = []

    def start(**answers):
        made.append(smtpd.Scripted(**answers))
        return made[-1]
    yield start
    for one in made:
        one.stop()


def server(console, port, **more):
    status, _, body = console.call("PUT", "/notifications/server", {"host": "localhost", "port": port, **PLAIN, **more})
    assert status == 200, body
    return body


def secure(console, port, mode="starttls", **more):
    return server(console, port, **{"tls": mode, "user": smtpd.USER, "password": smtpd.PASSWORD, **more})


def add(zone, person, event="email_none", key=None, device="iPhone of Anna", vars=None, device_id=None, due=1):
    """As mdm_notice_add() writes it."""
    ident, now = str(uuid.uuid4()), seed.now_ms()
    zone.sql("INSERT INTO notice (id, key, event, person_id, device_id, device_name, vars, due_ms, until_ms, created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
             ident, key or ident, event, person, device_id, device, json.dumps(vars or {}), due, now + 86400000, now)
    return ident


def hasten(zone):
    """The job runs at once, as if the time of its next try had come."""
    zone.sql("DELETE FROM zone_setting WHERE name = 'smtp.away'")
    zone.sql("UPDATE notice SET due_ms = 1 WHERE state = 'waiting'")
    zone.run_soon("mail")


def row(zone, ident):
    return dict(zip(("state", "attempts", "error", "due"), zone.sql("SELECT state, attempts, error, due_ms FROM notice WHERE id = ?", ident)[0]))


def ended(zone, ident, state="sent"):
    return harness.wait_for(lambda: row(zone, ident)["state"] == state and row(zone, ident))


def away(zone):
    """The mail server is known to be away; with how many tries."""
    rows = zone.sql("SELECT value FROM zone_setting WHERE name = 'smtp.away'")
    return json.loads(rows[0][0])["tries"] if rows else 0


# ---- a real mail server ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", ["starttls", "tls"])
def test_delivered_over_tls_with_log_in(zone, console, anna, tls, mode):
    """MAIL-01: several notices over one connection; what arrives is what the template says, in both forms."""
    mta = tls(smtps=mode == "tls")
    secure(console, mta.port, mode)
    idents = [add(zone, anna, device=f"iPad {n}") for n in range(5)]
    mta.sessions = 0
    hasten(zone)
    for ident in idents:
        assert ended(zone, ident)["attempts"] == 1
    assert mta.sessions <= 2 and set(mta.logins) == {smtpd.USER.encode()}
    sender, rcpt, mail, raw = next(m for m in mta.mail if "iPad 3" in m[2]["Subject"])
    assert (sender, rcpt) == (FROM, ["anna@example.org"]) and mail["Subject"] == "No company mail on iPad 3"
    assert mail["From"].addresses[0].display_name == "Device management" and mail["To"].addresses[0].addr_spec == "anna@example.org"
    assert mail["Message-ID"] == f"<{idents[3]}@example.org>" and mail["Auto-Submitted"] == "auto-generated" and mail["Date"]
    assert mail.get_content_type() == "multipart/alternative" and [p.get_content_type() for p in mail.iter_parts()] == ["text/plain", "text/html"]
    text, html = (p.get_content() for p in mail.iter_parts())
    assert f"{zone.public_url}/enroll/" in text and "“iPad 3”" in text and f'href="{zone.public_url}/enroll/"' in html and html.startswith("<!DOCTYPE html>")
    assert all(len(line) <= 998 and all(c < 127 for c in line) for line in raw.split(b"\r\n"))


def test_language_of_the_zone(zone, console, anna, tls):
    """MAIL-02"""
    mta = tls()
    secure(console, mta.port)
    assert console.call("PUT", "/notifications/settings", {"language": "de"})[0] == 200
    try:
        ident = add(zone, anna)
        hasten(zone)
        ended(zone, ident)
    finally:
        assert console.call("PUT", "/notifications/settings", {"language": "en"})[0] == 200
    mail = mta.mail[0][2]
    assert mail["Subject"] == "Keine Firmen-E-Mail auf iPhone of Anna" and mail["Content-Language"] == "de"


def test_names_stay_text(zone, console, anna, tls):
    """R05, R24: a hostile device and person change no header, no markup, and no variable is read twice."""
    mta = tls()
    secure(console, mta.port)
    was = zone.sql("SELECT name FROM person WHERE id = ?", anna)[0][0]
    zone.sql("UPDATE person SET name = ? WHERE id = ?", HOSTILE, anna)
    try:
        ident = add(zone, anna, device=HOSTILE)
        hasten(zone)
        ended(zone, ident)
    finally:
        zone.sql("UPDATE person SET name = ? WHERE id = ?", was, anna)
    (_, rcpt, mail, _), = mta.mail
    assert rcpt == ["anna@example.org"] and mail["Bcc"] is None and len(mail["To"].addresses) == 1
    assert "<b>Eve</b>" in mail["Subject"] and "${portal.url}" in mail["Subject"]
    text, html = (p.get_content() for p in mail.iter_parts())
    assert "<b>Eve" not in html and "&lt;b&gt;Eve" in html and "\u202e" not in html + text and "\nBcc" not in text


def test_settings_of_mail_for_other_apps(zone, console, anna, tls):
    """EML-03: who sets the account up himself is told server and user."""
    mta = tls()
    secure(console, mta.port)
    ident = add(zone, anna, "email_settings")
    hasten(zone)
    ended(zone, ident)
    text = next(mta.mail[0][2].iter_parts()).get_content()
    assert "- Server: localhost" in text and f"- User: {harness.PERSON}" in text and "- Address: anna@example.org" in text


# ---- bad ones --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("answers", [{"RCPT": "550 5.1.1 no such\u0001 user"}, {"DATA": "554 5.7.1 we don't like it"}, {".": "552 5.3.4 too big"}])
def test_refused_for_good(zone, console, anna, scripted, answers):
    """MAIL-01: 5xx about the recipient or the message ends it, with the server's words, cleaned; the next one goes."""
    mta = scripted(**answers)
    server(console, mta.port)
    ident = add(zone, anna)
    hasten(zone)
    got = ended(zone, ident, "failed")
    assert got["error"][:3] in ("550", "554", "552") and "\u0001" not in got["error"] and away(zone) == 0
    item = console.get("/notices?state=failed")["items"][0]
    assert item["id"] == ident and item["mail"] == "anna@example.org" and item["error"] == got["error"]


@pytest.mark.parametrize("answers", [{"RCPT": "450 4.2.0 grey"}, {".": "451 4.3.0 not now"}])
def test_later(zone, console, anna, scripted, answers):
    """MAIL-01: 4xx about one message puts that one off; others are not held up."""
    mta = scripted(**answers)
    server(console, mta.port)
    idents = [add(zone, anna) for _ in range(2)]
    hasten(zone)
    for ident in idents:
        got = harness.wait_for(lambda i=ident: row(zone, i)["due"] > seed.now_ms() + 20000 and row(zone, i))
        assert got["state"] == "waiting" and got["error"][0] == "4" and got["attempts"] >= 1
    assert away(zone) == 0
    mta.answers.update(smtpd.Scripted.PLAIN)
    hasten(zone)
    tries = sum(ended(zone, ident)["attempts"] for ident in idents)
    assert tries >= 4 and len(mta.mail) == (tries if "." in answers else 2)


@pytest.mark.parametrize("answers", [{"": "\x16\x03\x01 what is this"}, {"": "554 go away"}, {"": "421 too many"}, {"": "HTTP/1.1 400 Bad Request"}, {"EHLO": "550 no", "HELO": "550 no"}, {"MAIL": "550 you may not"}, {"": smtpd.reset}])
def test_a_server_that_takes_nothing(zone, console, anna, scripted, answers):
    """REL-04: nothing is wrong with the notices: all wait, the server is asked again after a while, and says so."""
    mta = scripted(**answers)
    server(console, mta.port)
    idents = [add(zone, anna) for _ in range(3)]
    hasten(zone)
    harness.wait_for(lambda: away(zone))
    assert [(row(zone, i)["state"], row(zone, i)["attempts"]) for i in idents] == [("waiting", 0)] * 3
    assert mta.connections <= 2
    told = console.get("/notifications/server")
    assert told["away_since"] and told["next_try"] and told["trouble"] and told["waiting"] == 3
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'mail'")  # somebody writes another one meanwhile: the server is left alone
    harness.wait_for(lambda: zone.sql("SELECT run_at_ms FROM job WHERE kind = 'mail'")[0][0] > seed.now_ms())
    assert away(zone) == 1 and mta.connections <= 2


def test_hanging_server_stops_nothing_else(zone, console, anna, scripted):
    """REL-04: while a mail server says nothing, other jobs run, and the notice waits."""
    mta = scripted(EHLO=smtpd.hang)
    server(console, mta.port)
    ident = add(zone, anna)
    hasten(zone)
    harness.wait_for(lambda: mta.said)
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'core.prune'")
    harness.wait_for(lambda: zone.sql("SELECT run_at_ms FROM job WHERE kind = 'core.prune'")[0][0] > 1)
    assert row(zone, ident)["state"] == "waiting"
    mta.stop()
    harness.wait_for(lambda: away(zone))


def test_reset_after_data(zone, console, anna, scripted):
    """Nobody knows whether it arrived: it is tried again later, with the same Message-ID, and stands in nobody's way."""
    mta = scripted(**{".": smtpd.reset})
    server(console, mta.port)
    ident = add(zone, anna)
    begun = seed.now_ms()
    hasten(zone)
    harness.wait_for(lambda: row(zone, ident)["due"] > begun + 20000)
    assert row(zone, ident)["state"] == "waiting" and row(zone, ident)["attempts"] == 1
    mta.answers["."] = "250 taken"
    hasten(zone)
    ended(zone, ident)
    assert len(mta.mail) == 2 and all(f"Message-ID: <{ident}@example.org>".encode() in m for m in mta.mail) and mta.mail[0] == mta.mail[1]


def test_starttls_is_not_optional(zone, console, anna, scripted):
    """R46: a server that offers none gets neither password nor mail."""
    mta = scripted()
    secure(console, mta.port)
    ident = add(zone, anna)
    hasten(zone)
    harness.wait_for(lambda: away(zone))
    assert row(zone, ident)["state"] == "waiting" and mta.mail == [] and not any(s.startswith(("AUTH", "MAIL")) for s in mta.said)


def test_wrong_certificate_and_its_acceptance(zone, console, anna, tmp_path):
    """R46, SEC-08: a certificate of somebody else is refused until an administrator accepts it, for this server alone."""
    ca, key = zf.make_ca("Other")
    cert, leaf = zf.issue(ca, key, "other.example.org", dns=["other.example.org"])
    from cryptography.hazmat.primitives import hashes, serialization
    (tmp_path / "x.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "x.key").write_bytes(leaf.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    mta = smtpd.Server(smtpd.context(tmp_path, "x"))
    try:
        secure(console, mta.port)
        ident = add(zone, anna)
        hasten(zone)
        harness.wait_for(lambda: away(zone))
        assert mta.mail == [] and mta.logins == []
        steps = console.post("/notifications/server/test", {"to": "anna@example.org"})["steps"]
        assert [(s["step"], s["ok"]) for s in steps] == [("dns", True), ("tcp", True), ("connect", True), ("tls", False)]
        sha256 = steps[-1]["certificate"]["sha256"]
        assert sha256 == cert.fingerprint(hashes.SHA256()).hex() and not steps[-1]["certificate"]["accepted"]
        for wrong in ("f" * 63, "F" * 64):
            assert console.call("PUT", "/notifications/server/certificate", {"sha256": wrong})[0] == 400
        assert console.call("PUT", "/notifications/server/certificate", {"sha256": sha256})[2]["pin"] == sha256
        ended(zone, ident)
        assert secure(console, mta.port)["pin"] == sha256 and secure(console, mta.port + 1)["pin"] is None
    finally:
        mta.stop()


def try_now(zone):
    """A server that is known to be away is tried again at the job's next run."""
    for (text,) in zone.sql("SELECT value FROM zone_setting WHERE name = 'smtp.away'"):
        zone.sql("UPDATE zone_setting SET value = ? WHERE name = 'smtp.away'", json.dumps(json.loads(text) | {"next": 0}))


def test_down_and_back(zone, console, anna, tls):
    """REL-01, MAIL-01: while the server is down everything waits; when it is back each arrives once."""
    port = zf.free_port()
    secure(console, port)
    idents = [add(zone, anna, device=f"Phone {n}") for n in range(25)]
    for tries in (1, 2, 3):
        try_now(zone)
        zone.sql("UPDATE notice SET due_ms = 1")
        zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'mail'")
        # the job may have tried by itself meanwhile
        harness.wait_for(lambda n=tries: away(zone) >= n and not zone.sql("SELECT 1 FROM notice WHERE lease_until_ms > 0"))
    assert [m["code"] for m in console.get("/messages?open=1")["items"] if m["object_id"] == "smtp"] == ["mail.away"]
    assert all(row(zone, i)["state"] == "waiting" and row(zone, i)["attempts"] == 0 for i in idents)
    mta = tls(port=port)
    try_now(zone)
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'mail'")
    for ident in idents:
        ended(zone, ident)
    assert sorted(m["Message-ID"] for _, _, m, _ in mta.mail) == sorted(f"<{i}@example.org>" for i in idents)
    assert away(zone) == 0 and not [m for m in console.get("/messages?open=1")["items"] if m["object_id"] == "smtp"]


def test_killed_while_it_sends(fresh_zone):
    """REL-01: kill -9 between two messages: the rest is sent by the next child, none is lost, at most one comes twice."""
    zone = fresh_zone(children=1)
    console, anna = Console(zone), seed.person_id(zone, harness.PERSON)
    zone.sql("UPDATE person SET mail = 'anna@example.org' WHERE id = ?", anna)
    killed = []

    def third(mta, conn, line):
        if len(mta.mail) == 3 and not killed:
            killed.append(zone.kill_child())
            conn.recv(1)
            return None
        return "250 taken"
    mta = smtpd.Scripted(**{".": third})
    try:
        idents = [add(zone, anna) for _ in range(8)]
        server(console, mta.port)
        harness.wait_for(lambda: killed)
        assert len([i for i in idents if row(zone, i)["state"] == "sent"]) == 2
        zone.sql("UPDATE notice SET lease_until_ms = 0")  # the leases of the dead run out
        zone.sql("UPDATE job SET lease_until_ms = 1 WHERE kind = 'mail'")
        for ident in idents:
            ended(zone, ident)
        sent = [m.split(b"Message-ID: <")[1].split(b"@")[0].decode() for m in mta.mail]
        assert set(sent) == set(idents) and len(sent) == 9
    finally:
        mta.stop()


# ---- without a server, without an address ----------------------------------------------------------------------------
def test_without_a_server_notices_wait(zone, console, anna):
    """MAIL-01: until one is set; not for ever."""
    assert console.get("/overview")["mail_server"] is False
    old, new = add(zone, anna), add(zone, anna)
    zone.sql("UPDATE notice SET until_ms = 5 WHERE id = ?", old)
    hasten(zone)
    assert ended(zone, old, "failed")["error"] == "No mail server is set."
    assert row(zone, new)["state"] == "waiting"
    assert console.call("POST", "/notifications/server/test", {"to": "a@b.example"})[0] == 409


@pytest.mark.parametrize("mail", ["", "not an address", "a@b\r\nRCPT TO:<c@d>", "jörg@example.org"])
def test_nobody_to_tell(zone, console, anna, scripted, mail):
    """A person without an address that can be used fails with a reason, before the server is asked."""
    mta = scripted()
    zone.sql("UPDATE person SET mail = ? WHERE id = ?", mail, anna)
    server(console, mta.port)
    ident = add(zone, anna)
    hasten(zone)
    assert "no mail address" in ended(zone, ident, "failed")["error"] and mta.connections == 0


def test_outbox(zone, console, anna, scripted):
    """MAIL-01, API-01: pages, filter, CSV; one that failed is tried again, one that was sent is not."""
    mta = scripted(RCPT="550 no")
    server(console, mta.port)
    idents = [add(zone, anna, device="=cmd()") for _ in range(3)]
    hasten(zone)
    for ident in idents:
        ended(zone, ident, "failed")
    first = console.get("/notices?state=failed&limit=2")
    rest = console.get(f"/notices?state=failed&limit=2&cursor={first['next']}")
    assert {i["id"] for i in first["items"] + rest["items"]} == set(idents) and rest["next"] is None
    assert console.call("GET", f"/notices?state=sent&cursor={first['next']}")[0] == 400
    assert console.call("GET", "/notices?state=gone")[0] == 400 and console.get("/notices?state=sent")["items"] == []
    assert b"'=cmd()" in console.call("GET", "/notices?format=csv")[2]
    mta.answers["RCPT"] = "250 ok"
    assert console.call("POST", f"/notices/{idents[0]}/retry")[0] == 204
    ended(zone, idents[0])
    assert console.call("POST", f"/notices/{idents[0]}/retry")[0] == 409
    assert console.call("POST", "/notices/00000000-0000-4000-8000-00000000dead/retry")[0] == 404
    add(zone, anna, key=idents[1])
    assert console.call("POST", f"/notices/{idents[1]}/retry")[0] in (204, 409)
    ident = add(zone, anna, due=seed.now_ms() + 3600000)
    assert console.call("POST", f"/notices/{ident}/cancel")[0] == 204 and row(zone, ident)["state"] == "cancelled"
    assert console.call("POST", f"/notices/{ident}/cancel")[0] == 409 and [i["id"] for i in console.get("/notices?state=cancelled")["items"]] == [ident]
    assert "notice.retry" in [r[0] for r in zone.sql("SELECT action FROM audit WHERE object_id = ?", idents[0])]


# ---- who writes them --------------------------------------------------------------------------------------------------
def noticed(zone, event):
    return zone.sql("SELECT key, person_id, device_name, state FROM notice WHERE event = ? ORDER BY key", event)


def test_first_contact_of_a_mail_app(zone, console, anna, tls):
    """POR-06: the owner of an unknown mail client is mailed a link to finish, once, however often it comes again."""
    mta, post = tls(), Post(zone)
    try:
        secure(console, mta.port)
        post.ready()
        zone.sql("DELETE FROM notice")
        for _ in range(3):
            post.phone(device_id="NOTICED0001").command("FolderSync")
        (mail,) = harness.wait_for(lambda: mta.mail.to("anna@example.org"))
        assert mail["Subject"].startswith("Complete the enrolment of ") and f"{zone.public_url}/enroll/" in next(mail.iter_parts()).get_content()
        assert zone.request("GET", "/enroll/")[0] in (200, 302, 303)
        (key, person, name, _), = noticed(zone, "enroll_complete")
        assert zone.sql("SELECT id, name, state FROM device WHERE eas_device_id = 'NOTICED0001'") == [(key.split(":")[1], name, "pending")] and person == anna
    finally:
        post.close()


def test_a_device_leaves(zone, console, anna):
    """MAIL-02: who unenrols, or is unenrolled, is told once."""
    device = enrolled(zone, new_device(zone))
    ident = console.device(device.udid)["id"]
    device.check_out()
    (key, person, name, state), = noticed(zone, "device_unenrolled")
    assert (key, person, state) == (f"device_unenrolled:{ident}", anna, "waiting") and name
    assert console.call("POST", f"/devices/{ident}/retire", {})[0] in (200, 202, 204)
    assert len(noticed(zone, "device_unenrolled")) == 1


@pytest.mark.parametrize("db", ["sqlite3"], scope="module")
def test_certificate_of_the_public_address(fresh_zone):
    """MAIL-02: what devices are shown at MDMPublicURL is watched, by the job and not by a request: told once, with a message in the console and a notice to who receives alerts."""
    zone = fresh_zone(start=False, children=1)
    zone.tls_dir = zf.make_tls(zone.root / "own-tls")  # the children may read there
    cert, key = zf.issue(*zf.load_ca(zone.tls_dir), "localhost", dns=["localhost"], days=5)
    from cryptography.hazmat.primitives import serialization
    (zone.tls_dir / "server.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    (zone.tls_dir / "server.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    zone.sql("UPDATE admin SET mail = 'root@example.org', alerts = 1")
    zone.start()
    console = Console(zone)
    (told,) = harness.wait_for(lambda: [m for m in console.get("/messages?open=1")["items"] if m["object_id"] == "tls"])
    host = zone.public_url.removeprefix("https://")
    assert told["code"] == "certificate.expiring" and told["severity"] == 3 and host in told["text"]
    (row,) = zone.sql("SELECT mail, vars FROM notice WHERE event = 'certificate_expiring'")
    assert row[0] == "root@example.org" and json.loads(row[1])["certificate.name"] == host
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'zone.expiry'")
    harness.wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'zone.expiry' AND state = 'waiting' AND run_at_ms > 1"))
    assert len(zone.sql("SELECT 1 FROM audit WHERE action = 'certificate.expiring'")) == 1


# ---- settings --------------------------------------------------------------------------------------------------------
def test_password_is_written_only(zone, console):
    """R30, SEC-04: sealed, in no answer, and not sent to another server that somebody names."""
    secure(console, 2525)
    told = console.get("/notifications/server")
    assert told["password_set"] and "password" not in told and smtpd.PASSWORD not in json.dumps(told)
    (value, sealed), = zone.sql("SELECT value, sealed FROM zone_setting WHERE name = 'smtp'")
    assert sealed == 1 and smtpd.PASSWORD not in value
    assert not [r for r in zone.sql("SELECT detail FROM audit") if smtpd.PASSWORD in r[0]]
    assert console.call("PUT", "/notifications/server", {"from_name": "IT"})[0] == 200
    for change in ({"host": "evil.example"}, {"user": "other"}):
        status, _, body = console.call("PUT", "/notifications/server", change)
        assert (status, body["field"]) == (400, "password")
    assert console.call("PUT", "/notifications/server", {"user": ""})[2]["password_set"] is False


@pytest.mark.parametrize("field, change", [("host", {"host": "a/b"}), ("host", {"host": "x y"}), ("port", {"port": 0}), ("port", {"port": 65536}), ("tls", {"tls": "maybe"}),
                                           ("from", {"from": "nobody"}), ("from", {"from": ""}), ("tls", {"user": "u", "password": "p"}), ("language", {"language": "en"}),
                                           ("password", {"user": "u", "tls": "tls"}), ("colour", {"colour": "red"}), ("from_name", {"from_name": "a\r\nb"})])
def test_wrong_settings_are_named(console, field, change):
    """API-04"""
    status, _, body = console.call("PUT", "/notifications/server", {"host": "mail.example.org", **PLAIN, **change})
    assert (status, body["field"]) == (400, field), body


def test_what_all_notices_say(zone, console, anna, tls):
    """MAIL-02: language, organisation and support are settings of their own, and values for every text."""
    was = console.get("/notifications/settings")
    assert was == {"language": "en", "organisation": "", "support_mail": "", "support_phone": ""}
    for field, change in (("language", {"language": "fr"}), ("organisation", {"organisation": "a\nb"}), ("support_mail", {"support_mail": "nobody"}), ("support_phone", {"support_phone": "<b>"}),
                          ("colour", {"colour": 1})):
        status, _, body = console.call("PUT", "/notifications/settings", change)
        assert (status, body["field"]) == (400, field), body
    now = {"organisation": "Example & Co", "support_mail": "help@example.org", "support_phone": "+49 30 123-45"}
    text = {"subject": "${org.name}: ${device.model}", "text": "${to.login} ${device.platform} ${support.mail} ${support.phone}", "html": "<p>${org.name}</p>"}
    mta = tls()
    secure(console, mta.port)
    try:
        assert console.call("PUT", "/notifications/settings", now)[2] == was | now
        assert console.call("PUT", "/notifications/templates/email_none/en", text, If_Match='"0"')[0] == 200
        ident = add(zone, anna, device_id=seed.device(zone, "Model", anna, model="iPhone 15"))
        hasten(zone)
        ended(zone, ident)
        assert mta.mail[0][2]["Subject"] == "Example & Co: iPhone 15"
        parts = [p.get_content() for p in mta.mail[0][2].iter_parts()]
        assert parts[0].strip() == f"{harness.PERSON} ios help@example.org +49 30 123-45" and "<p>Example &amp; Co</p>" in parts[1]
    finally:
        assert console.call("PUT", "/notifications/settings", was)[2] == was


def test_default_ports(console):
    for tls, port in (("tls", 465), ("starttls", 587), ("none", 25)):
        assert console.call("PUT", "/notifications/server", {"host": "mail.example.org", **PLAIN, "tls": tls, "port": None})[2]["port"] == port


def test_test_message(zone, console, tls):
    """MAIL-01, UI-05: each step, and the message arrives."""
    mta = tls()
    secure(console, mta.port)
    steps = console.post("/notifications/server/test", {"to": "anna@example.org"})["steps"]
    assert [(s["step"], s["ok"]) for s in steps] == [(n, True) for n in ("dns", "tcp", "connect", "tls", "login", "sender", "recipient", "message")]
    assert steps[3]["certificate"]["accepted"] and "Test" in mta.mail.to("anna@example.org")[0]["Subject"]
    secure(console, mta.port, password="wrong")
    steps = console.post("/notifications/server/test", {"to": "anna@example.org"})["steps"]
    assert (steps[-1]["step"], steps[-1]["ok"]) == ("login", False) and steps[-1]["text"].startswith("535")
    for wrong in ("x", "a@b\r\nc", ""):
        assert console.call("POST", "/notifications/server/test", {"to": wrong})[0] == 400


def test_test_is_no_probe_into_this_host(fresh_zone):
    """R16, SEC-08: without MDMOutboundLocal neither test nor job connects to this host."""
    zone = fresh_zone(children=1, extra_main="MDMOutboundLocal Off")
    console, mta = Console(zone), smtpd.Scripted()
    try:
        server(console, mta.port)
        steps = console.post("/notifications/server/test", {"to": "a@b.example"})["steps"]
        assert [s["step"] for s in steps] == ["dns"] and "MDMOutboundLocal" in steps[0]["text"]
        anna = seed.person_id(zone, harness.PERSON)
        zone.sql("UPDATE person SET mail = 'anna@example.org' WHERE id = ?", anna)
        add(zone, anna)
        hasten(zone)
        harness.wait_for(lambda: away(zone))
        assert mta.connections == 0 and "MDMOutboundLocal" in console.get("/notifications/server")["trouble"]
    finally:
        mta.stop()


# ---- templates -------------------------------------------------------------------------------------------------------
def test_templates_are_changed_shown_and_reset(zone, console, anna, tls):
    """MAIL-02, PEN-05: edit, preview, reset; what is sent is the changed text."""
    items = console.get("/notifications/templates")["items"]
    assert {(i["event"], i["language"]) for i in items} >= {(e, l) for e in ("email_held", "email_settings", "email_none", "email_removed", "enroll_complete",
                                                                              "device_unenrolled", "push_expiring", "identity_expiring", "certificate_expiring", "enroll_expiring") for l in ("en", "de")}
    path, text = "/notifications/templates/email_none/en", {"subject": "Hi ${to.name}", "text": "No mail on ${device.name}", "html": "<p>No mail on ${device.name}</p>"}
    shown = console.post(path + "/preview", text)
    assert shown["subject"] == "Hi Anna Adler" and "<p>No mail on iPhone Anna Adler</p>" in shown["html"]
    status, headers, now = console.call("PUT", path, text, If_Match='"0"')
    assert status == 200 and now["changed"] and now["version"] == 1 and headers["ETag"] == '"1"'
    assert console.call("PUT", path, text, If_Match='"0"')[0] == 412 and console.call("DELETE", path, If_Match='"0"')[0] == 412
    mta = tls()
    secure(console, mta.port)
    ident = add(zone, anna, device="<x>")
    hasten(zone)
    ended(zone, ident)
    parts = [p.get_content() for p in mta.mail[0][2].iter_parts()]
    assert parts[0].strip() == "No mail on <x>" and "<p>No mail on &lt;x&gt;</p>" in parts[1]
    status, _, now = console.call("DELETE", path, If_Match='"1"')
    assert status == 200 and now["version"] == 0 and now["subject"] == next(i for i in items if (i["event"], i["language"]) == ("email_none", "en"))["subject"]
    assert [r[0] for r in zone.sql("SELECT action FROM audit WHERE object_kind = 'notice_template' ORDER BY at_ms, id")][-2:] == ["notice.template", "notice.template_reset"]
    for bad in ("/notifications/templates/none/en", "/notifications/templates/email_none/fr"):
        assert console.call("GET", bad)[0] == 404 and console.call("POST", bad + "/preview", text)[0] == 404


@pytest.mark.parametrize("field, change", [("text", {"text": "${user.password}"}), ("html", {"html": "<script>x</script>"}), ("subject", {"subject": "a\nb"}), ("subject", {"subject": ""}),
                                           ("html", {"html": '<a href="javascript:x">x</a>'}), ("text", {"text": "x" * 20000}), ("colour", {"colour": 1}), ("html", {"html": "no link"})])
def test_wrong_templates_are_refused(console, field, change):
    """MAIL-02, R05: in preview and when saving alike; the link must stay."""
    good = {"subject": "a", "text": "${portal.url}", "html": '<a href="${portal.url}">x</a>'}
    path = "/notifications/templates/enroll_complete/en"
    for method, address in (("PUT", path), ("POST", path + "/preview")):
        status, _, body = console.call(method, address, good | change, **({"If_Match": '"0"'} if method == "PUT" else {}))
        assert (status, body["field"]) == (400, field), body
