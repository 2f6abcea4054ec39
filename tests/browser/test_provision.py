"""Enrolments for others in a real browser: what enrolling needs, provisioning, one-time passwords, codes (PEN-01..03, PEN-07, PEN-09, UI-05)."""
import re
import time

import pytest

import harness
import seed
from clients import AUTHORISER
from selenium.webdriver.common.by import By

BOTH = pytest.mark.parametrize("size, language", [((1280, 800), "en"), ((390, 844), "de")])


@BOTH
def test_settings(zone, page, console, size, language):
    """PEN-03, PEN-07, PEN-09, POR-02: changed by clicks; what is wrong is said at its field."""
    before, en = console.get("/otp-settings"), language == "en"
    p = page(size=size, language=language).log_in().open("otps")
    p.fits()
    p.has("Digits" if en else "Ziffern")
    try:
        p.button("Edit" if en else "Bearbeiten").click()
        p.find("#f-length").clear()
        p.find("#f-length").send_keys("20")
        p.find("dialog button[type=submit]").click()
        p.find("#f-length[aria-invalid]").clear()
        p.shot(f"otps-edit-{size[0]}")
        p.find("#f-length").send_keys("10")
        p.find("#f-alphabet").send_keys("Letters and" if en else "Buchstaben und")
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.has("Letters and digits" if en else "Buchstaben und Ziffern")
        assert (console.get("/otp-settings")["length"], console.get("/otp-settings")["alphabet"]) == (10, "both")
        p.button("Change address" if en else "Adresse ändern").click()
        p.find("#f-public_url").send_keys("https://go.example.org/path")
        p.find("dialog button[type=submit]").click()
        p.find("#f-public_url[aria-invalid]").clear()
        p.find("#f-public_url").send_keys("https://go.example.org")
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.has("https://go.example.org/enroll/")
        p.button("Set agent" if en else "Agenten eintragen").click()
        for field, value in (("component", "org.example.agent/.AdminReceiver"), ("url", "https://mdm.example.org/agent.apk"), ("checksum", "9f"), ("extras", "no equals sign")):
            p.find(f"#f-{field}").send_keys(value)
        p.find("dialog button[type=submit]").click()
        p.find("#f-extras[aria-invalid]").clear()
        p.find("#f-extras").send_keys("mdm.server_url=${server.url}\nmdm.token=${enrol.token}")
        p.find("dialog button[type=submit]").click()
        p.find("#f-checksum[aria-invalid]").send_keys("9f" * 31)
        p.shot(f"otps-agent-{size[0]}")
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.has("mdm.token=${enrol.token}")
        p.fits()
        p.shot(f"otps-{size[0]}")
        p.button("Remove agent" if en else "Agenten entfernen").click()
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.button("Set agent" if en else "Agenten eintragen")
        assert len([x for x in p.driver.get_log("browser") if " 400 " in x["message"]]) == 3
        p.clean()
    finally:
        console.call("PUT", "/otp-settings", before)
        console.call("PUT", "/enrollment-settings", {"public_url": "", "agent": None})


def made(zone, console, **more):
    return console.post("/pending", {"person_id": seed.person_id(zone, harness.PERSON), "authoriser": AUTHORISER, **more})


def choose_anna(p):
    """The only one of the list; the answer to what was typed last may still draw it anew."""
    def chosen():
        found = p.driver.find_elements(By.CSS_SELECTOR, "dialog .hits button")
        if not p.driver.find_elements(By.CSS_SELECTOR, "dialog .picked li") and len(found) == 1 and "Anna Example" in found[0].text:
            found[0].click()
        return p.driver.find_elements(By.CSS_SELECTOR, "dialog .picked li")
    p.until(chosen)


@BOTH
def test_provision(zone, page, console, size, language):
    """PEN-01, PEN-02: a person is found by name, the authoriser checked; then password, link and code are shown, hidden from the address, and replaced."""
    en = language == "en"
    p = page(size=size, language=language).log_in().open("pending?state=open")
    p.button("Provision user" if en else "Registrierung vorbereiten").click()
    p.find("dialog button[type=submit]").click()
    p.find("#f-person_id[aria-invalid]").send_keys("Anna")
    choose_anna(p)
    p.find("#f-phone").send_keys("+49 170 1234567")
    p.find("#f-authoriser-login").send_keys(AUTHORISER["login"])
    p.find("#f-authoriser-password").send_keys(AUTHORISER["password"])
    p.driver.execute_script("document.querySelector('dialog').scrollTo(0, 0)")
    p.shot(f"provision-{size[0]}")
    p.find("dialog button[type=submit]").click()
    shown = p.text("#otp").replace(" ", "")
    assert re.fullmatch("[0-9]{8}", shown)
    code = p.find("dialog img.qr")
    p.until(lambda: code.get_property("naturalWidth") > 0)
    assert code.get_attribute("src").endswith("qr.svg?otp=1")
    p.shot(f"otp-{size[0]}")
    p.find("dialog input[type=checkbox]").click()
    p.until(lambda: code.get_attribute("src").endswith("qr.svg") and code.get_property("naturalWidth") > 0)
    assert shown not in p.driver.current_url
    p.find("dialog .foot button").click()
    p.closed()
    p.has("+491701234567")
    p.until(lambda: re.fullmatch(r"[12] ?\S+ \d+ ?\S+", p.text("time.left")))  # days and hours of 72 hours
    one = console.get("/pending?state=open")["items"][0]
    p.find("#q-token").send_keys("too-sho\n")
    assert p.driver.execute_script("return document.getElementById('q-token').validationMessage") and "token" not in p.driver.current_url
    p.find("#q-token").clear()
    p.find("#q-token").send_keys(console.get(f"/pending/{one['id']}/link")["link"] + "\n")
    p.until(lambda: p.driver.current_url.endswith(f"token={one['token']}"))  # the rest of a link stays out of histories
    p.until(lambda: p.find("#q-token").get_property("value") == one["token"])
    p.has(one["token"])
    zone.sql("UPDATE pending_enrollment SET state = 'issued', step = '{\"created\": 1, \"issued\": 2}' WHERE id = ?", one["id"])
    p.until(lambda: "finished" in p.text(".stalled") if en else "fertig" in p.text(".stalled"))  # by itself
    p.fits()
    p.shot(f"pending-{size[0]}")
    p.button("Actions" if en else "Aktionen").click()
    p.shot(f"pending-actions-{size[0]}")
    p.button("Reset OTP" if en else "Neues Einmalpasswort", "dialog .menu").click()
    p.until(lambda: p.driver.find_elements(By.CSS_SELECTOR, "#f-notify"))
    p.find("#f-notify").click()
    p.find("dialog button[type=submit]").click()
    p.until(lambda: p.text("#otp").replace(" ", "") != shown)
    p.until(lambda: not p.driver.find_elements(By.CSS_SELECTOR, ".stalled"))
    p.driver.execute_script("document.querySelector('dialog').close()")
    p.closed()
    p.clean()
    for one in console.get("/pending?state=open&limit=200")["items"]:
        console.post(f"/pending/{one['id']}/cancel")


