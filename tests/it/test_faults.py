"""Trouble (issue 2, section 6): the database stopped, hanging, locked; children killed and restarts under load."""
import http.client
import plistlib
import random
import sqlite3
import threading
import time

import pytest

from clients import Console, enrolled
from harness import PATIENCE, Postgres, wait_for, zf
from sim.device import CHECKIN_TYPE, CONNECT_TYPE, Refused

ZONE = {"children": 2}

# What the core says while the database is away; each is declared by the tests that take it away.
AWAY = ("MDM0210", "MDM0080", "MDM0083", "MDM0410", "MDM0411", "MDM0421", "AH00632", "AH00633", "AH00636", "AH02653")


@pytest.fixture(scope="module")
def cluster():
    pg = Postgres()
    yield pg
    pg.close()


@pytest.fixture
def own_zone(factory, cluster):
    """A zone whose database only this test uses."""
    zone = factory.zone("pgsql", pg=cluster).start()
    yield zone
    zone.close()


def ask(zone, device, token=None):
    """One TokenUpdate (it needs the database when the token is new): (status, Retry-After)."""
    body = plistlib.dumps({"MessageType": "TokenUpdate", "UDID": device.udid, "Topic": device.mdm["Topic"],
                           "Token": token or random.randbytes(32), "PushMagic": device.magic})
    status, headers, _ = zone.request("PUT", "/mdm", body, {"Content-Type": CHECKIN_TYPE}, cert=f"{device.files}/identity.pem")
    return status, headers.get("Retry-After")


def served(device):
    """Whichever child it meets."""
    try:
        return device.poll() is not None
    except Refused as no:
        assert no.status == 503
        return False


def out_and_back(zone, device, away, back):
    """Database away: everybody gets 503 with Retry-After; back: served again by itself."""
    zone.log.expect(*AWAY)
    assert ask(zone, device)[0] == 200
    away()
    try:
        answers = [ask(zone, device) for _ in range(9)]
        assert all(status == 503 and int(retry) > 0 for status, retry in answers), answers
        assert zone.log.has("MDM0210")
    finally:
        back()
    wait_for(lambda: ask(zone, device)[0] == 200, step=0.3)
    wait_for(lambda: served(device))


def test_database_stopped(own_zone, cluster):
    device = enrolled(own_zone)
    out_and_back(own_zone, device, lambda: cluster.stop("immediate"), cluster.start)


def test_rel01_kept_statements_after_a_restart(own_zone, cluster):
    """REL-01: PostgreSQL keeps statements that are asked often; they go with its processes, and the next request is served all the same."""
    own_zone.log.expect(*AWAY)
    device, name = enrolled(own_zone), own_zone.sql("SELECT current_database()")[0][0]
    own_zone.sql(f"ALTER DATABASE {name} SET log_statement = 'all'")
    for _ in range(3):
        own_zone.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
                     "AND application_name NOT LIKE '%listen%'")
        told = (cluster.root / "log").stat().st_size

        def kept():
            """a kept statement was run by a process of after the restart"""
            assert ask(own_zone, device)[0] == 200
            return b"execute mdm_" in (cluster.root / "log").read_bytes()[told:]
        wait_for(kept, step=0)


def test_rel02_a_standby_is_left(own_zone):
    """REL-02: a server that became a standby stays there and refuses to write; its connections are not kept, so that the next ones reach who may."""
    own_zone.log.expect(*AWAY)
    device, name = enrolled(own_zone), own_zone.sql("SELECT current_database()")[0][0]
    own_zone.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")  # of connections that are made from now on
    own_zone.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
    wait_for(lambda: ask(own_zone, device)[0] == 503)
    own_zone.sql(f"BEGIN READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only; COMMIT")
    wait_for(lambda: ask(own_zone, device)[0] == 200)


