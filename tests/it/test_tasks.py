"""Quick tasks from the console's API to devices and back (DEV-07, DEV-12, DEV-14, API-01, USR-12)."""
import base64
import plistlib

import pytest

import harness
from clients import enrolled
from harness import wait_for


@pytest.fixture(scope="module")
def fleet(zone, console):
    """Three managed devices; the first two are supervised."""
    made = [enrolled(zone) for _ in range(3)]
    for device in made[:2]:
        device.supervised = True
    for device in made:
        device.ident = console.device(device.udid)["id"]
        console.post(f"/devices/{device.ident}/refresh")
        device.poll()
    return made


def start(console, kind, devices=None, want=202, **more):
    body = {"kind": kind, **more}
    if devices is not None:
        body["devices"] = [d.ident for d in devices]
    status, headers, got = console.call("POST", "/tasks", body)
    assert status == want, got
    if want == 202:
        assert headers["Location"].endswith(f"/api/v1/tasks/{got['id']}")
        return got["id"]
    return got


def counts(console, ident):
    return {k: n for k, n in console.get(f"/tasks/{ident}")["counts"].items() if n}


def ordered(console, ident, n):
    """The job has given all orders."""
    wait_for(lambda: sum(1 for d in console.get(f"/tasks/{ident}/devices")["items"]
                                   if d["command"] or d["state"] in ("not_applicable", "failed")) == n)


def test_lock_and_its_states(console, fleet):
    """DEV-07: preview, start, delivered, answered; per device and in the list."""
    wish = {"kind": "lock", "devices": [d.ident for d in fleet], "options": {"message": "Gefunden? \u2764", "phone": "+1555"}}
    assert console.post("/tasks/preview", wish) == {"devices": 3, "applies": 3, "complete": True, "reasons": []}
    ident = start(console, "lock", fleet, options=wish["options"])
    ordered(console, ident, 3)
    for device in fleet:
        assert dict(device.poll()).get("DeviceLock") == "Acknowledged"
    task = console.get(f"/tasks/{ident}")
    assert task["state"] == "done" and task["counts"]["succeeded"] == task["total"] == 3
    assert task["options"] == {"message": "Gefunden? \u2764", "phone": "+1555"} and task["expires_minutes"] == 20
    assert next(t for t in console.get("/tasks")["items"] if t["id"] == ident)["state"] == "done"
    status, headers, _ = console.call("GET", f"/tasks/{ident}")
    assert console.call("GET", f"/tasks/{ident}", If_None_Match=headers["ETag"])[0] == 304
    assert any(a["action"] == "task.start" and a["object_id"] == ident for a in console.get("/audit")["items"])


def test_only_applicable_devices(console, fleet):
    """DEV-07: the unsupervised one is told with its reason and gets nothing; pages, filter and CSV agree."""
    seen = console.post("/tasks/preview", {"kind": "restart", "devices": [d.ident for d in fleet]})
    assert seen["applies"] == 2 and [(r["reason"], r["devices"]) for r in seen["reasons"]] == [("not_supervised", 1)]
    assert seen["reasons"][0]["examples"][0]["id"] == fleet[2].ident
    ident = start(console, "restart", fleet)
    ordered(console, ident, 3)
    left = console.get(f"/tasks/{ident}/devices?state=not_applicable")["items"]
    assert [(d["id"], d["reason"], d["why"]) for d in left] == [(fleet[2].ident, "not_supervised", "Only a supervised device does that.")]
    assert not fleet[2].poll()
    first = console.get(f"/tasks/{ident}/devices?limit=2")
    rest = console.get(f"/tasks/{ident}/devices?limit=2&cursor={first['next']}")
    assert len(first["items"]) == 2 and len(rest["items"]) == 1 and rest["next"] is None
    assert console.call("GET", f"/tasks/{ident}/devices?state=failed&cursor={first['next']}")[0] == 400
    status, headers, raw = console.call("GET", f"/tasks/{ident}/devices?format=csv")
    lines = raw.decode("utf-8-sig").strip().split("\r\n")
    assert status == 200 and headers["Content-Type"].startswith("text/csv") and len(lines) == 4 and lines[0].startswith('"id","name","state"')
    for device in fleet[:2]:
        device.poll()
    assert counts(console, ident) == {"succeeded": 2, "not_applicable": 1}


