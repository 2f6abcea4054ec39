"""Commands, inventory and leaving from the console's API to the device and back (IOS-05, IOS-09, IOS-12, DEV-04, DEV-08..15, REL-01)."""
import base64
import contextlib
import os
import random
import signal
import threading

import pytest

import harness
from clients import enrolled, new_device
from harness import wait_for
from sim.device import Refused

CYCLES = int(os.environ.get("KILL_CYCLES", "250"))  # of each engine


def actions(console, ident):
    return {a["action"]: a for a in console.get(f"/devices/{ident}/actions")["items"]}


def history(console, ident):
    return console.get(f"/devices/{ident}/commands")["items"]


def order(console, ident, kind, payload=None, want=201, **more):
    status, _, got = console.call("POST", f"/devices/{ident}/commands", {"request_type": kind, **({"payload": payload} if payload else {}), **more})
    assert status == want, (kind, got)
    return got["id"] if status == 201 else got["detail"]


def test_only_what_applies_is_offered(console, device, ident):
    """DEV-07, IOS-09: what a device can't do has its reason, and an order for it is refused with the same."""
    seen = actions(console, ident)
    assert seen["lock"]["applies"] and seen["unlock"]["applies"] and seen["wipe"]["applies"] and not seen["unretire"]["applies"]
    assert [seen[a]["reason"] for a in ("lost_on", "restart", "rename", "give_up")] == ["not_supervised"] * 3 + ["not_leaving"]
    assert order(console, ident, "EnableLostMode", {"Message": "Lost"}, 409) == seen["lost_on"]["why"]
    assert {k["name"] for k in seen["lock"]["keys"]} == {"Message", "PhoneNumber"}
    device.supervised = True
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    seen = actions(console, ident)
    assert seen["lost_on"]["applies"] and seen["restart"]["applies"] and seen["locate"]["reason"] == "not_lost"


def test_lost_mode(console, device, ident):
    """Lost mode on, position, off: each changes what is offered next, without a refresh by hand."""
    device.supervised = True
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    order(console, ident, "EnableLostMode", {"Message": "Please call", "PhoneNumber": "+1555"})
    assert ("EnableLostMode", "Acknowledged") in device.poll()
    seen = actions(console, ident)
    assert seen["lost_on"]["reason"] == "lost" and seen["lock"]["reason"] == "lost" and seen["locate"]["applies"]
    order(console, ident, "DeviceLocation")
    device.poll()
    assert console.get(f"/devices/{ident}")["inventory"]["location"]["Latitude"] == 52.52
    order(console, ident, "DisableLostMode")
    device.poll()
    assert actions(console, ident)["lost_on"]["applies"]
    changed = [e for e in console.get(f"/devices/{ident}/events")["items"] if e["kind"] == "changed"]
    assert [e["detail"]["lost_mode"] for e in changed if "lost_mode" in e["detail"]] == [
        {"before": True, "after": False}, {"before": False, "after": True}]


def test_orders(console, device, ident):
    """DEV-09, DEV-10: lock, unlock, rename, profile: right keys arrive, result and reason are kept, the follow-up question is asked."""
    device.supervised = True
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    order(console, ident, "DeviceLock", {"Message": "Gefunden? \u2764", "PhoneNumber": "+1555"}, reason="lost in a tram")
    order(console, ident, "ClearPasscode", reason="forgotten")
    order(console, ident, "Settings", {"Settings": [{"Item": "DeviceName", "DeviceName": "Neu"}]})
    order(console, ident, "InstallProfile", {"Payload": {"$data": base64.b64encode(b"no profile").decode()}})
    handled = dict(device.poll())
    assert handled["DeviceLock"] == handled["ClearPasscode"] == handled["Settings"] == "Acknowledged" and handled["InstallProfile"] == "Error"
    assert device.locked and not device.passcode and device.name == "Neu"
    done = {c["request_type"]: c for c in reversed(history(console, ident))}
    assert done["DeviceLock"]["result"] == {"MessageResult": "Success"}
    assert done["Settings"]["result"] == {"Settings": [{"Status": "Acknowledged"}]}
    assert done["InstallProfile"]["error"]["chain"][0]["code"] == 1000
    whole = console.get(f"/devices/{ident}")
    assert whole["passcode_present"] is False and whole["inventory"]["device"]["DeviceName"] == "Neu"
    audit = [a for a in console.get(f"/devices/{ident}/audit")["items"] if a["action"] == "device.command"]
    assert {a["detail"]["command"]: a["detail"].get("reason") for a in audit} == {
        "DeviceLock": "lost in a tram", "ClearPasscode": "forgotten", "Settings": None, "InstallProfile": None}
    assert "Gefunden" not in str(audit)


