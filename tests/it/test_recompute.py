"""Effective policies computed again in a running zone, and dynamic groups through the API, on both databases (POL-06, POL-09, DEV-01, DEV-08)."""
import json
import uuid

import pytest

import seed
from harness import wait_for

ROOT = seed.ROOT_FOLDER


def values(zone, device, kind="security"):
    """{setting: (value, via)} of a device."""
    rows = zone.sql("SELECT r.settings FROM effective_policy e JOIN policy_result r ON r.id = e.result_id "
                    f"WHERE e.device_id = '{device}' AND e.type = '{kind}'")
    return {k: (v["value"], v["via"]) for k, v in json.loads(rows[0][0]).items()} if rows else {}


def members(zone, group):
    return {r[0] for r in zone.sql(f"SELECT device_id FROM device_group_member WHERE group_id = '{group}'")}


def policy(zone, target_kind, target_id, value, position=0):
    """A published policy, assigned, and marked as the API does it."""
    ident = str(uuid.uuid4())
    settings = json.dumps({"some.setting": {"corporate": value, "personal": value}})
    zone.sql(f"INSERT INTO policy (id, type, name, published, created_ms) VALUES ('{ident}', 'security', '{ident}', 1, 0)")
    zone.sql(f"INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES ('{ident}', 1, '{settings}', 0)")
    zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, position, created_ms) "
             f"VALUES ('{uuid.uuid4()}', 'policy', '{ident}', 'security', '{target_kind}', '{target_id}', {position}, 0)")
    zone.sql(f"INSERT INTO recompute (target_kind, target_id) VALUES ('{target_kind}', '{target_id}')")
    return ident


def via(zone, device):
    return values(zone, device).get("some.setting", (None, None))[1]


def test_changes_are_followed(zone, console):
    """POL-06: assignment, move, group membership, retirement: the job follows each by itself."""
    device = seed.device(zone, f"Followed {uuid.uuid4()}")
    office = console.post("/folders", {"name": f"Office {uuid.uuid4()}", "parent": ROOT})["id"]
    group = console.post("/groups", {"name": f"Group {uuid.uuid4()}"})["id"]
    policy(zone, "folder", office, 1)
    policy(zone, "device_group", group, 2)
    wait_for(lambda: not zone.sql("SELECT 1 FROM recompute UNION ALL SELECT 1 FROM recompute_device"))
    assert via(zone, device) is None
    assert console.call("POST", "/devices/move", {"devices": [device], "folder": office})[0] == 204
    wait_for(lambda: via(zone, device) == f"folder:{office}")
    assert console.call("POST", f"/groups/{group}/devices", {"add": [device]})[0] == 204
    wait_for(lambda: via(zone, device) == f"device_group:{group}")
    assert console.call("DELETE", f"/groups/{group}", If_Match=console.call("GET", f"/groups/{group}")[1]["ETag"])[0] == 204
    wait_for(lambda: via(zone, device) == f"folder:{office}")
    zone.sql(f"UPDATE device SET state = 'retired' WHERE id = '{device}'")
    wait_for(lambda: via(zone, device) is None)


