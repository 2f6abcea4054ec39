"""An Android device in the portal, in a real browser: POR-01, POR-02, POR-04, POR-07."""
import pytest
from selenium.webdriver.common.keys import Keys

import harness
import seed
from clients import AUTHORISER
from test_portal import DESKTOP, PHONE, browse, clean, find, fits, go, log_in, shot, wait  # noqa: F401

PIXEL = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"
AGENT = {"component": "org.example.agent/.AdminReceiver", "url": "https://files.example.org/agent.apk", "checksum": "9f" * 32}


@pytest.fixture(autouse=True)
def agent(zone, console):
    assert console.call("PUT", "/enrollment-settings", {"agent": AGENT})[0] == 200
    yield
    console.call("PUT", "/enrollment-settings", {"agent": None})
    for one in console.get("/pending?state=open&limit=200")["items"]:
        console.post(f"/pending/{one['id']}/cancel")


def start(browser, zone, whose="personal"):
    """From My devices to the page of the link, by keyboard only."""
    log_in(browser, zone)
    find(browser, "#enroll").send_keys(Keys.ENTER)
    find(browser, "#start input[value=android]:not(:disabled)").send_keys(Keys.SPACE)
    find(browser, f"#start input[value={whose}]").send_keys(Keys.SPACE)
    find(browser, "#start button[type=submit]").send_keys(Keys.ENTER)
    find(browser, "#link #agent")


@pytest.mark.parametrize("size, language, dark", [(PHONE, "en", False), ((320, 640), "de", True)])
def test_on_the_phone_itself(zone, browse, size, language, dark):  # noqa: F811
    """POR-04, POR-07: what to install and to enter, with buttons that copy, what is asked for and why; no code that the phone can't read itself."""
    phone = browse(size, language=language, dark=dark, agent=PIXEL)
    start(phone, zone)
    fits(phone)
    assert find(phone, "#agent").get_attribute("href") == AGENT["url"]
    assert find(phone, "#open").get_attribute("href").startswith("intent://") and not phone.find_elements("id", "owner")
    assert not phone.find_element("id", "other").is_displayed()
    rows = [x.text for x in phone.find_elements("css selector", ".settings dd span")]
    assert rows == [zone.public_url, "anna"]
    copy = find(phone, ".settings [data-copy]")
    said = copy.text
    copy.send_keys(Keys.ENTER)
    wait(phone, lambda: copy.text != said or phone.execute_script("return String(getSelection())") == rows[0])
    assert "Server" in copy.get_attribute("aria-label")
    shot(phone, f"android-{size[0]}-{language}")
    find(phone, "#why summary").send_keys(Keys.ENTER)
    assert len([x for x in phone.find_elements("css selector", "#why dd") if x.is_displayed() and x.text]) == 6
    phone.execute_script("document.getElementById('why').scrollIntoView()")
    shot(phone, f"android-why-{size[0]}-{language}")
    fits(phone)
    clean(phone)


def test_on_a_computer(zone, browse, console):  # noqa: F811
    """POR-04: the code for the phone; of the organisation's own device the one for its welcome screen, too; the page sees when it is over."""
    desktop = browse(DESKTOP)
    start(desktop, zone, "corporate")
    code = find(desktop, "#other img")
    wait(desktop, lambda: code.is_displayed() and code.get_property("naturalWidth") > 0)
    assert not desktop.find_elements("id", "open")
    find(desktop, "#owner summary").send_keys(Keys.ENTER)
    new = find(desktop, "#owner img")
    wait(desktop, lambda: new.is_displayed() and new.get_property("naturalWidth") > 0)
    shot(desktop, "android-desktop")
    fits(desktop)
    mine = console.get("/pending?state=open&platform=android")["items"][0]
    console.post(f"/pending/{mine['id']}/cancel")
    find(desktop, "#live.bad")
    assert not desktop.find_element("id", "steps").is_displayed()
    assert find(desktop, "#finished a").get_attribute("href") == zone.portal_url
    shot(desktop, "android-over")
    clean(desktop)


@pytest.mark.parametrize("size, language, scripts", [(DESKTOP, "en", True), (PHONE, "de", False)])
def test_a_link_for_any_platform(zone, browse, console, size, language, scripts):  # noqa: F811
    """PEN-09, POR-07: on a computer the code to go on with, or a choice; the one-time password of the address goes along with it. Without scripts, too."""
    made = console.post("/pending", {"person_id": seed.person_id(zone, harness.PERSON), "platform": "unknown", "ownership": "personal", "authoriser": AUTHORISER})
    otp = console.post(f"/pending/{made['id']}/otp")["otp"]
    browser = browse(size, language=language, scripts=scripts)
    browser.get(f"{made['link']}#{otp}")
    code = find(browser, "#other img")
    wait(browser, lambda: code.is_displayed())
    if scripts:
        wait(browser, lambda: "#" not in browser.current_url and code.get_property("naturalWidth") > 0)
    fits(browser)
    shot(browser, f"choose-{size[0]}")
    go(browser, "[href*='on=ios']")
    if scripts:  # the page has entered it
        find(browser, "#link #profile")
        assert otp not in browser.current_url
    else:
        find(browser, "#otp").send_keys(otp)
        go(browser, "button[type=submit]")
        find(browser, "#link #profile")
    assert find(browser, "#other img").is_displayed()
    shot(browser, f"choose-ios-{size[0]}")
    fits(browser)
    clean(browser)
