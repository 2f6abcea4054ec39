"""LDAP user sources against a real directory (USR-01..05, USR-07, USR-08, USR-10..12, PEN-01, R21, R27, R30, R46, SEC-05, REL-04)."""
import base64
import hashlib
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
import seed
from clients import Console
from slapd import ROOT_DN, ROOT_PASSWORD, Slapd

ADDRESSES = [0]
HOSTILE = ["*", "*)(uid=*", "carla)(|(uid=*", "carla*", "\\2a", "c\\61rla", "carla\u0000", ")(cn=", "((((", "\u202ealrac", "x" * 250,
           "carla)(objectClass=*))(&(uid=carla", "&|!=~<>", "=cmd|' /C calc'!A0", "<img src=x>"]


@pytest.fixture(scope="module")
def one():
    people = [("carla", "carla-Pass-1", "carla.c@example.net", "Carla Corp"), ("dora", "dora-Pass-1", "dora@example.net"),
              ("emil", "emil-Pass-1")]
    made = Slapd(people, [("staff", ["carla", "dora"]), ("board", ["carla"])])
    yield made
    made.close()


@pytest.fixture(scope="module")
def two():
    made = Slapd([("carla", "other-Pass-2", "carla@other.example"), ("fred", "fred-Pass-2", "fred@other.example")])
    yield made
    made.close()


def add(console, slapd, name, accept=True, tls="ldaps", more=None, **members):
    body = {"name": name, "secret": ROOT_PASSWORD, "config": slapd.config(tls, **(more or {})), **members}
    status, headers, made = console.call("POST", "/sources", body)
    assert status == 201, made
    if accept and tls != "none":
        console.zone.log.expect("MDM0121")  # a sync may begin before the certificate is accepted
        status, _, made = console.call("PUT", f"/sources/{made['id']}/certificate", {"sha256": slapd.sha256},
                                       If_Match=f'"{made["version"]}"')
        assert status == 200, made
    return made


def drop(console, ident):
    version = console.get(f"/sources/{ident}")["version"]
    assert console.call("DELETE", f"/sources/{ident}", If_Match=f'"{version}"')[0] == 204


@pytest.fixture
def source(zone, console, one):
    made = add(console, one, "Corp", domains=["corp", "Example.NET"])
    yield made
    zone.log.expect("MDM0121")  # a sync may be under way while a test breaks the directory
    drop(console, made["id"])


def login(zone, typed, password, domain=None):
    """Each call comes from an address of its own, so that the throttle (USR-10) does not answer in place of the directory."""
    ADDRESSES[0] += 1
    body = {"login": typed, "password": password, **({"domain": domain} if domain is not None else {})}
    conn = http.client.HTTPSConnection("localhost", zone.device_port, timeout=harness.PATIENCE, context=zone.ssl_context(),
                                       source_address=(f"127.9.{ADDRESSES[0] // 250}.{ADDRESSES[0] % 250 + 1}", 0))
    try:
        conn.request("POST", "/portal/api/v1/session", body=json.dumps(body),
                     headers={"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"})
        return conn.getresponse().status
    finally:
        conn.close()


def wait_synced(zone, ident, after=0):
    def synced():
        rows = zone.sql("SELECT state, result, run_at_ms FROM job WHERE unique_key = ?", f"ldap.sync:{ident}")
        return rows and rows[0][1] and rows[0][2] > time.time() * 1000 and json.loads(rows[0][1])
    return harness.wait_for(synced)


def test_every_form_of_log_in(zone, console, source):
    """USR-05: domain\\user, user@domain, user and field, mail; the cached row has what the directory says."""
    for typed, domain in [("carla@corp", None), ("CORP\\Carla", None), ("carla", "corp"), ("carla@example.net", None),
                          ("carla.c@example.net", None)]:
        assert login(zone, typed, "carla-Pass-1", domain) == 204, typed
    assert login(zone, "carla@corp", "carla-Pass-2") == 401
    assert login(zone, "nobody@corp", "carla-Pass-1") == 401
    assert login(zone, "carla@corp", "") == 401
    rows = zone.sql("SELECT p.login, p.name, p.mail, f.name, p.guid, p.dn FROM person p JOIN user_folder f ON f.id = p.folder_id "
                    "WHERE p.source_id = ? AND p.login = 'carla'", source["id"])
    assert len(rows) == 1 and rows[0][:4] == ("carla", "Carla Corp", "carla.c@example.net", "people") and len(rows[0][4]) == 72
    groups = zone.sql("SELECT g.name FROM user_group g JOIN user_group_member m ON m.group_id = g.id JOIN person p ON "
                      "p.id = m.person_id WHERE p.source_id = ? AND p.login = 'carla' ORDER BY g.name", source["id"])
    assert [g[0] for g in groups] == ["board", "staff"]


