"""The page Push: from nothing to a tested certificate, by clicks (PSH-02..05, NOD-04)."""
import pytest

import harness
from clients import Console
from pushca import Apple
from sim.apns import Apns
from pages import Page
from test_sources import fill

OTHER = "com.apple.mgmt.External.other"


@pytest.fixture(scope="module")
def apple(factory):
    folder = factory.root / "apple-browser"
    folder.mkdir()
    return Apple(folder)


@pytest.fixture(scope="module")
def zone(factory, db, apple):
    apns = Apns(apple.server, apple.server, apple.root)
    made = factory.zone(db, extra_main=f"MDMApnsURL {apns.url}\nMDMApnsCAFile {apple.root}").start()
    yield made
    made.close()
    apns.close()


def upload(p, button, path):
    p.button(button).click()
    p.until(lambda: p.driver.find_elements("css selector", "input[type=file]"))
    p.driver.find_elements("css selector", "input[type=file]")[-1].send_keys(str(path))


def test_from_nothing_to_a_tested_certificate(zone, apple, tmp_path):
    p, console = Page(zone), Console(zone)
    try:
        p.log_in().open("push")
        p.has("There is none yet")
        p.button("Make a request").click()
        fill(p, organisation="Example & <b>Co</b>", country="de", mail="apple@example.org")
        p.shot("push-request")
        p.button("Create", "dialog").click()
        p.closed()
        p.has("Example & <b>Co</b>")
        csr = console.call("GET", "/push/request.csr")[2]
        signed = tmp_path / "signed.txt"
        signed.write_bytes(apple.sign(csr).replace(b"\n", b"\r\n"))
        upload(p, "Bring signed file", signed)
        p.has("File for Apple")
        cert = tmp_path / "MDM_Certificate.pem"
        cert.write_text(apple.portal(csr))
        upload(p, "Import certificate", cert)
        p.has(harness.TOPIC)
        p.button("Test certificate").click()
        p.has("Apple accepts the certificate.")
        p.shot("push")
        p.fits()
        p.clean()
        other = tmp_path / "other.pem"
        other.write_text(apple.portal(csr, uid=OTHER))
        upload(p, "Import certificate", other)
        p.has("must enrol again", "dialog")
        p.shot("push-new-topic")
        p.button("Import all the same", "dialog").click()
        p.closed()
        p.has(OTHER)
    finally:
        p.driver.quit()


def test_on_a_phone_in_german(zone, apple):
    p = Page(zone, size=(390, 844), language="de", dark=True)
    try:
        p.log_in().open("push")
        p.has("Weg zum Zertifikat")
        p.fits()
        p.shot("push-phone")
        p.clean()
    finally:
        p.driver.quit()
