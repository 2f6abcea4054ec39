"""E-mail only in a real browser: POR-01, POR-05, POR-07."""
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import harness
from test_portal import DESKTOP, PHONE, browse, clean, find, fits, log_in, shot, wait  # noqa: F401
import seed


@pytest.fixture
def anna(zone):
    """A zone with a mail server; the person's mail devices go afterwards."""
    server = seed.mail_server(zone)
    yield seed.person_id(zone, harness.PERSON)
    zone.sql("DELETE FROM device WHERE level = 'email_only'")
    zone.sql("DELETE FROM eas_server WHERE id = ?", server)


def press(browser, key, until, most=30):
    """Presses Tab until the focus is on what `until` selects, then the key."""
    for _ in range(most):
        if browser.execute_script("return document.activeElement.matches(arguments[0])", until):
            browser.switch_to.active_element.send_keys(key)
            return
        browser.switch_to.active_element.send_keys(Keys.TAB)
    raise AssertionError(f"the keyboard does not reach {until}")


@pytest.mark.parametrize("language,dark,size", [("en", False, PHONE), ("de", True, (320, 640))])
def test_set_up_mail_on_a_phone(zone, browse, anna, language, dark, size):  # noqa: F811
    """Choose e-mail, read the settings, and see the mail app arrive by itself; the keyboard alone completes it."""
    phone = browse(size, language=language, dark=dark)
    log_in(phone, zone)
    find(phone, "#enroll").click()
    find(phone, "input[value=email]").click()
    shot(phone, f"mail-choose-{language}")
    phone.find_element(By.CSS_SELECTOR, "input[value=corporate]").click()
    phone.find_element(By.CSS_SELECTOR, "#start button[type=submit]").click()
    assert find(phone, "[data-setting=server]").text == zone.portal_url.split("/")[2]
    assert find(phone, "[data-setting=user]").text == harness.PERSON
    assert not phone.find_elements(By.CSS_SELECTOR, "[data-setting=domain]")
    find(phone, "#found .live")
    shot(phone, f"mail-settings-{language}")
    fits(phone)
    device = seed.mail_device(zone, anna, f"BROWSER{language.upper()}0001", name="iPhone Anna Example")
    find(phone, "#found [data-complete]")
    assert "iPhone Anna Example" in phone.find_element(By.ID, "found").text
    shot(phone, f"mail-found-{language}")
    fits(phone)
    press(phone, Keys.ENTER, "[data-complete]")
    find(phone, ".live.good + a.button")
    shot(phone, f"mail-done-{language}")
    assert tuple(zone.sql("SELECT state, ownership FROM device WHERE id = ?", device)[0]) == ("active", "corporate")
    phone.find_element(By.CSS_SELECTOR, ".live.good + a.button").click()
    find(phone, f"[data-id='{device}'] [data-state=active]")
    clean(phone)


def test_complete_from_my_devices(zone, browse, anna):  # noqa: F811
    """POR-01: the list shows what waits for its person, by itself, and asks whose device it is."""
    desktop = browse(DESKTOP)
    log_in(desktop, zone)
    find(desktop, "#devices")
    device = seed.mail_device(zone, anna, "BROWSERLIST1", name="Mail <b>\u202eclient</b>")
    state = find(desktop, f"[data-id='{device}'] [data-state=unfinished]")
    assert state.text == "Pending: complete enrollment"
    shot(desktop, "mail-list")
    find(desktop, f"[data-id='{device}'] .button").click()
    dialog = find(desktop, "dialog[open]")
    shot(desktop, "mail-dialog")
    assert "<b>" in dialog.text and "\u2069?" in dialog.text # isolated: the name can't turn our words round
    dialog.find_element(By.CSS_SELECTOR, ".button.second").click()
    wait(desktop, lambda: not desktop.find_elements(By.CSS_SELECTOR, "dialog"))
    assert zone.sql("SELECT state FROM device WHERE id = ?", device)[0][0] == "pending"
    find(desktop, f"[data-id='{device}'] .button").click()
    find(desktop, "dialog[open] input[value=personal]")
    press(desktop, Keys.ENTER, "dialog button[value=yes]")
    find(desktop, f"[data-id='{device}'] [data-state=active]")
    assert desktop.find_element(By.CSS_SELECTOR, ".sr[role=status]").text.endswith("is now: Active")
    shot(desktop, "mail-active")
    clean(desktop)