def test_two_sources_simple_and_names(zone, console, source, two):
    """USR-04, USR-05: the same log-in in two directories; simple enrolment moves; a name serves as domain; aliases are unique."""
    other = add(console, two, "Other Inc")
    try:
        assert login(zone, "carla", "other-Pass-2", "other inc") == 204 and login(zone, "carla", "carla-Pass-1", "other inc") == 401
        assert login(zone, "fred@other.example", "fred-Pass-2") == 204  # by mail: no domain is known by that name
        status, _, body = console.call("PATCH", f"/sources/{other['id']}", {"domains": ["corp"]}, If_Match=f'"{other["version"]}"')
        assert (status, body["field"]) == (409, "domains")
        local = next(s for s in console.get("/sources")["items"] if s["kind"] == "local")
        assert local["simple"] and login(zone, "carla", "other-Pass-2") == 401
        status, _, other = console.call("PATCH", f"/sources/{other['id']}", {"simple": True}, If_Match=f'"{other["version"]}"')
        assert status == 200 and other["simple"] and [s["name"] for s in console.get("/sources")["items"] if s["simple"]] == ["Other Inc"]
        assert login(zone, "carla", "other-Pass-2") == 204
        assert login(zone, "carla", "other-Pass-2", "other inc") == 401  # it is the simple one: its name is no domain any more
    finally:
        local = next(s for s in console.get("/sources")["items"] if s["kind"] == "local")
        assert console.call("PATCH", f"/sources/{local['id']}", {"simple": True}, If_Match=f'"{local["version"]}"')[0] == 200
        drop(console, other["id"])


def test_hostile_input_finds_nobody(zone, console, source):
    """R27, SEC-05, USR-11: no filter character means anything, in user, domain or mail; none is an error of ours."""
    for i, text in enumerate(HOSTILE):
        for typed, domain in [(text, "corp"), (text + "@corp", None), (text + "@example.org", None), (f"u{i}", text)]:
            assert login(zone, typed, "carla-Pass-1", domain) in (400, 401), (typed, domain)
    assert zone.sql("SELECT COUNT(*) FROM person WHERE source_id = ? AND login NOT IN ('carla', 'dora', 'emil')", source["id"])[0][0] == 0


def test_hostile_names_from_the_directory(zone, console, one, source):
    """SEC-05: what a directory holds comes through as text, in the person list and in the job."""
    name = "<img src=x onerror=alert(1)>"
    one.add(Slapd.person_ldif("gina", "gina-Pass-1", "gina@example.net", name))
    try:
        assert login(zone, "gina@corp", "gina-Pass-1") == 204
        assert [p["name"] for p in console.get("/people?q=gina")["items"]] == [name]
    finally:
        one.remove("gina")


def test_sync_pages_groups_and_gone(zone, console, one, source):
    """USR-07: more people than the directory gives at once; groups; who is deleted can't log in at once and is gone after the sync."""
    wait_synced(zone, source["id"])
    many = [f"bulk{i:03d}" for i in range(230)]
    one.add(*[Slapd.person_ldif(u, "bulk-Pass-1") for u in many])
    try:
        assert console.call("POST", f"/sources/{source['id']}/sync")[0] == 202
        harness.wait_for(lambda: wait_synced(zone, source["id"]).get("people") == 233)
        members = zone.sql("SELECT COUNT(*) FROM user_group_member m JOIN user_group g ON g.id = m.group_id WHERE g.source_id = ?",
                           source["id"])
        assert members[0][0] == 3
        assert login(zone, "bulk007@corp", "bulk-Pass-1") == 204
        one.remove("bulk007")
        many.remove("bulk007")
        assert login(zone, "bulk007@corp", "bulk-Pass-1") == 401
        assert console.call("POST", f"/sources/{source['id']}/sync")[0] == 202
        harness.wait_for(lambda: wait_synced(zone, source["id"]).get("people") == 232)
        gone = zone.sql("SELECT login FROM person WHERE source_id = ? AND gone_ms IS NOT NULL", source["id"])
        assert gone == [("bulk007",)]
    finally:
        for uid in many:
            one.remove(uid)


def test_groups_that_go(zone, console, one, source):
    """USR-07, USR-12: a group that the directory has no more loses its people with the next sync and goes with the one after; back, it is as it was."""
    wait_synced(zone, source["id"])

    def groups():
        return zone.sql("SELECT g.name, COUNT(m.person_id) FROM user_group g LEFT JOIN user_group_member m ON m.group_id = g.id"
                        " WHERE g.source_id = ? GROUP BY g.name ORDER BY g.name", source["id"])

    def synced(want):
        console.post(f"/sources/{source['id']}/sync")
        harness.wait_for(lambda: groups() == want)
        wait_synced(zone, source["id"])
    assert groups() == [("board", 1), ("staff", 2)]
    one.modify("dn: cn=board,ou=groups,dc=example,dc=org\nchangetype: delete\n")
    try:
        synced([("board", 0), ("staff", 2)])
        synced([("staff", 2)])
    finally:
        one.add(Slapd.group_ldif("board", ["carla"]))
    synced([("board", 1), ("staff", 2)])


