"""Account-driven enrolment: from the settings of a device to its management (IOS-08, POR-03, facts 2.5)."""
import base64
import json
import plistlib
import urllib.parse

import pytest

import harness
from clients import Console, new_device, portal
from sim import scep
from sim.device import FORBIDDEN, FORBIDDEN_COMMANDS, SCHEME, Profile, Refused, WebLogin
from test_delivery import CONTROL, Policy, installed
from test_identity import make_due, run_job

ZONE = {"children": 1}
ANNA = {"login": harness.PERSON, "password": harness.PERSON_PASSWORD, "ownership": "personal"}
ANNAS, BENS = "anna@example.org", "ben@example.org"
BEN = {"login": "ben", "password": "ben-Pass-12", "ownership": "personal"}


def switch(console, mode, domain=""):
    status, _, body = console.call("PUT", "/enrollment-settings", {"account": {"mode": mode, "domain": domain}})
    assert status == 200 and body["account"] == {"mode": mode, "domain": domain}, body


@pytest.fixture(scope="module", autouse=True)
def on(zone, console):
    zone.ctl("user", "add", "ben", "--name", "Ben", "--mail", BENS, "--password-stdin", stdin="ben-Pass-12\n")
    switch(console, "both")


@pytest.fixture
def device(zone):
    made = new_device(zone)
    yield made
    made.close()
    zone.sql("UPDATE pending_enrollment SET state = 'cancelled' WHERE state IN ('created', 'opened', 'profile', 'issued', 'authenticated')")


def servers(device, zone, who=ANNAS):
    return device.discover(zone.public_url, who)


def byod(device, zone):
    return servers(device, zone)["mdm-byod"]


def enrolled(device, zone, kind="mdm-byod", account=ANNAS, **fields):
    return device.account_enroll(servers(device, zone)[kind], account, **{**ANNA, **fields})


def record(zone, device):
    rows = zone.sql("SELECT r.id, r.state, r.account, r.apple_account, r.bearer, r.device_id FROM source_record r WHERE r.native_id = ? AND r.live = 1",
                    device.enrollment_id or device.udid)
    assert len(rows) == 1
    return dict(zip(("id", "state", "account", "apple_account", "bearer", "device"), rows[0]))


def test_ios08_discovery(zone, device):
    """The same answer whoever asks, in the order of preference; nothing of the question matters."""
    want = {"mdm-adde": f"{zone.public_url}/enroll/account/adde", "mdm-byod": f"{zone.public_url}/enroll/account/byod"}
    first = zone.request("GET", "/.well-known/com.apple.remotemanagement")
    assert servers(device, zone) == want and list(servers(device, zone)) == list(want)
    for query in ("user-identifier=nobody%40nowhere.example&model-family=Watch", "user-identifier=" + "x" * 6000, "user-identifier=%00%ff&user-identifier=2",
                  "%zz"):
        status, headers, body = zone.request("GET", "/.well-known/com.apple.remotemanagement?" + query)
        assert (status, headers["Content-Type"], body) == (200, "application/json", first[2])
    assert zone.request("POST", "/.well-known/com.apple.remotemanagement", b"x")[0] in (403, 405)


def test_ios08_switched_off_or_not_ready(zone, console, device):
    """Off: 404, so that the device looks elsewhere. Without a push topic: Apple's form of the refusal."""
    base, token = byod(device, zone), None
    token = device.begin(base, ANNAS, **ANNA)
    switch(console, "off")
    with pytest.raises(Refused) as why:
        servers(device, zone)
    assert why.value.status == 404
    assert device.ask(base, token)[0] == 403 and device.ask(base)[0] == 403
    with pytest.raises(Refused) as why:
        WebLogin(device, base + "/login", ANNAS).run(**ANNA)
    assert why.value.status == 403
    switch(console, "byod")
    assert list(servers(device, zone)) == ["mdm-byod"]
    assert device.ask(base.replace("byod", "adde"))[0] == 403
    topic = zone.sql("SELECT value FROM zone_setting WHERE name = 'apns.topic'")[0][0]
    zone.sql("UPDATE zone_setting SET value = '\"\"' WHERE name = 'apns.topic'")
    with pytest.raises(Refused) as why:
        servers(device, zone)
    zone.sql("UPDATE zone_setting SET value = ? WHERE name = 'apns.topic'", topic)
    assert why.value.status == 403 and b"com.apple.well-known.failed" in why.value.body
    switch(console, "both")