@pytest.mark.parametrize("body, field", [
    ({"request_type": "FormatTheMoon"}, "request_type"), ({"request_type": "DeviceLock", "payload": {"PIN": "1"}}, "payload"),
    ({"request_type": "DeviceLock", "payload": {"Message": 7}}, "payload"), ({"request_type": "InstallProfile"}, "payload"),
    ({"request_type": "InstallProfile", "payload": {"Payload": {"$data": "%%"}}}, "payload"), ({"request_type": ""}, "request_type"),
    ({"request_type": "DeviceLock", "payload": []}, "payload"), ({"request_type": "DeviceLock", "extra": 1}, "extra"),
    ({"request_type": "DeviceLock", "expires_minutes": 0}, "expires_minutes"), ({}, "request_type"),
    ({"request_type": "ClearPasscode", "reason": "x" * 501}, "reason")])
def test_bad_orders(console, fixed, body, field):
    status, _, got = console.call("POST", f"/devices/{fixed}/commands", body)
    assert (status, got["field"]) == (400, field), got


@pytest.fixture(scope="module")
def fixed(zone, console):
    return console.device(enrolled(zone).udid)["id"]


def test_leaving_is_no_command(console, fixed):
    """A wipe goes the way of DEV-12, and not past it."""
    order(console, fixed, "EraseDevice", None, 409)
    order(console, fixed, "RemoveProfile", {"Identifier": "org.mod-mdm.enroll"}, 409)
    for command in ({"RequestType": "EraseDevice"}, {"RequestType": "RemoveProfile", "Identifier": "org.mod-mdm.enroll"}):
        assert console.call("POST", f"/devices/{fixed}/commands/raw", {"command": command})[0] == 409


def test_raw_is_for_super_administrators(zone, console, device, ident):
    """IOS-12: anything goes out as it is, is audited without values; other roles may not."""
    got = console.post(f"/devices/{ident}/commands/raw", {"command": {"RequestType": "SomethingNew", "Secret": "hunter2", "N": [1, {"$data": "AAEC"}]}})
    command = device.connect(Status="Idle")
    assert command["CommandUUID"].lower() == got["id"]
    assert command["Command"] == {"RequestType": "SomethingNew", "Secret": "hunter2", "N": [1, b"\x00\x01\x02"]}
    device.connect(Status="Acknowledged", CommandUUID=command["CommandUUID"], Answer=42)
    assert history(console, ident)[0]["result"] == {"Answer": 42}
    row = [a for a in console.get(f"/devices/{ident}/audit")["items"] if a["action"] == "device.command_raw"]
    assert set(row[0]["detail"]["keys"]) == {"Secret", "N"} and "hunter2" not in str(row)
    assert zone.sql("SELECT payload FROM command WHERE id = ?", got["id"])[0][0].startswith("s1.")
    for bad in ({}, {"RequestType": 1}, {"RequestType": ""}, {"RequestType": "X", "a": None}, {"RequestType": "X" * 65}, {"RequestType": "X", "a": {"$data": "?"}}):
        assert console.call("POST", f"/devices/{ident}/commands/raw", {"command": bad})[0] == 400, bad
    assert console.call("POST", f"/devices/{ident}/commands/raw", {"command": {"RequestType": "X", "a": "b" * 1600000}})[0] == 413
    zone.sql("UPDATE admin SET role_id = '00000000-0000-4000-8000-000000000014' WHERE login = ?", harness.ADMIN_USER)
    try:
        assert console.call("POST", f"/devices/{ident}/commands/raw", {"command": {"RequestType": "X"}})[0] == 403
        order(console, ident, "DeviceLock")
    finally:
        zone.sql("UPDATE admin SET role_id = '00000000-0000-4000-8000-000000000011' WHERE login = ?", harness.ADMIN_USER)


