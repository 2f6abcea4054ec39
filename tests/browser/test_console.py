"""The console in a real browser: UI-01..05, R24. Each page opens without a console error; the main job of each is done by clicks."""
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

import harness
import seed
from clients import Console, enrolled, new_device
from sim.device import REFRESHES

PAGES = ["start", "overview", "messages", "identities", "devices", "groups", "tasks", "pending", "bulk", "otps", "exceptions", "people", "sources", "policies", "eas", "stale", "schedule", "retention", "notifications", "audit", "jobs", "nodes", "push", "access", "admins", "profile"]
LONG = "An extraordinarily long device name that nobody would type but somebody did anyway, in one " + "w" * 60


@pytest.fixture(scope="module")
def fleet(zone):
    anna = seed.person_id(zone, harness.PERSON)
    ids = [seed.device(zone, f"Phone {i:02d}", anna, last_contact_ms=seed.now_ms() - i * 3_600_000) for i in range(60)]
    for name in ("<img src=x onerror=alert(1)>", "\u202egnp.exe", "javascript:alert(1)", LONG):
        ids.append(seed.device(zone, name, anna, state="retired", lost_ms=seed.now_ms()))
    return ids


def test_log_in_page(zone, page):
    """The form works without scripts, refuses a wrong password in words, and leads to Getting started while the zone has no device, then to the overview."""
    p = page()
    p.driver.get(zone.admin_url)
    p.find("#login").send_keys(harness.ADMIN_USER)
    p.find("#password").send_keys("wrong" + Keys.ENTER)
    assert p.text("#say")
    p.shot("login")
    assert not p.driver.find_elements(By.CSS_SELECTOR, "script")
    p.log_in()
    assert p.text("#main h1") == "Getting started"
    first = seed.device(zone, "First")
    p.driver.get("about:blank")
    p.driver.get(zone.admin_url)
    p.has("Devices by state")
    assert p.text("#main h1") == "Overview"
    zone.sql("DELETE FROM device WHERE id = ?", first)


@pytest.mark.parametrize("size, language", [((1280, 800), "en"), ((390, 844), "de")])
def test_getting_started(zone, page, size, language):
    """Spec 12, Getting started: marks in words, each line leads to its page and to its section of the manual; a mark changes by itself when the thing is done."""
    p = page(size=size, language=language).log_in().open("start")
    rows = {li.get_attribute("data-step"): li for li in p.driver.find_elements(By.CSS_SELECTOR, ".steps li")}
    assert list(rows) == ["source", "enrollment", "node", "push", "eas", "email", "smtp", "security", "sms", "device"]
    assert all(li.find_element(By.CSS_SELECTOR, ".sr").get_attribute("textContent") and "help/" in li.find_element(By.CSS_SELECTOR, ".help").get_attribute("href") for li in rows.values())
    assert rows["node"].get_attribute("data-state") == "done" and rows["eas"].get_attribute("data-state") == "open"
    p.shot(f"start-{size[0]}")
    server = seed.mail_server(zone, enabled=0)
    try:
        p.find("li[data-step=eas][data-state=attention]")
        p.shot(f"start-attention-{size[0]}")
        p.fits()
        p.find("li[data-step=eas] a.main").click()
        p.until(lambda: p.driver.current_url.endswith("#/eas"))
    finally:
        zone.sql("DELETE FROM eas_server WHERE id = ?", server)
    p.clean()


@pytest.mark.parametrize("size, dark, language", [((1280, 800), False, "en"), ((1280, 800), True, "de"), ((390, 844), False, "de"), ((320, 640), True, "en")])
def test_each_page_opens_clean(zone, page, fleet, size, dark, language):
    """UI-03, UI-05: no console error, no sideways scrolling from 320 px, an h1, labels on all controls, both languages and themes."""
    p = page(size=size, dark=dark, language=language).log_in()
    for name in PAGES + [f"device/{fleet[0]}", f"device/{fleet[-1]}?tab=timeline", f"device/{fleet[0]}?tab=policies", f"device/{fleet[0]}?tab=apps", f"device/{fleet[0]}?tab=commands", f"device/{fleet[0]}?tab=audit"]:
        p.open(name)
        p.fits()
        p.shot(f"{size[0]}-{'dark' if dark else 'light'}-{name.split('/')[0]}{name.partition('tab=')[2]}")
        nameless = p.driver.execute_script("""
            return [...document.querySelectorAll('#app input, #app select, #app textarea, #app button, #app a')].filter((e) =>
              !(e.labels && e.labels.length) && !e.getAttribute('aria-label') && !e.textContent.trim()).map((e) => e.outerHTML)""")
        assert nameless == [], name
        assert p.driver.execute_script("return document.documentElement.lang") == language
        assert p.driver.execute_script("return document.querySelectorAll('#main h1').length") == 1
    p.clean()