def test_ios08_user_enrolment(zone, console, device):
    """The whole way of a device that is its owner's, to InstallProfile and back; what user enrolment forbids is neither asked nor kept."""
    enrolled(device, zone)
    mdm = device.mdm
    assert mdm["EnrollmentMode"] == "BYOD" and mdm["AssignedManagedAppleID"] == ANNAS and "AccessRights" not in mdm
    assert device.profile.verified
    device.poll()
    way = console.get("/pending?origin=account")["items"][0]
    assert way["origin"] == "account" and way["id"] not in {p["id"] for p in console.get("/pending?origin=self&limit=200")["items"]}
    events = [e["detail"] for e in console.get(f"/devices/{way['device_id']}/events?limit=200")["items"] if e["kind"] == "enroll.account"]
    assert events == [{"kind": "byod", "account": ANNAS}]
    got = record(zone, device)
    assert (got["state"], got["account"], got["apple_account"]) == ("enrolled", "byod", ANNAS)
    whole = console.get(f"/devices/{got['device']}")
    assert whole["state"] == "active" and whole["ownership"] == "personal"
    assert not whole["udid"] and not whole["serial"] and not whole["imei"]
    assert device.asked and not device.asked & FORBIDDEN
    assert not {k for k, _ in device.handled} & FORBIDDEN_COMMANDS and all(s == "Acknowledged" for _, s in device.handled)
    plist = plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "org.example.wifi", "PayloadUUID": "A" * 8, "PayloadVersion": 1,
                            "PayloadContent": []})
    console.post(f"/devices/{got['device']}/commands", {"request_type": "InstallProfile", "payload": {"Payload": {"$data": base64.b64encode(plist).decode()}}})
    assert ("InstallProfile", "Acknowledged") in device.poll()
    assert [p["PayloadIdentifier"] for p in device.profiles] == ["org.example.wifi"]


def test_ios08_what_the_server_may_not(zone, console, device):
    """DEV-07, DEV-12: what a user enrolment takes not is not offered, refused with the reason, and never sent; removing its management is its wipe."""
    enrolled(device, zone)
    device.poll()
    got = record(zone, device)
    path = f"/devices/{got['device']}"
    actions = {a["action"]: a for a in console.get(path + "/actions")["items"]}
    assert {k for k, a in actions.items() if a["reason"] == "user_enrolled"} >= {"unlock", "wipe", "ask_restrictions", "invite", "redeem", "configured"}
    assert actions["lock"]["applies"] and actions["unenroll"]["applies"] and actions["install_profile"]["applies"]
    for kind in ("ClearPasscode", "Restrictions", "RestartDevice", "DeviceConfigured"):
        for end, order in (("/commands", {"request_type": kind}), ("/commands/raw", {"command": {"RequestType": kind}})):
            status, _, body = console.call("POST", path + end, order)
            assert status == 409, (kind, end, body)
    status, _, body = console.call("POST", path + "/unenroll", {"wipe": "full", "then": "retire"})
    assert status == 409 and "management" in body["detail"]
    console.post(path + "/commands", {"request_type": "DeviceInformation", "payload": {"Queries": ["UDID", "DeviceName"]}})
    device.asked.clear()
    device.poll()
    assert device.asked == {"DeviceName"}
    device.answers["DeviceInformation"] = {"QueryResponses": {"UDID": "0000-1", "SerialNumber": "CLAIMED1", "IMEI": "490154203237518", "DeviceName": "x"}}
    console.post(path + "/refresh")
    device.poll()
    assert zone.sql("SELECT serial, udid, imei FROM device WHERE id = ?", got["device"])[0] == (None, None, None)
    console.post(path + "/unenroll", {"wipe": "selective", "then": "retire"})
    device.bearer = None
    assert ("RemoveProfile", "Acknowledged") in device.poll(), "whoever goes is not asked to log in"
    assert not device.enrolled and not zone.sql("SELECT 1 FROM source_record WHERE id = ? AND live = 1", got["id"])


