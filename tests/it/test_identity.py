"""Identity for life: renewal at half life, both certificates during the change, the end of the old one (IOS-02, IOS-06, R10, R12, R14)."""
import datetime
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from clients import Console, enrolled
from harness import ADMIN_USER, wait_for
from sim.device import Refused

DAY_MS = 86400 * 1000


def print_of(cert):
    return cert.fingerprint(hashes.SHA256()).hex()


def statuses(zone, device):
    """{fingerprint: (slot, status)} of a device's certificates."""
    return {f: (slot, status) for f, slot, status in zone.sql(
        "SELECT c.fingerprint, c.slot, c.status FROM certificate c JOIN source_record r ON r.id = c.record_id WHERE r.native_id = ?",
        device.udid)}


def run_job(zone):
    """One run of the renewal job, now."""
    done = zone.sql("SELECT run_at_ms FROM job WHERE kind = 'identity.renew'")
    wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'identity.renew' AND state = 'waiting' AND run_at_ms > 0") or None)
    assert done is not None
    zone.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'identity.renew'")
    wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'identity.renew' AND state = 'waiting' AND run_at_ms > 0"))


def make_due(zone, *devices):
    for device in devices:
        zone.sql("UPDATE certificate SET renew_ms = 1 WHERE fingerprint = ?", print_of(device.cert))


def idle_with(device, cert, key):
    """Status of a poll by this identity on a new connection."""
    kept = device.cert, device.key
    device.use_identity(cert, key)
    try:
        device.connect(Status="Idle")
        return 200
    except Refused as no:
        return no.status
    finally:
        device.use_identity(*kept)


def test_ios06_half_life(zone):
    """IOS-06: five years from now, asked again in two and a half; nothing is asked before."""
    device = enrolled(zone)
    (begin, end, renew), = zone.sql("SELECT issued_ms, not_after_ms, renew_ms FROM certificate WHERE fingerprint = ?",
                                    print_of(device.cert))
    assert abs((end - begin) - 5 * 365 * DAY_MS) < DAY_MS and abs((renew - begin) * 2 - (end - begin)) < DAY_MS
    run_job(zone)
    assert device.poll() == []


def test_ios06_renewal(zone):
    """IOS-06: the profile comes through MDM, the new identity's first word makes it the current one, the old one lives on a day."""
    device = enrolled(zone)
    old, old_key, old_profile = device.cert, device.key, device.profile
    make_due(zone, device)
    run_job(zone)
    (payload,), = zone.sql("SELECT c.payload FROM command c JOIN source_record r ON r.id = c.record_id"
                           " WHERE r.native_id = ? AND c.request_type = 'InstallProfile'", device.udid)
    assert payload.startswith("s1."), "it holds a challenge: sealed"
    device.poll()
    assert device.handled[-1] == ("InstallProfile", "Acknowledged")
    new = device.cert
    assert new.serial_number != old.serial_number and device.profile.identifier == old_profile.identifier
    assert [p["PayloadIdentifier"] for p in device.profile.payloads] == [p["PayloadIdentifier"] for p in old_profile.payloads]
    assert statuses(zone, device) == {print_of(old): ("current", "superseded"), print_of(new): ("current", "active")}
    assert device.poll() == [] and idle_with(device, old, old_key) == 200 and device.poll() == []
    assert zone.sql("SELECT count(*) FROM device_event e JOIN source_record r ON r.device_id = e.device_id"
                    " WHERE r.native_id = ? AND e.kind = 'identity.renewed'", device.udid) == [(1,)]

    zone.sql("UPDATE certificate SET superseded_ms = superseded_ms - ? WHERE fingerprint = ?", DAY_MS, print_of(old))
    run_job(zone)
    assert idle_with(device, old, old_key) == 400 and device.poll() == []
    assert statuses(zone, device)[print_of(old)] == ("current", "revoked")

    def listed():
        crl = x509.load_der_x509_crl(zone.request("GET", "/scep/crl")[2])
        return crl.get_revoked_certificate_by_serial_number(old.serial_number)
    entry = wait_for(listed)
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.superseded
    crl = x509.load_der_x509_crl(zone.request("GET", "/scep/crl")[2])
    assert crl.next_update - crl.last_update > datetime.timedelta(days=6)
    assert crl.get_revoked_certificate_by_serial_number(new.serial_number) is None


