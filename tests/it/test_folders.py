"""Folders and static groups of devices through the API, on both databases (DEV-01, DEV-02)."""
import uuid

import seed
from clients import Console

ROOT, PENDING = seed.ROOT_FOLDER, "00000000-0000-4000-8000-000000000002"


def folder(console, name, parent=None):
    return console.post("/folders", {"name": name, **({"parent": parent} if parent else {})})["id"]


def version(console, path):
    return console.call("GET", path)[1]["ETag"]


def edit(console, path, body):
    return console.call("PATCH", path, body, If_Match=version(console, path))


def delete(console, path):
    return console.call("DELETE", path, If_Match=version(console, path))


def names(console, query):
    return [d["name"] for d in console.get(f"/devices?{query}&limit=200")["items"]]


def test_tree_and_what_is_below(zone, console):
    """DEV-01, DEV-02: a folder's list holds the devices of all below it; moving a folder moves them with it."""
    a, b = folder(console, "North"), folder(console, "South")
    inner = folder(console, "Oslo", a)
    deep = folder(console, "Store <1>", inner)
    devices = [seed.device(zone, f"tree {i}") for i in range(3)]
    console.post("/devices/move", {"devices": devices[:2], "folder": deep})
    console.post("/devices/move", {"devices": devices[2:], "folder": b})
    assert names(console, f"folder={a}") == ["tree 0", "tree 1"] == names(console, f"folder={deep}")
    assert names(console, f"folder={ROOT}&q=tree") == ["tree 0", "tree 1", "tree 2"]
    assert edit(console, f"/folders/{inner}", {"parent": b, "name": "Bergen"})[0] == 200
    assert names(console, f"folder={a}") == [] and names(console, f"folder={b}") == ["tree 0", "tree 1", "tree 2"]
    tree = console.get("/folders")["items"]
    assert [f["name"] for f in tree][0] == "Mobile Devices"
    assert all(f["parent"] in {g["id"] for g in tree[:i]} for i, f in enumerate(tree) if f["parent"])
    assert next(f for f in tree if f["id"] == deep)["devices"] == 2
    assert console.get(f"/devices/{devices[0]}")["folder"] == {"id": deep, "name": "Store <1>"}
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'device.move'")[0][0] == 2
    assert zone.sql("SELECT COUNT(*) FROM change WHERE kind = 'device' AND key = ?", devices[0])[0][0] == 1


def test_what_a_tree_refuses(zone, console):
    """DEV-01: loops, fixed folders, doubled names, stale edits, folders that are not empty, pending devices."""
    a = folder(console, "Loop")
    b = folder(console, "Inner", a)
    for parent in (a, b):
        status, _, body = edit(console, f"/folders/{a}", {"parent": parent})
        assert (status, body["field"]) == (409, "parent")
    status, _, body = console.call("POST", "/folders", {"name": "Inner", "parent": a})
    assert (status, body["field"]) == (409, "name")
    assert console.call("POST", "/folders", {"name": " \n "})[0] == 400
    assert console.call("POST", "/folders", {"name": "x" * 101})[0] == 400
    assert console.call("POST", "/folders", {"name": "x", "parent": str(uuid.uuid4())})[2]["field"] == "parent"
    assert console.call("POST", "/folders", {"name": "x", "parent": PENDING})[0] == 409
    for fixed in (ROOT, PENDING):
        assert edit(console, f"/folders/{fixed}", {"name": "Mine"})[0] == 409
        assert delete(console, f"/folders/{fixed}")[0] == 409
    assert console.call("PATCH", f"/folders/{a}", {"name": "x"}, If_Match='"99"')[0] == 412
    assert console.call("PATCH", f"/folders/{a}", {"name": "x"})[0] == 428
    assert delete(console, f"/folders/{a}")[0] == 409
    assert delete(console, f"/folders/{b}")[0] == 204 and delete(console, f"/folders/{a}")[0] == 204
    parent = ROOT
    for depth in range(15):
        parent = folder(console, f"d{depth}", parent)
    assert console.call("POST", "/folders", {"name": "too deep", "parent": parent})[0] == 409
    assert zone.sql("SELECT COUNT(*) FROM folder_above WHERE folder_id = ?", a)[0][0] == 0


