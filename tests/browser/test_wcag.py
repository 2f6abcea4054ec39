"""UI-03: every page of console, manual and portal is checked by axe-core, light and dark, phone and desktop; UI-02: what goes over the wire."""
import json
import os
import shutil
import subprocess
import urllib.parse
from pathlib import Path

import pytest

import harness
import seed
from chromium import chromium
from clients import AUTHORISER, Console
from lib.zonefiles import BUILD
from pages import Page
from test_console import PAGES
from test_portal import find, fits, go, log_in, shot

HERE = Path(__file__).resolve().parent
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
LOOKS = [((390, 844), False), ((390, 844), True), ((1280, 800), False), ((1280, 800), True)]
BOTH = LOOKS[1:3]  # each size and each theme once: contrast follows the theme, room the size


@pytest.fixture(scope="session")
def axe():
    """The checker's source, installed once below the build folder from the pinned version."""
    home = BUILD / "npm"
    source = home / "node_modules/axe-core/axe.min.js"
    lock = (HERE / "package-lock.json").read_bytes()
    if not source.is_file() or (home / "package-lock.json").read_bytes() != lock:
        home.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, home)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=home, check=True, timeout=300,
                       capture_output=True, env={**os.environ, "npm_config_update_notifier": "false"})
    return source.read_text()


def check(driver, axe, where):
    """Runs the rules on the page as it stands; the driver's own world is not bound by the page's CSP."""
    if not driver.execute_script("return !!window.axe"):
        driver.execute_script(axe)
    found = driver.execute_async_script(
        "const done = arguments[arguments.length - 1]; axe.run(document, arguments[0]).then((r) => done([r.violations, r.passes.length]), (e) => done([[{id: String(e), nodes: []}], 0]))",
        RULES)
    found, passed = found
    assert passed > 5, where  # it did look
    bad = [(v["id"], [(n["target"], n["failureSummary"]) for n in v["nodes"]][:3]) for v in found]
    assert not bad, (where, json.dumps(bad, indent=1))


def sent(driver):
    """(address, bytes over the wire) of everything that was fetched since the last call."""
    urls, sizes = {}, {}
    for entry in driver.get_log("performance"):
        m = json.loads(entry["message"])["message"]
        if m["method"] == "Network.requestWillBeSent":
            urls[m["params"]["requestId"]] = m["params"]["request"]["url"]
        elif m["method"] == "Network.loadingFinished":
            sizes[m["params"]["requestId"]] = m["params"]["encodedDataLength"]
    return [(urls[k], sizes.get(k, 0)) for k in urls]


