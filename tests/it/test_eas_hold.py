"""Held requests (PXY-01, PXY-02, PXY-03, GATE-06, R44): Pings and long Syncs wait without a thread, over TLS and without; what ends them."""
import contextlib
import http.client
import json
import random
import re
import socket
import struct
import threading
from pathlib import Path

import pytest

import harness
import zonefiles as zf
from clients import enrolled
from mail import PATH, Post, eas_id, one_engine, post_with_device  # noqa: F401
from test_access import filters_sql
from sim.eas_client import Phone
from sim.wbxml import Node, encode

MAIL = "<LocationMatch '(?i)^/Microsoft-Server-ActiveSync$'>\nMDMEas On\nMDMAccess endpoint deny=503\n</LocationMatch>\n"


def options(plain, short):
    """A zone that can also be reached without TLS: as it should be, and where everything ends soon."""
    return {"children": 2, "threads": 8, "extra_device": '<Location "/core-status">\nSetHandler mdm-status\n</Location>\n'
            '<Location "/threads">\nSetHandler server-status\n</Location>',
            "extra_main": f"""MDMEasDrain 300ms
Listen 127.0.0.1:{plain}
Listen 127.0.0.1:{short}
<VirtualHost *:{plain}>
TimeOut 3700
KeepAliveTimeout 60
ProxyTimeout 3600
{MAIL}</VirtualHost>
<VirtualHost *:{short}>
TimeOut 3700
KeepAliveTimeout 1
ProxyTimeout 1
{MAIL}</VirtualHost>"""}


PLAIN, SHORT = zf.free_port(), zf.free_port()
ZONE = options(PLAIN, SHORT)
FOLDERS = Node("FH.FolderSync", Node("FH.SyncKey", "0"))
ROOT = Node("PG.Ping", Node("PG.HeartbeatInterval", 900), Node("PG.Folders", Node("PG.Folder", Node("PG.Id", "5"), Node("PG.Class", "Email"))))


@pytest.fixture(params=["tls", "plain"])
def way(request):
    return request.param


@pytest.fixture
def phone(zone, post, way):
    """The mail client of the enrolled device, by either way."""
    post.back.script.clear()
    made = known(zone, post, way)
    yield made
    made.close()
    post.back.script.clear()
    harness.wait_for(lambda: post.back.held == 0 and held(zone) == 0)


def reach(zone, post, way="tls", port=None, **more):
    if way == "tls":
        return post.phone(device_id=eas_id(post.device), **more)
    made = Phone(port or PLAIN, harness.PERSON, harness.PERSON_PASSWORD, device_id=eas_id(post.device), **more)
    post.phones.append(made)
    return made


def known(zone, post, way="tls", **more):
    """reach(), and the process at the other end has heard of the mail server."""
    made = reach(zone, post, way, **more)
    harness.wait_for(lambda: made.post("FolderSync", FOLDERS).http == 200)
    return made


def figures(zone):
    return json.loads(zone.request("GET", "/core-status")[2])


def held(zone):
    return figures(zone)["held"]


def hold(zone, post, phone, document=ROOT, command="Ping"):
    """The one request that waits, at the back end and in our table."""
    harness.wait_for(lambda: post.back.held == 0 and held(zone) == 0, step=0.02)
    phone.start(command, document)
    holds(zone, post)


def holds(zone, post):
    harness.wait_for(lambda: post.back.held == 1 and held(zone) == 1, step=0.02)


def deliver(post):
    post.back.deliver(harness.PERSON, "Subject: hello\r\n\r\nworld")


def request_bytes(phone, command, document, *more):
    body = encode(document) if document is not None else b""
    lines = [f"POST {PATH}?{phone.query(command)} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}",
             "Content-Type: application/vnd.ms-sync.wbxml", *[f"{k}: {v}" for k, v in phone.headers().items()], *more, "", ""]
    return "\r\n".join(lines).encode() + body


def read_answer(stream):
    """(code, headers, body) of one answer with a length."""
    code = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return code, headers, stream.read(int(headers["content-length"]))


def connect(phone):
    phone.http.connect()
    return phone.http.sock


# ---------------------------------------------------------------- the connection (facts 1.1)

