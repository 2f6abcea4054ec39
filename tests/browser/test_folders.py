"""Folders and groups in the console (DEV-01, UI-05): made, filled, looked at, deleted by clicks."""
from selenium.webdriver.common.by import By

import seed
from pages import Page

HOSTILE = "<img src=x onerror=alert(1)> \u202eevil"


def pick(p, count):
    for i in range(count):  # each choice draws the list anew
        p.until(lambda: p.driver.find_elements(By.CSS_SELECTOR, "tbody .pickcell input")[i].click() or True)
        p.has(f"{i + 1} selected")


def write(p, name, text):
    field = p.find(f"#f-{name}")
    field.clear()
    field.send_keys(text)


def rows(p, count):
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == count)


def test_folder_and_group_by_clicks(zone):
    for i in range(4):
        seed.device(zone, f"Till {i}")
    p = Page(zone)
    try:
        p.log_in().open("devices")
        p.find("details.tree summary").click()
        p.button("New folder").click()
        write(p, "name", HOSTILE)
        p.button("Create", "dialog").click()
        p.closed()
        pick(p, 2)
        p.button("Move").click()
        options = p.driver.find_elements(By.CSS_SELECTOR, "#f-folder option")
        next(o for o in options if "evil" in o.text).click()
        p.button("Move", "dialog").click()
        p.closed()
        p.find("details.tree summary").click()
        p.until(lambda: next((a for a in p.driver.find_elements(By.CSS_SELECTOR, ".tree a") if "evil" in a.text), None)).click()
        rows(p, 2)
        assert "folder=" in p.driver.current_url
        p.shot("folder")
        p.open("groups")
        p.button("New group").click()
        write(p, "name", "Tills")
        p.button("Create", "dialog").click()
        p.closed()
        p.has("Tills")
        p.open("devices")
        pick(p, 3)
        p.button("Add to group").click()
        p.button("Add to group", "dialog").click()
        p.closed()
        p.find("#q-group option:nth-child(2)").click()
        rows(p, 3)
        p.open("groups")
        p.shot("groups")
        p.button("Delete group").click()
        p.button("Delete group", "dialog").click()
        p.closed()
        p.has("There is no group yet.")
        p.clean()
    finally:
        p.driver.quit()


def test_folders_on_a_phone(zone):
    """UI-03: the tree folds away and nothing is wider than the screen."""
    p = Page(zone, size=(390, 844), dark=True)
    try:
        p.log_in().open("devices")
        tree = p.find("details.tree")
        assert not tree.get_attribute("open")
        p.shot("folders-phone")
        tree.find_element(By.TAG_NAME, "summary").click()
        p.shot("folders-phone-open")
        assert p.driver.execute_script("return document.documentElement.scrollWidth") <= 390
        p.clean()
    finally:
        p.driver.quit()
