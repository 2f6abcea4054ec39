"""Policies over the API, on both databases: versions, sandbox, publishing, assignments, bad input, two at once (POL-01..03, POL-05, POL-08, EML-05, issue 5)."""
import re
import threading

import pytest

import harness
import seed
from clients import Console
from test_admin import ROUTES

NOBODY = "00000000-0000-4000-8000-00000000ffff"
ROOT = "00000000-0000-4000-8000-000000000003"


def problem(answer, status, field=None):
    code, headers, body = answer
    assert code == status and headers["Content-Type"] == "application/problem+json", (code, body)
    if field is not None:
        assert body["field"] == field, body
    return body


def version_of(console, ident):
    return f'"{console.get(f"/policies/{ident}")["version"]}"'


def act(console, method, ident, tail="", body=None):
    """A call under the version that the policy has now."""
    return console.call(method, f"/policies/{ident}{tail}", body, If_Match=version_of(console, ident))


def done(answer, want=200):
    assert answer[0] == want, answer
    return answer[2]


def policy(console, name, kind="security", **more):
    return console.post("/policies", {"type": kind, "name": name, **more})["id"]


def marks(zone):
    return zone.sql("SELECT target_kind, target_id FROM recompute")


# ---- policies and their versions ------------------------------------------------------------------------------------
def test_presets_sandbox_publish_and_again(zone, console):
    """POL-01, POL-03: begins with presets of both columns; the sandbox becomes version 1 and 2; version 1 is in force again as 3."""
    ident = policy(console, "Life", levels={"corporate": "strict", "personal": "low"}, description="d")
    made = console.get(f"/policies/{ident}")
    assert (made["published"], made["sandbox"], made["folder"]["id"]) == (0, True, ROOT)
    box = console.get(f"/policies/{ident}/sandbox")
    assert box["levels"] == {"corporate": "strict", "personal": "low"} and box["settings"] == box["presets"] and box["settings"]
    one = done(act(console, "POST", ident, "/publish", {"note": "first"}))
    assert (one["published"], one["sandbox"]) == (1, False)
    problem(console.call("GET", f"/policies/{ident}/sandbox"), 404)
    setting = next(k for k, v in box["settings"].items() if isinstance(v["corporate"], bool))
    was = box["settings"][setting]["corporate"]
    two = done(act(console, "PATCH", ident, "/sandbox", {"settings": {setting: {"personal": "inherit", "corporate": None}}}))
    assert two["settings"][setting] == {"corporate": None, "personal": "inherit"} and two["levels"] == box["levels"]
    rows = console.get(f"/policies/{ident}/diff")["items"]
    assert {(r["setting"], r["column"]) for r in rows} <= {(setting, "corporate"), (setting, "personal")}
    assert {"setting": setting, "column": "corporate", "before": was, "after": None} in rows
    assert done(act(console, "POST", ident, "/publish", {}))["published"] == 2
    assert console.get(f"/policies/{ident}/diff?from=2&to=1")["items"] == [{**r, "before": r["after"], "after": r["before"]} for r in rows]
    assert done(act(console, "POST", ident, "/publish", {"number": 1}))["published"] == 3
    assert console.get(f"/policies/{ident}/diff?from=1&to=3")["items"] == []
    listed = console.get(f"/policies/{ident}/versions")["items"]
    assert [(v["number"], v["in_force"], v["note"]) for v in listed] == [(3, True, ""), (2, False, ""), (1, False, "first")]
    done(act(console, "PATCH", ident, "/versions/2", {"note": "never"}))
    assert console.get(f"/policies/{ident}/versions/2")["note"] == "never" and listed[0]["created_by"] == harness.ADMIN_USER
    assert len(console.get(f"/policies/{ident}/versions?limit=2")["items"]) == 2
    done(act(console, "PUT", ident, "/sandbox", {"settings": {}}))
    done(act(console, "DELETE", ident, "/sandbox"), 204)
    problem(act(console, "DELETE", ident, "/sandbox"), 409)
    problem(act(console, "POST", ident, "/publish", {}), 404)
    problem(act(console, "POST", ident, "/publish", {"number": 9}), 404, "number")
    acts = [a["action"] for a in console.get("/audit?limit=60")["items"] if a["object_id"] == ident]
    assert acts.count("policy.publish") == 3 and {"policy.create", "policy.sandbox", "policy.note", "policy.sandbox_discard"} <= set(acts)


def test_published_as_a_new_policy(console):
    """POL-01: the sandbox becomes version 1 of another policy and leaves this one as it is; a copy is a sandbox."""
    ident = policy(console, "Mother", publish=True, levels={"corporate": "low"})
    done(act(console, "PUT", ident, "/sandbox", {"levels": {"corporate": "high"}, "note": "harder"}))
    status, headers, child = act(console, "POST", ident, "/publish", {"name": "Child"})
    assert status == 201 and headers["Location"].endswith(child["id"]) and child["id"] != ident and child["published"] == 1
    mother = console.get(f"/policies/{ident}")
    assert (mother["published"], mother["sandbox"]) == (1, False)
    assert console.get(f"/policies/{child['id']}/versions/1")["levels"]["corporate"] == "high"
    copy = console.post(f"/policies/{ident}/duplicate", {"name": "Copy", "number": 1})
    assert (copy["published"], copy["sandbox"]) == (0, True)
    problem(console.call("POST", f"/policies/{ident}/duplicate", {"name": "Copy", "number": 1}), 409, "name")
    problem(act(console, "POST", copy["id"], "/publish", {"folder": ROOT}), 400, "folder")
    problem(act(console, "DELETE", copy["id"], "/sandbox"), 409)


