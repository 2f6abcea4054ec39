"""Notices by SMS, against a real HTTP gateway that takes them, refuses, fails, hangs, asks for time and recovers (PEN-05, MAIL-01, MAIL-02, SEC-04, SEC-08, R05, R16, R30)."""
import json
import uuid

import pytest

import harness
import seed
import smsd
import smtpd
import zonefiles as zf
from clients import AUTHORISER, Console
from test_bulk import result, until, upload

ZONE = {"children": 1}
PHONE, TOKEN = "+4915112345678", "S3cret-Token"
BODY = '{"to":"${to}","text":"${text}","from":"${sender}","ref":"${id}"}'
SETTINGS = {"method": "POST", "headers": [{"name": "Content-Type", "value": "application/json"}, {"name": "Authorization", "value": "Bearer ${secret.token}"}], "body": BODY,
            "secrets": {"token": TOKEN}, "sender": "Example", "country": "49", "ok_pointer": "/status", "ok_value": "OK", "id_pointer": "/id", "error_pointer": "/error",
            "insecure": True, "per_second": 100, "daily_cap": 0, "prefixes": []}


@pytest.fixture(scope="module")
def anna(zone):
    return seed.person_id(zone, harness.PERSON)


@pytest.fixture(autouse=True)
def nothing_is_left(zone, console):
    yield
    assert console.call("PUT", "/sms-gateway", {"url": ""})[0] == 200
    zone.sql("DELETE FROM notice")
    zone.sql("DELETE FROM notice_template")
    zone.sql("DELETE FROM pending_enrollment")


@pytest.fixture
def gateway():
    made = []

    def start(*args, **options):
        made.append(smsd.Gateway(*args, **options))
        return made[-1]
    yield start
    for one in made:
        one.stop()


@pytest.fixture
def tls(zone):
    made = []

    def start():
        made.append(smtpd.Server(smtpd.context(zone.tls_dir)))
        return made[-1]
    yield start
    for one in made:
        one.stop()


def use(console, gate, scheme="http", **more):
    status, _, body = console.call("PUT", "/sms-gateway", {**SETTINGS, "url": f"{scheme}://localhost:{gate if isinstance(gate, int) else gate.port}/send", **more})
    assert status == 200, body
    return body


def add(zone, event="enroll_provisioned", phone=PHONE, pending=None):
    """As mdm_notice_add() writes it."""
    ident, now = str(uuid.uuid4()), seed.now_ms()
    zone.sql("INSERT INTO notice (id, key, channel, event, pending_id, phone, to_name, due_ms, until_ms, created_ms) VALUES (?, ?, 'sms', ?, ?, ?, 'Anna', 1, ?, ?)",
             ident, ident, event, pending, phone, now + 86400000, now)
    return ident


def enrolment(console, anna):
    """(id, link) of an enrolment that is open, with a one-time password."""
    made = console.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})
    return made["id"], made["link"]


def hasten(zone):
    """The job runs at once, as if the time of its next try had come."""
    zone.sql("DELETE FROM zone_setting WHERE name = 'sms.away'")
    zone.sql("UPDATE notice SET due_ms = 1 WHERE state = 'waiting'")
    zone.run_soon("sms")


def row(zone, ident):
    return dict(zip(("state", "attempts", "error", "ref", "due"), zone.sql("SELECT state, attempts, error, ref, due_ms FROM notice WHERE id = ?", ident)[0]))


def ended(zone, ident, state="sent"):
    return harness.wait_for(lambda: row(zone, ident)["state"] == state and row(zone, ident))


def away(zone):
    rows = zone.sql("SELECT value FROM zone_setting WHERE name = 'sms.away'")
    return json.loads(rows[0][0]) if rows else None


