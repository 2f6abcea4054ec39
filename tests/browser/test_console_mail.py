"""The mail part of the console's device page in a real browser: DEV-04, DEV-12, MAT-03, UI-03, R24."""
import json

import pytest

import harness
import seed

AGENT = "Apple-iPhone10C5/1606.250 <script>\u202e"


@pytest.fixture(scope="module")
def devices(zone):
    """A managed device with its mail joined, and a mail client that waits for its person."""
    anna = seed.person_id(zone, harness.PERSON)
    managed = seed.device(zone, "Managed phone", anna, mode="ios_mdm_eas", last_eas_ms=seed.now_ms() - 120_000)
    seed.record(zone, managed)
    seed.record(zone, managed, kind="eas", native_id="LEDDJVC7GT7886JH9N4T9LR1Q0", person_id=anna, push_token=None, push_ok=0, **{
        "class": "native", "attrs": json.dumps({"type": "iPhone", "user_agent": AGENT, "version": "16.1"}),
        "match_rule": json.dumps({"tier": "exact", "rule": "easid", "value": "LEDDJVC7GT7886JH9N4T9LR1Q0", "at_ms": 1})})
    seed.mail_use(zone, managed)
    server = seed.mail_server(zone)
    zone.sql("INSERT INTO mail_home (person_id, server_id, accepted_ms) VALUES (?, ?, 1)", anna, server)
    return managed, seed.mail_device(zone, anna, "WAITS0000001", name="Waiting mail app")


@pytest.mark.parametrize("size, dark, language", [((1280, 800), False, "en"), ((390, 844), True, "de")])
def test_mail_on_the_device_page(zone, page, devices, size, dark, language):  # noqa: F811
    """Protocol, DeviceId, client and why it is here; what a mail client says of itself is text and nothing else."""
    managed, waiting = devices
    p = page(size=size, dark=dark, language=language).log_in().open(f"device/{managed}")
    p.has("LEDDJVC7GT7886JH9N4T9LR1Q0")
    p.has("16.1")
    p.has("73.4 MB" if language == "en" else "73,4 MB")
    p.has("<script>")
    p.has("The device itself reported this DeviceId" if language == "en" else "Das Gerät selbst hat diese DeviceId gemeldet")
    p.button("Test authentication" if language == "en" else "Anmeldung testen").click()
    assert p.find("dialog input[name=login]").get_attribute("value") == harness.PERSON
    p.find("dialog .foot button").click()
    p.driver.execute_script("[...document.querySelectorAll('h2')].find((e) => e.textContent === 'ActiveSync').scrollIntoView()")
    p.shot(f"mail-{size[0]}")
    p.fits()
    p.open(f"device/{waiting}")
    p.has("no mail passes" if language == "en" else "keine Mail durch")
    p.shot(f"mail-waits-{size[0]}")
    p.fits()
    p.clean()


def test_retire_a_mail_device_from_the_console(zone, page, devices):  # noqa: F811
    """DEV-12: an active mail-only device has no management to leave; it is retired, and its mail stops."""
    anna = seed.person_id(zone, harness.PERSON)
    seed.mail_server(zone)
    device = seed.mail_device(zone, anna, "RETIRECONS01", name="Old mail app", state="active")
    zone.sql("UPDATE source_record SET state = 'enrolled' WHERE device_id = ?", device)
    p = page().log_in().open("devices?cols=mode,last_eas")
    p.has("Last ActiveSync contact")
    p.shot("mail-list")
    p.open(f"device/{device}")
    p.has("Mail flows while the device is active")
    p.button("Retire").click()
    p.button("Retire", "dialog").click()
    p.closed()
    p.has("Stopped")
    assert tuple(zone.sql("SELECT d.state, d.mode, r.state FROM device d JOIN source_record r ON r.device_id = d.id WHERE d.id = ?",
                          device)[0]) == ("retired", "unknown", "left")
    p.open(f"device/{device}?tab=timeline")
    p.has("Mail stopped")
    p.clean()


@pytest.mark.parametrize("size, dark, language", [((1280, 800), False, "en"), ((390, 844), True, "de")])
def test_wipe_by_mail_from_the_console(zone, page, size, dark, language):  # noqa: F811
    """PRV-03, DEV-12, UI-03: the acts of a device that only mail knows; asked with its name typed, seen, taken back until its app was told."""
    german, anna = language == "de", seed.person_id(zone, harness.PERSON)
    name = f"Wiped by mail {size[0]}"
    device = seed.mail_device(zone, anna, f"WIPECONSOLE{size[0]}", name=name, state="active")
    zone.sql("UPDATE source_record SET state = 'enrolled' WHERE device_id = ?", device)
    seed.mail_server(zone)
    p = page(size=size, dark=dark, language=language).log_in().open(f"device/{device}")
    actions, erase, back = ("Aktionen", "Alles löschen", "Abmeldung zurücknehmen") if german else ("Actions", "Erase everything", "Take the removal back")
    p.button(actions).click()
    p.has("16.1", "dialog")
    p.shot(f"wipe-menu-{size[0]}")
    p.button(erase, "dialog").click()
    p.find("#f-typed").send_keys(name)
    p.shot(f"wipe-mail-{size[0]}")
    p.fits()
    p.button(erase, "dialog .foot").click()
    p.closed()
    p.has("Löschen steht aus" if german else "Wipe pending")
    p.shot(f"wipe-asked-{size[0]}")
    p.button(actions).click()
    p.button(back, "dialog").click()
    p.closed()
    p.has("Mail fließt" if german else "Mail flows")
    assert zone.sql("SELECT d.state, r.state FROM device d JOIN source_record r ON r.device_id = d.id WHERE d.id = ?", device) == [("active", "enrolled")]
    p.clean()


@pytest.mark.parametrize("size, language", [((1280, 800), "en"), ((390, 844), "de")])
def test_silent_mail_apps_are_cleaned_up(zone, page, size, language):  # noqa: F811
    """PXY-06: those that have been silent for long enough are shown; one is chosen and retired, then all others go."""
    anna = seed.person_id(zone, harness.PERSON)
    ids = [seed.mail_device(zone, anna, f"SILENT{size[0]}{i}", name=f"Silent app {i}", state="active") for i in range(3)]
    for days, ident in zip((45, 70, 400), ids):
        seed.mail_use(zone, ident, days)
    words = {"en": ("Clean up", "Clean up all"), "de": ("Aufräumen", "Alle aufräumen")}[language]
    p = page(size=size, language=language).log_in().open("stale?days=60")
    p.has("Silent app 2")
    assert "Silent app 0" not in p.find("#main").text
    p.shot(f"stale-{size[0]}")
    p.fits()
    p.find("tbody tr input[type=checkbox]").click()
    p.button(words[0]).click()
    p.find("dialog input[value=retire]")
    p.shot(f"stale-end-{size[0]}")
    p.find("dialog button[type=submit]").click()
    harness.wait_for(lambda: zone.sql("SELECT state FROM device WHERE id = ?", ids[2]) == [("retired",)])
    p.open("stale")
    p.has("Silent app 1")
    p.button(words[1]).click()
    p.find("dialog input[value=delete]").click()
    p.find("dialog button[type=submit]").click()
    harness.wait_for(lambda: zone.sql("SELECT COUNT(*) FROM device WHERE id IN (?, ?)", *ids[:2]) == [(0,)])
    p.clean()
