"""The mail gate among broken and hostile peers (issue 6, Trouble; R08, R09, R17, R18, R44): whatever one side does, no worker hangs, no child
ends, and nobody sees another person's mail. One zone for all; a bystander's phone must live on after each case."""
import http.client
import select
import socket
import threading
import time

import pytest

import harness
from clients import enrolled, portal
from mail import BEN, PATH, eas_id, for_two, one_engine  # noqa: F401
from sim.eas_box import WBXML
from sim.wbxml import Node, encode

# Clients have five seconds for headers and bodies, back ends six: enough for those that are well on a busy machine.
ZONE = {"children": 1, "threads": 24, "extra_device": """ProxyTimeout 6
RequestReadTimeout handshake=20 header=5-6,MinRate=500 body=5,MinRate=500
<Location "/server-status">
SetHandler server-status
</Location>"""}
FOLDERS = Node("FH.FolderSync", Node("FH.SyncKey", "0"))
BROKEN = ("MDM0810", "AH01102", "AH00898", "AH01110", "AH10104", "AH02608", "AH01097", "AH01095", "AH00957", "AH01114", "AH01086", "MDM0831")


@pytest.fixture(scope="module")
def post(zone):
    made = for_two(zone)
    made.back.cookies = True
    made.devices = {harness.PERSON: enrolled(zone), BEN[0]: enrolled(zone, who=portal(zone, *BEN))}
    for who, text in ((harness.PERSON, "for anna"), (BEN[0], "for ben")):
        made.back.deliver(who, f"Subject: {text}\r\n\r\nx", {"file": 500_000})
    yield made
    made.close()


def phone_of(post, who=harness.PERSON, **more):
    login = (who, BEN[1]) if who == BEN[0] else ()
    return post.phone(*login, device_id=eas_id(post.devices[who]), **more)


@pytest.fixture
def phone(post):
    post.back.script.clear()
    made = phone_of(post)
    assert made.folder_sync().status == 1
    return made


def busy(zone):
    """Workers that are at a request, beside the one that answers this."""
    body = zone.request("GET", "/server-status?auto")[2].decode()
    return int(body.split("BusyWorkers: ")[1].split()[0]) - 1


@pytest.fixture(autouse=True)
def bystander(zone, post):
    """After each case: the same child, no worker left in it, mail for the others, and only their own."""
    zone.log.expect(*BROKEN)
    children = set(zone.child_pids())
    yield
    post.back.script.clear()
    for who in post.devices:
        other = phone_of(post, who)
        assert other.folder_sync().status == 1 and other.sync() is not None and other.heard == {who}
        other.close()
    harness.wait_for(lambda: busy(zone) == 0)
    assert children <= set(zone.child_pids()) and not post.back.trouble


def at_once(count, work):
    """work(0), work(1), … in threads; what each gave, exceptions included."""
    out = [None] * count

    def run(index):
        try:
            out[index] = work(index)
        except Exception as why:
            out[index] = why
    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    [t.start() for t in threads]
    [t.join(harness.PATIENCE) for t in threads]
    assert not [t for t in threads if t.is_alive()]
    return out


# ---- back ends

SICK = [({"slow": 0.0005}, "whole"), ({"delay": 0.5}, "whole"), ({"hang": True}, "503"), ({"reset": True}, "503"), ({"cut": 1}, "503"), ({"cut": 40}, "503"),
        ({"cut": True}, "broken"), ({"stall": True}, "broken"), ({"html": True}, "503"),
        ({"status": 200, "headers": {"Content-Type": WBXML}, "body": b"\x03\x01\x6a\x00" + b"\x45" * 4000}, "any"),
        ({"status": 200, "headers": {"X-MS-RP": "x" * 9000}}, "any"), ({"status": 999}, "503"), ({"status": 101}, "503"), ({"status": 204}, "503")]


@pytest.mark.parametrize("step, want", SICK, ids=lambda x: str(x)[:30])
def test_a_sick_back_end(zone, post, phone, step, want):
    """Four phones at once meet it: each gets the whole answer, 503 to come again, or sees that the answer broke off; never half an answer as if it were
    whole, never 500 (facts 2.8)."""
    post.back.script["FolderSync"] = [step]

    def ask(index):
        mine = phone_of(post, (harness.PERSON, BEN[0])[index % 2])
        try:
            return mine.post("FolderSync", FOLDERS)
        finally:
            mine.close()
    for got in at_once(4, ask):
        if want == "whole":
            assert got.http == 200 and got.status == 1
        elif want == "503":
            assert got.http == 503 and int(got.headers["Retry-After"]) > 0 and got.body == b"", got
        elif want == "broken":
            assert isinstance(got, (OSError, http.client.HTTPException)) or got.http == 503, got.http
        else:
            assert isinstance(got, Exception) or got.http in (200, 503), got.http


