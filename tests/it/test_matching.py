"""Matching in a running server: exceptions, what administrators decide, the matcher's settings (MAT-02, -03, -04, -06)."""
import json
import uuid

import pytest

import harness
import seed
from test_admin import NOBODY, problem

AGENT = json.dumps({"type": "iPhone", "user_agent": "Apple-iPhone12C8/1906.77", "version": "14.1"})


@pytest.fixture(scope="module")
def anna(zone):
    return seed.person_id(zone, harness.PERSON)


@pytest.fixture
def phones(zone, anna):
    """Makes managed iPhones and a mail client of that model, of a person: their ids, and that of the mail record."""
    made = []

    def make(count, person=anna, mail=True, **columns):
        ids = [seed.device(zone, f"Phone {len(made) + i}", person, product="iPhone12,8", build="19F77", **columns) for i in range(count)]
        for ident in ids:
            seed.record(zone, ident, person_id=person)
        made.extend(ids)
        if not mail:
            return ids
        waits = seed.mail_device(zone, person, f"MAIL{uuid.uuid4().hex[:16]}".upper(), product="iPhone12,8")
        made.append(waits)
        record = zone.sql("SELECT id FROM source_record WHERE device_id = ?", waits)[0][0]  # before it has anything that could be matched
        zone.sql("UPDATE source_record SET attrs = ? WHERE id = ?", AGENT, record)
        return ids, waits, record
    yield make
    for ident in made:
        zone.sql("DELETE FROM source_record WHERE device_id = ?", ident)
        zone.sql("DELETE FROM device WHERE id = ?", ident)


def run(console):
    """A run over everybody, from its order to its result."""
    before = (console.get("/matching")["last"] or {}).get("began_ms")
    assert console.call("POST", "/matching/run")[0] == 202
    return harness.wait_for(lambda: (last := console.get("/matching")["last"]) and last.get("began_ms") != before and last)


def where(zone, record):
    return zone.sql("SELECT device_id FROM source_record WHERE id = ?", record)[0][0]


def test_ambiguous_one_is_told_and_decided(zone, console, phones):
    """MAT-04, MAT-06: two phones of one model: an exception with both as candidates; an administrator knows which one it is."""
    (first, second), waits, record = phones(2)
    assert run(console)["exceptions"] >= 1
    item = next(x for x in console.get("/exceptions?code=ambiguous")["items"] if x["id"] == record)
    assert {c["device"] for c in item["candidates"]} == {first, second} and item["device"]["id"] == waits
    assert all("model=" in c["why"] and c["excluded"] is None for c in item["candidates"])
    assert item["person"]["login"] == harness.PERSON and item["user_agent"].startswith("Apple-iPhone")
    row = next(r for r in console.call("GET", "/exceptions?format=csv")[2].decode().splitlines() if record in r)
    assert first in row and second in row and "model=" in row and item["person"]["mail"] in row  # who it could be, and why it is none of them
    problem(console.call("POST", f"/exceptions/{record}/link", {"device": NOBODY}), 400, "device")
    problem(console.call("POST", f"/exceptions/{record}/link", {}), 400, "device")
    assert console.call("POST", f"/exceptions/{record}/link", {"device": second})[0] == 204
    assert where(zone, record) == second and console.call("GET", f"/devices/{waits}")[0] == 404
    problem(console.call("POST", f"/exceptions/{record}/link", {"device": first}), 409)
    assert not [x for x in console.get("/exceptions")["items"] if x["id"] == record]
    assert console.get(f"/devices/{second}/audit")["items"][0]["action"] in ("mail.linked", "device.match")


def test_likely_one_is_matched_and_split(zone, console, phones):
    """MAT-02, MAT-03: found by the job; parted by an administrator, it is never joined again by itself."""
    (phone,), waits, record = phones(1)
    run(console)
    harness.wait_for(lambda: where(zone, record) == phone)
    assert console.get(f"/devices/{phone}")["mode"] == "ios_mdm_eas"
    status, headers, made = console.call("POST", f"/devices/{phone}/split", {"record": record})
    assert status == 201 and headers["Location"].endswith(made["id"]) and made["mode"] == "eas" and made["state"] == "active"
    problem(console.call("POST", f"/devices/{phone}/split", {"record": record}), 404)
    run(console)
    assert where(zone, record) == made["id"] and console.get(f"/devices/{phone}")["mode"] == "ios_mdm"
    zone.sql("DELETE FROM source_record WHERE id = ?", record)
    zone.sql("DELETE FROM device WHERE id = ?", made["id"])