# ---- what arrives ------------------------------------------------------------------------------------------------------
def test_sent_over_tls(zone, console, anna, gateway):
    """PEN-05: the request is what the templates say; the link is read when it is sent and stands nowhere before, no log has number, text or secret."""
    gate = gateway(smtpd.context(zone.tls_dir))
    use(console, gate, "https", insecure=False)
    pending, link = enrolment(console, anna)
    ident = add(zone, pending=pending)
    hasten(zone)
    assert ended(zone, ident)["ref"] == "m-1"
    got, = gate.got
    assert (got["method"], got["path"]) == ("POST", "/send") and got["headers"]["Authorization"] == f"Bearer {TOKEN}"
    sent = json.loads(got["body"])
    assert (sent["to"], sent["from"], sent["ref"]) == (PHONE, "Example", ident) and link in sent["text"]
    otp = sent["text"].rsplit("One-time password: ", 1)[1].replace(" ", "")
    assert len(otp) >= 6 and otp not in link
    item, = console.get("/notices?state=sent")["items"]
    assert (item["channel"], item["phone"], item["ref"], item["mail"], item["event"]) == ("sms", PHONE, "m-1", "", "enroll_provisioned")
    token = link.rsplit("/", 1)[1]
    assert otp not in json.dumps(console.get("/notices")) and token not in json.dumps(console.get("/notices")) and token not in str(zone.sql("SELECT vars, error, ref FROM notice"))
    log = zone._log_text()
    assert all(word not in log for word in (PHONE, TOKEN, token, otp, "has prepared the enrolment"))


def test_language_of_the_enrolment(zone, console, anna, gateway):
    """MAIL-02: a person's enrolment may have a language of its own; the text of an administrator counts."""
    gate = gateway()
    use(console, gate)
    pending, link = enrolment(console, anna)
    zone.sql("UPDATE pending_enrollment SET language = 'de', otp = NULL WHERE id = ?", pending)
    ident = add(zone, pending=pending)
    hasten(zone)
    ended(zone, ident)
    assert gate.texts()[0]["text"].startswith("Ihre Organisation")
    shown = console.get("/notifications/templates/enroll_provisioned/de")
    own = {k: shown[k] for k in ("subject", "text", "html")} | {"sms": "Grüße! ${enrol.link}\n${enrol.otp}"}
    assert console.call("PUT", "/notifications/templates/enroll_provisioned/de", own, If_Match='"0"')[0] == 200
    own_address = console.get("/enrollment-settings")["public_url"]
    assert console.call("PUT", "/enrollment-settings", {"public_url": "https://go.example.org"})[0] == 200
    try:
        ident = add(zone, pending=pending)
        hasten(zone)
        ended(zone, ident)
    finally:
        console.call("PUT", "/enrollment-settings", {"public_url": own_address})
    assert gate.texts()[1]["text"] == f"Grüße! https://go.example.org/enroll/{link.rsplit('/', 1)[1]}"  # PEN-09


def test_what_cannot_be_told_any_more(zone, console, anna, gateway):
    """PEN-05: it fails with a reason, and the gateway is not asked."""
    gate = gateway()
    use(console, gate, prefixes=["+49"])
    (cancelled, _), (bare, _), (good, _) = (enrolment(console, anna) for _ in range(3))
    console.post(f"/pending/{cancelled}/cancel")
    zone.sql("UPDATE pending_enrollment SET otp = NULL WHERE id = ?", bare)
    over = [add(zone), add(zone, pending=cancelled), add(zone, "enroll_otp", pending=bare)]
    wrong = [(add(zone, pending=good, phone="0151 1"), "phone number"), (add(zone, pending=good, phone="+4315112345678"), "country code")]
    hasten(zone)
    for ident, words in [(i, "enrolment is over") for i in over] + wrong:
        assert words in ended(zone, ident, "failed")["error"]
    assert gate.got == []