def test_directory_away_marks_nobody(zone, console, two):
    """USR-07: a sync that can't read to the end marks nobody gone, and says why; the next one goes on."""
    made = add(console, two, "Fading", domains=["fading"])
    try:
        wait_synced(zone, made["id"])
        people = lambda: zone.sql("SELECT login, gone_ms FROM person WHERE source_id = ? ORDER BY login", made["id"])
        was = people()
        assert [r[1] for r in was] == [None, None]
        zone.log.expect("MDM0121")
        two.stop()
        console.post(f"/sources/{made['id']}/sync")
        error = lambda: "error" in (zone.sql("SELECT result FROM job WHERE unique_key = ?", f"ldap.sync:{made['id']}")[0][0] or "")
        harness.wait_for(error)
        assert people() == was
        two.start()
        console.post(f"/sources/{made['id']}/sync")
        harness.wait_for(lambda: not error())
        assert people() == was
    finally:
        if not two.process:
            two.start()
        drop(console, made["id"])


def test_log_in_that_changed_hands(zone, console, one, source):
    """USR-07: a log-in that is given to somebody else is another person here."""
    one.add(Slapd.person_ldif("hans", "first-Pass-1"))
    assert login(zone, "hans@corp", "first-Pass-1") == 204
    one.remove("hans")
    one.add(Slapd.person_ldif("hans", "second-Pass-2"))
    try:
        assert login(zone, "hans@corp", "second-Pass-2") == 204
        rows = zone.sql("SELECT gone_ms IS NULL FROM person WHERE source_id = ? AND login = 'hans'", source["id"])
        assert sorted(bool(r[0]) for r in rows) == [False, True]
        gone = zone.sql("SELECT id FROM person WHERE source_id = ? AND login = 'hans' AND gone_ms IS NOT NULL", source["id"])[0][0]
        assert zone.sql("SELECT COUNT(*) FROM change WHERE kind = 'person' AND key = ?", gone)[0][0] >= 1  # nodes forget his log-in
    finally:
        one.remove("hans")


def test_connection_step_by_step(zone, console, one):
    """USR-02, USR-03, R46: nothing is trusted before it was accepted; each step says what came of it."""
    zone.log.expect("MDM0120", "MDM0121")
    made = add(console, one, "Steps", accept=False, domains=["steps"])
    try:
        steps = console.post(f"/sources/{made['id']}/test")["steps"]
        assert [(s["step"], s["ok"]) for s in steps] == [("dns", True), ("tcp", True), ("tls", False)]
        cert = steps[2]["certificate"]
        assert cert["sha256"] == one.sha256 and cert["subject"] == "CN=localhost" and not cert["accepted"]
        assert login(zone, "carla@steps", "carla-Pass-1") == 503
        status, _, made = console.call("PUT", f"/sources/{made['id']}/certificate", {"sha256": cert["sha256"]},
                                       If_Match=f'"{made["version"]}"')
        assert status == 200
        steps = console.post(f"/sources/{made['id']}/test")["steps"]
        assert [(s["step"], s["ok"]) for s in steps] == [(n, True) for n in ("dns", "tcp", "tls", "bind", "search")]
        assert "3 people" in steps[4]["text"] and all(s["ms"] >= 0 for s in steps)
        assert login(zone, "carla@steps", "carla-Pass-1") == 204
    finally:
        drop(console, made["id"])


@pytest.mark.parametrize("tls", ["starttls", "none"])
def test_other_ways_to_connect(zone, console, one, tls):
    made = add(console, one, "Way " + tls, tls=tls, domains=["way"])
    try:
        assert login(zone, "carla@way", "carla-Pass-1") == 204
        assert login(zone, "carla@way", "wrong") == 401
    finally:
        drop(console, made["id"])


def test_authority_instead_of_certificate(zone, console, one, two):
    """USR-02: a pinned authority accepts what it signed for this host, and nothing of another authority."""
    zone.log.expect("MDM0120", "MDM0121")
    good = add(console, one, "By CA", accept=False, more={"ca": one.ca_pem}, domains=["byca"])
    bad = add(console, one, "By other CA", accept=False, more={"ca": two.ca_pem}, domains=["byother"])
    try:
        assert login(zone, "carla@byca", "carla-Pass-1") == 204
        assert login(zone, "carla@byother", "carla-Pass-1") == 503
    finally:
        drop(console, good["id"])
        drop(console, bad["id"])