def test_refusal_is_read(zone, browse, anna):  # noqa: F811
    """What the policy forbids meanwhile is said, and nothing changes."""
    desktop = browse(DESKTOP)
    log_in(desktop, zone)
    device = seed.mail_device(zone, anna, "BROWSERDENY1")
    find(desktop, f"[data-id='{device}'] .button")
    zone.sql("UPDATE policy_version SET settings = REPLACE(settings, '\"eas\":true', '\"eas\":false')")
    try:
        find(desktop, f"[data-id='{device}'] .button").click()
        find(desktop, "dialog[open] button[value=yes]").click()
        assert "does not allow" in find(desktop, ".alert").text
    finally:
        zone.sql("UPDATE policy_version SET settings = REPLACE(settings, '\"eas\":false', '\"eas\":true')")
    assert zone.sql("SELECT state FROM device WHERE id = ?", device)[0][0] == "pending"


@pytest.mark.parametrize("language,dark,size", [("en", False, DESKTOP), ("de", True, (320, 640))])
def test_which_system_and_which_phone(zone, browse, anna, language, dark, size):  # noqa: F811
    """MAT-05, POR-07: the system first, then the devices of it; later again for one that could be on several; by keyboard."""
    twins = [seed.device(zone, f"Twin {i}", anna, product="iPhone12,8", model="iPhone SE") for i in range(2)]
    for ident in twins:
        seed.record(zone, ident, person_id=anna)
    unknown = seed.mail_device(zone, anna, f"BROWSERWHICH{language.upper()}", name="Outlook Anna Example", platform="unknown")
    zone.sql("UPDATE source_record SET class = 'outlook:outlook' WHERE device_id = ?", unknown)
    later = seed.mail_device(zone, anna, f"BROWSERLATER{language.upper()}", name="Mail Anna Example", state="active")
    zone.sql("UPDATE source_record SET state = 'enrolled' WHERE device_id = ?", later)
    zone.sql("INSERT INTO match_exception (record_id, person_id, code, candidates, since_ms) SELECT id, person_id, 'ambiguous', '[]', 1 FROM source_record WHERE device_id = ?", later)
    zone.sql("UPDATE policy_version SET settings = REPLACE(settings, '\"manual_reconcile\":false', '\"manual_reconcile\":true')")
    try:
        page = browse(size, language=language, dark=dark)
        log_in(page, zone)
        find(page, f"[data-id='{later}'] .button.second")
        fits(page)
        shot(page, f"which-list-{language}")
        press(page, Keys.ENTER, f"[data-id='{unknown}'] .button")
        assert len(find(page, "dialog[open]").find_elements(By.CSS_SELECTOR, "input[name=system]")) == 4
        shot(page, f"which-system-{language}")
        fits(page)
        press(page, Keys.ENTER, "dialog button[value=yes]")
        find(page, f"dialog[open] input[name=which][value='{twins[1]}']").click()
        shot(page, f"which-device-{language}")
        fits(page)
        press(page, Keys.ENTER, "dialog button[value=yes]")
        wait(page, lambda: not page.find_elements(By.CSS_SELECTOR, f"[data-id='{unknown}']"))
        assert zone.sql("SELECT mode FROM device WHERE id = ?", twins[1]) == [("ios_mdm_eas",)]
        find(page, f"[data-id='{later}'] .button.second").click()
        find(page, "dialog[open] input[value=new]").click()
        press(page, Keys.ENTER, "dialog button[value=yes]")
        wait(page, lambda: not page.find_elements(By.CSS_SELECTOR, f"[data-id='{later}'] .button.second"))
        clean(page)
    finally:
        zone.sql("UPDATE policy_version SET settings = REPLACE(settings, '\"manual_reconcile\":true', '\"manual_reconcile\":false')")
        for ident in twins:
            zone.sql("DELETE FROM source_record WHERE device_id = ?", ident)
            zone.sql("DELETE FROM device WHERE id = ?", ident)
