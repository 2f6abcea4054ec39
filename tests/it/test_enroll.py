"""Enrolment through the portal and its links: POR-01..03, PEN-09, ENR-01..08, R14, R15, R21, R23, R31, R34, MAT-07."""
import json
import plistlib
import re

import pytest

import harness
from sim.device import Device

ORIGIN = {"Sec-Fetch-Site": "same-origin"}


class Browser:
    """A person's browser: keeps the session cookie."""

    def __init__(self, zone):
        self.zone, self.cookie = zone, None

    def call(self, method, path, body=None, headers=None, base="/portal"):
        sent = dict(ORIGIN, **(headers or {}))
        if self.cookie:
            sent["Cookie"] = self.cookie
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        status, got, data = self.zone.request(method, base + path, body=body, headers=sent)
        for cookie in got.get_all("Set-Cookie") or []:
            self.cookie = cookie.split(";")[0]
        return status, got, data

    def json(self, method, path, body=None, **kw):
        status, _, data = self.call(method, path, body, **kw)
        return status, json.loads(data) if data else None

    def login(self, login=harness.PERSON, password=harness.PERSON_PASSWORD):
        return self.call("POST", "/api/v1/session", {"login": login, "password": password})[0]

    def enrol(self, **kw):
        status, made = self.json("POST", "/api/v1/enrollments", dict({"platform": "ios", "ownership": "personal"}, **kw))
        assert status == 201, made
        return made


@pytest.fixture
def anna(zone):
    browser = Browser(zone)
    assert browser.login() == 204
    yield browser
    for entry in browser.json("GET", "/api/v1/enrollments")[1]["enrollments"]:
        browser.call("DELETE", f"/api/v1/enrollments/{entry['id']}")


def challenge_of(profile):
    """The SCEP challenge in a signed profile: the plist lies in the CMS in clear."""
    plist = plistlib.loads(profile[profile.index(b"<?xml"):profile.rindex(b"</plist>") + 8])
    for payload in plist["PayloadContent"]:
        if payload["PayloadType"] == "com.apple.security.scep":
            return payload["PayloadContent"]["Challenge"]
    raise AssertionError("no SCEP payload")


def test_r02_nothing_without_log_in(zone):
    """R02: every route of the portal but the public ones asks for a log-in."""
    for method, path in (("GET", "/api/v1/me"), ("GET", "/api/v1/policy"), ("GET", "/api/v1/devices"),
                         ("GET", "/api/v1/enrollments"), ("POST", "/api/v1/enrollments"), ("GET", "/api/v1/enrollments/x"),
                         ("DELETE", "/api/v1/enrollments/x"), ("DELETE", "/api/v1/devices/x"), ("DELETE", "/api/v1/session"),
                         ("GET", "/start"), ("POST", "/start")):
        status, _, body = zone.request(method, "/portal" + path, headers=ORIGIN)
        assert status == 401, (method, path, status, body)


def test_r21_same_answer_for_unknown_and_wrong(zone):
    """R21: unknown person, wrong password, empty password and nonsense answer alike."""
    answers = set()
    for login, password in (("anna", "wrong-Pass"), ("nobody", "wrong-Pass"), ("x\\y", "wrong-Pass"), ("anna", "")):
        status, _, body = Browser(zone).call("POST", "/api/v1/session", {"login": login, "password": password})
        body = json.loads(body)
        body.pop("instance", None)
        answers.add((status, json.dumps(body, sort_keys=True)))
    assert len(answers) == 1 and answers.pop()[0] == 401


def test_r23_change_needs_same_origin(zone, anna):
    """R23, API-04: no change from another site, none without a sign of origin, none without JSON."""
    made = {"platform": "ios", "ownership": "personal"}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert anna.call("POST", "/api/v1/enrollments", made, headers=headers)[0] == 403
    status, _, _ = zone.request("POST", "/portal/api/v1/enrollments", body=json.dumps(made),
                                headers={"Cookie": anna.cookie, "Content-Type": "application/json", "Origin": "https://evil.example"})
    assert status == 403
    assert anna.call("POST", "/api/v1/enrollments", "platform=ios", headers={"Content-Type": "text/plain"})[0] == 415