@pytest.mark.san
def test_pings_and_others_on_one_connection(zone, post, phone):
    """PXY-02: keep-alive survives each hold; the client's connection is the same all the time."""
    connect(phone)
    sock = phone.http.sock
    for _ in range(6):
        hold(zone, post, phone)
        deliver(post)
        assert phone.finish().status == 2
        assert phone.post("FolderSync", FOLDERS).status == 1
    assert phone.http.sock is sock


@pytest.mark.san
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_client_that_leaves_frees_the_back_end(zone, post, phone, how):
    """PXY-02: at once, not after the heartbeat."""
    hold(zone, post, phone)
    gone, left = post.back.gone, figures(zone)["held_left"]
    if how == "reset":
        phone.http.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw = phone.http.sock
    phone.close()
    raw.close()
    harness.wait_for(lambda: post.back.gone > gone and post.back.held == 0)
    assert figures(zone)["held_left"] > left


@pytest.mark.san
def test_requests_behind_a_held_one(zone, post, phone):
    """Pipelined with it, and sent while it is held: each gets its answer, in order."""
    ping, folders = request_bytes(phone, "Ping", ROOT), request_bytes(phone, "FolderSync", FOLDERS)
    sock = connect(phone)
    sock.sendall(ping + folders + folders)
    stream = sock.makefile("rb")
    holds(zone, post)
    deliver(post)
    bodies = [read_answer(stream)[2] for _ in range(3)]
    assert b"F1" not in bodies[0] and bodies[1] and bodies[1] == bodies[2]
    harness.wait_for(lambda: post.back.held == 0)
    sock.sendall(ping)
    holds(zone, post)
    sock.sendall(folders)
    deliver(post)
    assert len(read_answer(stream)[2]) < len(read_answer(stream)[2])


