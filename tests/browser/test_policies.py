"""Policies in the console (POL-01..04, UI-01, UI-05): made from levels, edited, compared, published by clicks."""
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from clients import Console
from pages import Page

HOSTILE = "<img src=x onerror=alert(1)> \u202eevil"


def write(p, name, text):
    field = p.find(f"#f-{name}")
    field.clear()
    field.send_keys(text)


def choose(p, css, text):
    p.until(lambda: Select(p.find(css)).select_by_visible_text(text) or True)


def make(p, name, **levels):
    p.open("policies")
    p.button("New policy").click()
    choose(p, "#f-type", levels.pop("type", "Security"))
    write(p, "name", name)
    for column, level in levels.items():
        choose(p, f"#f-{column}", level)
    p.button("Create", "dialog").click()
    p.closed()
    p.until(lambda: "#/policy/" in p.driver.current_url and p.has(name[-4:]))


def cell(p, setting, column):
    return f"#sel-{setting}.{column}".replace(".", "\\.")


def test_policy_from_levels_to_published(zone):
    """POL-01, POL-03: made from presets, a setting changed into the sandbox, published, compared with the version before."""
    p = Page(zone)
    try:
        p.log_in()
        make(p, HOSTILE, corporate="Strict", personal="Low")
        p.has("Sandbox")
        p.has("Corporate: Strict · Personal: Low")
        p.until(lambda: Select(p.find(cell(p, "security.simple", "corporate"))).first_selected_option.text == "No")
        p.until(lambda: Select(p.find(cell(p, "security.simple", "personal"))).first_selected_option.text == "Yes")
        p.shot("policy-editor")
        p.button("Publish").click()
        p.button("Publish", "dialog").click()
        p.closed()
        p.has("Version 1")
        choose(p, cell(p, "security.simple", "corporate"), "Yes")
        p.has("1 changes not saved")
        p.has("Level says: No")
        p.button("Save to sandbox").click()
        p.has("Shown: Sandbox")
        p.find("#set-differs").click()
        p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "table.editor tbody tr")) == 1)
        p.button("Publish").click()
        p.find("dialog details summary").click()
        p.has("Simple", "dialog")
        p.shot("policy-publish")
        p.button("Publish", "dialog").click()
        p.closed()
        p.has("Version 2")
        p.find("#tab-versions").click()
        p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 2)
        p.shot("policy-versions")
        p.button("Compare").click()
        p.until(lambda: [e.text for e in p.driver.find_elements(By.CSS_SELECTOR, "dialog ins")] == ["Yes"])
        p.shot("policy-compare")
        p.clean()
        p.fits()
    finally:
        p.driver.quit()


def test_children_follow_their_parents(zone):
    """POL-04: a setting without its switch is grey; changes outlive a look at another page; what the server refuses stands at its row."""
    p = Page(zone)
    try:
        p.log_in()
        make(p, "Locks", corporate="Moderate", personal="None")
        days = cell(p, "security.expiration_days", "corporate")
        p.until(lambda: p.find(days).is_enabled())
        choose(p, cell(p, "security.expiration", "corporate"), "No")
        p.until(lambda: not p.find(days).is_enabled())
        p.open("policies")
        p.button("New policy")
        p.driver.back()
        p.has("1 changes not saved")
        p.until(lambda: p.find("#in-security\\.min_length\\.corporate").send_keys(Keys.CONTROL + "a" + Keys.NULL, "99\t") or True)
        p.button("Save to sandbox").click()
        p.shot("policy-refused")
        p.until(lambda: "16" in p.text(".editor .err"))
        p.until(lambda: p.find("#in-security\\.min_length\\.corporate").send_keys(Keys.CONTROL + "a" + Keys.NULL, "9\t") or True)
        p.button("Save to sandbox").click()
        p.until(lambda: not p.driver.find_elements(By.CSS_SELECTOR, ".savebar:not([hidden])"))
        api = Console(zone)
        policy = next(x for x in api.get("/policies")["items"] if x["name"] == "Locks")
        got = api.get(f"/policies/{policy['id']}/sandbox")["settings"]
        assert got["security.min_length"]["corporate"] == 9
        assert got.get("security.expiration_days", {}).get("corporate", "inherit") == "inherit"
    finally:
        p.driver.quit()


