"""Two nodes on one PostgreSQL: NOTIFY wakes the other at once, and without it everything goes on by polling (REL-06)."""
import json
import threading

import pytest

import clients
from harness import Zone, wait_for
from sim.device import CONNECT_TYPE

STATUS = """
    <Location "/core-status">
        SetHandler mdm-status
    </Location>"""
NAME = "mod_mdm listen"


def figures(zone):
    return json.loads(zone.request("GET", "/core-status")[2])


@pytest.fixture
def nodes(factory):
    """nodes(interval) -> two running nodes on one database; the second reads changes by itself each `interval` only."""
    made = []

    def make(interval):
        one = factory.zone("pgsql", children=1, extra_main="MDMNodeName one", extra_device=STATUS)
        root = factory.root / f"{one.root.name}-two"
        root.mkdir()
        two = Zone(one.db_url, root=root, tls_dir=one.tls_dir, key_file=one.key_file, children=1, extra_device=STATUS,
                   extra_main=f"MDMNodeName two\nMDMChangeInterval {interval}")
        for zone in (one, two):
            made.append(zone)
            zone.start()
            wait_for(lambda zone=zone: figures(zone)["children_listening"])
        return one, two
    yield make
    for zone in reversed(made):
        zone.close()


def known_to_both(one, two):
    """(console of one, device, a poll of it at two): the second node has it in its cache."""
    device = clients.enrolled(one)
    url = device.mdm["ServerURL"].replace(f":{one.device_port}", f":{two.device_port}")

    def poll():
        return device.put(url, CONNECT_TYPE, {"UDID": device.udid, "Status": "Idle"})[0]
    assert poll() == 200 and poll() == 200
    return clients.Console(one), device, poll


def retire(console, device):
    console.post(f"/devices/{console.device(device.udid)['id']}/retire", {"reason": "test"})


def listeners(zone):
    return zone.sql("SELECT pid FROM pg_stat_activity WHERE application_name = ? AND datname = current_database()", NAME)


def test_a_notification_is_obeyed_long_before_the_next_poll(nodes):
    """REL-06: node two would look by itself in ten seconds only."""
    one, two = nodes(10)
    console, device, poll = known_to_both(one, two)
    before = figures(two)["notifications"]
    retire(console, device)
    wait_for(lambda: poll() == 400)
    assert figures(two)["notifications"] > before
    assert wait_for(lambda: len(listeners(one)) == sum(figures(z)["children"] for z in (one, two)))  # one for each child, no more


def test_a_cut_listen_connection_comes_back(nodes):
    """REL-06: its backend is terminated: changes are obeyed meanwhile; it is made again; said once in each direction."""
    one, two = nodes(1)
    console, device, poll = known_to_both(one, two)
    one.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ? AND datname = current_database()", NAME)
    wait_for(lambda: figures(two)["listen_lost"])
    retire(console, device)
    wait_for(lambda: poll() == 400)
    wait_for(lambda: figures(two)["children_listening"] and figures(one)["children_listening"])
    assert two.log.has("MDM0261") and two.log.has("MDM0262")
    assert figures(two)["db_away_times"] == 0


def test_changes_are_obeyed_while_nobody_can_listen(nodes):
    """REL-06: each attempt to listen is ended at once; what remains is the poll of each second."""
    one, two = nodes(1)
    console, device, poll = known_to_both(one, two)
    stop = threading.Event()

    def cut():
        while not stop.wait(0.02):
            one.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ? "
                    "AND datname = current_database()", NAME)
    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        wait_for(lambda: figures(two)["listen_lost"] and not figures(two)["children_listening"])
        retire(console, device)
        wait_for(lambda: poll() == 400)
    finally:
        stop.set()
        cutter.join()
    assert sum(1 for x in two.log.lines if x.id == "MDM0261") <= figures(two)["listen_lost"]


def test_children_end_with_their_connections(nodes):
    """REL-03, REL-06: a graceful restart and a stop leave no backend behind."""
    one, two = nodes(1)
    old = {p for p, in listeners(one)}
    two.graceful()
    wait_for(lambda: {p for p, in listeners(one)} - old and len(old & {p for p, in listeners(one)}) == figures(one)["children"])
    two.stop()
    wait_for(lambda: len(listeners(one)) == figures(one)["children"])


def test_sqlite_has_none(factory):
    """A file sends no notifications: nothing tries to listen."""
    zone = factory.zone("sqlite3", children=1, extra_device=STATUS).start()
    try:
        wait_for(lambda: figures(zone)["node_registered"])
        assert figures(zone)["children_listening"] == 0 and not zone.log.has("MDM0261", wait=0)
    finally:
        zone.close()
