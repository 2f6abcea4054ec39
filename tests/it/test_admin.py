"""The administration API on both databases: conventions, every route, hostile data (API-01..04, R01, R02, R21, R23, R24, R30, R33)."""
import base64
import csv
import gzip
import io
import json
import re
import time
import urllib.parse
from pathlib import Path

import pytest
import yaml

import harness
import seed
from clients import AUTHORISER, Console, enrolled, new_device, portal
from sim.device import REFRESHES, Refused

ROOT = Path(__file__).resolve().parents[2]
ROUTE = re.compile(r'^ROUTE\("(\w+)", "([^"]+)", (\w+), (NULL|"[^"]+"), (\d+), (\d), (\w+)\)', re.M)
ROUTES = ROUTE.findall((ROOT / "modules/admin/admin_routes.def").read_text())
DOCUMENT = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
NOBODY = "00000000-0000-4000-8000-00000000ffff"
NOBODYS = {"field": "name", "op": "starts", "value": "Nobody"}  # criteria of a dynamic group
HOSTILE = ["<img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", "+1+1", "-2", "@SUM(A1)", "\u202egnp.exe", "' OR 1=1--", 'a"b,c;d']


@pytest.fixture(scope="module")
def anna(zone):
    return seed.person_id(zone, harness.PERSON)


@pytest.fixture(scope="module")
def fleet(zone, anna, console):
    """45 devices, two of them of nobody."""
    return [seed.device(zone, f"Fleet {i:02d}", anna if i > 1 else None, last_contact_ms=None if i == 7 else 1_700_000_000_000 + i % 9,
                        ownership="personal" if i % 2 else "corporate", state="retired" if i % 5 == 0 else "active")
            for i in range(45)]


def problem(answer, status, field=None):
    code, headers, body = answer
    assert code == status, (code, body)
    assert headers["Content-Type"] == "application/problem+json"
    assert body["status"] == status and body["title"] and body["detail"]
    if field is not None:
        assert body["field"] == field
    return body


def walk(console, path):
    items, cursor, pages = [], None, 0
    while True:
        page = console.get(path + (("&" if "?" in path else "?") + "cursor=" + cursor if cursor else ""))
        assert set(page) == {"items", "next"}
        items += page["items"]
        pages += 1
        cursor = page["next"]
        if not cursor:
            return items, pages


# ---- the document (API-02) ------------------------------------------------------------------------------------------
def test_document_and_routes_are_the_same():
    """API-02: every route and method is described, nothing else is."""
    assert ROUTES
    routes = {(m.lower(), path) for m, path, *_ in ROUTES}
    described = {(m, path) for path, item in DOCUMENT["paths"].items() for m in item if m != "parameters"}
    assert routes == described
    for method, path, auth, right, limit, is_json, run in ROUTES:
        op = DOCUMENT["paths"][path][method.lower()]
        assert op["operationId"] == run.removeprefix("mdm_adm_")
        assert (op.get("security") == []) == (auth == "PUBLIC")
        assert op.get("x-right") == (None if right == "NULL" else right.strip('"'))
        assert ("requestBody" in op) == (int(limit) > 0)
        assert {m for m in re.findall(r"{(\w+)}", path)} == {p["name"] for p in DOCUMENT["paths"][path].get("parameters", [])}


def test_document_is_served(zone, console):
    status, headers, body = console.call("GET", "/openapi.yaml")
    assert status == 200 and headers["Content-Type"].startswith("application/yaml")
    assert yaml.safe_load(body)["openapi"].startswith("3.1")


def assigned(console, name):
    """The id of an assignment of a new policy to a new folder."""
    folder = console.post("/folders", {"name": name, "parent": seed.ROOT_FOLDER})["id"]
    policy = console.post("/policies", {"type": "security", "name": name, "publish": True})["id"]
    return console.post("/assignments", {"policy": policy, "targets": [{"kind": "folder", "id": folder}]})["items"][0]["id"]


def schema_holds(schema, value, where):
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    if "oneOf" in schema:
        return None if value is None else schema_holds(schema["oneOf"][0], value, where)
    if value is None and "null" in schema.get("type", ""):
        return None
    for name in schema.get("required", []):
        assert name in value, (where, name)
    if schema.get("type") == "object" and "properties" in schema:
        assert set(value) <= set(schema["properties"]), (where, set(value) - set(schema["properties"]))
        for name, sub in schema["properties"].items():
            if name in value:
                schema_holds(sub, value[name], f"{where}.{name}")
    elif schema.get("type") == "array":
        for item in value:
            schema_holds(schema["items"], item, where + "[]")
    else:
        kinds = schema.get("type", "string")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        is_a = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "null": type(None)}
        assert isinstance(value, tuple(t for k in kinds for t in (is_a[k] if isinstance(is_a[k], tuple) else (is_a[k],)))), (where, value)
    return None


def bulk_run(console):
    """A run that was uploaded; its id."""
    return json.loads(console.http.fetch("POST", console.base + "/api/v1/bulk-runs", b"username\nanna\n",
                                         {**console.headers, "Content-Type": "text/csv"})[2])["id"]


def test_answers_are_as_described(zone, console, fleet, anna):
    """API-02: each GET of the API answers 200 with the members that the document names."""
    seed.record(zone, fleet[0])
    made = console.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})
    ids = {"devices": fleet[0], "people": anna, "pending": made["id"], "jobs": zone.sql("SELECT id FROM job")[0][0],
           "sources": zone.sql("SELECT id FROM user_source")[0][0],
           "admins": console.get("/me")["id"], "roles": zone.sql("SELECT id FROM role")[0][0],
           "folders": seed.ROOT_FOLDER, "groups": console.post("/groups", {"name": "Described", "criteria": NOBODYS})["id"],
           "eas-servers": console.post("/eas-servers", {"name": "Described", "host": "mail.example.org"})["id"],
           "nodes": harness.wait_for(lambda: next((n["id"] for n in console.get("/nodes")["items"]), None)),
           "policies": console.post("/policies", {"type": "security", "name": "Described", "levels": {"corporate": "low"}})["id"],
           "policy-folders": console.post("/policy-folders", {"name": "Described"})["id"],
           "assignments": assigned(console, "Described too"),
           "tasks": console.post("/tasks", {"kind": "refresh", "devices": [fleet[0]]})["id"],
           "bulk-runs": bulk_run(console)}
    seen = 0
    for method, path, *_ in ROUTES:
        content = DOCUMENT["paths"][path]["get"]["responses"]["200"].get("content", {}) if method == "GET" else {}
        if "application/json" not in content:
            continue
        address = path.removeprefix("/api/v1").replace("{id}", ids.get(path.split("/")[3], NOBODY)).replace("{number}", "0").replace("{event}", "email_none").replace("{language}", "en")
        schema_holds(content["application/json"]["schema"], console.get(address), path)
        seen += 1
    assert seen > 15


# ---- who may (R02, R23, R29) ----------------------------------------------------------------------------------------
def fill(path):
    return re.sub(r"{\w+}", NOBODY, path)


def test_no_route_without_log_in(zone):
    """R02: without credentials every route but the log-in page answers 401, or sends to the log-in page."""
    nobody = Console(zone, login=None)
    for method, path, auth, *_ in ROUTES:
        status, headers, _ = nobody.http.fetch(method, nobody.base + fill(path), None, nobody.headers)
        if auth == "PUBLIC":
            assert status in (200, 404, 415), (method, path, status)
        else:
            assert status == 401 or (status in (302, 303) and "/admin/login" in headers["Location"]), (method, path, status)


