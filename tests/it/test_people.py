"""People of the built-in source by CSV, through the API, on both databases (USR-06, API-04, R30)."""
import json

import pytest

from test_admin import problem

PASSWORD = "Correct-horse-9"


def upload(console, text, how="", kind="text/csv"):
    status, headers, raw = console.http.fetch("POST", f"{console.base}/api/v1/people/import{how}", text if isinstance(text, bytes) else text.encode(), {**console.headers, "Content-Type": kind})
    return status, headers, json.loads(raw)


def known(zone, like):
    return [r[0] for r in zone.sql("SELECT login FROM person WHERE login LIKE ? ORDER BY login", like)]


def test_every_row_is_told_before_anything_is_made(zone, console):
    """USR-06: a dry run names each row that would make nobody and why; the run makes the others, once; no answer and no log holds a password."""
    console.post("/people", {"login": "imp-there", "name": "There", "password": PASSWORD})
    text = ("\ufeffE-Mail;User Name;Password;Name\r\n"
            f"one@example.org;imp-one;{PASSWORD};\"One; the first\"\r\n" f";imp-short;short;\r\n" f";imp@one;{PASSWORD};\r\n" f";IMP-One;{PASSWORD};\r\n"
            f";imp-There;{PASSWORD};\r\n" f";;{PASSWORD};\r\n" f";imp-quote;\"{PASSWORD}\"x;\r\n" f";imp-long;{PASSWORD};{'x' * 300}\r\n" f";=imp-two;{PASSWORD};\u202eevil\r\n")
    status, _, dry = upload(console, text, "?dry_run=1")
    assert (status, dry["total"], dry["walked"], dry["good"], dry["bad"], dry["next"]) == (200, 9, 9, 2, 7, None), dry
    told = {r["line"]: (r["login"], r["field"]) for r in dry["rows"]}
    assert told == {3: ("imp-short", "password"), 4: ("imp@one", "login"), 5: ("IMP-One", "login"), 6: ("imp-There", "login"), 7: ("", "login"), 8: ("", None), 9: ("imp-long", "name")}
    assert "twice" in dry["rows"][2]["error"] and dry["rows"][3]["error"] == "is taken" and PASSWORD not in json.dumps(dry)
    assert known(zone, "%imp-%") == ["imp-there"], "a dry run makes nobody"
    made = upload(console, text)[2]
    assert (made["good"], made["bad"], made["rows"]) == (2, 7, dry["rows"])
    assert known(zone, "%imp-%") == ["=imp-two", "imp-one", "imp-there"]
    assert zone.sql("SELECT name, mail FROM person WHERE login = 'imp-one'") == [("One; the first", "one@example.org")]
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'person.create' AND object_name IN ('imp-one', '=imp-two')")[0][0] == 2
    again = upload(console, text)[2]
    assert (again["good"], again["bad"]) == (0, 9), "the same file again doubles nobody"
    csv = console.call("GET", "/people?format=csv&q=imp-one")[2].decode()
    assert "One; the first" in csv and "scrypt" not in csv and PASSWORD not in csv


def test_a_long_file_is_made_part_by_part(zone, console):
    """USR-06: one call makes fifty at most and says where to go on; what is wrong in between stops nobody."""
    text = "login,password,name\n" + "".join(f"part-{i:02},{PASSWORD if i % 9 else 'x'},Part {i}\n" for i in range(60))
    first = upload(console, text)[2]
    assert (first["good"], first["next"] is not None, len(known(zone, "part-%"))) == (50, True, 50)
    second = upload(console, text, f"?after={first['next']}")[2]
    assert (second["good"], second["next"], second["walked"], second["total"]) == (3, None, 60, 60)
    assert first["bad"] + second["bad"] == 7 and len(known(zone, "part-%")) == 53
    assert {r["field"] for r in first["rows"] + second["rows"]} == {"password"}


@pytest.mark.parametrize("text, how, want, field", [
    ("", "", 400, None), ("login,name\nx,y\n", "", 400, "password"), ("login,login,password\n", "", 400, "login"), ("login,password\n", "?dry_run=2", 400, "dry_run"),
    ("login,password\n", "?after=-1", 400, "after"), ("login,password\n", "?after=x", 400, "after"), ("login,password\n", "?colour=1", 400, "colour"),
    ("login,password\n" + "x,y\n" * 5001, "?dry_run=1", 413, None), ("login,password\n" + "x" * 1100000, "", 413, None)])
def test_bad_files(console, text, how, want, field):
    """API-04: what is wrong with a file or a parameter is named; nothing is made."""
    said = upload(console, text, how)
    problem(said, want, field)
    assert want != 413 or "part it" in said[2]["detail"]


def test_who_may_import(console):
    problem(upload(console, "login,password\n", kind="application/json"), 415)
    assert upload(console, "login,password\n", "?dry_run=1")[2] == {"total": 0, "walked": 0, "good": 0, "bad": 0, "rows": [], "next": None}