def test_changed_certificate_stops_the_source(zone, console, two):
    """USR-02: until it is accepted again; nobody reads "wrong password" meanwhile."""
    made = add(console, two, "Changing", domains=["changing"])
    try:
        assert login(zone, "fred@changing", "fred-Pass-2") == 204
        zone.log.expect("MDM0120", "MDM0121")
        two.stop()
        two.new_certificate()
        two.start()
        assert login(zone, "fred@changing", "fred-Pass-2") == 503
        assert zone.log.has("certificate has changed")
        made = console.get(f"/sources/{made['id']}")
        assert console.call("PUT", f"/sources/{made['id']}/certificate", {"sha256": two.sha256}, If_Match=f'"{made["version"]}"')[0] == 200
        assert login(zone, "fred@changing", "fred-Pass-2") == 204
    finally:
        drop(console, made["id"])


def test_dead_and_hanging_directory(zone, console, two):
    """USR-11, REL-04: 503 in bounded time, never "wrong password"; others go on meanwhile."""
    zone.log.expect("MDM0120", "MDM0121")
    made = add(console, two, "Fragile", domains=["fragile"], more={"timeout_s": 3})
    try:
        wait_synced(zone, made["id"])
        two.freeze()
        assert login(zone, "fred@fragile", "fred-Pass-2") == 503
        assert login(zone, harness.PERSON, harness.PERSON_PASSWORD) == 204
        two.thaw()
        two.stop()
        assert login(zone, "fred@fragile", "fred-Pass-2") == 503
        assert console.post(f"/sources/{made['id']}/test")["steps"][-1]["ok"] is False
        two.start()
        harness.wait_for(lambda: login(zone, "fred@fragile", "fred-Pass-2") == 204)
    finally:
        two.thaw()
        drop(console, made["id"])


def test_hanging_directory_does_not_hold_the_workers(fresh_zone, two):
    """REL-04: thirty log-ins to a directory that hangs, one child with sixteen threads: local people log in meanwhile; after a few
    failures nobody waits for it any more; it is found again by itself."""
    zone = fresh_zone(children=1, threads=16)
    zone.log.expect("MDM0120", "MDM0121")
    console = Console(zone)
    made = add(console, two, "Fragile", domains=["fragile"], more={"timeout_s": 10})
    wait_synced(zone, made["id"])
    assert login(zone, "fred@fragile", "fred-Pass-2") == 204
    two.freeze()
    try:
        with ThreadPoolExecutor(30) as pool:
            stuck = [pool.submit(login, zone, f"user{i}@fragile", "x") for i in range(30)]
            harness.wait_for(lambda: sum(f.done() for f in stuck) >= 10)  # the way is full: the rest is refused
            assert [login(zone, harness.PERSON, harness.PERSON_PASSWORD) for _ in range(3)] == [204] * 3
            assert not all(f.done() for f in stuck)
            assert {f.result() for f in stuck} == {503}
        assert zone.log.has("MDM0003")
        assert login(zone, "fred@fragile", "fred-Pass-2") == 503
        zone.log.read()
        assert sum(1 for x in zone.log.lines if x.id == "MDM0120" and x.bad) <= 9  # who was not let through is no error
    finally:
        two.thaw()

    def found_again():
        """the child that had closed the way opens it; another may have been started meanwhile"""
        return login(zone, "fred@fragile", "fred-Pass-2") == 204 and zone.log.has("MDM0004", wait=0)
    harness.wait_for(found_again)


def test_secrets_and_refusals(zone, console, one, source):
    """R30, API-04, USR-08: the password is never shown, not taken along to another server; wrong configuration is refused by field."""
    seen = console.get(f"/sources/{source['id']}")
    assert seen["secret_set"] and ROOT_PASSWORD not in json.dumps(console.get("/sources"))
    sealed = zone.sql("SELECT secret FROM user_source WHERE id = ?", source["id"])[0][0]
    assert sealed.startswith("s1.") and ROOT_PASSWORD not in sealed
    etag = f'"{seen["version"]}"'
    elsewhere = {k: v for k, v in seen["config"].items() if k != "pin"} | {"host": "198.51.100.7"}
    status, _, body = console.call("PATCH", f"/sources/{seen['id']}", {"config": elsewhere}, If_Match=etag)
    assert (status, body["field"]) == (400, "secret")
    for field, change in [("host", {"host": "a b"}), ("containers", {"containers": ["not a dn"]}), ("type", {"type": "x"}),
                          ("login", {"attributes": {"login": "uid=*)"}}), ("pin", {"pin": "0" * 64}), ("color", {"color": 1}),
                          ("port", {"port": 70000}), ("bind_dn", {"bind_dn": "nobody"}), ("root", {"root": "??"})]:
        status, _, body = console.call("POST", "/sources", {"name": "Bad", "config": one.config() | change})
        assert (status, body["field"]) == (400, field), body
    assert console.call("POST", "/sources", {"name": "Corp", "config": one.config()})[0] == 409
    assert console.call("DELETE", f"/sources/{seen['id']}", If_Match='"999"')[0] == 412
    local = next(s for s in console.get("/sources")["items"] if s["kind"] == "local")
    assert console.call("DELETE", f"/sources/{local['id']}", If_Match=f'"{local["version"]}"')[0] == 409