def test_nothing_of_it_on_the_device_address(zone):
    """R03: the listener of the devices knows no administration."""
    for method, path, *_ in ROUTES:
        assert zone.request(method, "/admin" + fill(path))[0] in (404, 405)


def test_changes_need_our_own_origin(zone, console):
    """R23, API-04: from another site, or without saying from where, nothing changes; GET never does."""
    changing = [(m, p, limit) for m, p, auth, _, limit, *_ in ROUTES if m != "GET"]
    assert len(changing) > 12
    for method, path, limit in changing:
        for origin in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {}):
            headers = {"Cookie": console.headers["Cookie"], "Content-Type": "application/json", **origin}
            status, _, _ = console.http.fetch(method, console.base + fill(path), b"{}", headers)
            assert status == 403, (method, path, origin, status)


def test_rights_of_roles(zone, fleet):
    """R29: an auditor reads and changes nothing; a help desk has tasks and no audit."""
    for login, role in (("auditor1", "auditor"), ("helper1", "help_desk")):
        zone.ctl("admin", "add", login, "--role", role, "--password-stdin", stdin="Correct-horse-9\n")
    auditor, helper = Console(zone, "auditor1", "Correct-horse-9"), Console(zone, "helper1", "Correct-horse-9")
    assert auditor.get("/devices")["items"] and auditor.get("/audit")["items"]
    problem(auditor.call("PATCH", f"/devices/{fleet[0]}", {"name": "x"}, If_Match='"1"'), 403)
    problem(auditor.call("POST", f"/devices/{fleet[0]}/refresh"), 403)
    problem(auditor.call("DELETE", f"/devices/{fleet[0]}"), 403)
    assert helper.get("/devices")["items"]
    for kind in ("InstallProfile", "RemoveProfile", "InstallApplication", "Settings"):
        problem(helper.call("POST", f"/devices/{fleet[0]}/commands", {"request_type": kind, "payload": {}}), 403)
    problem(helper.call("POST", "/tasks", {"kind": "install_profile", "devices": [fleet[0]], "options": {}}), 403)
    problem(helper.call("GET", "/audit"), 403)
    problem(helper.call("POST", "/people", {"login": "x", "name": "x", "password": "Correct-horse-9"}), 403)
    assert helper.call("POST", f"/devices/{fleet[1]}/refresh")[0] == 409


@pytest.mark.parametrize("twist", ["//api/v1/devices", "/./api/v1/devices", "/x/../api/v1/devices", "/api%2fv1/devices", "/%2e%2e/admin/api/v1/devices",
                                   "/api/v1/devices;x=1", "/api/v1/devices%00", "/api/v1/devices%5c", "/api/v1%252fdevices", "/API/V1/devices"])
def test_twisted_paths_reach_nothing(zone, twist):
    """R01: a path that could be read in two ways opens nothing for somebody without a session."""
    status, headers, _ = zone.request("GET", "/admin" + twist, admin=True)
    assert status in (400, 401, 404) or (status in (302, 303) and "/admin/login" in headers["Location"])
    status, headers, body = zone.request("GET", "/admin/login" + twist, admin=True)
    assert status in (400, 401, 404) or (status in (302, 303) and "/admin/login" in headers["Location"]), status
    assert b'"items"' not in body


# ---- log-in (R21, R35) ----------------------------------------------------------------------------------------------
def test_log_in_page_needs_no_script(zone):
    status, headers, body = zone.request("GET", "/admin/login", admin=True)
    assert status == 200 and b"<form method=\"post\"" in body and b"<script" not in body
    assert "default-src 'self'" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"
    assert zone.request("GET", "/admin/login/app.css", admin=True)[0] == 200
    assert zone.request("GET", "/admin/login/app.js", admin=True)[0] == 404
    assert b"Anmelden" in zone.request("GET", "/admin/login", admin=True, headers={"Accept-Language": "de-DE"})[2]


def test_wrong_log_ins_look_the_same(zone):
    """R21: an unknown administrator and a wrong password get the same bytes."""
    nobody = Console(zone, login=None)
    answers = [nobody.login(login, "wrong-password") for login in (harness.ADMIN_USER, "no-such-admin")]
    assert {a[0] for a in answers} == {401} and len({a[2] for a in answers}) == 1
    assert "Cookie" not in nobody.headers
    assert nobody.login("<script>", "x" * 400)[0] == 401


def test_log_in_leads_back(zone):
    """R24: ?next= is a page below the console's base or nothing: no other host, no way up, no markup; it survives a wrong password."""
    nobody = Console(zone, login=None)
    form = {**nobody.headers, "Content-Type": "application/x-www-form-urlencoded"}

    def page(wish):
        status, _, body = nobody.http.fetch("GET", f"{nobody.base}/login?{urllib.parse.urlencode({'next': wish})}", None, {})
        assert status == 200
        return body

    def post(wish, password=harness.ADMIN_PASSWORD):
        body = urllib.parse.urlencode({"login": harness.ADMIN_USER, "password": password, "next": wish}).encode()
        return nobody.http.fetch("POST", nobody.base + "/login", body, form)
    wish = "/admin/api/v1/devices?format=csv&state=active&q=a%20b"
    kept = b'name="next" value="/admin/api/v1/devices?format=csv&amp;state=active&amp;q=a%20b"'
    assert kept in page(wish)
    status, _, body = post(wish, "wrong")
    assert status == 401 and kept in body
    status, headers, _ = post(wish)
    assert (status, headers["Location"]) == (303, wish)
    for bad in ("", "/", "https://evil.example/", "//evil.example/admin/", "/admin", "/administer/", "/admin//evil.example", "/admin/../portal/",
                "/admin/./x", "/admin/%2e%2e/portal/", "/admin/\\evil.example", "/\\evil.example", "/admin/x\r\nSet-Cookie: a=b",
                "/admin/x y", "/admin/#<script>", '/admin/"onfocus="alert(1)', "javascript:alert(1)", "/admin/?x=<b>", "/admin/" + "x" * 2000):
        assert b'name="next"' not in page(bad), bad
        status, headers, _ = post(bad)
        assert (status, headers["Location"]) == (303, "/admin/"), bad


def test_console_is_reached_through_the_log_in_page(zone, console):
    status, headers, _ = zone.request("GET", "/admin/", admin=True, headers={"Accept": "text/html"})
    assert status in (302, 303) and "/admin/login" in headers["Location"]
    status, headers, body = console.http.fetch("GET", console.base + "/", None, console.headers)
    assert status == 200 and b"app.js" in body
    etag = headers["ETag"]
    assert console.http.fetch("GET", console.base + "/", None, {**console.headers, "If-None-Match": etag})[0] == 304


def test_log_out_ends_the_session(zone):
    one = Console(zone)
    assert one.get("/me")["login"] == harness.ADMIN_USER
    cookie = one.headers["Cookie"]
    assert one.call("DELETE", "/session")[0] == 204
    one.headers["Cookie"] = cookie
    assert one.call("GET", "/me")[0] == 401


