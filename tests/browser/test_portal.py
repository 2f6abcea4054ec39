"""The portal in a real browser: POR-01, POR-02, POR-03, POR-07, UI-02, UI-03."""
import os
import sys
import time
from pathlib import Path

import pytest
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "it")]
import harness  # noqa: E402
from chromium import Found, chromium  # noqa: E402
from sim.device import Device  # noqa: E402

PHONE, DESKTOP = (390, 844), (1280, 800)
SHOTS = os.environ.get("MDM_SHOTS")  # a folder for pictures of the pages


@pytest.fixture
def browse():
    made = []

    def make(size, **kw):
        made.append(chromium(size, **kw))
        return made[-1]
    yield make
    for browser in made:
        browser.quit()


def shot(browser, name):
    if SHOTS:
        browser.save_screenshot(f"{SHOTS}/{name}.png")


def wait(browser, what, timeout=harness.PATIENCE):
    return WebDriverWait(browser, timeout, 0.1, ignored_exceptions=(NoSuchElementException, StaleElementReferenceException)).until(lambda _: what())


def first(browser, css):
    return wait(browser, lambda: next(iter(browser.find_elements(By.CSS_SELECTOR, css)), None))


def find(browser, css):
    """It may be drawn anew before it is used."""
    return Found(first(browser, css), lambda: first(browser, css))


def gone(element):
    """True once the element's page is; while it goes, the driver has several ways to say so."""
    try:
        element.is_enabled()
    except WebDriverException:
        return True
    return False


def go(browser, css):
    """Clicks what leads to another page and waits until this one is gone."""
    page = browser.find_element(By.TAG_NAME, "html")
    first(browser, css).click()
    wait(browser, lambda: gone(page))


def fits(browser):
    """No sideways scrolling."""
    assert browser.execute_script("return document.documentElement.scrollWidth <= document.documentElement.clientWidth"), \
        browser.current_url


def clean(browser):
    entries = [x for x in browser.get_log("browser") if x["level"] in ("SEVERE", "WARNING")]
    assert not entries, entries


def log_in(browser, zone):
    browser.get(zone.portal_url)
    find(browser, "#login").send_keys(harness.PERSON)
    browser.find_element(By.ID, "password").send_keys(harness.PERSON_PASSWORD)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    find(browser, "#app h1")


IPHONE = ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.6 "
          "Mobile/15E148 Safari/604.1")


def test_enrol_on_a_phone(zone, browse):
    """Log in at phone size, enrol, and see the state change by itself on the link page and in My devices."""
    phone, watcher = browse(PHONE, agent=IPHONE), browse(PHONE)
    phone.get(zone.portal_url)
    find(phone, "#login")
    shot(phone, "login")
    fits(phone)
    log_in(phone, zone)
    find(phone, "#devices.empty")
    shot(phone, "empty")
    find(phone, "#enroll").click()
    find(phone, "#start button[type=submit]")
    shot(phone, "choose")
    fits(phone)
    phone.find_element(By.CSS_SELECTOR, "#start button[type=submit]").click()
    profile = find(phone, "#profile").get_attribute("href")
    assert not phone.find_element(By.ID, "other").is_displayed()
    find(phone, ".step.now[data-step=trust]")
    shot(phone, "link-trust")
    fits(phone)
    assert not phone.find_element(By.ID, "profile").is_displayed()
    zone.request("GET", phone.find_element(By.ID, "trust").get_attribute("href").removeprefix(zone.portal_url.split("/portal")[0]))
    find(phone, ".step.done[data-step=trust] + .step.now[data-step=download]")
    assert "trust profile" in phone.find_element(By.ID, "live").text
    assert phone.find_element(By.CSS_SELECTOR, "[data-step=trust] .how").is_displayed()  # how to install it is still to be read
    shot(phone, "link")
    fits(phone)

    log_in(watcher, zone)
    find(watcher, "[data-pending] [data-state=unfinished]")
    shot(watcher, "unfinished")
    device = Device(str(zone.tls_dir / "ca.pem"), seed=7)
    device.install(device.open_link(profile))
    find(phone, "#link[data-state=issued]")
    shot(phone, "issued")
    device.authenticate()
    device.token_update()
    find(phone, "#link[data-state=completed]")
    find(phone, "#finished .button")
    shot(phone, "completed")
    find(watcher, "#devices [data-id] [data-state=active]")
    assert "Anna Example" in find(watcher, "#devices [data-id] h2").text
    shot(watcher, "devices")
    fits(watcher)
    phone.find_element(By.CSS_SELECTOR, "#finished .button").click()
    find(phone, "#devices [data-id] .danger").click()
    find(phone, "dialog[open]")
    shot(phone, "unenrol")
    for browser in (phone, watcher):
        clean(browser)


