"""Administrators, roles, API tokens and folder limits through the API, on both databases (USR-12, API-03, API-04, R29, R35)."""
import re
import uuid

import pytest

import harness
import seed
import zonefiles as zf
from clients import Console
from test_admin import NOBODY, ROUTES, problem

PASSWORD = "Correct-horse-9"


@pytest.fixture(scope="module")
def roles(console):
    return {r["name"]: r["id"] for r in console.get("/roles")["items"]}


def make(console, roles, login, role, **more):
    return console.post("/admins", {"login": login, "kind": "local", "role_id": roles[role], "password": PASSWORD, **more})


def folder(zone, name, parent=seed.ROOT_FOLDER):
    ident = str(uuid.uuid4())
    zone.sql("INSERT INTO folder (id, parent_id, name) VALUES (?, ?, ?)", ident, parent, name)
    zone.sql("INSERT INTO folder_above (folder_id, above_id) SELECT CAST(? AS TEXT), above_id FROM folder_above WHERE folder_id = ?", ident, parent)
    zone.sql("INSERT INTO folder_above (folder_id, above_id) VALUES (?, ?)", ident, ident)
    return ident


def edit(console, path, body):
    status, headers, _ = console.call("GET", path)
    assert status == 200
    return console.call("PATCH", path, body, If_Match=headers["ETag"])


def bearer(zone, token):
    made = Console(zone, login=None)
    made.headers = {"Authorization": "Bearer " + token}
    return made


# ---- administrators -------------------------------------------------------------------------------------------------
def test_life_of_an_administrator(zone, console, roles):
    """USR-12: made, changed, disabled, deleted; each step is in the audit log with before and after and without the password."""
    made = make(console, roles, "Maria", "help_desk", name="Maria \u202egnp", mail="maria@example.net", alerts=True)
    assert made["role"]["name"] == "help_desk" and made["alerts"] and made["folders"] == [] and made["kind"] == "local"
    path = f"/admins/{made['id']}"
    maria = Console(zone, "maria", PASSWORD)
    token = maria.post("/me/tokens", {"name": "script", "days": 30})["token"]
    assert bearer(zone, token).get("/me")["by_token"]
    status, _, now = edit(console, path, {"role_id": roles["auditor"]})
    assert status == 200 and now["role"]["name"] == "auditor"
    assert maria.call("GET", "/me")[0] == 401 and bearer(zone, token).call("GET", "/me")[0] == 401  # another role ends them
    problem(console.call("PATCH", path, {"name": "x"}, If_Match='"1"'), 412)
    problem(console.call("PATCH", path, {"name": "x"}), 428)
    maria = Console(zone, "maria", PASSWORD)
    assert edit(console, path, {"disabled": True})[0] == 200
    assert maria.call("GET", "/me")[0] == 401 and Console(zone, login=None).login("maria", PASSWORD)[0] == 401
    assert edit(console, path, {"disabled": False})[0] == 200
    maria = Console(zone, "maria", PASSWORD)
    assert console.call("PUT", path + "/password", {"password": "Battery-staple-7"})[0] == 204
    assert maria.call("GET", "/me")[0] == 401
    Console(zone, "maria", "Battery-staple-7")
    assert console.call("DELETE", path)[0] == 204
    problem(console.call("GET", path), 404)
    rows = [x for x in console.get("/audit?limit=200")["items"] if x["object_id"] == made["id"]]
    seen = {x["action"]: x["detail"] for x in rows}
    assert seen["admin.create"]["after"]["login"] == "Maria" and seen["admin.delete"]["before"]["login"] == "Maria"
    changes = [(x["detail"]["before"]["role"]["name"], x["detail"]["after"]["role"]["name"]) for x in rows if x["action"] == "admin.edit"]
    assert ("help_desk", "auditor") in changes
    assert not zone.sql("SELECT 1 FROM audit WHERE detail LIKE '%scrypt%' OR detail LIKE ? OR detail LIKE '%mdm\\_%' ESCAPE '\\'", f"%{PASSWORD}%")