def test_deleted_source_keeps_its_people_without_rights(zone, console, one):
    """USR-08, R35: sessions end, the person stays without a source, and the same directory added again does not adopt it."""
    made = add(console, one, "Short-lived", domains=["short"])
    assert login(zone, "emil@short", "emil-Pass-1") == 204
    ident = zone.sql("SELECT id FROM person WHERE source_id = ? AND login = 'emil'", made["id"])[0][0]
    drop(console, made["id"])
    assert zone.sql("SELECT source_id FROM person WHERE id = ?", ident) == [(None,)]
    assert zone.sql("SELECT COUNT(*) FROM session WHERE subject_id = ?", ident)[0][0] == 0
    again = add(console, one, "Short-lived", domains=["short"])
    try:
        assert login(zone, "emil@short", "emil-Pass-1") == 204
        assert zone.sql("SELECT source_id FROM person WHERE id = ?", ident) == [(None,)]
    finally:
        drop(console, again["id"])


def test_devices_touched_are_named_before(zone, console, source, two):
    """USR-04, USR-05: whoever must write the log-in in another way is counted by devices in use before it happens; nothing changes without
    a confirmation."""
    local = next(s for s in console.get("/sources")["items"] if s["kind"] == "local")
    assert login(zone, "carla@corp", "carla-Pass-1") == 204
    carla = zone.sql("SELECT id FROM person WHERE source_id = ? AND login = 'carla'", source["id"])[0][0]
    mine = [seed.device(zone, f"Carla {i}", carla, state=state) for i, state in enumerate(("active", "pending", "retired"))]
    annas = seed.device(zone, "Anna 1", seed.person_id(zone, harness.PERSON))
    other = add(console, two, "Other named")
    try:
        def change(ident, body):
            return console.call("PATCH", f"/sources/{ident}", body, If_Match=f'"{console.get(f"/sources/{ident}")["version"]}"')
        for ident, body, count in ((other["id"], {"simple": True}, "1 device "), (source["id"], {"domains": ["corp"]}, "2 devices "),
                                   (source["id"], {"domains": ["new"], "simple": True}, "3 devices ")):
            status, _, said = change(ident, body)
            assert (status, said["field"]) == (409, "confirm") and count in said["detail"], said
        assert console.get(f"/sources/{source['id']}")["domains"] == ["corp", "example.net"] and console.get(f"/sources/{local['id']}")["simple"]
        assert change(source["id"], {"domains": ["corp", "example.NET", "more"]})[0] == 200  # nobody's log-in is lost
        assert change(other["id"], {"simple": True, "confirm": "yes"})[2]["field"] == "confirm"
        assert change(other["id"], {"simple": True, "confirm": True})[0] == 200
        status, _, said = console.call("POST", "/sources", {"name": "Third", "config": two.config(), "simple": True})
        assert status == 201, "the simple one had no devices"
        assert "1 device " in change(local["id"], {"simple": True})[2]["detail"], "its name is no domain any more then"
        assert change(local["id"], {"simple": True, "confirm": True})[0] == 200
        drop(console, said["id"])
        status, _, said = console.call("POST", "/sources", {"name": "Third", "config": two.config(), "simple": True})
        assert (status, said["field"]) == (409, "confirm")
    finally:
        for ident in (*mine, annas):
            zone.sql("DELETE FROM device WHERE id = ?", ident)
        change(local["id"], {"simple": True, "confirm": True})
        drop(console, other["id"])


def test_devices_of_a_removed_source(zone, console, one):
    """USR-08: the list has them, as a page and as CSV, and nobody else's; they are deleted; the same directory does not get them back."""
    made = add(console, one, "Leaving", domains=["leaving"])
    assert login(zone, "dora@leaving", "dora-Pass-1") == 204
    dora = zone.sql("SELECT id FROM person WHERE source_id = ? AND login = 'dora'", made["id"])[0][0]
    mine = {seed.device(zone, f"Dora {i}", dora, state=state) for i, state in enumerate(("active", "retired"))}
    others = [seed.device(zone, "Anna 2", seed.person_id(zone, harness.PERSON)), seed.device(zone, "Nobody's")]
    listed = lambda more="": {d["id"] for d in console.get("/devices?source_removed=1&limit=200" + more)["items"]} & {*mine, *others}  # noqa: E731
    try:
        assert listed() == set()
        drop(console, made["id"])
        assert listed() == mine and len(listed("&state=active")) == 1 and listed("&q=dora") == mine and listed("&sort=-last_contact") == mine
        text = console.call("GET", "/devices?source_removed=1&format=csv")[2].decode()
        assert all(i in text for i in mine) and not any(i in text for i in others)
        again = add(console, one, "Leaving", domains=["leaving"])
        assert login(zone, "dora@leaving", "dora-Pass-1") == 204 and listed() == mine
        drop(console, again["id"])
        for ident in mine:
            assert console.call("DELETE", f"/devices/{ident}")[0] == 204
        assert listed() == set()
    finally:
        for ident in (*mine, *others):
            zone.sql("DELETE FROM device WHERE id = ?", ident)


