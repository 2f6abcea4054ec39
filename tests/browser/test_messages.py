"""Messages and identities in the console (DEV-03, IOS-06, UI-05): filtered, acknowledged, deleted by clicks."""
from selenium.webdriver.common.by import By

import seed
from clients import enrolled
from pages import Page

ADD = "INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text) VALUES (?, 'device', ?, ?, ?, ?, ?)"


def rows(p, count):
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == count)


def test_messages_by_clicks(zone):
    device = seed.device(zone, "Till \u202e1")
    for n in range(4):
        zone.sql(ADD, f"00000000-0000-4000-8000-0000000e{n:04d}", device, seed.now_ms() + n, 1 + n % 3, f"t.{n}", f"<b>trouble {n}</b>")
    p = Page(zone)
    try:
        p.log_in().open("messages")
        rows(p, 4)
        p.has("<b>trouble 3</b>")
        p.shot("messages")
        p.find("#q-severity option[value='3']").click()
        rows(p, 1)
        p.button("Acknowledge", "tbody").click()
        p.has("No open messages.")
        p.open("messages")
        rows(p, 3)
        p.button("Acknowledge all").click()
        p.button("Acknowledge all", "dialog").click()
        p.closed()
        p.has("No open messages.")
        p.open("messages?open=0")
        rows(p, 4)
        p.button("Delete", "tbody").click()
        rows(p, 3)
        p.clean()
    finally:
        p.driver.quit()


def test_identities_on_a_phone(zone):
    enrolled(zone)
    p = Page(zone, size=(390, 844), dark=True)
    try:
        p.log_in().open("identities?days=3650")
        rows(p, 1)
        p.has("Not due")
        p.shot("identities-phone")
        p.open("messages?open=0")
        p.shot("messages-phone")
        assert p.driver.execute_script("return document.documentElement.scrollWidth") <= 390
        p.clean()
    finally:
        p.driver.quit()
