"""The API of address filters on both databases: saving, testing, copying, and not shutting oneself out (ACC-03..06, R30, R42)."""

import pytest

import harness
from clients import Console

PROXY = """
RemoteIPHeader X-Client
RemoteIPInternalProxy 127.0.0.1 ::1
MDMAccessRule admin allow 192.0.2.99 "the rule of the house"
"""
ZONE = {"extra_main": PROXY}
NOBODY = "00000000-0000-4000-8000-00000000ffff"
FAR = "00000000-0000-4000-8000-00000000aaaa"


@pytest.fixture(scope="module")
def console(zone):
    zone.sql("INSERT INTO node (id, name, base_url, software, holder, started_ms, seen_ms) VALUES (?, 'far', 'https://192.0.2.5:8443', "
             "'', 'x', 1, 1)", FAR)
    return Console(zone)


@pytest.fixture(scope="module")
def own(zone, console):
    return harness.wait_for(lambda: next((n["id"] for n in console.get("/nodes")["items"] if n["id"] != FAR), None))


def where(node, category):
    return f"/access?category={category}" + (f"&node={node}" if node else "")


def save(console, node, category, filters, want=200, **more):
    status, headers, _ = console.call("GET", where(node, category))
    status, _, body = console.call("PUT", where(node, category), {"filters": filters, **more}, If_Match=headers["ETag"])
    assert status == want, body
    return body


def rule(action, addresses, description=""):
    return {"action": action, "addresses": addresses, "description": description}


def test_one_list_saved_and_obeyed(zone, console, own):
    """ACC-03: edited, moved, deleted: all of it is one list; a stale edit is 412, none 428."""
    first = console.get(where(own, "endpoint"))
    assert first == {"node": own, "category": "endpoint", "version": 0, "filters": [], "conf": [], "in_force": True}
    rules = [rule("deny", "198.51.100.0/24, 2001:db8:9::/48", "<i>out</i>"), rule("allow", "10.0.0.1 - 10.0.0.9")]
    body = save(console, own, "endpoint", rules)
    assert body["filters"] == rules and body["version"] == 1
    get = lambda: console.http.fetch("GET", zone.portal_url, None, {"X-Client": "198.51.100.1"})[0]  # noqa: E731
    harness.wait_for(lambda: all(get() == 403 for _ in range(5)))
    status, _, body = console.call("PUT", where(own, "endpoint"), {"filters": []}, If_Match='"0"')
    assert status == 412
    assert console.call("PUT", where(own, "endpoint"), {"filters": []})[0] == 428
    assert save(console, own, "endpoint", rules[::-1])["filters"] == rules[::-1]
    assert save(console, own, "endpoint", [])["filters"] == []
    assert zone.sql("SELECT COUNT(*) FROM audit WHERE action = 'access.save'")[0][0] == 3


@pytest.mark.parametrize("body, field", [
    ({}, "filters"), ({"filters": {}}, "filters"), ({"filters": [1]}, "filters[0]."), ({"filters": [], "x": 1}, "x"),
    ({"filters": [rule("deny", "10.0.0.1"), rule("deny", "10.0.0.1/33")]}, "filters[1].addresses"),
    ({"filters": [rule("deny", "fe80::1%eth0")]}, "filters[0].addresses"), ({"filters": [rule("drop", "::1")]}, "filters[0].action"),
    ({"filters": [rule("deny", "x" * 5000)]}, "filters[0].addresses"), ({"filters": [rule("deny", "::1", "d" * 300)]},
                                                                      "filters[0].description"),
    ({"filters": [rule("deny", "::1", "a\u0007b")]}, "filters[0].description"), ({"filters": [], "confirm": "yes"}, "confirm")])
def test_bad_lists(console, body, field):
    """ACC-07, R24: refused by the member at fault; with the place of the mistake."""
    status, _, got = console.call("PUT", where(None, "tools"), body, If_Match='"0"')
    assert (status, got["field"]) == (400, field), got
    assert "addresses" not in field or "character" in got["detail"] or "4000" in got["detail"]


