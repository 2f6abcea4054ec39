"""Bulk runs in the console: upload, report, run, result, removal (PEN-06, UI-01, UI-03..05)."""
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import harness

HOSTILE = "<img src=x onerror=alert(1)>"


def send(p, file):
    """Keyboard only, but for the file itself."""
    p.button("New bulk run" if p.english else "Neuer Sammellauf").send_keys(Keys.ENTER)
    p.find("dialog input[type=file]").send_keys(str(file))
    p.shot(f"bulk-{p.shape}-upload")
    p.driver.find_element(By.CSS_SELECTOR, "dialog button[type=submit]").send_keys(Keys.ENTER)
    p.until(lambda: "#/bulkrun/" in p.driver.current_url)
    p.closed()


def test_from_file_to_result(zone, page, console, tmp_path):
    """PEN-06: in both languages and sizes; the page follows by itself; hostile cells are only text."""
    file = tmp_path / f"new {HOSTILE.replace('/', '')} people.csv"
    file.write_text(f"username;{HOSTILE};notify\r\n{harness.PERSON};x;none\r\n\"{HOSTILE}\";=1+1;\r\n")
    for size, language in (((1280, 800), "en"), ((390, 844), "de")):
        p = page(size=size, language=language).log_in().open("bulk")
        p.english, p.shape = language == "en", size[0]
        send(p, file)
        p.has("1 with errors" if p.english else "1 mit Fehlern")
        p.has("Checked" if p.english else "Geprüft")
        p.fits()
        p.shot(f"bulk-{size[0]}-checked")
        assert HOSTILE in p.text("#main table") and HOSTILE in p.text("#main .alert")
        p.button("Start" if p.english else "Starten", "#main .acts").send_keys(Keys.ENTER)
        p.button("Start" if p.english else "Starten", "dialog .foot").send_keys(Keys.ENTER)
        p.has("enrolments made: 1" if p.english else "angelegte Registrierungen: 1")
        p.has("Result" if p.english else "Ergebnis")
        p.fits()
        p.shot(f"bulk-{size[0]}-done")
        p.open("bulk").has("enrolments made: 1" if p.english else "angelegte Registrierungen: 1")
        p.fits()
        p.shot(f"bulk-{size[0]}-list")
        p.button("Remove" if p.english else "Entfernen", "#main tbody tr").send_keys(Keys.ENTER)
        p.find("dialog input[value=cancel]").click()
        p.button("Remove" if p.english else "Entfernen", "dialog .foot").send_keys(Keys.ENTER)
        p.has("No file was uploaded yet." if p.english else "Noch wurde keine Datei hochgeladen.")
        p.clean()
    harness.wait_for(lambda: zone.sql("SELECT COUNT(*) FROM bulk_run")[0][0] == 0)
    assert zone.sql("SELECT COUNT(*) FROM pending_enrollment WHERE origin = 'bulk' AND state <> 'cancelled'")[0][0] == 0