def authorise(console, who, typed, password):
    """An enrolment for `who`, authorised by these credentials: status and answer."""
    status, _, got = console.call("POST", "/pending", {"person_id": who, "platform": "ios", "authoriser": {"login": typed, "password": password}})
    if status == 201:
        console.post(f"/pending/{got['id']}/cancel")
    return status, got


def test_who_may_authorise(zone, console, one, two, source):
    """PEN-01: members of the groups that the source names, as the directory says it at that moment; everybody else is refused alike."""
    board, anna = "cn=board,ou=groups,dc=example,dc=org", seed.person_id(zone, harness.PERSON)
    members = lambda *who: one.modify(f"dn: {board}\nchangetype: modify\nreplace: member\n" + "".join(f"member: {one.dn(w)}\n" for w in who))  # noqa: E731
    two.add(two.group_ldif("board", ["fred"]))  # a group of that name elsewhere is another one
    other = add(console, two, "Elsewhere", domains=["elsewhere"])

    def allow(groups):
        now = console.get(f"/sources/{source['id']}")
        return console.call("PATCH", f"/sources/{source['id']}", {"config": {**{k: v for k, v in now["config"].items() if k != "pin"}, "authorisers": groups}},
                            If_Match=f'"{now["version"]}"')
    try:
        for wrong in (["board"], [1], [""], "board", [board] * 51):
            status, _, said = allow(wrong)
            assert (status, said["field"]) == (400, "authorisers"), said
        assert authorise(console, anna, "carla@corp", "carla-Pass-1")[0] == 403, "nobody was named yet"
        status, _, made = allow([board.replace("cn=board,", "CN=Board, ")])
        assert status == 200 and len(made["config"]["authorisers"]) == 1
        status, made = authorise(console, anna, "carla@corp", "carla-Pass-1")
        assert status == 201 and made["authorised_by"] == "carla (Corp)"
        detail = zone.sql("SELECT detail FROM audit WHERE action = 'pending.create' AND object_id = ?", made["id"])[0][0]
        assert "carla (Corp)" in detail and "carla-Pass-1" not in detail
        assert authorise(console, anna, "carla@corp", "")[1]["field"] == "authoriser.password"
        refused = [authorise(console, anna, *given) for given in (
            ("carla@corp", "wrong-Pass-1"), ("dora@corp", "dora-Pass-1"), ("fred@elsewhere", "fred-Pass-2"), ("nobody@corp", "carla-Pass-1"), ("carla", "carla-Pass-1"))]
        members("emil")  # nothing is synchronised: our rows still say carla
        assert zone.sql("SELECT COUNT(*) FROM user_group_member m JOIN user_group g ON g.id = m.group_id JOIN person p ON p.id = m.person_id "
                        "WHERE g.source_id = ? AND g.name = 'board' AND p.login = 'carla'", source["id"])[0][0] == 1
        refused.append(authorise(console, anna, "carla@corp", "carla-Pass-1"))
        assert authorise(console, anna, "emil@corp", "emil-Pass-1")[1]["authorised_by"] == "emil (Corp)"
        zone.sql("UPDATE person SET disabled = 1 WHERE source_id = ? AND login = 'emil'", source["id"])
        refused.append(authorise(console, anna, "emil@corp", "emil-Pass-1"))
        zone.sql("UPDATE person SET disabled = 0 WHERE source_id = ? AND login = 'emil'", source["id"])
        one.modify(f"dn: {board}\nchangetype: delete\n")
        refused.append(authorise(console, anna, "emil@corp", "emil-Pass-1"))
        assert {(status, said["detail"], said["field"]) for status, said in refused} == {(403, refused[0][1]["detail"], "authoriser")}, refused
        assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'pending.authorise' AND outcome = 'refused'")[0][0] == 1 + len(refused)
    finally:
        drop(console, other["id"])
        two.modify(f"dn: {board}\nchangetype: delete\n")
        one.put_group("board", ["carla"])