def test_own_and_ignored(zone, console, phones):
    """MAT-04: a device of its own is finished; what is put aside is shown on demand only."""
    _, waits, record = phones(2)
    run(console)
    assert console.call("POST", f"/exceptions/{record}/ignore")[0] == 204
    assert record not in [x["id"] for x in console.get("/exceptions")["items"]]
    assert record in [x["id"] for x in console.get("/exceptions?ignored=1")["items"]]
    assert console.call("POST", f"/exceptions/{record}/own")[0] == 204
    assert console.get(f"/devices/{waits}")["state"] == "active"
    run(console)
    assert record not in [x["id"] for x in console.get("/exceptions?ignored=1")["items"]]


def test_settings(console):
    """MAT-02: every two minutes, settable; how far likeness goes, too."""
    before = console.get("/matching")
    assert before["minutes"] == 2 and before["mode"] == "standard"
    status, _, now = console.call("PUT", "/matching", {"minutes": 30, "mode": "strict"})
    assert status == 200 and now["minutes"] == 30 and now["mode"] == "strict"
    for bad in ({"minutes": 0}, {"minutes": 1441}, {"minutes": "2"}, {}, {"minutes": 2, "x": 1}, {"minutes": 2, "mode": "loose"}):
        problem(console.call("PUT", "/matching", bad), 400)
    assert console.call("PUT", "/matching", {"minutes": 2})[2]["mode"] == "strict"
    assert console.call("PUT", "/matching", {"minutes": 2, "mode": "standard"})[0] == 200
    problem(console.call("GET", "/exceptions?code=nonsense"), 400, "code")


def test_what_a_mail_server_told_is_matched(zone, console, phones):
    """EAS-05, MAT-04: a row of a mail server's list finds its device for information, by the run that the list calls; the others are exceptions."""
    phone, = phones(1, mail=False)
    server = console.post("/eas-servers", {"name": "Told of", "host": "mail.example.org"})["id"]
    fits, strange = (f"TOLD{uuid.uuid4().hex[:16]}".upper() for _ in range(2))
    row = {"user": harness.PERSON, "type": "iPhone", "user_agent": "Apple-iPhone12C8/1906.77"}
    console.post(f"/eas-servers/{server}/discovered", {"rows": [{**row, "device_id": fits}, {**row, "device_id": strange, "user_agent": "Apple-iPhone9C1/1"}]})
    told = harness.wait_for(lambda: (i := next(i for i in console.get(f"/eas-servers/{server}/discovered")["items"] if i["device_id"] == fits))["device"] and i)
    assert told["device"]["id"] == phone and told["state"] == "discovered"
    item = harness.wait_for(lambda: next((x for x in console.get("/exceptions?origin=discovered")["items"] if x["device_id"] == strange), None))
    assert item["origin"] == "discovered" and item["device"] is None and item["code"] == "no_candidate" and item["candidates"]
    assert strange not in [x["device_id"] for x in console.get("/exceptions?origin=gate")["items"]]
    assert strange.encode() in console.call("GET", "/exceptions?format=csv&origin=discovered")[2]
    problem(console.call("POST", f"/exceptions/{item['id']}/own"), 409)
    assert console.get(f"/devices/{phone}")["mode"] == "ios_mdm"
    status, _, made = console.call("POST", f"/devices/{phone}/split", {"record": told["id"]})
    assert status == 201 and made["id"] == phone and where(zone, told["id"]) is None
    problem(console.call("GET", "/exceptions?origin=nonsense"), 400, "origin")
    assert console.call("DELETE", f"/eas-servers/{server}", If_Match='"1"')[0] == 204
    assert not zone.sql("SELECT id FROM source_record WHERE native_id IN (?, ?)", fits, strange)
