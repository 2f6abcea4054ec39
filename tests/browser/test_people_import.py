"""Import of people on the page People (USR-06, UI-05)."""
from selenium.webdriver.common.by import By

from clients import Console

MARKUP, PASSWORD = "<img src=x onerror=alert(1)>", "Correct-horse-9"


def choose(p, path, label="Import people"):
    p.open("people").button(label).click()
    p.until(lambda: p.driver.find_element(By.CSS_SELECTOR, "dialog input[type=file]")).send_keys(str(path))


def test_import_by_clicks(zone, page, tmp_path):
    """USR-06: the report comes first and names lines, the run makes the others and says how many; a file that can't be read says why; German and phone."""
    p, file = page().log_in(), tmp_path / "people.csv"
    file.write_text(f"login,password,name\nuia,{PASSWORD},Una\nuib,x,Ben\nuic,{PASSWORD},{MARKUP}\n{MARKUP},{PASSWORD},M\n")
    choose(p, file)
    p.shot("people-import")
    p.button("Upload and check", "dialog").click()
    p.until(lambda: "2 people can be added." in p.text("dialog") and "Rows left out: 2" in p.text("dialog"))
    assert MARKUP in p.text("dialog") and not zone.sql("SELECT 1 FROM person WHERE login IN ('uia', 'uic')")
    p.fits()
    p.shot("people-import-report")
    p.button("Import people", "dialog").click()
    p.until(lambda: "2 people added" in p.text("dialog") and "Rows left out: 2" in p.text("dialog"))
    p.shot("people-import-done")
    p.button("Close", "dialog").click()
    p.closed()
    p.has("Una")
    p.has(MARKUP)
    p.clean()
    bad = tmp_path / "bad.csv"
    bad.write_text("login,name\nx,y\n")
    choose(p, bad)
    p.button("Upload and check", "dialog").click()
    p.until(lambda: "assword" in p.driver.find_element(By.CSS_SELECTOR, "dialog .err, dialog .alert").text)
    phone = page(size=(390, 844), language="de").log_in()
    choose(phone, file, "Personen importieren")
    phone.shot("people-import-phone")
    phone.button("Hochladen und prüfen", "dialog").click()
    phone.until(lambda: "0 Personen können angelegt werden." in phone.text("dialog"))
    phone.fits()
    phone.shot("people-import-report-phone")
    phone.button("Schließen", "dialog").click()
    phone.closed()
    phone.clean()
    assert {x["login"] for x in Console(zone).get("/people?q=ui")["items"]} >= {"uia", "uic"}