def test_wrong_method_and_unknown_path(zone, anna):
    status, headers, _ = anna.call("PUT", "/api/v1/devices")
    assert status == 405 and "GET" in headers["Allow"]
    assert anna.call("GET", "/api/v1/nothing")[0] == 404
    assert anna.call("GET", "/ui/../../etc/passwd")[0] in (400, 404)
    assert anna.call("GET", "/ui/passwd")[0] == 404


@pytest.mark.parametrize("body", [{}, {"platform": "toaster", "ownership": "personal"}, {"platform": "ios", "ownership": 7},
                                  {"platform": "ios", "ownership": "personal", "extra": 1}, [], "{", "null"])
def test_bad_enrolment_bodies(anna, body):
    status, _, text = anna.call("POST", "/api/v1/enrollments", body, headers={"Content-Type": "application/json"})
    assert status == 400, text


def test_login_page_is_a_plain_form(zone):
    """POR-01, house 3.11: log-in works without scripts, and what was typed comes back escaped (R24)."""
    status, headers, page = zone.request("GET", "/portal/login", headers={"Accept-Language": "de-DE,de;q=0.9"})
    assert status == 200 and b'<html lang="de">' in page and b'method="post"' in page
    assert "default-src 'self'" in headers["Content-Security-Policy"] and b"<script" not in page
    form = {"Content-Type": "application/x-www-form-urlencoded", **ORIGIN}
    status, _, page = zone.request("POST", "/portal/login", body='login="><script>alert(1)</script>&password=x', headers=form)
    assert status == 200 and b"<script>alert" not in page and b"&lt;script&gt;" in page
    status, headers, _ = zone.request("POST", "/portal/login", headers=form,
                                      body=f"login={harness.PERSON}&password={harness.PERSON_PASSWORD}")
    assert status == 303 and headers["Location"] == "/portal/"
    cookie = headers["Set-Cookie"]
    assert cookie.startswith("__Host-") and "HttpOnly" in cookie and "Secure" in cookie and "SameSite=Strict" in cookie
    status, headers, _ = zone.request("POST", "/portal/start", body="ownership=corporate",
                                      headers=dict(form, Cookie=cookie.split(";")[0]))
    assert status == 303 and headers["Location"].startswith("/enroll/")


def test_log_out_ends_the_session(zone):
    browser = Browser(zone)
    assert browser.login() == 204
    old = browser.cookie
    assert browser.call("DELETE", "/api/v1/session")[0] == 204
    browser.cookie = old
    assert browser.call("GET", "/api/v1/me")[0] == 401


def test_policy_tells_what_is_not_available_yet(anna):
    """POR-02: what the zone lacks is not offered, and the person does not read why."""
    status, policy = anna.json("GET", "/api/v1/policy")
    kinds = {k["kind"]: k for k in policy["kinds"]}
    assert status == 200 and policy["may"] and kinds["ios"]["available"] and not kinds["android"]["available"]
    assert "missing" not in kinds["android"]
    assert anna.call("POST", "/api/v1/enrollments", {"platform": "android", "ownership": "personal"})[0] == 409


def test_an_administrator_reads_what_is_missing(zone, anna, console):
    """POR-02: whoever is logged in at the console, too, sees which item the zone lacks."""
    anna.cookie += "; " + console.headers["Cookie"]
    kinds = {k["kind"]: k for k in anna.json("GET", "/api/v1/policy")[1]["kinds"]}
    assert kinds["android"]["missing"] == "agent" and "missing" not in kinds["ios"]


