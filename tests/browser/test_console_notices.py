"""The page Notifications: mail server and its test, texts, outbox (MAIL-01, MAIL-02, PEN-05, UI-01..06)."""
import uuid

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

import harness
import seed
import smsd
import smtpd
from clients import AUTHORISER, Console

HOSTILE = "<img src=x onerror=alert(1)>\u202egnp.exe"


@pytest.fixture(scope="module")
def db():
    return "sqlite3"


@pytest.fixture
def mta(zone):
    server = smtpd.Server(smtpd.context(zone.tls_dir))
    yield server
    server.stop()


def notice(zone, anna, state, error="", **more):
    row = {"id": str(uuid.uuid4()), "key": str(uuid.uuid4()), "event": "email_none", "person_id": anna, "device_name": HOSTILE, "state": state, "error": error,
           "due_ms": seed.now_ms() + 3_600_000, "until_ms": seed.now_ms() + 86_400_000, "created_ms": seed.now_ms(), **more}
    zone.sql(f"INSERT INTO notice ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())
    return row["id"]


def tab(p, key):
    p.find(f"[data-tab={key}]").click()
    p.until(lambda: p.driver.find_elements(By.CSS_SELECTOR, f"#panel[aria-labelledby=tab-{key}]"))


def first(p):
    """Opens the first text."""
    p.find("#panel tbody tr button").click()
    p.find("dialog #f-subject")


def test_from_nothing_to_a_message(zone, page, mta):
    """MAIL-01: without a server the page says so; set one, test it step by step, and the message is there."""
    p = page().log_in()
    assert "No mail server is set" in p.open("start").find("li[data-step=smtp]").text
    p.open("notifications")
    p.has("No mail server is set")
    tab(p, "server")
    p.button("Edit").click()
    for key, value in (("host", "localhost"), ("port", str(mta.port)), ("user", smtpd.USER), ("password", smtpd.PASSWORD), ("from", "nobody")):
        p.find(f"#f-{key}").send_keys(value)
    p.driver.execute_script("document.querySelector('dialog form').noValidate = true")
    p.button("Save", "dialog").click()
    p.has("must be a mail address", "dialog")
    p.driver.get_log("browser")  # it tells of the refusal, too
    p.find("#f-from").clear()
    p.find("#f-from").send_keys("mdm@example.org")
    p.shot("1280-light-smtp")
    p.button("Save", "dialog").click()
    p.closed()
    p.has(f"localhost:{mta.port}")
    p.button("Send a test message").click()
    p.find("#f-to").send_keys("anna@example.org")
    p.driver.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").click()
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "dialog .steps .chip.good")) == 8)
    p.shot("1280-light-smtp-test")
    assert mta.mail.to("anna@example.org")
    p.clean()


@pytest.mark.parametrize("size, dark", [((390, 844), True), ((1280, 800), False)])
def test_outbox(zone, page, size, dark):
    """What waits, went and failed, with names that stay text; one that failed is tried again."""
    anna = seed.person_id(zone, harness.PERSON)
    zone.sql("DELETE FROM notice")
    failed = notice(zone, anna, "failed", "550 5.1.1 there is no such user", device_id=seed.device(zone, HOSTILE, anna))
    waiting = notice(zone, anna, "waiting", attempts=2)
    notice(zone, anna, "sent", event="push_expiring", mail="root@example.org", to_name="Root")
    p = page(size=size, dark=dark).log_in().open("notifications")
    p.has("550 5.1.1 there is no such user")
    assert p.driver.execute_script("return document.querySelector('#panel img')") is None
    p.fits()
    p.shot(f"{size[0]}-outbox")
    Select(p.find("#q-state")).select_by_value("failed")
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "#panel tbody tr")) == 1 and "state=failed" in p.driver.current_url)
    p.button("Try again", "#panel").click()
    harness.wait_for(lambda: zone.sql("SELECT state FROM notice WHERE id = ?", failed)[0][0] != "failed")
    zone.sql("UPDATE notice SET state = 'waiting', due_ms = ?, lease_until_ms = 0 WHERE id = ?", seed.now_ms() + 3_600_000, waiting)
    p.open("notifications?state=waiting")  # the list is drawn anew whenever something changes: found and clicked in one step
    p.until(lambda: p.driver.execute_script("const b = [...document.querySelectorAll('#panel button')].find((x) => x.textContent.trim() === 'Take back'); b?.click(); return !!b"))
    p.shot(f"{size[0]}-take-back")
    p.button("Take back", "dialog").click()
    p.closed()
    harness.wait_for(lambda: zone.sql("SELECT 1 FROM notice WHERE state = 'cancelled'"))
    p.clean()


