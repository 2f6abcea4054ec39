"""Quick tasks and schedules in the console (DEV-05, DEV-06, DEV-07, UI-01, UI-03..05, USR-12, R24)."""
import plistlib

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import seed
from clients import enrolled, new_device
from harness import wait_for
from sim.device import error
from test_folders import HOSTILE, pick, rows

PASSWORD = "Correct-horse-9"


@pytest.fixture(scope="module")
def fleet(zone, console):
    """Three managed devices, the first one supervised; the last one has a hostile name."""
    made = [new_device(zone) for _ in range(3)]
    made[0].supervised = True
    for i, device in enumerate(made):
        enrolled(zone, device)
        device.ident = console.device(device.udid)["id"]
        console.post(f"/devices/{device.ident}/refresh")
        device.poll()
        name = HOSTILE if i == 2 else f"Tablet {i}"
        zone.sql("UPDATE device SET name = ?, name_key = ? WHERE id = ?", name, name.lower(), device.ident)
    return made


@pytest.fixture(scope="module")
def group(console, fleet):
    """The three, apart from what other tests seed."""
    ident = console.post("/groups", {"name": "Till <b>east</b>"})["id"]
    console.post(f"/groups/{ident}/devices", {"add": [d.ident for d in fleet]})
    return ident


def choose(p, label):
    """An order of the start dialogue; the next dialogue is its own."""
    p.button(label, "dialog .menu").click()
    p.until(lambda: p.driver.find_elements(By.CSS_SELECTOR, "dialog .foot .btn:nth-child(2)"))


def go(p, label):
    p.button(label, "dialog .foot").click()
    p.closed()


def task_of(p):
    p.until(lambda: "#/task/" in p.driver.current_url)
    return p.driver.current_url.rpartition("/")[2]


def test_lock_selected_devices(page, console, fleet, group):
    """DEV-07: selected rows, one order with its options, progress that updates itself, each device with its outcome."""
    p = page().log_in().open(f"devices?group={group}")
    rows(p, 3)
    pick(p, 3)
    p.shot("tasks-selected")
    p.button("Quick task", ".bulk").click()
    p.has("3 devices", "dialog")
    p.shot("tasks-choose")
    choose(p, "Lock")
    p.find("#f-message").send_keys("Bring me <i>back</i>")
    p.find("#f-phone").send_keys("+1 555 0100")
    p.find("#f-spread_minutes").send_keys(Keys.BACKSPACE * 2 + "x")
    p.shot("tasks-lock")
    p.button("Lock", "dialog .foot").click()
    p.find("#f-spread_minutes[aria-invalid]")
    p.find("input[name=spread_minutes-way][value=none]").click()
    go(p, "Lock")
    ident = task_of(p)
    p.has("0 of 3 finished")
    p.has("Bring me <i>back</i>")
    p.has("20 minutes after")
    p.shot("task-running")
    wait_for(lambda: all(d["command"] for d in console.get(f"/tasks/{ident}/devices")["items"]))
    for device in fleet[:2]:
        device.poll()
    p.has("2 of 3 finished")
    fleet[2].answers["DeviceLock"] = {"Status": "Error", **error("MCMDMErrorDomain", 12007, "Try <b>later</b>")}
    fleet[2].poll()
    del fleet[2].answers["DeviceLock"]
    p.has("3 of 3 finished, 1 failed or expired")
    p.has("Try <b>later</b>")
    text = p.text("#main")
    assert "<img src=x onerror=alert(1)>" in text
    assert p.find(".stackbar").get_attribute("aria-label").startswith("Succeeded: ")
    p.shot("task")
    p.fits()
    p.clean()


def test_only_applicable_devices(page, console, fleet, group):
    """DEV-07: an order for the whole filter says how many get it and why not the rest; they are listed with their reason."""
    p = page(size=(390, 844), language="de", dark=True).log_in().open(f"devices?group={group}")
    rows(p, 3)
    p.button("Schnellauftrag").click()
    p.has("Alle Geräte dieses Filters", "dialog")
    p.has("Für 1 von 3 Geräten.", "dialog")
    p.fits()
    p.shot("tasks-choose-phone")
    choose(p, "Neu starten")
    p.find("dialog summary").click()
    p.has("2: das kann nur ein betreutes Gerät", "dialog")
    p.has("<img src=x", "dialog")
    p.shot("tasks-restart-phone")
    p.fits()
    go(p, "Neu starten")
    ident = task_of(p)
    p.has("2 von 3 abgeschlossen")
    p.until(lambda: p.driver.find_elements(By.PARTIAL_LINK_TEXT, "Nicht anwendbar")).pop().click()
    rows(p, 2)
    p.has("das kann nur ein betreutes Gerät")
    assert f"{ident}?state=not_applicable" in p.driver.current_url
    p.shot("task-phone")
    p.fits()
    fleet[0].poll()
    p.has("3 von 3 abgeschlossen")
    p.clean()