def every_message(device):
    """(content type, message) of each kind, of the device and of a user."""
    for user in ({}, {"UserID": "ANNA"}):
        for kind in ("Authenticate", "TokenUpdate", "CheckOut", "SetBootstrapToken", "GetBootstrapToken", "GetToken", "UserAuthenticate",
                     "DeclarativeManagement", "ReturnToService", "Nonsense"):
            yield CHECKIN_TYPE, {"MessageType": kind, "UDID": device.udid, "Topic": "x", "Token": b"t", "PushMagic": "m",
                                 "TokenServiceType": "com.apple.maid", "Endpoint": "tokens", **user}
        for status in ("Idle", "Acknowledged", "Error", "CommandFormatError", "NotNow", "Nonsense"):
            yield CONNECT_TYPE, {"UDID": device.udid, "Status": status, "CommandUUID": "0B1D3A60-0000-4000-8000-000000000001", **user}


def test_ios04_statuses(own_zone, cluster):
    """IOS-04: for each message our trouble is 503, an identity that does not fit 400, the administrator's decision 403 with Apple's JSON."""
    zone, device, other, out = own_zone, *(enrolled(own_zone) for _ in range(3))
    zone.log.expect(*AWAY)

    def say(cert):
        for kind, message in every_message(device):
            yield message, zone.request("PUT", "/mdm", plistlib.dumps(message), {"Content-Type": kind},
                                        cert=cert and f"{cert.files}/identity.pem")
    for cert in (other, None):
        for message, (status, _, body) in say(cert):
            assert (status, body) == (400, b""), (message, status)
    zone.sql("UPDATE source_record SET expelled = 1 WHERE native_id = ?", out.udid)
    zone.sql("INSERT INTO change (kind, key, at_ms) SELECT 'device', device_id, 0 FROM source_record WHERE native_id = ?", out.udid)
    idle = plistlib.dumps({"UDID": out.udid, "Status": "Idle"})
    wait_for(lambda: zone.request("PUT", "/mdm", idle, {"Content-Type": CONNECT_TYPE}, cert=f"{out.files}/identity.pem")[0] == 403)
    for message, (status, headers, body) in say(out):
        assert status == 403 and headers.get_content_type() == "application/json" and b"com.apple.unrecognized.device" in body, message
    cluster.stop("immediate")
    try:
        assert ask(zone, device)[0] == 503 and zone.log.has("MDM0210")
        for cert in (device, other, out, None):
            for message, (status, headers, body) in say(cert):
                assert status == 503 and body == b"" and int(headers["Retry-After"]) > 0, (message, status)
    finally:
        cluster.start()
    wait_for(lambda: ask(zone, device)[0] == 200, step=0.3)
    wait_for(lambda: served(device))


def test_database_hanging(own_zone, cluster):
    """SIGSTOP: connections stay open and nothing answers."""
    device = enrolled(own_zone)
    out_and_back(own_zone, device, cluster.freeze, cluster.thaw)


def test_start_without_database(factory, cluster):
    """httpd starts; everyone gets 503 until the database is there."""
    zone = factory.zone("pgsql", pg=cluster)
    cluster.stop("immediate")
    zone.log.expect(*AWAY)
    try:
        zone.start()
        assert zone.request("PUT", "/mdm", b"x", {"Content-Type": CONNECT_TYPE})[0] in (400, 503)
        status, headers, _ = zone.request("GET", "/scep?operation=GetCACert")
        assert status == 503 and int(headers["Retry-After"]) > 0
    finally:
        cluster.start()
    wait_for(lambda: all(zone.request("GET", "/scep?operation=GetCACert")[0] == 200 for _ in range(6)), step=0.3)
    zone.log.expect(*AWAY)
    enrolled(zone)
    zone.close()