def test_dynamic_group(zone, console):
    """DEV-01: criteria over columns find their devices, inside the base only; a device that changes comes and goes; policies follow."""
    tag = uuid.uuid4().hex
    inside = console.post("/folders", {"name": f"In {tag}", "parent": ROOT})["id"]
    one, two, out = (seed.device(zone, f"{tag} {n}") for n in ("one", "two", "out"))
    assert console.call("POST", "/devices/move", {"devices": [one, two], "folder": inside})[0] == 204
    criteria = {"all": [{"field": "name", "op": "starts", "value": tag}, {"not": {"field": "site", "op": "eq", "value": "Bonn"}}]}
    base = {"kind": "folder", "id": inside}
    preview = console.post("/group-preview", {"criteria": criteria, "base": base})
    assert preview["matching"] == 2 and preview["complete"] and {d["id"] for d in preview["devices"]} == {one, two}
    group = console.post("/groups", {"name": tag, "criteria": criteria, "base": base})
    assert group["kind"] == "dynamic"
    policy(zone, "device_group", group["id"], 3)
    wait_for(lambda: members(zone, group["id"]) == {one, two})
    wait_for(lambda: via(zone, one) == f"device_group:{group['id']}")
    assert wait_for(lambda: console.get(f"/groups/{group['id']}/criteria")["refreshed_at"])
    zone.sql(f"UPDATE device SET site = 'Bonn' WHERE id = '{two}'")
    wait_for(lambda: members(zone, group["id"]) == {one})
    wait_for(lambda: via(zone, two) is None)
    assert console.call("POST", "/devices/move", {"devices": [out], "folder": inside})[0] == 204
    wait_for(lambda: members(zone, group["id"]) == {one, out})
    zone.sql(f"DELETE FROM device_group_member WHERE device_id = '{one}'")
    assert console.call("POST", f"/groups/{group['id']}/refresh")[0] == 202
    wait_for(lambda: members(zone, group["id"]) == {one, out})
    path = f"/groups/{group['id']}/criteria"
    status, head, _ = console.call("GET", path)
    edited = console.call("PUT", path, {"criteria": {"field": "name", "op": "eq", "value": f"{tag} ONE"}}, If_Match=head["ETag"])
    assert edited[0] == 200 and edited[1]["ETag"] != head["ETag"]
    wait_for(lambda: members(zone, group["id"]) == {one})
    assert console.call("POST", f"/groups/{group['id']}/devices", {"add": [two]})[0] == 409


def test_groups_on_groups(console):
    """DEV-01: a group stands on another; never on itself, by no way."""
    tag = uuid.uuid4().hex
    criteria = {"field": "name", "op": "eq", "value": "x"}
    first = console.post("/groups", {"name": f"{tag} 1", "criteria": criteria})["id"]
    second = console.post("/groups", {"name": f"{tag} 2", "criteria": criteria, "base": {"kind": "group", "id": first}})["id"]
    for base in (first, second):
        path = f"/groups/{first}/criteria"
        status, _, problem = console.call("PUT", path, {"criteria": criteria, "base": {"kind": "group", "id": base}},
                                          If_Match=console.call("GET", path)[1]["ETag"])
        assert status == 409, problem


@pytest.mark.parametrize("body, field", [
    ({"criteria": {"field": "colour", "op": "eq", "value": "x"}}, "criteria.field"),
    ({"criteria": {"all": [{"field": "name", "op": "lt", "value": "x"}]}}, "criteria.all[0].op"),
    ({"criteria": {"any": []}}, "criteria.any"),
    ({"criteria": {"field": "name", "op": "eq", "value": "x"}, "base": {"kind": "planet"}}, "base.kind"),
    ({"criteria": {"field": "name", "op": "eq", "value": "x"}, "base": {"kind": "folder"}}, "base.id"),
    ({"criteria": {"field": "name", "op": "eq", "value": "x"}, "base": {"kind": "group", "id": str(uuid.uuid4())}}, "base.id"),
    ({"criteria": {"field": "name", "op": "eq", "value": "x"}, "base": {"kind": "zone", "id": ROOT}}, "base.id"),
])
def test_bad_criteria_name_the_path(console, body, field):
    for path, more in (("/groups", {"name": "Bad"}), ("/group-preview", {})):
        status, _, answer = console.call("POST", path, {**body, **more})
        assert status == 400 and answer["field"] == field, answer


def test_period(console):
    """DEV-01: the refresh period is a zone setting, 60 minutes by default."""
    assert console.get("/group-period") == {"minutes": 60}
    assert console.call("PUT", "/group-period", {"minutes": 4})[0] == 400
    assert console.call("PUT", "/group-period", {"minutes": 30})[2] == {"minutes": 30}
    assert console.get("/group-period") == {"minutes": 30}
    assert console.call("PUT", "/group-period", {"minutes": 60})[0] == 200