def test_pol07_policies_of_a_user_enrolment(zone, console, device):
    """CAT: what user enrolment forbids is not in the profile, and the device's page says why; the device need not have said what it is."""
    enrolled(device, zone)
    device.answers["SecurityInfo"] = {"SecurityInfo": {"PasscodePresent": True}}
    device.poll()
    ident = record(zone, device)["device"]
    policy = Policy(zone, "device_control", ident, apple__camera=False, apple__screenshots=False)
    policy.queued(device)
    keys = Profile(plistlib.dumps(installed(device, CONTROL))).of_type("com.apple.applicationaccess")[0]
    assert keys["allowScreenShot"] is False and "allowCamera" not in keys
    said = json.dumps(console.get(f"/devices/{ident}/policies"))
    assert '"user_enrollment"' in said
    policy.remove()


def test_ios08_device_enrolment(zone, device):
    """ADDE: the device says its UDID, and is managed like any other; no rights in the profile either."""
    enrolled(device, zone, "mdm-adde", ownership="corporate")
    assert device.mdm["EnrollmentMode"] == "ADDE" and "AccessRights" not in device.mdm
    device.poll()
    got = record(zone, device)
    assert got["account"] == "adde" and "UDID" in device.asked
    whole = Console(zone).get(f"/devices/{got['device']}")
    assert whole["udid"] == device.udid and whole["ownership"] == "corporate"


def test_ios08_lost_answers(zone, device):
    """The profile may be fetched again until there is an identity; each later request may be said again; one device comes of it."""
    base = byod(device, zone)
    token = device.begin(base, ANNAS, **ANNA)
    lost, data = device.profile_by(base, token), device.profile_by(base, token)
    old = Profile(lost).identity()
    with pytest.raises(scep.ScepError):
        scep.Client(old["URL"], device.http.fetch).enroll(scep.Request(old["Subject"], old["Challenge"]))
    device.account_install(data, token)
    status, headers, _ = device.ask(base, token)
    assert status == 401 and device.login_url(headers) == base + "/login", "used up: the device may begin anew"
    device.authenticate()
    device.authenticate()
    device.token_update()
    device.token_update()
    device.poll()
    assert zone.sql("SELECT COUNT(*) FROM source_record WHERE native_id = ?", device.enrollment_id)[0][0] == 1


def test_r14_tokens_that_are_no_good(zone, device):
    """Unknown, foreign in kind, expired, cancelled: 401 alike, and nothing of it is stored."""
    base = byod(device, zone)
    token = device.begin(base, ANNAS, **ANNA)
    again = WebLogin(device, base.replace("byod", "again") + "/login").run(**ANNA)
    answers = []
    for url, bad in ((base, "guess"), (base, "x" * 4000), (base, again), (base.replace("byod", "adde"), token)):
        status, headers, body = device.ask(url, bad)
        answers.append((status, headers["WWW-Authenticate"].replace("adde", "byod"), body))
    zone.sql("UPDATE account_token SET expires_ms = 1 WHERE pending_id IS NOT NULL AND used_ms IS NULL")
    status, headers, body = device.ask(base, token)
    answers.append((status, headers["WWW-Authenticate"], body))
    assert len(set(answers)) == 1 and answers[0][0] == 401
    assert zone.sql("SELECT COUNT(*) FROM account_token WHERE hash = ?", token)[0][0] == 0, "only the hash is kept"
    assert not zone.sql("SELECT 1 FROM pending_enrollment WHERE account = 'byod' AND state = 'profile' AND finished_ms IS NULL")