def test_provisioned_for_somebody(zone, console, anna, gateway, tls):
    """MAIL-02, PEN-05: the person gets mail and SMS with link and one-time password, administrators who receive alerts hear of it without either."""
    gate, mta = gateway(), tls()
    use(console, gate)
    zone.sql("UPDATE person SET mail = 'anna@example.org' WHERE id = ?", anna)
    zone.sql("UPDATE admin SET mail = 'root@example.org', alerts = 1")
    assert console.call("PUT", "/notifications/server", {"host": "localhost", "port": mta.port, "tls": "starttls", "user": smtpd.USER, "password": smtpd.PASSWORD, "from": "mdm@example.org"})[0] == 200
    try:
        pending, link = enrolment(console, anna)
        (mail,) = harness.wait_for(lambda: mta.mail.to("root@example.org"))
        text = next(mail.iter_parts()).get_content()
        assert mail["Subject"].startswith(f"{harness.ADMIN_USER} has provisioned a device") and harness.PERSON in text and link.rsplit("/", 1)[1] not in text
        run = upload(console, f"username;phone;notify\n{harness.PERSON};{PHONE};both\n")[2]
        until(console, run["id"], "checked")
        assert console.call("POST", f"/bulk-runs/{run['id']}/start")[0] == 202
        until(console, run["id"], "done")
        link, otp = (result(console, run["id"])[0][k] for k in ("link", "otp"))
        harness.wait_for(lambda: gate.got)
        (mail,) = harness.wait_for(lambda: mta.mail.to("anna@example.org"))
        plain, rich = mail.iter_parts()
        html, image = rich.iter_parts()
        parts = [plain.get_content(), html.get_content()]
        assert (rich.get_content_type(), image.get_content_type(), image["Content-ID"]) == ("multipart/related", "image/png", "<picture>")
        assert 'src="cid:picture"' in parts[1] and image.get_content().startswith(b"\x89PNG")
        assert len(gate.got) == 1 and len(otp) >= 6 and all(link in t and otp in t.replace(" ", "") for t in parts + [gate.texts()[0]["text"]]) and f'href="{link}"' in parts[1]
        assert len(zone.sql("SELECT id FROM notice WHERE event = 'enroll_provisioned_admin'")) == 1  # a bulk run has its page
        last = harness.wait_for(lambda: (p := console.get("/pending")["items"][0]) and all(n["state"] == "sent" for n in p["notices"]) and p)
        assert sorted(n["channel"] for n in last["notices"]) == ["mail", "sms"] and all(n["done_at"] and not n["error"] for n in last["notices"])
        assert console.get(f"/pending/{last['id']}")["notices"] == last["notices"] and console.get(f"/pending/{pending}")["notices"] == []
    finally:
        zone.sql("UPDATE admin SET mail = '', alerts = 0")
        assert console.call("PUT", "/notifications/server", {"host": ""})[0] == 200


# ---- trouble -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("answer, words", [((400, {"error": f"bad number {PHONE}"}, {}), "HTTP 400: bad number ***"), ((200, {"status": "NO", "error": TOKEN}, {}), "HTTP 200: ***")])
def test_refused_for_good(zone, console, anna, gateway, answer, words):
    """PEN-05: the gateway's words are kept, without number and secret; others go on, and it can be tried again."""
    gate = gateway(answer=lambda g: answer if len(gate.got) == 1 else smsd.TAKEN)
    use(console, gate)
    pending, _ = enrolment(console, anna)
    ident = add(zone, pending=pending)
    hasten(zone)
    assert ended(zone, ident, "failed")["error"] == words and away(zone) is None
    assert console.call("POST", f"/notices/{ident}/retry")[0] == 204
    ended(zone, ident)
    assert [t["ref"] for t in gate.texts()] == [ident, ident]


@pytest.mark.parametrize("answer", [(500, "no", {}), (302, "", {"Location": "/else"})])
def test_fails_and_recovers(zone, console, anna, gateway, answer):
    """PEN-05, REL-04, SEC-08: nothing is lost; after a while it is asked again, and says so; a redirect is not followed."""
    gate = gateway(answer=answer)
    use(console, gate)
    pending, _ = enrolment(console, anna)
    idents = [add(zone, pending=pending) for _ in range(3)]
    hasten(zone)
    harness.wait_for(lambda: away(zone) and not zone.sql("SELECT 1 FROM notice WHERE lease_until_ms > 0"))
    assert [row(zone, i)["state"] for i in idents] == ["waiting"] * 3 and all(g["path"] == "/send" for g in gate.got)
    told = console.get("/sms-gateway")
    assert told["away_since"] and told["next_try"] and told["trouble"].startswith(f"HTTP {answer[0]}") and told["waiting"] == 3
    gate.answer = smsd.TAKEN
    hasten(zone)
    for ident in idents:
        ended(zone, ident)
    assert away(zone) is None and console.get("/sms-gateway")["sent_today"] >= 3


