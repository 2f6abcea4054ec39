"""The page of exceptions in a real browser: who could be who, and the decision by clicks (MAT-04, MAT-03, UI-05)."""
import json

import pytest

import harness
import seed

AGENT = json.dumps({"type": "iPhone", "user_agent": "Apple-iPhone12C8/1906.77", "version": "14.1"})


def told_of(console, p, size, language):
    """EAS-05: a mail app of a mail server's list has no device to go to; joined by hand it is shown on one, and can be taken back."""
    server = console.post("/eas-servers", {"name": f"Told {size[0]}", "host": "mail.example.org"})["id"]
    console.post(f"/eas-servers/{server}/discovered", {"rows": [{"user": harness.PERSON, "device_id": f"TOLDOFMAIL{size[0]}", "type": "iPhone"}]})
    told = harness.wait_for(lambda: console.get("/exceptions?origin=discovered")["items"])[0]
    words = {"en": ("Mail server’s list only", "Join", "no mail through here yet", "Part from this device"),
             "de": ("Nur Liste des Mailservers", "Zuordnen", "noch keine Mail über uns", "Von diesem Gerät trennen")}[language]
    p.open("exceptions?origin=discovered")
    p.fits()
    p.has(words[0])
    p.shot(f"exceptions-told-{size[0]}")
    p.button(words[1]).click()
    p.find("dialog button[type=submit]").click()
    harness.wait_for(lambda: not console.get("/exceptions?origin=discovered")["items"])
    on = console.get(f"/eas-servers/{server}/discovered")["items"][0]["device"]["id"]
    p.open(f"device/{on}")
    p.has(words[2])
    p.shot(f"exceptions-told-device-{size[0]}")
    p.button(words[3]).click()
    p.find("dialog button[type=submit]").click()
    harness.wait_for(lambda: console.get(f"/eas-servers/{server}/discovered")["items"][0]["device"] is None)
    assert told["device"] is None and console.call("DELETE", f"/eas-servers/{server}", If_Match='"1"')[0] == 204


@pytest.mark.parametrize("size, language", [((1280, 800), "en"), ((390, 844), "de")])
def test_join_and_part(zone, page, console, size, language):
    """Two phones of one model: the exception names both, one is chosen, and taken back on the device page."""
    anna = seed.person_id(zone, harness.PERSON)
    ids = [seed.device(zone, f"Twin {size[0]} {i}", anna, product="iPhone12,8", model="iPhone SE", build="19F77") for i in range(2)]
    for ident in ids:
        seed.record(zone, ident, person_id=anna)
    waits = seed.mail_device(zone, anna, f"LEDDJVC7GT7886JH{size[0]}", product="iPhone12,8")
    zone.sql("UPDATE source_record SET attrs = ? WHERE device_id = ?", AGENT, waits)
    assert console.call("POST", "/matching/run")[0] == 202
    harness.wait_for(lambda: [e for e in console.get("/exceptions")["items"] if e["device"]["id"] == waits])
    words = {"en": ("Join", "Several devices fit", "Part from this device"), "de": ("Zuordnen", "Mehrere Geräte passen", "Von diesem Gerät trennen")}[language]
    p = page(size=size, language=language).log_in().open("exceptions")
    p.fits()
    p.has(words[1])
    p.has("Twin")
    p.shot(f"exceptions-{size[0]}")
    p.button(words[0]).click()
    p.find("dialog select")
    p.shot(f"exceptions-join-{size[0]}")
    p.find("dialog button[type=submit]").click()
    harness.wait_for(lambda: not [e for e in console.get("/exceptions")["items"] if e["device"]["id"] == waits])
    chosen = next(i for i in ids if console.get(f"/devices/{i}")["mode"] == "ios_mdm_eas")
    p.open(f"device/{chosen}")
    p.button(words[2]).click()
    p.shot(f"exceptions-part-{size[0]}")
    p.find("dialog button[type=submit]").click()
    harness.wait_for(lambda: console.get(f"/devices/{chosen}")["mode"] == "ios_mdm")
    told_of(console, p, size, language)
    p.clean()
    for (made,) in zone.sql("SELECT id FROM device WHERE person_id = ? AND product = 'iPhone12,8'", anna):
        zone.sql("DELETE FROM source_record WHERE device_id = ?", made)
        zone.sql("DELETE FROM device WHERE id = ?", made)
