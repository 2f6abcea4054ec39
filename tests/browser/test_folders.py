"""Folders and groups in the console (DEV-01, UI-05): made, filled, looked at, deleted by clicks."""
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import seed
from pages import Page

HOSTILE = "<img src=x onerror=alert(1)> \u202eevil"


def pick(p, count):
    for i in range(count):  # each choice draws the list anew
        def tick():
            box = p.driver.find_elements(By.CSS_SELECTOR, "tbody .pickcell input")[i]
            return box.is_selected() or box.click()
        p.until(tick)
        p.has(f"{i + 1} selected")


def write(p, name, text):
    field = p.find(f"#f-{name}")
    field.clear()
    field.send_keys(text)


def press(p, text):
    """A button of the list, which is drawn anew whenever it was read again."""
    p.until(lambda: p.button(text).click() or True)


def folders(p, name):
    """The links of the tree with that name, whether it is folded or not."""
    return [a for a in p.driver.find_elements(By.CSS_SELECTOR, ".tree nav a") if name in a.get_property("textContent")]


def enter(p, name):
    """Goes to a folder; the page may be drawn anew, and its tree be folded again, at any time."""
    def go():
        tree = p.find("details.tree")
        if not tree.get_property("open"):
            tree.find_element(By.TAG_NAME, "summary").click()
        folders(p, name)[0].click()
    p.until(lambda: "folder=" in p.driver.current_url or go())


def rows(p, count):
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "tbody tr")) == count)


def test_folder_and_group_by_clicks(zone):
    for i in range(4):
        seed.device(zone, f"Till {i}")
    p = Page(zone)
    try:
        p.log_in().open("devices")
        p.until(lambda: p.find("details.tree summary").click() or True)
        p.button("New folder").click()
        write(p, "name", HOSTILE)
        p.button("Create", "dialog").click()
        p.closed()
        p.until(lambda: folders(p, "evil"))  # before that it is the page of before
        pick(p, 2)
        press(p, "Move")
        p.until(lambda: next(o for o in p.driver.find_elements(By.CSS_SELECTOR, "#f-folder option") if "evil" in o.text).click() or True)
        p.button("Move", "dialog").click()
        p.closed()
        enter(p, "evil")
        rows(p, 2)
        p.shot("folder")
        p.open("groups")
        p.button("New group").click()
        write(p, "name", "Tills")
        p.button("Create", "dialog").click()
        p.closed()
        p.has("Tills")
        p.open("devices")
        pick(p, 3)
        press(p, "Add to group")
        p.button("Add to group", "dialog").click()
        p.closed()
        p.until(lambda: "group=" in p.driver.current_url or Select(p.find("#q-group")).select_by_index(1))
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