def test_asks_for_time(zone, console, anna, gateway):
    """PEN-05: 429 with Retry-After: nobody is at fault, all wait as long as it says."""
    gate = gateway(answer=(429, "", {"Retry-After": "900"}))
    use(console, gate)
    pending, _ = enrolment(console, anna)
    begun, idents = seed.now_ms(), [add(zone, pending=pending) for _ in range(2)]
    hasten(zone)
    note = harness.wait_for(lambda: away(zone))
    assert note["next"] >= begun + 900000
    harness.wait_for(lambda: zone.sql("SELECT run_at_ms FROM job WHERE kind = 'sms'")[0][0] > seed.now_ms())
    assert [(row(zone, i)["state"], row(zone, i)["attempts"]) for i in idents] == [("waiting", 0)] * 2
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'sms'")  # somebody writes another one meanwhile: the gateway is left alone
    harness.wait_for(lambda: zone.sql("SELECT run_at_ms FROM job WHERE kind = 'sms'")[0][0] > seed.now_ms())
    assert len(gate.got) <= 2
    gate.answer = smsd.TAKEN
    assert use(console, gate, per_second=50)["away_since"] is None  # other settings: it is tried at once
    for ident in idents:
        ended(zone, ident)


def test_hangs_and_recovers(zone, console, anna, gateway):
    """REL-04: while it says nothing other jobs run, mail among them; the message is sent again with the same id."""
    gate = gateway(answer=None)
    use(console, gate)
    pending, _ = enrolment(console, anna)
    ident = add(zone, pending=pending)
    hasten(zone)
    harness.wait_for(lambda: gate.got)
    zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'mail'")
    harness.wait_for(lambda: zone.sql("SELECT run_at_ms FROM job WHERE kind = 'mail'")[0][0] > 1)
    assert row(zone, ident)["state"] == "waiting"
    gate.answer = smsd.TAKEN
    gate.released.set()
    harness.wait_for(lambda: away(zone) and not zone.sql("SELECT 1 FROM notice WHERE lease_until_ms > 0"))
    hasten(zone)
    ended(zone, ident)
    assert {t["ref"] for t in gate.texts()} == {ident}


def test_down_and_back(zone, console, anna, gateway):
    """REL-01, PEN-05: while nobody is there all wait, administrators are told, and then each arrives once."""
    port = zf.free_port()
    use(console, port)
    pending, _ = enrolment(console, anna)
    idents = [add(zone, pending=pending) for _ in range(25)]
    for tries in (1, 2, 3):
        zone.sql("UPDATE zone_setting SET value = ? WHERE name = 'sms.away'", json.dumps((away(zone) or {"since": 1, "tries": 0}) | {"next": 0}))
        zone.sql("UPDATE job SET run_at_ms = 1 WHERE kind = 'sms'")
        harness.wait_for(lambda n=tries: (away(zone) or {}).get("tries", 0) >= n and not zone.sql("SELECT 1 FROM notice WHERE lease_until_ms > 0"))
    assert [m["code"] for m in console.get("/messages?open=1")["items"] if m["object_id"] == "sms"] == ["sms.away"]
    assert all(row(zone, i)["attempts"] == 0 for i in idents)
    gate = gateway(port=port)
    hasten(zone)
    for ident in idents:
        ended(zone, ident)
    assert sorted(t["ref"] for t in gate.texts()) == sorted(idents)


def test_so_many_a_day(zone, console, anna, gateway):
    """PEN-05: the cap is kept; what is left waits for the next day, or another cap."""
    gate = gateway()
    use(console, gate, daily_cap=2)
    pending, _ = enrolment(console, anna)
    idents = [add(zone, pending=pending) for _ in range(3)]
    hasten(zone)
    note = harness.wait_for(lambda: away(zone))
    assert len(gate.got) == 2 and sorted(row(zone, i)["state"] for i in idents) == ["sent", "sent", "waiting"] and note["next"] % 86400000 == 0
    told = console.get("/sms-gateway")
    assert told["sent_today"] == 2 and "(2)" in told["trouble"]
    use(console, gate, daily_cap=3)
    for ident in idents:
        ended(zone, ident)


