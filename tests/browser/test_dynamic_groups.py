"""Dynamic groups in the console (DEV-01, UI-03, UI-05): criteria built by clicks, tried out, changed, refreshed; deeper ones kept as they are."""
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import seed
from harness import wait_for
from test_policies import choose, write

HOSTILE = "<img src=x onerror=alert(1)> \u202eevil"


@pytest.fixture(scope="module")
def tills(zone, console):
    folder = console.post("/folders", {"name": "Tills"})["id"]
    for n, version in enumerate(("16.4", "17.5", "18.1")):
        seed.device(zone, f"{HOSTILE} {n}", folder_id=folder, os_version=version, supervised=n % 2)
    seed.device(zone, "Elsewhere", os_version="18.2")
    return folder


def nth(p, css, n, text):
    p.until(lambda: Select(p.driver.find_elements(By.CSS_SELECTOR, css)[n]).select_by_visible_text(text) or True)


def row_button(p, name, label):
    p.until(lambda: p.driver.find_element(By.XPATH, f"//tr[contains(., '{name}')]//button[normalize-space()='{label}']").click() or True)


def test_criteria_by_clicks(zone, page, console, tills):
    p = page().log_in().open("groups")
    p.button("New dynamic group").click()
    write(p, "name", "New systems")
    choose(p, "#f-base", "Folder")
    nth(p, "dialog select", 1, "\u2003Tills")
    p.find("dialog .condition input").send_keys("17")
    p.button("Add conditions in brackets", "dialog").click()
    nth(p, "dialog .joined .joined select", 0, "None of these")
    nth(p, "dialog .joined .joined select", 1, "Supervised")
    p.button("Show matching devices", "dialog").click()
    p.has("1 of 3 devices match", "dialog")
    p.has("<img src=x", "dialog")
    p.shot("group-criteria")
    p.button("Create", "dialog .foot").click()
    p.closed()
    p.has("Dynamic")
    group = next(g for g in console.get("/groups")["items"] if g["name"] == "New systems")
    stored = console.get(f"/groups/{group['id']}/criteria")
    assert stored["criteria"] == {"all": [{"field": "os_version", "op": "ge", "value": "17"}, {"not": {"any": [{"field": "supervised", "op": "is", "value": True}]}}]}
    assert stored["base"] == {"kind": "folder", "id": tills}
    wait_for(lambda: console.get(f"/groups/{group['id']}")["devices"] == 1)
    row_button(p, "New systems", "Criteria")
    p.has("Last refreshed", "dialog")
    field = p.find("dialog .condition input")
    field.clear()
    p.button("Save", "dialog .foot").click()
    p.has("must be a version", "dialog")
    p.until(lambda: p.find("dialog .condition input").send_keys("16") or True)
    p.button("Save", "dialog .foot").click()
    p.closed()
    wait_for(lambda: console.get(f"/groups/{group['id']}")["devices"] == 2)
    row_button(p, "New systems", "Update now")
    p.has("are being looked for", "#toasts")
    p.open("groups").has("New systems")
    p.shot("groups")
    assert [x["message"] for x in p.driver.get_log("browser") if x["level"] == "SEVERE" and "400" not in x["message"]] == []
    p.fits()


def test_deep_criteria_on_a_phone(zone, page, console, tills):
    """What goes deeper than the builder is shown in words and not changed by saving; 390 pixels, dark, German."""
    deep = {"all": [{"any": [{"field": "model", "op": "in", "value": ["iPhone", "iPad"]}, {"all": [{"field": "platform", "op": "eq", "value": "ios"}, {"not": {"field": "app", "op": "has", "value": "org.example.app"}}]}]}]}
    group = console.post("/groups", {"name": "Tief", "criteria": deep})["id"]
    p = page(size=(390, 844), dark=True, language="de").log_in().open("groups")
    p.fits()
    row_button(p, "Tief", "Kriterien")
    p.has("Plattform ist Apple", "dialog")
    p.has("Keines davon (App (Kennung) es gibt org.example.app)", "dialog")
    p.fits()
    assert p.driver.execute_script("const d = document.querySelector('dialog'); return d.scrollWidth <= d.clientWidth")
    p.shot("group-criteria-phone")
    p.button("Passende Geräte zeigen", "dialog").click()
    p.has("Geräten passen", "dialog")
    p.button("Speichern", "dialog .foot").click()
    p.closed()
    assert console.get(f"/groups/{group}/criteria")["criteria"]["all"][0] == {"any": [deep["all"][0]["any"][0], deep["all"][0]["any"][1]]}
    p.open("schedule").has("Alle 60 Minuten", "#group-period")
    p.fits()
    p.button("Ändern", "#group-period").click()
    write(p, "minutes", "4")
    p.button("Speichern", "dialog .foot").click()
    p.find("#f-minutes[aria-invalid]")
    write(p, "minutes", "30")
    p.button("Speichern", "dialog .foot").click()
    p.closed()
    p.has("Alle 30 Minuten", "#group-period")
    assert [x["message"] for x in p.driver.get_log("browser") if x["level"] == "SEVERE" and "400" not in x["message"]] == []


def test_static_groups_stay_as_they_were(zone, page, console):
    console.post("/groups", {"name": "Handmade"})
    p = page().log_in().open("groups")
    row = p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'Handmade')]"))
    assert "By hand" in row.text and not {"Criteria", "Update now"} & {b.text for b in row.find_elements(By.CSS_SELECTOR, "button")}
    p.clean()
