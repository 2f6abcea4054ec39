"""A real ActiveSync server behind the gate (PXY-07): SOGo, from Debian. What the simulator can't prove: that others' software is content with us."""
import pytest

import harness
from mail import one_engine  # noqa: F401
from clients import Console, portal
from sim.eas_client import Phone
from sim.wbxml import Node
from sogo import Sogo

MAIL = "From: ben@example.org\r\nTo: anna@example.org\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\nSubject: {}\r\n\r\n{}\r\n"
# What phones ask of a mail folder; SOGo wants to be told.
OPTIONS = [Node("AS.DeletesAsMoves", 1), Node("AS.GetChanges"), Node("AS.WindowSize", 50),
           Node("AS.Options", Node("AS.FilterType", 0), Node("AB.BodyPreference", Node("AB.Type", 1), Node("AB.TruncationSize", 500)))]


@pytest.fixture(scope="module")
def sogo(factory):
    made = Sogo(factory, {harness.PERSON: harness.PERSON_PASSWORD})
    yield made
    made.close()


@pytest.fixture(scope="module")
def console(zone, sogo):
    made = Console(zone)
    source = next(s["id"] for s in made.get("/sources")["items"] if s["kind"] == "local")
    made.row = made.post("/eas-servers", {"name": "SOGo", "host": "localhost", "port": sogo.front.admin_port, "tls": True, "sources": [source]})
    return made


@pytest.fixture(params=["12.1", "14.1"])
def phone(zone, console, request):
    """A person's phone that was completed in the portal."""
    made = Phone(zone.device_port, harness.PERSON, harness.PERSON_PASSWORD, device_id=f"SOGOPHONE{request.param[:2]}", version=request.param,
                 ca=str(zone.tls_dir / "ca.pem"))
    harness.wait_for(lambda: "16.1" not in (made.options().headers["MS-ASProtocolVersions"] or "16.1"))  # told by SOGo, not by the gate
    made.folder_sync()
    device = zone.sql("SELECT device_id FROM source_record WHERE kind = 'eas' AND native_id = ?", made.device_id)[0][0]
    status, _ = portal(zone).call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})
    assert status == 200
    harness.wait_for(lambda: made.folder_sync().status == 1 and "INBOX" in made.folders, step=0.2)
    yield made
    made.close()


def test_a_real_mailbox(zone, sogo, phone):
    """PXY-01, PXY-05, PXY-07: versions, folders, a real mail, its body, one that is sent, a Ping that a new mail ends."""
    assert phone.options().headers["MS-ASProtocolVersions"] == "12.1,14.0,14.1"
    inbox = phone.folders["INBOX"]
    phone.sync("INBOX", *OPTIONS)
    subject = f"first {phone.version}"
    sogo.deliver(harness.PERSON, MAIL.format(subject, "body"))
    answer = phone.command("Sync", phone.sync_document("INBOX", *OPTIONS))
    added = answer.doc.get("AS.Collections/AS.Collection/AS.Commands").all("AS.Add")
    assert [a.value("AS.ApplicationData/EM.Subject") for a in added] == [subject]
    phone.sync_keys[inbox] = answer.doc.value("AS.Collections/AS.Collection/AS.SyncKey")
    assert phone.post("ItemOperations", phone.fetch_document(added[0].value("AS.ServerId"), folder=inbox)).status == 1
    sent = f"From: anna@example.org\r\nTo: ben@example.org\r\nSubject: out {phone.version}\r\n\r\nx\r\n"
    assert phone.send(sent.encode()).http == 200
    assert [m["Subject"] for m in sogo.mail.to("ben@example.org")][-1] == f"out {phone.version}"
    phone.start("Ping", Node("PG.Ping", Node("PG.HeartbeatInterval", 60), Node("PG.Folders", Node("PG.Folder", Node("PG.Id", inbox),
                                                                                                 Node("PG.Class", "Email")))), phone.key)
    sogo.deliver(harness.PERSON, MAIL.format("second", "body"))
    answer = phone.finish()
    assert (answer.http, answer.status) == (200, 2) and answer.doc.value("PG.Folders/PG.Folder") == inbox
    assert len(phone.sync("INBOX", *OPTIONS)) == 1


def test_the_connection_test_reaches_it(console):
    """EAS-02: all steps of Test authentication, against the real one."""
    steps = console.post(f"/eas-servers/{console.row['id']}/test", {"login": harness.PERSON, "password": harness.PERSON_PASSWORD})["steps"]
    assert [s["step"] for s in steps][-1] == "foldersync" and all(s["ok"] for s in steps), steps
