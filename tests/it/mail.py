"""Mail in the whole-server tests: an ActiveSync server behind the gate, phones before it."""
import socket
import ssl

import pytest

import harness
from clients import Console, enrolled
from sim.eas_client import Phone
from sim.eas_server import EasServer
from sim.wbxml import Node

PATH = "/Microsoft-Server-ActiveSync"
BEN = ("ben", "ben-Pass-1")
FOLDERS = Node("FH.FolderSync", Node("FH.SyncKey", "0"))


def folders(phone):
    """The whole list of folders, as a new account asks for it."""
    return phone.post("FolderSync", FOLDERS)


def ours(answer):
    """The empty mailbox of a device that has no mail (GATE-02, PRV-05), in an answer to FolderSync."""
    return (answer.http, answer.status) == (200, 1) and answer.doc.value("FH.SyncKey") == "MDMQ-1"


def flows(answer):
    """The real one."""
    return (answer.http, answer.status) == (200, 1) and answer.doc.value("FH.SyncKey") != "MDMQ-1"


def refused(answer, version="14.1"):
    """Not even that: 403 up to 12.1, status 129 from 14.0 on (15-decisions)."""
    return answer.http == 403 if version == "12.1" else (answer.http, answer.status) == (200, 129)


class Post:
    """The back end of a running zone, set up in the console for the local people (or another source), and the phones of a test."""

    def __init__(self, zone, users=None, source=None, context=None, **server):
        self.zone, self.console = zone, Console(zone)
        self.back = EasServer(users or {harness.PERSON: harness.PERSON_PASSWORD}, context=context)
        self.phones = []
        source = source or next(s["id"] for s in self.console.get("/sources")["items"] if s["kind"] == "local")
        self.row = self.console.post("/eas-servers", {"name": f"Post {self.back.port}", "host": "localhost" if context else "127.0.0.1",
                                                      "port": self.back.port, "tls": bool(context), "sources": [source], **server})

    def phone(self, user=harness.PERSON, password=harness.PERSON_PASSWORD, zone=None, **more):
        zone = zone or self.zone
        made = Phone(zone.device_port, user, password, ca=str(zone.tls_dir / "ca.pem"), **more)
        self.phones.append(made)
        return made

    def ready(self, user=harness.PERSON, password=harness.PERSON_PASSWORD, zone=None):
        """Each child has read the list of servers."""
        def all_answer():
            """OPTIONS of several connections"""
            for _ in range(12):
                phone = self.phone(user, password, zone)
                commands = phone.options().headers["MS-ASProtocolCommands"] or ""
                phone.close()
                if "Find" not in commands:  # what the gate itself offers to whom no server accepts has it not
                    return False
            return True
        harness.wait_for(all_answer)
        return self

    def edit(self, **change):
        path = f"/eas-servers/{self.row['id']}"
        status, _, now = self.console.call("PATCH", path, change, If_Match=f'"{self.console.get(path)["version"]}"')
        assert status == 200, now

    def settle(self):
        """The children have read all changes made so far: one that comes after them has its effect."""
        self.edit(enabled=False)
        harness.wait_for(lambda: self.phone().options().http == 503)
        self.edit(enabled=True)
        self.ready()

    def seen(self):
        """How many requests the back end has got."""
        with self.back.changed:
            return len(self.back.requests)

    def close(self):
        for phone in self.phones:
            phone.close()
        status, _, now = self.console.call("GET", f"/eas-servers/{self.row['id']}")
        if status == 200:
            self.console.call("DELETE", f"/eas-servers/{self.row['id']}", If_Match=f'"{now["version"]}"')
        self.back.close()


def eas_id(device):
    """The DeviceId of a simulated Apple device's own mail client, as the device tells it (EASDeviceIdentifier)."""
    return device.serial * 2


def raw(zone, data, timeout=60):
    """Bytes as they are to the device address; what comes back until the server closes."""
    with socket.create_connection(("localhost", zone.device_port), timeout=timeout) as plain:
        with zone.ssl_context().wrap_socket(plain, server_hostname="localhost") as sock:
            sock.sendall(data)
            got = b""
            try:
                while part := sock.recv(65536):
                    got += part
            except (ssl.SSLError, ConnectionError):
                pass
            return got


def for_two(zone):
    """A mail server for Anna, whom each zone has, and for Ben, who is added."""
    zone.ctl("user", "add", BEN[0], "--name", "Ben Other", "--mail", "ben@example.org", "--password-stdin", stdin=BEN[1] + "\n")
    return Post(zone, {harness.PERSON: harness.PERSON_PASSWORD, BEN[0]: BEN[1]}).ready()


# Fixtures, for modules that import them.

@pytest.fixture(name="db", scope="module", params=["sqlite3"])
def one_engine(request):
    """Where the database has no part in what is tested."""
    return request.param


@pytest.fixture(name="post", scope="module")
def post_for_two(zone):
    made = for_two(zone)
    yield made
    made.close()


@pytest.fixture(name="post", scope="module")
def post_with_device(zone):
    made = Post(zone).ready()
    made.device = enrolled(zone)
    yield made
    made.close()