def test_ios08_what_is_no_report(zone, device):
    """R09: not signed, not a property list, too long, of another type."""
    base = byod(device, zone)
    for body, kind, want in ((b"x" * 200, "application/pkcs7-signature", 400), (b"", "application/pkcs7-signature", 400),
                             (b"x" * 70000, "application/pkcs7-signature", 413), (b"<plist/>", "application/xml", 415)):
        assert zone.request("POST", urllib.parse.urlsplit(base).path, body, {"Content-Type": kind})[0] == want
    assert device.ask(base, PRODUCT=None)[0] == 400
    assert device.ask(base, PRODUCT="x" * 300)[0] == 400


def test_ios08_another_persons_account(zone, device):
    """Whoever logs in is whose account was typed on the device; the enrolment gets its own account, whatever was typed."""
    base = byod(device, zone)
    with pytest.raises(Refused) as why:
        device.begin(base, ANNAS, **BEN)
    assert why.value.status == 403
    with pytest.raises(Refused) as why:
        device.begin(base, ANNAS, **{**ANNA, "password": "wrong"})
    assert why.value.status == 200 and b"alert" in why.value.body
    token = device.begin(base, "ANNA@Example.org", **ANNA)
    device.account_install(device.profile_by(base, token), token)
    assert device.mdm["AssignedManagedAppleID"] == ANNAS


def test_enr01_the_policy_decides(zone, console, device):
    """ENR-01, ENR-03: what the policy forbids is said before the device gets anything; a system that is too old when the device says it."""
    base = byod(device, zone)
    policy = next(p for p in console.get("/policies?type=enrollment")["items"])
    saved = zone.sql("SELECT settings FROM policy_version WHERE policy_id = ?", policy["id"])[0][0]
    token = device.begin(base, ANNAS, **ANNA)
    zone.sql("UPDATE policy_version SET settings = REPLACE(settings, '\"8.0\"', '\"99.0\"') WHERE policy_id = ?", policy["id"])
    status, _, body = device.ask(base, token)
    assert status == 403 and b"message" in body
    error = zone.sql("SELECT step FROM pending_enrollment WHERE account = 'byod' ORDER BY created_ms DESC LIMIT 1")[0][0]
    assert "error" in error
    zone.sql("DELETE FROM assignment WHERE object_id = ? AND target_kind = 'none'", policy["id"])
    zone.sql("UPDATE assignment SET target_kind = 'x' || target_kind WHERE object_type = 'enrollment'")
    with pytest.raises(Refused) as why:
        device.begin(base, ANNAS, **ANNA)
    zone.sql("UPDATE assignment SET target_kind = SUBSTR(target_kind, 2) WHERE object_type = 'enrollment'")
    zone.sql("UPDATE policy_version SET settings = ? WHERE policy_id = ?", saved, policy["id"])
    assert why.value.status == 403


def test_ios08_the_token_beside_the_certificate(zone, device):
    """No token, or another one: 401 with the address of a new log-in, no un-enrolment; the person's new token takes the old one's place."""
    enrolled(device, zone)
    device.poll()
    good, other = device.bearer, new_device(zone)
    base = byod(device, zone)
    again = base.replace("byod", "again") + "/login"
    theirs = WebLogin(other, again).run(**BEN)
    for bad in (None, "guess", theirs, device.begin(base, ANNAS, **ANNA)):
        device.bearer = bad
        for call in (device.poll, device.token_update):
            with pytest.raises(Refused) as why:
                call()
            assert why.value.status == 401
    device.bearer = good
    device.poll()
    device.bearer, device.login_again = None, lambda url: WebLogin(device, url).run(**ANNA)
    device.poll()
    new = device.bearer
    assert new and new != good
    device.token_update()
    device.bearer, device.login_again = good, None
    with pytest.raises(Refused):
        device.token_update()
    device.bearer = new
    device.poll()
    assert record(zone, device)["state"] == "enrolled"
    other.close()


