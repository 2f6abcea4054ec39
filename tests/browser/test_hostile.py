"""Hostile names from a directory, a mail client and an Apple device, each through its own channel, on every page, export and log line
(issue 3; R24, R25, R28, R33, SEC-05, UI-05)."""
import base64
import csv
import io
import re
import urllib.parse
import uuid

import pytest
from selenium.webdriver.common.by import By

import harness
from clients import enrolled, new_device, portal
from mail import Post
from sim.wbxml import Node
from slapd import ROOT_PASSWORD, Slapd
from pages import Page
from test_console import PAGES

MARKUP, FORMULA, RTL = "<img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", "\u202egnp.exe\u2066"
NAME = f"{FORMULA} {MARKUP} {RTL}"
AGENT = f"=Agent {MARKUP} \u202e"
KIND = "Type<b>x</b>"
PASSWORD = "evil-Pass-1"
PATHS = ["/devices", "/people", "/pending", "/audit", "/messages", "/jobs"]


def entry(uid, **attributes):
    """LDIF of a person whose attributes may hold anything."""
    lines = [f"dn: {Slapd.dn(uid)}", "objectClass: inetOrgPerson", f"uid: {uid}", f"userPassword: {PASSWORD}"]
    return "\n".join(lines + [f"{k}:: {base64.b64encode(v.encode()).decode()}" for k, v in attributes.items()])


@pytest.fixture(scope="module")
def seeded(zone):
    """(device, mail device): of one person of the directory, both hostile."""
    zone.log.expect("MDM0121")  # a synchronisation may come before the certificate is accepted
    directory = Slapd()
    directory.add(entry("evil", cn=NAME, sn=MARKUP, mail="=evil@example.net", telephoneNumber="=1+1"))
    post = Post(zone)
    _, _, made = post.console.call("POST", "/sources", {"name": MARKUP, "secret": ROOT_PASSWORD, "config": directory.config("ldaps"),
                                                        "domains": ["corp"]})
    status, _, _ = post.console.call("PUT", f"/sources/{made['id']}/certificate", {"sha256": directory.sha256},
                                     If_Match=f'"{made["version"]}"')
    assert status == 200
    zone.sql("INSERT INTO assignment (id, object_kind, object_id, object_type, target_kind, target_id, created_ms) SELECT ?, 'policy', "
             "object_id, object_type, 'user_source', ?, 1 FROM assignment WHERE target_kind = 'user_source'", str(uuid.uuid4()), made["id"])
    device = new_device(zone, serial="=S" + "1" * 10)
    device.name, device.os_version = NAME, "17<i>"
    enrolled(zone, device, portal(zone, "evil@corp", PASSWORD))
    phone = post.phone("evil@corp", PASSWORD, device_id="HOSTILE00001", device_type=KIND, agent=AGENT.encode().decode("latin-1"))
    phone.post("FolderSync", Node("FH.FolderSync", Node("FH.SyncKey", "0")))
    other = zone.sql("SELECT device_id FROM source_record WHERE kind = 'eas' AND native_id = 'HOSTILE00001'")
    assert len(other) == 1
    yield post, post.console.device(device.udid)["id"], other[0][0]
    post.close()
    directory.close()


def harmless(p):
    """Nothing of the data became markup, and nothing ran."""
    found = p.driver.execute_script("return document.querySelectorAll('img[src=x], #main b, #main i, [onerror]').length + (window.hit || 0)")
    assert found == 0, p.driver.current_url


@pytest.mark.parametrize("size, language", [((1280, 800), "en"), ((390, 844), "de")])
def test_every_page(zone, seeded, size, language):
    """R24: names are text on each page of the console and in the portal; they stay within the page."""
    _, device, mail = seeded
    p = Page(zone, size=size, language=language)
    try:
        p.log_in()
        for name in [*PAGES, *(f"device/{i}{tab}" for i in (device, mail) for tab in ("", "?tab=timeline", "?tab=audit", "?tab=commands"))]:
            p.open(name)
            harmless(p)
            p.fits()
        p.open(f"device/{mail}").has(MARKUP)  # what the mail client calls itself
        left = p.driver.execute_script("""
            const b = document.querySelector('#main dd bdi'), after = b.nextElementSibling.getClientRects(), own = b.getClientRects();
            return after[0].top > own[own.length - 1].top || after[0].left >= own[own.length - 1].right - 1""")
        assert left, "what follows a name stands behind it: its overrides end with it"
        p.shot(f"hostile-mail-{size[0]}")
        p.open("people").has(MARKUP)
        assert p.driver.find_elements(By.CSS_SELECTOR, "#main bdi")
        p.clean()
        session = portal(zone, "evil@corp", PASSWORD).headers["Cookie"].split("=", 1)
        p.driver.get(zone.portal_url)
        p.driver.execute_cdp_cmd("Network.setCookie", {"name": session[0], "value": session[1], "url": zone.portal_url, "secure": True,
                                                       "path": "/"})
        p.driver.get(zone.portal_url)
        p.until(lambda: MARKUP in p.driver.find_element(By.TAG_NAME, "body").text)
        harmless(p)
        p.fits()
    finally:
        p.driver.quit()


def test_every_export(seeded):
    """R33: no cell of any CSV begins a formula or a line; the values are all there."""
    console = seeded[0].console
    whole = ""
    for path in PATHS:
        status, _, raw = console.call("GET", path + "?format=csv")
        assert status == 200
        whole += raw.decode("utf-8-sig")
        for row in csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")):
            assert not [c for c in row if c[:1] in ("=", "+", "-", "@", "\t") or re.search(r"[\r\n\x00]", c)], (path, row)
    assert MARKUP in whole and RTL[1:4] in whole


def test_every_search(seeded):
    """Names are found by what they are."""
    console = seeded[0].console
    assert [p["login"] for p in console.get("/people?q=" + urllib.parse.quote("=cmd"))["items"]] == ["evil"]
    assert {d["id"] for d in console.get("/devices?q=evil")["items"]} == set(seeded[1:])


def test_every_log_line(zone, seeded):
    """R28: no control character, no right-to-left override, no second line, and nobody's name in clear."""
    assert harness.wait_for(lambda: (zone.root / "logs" / "error.log").stat().st_size)
    data = (zone.root / "logs" / "error.log").read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f\x80-\xff]", data)
    assert all(line.startswith(b"[") for line in data.splitlines() if line)
    assert b"onerror" not in data and b"calc" not in data
