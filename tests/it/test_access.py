"""Address filters on both databases: who gets in from where, and who can't be shut out (ACC-01..08, R11, R42)."""
import json
import plistlib
import time

import pytest

import harness
from clients import Console, enrolled
from sim.device import CONNECT_TYPE, Http

# The tests speak through a trusted proxy on loopback, so that a client may come from anywhere.
PROXY = """
LoadModule access_compat_module /usr/lib/apache2/modules/mod_access_compat.so
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1 ::1
MDMAccessRule endpoint deny "203.0.113.0/24, 2001:db8:bad::/48" "<b>spammers</b>"
MDMAccessRule tools deny 203.0.113.7
"""
TOOLS = """
    <Location "/any">
        MDMAccess admin
        AuthType MDM
        AuthName any
        MDMLogin /admin/login
        Require valid-user
        Satisfy Any
    </Location>
    <Location "/tools">
        MDMAccess tools
    </Location>
    <Location "/tools/inner">
        MDMAccess endpoint deny=503
    </Location>
"""
STATUS = """
    <Location "/core-status">
        SetHandler mdm-status
    </Location>
"""
ZONE = {"extra_main": PROXY, "extra_admin": TOOLS, "extra_device": STATUS}


@pytest.fixture(scope="module")
def console(zone):
    for name in ("tools", "any"):
        (zone.root / "htdocs" / name).mkdir(exist_ok=True)
        (zone.root / "htdocs" / name / "page.html").write_text("hello")
    return Console(zone)


def ask(zone, url, address=None, **headers):
    """(status, headers) of a GET as if from `address`."""
    http = Http(str(zone.tls_dir / "ca.pem"))
    sent = {k.replace("_", "-"): v for k, v in headers.items()}
    if address:
        sent["X-Client"] = address
    status, got, _ = http.fetch("GET", url, None, sent)
    return status, got


def admin(zone, path, address=None, **headers):
    return ask(zone, zone.admin_url.rsplit("/admin", 1)[0] + path, address, **headers)


def filters_sql(zone, category, rows, node=None):
    """Writes a list beside the server, as another node would."""
    ident = f"00000000-0000-4000-8000-0000000000{'c' if node else 'b'}{['admin', 'endpoint', 'tools'].index(category)}"
    zone.sql("DELETE FROM access_list WHERE id = ?", ident)
    zone.sql("DELETE FROM access_filter WHERE list_id = ?", ident)
    zone.sql("INSERT INTO access_list (id, node_id, category, version, updated_ms) VALUES (?, ?, ?, 1, 1)", ident, node, category)
    for position, (action, addresses) in enumerate(rows, 1):
        zone.sql("INSERT INTO access_filter (list_id, position, action, addresses) VALUES (?, ?, ?, ?)", ident, position, action,
                 addresses)
    zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('access', ?, ?)", ident, int(time.time() * 1000))


@pytest.fixture
def lists(zone):
    """Sets lists of the database; they are gone behind the test."""
    used = []

    def put(category, rows, node=None):
        used.append((category, node))
        filters_sql(zone, category, rows, node)
    yield put
    for category, node in used:
        filters_sql(zone, category, [], node)
    for category in {c for c, _ in used}:  # both children have read it
        harness.wait_for(lambda: all(gone(zone, category) for _ in range(12)))


def gone(zone, category):
    """No list of the database shuts out the addresses of these tests."""
    if category == "admin":
        return admin(zone, "/admin/login", "198.51.100.1")[0] == admin(zone, "/admin/login", "192.0.2.1")[0] == 200
    if category == "tools":
        return admin(zone, "/tools/page.html", "198.51.100.1")[0] == 200
    return all(ask(zone, zone.portal_url, address)[0] != 403 for address in ("198.51.100.1", "192.0.2.1", None))


