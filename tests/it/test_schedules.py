"""Schedules through the API, to the device and back (DEV-05, DEV-06, API-01)."""
import time

import pytest

from clients import enrolled
from harness import wait_for


@pytest.fixture(scope="module")
def device(zone, console):
    made = enrolled(zone)
    made.ident = console.device(made.udid)["id"]
    return made


def save(console, path, body, want=200):
    etag = console.call("GET", path)[1]["ETag"]
    status, _, got = console.call("PUT", path, body, **({} if path == "/schedule" else {"If_Match": etag}))
    assert status == want, got
    return got


def test_due_device_is_asked(zone, console, device):
    """DEV-05: a due device is woken, answers, and is due again after its period."""
    now = int(time.time() * 1000)
    zone.sql("UPDATE device SET refresh_due_ms = ? WHERE id = ?", now, device.ident)
    zone.run_soon("schedule.refresh")
    wait_for(lambda: zone.sql("SELECT refresh_due_ms FROM device WHERE id = ?", device.ident)[0][0] == now + 120 * 60000)
    assert "DeviceInformation" in dict(device.poll())


def test_zone_folder_device(zone, console, device):
    """DEV-05: the nearest one holds, and who said so is told; a change gives due times anew."""
    assert console.get(f"/devices/{device.ident}/schedule")["effective"]["refresh_from"]["scope"] == "default"
    save(console, "/schedule", {"refresh": {"mode": "timed", "minutes": 60}, "lost": {"days": 30}})
    soon = int(time.time() * 1000) + 61 * 60000
    wait_for(lambda: zone.sql("SELECT refresh_due_ms FROM device WHERE id = ?", device.ident)[0][0] <= soon)
    folder = console.post("/folders", {"name": "By hand", "parent": "00000000-0000-4000-8000-000000000001"})["id"]
    seen = save(console, f"/folders/{folder}/schedule", {"refresh": {"mode": "manual"}, "lost": {"days": 7}})
    assert seen["effective"]["lost"] == {"days": 7} and seen["effective"]["refresh_from"]["name"] == "By hand"
    assert next(f["schedule"] for f in console.get("/folders")["items"] if f["id"] == folder) == {"refresh": {"mode": "manual"}, "lost": {"days": 7}}
    assert console.get("/folders/00000000-0000-4000-8000-000000000001")["schedule"] == {"refresh": None, "lost": None}
    console.post("/devices/move", {"devices": [device.ident], "folder": folder})
    assert console.get(f"/devices/{device.ident}/schedule")["effective"]["refresh"] == {"mode": "manual"}
    mine = save(console, f"/devices/{device.ident}/schedule", {"refresh": {"mode": "timed", "minutes": 1500}})
    assert mine["refresh"] == {"mode": "timed", "minutes": 1500} and mine["effective"]["refresh_from"]["scope"] == "device"
    assert mine["effective"]["lost_from"]["name"] == "By hand"
    save(console, f"/devices/{device.ident}/schedule", {"refresh": None})
    wait_for(lambda: zone.sql("SELECT refresh_due_ms FROM device WHERE id = ?", device.ident)[0][0] is None)
    assert any(a["action"] == "schedule.edit" for a in console.get("/audit")["items"])


def test_lost_until_the_next_contact(zone, console, device):
    """DEV-06."""
    save(console, "/schedule", {"lost": {"days": 3}})
    old = int(time.time() * 1000) - 10 * 86400000
    zone.sql("UPDATE device SET last_contact_ms = ? WHERE id = ?", old, device.ident)
    zone.run_soon("schedule.lost")
    wait_for(lambda: console.get(f"/devices/{device.ident}")["lost_since"])
    device.poll()
    wait_for(lambda: console.get(f"/devices/{device.ident}")["lost_since"] is None)


def test_history_goes_by_age(zone, console, device):
    """DEV-16: the setting holds for the next run of the job; what is younger stays; the job says how much went."""
    status, _, got = console.call("PUT", "/retention", {"history_days": 13})
    assert status == 400 and got["field"] == "history_days"
    assert console.get("/retention") == {"history_days": 180, "message_days": 180, "pending_days": 180}
    status, _, got = console.call("PUT", "/retention", {"history_days": 30})
    assert (status, got) == (200, {"history_days": 30, "message_days": 180, "pending_days": 180})
    assert console.get("/audit")["items"][0]["action"] == "retention.edit"
    now, day = int(time.time() * 1000), 86400000
    for name, days in (("old", 31), ("young", 29)):
        zone.sql("INSERT INTO device_event (id, device_id, at_ms, kind) VALUES (?, ?, ?, 'test')", name, device.ident, now - days * day)
    before = zone.sql("SELECT COUNT(*) FROM command")
    zone.run_soon("core.history")
    wait_for(lambda: zone.sql("SELECT id FROM device_event WHERE kind = 'test'") == [("young",)])
    told = wait_for(lambda: next((j["result"] for j in console.get("/jobs")["items"] if j["kind"] == "core.history" and j["result"]
                                  and j["result"]["events"]), None))  # the one before had nothing to take away
    assert told["events"] == 1 and told["commands"] == 0 and zone.sql("SELECT COUNT(*) FROM command") == before


def test_bad_input(zone, console, device):
    own = f"/devices/{device.ident}/schedule"
    for path, body, field in [("/schedule", {"refresh": {"mode": "timed", "minutes": 59}}, "refresh.minutes"),
                              ("/schedule", {"refresh": {"mode": "timed"}}, "refresh.minutes"),
                              ("/schedule", {"refresh": {"mode": "often"}}, "refresh.mode"), ("/schedule", {"lost": {"days": -1}}, "lost.days"),
                              ("/schedule", {"colour": 1}, "colour"), (own, {"lost": {"days": 3}}, "lost")]:
        assert save(console, path, body, 400)["field"] == field
    assert console.call("PUT", own, {"refresh": None})[0] == 428
    assert console.call("PUT", own, {"refresh": None}, If_Match='"999999"')[0] == 412
    assert console.call("GET", "/folders/00000000-0000-4000-8000-00000000ffff/schedule")[0] == 404
    assert console.call("GET", "/devices/00000000-0000-4000-8000-00000000ffff/schedule")[0] == 404
