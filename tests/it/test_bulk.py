"""Bulk runs over the API: a file streamed in, checked, run, killed in the middle, downloaded, removed (PEN-06)."""
import csv
import io
import json

import pytest

import harness
from clients import Console
from harness import wait_for

ZONE = {"children": 1}
PEOPLE, ROWS = 100, 250


@pytest.fixture(scope="module")
def people(zone):
    """So many that each row of a large file may have one of his five enrolments."""
    source = zone.sql("SELECT source_id FROM person WHERE login = ?", harness.PERSON)[0][0]
    rows = ", ".join(f"('00000000-0000-4000-8000-{i:012d}', '{source}', 'bulk{i}', 'bulk{i}', 'Bulk {i}', 'bulk{i}@example.org', 'bulk{i}@example.org', 1)"
                     for i in range(PEOPLE))
    zone.sql(f"INSERT INTO person (id, source_id, login, login_key, name, mail, mail_key, created_ms) VALUES {rows}")
    return [f"bulk{i}" for i in range(PEOPLE)]


def upload(console, text, query="", kind="text/csv", **headers):
    data = text if isinstance(text, bytes) else text.encode()
    status, head, raw = console.http.fetch("POST", f"{console.base}/api/v1/bulk-runs{query}", data, {**console.headers, "Content-Type": kind, **headers})
    return status, head, json.loads(raw)


def until(console, ident, *states):
    def there():
        run = console.get(f"/bulk-runs/{ident}")
        return run if run["state"] in states else None
    return wait_for(there)


def result(console, ident):
    status, headers, raw = console.call("GET", f"/bulk-runs/{ident}/result")
    assert status == 200, raw
    assert headers["Content-Type"].startswith("text/csv") and headers["Cache-Control"] == "no-store" and "attachment" in headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))


def test_from_the_file_to_the_result(zone, console, people):
    """PEN-06: upload, dry run with its report, start, list, result, removal; each audited."""
    text = f"\ufeffusername;cost centre;notify\r\n{people[0]};=1+1;none\r\nnobody;;\r\n{people[1]}@example.org;\"a;\"\"b\"\"\";\r\n"
    status, headers, run = upload(console, text, "?file=new%20people.csv&ownership=corporate&otp_hours=24")
    assert status == 202 and headers["Location"].endswith(f"/api/v1/bulk-runs/{run['id']}") and run["file"] == "new people.csv"
    run = until(console, run["id"], "checked")
    assert (run["total"], run["good"], run["bad"], run["made"], run["unknown_columns"], run["result"]) == (3, 2, 1, 0, ["cost centre"], False)
    assert console.call("GET", f"/bulk-runs/{run['id']}/result")[0] == 409
    bad = console.get(f"/bulk-runs/{run['id']}/rows?result=bad")["items"]
    assert bad == [{"id": 2, "line": 3, "username": "nobody", "result": "bad", "field": "username", "note": "is nobody who is known here", "made": 0}]
    report = console.call("GET", f"/bulk-runs/{run['id']}/rows?format=csv")[2].decode("utf-8-sig").split("\r\n")
    assert report[0] == '"row","line","username","result","field","note","made"' and len(report) == 5
    assert console.call("GET", f"/bulk-runs/{run['id']}/rows?result=ugly")[0] == 400
    assert zone.sql("SELECT COUNT(*) FROM pending_enrollment WHERE origin = 'bulk'")[0][0] == 0

    assert console.call("POST", f"/bulk-runs/{run['id']}/start")[0] == 202
    run = until(console, run["id"], "done")
    assert (run["good"], run["bad"], run["made"], run["result"]) == (2, 1, 2, True)
    assert console.call("POST", f"/bulk-runs/{run['id']}/start")[0] == 409 and console.call("POST", f"/bulk-runs/{run['id']}/cancel")[0] == 409
    rows = result(console, run["id"])
    assert [(r["username"], r["cost centre"], r["line"], r["result"]) for r in rows] == [
        (people[0], "'=1+1", "2", "created"), ("nobody", "", "3", "failed"), (f"{people[1]}@example.org", 'a;"b"', "4", "created")]
    assert rows[0]["link"] == f"{zone.public_url}/enroll/{rows[0]['token']}" and zone.request("GET", f"/enroll/{rows[0]['token']}")[0] == 200
    open_ones = [p for p in console.get("/pending?state=open&limit=200")["items"] if p["origin"] == "bulk"]
    assert len(open_ones) == 2 and {p["ownership"] for p in open_ones} == {"corporate"}
    assert run["id"] in [r["id"] for r in console.get("/bulk-runs")["items"]]
    assert rows[0]["token"] not in zone.sql("SELECT cells FROM bulk_row WHERE n = 1")[0][0]

    assert console.call("DELETE", f"/bulk-runs/{run['id']}?open=maybe")[0] == 400
    assert console.call("DELETE", f"/bulk-runs/{run['id']}?open=cancel")[0] == 202
    assert console.call("GET", f"/bulk-runs/{run['id']}")[0] == 404
    wait_for(lambda: zone.sql("SELECT COUNT(*) FROM bulk_run WHERE id = ?", run["id"])[0][0] == 0)
    assert zone.sql("SELECT COUNT(*) FROM pending_enrollment WHERE run_id = ? AND state <> 'cancelled'", run["id"])[0][0] == 0
    acts = [r[0] for r in zone.sql("SELECT action FROM audit WHERE object_id = ? ORDER BY action", run["id"])]
    assert acts == ["bulk_run.remove", "bulk_run.result", "bulk_run.start", "bulk_run.upload"]