def test_desktop_shows_the_code(zone, browse):
    """On a desktop the link page offers its QR code; dark mode and German as the browser says."""
    desktop = browse(DESKTOP, language="de", dark=True)
    log_in(desktop, zone)
    assert find(desktop, "#app h1").text == "Meine Geräte"
    find(desktop, "#devices")
    time.sleep(0.3)
    shot(desktop, "desktop-devices")
    find(desktop, "#enroll").click()
    find(desktop, "#start button[type=submit]")
    shot(desktop, "desktop-choose")
    desktop.find_element(By.CSS_SELECTOR, "#start button[type=submit]").click()
    code = find(desktop, "#other img")
    wait(desktop, lambda: code.is_displayed() and desktop.execute_script("return arguments[0].naturalWidth > 0", code))
    shot(desktop, "desktop-link")
    background = desktop.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(19, 23, 22)"
    find(desktop, "#trusted").send_keys("\ue007")  # who has enrolled before goes on at once, by keyboard too
    assert find(desktop, ".step.now[data-step=download] #profile").is_displayed()
    assert desktop.switch_to.active_element.get_attribute("id") == "profile"
    assert not desktop.find_element(By.CSS_SELECTOR, "[data-step=trust] .how").is_displayed()
    shot(desktop, "desktop-link-trusted")
    clean(desktop)


@pytest.mark.parametrize("language", ["en", "de"])
def test_320_px_and_names_for_all(zone, browse, language):
    """POR-07, UI-03: 320 px wide without sideways scrolling; every control has a name; the keyboard reaches the button."""
    narrow = browse((320, 640), language=language)
    narrow.get(zone.portal_url)
    find(narrow, "#login")
    fits(narrow)
    log_in(narrow, zone)
    find(narrow, "#devices")
    fits(narrow)
    shot(narrow, f"narrow-{language}")
    nameless = narrow.execute_script("""
        return [...document.querySelectorAll("a, button, input")].filter((node) =>
            !(node.innerText || node.getAttribute("aria-label") || node.labels?.length)).map((node) => node.outerHTML)""")
    assert nameless == []
    assert narrow.execute_script("return document.documentElement.lang") == language
    assert narrow.execute_script("return document.querySelectorAll('h1').length") == 1
    order = []
    for _ in range(8):
        narrow.switch_to.active_element.send_keys("\ue004")
        order.append(narrow.execute_script("return document.activeElement.id"))
    assert "enroll" in order
    clean(narrow)


def test_log_in_without_scripts(zone, browse):
    """Log-in and the start of an enrolment are plain forms: they work when scripts don't run."""
    plain = browse(PHONE, scripts=False)
    plain.get(zone.portal_url)
    find(plain, "#login").send_keys(harness.PERSON)
    plain.find_element(By.ID, "password").send_keys("wrong-Pass")
    go(plain, "button[type=submit]")
    assert find(plain, ".alert").text == "User name or password is wrong."
    shot(plain, "wrong")
    plain.find_element(By.ID, "password").send_keys(harness.PERSON_PASSWORD)
    go(plain, "button[type=submit]")
    go(plain, "noscript .button, .card .button")
    go(plain, "form[action$='/start'] button")
    assert "/profile.mobileconfig" in find(plain, "#profile").get_attribute("href")
    shot(plain, "plain-link")


def test_refresh_and_offline(zone, browse):
    """POR-01, POR-07: refreshing says that it did and keeps the focus; that the server can't be reached is said as long as it holds; not in English to others."""
    phone = browse(PHONE, language="de")
    log_in(phone, zone)
    find(phone, "#devices")
    refresh = find(phone, ".head button")
    refresh.send_keys("\ue007")
    wait(phone, lambda: phone.execute_script("return document.querySelector('#app .sr').textContent") == "Auf dem neuesten Stand.")
    wait(phone, lambda: phone.switch_to.active_element == refresh)
    phone.execute_script("window.real = window.fetch; window.fetch = () => Promise.reject(new Error('away'))")
    refresh.click()
    assert "nicht erreichbar" in find(phone, ".alert[data-offline]").text
    shot(phone, "offline")
    phone.execute_script("window.fetch = window.real")
    refresh.click()
    wait(phone, lambda: not phone.find_elements(By.CSS_SELECTOR, ".alert"))
    clean(phone)