def test_guessing_as_authoriser_counts(zone, console, one, source):
    """USR-10, PEN-01: wrong passwords of an authoriser are wrong log-ins of that person, wherever the next one is tried; a dead directory is no wrong password."""
    anna = seed.person_id(zone, harness.PERSON)
    assert login(zone, "dora@corp", "dora-Pass-1") == 204
    assert [authorise(console, anna, "corp\\Dora", f"guess-{i}-Word")[0] for i in range(5)] == [403] * 5
    assert authorise(console, anna, "dora@corp", "dora-Pass-1")[0] == 429 and login(zone, "dora@corp", "dora-Pass-1") == 429
    assert login(zone, "carla@corp", "carla-Pass-1") == 204
    zone.log.expect("MDM0120")
    one.stop()
    try:
        assert authorise(console, anna, "carla@corp", "carla-Pass-1")[0] == 503
    finally:
        one.start()


def test_disabled_in_the_directory(zone, console, one):
    """USR-07, USR-01: an attribute of the source's own choice says who is disabled: no log-in from then on, gone with the next synchronisation, back as before."""
    made = add(console, one, "Switch", domains=["switch"], more={"attributes": {"disabled": "employeeType"}})
    gone = lambda: [r[0] for r in zone.sql("SELECT login FROM person WHERE source_id = ? AND gone_ms IS NOT NULL", made["id"])]  # noqa: E731
    turn = lambda what: one.modify(f"dn: {one.dn('dora')}\nchangetype: modify\n{what}\n")  # noqa: E731
    try:
        assert login(zone, "dora@switch", "dora-Pass-1") == 204
        wait_synced(zone, made["id"])
        turn("add: employeeType\nemployeeType: TRUE")
        try:
            assert login(zone, "dora@switch", "dora-Pass-1") == 401 and gone() == []
            console.post(f"/sources/{made['id']}/sync")
            harness.wait_for(lambda: gone() == ["dora"])
        finally:
            turn("delete: employeeType")
        assert login(zone, "dora@switch", "dora-Pass-1") == 204 and gone() == []
    finally:
        drop(console, made["id"])


def test_dynamic_groups_that_are_ignored(zone, console, one):
    """USR-01, PEN-01: not shown, nobody's membership, no target of an assignment, no authoriser; shown as any other group where they are not ignored."""
    dynamic, config = "cn=dynamic,ou=groups,dc=example,dc=org", {"attributes": {"dynamic_class": "dgIdentityAux"}, "authorisers": ["cn=dynamic,ou=groups,dc=example,dc=org"]}
    one.add(Slapd.group_ldif("dynamic", ["carla"]) + "\nobjectClass: dgIdentityAux")
    made, anna = add(console, one, "Dynamic", domains=["dynamic"], tls="none", more=config), seed.person_id(zone, harness.PERSON)
    groups = lambda: {g["name"]: g["id"] for g in console.get(f"/user-groups?source={made['id']}")["items"]}  # noqa: E731
    carlas = lambda: [r[0] for r in zone.sql("SELECT g.name FROM user_group g JOIN user_group_member m ON m.group_id = g.id JOIN person p ON p.id = m.person_id"  # noqa: E731
                                             " WHERE g.source_id = ? AND p.login = 'carla' ORDER BY g.name", made["id"])]
    try:
        wait_synced(zone, made["id"])
        ident = groups()["dynamic"]
        assert login(zone, "carla@dynamic", "carla-Pass-1") == 204 and carlas() == ["board", "dynamic", "staff"]
        assert authorise(console, anna, "carla@dynamic", "carla-Pass-1")[0] == 201
        assert console.call("POST", "/assignments/preview", {"targets": [{"kind": "user_group", "id": ident}]})[0] == 200
        status, _, made = console.call("PATCH", f"/sources/{made['id']}", {"config": {**made["config"], "ignore_dynamic": True}}, If_Match=f'"{made["version"]}"')
        assert status == 200, made
        assert authorise(console, anna, "carla@dynamic", "carla-Pass-1")[0] == 403
        assert login(zone, "carla@dynamic", "carla-Pass-1") == 204 and carlas() == ["board", "staff"]

        def hidden():
            console.post(f"/sources/{made['id']}/sync")
            return set(groups()) == {"board", "staff"}
        harness.wait_for(hidden, step=0.5)
        assert console.call("POST", "/assignments/preview", {"targets": [{"kind": "user_group", "id": ident}]})[0] in (400, 404)
        assert console.call("GET", "/user-groups?source=x")[0] == 400 and groups().keys() == {"board", "staff"}
    finally:
        one.modify(f"dn: {dynamic}\nchangetype: delete\n")
        drop(console, made["id"])