def test_own_password(zone):
    """R35: the other sessions end with the old password."""
    zone.ctl("admin", "add", "changer", "--role", "auditor", "--password-stdin", stdin="Correct-horse-9\n")
    one, other = Console(zone, "changer", "Correct-horse-9"), Console(zone, "changer", "Correct-horse-9")
    problem(one.call("PUT", "/me/password", {"old": "nonsense", "new": "Battery-staple-7"}), 400, "old")
    problem(one.call("PUT", "/me/password", {"old": "Correct-horse-9"}), 400, "new")
    status, headers, _ = one.call("PUT", "/me/password", {"old": "Correct-horse-9", "new": "Battery-staple-7"})
    assert status == 204 and "mdm_admin=" in headers["Set-Cookie"]
    assert other.call("GET", "/me")[0] == 401
    Console(zone, "changer", "Battery-staple-7")


# ---- lists (API-01, DEV-02, R26) ------------------------------------------------------------------------------------
@pytest.mark.parametrize("sort", ["name", "-name", "last_contact", "-last_contact"])
@pytest.mark.parametrize("filters", ["", "&state=active", "&q=fleet", "&ownership=personal&q=fleet%20"])
def test_pages_are_complete_and_ordered(console, fleet, sort, filters):
    """API-01: a walk through pages of 7 meets every device once, in order, as one page of 200 does."""
    small, pages = walk(console, f"/devices?limit=7&sort={sort}{filters}")
    whole, _ = walk(console, f"/devices?limit=200&sort={sort}{filters}")
    assert [d["id"] for d in small] == [d["id"] for d in whole] and pages > 1
    assert len({d["id"] for d in small}) == len(small)
    key = (lambda d: d["last_contact_at"] or "") if "contact" in sort else (lambda d: d["name"].lower())
    mine = [key(d) for d in small if d["name"].startswith("Fleet")]
    assert mine == sorted(mine, reverse=sort.startswith("-")) and len(mine) > 10


def test_filters(console, fleet, anna):
    items = console.get("/devices?limit=200&state=retired&q=fleet")["items"]
    assert len(items) == 9 and {d["state"] for d in items} == {"retired"}
    assert len(console.get(f"/devices?limit=200&person={anna}&q=fleet")["items"]) == 43
    assert console.get("/devices?q=Fleet%2007")["items"][0]["last_contact_at"] is None
    assert console.get("/devices?q=anna&limit=200")["items"]
    assert console.get("/devices?q=%25")["items"] == []


@pytest.mark.parametrize("query, field", [
    ("colour=red", "colour"), ("sort=serial", "sort"), ("sort=name%3BDROP", "sort"), ("state=gone", "state"), ("limit=0", "limit"), ("limit=201", "limit"),
    ("limit=x", "limit"), ("cursor=abc", "cursor"), ("cursor=", "cursor"), ("person=x", "person"), ("lost=2", "lost"), ("source_removed=yes", "source_removed"), ("sort=name&sort=name", "sort"), ("q=%ff", "q"), ("q=" + "x" * 200, "q")])
def test_bad_parameters_are_named(console, query, field):
    """API-04, R26: unknown and malformed parameters are refused by name."""
    problem(console.call("GET", "/devices?" + query), 400, field)


def test_cursor_belongs_to_its_list(console, fleet):
    """A cursor of another order or filter, or a changed one, is refused."""
    cursor = console.get("/devices?limit=3&sort=name")["next"]
    assert console.get(f"/devices?limit=3&sort=name&cursor={cursor}")["items"]
    for query in (f"sort=-name&cursor={cursor}", f"state=active&cursor={cursor}", f"q=f&cursor={cursor}"):
        problem(console.call("GET", "/devices?" + query), 400, "cursor")
    problem(console.call("GET", f"/audit?cursor={cursor}"), 400, "cursor")
    raw = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[1] = "zzz"
    forged = base64.urlsafe_b64encode(json.dumps(raw).encode()).decode().rstrip("=")
    problem(console.call("GET", f"/devices?sort=name&cursor={forged}"), 400, "cursor")


def test_lists_are_polled_by_etag(console, fleet):
    status, headers, _ = console.call("GET", "/devices?q=fleet")
    assert status == 200
    assert console.call("GET", "/devices?q=fleet", If_None_Match=headers["ETag"])[0] == 304
    assert console.call("GET", "/devices?q=fleet%2001", If_None_Match=headers["ETag"])[0] == 200


def test_other_lists_page(console, fleet):
    for path in ("/audit", "/jobs", "/people", "/pending", "/messages"):
        whole, _ = walk(console, f"{path}?limit=200")  # what the server adds meanwhile is in the other one
        small, _ = walk(console, f"{path}?limit=1")
        assert {x["id"] for x in small} >= {x["id"] for x in whole if path != "/audit"}
    problem(console.call("GET", "/jobs?state=lazy"), 400, "state")
    problem(console.call("GET", "/pending?state=lazy"), 400, "state")


# ---- devices --------------------------------------------------------------------------------------------------------
def test_edit_needs_the_version(zone, console, anna):
    """API-01: 428 without If-Match, 412 with an old one, 200 with the right one, audited with before and after."""
    ident = seed.device(zone, "To edit", anna)
    status, headers, before = console.call("GET", f"/devices/{ident}")
    assert status == 200 and headers["ETag"] == '"1"'
    problem(console.call("PATCH", f"/devices/{ident}", {"name": "Edited"}), 428, "If-Match")
    problem(console.call("PATCH", f"/devices/{ident}", {"name": "Edited"}, If_Match='"7"'), 412)
    problem(console.call("PATCH", f"/devices/{ident}", {"name": "Edited"}, If_Match="W/x"), 412)
    change = {"name": "Edited", "ownership": "personal", "notes": "a\nb", "department": "D", "site": "S", "location": "L", "test_device": True}
    status, headers, after = console.call("PATCH", f"/devices/{ident}", change, If_Match='"1"')
    assert status == 200 and headers["ETag"] == '"2"'
    assert {k: after[k] for k in change} == change and after["serial"] == before["serial"]
    entry = console.get(f"/devices/{ident}/audit")["items"][0]
    assert entry["action"] == "device.edit" and entry["detail"]["name"] == {"before": "To edit", "after": "Edited"}
    assert entry["actor"]["name"] == harness.ADMIN_USER
    for body, field in (({"name": ""}, "name"), ({"name": "x" * 201}, "name"), ({"serial": "1"}, "serial"), ({"ownership": "mine"}, "ownership"),
                        ({"test_device": 1}, "test_device"), ({"notes": "x" * 4001}, "notes"), ({"name": None}, "name")):
        problem(console.call("PATCH", f"/devices/{ident}", body, If_Match='"2"'), 400, field)


UNVERSIONED = {  # what has no version, or is deleted in any: one's own things, passwords, tokens, the push certificate
    "DELETE /api/v1/session", "PUT /api/v1/me/password", "DELETE /api/v1/me/tokens/{id}", "DELETE /api/v1/tokens/{id}",
    "PUT /api/v1/people/{id}/password", "PUT /api/v1/admins/{id}/password", "DELETE /api/v1/devices/{id}",
    "DELETE /api/v1/admins/{id}", "DELETE /api/v1/roles/{id}", "DELETE /api/v1/messages/{id}", "DELETE /api/v1/bulk-runs/{id}",
    "PUT /api/v1/schedule", "PUT /api/v1/retention", "PUT /api/v1/enrollment-settings", "PUT /api/v1/otp-settings", "PUT /api/v1/matching", "PUT /api/v1/mail-gate", "PUT /api/v1/devices/{id}/mail-gate", "PUT /api/v1/group-period", "PUT /api/v1/push/request/signed", "PUT /api/v1/push/signing",
    "PUT /api/v1/eas-servers/{id}/discovered.csv",
    "PUT /api/v1/push/certificate", "PUT /api/v1/notifications/server", "PUT /api/v1/notifications/settings", "PUT /api/v1/sms-gateway", "PUT /api/v1/notifications/server/certificate"}


