"""The page Nodes: role with its consequences, names, the devices that know a node, end (NOD-02, NOD-03, NOD-06, NOD-08)."""
import time

import harness
from clients import Console, enrolled
from pages import Page

FAR = "7c0f3d5e-1111-4222-8333-444455556666"


def add_far(zone):
    zone.sql("DELETE FROM node WHERE id = ?", FAR)
    zone.sql("INSERT INTO node (id, name, base_url, conf_url, software, holder, started_ms, seen_ms) VALUES (?, '\u202efar <b>', 'https://far.example.org',"
             " 'https://far.example.org', '1', 'x', 1, ?)", FAR, int(time.time() * 1000) - 120000)


def ready(zone):
    harness.wait_for(lambda: [n for n in Console(zone).get("/nodes")["items"] if n["id"] != FAR and len(n["names"]) and n["devices"]])


def press(p, path):
    """The list is drawn anew whenever a node was seen."""
    p.until(lambda: p.driver.find_element("xpath", path).click() or True)


def test_role_names_and_end(zone):
    """Taken with the consequences before the eyes, the address changed after a warning, a dead node deleted."""
    enrolled(zone)
    add_far(zone)
    ready(zone)
    p = Page(zone)
    try:
        p.log_in().open("nodes")
        p.has("<b>")
        p.shot("nodes")
        p.fits()
        p.clean()  # later the server's refusals stand in the log
        p.until(lambda: len([b for b in p.driver.find_elements("css selector", "#main tbody button") if b.text == "Take the MDM role"]) == 2)
        press(p, "//tr[contains(., 'localhost')]//button[contains(., 'Take the MDM role')]")
        p.has("30 minutes later", "dialog")
        p.button("Take the MDM role", "dialog").click()
        p.has("1 devices know the address of this node alone", "dialog:last-of-type")
        p.shot("nodes-take")
        p.button("Take it all the same", "dialog").click()
        p.closed()
        p.has("can be given back")
        p.has("pushes wait")
        press(p, "//tbody//button[contains(., 'Take the MDM role')]")
        p.button("Take the MDM role", "dialog").click()
        p.has("last node", "dialog:last-of-type")
        p.button("Take it all the same", "dialog").click()
        p.closed()
        p.button("Delete node").click()
        p.button("Delete node", "dialog").click()
        p.closed()
        p.until(lambda: "<b>" not in p.text("#main"))
        p.button("Names").click()
        p.find("#f-extra_names").send_keys("127.0.0.1")
        p.shot("nodes-names")
        p.button("Save", "dialog").click()
        p.closed()
        p.until(lambda: Console(zone).get("/nodes")["items"][0]["extra_names"] == ["127.0.0.1"])
        p.button("Names").click()
        p.find("#f-default_name option[value='127.0.0.1']").click()
        p.button("Save", "dialog").click()
        p.has("must cover 127.0.0.1", "dialog:last-of-type")
        p.button("Change it all the same", "dialog").click()
        p.closed()
        p.has("https://127.0.0.1:")
        p.find("#main tbody a").click()
        p.has(Console(zone).get("/devices")["items"][0]["name"])
    finally:
        p.driver.quit()


def test_nodes_on_a_phone_in_german(zone):
    add_far(zone)
    p = Page(zone, size=(390, 844), language="de", dark=True)
    try:
        p.log_in().open("nodes")
        p.has("MDM-Rolle")
        p.fits()
        p.shot("nodes-phone")
        p.clean()
    finally:
        p.driver.quit()
