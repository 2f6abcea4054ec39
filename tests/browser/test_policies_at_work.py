"""Policies at work in the console (POL-05, POL-06, POL-08, UI-01, UI-04, UI-05): assigned by clicks, delivered, seen on the device."""
import uuid

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import harness
import seed
from clients import Console
from test_policies import choose

HOSTILE = "<img src=x onerror=alert(1)> \u202eevil"


@pytest.fixture(scope="module")
def people(zone):
    """A group, a folder, 25 devices of theirs in a device folder, a device group."""
    console = Console(zone)
    source, anna = zone.sql("SELECT id FROM user_source")[0][0], seed.person_id(zone, harness.PERSON)
    group, folder = str(uuid.uuid4()), str(uuid.uuid4())
    zone.sql("INSERT INTO user_group (id, source_id, name, dn) VALUES (?, ?, ?, 'cn=sales')", group, source, HOSTILE)
    zone.sql("INSERT INTO user_folder (id, source_id, name) VALUES (?, ?, 'Berlin')", folder, source)
    tills = console.post("/folders", {"name": "Tills"})["id"]
    ids = [seed.device(zone, f"Till {n:02d}", anna, folder_id=tills) for n in range(25)]
    kiosk = console.post("/groups", {"name": "Kiosk"})["id"]
    return {"group": group, "tills": tills, "ids": ids, "kiosk": kiosk, "anna": anna}


def policy(console, name, kind="security", **more):
    return console.post("/policies", {"type": kind, "name": name, "levels": {"corporate": "strict", "personal": "low"}, "publish": True, **more})["id"]


def assign(console, ident, *targets):
    """Assigns through the API, with the number that the preview says."""
    targets = [{"kind": kind, "id": target} for kind, target in targets]
    reach = console.post("/assignments/preview", {"targets": targets})["devices"]
    return console.post("/assignments", {"policy": ident, "targets": targets, "confirm": max(reach, 1)})["items"]


def find(p, kind, text, hit):
    choose(p, "#f-kind", kind)
    field = p.find("#f-targets")
    field.clear()
    field.send_keys(text)
    p.until(lambda: [b for b in p.driver.find_elements(By.CSS_SELECTOR, ".hits button") if hit in b.text][0].click() or True)
    p.until(lambda: hit in p.text(".picked"))


def rows(p, n, css="#panel tbody tr"):
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, css)) == n)


def test_assign_to_several_at_once(zone, page, console, people):
    """POL-05, UI-04: people and device side together; the rule appears with the first target of the device side; many devices want their number; edited, taken away."""
    ident = policy(console, "Assigned " + HOSTILE)
    p = page().log_in().open(f"policy/{ident}?part=assignments")
    p.has("not assigned to anybody")
    p.button("Assign").click()
    p.has("Choose somebody", "dialog")
    for kind in ("Person", "User folder", "User source", "Device group", "Device"):  # each kind can be looked for
        choose(p, "#f-kind", kind)
        p.until(lambda: p.driver.find_elements(By.CSS_SELECTOR, ".hits button") and " found" in p.text("dialog p.hint"))
    find(p, "User group", "img src", "evil")
    p.has("Reaches 0 devices.", "dialog")
    assert not [e for e in p.driver.find_elements(By.CSS_SELECTOR, "dialog input[name=conflict]") if e.is_displayed()]
    find(p, "Device folder", "Til", "Tills")
    p.has("Reaches at most 25 devices", "dialog")
    p.find("dialog input[name=conflict][value=device_first]").click()
    p.shot("assign")
    p.button("Assign", "dialog .foot").click()
    p.find("#f-reach[aria-invalid]").send_keys("25")
    p.button("Assign", "dialog .foot").click()
    p.closed()
    rows(p, 2)
    p.has("Device first")
    p.has("Tills")
    p.shot("policy-assignments")
    made = {a["target"]["kind"]: a for a in console.get(f"/assignments?policy={ident}")["items"]}
    assert made["folder"]["conflict"] == "device_first" and made["user_group"]["conflict"] is None
    p.button("Assign").click()
    find(p, "Device folder", "Til", "Tills")
    p.find("#f-reach").send_keys("25")
    p.button("Assign", "dialog .foot").click()
    p.has("assigned there already", "dialog")
    p.button("Cancel", "dialog").click()
    p.closed()
    row = p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'Tills')]"))
    row.find_element(By.XPATH, ".//button[contains(., 'Edit')]").click()
    p.find("dialog input[name=conflict][value=device_only]").click()
    field = p.find("#f-position")
    field.clear()
    field.send_keys("7")
    p.button("Save", "dialog").click()
    p.closed()
    p.has("Device only")
    assert next(a["position"] for a in console.get(f"/assignments?policy={ident}")["items"] if a["target"]["kind"] == "folder") == 7
    p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'Tills')]//button[contains(., 'Take away')]").click() or True)
    p.has("Reaches 25 devices.", "dialog")
    p.find("#f-confirm").send_keys("24")
    p.button("Take away", "dialog .foot").click()
    p.find("#f-confirm[aria-invalid]").clear()
    p.shot("assign-remove")
    p.find("#f-confirm").send_keys("25")
    p.button("Take away", "dialog .foot").click()
    p.closed()
    rows(p, 1)
    assert [x["message"] for x in p.driver.get_log("browser") if x["level"] == "SEVERE" and "409" not in x["message"]] == []
    p.fits()