def test_rules_of_httpd_conf(zone, console):
    """ACC-03, ACC-07, ACC-08: mapped addresses, 403 without a word, one line with category, filter and both addresses."""
    for address, status in (("203.0.113.9", 403), ("::ffff:203.0.113.9", 403), ("2001:db8:bad::1", 403), ("203.0.114.1", 200),
                            ("2001:db8:bae::1", 200)):
        assert ask(zone, zone.portal_url, address)[0] in ({403} if status == 403 else {200, 303}), address
    line = zone.log.has("MDM0902")
    assert line.level == "info" and "endpoint" in line.raw and "filter 1 of conf" in line.raw
    assert "203.0.113.9" in line.raw and "peer 127.0.0.1" in line.raw
    assert ask(zone, zone.portal_url)[0] in (200, 303)


def test_devices_are_asked_to_come_again(zone, console):
    """ACC-08: never a status on which iOS leaves management."""
    for path in ("/mdm", "/scep?operation=GetCACert", "/mdm/anything"):
        status, headers = ask(zone, zone.public_url + path, "203.0.113.9")
        assert (status, int(headers["Retry-After"]) > 0) == (503, True), path


def test_headers_of_strangers_change_nothing(zone, console):
    """R11: only the header that mod_remoteip was told of."""
    for name in ("X_Forwarded_For", "X_Real_IP", "True_Client_IP", "Forwarded", "CF_Connecting_IP"):
        assert ask(zone, zone.portal_url, "203.0.113.9", **{name: "10.0.0.1"})[0] == 403, name
        assert ask(zone, zone.portal_url, None, **{name: "203.0.113.9"})[0] in (200, 303), name


def test_filters_of_the_database(zone, console, lists):
    """ACC-02, ACC-09 without held requests: first match wins, the node's before the zone's, httpd.conf's before both."""
    node = zone.sql("SELECT id FROM node")[0][0]
    lists("endpoint", [("allow", "203.0.113.9"), ("deny", "198.51.100.0/24")])
    lists("endpoint", [("allow", "198.51.100.7 - 198.51.100.9"), ("deny", "192.0.2.1")], node)
    harness.wait_for(lambda: all(ask(zone, zone.portal_url, "198.51.100.1")[0] == 403 for _ in range(6)))
    for address, denied in (("198.51.100.8", False), ("198.51.100.10", True), ("192.0.2.1", True), ("203.0.113.9", True),
                            ("192.0.2.2", False), ("2001:db8::1", False)):
        harness.wait_for(lambda: (ask(zone, zone.portal_url, address)[0] == 403) == denied)
    assert admin(zone, "/admin/login", "198.51.100.1")[0] == 200, "another category"


def test_satisfy_any_is_no_way_around(zone, console, lists):
    """P15: a refused address can't log itself in, nor reach an inner location by an outer one."""
    lists("admin", [("deny", "198.51.100.0/24")])
    harness.wait_for(lambda: admin(zone, "/any/page.html", "198.51.100.1", **console.headers)[0] == 403)
    assert admin(zone, "/any/page.html", "192.0.2.1", **console.headers)[0] == 200
    assert admin(zone, "/tools/page.html", "203.0.113.7")[0] == 403
    assert admin(zone, "/tools/page.html", "203.0.113.8")[0] == 200
    assert admin(zone, "/tools/inner", "203.0.113.8")[0] == 503


def test_the_node_itself_is_always_let_in(zone, console, lists):
    """ACC-06, 15-decisions: by the peer's address; a header of a trusted proxy does not make a loopback."""
    lists("admin", [("deny", "0.0.0.0/0, ::/0")])
    harness.wait_for(lambda: admin(zone, "/admin/login", "192.0.2.1")[0] == 403)
    assert admin(zone, "/admin/login")[0] == 200
    assert admin(zone, "/admin/login", "127.0.0.1")[0] == 403
    assert admin(zone, "/admin/login", "::1")[0] == 403
    lists("endpoint", [("deny", "127.0.0.0/8")])
    harness.wait_for(lambda: ask(zone, zone.portal_url)[0] == 403)


AWAY = ("MDM0080", "MDM0081", "MDM0083", "MDM0210", "MDM0703", "MDM0901", "AH00632", "AH00633", "AH00636", "AH02653")  # what is said of it