def test_trust_is_a_step_of_its_own(zone, anna):
    """POR-03: with a certificate of one's own authority the trust profile is the first step, and the status tells of both."""
    made = anna.enrol()
    page = zone.request("GET", made["path"])[2].decode()
    assert re.findall(r'data-step="(\w+)"', page) == ["trust", "download", "install", "connect"]

    def at():
        return json.loads(zone.request("GET", made["path"] + "/status")[2])["at"]
    assert at() == 0
    status, headers, _ = zone.request("GET", made["path"] + "/trust.mobileconfig")
    assert status == 200 and headers["Content-Type"] == "application/x-apple-aspen-config" and at() == 1
    zone.request("GET", made["profile"])
    assert at() == 2


def test_at_most_five_open(zone, anna):
    for _ in range(5 - len(anna.json("GET", "/api/v1/enrollments")[1]["enrollments"])):
        anna.enrol()
    assert anna.call("POST", "/api/v1/enrollments", {"platform": "ios", "ownership": "personal"})[0] == 409


def test_link_page_profile_and_status(zone, anna):
    """POR-03, facts 2.3: the profile's headers; each download kills the earlier challenge; status by ETag."""
    made = anna.enrol()
    status, headers, page = zone.request("GET", made["path"])
    assert status == 200 and b"Anna Example" in page and headers["Cache-Control"] == "no-store"
    status, headers, first = zone.request("GET", made["profile"])
    assert status == 200 and headers["Content-Type"] == "application/x-apple-aspen-config"
    assert headers["Content-Disposition"] == 'attachment; filename="enroll.mobileconfig"' and headers["Cache-Control"] == "no-store"
    _, _, second = zone.request("GET", made["profile"])
    assert challenge_of(first) != challenge_of(second)
    rows = zone.sql("SELECT COUNT(*) FROM challenge WHERE pending_id = ?", made["id"])
    assert rows[0][0] == 1
    status, headers, body = zone.request("GET", made["path"] + "/status")
    assert status == 200 and json.loads(body)["state"] == "profile"
    status, _, body = zone.request("GET", made["path"] + "/status", headers={"If-None-Match": headers["ETag"]})
    assert status == 304 and body == b""
    status, headers, svg = zone.request("GET", made["path"] + "/qr.svg")
    assert status == 200 and headers["Content-Type"] == "image/svg+xml" and svg.startswith(b"<svg")


def test_head_makes_no_challenge(zone, anna):
    made = anna.enrol()
    status, _, body = zone.request("HEAD", made["profile"])
    assert status == 200 and body == b""
    assert zone.sql("SELECT COUNT(*) FROM challenge WHERE pending_id = ?", made["id"])[0][0] == 0


def test_r15_bad_links_tell_nothing(zone, anna):
    """R15: unknown, cancelled and expired links: 403 with one and the same page, nobody's name on it."""
    gone, old = anna.enrol(), anna.enrol()
    assert anna.call("DELETE", f"/api/v1/enrollments/{gone['id']}")[0] == 204
    zone.sql("UPDATE pending_enrollment SET expires_ms = 1 WHERE id = ?", old["id"])
    pages = set()
    for path in ("/enroll/unknown-token", gone["path"], old["path"], "/enroll/" + "x" * 200):
        for tail in ("", "/profile.mobileconfig", "/trust.mobileconfig", "/qr.svg"):
            status, _, body = zone.request("GET", path + tail)
            assert status == 403, (path, tail, status)
            pages.add(body)
    assert len(pages) == 1 and b"Anna" not in pages.pop()


def test_r34_others_enrolments_look_like_none(zone, anna):
    """R34: another person's enrolment and device can't be seen or changed."""
    made = anna.enrol()
    zone.ctl("user", "add", "ben", "--name", "Ben", "--password-stdin", stdin="ben-Pass-12\n", check=False)
    ben = Browser(zone)
    assert ben.login("ben", "ben-Pass-12") == 204
    assert ben.call("GET", f"/api/v1/enrollments/{made['id']}")[0] == 404
    assert ben.call("DELETE", f"/api/v1/enrollments/{made['id']}")[0] == 404
    assert ben.json("GET", "/api/v1/devices")[1] == {"devices": [], "enrollments": []}