@pytest.mark.parametrize("change, field", [
    ({"login": "a\\b"}, "login"), ({"login": "maria"}, "login"), ({"login": ""}, "login"), ({"kind": "robot"}, "kind"), ({"role_id": NOBODY}, "role_id"),
    ({"role_id": "x"}, "role_id"), ({"password": "short"}, "password"), ({"kind": "external"}, "password"), ({"colour": 1}, "colour"),
    ({"kind": "group", "password": None}, "password"), ({"folders": [NOBODY]}, "folders"), ({"folders": ["x"]}, "folders"), ({"folders": "x"}, "folders"), ({"name": "x" * 300}, "name")])
def test_bad_administrators_are_named(zone, console, roles, change, field):
    """API-04: the member at fault is named; nothing is made."""
    if change == {"login": "maria"} and not zone.sql("SELECT 1 FROM admin WHERE login_key = 'maria'"):
        make(console, roles, "Maria", "auditor")
    before = zone.sql("SELECT COUNT(*) FROM admin")
    body = {"login": "new-one", "kind": "local", "role_id": roles["auditor"], "password": PASSWORD, **change}
    problem(console.call("POST", "/admins", body), 409 if change.get("login") == "maria" else 400, field)
    assert zone.sql("SELECT COUNT(*) FROM admin") == before


def test_other_kinds(zone, console, roles):
    """USR-12: external ones and groups have no password; a group is named by its DN and its directory: one DN in two of them is two administrators."""
    other = console.post("/admins", {"login": "carla@example.net", "kind": "external", "role_id": roles["auditor"]})
    problem(console.call("PUT", f"/admins/{other['id']}/password", {"password": PASSWORD}), 409)
    sources = [str(uuid.uuid4()) for _ in range(2)]
    for ident in sources:
        zone.sql("INSERT INTO user_source (id, name, kind, position, enabled, config, created_ms) VALUES (?, ?, 'ldap', 9, 1, '{}', 1)", ident, f"Directory {ident[:8]}")
    group = {"login": "cn=Desk,o=Org", "kind": "group", "role_id": roles["auditor"], "source_id": sources[0]}
    local = zone.sql("SELECT id FROM user_source WHERE kind = 'local'")[0][0]
    for change, field in (({"login": "desk"}, "login"), ({"login": "cn=a,,"}, "login"), ({"source_id": None}, "source_id"), ({"source_id": local}, "source_id"), ({"source_id": NOBODY}, "source_id"),
                          ({"source_id": "x"}, "source_id"), ({"kind": "external"}, "source_id"), ({"kind": "local", "login": "desk", "password": PASSWORD}, "source_id")):
        problem(console.call("POST", "/admins", {k: v for k, v in {**group, **change}.items() if v is not None}), 400, field)
    made = console.post("/admins", group)
    assert made["source"] == {"id": sources[0], "name": f"Directory {sources[0][:8]}"} and other["source"] is None
    problem(console.call("POST", "/admins", {**group, "login": "CN=desk, o=org"}), 409, "login")
    twin = console.post("/admins", {**group, "source_id": sources[1]})
    problem(console.call("POST", "/tokens", {"admin_id": made["id"], "name": "x", "days": 1}), 409)
    zone.sql("DELETE FROM user_source WHERE id = ?", sources[1])
    assert console.get(f"/admins/{twin['id']}")["source"] is None and console.get(f"/admins/{made['id']}")["source"]
    lines = console.call("GET", "/admins?format=csv")[2].decode().splitlines()
    assert "source" in lines[0] and sum(f"Directory {sources[0][:8]}" in x for x in lines) == 1