def test_nothing_is_set(zone, console, anna):
    """MAIL-01: without a gateway messages wait, not for ever."""
    old, new = add(zone), add(zone)
    zone.sql("UPDATE notice SET until_ms = 5 WHERE id = ?", old)
    hasten(zone)
    assert ended(zone, old, "failed")["error"] == "No SMS gateway is set." and row(zone, new)["state"] == "waiting"
    assert console.call("POST", "/sms-gateway/test", {"to": PHONE, "text": "x"})[0] == 409
    assert not console.get("/sms-gateway")["configured"]


# ---- settings ----------------------------------------------------------------------------------------------------------
def test_secrets_are_written_only(zone, console):
    """R30, SEC-04: sealed, in no answer and no audit row, and not sent to another server that somebody names."""
    told = use(console, 9)
    assert told["secrets"] == ["token"] and TOKEN not in json.dumps(console.get("/sms-gateway"))
    (value, sealed), = zone.sql("SELECT value, sealed FROM zone_setting WHERE name = 'sms'")
    assert sealed == 1 and TOKEN not in value and TOKEN not in str(zone.sql("SELECT detail FROM audit WHERE action = 'sms.edit'"))
    status, _, body = console.call("PUT", "/sms-gateway", {"url": "https://other.example/send"})
    assert (status, body["field"]) == (400, "secrets")
    assert console.call("PUT", "/sms-gateway", {"url": "http://localhost:9/other", "sender": "4711"})[2]["secrets"] == ["token"]
    assert console.call("PUT", "/sms-gateway", {"headers": [], "secrets": {"token": None}})[2]["secrets"] == []
    use(console, 9)
    gone = console.call("PUT", "/sms-gateway", {"url": ""})[2]
    assert (gone["configured"], gone["secrets"], gone["headers"], gone["body"]) == (False, [], [], "")


@pytest.mark.parametrize("field, change", [("url", {"url": "ftp://x/"}), ("url", {"insecure": False}), ("url", {"url": "http://${to}/"}), ("headers", {"headers": [{"name": "A b", "value": "x"}]}),
                                           ("headers", {"headers": [{"name": "A"}]}), ("headers", {"headers": "x"}), ("body", {"body": "${text}"}), ("body", {"body": "${to|x}${text}"}),
                                           ("body", {"method": "GET"}), ("secrets", {"secrets": {"A B": "x"}}), ("secrets", {"secrets": {"a": 1}}), ("secrets", {"secrets": {"a": "x\ny"}}),
                                           ("sender", {"sender": "much too long"}), ("country", {"country": "0"}), ("prefixes", {"prefixes": ["49"]}), ("per_second", {"per_second": 0}),
                                           ("daily_cap", {"daily_cap": -1}), ("ok_pointer", {"ok_pointer": "status"}), ("id_pointer", {"id_pointer": "re:(a"}), ("networks", {"networks": ["10.0.0.0/99"]}), ("networks", {"networks": [1]}), ("colour", {"colour": 1}), ("method", {"method": "DELETE"})])
def test_wrong_settings(console, field, change):
    """API-04: in the preview and when saving alike."""
    settings = {**SETTINGS, "url": "http://localhost:9/send", **change}
    for method, path in (("PUT", "/sms-gateway"), ("POST", "/sms-gateway/preview")):
        status, _, body = console.call(method, path, settings)
        assert (status, body["field"]) == (400, field), body