def test_first_view_is_small(zone, page, fleet):
    """UI-02: at most 200 KB for the first view, from our origin only."""
    p = page()
    p.driver.execute_cdp_cmd("Network.enable", {})
    p.log_in()
    p.has("Devices by state")
    sizes = p.driver.execute_script("return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation')).map((e) => [e.name, e.encodedBodySize])")
    assert all(name.startswith(zone.admin_url.rsplit("/admin", 1)[0]) for name, _ in sizes)
    assert 10_000 < sum(size for _, size in sizes) <= 200_000


def test_device_list(zone, page, fleet):
    """UI-01: search, filter, order and columns are in the address; more pages; hostile names are only text."""
    p = page().log_in().open("devices")
    p.find("#q").send_keys("Phone 07" + Keys.ENTER)
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1)
    assert "q=Phone+07" in p.driver.current_url
    p.open("devices?sort=-name")
    first = p.text("tbody tr td.lead a")
    p.button("Show more").click()
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) > 50)
    p.find("thead th[aria-sort] button").click()
    p.until(lambda: p.text("tbody tr td.lead a") != first)
    p.open("devices?state=retired")
    p.has("<img src=x onerror=alert(1)>")
    for css, value, said in (("#q-state", "active", "state=active"), ("#q-mode", "eas", "mode=eas")):  # each choice draws the page anew
        p.until(lambda: said in p.driver.current_url or Select(p.find(css)).select_by_value(value))
    assert "state=active" in p.driver.current_url
    p.has("Nothing fits these filters")
    p.button("Reset filters").click()
    p.has("Phone")
    p.find("#q-lost").click()
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 4 and "lost=1" in p.driver.current_url)
    p.shot("devices-filters")
    p.fits()
    p.open("devices?q=nothing-like-it")
    p.button("Reset filters").click()
    p.has("Phone")
    p.find("details.pick summary").click()
    p.driver.find_elements(By.CSS_SELECTOR, "details.pick input")[4].click()
    p.has("SERIAL NUMBER".capitalize())
    assert "cols=" in p.driver.current_url
    p.clean()


def test_devices_of_a_removed_source_are_deleted(zone, page, fleet):
    """USR-08, UI-04: the filter is in the address; what happens to how many is named, and the number is asked for."""
    ghost = "00000000-0000-4000-8000-0000000000f8"
    zone.sql("INSERT INTO person (id, login, login_key, name, created_ms) VALUES (?, 'ghost', 'ghost', 'Ghost', 1)", ghost)
    for i in range(3):
        seed.device(zone, f"Left {i}", ghost)
    p = page(size=(390, 844)).log_in().open("devices")
    p.has("Phone 00")
    p.find("#q-source_removed").click()
    p.until(lambda: "source_removed=1" in p.driver.current_url and len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == 3)
    for _ in range(3):  # each click draws the list anew
        p.find("tbody input[type=checkbox]:not(:checked)").click()
    p.fits()
    p.button("Delete object", ".bulk").click()
    p.has("3 device objects disappear", "dialog")
    p.find("#f-number").send_keys("2")
    p.button("Delete object", "dialog .foot").click()
    p.find("#f-number[aria-invalid]").clear()
    p.shot("delete-many")
    p.find("#f-number").send_keys("3")
    p.button("Delete object", "dialog .foot").click()
    p.closed()
    p.button("Reset filters")
    assert zone.sql("SELECT COUNT(*) FROM device WHERE person_id = ?", ghost)[0][0] == 0
    p.clean()