def test_the_example_as_unicode_text(zone, console, people):
    """PEN-06, facts 8.3: the console's example has every column; a spreadsheet's "Unicode text" of it (UTF-16, tabs) is read as well."""
    status, headers, raw = console.http.fetch("GET", f"{console.base}/bulk-example.csv", None, console.headers)
    assert status == 200 and headers["Content-Type"].startswith("text/csv")
    text = raw.decode()
    for i, name in enumerate(("anna,", "EXAMPLE\\ben,", "carla@example.org,", "dora,")):
        text = text.replace("\n" + name, f"\n{people[i + 10]},")
    for data in (raw, b"\xff\xfe" + text.replace(",", "\t").encode("utf-16-le")):
        run = until(console, upload(console, data)[2]["id"], "checked")
        assert (run["total"], run["unknown_columns"]) == (4, [])
    rows = console.get(f"/bulk-runs/{run['id']}/rows")["items"]
    assert run["good"] == 4, rows
    console.call("DELETE", f"/bulk-runs/{run['id']}")


def test_files_that_are_refused(zone, console):
    """PEN-06, API-04: no CSV, no columns, no rows, too many bytes or rows, unknown options; nothing of them stays."""
    for text, query, kind, want, field in (
            ("x", "", "application/json", 415, None), ("", "", "text/csv", 400, "username"), ("login name\nx\n", "", "text/csv", 400, "username"),
            ("username\n", "", "text/csv", 400, None), ("username\nx\n", "?notify=pigeon", "text/csv", 400, "notify"),
            ("username\nx\n", "?colour=red", "text/csv", 400, "colour"), ("username\nx\n", "?otp_hours=0", "text/csv", 400, "otp_hours"),
            (b"username\n" + b"x\n" * 50001, "", "text/csv", 413, None), (b"username\n" + b"x" * (20 << 20), "", "text/csv", 413, None)):
        status, _, got = upload(console, text, query, kind)
        assert (status, got.get("field")) == (want, field), (query, got)
    wait_for(lambda: zone.sql("SELECT COUNT(*) FROM bulk_run WHERE state = 'uploading'")[0][0] == 0)


def test_who_may(zone, console, people):
    """R29, USR-12: an auditor looks, and gets no secrets; whoever is limited to folders sees his own runs only."""
    ident = upload(console, f"username\n{people[2]}\n")[2]["id"]
    until(console, ident, "checked")
    console.post(f"/bulk-runs/{ident}/start")
    until(console, ident, "done")
    zone.ctl("admin", "add", "bulk-auditor", "--role", "auditor", "--password-stdin", stdin="Correct-horse-9\n")
    auditor = Console(zone, "bulk-auditor", "Correct-horse-9")
    assert auditor.get(f"/bulk-runs/{ident}/rows")["items"][0]["username"] == people[2]
    assert auditor.call("GET", f"/bulk-runs/{ident}/result")[0] == 403 and upload(auditor, "username\nx\n")[0] == 403
    assert auditor.call("DELETE", f"/bulk-runs/{ident}")[0] == 403
    folder = console.post("/folders", {"name": "Bulk", "parent": console.get("/folders")["items"][0]["id"]})["id"]
    role = next(r["id"] for r in console.get("/roles")["items"] if "help" in r["name"].lower())
    console.post("/admins", {"kind": "local", "login": "bulk-limited", "role_id": role, "password": "Correct-horse-9", "folders": [folder]})
    limited = Console(zone, "bulk-limited", "Correct-horse-9")
    assert limited.get("/bulk-runs")["items"] == [] and limited.call("GET", f"/bulk-runs/{ident}")[0] == 404
    assert limited.call("GET", f"/bulk-runs/{ident}/result")[0] == 404


def test_killed_in_the_middle(zone, console, people):
    """PEN-06, REL-01: kill -9 while it runs: the next child goes on where the last batch ended, and nobody has two."""
    zone.log.expect("AH00052")
    ident = upload(console, "username\n" + "".join(f"{people[i % PEOPLE]}\n" for i in range(ROWS)))[2]["id"]
    assert until(console, ident, "checked")["total"] == ROWS
    console.post(f"/bulk-runs/{ident}/start")
    seen = wait_for(lambda: zone.sql("SELECT walked FROM bulk_run WHERE id = ? AND walked > 0", ident))[0][0]
    zone.kill_child()
    owner = [r[0] for r in zone.sql("SELECT lease_owner FROM job WHERE kind = 'bulk.run' AND state = 'running'")]

    def done():
        for one in owner:  # the lease of the child that is dead would hold for a minute
            zone.sql("UPDATE job SET lease_until_ms = 1 WHERE lease_owner = ? AND lease_until_ms > 1", one)
        return zone.sql("SELECT state FROM bulk_run WHERE id = ?", ident)[0][0] == "done"
    wait_for(done, step=0.2)
    run = console.get(f"/bulk-runs/{ident}")
    assert seen <= ROWS and run["made"] == run["good"] and run["good"] + run["bad"] == ROWS
    made = zone.sql("SELECT COUNT(*), COUNT(DISTINCT run_row), COUNT(DISTINCT token_hash) FROM pending_enrollment WHERE run_id = ?", ident)[0]
    assert tuple(made) == (run["made"],) * 3
    rows = result(console, ident)
    assert len(rows) == ROWS and sum(r["result"] == "created" for r in rows) == run["made"] == len({r["token"] for r in rows if r["token"]})
