"""A mail client's life from the unknown to its end, through gate, portal and console (issue 3 item 1; GATE-01, -02, POR-05, MAT-01, -07, -08, ENR-08)."""
import pytest

import harness
from clients import enrolled, new_device
from mail import Post, eas_id, flows as real, folders, ours, refused
from test_enroll import Browser


@pytest.fixture(scope="module")
def post(zone):
    made = Post(zone).ready()
    yield made
    made.close()


@pytest.fixture
def anna(zone):
    browser = Browser(zone)
    assert browser.login() == 204
    return browser


def flows(phone):
    return real(folders(phone))


def stopped(post, phone):
    """No mail: refused or an empty account, and the mail server has not heard of it."""
    before = post.seen()
    answer = folders(phone)
    return (refused(answer) or ours(answer)) and post.seen() == before


def mine(zone, anna, device_id):
    """The person's device that has this mail record, as the portal shows it."""
    row = zone.sql("SELECT device_id FROM source_record WHERE kind = 'eas' AND live = 1 AND native_id = ?", device_id.upper())
    return row and next((d for d in anna.json("GET", "/api/v1/devices")[1]["devices"] if d["id"] == row[0][0]), None)


def test_from_unknown_to_retired_and_back(zone, post, anna):
    """Unknown → pending → completed in the portal → mail; retired → none, until the person enrols it again as the policy allows."""
    assert next(k for k in anna.json("GET", "/api/v1/policy")[1]["kinds"] if k["kind"] == "email")["available"]
    phone = post.phone(device_id="PORTALLIFE01")
    assert stopped(post, phone)
    device = mine(zone, anna, "PORTALLIFE01")
    assert (device["state"], device["complete"]) == ("pending", True)
    assert anna.call("POST", f"/api/v1/devices/{device['id']}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: flows(phone))
    post.console.post(f"/devices/{device['id']}/retire", {"reason": "lost"})
    harness.wait_for(lambda: stopped(post, phone))
    device = mine(zone, anna, "PORTALLIFE01")
    assert (device["state"], device["complete"]) == ("retired", True)
    assert anna.call("POST", f"/api/v1/devices/{device['id']}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: flows(phone))
    timeline = [e["kind"] for e in post.console.get(f"/devices/{device['id']}/events")["items"]]
    assert [k for k in timeline if k.startswith("mail.") and k not in ("mail.server", "mail.no_policy")] == ["mail.completed", "mail.left", "mail.completed", "mail.first"]


def test_deleted_object_starts_anew(zone, post, anna):
    """A client whose object was deleted is unknown again."""
    phone = post.phone(device_id="PORTALGONE01")
    assert stopped(post, phone)
    device = mine(zone, anna, "PORTALGONE01")["id"]
    assert anna.call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: flows(phone))
    status, _, whole = post.console.call("GET", f"/devices/{device}")
    assert status == 200 and whole["mode"] == "eas"
    assert post.console.call("DELETE", f"/devices/{device}", If_Match=f'"{whole["version"]}"')[0] == 204
    harness.wait_for(lambda: stopped(post, phone))
    assert mine(zone, anna, "PORTALGONE01")["id"] != device


def test_the_mail_that_was_first_joins_its_phone(zone, post, anna):
    """MAT-08: the account was there before the enrolment. One device remains, and nobody has to complete anything."""
    phone_itself = new_device(zone)
    mail = post.phone(device_id=eas_id(phone_itself))
    assert stopped(post, mail)
    waiting = mine(zone, anna, eas_id(phone_itself))["id"]
    enrolled(zone, phone_itself)
    harness.wait_for(lambda: flows(mail))
    managed = post.console.device(phone_itself.udid)
    assert managed["mode"] == "ios_mdm_eas" and mine(zone, anna, eas_id(phone_itself))["id"] == managed["id"]
    assert post.console.call("GET", f"/devices/{waiting}")[0] == 404
    record = next(r for r in post.console.get(f"/devices/{managed['id']}/records")["items"] if r["kind"] == "eas")
    assert record["match"]["rule"] == "easid" and record["client"]["version"] == "14.1"


def test_the_mail_of_a_user_enrolment_joins_it(zone, post, anna):
    """MAT-01, IOS-08: a user enrolment tells no number of the device but its ActiveSync id: mail joins the phone by that, of its person alone."""
    assert post.console.call("PUT", "/enrollment-settings", {"account": {"mode": "byod"}})[0] == 200
    phone_itself = new_device(zone)
    phone_itself.account_enroll(phone_itself.discover(zone.public_url, "anna@example.org")["mdm-byod"], "anna@example.org", login=harness.PERSON,
                                password=harness.PERSON_PASSWORD, ownership="personal")
    phone_itself.poll()
    assert post.console.call("PUT", "/enrollment-settings", {"account": {"mode": "off"}})[0] == 200
    mail = post.phone(device_id=eas_id(phone_itself))
    harness.wait_for(lambda: flows(mail))
    whole = post.console.get(f"/devices/{mine(zone, anna, eas_id(phone_itself))['id']}")
    assert whole["mode"] == "ios_mdm_eas" and not whole["udid"] and not whole["serial"]
    record = next(r for r in post.console.get(f"/devices/{whole['id']}/records")["items"] if r["kind"] == "eas")
    assert record["match"]["rule"] == "easid"
    phone_itself.close()


def test_removing_the_management_removes_its_mail(zone, post, anna):
    """A phone whose management its owner has taken off has no mail as a managed one; it may come back as mail alone, on the same object."""
    phone_itself = enrolled(zone)
    mail = post.phone(device_id=eas_id(phone_itself))
    assert flows(mail)
    ident = post.console.device(phone_itself.udid)["id"]
    phone_itself.check_out()
    harness.wait_for(lambda: stopped(post, mail))
    device = harness.wait_for(lambda: (d := mine(zone, anna, eas_id(phone_itself))) and d["complete"] and d)
    assert device["id"] == ident
    assert anna.call("POST", f"/api/v1/devices/{ident}/complete", {"ownership": "personal"})[0] == 200
    harness.wait_for(lambda: flows(mail))
    assert post.console.get(f"/devices/{ident}")["mode"] == "eas"