NO_HTTP = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello!!", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
           b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nx",
           b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"garbage\r\n\r\n", b"\0" * 200,
           b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 3000, b"HTTP/1.1 200 OK\r\nA" + b"b" * 100_000, b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
           b"HTTP/1.1 200\r\nA\0B: c\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b""]


class Raw:
    """A back end that answers every request with the same bytes and closes."""

    def __init__(self):
        self.socket, self.text, self.asked = socket.create_server(("127.0.0.1", 0)), b"", 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            with conn:
                conn.settimeout(6)
                try:
                    while b"\r\n\r\n" not in conn.recv(65536):
                        pass
                    self.asked += 1
                    conn.sendall(self.text)
                except OSError:
                    pass


@pytest.mark.san
def test_a_back_end_that_speaks_no_http(zone, post, phone):
    """SEC-06: an answer with two lengths, endless ones, and what is none. The phone gets 503, an empty body, or a broken connection; nothing of it."""
    zone.log.expect("AH01106", "AH01107", "AH10409", "AH02430", "AH01108", "AH10502", "AH01098", "AH01109", "AH10258")
    server, port = Raw(), post.back.port
    post.edit(port=server.socket.getsockname()[1])
    try:
        for text in [b"", *NO_HTTP]:
            server.text, before = text, server.asked

            def meets():
                try:
                    answer = phone.post("FolderSync", FOLDERS)
                except (OSError, http.client.HTTPException):
                    phone.close()
                else:
                    # until the child has read that the server is another, it asks the old one
                    assert answer.http == 503 or (answer.http == 200 and not answer.body) or server.asked == before, (text[:40], answer.http)
                return server.asked > before
            harness.wait_for(meets)
    finally:
        post.edit(port=port)
        post.ready()
        server.socket.close()


# ---- clients

def half(post, sent, total, who=harness.PERSON, step=0):
    """A SendMail that ends, or goes on byte by byte until there is an answer."""
    mine = phone_of(post, who, version="12.1")
    mine.http.putrequest("POST", f"{PATH}?{mine.query('SendMail')}")
    for name, value in {**mine.headers(), "Content-Type": "message/rfc822", "Content-Length": str(total)}.items():
        mine.http.putheader(name, value)
    mine.http.endheaders(b"x" * sent)
    try:
        for _ in range(2000 if step else 0):
            if select.select([mine.http.sock], [], [], step)[0]:
                return mine.finish().http
            mine.http.send(b"x")
        return None
    finally:
        mine.close()


def test_mails_that_are_cut_off(zone, post, phone):
    """Twelve phones leave in the middle of a mail: no mail arrives."""
    before = {who: len(box.sent) for who, box in post.back.boxes.items()}
    assert at_once(12, lambda i: half(post, (0, 1, 30_000)[i % 3], 100_000)) == [None] * 12
    assert {who: len(box.sent) for who, box in post.back.boxes.items()} == before


def test_mails_a_byte_at_a_time(zone, post, phone):
    """R09: who sends slower than 500 bytes a second is cut off; the others wait for nobody."""
    before, done = len(post.back.boxes[harness.PERSON].sent), []
    worker = threading.Thread(target=lambda: done.append(at_once(8, lambda i: half(post, 10, 100_000, step=0.05))))
    worker.start()
    while not done:
        assert phone.post("FolderSync", FOLDERS).status == 1
    worker.join()
    assert all(x == 408 or isinstance(x, (OSError, http.client.HTTPException)) for x in done[0]), done
    assert len(post.back.boxes[harness.PERSON].sent) == before


def test_headers_a_byte_at_a_time(zone, post, phone):
    """R09"""
    def trickle(_):
        with socket.create_connection(("localhost", zone.device_port), timeout=60) as plain:
            with zone.ssl_context().wrap_socket(plain, server_hostname="localhost") as sock:
                for byte in (f"POST {PATH}?{phone.query('Sync')} HTTP/1.1\r\nHost: localhost\r\nX: ".encode() + b"y" * 400):
                    sock.sendall(bytes([byte]))
                    time.sleep(0.05)
    assert all(isinstance(x, OSError) for x in at_once(6, trickle))