def test_edit_a_device(zone, page, fleet):
    """Open a device from the list, edit it, see it on the page; somebody else's change is not overwritten."""
    p = page().log_in().open("devices?q=Phone+03")
    p.find("tbody td.lead a").click()
    p.button("Edit").click()
    p.find("#f-notes").send_keys("Handed out in May")
    p.find("#f-department").send_keys("Sales")
    p.shot("edit")
    p.button("Save", "dialog").click()
    p.closed()
    p.has("Handed out in May")
    p.button("Edit").click()
    p.find("#f-name")
    zone.sql("UPDATE device SET version = version + 1 WHERE id = ?", fleet[3])
    p.find("#f-site").send_keys("X")
    p.button("Save", "dialog").click()
    p.has("meanwhile", "dialog")
    severe = [x for x in p.driver.get_log("browser") if x["level"] == "SEVERE"]
    assert len(severe) == 1 and "412" in severe[0]["message"]


def test_refresh_and_unenrol(zone, page):
    """Refresh shows waiting commands by itself; unenrolment names what happens and to which device (UI-04)."""
    device = enrolled(zone, new_device(zone))
    ident = Console(zone).device(device.udid)["id"]
    p = page().log_in().open(f"device/{ident}")
    p.button("Refresh").click()
    p.has(f"{len(REFRESHES)} commands wait")
    device.poll()
    p.until(lambda: "commands wait" not in p.text("#why"))
    p.find("#tab-apps").click()
    p.has(device.apps[0][0])
    p.find("#tab-timeline").click()
    p.find(".line li")
    p.button("Actions").click()
    p.button("Unenrol", "dialog").click()
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "dialog")) == 1 and p.driver.find_elements(By.CSS_SELECTOR, "#f-reason"))
    p.has(device.serial, "dialog")
    p.shot("unenrol")
    p.button("Unenrol", "dialog").click()
    p.closed()
    p.has("Retired")
    p.clean()


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_users_of_a_device(zone, page, size):
    """IOS-01: a device with users shows them, and one of them is given an order by clicks; history says whose it is."""
    console = Console(zone)
    device = enrolled(zone, new_device(zone))
    ident = console.device(device.udid)["id"]
    p = page(size=size).log_in()
    p.open(f"device/{ident}")
    assert "Users of the device" not in p.text("#main")
    for who, names in (("ANNA", ("anna", "Anna Example")), ("BEN", ("ben", "<img src=x> " + LONG))):
        device.user(who, *names).token_update()
    anna = device.user("ANNA", "anna", "Anna Example")
    anna.answers["ProfileList"] = {"ProfileList": [{"PayloadIdentifier": "org.example.wifi", "PayloadDisplayName": "Wi-Fi of the office"}]}
    p.open(f"device/{ident}?tab=commands").open(f"device/{ident}")
    p.has("Anna Example", "#users")
    p.button("List profiles", "#users").click()
    p.has("woken", "#toasts")
    harness.wait_for(lambda: anna.poll() or None)
    p.has("Wi-Fi of the office", "#users")
    p.driver.execute_script("document.getElementById('users').scrollIntoView()")
    p.shot(f"device-users-{size[0]}")
    p.fits()
    p.button("Remove a profile", "#users").click()
    p.has("one user of the device", "dialog")
    p.shot(f"device-user-remove-{size[0]}")
    p.button("Remove a profile", "dialog").click()
    p.closed()
    harness.wait_for(lambda: ("RemoveProfile", "Acknowledged") in anna.poll() or None)
    p.open(f"device/{ident}?tab=commands")
    p.has("For ANNA", "#panel")
    p.clean()