def test_assign_from_the_other_side_by_keyboard(zone, page, console, people):
    """POL-05: the same from people, groups, folders, devices; a search is typed, a hit is chosen by keys."""
    policy(console, "Other side")
    p = page().log_in().open("groups")
    p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'Kiosk')]//button[contains(., 'Policies')]").click() or True)
    p.has("No policy is assigned here", "dialog")
    p.button("Assign a policy", "dialog").send_keys(Keys.ENTER)
    p.find("#f-policy").send_keys("other si" + Keys.ENTER)
    p.until(lambda: "Other side" in p.text(".hits") and len(p.driver.find_elements(By.CSS_SELECTOR, ".hits button")) == 1)
    p.find("#f-policy").send_keys(Keys.TAB + Keys.SPACE)
    p.until(lambda: "Other side" in p.text(".picked"))
    p.shot("assign-here")
    p.button("Assign", "dialog .foot").send_keys(Keys.ENTER)
    p.until(lambda: "Other side" in p.text("dialog table"))
    p.has("People first", "dialog")
    p.shot("assigned-here")
    p.button("Close", "dialog").click()
    p.closed()
    for view, css in (("people", "//tr[contains(., 'anna')]//button[contains(., 'Policies')]"), ("sources", "//tr//button[contains(., 'Policies')]"),
                      (f"devices?folder={people['tills']}", "//details[contains(@class, 'tree')]//button[contains(., 'Policies')]")):
        p.open(view)
        p.until(lambda: p.driver.find_element(By.XPATH, css).click() or True)
        p.has("Everyone" if view == "sources" else "No policy is assigned here", "dialog")
        p.button("Close", "dialog").click()
        p.closed()
    p.clean()