def test_stale_edits_change_nothing(zone, console, anna):
    """API-01, issue 3: every PATCH, PUT and DELETE of something with a version: 428 without it, 412 with another one."""
    ldap = console.post("/sources", {"name": "Stale", "config": {"type": "openldap", "host": "198.51.100.1", "containers": ["o=x"],
                                                                 "bind_dn": "cn=x,o=x"}, "enabled": False})
    server = console.post("/eas-servers", {"name": "Stale", "host": "mail.example.org"})
    role = console.post("/roles", {"name": "Stale", "rights": {"device": ["read"]}})
    ids = {"devices": seed.device(zone, "Stale", anna), "folders": console.post("/folders", {"name": "Stale", "parent": seed.ROOT_FOLDER})["id"],
           "groups": console.post("/groups", {"name": "Stale", "criteria": NOBODYS})["id"], "people": anna, "sources": ldap["id"], "eas-servers": server["id"],
           "admins": console.post("/admins", {"kind": "local", "login": "stale", "role_id": role["id"], "password": "Correct-horse-9"})["id"],
           "policies": console.post("/policies", {"type": "email", "name": "Stale"})["id"],
           "policy-folders": console.post("/policy-folders", {"name": "Stale"})["id"], "assignments": assigned(console, "Stale too"),
           "roles": role["id"], "nodes": harness.wait_for(lambda: next((n["id"] for n in console.get("/nodes")["items"]), None))}
    bodies = {"certificate": {"sha256": "0" * 64}, "access": {"filters": []}, "eas-servers": {"servers": []},
              "schedule": {"refresh": {"mode": "manual"}}, "sandbox": {"settings": {}}, "{number}": {"note": "x"}, "{language}": {"subject": "x", "text": "x", "html": "x"},
              "criteria": {"criteria": NOBODYS}}
    acts = lambda: zone.sql("SELECT COUNT(*) FROM audit WHERE actor_kind = 'admin'")  # noqa: E731
    before, seen = acts(), 0
    for method, path, *_ in ROUTES:
        if method not in ("PATCH", "PUT", "DELETE") or f"{method} {path}" in UNVERSIONED:
            continue
        address = path.removeprefix("/api/v1").replace("{id}", ids.get(path.split("/")[3], NOBODY)).replace("{number}", "0").replace("{event}", "email_none").replace("{language}", "en")
        free = "/nodes/" in path or "/assignments/" in path
        body = None if method == "DELETE" else bodies.get(path.rsplit("/", 1)[1], {} if free else {"name": "Changed"})
        for status, head in ((428, {}), (412, {"If_Match": '"999"'})):
            answer = console.call(method, address, body, **head)
            assert answer[0] == status, (method, path, answer)
        seen += 1
    assert seen >= 16 and acts() == before
    console.call("DELETE", f"/sources/{ldap['id']}", If_Match=f'"{ldap["version"]}"')


@pytest.mark.parametrize("body, status", [(b"{", 400), (b"[]", 400), (b'{"name":"a","name":"b"}', 400), (b"[" * 200, 400), (b"x" * 20000, 413), (b"", 400)])
def test_bad_bodies(zone, console, fleet, body, status):
    headers = {**console.headers, "Content-Type": "application/json", "If-Match": '"1"'}
    assert console.http.fetch("PATCH", f"{console.base}/api/v1/devices/{fleet[3]}", body, headers)[0] == status


def test_wrong_type_and_method(zone, console, fleet):
    answer = console.http.fetch("PATCH", f"{console.base}/api/v1/devices/{fleet[3]}", b"name=x", {**console.headers, "Content-Type": "text/plain"})
    assert answer[0] == 415
    status, headers, _ = console.call("PUT", "/devices", {})
    assert status == 405 and headers["Allow"] == "GET, HEAD"
    problem(console.call("GET", "/nothing"), 404)


def test_unknown_objects_are_404(console):
    bodies = {"password": {"password": "Correct-horse-9"}, "unenroll": {"wipe": "full", "then": "retire"}, "certificate": {"sha256": "0" * 64},
              "eas-servers": {"servers": []}, "discovered": {"rows": []}, "test": {"login": "x", "password": "x"}, "devices": {"add": [NOBODY]},
              "commands": {"request_type": "RestartDevice"}, "raw": {"command": {"RequestType": "X"}},
              "schedule": {"refresh": {"mode": "manual"}}, "duplicate": {"name": "Copy", "number": 1}, "publish": {},
              "sandbox": {"settings": {}}, "{number}": {"note": "x"}, "link": {"device": NOBODY}, "split": {"record": NOBODY}, "mail-gate": {"exception": None},
              "criteria": {"criteria": NOBODYS}, "reset": {}, "device-owner": {}}
    for method, path, auth, right, limit, is_json, _ in ROUTES:
        if "{id}" not in path:
            continue
        body = bodies.get(path.rsplit("/", 1)[1], {} if method == "PATCH" else {"reason": ""}) if is_json == "1" else None
        kept = path.endswith("/audit")  # the audit outlives its object
        for ident in ("nonsense",) if kept else (NOBODY, "nonsense"):
            address = fill(path.removeprefix("/api/v1").replace("{id}", ident))
            answer = console.call(method, address, body, If_Match='"1"')
            problem(answer, 404)


def test_refresh_unenrol_on_a_real_device(zone, console):
    """DEV-08, DEV-12: refresh queues its questions; unenrolment removes the profile and retires the object."""
    device = enrolled(zone, new_device(zone))
    ident = console.device(device.udid)["id"]
    assert console.call("POST", f"/devices/{ident}/refresh")[0] == 202
    opened = [c for c in console.get(f"/devices/{ident}/commands")["items"] if c["open"]]
    assert {c["request_type"] for c in opened} == REFRESHES
    assert console.call("POST", f"/devices/{ident}/commands/{opened[0]['id']}/cancel")[0] == 204
    problem(console.call("POST", f"/devices/{ident}/commands/{opened[0]['id']}/cancel"), 409)
    assert len(device.poll()) == len(REFRESHES) - 1
    problem(console.call("POST", f"/devices/{ident}/unenroll", {"wipe": "maybe", "then": "retire"}), 400, "wipe")
    assert console.call("POST", f"/devices/{ident}/unenroll", {"wipe": "selective", "then": "retire", "reason": "left"})[0] == 202
    problem(console.call("POST", f"/devices/{ident}/unenroll", {"wipe": "selective", "then": "retire"}), 409)
    try:
        device.poll()
    except Refused:  # its CheckOut comes after the confirmation has ended its identity
        pass
    assert [c["state"] for c in console.get(f"/devices/{ident}/commands")["items"] if c["request_type"] == "RemoveProfile"] == ["acknowledged"]
    assert console.get(f"/devices/{ident}")["state"] == "retired"
    assert console.call("POST", f"/devices/{ident}/unretire", {"reason": "back"})[0] == 204
    problem(console.call("POST", f"/devices/{ident}/unretire", {}), 409)


