"""Policies by the API, to phones, while everything changes at once (issue 5, Trouble; POL-01, POL-06, POL-08, POL-09, DEV-08)."""
import threading
import uuid

import seed
from clients import Console, enrolled
from harness import wait_for

ROOT = seed.ROOT_FOLDER
SECURITY = "org.mod-mdm.policy.security"
MANY = 1000  # devices that a change may reach here
PASSCODE = "com.apple.mobiledevice.passwordpolicy"


def settings(length):
    return {"security.password": {"corporate": True, "personal": True}, "security.min_length": {"corporate": length, "personal": length}}


def policy(console, length, *targets):
    """A published policy with this minimum length, assigned to targets."""
    made = console.post("/policies", {"type": "security", "name": f"P {uuid.uuid4()}", "settings": settings(length), "publish": True})["id"]
    if targets:
        console.post("/assignments", {"policy": made, "targets": [dict(zip(("kind", "id"), t)) for t in targets], "confirm": MANY})
    return made


def act(console, method, ident, tail="", body=None):
    tag = console.call("GET", f"/policies/{ident}")[1]["ETag"]
    return console.call(method, f"/policies/{ident}{tail}", body, If_Match=tag)[0]


def delete(console, ident):
    """By the number of devices at most; again when somebody else has changed the policy meanwhile."""
    for _ in range(20):
        seen = console.call("GET", f"/policies/{ident}")
        if seen[0] == 404:
            return
        answer = console.call("DELETE", f"/policies/{ident}?confirm={MANY}", If_Match=seen[1]["ETag"])
        assert answer[0] in (204, 412), answer
        if answer[0] == 204:
            return
    raise AssertionError("never deleted")


def quiet(zone):
    wait_for(lambda: not zone.sql("SELECT 1 FROM recompute UNION ALL SELECT 1 FROM recompute_device"))


def length(device):
    """What the phone's one security profile asks for; None: it has none."""
    found = [p for p in device.profiles if p["PayloadIdentifier"] == SECURITY]
    assert len(found) <= 1
    return found[0]["PayloadContent"][0]["minLength"] if found else None


def origin(console, ident):
    """(value, policy) of the minimum length in force on a device."""
    rows = [x for t in console.get(f"/devices/{ident}/policies")["types"] for x in t["settings"] if x["setting"] == "security.min_length"]
    return rows[0]["value"], rows[0]["policy"]["id"]


def in_force(zone):
    return (sorted(zone.sql("SELECT device_id, type, result_id FROM effective_policy")),
            sorted(zone.sql("SELECT device_id, type, channel, hash, state FROM delivery")))


def test_from_the_api_to_the_phone_and_back(zone, console):
    """IOS-10, POL-06: assigned, there; published again with the same values or found elsewhere: nothing is sent; deleted, gone. DEV-08: a refresh
    right after the change brings it."""
    device = enrolled(zone)
    ident = console.device(device.udid)["id"]
    folder = console.post("/folders", {"name": f"F {uuid.uuid4()}", "parent": ROOT})["id"]
    assert console.call("POST", "/devices/move", {"devices": [ident], "folder": folder})[0] == 204
    far = policy(console, 6, ("folder", folder))
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    assert length(device) == 6
    assert act(console, "POST", far, "/publish", {"number": 1}) == 200
    near = policy(console, 6, ("device", ident))
    console.post(f"/devices/{ident}/refresh")
    assert "InstallProfile" not in [k for k, _ in device.poll()]
    assert origin(console, ident) == (6, near)
    assert act(console, "PUT", near, "/sandbox", {"settings": settings(9)}) == 200
    console.post(f"/devices/{ident}/refresh")
    assert "InstallProfile" not in [k for k, _ in device.poll()]  # it is no test device
    assert act(console, "POST", near, "/publish", {}) == 200
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    assert length(device) == 9
    delete(console, near)
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    assert length(device) == 6
    delete(console, far)
    console.post(f"/devices/{ident}/refresh")
    device.poll()
    assert length(device) is None


def test_everything_at_once(zone, console):
    """Issue 5, Trouble: devices move, two administrators publish, policies come and go while the job computes: afterwards everything is
    as if it had been computed in peace, and each phone has exactly that. The phones talk meanwhile, and lose their profile."""
    phones = [enrolled(zone) for _ in range(2)]
    idents = [console.device(p.udid)["id"] for p in phones]
    crowd = [seed.device(zone, f"Crowd {uuid.uuid4()}") for _ in range(30)]
    places = [console.post("/folders", {"name": f"R {uuid.uuid4()}", "parent": ROOT})["id"] for _ in range(2)]
    assert console.call("POST", "/devices/move", {"devices": idents + crowd, "folder": places[0]})[0] == 204
    base, kept = policy(console, 4, ("folder", ROOT)), policy(console, 5, ("folder", places[1]))
    published, failures = [], []

    def move(own):
        for n in range(8):
            assert own.call("POST", "/devices/move", {"devices": idents + crowd[:10], "folder": places[(n + 1) % 2]})[0] == 204

    def publish(own):
        for n in range(8):
            said = act(own, "PUT", kept, "/sandbox", {"settings": settings(6 + n)})
            said = said if said != 200 else act(own, "POST", kept, "/publish", {})
            assert said in (200, 404, 409, 412), said
            published.append(said)

    def come_and_go(own):
        for n in range(4):
            delete(own, policy(own, 10 + n, ("folder", places[0]), ("device", idents[0])))

    changed = threading.Event()

    def poll(own):
        while not changed.is_set():
            for p, ident in zip(phones, idents):
                p.poll()
                p.profiles = [x for x in p.profiles if x["PayloadIdentifier"] != SECURITY]  # its next list shows drift
                own.post(f"/devices/{ident}/refresh")

    def guarded(fn):
        try:
            fn(Console(zone))
        except BaseException as e:  # told by the test's own thread
            failures.append(e)
    jobs = [threading.Thread(target=guarded, args=(fn,)) for fn in (move, publish, publish, come_and_go)]
    polls = threading.Thread(target=guarded, args=(poll,))
    [t.start() for t in [*jobs, polls]]
    [t.join() for t in jobs]
    changed.set()
    polls.join()
    assert not failures, failures
    assert published.count(200) == console.get(f"/policies/{kept}")["published"] - 1  # who was told 200 has his version, nobody else
    quiet(zone)
    for p, ident in zip(phones, idents):
        console.post(f"/devices/{ident}/refresh")
        p.poll()
        value, found = origin(console, ident)
        assert length(p) == value and found in (base, kept)
        assert zone.sql("SELECT state FROM delivery WHERE device_id = ? AND type = 'security'", ident) == [("applied",)]
    assert zone.sql("SELECT COUNT(*) FROM effective_policy e JOIN policy_result_policy r ON r.result_id = e.result_id "
                    "WHERE NOT EXISTS (SELECT 1 FROM policy p WHERE p.id = r.policy_id)") == [(0,)]
    before = in_force(zone)
    zone.sql("INSERT INTO recompute (target_kind, target_id) VALUES ('folder', ?)", ROOT)
    quiet(zone)
    assert in_force(zone) == before
    assert [k for p in phones for k, _ in p.poll()] == []