@BOTH
def test_for_one_device_and_later(zone, page, console, size, language):
    """PEN-01, PEN-06, ADE-08: a serial number and a time are given by the clock of the browser; the list tells both."""
    en, later = language == "en", time.time() + 40 * 86400
    p = page(size=size, language=language).log_in().open("pending?state=open")
    p.button("Provision user" if en else "Registrierung vorbereiten").click()
    p.find("#f-person_id").send_keys("Anna")
    choose_anna(p)
    p.find("#f-serial").send_keys("UNKNOWN")
    p.find("#f-authoriser-login").send_keys(AUTHORISER["login"])
    p.find("#f-authoriser-password").send_keys(AUTHORISER["password"])
    p.driver.execute_script("document.getElementById('f-valid_from').value = arguments[0]", time.strftime("%Y-%m-%dT%H:%M", time.localtime(later)))
    p.find("dialog button[type=submit]").click()
    p.find("#f-serial[aria-invalid]").clear()
    p.find("#f-serial").send_keys("c02-abc 123")
    p.shot(f"provision-later-{size[0]}")
    p.find("dialog button[type=submit]").click()
    p.find("#otp")
    p.find("dialog .foot button").click()
    p.closed()
    p.has("Only C02ABC123" if en else "Nur C02ABC123")
    one = console.get("/pending?state=open")["items"][0]
    assert one["serial"] == "C02ABC123" and one["valid_from"][:16] == time.strftime("%Y-%m-%dT%H:%M", time.gmtime(later))
    p.has("From" if en else "Ab")
    p.fits()
    p.shot(f"pending-later-{size[0]}")
    console.call("POST", f"/pending/{one['id']}/cancel")
    assert len([x for x in p.driver.get_log("browser") if " 400 " in x["message"]]) == 1


def test_secrets_go_by_themselves(zone, page, console):
    """PEN-02: what shows a one-time password closes itself if nobody touches it; a touch begins the time anew."""
    one = made(zone, console)
    p = page().log_in().open("overview")
    p.driver.execute_script("window.tick = []; const real = window.setInterval; window.setInterval = (f, ms) => { if (ms === 1000) window.tick.push(f); return real(f, 1e9); }")
    p.driver.execute_script("location.hash = '#/pending'")
    p.button("View OTP").click()
    p.find("#otp")
    p.driver.execute_script("for (let i = 0; i < 100; i++) tick.forEach((f) => f())")
    p.has("0:20", "dialog")
    p.find("#otp").click()
    p.has("2:00", "dialog")
    p.driver.execute_script("for (let i = 0; i < 120; i++) tick.forEach((f) => f())")
    p.closed()
    p.clean()
    console.post(f"/pending/{one['id']}/cancel")


@BOTH
def test_device_owner(zone, page, console, size, language):
    """PEN-07: the code for a factory-fresh Android device: what is wrong is said at its field; the code is a picture, with a warning for the network's password."""
    en = language == "en"
    console.call("PUT", "/enrollment-settings", {"agent": {"component": "org.example.agent/.AdminReceiver", "url": "https://mdm.example.org/agent.apk", "checksum": "9f" * 32}})
    one = made(zone, console, platform="unknown")
    try:
        p = page(size=size, language=language).log_in().open("pending?platform=unknown")
        p.button("Actions" if en else "Aktionen").click()
        p.button("Code for a new Android device" if en else "Code für ein neues Android-Gerät", "dialog .menu").click()
        p.find("#f-wifi_ssid").send_keys("Büro")
        p.find("#f-wifi_password").send_keys("short")
        p.find("dialog button[type=submit]").click()
        p.find("#f-wifi_password[aria-invalid]").send_keys("-but-longer")
        p.driver.get_log("browser")
        p.shot(f"owner-form-{size[0]}")
        p.find("dialog button[type=submit]").click()
        code = p.find("dialog svg.qr")
        assert code.size["width"] > 200 and code.get_attribute("aria-label")
        p.has("password of the network" if en else "Passwort des Netzes", "dialog")
        p.fits()
        p.shot(f"owner-{size[0]}")
        p.find("dialog .foot button").click()
        p.closed()
        p.clean()
    finally:
        console.post(f"/pending/{one['id']}/cancel")
        console.call("PUT", "/enrollment-settings", {"agent": None})
