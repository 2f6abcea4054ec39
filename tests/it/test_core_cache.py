"""The device cache and the write-behind on whole servers: no SQL for a known device, one statement for many contacts, a
change made elsewhere (REL-06, PRF-01, PRF-12)."""
import json
import plistlib
import time

import clients
import pytest
from cryptography.hazmat.primitives import hashes
from harness import Zone, wait_for
from sim.device import CONNECT_TYPE, Refused

STATUS = """
    <Location "/core-status">
        SetHandler mdm-status
    </Location>"""
ZONE = {"children": 1, "extra_device": STATUS}


def figures(zone):
    return json.loads(zone.request("GET", "/core-status")[2])


@pytest.fixture(scope="module")
def devices(zone):
    who = clients.portal(zone)
    return [clients.enrolled(zone, who=who) for _ in range(3)]


def drained(zone, devices):
    """Until nobody has commands: two rounds without one."""
    for _ in range(20):
        if sum(len(d.poll() or []) for d in devices) == 0:
            return


def test_idle_poll_of_a_cached_device_needs_no_sql(zone, devices):
    """PRF-01: what the background does is the same with and without 100 polls."""
    drained(zone, devices)

    def free():
        """a hundred polls cost no more statements than as much time without them; a change or a job may come in between"""
        devices[0].connect(Status="Idle")
        before, begun = figures(zone), time.monotonic()
        for _ in range(100):
            devices[0].connect(Status="Idle")
        after = figures(zone)
        time.sleep(time.monotonic() - begun)
        quiet = figures(zone)["db_statements"] - after["db_statements"]
        return after["cache_hits"] - before["cache_hits"] >= 95 and after["db_statements"] - before["db_statements"] <= quiet + 25
    wait_for(free)


def test_sec03_unknown_certificates_are_not_looked_for_each_time(zone):
    """SEC-03: what nobody knows is remembered for seconds without SQL, unless a change says that somebody knows it now."""
    device = clients.enrolled(zone)
    drained(zone, [device])
    fingerprint = device.cert.fingerprint(hashes.SHA256()).hex()

    def change():
        zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('cert', ?, ?)", fingerprint, int(time.time() * 1000))

    def poll():
        try:
            device.connect(Status="Idle")
        except Refused as no:
            return no.status
        return 200

    def remembered():
        """back behind the server's back: it does not ask, unless its seconds are just over"""
        zone.sql("UPDATE certificate SET fingerprint = ? WHERE fingerprint = ?", "gone", fingerprint)
        change()
        wait_for(lambda: poll() == 400)
        zone.sql("UPDATE certificate SET fingerprint = ? WHERE fingerprint = ?", fingerprint, "gone")
        got = [poll() for _ in range(5)]
        change()
        wait_for(lambda: poll() == 200)
        return got == [400] * 5
    wait_for(remembered)


def test_old_and_new_generation_obey_a_change(fresh_zone):
    """Section 3, REL-06: a graceful restart while a request is under way: both generations serve, each with its own cache, and a
    device retired then is refused by both. The old one still answers as long as its request lasts."""
    zone = fresh_zone(children=1, extra_device="RequestReadTimeout header=0 body=0" + STATUS)
    devices = [clients.enrolled(zone) for _ in range(2)]
    for device in devices:
        drained(zone, [device])
        device.connect(Status="Idle")
    old = set(zone.child_pids())
    assert len(old) == 1, "both requests are to be its"
    body = {d: plistlib.dumps({"UDID": d.udid, "Status": "Idle"}) for d in devices}
    held = {}
    for device in devices:
        conn = held[device] = zone.connection(cert=f"{device.files}/identity.pem")
        conn.putrequest("PUT", "/mdm")
        conn.putheader("Content-Type", CONNECT_TYPE)
        conn.putheader("Content-Length", str(len(body[device])))
        conn.endheaders(body[device][:20])
    time.sleep(0.3)
    zone.graceful()
    fresh = [d.http.close() or d.connect(Status="Idle") for d in devices]  # now the new generation's cache is warm
    assert fresh == [None, None] and set(zone.child_pids()) > old, "the child that has the requests, and a new one"
    console = clients.Console(zone)
    console.post(f"/devices/{console.device(devices[0].udid)['id']}/retire", {"reason": "test"})

    def refused():
        """the new generation refuses the retired device"""
        return devices[0].put(devices[0].mdm["ServerURL"], CONNECT_TYPE, {"UDID": devices[0].udid, "Status": "Idle"})[0] == 400
    wait_for(refused)
    time.sleep(3)
    assert set(zone.child_pids()) > old, "the old generation is still at work"
    got = []
    for device in devices:
        held[device].send(body[device][20:])
        got.append(held[device].getresponse().status)
        held[device].close()
    assert got == [400, 200]


def test_device_addresses_are_no_files(fresh_zone):
    """PRF-01, 15-decisions: a folder of that name, closed or not, has no part in the answer; <Location> holds."""
    zone = fresh_zone(children=1, extra_device="""
    <DirectoryMatch "/htdocs/mdm$">
        Require all denied
    </DirectoryMatch>
    <Location "/mdm/closed">
        Require all denied
    </Location>""")
    (zone.htdocs / "mdm").mkdir()
    device = clients.enrolled(zone)
    device.poll()
    assert device.connect(Status="Idle") is None
    assert zone.request("PUT", "/mdm/closed")[0] == 403
    zone.log.expect("AH01630")


def test_contact_times_are_written_behind(zone, devices):
    """PRF-12: time and address arrive within ten seconds."""
    begun = int(time.time() * 1000)
    for device in devices:
        device.connect(Status="Idle")
    rows = wait_for(lambda: (r := zone.sql("SELECT last_contact_ms, last_contact_ip FROM device WHERE last_contact_ms >= ? AND last_contact_ip <> ''",
                                           begun - 1000)) and len(r) == 3 and r)
    assert {ip for _, ip in rows} == {"127.0.0.1"}


def test_contact_times_survive_an_orderly_stop(fresh_zone):
    """PRF-12: a stopping child writes what it has noted."""
    zone = fresh_zone(children=1)
    device = clients.enrolled(zone)
    time.sleep(5.5)
    begun = int(time.time() * 1000)
    device.connect(Status="Idle")
    zone.stop()
    assert zone.sql("SELECT COUNT(*) FROM device WHERE last_contact_ms >= ?", begun - 1000) == [(1,)]


def test_change_on_one_node_is_obeyed_by_the_other(fresh_zone, factory):
    """REL-06: two nodes, one database: a device retired on one is refused by the other within about a second."""
    one = fresh_zone(children=1, extra_main="MDMNodeName one")
    root = factory.root / f"{one.root.name}-two"
    root.mkdir()
    two = Zone(one.db_url, root=root, tls_dir=one.tls_dir, key_file=one.key_file, children=1,
               extra_main="MDMNodeName two").start()
    try:
        device = clients.enrolled(one)
        url = device.mdm["ServerURL"].replace(f":{one.device_port}", f":{two.device_port}")
        assert url != device.mdm["ServerURL"]

        def on_two():
            return device.put(url, CONNECT_TYPE, {"UDID": device.udid, "Status": "Idle"})[0]
        assert on_two() == 200 and on_two() == 200
        names = wait_for(lambda: len(r := one.sql("SELECT name FROM node WHERE seen_ms > 0 ORDER BY name")) == 2 and r)
        assert [n for n, in names] == ["one", "two"]
        console = clients.Console(one)
        console.post(f"/devices/{console.device(device.udid)['id']}/retire", {"reason": "test"})
        wait_for(lambda: on_two() == 400)
    finally:
        two.close()
