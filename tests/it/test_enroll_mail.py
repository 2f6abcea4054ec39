"""The portal's mail flow through its API: POR-01, POR-05, ENR-01..03, ENR-08, R02, R17, R23, R34."""
import pytest

import harness
import seed
from test_enroll import ORIGIN, Browser

BEN = ("ben", "ben-Pass-1")


@pytest.fixture(autouse=True)
def mail(zone):
    """Nothing of mail is left behind, since the zone is shared."""
    yield
    zone.sql("DELETE FROM device WHERE level = 'email_only'")
    zone.sql("DELETE FROM eas_server")
    zone.sql("DELETE FROM zone_setting WHERE name = 'eas.public_host'")


@pytest.fixture
def anna(zone):
    browser = Browser(zone)
    assert browser.login() == 204
    return browser


@pytest.fixture
def me(zone):
    return seed.person_id(zone, harness.PERSON)


def kind(browser):
    return next(k for k in browser.json("GET", "/api/v1/policy")[1]["kinds"] if k["kind"] == "email")


def shown(browser, device):
    return next(d for d in browser.json("GET", "/api/v1/devices")[1]["devices"] if d["id"] == device)


def settings(zone, old, new):
    zone.sql("UPDATE policy_version SET settings = REPLACE(settings, ?, ?)", old, new)


def test_mail_needs_a_server(zone, anna):
    """POR-02: without an ActiveSync server of the person's source, or with a switched-off one, mail is not offered."""
    assert kind(anna) == {"kind": "email", "allowed": True, "available": False}
    seed.mail_server(zone, enabled=0)
    assert not kind(anna)["available"]
    status, problem = anna.json("GET", "/api/v1/mail")
    assert status == 409 and "not available" in problem["detail"]
    seed.mail_server(zone)
    assert kind(anna)["available"]
    assert anna.json("GET", "/api/v1/mail")[0] == 200


def test_account_settings(zone, anna, me):
    """POR-05: the exact settings; the domain only where log-ins need one."""
    seed.mail_server(zone)
    account = anna.json("GET", "/api/v1/mail")[1]
    host = zone.portal_url.split("/")[2]
    assert account == {"server": host, "mail": "anna@example.org", "user": harness.PERSON, "domain": "", "tls": True}
    zone.ctl("setting", "set", "eas.public_host", '"eas.example.org"')
    source = zone.sql("SELECT source_id FROM person WHERE id = ?", me)[0][0]
    zone.sql("UPDATE user_source SET simple = 0 WHERE id = ?", source)
    zone.sql("INSERT INTO user_domain (domain, source_id) VALUES ('corp', ?)", source)
    try:
        account = anna.json("GET", "/api/v1/mail")[1]
        assert (account["server"], account["domain"]) == ("eas.example.org", "corp")
    finally:
        zone.sql("DELETE FROM user_domain WHERE domain = 'corp'")
        zone.sql("UPDATE user_source SET simple = 1 WHERE id = ?", source)


def test_complete(zone, anna, me):
    """POR-05: a pending mail device is shown as such, asks for what the policy leaves open, and is active then."""
    device = seed.mail_device(zone, me, "COMPLETEIT01")
    entry = shown(anna, device)
    assert (entry["state"], entry["complete"], entry["unenroll"]) == ("pending", True, "no")
    path = f"/api/v1/devices/{device}/complete"
    for body, field in (({}, "ownership"), ({"ownership": "stolen"}, "ownership"), ({"ownership": "personal", "x": 1}, "x"), ([], None)):
        status, problem = anna.json("POST", path, body)
        assert status == 400, (body, problem)
        assert field is None or field in str(problem), problem
    _, got, _ = anna.call("GET", "/api/v1/devices")
    assert anna.call("GET", "/api/v1/devices", headers={"If-None-Match": got["ETag"]})[0] == 304
    assert anna.json("POST", path, {"ownership": "corporate"}) == (200, {"id": device, "state": "active"})
    assert anna.call("GET", "/api/v1/devices", headers={"If-None-Match": got["ETag"]})[0] == 200
    entry = shown(anna, device)
    assert (entry["state"], entry["complete"], entry["ownership"], entry["unenroll"]) == ("active", False, "corporate", "no")
    assert anna.call("POST", path, {"ownership": "corporate"})[0] == 409
    row = zone.sql("SELECT actor_kind, actor_name FROM audit WHERE action = 'device.enroll' AND object_id = ?", device)
    assert [tuple(r) for r in row] == [("person", harness.PERSON)]
    assert zone.sql("SELECT f.kind FROM device d JOIN folder f ON f.id = d.folder_id WHERE d.id = ?", device)[0][0] == "root"