def test_preview_and_test(zone, console, gateway):
    """PEN-05: the request with an invented number and without secrets; a test message step by step, its answer redacted."""
    gate = gateway(answer=lambda g: (200, {"status": "OK", "id": "m-2", "you": [g["headers"]["Authorization"], g["body"]]}, {}))
    shown = console.post("/sms-gateway/preview", {**SETTINGS, "url": f"http://localhost:{gate.port}/send?k=${{secret.token}}"})
    assert shown["url"].endswith("/send?k=%2A%2A%2A") and {"name": "Authorization", "value": "Bearer ***"} in shown["headers"] and json.loads(shown["body"])["to"].startswith("+49")
    assert gate.got == [] and not console.get("/sms-gateway")["configured"]
    use(console, gate)
    steps = console.post("/sms-gateway/test", {"to": "+49 151 12345678", "text": "Hello from the test"})["steps"]
    assert [(s["step"], s["ok"]) for s in steps] == [(s, True) for s in ("request", "dns", "tcp", "answer", "message")]
    assert gate.texts()[0]["to"] == PHONE and gate.texts()[0]["text"] == "Hello from the test"
    said = steps[3]["text"]
    assert said.startswith("HTTP 200") and TOKEN not in json.dumps(steps) and PHONE not in said and "Hello" not in said
    gate.answer = (401, {"error": "wrong token"}, {})
    steps = console.post("/sms-gateway/test", {"to": PHONE, "text": "x"})["steps"]
    assert (steps[-1]["ok"], steps[-1]["text"]) == (False, "HTTP 401: wrong token")
    for wrong in ({"to": "0151", "text": "x"}, {"to": PHONE}, {"to": PHONE, "text": ""}, {"to": PHONE, "text": "x" * 1001}):
        assert console.call("POST", "/sms-gateway/test", wrong)[0] == 400
    use(console, gate, url="http://10.255.255.1/send")  # no public address: it is not even tried (SEC-08)
    steps = console.post("/sms-gateway/test", {"to": PHONE, "text": "x"})["steps"]
    assert [(s["step"], s["ok"]) for s in steps] == [("request", True), ("dns", False)] and "allowed network" in steps[-1]["text"]
    assert use(console, gate, networks=["10.255.0.0/16", "fd00::/8"])["networks"] == ["10.255.0.0/16", "fd00::/8"]
    use(console, gate, prefixes=["+43"])
    assert console.call("POST", "/sms-gateway/test", {"to": PHONE, "text": "x"})[2]["field"] == "to"


def test_texts_of_messages(console):
    """MAIL-02: the link must stay; the preview says what the message costs."""
    path = "/notifications/templates/enroll_otp/en"
    shown = console.get(path)
    text = {k: shown[k] for k in ("subject", "text", "html", "sms")}
    assert "${enrol.link}" in text["sms"] and shown["required"] == ["enrol.link", "enrol.otp"]
    seen = console.post(f"{path}/preview", text)
    assert "${" not in seen["sms"] and seen["sms_length"]["encoding"] == "gsm" and seen["sms_length"]["parts"] == 1
    seen = console.post(f"{path}/preview", text | {"sms": text["sms"] + " „" + "x" * 300})
    assert seen["sms_length"]["encoding"] == "ucs2" and seen["sms_length"]["parts"] > 3
    for wrong in ("", None, "no link ${enrol.otp}", text["sms"] + "${person.password}", "x" * 1001 + text["sms"]):
        for method, address in (("PUT", path), ("POST", f"{path}/preview")):
            status, _, body = console.call(method, address, text | {"sms": wrong}, **({"If_Match": '"0"'} if method == "PUT" else {}))
            assert (status, body["field"]) == (400, "sms"), body
    assert console.call("PUT", "/notifications/templates/email_none/en", text, If_Match='"0"')[0] == 400
    assert console.get("/notifications/templates/email_none/en")["sms"] is None


def test_local_addresses(fresh_zone, gateway):
    """R16, SEC-08: without MDMOutboundLocal neither test nor job connects to this host."""
    zone = fresh_zone(children=1, extra_main="MDMOutboundLocal Off")
    console, gate = Console(zone), gateway()
    use(console, gate)
    pending, _ = enrolment(console, seed.person_id(zone, harness.PERSON))
    ident = add(zone, pending=pending)
    hasten(zone)
    assert "MDMOutboundLocal" in harness.wait_for(lambda: away(zone))["why"] and row(zone, ident)["state"] == "waiting"
    steps = console.post("/sms-gateway/test", {"to": PHONE, "text": "x"})["steps"]
    assert steps[-1]["step"] == "dns" and not steps[-1]["ok"] and gate.got == []