def test_preview_of_every_order(console, fleet):
    """DEV-07: without a kind, each order with the number of devices that it would reach, and why not the others."""
    seen = console.post("/tasks/preview", {"devices": [d.ident for d in fleet]})
    assert (seen["devices"], seen["complete"]) == (3, True)
    actions = {a["action"]: a for a in seen["actions"]}
    assert {"refresh", "lock", "restart", "unenroll", "wipe", "raw", "install_profile", "lost_off"} <= set(actions)
    assert [actions[k]["applies"] for k in ("lock", "wipe", "restart", "lost_off")] == [3, 3, 2, 0]
    assert {r["reason"] for r in actions["lost_off"]["reasons"]} == {"not_supervised", "not_lost"}
    status, _, got = console.call("POST", "/tasks/preview", {"devices": [fleet[0].ident], "options": {"message": "x"}})
    assert (status, got["field"]) == (400, "kind")
    assert console.call("POST", "/tasks", {"devices": [fleet[0].ident]})[2]["field"] == "kind"


def test_every_filter_of_the_device_list(zone, console, fleet):
    """DEV-07: a task takes each filter that the list has, so that it never reaches more than the list shows."""
    node = console.get("/nodes")["items"][0]["id"]
    for filter, n in ({"node": node}, None), ({"source_removed": True}, 0), ({"lost": True}, 0), ({"mode": "eas"}, 0):
        query = "&".join(f"{k}={1 if v is True else v}" for k, v in filter.items())
        listed = len(console.get(f"/devices?limit=200&{query}")["items"])
        assert console.post("/tasks/preview", {"kind": "refresh", "filter": filter})["devices"] == listed and n in (None, listed)
    ident = start(console, "refresh", filter={"source_removed": True, "lost": False})
    assert console.get(f"/tasks/{ident}")["target"] == {"filter": {"source_removed": True}}
    wait_for(lambda: console.get(f"/tasks/{ident}")["state"] == "done")
    assert console.get(f"/tasks/{ident}")["total"] == 0


def test_list_by_state(console, fleet):
    """UI-01: running ones, ended ones; a task that has ended is listed as such, whether or not the server has noted it."""
    def ids(query):
        return [t["id"] for t in console.get(f"/tasks?limit=200&{query}")["items"]]
    ident = start(console, "lock", fleet[:1])
    assert ident in ids("state=running") and ident not in ids("state=ended")
    ordered(console, ident, 1)
    fleet[0].poll()
    assert ident in ids("state=ended") and ident not in ids("state=running")
    shown = next(c for c in console.get(f"/devices/{fleet[0].ident}/commands")["items"] if c["request_type"] == "DeviceLock")
    assert shown["task"] == ident
    assert console.call("GET", "/tasks?state=odd")[0] == 400


def test_whole_filter(console, fleet):
    """DEV-07: all devices of a filter, found when the task begins; nobody of another state."""
    ident = start(console, "refresh", filter={"platform": "ios", "state": "active"})
    wait_for(lambda: console.get(f"/tasks/{ident}")["state"] != "preparing")
    ordered(console, ident, len(console.get("/devices?platform=ios&state=active&limit=200")["items"]))
    for device in fleet:
        device.poll()
    mine = {d["id"]: d["state"] for d in console.get(f"/tasks/{ident}/devices?limit=200")["items"]}
    assert {mine[d.ident] for d in fleet} == {"succeeded"}
    none = start(console, "refresh", filter={"q": "nobody has this name"})
    wait_for(lambda: console.get(f"/tasks/{none}")["state"] == "done")


def test_cancel_takes_back_what_was_not_delivered(console, fleet):
    ident = start(console, "lock", fleet[:2], expires_minutes=None)
    ordered(console, ident, 2)
    fleet[0].poll()
    console.post(f"/tasks/{ident}/cancel", want=(202,))
    wait_for(lambda: console.get(f"/tasks/{ident}")["state"] == "cancelled")
    assert counts(console, ident) == {"succeeded": 1, "cancelled": 1}
    assert "DeviceLock" not in dict(fleet[1].poll())
    assert console.call("POST", f"/tasks/{ident}/cancel")[0] == 409


def test_hide_and_show(console, fleet):
    ident = start(console, "refresh", fleet[:1])
    console.post(f"/tasks/{ident}/hide", want=(204,))
    assert ident not in [t["id"] for t in console.get("/tasks")["items"]]
    assert ident in [t["id"] for t in console.get("/tasks?hidden=1")["items"]]
    assert [t["id"] for t in console.get("/tasks?hidden=only")["items"]] == [ident]
    console.post(f"/tasks/{ident}/show", want=(204,))
    assert ident in [t["id"] for t in console.get("/tasks")["items"]]
    ordered(console, ident, 1)
    fleet[0].poll()


