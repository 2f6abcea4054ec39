"""What a link asks for before it hands out a profile: one-time passwords, log-ins, locks (PEN-01, PEN-03, PEN-04, PEN-09, POR-02, R20, R21, R34)."""
import itertools
import json
import time
from urllib.parse import urlencode, urlsplit

import pytest

import harness
from clients import new_device
from sim.device import Refused
from sim.scep import ScepError
from test_enroll import ORIGIN, Browser

ZONE = {"children": 1}
ADDRESSES = itertools.cycle(range(1, 255))
FORM = {"Content-Type": "application/x-www-form-urlencoded", **ORIGIN}


@pytest.fixture(scope="module")
def people(zone, console):
    zone.ctl("user", "add", "otto", "--name", "Otto Example", "--password-stdin", stdin=harness.PERSON_PASSWORD + "\n")
    before = console.get("/otp-settings")
    assert console.call("PUT", "/otp-settings", {"authorise": False})[0] == 200
    yield {login: zone.sql("SELECT id FROM person WHERE login = ?", login)[0][0] for login in (harness.PERSON, "otto")}
    console.call("PUT", "/otp-settings", before)


@pytest.fixture
def provision(console, people):
    """Makes enrolments for people: (id, path of the link, one-time password)."""
    made = []

    def make(login=harness.PERSON):
        made.append(console.post("/pending", {"person_id": people[login], "platform": "ios"}))
        shown = console.post(f"/pending/{made[-1]['id']}/otp")
        return made[-1]["id"], urlsplit(made[-1]["link"]).path, shown["otp"]

    yield make
    for one in made:
        console.call("POST", f"/pending/{one['id']}/cancel")


def post(zone, path, **form):
    """Each try from an address of its own, which may be wrong ten times a minute."""
    return zone.request("POST", path, urlencode(form), FORM, source=f"127.8.0.{next(ADDRESSES)}")


def give(zone, path, **form):
    status, headers, _ = post(zone, path, **form)
    assert status == 303, status
    return headers["Location"], (headers["Set-Cookie"] or "").split(";")[0]


def profile(zone, path, cookie=""):
    return zone.request("GET", path + "/profile.mobileconfig", headers={"Cookie": cookie} if cookie else {})[0]


def wrong(otp):
    return ("8" if otp[0] == "7" else "7") + otp[1:]


def test_no_profile_before_the_password(zone, provision):
    """PEN-03, PEN-04: the server asks, whatever the page does; the right one counts once, for the browser that gave it."""
    _, path, otp = provision()
    status, _, page = zone.request("GET", path)
    assert status == 200 and b'name="otp"' in page and b"Anna" not in page and b"prove.js" in page
    assert profile(zone, path) == 303
    assert json.loads(zone.request("GET", path + "/status")[2])["need"] == "either"
    where, cookie = give(zone, path, otp=wrong(otp))
    assert where.endswith("?wrong") and not cookie and b'role="alert"' in zone.request("GET", path + "?wrong")[2]
    where, cookie = give(zone, path, otp=f"{otp[:4]}-{otp[4:]} ")
    assert where == path and cookie.startswith("__Host-mdm_link=")
    assert profile(zone, path) == 303 and profile(zone, path, "__Host-mdm_link=" + "x" * 32) == 303
    assert b'id="steps"' in zone.request("GET", path, headers={"Cookie": cookie})[2]
    assert profile(zone, path, cookie) == 200
    assert give(zone, path, otp=otp)[0].endswith("?wrong")  # used once
    assert zone.sql("SELECT otp, otp_used_ms > 0 FROM pending_enrollment ORDER BY created_ms DESC, id LIMIT 1")[0][0] is None


def test_the_log_in_of_its_person(zone, provision):
    """R34: with "either", the person's own log-in opens the link, or a session of the portal; nobody else's."""
    _, path, _ = provision()
    assert give(zone, path, login="otto", password=harness.PERSON_PASSWORD)[0].endswith("?wrong")
    otto, anna = Browser(zone), Browser(zone)
    assert otto.login("otto") == 204 and profile(zone, path, otto.cookie) == 303
    where, cookie = give(zone, path, login=harness.PERSON, password=harness.PERSON_PASSWORD)
    assert where == path and profile(zone, path, cookie) == 200
    _, path, _ = provision()
    assert profile(zone, path, cookie) == 303  # proved for another enrolment
    assert anna.login() == 204 and profile(zone, path, anna.cookie) == 200


