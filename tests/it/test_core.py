"""The core module as a whole: configuration, schema check, node, AuthType MDM, throttle, status, jobs, invalidation,
database outages (REL-01..06, NOD-01, USR-10, SEC-07, PRF-01, PRF-12)."""
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import harness
import pytest
from harness import wait_for

ZONE = {"children": 2, "extra_device": """
    <Location "/core-status">
        SetHandler mdm-status
    </Location>
    <Location "/core-metrics">
        SetHandler mdm-metrics
    </Location>
    <Location "/core-page">
        SetHandler server-status
    </Location>
    <Location "/core-auth">
        AuthType MDM
        AuthName "x"
        MDMLogin /admin/login
        Require valid-user
        SetHandler mdm-status
    </Location>"""}

AWAY = ("MDM0081", "MDM0100", "MDM0210", "AH00629", "AH00639", "AH02655", "AH00636", "AH00632", "MDM0080", "MDM0703")


def status(zone):
    code, headers, body = zone.request("GET", "/core-status")
    assert code == 200 and headers["Content-Type"].startswith("application/json")
    return json.loads(body)


def test_status_json_shows_node_cache_and_database(zone):
    """PRF-07, PRF-15: figures of the node in JSON."""
    found = wait_for(lambda: (s := status(zone))["node_registered"] and s)
    assert found["db_away"] == 0 and found["db_schema_fits"] == 1
    assert found["cache_slots"] > 10000
    assert zone.request("POST", "/core-status")[0] == 405


def test_metrics_and_status_page_show_the_same_figures(zone):
    """OBS-01, OBS-02: Prometheus' text format, line by line; no figure is missing in one of the three."""
    code, headers, body = zone.request("GET", "/core-metrics")
    assert code == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = body.decode().splitlines()
    assert len(lines) % 3 == 0 and body.endswith(b"\n")
    found = {}
    for about, kind, sample in zip(lines[::3], lines[1::3], lines[2::3]):
        name, value = re.fullmatch(r'(mdm_\w+)(?:\{version="[^"]+",node="[^"]+"\})? (\d+)', sample).groups()
        assert about.startswith(f"# HELP {name} ") and kind in (f"# TYPE {name} gauge", f"# TYPE {name} counter")
        assert kind.endswith("counter") == name.endswith("_total")
        found[re.sub("^mdm_|_total$", "", name)] = int(value)
    shown = status(zone)
    assert set(found) - {"info"} == set(shown) - {"version", "node"}
    page = zone.request("GET", "/core-page?auto")[2].decode()
    assert {x[4:].split(":")[0] for x in page.splitlines() if x.startswith("MDM_")} == set(found) - {"info"}
    assert "Mobile devices (mod_mdm" in zone.request("GET", "/core-page")[2].decode()
    assert zone.request("POST", "/core-metrics")[0] == 405
    code, _, body = zone.request("HEAD", "/core-metrics")
    assert (code, body) == (200, b"")


def test_a_node_name_is_no_metric(fresh_zone):
    """OBS-02, SEC-05: quotes and backslashes in a label."""
    zone = fresh_zone(children=1, extra_main='MDMNodeName "a\\"} 1 \\\\"', extra_device=ZONE["extra_device"])
    assert 'node="a\\"} 1 \\\\"} 1' in zone.request("GET", "/core-metrics")[2].decode()


def test_figures_of_a_killed_child_are_gone(fresh_zone):
    """OBS-01, REL-03: what a child has now counts while it lives."""
    zone = fresh_zone(children=2, extra_device=ZONE["extra_device"])
    zone.log.expect("AH00052")
    wait_for(lambda: status(zone)["children"] >= 2)
    zone.kill_child()
    wait_for(lambda: status(zone)["children"] == len(zone.child_pids()) and status(zone)["db_in_use"] == 0)


def test_node_is_registered_and_seen(zone):
    """NOD-01: one row with name, URL, version and a fresh time."""
    rows = wait_for(lambda: zone.sql("SELECT name, base_url, software, seen_ms FROM node WHERE seen_ms > 0"))
    assert len(rows) == 1 and rows[0][1] == zone.public_url and rows[0][2]
    harness.wait_for(lambda: abs(zone.sql("SELECT seen_ms FROM node")[0][0] / 1000 - time.time()) < 15)


def test_periodic_jobs_have_one_row(zone):
    """Jobs: two children, one row, run at once and again later."""
    rows = wait_for(lambda: zone.sql("SELECT state, run_at_ms FROM job WHERE kind = ? AND state = ? AND run_at_ms > ?",
                                     "core.prune", "waiting", int(time.time() * 1000) + 60000))
    assert len(rows) == 1