@pytest.mark.parametrize("size, language, save, title", [((390, 844), "de", "Speichern", "Gerät für Sie bereitgestellt"), ((1280, 800), "en", "Save", "Device provisioned for you")])
def test_what_all_notices_say(zone, page, size, language, save, title):
    """MAIL-02: language, organisation and support have a tab of their own; the QR code of a link is drawn in the preview."""
    was = Console(zone).get("/notifications/settings")
    try:
        p = page(size=size, language=language).log_in().open("notifications?tab=general")
        p.find("#panel .acts button").click()
        for key, value in (("organisation", HOSTILE), ("support_mail", "help@example.org"), ("support_phone", "+49 30 123-45")):
            p.find(f"#f-{key}").send_keys(value)
        p.shot(f"{size[0]}-general-edit")
        p.button(save, "dialog").click()
        p.closed()
        p.has("help@example.org")
        assert p.driver.execute_script("return document.querySelector('#panel img')") is None
        p.fits()
        p.shot(f"{size[0]}-general")
        p.open("notifications?tab=texts")
        p.has(title)
        p.driver.find_element(By.XPATH, f"//tr[contains(., '{title}')]//button").click()
        p.find("dialog .foot button").click()
        p.driver.switch_to.frame(p.find("dialog iframe"))
        p.until(lambda: p.driver.find_elements(By.CSS_SELECTOR, "svg path"))
        p.driver.switch_to.default_content()
        p.shot(f"{size[0]}-template-qr")
        p.clean()
    finally:
        assert Console(zone).call("PUT", "/notifications/settings", was)[0] == 200


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_texts(zone, page, size):
    """MAIL-02: a text is changed with preview, a wrong one is refused in words, and it is reset."""
    zone.sql("DELETE FROM notice_template")
    p = page(size=size).log_in().open("notifications?tab=texts")
    p.has("Remove the mail account made by hand")
    p.fits()
    p.shot(f"{size[0]}-texts")
    first(p)
    p.find("#f-subject").clear()
    p.find("#f-subject").send_keys("Hello ${nobody.knows}")
    p.button("Preview", "dialog").click()
    p.has("not known here", "dialog")
    p.driver.get_log("browser")  # it tells of the refusal, too
    p.find("#f-subject").clear()
    p.find("#f-subject").send_keys("Hello ${to.name}")
    p.button("Preview", "dialog").click()
    p.has("Hello Anna Adler", "dialog")
    frame = p.driver.find_element(By.CSS_SELECTOR, "dialog iframe")
    p.driver.switch_to.frame(frame)
    p.until(lambda: "iPhone Anna Adler" in p.driver.find_element(By.CSS_SELECTOR, "body").text)
    p.driver.switch_to.default_content()
    p.fits()
    p.shot(f"{size[0]}-template")
    p.button("Save", "dialog").click()
    p.closed()
    assert zone.sql("SELECT subject FROM notice_template") == [("Hello ${to.name}",)]
    p.has("Hello ${to.name}")  # the list was read again
    first(p)
    p.button("As shipped", "dialog").click()
    p.until(lambda: len(p.driver.find_elements(By.CSS_SELECTOR, "dialog")) == 1)
    p.button("As shipped", "dialog").click()
    p.closed()
    assert zone.sql("SELECT COUNT(*) FROM notice_template") == [(0,)]
    p.clean()


@pytest.mark.parametrize("size, language, words", [((390, 844), "de", ("E-Mail gesendet", "SMS fehlgeschlagen no such number")), ((1280, 800), "en", ("Mail sent", "SMS failed no such number"))])
def test_pending_says_whether_its_person_knows(zone, page, size, language, words):
    """PEN-05: of each enrolment the latest notice by each way, with what the gateway said."""
    console, anna = Console(zone), seed.person_id(zone, harness.PERSON)
    made = console.post("/pending", {"person_id": anna, "authoriser": AUTHORISER})["id"]
    try:
        for row in ({"state": "failed", "created_ms": 1}, {"state": "sent", "done_ms": seed.now_ms()}, {"state": "failed", "channel": "sms", "error": "no such number"}):
            notice(zone, anna, **{"event": "enroll_provisioned", "pending_id": made, **row})
        p = page(size=size, language=language).log_in().open("pending")
        for text in words:
            p.has(text)
        assert "550" not in p.text("#main")
        p.fits()
        p.shot(f"{size[0]}-pending-told")
        p.clean()
    finally:
        console.post(f"/pending/{made}/cancel")
        zone.sql("DELETE FROM notice")


def test_auditor_reads(zone, page):
    """USR-12: who may not write sees texts and outbox, and changes nothing."""
    zone.ctl("admin", "add", "reader", "--role", "auditor", "--password-stdin", stdin="Correct-horse-9\n")
    reader = Console(zone, "reader", "Correct-horse-9")
    assert reader.call("PUT", "/notifications/server", {"host": ""})[0] == 403
    p = page().log_in("reader", "Correct-horse-9").open("notifications?tab=texts")
    first(p)
    p.button("Preview", "dialog").click()
    p.until(lambda: p.driver.find_elements(By.CSS_SELECTOR, "dialog iframe"))
    assert not p.driver.find_elements(By.CSS_SELECTOR, "dialog button[type=submit]")
    p.clean()


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_sms_gateway(zone, page, size):
    """PEN-05: set it, see the request without secrets, save, and send a test message step by step."""
    gate = smsd.Gateway()
    try:
        p = page(size=size).log_in().open("notifications?tab=sms")
        p.has("No SMS gateway is set")
        p.button("Edit").click()
        for key, value in (("url", f"http://localhost:{gate.port}/send"), ("headers", "Content-Type: application/json\nX-Key: ${secret.key}"), ("body", '{"to":"${to}","text":"${text}"}'),
                           ("secrets", "key = Hush-4711"), ("prefixes", "+49")):
            p.find(f"#f-{key}").send_keys(value)
        p.find("#f-insecure").click()
        p.button("Preview", "dialog").click()
        p.has("X-Key: ***", "dialog")
        p.shot(f"{size[0]}-sms-edit")
        p.button("Save", "dialog").click()
        p.closed()
        p.has("POST http://localhost")
        assert "Hush" not in p.driver.page_source
        p.shot(f"{size[0]}-sms")
        p.button("Send a test SMS").click()
        p.find("#f-to").send_keys("+49 151 1234567")
        p.find("dialog button[type=submit]").click()
        p.has("MESSAGE", "dialog")
        p.until(lambda: gate.got)
        assert gate.got[0]["headers"]["X-Key"] == "Hush-4711"
        p.clean()
    finally:
        gate.stop()
        assert Console(zone).call("PUT", "/sms-gateway", {"url": ""})[0] == 200