@pytest.fixture(scope="module")
def reached(zone, console, people):
    """A policy with devices in each state; they are retired, so that nobody computes them meanwhile."""
    ident = policy(console, "At work " + HOSTILE)
    control = policy(console, "Camera off", "device_control")
    ids = [seed.device(zone, f"{HOSTILE} {n}", people["anna"], state="retired", supervised=0) for n in range(7)]
    for device in ids:
        seed.record(zone, device)
    harness.wait_for(lambda: console.get("/policies/progress")["since"] is None)
    via = f"folder:{seed.ROOT_FOLDER}"
    settings = {"security": f'{{"security.password": {{"value": true, "policy": "{ident}", "version": 1, "via": "{via}"}}, "security.min_length": {{"value": 8, "policy": "{ident}", "version": 1, "via": "person:{people["anna"]}"}}}}',
                "device_control": f'{{"%s": {{"value": false, "policy": "{control}", "version": 1, "via": "{via}"}}}}'}
    app = next(s["id"] for s in console.get("/policies/catalogue")["settings"] if any(k.get("supervised") is True and k["key"] == "allowAppRemoval" for k in s.get("apple", [])))
    for kind, policy_id, states in (("security", ident, ["applied"] * 3 + ["failed", "failed", "pending", "not_applicable"]), ("device_control", control, ["not_applicable"] * 7)):
        made = f"{policy_id}-1"
        zone.sql("INSERT INTO policy_result (id, type, hash, settings, created_ms) VALUES (?, ?, 'h', ?, ?)", made, kind, settings[kind].replace("%s", app), seed.now_ms())
        zone.sql("INSERT INTO policy_result_policy (result_id, policy_id, number) VALUES (?, ?, 1)", made, policy_id)
        for device, state in zip(ids, states):
            zone.sql("INSERT INTO effective_policy (device_id, type, result_id, computed_ms) VALUES (?, ?, ?, ?)", device, kind, made, seed.now_ms())
            zone.sql("INSERT INTO delivery (device_id, type, channel, result_id, hash, state, error, attempts, updated_ms) VALUES (?, ?, 'mdm', ?, 'h', ?, ?, ?, ?)",
                     device, kind, made, state, "<b>MCInstallationErrorDomain</b> 4001" if state == "failed" else "", 3 if state == "failed" else 0, seed.now_ms())
    return ident, ids


@pytest.mark.parametrize("size, dark, language", [((1280, 800), False, "en"), ((390, 844), True, "de")])
def test_delivery(zone, page, console, reached, size, dark, language):
    """POL-08: the picture has words, a state leads to its devices with error and tries, the rest is a file; what comes in is seen by itself."""
    en, (ident, ids) = language == "en", reached
    p = page(size=size, dark=dark, language=language).log_in().open(f"policy/{ident}")
    p.find("#tab-delivery").click()
    p.has("In force on 3 of 7 devices" if en else "In Kraft auf 3 von 7 Geräten")
    label = p.find(".stackbar").get_attribute("aria-label")
    assert label.startswith("In force: 3, Failed: 2" if en else "In Kraft: 3, Gescheitert: 2"), label
    rows(p, 7)
    p.shot(f"policy-delivery-{size[0]}")
    p.until(lambda: p.driver.find_element(By.CSS_SELECTOR, "#delivery a[href*='state=failed']").click() or True)
    rows(p, 2)
    p.has("<b>MCInstallationErrorDomain</b> 4001")
    p.has("tried 3 times" if en else "3 Versuche")
    assert "state=failed" in p.driver.current_url and "channel=mdm" in p.driver.current_url
    assert "state=failed" in p.find("a.btn[download]").get_attribute("href")
    p.fits()
    p.shot(f"policy-delivery-failed-{size[0]}")
    zone.sql("UPDATE delivery SET state = 'applied', error = '' WHERE device_id = ? AND type = 'security'", ids[3])
    rows(p, 1)
    p.has("In force on 4 of 7 devices" if en else "In Kraft auf 4 von 7 Geräten")
    zone.sql("UPDATE delivery SET state = 'failed', error = '<b>MCInstallationErrorDomain</b> 4001' WHERE device_id = ? AND type = 'security'", ids[3])
    rows(p, 2)
    p.clean()


