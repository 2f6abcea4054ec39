"""Nodes of the zone: role, names, devices that know an address, work that goes out, end (NOD-02, NOD-03, NOD-05, NOD-06, NOD-08)."""
import time

from clients import Console, enrolled, new_device, portal
from harness import TOPIC, Zone, wait_for
from sim.device import Refused

MINUTE = 60000
FAR = "7c0f3d5e-1111-4222-8333-444455556666"


def own(console, name=None):
    return wait_for(lambda: next((n for n in console.get("/nodes")["items"] if n["id"] != FAR and name in (None, n["name"])), None))


def edit(console, node, want=200, **body):
    _, head, now = console.call("GET", f"/nodes/{node['id']}")
    status, _, got = console.call("PATCH", f"/nodes/{node['id']}", body, If_Match=head["ETag"])
    assert status == want, got
    return got


def remove(console, node, want=204):
    _, head, _ = console.call("GET", f"/nodes/{node['id']}")
    status, _, got = console.call("DELETE", f"/nodes/{node['id']}", If_Match=head["ETag"])
    assert status == want, got
    return got


def add_far(zone, role=1, seen=None, url="https://far.example.org"):
    """Another node's row, as its server has written it."""
    zone.sql("DELETE FROM node WHERE id = ?", FAR)
    zone.sql("INSERT INTO node (id, name, base_url, conf_url, software, holder, mdm_role, started_ms, seen_ms) VALUES (?, 'far', ?, ?, '1', 'x', ?, 1, ?)",
             FAR, url, url, role, int(time.time() * 1000) if seen is None else seen)
    zone.sql("INSERT INTO node_url (url, node_id) VALUES (?, ?)", url, FAR)


def polls(device):
    try:
        device.poll()
        return 200
    except Refused as no:
        return no.status


def test_nod02_role(fresh_zone):
    """NOD-02: devices that know this node alone are named; without the role it answers devices 503; back 30 minutes later, and not before."""
    zone = fresh_zone()
    console, device = Console(zone), enrolled(zone)
    node = own(console)
    add_far(zone)
    assert wait_for(lambda: own(console)["devices"]) == 1 and node["mdm_role"] and node["state"] == "online"
    items = console.get(f"/devices?node={node['id']}")["items"]
    assert [d["serial"] for d in items] == [device.serial] and console.get(f"/devices?node={FAR}")["items"] == []
    csv = console.call("GET", f"/devices?format=csv&node={node['id']}")[2].decode()
    assert csv.count("\r\n") == 2 and device.serial in csv
    assert console.call("GET", "/devices?node=x")[0] == 400

    got = edit(console, node, 409, mdm_role=False)
    assert got["field"] == "confirm" and "1 devices know" in got["detail"] and "last node" not in got["detail"]
    assert own(console)["mdm_role"]
    zone.sql("INSERT INTO node_url (url, node_id) VALUES (?, ?)", zone.public_url, FAR)  # the other node answers to the same name
    assert not edit(console, node, mdm_role=False)["mdm_role"]
    wait_for(lambda: polls(device) == 503)
    zone.log.expect("MDM0609")
    link = portal(zone).enrollment()
    assert zone.request("GET", link["profile"])[0] == 503
    got = edit(console, node, 409, mdm_role=True)
    assert got["field"] == "mdm_role" and own(console)["role_back_at"] in got["detail"]
    zone.sql("UPDATE node SET role_removed_ms = role_removed_ms - ?", 30 * MINUTE)
    assert own(console)["role_back_at"] is None and edit(console, node, mdm_role=True)["mdm_role"]
    wait_for(lambda: polls(device) == 200)
    assert zone.sql("SELECT count(*) FROM audit WHERE action = 'node.edit' AND outcome = 'done'") == [(2,)]
    status, _, got = console.call("PATCH", f"/nodes/{node['id']}", {"mdm_role": False}, If_Match='"1"')
    assert status == 412
    assert console.call("PATCH", f"/nodes/{node['id']}", {"mdm_role": False})[0] == 428


def test_nod03_last_role_takes_the_push_certificate(fresh_zone):
    """NOD-03: the confirmation says so; certificate and topic are gone then, and set-up is refused while no node has the role."""
    zone = fresh_zone()
    console = Console(zone)
    node = own(console)
    assert zone.sql("SELECT count(*) FROM zone_setting WHERE name = 'apns.topic'") == [(1,)]
    got = edit(console, node, 409, mdm_role=False)
    assert "last node" in got["detail"] and "push certificate" in got["detail"]
    assert zone.sql("SELECT count(*) FROM zone_setting WHERE name = 'apns.topic'") == [(1,)]
    edit(console, node, mdm_role=False, confirm=True)
    assert zone.sql("SELECT count(*) FROM zone_setting WHERE name LIKE 'apns.%'") == [(0,)]
    status, _, got = console.call("POST", "/push/request", {"organisation": "Example", "country": "DE", "mail": "a@example.org"})
    assert status == 409 and "Nodes" in got["detail"]


