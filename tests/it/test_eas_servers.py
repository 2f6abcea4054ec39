"""ActiveSync servers as the console keeps and tests them (EAS-01..04, USR-13, API-01, API-04)."""
import json

import pytest

import harness
from clients import Console

FORMS = ["as_typed", "user", "domain_user", "mail"]


@pytest.fixture
def server(console):
    made = []

    def add(name="Post", **more):
        made.append(console.post("/eas-servers", {"name": name, "host": "mail.example.org", **more}))
        return made[-1]
    yield add
    for one in made:
        status, _, now = console.call("GET", f"/eas-servers/{one['id']}")
        if status == 200:
            assert console.call("DELETE", f"/eas-servers/{one['id']}", If_Match=f'"{now["version"]}"')[0] == 204


def source_of(console):
    return next(s for s in console.get("/sources")["items"] if s["kind"] == "local")["id"]


def test_add_read_edit_delete(zone, console, server):
    """EAS-01: members with their defaults, edits under If-Match, an audit row and a change row for each."""
    local = source_of(console)
    made = server(port=8443, domain="CORP", user_form="domain_user", sources=[local])
    path = f"/eas-servers/{made['id']}"
    assert {k: made[k] for k in ("name", "host", "port", "tls", "domain", "user_form", "pin", "enabled")} == {
        "name": "Post", "host": "mail.example.org", "port": 8443, "tls": True, "domain": "CORP", "user_form": "domain_user", "pin": None,
        "enabled": True}
    assert [s["id"] for s in made["sources"]] == [local] and console.get(path) == made
    assert server("Plain", tls=False)["port"] == 80 and server("Secure")["port"] == 443
    status, _, _ = console.call("PATCH", path, {"name": "Mail"})
    assert status == 428
    status, headers, now = console.call("PATCH", path, {"name": "Mail", "enabled": False, "sources": []}, If_Match='"1"')
    assert status == 200 and (now["name"], now["enabled"], now["sources"], now["port"]) == ("Mail", False, [], 8443)
    assert headers["ETag"] == f'"{now["version"]}"'
    assert console.call("PATCH", path, {"name": "Late"}, If_Match='"1"')[0] == 412
    assert console.call("DELETE", path, If_Match='"1"')[0] == 412
    assert console.call("DELETE", path, If_Match=headers["ETag"])[0] == 204 and console.call("GET", path)[0] == 404
    acts = [r[0] for r in zone.sql("SELECT action FROM audit WHERE object_id = ? ORDER BY at_ms", made["id"])]
    assert sorted(acts) == ["eas_server.create", "eas_server.delete", "eas_server.edit"]
    assert zone.sql("SELECT COUNT(*) FROM change WHERE kind = 'eas_server' AND key = ?", made["id"])[0][0] == 3


@pytest.mark.parametrize("field, change", [("name", {"name": ""}), ("name", {"name": None}), ("host", {"host": "a/b"}), ("host", {"host": "x y"}),
                                           ("host", {"host": "user@host"}), ("port", {"port": 0}), ("port", {"port": 65536}),
                                           ("domain", {"domain": "A\\B"}), ("user_form", {"user_form": "other"}), ("domain", {"user_form": "domain_user"}),
                                           ("sources", {"sources": ["x"]}), ("sources", {"sources": ["00000000-0000-4000-8000-00000000dead"]}),
                                           ("pin", {"pin": "0" * 64}), ("tls", {"tls": "yes"})])
def test_wrong_members_are_named(console, field, change):
    """API-04"""
    status, _, body = console.call("POST", "/eas-servers", {"name": "Wrong", "host": "mail.example.org"} | change)
    assert (status, body["field"]) == (400, field), body


def test_a_name_is_taken_once(console, server):
    server("One")
    other = server("Two")
    status, _, body = console.call("POST", "/eas-servers", {"name": "One", "host": "a.example"})
    assert (status, body["field"]) == (409, "name")
    status, _, body = console.call("PATCH", f"/eas-servers/{other['id']}", {"name": "One"}, If_Match='"1"')
    assert (status, body["field"]) == (409, "name")