def test_ios06_renewal_of_a_user_enrolment(zone, device):
    """The renewed profile keeps mode and account, which a device holds it to, gives no rights, and the new identity needs the same token."""
    enrolled(device, zone)
    device.poll()
    old = device.cert
    make_due(zone, device)
    run_job(zone)
    assert ("InstallProfile", "Acknowledged") in device.poll() and device.cert != old
    assert device.mdm["EnrollmentMode"] == "BYOD" and device.mdm["AssignedManagedAppleID"] == ANNAS and "AccessRights" not in device.mdm
    device.poll()
    good, device.bearer = device.bearer, None
    with pytest.raises(Refused) as why:
        device.poll()
    device.bearer = good
    assert why.value.status == 401


def test_r12_somebody_elses_enrolment(zone, device):
    """A token and a certificate of one enrolment are no good for another, nor is an EnrollmentID; the first stays as it is."""
    enrolled(device, zone)
    device.poll()
    thief = new_device(zone)
    base = byod(device, zone)
    token = thief.begin(base, BENS, **BEN)
    thief.account_install(thief.profile_by(base, token), token)
    own, thief.enrollment_id = thief.enrollment_id, device.enrollment_id
    with pytest.raises(Refused) as why:
        thief.authenticate()
    assert why.value.status == 400
    thief.enrollment_id, thief.bearer = own, device.bearer
    with pytest.raises(Refused) as why:
        thief.authenticate()
    assert why.value.status == 401
    thief.enrollment_id = None
    thief.bearer = token
    with pytest.raises(Refused) as why:
        thief.authenticate()
    assert why.value.status == 400, "a user enrolment says no UDID"
    thief.close()
    device.poll()
    assert record(zone, device)["state"] == "enrolled"


def test_ios08_the_link_gives_no_other_profile(zone, device):
    """What was begun on the device is not finished by a link; the portal shows it all the same."""
    device.begin(byod(device, zone), ANNAS, **ANNA)
    who = portal(zone)
    made = who.call("GET", "/api/v1/enrollments")[1]["enrollments"][0]
    assert zone.request("GET", made["path"])[0] == 200
    assert zone.request("GET", made["path"] + "/profile.mobileconfig")[0] == 303


def test_sec07_the_log_in_leaves_nothing(zone, device):
    """The session of the log-in ends with it; the way back is allowed by the page's policy, and no other site can make it."""
    base = byod(device, zone)
    web = WebLogin(device, base + "/login", ANNAS)
    status, headers, page = web.fetch("GET", web.url)
    assert status == 200 and "form-action 'self' apple-remotemanagement-user-login:" in headers["Content-Security-Policy"]
    assert f'value="{ANNAS}"'.encode() in page and b"<script" not in page
    assert len(web.run(**ANNA)) >= 43 and not web.cookies
    portal_cookie = portal(zone).headers["Cookie"]
    status, headers, _ = zone.request("POST", urllib.parse.urlsplit(base).path + "/start", b"ownership=personal",
                                      {"Content-Type": "application/x-www-form-urlencoded", "Cookie": portal_cookie, "Sec-Fetch-Site": "cross-site"})
    assert status == 403 and not (headers.get("Location") or "").startswith(SCHEME)


def test_ios08_a_domain_of_its_own(zone, console, device):
    """Managed Apple accounts may have another domain than mail addresses."""
    switch(console, "both", "appleid.example.org")
    base = byod(device, zone)
    page = WebLogin(device, base + "/login", "anna@appleid.example.org").fetch("GET", base + "/login?user-identifier=anna%40appleid.example.org")[2]
    assert b'value="anna"' in page
    with pytest.raises(Refused):
        device.begin(base, ANNAS, **ANNA)
    token = device.begin(base, "anna@appleid.example.org", **ANNA)
    assert Profile(device.profile_by(base, token)).mdm()["AssignedManagedAppleID"] == "anna@appleid.example.org"
    for bad in ("no domain", "localhost", "https://example.org", "a:1"):
        assert console.call("PUT", "/enrollment-settings", {"account": {"domain": bad}})[2]["field"] == "account.domain"
    switch(console, "both")