def last_known(zone, away, told):
    (zone.root / "htdocs" / "tools").mkdir()
    (zone.root / "htdocs" / "tools" / "page.html").write_text("hello")
    filters_sql(zone, "tools", [("deny", "198.51.100.0/24")])
    harness.wait_for(lambda: all(admin(zone, "/tools/page.html", "198.51.100.1")[0] == 403 for _ in range(6)))
    away()
    zone.log.expect(*AWAY)
    assert zone.log.has(told)
    for address, status in (("198.51.100.1", 403), ("203.0.113.7", 403), ("192.0.2.1", 200)):
        assert admin(zone, "/tools/page.html", address)[0] == status


def test_the_last_known_lists_go_on_without_the_table(fresh_zone):
    """ACC-03: what can't be read changes nothing."""
    zone = fresh_zone(**ZONE)

    def away():
        zone.sql("DROP TABLE access_filter")
        zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('access', 'x', ?)", int(time.time() * 1000))
    last_known(zone, away, "MDM0080")


def test_the_last_known_lists_go_on_in_an_outage(factory):
    """ACC-03: an outage of the database opens nothing."""
    pg = harness.Postgres()
    zone = factory.zone("pgsql", pg=pg, **ZONE).start()
    try:
        last_known(zone, pg.stop, "MDM0210")
        pg.start()
    finally:
        zone.stop()
        zone.close()
        pg.close()


def test_recovery(fresh_zone):
    """ACC-06: MDMAccessRules Off."""
    zone = fresh_zone(extra_main=PROXY + "MDMAccessRules Off\n", extra_admin=TOOLS)
    filters_sql(zone, "admin", [("deny", "0.0.0.0/0, ::/0")])
    time.sleep(2)
    assert admin(zone, "/admin/login", "192.0.2.1")[0] == 200
    assert ask(zone, zone.portal_url, "203.0.113.9")[0] == 403


@pytest.mark.parametrize("line, why", [
    ("MDMAccessRule console deny ::1", "want admin, endpoint or tools"), ("MDMAccessRule admin refuse ::1", "allow or deny"),
    ("MDMAccessRule admin deny 10.0.0.1/33", "character 10"), ('MDMAccessRule admin deny "10.0.0.1, fe80::1%eth0"', "character 18"),
    ("MDMAccessRule admin deny example.org", "character 1"), ("MDMAccessRule admin deny", "want a category"),
    ('<Location "/x">\nMDMAccess admin deny=404\n</Location>', "deny=503 or deny=403"),
    ('<Location "/x">\nMDMAccess admins\n</Location>', "want admin"), ("MDMAccess admin", "not allowed"),
    ("MDMAccessRules perhaps", "On or Off")])
def test_mistakes_in_httpd_conf(factory, line, why):
    """ACC-07: refused at -t, with the place."""
    zone = factory.zone("sqlite3", extra_main=line + "\n")
    zone.prepare()
    code, text = zone.config_test()
    assert code and why in text


def test_refusals_are_counted(zone, console):
    """ACC-08: each refused request once, by category, in all children; who may come is not counted."""
    def counts():
        body = json.loads(zone.request("GET", "/core-status")[2])
        return [body[f"access_denied_{c}"] for c in ("admin", "endpoint", "tools")]
    before = counts()
    assert [admin(zone, "/tools/page.html", "203.0.113.7")[0] for _ in range(5)] == [403] * 5
    assert ask(zone, zone.portal_url, "203.0.113.9")[0] in (403, 503)
    assert admin(zone, "/tools/page.html", "192.0.2.1")[0] == 200
    assert [b - a for a, b in zip(before, counts())] == [0, 1, 5]


def test_both_addresses_of_the_last_contact(zone, console):
    """ACC-08: the device page has the effective address and that of the connection."""
    device = enrolled(zone)
    ident = console.device(device.udid)["id"]
    body = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    sent = {"Content-Type": CONNECT_TYPE, "X-Client": "198.51.100.9"}

    def seen():
        """the contact was written; one of the same second as an earlier one is not noted"""
        assert zone.request("PUT", "/mdm", body, sent, cert=f"{device.files}/identity.pem")[0] == 200
        now = console.get(f"/devices/{ident}")
        return (now["last_contact_ip"], now["last_contact_peer"]) == ("198.51.100.9", "127.0.0.1")
    harness.wait_for(seen, 15, 0.3)