def test_refused_alike_and_locked(zone, console, provision):
    """R20, R21: wrong, used, other person's, unknown and locked are answered alike; the fifth wrong one locks, and a reset opens."""
    key, path, otp = provision()
    _, foreign, other = provision("otto")
    used, used_path, used_otp = provision()
    assert give(zone, used_path, otp=used_otp)[0] == used_path
    answers = set()
    for where, text in ((path, wrong(otp)), (path, other), (used_path, used_otp), ("/enroll/" + "A" * 32, otp), *[(path, wrong(otp))] * 3, (path, otp)):
        status, headers, body = post(zone, where, otp=text)
        kept = sorted((k, v.replace(where, "")) for k, v in headers.items() if k != "Date")
        answers.add((status, str(kept), body))
    assert len(answers) == 1, answers
    assert console.get(f"/pending/{key}")["state"] == "locked"
    assert zone.request("GET", path)[0] == 403
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'pending.prove' AND outcome = 'refused' AND object_id = ?", key)[0][0] == 6
    console.post(f"/pending/{key}/otp/reset", {})
    fresh = console.post(f"/pending/{key}/otp")["otp"]
    assert fresh != otp and give(zone, path, otp=otp)[0].endswith("?wrong") and give(zone, path, otp=fresh)[0] == path
    assert give(zone, foreign, otp=other)[0] == foreign  # untouched by it


def test_an_address_may_be_wrong_ten_times_a_minute(zone, provision):
    """PEN-04, R20, facts 8.2: then it waits, even with the right one; others don't."""
    _, path, otp = provision()
    tries = [zone.request("POST", "/enroll/" + "B" * 32, urlencode({"otp": otp}), FORM, source="127.8.1.1") for _ in range(12)]
    assert [t[0] for t in tries] == [303] * 10 + [429] * 2 and 0 < int(tries[-1][1]["Retry-After"]) <= 60
    assert zone.request("POST", path, urlencode({"otp": otp}), FORM, source="127.8.1.1")[0] == 429
    assert give(zone, path, otp=otp.lower())[0] == path


def test_the_portal_asks_for_a_phone(zone, console, people):
    """POR-02: required, in E.164, kept; a device of one's own needs no further proof."""
    anna = Browser(zone)
    assert anna.login() == 204 and anna.json("GET", "/api/v1/policy")[1]["phone"]["ask"] == "off"
    assert console.call("PUT", "/otp-settings", {"phone": "required"})[0] == 200
    try:
        body = {"platform": "ios", "ownership": "personal"}
        assert anna.json("GET", "/api/v1/policy")[1]["phone"]["ask"] == "required"
        for phone in ({}, {"phone": ""}, {"phone": "12"}, {"phone": None}):
            status, got = anna.json("POST", "/api/v1/enrollments", {**body, **phone})
            assert (status, got["field"]) == (400, "phone"), got
        made = anna.enrol(phone="+49 (30) 123 4567")
        assert zone.sql("SELECT phone, notify FROM pending_enrollment WHERE id = ?", made["id"])[0][0] == "+49301234567"
        assert profile(zone, made["path"]) == 200
        anna.call("DELETE", f"/api/v1/enrollments/{made['id']}")
    finally:
        console.call("PUT", "/otp-settings", {"phone": "off"})


def test_the_phone_without_scripts(zone, console, people):
    """POR-02: the plain form asks as well, keeps what was typed, says what is wrong, and the number is kept in E.164."""
    anna = Browser(zone)
    assert anna.login() == 204 and b'name="phone"' not in anna.call("GET", "/start")[2]
    assert console.call("PUT", "/otp-settings", {"phone": "required"})[0] == 200
    try:
        page = anna.call("GET", "/start")[2]
        assert b'name="phone"' in page and b'type="tel"' in page and b"required" in page
        for phone in ("", "12<b>"):
            status, _, page = anna.call("POST", "/start", urlencode({"phone": phone, "ownership": "corporate"}), headers=FORM)
            assert status == 400 and b'role="alert"' in page and b"12<b>" not in page and (not phone or b"12&lt;b&gt;" in page)
            assert b'value="corporate" checked' in page and b'value="personal">' in page
        status, headers, _ = anna.call("POST", "/start", urlencode({"phone": "+49 30/123 45 67"}), headers=FORM)
        assert status == 303 and headers["Location"].startswith("/enroll/")
        made = anna.json("GET", "/api/v1/enrollments")[1]["enrollments"][0]
        assert zone.sql("SELECT phone FROM pending_enrollment WHERE id = ?", made["id"])[0][0] == "+49301234567"
        anna.call("DELETE", f"/api/v1/enrollments/{made['id']}")
    finally:
        console.call("PUT", "/otp-settings", {"phone": "off"})