def test_ios06_both_during_the_change(zone):
    """IOS-06: issued and not used yet: the old one works and stays the current one; a poll costs no SQL either before or after."""
    device = enrolled(zone)
    old = device.cert, device.key
    make_due(zone, device)
    run_job(zone)
    command = device.connect(Status="Idle")
    device.renew(command["Command"]["Payload"])
    new = device.cert, device.key
    assert idle_with(device, *old) == 200
    assert statuses(zone, device) == {print_of(old[0]): ("current", "active"), print_of(new[0]): ("next", "issued")}
    device.use_identity(*new)
    device.connect(Status="Acknowledged", CommandUUID=command["CommandUUID"])
    assert statuses(zone, device)[print_of(new[0])] == ("current", "active")
    assert idle_with(device, *old) == 200 and idle_with(device, *new) == 200


def test_ios06_a_renewed_identity_checks_in(zone):
    """IOS-06, IOS-03: the first word of the new identity may be a check-in as well."""
    device = enrolled(zone)
    make_due(zone, device)
    run_job(zone)
    command = device.connect(Status="Idle")
    device.renew(command["Command"]["Payload"])
    device.token_update(Token=b"another")
    assert statuses(zone, device)[print_of(device.cert)] == ("current", "active")
    device.connect(Status="Acknowledged", CommandUUID=command["CommandUUID"])
    assert device.poll() == []


def test_ios06_failed_is_asked_again(zone):
    """IOS-06: a device that can't renew keeps its identity and is asked again after a week, with another challenge."""
    device = enrolled(zone)
    old, device.refuse_renewal = device.cert, True
    make_due(zone, device)
    run_job(zone)
    assert device.poll() == [("InstallProfile", "Error")]
    (again,), = zone.sql("SELECT renew_ms FROM certificate WHERE fingerprint = ?", print_of(old))
    assert 6 * DAY_MS < again - time.time() * 1000 < 8 * DAY_MS
    run_job(zone)
    assert device.poll() == [], "not before its time"
    device.refuse_renewal = False
    make_due(zone, device)
    run_job(zone)
    assert device.poll() == [("InstallProfile", "Acknowledged")] and device.cert != old
    assert statuses(zone, device)[print_of(device.cert)] == ("current", "active")


def test_ios06_unused_one_gives_way(zone):
    """IOS-06, R14: of two renewed identities the one that was never used is revoked when the second is issued."""
    device = enrolled(zone)
    first = device.cert, device.key
    made = []
    for _ in range(2):
        zone.sql("UPDATE certificate SET renew_ms = 1 WHERE fingerprint = ?", print_of(first[0]))
        run_job(zone)
        command = device.connect(Status="Idle")
        device.renew(command["Command"]["Payload"])
        made.append((device.cert, device.key))
        device.use_identity(*first)
        device.connect(Status="Error", CommandUUID=command["CommandUUID"])
    assert [statuses(zone, device)[print_of(c)][1] for c, _ in made] == ["revoked", "issued"]
    assert idle_with(device, *made[0]) == 400 and idle_with(device, *made[1]) == 200


def test_r12_renewed_identity_of_another(zone):
    """R12: a renewed identity that was never used speaks for its own device only, and what it says for another changes nothing."""
    device, other = enrolled(zone), enrolled(zone)
    make_due(zone, device)
    run_job(zone)
    device.renew(device.connect(Status="Idle")["Command"]["Payload"])
    before = statuses(zone, device), statuses(zone, other)
    own, device.udid = device.udid, other.udid
    for say in (lambda: device.connect(Status="Idle"), device.token_update, device.check_out, device.authenticate):
        with pytest.raises(Refused) as no:
            say()
        assert no.value.status == 400
    device.udid = own
    assert (statuses(zone, device), statuses(zone, other)) == before
    assert other.poll() == [] and device.poll() is not None


def test_ios06_who_leaves_renews_nothing(zone):
    """15-decisions: a device that is being unenrolled gets its removal and no renewal; one that left is not asked."""
    leaving, gone = enrolled(zone), enrolled(zone)
    make_due(zone, leaving, gone)
    console = Console(zone)
    ident = console.device(leaving.udid)["id"]
    zone.sql("UPDATE source_record SET state = 'leaving' WHERE native_id = ?", leaving.udid)
    gone.check_out()
    run_job(zone)
    assert ident and zone.sql("SELECT count(*) FROM command c JOIN source_record r ON r.id = c.record_id WHERE c.request_type ="
                              " 'InstallProfile' AND r.native_id IN (?, ?)", leaving.udid, gone.udid) == [(0,)]