def test_without_a_session_api_gets_401_and_browser_the_login_page(zone):
    """AuthType MDM: 401 problem+json, or 303 with the way back."""
    code, headers, body = zone.request("GET", "/core-auth/x?a=1&b=2")
    assert code == 401 and headers["Content-Type"] == "application/problem+json"
    assert json.loads(body)["status"] == 401
    code, headers, _ = zone.request("GET", "/core-auth/x?a=1&b=2", headers={"Accept": "text/html,*/*"})
    assert code == 303
    assert headers["Location"].lower().endswith("/admin/login?next=%2fcore-auth%2fx%3fa%3d1%26b%3d2")


@pytest.mark.parametrize("headers", [
    {"Cookie": "__Host-mdm_admin=nonsense"}, {"Cookie": "__Host-mdm_admin=" + "x" * 4000},
    {"Cookie": "__Host-mdm_portal=nonsense"}, {"Authorization": "Bearer mdm_nonsense"}, {"Authorization": "Bearer"},
    {"Authorization": "Basic YWRtaW46eA=="}, {"Cookie": "__Host-mdm_admin='; DROP TABLE session; --"}])
def test_wrong_credentials_are_refused(zone, headers):
    """SEC-05, SEC-07: hostile cookies and tokens."""
    assert zone.request("GET", "/core-auth/", headers=headers)[0] == 401


@pytest.mark.parametrize("line", [
    "MDMCacheSize 10", "MDMCacheSize 1X", "MDMCacheSize -1M", "MDMCacheSize 99999999999999999999", "MDMPublicURL ftp://x",
    "MDMPublicURL http://example.org", "MDMPublicURL https://example.org/path", "MDMPublicURL https://a@example.org",
    "MDMJobThreads 0", "MDMJobThreads 65", "MDMDatabaseTimeout 1ms", "MDMDatabaseTimeout soon", "MDMChangeInterval 11",
    "MDMDatabaseConnections 1", "MDMSignMessage maybe", "MDMScepLegacy 2", "MDMTrustAnchors /does/not/exist",
    "MDMKeyFile /etc/hostname", "MDMApnsURL api.push.apple.com", "MDMNodeName \"\"", "MDMAuditDays x",
    "<Location /x>\nMDMLogin //evil.example\n</Location>", "<Location /x>\nMDMSession root\n</Location>"])
def test_bad_directives_fail_the_configuration_test(fresh_zone, line):
    """House 3.6: httpd -t finds them."""
    zone = fresh_zone(start=False, extra_main=line)
    zone.prepare()
    code, out = zone.config_test()
    assert code != 0 and (line.split()[0].strip("<>") in out or "MDM" in out)


def test_schema_mismatch_is_503_with_one_line_and_heals(fresh_zone):
    """15-decisions, Database: httpd never migrates; it says what to do, once."""
    zone = fresh_zone(start=False, extra_device=ZONE["extra_device"])
    zone.sql("INSERT INTO schema_version (version, name, applied_ms) VALUES (9999, 'later', 0)")
    zone.start()
    zone.log.expect("MDM0212", "MDM0100", "MDM0703")
    assert zone.log.has("mdmctl migrate")
    code, headers, _ = zone.request("GET", "/core-auth/", headers={"Cookie": "__Host-mdm_admin=abcdefgh"})
    assert code == 503 and int(headers["Retry-After"]) > 0
    time.sleep(2.5)
    zone.log.read()
    assert len([x for x in zone.log.lines if x.id == "MDM0212"]) == 1
    zone.sql("DELETE FROM schema_version WHERE version = 9999")
    wait_for(lambda: zone.request("GET", "/core-auth/", headers={"Cookie": "__Host-mdm_admin=abcdefgh"})[0] == 401)


def test_second_server_with_the_same_name_is_not_registered(fresh_zone):
    """NOD-01: a second live holder is refused; the server itself goes on."""
    zone = fresh_zone(start=False, extra_main="MDMNodeName twin", extra_device=ZONE["extra_device"])
    zone.sql("INSERT INTO node (id, name, base_url, software, holder, started_ms, seen_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
             "9d1f6d5e-0000-4000-8000-000000000001", "twin", "https://other", "x", "other", 1, int(time.time() * 1000))
    zone.start()
    zone.log.expect("MDM0221")

    def refused():
        """the other holder renews, and we notice"""
        zone.sql("UPDATE node SET seen_ms = ? WHERE name = 'twin'", int(time.time() * 1000))
        return zone.log.has("MDM0221", wait=0.5)
    wait_for(refused)
    assert zone.sql("SELECT holder FROM node WHERE name = 'twin'") == [("other",)]
    assert status(zone)["node_registered"] == 0