def test_links_begin_with_the_zones_address(zone, console, people):
    """PEN-09: one address for every link and QR code, of console and portal; without it the server's own."""
    anna = Browser(zone)
    assert anna.login() == 204
    plain = anna.enrol()
    before = zone.request("GET", plain["path"] + "/qr.svg")[2]
    assert plain["link"] == zone.public_url + plain["path"]
    assert console.call("PUT", "/enrollment-settings", {"public_url": "https://go.example.org"})[0] == 200
    try:
        made = anna.enrol()
        assert made["link"] == "https://go.example.org" + made["path"] and made["path"].startswith("/enroll/")
        shown = console.post("/pending", {"person_id": people["otto"], "platform": "ios"})
        assert shown["link"].startswith("https://go.example.org/enroll/")
        assert console.get(f"/pending/{made['id']}/link")["link"] == made["link"]
        assert zone.request("GET", plain["path"] + "/qr.svg")[2] != before  # of the same link, by another address
        assert zone.request("GET", made["path"] + "/qr.svg")[2] == console.call("GET", f"/pending/{made['id']}/qr.svg")[2]
        both = "${enrol.link} ${enrol.otp}"
        text = console.post("/notifications/templates/enroll_provisioned/en/preview", {"subject": "x", "text": both, "html": f"<p>{both}</p>", "sms": both})
        assert text["text"].startswith("https://go.example.org/enroll/")
    finally:
        console.call("PUT", "/enrollment-settings", {"public_url": ""})
        for one in anna.json("GET", "/api/v1/enrollments")[1]["enrollments"]:
            anna.call("DELETE", f"/api/v1/enrollments/{one['id']}")


def test_not_before_its_time(zone, console, people):
    """PEN-01, PEN-06, R15: prepared for later: the link says from when and gives nothing, whatever is tried; those entitled see it before."""
    ident, answer = people["otto"], console.call("POST", "/pending", {"person_id": people["otto"], "valid_from": "next week"})
    assert answer[0] == 400 and answer[2]["field"] == "valid_from"
    assert console.call("POST", "/pending", {"person_id": ident, "valid_from": "2999-01-01"})[0] == 400
    assert console.call("POST", "/pending", {"person_id": ident, "serial": "UNKNOWN"})[2]["field"] == "serial"
    assert console.call("POST", "/pending", {"person_id": ident, "imei": "12"})[2]["field"] == "imei"
    made = console.post("/pending", {"person_id": ident, "serial": "c02-abc 123", "imei": "", "valid_from": f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() + 86400))}"})
    path, otp = urlsplit(made["link"]).path, console.post(f"/pending/{made['id']}/otp")["otp"]
    assert (made["serial"], made["imei"]) == ("C02ABC123", None) and made["valid_from"] and made["state"] == "created" and made["expires_at"] > made["valid_from"]
    status, _, page = zone.request("GET", path)
    assert status == 403 and f'datetime="{made["valid_from"]}"'.encode() in page and b"Otto" not in page
    assert zone.request("GET", path + "/qr.svg")[0] == 403 and zone.request("GET", path + "/trust.mobileconfig")[0] == 403
    where, cookie = give(zone, path, otp=otp)
    assert where.endswith("?wrong") and not cookie and profile(zone, path) == 403
    zone.sql("UPDATE pending_enrollment SET valid_from_ms = 1 WHERE id = ?", made["id"])
    where, cookie = give(zone, path, otp=otp)
    assert where == path and profile(zone, path, cookie) == 200
    console.call("POST", f"/pending/{made['id']}/cancel")


AGENT = {"component": "org.example.agent/.AdminReceiver", "url": "https://files.example.org/agent.apk?a=1&b=2", "checksum": "9f" * 32}
ANDROID = {"User-Agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0 Mobile Safari/537.36"}


def kind(browser):
    return next(k for k in browser.json("GET", "/api/v1/policy")[1]["kinds"] if k["kind"] == "android")