@pytest.fixture(scope="module")
def views(zone):
    """Addresses of console pages with something on each."""
    api, role = Console(zone), zone.sql("SELECT id FROM role WHERE name = 'help_desk'")[0][0]
    anna = seed.person_id(zone, harness.PERSON)
    ident = [seed.device(zone, f"Phone {i}", anna, state=s) for i, s in enumerate(("active", "retired", "blocked", "wipe_pending"))][0]
    seed.record(zone, ident)
    zone.sql("INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text) VALUES (?, 'device', ?, 1, 3, 'x', 'Something happened')",
             "00000000-0000-4000-8000-0000000000aa", ident)
    api.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})
    api.post("/admins", {"login": "desk", "name": "Desk", "kind": "local", "password": "Correct-horse-9", "role_id": role})
    source = api.get("/sources")["items"][0]["id"]
    for server in ("West", "East"):
        api.post("/eas-servers", {"name": server, "host": "mail.example.org", "sources": [source]})
    api.post("/me/tokens", {"name": "nightly", "days": 3})
    folder = api.post("/folders", {"name": "Tills"})["id"]
    etag = api.call("GET", f"/folders/{folder}/schedule")[1]["ETag"]
    api.call("PUT", f"/folders/{folder}/schedule", {"refresh": {"mode": "manual"}}, If_Match=etag)
    task = api.post("/tasks", {"kind": "restart", "filter": {}})["id"]
    unknown = seed.device(zone, "Waits")
    seed.record(zone, unknown)
    running = api.post("/tasks", {"kind": "lock", "devices": [ident, unknown], "expires_minutes": None})["id"]
    rows = f"username;team\n{harness.PERSON};x\nnobody;y\n".encode()
    bulk = json.loads(api.http.fetch("POST", api.base + "/api/v1/bulk-runs", rows, {**api.headers, "Content-Type": "text/csv"})[2])["id"]
    harness.wait_for(lambda: api.get(f"/bulk-runs/{bulk}")["state"] == "checked")
    api.post("/groups", {"name": "Kiosk"})
    policy = api.post("/policies", {"type": "security", "name": "Locks", "levels": {"corporate": "strict", "personal": "low"}, "publish": True})["id"]
    api.post("/assignments", {"policy": policy, "targets": [{"kind": "person", "id": anna}, {"kind": "folder", "id": folder}]})
    harness.wait_for(lambda: api.get(f"/policies/{policy}/status")["counts"])
    return PAGES + ["notifications?tab=texts", "notifications?tab=server", f"policy/{policy}"] + [f"policy/{policy}?part={x}" for x in ("assignments", "delivery", "versions")] + ["admins?tab=roles", "admins?tab=tokens", "tasks?show=running", f"task/{task}?state=not_applicable", f"task/{running}", f"bulkrun/{bulk}", f"device/{ident}"] + [f"device/{ident}?tab={t}" for t in ("policies", "apps", "commands", "timeline", "audit")]


@pytest.mark.parametrize("size, dark", BOTH)
def test_console_and_manual(zone, axe, views, size, dark):
    """No violation on any page, no console error, nothing from elsewhere."""
    p = Page(zone, size=size, dark=dark, language="de" if dark else "en", traffic=True)
    try:
        p.driver.execute_cdp_cmd("Network.enable", {})
        p.driver.get(zone.admin_url)
        p.find("#login")
        check(p.driver, axe, "login")
        p.log_in()
        for view in views:
            p.open(view)
            check(p.driver, axe, (view, size, dark))
        for f in sorted((BUILD / "ui/admin/help").glob("*.html")) if (size[0] < 700) == dark else []:
            p.driver.get(f"{zone.admin_url.rstrip('/')}/help/{f.name}")
            check(p.driver, axe, (f.name, size, dark))
            p.fits()
        own = urllib.parse.urlsplit(zone.admin_url).netloc
        assert {urllib.parse.urlsplit(u).netloc for u, _ in sent(p.driver) if u.startswith("http")} == {own}
        p.clean()
    finally:
        p.driver.quit()


@pytest.mark.parametrize("size, dark", BOTH)
def test_dialogs(zone, axe, views, size, dark):
    """Forms are pages, too: those of people, enrolments and administrators."""
    p = Page(zone, size=size, dark=dark)
    try:
        p.log_in()
        for view, label in (("people", "Add person"), ("eas", "Add server"), ("eas", "Test authentication"), ("pending", "Provision user"), ("otps", "Edit"), ("otps", "Set agent"), ("admins", "Add administrator"),
                            ("admins?tab=roles", "Add role"), ("admins?tab=tokens", "Add token"), ("profile", "Change password"),
                            ("schedule", "Change"), ("groups", "Policies"), ("groups", "New dynamic group"), (next(v for v in views if v.endswith("part=assignments")), "Assign"), ("devices", "Quick task"), ("devices", "Quick task/Lock"), ("devices", "Quick task/Erase everything")):
            label, _, then = label.partition("/")
            p.open(view).button(label).click()
            if then:
                p.button(then, "dialog .menu").click()
            p.until(lambda: p.text("dialog h2") != label or not then)
            check(p.driver, axe, (view, label, then, size, dark))
            p.fits()
            p.button("Close" if label.startswith("Test") or label == "Policies" or label == "Quick task" and not then else "Cancel", "dialog").click()
            p.closed()
        p.clean()
    finally:
        p.driver.quit()