def test_lists(console, device, ident):
    """DEV-04: profiles, certificates and restrictions, page by page; the device itself stays small."""
    profiles = console.get(f"/devices/{ident}/profiles")["items"]
    assert profiles and profiles[0]["identifier"] == device.profile.identifier
    certs = console.get(f"/devices/{ident}/certificates")["items"]
    assert certs[0]["identity"] is True and certs[0]["not_after"] > "2026" and len(certs[0]["fingerprint"]) == 64
    assert {r["name"]: r["value"] for r in console.get(f"/devices/{ident}/restrictions")["items"]} == {"allowCamera": True, "maxInactivity": 5}
    device.answers["ProfileList"] = {"ProfileList": [{"PayloadIdentifier": f"p.{i:03d}", "PayloadDisplayName": "<b>\u202e"} for i in range(120)]}
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    seen, cursor = [], ""
    while cursor is not None:
        page = console.get(f"/devices/{ident}/profiles?limit=50{'&cursor=' + cursor if cursor else ''}")
        seen += [p["identifier"] for p in page["items"]]
        cursor = page["next"]
    assert seen == [f"p.{i:03d}" for i in range(120)]
    assert console.call("GET", f"/devices/{ident}/profiles?cursor=nonsense")[0] == 400
    assert not {"profiles", "certificates", "restrictions", "watch", "was"} & set(console.get(f"/devices/{ident}")["inventory"])


def test_expired_command_is_not_sent(zone, console, device, ident):
    """An order with a time ends when that is over, by the job, though the device never called."""
    got = order(console, ident, "DeviceLock")
    zone.sql("UPDATE command SET expires_ms = 1 WHERE id = ?", got)
    assert device.poll() == []
    zone.run_soon("command.tidy")
    wait_for(lambda: history(console, ident)[0]["state"] == "expired")


# ---- leaving (DEV-12)
def test_wipe_with_options(console, device, ident):
    for erase, wipe in (({"Nonsense": 1}, "full"), ({"PreserveDataPlan": "yes"}, "full"), ({"PreserveDataPlan": True}, "selective")):
        status, _, got = console.call("POST", f"/devices/{ident}/unenroll", {"wipe": wipe, "then": "retire", "erase": erase})
        assert (status, got["field"]) == (400, "erase")
    console.post(f"/devices/{ident}/unenroll", {"wipe": "full", "then": "retire", "erase": {"PreserveDataPlan": True, "ReturnToService": {"Enabled": True}}})
    command = device.connect(Status="Idle")
    assert command["Command"] == {"RequestType": "EraseDevice", "PreserveDataPlan": True, "ReturnToService": {"Enabled": True}}


def test_deleted_while_wipe_is_pending(zone, console, device, ident):
    """DEV-12: the object goes at once, the wipe waits with its identity and is delivered; then the identity is of no use."""
    console.post(f"/devices/{ident}/unenroll", {"wipe": "full", "then": "delete"})
    assert console.call("DELETE", f"/devices/{ident}")[0] == 204
    assert console.call("GET", f"/devices/{ident}")[0] == 404
    assert [kind for kind, _ in device.poll()] == ["EraseDevice"] and device.wiped
    with pytest.raises(Refused) as no:
        device.connect(Status="Idle")
    assert no.value.status == 400
    assert zone.sql("SELECT count(*) FROM source_record WHERE native_id = ?", device.udid) == [(0,)]


def test_retiring_does_not_forget_a_wipe(zone, console, device, ident):
    """DEV-12: while a removal or wipe is pending the device can't be retired without a word: it would be taken back in silence."""
    console.post(f"/devices/{ident}/unenroll", {"wipe": "full", "then": "delete"})
    status, _, body = console.call("POST", f"/devices/{ident}/retire", {"reason": "sold"})
    assert (status, body["field"]) == (409, "state")
    assert [kind for kind, _ in device.poll()] == ["EraseDevice"] and device.wiped