def test_android_needs_an_agent(zone, console, people):
    """POR-02, POR-04: without an agent it is not available yet, and its links say so."""
    anna = Browser(zone)
    assert anna.login() == 204 and kind(anna) == {"kind": "android", "allowed": True, "available": False}
    status, problem = anna.json("POST", "/api/v1/enrollments", {"platform": "android", "ownership": "personal"})
    assert (status, problem["field"]) == (409, "platform")
    made = console.post("/pending", {"person_id": people["otto"], "platform": "android", "ownership": "corporate"})
    path = urlsplit(made["link"]).path
    status, _, page = zone.request("GET", path)
    assert status == 200 and "can't be enrolled here yet" in page.decode().replace("&#39;", "'")
    assert zone.request("GET", path + "/owner.svg")[0] == 403
    console.post(f"/pending/{made['id']}/cancel")


def test_android_page(zone, console, people):
    """POR-04: agent, server, user and what is asked for, by the person's own enrolment; an open link tells less, and none gives a profile."""
    anna, form = Browser(zone), {"platform": "android", "ownership": "corporate"}
    assert anna.login() == 204 and console.call("PUT", "/enrollment-settings", {"agent": AGENT, "public_url": "https://go.example.org"})[0] == 200
    try:
        assert kind(anna)["available"]
        made = anna.enrol(**form)
        assert made["link"].startswith("https://go.example.org/enroll/")
        page = zone.request("GET", made["path"], headers={**ANDROID, "Accept-Language": "de"})[2].decode()
        for text in ("https://files.example.org/agent.apk?a=1&amp;b=2", "<span>https://go.example.org</span>", "<span>anna</span>", "Anna Example", "Seriennummer und IMEI",
                     f"intent://go.example.org{made['path']}#Intent;scheme=https;package=org.example.agent;S.browser_fallback_url=https%3a%2f%2ffiles.example.org"):
            assert text.lower() in page.lower(), text
        assert 'id="asks"' not in page and "intent:" not in zone.request("GET", made["path"])[2].decode()
        assert zone.request("GET", made["path"] + "/profile.mobileconfig")[0] == 303
        owner = zone.request("GET", made["path"] + "/owner.svg")
        assert owner[0] == 200 and owner[1]["Content-Type"] == "image/svg+xml"
        assert owner[2] == console.call("POST", f"/pending/{made['id']}/device-owner?format=svg", {})[2]
        other = console.post("/pending", {"person_id": people[harness.PERSON], "platform": "unknown", "ownership": "personal"})
        path = urlsplit(other["link"]).path
        page = zone.request("GET", path, headers=ANDROID)[2].decode()
        assert "agent.apk" in page and "one-time password that you were sent, or for your password" in page and "nna" not in page and "owner.svg" not in page
        assert "<span>anna</span>" in anna.call("GET", path, headers=ANDROID, base="")[2].decode()
        assert b"?on=android" in zone.request("GET", path)[2]
        assert b"agent.apk" in zone.request("GET", path + "?on=android")[2]
        assert zone.request("GET", path + "/owner.svg")[0] == 403 and zone.request("GET", "/enroll/" + "A" * 32 + "/owner.svg")[0] == 403
        console.call("PUT", "/otp-settings", {"android": "otp"})
        sent = anna.enrol(**form)
        assert "asks for the one-time password" in zone.request("GET", sent["path"])[2].decode()
        assert zone.sql("SELECT otp IS NOT NULL FROM pending_enrollment WHERE id = ?", sent["id"])[0][0]  # it is for the agent
        headers = anna.call("POST", "/start", "ownership=personal", headers={**FORM, **ANDROID})[1]
        assert b"agent.apk" in zone.request("GET", headers["Location"], headers=ANDROID)[2]
        console.post(f"/pending/{other['id']}/cancel")
    finally:
        console.call("PUT", "/otp-settings", {"android": "either"})
        console.call("PUT", "/enrollment-settings", {"agent": None, "public_url": ""})
        for one in anna.json("GET", "/api/v1/enrollments")[1]["enrollments"]:
            anna.call("DELETE", f"/api/v1/enrollments/{one['id']}")