def test_bad_places(console):
    assert console.call("GET", "/access?category=all")[0] == 400
    assert console.call("GET", "/access?node=1")[0] == 400
    assert console.call("GET", "/access?scope=zone")[0] == 400
    assert console.call("GET", where(NOBODY, "admin"))[0] == 404
    assert console.call("POST", "/access/copy", {"category": "admin", "nodes": [NOBODY]})[0] == 400
    assert console.call("POST", "/access/copy", {"category": "admin", "nodes": []})[0] == 400
    for bad in ("1.2.3", "::1%eth0", "10.0.0.0/8", "localhost"):
        status, _, got = console.call("POST", "/access/test", {"category": "admin", "address": bad})
        assert (status, got["field"]) == (400, "address")


def test_ask_for_an_address(console, own):
    """ACC-04: before or after saving, and which filter decided."""
    def ask(address, filters=None, node=own, category="admin"):
        body = {"node": node, "category": category, "address": address}
        return console.post("/access/test", body if filters is None else {**body, "filters": filters})
    new = [rule("allow", "192.0.2.1"), rule("deny", "192.0.2.0/24")]
    assert ask("192.0.2.2") == {"allowed": True, "source": None, "number": None, "addresses": None}
    assert ask("::ffff:192.0.2.2", new) == {"allowed": False, "source": "node", "number": 2, "addresses": "192.0.2.0/24"}
    assert ask("192.0.2.1", new)["number"] == 1
    assert ask("192.0.2.99", new) == {"allowed": True, "source": "conf", "number": 1, "addresses": "192.0.2.99"}
    assert ask("192.0.2.99", new, node=FAR)["allowed"] is False, "httpd.conf of another server is not ours"
    assert console.get(where(own, "admin"))["conf"] == [rule("allow", "192.0.2.99", "the rule of the house")]


def test_nobody_shuts_themselves_out_by_mistake(zone, console, own):
    """ACC-06, R42: the caller's own address and nodes of the zone are named; confirm insists."""
    body = save(console, own, "admin", [rule("deny", "192.0.2.0/28")], want=409)
    assert body["field"] == "confirm" and "far at 192.0.2.5 (192.0.2.0/28)" in body["detail"]
    body = save(console, None, "endpoint", [rule("deny", "192.0.2.0/28")], want=409)
    assert "far" in body["detail"] and "your own" not in body["detail"]
    save(console, own, "tools", [rule("deny", "192.0.2.0/28")])
    save(console, own, "tools", [])
    console.headers["X-Client"] = "198.51.100.20"
    try:
        for node in (own, None, FAR):
            body = save(console, node, "admin", [rule("deny", "198.51.100.0/24")], want=409)
            assert "your own address 198.51.100.20" in body["detail"]
        assert console.get(where(own, "admin"))["version"] == 0
        save(console, own, "admin", [rule("deny", "198.51.100.0/24")], confirm=True)
        harness.wait_for(lambda: console.call("GET", where(own, "admin"))[0] == 403)
    finally:
        del console.headers["X-Client"]
    save(console, own, "admin", [])


def test_copy_to_another_node(zone, console, own):
    """ACC-05: category by category."""
    rules = [rule("deny", "203.0.113.0/24", "one"), rule("allow", "::1")]
    save(console, own, "tools", rules)
    console.post("/access/copy", {"node": own, "category": "tools", "nodes": [FAR]})
    assert console.get(where(FAR, "tools"))["filters"] == rules
    assert console.get(where(FAR, "admin"))["filters"] == []
    status, _, got = console.call("POST", "/access/copy", {"node": own, "category": "tools", "nodes": [own]})
    assert status == 400 and got["field"] == "nodes"
    save(console, own, "endpoint", [rule("deny", "192.0.2.5")], confirm=True)
    assert console.call("POST", "/access/copy", {"node": own, "category": "endpoint", "nodes": [FAR]})[0] == 409
    save(console, own, "endpoint", [])
    save(console, own, "tools", [])


def test_ten_thousand_filters(console):
    """ACC-10."""
    rules = [rule("deny", f"10.{i >> 8}.{i & 255}.0/24") for i in range(10000)]
    assert save(console, None, "tools", rules)["version"] == 1
    got = console.post("/access/test", {"category": "tools", "address": "10.39.15.7"})
    assert got["number"] == 10000 and not got["allowed"]
    status, _, body = console.call("PUT", where(None, "tools"), {"filters": rules + rules[:1]}, If_Match='"1"')
    assert (status, body["field"]) == (400, "filters")