def test_moving_is_all_or_nothing(zone, console):
    """DEV-01: a list with one device that can't be moved moves none."""
    to, good = folder(console, "Target"), seed.device(zone, "good")
    waiting = seed.device(zone, "waiting", folder_id=PENDING, state="pending")
    for body, code, field in (({"devices": [good, str(uuid.uuid4())], "folder": to}, 400, "devices"),
                              ({"devices": [good, good], "folder": to}, 400, "devices"), ({"devices": [], "folder": to}, 400, "devices"),
                              ({"devices": [good, 1], "folder": to}, 400, "devices"), ({"devices": [good, waiting], "folder": to}, 409, "devices"),
                              ({"devices": [good], "folder": PENDING}, 409, "folder"), ({"devices": [good], "folder": good}, 400, "folder"),
                              ({"devices": [good] * 501, "folder": to}, 400, "devices"), ({"devices": [good]}, 400, "folder")):
        status, _, got = console.call("POST", "/devices/move", body)
        assert (status, got["field"]) == (code, field), (body, got)
    assert zone.sql("SELECT folder_id FROM device WHERE id IN (?, ?) ORDER BY name", good, waiting) == [(ROOT,), (PENDING,)]


def test_groups(zone, console):
    """DEV-01: static groups: members in and out, lists by group, precedence, deleting keeps the devices."""
    devices = [seed.device(zone, f"member {i}") for i in range(3)]
    group = console.post("/groups", {"name": "Sales", "position": 5})
    path = f"/groups/{group['id']}"
    assert group == {"id": group["id"], "name": "Sales", "kind": "static", "position": 5, "devices": 0, "version": 1}
    assert console.call("POST", "/groups", {"name": "Sales"})[0] == 409
    console.post(f"{path}/devices", {"add": devices})
    console.post(f"{path}/devices", {"add": devices[:1], "remove": devices[1:2]})
    assert names(console, f"group={group['id']}") == ["member 0", "member 2"]
    assert console.get(path)["devices"] == 2
    assert console.call("POST", f"{path}/devices", {})[0] == 400
    assert console.call("POST", f"{path}/devices", {"add": [str(uuid.uuid4())]})[0] == 400
    assert console.call("POST", f"/groups/{uuid.uuid4()}/devices", {"add": devices})[0] == 404
    assert edit(console, path, {"name": "Sales \u202eteam", "position": 1})[2]["position"] == 1
    zone.sql("UPDATE device_group SET kind = 'dynamic' WHERE id = ?", group["id"])
    assert console.call("POST", f"{path}/devices", {"add": devices})[0] == 409
    assert delete(console, path)[0] == 204
    assert console.call("GET", path)[0] == 404 and console.get(f"/devices/{devices[0]}")["name"] == "member 0"


def test_pages_of_groups(console):
    """API-01: by name, page by page."""
    made = sorted(f"page {i:02}" for i in range(7))
    for name in reversed(made):
        console.post("/groups", {"name": name})
    seen, path = [], "/groups?limit=3"
    while path:
        body = console.get(path)
        seen += [g["name"] for g in body["items"]]
        path = body["next"] and f"/groups?limit=3&cursor={body['next']}"
    assert [n for n in seen if n.startswith("page")] == made


def test_limited_administrators(zone, console):
    """USR-12: outside his folders there is nothing: neither to see nor to move, nor to move to."""
    mine, other = folder(console, "Limit mine"), folder(console, "Limit other")
    inner = folder(console, "Limit inner", mine)
    own, foreign = seed.device(zone, "own", folder_id=mine), seed.device(zone, "foreign", folder_id=other)
    role = next(r["id"] for r in console.get("/roles")["items"] if r["name"] == "administrator")
    console.post("/admins", {"login": "bounded", "name": "B", "kind": "local", "password": "Correct-horse-9", "role_id": role, "folders": [mine]})
    one = Console(zone, "bounded", "Correct-horse-9")
    assert [f["id"] for f in one.get("/folders")["items"]] == [mine, inner]
    one.post("/devices/move", {"devices": [own], "folder": inner})
    assert one.call("POST", "/devices/move", {"devices": [foreign], "folder": inner})[2]["field"] == "devices"
    assert one.call("POST", "/devices/move", {"devices": [own], "folder": other})[2]["field"] == "folder"
    assert one.call("GET", f"/folders/{other}")[0] == 404
    assert one.call("DELETE", f"/folders/{other}", If_Match='"1"')[0] == 404
    assert one.call("POST", "/folders", {"name": "x", "parent": other})[0] == 400
    group = console.post("/groups", {"name": "Limit group"})["id"]
    assert one.call("POST", f"/groups/{group}/devices", {"add": [foreign]})[0] == 400