def test_nod06_names(factory, db):
    """NOD-06: what the configuration and administrators know; the default is in every address that new devices get; old ones keep theirs."""
    zone = factory.zone(db, extra_device="ServerAlias mdm-alias.example.org")
    zone.start()
    try:
        console, old = Console(zone), enrolled(zone)
        node = own(console)
        wait_for(lambda: any(x["from"] == "ServerAlias" for x in own(console)["names"]))
        names = {x["name"]: x["from"] for x in own(console)["names"]}
        assert names["localhost"] == "configuration" and names["mdm-alias.example.org"] == "ServerAlias"
        for bad in (["a b"], ["x" * 300], [5], ["a"] * 21):
            assert edit(console, node, 400, extra_names=bad)["field"] == "extra_names"
        assert edit(console, node, 400, default_name="nobody.example.org")["field"] == "default_name"
        assert {"name": "127.0.0.1", "from": "administrator"} in edit(console, node, extra_names=["127.0.0.1"])["names"]
        got = edit(console, node, 409, default_name="127.0.0.1")
        assert got["field"] == "confirm" and "must cover 127.0.0.1" in got["detail"] and "1 enrolled devices keep" in got["detail"]
        now = edit(console, node, default_name="127.0.0.1", confirm=True)
        assert now["base_url"] == zone.public_url.replace("localhost", "127.0.0.1") and now["devices"] == 1
        assert edit(console, node, 409, extra_names=[])["field"] == "extra_names"

        who = portal(zone)

        def served():
            zone.sql("UPDATE pending_enrollment SET state = 'cancelled' WHERE state <> 'completed'")  # nobody may have many
            device = new_device(zone)
            device.install(device.open_link(who.absolute(who.enrollment()["profile"])))
            return device.mdm["ServerURL"].startswith("https://127.0.0.1:") and device
        new = wait_for(served)
        new.authenticate()
        new.token_update()
        assert old.poll() == [] and old.mdm["ServerURL"].startswith("https://localhost:")
        assert dict(zone.sql("SELECT native_id, base_url FROM source_record")) == {old.udid: zone.public_url, new.udid: now["base_url"]}
        assert own(console)["devices"] == 2, "it knows them by all its addresses"
        # a renewed profile keeps the address that the device was enrolled with
        zone.sql("UPDATE certificate SET renew_ms = 1")
        zone.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'identity.renew'")
        wait_for(lambda: zone.sql("SELECT count(*) FROM command WHERE request_type = 'InstallProfile'") == [(2,)])
        for device in (old, new):
            device.poll()
            assert ("InstallProfile", "Acknowledged") in device.handled
        zone.graceful()
        assert Console(zone).get(f"/nodes/{node['id']}")["base_url"] == now["base_url"]
        assert edit(Console(zone), node, default_name="", confirm=True)["base_url"] == zone.public_url
    finally:
        zone.close()


def test_nod08_delete(fresh_zone):
    """NOD-08: only when it is down and has no role; its own work and filters go with it."""
    zone = fresh_zone()
    console = Console(zone)
    own(console)
    add_far(zone)
    far = {"id": FAR}
    zone.sql("INSERT INTO job (id, kind, payload, state, run_at_ms, created_ms) VALUES ('j', 'apns.test@far', '{}', 'waiting', 1, 1)")
    assert remove(console, far, 409)["field"] == "mdm_role"
    edit(console, far, mdm_role=False, confirm=True)
    assert remove(console, far, 409)["field"] == "state"
    zone.sql("UPDATE node SET seen_ms = seen_ms - ? WHERE id = ?", 2 * MINUTE, FAR)
    assert console.get(f"/nodes/{FAR}")["state"] == "offline"
    remove(console, far)
    assert console.call("GET", f"/nodes/{FAR}")[0] == 404 and zone.sql("SELECT count(*) FROM job WHERE kind LIKE '%@far'") == [(0,)]
    assert zone.sql("SELECT count(*) FROM audit WHERE action = 'node.delete'") == [(1,)]
    zone.log.expect("MDM0221")


def test_nod05_work_that_goes_out_is_left_to_who_can(factory):
    """NOD-05: two nodes on one database; the one without outbound access claims no push, the other does; neither does without the role."""
    one = factory.zone("pgsql", children=1, extra_main="MDMNodeName inside\nMDMOutbound Off")
    root = factory.root / f"{one.root.name}-two"
    root.mkdir()
    two = Zone(one.db_url, root=root, tls_dir=one.tls_dir, key_file=one.key_file, children=1, extra_main="MDMNodeName outside")
    one.start()
    try:
        console = Console(one)
        inside = own(console, "inside")
        assert not inside["outbound"]
        device = enrolled(one)
        one.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'apns.push'")

        def served(kind):
            """Owner of the last run of a kind: nothing else changes attempts or run_at_ms."""
            return one.sql("SELECT run_at_ms FROM job WHERE kind = ? AND state = 'waiting'", kind)
        # Other periodic work, added at the same time, is done here.
        wait_for(lambda: [x for x in served("zone.expiry") if x[0] > 0])
        assert served("apns.push") == [(0,)], "nobody can push yet"
        two.start()
        outside = own(console, "outside")
        assert outside["outbound"]
        wait_for(lambda: [x for x in served("apns.push") if x[0] > 0])
        edit(console, outside, mdm_role=False, confirm=True)

        def idle():
            one.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'apns.push' AND state = 'waiting'")
            one.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'zone.expiry' AND state = 'waiting'")
            wait_for(lambda: [x for x in served("zone.expiry") if x[0] > 0])
            return served("apns.push") == [(0,)]
        wait_for(idle)
        assert device.poll() == []
        assert console.get("/push/test")["items"] == [], "neither is asked to test"
        assert one.sql("SELECT value FROM zone_setting WHERE name = 'apns.topic'") == [(f'"{TOPIC}"',)], "inside still has the role"
    finally:
        two.close()
        one.close()