@pytest.mark.parametrize("size, dark, language", [((1280, 800), False, "en"), ((390, 844), True, "de")])
def test_device_shows_where_settings_come_from(zone, page, console, reached, size, dark, language):
    """POL-06, POL-08, POL-10: value, policy with version, the assignment it came by, where it goes and why not; what keeps the device from being compliant."""
    en, (ident, ids) = language == "en", reached
    device = ids[3 if en else 4]  # what is assigned has it computed
    zone.sql("UPDATE device SET compliance = 'noncompliant', passcode_present = 0, passcode_compliant = 0 WHERE id = ?", device)
    p = page(size=size, dark=dark, language=language).log_in().open(f"device/{device}")
    p.find("#tab-policies").click()
    p.has("Not compliant" if en else "Nicht konform")
    p.has("passcode is missing" if en else "Code fehlt")
    p.has("could not be installed" if en else "nicht installiert werden")
    rows(p, 2, "#effective-security tbody tr")
    text = p.text("#effective-security")
    assert "8" in text and ("Version 1" if en else "Fassung 1") in text and "Mobile Devices" in text and "evil" in text, text
    p.has("only supervised devices" if en else "nur betreute Geräte", "#effective-device_control")
    p.has("<b>MCInstallationErrorDomain</b> 4001")
    p.fits()
    p.shot(f"device-policies-{size[0]}")
    p.driver.execute_script("document.getElementById('effective-security').scrollIntoView()")
    p.shot(f"device-policies-{size[0]}-effective")
    p.until(lambda: p.driver.find_element(By.CSS_SELECTOR, "#effective-security a[href*='#/policy/']").click() or True)
    p.until(lambda: f"#/policy/{ident}?version=1" in p.driver.current_url)
    p.open(f"device/{device}?tab=policies")
    p.button("Assign a policy" if en else "Richtlinie zuweisen").click()
    p.find("#f-policy").send_keys("Camera")
    p.until(lambda: [b for b in p.driver.find_elements(By.CSS_SELECTOR, ".hits button") if "Camera off" in b.text][0].click() or True)
    p.fits()
    p.shot(f"assign-device-{size[0]}")
    p.button("Assign" if en else "Zuweisen", "dialog .foot").click()
    p.closed()
    p.until(lambda: any("Camera off" in e.text for e in p.driver.find_elements(By.CSS_SELECTOR, "#panel > div:last-child tbody tr")))
    console.call("DELETE", f"/assignments/{console.get(f'/assignments?kind=device&target={device}')['items'][0]['id']}", If_Match='"1"')
    p.clean()


def test_person_and_mail_policy(page, console, people):
    """POL-06, MAIL-01: the page of people shows which settings hold for a person and whence; an e-mail policy says that no mail server is set."""
    ident = policy(console, "Mine " + HOSTILE)
    assign(console, ident, ("person", people["anna"]))
    mail = console.post("/policies", {"type": "email", "name": "Mail"})["id"]
    p = page(size=(390, 844)).log_in().open("people?q=anna")
    p.button("Effective settings").click()
    p.has("Mine " + HOSTILE, "dialog")
    p.fits()
    p.shot("person-390")
    p.button("Close", "dialog").click()
    p.closed()
    p.open(f"policy/{mail}")
    p.has("No mail server is set")
    p.shot("policy-no-mail-390")
    p.clean()


def test_limited_administrators(zone, page, console, people):
    """USR-12: who sees some folders only is offered these and their devices to assign to; he changes no policy; help desk sees what holds and changes nothing."""
    role = console.post("/roles", {"name": "Policy desk", "rights": {"policy": ["read", "write"], "device": ["read"], "person": ["read"]}})["id"]
    console.post("/admins", {"kind": "local", "login": "tills", "role_id": role, "password": "Correct-horse-9", "folders": [people["tills"]]})
    ident = policy(console, "For the tills")
    assign(console, ident, ("person", people["anna"]), ("folder", people["tills"]))
    p = page().log_in("tills", "Correct-horse-9").open("policies")
    assert "New policy" not in p.text("#main")
    p.open(f"policy/{ident}?part=assignments")
    assert not {"Edit", "Delete policy", "Publish"} & {b.text for b in p.driver.find_elements(By.CSS_SELECTOR, ".head button")}
    rows(p, 2)
    person = p.driver.find_element(By.XPATH, "//tr[contains(., 'Person')]")
    assert not person.find_elements(By.CSS_SELECTOR, "button") and p.driver.find_element(By.XPATH, "//tr[contains(., 'Tills')]").find_elements(By.CSS_SELECTOR, "button")
    p.button("Assign").click()
    assert [o.text for o in Select(p.find("#f-kind")).options] == ["Device folder", "Device"]
    p.button("Cancel", "dialog").click()
    p.closed()
    p.clean()
    console.post("/admins", {"kind": "local", "login": "look", "role_id": zone.sql("SELECT id FROM role WHERE name = 'help_desk'")[0][0], "password": "Correct-horse-9"})
    p = page().log_in("look", "Correct-horse-9").open(f"device/{people['ids'][0]}?tab=policies")
    p.has("Compliance")
    assert "Assigned to this device itself" not in p.text("#main")
    p.clean()