@pytest.mark.san
def test_expect_and_chunks_before_a_hold(zone, post, phone):
    body, sock = encode(ROOT), connect(phone)
    head = request_bytes(phone, "Ping", None, "Expect: 100-continue", "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"")
    sock.sendall(head)
    stream = sock.makefile("rb")
    assert stream.readline().startswith(b"HTTP/1.1 100") and not stream.readline().strip()
    for part in (body[:7], body[7:], b""):
        sock.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
    holds(zone, post)
    deliver(post)
    assert read_answer(stream)[0] == 200


def test_large_answer_after_a_hold_and_a_slow_reader(zone, post, phone):
    phone.version, size = "12.1", 6 << 20
    hold(zone, post, phone)
    deliver(post)
    assert phone.finish().http == 200
    post.back.script["GetAttachment"] = [{"status": 200, "body": b"y" * size, "delay": 0.1}]
    phone.start("GetAttachment", body=b"")
    sock, got = phone.http.sock, 0
    response = phone.http.getresponse()
    while part := response.read(40000):
        got += len(part)
    assert got == size
    hold(zone, post, phone)
    deliver(post)
    assert phone.finish().http == 200 and phone.http.sock is sock


@pytest.mark.san
def test_close_after_a_hold(zone, post, phone):
    sock = connect(phone)
    sock.sendall(request_bytes(phone, "Ping", ROOT, "Connection: close"))
    stream = sock.makefile("rb")
    holds(zone, post)
    deliver(post)
    code, headers, _ = read_answer(stream)
    assert code == 200 and headers["connection"] == "close" and stream.read(1) == b""


def test_keep_alive_ends(zone, post):
    """A kept connection waits like a held one, as long as KeepAliveTimeout says."""
    short = reach(zone, post, "plain", port=SHORT)
    before = post.seen()
    short.start("Ping", ROOT)
    harness.wait_for(lambda: post.seen() > before)
    deliver(post)
    assert short.finish().status in (1, 2)  # here each waits for a second only
    short.http.sock.settimeout(60)
    assert short.http.sock.recv(1) == b""


# ---------------------------------------------------------------- what ends a hold

@pytest.mark.san
def test_deadline(zone, post):
    """ProxyTimeout is the last word: a valid answer that makes the phone come again."""
    post.back.script["*"] = [{"hang": True}]
    short = reach(zone, post, "plain", port=SHORT)
    try:
        assert short.post("Ping", ROOT).status == 1
        short.close()  # kept for a second only
        sync = short.post("Sync", body=b"")
        assert sync.http == 200 and sync.body == b""
        short.close()
        other = short.post("FolderSync", FOLDERS)
        assert other.http == 503 and int(other.headers["Retry-After"]) > 0
    finally:
        post.back.script.clear()


@pytest.mark.san
def test_back_end_that_goes(zone, post, phone):
    """503 with a time that differs from phone to phone."""
    zone.log.expect("MDM0810")
    post.back.script["Ping"] = [{"delay": 0.3, "reset": True}]
    answer = phone.post("Ping", ROOT)
    assert answer.http == 503 and 30 <= int(answer.headers["Retry-After"]) < 90


@pytest.mark.san
def test_newer_ping_ends_the_older(zone, post, phone, way):
    """In whatever child it is: the phone has lost that connection."""
    hold(zone, post, phone)
    others = [reach(zone, post, way) for _ in range(6)]
    for newer in others:
        ended, gone = figures(zone)["held_newer"], post.back.gone
        newer.start("Ping", ROOT)
        harness.wait_for(lambda: figures(zone)["held_newer"] > ended and post.back.gone > gone and post.back.held == 1, step=0.02)
    assert phone.finish().status == 1
    deliver(post)
    assert others[-1].finish().status == 2
    for other in others:
        other.close()


@pytest.mark.san
def test_change_that_leaves_it_allowed(zone, post, phone):
    """GATE-06: judged again, held on; the back end notices nothing."""
    ident = post.console.device(post.device.udid)["id"]
    hold(zone, post, phone)
    judged, seen = figures(zone)["held_changed"], post.seen()
    zone.sql("INSERT INTO change (kind, key, at_ms) VALUES ('device', ?, 0)", ident)
    harness.wait_for(lambda: figures(zone)["held_changed"] > judged)
    assert post.back.held == 1 and post.seen() == seen
    deliver(post)
    assert phone.finish().status == 2


def test_filter_ends_it(zone, post, phone):
    """GATE-06, ACC-03: an address filter holds for requests that wait."""
    hold(zone, post, phone)
    filters_sql(zone, "endpoint", [("deny", "127.0.0.0/8, ::1")])
    try:
        assert phone.finish().status == 1
        harness.wait_for(lambda: post.back.held == 0)
        assert phone.post("FolderSync", FOLDERS).http == 503
    finally:
        filters_sql(zone, "endpoint", [])
        harness.wait_for(lambda: all(reach(zone, post).post("FolderSync", FOLDERS).http == 200 for _ in range(6)))


@pytest.mark.san
def test_retiring_ends_it(zone, post, way):
    """GATE-06: the Ping ends with the phone's own word for "come again", and then it hears that there is no mail."""
    device = enrolled(zone)
    own = reach(zone, post, way)
    own.device_id = eas_id(device)
    assert own.post("FolderSync", FOLDERS).status == 1
    hold(zone, post, own)
    post.console.post(f"/devices/{post.console.device(device.udid)['id']}/retire", {"reason": "test"})
    assert own.finish().status == 1
    harness.wait_for(lambda: post.back.held == 0)
    assert own.post("FolderSync", FOLDERS).status != 1


# ---------------------------------------------------------------- many, and the process

def test_more_than_there_are_threads(zone, post):
    """PXY-02: 40 waiting requests and 16 threads: everybody else is answered at once."""
    post.back.script["Search"] = [{"hang": True}]
    phones = [reach(zone, post, "plain") for _ in range(40)]
    try:
        for made in phones:
            made.start("Search", body=b"")
        harness.wait_for(lambda: held(zone) == 40)
        assert reach(zone, post).post("FolderSync", FOLDERS).status == 1
    finally:
        for made in phones:
            made.close()
        post.back.script.clear()
    harness.wait_for(lambda: held(zone) == 0)


def sockets(zone, *ports):
    """How many connections of these ports, of ours or of the other side, the children have."""
    found = {}
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = row.split()
        found[f"socket:[{fields[9]}]"] = {int(x.rpartition(":")[2], 16) for x in fields[1:3]} if fields[3] != "0A" else set()  # not who listens
    return sum(bool(found.get(str(link), set()) & set(ports)) for link in links(zone))


def links(zone):
    """What the children's descriptors are."""
    for pid in zone.child_pids():
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                yield path.readlink()


def busy(zone):
    """Threads at work."""
    text = zone.request("GET", "/threads?auto")[2].decode()
    return int(next(x for x in text.splitlines() if x.startswith("BusyWorkers")).split()[1])


class Churn:
    """Clients that come, wait and go in any way, several at a time; ends: what became of their requests."""

    WAYS = ["tls", "plain", "short"]
    ASKS = [("Ping", {"doc": ROOT}), ("Ping", {"doc": ROOT}), ("Ping", {"body": b"half"}), ("Sync", {"body": b""}), ("Search", {"body": b""}),
            ("FolderSync", {"doc": FOLDERS})]

    def __init__(self, zone, post, devices, connections, seed):
        self.zone, self.post, self.devices, self.left, self.seed = zone, post, devices, connections, seed
        self.lock, self.ends, self.wrong = threading.Lock(), [], []

    def one(self, dice):
        """A connection with some requests; the last of them may be left alone."""
        way = dice.choice(self.WAYS)
        phone = Phone(*(self.zone.device_port if way == "tls" else PLAIN if way == "plain" else SHORT, harness.PERSON, harness.PERSON_PASSWORD),
                      device_id=dice.choice(self.devices), ca=str(self.zone.tls_dir / "ca.pem") if way == "tls" else None, timeout=60)
        try:
            for _ in range(dice.randint(1, 3)):
                command, more = dice.choice(self.ASKS)
                phone.start(command, **more)
                sock, end = phone.http.sock, dice.choice(["wait", "wait", "fin", "reset", "late"])
                if end == "wait":
                    self.ends.append(phone.finish().http)
                    continue
                if end == "late":
                    sock.settimeout(dice.random() / 20)
                    with contextlib.suppress(OSError):
                        sock.recv(1)
                if end == "reset":
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.ends.append("left")
                return phone.close(), sock.close()
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):  # a kept connection was at its end
            self.ends.append("closed")
        finally:
            phone.close()
        return None

    def some(self, number):
        dice = random.Random(f"{self.seed}-{number}")
        while True:
            with self.lock:
                if not self.left:
                    return
                self.left -= 1
            try:
                self.one(dice)
            except Exception as why:
                self.wrong.append(repr(why))

    def run(self, disturb, at_once=24):
        """disturb(dice): is called again and again, as long as anybody is there."""
        threads = [threading.Thread(target=self.some, args=(i,), daemon=True) for i in range(at_once)]
        dice = random.Random(self.seed)
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                disturb(dice)
                thread.join(0.03)
        assert not self.wrong, (self.seed, self.wrong)