def test_groups_named_by_a_dn_alone(zone, roles):
    """USR-12: the migration leaves a group of the time before to the one directory that has shown it; in doubt it gives nobody any right."""
    sources = [str(uuid.uuid4()) for _ in range(2)]
    for ident in sources:
        zone.sql("INSERT INTO user_source (id, name, kind, position, enabled, config, created_ms) VALUES (?, ?, 'ldap', 9, 1, '{}', 1)", ident, f"Older {ident[:8]}")
    seen = {"clear": sources[:1], "doubtful": sources, "unseen": []}
    groups = {}
    for word, where in seen.items():
        zone.sql("INSERT INTO admin (id, login, login_key, kind, role_id, created_ms) VALUES (?, ?, ?, 'group', ?, 1)", f"old-{word}", f"CN={word},O=Old", f"cn={word},o=old", roles["auditor"])
        for source in where:
            groups[word] = str(uuid.uuid4())
            zone.sql("INSERT INTO user_group (id, source_id, name, dn) VALUES (?, ?, ?, ?)", groups[word], source, word, f"cn={word.title()},o=Old")
    for statement in re.findall(r"^UPDATE admin\b[^;]*", (zf.ROOT / "sql/schema/0010_people.sql").read_text(), re.M):
        zone.sql(statement.replace("WHERE kind = 'group'", "WHERE id LIKE 'old-%'").replace("WHERE group_id IS NOT NULL", "WHERE id LIKE 'old-%' AND group_id IS NOT NULL"))
    now = {r[0]: r[1:] for r in zone.sql("SELECT id, source_id, group_id, login_key FROM admin WHERE id LIKE 'old-%'")}
    assert now == {"old-clear": (sources[0], groups["clear"], f"cn=clear,o=old {sources[0]}"), "old-doubtful": (None, None, "cn=doubtful,o=old "), "old-unseen": (None, None, "cn=unseen,o=old ")}
    zone.sql("DELETE FROM admin WHERE id LIKE 'old-%'")


def test_last_super_admin_stays(zone, console, roles):
    """Nobody can lock everybody out: the last one with every right is neither demoted, disabled, limited nor deleted."""
    path = f"/admins/{console.get('/me')['id']}"
    for change in ({"role_id": roles["auditor"]}, {"disabled": True}, {"folders": [seed.ROOT_FOLDER]}):
        problem(edit(console, path, change), 409)
    problem(console.call("DELETE", path), 409)
    second = make(console, roles, "second", "super_admin")
    assert console.call("DELETE", f"/admins/{second['id']}")[0] == 204
    problem(edit(console, f"/roles/{roles['super_admin']}", {"rights": {}}), 409)
    assert console.get("/me")["rights"] == {"*": ["*"]}


# ---- who may give what ----------------------------------------------------------------------------------------------
def test_nobody_gives_rights_he_lacks(zone, console, roles):
    """USR-12: with admin:write alone one makes no super_admin, touches none, widens no role, and takes no token beyond himself."""
    keeper = console.post("/roles", {"name": "keeper", "rights": {"admin": ["read", "write"], "device": ["read"]}})
    eyes = console.post("/roles", {"name": "eyes", "rights": {"device": ["read"]}})
    make(console, roles | {"keeper": keeper["id"]}, "keeper1", "keeper")
    one = Console(zone, "keeper1", PASSWORD)
    boss, me = console.get("/me")["id"], one.get("/me")["id"]
    new = {"login": "k2", "kind": "local", "password": PASSWORD}
    for role in ("super_admin", "help_desk", "auditor"):
        problem(one.call("POST", "/admins", {**new, "role_id": roles[role]}), 403)
        problem(edit(one, f"/admins/{me}", {"role_id": roles[role]}), 403)
    problem(one.call("PUT", f"/admins/{boss}/password", {"password": PASSWORD}), 403)
    problem(edit(one, f"/admins/{boss}", {"name": "x"}), 403)
    problem(one.call("DELETE", f"/admins/{boss}"), 403)
    problem(one.call("POST", "/tokens", {"admin_id": boss, "name": "x", "days": 1, "role_id": eyes["id"]}), 403)
    problem(one.call("POST", "/me/tokens", {"name": "x", "days": 1, "role_id": roles["auditor"]}), 403)
    problem(one.call("POST", "/roles", {"name": "wide", "rights": {"device": ["*"]}}), 403)
    problem(one.call("POST", "/roles", {"name": "wide", "rights": {"*": ["read"]}}), 403)
    problem(edit(one, f"/roles/{keeper['id']}", {"rights": {"device": ["read", "task"], "admin": ["*"]}}), 403)
    problem(edit(one, f"/roles/{roles['help_desk']}", {"rights": {}}), 403)
    made = one.post("/admins", {**new, "role_id": eyes["id"]})
    assert one.call("DELETE", f"/admins/{made['id']}")[0] == 204
    # A token with fewer rights is bound by its own, not by those of its owner.
    weak = bearer(zone, console.post("/me/tokens", {"name": "weak", "days": 1, "role_id": keeper["id"]})["token"])
    problem(weak.call("POST", "/me/tokens", {"name": "same", "days": 1, "role_id": keeper["id"]}), 403)
    problem(weak.call("POST", "/admins", {**new, "role_id": roles["super_admin"]}), 403)