def test_ios06_list_of_those_that_end_soon(zone):
    """IOS-06: by their end, page by page, with what became of the renewal."""
    console = Console(zone)
    assert console.get("/identities")["items"] == [], "five years are not soon"
    devices = [enrolled(zone) for _ in range(3)]
    for i, device in enumerate(devices):
        zone.sql("UPDATE certificate SET not_after_ms = ? WHERE fingerprint = ?", int(time.time() * 1000) + (i + 1) * DAY_MS,
                 print_of(device.cert))
    devices[1].refuse_renewal = True
    make_due(zone, *devices[:2])
    run_job(zone)
    devices[1].poll()
    first = console.get("/identities?limit=2")
    second = console.get(f"/identities?limit=2&cursor={first['next']}")
    seen = first["items"] + second["items"]
    assert [i["fingerprint"] for i in seen] == [print_of(d.cert) for d in devices] and second["next"] is None
    assert [i["renewal"] for i in seen] == ["asked", "failed", "waiting"]
    assert seen[1]["error"]["chain"][0]["domain"] == "MCProfileErrorDomain"
    assert seen[0]["device"]["id"] == console.device(devices[0].udid)["id"]
    assert len(console.get("/identities?days=2")["items"]) == 2
    for bad in ("days=0", "days=x", "days=9999", "days=", "other=1", f"days=5&cursor={first['next']}", "limit=0"):
        assert console.call("GET", f"/identities?{bad}")[0] == 400, bad


def ending(zone, device):
    return zone.sql("SELECT m.id, m.severity, m.text, m.ack_ms FROM message m JOIN device d ON d.id = m.object_id"
                    " WHERE m.code = 'identity.ending' AND d.udid = ? ORDER BY m.at_ms", device.udid)


def test_ios06_administrators_are_told(zone):
    """IOS-06: ends soon and its renewal failed: one message, its text renewed after a day, not made again once acknowledged, settled by the
    renewal; nobody hears of a device whose renewal is under way."""
    device, asked = enrolled(zone), enrolled(zone)
    zone.sql("UPDATE admin SET mail = 'root@example.org', alerts = 1 WHERE login = ?", ADMIN_USER)
    device.refuse_renewal = True
    make_due(zone, device, asked)
    run_job(zone)
    device.poll()
    for one, days in ((device, 20), (asked, 20)):
        zone.sql("UPDATE certificate SET not_after_ms = ? WHERE fingerprint = ?", int(time.time() * 1000) + days * DAY_MS, print_of(one.cert))
    run_job(zone)
    (first,) = ending(zone, device)
    assert first[1] == 2 and first[2].split("\x1f")[1:] == ["said_identity_ending", "20"] and ending(zone, asked) == []
    zone.sql("UPDATE certificate SET not_after_ms = ? WHERE fingerprint = ?", int(time.time() * 1000) + 19 * DAY_MS, print_of(device.cert))
    run_job(zone)
    assert ending(zone, device) == [first], "once a day"
    told = ("SELECT n.mail, n.device_name <> '', n.state FROM notice n JOIN device d ON d.id = n.device_id"
            f" WHERE n.event = 'identity_expiring' AND d.udid = '{device.udid}'")
    assert [tuple(map(str, r)) for r in zone.sql(told)] in ([("root@example.org", "1", "waiting")], [("root@example.org", "True", "waiting")])
    zone.sql("UPDATE notice SET state = 'sent'")
    zone.sql("UPDATE message SET at_ms = at_ms - ? WHERE id = ?", 2 * DAY_MS, first[0])
    zone.sql("UPDATE certificate SET issued_ms = issued_ms - ? WHERE fingerprint = ?", 100 * DAY_MS, print_of(device.cert))
    run_job(zone)
    assert len(zone.sql(told)) == 1, "mail comes once a week"
    (again,) = ending(zone, device)
    assert again[0] == first[0] and again[2].endswith("\x1f19")
    zone.sql("UPDATE message SET ack_ms = at_ms, at_ms = at_ms - ? WHERE id = ?", 2 * DAY_MS, first[0])
    run_job(zone)
    assert len(ending(zone, device)) == 1, "seen"
    zone.sql("UPDATE message SET ack_ms = NULL WHERE id = ?", first[0])
    device.refuse_renewal = False
    make_due(zone, device)
    run_job(zone)
    assert device.poll() == [("InstallProfile", "Acknowledged")]
    assert ending(zone, device)[0][3] is not None, "settled"


def test_ios09_user_enrolment_is_not_asked_for_restrictions(zone):
    """Such a device answers it with an error: a refresh leaves it out, once the device has said what it is."""
    device = enrolled(zone)
    console = Console(zone)
    device.answers["SecurityInfo"] = {"SecurityInfo": {"ManagementStatus": {"EnrolledViaDEP": False, "IsUserEnrollment": True}}}
    path = f"/devices/{console.device(device.udid)['id']}/refresh"
    console.post(path)
    assert "Restrictions" in [kind for kind, _ in device.poll()]
    console.post(path)
    kinds = [kind for kind, _ in device.poll()]
    assert "Restrictions" not in kinds and "CertificateList" in kinds
