"""The Profile Service: a device says which it is before it gets an identity (IOS-07, facts 2.3)."""
import json
import plistlib

import pytest

from clients import Console, new_device, portal
from sim import scep
from sim.device import Profile, ProfileError, Refused, Service

ZONE = {"extra_main": "MDMProfileService On"}


class Link:
    """One pending enrolment, and what its link hands out."""

    def __init__(self, zone, login=None):
        who = portal(zone, login[0], login[1]) if login else portal(zone)
        self.zone, self.made = zone, who.enrollment()
        self.id, self.url = self.made["id"], who.absolute(self.made["profile"])

    def service(self, device):
        return Service.of(device.open_link(self.url))

    def status(self):
        return json.loads(self.zone.request("GET", self.made["path"] + "/status")[2])

    def issued(self):
        return self.zone.sql("SELECT COUNT(*) FROM certificate WHERE subject LIKE ?", f"%{self.id}%")[0][0]

    def cancel(self):
        self.zone.sql("UPDATE pending_enrollment SET state = 'cancelled' WHERE id = ?", self.id)


@pytest.fixture
def link(zone):
    made = Link(zone)
    yield made
    made.cancel()


@pytest.fixture
def device(zone):
    made = new_device(zone)
    yield made
    made.close()


def refused(service, device, identity=None, **keys):
    with pytest.raises(Refused) as why:
        service.send(device, identity or device.factory(), **keys)
    assert why.value.status == 400 and not why.value.body
    return why.value


def test_ios07_both_reports(zone, link, device):
    """Report signed by the device, identity for the second, report signed by that, profile, identity of management, active."""
    service = link.service(device)
    assert service.wanted == ["UDID", "SERIAL", "PRODUCT", "VERSION", "IMEI"]
    assert link.status()["state"] == "profile" and "serial" not in link.status()
    first = service.send(device, device.factory())
    status = link.status()
    assert status["state"] == "profile" and status["serial"] == device.serial
    steps = json.loads(zone.sql("SELECT step FROM pending_enrollment WHERE id = ?", link.id)[0][0])
    assert steps["device"]["udid"] == device.udid and steps["device"]["build"] == device.build and steps["reported"]
    identity = service.identity(device, first)
    assert link.status()["state"] == "profile", "the identity of the report is not that of management"
    device.install(service.send(device, identity))
    assert link.status()["state"] == "issued"
    device.authenticate()
    device.token_update()
    device.poll()
    assert link.status()["state"] == "completed"
    events = [r[0] for r in zone.sql("SELECT kind FROM device_event WHERE pending_id = ? ORDER BY at_ms", link.id)]
    assert "enroll.reported" in events
    assert Console(zone).device(device.udid)["state"] == "active"


def test_ios07_a_lost_answer(link, device):
    """The same report again is answered again; each answer kills the challenge of the one before."""
    service = link.service(device)
    lost, first = service.send(device, device.factory()), service.send(device, device.factory())
    with pytest.raises(scep.ScepError):
        service.identity(device, lost)
    identity = service.identity(device, first)
    service.send(device, identity)
    device.install(service.send(device, identity, CHALLENGE=None))


def test_r14_the_challenge_is_for_one_thing(link, device):
    """SEC-02: single use, bound to its link, and no challenge of SCEP; nor is one of SCEP good here."""
    service = link.service(device)
    refused(service, device, CHALLENGE="guess")
    refused(service, device, CHALLENGE=None)
    refused(service, device, CHALLENGE="x" * 4000)
    other = Link(link.zone)
    theirs = other.service(device)
    refused(service, device, CHALLENGE=theirs.challenge)
    ca = service.url.split("/enroll/")[0] + "/scep"
    with pytest.raises(scep.ScepError):
        scep.Client(ca, device.http.fetch).enroll(scep.Request([[["CN", "x"]]], service.challenge))
    first = service.send(device, device.factory())
    refused(service, device, SERIAL="ANOTHER1")
    payload = Profile(first).of_type("com.apple.security.scep")[0]["PayloadContent"]
    refused(service, device, CHALLENGE=payload["Challenge"])
    assert link.issued() == 0
    other.cancel()


def test_ios02_the_reports_identity_is_no_management(link, device, zone):
    """What signs the second report can neither check in nor sign for another enrolment; an enrolment goes on with one device."""
    service = link.service(device)
    identity = service.identity(device, service.send(device, device.factory()))
    refused(service, device, identity, UDID="00008101-0000000000000001")
    other = Link(zone)
    refused(other.service(device), device, identity)
    other.cancel()
    data = service.send(device, identity)
    profile = Profile(data)
    device.mdm = profile.mdm()
    device.use_identity(*identity)
    with pytest.raises(Refused) as why:
        device.authenticate()
    assert why.value.status == 400
    another = new_device(zone)
    another.install(data)
    with pytest.raises(Refused) as why:
        another.authenticate()
    assert why.value.status == 400 and "another device" in link.status()["error"]
    another.close()


def test_ios07_refused_before_anything_is_issued(zone, link, device):
    """Made for another device; blocked: the person reads why, no certificate exists."""
    zone.sql("UPDATE pending_enrollment SET expected_serial = 'SOMEOTHER' WHERE id = ?", link.id)
    refused(link.service(device), device)
    assert "another device" in link.status()["error"] and link.issued() == 0
    zone.sql("UPDATE pending_enrollment SET expected_serial = ? WHERE id = ?", device.serial, link.id)
    device.enroll(link.url)
    device.poll()
    zone.sql("UPDATE device SET state = 'blocked' WHERE udid = ?", device.udid)
    again = Link(zone)
    fresh = new_device(zone, udid=device.udid, serial=device.serial)
    refused(again.service(fresh), fresh)
    assert "blocked" in again.status()["error"] and again.issued() == 0
    again.cancel()
    zone.sql("UPDATE device SET state = 'removed' WHERE udid = ?", device.udid)
    fresh.close()


@pytest.mark.parametrize("facts", [b"", b"no plist", b"<plist", plistlib.dumps([1]), plistlib.dumps({"UDID": 7, "SERIAL": "A"}),
                                   plistlib.dumps({"UDID": "A"}), plistlib.dumps({"UDID": "A:b", "SERIAL": "A"}),
                                   plistlib.dumps({"UDID": "A" * 500, "SERIAL": "A"}), plistlib.dumps({"UDID": "\u202e", "SERIAL": "\u202e"})])
def test_sec03_reports_that_are_none(link, device, facts):
    service = link.service(device)
    status, _, body = service.post(device, service.sign(facts, *device.factory()))
    assert (status, body) == (400, b"")


def test_sec03_hostile_bodies(zone, link, device):
    """No CMS, cut off, a signature that does not fit, another type, too long; a link that is none."""
    service = link.service(device)
    good = service.sign(service.facts(device), *device.factory())
    for body in (b"", b"\x30\x80", good[:200], good + b"x", good.replace(device.serial.encode(), b"X" * len(device.serial)),
                 plistlib.dumps(service.facts(device))):
        assert service.post(device, body)[0] == 400, body[:20]
    assert service.post(device, good, "application/json")[0] == 415
    assert service.post(device, b"x" * 70000)[0] == 413
    assert device.http.fetch("GET", service.url)[0] == 405
    service.url = service.url.replace("/enroll/", "/enroll/x")
    assert service.post(device, good)[0] == 400
    assert link.issued() == 0


def test_ios07_an_ended_link(zone, link, device):
    service = link.service(device)
    link.cancel()
    refused(service, device)


def test_profile_service_is_no_configuration(link, device):
    with pytest.raises(ProfileError):
        Profile(device.open_link(link.url))