def test_delete_and_retire_without_the_device(zone, console):
    """DEV-12: the administrator gives up on a device: its identity ends, the object goes, the audit stays."""
    device = enrolled(zone, new_device(zone))
    ident = console.device(device.udid)["id"]
    assert console.call("POST", f"/devices/{ident}/retire", {"reason": "sold"})[0] == 204
    assert console.get(f"/devices/{ident}")["state"] == "retired"
    assert zone.sql("SELECT COUNT(*) FROM certificate WHERE status = 'revoked'")[0][0] >= 1
    problem(console.call("POST", f"/devices/{ident}/retire", {}), 409)
    before = zone.sql("SELECT COUNT(*) FROM certificate")[0][0]
    assert console.call("DELETE", f"/devices/{ident}")[0] == 204
    problem(console.call("GET", f"/devices/{ident}"), 404)
    assert zone.sql("SELECT COUNT(*) FROM certificate")[0][0] == before
    assert any(a["action"] == "device.delete" and a["object_id"] == ident for a in console.get("/audit?limit=50")["items"])


# ---- hostile names (R24, R28, R33) ----------------------------------------------------------------------------------
def test_hostile_names_in_list_page_and_csv(zone, console, anna):
    """R24, R33: names come back as they are in JSON; in CSV none can start a formula or a line."""
    ids = {seed.device(zone, name, anna): name for name in HOSTILE + ["two\r\nlines"]}
    listed = {d["id"]: d["name"] for d in walk(console, "/devices?limit=200")[0]}
    assert {k: listed[k] for k in ids} == ids
    for ident, name in ids.items():
        assert console.get(f"/devices/{ident}")["name"] == name
    status, headers, raw = console.call("GET", "/devices?format=csv")
    assert status == 200 and headers["Content-Type"].startswith("text/csv") and "attachment" in headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    by_id = {r["id"]: r for r in rows}
    assert len(rows) == len(listed) and all(len(r) == 18 and None not in r for r in rows)
    assert not [v for r in rows for v in r.values() if v[:1] in ("=", "+", "-", "@", "\t", "\r")]
    assert by_id[next(k for k, v in ids.items() if v == 'a"b,c;d')]["name"] == 'a"b,c;d'
    problem(console.call("GET", "/devices?format=csv&sort=nonsense"), 400, "sort")
    problem(console.call("GET", "/devices?format=csv&color=1"), 400, "color")
    assert console.call("HEAD", "/devices?format=csv")[0] == 200


def test_csv_of_many_pages(zone, console, anna):
    for i in range(420):
        seed.device(zone, f"Bulk {i:03d}", anna)
    raw = console.call("GET", "/devices?format=csv&q=bulk")[2]
    names = [r["name"] for r in csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline=""))]
    assert names == [f"Bulk {i:03d}" for i in range(420)]


# ---- audit (USR-12, R49) ----------------------------------------------------------------------------------------------
def test_what_is_audited(zone, console, anna):
    """USR-12, PEN-04, PEN-08, R49: log-ins good and bad, links, enrolment, edit, unenrolment, settings and tokens by mdmctl: once each, with who
    and from where, and without a secret."""
    begun = seed.now_ms() + 1
    time.sleep(0.01)  # what the fixtures did is older
    nobody = Console(zone, login=None)
    assert nobody.login(harness.ADMIN_USER, "wrong-Pass-9")[0] == 401
    assert nobody.login(harness.ADMIN_USER, harness.ADMIN_PASSWORD)[0] == 303
    who = portal(zone)
    status = who.http.fetch("POST", f"{zone.portal_url}api/v1/session", json.dumps({"login": "nobody", "password": "wrong-Pass-9"}).encode(),
                            {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"})[0]
    assert status == 401
    made = console.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})
    console.get(f"/pending/{made['id']}/link")
    console.call("GET", f"/pending/{made['id']}/qr.svg")
    console.post(f"/pending/{made['id']}/cancel")
    device = enrolled(zone, new_device(zone), who)
    ident = zone.sql("SELECT id FROM device WHERE udid = ?", device.udid)[0][0]
    assert console.call("PATCH", f"/devices/{ident}", {"notes": "x"}, If_Match=console.call("GET", f"/devices/{ident}")[1]["ETag"])[0] == 200
    console.post(f"/devices/{ident}/unenroll", {"wipe": "selective", "then": "retire", "reason": "left"})
    person = console.post("/people", {"login": "audited", "name": "A", "password": "Correct-horse-9"})
    assert console.call("PUT", f"/people/{person['id']}/password", {"password": "Battery-staple-7"})[0] == 204
    zone.ctl("setting", "set", "audited.secret", '"Hush-hush-1"', "--secret")
    token = zone.ctl("token", "add", harness.ADMIN_USER, "robot").strip()

    rows = zone.sql("SELECT action, outcome, object_id, actor_kind, actor_name, ip, detail, object_name FROM audit WHERE at_ms >= ?", begun)
    seen = sorted((r[0], r[1]) for r in rows)
    expected = sorted([
        ("session.login", "refused"), ("session.login", "done"), ("portal.login", "done"), ("portal.login", "refused"),
        ("pending.create", "done"), ("pending.link", "done"), ("pending.link", "done"), ("pending.cancel", "done"),
        ("pending.create", "done"), ("device.enroll", "done"), ("device.edit", "done"), ("device.unenroll", "done"),
        ("person.create", "done"), ("person.password", "done"), ("setting.write", "done"), ("token.create", "done")])
    assert seen == expected
    by = {r[0]: r for r in rows if r[1] == "done"}
    assert by["device.edit"][2:6] == (ident, "admin", harness.ADMIN_USER, "127.0.0.1")
    assert by["portal.login"][3:6] == ("person", harness.PERSON, "127.0.0.1")
    text = repr(rows)
    for secret in ("wrong-Pass-9", "Correct-horse-9", "Battery-staple-7", "Hush-hush-1", token, made["link"].rsplit("/", 1)[1],
                   harness.ADMIN_PASSWORD, harness.PERSON_PASSWORD):
        assert secret not in text


# ---- people and pending enrolments ----------------------------------------------------------------------------------
def test_people(zone, console):
    """USR-06, R30, R35: created, edited under version, password written only, disabled."""
    body = {"login": "Berta", "name": "Berta Beispiel", "mail": "berta@example.org", "phone": "1", "password": "Correct-horse-9"}
    status, headers, made = console.call("POST", "/people", body)
    assert status == 201 and headers["Location"] == f"/admin/api/v1/people/{made['id']}"
    assert "password" not in made and "Correct" not in json.dumps(made)
    problem(console.call("POST", "/people", {**body, "login": "BERTA"}), 409)
    problem(console.call("POST", "/people", {**body, "admin": True}), 400, "admin")
    problem(console.call("POST", "/people", {"login": "x", "name": "x"}), 400, "password")
    problem(console.call("PATCH", f"/people/{made['id']}", {"name": "B"}), 428)
    status, headers, after = console.call("PATCH", f"/people/{made['id']}", {"name": "B", "disabled": True}, If_Match='"1"')
    assert (status, after["name"], after["disabled"], after["mail"]) == (200, "B", True, "berta@example.org")
    problem(console.call("PATCH", f"/people/{made['id']}", {"name": "C"}, If_Match='"1"'), 412)
    assert console.call("PUT", f"/people/{made['id']}/password", {"password": "Battery-staple-7"})[0] == 204
    assert [p["id"] for p in console.get("/people?q=bert")["items"]] == [made["id"]]
    assert [p["id"] for p in console.get("/people?q=berta@ex")["items"]] == [made["id"]]