def test_list_hide_and_cancel(page, console, fleet, group):
    """UI-01: the tabs are in the address; a running task is cancelled on its page, an ended one is hidden and comes back; the keyboard does it."""
    ident = console.post("/tasks", {"kind": "lock", "devices": [fleet[1].ident], "expires_minutes": None})["id"]
    wait_for(lambda: console.get(f"/tasks/{ident}/devices")["items"][0]["command"])
    p = page().log_in().open("tasks?show=running")
    rows(p, 1)
    p.find("td.lead a").send_keys(Keys.ENTER)
    p.has("0 of 1 finished")
    p.button("Cancel task").click()
    p.has("up to 1 devices", "dialog")
    p.shot("task-cancel")
    go(p, "Cancel task")
    p.has("Cancelled")
    assert "DeviceLock" not in dict(fleet[1].poll())
    p.open("tasks")
    p.has("1 of 1 finished")
    p.shot("tasks")
    total = len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr"))
    p.find("#tab-all").send_keys(Keys.ARROW_RIGHT)
    assert p.driver.switch_to.active_element.get_attribute("id") == "tab-running"
    p.button("Hide", "tbody tr:first-child").click()
    rows(p, total - 1)
    p.find("#tab-hidden").click()
    rows(p, 1)
    assert "show=hidden" in p.driver.current_url
    p.button("Show again").click()
    p.has("None of these.")
    p.open("tasks")
    rows(p, total)
    p.fits()
    p.clean()


def test_new_tasks_appear_by_themselves(page, console, fleet):
    p = page().log_in().open("tasks?show=running")
    p.has("None of these.")
    console.post("/tasks", {"kind": "lock", "devices": [fleet[0].ident]})
    rows(p, 1)
    fleet[0].poll()


def test_many_devices_want_their_number(zone, page, console):
    """UI-04: a wipe of several, and any order to more than 20 devices, wants the number of them; a refresh does not."""
    ident = console.post("/groups", {"name": "Many"})["id"]
    ids = [seed.device(zone, f"Many {i:02d}") for i in range(21)]
    for device in ids:
        seed.record(zone, device)
    console.post(f"/groups/{ident}/devices", {"add": ids})
    p = page().log_in().open("groups")
    button = p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'Many')]//button[contains(., 'Quick task')]"))
    button.click()
    choose(p, "Lock")
    p.has("21 of 21 devices", "dialog")
    p.find("#f-confirm").send_keys("20")
    p.button("Lock", "dialog .foot").click()
    p.find("#f-confirm[aria-invalid]")
    p.shot("tasks-number")
    p.button("Cancel", "dialog .foot").click()
    p.closed()
    p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'Many')]//button[contains(., 'Quick task')]")).click()
    choose(p, "Erase everything")
    p.find("#f-confirm").send_keys("21")
    zone.sql("DELETE FROM device_group_member WHERE group_id = ? AND device_id = ?", ident, ids[0])  # the filter gives another number by then
    p.button("Erase everything", "dialog .foot").click()
    p.has("not as many devices any more", "dialog")
    p.shot("tasks-wipe")
    assert zone.sql("SELECT COUNT(*) FROM device WHERE state = 'wipe_pending'")[0][0] == 0
    p.button("Cancel", "dialog .foot").click()
    p.closed()
    p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'Many')]//button[contains(., 'Quick task')]")).click()
    choose(p, "Refresh")
    assert not p.driver.find_elements(By.CSS_SELECTOR, "#f-confirm")
    go(p, "Refresh")
    task_of(p)
    p.has("of 20 finished")
    refused = [x for x in p.driver.get_log("browser") if x["level"] == "SEVERE"]
    assert len(refused) == 1 and "409" in refused[0]["message"]