def test_roles(zone, console, roles):
    """Roles are checked against the one table; changes hold at once; a shrunk role ends wider tokens of its holders."""
    table = console.get("/rights")
    assert all(right == "NULL" or right.strip('"').split(":")[1] in table[right.strip('"').split(":")[0]] for _, _, _, right, *_ in ROUTES)
    for rights, field in (({"devices": ["read"]}, "rights.devices"), ({"device": ["fly"]}, "rights.device"), ({"audit": ["write"]}, "rights.audit"),
                          ({"device": "read"}, "rights.device"), ({"device": [1]}, "rights.device")):
        problem(console.call("POST", "/roles", {"name": "bad", "rights": rights}), 400, field)
    role = console.post("/roles", {"name": "floor", "rights": {"device": ["read"], "person": ["read"]}})
    less = console.post("/roles", {"name": "persons", "rights": {"person": ["read"]}})
    path = f"/roles/{role['id']}"
    problem(console.call("POST", "/roles", {"name": "floor", "rights": {}}), 409, "name")
    make(console, roles | {"floor": role["id"]}, "floor1", "floor")
    one = Console(zone, "floor1", PASSWORD)
    token = bearer(zone, one.post("/me/tokens", {"name": "t", "days": 1, "role_id": less["id"]})["token"])
    assert token.get("/people")["items"] and one.get("/people")["items"]
    problem(console.call("DELETE", path), 409)
    assert edit(console, path, {"rights": {"device": ["read"]}})[0] == 200
    problem(one.call("GET", "/people"), 403)
    assert token.call("GET", "/people")[0] == 401
    token = bearer(zone, one.post("/me/tokens", {"name": "u", "days": 1, "role_id": console.post("/roles", {"name": "none", "rights": {}})["id"]})["token"])
    none = next(r["id"] for r in console.get("/roles")["items"] if r["name"] == "none")
    assert token.call("GET", "/me")[0] == 200 and edit(console, f"/roles/{none}", {"rights": {"person": ["read"]}})[0] == 200
    assert token.call("GET", "/people")[0] == 401  # a role that grows takes tokens with it whose owners have less
    problem(console.call("DELETE", f"/roles/{roles['auditor']}"), 409)
    problem(edit(console, f"/roles/{roles['auditor']}", {"name": "looker"}), 409, "name")
    assert console.call("DELETE", f"/roles/{less['id']}")[0] == 204
    rows = [x for x in console.get("/audit?limit=200")["items"] if x["action"] == "role.edit"]
    assert rows[0]["detail"]["before"]["rights"] != rows[0]["detail"]["after"]["rights"]