def test_pending(zone, console, anna):
    """PEN: prepared for a person, shown as link and code to those entitled, audited, cancelled."""
    status, headers, made = console.call("POST", "/pending", {"person_id": anna, "authoriser": AUTHORISER, "ownership": "corporate"})
    assert status == 201 and headers["Location"].endswith(made["id"]) and made["origin"] == "single"
    assert made["link"].startswith(zone.public_url + "/enroll/")
    status, _, page = zone.request("GET", urllib.parse.urlsplit(made["link"]).path)
    assert status == 200
    assert console.get(f"/pending/{made['id']}/link")["link"] == made["link"]
    status, headers, svg = console.call("GET", f"/pending/{made['id']}/qr.svg")
    assert status == 200 and headers["Content-Type"] == "image/svg+xml" and svg.startswith(b"<svg")
    status, headers, png = console.call("GET", f"/pending/{made['id']}/qr.png")
    assert status == 200 and headers["Content-Type"] == "image/png" and png.startswith(b"\x89PNG\r\n\x1a\n") and png.endswith(b"IEND\xaeB`\x82")
    assert console.get(f"/pending/{made['id']}/link?otp=1")["link"].startswith(made["link"] + "#")
    assert any(a["action"] == "pending.link" for a in console.get("/audit?limit=10")["items"])
    assert made["id"] in {p["id"] for p in console.get("/pending?state=open&limit=200")["items"]}
    assert "link" not in console.get(f"/pending/{made['id']}")
    assert console.call("POST", f"/pending/{made['id']}/cancel")[0] == 204
    rows = zone.sql("SELECT action, actor_kind FROM audit WHERE object_id = ? AND action NOT IN ('pending.link', 'pending.otp_view') ORDER BY action", made["id"])
    assert [tuple(r) for r in rows] == [("pending.cancel", "admin"), ("pending.create", "admin")]  # once each
    problem(console.call("GET", f"/pending/{made['id']}/link"), 409)
    problem(console.call("POST", "/pending", {"person_id": NOBODY, "authoriser": AUTHORISER}), 400, "person_id")
    problem(console.call("POST", "/pending", {"person_id": anna, "platform": "windows"}), 400, "platform")


def test_provision_and_one_time_password(zone, console, anna):
    """PEN-01, PEN-02, PEN-04: who authorises it is checked now and named; the one-time password is shown to those entitled, audited, and replaced."""
    new = {"person_id": anna, "platform": "unknown", "phone": "+49 (170) 123 45-67", "notify": ""}
    problem(console.call("POST", "/pending", new), 400, "authoriser")
    problem(console.call("POST", "/pending", {**new, "authoriser": {"login": "admin"}}), 400, "authoriser.password")
    problem(console.call("POST", "/pending", {**new, "authoriser": {"login": harness.PERSON, "password": harness.PERSON_PASSWORD}}), 403, "authoriser")
    problem(console.call("POST", "/pending", {**new, "authoriser": {**AUTHORISER, "password": "Wrong-secret-1"}}), 403, "authoriser")
    problem(console.call("POST", "/pending", {**new, "phone": "none", "authoriser": AUTHORISER}), 400, "phone")
    problem(console.call("POST", "/pending", {**new, "notify": "fax", "authoriser": AUTHORISER}), 400, "notify")
    made = console.post("/pending", {**new, "authoriser": AUTHORISER})
    path = f"/pending/{made['id']}"
    assert (made["phone"], made["authorised_by"], made["platform"], made["otp"]["state"], made["otp"]["tries"]) == ("+491701234567", harness.ADMIN_USER, "unknown", "open", 0)
    assert made["id"] in {p["id"] for p in console.get("/pending?state=open&origin=single&platform=unknown&limit=200")["items"]}
    assert made["id"] not in {p["id"] for p in console.get("/pending?state=open&origin=bulk&limit=200")["items"]}
    head = made["link"].rsplit("/", 1)[1][:8]
    assert made["token"] == head
    for token in (head, head.swapcase(), made["link"].replace("#", "%23"), made["link"].rsplit("/", 1)[1]):
        assert [(p["id"], p["token"]) for p in console.get(f"/pending?token={token}&state=cancelled")["items"]] == [(made["id"], head)]
    rows = list(csv.DictReader(io.StringIO(console.call("GET", f"/pending?format=csv&token={head}")[2].decode("utf-8-sig"))))
    assert [(r["id"], r["token"].lstrip("'")) for r in rows] == [(made["id"], head)] and made["link"].rsplit("/", 1)[1] not in repr(rows)
    assert console.get("/pending?token=AAAAAAAA")["items"] == []
    for token in ("AAAAAAA", "%2A%2A%2A%2A%2A%2A%2A%2A"):
        problem(console.call("GET", f"/pending?token={token}"), 400, "token")
    status, headers, first = console.call("POST", f"{path}/otp")
    assert (status, headers["Cache-Control"]) == (200, "no-store") and re.fullmatch("[0-9]{8}", first["otp"])
    assert first["url"] == made["link"] and first["token"] == made["link"].rsplit("/", 1)[1] and first["expires_at"] == made["otp"]["expires_at"]
    problem(console.call("POST", f"{path}/otp/reset", {"notify": "fax"}), 400, "notify")
    assert console.call("POST", f"{path}/otp/reset", {"notify": ""})[0] == 204
    second = console.call("POST", f"{path}/otp")[2]
    assert second["otp"] != first["otp"] and second["expires_at"] >= first["expires_at"]
    seen = [r[0] for r in zone.sql("SELECT action FROM audit WHERE object_id = ? ORDER BY at_ms, action", made["id"])]
    assert sorted(seen) == ["pending.create", "pending.otp_reset", "pending.otp_view", "pending.otp_view"]
    text = repr(zone.sql("SELECT detail, object_name FROM audit")) + repr(zone.sql("SELECT * FROM pending_enrollment WHERE id = ?", made["id"]))
    assert not [x for x in (first["otp"], second["otp"], first["token"], AUTHORISER["password"], "Wrong-secret-1") if x in text]
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'pending.authorise' AND outcome = 'refused'")[0][0] == 2
    console.post(f"{path}/cancel")
    problem(console.call("POST", f"{path}/otp"), 409)
    problem(console.call("POST", f"{path}/otp/reset", {}), 409)