def test_referrals_are_not_followed(zone, console, one):
    """USR-11: an entry that refers to another server is passed over in log-ins and synchronisation; a container that is one can't be asked: "try again", not
    "wrong password". Nobody calls the other server, which would get the bind account's password."""
    there = f"ou=branch,{one.dn('x').split(',', 1)[1]}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0)
        one.add(f"dn: {there}\nobjectClass: referral\nobjectClass: extensibleObject\nou: branch\nref: ldap://127.0.0.1:{other.getsockname()[1]}/{there}")
        made, far = add(console, one, "Refers", domains=["refers"]), None
        try:
            wait_synced(zone, made["id"])
            assert login(zone, "carla@refers", "carla-Pass-1") == 204 and login(zone, "stranger@refers", "carla-Pass-1") == 401
            assert {r[0] for r in zone.sql("SELECT login FROM person WHERE source_id = ? AND gone_ms IS NULL", made["id"])} == {"carla", "dora", "emil"}
            zone.log.expect("MDM0120", "MDM0121")
            far = add(console, one, "Far", domains=["far"], more={"containers": [there]})
            assert login(zone, "carla@far", "carla-Pass-1") == 503
            with pytest.raises(BlockingIOError):
                other.accept()
        finally:
            for source in filter(None, (made, far)):
                drop(console, source["id"])
            one._run("ldapdelete", "-M", "-x", "-H", f"ldap://127.0.0.1:{one.port}", "-D", ROOT_DN, "-w", ROOT_PASSWORD, there)


# ---- administrators whom another httpd module authenticates --------------------------------------------------------
def test_members_of_a_group(fresh_zone, one, two):
    """USR-12, USR-08: r->user of another module is an administrator by name, else through a group of one directory; a group of the same DN in another one
    gives nothing, nor does the same directory added again; membership and doubt are obeyed."""
    zone = fresh_zone(start=False, children=1)
    users = zone.root / "htpasswd"
    hashed = base64.b64encode(hashlib.sha1(b"secret-1").digest()).decode()
    zone.extra_admin = (f'<Location "/admin">\n  AuthType Basic\n  AuthName "Admin"\n  AuthBasicProvider file\n  AuthUserFile "{users}"\n'
                        "  Require valid-user\n</Location>\n")
    users.write_text("".join(f"{name}:{{SHA}}{hashed}\n" for name in ("boss", "Dora", "emil", "fred")))
    users.chmod(0o644)
    zone.start()
    zone.ctl("admin", "add", "boss", "--external")
    for slapd, members in ((one, ["dora"]), (two, ["fred"])):
        slapd.put_group("desk", members)

    def as_user(name):
        made = Console(zone, login=None)
        made.headers["Authorization"] = "Basic " + base64.b64encode(f"{name}:secret-1".encode()).decode()
        return made

    def who(name):
        status, _, body = as_user(name).call("GET", "/me")
        return (body["login"], body["role"], body["by_group"]) if status == 200 else status

    def synced(source, login, member):
        console.post(f"/sources/{source['id']}/sync")
        return harness.wait_for(lambda: member == bool(zone.sql(
            "SELECT 1 FROM user_group_member m JOIN user_group g ON g.id = m.group_id JOIN person p ON p.id = m.person_id WHERE g.source_id = ? AND p.login_key = ? AND g.name = 'desk'",
            source["id"], login)))
    console = as_user("boss")
    roles = {r["name"]: r["id"] for r in console.get("/roles")["items"]}
    mine, other = add(console, one, "Mine", domains=["mine"]), add(console, two, "Other", domains=["other"])
    synced(mine, "dora", True)
    synced(other, "fred", True)
    group = {"login": "CN=Desk, ou=groups,dc=example,dc=org", "kind": "group"}
    made = console.post("/admins", {**group, "role_id": roles["auditor"], "source_id": mine["id"]})
    assert who("Dora") == ("Dora", "auditor", True)
    assert [who(name) for name in ("fred", "emil")] == [401, 401], "the other directory's group of that DN, and nobody's member"
    twin = console.post("/admins", {**group, "role_id": roles["help_desk"], "source_id": other["id"]})
    assert who("fred") == ("fred", "help_desk", True) and who("Dora")[1] == "auditor"
    assert console.call("DELETE", f"/admins/{twin['id']}")[0] == 204 and who("fred") == 401
    zone.sql("INSERT INTO person (id, source_id, login, login_key, name, created_ms) VALUES (?, ?, 'dora', 'dora', 'Dora', 1)", "twin", other["id"])
    assert who("Dora") == 401, "which of the two it is, nobody knows"
    zone.sql("DELETE FROM person WHERE id = 'twin'")
    assert who("Dora")[1] == "auditor"
    one.put_group("desk", ["emil"])
    synced(mine, "emil", True)
    assert (who("Dora"), who("emil")) == (401, ("emil", "auditor", True))
    drop(console, mine["id"])
    assert who("emil") == 401 and console.get(f"/admins/{made['id']}")["source"] is None
    synced(add(console, one, "Mine", domains=["mine"]), "emil", True)
    assert who("emil") == 401