def test_churn(zone, post):
    """PXY-02: 300 connections whose requests wait, are answered, left, ended by a newer one, a change, a filter, a deadline, in any order: each
    has its end, and of all of them nothing stays: no thread, no connection, nothing in the table."""
    for text in ("MDM0810", "MDM0831", "AH10159", "AH00484"):  # the last two: all threads are at work for a moment
        zone.log.expect(text)
    devices = [eas_id(d) for d in (post.device, enrolled(zone), enrolled(zone))]
    person = zone.sql("SELECT id FROM person WHERE login = ?", harness.PERSON)[0][0]
    post.back.script["*"] = [{}, {"delay": 0.03}, {}, {"reset": True}, {}, {"delay": 1.2}] * 200 + [{}]

    def disturb(dice):
        kind = dice.choice(["mail", "mail", "mail", "device", "person", "all", "filters"])
        if kind == "mail":
            deliver(post)
        elif kind == "filters":
            filters_sql(zone, "endpoint", [("deny", "192.0.2.0/24")] if dice.random() < 0.5 else [])
        else:
            zone.sql("INSERT INTO change (kind, key, at_ms) VALUES (?, ?, 0)", kind, "" if kind == "all" else person)
    for phone in post.phones:  # of other tests
        phone.close()
    before = figures(zone)
    churn = Churn(zone, post, devices, 300, random.randrange(1 << 30))
    try:
        churn.run(disturb)
    finally:
        post.back.script.clear()
        filters_sql(zone, "endpoint", [])
    assert {200, 503} <= set(churn.ends) <= {200, 400, 503, "left", "closed"}, (churn.seed, churn.ends)
    seen = []

    def nothing_left():
        """no request, no connection, no thread but the one that answers this"""
        seen[:] = held(zone), post.back.held, sockets(zone, PLAIN, SHORT), busy(zone)
        return seen == [0, 0, 0, 1]
    try:
        harness.wait_for(nothing_left)
    except AssertionError:
        raise AssertionError(seen, churn.seed)
    after = figures(zone)
    assert all(after[x] > before[x] for x in ("held_answered", "held_left", "held_changed", "held_newer")), (churn.seed, after)