@pytest.mark.parametrize("size, language", [((1280, 800), "en"), ((390, 844), "de")])
def test_device_actions(zone, page, size, language):
    """DEV-04, DEV-07: the page shows every section; only what applies is offered, the rest with its reason; a wipe asks for the name."""
    en = language == "en"
    device = next(d for d in iter(lambda: new_device(zone), None) if d.imei)  # tablets have no voice roaming
    device.supervised = True
    enrolled(zone, device)
    console = Console(zone)
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/commands", {"request_type": "EnableLostMode", "payload": {"Message": "x"}})
    device.poll()
    console.post(f"/devices/{ident}/commands", {"request_type": "DeviceLocation"})
    device.poll()
    p = page(size=size, language=language).log_in().open(f"device/{ident}")
    p.has("52.52")
    for text in ("Model number", "Voice roaming allowed", "GSM", "Shared iPad", "External storage", "Passcode fits the profiles") if en else (
            "Modellnummer", "Sprachroaming erlaubt", "GSM", "Geteiltes iPad", "Externer Speicher", "Code erfüllt die Profile"):
        p.has(text)
    p.fits()
    p.shot(f"device-info-{size[0]}")
    for tab, text in (("profiles", device.profile.identifier), ("certificates", "identity"), ("restrictions", "maxInactivity"), ("commands", "EnableLostMode"),
                      ("timeline", "Lost mode:" if en else "Verloren-Modus:")):
        p.open(f"device/{ident}?tab={tab}").has(text)
        p.fits()
        p.shot(f"device-{tab}-{size[0]}")
    p.button("Actions" if en else "Aktionen").click()
    p.find("dialog summary").click()
    p.has("it is in lost mode" if en else "es ist im Verloren-Modus", "dialog")
    p.shot(f"device-actions-{size[0]}")
    p.button("Lost mode off" if en else "Verloren-Modus aus", "dialog").click()
    p.has("located" if en else "geortet", "dialog")
    p.button("Lost mode off" if en else "Verloren-Modus aus", "dialog .foot").click()
    p.closed()
    p.until(lambda: ("DisableLostMode", "Acknowledged") in device.poll())
    p.button("Actions" if en else "Aktionen").click()
    p.button("Erase everything" if en else "Alles löschen", "dialog").click()
    p.find("#f-typed").send_keys("wrong")
    p.button("Erase everything" if en else "Alles löschen", "dialog .foot").click()
    p.find("#f-typed[aria-invalid]").clear()
    p.shot(f"device-wipe-{size[0]}")
    p.find("#f-typed").send_keys(console.get(f"/devices/{ident}")["name"])
    p.button("Erase everything" if en else "Alles löschen", "dialog .foot").click()
    p.closed()
    p.until(lambda: console.get(f"/devices/{ident}")["state"] != "active")  # the job has given the order
    p.until(lambda: p.button("Actions" if en else "Aktionen").click() or True)  # the page is drawn anew meanwhile
    p.button("Take the removal back" if en else "Abmeldung zurücknehmen", "dialog").click()
    p.until(lambda: console.get(f"/devices/{ident}")["state"] == "active")
    assert "EraseDevice" not in dict(device.poll())
    p.clean()


def test_people_and_pending(zone, page):
    """Add a person, prepare an enrolment, see link and code, cancel it."""
    p = page(size=(390, 844)).log_in().open("people")
    p.button("Add person").click()
    for field, value in (("login", "carl"), ("name", "Carl Cäsar"), ("mail", "carl@example.org"), ("password", "short")):
        p.find(f"#f-{field}").send_keys(value)
    p.button("Create", "dialog").click()
    p.find("#f-password[aria-invalid]").send_keys("-but-longer-now-9")
    p.button("Create", "dialog").click()
    p.closed()
    p.has("Carl Cäsar")
    p.driver.get_log("browser")
    p.open("pending")
    p.button("Provision user").click()
    p.find("#f-person_id").send_keys("Carl")
    p.until(lambda: [e.text for e in p.driver.find_elements(By.CSS_SELECTOR, "dialog .hits bdi")][:1] == ["Carl Cäsar"])
    p.find("dialog .hits button").click()
    p.find("#f-authoriser-login").send_keys(harness.ADMIN_USER)
    p.find("#f-authoriser-password").send_keys("wrong")
    p.button("Create", "dialog").click()
    p.find("#f-authoriser-login[aria-invalid]")
    p.find("#f-authoriser-password").clear()
    p.find("#f-authoriser-password").send_keys(harness.ADMIN_PASSWORD)
    p.driver.get_log("browser")
    p.button("Create", "dialog").click()
    code = p.find("dialog img.qr")
    p.until(lambda: code.get_property("naturalWidth") > 0)
    assert any("/enroll/" in e.get_property("value") for e in p.driver.find_elements(By.CSS_SELECTOR, "dialog .copy input"))
    p.shot("qr")
    p.button("Close", "dialog").click()
    p.closed()
    p.button("Actions").click()
    p.button("Cancel enrolment", "dialog .menu").click()
    p.until(lambda: p.text("dialog h2") == "Cancel enrolment")
    p.button("Cancel enrolment", "dialog").click()
    p.closed()
    p.has("No enrolment is pending")
    p.fits()
    p.clean()