def test_list_filters_and_edit(console):
    folder = console.post("/policy-folders", {"name": "Shelf"})["id"]
    ids = [policy(console, f"Listed {n}", kind, folder=folder) for n, kind in enumerate(("security", "email", "device_control"))]
    assert [p["id"] for p in console.get(f"/policies?folder={folder}")["items"]] == ids
    assert [p["id"] for p in console.get(f"/policies?folder={folder}&type=email")["items"]] == [ids[1]]
    assert [p["id"] for p in console.get("/policies?q=ISTED%202")["items"]] == [ids[2]]
    assert console.get("/policies?q=%25")["items"] == []
    page = console.get(f"/policies?folder={folder}&limit=2")
    assert [p["id"] for p in console.get(f"/policies?folder={folder}&limit=2&cursor={page['next']}")["items"]] == [ids[2]]
    after = done(act(console, "PATCH", ids[0], "", {"name": "Moved", "folder": ROOT, "description": "why"}))
    assert (after["name"], after["folder"]["id"], after["description"]) == ("Moved", ROOT, "why")
    problem(act(console, "PATCH", ids[0], "", {"folder": NOBODY}), 400, "folder")
    problem(act(console, "PATCH", ids[0], "", {"type": "email"}), 400, "type")
    problem(console.call("POST", "/policies", {"type": "security", "name": "Moved"}), 409, "name")
    policy(console, "Moved", "email")
    for bad, field in (("type=x", "type"), ("folder=x", "folder"), ("colour=1", "colour"), ("q=" + "x" * 101, "q")):
        problem(console.call("GET", "/policies?" + bad), 400, field)


RULE = {"match": {}, "folder": seed.ROOT_FOLDER, "name": "${device.model} ${user.name}"}


def test_enrollment_policies(zone, console):
    """ENR-01..08, POL-01, POL-05: made, edited, compared, published and assigned by the same routes; a refusal names the place in the settings."""
    ident = policy(console, "Enrol", "enrollment")
    made = console.get(f"/policies/{ident}/sandbox")
    assert made["settings"]["rules"] == [RULE] and made["settings"]["reenroll"] == "unretire" and made["presets"] == {}
    done(act(console, "PATCH", ident, "/sandbox", {"settings": {"max_devices": 3, "level": "managed"}}))
    done(act(console, "POST", ident, "/publish", {}))
    rules = [dict(RULE, match={"platform": ["ios"], "os_min": "17"}, name="${seq}"), RULE]
    done(act(console, "PATCH", ident, "/sandbox", {"settings": {"rules": rules, "level": None}}))
    assert console.get(f"/policies/{ident}/sandbox")["settings"]["rules"] == rules
    rows = {d["setting"]: d for d in console.get(f"/policies/{ident}/diff")["items"]}
    assert set(rows) == {"rules", "level"} and rows["rules"]["after"] == rules and rows["level"] == {"setting": "level", "column": None, "before": "managed", "after": None}
    assert console.get(f"/policies/{ident}/inherited") == {}
    for settings, field in (({"rules": [RULE, dict(RULE, folder=NOBODY)]}, "rules.1.folder"), ({"rules": [dict(RULE, name="${user.secret}")]}, "rules.0.name"), ({"max_devices": -1}, "max_devices"),
                            ({"rules": [dict(RULE, match={"user_group": NOBODY})]}, "rules.0.match.user_group"), ({"min_os": {"ios": "new"}}, "min_os.ios"), ({"colour": 1}, "colour")):
        problem(act(console, "PATCH", ident, "/sandbox", {"settings": settings}), 400, "settings." + field)
        problem(console.call("POST", "/policies", {"type": "enrollment", "name": "Refused", "settings": settings}), 400, "settings." + field)
    problem(act(console, "PUT", ident, "/sandbox", {"levels": {"corporate": "low"}}), 400, "levels")
    person = console.get("/people")["items"][0]["id"]
    to = {"policy": ident, "targets": [{"kind": "person", "id": person}]}
    problem(console.call("POST", "/assignments", dict(to, targets=[*to["targets"], {"kind": "folder", "id": seed.ROOT_FOLDER}])), 400, "targets.1.kind")
    assert console.get(f"/assignments?policy={ident}")["items"] == []
    done(act(console, "POST", ident, "/publish", {}))
    given = done(console.call("POST", "/assignments", to), 201)["items"][0]
    said = console.get(f"/people/{person}/enrollment?platform=ios&model=iPhone%2015&os_version=16.1")
    assert said["policy"]["id"] == ident and said["policy"]["target"]["kind"] == "person" and said["allowed"] and (said["rule"], said["missed"]) == (2, [{"rule": 1, "why": "os_min"}])
    assert said["name"].startswith("iPhone 15") and said["folder"]["id"] == seed.ROOT_FOLDER
    assert console.get(f"/people/{person}/enrollment?platform=windows")["field"] == "platform"
    for bad, field in (("platform=toaster", "platform"), ("colour=1", "colour"), ("model=" + "x" * 201, "model")):
        problem(console.call("GET", f"/people/{person}/enrollment?{bad}"), 400, field)
    problem(console.call("GET", f"/people/{NOBODY}/enrollment"), 404)
    assert given["type"] == "enrollment" and console.get("/policies/progress")["marks"] == 0
    done(console.call("DELETE", f"/assignments/{given['id']}", If_Match=f'"{given["version"]}"'), 204)
    done(act(console, "DELETE", ident, ""), 204)


def test_catalogue(console):
    status, headers, body = console.call("GET", "/policies/catalogue")
    assert status == 200 and len(body["settings"]) > 10
    assert console.call("GET", "/policies/catalogue", If_None_Match=headers["ETag"])[0] == 304


def catalogue(console):
    return {s["id"]: s for s in console.get("/policies/catalogue")["settings"]}


