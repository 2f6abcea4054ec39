"""Several mail servers behind one gate (EAS-01, EAS-03, spec 03): who has whose mail, what is away, whom none accepts. What is written down
is proved on both engines by unit tests."""
import pytest

import harness
from clients import portal
from mail import Post, one_engine  # noqa: F401
from sim.eas_server import EasServer, Mailbox
from sim.wbxml import Node

FOLDERS = Node("FH.FolderSync", Node("FH.SyncKey", "0"))
CARL = ("carl", "carl-Pass-1")


@pytest.fixture(scope="module")
def two(zone):
    """The first server of the order knows Ben alone, the second one Anna alone."""
    zone.ctl("user", "add", CARL[0], "--name", "Carl", "--mail", "carl@example.org", "--password-stdin", stdin=CARL[1] + "\n")
    first = Post(zone, {"ben": "x"}, name="First")
    second = Post(zone, {harness.PERSON: harness.PERSON_PASSWORD}, name="Second", user_form="domain_user", domain="CORP").ready()
    yield first, second
    first.close()
    second.close()


def mail_phone(zone, post, ident, *who):
    """A mail client whose person has completed its enrolment."""
    phone = post.phone(*who, device_id=ident)
    phone.post("FolderSync", FOLDERS)
    device = zone.sql("SELECT device_id FROM source_record WHERE kind = 'eas' AND native_id = ?", ident)[0][0]
    assert portal(zone, *who).call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})[0] == 200
    return phone, device


def asked(post):
    return len(post.back.of("FolderSync"))


def new(act, *posts):
    """How many FolderSyncs the servers get meanwhile."""
    before = sum(map(asked, posts))
    act()
    return sum(map(asked, posts)) - before


def synced(phone):
    answer = phone.post("FolderSync", FOLDERS)
    return answer.http == 200 and answer.status == 1


def test_the_one_that_accepts_is_remembered(zone, two):
    """EAS-01, EAS-03, 2.9: the second server has the mail; a 503 of it moves nobody; away, the first one is asked and refuses; back, it is used again."""
    first, second = two
    zone.log.expect("MDM0810")
    phone, device = mail_phone(zone, second, "ORDERED001")
    harness.wait_for(lambda: synced(phone))
    home = lambda: zone.sql("SELECT server_id, refused_ms FROM mail_home JOIN person ON person.id = person_id WHERE login = 'anna'")
    assert home() == [(second.row["id"], None)]
    assert ("mail.server",) in zone.sql("SELECT kind FROM device_event WHERE device_id = ?", device)
    assert first.seen() > 0
    harness.wait_for(lambda: not new(lambda: [phone.post("FolderSync", FOLDERS) for _ in range(6)], first))
    record = next(r for r in second.console.get(f"/devices/{device}/records")["items"] if r["kind"] == "eas")
    assert record["server"] == {"id": second.row["id"], "name": "Second"} and record["withheld"] is None
    before = asked(first)
    assert all(synced(phone) for _ in range(4)) and asked(first) == before
    second.back.script["FolderSync"] = [{"status": 503, "headers": {"Retry-After": "7"}}]
    answer = phone.post("FolderSync", FOLDERS)
    assert (answer.http, answer.headers["Retry-After"]) == (503, "7") and asked(first) == before
    second.back.script.clear()
    port = second.back.port
    zone.log.expect("AH00957", "AH01114")
    second.back.close()
    assert [phone.post("FolderSync", FOLDERS).http for _ in range(12)] == [503] * 12  # and none of them waits
    assert home() == [(second.row["id"], None)]
    second.back = EasServer({harness.PERSON: harness.PERSON_PASSWORD}, port=port)
    harness.wait_for(lambda: synced(phone))
    assert home() == [(second.row["id"], None)]


def test_whom_none_accepts_is_server_only(zone, two):
    """Spec 03: no linked server accepts the person: said on the device, policies go on, no mail; a change of the servers lets him try again. One refusal
    alone is answered with 503 (the account may be new there); what is spoken is told all the same (PXY-05)."""
    first, second = two
    phone, device = mail_phone(zone, second, "NOBODYS001", *CARL)
    refused = lambda: zone.sql("SELECT 1 FROM mail_home WHERE refused_ms IS NOT NULL")
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http == 503)
    assert not refused()
    harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http and refused())
    record = next(r for r in second.console.get(f"/devices/{device}/records")["items"] if r["kind"] == "eas")
    assert (record["server"], record["withheld"]) == (None, "refused")
    assert zone.sql("SELECT text FROM message WHERE object_id = ? AND code = 'eas.refused'", device)

    harness.wait_for(lambda: not new(lambda: phone.post("FolderSync", FOLDERS), first, second))
    answer = second.phone(*CARL, device_id="NOBODYS001").options()
    assert answer.http == 200 and answer.headers["MS-ASProtocolVersions"].startswith("12.1,14.0")
    second.back.boxes[CARL[0]], second.back.users[CARL[0]] = Mailbox(CARL[0]), CARL[1]
    second.edit(name="Third")
    assert not refused()
    harness.wait_for(lambda: new(lambda: synced(phone), second))
    harness.wait_for(lambda: synced(phone))
    assert zone.sql("SELECT server_id FROM mail_home JOIN person ON person.id = person_id WHERE login = 'carl'") == [(second.row["id"],)]
