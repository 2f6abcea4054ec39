"""ActiveSync servers in the console, in a real browser: EAS-01, EAS-02, EAS-04, UI-01, UI-03, R24."""
import json
import re
import ssl

import pytest

import harness
import zonefiles as zf
from clients import Console
from sim.eas_server import EasServer
from test_sources import choose, fill

PASSWORD = "mailbox-Pass-1"


@pytest.fixture(scope="module")
def back(tmp_path_factory):
    """A mail server whose certificate nobody trusts."""
    ca, key = zf.make_ca("Mail department's CA")
    cert, cert_key = zf.issue(ca, key, "localhost", dns=["localhost"])
    pem = tmp_path_factory.mktemp("tls") / "server.pem"
    pem.write_bytes(cert.public_bytes(zf.serialization.Encoding.PEM) + zf._pem_key(cert_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = EasServer({harness.PERSON: PASSWORD}, context=context)
    yield server
    server.close()


def test_server_from_adding_to_deleting(zone, page, back):  # noqa: F811
    """Added, tested with a live account, its certificate accepted, tested again, put in order, edited; a policy keeps it, then it goes."""
    p, api = page().log_in().open("eas"), Console(zone)
    p.has("No mail server yet")
    p.button("Add server").click()
    fill(p, name="Post <b>", host="localhost", port=str(back.port))
    p.shot("eas-add")
    p.button("Create", "dialog").click()
    p.closed()
    p.has("Post <b>")
    p.has("Local")
    p.button("Test authentication").click()
    fill(p, login=harness.PERSON, password=PASSWORD)
    p.button("Run test", "dialog").click()
    p.has("Mail department's CA", "dialog")
    p.shot("eas-certificate")
    assert not back.requests
    p.button("Accept certificate", "dialog").click()
    p.closed()
    p.has("accepted")
    p.button("Test authentication").click()
    fill(p, login=harness.PERSON, password="wrong")
    p.button("Run test", "dialog").click()
    p.has("401", "dialog")
    fill(p, password=PASSWORD)
    p.button("Run test", "dialog").click()
    p.has("folders", "dialog")
    assert not re.search(r"\b401\b", p.text("dialog")) and not [b for b in p.driver.find_elements("css selector", "dialog button") if b.text == "Accept certificate"]
    p.shot("eas-test")
    p.fits()
    p.button("Close", "dialog").click()
    p.closed()
    p.button("Add server").click()
    fill(p, name="Second", host="mail.example.org")
    choose(p, "user_form", "domain_user")
    p.button("Create", "dialog").click()
    p.has("is needed for user names", "dialog")
    fill(p, domain="CORP")
    p.button("Create", "dialog").click()
    p.closed()
    p.has("The first server in use is asked first")
    p.shot("eas")
    p.button("Down", "section").click()
    local = next(s["id"] for s in api.get("/sources")["items"] if s["kind"] == "local")
    harness.wait_for(lambda: [i["name"] for i in api.get(f"/sources/{local}/eas-servers")["items"]] == ["Second", "Post <b>"])
    p.open("people").open("eas").button("Edit").click()
    p.find("#f-enabled").click()
    p.button("Save", "dialog").click()
    p.closed()
    p.has("Disabled")
    first = next(i for i in api.get("/eas-servers")["items"] if i["name"] == "Post <b>")
    assert not first["enabled"] and first["pin"]
    policy = "00000000-0000-4000-8000-0000000000e2"
    zone.sql("INSERT INTO policy (id, type, name, published, created_ms) VALUES (?, 'email', 'Staff mail', 1, 1)", policy)
    zone.sql("INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (?, 1, ?, 1)", policy, json.dumps({"email.direct_server": {"corporate": first["id"], "personal": "inherit"}}))
    p.button("Delete").click()
    p.button("Delete", "dialog").click()
    p.has("Staff mail", "dialog .alert")
    p.shot("eas-refused")
    zone.sql("DELETE FROM policy WHERE id = ?", policy)
    p.button("Delete", "dialog").click()
    p.closed()
    harness.wait_for(lambda: [i["name"] for i in api.get("/eas-servers")["items"]] == ["Second"])
    p.driver.get_log("browser")  # the refusals are there by design


@pytest.fixture(scope="module")
def device_list(tmp_path_factory):
    """A mail server's own list: one right row, one wrong one."""
    path = tmp_path_factory.mktemp("list") / "devices.csv"
    path.write_text(f"User,DeviceId,Model\n{harness.PERSON},APPL-CONSOLE,iPhone\nnobody,ABC,x\n")
    return path


@pytest.mark.parametrize("size, dark, language", [((390, 844), True, "de"), ((1280, 800), False, "en"), ((390, 844), False, "en")])
def test_on_a_phone(zone, page, back, device_list, size, dark, language):  # noqa: F811
    """List, order, test and the server's own device list (EAS-05), narrow and wide, in both languages."""
    p, api = page(size=size, dark=dark, language=language).log_in(), Console(zone)
    local = next(s["id"] for s in api.get("/sources")["items"] if s["kind"] == "local")
    made = [api.post("/eas-servers", {"name": n, "host": "localhost", "port": back.port, "sources": [local]}) for n in ("West", "A name " + "w" * 60)]
    try:
        p.open("eas").has("West")
        p.shot(f"eas-{size[0]}-{language}")
        p.fits()
        p.button("Device list" if language == "en" else "Geräteliste").click()
        p.driver.find_element("css selector", "dialog input[type=file]").send_keys(str(device_list))
        p.button("Upload" if language == "en" else "Hochladen", "dialog").click()
        p.has("is nobody who is known here", "dialog")
        p.shot(f"eas-list-{size[0]}-{language}")
        p.fits()
        p.button("Close" if language == "en" else "Schließen", "dialog").click()
        p.closed()
        p.button("Test authentication" if language == "en" else "Anmeldung testen").click()
        fill(p, login=harness.PERSON, password=PASSWORD)
        p.button("Run test" if language == "en" else "Test ausführen", "dialog").click()
        p.has("Mail department's CA", "dialog")
        p.driver.execute_script("document.querySelector('dialog').scrollTop = 500")
        p.shot(f"eas-test-{size[0]}-{language}")
        p.fits()
        p.clean()
    finally:
        for one in made:
            version = api.get(f"/eas-servers/{one['id']}")["version"]
            assert api.call("DELETE", f"/eas-servers/{one['id']}", If_Match=f'"{version}"')[0] == 204