def test_a_link_for_any_platform_on_a_computer(zone, console, people):
    """POR-02, PEN-09, ENR-03: without scripts one chooses what the policy allows, or goes on with the code; what was chosen stays until something was proved."""
    iphone = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Version/17.5 Mobile/15E148 Safari/604.1"}
    assert console.call("PUT", "/enrollment-settings", {"agent": AGENT})[0] == 200
    policy, settings = zone.sql("SELECT v.policy_id, v.settings FROM policy_version v JOIN policy p ON p.id = v.policy_id AND v.number = p.published WHERE p.type = 'enrollment'")[0]
    made = console.post("/pending", {"person_id": people[harness.PERSON], "platform": "unknown", "ownership": "personal"})
    path = urlsplit(made["link"]).path
    try:
        page = zone.request("GET", path)[2].decode()
        assert f'href="{path}?on=ios"' in page and f'href="{path}?on=android"' in page and 'id="other" class="qr">' in page and "qr.svg" in page
        assert "nna" not in page and 'name="otp"' not in page  # who holds the link alone does not read whose it is
        asked = zone.request("GET", path + "?on=ios")[2].decode()
        assert 'name="otp"' in asked and f'action="{path}?on=ios"' in asked
        assert zone.request("GET", path + "?on=windows%00&on=%zz")[2].decode() == page
        assert b'name="otp"' in zone.request("GET", path, headers=iphone)[2]
        where, _ = give(zone, path + "?on=ios", login=harness.PERSON, password="wrong")
        assert where == path + "?on=ios&wrong" and b'role="alert"' in zone.request("GET", where)[2]
        where, cookie = give(zone, path + "?on=ios", login=harness.PERSON, password=harness.PERSON_PASSWORD)
        assert where == path + "?on=ios"
        assert b"profile.mobileconfig" in zone.request("GET", where, headers={"Cookie": cookie})[2]
        zone.publish(policy, json.dumps({**json.loads(settings), "platforms": {"ios": False, "android": True, "eas": True}}))
        assert b"agent.apk" in zone.request("GET", path)[2]  # nothing to choose
        console.call("PUT", "/enrollment-settings", {"agent": None})
        status, _, page = zone.request("GET", path)
        assert status == 403 and b"?on=" not in page  # neither is allowed and there
        zone.publish(policy, settings)
        assert b'name="otp"' in zone.request("GET", path)[2]  # what the zone lacks is not offered
    finally:
        zone.publish(policy, settings)
        console.call("PUT", "/enrollment-settings", {"agent": None})
        console.post(f"/pending/{made['id']}/cancel")


@pytest.mark.parametrize("stage", ["issued", "authenticated"])
def test_reset_of_what_was_never_finished(zone, console, provision, stage):
    """PEN-02, PEN-04, R20, R35: one click gives the link a new password; nothing of what the first phone got is good for anything after."""
    key, path, otp = provision()
    _, cookie = give(zone, path, otp=otp)
    first, second = new_device(zone), new_device(zone)
    data = zone.request("GET", path + "/profile.mobileconfig", headers={"Cookie": cookie})[2]
    first.install(data)
    if stage == "authenticated":
        first.authenticate()
    one = console.get(f"/pending/{key}")
    assert (one["state"], one["otp"]["state"]) == (stage, "used")
    assert console.call("POST", f"/pending/{key}/otp/reset", {"notify": ""})[0] == 204
    one = console.get(f"/pending/{key}")
    assert (one["state"], one["otp"]["state"], one["device_id"], list(one["steps"])) == ("created", "open", None, ["created"])
    for message in (first.authenticate, first.token_update):
        with pytest.raises(Refused) as no:
            message()
        assert no.value.status == 400
    with pytest.raises(ScepError):
        first.install(data)
    assert profile(zone, path, cookie) == 303 and give(zone, path, otp=otp)[0].endswith("?wrong")
    where, cookie = give(zone, path, otp=console.post(f"/pending/{key}/otp")["otp"])
    assert where == path
    second.enroll(zone.request("GET", path + "/profile.mobileconfig", headers={"Cookie": cookie})[2])
    second.poll()
    assert console.get(f"/pending/{key}")["state"] == "completed"
    assert sorted(r[0] for r in zone.sql("SELECT status FROM certificate WHERE pending_id = ?", key)) == ["active", "revoked"]
    assert console.call("POST", f"/pending/{key}/otp/reset", {"notify": ""})[0] == 409


def test_cancelled_in_the_middle(zone, console, provision):
    """R35: a device that has made itself known does not finish an enrolment that was cancelled."""
    key, path, otp = provision()
    device, (_, cookie) = new_device(zone), give(zone, path, otp=otp)
    device.install(zone.request("GET", path + "/profile.mobileconfig", headers={"Cookie": cookie})[2])
    device.authenticate()
    console.post(f"/pending/{key}/cancel")
    with pytest.raises(Refused) as no:
        device.token_update()
    assert no.value.status == 400 and console.get(f"/pending/{key}")["state"] == "cancelled"