def test_tokens(zone, console, roles):
    """API-03: shown once, listed without secret, expire within a year, end by their owner or an administrator."""
    made = console.post("/me/tokens", {"name": "nightly", "days": 365})
    assert made["token"].startswith("mdm_") and "token" not in console.get("/me/tokens")["items"][0]
    assert made["id"] in {t["id"] for t in console.get("/tokens")["items"]}
    for body, field in (({"name": "x"}, "days"), ({"name": "x", "days": 0}, "days"), ({"name": "x", "days": 366}, "days"),
                        ({"name": "", "days": 1}, "name"), ({"name": "x", "days": 1, "role_id": NOBODY}, "role_id"), ({"name": "x", "days": 1, "admin_id": NOBODY}, "admin_id")):
        problem(console.call("POST", "/me/tokens", body), 400, field)
    script = bearer(zone, made["token"])
    assert script.get("/me")["login"] == harness.ADMIN_USER
    # a stolen one must not outlive its end: it makes no other, for nobody
    me = console.get("/me")["id"]
    for path, body in (("/me/tokens", {}), ("/me/tokens", {"role_id": roles["auditor"]}), ("/tokens", {"admin_id": me})):
        assert "log in" in problem(script.call("POST", path, {"name": "child", "days": 1, **body}), 403)["detail"]
    assert "child" not in {x["name"] for x in console.get("/tokens")["items"]}
    make(console, roles, "thief", "auditor")
    thief = Console(zone, "thief", PASSWORD)
    problem(thief.call("DELETE", f"/me/tokens/{made['id']}"), 404)
    problem(thief.call("DELETE", f"/tokens/{made['id']}"), 403)
    assert thief.get("/me/tokens")["items"] == []
    assert console.call("DELETE", f"/tokens/{made['id']}")[0] == 204
    assert script.call("GET", "/me")[0] == 401
    seen = [x["action"] for x in console.get("/audit?limit=200")["items"] if x["object_id"] == made["id"]]
    assert set(seen) == {"token.create", "token.delete"}


# ---- folder limits --------------------------------------------------------------------------------------------------
def test_groups_of_who_is_limited(zone, console, roles):
    """USR-12: whoever is limited to folders puts his own devices into groups; a group that holds any other he leaves as it is."""
    here, there = folder(zone, "Group here"), folder(zone, "Group there")
    anna = seed.person_id(zone, harness.PERSON)
    mine, other = (seed.device(zone, f"Grouped {i}", anna, folder_id=f) for i, f in enumerate((here, there)))
    wide = console.post("/roles", {"name": "grouper", "rights": {"*": ["*"]}})
    make(console, roles | {"grouper": wide["id"]}, "grouper1", "grouper", folders=[here])
    one = Console(zone, "grouper1", PASSWORD)
    group = console.post("/groups", {"name": "Everybody's"})
    path = f"/groups/{group['id']}"
    assert console.call("POST", path + "/devices", {"add": [other]})[0] == 204
    assert one.call("POST", path + "/devices", {"add": [mine]})[0] == 204
    for change in ({"add": [other]}, {"remove": [other]}, {"remove": [mine, other]}):
        problem(one.call("POST", path + "/devices", change), 400)
    etag = console.call("GET", path)[1]["ETag"]
    for change in ({"name": "Mine now"}, {"position": 7}):
        problem(one.call("PATCH", path, change, If_Match=etag), 403)
    problem(one.call("DELETE", path, If_Match=etag), 403)
    problem(one.call("DELETE", path, If_Match='"99"'), 412)
    assert zone.sql("SELECT COUNT(*) FROM device_group_member WHERE group_id = ?", group["id"]) == [(2,)]
    assert one.call("POST", path + "/devices", {"remove": [mine]})[0] == 204
    own = one.post("/groups", {"name": "Only mine"})
    assert one.call("POST", f"/groups/{own['id']}/devices", {"add": [mine]})[0] == 204
    status, headers, _ = one.call("PATCH", f"/groups/{own['id']}", {"name": "Still mine"}, If_Match=f'"{own["version"]}"')
    assert status == 200 and one.call("DELETE", f"/groups/{own['id']}", If_Match=headers["ETag"])[0] == 204
    assert console.call("DELETE", path, If_Match=etag)[0] == 204