def test_profile(console, fleet):
    """A .mobileconfig is installed and removed; what is none is refused by name, and its bytes are shown to nobody."""
    profile = plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "org.example.wifi", "PayloadVersion": 1,
                              "PayloadUUID": "3F2504E0-4F89-11D3-9A0C-0305E82C3301", "PayloadDisplayName": "Office", "PayloadContent": []})
    text = base64.b64encode(profile).decode()
    ident = start(console, "install_profile", fleet[:1], options={"profile": text})
    ordered(console, ident, 1)
    assert dict(fleet[0].poll())["InstallProfile"] == "Acknowledged"
    assert console.get(f"/tasks/{ident}")["options"] == {"profile": "Office"}
    ident = start(console, "remove_profile", fleet[:1], options={"identifier": "org.example.wifi"})
    ordered(console, ident, 1)
    assert "RemoveProfile" in dict(fleet[0].poll())
    assert start(console, "install_profile", fleet[:1], want=400, options={"profile": "aGVsbG8="})["field"] == "options.profile"
    assert start(console, "install_profile", fleet[:1], want=400, options={"profile": base64.b64encode(b"x" * 262145).decode()})


def test_names_from_a_template(console, fleet):
    """DEV-07: each supervised device gets a name made of what it is; unknown variables are refused."""
    ident = start(console, "rename", fleet, options={"name": "Till ${device.serial} of ${user.login}"})
    ordered(console, ident, 3)
    for device in fleet[:2]:
        assert dict(device.poll())["Settings"] == "Acknowledged"
        assert device.name == f"Till {device.serial} of {harness.PERSON}"
    assert counts(console, ident) == {"succeeded": 2, "not_applicable": 1}
    assert console.get(f"/tasks/{ident}")["options"]["name"].startswith("Till ${device.serial}")
    for name in ("${user.shoe}", "${seq}", ""):
        assert start(console, "rename", fleet[:1], want=400, options={"name": name})["field"] == "options.name"


def test_unenroll_many(zone, console):
    """DEV-12: leaving wants its number; each device gets the one command, and what was deleted is still told."""
    pair = [enrolled(zone) for _ in range(2)]
    for device in pair:
        device.ident = console.device(device.udid)["id"]
    wish = {"options": {"wipe": "selective", "then": "delete", "reason": "sold"}}
    assert start(console, "unenroll", pair, want=400, **wish)["field"] == "confirm"
    assert start(console, "unenroll", pair, want=409, confirm=3, **wish)
    ident = start(console, "unenroll", pair, confirm=2, **wish)
    ordered(console, ident, 2)
    for device in pair:
        device.poll()
    wait_for(lambda: counts(console, ident) == {"succeeded": 2})
    assert [d["there"] for d in console.get(f"/tasks/{ident}/devices")["items"]] == [False, False]


def test_bad_input(console, fleet):
    one = [fleet[0].ident]
    for body, field in [({"kind": "lock"}, "devices"), ({"kind": "lock", "devices": one, "filter": {}}, "filter"),
                        ({"kind": "fly", "devices": one}, "kind"), ({"kind": "lock", "devices": one, "when": 1}, "when"),
                        ({"kind": "lock", "devices": one, "spread_minutes": -1}, "spread_minutes"),
                        ({"kind": "lock", "devices": one, "expires_minutes": 0}, "expires_minutes"),
                        ({"kind": "lock", "devices": one * 501}, "devices"), ({"kind": "lock", "devices": one * 2}, "devices"),
                        ({"kind": "lock", "filter": {"colour": "red"}}, "filter.colour"),
                        ({"kind": "lock", "filter": {"state": "odd"}}, "filter.state"),
                        ({"kind": "lock", "devices": one, "options": {"phone": 7}}, "options.phone")]:
        for path in ("/tasks", "/tasks/preview"):
            status, _, got = console.call("POST", path, body)
            assert (status, got["field"]) == (400, field), (body, got)
    assert console.call("GET", "/tasks/00000000-0000-4000-8000-00000000ffff")[0] == 404
    assert console.call("GET", "/tasks/x")[0] == 404
    assert console.call("GET", "/tasks/00000000-0000-4000-8000-00000000ffff/devices")[0] == 404
    assert console.call("GET", "/tasks/00000000-0000-4000-8000-00000000ffff/devices?format=csv")[0] == 404
    assert console.call("GET", "/tasks?hidden=2")[0] == 400
