"""Autodiscover (PXY-04): where mail clients find ActiveSync; the same for everybody where nobody has logged in."""
import base64
import http.client
import json
import uuid
import xml.etree.ElementTree as ET

import pytest

import harness
from mail import Post
from sim.wbxml import Node

NS = "http://schemas.microsoft.com/exchange/autodiscover/"
MOBILE = NS + "mobilesync/responseschema/2006"


@pytest.fixture(scope="module")
def post(zone):
    made = Post(zone).ready()
    yield made
    made.close()


def call(zone, method, path, body=None, who=None, headers=None):
    conn = http.client.HTTPSConnection("localhost", zone.device_port, context=zone.ssl_context(), timeout=harness.PATIENCE)
    head = {"Content-Type": "text/xml", **(headers or {})}
    if who:
        head["Authorization"] = "Basic " + base64.b64encode(":".join(who).encode()).decode()
    conn.request(method, path, body, head)
    got = conn.getresponse()
    answer = got.status, dict(got.getheaders()), got.read()
    conn.close()
    return answer


def ask(schema=MOBILE, mail="anna@example.org"):
    return (f'<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="{NS}mobilesync/requestschema/2006"><Request><EMailAddress>{mail}'
            f"</EMailAddress><AcceptableResponseSchema>{schema}</AcceptableResponseSchema></Request></Autodiscover>")


def url_of(zone, who=(harness.PERSON, harness.PERSON_PASSWORD)):
    status, headers, body = call(zone, "POST", "/AutoDiscover/autodiscover.xml", ask(), who)
    assert status == 200 and headers["Content-Type"].startswith("text/xml"), body
    root = ET.fromstring(body)
    found = root.find(f".//{{{MOBILE}}}Server")
    assert found.find(f"{{{MOBILE}}}Type").text == "MobileSync" and root.find(f".//{{{MOBILE}}}EMailAddress").text == "anna@example.org"
    return found.find(f"{{{MOBILE}}}Url").text


def test_through_the_gate_unless_policy_says_direct(zone, post):
    """PXY-04: our address; with a device whose policy is direct and none that goes through the gate, the server's own."""
    ours = f"{zone.public_url}/Microsoft-Server-ActiveSync"
    assert url_of(zone) == ours
    phone = post.phone(device_id="DISCOVER01")
    phone.post("FolderSync", Node("FH.FolderSync", Node("FH.SyncKey", "0")))
    device = zone.sql("SELECT device_id FROM source_record WHERE kind = 'eas' AND native_id = 'DISCOVER01'")[0][0]
    zone.sql("UPDATE device SET state = 'active' WHERE id = ?", device)
    policy = str(uuid.uuid4())
    server = f"http://127.0.0.1:{post.back.port}/Microsoft-Server-ActiveSync"

    def says(direct):
        settings = {"email.direct": {"personal": direct}, "email.direct_server": {"personal": post.row["id"]}}
        zone.publish(policy, json.dumps(settings))
        zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('device', ?)", device)
    zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, 'email', ?, 1, 0)", policy, policy)
    zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, created_ms)"
             " VALUES (?, 'policy', ?, 'email', 'device', ?, 'device_first', 0)", str(uuid.uuid4()), policy, device)
    try:
        says(direct=True)
        harness.wait_for(lambda: url_of(zone) == server)
        says(direct=False)
        harness.wait_for(lambda: url_of(zone) == ours)
    finally:
        for statement in ("DELETE FROM assignment WHERE object_id = ?", "DELETE FROM policy_version WHERE policy_id = ?", "DELETE FROM policy WHERE id = ?"):
            zone.sql(statement, policy)
        zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('device', ?)", device)


def test_what_is_not_answered(zone, post):
    """PXY-04, R08: no log-in 401, other schemas and nonsense an error of the protocol, document types refused, size bounded."""
    anna = (harness.PERSON, harness.PERSON_PASSWORD)
    path = "/autodiscover/autodiscover.xml"
    assert call(zone, "POST", path, ask())[0] == 401 == call(zone, "POST", path, ask(), (harness.PERSON, "wrong"))[0]
    assert "Basic" in call(zone, "POST", path, ask())[1]["WWW-Authenticate"]
    status, _, body = call(zone, "POST", path, ask(NS + "outlook/responseschema/2006a"), anna)
    assert status == 200 and b"<ErrorCode>601</ErrorCode>" in body
    for bad in ("", "<a/>", "x", '<!DOCTYPE a [<!ENTITY x "y">]>' + ask()):
        status, _, body = call(zone, "POST", path, bad, anna)
        assert status == 200 and b"<ErrorCode>600</ErrorCode>" in body, bad
    assert call(zone, "POST", path, "x" * 70000, anna)[0] == 413
    assert call(zone, "GET", path)[0] == 405
    assert call(zone, "GET", "/autodiscover/autodiscover.svc")[0] == 404


def test_json_tells_nothing_of_people(zone, post):
    """PXY-04: the same answer for a person, for nobody, and in both forms of the address."""
    base, want = "/autodiscover/autodiscover.json", {"Protocol": "ActiveSync", "Url": f"{zone.public_url}/Microsoft-Server-ActiveSync"}
    answers = [call(zone, "GET", p) for p in (f"{base}?Email=anna@example.org&Protocol=ActiveSync", f"{base}?Protocol=activesync",
                                              f"{base}/v1.0/nobody@example.org?Protocol=ActiveSync", "/Autodiscover/Autodiscover.JSON?Protocol=ActiveSync")]
    assert [(s, json.loads(b)) for s, _, b in answers] == [(200, want)] * 4
    assert call(zone, "GET", f"{base}?Protocol=Ews")[0] == 400 and call(zone, "POST", f"{base}?Protocol=ActiveSync", "x")[0] == 405
    zone.ctl("setting", "set", "eas.public_host", '"mail.example.net"')
    harness.wait_for(lambda: all(b"mail.example.net" in call(zone, "GET", f"{base}?Protocol=ActiveSync")[2] for _ in range(6)))
    harness.wait_for(lambda: url_of(zone) == "https://mail.example.net/Microsoft-Server-ActiveSync")
