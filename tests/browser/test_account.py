"""Enrolment with an account in a real browser: the pages that a device shows, what the portal says, the console's settings (IOS-08, POR-03, POR-07)."""
import pytest
from selenium.common.exceptions import WebDriverException

import harness
from clients import Console, new_device
from pages import Page
from test_portal import DESKTOP, PHONE, browse, clean, find, fits, go, log_in, shot, wait  # noqa: F401


@pytest.fixture
def on(zone):
    api = Console(zone)
    assert api.call("PUT", "/enrollment-settings", {"account": {"mode": "both", "domain": ""}})[0] == 200
    yield api
    api.call("PUT", "/enrollment-settings", {"account": {"mode": "off", "domain": ""}})


@pytest.mark.parametrize("size, dark, language", [(PHONE, False, "de"), (PHONE, True, "en")])
def test_the_web_session(zone, on, browse, size, dark, language):  # noqa: F811
    """Log-in with the account filled in, a wrong password, what is agreed to, and the way back to the device: forms alone, by the policy of the page."""
    device = new_device(zone)
    base = device.discover(zone.public_url, "anna@example.org")["mdm-byod"]
    url = device.login_url(device.ask(base)[1])
    device.close()
    browser = browse(size, dark=dark, language=language)
    browser.get(url + "?user-identifier=anna%40example.org")
    assert find(browser, "#login").get_attribute("value") == "anna@example.org"
    fits(browser)
    shot(browser, f"account-login-{language}")
    find(browser, "#password").send_keys("wrong")
    go(browser, "button[type=submit]")
    assert find(browser, "[role=alert]").text and find(browser, "#login").get_attribute("value") == "anna@example.org"
    find(browser, "#password").send_keys(harness.PERSON_PASSWORD)
    go(browser, "button[type=submit]")
    wait(browser, lambda: "/start" in browser.current_url)
    assert "Anna Example" in find(browser, "main").text
    fits(browser)
    shot(browser, f"account-start-{language}")
    clean(browser)
    try:
        find(browser, "button[type=submit]").click()
    except WebDriverException:
        pass  # a browser that is no device has nothing that knows the address
    wait(browser, lambda: zone.sql("SELECT COUNT(*) FROM pending_enrollment WHERE account = 'byod' AND state = 'created'")[0][0] >= 1)
    blocked = [x for x in browser.get_log("browser") if "Content Security Policy" in x["message"]]
    assert not blocked, blocked
    zone.sql("UPDATE pending_enrollment SET state = 'cancelled' WHERE account <> ''")


def test_refused_by_name(zone, on, browse):  # noqa: F811
    """Somebody else's account is said to be that, and switched off is said."""
    browser = browse(PHONE)
    browser.get(zone.public_url + "/enroll/account/byod/login?user-identifier=ben%40example.org")
    login = find(browser, "#login")
    login.clear()
    login.send_keys(harness.PERSON)
    find(browser, "#password").send_keys(harness.PERSON_PASSWORD)
    go(browser, "button[type=submit]")
    wait(browser, lambda: "somebody else" in find(browser, "main").text)
    fits(browser)
    shot(browser, "account-other")
    on.call("PUT", "/enrollment-settings", {"account": {"mode": "off"}})
    browser.get(zone.public_url + "/enroll/account/byod/login")
    wait(browser, lambda: "not switched on" in find(browser, "main").text)


@pytest.mark.parametrize("size, language", [(PHONE, "en"), (DESKTOP, "de")])
def test_the_portal_names_the_way(zone, on, browse, size, language):  # noqa: F811
    """POR-03: the steps with the person's own account, folded; nothing of it where it is off."""
    browser = browse(size, language=language)
    log_in(browser, zone)
    browser.get(zone.portal_url + "#enroll")
    way = find(browser, "#account summary")
    assert not browser.find_element("css selector", "#account ol").is_displayed()
    way.click()
    assert "anna@example.org" in find(browser, "#account ol").text
    fits(browser)
    shot(browser, f"account-way-{size[0]}")
    on.call("PUT", "/enrollment-settings", {"account": {"mode": "off"}})
    browser.get("about:blank")
    browser.get(zone.portal_url + "#enroll")
    find(browser, "#start")
    assert not browser.find_elements("css selector", "#account")
    clean(browser)


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_console_switches_it(zone, on, size):
    """What it is, what it needs, and a domain that is none said at its field."""
    p = Page(zone, size=size).log_in().open("otps")
    try:
        p.has("Enrolment with an account")
        p.button("Set up accounts").click()
        p.find("#f-domain").send_keys("no domain")
        p.find("dialog button[type=submit]").click()
        p.find("#f-domain[aria-invalid]").clear()
        p.shot(f"account-edit-{size[0]}")
        p.find("#f-domain").send_keys("appleid.example.org")
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.has("appleid.example.org")
        p.fits()
        p.shot(f"account-{size[0]}")
        assert on.get("/enrollment-settings")["account"] == {"mode": "both", "domain": "appleid.example.org"}
        on.call("PUT", "/enrollment-settings", {"account": {"domain": ""}})
    finally:
        p.driver.quit()