@pytest.mark.san
def test_graceful_restart_answers_them(factory):
    """PXY-02: each held Ping gets an answer and the end of its connection; the old processes end."""
    plain = zf.free_port()
    zone = factory.zone("sqlite3", **options(plain, zf.free_port())).start()
    post = Post(zone).ready()
    try:
        post.device = enrolled(zone)
        phones = [known(zone, post), known(zone, post, "plain", port=plain)]
        old = zone.child_pids()
        hold(zone, post, phones[0])
        phones[1].start("Sync", body=b"")
        phones[1].finish()
        zone.graceful()
        answer = phones[0].finish()
        assert answer.status == 1 and answer.headers["Connection"] == "close"
        harness.wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in old))
        again = known(zone, post)
        hold(zone, post, again)
        deliver(post)
        assert again.finish().status == 2
    finally:
        post.close()
        zone.close()


def other_mpm(factory, name, more="", extra=""):
    """A zone of another MPM. The prefork MPM counts processes; a client's connection has one for itself."""
    how = options(plain := zf.free_port(), zf.free_port())
    zone = factory.zone("sqlite3", **{**how, "children": 1, "extra_main": how["extra_main"] + extra})
    zone.prepare()
    conf = zone.root / "httpd.conf"
    text = re.sub("(?m)^LoadModule mpm_event.*", lambda m: m[0].replace("event", name), conf.read_text())
    if name == "prefork":
        text = re.sub(r"(?m)^(StartServers|ServerLimit|ThreadsPerChild|MaxRequestWorkers|MinSpareThreads|MaxSpareThreads) .*\n", "", text)
        text += "StartServers 4\nMinSpareServers 2\nMaxSpareServers 20\nServerLimit 20\nMaxRequestWorkers 20\n"
    conf.write_text(text)
    zone.prepare = lambda: None
    zone.start()
    post = Post(zone).ready()
    post.device = enrolled(zone)
    post.device.close()  # an idle connection keeps its thread, also when the process is to end
    return zone, post, plain


def told_once(zone):
    """PXY-03: the log says it, and once."""
    zone.log.read()
    return len([x for x in zone.log.lines if x.id == "MDM0270"]) == 1


def test_limit(factory):
    """MDMEasMaxHeld: what is above is asked to come again, not all at once; also where each takes a thread (PXY-03)."""
    zone, post, plain = other_mpm(factory, "worker", extra="\nMDMEasMaxHeld 1\n")
    try:
        for way in ("tls", "plain"):
            phone = known(zone, post, way, port=plain)
            hold(zone, post, phone)
            second = reach(zone, post, way, port=plain, version="12.1")
            harness.wait_for(lambda: (answer := second.post("Ping", ROOT)).http == 503 and int(answer.headers["Retry-After"]) >= 30)
            deliver(post)
            assert phone.finish().status == 2
        assert told_once(zone)
    finally:
        post.close()
        zone.close()


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_other_mpms(factory, mpm):
    """PXY-03: a thread or process for each: answered, left, ended by a newer one, and by a graceful restart."""
    zone, post, plain = other_mpm(factory, mpm)
    try:
        for way in ("tls", "plain"):
            phone = known(zone, post, way, port=plain)
            hold(zone, post, phone)
            deliver(post)
            assert phone.finish().status == 2
            hold(zone, post, phone)
            gone = post.back.gone
            phone.close()
            harness.wait_for(lambda: post.back.gone > gone and held(zone) == 0)
        older, newer = known(zone, post), known(zone, post)
        hold(zone, post, older)
        newer.start("Ping", ROOT)
        assert older.finish().status == 1
        holds(zone, post)
        zone.graceful()
        assert newer.finish().status == 1
        assert told_once(zone)
    finally:
        post.close()
        zone.close()