def test_bad_settings_name_their_row(console):
    """Issue 5, Trouble: unknown setting, value out of range, wrong kind, a child whose parent forbids it: refused, naming the row; nothing is changed."""
    known = catalogue(console)
    number = next(s for s in known.values() if s["kind"] == "int" and s["type"] == "security")
    control = next(s for s in known.values() if s["kind"] == "bool" and s["type"] == "device_control" and not s.get("depends"))
    child = next(s for s in known.values() if s.get("depends") and s["kind"] == "bool" and s["type"] == "device_control" and s["depends"][0]["value"] is True)
    parent = child["depends"][0]["setting"]
    ids = {"security": policy(console, "Strict rows"), "device_control": policy(console, "Control rows", "device_control")}
    cases = [({"no.such": {"corporate": True}}, "security", "settings.no.such"), ({control["id"]: {"corporate": True}}, "security", "settings." + control["id"]),
             ({number["id"]: {"corporate": number["range"][1] + 1}}, "security", f"settings.{number['id']}.corporate"),
             ({number["id"]: {"personal": "five"}}, "security", f"settings.{number['id']}.personal"),
             ({number["id"]: {"personal": 1.5}}, "security", f"settings.{number['id']}.personal"),
             ({number["id"]: {"private": 1}}, "security", f"settings.{number['id']}.private"), ({number["id"]: 5}, "security", "settings." + number["id"]),
             ({parent: {"corporate": False}, child["id"]: {"corporate": True}}, "device_control", f"settings.{child['id']}.corporate")]
    for settings, kind, field in cases:
        before = console.get(f"/policies/{ids[kind]}")
        problem(act(console, "PUT", ids[kind], "/sandbox", {"settings": settings}), 400, field)
        problem(act(console, "PATCH", ids[kind], "/sandbox", {"settings": settings}), 400, field)
        problem(console.call("POST", "/policies", {"type": kind, "name": "Refused", "settings": settings}), 400, field)
        assert console.get(f"/policies/{ids[kind]}") == before
    assert console.get("/policies?q=refused")["items"] == []
    for body, field in (({}, "settings"), ({"settings": []}, "settings"), ({"levels": {"corporate": "extreme"}}, "corporate"), ({"color": 1}, "color"),
                        ({"settings": {}, "note": "x" * 2001}, "note")):
        problem(act(console, "PUT", ids["security"], "/sandbox", body), 400, field)
    problem(console.call("GET", f"/policies/{ids['security']}/diff?from=x"), 400, "from")
    problem(console.call("GET", f"/policies/{ids['security']}/diff?from=4"), 404, "number")
    problem(console.call("GET", f"/policies/{ids['security']}/versions/x"), 404)


def test_huge_settings_and_stale_versions(console):
    """SEC-03, API-01: a document that is too large, too deep or has too many rows is refused in short and by its row; publishing and settings want the version read."""
    ident = policy(console, "Huge")
    known = catalogue(console)
    number, text = (next(s["id"] for s in known.values() if s["kind"] == kind) for kind in ("int", "text"))
    deep = {"a": 1}
    for _ in range(200):
        deep = {"a": deep}
    many = {f"security.no{n:04d}": {"corporate": True} for n in range(4000)}
    for settings, status, field in (({number: {"corporate": deep}}, 400, None), ({number: {"corporate": list(range(20000))}}, 400, f"settings.{number}.corporate"),
                                    (many, 400, "settings.security.no0000"), ({"x" * 20000: {}}, 400, None), ({text: {"corporate": "x" * 300000}}, 413, None),
                                    ({number: {"corporate": 10**400}}, 400, None)):
        for method, path in (("PUT", f"/policies/{ident}/sandbox"), ("PATCH", f"/policies/{ident}/sandbox"), ("POST", "/policies")):
            body = {"settings": settings, **({"type": "security", "name": "Huge too"} if method == "POST" else {})}
            said = problem(console.call(method, path, body, If_Match=version_of(console, ident)), status, field)
            assert len(str(said)) < 1000, (method, settings)
    assert console.get(f"/policies/{ident}")["published"] == 0 and console.get(f"/policies/{ident}/sandbox")["settings"] == {}
    for method, tail, body in (("POST", "/publish", {}), ("PUT", "/sandbox", {"settings": {}}), ("PATCH", "/sandbox", {"settings": {}}), ("DELETE", "/sandbox", None),
                               ("PATCH", "", {"name": "x"}), ("PATCH", "/versions/0", {"note": "x"}), ("DELETE", "", None)):
        for head, status in (({}, 428), ({"If_Match": '"999"'}, 412), ({"If_Match": "*"}, 412)):
            problem(console.call(method, f"/policies/{ident}{tail}", body, **head), status)


