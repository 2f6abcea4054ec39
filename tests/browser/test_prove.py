"""The page on which a link asks for a one-time password, in a real browser (PEN-03, PEN-04, PEN-09, POR-02, POR-07)."""
import pytest
from selenium.webdriver.common.by import By

import harness
import seed
from clients import Console
from test_portal import DESKTOP, PHONE, browse, clean, find, fits, go, log_in, shot, wait  # noqa: F401


@pytest.fixture
def made(zone):
    """An enrolment for somebody: the console's client, its id, its link and its one-time password."""
    api = Console(zone)
    before = api.get("/otp-settings")
    api.call("PUT", "/otp-settings", {"authorise": False})
    one = api.post("/pending", {"person_id": seed.person_id(zone, harness.PERSON), "platform": "ios"})
    yield api, one["id"], one["link"], api.post(f"/pending/{one['id']}/otp")["otp"]
    api.call("POST", f"/pending/{one['id']}/cancel")
    api.call("PUT", "/otp-settings", before)


def test_the_fragment_opens_the_link(made, browse):  # noqa: F811
    """PEN-09: the password behind the # is entered by the page and leaves the address; the link opened again needs nothing."""
    _, _, link, otp = made
    phone = browse(PHONE)
    phone.get(f"{link}#{otp}")
    find(phone, "#link #steps")
    assert otp not in phone.current_url and "#" not in phone.current_url
    phone.get("about:blank")
    phone.get(link)
    find(phone, "#link #steps")
    clean(phone)


@pytest.mark.parametrize("size, dark, language", [(PHONE, False, "de"), (DESKTOP, True, "en")])
def test_typed(made, browse, size, dark, language):  # noqa: F811
    """A wrong one is said so, the right one goes on; with "both" the fragment is entered, and the log-in is asked for."""
    api, ident, link, otp = made
    browser = browse(size, dark=dark, language=language)
    browser.get(link)
    find(browser, "#otp").send_keys("1")
    shot(browser, f"prove-{size[0]}")
    fits(browser)
    go(browser, "button[type=submit]")
    assert find(browser, "[role=alert]").text
    shot(browser, f"prove-wrong-{size[0]}")
    api.call("PUT", "/otp-settings", {"ios": "both"})
    try:
        browser.get("about:blank")
        browser.get(f"{link}#{otp}")
        wait(browser, lambda: find(browser, "#otp").get_attribute("value") == otp)
        find(browser, "#login").send_keys(harness.PERSON)
        find(browser, "#password").send_keys(harness.PERSON_PASSWORD)
        fits(browser)
        go(browser, "button[type=submit]")
        find(browser, "#link #steps")
    finally:
        api.call("PUT", "/otp-settings", {"ios": "either"})
    clean(browser)


def test_the_portal_asks_for_a_phone(zone, made, browse):  # noqa: F811
    """POR-02: a required number that is none is said at once; a good one leads on."""
    api = made[0]
    api.call("PUT", "/otp-settings", {"phone": "required"})
    try:
        phone = browse(PHONE)
        log_in(phone, zone)
        phone.get(zone.portal_url + "#enroll")
        find(phone, "#phone").clear()
        find(phone, "#phone").send_keys("+49 30 1234567")
        shot(phone, "portal-phone")
        fits(phone)
        go(phone, "#start button[type=submit]")
        find(phone, "#link #steps")
        assert zone.sql("SELECT phone FROM pending_enrollment WHERE origin = 'self' AND phone <> ''") == [("+49301234567",)]
        assert not phone.find_elements(By.ID, "prove")
    finally:
        api.call("PUT", "/otp-settings", {"phone": "off"})
        zone.sql("UPDATE pending_enrollment SET state = 'cancelled' WHERE origin = 'self'")