def test_list_in_pages(console, server):
    names = ["b", "a", "c"]
    made = {n: server(n)["id"] for n in names}
    items, cursor = [], ""
    while cursor is not None:
        page = console.get("/eas-servers?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        items, cursor = items + page["items"], page["next"]
    assert [i["id"] for i in items if i["name"] in names] == [made[n] for n in "abc"]


def test_certificate_is_accepted_for_one_server(console, server):
    """EAS-01: the pin goes when the server becomes another one; no TLS, no certificate."""
    made = server()
    path = f"/eas-servers/{made['id']}"
    for wrong in ("f" * 63, "F" * 64, "g" * 64):
        status, _, body = console.call("PUT", path + "/certificate", {"sha256": wrong}, If_Match='"1"')
        assert (status, body["field"]) == (400, "sha256")
    status, _, now = console.call("PUT", path + "/certificate", {"sha256": "a" * 64}, If_Match='"1"')
    assert status == 200 and now["pin"] == "a" * 64
    assert console.call("PATCH", path, {"name": "Renamed", "host": "MAIL.example.org"}, If_Match='"2"')[2]["pin"] == "a" * 64
    assert console.call("PATCH", path, {"host": "other.example.org"}, If_Match='"3"')[2]["pin"] is None
    assert console.call("PUT", path + "/certificate", {"sha256": "b" * 64}, If_Match='"4"')[0] == 200
    assert console.call("PUT", path + "/certificate", {"sha256": ""}, If_Match='"5"')[2]["pin"] is None
    assert console.call("PATCH", path, {"tls": False}, If_Match='"6"')[0] == 200
    assert console.call("PUT", path + "/certificate", {"sha256": "b" * 64}, If_Match='"7"')[0] == 409


def test_order_of_a_source(zone, console, server):
    """USR-13: one list per source, the first is asked first, replaced as a whole under a lock."""
    local = source_of(console)
    one, two, three = (server(n, sources=[local])["id"] for n in ("o1", "o2", "o3"))
    path = f"/sources/{local}/eas-servers"
    status, headers, body = console.call("GET", path)
    assert status == 200 and [i["id"] for i in body["items"]] == [one, two, three]
    etag = headers["ETag"]
    status, headers, body = console.call("PUT", path, {"servers": [three, one]}, If_Match=etag)
    assert status == 200 and [i["id"] for i in body["items"]] == [three, one] and headers["ETag"] != etag
    assert console.get(f"/eas-servers/{two}")["sources"] == []
    assert console.call("PUT", path, {"servers": [one]}, If_Match=etag)[0] == 412
    etag = headers["ETag"]
    for wrong in ([one, one], ["x"], [local], [3]):
        status, _, body = console.call("PUT", path, {"servers": wrong}, If_Match=etag)
        assert (status, body["field"]) == (400, "servers"), wrong
    assert console.call("PATCH", f"/eas-servers/{two}", {"sources": [local]}, If_Match='"1"')[0] == 200
    body = console.get(path)
    assert [i["id"] for i in body["items"]] == [three, one, two]
    assert console.call("PUT", path, {"servers": []}, If_Match=etag)[0] == 412  # a link is a change of the order
    assert zone.sql("SELECT COUNT(*) FROM change WHERE kind = 'eas_server' AND key = ?", local)[0][0] == 1


def test_a_policy_keeps_its_server(zone, console, server):
    """EAS-04, EML-05: a server in use can't be deleted, editing marks the policy; old versions, other settings and other policies don't count."""
    made = server()
    path, ident = f"/eas-servers/{made['id']}", "00000000-0000-4000-8000-0000000000e1"
    settings = json.dumps({"email.direct_server": {"corporate": made["id"], "personal": "inherit"}})
    zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, 'email', 'Staff mail', 2, 1)", ident)
    try:
        for number, text in ((1, settings), (2, settings), (3, json.dumps({"email.account_name": {"corporate": made["id"]}}))):
            zone.sql("INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (?, ?, ?, 1)", ident, number, text)
        status, _, body = console.call("DELETE", path, If_Match='"1"')
        assert status == 409 and "Staff mail" in body["detail"]
        assert zone.sql("SELECT republish FROM policy WHERE id = ?", ident) == [(0,)]
        assert console.call("PATCH", path, {"port": 444}, If_Match='"1"')[0] == 200
        assert zone.sql("SELECT republish FROM policy WHERE id = ?", ident) == [(1,)]
        zone.sql("UPDATE policy SET published = 3 WHERE id = ?", ident)
        zone.sql("INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (?, 0, ?, 1)", ident, settings)
        assert console.call("DELETE", path, If_Match='"2"')[0] == 409  # the sandbox uses it
        zone.sql("DELETE FROM policy_version WHERE policy_id = ? AND number = 0", ident)
        assert console.call("DELETE", path, If_Match='"2"')[0] == 204
    finally:
        zone.sql("DELETE FROM policy WHERE id = ?", ident)