def test_refused_and_given_up(console, zone):
    """A device that refuses its removal stays leaving for a while and then ends; one that is silent can be given up."""
    stubborn, silent = enrolled(zone), enrolled(zone)
    one, two = (console.device(d.udid)["id"] for d in (stubborn, silent))
    for ident in (one, two):
        console.post(f"/devices/{ident}/unenroll", {"wipe": "selective", "then": "retire"})
    stubborn.answers["RemoveProfile"] = {"Status": "Error", "ErrorChain": []}
    for n in range(3):
        assert ("has refused it" in history(console, one)[0]["why"]) == (n > 0)
        assert stubborn.poll() == [("RemoveProfile", "Error")]
    with pytest.raises(Refused):
        stubborn.connect(Status="Idle")
    assert actions(console, two)["cancel_leaving"]["applies"] and actions(console, two)["give_up"]["applies"]
    assert actions(console, two)["unretire"]["reason"] == "leaving" and console.call("POST", f"/devices/{two}/unretire", {})[0] == 409
    silent.connect(Status="Idle")
    assert actions(console, two)["cancel_leaving"]["reason"] == "delivered"
    console.post(f"/devices/{two}/give-up", {"reason": "sold"})
    assert console.call("POST", f"/devices/{two}/give-up", {"reason": "again"})[0] == 409
    with pytest.raises(Refused):
        silent.connect(Status="Idle")


# ---- kill -9 (REL-01)
class Worker(threading.Thread):
    """One device that locks itself for ever: Idle, command, result, again after each broken connection. Notes what was acknowledged."""

    def __init__(self, device, cycles):
        super().__init__(daemon=True)
        self.device, self.cycles, self.acknowledged, self.wrong = device, cycles, [], []

    def say(self, **message):
        while True:
            try:
                return self.device.connect(**message)
            except Refused as no:
                if no.status != 503:
                    raise
            except Exception:  # the connection broke with the child
                self.device.http.close()

    def run(self):
        try:
            command = self.say(Status="Idle")
            while len(self.acknowledged) < self.cycles:
                if command is None:
                    command = self.say(Status="Idle")
                    continue
                ident = command["CommandUUID"]
                command = self.say(Status="Acknowledged", CommandUUID=ident, MessageResult="Success", Token=ident)
                self.acknowledged.append(ident.lower())
        except Exception as why:  # shown by the test
            self.wrong.append(repr(why))


def test_kill_in_command_cycles(fresh_zone):
    """REL-01: children die at random points of command cycles; every acknowledged result is in the database, once, with its own content."""
    zone = fresh_zone(children=2)
    devices = [enrolled(zone, new_device(zone)) for _ in range(4)]
    each, stop = max(CYCLES // len(devices), 5), threading.Event()
    for device in devices:
        zone.sql("INSERT INTO command (id, record_id, device_id, seq, request_type, payload, state, created_ms)"
                 f" WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {each + 20})"
                 " SELECT substr(r.id, 1, 24) || CAST(100000000000 + n.i AS TEXT), r.id, r.device_id, r.queue_seq + n.i, 'DeviceLock', '{}',"
                 " 'queued', 0 FROM source_record r, n WHERE r.native_id = ?", device.udid)
    zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('all', '', 0)")
    workers = [Worker(d, each) for d in devices]

    killed = []

    def killer():
        """At random points of the work, not of the clock."""
        due = 10
        while not stop.wait(0.002):
            done = sum(len(w.acknowledged) for w in workers)
            if done < due:
                continue
            due = done + random.randint(20, max(60, CYCLES // 50))
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(random.choice(zone.child_pids()), signal.SIGKILL)
                killed.append(done)
    for w in workers:
        w.start()
    killing = threading.Thread(target=killer, daemon=True)
    killing.start()
    for w in workers:
        w.join(600 + CYCLES)
    stop.set()
    killing.join()
    wait_for(zone.answers)
    assert len(killed) >= 3
    assert [w.wrong for w in workers] == [[]] * len(workers) and not any(w.is_alive() for w in workers)
    for w in workers:
        assert len(set(w.acknowledged)) == len(w.acknowledged), "a command was given again after its result was acknowledged"
        rows = dict(zone.sql("SELECT c.id, c.result FROM command c JOIN source_record r ON r.id = c.record_id WHERE r.native_id = ?"
                             " AND c.state = 'acknowledged' AND c.request_type = 'DeviceLock'", w.device.udid))
        assert set(w.acknowledged) <= set(rows)
        for ident in w.acknowledged:
            assert f'"Token":"{ident.upper()}"' in rows[ident]
    zone.log.next_test()