def test_policies_on_a_phone(zone):
    """UI-05: the editor on 390 pixels, dark and in German."""
    p = Page(zone, size=(390, 844), dark=True, language="de")
    try:
        p.log_in()
        Console(zone).post("/policies", {"type": "device_control", "name": "Kamera aus", "levels": {"corporate": "high", "personal": "low"}})
        p.open("policies")
        p.fits()
        p.shot("policies-phone")
        p.until(lambda: next(a for a in p.driver.find_elements(By.CSS_SELECTOR, "td a.main") if a.text == "Kamera aus")).click()
        p.has("Gezeigt: Sandbox")
        p.fits()
        p.shot("policy-phone")
        p.button("ActiveSync").click()
        p.has("Bluetooth")
        p.fits()
        p.open(f"policy/{Console(zone).post('/policies', {'type': 'enrollment', 'name': 'Wer darf'})['id']}")
        p.has("Zum Beispiel: iPhone 15 Anna Example")
        p.fits()
        p.shot("enrollment-policy-phone")
        p.clean()
    finally:
        p.driver.quit()


def test_enrollment_policy(zone):
    """ENR-02..04, UI-05: made, its rules written, moved by the keyboard, with the name as it would be; a fault is shown at its place; saved and published."""
    p, api = Page(zone), Console(zone)
    try:
        p.log_in()
        make(p, "Who enrols", type="Enrolment")
        p.has("For example: iPhone 15 Anna Example")
        p.has("All devices")
        p.button("Add rule").click()
        p.has("Never reached")
        field = p.find("#en-rules-1-name")
        field.clear()
        field.send_keys("${user.login} ${seq}")
        p.has("For example: anna 42")
        choose(p, "#en-rules-1-match-platform", "Apple")
        p.find("#en-rules-1-name").send_keys(Keys.ALT, Keys.ARROW_UP)
        p.until(lambda: p.find("#en-rules-0-name").get_property("value") == "${user.login} ${seq}")
        p.until(lambda: p.driver.switch_to.active_element.get_attribute("id") == "en-up-0")
        p.shot("enrollment-policy")
        p.find("#en-min_os-ios").send_keys("x")
        p.button("Save to sandbox").click()
        p.has("must be a version")
        p.until(lambda: p.driver.switch_to.active_element.get_attribute("id") == "en-min_os-ios")
        p.find("#en-min_os-ios").send_keys(Keys.BACKSPACE)
        p.button("Save to sandbox").click()
        p.until(lambda: not p.driver.find_elements(By.CSS_SELECTOR, ".savebar:not([hidden])"))  # the page of before publishes the version of before
        p.has("Shown: Sandbox")
        ident = p.driver.current_url.rsplit("/", 1)[1]
        p.until(lambda: [r["match"] for r in api.get(f"/policies/{ident}/sandbox")["settings"]["rules"]] == [{"platform": "ios"}, {}])
        p.button("Publish").click()
        p.button("Publish", "dialog").click()
        p.closed()
        p.has("Version 1")
        person = api.post("/people", {"login": "asked", "name": "Asked Person", "password": "right-Pass-1"})["id"]
        api.post("/assignments", {"policy": ident, "targets": [{"kind": "person", "id": person}]})
        p.open("people?q=asked")
        p.button("May enrol?").click()
        p.has("This device may be enrolled", "dialog")
        p.has("asked ", "dialog")
        choose(p, "#pe-platform", "Windows")
        p.has("does not allow this kind of device", "dialog")
        choose(p, "#pe-platform", "Android")
        choose(p, "#pe-level", "Email only")
        p.has("Rule 1: Platform", "dialog")
        p.shot("may-enrol")
    finally:
        p.driver.quit()