@pytest.mark.parametrize("role, reads, writes", [("administrator", 200, 400), ("help_desk", 403, 403), ("auditor", 200, 403)])
def test_roles(zone, role, reads, writes):
    """USR-12: administrators keep sources and mail servers, the help desk sees neither."""
    zone.ctl("admin", "add", f"mail-{role}", "--role", role, "--password-stdin", stdin="Correct-horse-9\n")
    who = Console(zone, f"mail-{role}", "Correct-horse-9")
    for path in ("/eas-servers", "/sources"):
        assert who.call("GET", path)[0] == reads
        assert who.call("POST", path, {})[0] == writes


def put_csv(console, path, text, kind="text/csv"):
    status, _, raw = console.http.fetch("PUT", f"{console.base}/api/v1{path}", text.encode(), {**console.headers, "Content-Type": kind})
    return status, json.loads(raw)


def test_device_list_of_a_server(zone, console, server):
    """EAS-05: rows as JSON and as CSV make one list; the same again changes nothing; wrong rows and files are named."""
    path = f"/eas-servers/{server('Told')['id']}/discovered"
    row = {"user": harness.PERSON, "device_id": "appl-told-1", "type": "iPhone", "last_sync": "2026-11-20T08:15:00Z"}
    first = console.post(path, {"rows": [row, {**row, "user": "nobody"}, {**row, "colour": "red"}]})
    assert [first[k] for k in ("rows", "new", "changed", "same", "errors")] == [3, 1, 0, 0, 2]
    assert [(e["line"], e["field"]) for e in first["first_errors"]] == [(2, "user"), (3, "colour")]
    text = f"\ufeffUser;DeviceId;DeviceType;LastSync\r\n{harness.PERSON};APPL-TOLD-1;iPhone;2026-11-20 08:15\r\n{harness.PERSON};APPL-TOLD-2;<b>;\r\n"
    for want in ([2, 1, 0, 1, 0], [2, 0, 0, 2, 0]):
        status, now = put_csv(console, path + ".csv", text)
        assert (status, [now[k] for k in ("rows", "new", "changed", "same", "errors")]) == (200, want)
    items = console.get(path)["items"]
    assert [(i["device_id"], i["state"], i["type"], i["device"], i["person"]["login"]) for i in items] == [
        (f"APPL-TOLD-{n}", "discovered", t, None, harness.PERSON) for n, t in ((1, "iPhone"), (2, "<b>"))]
    assert "APPL-TOLD-2" in console.call("GET", path + "?format=csv")[2].decode()
    assert put_csv(console, path + ".csv", "User;Model\n")[1]["field"] == "DeviceId"
    assert put_csv(console, path + ".csv", text, "application/json")[0] == 415
    assert console.call("POST", path, {"rows": [row] * 1001})[0] == 400
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'eas_server.discovered'")[0][0] >= 3


def test_the_list_goes_with_its_server(zone, console, server):
    """EAS-05: what two servers have told of stays as long as one of them."""
    one, two = server("Goes"), server("Stays")
    rows = [{"user": harness.PERSON, "device_id": f"APPL-GONE-{n}"} for n in range(2)]
    console.post(f"/eas-servers/{one['id']}/discovered", {"rows": rows})
    console.post(f"/eas-servers/{two['id']}/discovered", {"rows": rows[:1]})
    assert console.call("DELETE", f"/eas-servers/{one['id']}", If_Match='"1"')[0] == 204
    assert [r[0] for r in zone.sql("SELECT native_id FROM source_record WHERE native_id LIKE 'APPL-GONE-%'")] == ["APPL-GONE-0"]