def test_fixed_ownership_is_not_asked(zone, anna, me):
    device = seed.mail_device(zone, me, "FIXEDOWNER01")
    settings(zone, '"ownership":"choose"', '"ownership":"corporate"')
    try:
        assert anna.call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})[0] == 403
        assert anna.call("POST", f"/api/v1/devices/{device}/complete", {})[0] == 200
        assert shown(anna, device)["ownership"] == "corporate"
    finally:
        settings(zone, '"ownership":"corporate"', '"ownership":"choose"')


def test_retired_mail_device(zone, anna, me):
    """ENR-08: whether a retired mail device can be completed again is the policy's word."""
    device = seed.mail_device(zone, me, "RETIREDIT001", state="retired", mode="unknown",
                              folder_id=seed.ROOT_FOLDER)
    zone.sql("UPDATE source_record SET state = 'left' WHERE device_id = ?", device)
    settings(zone, '"reenroll":"self"', '"reenroll":"unretire"')
    try:
        assert not shown(anna, device)["complete"]
        assert anna.call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})[0] == 403
    finally:
        settings(zone, '"reenroll":"unretire"', '"reenroll":"self"')
    assert shown(anna, device)["complete"]
    assert anna.call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})[0] == 200


def test_nobody_else_completes(zone, anna, me):
    """R02, R17, R23, R34: not without a log-in, not across sites, not somebody else's; a managed device has nothing to complete."""
    device = seed.mail_device(zone, me, "NOTYOURS0001")
    path = f"/api/v1/devices/{device}/complete"
    assert zone.request("POST", "/portal" + path, body=b'{"ownership":"personal"}',
                        headers=dict(ORIGIN, **{"Content-Type": "application/json"}))[0] == 401
    assert zone.request("GET", "/portal/api/v1/mail", headers=ORIGIN)[0] == 401
    assert anna.call("POST", path, {"ownership": "personal"}, headers={"Sec-Fetch-Site": "cross-site"})[0] == 403
    if not zone.sql("SELECT id FROM person WHERE login = ?", BEN[0]):
        zone.ctl("user", "add", BEN[0], "--name", "Ben Example", "--password-stdin", stdin=BEN[1] + "\n")
    ben = Browser(zone)
    assert ben.login(*BEN) == 204
    assert ben.call("POST", path, {"ownership": "personal"})[0] == 404
    assert zone.sql("SELECT state FROM device WHERE id = ?", device)[0][0] == "pending"
    managed = seed.device(zone, "Managed", me)
    try:
        assert anna.call("POST", f"/api/v1/devices/{managed}/complete", {"ownership": "personal"})[0] == 409
    finally:
        zone.sql("DELETE FROM device WHERE id = ?", managed)


def twins(zone, me):
    """Two managed iPhones of one model, and a mail app on one of them that waits: their ids, and its object's."""
    phones = [seed.device(zone, f"Twin {i}", me, product="iPhone12,8") for i in range(2)]
    for ident in phones:
        seed.record(zone, ident, person_id=me)
    return phones, seed.mail_device(zone, me, "LEDDJVC7GT7886JH9N4T9LR1Q0")


def forget(zone, phones):
    for ident in phones:
        zone.sql("DELETE FROM source_record WHERE device_id = ?", ident)
        zone.sql("DELETE FROM device WHERE id = ?", ident)