def test_devices_answer_304(anna):
    """POR-01: the poll of the portal costs nothing while nothing changes."""
    status, headers, _ = anna.call("GET", "/api/v1/devices")
    assert status == 200
    status, _, body = anna.call("GET", "/api/v1/devices", headers={"If-None-Match": headers["ETag"]})
    assert status == 304 and body == b""


def test_assets_are_cached_by_version(zone):
    _, _, page = zone.request("GET", "/portal/login")
    url = re.search(rb'href="(/portal/ui/portal\.css\?v=\w+)"', page)[1].decode()
    status, headers, _ = zone.request("GET", url)
    assert status == 200 and "immutable" in headers["Cache-Control"]
    status, _, _ = zone.request("GET", url, headers={"If-None-Match": headers["ETag"]})
    assert status == 304
    assert zone.request("GET", "/portal/ui/portal.css")[1]["Cache-Control"] == "no-cache"


def test_ui02_first_view_is_small(zone):
    """UI-02: everything of the first view together is far below 200 KB."""
    total = sum(len(zone.request("GET", f"/portal/ui/{name}")[2]) for name in ("portal.css", "app.js", "common.js", "en.json", "icon.svg"))
    assert total < 60_000


def test_usr10_throttle(fresh_zone):
    """USR-10: after a few failures the account has to wait, whatever the password; another page of the zone says so too."""
    zone = fresh_zone()
    seen = [Browser(zone).call("POST", "/api/v1/session", {"login": "anna", "password": "wrong-Pass"})[0] for _ in range(8)]
    assert seen[0] == 401 and seen[-1] == 429 and set(seen) == {401, 429}
    status, headers, _ = Browser(zone).call("POST", "/api/v1/session", {"login": "anna", "password": harness.PERSON_PASSWORD})
    assert status == 429 and int(headers["Retry-After"]) > 0


def test_domain_field_only_if_needed(zone):
    """POR-01: the domain field appears when a source has to be named, and then names it."""
    assert b'name="domain"' not in zone.request("GET", "/portal/login")[2]
    zone.sql("INSERT INTO user_source (id, name, kind, created_ms) VALUES ('s2', 'Second', 'local', 0)")
    try:
        assert b'name="domain"' in zone.request("GET", "/portal/login")[2]
        status, _, _ = Browser(zone).call("POST", "/api/v1/session", {"login": harness.PERSON, "domain": "second",
                                                                        "password": harness.PERSON_PASSWORD})
        assert status == 401
    finally:
        zone.sql("DELETE FROM user_source WHERE id = 's2'")


def test_enr05_the_person_unenrols(zone, anna):
    """ENR-05, R34: by the policy's setting, once, and nobody else's device."""
    device = Device(str(zone.tls_dir / "ca.pem"))
    device.enroll(zone.public_url + anna.enrol()["profile"])
    found = [d for d in anna.json("GET", "/api/v1/devices")[1]["devices"] if d["state"] == "active"]
    assert len(found) == 1 and found[0]["unenroll"] == "delete" and found[0]["name"].endswith("Anna Example")
    path = f"/api/v1/devices/{found[0]['id']}"
    zone.ctl("user", "add", "carl", "--name", "Carl", "--password-stdin", stdin="carl-Pass-12\n", check=False)
    carl = Browser(zone)
    assert carl.login("carl", "carl-Pass-12") == 204
    assert carl.call("DELETE", path)[0] == 404
    assert anna.call("DELETE", path)[0] == 204
    assert anna.call("DELETE", path)[0] == 409
    states = {d["id"]: d["state"] for d in anna.json("GET", "/api/v1/devices")[1]["devices"]}
    assert states[found[0]["id"]] == "wipe_pending"
    kinds = zone.sql("SELECT request_type FROM command WHERE device_id = ? AND open = 1", found[0]["id"])
    assert [k[0] for k in kinds] == ["RemoveProfile"]