def test_provision_for_mail_only(zone, console, anna):
    """PEN-01, ENR-03: one person for mail only, as far as his policy goes; without a one-time password, and its link says what to do."""
    policy, settings = zone.sql("SELECT v.policy_id, v.settings FROM policy_version v JOIN policy p ON p.id = v.policy_id AND v.number = p.published WHERE p.type = 'enrollment'")[0]
    mail = {"person_id": anna, "level": "email_only", "authoriser": AUTHORISER}
    problem(console.call("POST", "/pending", {**mail, "imei": "490154203237518"}), 400, "imei")
    problem(console.call("POST", "/pending", {**mail, "level": "none"}), 400, "level")
    made = console.post("/pending", mail)
    try:
        assert (made["level"], made["platform"], made["otp"]["state"], made["origin"]) == ("email_only", "unknown", "none", "single")
        problem(console.call("POST", f"/pending/{made['id']}/otp/reset", {}), 409, "level")
        status, _, page = zone.request("GET", urllib.parse.urlsplit(made["link"]).path)
        assert status == 200 and b"mail app" in page and b'name="otp"' not in page
        assert zone.request("GET", urllib.parse.urlsplit(made["link"]).path + "/profile.mobileconfig")[0] == 303
        for level, other, field in (("managed", "email_only", "level"), ("email_only", "managed", "level")):
            zone.publish(policy, json.dumps({**json.loads(settings), "level": level}))
            told = console.call("POST", "/pending", {**mail, "level": other})
            problem(told, 403, field)
            assert "Everyone" in told[2]["detail"]
        fixed = console.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})
        assert fixed["level"] == "email_only"
        console.post(f"/pending/{fixed['id']}/cancel")
        zone.publish(policy, json.dumps({**json.loads(settings), "platforms": {"ios": True, "android": True, "eas": False}}))
        problem(console.call("POST", "/pending", mail), 403, "platform")
    finally:
        zone.publish(policy, settings)
        console.post(f"/pending/{made['id']}/cancel")


AGENT = {"component": "org.example.agent/.AdminReceiver", "url": "https://mdm.example.org/agent.apk", "checksum": "9f" * 32}


def test_settings_of_links_and_agent(zone, console, anna):
    """PEN-09, PEN-07: what links begin with and the agent's package: checked by member, audited, forgotten again."""
    own = console.get("/enrollment-settings")
    assert own == {"public_url": "", "default_url": zone.public_url, "agent": None, "account": {"mode": "off", "domain": ""}}
    try:
        for body, field in (({"public_url": "http://go.example.org"}, "public_url"), ({"public_url": "https://a b"}, "public_url"), ({"public_url": "https://x:0"}, "public_url"),
                            ({"public_url": "https://x/path"}, "public_url"), ({"agent": {**AGENT, "url": "http://x"}}, "agent.url"), ({"agent": {**AGENT, "checksum": "9f"}}, "agent.checksum"),
                            ({"agent": {"url": "https://x"}}, "agent.component"), ({"agent": []}, "agent"), ({"default_url": "https://x"}, "default_url"),
                            ({"account": {"mode": "on"}}, "account.mode"), ({"account": {"x": 1}}, "account.x"), ({"account": None}, "account")):
            problem(console.call("PUT", "/enrollment-settings", body), 400, field)
        assert console.get("/enrollment-settings") == own
        now = console.call("PUT", "/enrollment-settings", {"public_url": "https://Go.example.org:8443/"})[2]
        assert now == {**own, "public_url": "https://go.example.org:8443"}
        made = console.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})
        assert made["link"].startswith("https://go.example.org:8443/enroll/")
        assert console.get(f"/pending/{made['id']}/link")["link"] == made["link"]
        console.post(f"/pending/{made['id']}/cancel")
        now = console.call("PUT", "/enrollment-settings", {"agent": AGENT})[2]
        assert now["public_url"] == "https://go.example.org:8443" and now["agent"]["checksum_of"] == "signature" and now["agent"]["extras"]
        assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'enrollment.settings'")[0][0] == 2
    finally:
        assert console.call("PUT", "/enrollment-settings", {"public_url": "", "agent": None})[2] == own


def test_otp_settings(zone, console):
    """PEN-03, POR-02: the defaults, each member checked, what is not given stays, audited."""
    before = console.get("/otp-settings")
    assert before == {"length": 8, "alphabet": "digits", "life_hours": 72, "tries": 5, "ios": "either", "android": "either", "authorise": True, "phone": "off"}
    try:
        for field, values in (("length", (5, 17, "8")), ("alphabet", ("emoji",)), ("life_hours", (0, 721)), ("tries", (0, 11)), ("ios", ("none",)), ("android", (1,)), ("authorise", ("yes",)), ("phone", (True,)), ("more", (1,))):
            for value in values:
                problem(console.call("PUT", "/otp-settings", {field: value}), 400, field)
        now = console.call("PUT", "/otp-settings", {"length": 10, "alphabet": "both", "phone": "required"})[2]
        assert now == {**before, "length": 10, "alphabet": "both", "phone": "required"} == console.get("/otp-settings")
        assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'otp_settings.edit'")[0][0] == 1
    finally:
        console.call("PUT", "/otp-settings", before)


def test_device_owner_code(zone, console, anna):
    """PEN-07: the code for a factory-fresh Android device as SVG, PNG and text; the network's password stays nowhere, and what is refused is named."""
    made = console.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})
    address, ask = f"/pending/{made['id']}/device-owner", {"wifi_ssid": "Lager", "wifi_password": "Kept-nowhere-1", "locale": "de-DE"}
    try:
        problem(console.call("POST", address, ask), 409, "platform")
        zone.sql("UPDATE pending_enrollment SET platform = 'android' WHERE id = ?", made["id"])
        problem(console.call("POST", address, ask), 409, "agent")
        console.call("PUT", "/enrollment-settings", {"agent": AGENT})
        problem(console.call("POST", address, {**ask, "wifi_password": "short"}), 400, "wifi_password")
        problem(console.call("POST", address + "?format=gif", ask), 400, "format")
        status, headers, body = console.call("POST", address + "?format=json", ask)
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        bundle = body["android.app.extra.PROVISIONING_ADMIN_EXTRAS_BUNDLE"]
        assert bundle == {"mdm.server_url": zone.public_url, "mdm.enrollment_token": made["link"].rsplit("/", 1)[1]}
        assert body["android.app.extra.PROVISIONING_WIFI_PASSWORD"] == "Kept-nowhere-1" and body["android.app.extra.PROVISIONING_LOCALE"] == "de_DE"
        status, headers, svg = console.call("POST", address, ask)
        assert (status, headers["Content-Type"]) == (200, "image/svg+xml") and svg.startswith(b"<svg")
        status, headers, png = console.call("POST", address + "?format=png", ask)
        assert (status, headers["Content-Type"]) == (200, "image/png") and png.startswith(b"\x89PNG")
        assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'pending.device_owner' AND object_id = ?", made["id"])[0][0] == 3
        assert "Kept-nowhere-1" not in repr(zone.sql("SELECT detail FROM audit")) + repr(zone.sql("SELECT * FROM pending_enrollment WHERE id = ?", made["id"]))
    finally:
        console.call("PUT", "/enrollment-settings", {"agent": None})
        console.post(f"/pending/{made['id']}/cancel")
    problem(console.call("POST", address, ask), 409, "state")


# ---- zone -----------------------------------------------------------------------------------------------------------
def test_overview_counts(zone, console, fleet):
    seen = console.get("/overview")
    total = zone.sql("SELECT COUNT(*) FROM device")[0][0]
    assert seen["devices"] == total == sum(seen["devices_by_state"].values()) == sum(seen["devices_by_mode"].values())
    assert seen["nodes_live"] == 1


