"""Policies on a phone that keeps profiles (POL-06, POL-08, POL-10, IOS-10, EML-01, EML-02): assigned, installed, changed, lost, refused, put off, taken away."""
import json
import plistlib
import uuid

import harness
import seed
from clients import portal
from harness import wait_for
from sim.device import Profile

SECURITY, CONTROL, EMAIL = (f"org.mod-mdm.policy.{x}" for x in ("security", "control", "email"))


class Policy:
    """One policy of one device, as an administrator's pages would leave it."""

    def __init__(self, zone, kind, ident, **settings):
        self.zone, self.id, self.kind, self.ident = zone, str(uuid.uuid4()), kind, ident
        zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, ?, ?, 1, 0)", self.id, kind, self.id)
        zone.sql("INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (?, 1, '{}', 0)", self.id)
        zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, conflict, created_ms)"
                 " VALUES (?, 'policy', ?, ?, 'device', ?, 'device_first', 0)", str(uuid.uuid4()), self.id, kind, ident)
        self.set(**settings)

    def mark(self):
        self.zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('device', ?)", self.ident)

    def set(self, **settings):
        text = json.dumps({k.replace("__", "."): {"corporate": v, "personal": v} for k, v in settings.items()})
        self.zone.publish(self.id, text)
        self.mark()

    def remove(self):
        self.zone.sql("DELETE FROM assignment WHERE object_id = ?", self.id)
        self.mark()

    def row(self):
        found = self.zone.sql("SELECT state, error, hash, command_id FROM delivery WHERE device_id = ? AND type = ? AND channel = 'mdm'",
                              self.ident, self.kind)
        return dict(zip(("state", "error", "hash", "command_id"), found[0])) if found else {"state": None, "hash": "", "error": "", "command_id": None}

    def queued(self, device, others=""):
        """Waits until its hash is another one than before and a command carries it; then the phone comes."""
        wait_for(lambda: self.row()["hash"] != others and self.row()["command_id"])
        return device.poll()


def installed(device, identifier):
    found = [p for p in device.profiles if p["PayloadIdentifier"] == identifier]
    assert len(found) <= 1
    return found[0] if found else None


def test_life_of_a_policy(zone, console, device, ident):
    """IOS-10, POL-08: one profile with a stable identifier, replaced when its content changes, and only then; gone with the policy."""
    p = Policy(zone, "security", ident, security__password=True, security__min_length=6)
    done = p.queued(device)
    assert [k for k, _ in done] == ["InstallProfile", "ProfileList", "SecurityInfo"]
    first = installed(device, SECURITY)
    assert Profile(plistlib.dumps(first)).of_type("com.apple.mobiledevice.passwordpolicy")[0]["minLength"] == 6
    assert p.row()["state"] == "applied"
    whole = console.get(f"/devices/{ident}")
    assert (whole["compliance"], whole["compliance_reasons"]) == ("compliant", [])
    assert [x["policy"] for x in console.get(f"/devices/{ident}/profiles")["items"] if "policy" in x] == ["security"]
    p.mark()
    console.post(f"/devices/{ident}/refresh")
    assert "InstallProfile" not in [k for k, _ in device.poll()]
    was = p.row()["hash"]
    p.set(security__password=True, security__min_length=8)
    p.queued(device, was)
    second = installed(device, SECURITY)
    assert second["PayloadUUID"] != first["PayloadUUID"] and second["PayloadContent"][0]["minLength"] == 8
    p.remove()
    wait_for(lambda: p.row()["hash"] == "" and p.row()["command_id"])
    assert device.poll()[0] == ("RemoveProfile", "Acknowledged")
    assert installed(device, SECURITY) is None and p.row()["state"] is None


def test_drift(zone, console, device, ident):
    """POL-10: somebody took the profile away: seen at the next look, told, and put back."""
    p = Policy(zone, "device_control", ident, apple__camera=False)
    p.queued(device)
    assert installed(device, CONTROL)["PayloadContent"][0]["allowCamera"] is False and p.row()["state"] == "applied"
    device.profiles = []
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    device.poll()
    assert installed(device, CONTROL) and p.row()["state"] == "applied"
    assert "policy.drift" in [e["kind"] for e in console.get(f"/devices/{ident}/events")["items"]]


def test_refused_and_hostile(zone, console, device, ident):
    """POL-08: the phone's own words are the error, clean; nothing loops; a refresh is one more try."""
    bad = "\u202eNo <script>alert(1)</script>\n\r %s %n ' \" " + "x" * 5000
    device.answers["InstallProfile"] = {"Status": "Error", "ErrorChain": [
        {"ErrorCode": 4009, "ErrorDomain": "MCInstallationErrorDomain", "USEnglishDescription": bad, "LocalizedDescription": bad}] * 30}
    p = Policy(zone, "security", ident, security__password=True)
    p.queued(device)
    row = p.row()
    assert row["state"] == "failed" and "<script>" in row["error"] and "\n" not in row["error"] and len(row["error"]) <= 500
    whole = console.get(f"/devices/{ident}")
    assert whole["compliance"] == "noncompliant" and whole["compliance_reasons"][0]["reason"] == "policy_failed"
    assert device.poll() == []
    device.answers["InstallProfile"] = {"Status": "CommandFormatError"}
    console.post(f"/devices/{ident}/refresh")
    assert ("InstallProfile", "CommandFormatError") in device.poll() and p.row()["state"] == "failed"
    del device.answers["InstallProfile"]
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    assert p.row()["state"] == "applied" and console.get(f"/devices/{ident}")["compliance"] == "compliant"