def test_device_page_starts_tasks_and_leads_to_them(page, console, fleet):
    """DEV-07: the device's own actions are quick tasks; its history names them."""
    p = page().log_in().open(f"device/{fleet[1].ident}")
    p.button("Actions").click()
    p.shot("device-actions-task")
    choose(p, "Lock")
    assert not p.driver.find_elements(By.CSS_SELECTOR, "#f-spread_minutes, #f-confirm")
    p.find("input[name=expires_minutes-way][value=none]").click()
    p.find("#f-reason").send_keys("left in a taxi")
    go(p, "Lock")
    p.until(lambda: "DeviceLock" in dict(fleet[1].poll()))
    p.open(f"device/{fleet[1].ident}?tab=commands")
    p.until(lambda: p.driver.find_element(By.LINK_TEXT, "Quick task")).click()
    p.has("left in a taxi")
    p.has("1 of 1 finished")
    p.has("Never")
    p.clean()


def test_install_and_remove_a_profile(page, fleet, tmp_path):
    """A file goes to one device and is shown by its name; what is none is refused at its field."""
    bad, good = tmp_path / "bad.mobileconfig", tmp_path / "office.mobileconfig"
    bad.write_text("hello")
    good.write_bytes(plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "org.example.office", "PayloadVersion": 1,
                                     "PayloadUUID": "3F2504E0-4F89-11D3-9A0C-0305E82C3302", "PayloadDisplayName": "Office", "PayloadContent": []}))
    p = page().log_in().open(f"device/{fleet[0].ident}")
    p.button("Actions").click()
    choose(p, "Install a profile")
    p.find("#f-profile").send_keys(str(bad))
    p.button("Install a profile", "dialog .foot").click()
    p.has("no configuration profile", "dialog")
    p.find("#f-profile").send_keys(str(good))
    go(p, "Install a profile")
    p.until(lambda: "InstallProfile" in dict(fleet[0].poll()))
    p.open("tasks")
    p.find("td.lead a").click()
    p.has("Office")


def test_help_desk(zone, page, console, fleet, group):
    """USR-12: a help desk may lock and refresh; profiles and raw commands are not offered, nor schedules to set."""
    zone.ctl("admin", "add", "desk", "--role", "help_desk", "--password-stdin", stdin=PASSWORD + "\n")
    p = page().log_in("desk", PASSWORD).open(f"devices?group={group}")
    rows(p, 3)
    p.button("Quick task").click()
    p.button("Lock", "dialog .menu")
    offered = {b.text for b in p.driver.find_elements(By.CSS_SELECTOR, "dialog .menu button")}
    assert {"Refresh", "Lock", "Unenrol"} <= offered and not offered & {"Install a profile", "Remove a profile", "Raw command"}
    p.button("Close", "dialog").click()
    p.closed()
    p.open(f"device/{fleet[1].ident}")
    p.has("Every 2 hours")
    assert not [b for b in p.driver.find_elements(By.CSS_SELECTOR, "#main button") if b.text == "Change"]
    p.button("Actions").click()
    p.button("Lock", "dialog .menu")
    assert not {b.text for b in p.driver.find_elements(By.CSS_SELECTOR, "dialog .menu button")} & {"Install a profile", "Name on the device", "Raw command"}
    p.clean()


def test_folder_limits(zone, page, console, fleet):
    """USR-12: who is limited to a folder reaches its devices only, and sees the tasks that he started."""
    other = console.post("/tasks", {"kind": "refresh", "devices": [fleet[0].ident]})["id"]
    folder = console.post("/folders", {"name": "Limited"})["id"]
    inside = seed.device(zone, "Inside", folder_id=folder)
    seed.record(zone, inside)
    role = zone.sql("SELECT id FROM role WHERE name = 'administrator'")[0][0]
    console.post("/admins", {"login": "limited", "name": "Limited", "kind": "local", "password": PASSWORD, "role_id": role, "folders": [folder]})
    p = page().log_in("limited", PASSWORD).open("tasks")
    p.has("No quick tasks yet")
    p.open("devices")
    rows(p, 1)
    p.button("Quick task").click()
    p.has("All devices: 1 devices", "dialog")
    choose(p, "Lock")
    go(p, "Lock")
    mine = task_of(p)
    p.has("Inside")
    p.open("tasks")
    rows(p, 1)
    p.clean()
    p.driver.get(f"{zone.admin_url}#/task/{other}")
    p.has("no such page")
    assert console.get(f"/tasks/{mine}")["total"] == 1


# ---- schedules