def test_folder_limits_hold_on_every_device_route(zone, console, roles):
    """USR-12: a limited administrator sees and reaches devices of his folders and those below; every other one is not there."""
    inside, outside = folder(zone, "Inside"), folder(zone, "Outside")
    below = folder(zone, "Below", inside)
    anna = seed.person_id(zone, harness.PERSON)
    mine = [seed.device(zone, f"Limit {i}", anna, folder_id=f) for i, f in enumerate((inside, below))]
    foreign = [seed.device(zone, f"Limit {i}", anna, folder_id=f, lost_ms=seed.now_ms()) for i, f in ((2, outside), (3, seed.ROOT_FOLDER))]
    for i, ident in enumerate(mine + foreign):
        zone.sql("INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text) VALUES (?, 'device', ?, 1, 2, 'x', 'x')", str(uuid.uuid4()), ident)
    for ident in (mine[1], foreign[0]):
        zone.sql("INSERT INTO certificate (fingerprint, serial, subject, record_id, status, slot, not_before_ms, not_after_ms, issued_ms, der)"
                 " VALUES (?, ?, 'x', ?, 'active', 'current', 1, ?, 1, '')", ident, ident, seed.record(zone, ident), seed.now_ms() + 86400000)
    for ident in (mine[0], foreign[0]):
        console.post(f"/devices/{ident}/retire", {"reason": "x"})
        console.post(f"/devices/{ident}/unretire", {"reason": "x"})
        zone.sql("UPDATE device SET state = 'active' WHERE id = ?", ident)
    wide = console.post("/roles", {"name": "wide", "rights": {"*": ["*"]}})
    made = make(console, roles | {"wide": wide["id"]}, "limited", "wide", folders=[inside])
    assert made["folders"] == [{"id": inside, "name": "Inside"}]
    one = Console(zone, "limited", PASSWORD)
    token = bearer(zone, one.post("/me/tokens", {"name": "t", "days": 1})["token"])
    for who in (one, token):
        assert who.get("/me")["limited"]
        for query in ("", "&q=limit", f"&person={anna}", "&sort=-name", "&sort=last_contact", "&sort=-last_contact", "&state=active"):
            assert {d["id"] for d in who.get("/devices?limit=200" + query)["items"]} == set(mine), query
        assert who.get("/devices?lost=1")["items"] == []
        csv = who.call("GET", "/devices?format=csv")[2].decode()
        assert mine[1] in csv and foreign[0] not in csv
        assert who.get("/overview")["devices"] == 2 and who.get("/overview")["devices_lost"] == 0 and who.get("/overview")["messages_open"] == 2
        assert {m["object_id"] for m in who.get("/messages?limit=200")["items"]} == set(mine)
        assert who.get(f"/devices/{mine[0]}")["name"] == "Limit 0"
        assert [i["device"]["id"] for i in who.get("/identities?days=2")["items"]] == [mine[1]]
        assert {a["object_id"] for a in who.get("/audit?limit=200")["items"]} == {mine[0]}
    message = zone.sql("SELECT id FROM message WHERE object_id = ?", foreign[0])[0][0]
    problem(one.call("POST", f"/messages/{message}/acknowledge"), 404)
    walked = 0
    for method, path, _, _, limit, is_json, _ in ROUTES:
        if not path.startswith("/api/v1/devices/{id}"):
            continue
        for target in foreign:
            address = re.sub(r"{\w+}", NOBODY, path.removeprefix("/api/v1").replace("{id}", target, 1))
            status, _, body = one.call(method, address, {} if is_json == "1" else None, If_Match='"1"')
            assert status == 404, (method, path, status, body)
        walked += 1
    assert walked >= 12
    assert zone.sql("SELECT COUNT(*) FROM device WHERE name LIKE 'Limit %'")[0][0] == 4
    assert one.call("PATCH", f"/devices/{mine[1]}", {"name": "Limit mine"}, If_Match='"1"')[0] == 200
    # Whoever is limited gives no rights on, and the limit goes with all folders: then the whole zone.
    problem(one.call("POST", "/admins", {"login": "free", "kind": "local", "role_id": roles["auditor"], "password": PASSWORD}), 403)
    problem(edit(one, f"/admins/{made['id']}", {"folders": []}), 403)
    zone.sql("DELETE FROM device WHERE folder_id IN (?, ?)", inside, below)
    zone.sql("DELETE FROM folder WHERE id IN (?, ?)", below, inside)
    assert one.get("/devices")["items"] == []  # a folder that is gone opens nothing
    assert edit(console, f"/admins/{made['id']}", {"folders": []})[0] == 200
    one = Console(zone, "limited", PASSWORD)
    assert {d["id"] for d in one.get("/devices?q=limit")["items"]} == set(foreign)