def test_person_says_which_phone_it_is(zone, anna, me):
    """MAT-05: if the policy lets people choose, the portal lists what it could be; the choice joins, and another's device is none."""
    phones, waits = twins(zone, me)
    answer = f"/api/v1/devices/{waits}"
    assert anna.json("GET", f"{answer}/choices")[1] == {"items": []}
    status, problem = anna.json("POST", f"{answer}/complete", {"ownership": "personal", "same_as": phones[0]})
    assert status == 403 and "choose" in problem["detail"]
    settings(zone, '"manual_reconcile":false', '"manual_reconcile":true')
    try:
        items = anna.json("GET", f"{answer}/choices")[1]["items"]
        assert {i["id"] for i in items} == set(phones) and all(len(i["hint"]) == 4 for i in items)
        stranger = seed.device(zone, "Somebody's")
        status, problem = anna.json("POST", f"{answer}/complete", {"ownership": "personal", "same_as": stranger})
        assert status == 400
        status, done = anna.json("POST", f"{answer}/complete", {"ownership": "personal", "same_as": phones[1]})
        assert status == 200 and done["id"] == phones[1]
        assert zone.sql("SELECT mode FROM device WHERE id = ?", phones[1]) == [("ios_mdm_eas",)]
        assert not zone.sql("SELECT id FROM device WHERE id = ?", waits)
        assert shown(anna, phones[1])["undo"] and not shown(anna, phones[0])["undo"]
        assert anna.call("POST", f"/api/v1/devices/{phones[0]}/undo")[0] == 409
        assert anna.json("POST", f"/api/v1/devices/{phones[1]}/undo") == (200, {"id": waits})  # facts 7.6: a wrong choice is taken back
        assert shown(anna, waits)["complete"] and zone.sql("SELECT mode FROM device WHERE id = ?", phones[1]) == [("ios_mdm",)]
        assert anna.json("POST", f"{answer}/complete", {"ownership": "personal", "same_as": phones[1]})[0] == 200
        zone.sql("UPDATE match_undo SET at_ms = 1")
        assert not shown(anna, phones[1])["undo"]
        other = seed.mail_device(zone, me, "MTJ0ERHOAD0KR2URRVQOAKM100")
        items = anna.json("GET", f"/api/v1/devices/{other}/choices")[1]["items"]
        assert [i["id"] for i in items] == phones[:1]  # the other one has its mail app
        status, done = anna.json("POST", f"/api/v1/devices/{other}/complete", {"ownership": "personal", "same_as": "new"})
        assert status == 200 and done["id"] == other and shown(anna, other)["state"] == "active"
        assert "manual" in zone.sql("SELECT match_rule FROM source_record WHERE device_id = ?", other)[0][0]
        forget(zone, [stranger, other])
    finally:
        settings(zone, '"manual_reconcile":true', '"manual_reconcile":false')
        forget(zone, phones)


def test_system_is_said_first(zone, anna, me):
    """MAT-05: whatever the policy says, the person can name the system of a mail app that does not; the choice is among devices of that system."""
    phones, waits = twins(zone, me)
    answer = f"/api/v1/devices/{waits}"
    zone.sql("UPDATE device SET platform = 'unknown' WHERE id = ?", waits)
    zone.sql("UPDATE source_record SET attrs = '{}', class = 'outlook:outlook' WHERE device_id = ?", waits)
    settings(zone, '"manual_reconcile":false', '"manual_reconcile":true')
    try:
        assert len(anna.json("GET", f"{answer}/choices?platform=ios")[1]["items"]) == 2
        assert anna.json("GET", f"{answer}/choices?platform=android")[1]["items"] == []
        assert anna.json("POST", f"{answer}/complete", {"ownership": "personal", "platform": "toaster"})[0] == 400
        status, problem = anna.json("POST", f"{answer}/complete", {"ownership": "personal", "platform": "android", "same_as": phones[0]})
        assert status == 400 and shown(anna, waits)["platform"] == "unknown"  # nothing of it stays
    finally:
        settings(zone, '"manual_reconcile":true', '"manual_reconcile":false')
    assert anna.json("POST", f"{answer}/complete", {"ownership": "personal", "platform": "android"})[0] == 200
    assert (shown(anna, waits)["platform"], shown(anna, waits)["state"]) == ("android", "active")
    forget(zone, [*phones, waits])


def test_asked_again_when_managed_ones_come(zone, anna, me):
    """MAT-05: an enrolled mail app that could be one of several managed devices: its person may say which, or that it is none."""
    phones, waits = twins(zone, me)
    other = seed.mail_device(zone, me, "MTJ0ERHOAD0KR2URRVQOAKM100", name="Other")
    for ident in (waits, other):
        zone.sql("UPDATE device SET state = 'active' WHERE id = ?", ident)
        zone.sql("UPDATE source_record SET state = 'enrolled' WHERE device_id = ?", ident)
        zone.sql("INSERT INTO match_exception (record_id, person_id, code, candidates, since_ms) SELECT id, person_id, 'ambiguous', '[]', 1 FROM source_record WHERE device_id = ?", ident)
    assert not shown(anna, waits)["ask_which"]
    settings(zone, '"manual_reconcile":false', '"manual_reconcile":true')
    try:
        assert shown(anna, waits)["ask_which"]
        assert anna.json("POST", f"/api/v1/devices/{waits}/complete", {"same_as": phones[0]})[0] == 200
        assert zone.sql("SELECT mode FROM device WHERE id = ?", phones[0]) == [("ios_mdm_eas",)]
        assert anna.json("POST", f"/api/v1/devices/{other}/complete", {"same_as": "new"})[0] == 200
        assert not shown(anna, other)["ask_which"] and shown(anna, other)["state"] == "active"
    finally:
        settings(zone, '"manual_reconcile":true', '"manual_reconcile":false')
        forget(zone, [*phones, other])
