"""Enrolments for others in a real browser: what enrolling needs, provisioning, one-time passwords, codes (PEN-01..03, PEN-07, PEN-09, UI-05)."""
import pytest

BOTH = pytest.mark.parametrize("size, language", [((1280, 800), "en"), ((390, 844), "de")])


@BOTH
def test_settings(zone, page, console, size, language):
    """PEN-03, PEN-07, PEN-09, POR-02: changed by clicks; what is wrong is said at its field."""
    before, en = console.get("/otp-settings"), language == "en"
    p = page(size=size, language=language).log_in().open("otps")
    p.fits()
    p.has("Digits" if en else "Ziffern")
    try:
        p.button("Edit" if en else "Bearbeiten").click()
        p.find("#f-length").clear()
        p.find("#f-length").send_keys("20")
        p.find("dialog button[type=submit]").click()
        p.find("#f-length[aria-invalid]").clear()
        p.shot(f"otps-edit-{size[0]}")
        p.find("#f-length").send_keys("10")
        p.find("#f-alphabet").send_keys("Letters and" if en else "Buchstaben und")
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.has("Letters and digits" if en else "Buchstaben und Ziffern")
        assert (console.get("/otp-settings")["length"], console.get("/otp-settings")["alphabet"]) == (10, "both")
        p.button("Change address" if en else "Adresse ändern").click()
        p.find("#f-public_url").send_keys("https://go.example.org/path")
        p.find("dialog button[type=submit]").click()
        p.find("#f-public_url[aria-invalid]").clear()
        p.find("#f-public_url").send_keys("https://go.example.org")
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.has("https://go.example.org/enroll/")
        p.button("Set agent" if en else "Agenten eintragen").click()
        for field, value in (("component", "org.example.agent/.AdminReceiver"), ("url", "https://mdm.example.org/agent.apk"), ("checksum", "9f"), ("extras", "no equals sign")):
            p.find(f"#f-{field}").send_keys(value)
        p.find("dialog button[type=submit]").click()
        p.find("#f-extras[aria-invalid]").clear()
        p.find("#f-extras").send_keys("mdm.server_url=${server.url}\nmdm.token=${enrol.token}")
        p.find("dialog button[type=submit]").click()
        p.find("#f-checksum[aria-invalid]").send_keys("9f" * 31)
        p.shot(f"otps-agent-{size[0]}")
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.has("mdm.token=${enrol.token}")
        p.fits()
        p.shot(f"otps-{size[0]}")
        p.button("Remove agent" if en else "Agenten entfernen").click()
        p.find("dialog button[type=submit]").click()
        p.closed()
        p.button("Set agent" if en else "Agenten eintragen")
        assert len([x for x in p.driver.get_log("browser") if " 400 " in x["message"]]) == 3
        p.clean()
    finally:
        console.call("PUT", "/otp-settings", before)
        console.call("PUT", "/enrollment-settings", {"public_url": "", "agent": None})
