"""Administrators in the console: people, roles, tokens, own account, help (USR-12, API-03, UI-03..06)."""
import re
import uuid
from pathlib import Path

import harness
import seed
from lib.zonefiles import BUILD
from clients import AUTHORISER, Console
from test_sources import fill
from selenium.webdriver.common.by import By

ROOT = Path(__file__).resolve().parents[2]
RTL, MARKUP, LONG = "\u202eevil\u202c שלום", "<img src=x onerror=alert(1)>", "w" * 180


def test_administrators_by_clicks(zone, page):  # noqa: F811
    """UI-05: a role with its matrix, an administrator with it, his token (shown once), his end; hostile names stay names."""
    p = page().log_in().open("admins?tab=roles")
    p.button("Add role").click()
    fill(p, name=MARKUP)
    p.find("input[aria-label='Devices: See']").click()
    p.shot("admins-role")
    p.button("Create", "dialog").click()
    p.closed()
    p.has(MARKUP)
    p.shot("admins-roles")
    p.open("admins").button("Add administrator").click()
    fill(p, login="rosa", name=RTL, password="Correct-horse-9")
    p.until(lambda: next(o for o in p.driver.find_elements(By.CSS_SELECTOR, "#f-role_id option") if o.text == MARKUP)).click()
    p.shot("admins-add")
    p.button("Create", "dialog").click()
    p.closed()
    p.has("rosa")
    p.shot("admins")
    source = str(uuid.uuid4())
    zone.sql("INSERT INTO user_source (id, name, kind, position, enabled, config, created_ms) VALUES (?, ?, 'ldap', 9, 0, '{\"type\": \"openldap\", \"host\": \"localhost\"}', 1)", source, MARKUP)
    p.open("admins").button("Add administrator").click()
    fields = lambda: [p.driver.find_element(By.CSS_SELECTOR, f"#f-{x}").is_displayed() for x in ("password", "source_id")]  # noqa: E731
    p.until(lambda: fields() == [True, False])
    p.until(lambda: next(o for o in p.driver.find_elements(By.CSS_SELECTOR, "#f-kind option") if o.text == "Directory group")).click()
    fill(p, login="cn=Desk,o=Org")
    assert fields() == [False, True]
    p.shot("admins-group")
    p.button("Create", "dialog").click()
    p.closed()
    p.has("cn=Desk,o=Org")
    p.shot("admins-groups")
    assert next(a for a in Console(zone).get("/admins")["items"] if a["kind"] == "group")["source"]["id"] == source
    zone.sql("DELETE FROM user_source WHERE id = ?", source)
    assert Console(zone, "rosa", "Correct-horse-9").get("/me")["rights"] == {"device": ["read"]}
    p.open("admins?tab=tokens").button("Add token").click()
    p.until(lambda: next(o for o in p.driver.find_elements(By.CSS_SELECTOR, "#f-admin_id option") if o.text == "rosa")).click()
    fill(p, name="nightly", days="30")
    p.button("Create", "dialog").click()
    secret = p.until(lambda: next(e.get_attribute("value") for e in p.driver.find_elements(By.CSS_SELECTOR, "dialog input[readonly]")))
    assert secret.startswith("mdm_")
    p.button("Close", "dialog").click()
    p.closed()
    p.has("nightly")
    assert secret not in p.driver.page_source
    p.open("admins")
    p.until(lambda: p.driver.find_element(By.XPATH, "//tr[contains(., 'rosa')]//button[contains(., 'Delete')]").click() or True)
    p.button("Delete", "dialog").click()
    p.closed()
    harness.wait_for(lambda: not zone.sql("SELECT 1 FROM admin WHERE login = 'rosa'"))
    p.clean()


