"""Mail in trouble (GATE-04, GATE-06 in its first form, USR-09, USR-11): database or directory away, a second node."""
import subprocess
import threading

import pytest

import harness
import zonefiles as zf
from clients import enrolled
from mail import Post, eas_id
from sim.wbxml import Node
from slapd import ROOT_PASSWORD, Slapd

AWAY = ("MDM0210", "MDM0080", "MDM0083", "MDM0805", "MDM0806", "MDM0845", "AH00632", "AH00633", "AH00636", "AH02653")
FOLDERS = Node("FH.FolderSync", Node("FH.SyncKey", "0"))


def known_phone(post, **more):
    device = enrolled(post.zone)
    phone = post.phone(device_id=eas_id(device), **more)
    assert phone.post("FolderSync", FOLDERS).status == 1
    return phone, post.console.device(device.udid)["id"]


PROBE = zf.BUILD / "tests" / "mod_probe.so"
CLOCK = {"extra_main": f"LoadModule probe_module {PROBE}", "extra_device": '<Location "/probe">\nSetHandler probe\n</Location>'}


class Traffic:
    """Phones that ask again and again, each on its own connection; answers are (HTTP code, status) or the exception."""

    def __init__(self, phones):
        self.on, self.said = True, [[] for _ in phones]
        self.threads = [threading.Thread(target=self._run, args=x) for x in zip(phones, self.said)]
        [t.start() for t in self.threads]

    def _run(self, phone, said):
        while self.on:
            try:
                answer = phone.post("FolderSync", FOLDERS)
                said.append((answer.http, answer.status))
            except Exception as why:
                said.append(why)
                phone.close()

    def turn(self):
        """All have asked some more times."""
        before = [len(s) for s in self.said]
        harness.wait_for(lambda: all(len(s) >= b + 3 for s, b in zip(self.said, before)))

    def end(self):
        self.on = False
        [t.join(harness.PATIENCE) for t in self.threads]
        assert not [t for t in self.threads if t.is_alive()]


def ahead(zone, minutes):
    zone.request("GET", "/probe", headers={"X-Ahead-Ms": str(minutes * 60_000), "X-Person": "nobody", "X-Device": "NONE0000001"})


@pytest.mark.parametrize("how", ["stopped", "hanging"])
def test_database_away(factory, how):
    """GATE-04, R19: known good phones keep their mail, everybody else is asked to come again; never 401, never 500. Ten minutes of it, and four
    hours, under traffic: the child's clock is set ahead."""
    subprocess.run(["make", "-f", "apxs.mk", f"BUILD={zf.BUILD}", str(PROBE)], cwd=zf.ROOT, check=True, capture_output=True)
    cluster = harness.Postgres()
    zone = factory.zone("pgsql", pg=cluster, children=1, **CLOCK).start()
    zone.log.expect(*AWAY)
    post = Post(zone).ready()
    try:
        phone, _ = known_phone(post)
        post.settle()
        assert phone.post("FolderSync", FOLDERS).status == 1
        busy = Traffic([post.phone(device_id=phone.device_id, form=form) for form in ("plain", "base64")])
        cluster.stop("immediate") if how == "stopped" else cluster.freeze()
        try:
            harness.wait_for(lambda: post.phone(device_id="STRANGER0001").post("FolderSync", FOLDERS).http == 503)
            for _ in range(5):
                assert phone.post("FolderSync", FOLDERS).status == 1
            assert phone.send(b"Subject: x\r\n\r\nx").http == 200
            answer = phone.post("Provision", body=b"")  # PRV-01: no key is given that nobody would know
            assert answer.http == 503 and int(answer.headers["Retry-After"]) > 0
            for other in (post.phone(device_id="STRANGER0002"), post.phone(password="new-Pass-1"), post.phone("nobody", "x")):
                answer = other.post("FolderSync", FOLDERS)
                assert answer.http == 503 and int(answer.headers["Retry-After"]) > 0
            ahead(zone, minutes=10)
            busy.turn()
            assert set(x for said in busy.said for x in said) == {(200, 1)}
            ahead(zone, minutes=5 * 60)
            harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).http == 503)
            ahead(zone, minutes=0)
            busy.turn()
        finally:
            busy.end()
            cluster.start() if how == "stopped" else cluster.thaw()
        harness.wait_for(lambda: post.phone(password="new-Pass-2").options().http == 401, step=0.3)
        assert phone.post("FolderSync", FOLDERS).status == 1
    finally:
        post.back.close()
        zone.close()
        cluster.close()


def test_directory_away(factory):
    """USR-09, USR-11: what was checked lately goes on; what can't be checked is 503, never "wrong password"."""
    directory = Slapd([("fred", "fred-Pass-2", "fred@other.example"), ("gina", "gina-Pass-2", "gina@other.example")])
    zone = factory.zone("sqlite3").start()
    zone.log.expect("MDM0120", "MDM0121", "MDM0805")
    local = Post(zone)
    _, _, made = local.console.call("POST", "/sources", {"name": "Corp", "secret": ROOT_PASSWORD, "config": directory.config("ldaps"),
                                                         "domains": ["corp"]})
    local.console.call("PUT", f"/sources/{made['id']}/certificate", {"sha256": directory.sha256}, If_Match=f'"{made["version"]}"')
    post = Post(zone, {"fred": "fred-Pass-2"}, source=made["id"]).ready("corp\\fred", "fred-Pass-2")
    try:
        fred = post.phone("corp\\fred", "fred-Pass-2")
        assert post.phone("corp\\fred", "wrong").options().http == 401
        directory.stop()
        assert fred.options().http == 200
        for other in (post.phone("corp\\gina", "gina-Pass-2"), post.phone("corp\\fred", "other-wrong")):
            answer = other.options()
            assert answer.http == 503 and int(answer.headers["Retry-After"]) > 0
        assert local.ready() and local.phone().options().http == 200
        directory.start()
        harness.wait_for(lambda: post.phone("corp\\gina", "gina-Pass-2").options().http == 200, step=0.3)
    finally:
        local.back.close()
        post.back.close()
        zone.close()
        directory.close()


def test_second_node_obeys(factory):
    """GATE-06, issue 3 item 5: retired at one node, no mail at the other."""
    one = factory.zone("pgsql", extra_main="MDMNodeName one").start()
    root = factory.root / f"{one.root.name}-two"
    root.mkdir()
    two = harness.Zone(one.db_url, root=root, tls_dir=one.tls_dir, key_file=one.key_file, extra_main="MDMNodeName two").start()
    post = Post(one).ready()
    try:
        post.ready(zone=two)
        phone, ident = known_phone(post)
        other = post.phone(zone=two, device_id=phone.device_id)
        assert other.post("FolderSync", FOLDERS).status == 1
        post.console.post(f"/devices/{ident}/retire", {"reason": "test"})
        harness.wait_for(lambda: phone.post("FolderSync", FOLDERS).status == 129 and other.post("FolderSync", FOLDERS).status == 129)
    finally:
        post.close()
        two.close()
        one.close()