def test_name_is_free_again_after_an_orderly_stop(fresh_zone):
    """NOD-01: the last child gives it back."""
    zone = fresh_zone(children=2)
    wait_for(lambda: zone.sql("SELECT 1 FROM node WHERE seen_ms > 0"))
    zone.stop()
    assert zone.sql("SELECT seen_ms FROM node") == [(0,)]


def test_graceful_restart_and_killed_child_keep_the_node(fresh_zone):
    """REL-01, REL-03: children come and go, the holder stays."""
    zone = fresh_zone(children=2, extra_device=ZONE["extra_device"])
    wait_for(lambda: zone.sql("SELECT 1 FROM node WHERE seen_ms > 0"))
    holder = zone.sql("SELECT holder FROM node")
    zone.log.expect("AH00052")
    zone.kill_child()
    zone.graceful()
    wait_for(lambda: status(zone)["node_registered"])
    assert zone.sql("SELECT holder FROM node") == holder


def login(zone, name, password):
    return zone.request("POST", "/admin/login", admin=True, body=urlencode({"login": name, "password": password}),
                        headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"})


def test_session_cookie_opens_and_its_end_closes(zone):
    """SEC-07: server-side sessions: what the server forgets is worth nothing."""
    code, headers, _ = login(zone, harness.ADMIN_USER, harness.ADMIN_PASSWORD)
    assert code == 303
    cookie = headers["Set-Cookie"].split(";")[0]
    assert zone.request("GET", "/core-auth/", headers={"Cookie": cookie})[0] == 200
    assert zone.request("GET", "/core-auth/", headers={"Cookie": cookie + "x"})[0] == 401
    zone.sql("DELETE FROM session")
    assert zone.request("GET", "/core-auth/", headers={"Cookie": cookie})[0] == 401


def test_failed_logins_are_throttled_over_all_children(fresh_zone):
    """USR-10: five wrong passwords of an account, and the next answer is 429 with Retry-After, even with the right one."""
    zone = fresh_zone(children=3)
    codes = [login(zone, "admin", "wrong")[0] for _ in range(7)]
    assert 429 not in codes[:5] and codes[5:] == [429] * 2, codes
    code, headers, _ = login(zone, harness.ADMIN_USER, harness.ADMIN_PASSWORD)
    assert code == 429 and 0 < int(headers["Retry-After"]) <= 900
    assert login(zone, "somebody-else", "wrong")[0] != 429


@pytest.mark.parametrize("where", ["console", "portal"])
def test_one_address_cannot_try_many_accounts(fresh_zone, where):
    """USR-10: an address that tries one name after the other has to wait, at the portal and at the console alike, whichever it tried."""
    zone = fresh_zone(children=3)

    def at_portal(name):
        return zone.request("POST", "/portal/api/v1/session", json.dumps({"login": name, "password": "wrong"}),
                            {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"})[0]
    tried = []
    while len(tried) < 60 and 429 not in tried:
        tried.append(at_portal(f"n{len(tried)}") if where == "portal" else login(zone, f"n{len(tried)}", "wrong")[0])
    assert len(tried) > 5 and tried == [401] * (len(tried) - 1) + [429], tried
    assert login(zone, "somebody-else", "wrong")[0] == 429 and at_portal("somebody-else") == 429


@pytest.mark.parametrize("how", ["freeze", "stop"])
def test_outage_is_answered_fast_and_recovers(fresh_zone, factory, db, how):
    """REL-02: hanging or stopped PostgreSQL: all are answered while it lasts, more than there are threads; and it is found again."""
    if db == "sqlite3":
        assert how in ("freeze", "stop")  # a file does not hang
        return
    zone = fresh_zone(extra_device=ZONE["extra_device"], fails=True)
    for each in harness.ZONES:  # others use the same cluster
        each.log.expect(*AWAY)
    wait_for(lambda: status(zone)["node_registered"])

    def ask(_=0):
        return zone.request("GET", "/core-auth/", headers={"Cookie": "__Host-mdm_admin=abcdefgh"})[0]
    assert ask() == 401
    getattr(factory.pg, how)()
    try:
        with ThreadPoolExecutor(12) as pool:
            assert list(pool.map(ask, range(64))) == [503] * 64
        assert [ask() for _ in range(10)] == [503] * 10
    finally:
        factory.pg.thaw() if how == "freeze" else factory.pg.start()
    wait_for(lambda: ask() == 401)
    for each in harness.ZONES:
        assert not each.log.has("MDM0210", wait=0) or each.log.has("MDM0211")
    assert status(zone)["db_away_times"] == 1