def test_own_account(zone, page):  # noqa: F811
    """Own token made and ended; light and dark by choice, kept over a reload."""
    p = page().log_in().open("profile")
    p.button("Add token").click()
    fill(p, name="mine", days="1")
    p.button("Create", "dialog").click()
    p.until(lambda: "shown again" in p.driver.find_elements(By.CSS_SELECTOR, "dialog")[-1].text)
    p.button("Close", "dialog").click()
    p.closed()
    p.has("mine")
    p.shot("profile")
    dark = "return getComputedStyle(document.body).backgroundColor"
    light = p.driver.execute_script(dark)
    p.find("#theme option[value=dark]").click()
    p.until(lambda: p.driver.execute_script(dark) != light)
    p.driver.refresh()
    p.find("#main h1")
    assert p.driver.execute_script(dark) != light
    p.shot("profile-dark")
    p.button("Delete").click()
    p.button("Delete", "dialog").click()
    p.closed()
    p.has("No API tokens")
    p.clean()


def test_hostile_names_fit_everywhere(zone, page):  # noqa: F811
    """R24, UI-03: a right-to-left name, markup and a very long name in each list at 320 px: isolated, not read as markup, nothing overflows."""
    role = zone.sql("SELECT id FROM role WHERE name = 'auditor'")[0][0]
    api = Console(zone)
    for i, bad in enumerate((RTL, MARKUP, LONG)):
        person = api.post("/people", {"login": f"bad{i}", "name": bad, "password": "Correct-horse-9"})["id"]
        seed.device(zone, bad, person, serial=None)
        api.post("/pending", {"person_id": person, "authoriser": AUTHORISER})
        api.post("/admins", {"login": f"bad{i}", "name": bad, "kind": "local", "password": "Correct-horse-9", "role_id": role})
        api.post("/roles", {"name": f"role {bad}", "rights": {}})
        api.post("/me/tokens", {"name": bad, "days": 1})
    p = page(size=(320, 640)).log_in()
    for view in ("devices", "people", "pending", "admins", "admins?tab=roles", "admins?tab=tokens", "profile", "audit", "overview"):
        p.open(view)
        p.fits()
        assert not p.driver.find_elements(By.CSS_SELECTOR, "#main img[src=x]"), view
        loose = p.driver.execute_script(
            "const w = document.createTreeWalker(document.querySelector('#main'), NodeFilter.SHOW_TEXT), out = [];"
            "while (w.nextNode()) if (/[\\u202e\\u05d0-\\u05ea]/.test(w.currentNode.data) && !w.currentNode.parentElement.closest('bdi')) out.push(w.currentNode.data);"
            "return out")
        assert not loose, (view, loose)
        p.shot("hostile-" + re.sub(r"\W+", "-", view))
    p.clean()


def test_help_of_each_page(zone, page):  # noqa: F811
    """UI-06: each page's help link opens an existing heading of the shipped docs, in our own style and without script."""
    app = (ROOT / "modules/admin/ui/app.js").read_text()
    names = set(re.findall(r"\['(\w+)', '\w+', '\w+:read'", app)) | {"profile"}
    assert len(names) > 9
    p = page().log_in()
    targets = {}
    for name in sorted(names):
        p.open(name)
        targets[name] = p.find("#main a.help").get_attribute("href")
    p.open(f"device/{seed.device(zone, 'Helped')}")
    targets["device"] = p.find("#main a.help").get_attribute("href")
    task = Console(zone).post("/tasks", {"kind": "refresh", "filter": {}})["id"]
    p.open(f"task/{task}")
    targets["task"] = p.find("#main a.help").get_attribute("href")
    assert len(set(targets.values())) == len(targets)
    for name, target in targets.items():
        p.driver.get(target)
        heading = p.driver.execute_script("return document.getElementById(location.hash.slice(1))?.tagName")
        assert heading in ("H1", "H2", "H3"), (name, target)
    assert not p.driver.find_elements(By.CSS_SELECTOR, "script, [style]")
    p.driver.get(zone.admin_url + "help/")
    p.driver.find_element(By.LINK_TEXT, "The console, page by page").click()
    assert p.text("h1") == "The console, page by page"
    p.clean()


def test_links_of_the_docs():
    """Links between the pages of the manual meet pages and headings."""
    folder = BUILD / "ui/admin/help"
    ids = {f.name: set(re.findall(r'id="([^"]+)"', f.read_text())) for f in folder.glob("*.html")}
    for f in folder.glob("*.html"):
        for target, part in re.findall(r'href="([a-z]+\.html)(?:#([^"]+))?"', f.read_text()):
            assert target in ids and (not part or part in ids[target]), (f.name, target, part)