def bombs():
    """WBXML that is small and wants much, or never ends."""
    head = b"\x03\x01\x6a\x00"
    return {"deep": head + b"\x45" * 60_000, "pages": head + b"\x00\x0e" * 30_000, "length": head + b"\x45\xc3\x8f\xff\xff\xff\x7f" + b"x" * 100,
            "endless length": head + b"\x45\xc3" + b"\xff" * 1000, "text": head + b"\x45\x03" + b"a" * 60_000, "ends": head + b"\x01" * 1000,
            "wide": head + b"\x00\x0e\x45" + b"\x46\x01" * 20_000 + b"\x01", "string table": b"\x03\x01\x6a\x8f\xff\xff\x7f" + b"x" * 100, "empty": head,
            "xml": b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "zero": b"", "public id": b"\x03\x00\x00\x6a\x00\x45\x01",
            "long": head + b"\x00\x0e\x45\x46\x47" + b"\x48\x03" + b"k" * 200 + b"\x00\x01" * 3}


@pytest.mark.san
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("command", ["Provision", "Settings", "Sync", "Ping", "FolderSync"])
def test_wbxml_bombs(zone, post, phone, command, known):
    """R08: whatever the gate reads of a body, and whatever it passes on: an answer of the protocol or an error, from the same child."""
    zone.log.expect("AH01588")
    post.back.script["*"] = [{"status": 400}]  # only the gate is asked
    mine = phone if known else post.phone(device_id="BOMBER0001")
    for name, body in bombs().items():
        answer = mine.post(command, body=body, key=0 if command == "Provision" else None)
        assert answer.http in (200, 400, 403, 413, 449, 503), (name, answer.http)


def test_a_flood_of_unknown_phones(zone, post, phone):
    """SEC-03, GATE-02: hundreds of DeviceIds from one address and with one log-in make a handful of records; who is known notices nothing."""
    def flood(index):
        mine, codes = post.phone(device_id="x"), set()
        for i in range(60):
            mine.device_id = f"FLOOD{index}X{i:03}"
            answer = mine.post("FolderSync", FOLDERS)
            codes.add((answer.http, answer.status))
        mine.close()
        return codes
    done = []
    worker = threading.Thread(target=lambda: done.append(at_once(4, flood)))
    worker.start()
    while not done:
        assert phone.post("FolderSync", FOLDERS).status == 1
    worker.join()
    assert not [c for codes in done[0] for c in codes if c[0] not in (200, 403, 503)], done
    assert zone.sql("SELECT COUNT(*) FROM source_record WHERE native_id LIKE 'FLOOD%'")[0][0] <= 10


# ---- people

def test_two_people_on_one_device_id(zone, post, phone):
    """R17: both at once, in both forms, again and again: each sees only their own, or nothing."""
    ident = eas_id(post.devices[harness.PERSON])

    def ask(index):
        who = (harness.PERSON, BEN[0])[index % 2]
        mine = post.phone(*(BEN if who == BEN[0] else ()), device_id=ident, form=("plain", "base64")[index // 2 % 2], version="14.1")
        for _ in range(8):
            if mine.folder_sync().status == 1 and "Sent" in mine.folders:
                mine.sync()
                mine.download("5:1/file")
        mine.close()
        return who, mine.heard
    for who, heard in at_once(4, ask):
        assert heard == ({who} if who == harness.PERSON else set()), (who, heard)


def test_answers_never_change_places(zone, post, phone):
    """Many phones of two people on kept connections, some of whose requests are broken off by either side: no answer reaches another phone."""
    post.back.script["Sync"] = [{}, {"cut": 60}, {}, {"cut": True}, {}, {"reset": True}] * 20 + [{}]

    def ask(index):
        who = (harness.PERSON, BEN[0])[index % 2]
        mine = phone_of(post, who, timeout=2)
        for turn in range(12):
            try:
                if turn % 4 == 3:
                    mine.start("Sync", FOLDERS)
                    mine.close()
                elif mine.folder_sync().status == 1:
                    mine.sync_keys.clear()
                    mine.sync()
            except (OSError, http.client.HTTPException):
                mine.close()
        mine.close()
        return who, mine.heard
    for who, heard in at_once(8, ask):
        assert heard <= {who}, (who, heard)