def test_two_administrators_publish_at_once(zone, console):
    """Issue 5, Trouble: of two who publish what they have read at once exactly one wins; there is one new version."""
    ident = policy(console, "Race", publish=True)
    done(act(console, "PUT", ident, "/sandbox", {"levels": {"corporate": "low"}}))
    tag, answers, gate = version_of(console, ident), [], threading.Barrier(2)

    def run(other):
        gate.wait()
        answers.append(other.call("POST", f"/policies/{ident}/publish", {}, If_Match=tag)[0])
    threads = [threading.Thread(target=run, args=(Console(zone),)) for _ in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(answers) == [200, 412]
    assert [v["number"] for v in console.get(f"/policies/{ident}/versions")["items"]] == [2, 1]


# ---- e-mail servers (EAS-04, EML-05) --------------------------------------------------------------------------------
def test_servers_in_use(zone, console):
    """EAS-04, EML-05: a server that a version in force or a sandbox names can't be deleted; editing it marks the policy, publishing clears the mark."""
    server = console.post("/eas-servers", {"name": "Direct", "host": "mail.example.org"})
    other = console.post("/eas-servers", {"name": "Only in a text", "host": "mail.example.org"})
    known = catalogue(console)["email.direct_server"]
    needs = {d["setting"]: {"corporate": d["value"]} for d in known.get("depends", [])}
    problem(console.call("POST", "/policies", {"type": "email", "name": "No server", "settings": {**needs, "email.direct_server": {"corporate": NOBODY}}}),
            400, "settings.email.direct_server.corporate")
    text = {"email.account_name": {"corporate": other["id"], "personal": "inherit"}} if "email.account_name" in catalogue(console) else {}
    ident = policy(console, "Direct", "email", settings={**needs, **text, "email.direct_server": {"corporate": server["id"]}})
    assert "Direct" in problem(console.call("DELETE", f"/eas-servers/{server['id']}", If_Match='"1"'), 409)["detail"]
    assert console.call("DELETE", f"/eas-servers/{other['id']}", If_Match='"1"')[0] == 204
    done(act(console, "POST", ident, "/publish", {}))
    assert console.call("PATCH", f"/eas-servers/{server['id']}", {"port": 8443}, If_Match='"1"')[0] == 200
    assert console.get(f"/policies/{ident}")["republish"] is True
    assert done(act(console, "POST", ident, "/publish", {"number": 1}))["republish"] is False
    done(act(console, "PUT", ident, "/sandbox", {"settings": {}}))
    done(act(console, "POST", ident, "/publish", {}))
    assert console.call("DELETE", f"/eas-servers/{server['id']}", If_Match='"2"')[0] == 204
    problem(act(console, "POST", ident, "/publish", {"number": 1}), 400, "settings.email.direct_server.corporate")


# ---- folders of policies --------------------------------------------------------------------------------------------
def test_folders_of_policies(console):
    top = console.post("/policy-folders", {"name": "Top"})
    low = console.post("/policy-folders", {"name": "Low", "parent": top["id"]})
    problem(console.call("POST", "/policy-folders", {"name": "Low", "parent": top["id"]}), 409, "name")
    problem(console.call("POST", "/policy-folders", {"name": "x", "parent": NOBODY}), 400, "parent")
    problem(console.call("PATCH", f"/policy-folders/{top['id']}", {"parent": low["id"]}, If_Match='"1"'), 409, "parent")
    problem(console.call("DELETE", f"/policy-folders/{top['id']}", If_Match='"1"'), 409)
    problem(console.call("PATCH", f"/policy-folders/{ROOT}", {"name": "x"}, If_Match='"1"'), 409)
    ident = policy(console, "In low", folder=low["id"])
    problem(console.call("DELETE", f"/policy-folders/{low['id']}", If_Match='"1"'), 409)
    done(act(console, "PATCH", ident, "", {"folder": top["id"]}))
    assert console.call("PATCH", f"/policy-folders/{low['id']}", {"name": "Deep", "parent": ROOT}, If_Match='"1"')[2]["parent"] == ROOT
    assert console.call("DELETE", f"/policy-folders/{low['id']}", If_Match='"2"')[0] == 204
    deep = ROOT
    for n in range(15):
        deep = console.post("/policy-folders", {"name": f"Deep {n}", "parent": deep})["id"]
    problem(console.call("POST", "/policy-folders", {"name": "Too deep", "parent": deep}), 409, "parent")


# ---- assignments ----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def targets(zone, console):
    person = seed.person_id(zone, harness.PERSON)
    source = zone.sql("SELECT id FROM user_source")[0][0]
    group, folder = "00000000-0000-4000-8000-00000000a001", "00000000-0000-4000-8000-00000000a002"
    zone.sql("INSERT INTO user_group (id, source_id, name) VALUES (?, ?, 'Sales')", group, source)
    zone.sql("INSERT INTO user_folder (id, source_id, name) VALUES (?, ?, 'Vienna')", folder, source)
    return {"person": (person, "Anna"), "user_group": (group, "Sales"), "user_folder": (folder, "Vienna"), "user_source": (source, None),
            "device": (seed.device(zone, "Assigned phone", person), "Assigned phone"),
            "device_group": (console.post("/groups", {"name": "Assigned group"})["id"], "Assigned group"),
            "folder": (console.post("/folders", {"name": "Assigned folder", "parent": seed.ROOT_FOLDER})["id"], "Assigned folder")}


def test_assigned_to_every_kind_of_target(zone, console, targets):
    """POL-05: one call assigns to seven targets, all or none; names are resolved; each leaves its mark; place and rule are changed, taken away."""
    ident = policy(console, "Everywhere", publish=True)
    wanted = [{"kind": k, "id": i} for k, (i, _) in targets.items()]
    problem(console.call("POST", "/assignments", {"policy": ident, "targets": wanted + [{"kind": "device", "id": NOBODY}]}), 400, "targets.7.id")
    assert console.get(f"/assignments?policy={ident}")["items"] == []
    made = console.post("/assignments", {"policy": ident, "targets": wanted})["items"]
    assert {m["target"]["kind"] for m in made} == set(targets)
    assert all(m["target"]["name"] == name for m in made for name in [targets[m["target"]["kind"]][1]] if name and m["target"]["kind"] != "person")
    listed = console.get(f"/assignments?policy={ident}&limit=3")
    assert len(listed["items"]) == 3 and listed["next"]
    for kind, (target, _) in targets.items():
        mine = console.get(f"/assignments?kind={kind}&target={target}&policy={ident}")["items"]
        assert [m["policy"] for m in mine] == [{"id": ident, "name": "Everywhere"}]
        assert (mine[0]["conflict"] is None) == (kind in ("person", "user_group", "user_folder", "user_source"))
    problem(console.call("POST", "/assignments", {"policy": ident, "targets": wanted[:1]}), 409, "targets.0")
    one = next(m for m in made if m["target"]["kind"] == "folder")
    status, _, after = console.call("PATCH", f"/assignments/{one['id']}", {"conflict": "device_only", "position": 7}, If_Match='"1"')
    assert (status, after["conflict"], after["position"]) == (200, "device_only", 7)
    person = next(m for m in made if m["target"]["kind"] == "person")
    problem(console.call("PATCH", f"/assignments/{person['id']}", {"conflict": "device_only"}, If_Match='"1"'), 400, "conflict")
    problem(console.call("DELETE", f"/assignments/{one['id']}", If_Match='"1"'), 412)
    assert console.call("DELETE", f"/assignments/{one['id']}", If_Match='"2"')[0] == 204
    problem(console.call("GET", f"/assignments/{one['id']}"), 404)
    second = policy(console, "Second", publish=True)
    places = [console.post("/assignments", {"policy": p, "targets": [{"kind": "folder", "id": targets["folder"][0]}]})["items"][0]["position"]
              for p in (ident, second)]
    assert places == [1, 2]
    acts = [a["action"] for a in console.get("/audit?limit=60")["items"] if a["object_id"] == ident]
    assert acts.count("assignment.create") == 8 and acts.count("assignment.edit") == 1 and acts.count("assignment.delete") == 1


@pytest.mark.parametrize("body, field", [
    ({}, "policy"), ({"policy": NOBODY, "targets": [{"kind": "folder", "id": seed.ROOT_FOLDER}]}, "policy"), ({"targets": [{}]}, "targets.0.kind"), ({"targets": []}, "targets"),
    ({"targets": {}}, "targets"), ({"targets": ["x"]}, "targets.0"), ({"targets": [{"kind": "planet", "id": NOBODY}]}, "targets.0.kind"),
    ({"targets": [{"kind": "folder", "id": "x"}]}, "targets.0.id"), ({"targets": [{"kind": "folder", "id": NOBODY}]}, "targets.0.id"),
    ({"targets": [{"kind": "person", "id": NOBODY, "conflict": "device_only"}]}, "targets.0.conflict"),
    ({"targets": [{"kind": "folder", "id": seed.ROOT_FOLDER, "conflict": "both"}]}, "targets.0.conflict"),
    ({"targets": [{"kind": "folder", "id": seed.ROOT_FOLDER, "position": -1}]}, "targets.0.position"),
    ({"targets": [{"kind": "folder", "id": seed.ROOT_FOLDER}] * 201}, "targets")])
def test_bad_assignments(console, body, field):
    if body and "policy" not in body:
        known = console.get("/policies?q=bad%20targets")["items"]
        body = {"policy": known[0]["id"] if known else policy(console, "Bad targets"), **body}
    problem(console.call("POST", "/assignments", body), 400, field)


def test_bad_filters_of_assignments(console):
    for query, field in (("kind=folder", "target"), (f"target={NOBODY}", "kind"), ("kind=x", "kind"), ("policy=x", "policy"), ("color=1", "color")):
        problem(console.call("GET", "/assignments?" + query), 400, field)
    for body, field in (({}, "targets"), ({"policy": NOBODY}, "policy"), ({"targets": [{"kind": "person", "id": NOBODY}]}, "targets.0.id")):
        problem(console.call("POST", "/assignments/preview", body), 400, field)


def test_preview_counts_devices(zone, console, targets):
    """POL-05: how many devices an assignment would reach; several targets are added up and say so."""
    folder = console.post("/folders", {"name": "Counted", "parent": seed.ROOT_FOLDER})["id"]
    for n in range(3):
        seed.device(zone, f"Counted {n}", folder_id=folder)
    seed.device(zone, "Counted out", folder_id=folder, state="retired")
    one = console.post("/assignments/preview", {"targets": [{"kind": "folder", "id": folder}]})
    assert (one["devices"], one["exact"], one["targets"][0]["name"]) == (3, True, "Counted")
    two = console.post("/assignments/preview", {"targets": [{"kind": "folder", "id": folder}, {"kind": "device", "id": targets["device"][0]}]})
    assert (two["devices"], two["exact"]) == (4, False)
    ident = policy(console, "Counted", publish=True)
    assert console.post("/assignments/preview", {"policy": ident})["devices"] == 0
    console.post("/assignments", {"policy": ident, "targets": [{"kind": "folder", "id": folder}]})
    assert console.post("/assignments/preview", {"policy": ident}) == {**one}


def test_many_devices_are_confirmed_by_their_number(zone, console):
    """UI-04, API-03: assigning to more than 20 devices, and taking away from them, wants their number of a script as of the console."""
    folder = console.post("/folders", {"name": "Many", "parent": seed.ROOT_FOLDER})["id"]
    for n in range(20):
        seed.device(zone, f"Many {n}", folder_id=folder)
    ident, body = policy(console, "Many", publish=True), {"targets": [{"kind": "folder", "id": folder}]}
    made = console.post("/assignments", {"policy": ident, **body})["items"][0]
    last = seed.device(zone, "Many 20", folder_id=folder)
    path, other = f"/assignments/{made['id']}", {"policy": policy(console, "Many more", publish=True), **body}
    for method, where, sent in (("POST", "/assignments", other), ("DELETE", path, None)):
        def call(confirm=None):
            if method == "POST":
                return console.call(method, where, {**sent, **({} if confirm is None else {"confirm": confirm})})
            return console.call(method, where + ("" if confirm is None else f"?confirm={confirm}"), If_Match='"1"')
        assert "21 devices" in problem(call(), 400, "confirm")["detail"]
        assert "21 devices" in problem(call(20), 409, "confirm")["detail"]
        for bad in (0, -1, "x", 2**40):
            problem(call(bad), 400, "confirm")
    assert len(console.get(f"/assignments?kind=folder&target={folder}")["items"]) == 1
    second = console.post("/assignments", {**other, "confirm": 21})["items"][0]
    assert console.call("DELETE", path + "?confirm=21", If_Match='"1"')[0] == 204
    assert console.call("DELETE", f"/devices/{last}")[0] == 204
    assert console.call("DELETE", f"/assignments/{second['id']}", If_Match='"1"')[0] == 204


def test_target_goes_and_its_assignments_with_it(zone, console):
    """Issue 5, Trouble: what is assigned to a group, a folder or a device that is deleted is assigned no more."""
    ident = policy(console, "Orphan", publish=True)
    group, folder = console.post("/groups", {"name": "Goes"}), console.post("/folders", {"name": "Goes", "parent": seed.ROOT_FOLDER})
    device = seed.device(zone, "Goes")
    console.post("/assignments", {"policy": ident, "targets": [{"kind": "device_group", "id": group["id"]}, {"kind": "folder", "id": folder["id"]},
                                                               {"kind": "device", "id": device}]})
    assert console.get(f"/policies/{ident}")["assignments"] == 3
    assert console.call("DELETE", f"/groups/{group['id']}", If_Match='"1"')[0] == 204
    assert console.call("DELETE", f"/folders/{folder['id']}", If_Match='"1"')[0] == 204
    assert console.call("DELETE", f"/devices/{device}")[0] == 204
    assert console.get(f"/assignments?policy={ident}")["items"] == [] and console.get(f"/policies/{ident}")["assignments"] == 0


def test_assigning_while_the_target_or_the_policy_goes(zone, console):
    """Issue 5, Trouble: whoever comes first, no assignment is left of something that is gone."""
    for n in range(4):
        ident, group = policy(console, f"Goes {n}", publish=True), console.post("/groups", {"name": f"Race {n}"})["id"]
        victim = f"/groups/{group}" if n % 2 else f"/policies/{ident}"
        tag, answers, gate = '"1"' if n % 2 else version_of(console, ident), {}, threading.Barrier(2)

        def run(other, name, *call, **headers):
            gate.wait()
            answers[name] = other.call(*call, **headers)[0]
        jobs = [threading.Thread(target=run, args=(Console(zone), "assign", "POST", "/assignments", {"policy": ident, "targets": [{"kind": "device_group", "id": group}]})),
                threading.Thread(target=run, args=(Console(zone), "delete", "DELETE", victim), kwargs={"If_Match": tag})]
        [j.start() for j in jobs]
        [j.join() for j in jobs]
        assert answers["assign"] in (201, 400) and answers["delete"] == 204, answers
        assert zone.sql("SELECT COUNT(*) FROM assignment WHERE object_id = ?", ident)[0][0] == 0


def test_folder_limits(zone, console):
    """USR-12: who sees some folders only assigns to these and to their devices; he changes no policy, and sees no devices of others."""
    mine, other = (console.post("/folders", {"name": n, "parent": seed.ROOT_FOLDER})["id"] for n in ("Mine", "Others"))
    inside, outside = seed.device(zone, "Inside", folder_id=mine), seed.device(zone, "Outside", folder_id=other)
    role = console.post("/roles", {"name": "Policies", "rights": {"policy": ["read", "write"], "device": ["read"]}})["id"]
    console.post("/admins", {"kind": "local", "login": "limited-policies", "role_id": role, "password": "Correct-horse-9", "folders": [mine]})
    limited = Console(zone, "limited-policies", "Correct-horse-9")
    ident = policy(console, "Shared", publish=True)
    for kind, target, status in (("folder", mine, 201), ("device", inside, 201), ("folder", other, 403), ("device", outside, 403), ("folder", seed.ROOT_FOLDER, 403),
                                 ("person", seed.person_id(zone, harness.PERSON), 403)):
        assert limited.call("POST", "/assignments", {"policy": ident, "targets": [{"kind": kind, "id": target}]})[0] == status, kind
    console.post("/assignments", {"policy": ident, "targets": [{"kind": "folder", "id": other}]})
    assert {a["target"]["id"] for a in limited.get(f"/assignments?policy={ident}")["items"]} == {mine, inside}
    theirs = next(a["id"] for a in console.get(f"/assignments?kind=folder&target={other}")["items"])
    problem(limited.call("DELETE", f"/assignments/{theirs}", If_Match='"1"'), 404)
    problem(limited.call("POST", "/policies", {"type": "security", "name": "x"}), 403)
    problem(act(limited, "PATCH", ident, "", {"name": "x"}), 403)
    problem(act(limited, "POST", ident, "/publish", {"number": 1}), 403)
    problem(act(limited, "DELETE", ident), 403)
    problem(limited.call("POST", "/policy-folders", {"name": "x"}), 403)
    problem(limited.call("GET", f"/devices/{outside}/policies"), 404)
    assert limited.get(f"/devices/{inside}/policies")["types"] is not None


# Who may, as docs/administrators.md says: method and path without /api/v1, first row that fits. All but "nobody" are callers of the test below.
READERS, WRITERS = {"administrator", "auditor", "reads", "limited"}, {"administrator", "limited"}
EVERYBODY = READERS | {"help_desk", "super_help_desk", "nothing"}
MAY = [(r"GET /policies/catalogue", EVERYBODY), (r"GET /(policies|assignments|policy-folders)\b.*", READERS), (r"POST /assignments/preview", READERS),
       (r"\w+ /(policies|assignments|policy-folders)\b.*", WRITERS), (r"GET /devices/{id}/policies", EVERYBODY - {"nothing", "reads"}),
       (r"GET /people/{id}/policies", EVERYBODY - {"nothing", "reads"}), (r"GET /(notices|notifications)\b.*|POST /notifications/templates/.*/preview", {"auditor"}), (r"\w+ /(notices|notifications)\b.*", set())]


def test_who_may_do_what_with_policies(zone, console):
    """R29, USR-12, API-03: each route of policies, assignments, delivery and notices, for each built-in role, for tokens and for one who is limited to folders."""
    roles = {r["name"]: r["id"] for r in console.get("/roles")["items"]}
    roles |= {name: console.post("/roles", {"name": name, "rights": rights})["id"] for name, rights in (("reads", {"policy": ["read"]}), ("nothing", {}))}
    folder = console.post("/folders", {"name": "Of one", "parent": seed.ROOT_FOLDER})["id"]
    who = {}
    for name in ("administrator", "auditor", "help_desk", "super_help_desk", "limited"):
        console.post("/admins", {"kind": "local", "login": f"may-{name}", "role_id": roles.get(name, roles["administrator"]), "password": "Correct-horse-9",
                                 "folders": [folder] if name == "limited" else []})
        who[name] = Console(zone, f"may-{name}", "Correct-horse-9")
    for name in ("reads", "nothing"):
        who[name] = Console(zone, login=None)
        who[name].headers = {"Authorization": "Bearer " + console.post("/me/tokens", {"name": name, "days": 1, "role_id": roles[name]})["token"]}
    before, walked = zone.sql("SELECT COUNT(*) FROM audit WHERE outcome = 'done'"), 0
    for method, path, *_ in ROUTES:
        route = f"{method} {path.removeprefix('/api/v1')}"
        may = next((names for pattern, names in MAY if re.fullmatch(pattern, route)), None)
        if may is None:
            continue
        for name, caller in who.items():
            status = caller.call(method, re.sub(r"{\w+}", NOBODY, path.removeprefix("/api/v1")), None if method in ("GET", "DELETE") else {}, If_Match='"1"')[0]
            if name != "limited" or method == "GET":  # else refused for his folders, by right or without
                assert (status == 403) == (name not in may), (name, route, status)
            assert status in ((200, 400, 403, 404) if method in ("GET", "POST") else (400, 403, 404)), (name, route, status)
        walked += 1
    assert walked > 40 and zone.sql("SELECT COUNT(*) FROM audit WHERE outcome = 'done'") == before


# ---- at work --------------------------------------------------------------------------------------------------------
def result(zone, ident, number, devices, kind="security", settings='{"security.password": {"value": true, "policy": "%s", "version": 1, "via": "folder:%s"}}'):
    """What computing and delivery leave for devices of a policy: [(device, channel, state, error)]."""
    made = f"{ident}-{number}"
    zone.sql("INSERT INTO policy_result (id, type, hash, settings, created_ms) VALUES (?, ?, 'h', ?, ?)", made, kind, settings % (ident, seed.ROOT_FOLDER), seed.now_ms())  # what nobody uses is swept after a while
    zone.sql("INSERT INTO policy_result_policy (result_id, policy_id, number) VALUES (?, ?, ?)", made, ident, number)
    for device, channel, state, error in devices:
        if not zone.sql("SELECT 1 FROM effective_policy WHERE device_id = ? AND type = ?", device, kind):
            zone.sql("INSERT INTO effective_policy (device_id, type, result_id, computed_ms) VALUES (?, ?, ?, 1)", device, kind, made)
        zone.sql("INSERT INTO delivery (device_id, type, channel, result_id, hash, state, error, updated_ms) VALUES (?, ?, ?, ?, 'h', ?, ?, 1)",
                 device, kind, channel, made, state, error)
    return made


@pytest.fixture(scope="module")
def reached(zone, console):
    """A policy with nine devices in two results; retired ones, so that nobody computes them meanwhile."""
    ident = policy(console, "At work", publish=True)
    ids = [seed.device(zone, f"Reached {n}", state="retired") for n in range(9)]
    harness.wait_for(lambda: console.get("/policies/progress")["since"] is None)
    result(zone, ident, 1, [(d, "mdm", "applied", "") for d in ids[:5]] + [(d, "mdm", "failed", "Error 4001") for d in ids[5:7]])
    result(zone, ident, 0, [(ids[7], "mdm", "pending", ""), (ids[7], "eas", "not_applicable", "No mail client"), (ids[8], "eas", "applied", "")])
    return ident, ids


def test_status_with_drill_down(zone, console, reached):
    """POL-08: counts by channel and state; the devices behind each with error and time; as pages, whole, and as a file."""
    ident, ids = reached
    counts = {(c["channel"], c["state"]): c["devices"] for c in console.get(f"/policies/{ident}/status")["counts"]}
    assert counts == {("mdm", "applied"): 5, ("mdm", "failed"): 2, ("mdm", "pending"): 1, ("eas", "not_applicable"): 1, ("eas", "applied"): 1}
    failed = console.get(f"/policies/{ident}/devices?state=failed")["items"]
    assert {d["id"] for d in failed} == set(ids[5:7]) and {(d["error"], d["number"], d["channel"]) for d in failed} == {("Error 4001", 1, "mdm")}
    assert {d["number"] for d in console.get(f"/policies/{ident}/devices?channel=eas")["items"]} == {0}
    seen, cursor = [], ""
    while cursor is not None:
        page = console.get(f"/policies/{ident}/devices?limit=3{'&cursor=' + cursor if cursor else ''}")
        seen, cursor = seen + page["items"], page["next"]
    assert len(seen) == 10 and len({(d["id"], d["channel"]) for d in seen}) == 10
    assert seen == console.get(f"/policies/{ident}/devices?limit=200")["items"]
    status, _, raw = console.call("GET", f"/policies/{ident}/devices?format=csv&state=applied")
    assert status == 200 and raw.decode("utf-8-sig").count("\r\n") == 7
    assert console.get(f"/policies/{ident}")["devices"] == 9
    for query, field in (("state=odd", "state"), ("channel=odd", "channel")):
        problem(console.call("GET", f"/policies/{ident}/devices?{query}"), 400, field)


def test_settings_of_a_device_with_their_origin(zone, console, reached):
    """POL-06: every effective setting, where it came from by name, and what each channel has of it."""
    ident, ids = reached
    seen = console.get(f"/devices/{ids[5]}/policies")
    assert seen["policies"] == [{"type": "security", "id": ident, "name": "At work", "number": 1}]
    row = seen["types"][0]["settings"][0]
    assert row == {"setting": "security.password", "value": True, "policy": {"id": ident, "name": "At work"}, "version": 1,
                   "via": {"kind": "folder", "id": seed.ROOT_FOLDER, "name": "Mobile Devices"}}
    assert [(d["channel"], d["state"], d["error"]) for d in seen["deliveries"]] == [("mdm", "failed", "Error 4001")]
    status, headers, _ = console.call("GET", f"/devices/{ids[5]}/policies")
    assert console.call("GET", f"/devices/{ids[5]}/policies", If_None_Match=headers["ETag"])[0] == 304


def test_effective_settings_of_a_person(zone, console):
    """POL-05, POL-06: of a person, before any device: nearest first over the person, groups in their order and folders upwards; both columns; versions in force."""
    source = zone.sql("SELECT id FROM user_source")[0][0]
    ids = {n: f"00000000-0000-4000-8000-0000000{n:05x}" for n in range(0xc01, 0xc06)}
    person, near, far, low, top = ids.values()
    zone.sql("INSERT INTO user_folder (id, source_id, name) VALUES (?, ?, 'Top')", top, source)
    zone.sql("INSERT INTO user_folder (id, source_id, parent_id, name) VALUES (?, ?, ?, 'Low')", low, source, top)
    zone.sql("INSERT INTO person (id, source_id, folder_id, login, login_key, name, created_ms) VALUES (?, ?, ?, 'eve', 'eve', 'Eve', 1)", person, source, low)
    for n, group in enumerate((far, near)):
        zone.sql("INSERT INTO user_group (id, source_id, name, position) VALUES (?, ?, ?, ?)", group, source, f"G{n}", 9 - n)
        zone.sql("INSERT INTO user_group_member (group_id, person_id) VALUES (?, ?)", group, person)
    assert console.get(f"/people/{person}/policies") == {"corporate": [], "personal": []}

    def give(name, kind, target, **settings):
        made = policy(console, name, settings={f"security.{k}": v for k, v in settings.items()}, publish=True)
        console.post("/assignments", {"policy": made, "targets": [{"kind": kind, "id": target}]})
        return made
    both = {"corporate": "inherit", "personal": 5}
    mine = give("Eve 1", "person", person, min_length=both)
    give("Eve 2", "user_group", near, min_length={"corporate": 7}, simple={"personal": None})
    give("Eve 3", "user_group", far, min_length={"corporate": 8, "personal": 8}, simple={"corporate": False, "personal": False})
    give("Eve 4", "user_folder", top, numeric={"corporate": True})
    hidden = policy(console, "Eve sandbox", settings={"security.alphabetic": {"corporate": True}})
    console.post("/assignments", {"policy": hidden, "targets": [{"kind": "person", "id": person}]})
    seen = console.get(f"/people/{person}/policies")
    got = {side: {r["setting"].split(".")[1]: (r["value"], r["policy"]["name"], r["via"]["kind"]) for t in seen[side] for r in t["settings"]} for side in seen}
    assert got["corporate"] == {"min_length": (7, "Eve 2", "user_group"), "simple": (False, "Eve 3", "user_group"), "numeric": (True, "Eve 4", "user_folder")}
    assert got["personal"] == {"min_length": (5, "Eve 1", "person"), "simple": (None, "Eve 2", "user_group")}
    row = next(r for r in seen["personal"][0]["settings"] if r["setting"] == "security.min_length")
    assert row == {"setting": "security.min_length", "value": 5, "policy": {"id": mine, "name": "Eve 1"}, "version": 1, "via": {"kind": "person", "id": person, "name": "Eve"}}
    problem(console.call("GET", f"/people/{NOBODY}/policies"), 404)


def test_what_becomes_of_settings_on_their_way(zone, console):
    """POL-06, CAT-01: for each channel that the device has, whether a value is sent there, and the reason if it is not."""
    ident = policy(console, "On the way", publish=True)
    device = seed.device(zone, "Not supervised", state="retired", supervised=0)
    seed.record(zone, device)
    seed.record(zone, device, kind="eas", native_id="OUTCOMES1", **{"class": "native"})
    harness.wait_for(lambda: console.get("/policies/progress")["since"] is None)
    text = '{"control.camera": {"value": false, "policy": "%s", "version": 1, "via": "folder:%s"}, "control.app_removal": {"value": false, "policy": "x", "version": 0, "via": ""}}'
    wanted = [s for s in console.get("/policies/catalogue")["settings"] if s["type"] == "device_control"]
    camera = next(s["id"] for s in wanted if any(k["key"] == "allowCamera" for k in s.get("apple", [])))
    strict = next(s["id"] for s in wanted if any(k.get("supervised") is True and k["key"] == "allowAppRemoval" for k in s.get("apple", [])))
    result(zone, ident, 1, [(device, "mdm", "applied", "")], "device_control", text.replace("control.camera", camera).replace("control.app_removal", strict))
    rows = {r["setting"]: r for r in console.get(f"/devices/{device}/policies")["types"][0]["settings"]}
    assert rows[strict]["channels"]["apple"]["state"] == "not_sent" and rows[strict]["channels"]["apple"]["reason"] == "supervision"
    assert rows[camera]["channels"] == {"apple": {"state": "sent"}}


def test_groups_and_folders_of_people_are_found(zone, console):
    """POL-05: what can be assigned to is listed by name with its source, page by page, by part of the name."""
    source = zone.sql("SELECT id FROM user_source")[0][0]
    for table, path in (("user_group", "/user-groups"), ("user_folder", "/user-folders")):
        for n, name in enumerate(("Depot north", "Depot south", "<b>Depot</b>")):
            zone.sql(f"INSERT INTO {table} (id, source_id, name, dn) VALUES (?, ?, ?, ?)", f"00000000-0000-4000-8000-{table[5] == 'g':05d}000{n:04d}", source, name, f"cn={n}")
        assert {x["name"] for x in console.get(f"{path}?q=DEPOT")["items"]} == {"Depot north", "Depot south", "<b>Depot</b>"}
        assert [(x["name"], x["dn"], x["source"]["id"]) for x in console.get(f"{path}?q=north")["items"]] == [("Depot north", "cn=0", source)]
        page = console.get(f"{path}?q=depot&limit=2")
        rest = console.get(f"{path}?q=depot&limit=2&cursor={page['next']}")
        assert len({x["id"] for x in page["items"] + rest["items"]}) == 3 and rest["next"] is None
        problem(console.call("GET", f"{path}?q={'x' * 201}"), 400, "q")
        problem(console.call("GET", f"{path}?cursor={page['next']}&q=s"), 400, "cursor")


def test_deleting_names_the_devices(zone, console, reached):
    """UI-04: a policy that several devices have is deleted with their number; its assignments go, its targets are marked."""
    ident, _ = reached
    group = console.post("/groups", {"name": "Marked"})["id"]
    console.post("/assignments", {"policy": ident, "targets": [{"kind": "device_group", "id": group}]})
    assert "9 devices" in problem(act(console, "DELETE", ident), 400, "confirm")["detail"]
    problem(act(console, "DELETE", ident, "?confirm=8"), 409, "confirm")
    problem(act(console, "DELETE", ident, "?confirm=x"), 400, "confirm")
    done(act(console, "DELETE", ident, "?confirm=9"), 204)
    problem(console.call("GET", f"/policies/{ident}"), 404)
    assert zone.sql("SELECT COUNT(*) FROM assignment WHERE object_id = ?", ident)[0][0] == 0
    assert zone.sql("SELECT COUNT(*) FROM policy_version WHERE policy_id = ?", ident)[0][0] == 0


def test_progress_is_polled(console):
    """POL-09: what is left, with an ETag."""
    harness.wait_for(lambda: console.get("/policies/progress") == {"marks": 0, "devices": 0, "since": None})
    status, headers, _ = console.call("GET", "/policies/progress")
    assert console.call("GET", "/policies/progress", If_None_Match=headers["ETag"])[0] == 304


# ---- what settings inherit ------------------------------------------------------------------------------------------
def test_inherited_values_of_the_places(zone, console):
    """POL-02: the editor learns what "inherit" comes to: from the folders above, nearest first; where places differ it says so."""
    top = console.post("/folders", {"name": "Inherit top", "parent": "00000000-0000-4000-8000-000000000001"})["id"]
    shop = console.post("/folders", {"name": "Shop", "parent": top})["id"]
    other = console.post("/folders", {"name": "Elsewhere", "parent": "00000000-0000-4000-8000-000000000001"})["id"]
    above = policy(console, "Above", settings={"security.min_length": {"corporate": 8, "personal": 5}, "security.simple": {"corporate": None}}, publish=True)
    mine = policy(console, "Mine", settings={"security.numeric": {"corporate": True}})
    assert console.get(f"/policies/{mine}/inherited") == {}
    for ident, folder in ((above, top), (mine, shop)):
        console.post("/assignments", {"policy": ident, "targets": [{"kind": "folder", "id": folder}]})
    got = console.get(f"/policies/{mine}/inherited")
    origin = {"id": above, "name": "Above"}
    assert got["security.min_length"] == {"corporate": {"value": 8, "policy": origin}, "personal": {"value": 5, "policy": origin}}
    assert got["security.simple"] == {"corporate": {"value": None, "policy": origin}}
    console.post("/assignments", {"policy": mine, "targets": [{"kind": "folder", "id": other}]})
    assert console.get(f"/policies/{mine}/inherited")["security.min_length"] == {"corporate": {"places": True}, "personal": {"places": True}}
    problem(console.call("GET", f"/policies/{NOBODY}/inherited"), 404)