def test_sqlite_locked(factory):
    """Somebody else holds the file's write lock: writes get 503 in time, and go on afterwards."""
    zone = factory.zone("sqlite3", fails=True).start()
    device = enrolled(zone)
    zone.log.expect(*AWAY)
    holder = sqlite3.connect(zf.split_db(zone.db_url)[1], isolation_level=None)
    try:
        holder.execute("BEGIN IMMEDIATE")
        status, retry = ask(zone, device)
        assert status == 503 and int(retry) > 0, (status, retry)
    finally:
        holder.execute("ROLLBACK")
        holder.close()
        zf.give_away(zone.root / "db")
    wait_for(lambda: ask(zone, device)[0] == 200, step=0.3)
    zone.close()


def test_unknown_schema(factory):
    """A schema of another version: 503 for devices, and the log says what to run."""
    zone = factory.zone("sqlite3", empty=True)
    zone.log.expect("MDM0212", *AWAY)
    zone.start()
    status, headers, _ = zone.request("GET", "/scep?operation=GetCACert")
    assert status == 503 and int(headers["Retry-After"]) > 0
    assert "migrate" in zone.log.has("MDM0212").raw
    zone.ctl("migrate")
    zone.ctl("ca", "ensure")
    wait_for(lambda: zone.request("GET", "/scep?operation=GetCACert")[0] == 200, step=0.3)
    zone.close()


# ---- under load
class Load:
    """Devices that send one message after the other; each is asked once more on a new connection if it was cut."""

    def __init__(self, devices, message):
        self.devices, self.message, self.stop = devices, message, threading.Event()
        self.answered, self.wrong, self.missing, self.acknowledged = 0, [], [], {}
        self.threads = [threading.Thread(target=self._run, args=(d,), daemon=True) for d in devices]

    def _run(self, device):
        while not self.stop.is_set():
            kind, body, mark, good = self.message(device)
            try:
                status, _, answer = device.put(device.mdm["ServerURL"], kind, body)
            except (OSError, http.client.HTTPException) as why:
                self.missing.append(repr(why))
                continue
            if status != 200 or not good(answer):
                self.wrong.append((status, answer[:80]))
            else:
                self.answered += 1
                self.acknowledged[device.udid] = mark

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def more(self, count):
        """Waits for so many further answers."""
        goal = self.answered + count
        wait_for(lambda: self.answered >= goal)


def idle(device):
    return CONNECT_TYPE, {"UDID": device.udid, "Status": "Idle"}, None, lambda answer: answer == b""


def new_token(device):
    token = random.randbytes(32)
    return CHECKIN_TYPE, {"MessageType": "TokenUpdate", "UDID": device.udid, "Topic": device.mdm["Topic"], "Token": token,
                          "PushMagic": device.magic}, token.hex(), lambda answer: answer == b""


def test_two_graceful_restarts_under_load(zone):
    """No wrong, no cut and no missing answer after one retry on a new connection (15-decisions)."""
    devices = [enrolled(zone) for _ in range(6)]
    with Load(devices, idle) as load:
        load.more(200)
        for _ in range(2):
            zone.graceful()
            load.more(200)
    assert load.wrong == [] and load.missing == []


def test_killed_children_lose_no_acknowledged_message(zone):
    """kill -9 under load: what was answered 200 is in the database; the cache stays right."""
    devices = [enrolled(zone) for _ in range(4)]
    with Load(devices, new_token) as load:
        for _ in range(3):
            load.more(60)
            zone.kill_child()
        load.more(100)
    assert load.wrong == []
    for device in devices:
        rows = zone.sql("SELECT push_token FROM source_record WHERE native_id = ? AND live = 1", device.udid)
        assert rows == [(load.acknowledged[device.udid],)]
        assert device.poll() == []
    console = Console(zone)
    assert {console.device(d.udid)["state"] for d in devices} == {"active"}


def test_changes_reach_the_caches_of_all_children(zone):
    """A change made in one child is obeyed by all within about a second (Invalidation)."""
    device = enrolled(zone)
    assert device.poll() == []
    console = Console(zone)
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/retire", {"reason": "test"})

    def refused():
        try:
            device.poll()
        except Refused as why:
            return why.status == 400
        return False
    wait_for(refused)