def test_messages_are_acknowledged(zone, console, fleet):
    """DEV-03, UI-03: the list shows the worst open message, as a sentence and for other languages; acknowledging clears it and is audited."""
    zone.sql("INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text) VALUES (?, 'device', ?, ?, 3, 'x.y', 'trouble')",
             NOBODY, fleet[2], seed.now_ms())
    assert console.get("/devices?q=fleet%2002")["items"][0]["severity"] == 3
    assert [(m["text"], m["said"]) for m in console.get(f"/messages?object={fleet[2]}&open=1")["items"]] == [("trouble", None)]
    zone.sql("UPDATE message SET text = ? WHERE id = ?", "\x1fsaid_enroll_refused\x1fben\x1fno", NOBODY)
    seen = console.get(f"/messages?object={fleet[2]}&open=1")["items"][0]
    assert (seen["text"], seen["said"]) == ("ben tried to enrol this device again: no", {"word": "said_enroll_refused", "values": ["ben", "no"]})
    assert console.call("POST", f"/messages/{NOBODY}/acknowledge")[0] == 204
    assert console.get(f"/messages?object={fleet[2]}&open=1")["items"] == []
    assert console.get("/devices?q=fleet%2002")["items"][0]["severity"] == 0


def test_messages_all_at_once_and_deleted(zone, console, fleet):
    """DEV-03: by severity; all of one object, then all of the zone acknowledged; deleted one is gone; each act is audited."""
    ids = [f"00000000-0000-4000-8000-0000000d{n:04d}" for n in range(6)]
    for n, ident in enumerate(ids):
        zone.sql("INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text) VALUES (?, 'device', ?, ?, ?, ?, 'm')",
                 ident, fleet[n % 2], seed.now_ms(), 1 + n % 3, f"test.{n}")
    shown = {m["id"] for m in console.get("/messages?open=1&severity=3&limit=200")["items"]}
    assert {ids[2], ids[5]} <= shown and not shown & {ids[0], ids[1]}
    assert console.post("/messages/acknowledge", {"object": fleet[0]})["acknowledged"] >= 3
    assert {m["id"] for m in console.get("/messages?open=1&limit=200")["items"]} & set(ids) == {ids[1], ids[3], ids[5]}
    assert console.post("/messages/acknowledge", {})["acknowledged"] >= 3
    assert console.get("/messages?open=1")["items"] == []
    assert console.call("DELETE", f"/messages/{ids[0]}")[0] == 204 and console.call("DELETE", f"/messages/{ids[0]}")[0] == 404
    for path, field in (("/messages?severity=9", "severity"), ("/messages?open=2", "open"), ("/messages?object=x", "object")):
        problem(console.call("GET", path), 400, field)
    problem(console.call("POST", "/messages/acknowledge", {"object": "x"}), 400, "object")
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'message.delete'")[0][0] == 1


def test_jobs_and_nodes(zone, console):
    jobs = console.get("/jobs")["items"]
    assert jobs and console.get(f"/jobs/{jobs[0]['id']}")["kind"] == jobs[0]["kind"]
    ident = "00000000-0000-4000-8000-00000000eeee"
    zone.sql("INSERT INTO job (id, kind, run_at_ms, created_ms) VALUES (?, 'test.kind', ?, ?)", ident, seed.now_ms() + 3_600_000, seed.now_ms())
    assert console.call("POST", f"/jobs/{ident}/cancel")[0] == 202
    zone.sql("UPDATE job SET state = 'done' WHERE id = ?", ident)
    problem(console.call("POST", f"/jobs/{ident}/cancel"), 409)
    assert len(console.get("/nodes")["items"]) == 1


def test_words_are_complete():
    """UI-03: each text exists in English and German; every text that pages use exists."""
    ui = ROOT / "modules/admin/ui"
    text = (ui / "words.js").read_text()
    entries = re.findall(r"(\w+): \[('(?:[^'\\]|\\.)*'), ('(?:[^'\\]|\\.)*')\]", text)
    keys = [k for k, _, _ in entries]
    assert len(keys) == len(set(keys)) > 200 and all(len(en) > 2 and len(de) > 2 for _, en, de in entries)
    used = {k for f in ui.rglob("*.js") if f.name != "words.js" for k in re.findall(r"(?<![.\w])t\('([a-z0-9_]+)'", f.read_text())}
    assert used <= set(keys), used - set(keys)
    said = set(re.findall(r'^    {"(\w+)", "', (ROOT / "modules/core/domain/mdm_said.c").read_text(), re.M))
    assert len(said) > 20 and said <= set(keys), said - set(keys)
    codes = DOCUMENT["components"]["schemas"]["Command"]["properties"]["why_code"]["enum"]
    assert {f"cmd_{c}" for c in codes if c} <= set(keys), "why a command waits is told in both languages (IOS-05)"


# ---- every list as a file (UI-01) -------------------------------------------------------------------------------------
LISTS = [p for m, p, *_ in ROUTES if m == "GET" and {"text/csv", "application/json"} <= {*DOCUMENT["paths"][p]["get"]["responses"]["200"].get("content", {})}]


def test_files_are_small_on_the_way(console):
    """UI-02: the console's files come compressed to who takes that, each form with an ETag of its own."""
    def get(**head):
        return console.http.fetch("GET", f"{console.base}/words.js", headers={**console.headers, **head})
    status, headers, whole = get()
    assert status == 200 and "Content-Encoding" not in headers and "Accept-Encoding" in headers["Vary"]
    status, packed, small = get(**{"Accept-Encoding": "br, gzip"})
    assert status == 200 and packed["Content-Encoding"] == "gzip" and gzip.decompress(small) == whole and len(small) < len(whole) / 2
    assert packed["ETag"] != headers["ETag"]
    assert get(**{"Accept-Encoding": "gzip", "If-None-Match": packed["ETag"]})[0] == 304
    assert "Content-Encoding" not in get(**{"Accept-Encoding": "gzip;q=0"})[1]


@pytest.mark.parametrize("path", LISTS)
def test_lists_as_csv(console, fleet, path):
    """UI-01, R33: each list that the document names is also a file with the same rows; other formats and paging are refused by name."""
    ident = console.post("/tasks", {"kind": "refresh", "devices": [fleet[0]]})["id"] if path.startswith("/api/v1/tasks/") else fleet[0]
    ident = console.get("/policies")["items"][0]["id"] if path.startswith("/api/v1/policies/") else ident
    ident = console.post("/eas-servers", {"name": f"Lists {time.time()}", "host": "mail.example.org"})["id"] if path.startswith("/api/v1/eas-servers/") else ident
    ident = bulk_run(console) if path.startswith("/api/v1/bulk-runs/") else ident
    address = path.removeprefix("/api/v1").replace("{id}", ident)
    console.post("/groups", {"name": f'=cmd|"{path}"'}) if path.endswith("/groups") else None
    listed = walk(console, address + "?limit=200")[0]  # before the file: what the server adds meanwhile is in that
    status, headers, raw = console.call("GET", address + "?format=csv")
    assert status == 200 and headers["Content-Type"].startswith("text/csv") and raw.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    key = "fingerprint" if path.endswith("/identities") else "username" if "/bulk-runs/" in path else "id"
    assert {r[key] for r in rows} >= {x[key] for x in listed} and not [v for r in rows for v in r.values() if v[:1] in "=+@\t\r" and v]
    problem(console.call("GET", address + "?format=xls"), 400, "format")
    problem(console.call("GET", address + "?format=csv&cursor=x"), 400, "cursor")


def test_there_are_lists_as_csv():
    assert len(LISTS) > 10
