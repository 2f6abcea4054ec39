"""Synchronisations of a directory in trouble, and log-ins beside them (USR-07, USR-11)."""
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
from slapd import Slapd
from test_ldap import add, drop, login, wait_synced

PEOPLE, GROUPS = 700, 30  # people come in pages of 500, groups in pages of 20
ENTRY = 0x64  # a search result entry


def message(data):
    """The first whole LDAP message in data: its bytes and what it is; None if there is none yet."""
    if len(data) < 2:
        return None
    size, at = data[1], 2
    if size & 0x80:
        at += size & 0x7f
        size = int.from_bytes(data[2:at], "big")
    if len(data) < at + size:
        return None
    return data[:at + size], data[at + 2 + data[at + 1]]


class Relay:
    """Stands before a directory. After `limit` search result entries it cuts the connection, or says nothing any more."""

    def __init__(self, slapd):
        self.slapd, self.listener, self.sockets = slapd, socket.create_server(("127.0.0.1", 0)), []
        self.port = self.listener.getsockname()[1]
        self.calm()
        threading.Thread(target=self.accept, daemon=True).start()

    def calm(self):
        self.limit, self.hang, self.seen = None, False, 0

    def trouble(self, limit, hang):
        self.limit, self.hang, self.seen = limit, hang, 0

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.slapd.port))
            self.sockets += [client, server]
            threading.Thread(target=self.asks, args=(client, server), daemon=True).start()
            threading.Thread(target=self.answers, args=(server, client), daemon=True).start()

    @staticmethod
    def end(*sockets):
        for s in sockets:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def asks(self, client, server):
        try:
            while data := client.recv(65536):
                server.sendall(data)
        except OSError:
            pass
        self.end(client, server)

    def answers(self, server, client):
        data = b""
        try:
            while more := server.recv(65536):
                data += more
                while found := message(data):
                    data = data[len(found[0]):]
                    self.seen += found[1] == ENTRY
                    if self.limit is not None and self.seen > self.limit:
                        if self.hang:
                            return
                        self.end(client, server)
                    client.sendall(found[0])
        except OSError:
            pass
        self.end(client, server)

    def close(self):
        self.listener.close()
        self.end(*self.sockets)
        for s in self.sockets:
            s.close()


def uid(i):
    return f"p{i:03d}"


def members(group, turn=0):
    """Each person is in some groups, in others after a turn."""
    return [uid(i) for i in range(PEOPLE) if (i + group + turn) % 7 == 0]


@pytest.fixture(scope="module")
def many():
    made = Slapd([(uid(i), "p-Pass-1", f"{uid(i)}@example.net") for i in range(PEOPLE)], [(f"g{g:02d}", members(g)) for g in range(GROUPS)])
    yield made
    made.close()


@pytest.fixture
def relay(many):
    made = Relay(many)
    yield made
    made.close()


def stored(zone, ident):
    """Who is there, and how many members each group has, the last person apart."""
    return (zone.sql("SELECT login, gone_ms IS NULL FROM person WHERE source_id = ? ORDER BY login", ident),
            zone.sql("SELECT g.name, COUNT(*) FROM user_group g JOIN user_group_member m ON m.group_id = g.id JOIN person p ON p.id = m.person_id"
                     " WHERE g.source_id = ? AND p.login <> ? GROUP BY g.name ORDER BY g.name", ident, uid(PEOPLE - 1)))


def test_directory_that_goes_between_two_pages(zone, console, many, relay):
    """USR-07: cut or hanging among people, or among groups, a synchronisation marks nobody gone, takes no member away and says why; the next one
    reads to the end, and only then is somebody gone who is."""
    made = add(console, many, "Middle", tls="none", domains=["middle"], more={"port": relay.port, "timeout_s": 5})
    result = lambda: zone.sql("SELECT result FROM job WHERE unique_key = ?", f"ldap.sync:{made['id']}")[0][0] or ""  # noqa: E731
    try:
        harness.wait_for(lambda: wait_synced(zone, made["id"]).get("people") == PEOPLE)
        before = stored(zone, made["id"])
        assert all(there for _, there in before[0]) and {n for _, n in before[1]} == {99, 100} and len(before[1]) == GROUPS
        many.remove(uid(PEOPLE - 1))
        zone.log.expect("MDM0121")
        for limit, hang in ((600, False), (600, True), (PEOPLE + 24, False)):
            zone.sql("UPDATE job SET result = NULL WHERE unique_key = ?", f"ldap.sync:{made['id']}")
            relay.trouble(limit, hang)
            console.post(f"/sources/{made['id']}/sync")
            harness.wait_for(lambda: "error" in result())
            assert json.loads(result())["error"] and relay.seen > limit and stored(zone, made["id"]) == before
            relay.calm()
            harness.wait_for(lambda: login(zone, "p001@middle", "p-Pass-1") == 204)  # it is there again; the breaker may wait a moment
        console.post(f"/sources/{made['id']}/sync")
        harness.wait_for(lambda: "error" not in (result() or "error"))
        people, groups = stored(zone, made["id"])
        assert [name for name, there in people if not there] == [uid(PEOPLE - 1)] and groups == before[1]
    finally:
        many.add(Slapd.person_ldif(uid(PEOPLE - 1), "p-Pass-1"))
        drop(console, made["id"])


def test_log_ins_beside_a_synchronisation_of_groups_that_change(zone, console, many):
    """USR-07: log-ins and a synchronisation that store the same new memberships wait for each other for a moment; none fails, none locks the other out."""
    made = add(console, many, "Beside", tls="none", domains=["beside"])
    shift = lambda turn, groups: many.modify("\n\n".join(  # noqa: E731
        f"dn: cn=g{g:02d},ou=groups,dc=example,dc=org\nchangetype: modify\nreplace: member\n" + "\n".join(f"member: {many.dn(u)}" for u in members(g, turn))
        for g in groups) + "\n")

    def synced():
        state, result = zone.sql("SELECT state, result FROM job WHERE unique_key = ?", f"ldap.sync:{made['id']}")[0]
        return state == "waiting" and result and "error" not in result and json.loads(result)["people"] == PEOPLE
    try:
        wait_synced(zone, made["id"])
        with ThreadPoolExecutor(7) as pool:
            for turn in (1, 2):
                shift(turn, range(0, GROUPS, 2))
                console.post(f"/sources/{made['id']}/sync")
                changing = pool.submit(shift, turn, range(1, GROUPS, 2))
                assert set(pool.map(lambda i: login(zone, f"{uid(i)}@beside", "p-Pass-1"), range(0, PEOPLE, 12))) == {204}
                changing.result()
                harness.wait_for(synced)
        console.post(f"/sources/{made['id']}/sync")
        here = lambda: sorted(zone.sql("SELECT g.name, p.login FROM user_group_member m JOIN user_group g ON g.id = m.group_id JOIN person p"  # noqa: E731
                                       " ON p.id = m.person_id WHERE g.source_id = ?", made["id"]))
        harness.wait_for(lambda: here() == [(f"g{g:02d}", u) for g in range(GROUPS) for u in members(g, 2)])
    finally:
        shift(0, range(GROUPS))
        drop(console, made["id"])
