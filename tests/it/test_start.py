"""Getting started: what a new zone still needs, computed from what is there (spec 12)."""
import json

import harness
import seed
from test_admin import problem


def test_getting_started_is_computed(zone, console):
    """Spec 12: each mark follows what is there, with its reason in words; nothing of it is stored. Its help leads to a section that exists."""
    def now(name, state, said=None):
        row = {x["id"]: x for x in console.get("/getting-started")["items"]}[name]
        assert (row["state"], row["said"] and row["said"]["word"]) == (state, said), row
        assert bool(row["text"]) == (state != "done")
        return row
    local, policy, ghost = zone.sql("SELECT id FROM user_source WHERE kind = 'local'")[0][0], "00000000-0000-4000-8000-00000000e0e0", "00000000-0000-4000-8000-00000000e0e1"
    seed.device(zone, "First", seed.person_id(zone, harness.PERSON))
    seen = console.get("/getting-started")
    assert not seen["fresh"] and seen["total"] == len([x for x in seen["items"] if x["group"] == "first"]) == 7
    assert seen["done"] == len([x for x in seen["items"] if x["group"] == "first" and x["state"] == "done"])
    for page, section in (x["help"].split("#") for x in seen["items"]):
        assert f'id="{section}"'.encode() in console.http.fetch("GET", f"{console.base}/help/{page}", headers=console.headers)[2], (page, section)
    now("source", "done"), now("enrollment", "done"), now("node", "done"), now("device", "done")
    for name, path, none, server in (("smtp", "/notifications/server", {"host": ""}, {"host": "mail.example.org", "tls": "none", "from": "mdm@example.org"}),
                                     ("sms", "/sms-gateway", {"url": ""}, {"url": "https://sms.example.org/${to}/${text}", "method": "GET"})):
        now(name, "open", f"said_start_no_{name}")
        assert console.call("PUT", path, server)[0] == 200
        now(name, "done")
        zone.sql("INSERT INTO zone_setting (name, value, updated_ms) VALUES (?, ?, 1)", f"{name}.away", '{"since": 1, "next": 9999999999999, "tries": 1, "why": "no answer"}')
        assert now(name, "attention", f"said_start_{name}_away")["said"]["values"] == ["no answer"]
        assert console.call("PUT", path, none)[0] == 200
        now(name, "open", f"said_start_no_{name}")
    for type_, name in (("email", "email"), ("device_control", "security")):  # both kinds protect devices
        now(name, "open", "said_start_no_policy")
        zone.sql("INSERT INTO policy (id, type, name, created_ms) VALUES (?, ?, 'Start', 1)", policy, type_)
        now(name, "attention", "said_start_unpublished")
        zone.sql("UPDATE policy SET published = 1 WHERE id = ?", policy)
        now(name, "attention", "said_start_unassigned")
        zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, created_ms) VALUES (?, 'policy', ?, ?, 'folder', ?, 1)", ghost, policy, type_, seed.ROOT_FOLDER)
        now(name, "done")
        zone.sql("DELETE FROM assignment WHERE id = ?", ghost)
        zone.sql("DELETE FROM policy WHERE id = ?", policy)
    now("eas", "open", "said_start_no_eas")
    server = seed.mail_server(zone, enabled=0)
    now("eas", "attention", "said_start_eas_unlinked")
    zone.sql("UPDATE eas_server SET enabled = 1 WHERE id = ?", server)
    now("eas", "done")
    zone.sql("DELETE FROM eas_server WHERE id = ?", server)
    zone.sql("UPDATE user_source SET enabled = 0 WHERE id = ?", local)
    now("source", "open", "said_start_no_source")
    zone.sql("INSERT INTO user_source (id, name, kind, enabled, created_ms) VALUES (?, 'Corp <b>', 'ldap', 0, 1)", ghost)
    now("source", "attention", "said_start_sources_off")
    zone.sql("UPDATE user_source SET enabled = 1")
    now("source", "done")
    zone.sql("INSERT INTO job (id, kind, unique_key, run_at_ms, result, created_ms) VALUES (?, 'test.none', ?, ?, ?, 1)", ghost, f"ldap.sync:{ghost}", seed.now_ms() + 3_600_000, '{"error": "no answer"}')
    row = now("source", "attention", "said_start_unsynced")
    assert row["said"]["values"] == ["Corp <b>", "no answer"] and row["text"] == "Corp <b> could not be synchronised: no answer"
    for table in ("job", "user_source"):
        zone.sql(f"DELETE FROM {table} WHERE id = ?", ghost)
    zone.sql("UPDATE node SET mdm_role = 0")
    now("node", "attention", "said_start_nodes_down")
    zone.sql("UPDATE node SET mdm_role = 1")
    def setting(name, value):
        zone.sql("DELETE FROM zone_setting WHERE name LIKE 'apns.%' AND name <> 'apns.topic'")
        for key, text in {**certificate, name: value}.items() if name else ():
            zone.sql("INSERT INTO zone_setting (name, value, updated_ms) VALUES (?, ?, 1)", key, text)
    certificate = {}
    now("push", "open", "said_start_no_push")
    setting("apns.request", '{"csr": "AA=="}'), now("push", "open", "said_start_push_made")
    setting("apns.request", '{"csr": "AA==", "signed": "x"}'), now("push", "open", "said_start_push_signed")
    certificate["apns.certificate"] = json.dumps((zone.tls_dir / "ca.pem").read_text())
    setting("apns.certificate", certificate["apns.certificate"]), now("push", "done")
    setting("apns.stopped", '{"reason": "BadCertificate", "at_ms": 1}')
    assert now("push", "attention", "said_push_refused")["said"]["values"] == ["BadCertificate"]
    setting(None, None)
    problem(console.call("GET", "/getting-started?colour=1"), 400, "colour")