@pytest.mark.parametrize("size, dark", LOOKS)
def test_portal(zone, axe, size, dark):
    """The portal before and after log-in, with an enrolment begun."""
    driver = chromium(size, dark=dark)
    try:
        driver.get(zone.portal_url)
        find(driver, "#login")
        check(driver, axe, "portal log-in")
        log_in(driver, zone)
        find(driver, "#enroll")
        check(driver, axe, "portal")
        find(driver, "#enroll").click()
        find(driver, "#start button[type=submit]")
        check(driver, axe, "portal enrol")
        assert not [x for x in driver.get_log("browser") if x["level"] in ("SEVERE", "WARNING")]
    finally:
        driver.quit()


@pytest.mark.parametrize("size, dark", BOTH)
def test_account_pages(zone, axe, size, dark):
    """IOS-08, POR-07: the pages that a device shows for a log-in with an account, in its settings; what is refused, too."""
    api = Console(zone)
    assert api.call("PUT", "/enrollment-settings", {"account": {"mode": "both"}})[0] == 200
    driver = chromium(size, dark=dark, language="de" if dark else "en")
    try:
        driver.get(zone.public_url + "/enroll/account/adde/login?user-identifier=anna%40example.org")
        find(driver, "#password").send_keys("wrong")
        go(driver, "button[type=submit]")
        find(driver, "[role=alert]")
        check(driver, axe, "account log-in")
        fits(driver)
        shot(driver, f"account-login-{size[0]}")
        find(driver, "#password").send_keys(harness.PERSON_PASSWORD)
        go(driver, "button[type=submit]")
        find(driver, "form[action*='/start'] button[type=submit]")
        check(driver, axe, "account start")
        fits(driver)
        shot(driver, f"account-start-{size[0]}")
        driver.get(zone.public_url + "/enroll/account/adde/start?user-identifier=ben%40example.org")
        find(driver, "main")
        check(driver, axe, "account of somebody else")
        fits(driver)
    finally:
        driver.quit()
        api.call("PUT", "/enrollment-settings", {"account": {"mode": "off"}})


@pytest.mark.parametrize("size, dark", BOTH)
def test_link_pages(zone, axe, size, dark):
    """PEN-09, POR-04, POR-07: what a link for any platform shows on a computer, and the pages that can be chosen there."""
    api = Console(zone)
    agent = {"component": "org.example.agent/.AdminReceiver", "url": "https://files.example.org/agent.apk", "checksum": "9f" * 32}
    assert api.call("PUT", "/enrollment-settings", {"agent": agent})[0] == 200
    made = api.post("/pending", {"person_id": seed.person_id(zone, harness.PERSON), "platform": "unknown", "authoriser": AUTHORISER})
    driver = chromium(size, dark=dark)
    try:
        for part, there in (("", "[data-kind]"), ("?on=ios", "#otp"), ("?on=android", "#agent")):
            driver.get(made["link"] + part)
            find(driver, there)
            check(driver, axe, part or "choice")
            fits(driver)
    finally:
        driver.quit()
        api.post(f"/pending/{made['id']}/cancel")
        api.call("PUT", "/enrollment-settings", {"agent": None})


def test_first_view_over_the_wire(zone, views):
    """UI-02: log-in page, frame and first page together take at most 200 KB, headers included."""
    p = Page(zone, size=(390, 844), traffic=True)
    try:
        p.driver.execute_cdp_cmd("Network.enable", {})
        p.log_in().has("Devices by state")
        all_sent = sent(p.driver)
        assert 10_000 < sum(n for _, n in all_sent) <= 200_000, all_sent
    finally:
        p.driver.quit()