def test_busy_then_enrolled_again(zone, device, ident):
    """A locked phone puts it off and is asked after it has taken it; one that enrols again has lost everything and gets it back."""
    device.busy = True
    p = Policy(zone, "security", ident, security__password=True)
    assert ("InstallProfile", "NotNow") in p.queued(device) and p.row()["state"] == "pending"
    device.busy = False
    assert ("ProfileList", "Acknowledged") in device.poll() and p.row()["state"] == "applied"
    device.profiles = []
    device.authenticate()
    assert p.row()["state"] == "pending"
    device.token_update()
    device.poll()
    assert installed(device, SECURITY) and p.row()["state"] == "applied"


def test_account_made_by_hand(zone, console, device, ident):
    """EML-02: the portal tells the person to remove it; the administrator says that it is gone; nobody says so twice."""
    assert console.call("POST", f"/devices/{ident}/mail-account/release")[0] == 409
    assert console.call("POST", f"/devices/{uuid.uuid4()}/mail-account/release")[0] == 404
    wait_for(lambda: not zone.sql("SELECT 1 FROM recompute UNION ALL SELECT 1 FROM recompute_device"))  # the job would take the row away
    zone.sql("INSERT INTO delivery (device_id, type, channel, result_id, hash, state, held, updated_ms) VALUES (?, 'email', 'mdm', 'x', 'y', 'pending', 1, ?)",
             ident, 4000000000000)
    mine = lambda: [d["mail_by_hand"] for d in portal(zone).call("GET", "/api/v1/devices")[1]["devices"] if d["id"] == ident]
    assert mine() == [True]
    assert console.call("POST", f"/devices/{ident}/mail-account/release")[0] == 202
    assert mine() == [False] and console.call("POST", f"/devices/{ident}/mail-account/release")[0] == 409


def test_log_ins_change(zone, console, device, ident):
    """USR-04, USR-05: simple enrolment moves: how many devices is said first; then the account of a policy gets the new user name, and who has set up
    an account by hand is told by mail, once; whose device gets no mail here is not."""
    anna = seed.person_id(zone, harness.PERSON)
    local = zone.sql("SELECT source_id FROM person WHERE id = ?", anna)[0][0]
    server, hand, other = seed.mail_server(zone), *(seed.mail_device(zone, anna, x, x, state="active") for x in ("HANDMADE1", "HANDMADE2"))
    zone.sql("UPDATE source_record SET state = 'enrolled' WHERE device_id = ?", hand)
    p, by_hand = Policy(zone, "email", ident, email__days="day7"), Policy(zone, "email", hand, email__days="day7")
    config = {"type": "openldap", "host": "198.51.100.1", "containers": ["o=x"], "bind_dn": "cn=x,o=x"}
    taker = console.post("/sources", {"name": "Taker", "config": config, "enabled": False, "simple": False})["id"]

    def simple(source, **more):
        version = console.get(f"/sources/{source}")["version"]
        return console.call("PATCH", f"/sources/{source}", {"simple": True, **more}, If_Match=f'"{version}"')

    def told():
        wait_for(lambda: not zone.sql("SELECT 1 FROM job WHERE kind = 'login.change' AND state IN ('waiting', 'running')"))
        return [r[0] for r in zone.sql("SELECT device_id FROM notice WHERE event = 'email_changed'")]
    try:
        p.queued(device)
        account = lambda: installed(device, EMAIL)["PayloadContent"][0]
        assert account()["UserName"] == harness.PERSON
        wait_for(lambda: zone.sql("SELECT mail FROM device WHERE id = ?", hand) == [("proxy",)])
        assert zone.sql("SELECT mail FROM device WHERE id = ?", other) != [("proxy",)]
        count = zone.sql("SELECT COUNT(*) FROM device d JOIN person p ON p.id = d.person_id WHERE p.source_id = ? AND d.state IN ('active', 'pending')", local)[0][0]
        status, _, said = simple(taker)
        assert (status, said["field"]) == (409, "confirm") and f" {count} devices " in said["detail"] and told() == []
        was = p.row()["hash"]
        assert simple(taker, confirm=True)[0] == 200
        p.queued(device, was)
        assert account()["UserName"] == f"Local\\{harness.PERSON}" and told() == [hand]
        assert portal(zone, f"Local\\{harness.PERSON}").call("GET", "/api/v1/mail")[1]["domain"] == "Local"
        was = p.row()["hash"]
        assert simple(local, confirm=True)[0] == 200
        p.queued(device, was)
        assert account()["UserName"] == harness.PERSON and told() == [hand]  # the one that still waits says how it is then
    finally:
        simple(local, confirm=True)
        console.call("DELETE", f"/sources/{taker}", If_Match=f'"{console.get(f"/sources/{taker}")["version"]}"')
        for policy in (p, by_hand):
            policy.remove()
        for table, key in (("eas_server", server), ("device", hand), ("device", other)):
            zone.sql(f"DELETE FROM {table} WHERE id = ?", key)
        zone.sql("DELETE FROM notice")