def test_schedules_of_zone_folder_and_device(zone, page, console, fleet):
    """DEV-05, DEV-06: each overrides the one above it, and the page says where the value comes from."""
    folder = console.post("/folders", {"name": HOSTILE})["id"]
    console.post("/devices/move", {"devices": [fleet[1].ident], "folder": folder})
    p = page().log_in().open("schedule")
    p.has("Every 2 hours")
    p.has("as delivered")
    p.button("Change").click()
    p.find("dialog input.short")
    short = p.driver.find_elements(By.CSS_SELECTOR, "dialog input.short")
    for field, text in zip(short, ("0", "0", "59", "30")):
        field.clear()
        field.send_keys(text)
    p.button("Save", "dialog").click()
    p.has("60", "dialog .err")
    p.shot("schedule-zone")
    field = p.driver.find_elements(By.CSS_SELECTOR, "dialog input.short")[1]
    field.clear()
    field.send_keys("3")
    go(p, "Save")
    p.has("Every 3 hours, 59 minutes")
    p.has("After 30 days of silence")
    p.has("set for the zone")
    p.shot("schedule")
    p.button("Set for a folder").click()
    p.button("Go on", "dialog")
    p.driver.execute_script("const s = document.getElementById('f-folder'); s.value = arguments[0]", folder)
    p.button("Go on", "dialog").click()
    p.has("Every 3 hours, 59 minutes", "dialog")
    p.button("Cancel", "dialog").click()
    p.closed()
    p.open(f"devices?folder={folder}")
    p.button("Schedules", ".tree").click()
    p.has("Every 3 hours, 59 minutes", "dialog")
    p.find("input[name=refresh-way][value=manual]").click()
    p.find("input[name=lost-way][value=never]").click()
    p.shot("schedule-folder")
    go(p, "Save")
    p.open("schedule")
    p.has("Folders with their own")
    rows(p, 1)
    p.has("By hand only")
    p.shot("schedule-folders")
    p.open(f"device/{fleet[1].ident}")
    p.has("By hand only")
    p.has("set for the folder <img src=x")
    p.button("Change").click()
    assert not p.driver.find_elements(By.CSS_SELECTOR, "input[name=lost-way]")
    field = p.find("dialog input.short")
    field.clear()
    field.send_keys("2")
    p.shot("schedule-device")
    go(p, "Save")
    p.has("Every 2 days")
    p.has("set for this device")
    p.shot("device-schedule")
    p.button("Change").click()
    p.find("input[name=refresh-way][value=above]").click()
    go(p, "Save")
    p.has("By hand only")
    bad = [x for x in p.driver.get_log("browser") if x["level"] == "SEVERE"]
    assert len(bad) == 1 and "400" in bad[0]["message"]
    console.call("PUT", "/schedule", {"refresh": None, "lost": {"days": 0}})


def test_schedules_on_a_phone(page):
    p = page(size=(390, 844), language="de", dark=True).log_in().open("schedule")
    p.has("Alle 2 Stunden")
    p.fits()
    p.shot("schedule-phone")
    p.button("Ändern").click()
    p.find("dialog input.short")
    p.fits()
    p.shot("schedule-phone-dialog")
    p.clean()


def test_retention_is_set(page, console):
    """DEV-16, UI-03: days are shown and set; what the server refuses is told at the field; a phone, dark, German."""
    p = page().log_in().open("retention")
    p.has("180 days")
    p.button("Change").click()
    for field, text in (("history_days", "13"), ("message_days", "0")):
        p.find(f"#f-{field}").clear()
        p.find(f"#f-{field}").send_keys(text)
    p.button("Save", "dialog").click()
    p.has("14 days at least", "dialog .err")
    p.find("#f-history_days[aria-invalid]").clear()
    p.find("#f-history_days").send_keys("365")
    go(p, "Save")
    p.has("365 days")
    p.has("For ever")
    p.shot("retention")
    assert console.get("/retention") == {"history_days": 365, "message_days": 0, "pending_days": 180}
    p = page(size=(390, 844), language="de", dark=True).log_in().open("retention")
    p.has("365 Tage")
    p.fits()
    p.shot("retention-phone")
    p.button("Ändern").click()
    p.find("#f-history_days")
    p.fits()
    p.clean()
    console.call("PUT", "/retention", {"history_days": 180, "message_days": 180})


def test_mail_only_devices_have_no_schedule(zone, page):
    """DEV-05: nobody asks a device that only mail knows."""
    ident = seed.device(zone, "Mail", mode="eas", level="email_only")
    p = page().log_in().open(f"device/{ident}")
    p.has("Mail")
    assert "Schedules" not in p.text("#panel")
    p.clean()