def test_access_filters(zone, page):
    """ACC-03, ACC-04, ACC-06: add with a mistake, move, test before saving, save in spite of who is shut out."""
    ident = "00000000-0000-4000-8000-00000000aaab"
    zone.sql("INSERT INTO node (id, name, base_url, software, holder, started_ms, seen_ms) VALUES (?, 'far', 'https://192.0.2.5', '', 'x', 1, 1)", ident)
    p = page().log_in().open("access")
    p.button("Add filter").click()
    p.find("#f-addresses").send_keys("192.0.2.0/33")
    p.button("Apply", "dialog").click()
    p.find("#f-addresses[aria-invalid]").send_keys(Keys.BACKSPACE + Keys.BACKSPACE + "24")
    p.find("#f-action").send_keys("Deny")
    p.button("Apply", "dialog").click()
    p.closed()
    p.driver.get_log("browser")
    p.button("Add filter").click()
    p.find("#f-addresses").send_keys("192.0.2.1 - 192.0.2.4")
    p.find("#f-description").send_keys("<b>house</b>")
    p.button("Apply", "dialog").click()
    p.closed()
    p.button("Up").click()
    p.button("Test an address").click()
    p.find("#f-address").send_keys("192.0.2.5")
    p.button("Test an address", "dialog").click()
    p.has("Filter 2 of the zone decided", "dialog")
    p.button("Close", "dialog").click()
    p.closed()
    p.shot("access")
    p.button("Save").click()
    p.has("far at 192.0.2.5", "dialog")
    p.button("Save all the same", "dialog").click()
    p.closed()
    p.until(lambda: "Not saved yet" not in p.text("#main"))
    p.has("<b>house</b>")
    assert [r[0] for r in zone.sql("SELECT action FROM access_filter ORDER BY position")] == ["allow", "deny"]
    zone.sql("DELETE FROM node WHERE id = ?", ident)
    zone.sql("DELETE FROM access_list")
    p.driver.get_log("browser")
    p.fits()
    p.clean()


def test_phone_drawer_keyboard_and_language(zone, page, fleet):
    """The drawer opens by button and closes by Escape; tabs follow the arrow keys; the language can be chosen."""
    p = page(size=(390, 844)).log_in()
    p.find(".top button").click()
    link = p.find(".nav a[data-page=devices]")
    link.send_keys(Keys.ESCAPE)
    p.until(lambda: not p.driver.find_elements(By.CSS_SELECTOR, ".frame.open"))
    p.open(f"device/{fleet[0]}")
    p.find("#tab-info").send_keys(Keys.ARROW_RIGHT)
    assert p.driver.switch_to.active_element.get_attribute("id") == "tab-policies"
    p.open("profile")
    p.find("#lang").send_keys("Deutsch")
    p.has("Mein Konto")
    p.find(".top button").click()
    p.button("Abmelden").click()
    p.find("#login")


def test_help_desk_sees_what_it_may(zone, page, fleet):
    """Pages and acts that the role does not allow are not offered."""
    zone.ctl("admin", "add", "desk", "--role", "help_desk", "--password-stdin", stdin="Correct-horse-9\n")
    p = page().log_in("desk", "Correct-horse-9").open(f"device/{fleet[0]}")
    shown = {a.get_attribute("data-page") for a in p.driver.find_elements(By.CSS_SELECTOR, ".nav a")}
    assert shown == {"overview", "messages", "identities", "devices", "groups", "tasks", "pending", "bulk", "exceptions", "people", "stale", "profile"}
    assert not [b for b in p.driver.find_elements(By.CSS_SELECTOR, "#main button") if b.text in ("Edit", "Delete object")]
    p.clean()
