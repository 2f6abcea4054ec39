"""Who is it: resumed TLS sessions, SCEP proofs, log-ins that tell nothing, sessions that end (R11, R13, R14, R15, R21, R35, R48, SEC-02,
SEC-07); clocks that step (IOS-06)."""
import base64
import datetime
import http.client
import json
import mmap
import plistlib
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID

import harness
from clients import Console, enrolled, new_device, portal
from sim import der, scep
from sim.device import CONNECT_TYPE, Profile, Refused

ROOT = Path(__file__).resolve().parents[2]
SAME = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
OTHER_VHOST = """
</VirtualHost>
<VirtualHost *:{port}>
    ServerName other.localhost:{port}
    SSLEngine On
    SSLCertificateFile "{tls}/server.pem"
    SSLCertificateKeyFile "{tls}/server.key"
    SSLVerifyClient none
    <Location "/mdm">
        SetHandler mdm-device
    </Location>"""


@pytest.fixture(scope="module")
def zone(factory, db):
    """With a second name on the device address that asks for no certificates."""
    made = factory.zone(db)
    made.extra_device = OTHER_VHOST.format(port=made.device_port, tls=made.tls_dir)
    made.start()
    yield made
    made.close()


def add_person(zone, login):
    zone.ctl("user", "add", login, "--name", login.title(), "--mail", f"{login}@example.org", "--password-stdin",
             stdin=harness.PERSON_PASSWORD + "\n", check=False)


# ---- R13
def poll_over(zone, device, ctx, sni, host, session=None):
    """(status, session, resumed) of one Idle on a new connection."""
    with ctx.wrap_socket(socket.create_connection((zone.address, zone.device_port), timeout=60), server_hostname=sni, session=session) as s:
        body = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
        s.sendall(f"PUT /mdm HTTP/1.1\r\nHost: {host}:{zone.device_port}\r\nContent-Type: {CONNECT_TYPE}\r\nConnection: close\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        data = b""
        while chunk := s.recv(65536):
            data += chunk
        return int(data.split(b" ", 2)[1]), s.session, s.session_reused


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_r13_a_resumed_session_carries_no_identity_elsewhere(zone, version):
    """R13: a ticket from the vhost that has seen the certificate is of no use at one that has not, nor is its name."""
    device = enrolled(zone)
    zone.log.expect("AH02032")  # httpd refuses the other name
    ctx = zone.ssl_context(f"{device.files}/identity.pem")
    ctx.check_hostname = False
    ctx.minimum_version = ctx.maximum_version = version
    status, session, _ = poll_over(zone, device, ctx, "localhost", "localhost")
    assert status == 200 and session is not None
    assert poll_over(zone, device, ctx, "localhost", "localhost", session)[::2] == (200, True), "the control: resumption works"
    for host in ("other.localhost", "localhost"):
        status = poll_over(zone, device, ctx, "other.localhost", host, session)[0]
        assert status in (400, 421), (host, status)
    status, session, _ = poll_over(zone, device, ctx, "other.localhost", "other.localhost")
    assert status == 400
    assert poll_over(zone, device, ctx, "localhost", "localhost", session)[0] == 200, "a full handshake with the certificate"


# ---- R14, SEC-02
def open_enrolment(zone, login=harness.PERSON):
    """(SCEP payload, client, RA certificate) of a fresh profile; the pending entry of an earlier test is cancelled."""
    who, device = portal(zone, login), new_device(zone)
    for entry in who.call("GET", "/api/v1/enrollments")[1]["enrollments"]:
        who.call("DELETE", f"/api/v1/enrollments/{entry['id']}")
    payload = Profile(device.open_link(who.absolute(who.enrollment()["profile"]))).identity()
    client = scep.Client(payload["URL"], device.http.fetch)
    return payload, client, client.ca_certs()[0]


KEYS = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(4)]  # made once: they are slow


def ask(payload, n=0, **changed):
    """A request as the profile wants it, with one of the keys."""
    return scep.Request(payload["Subject"], changed.get("challenge", payload["Challenge"]), key=changed.get("key", KEYS[n]))


def remade(request, challenge, name=None, extensions=()):
    """The request with another CSR over the same key."""
    csr = x509.CertificateSigningRequestBuilder().subject_name(name or request.name)
    for value, critical in extensions:
        csr = csr.add_extension(value, critical)
    request.csr = csr.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode()).sign(request.key, hashes.SHA256())
    return request


@pytest.mark.san
def test_r14_the_server_sets_the_subject(zone):
    """R14: another name, other names, CA:TRUE and foreign usages in the request come to nothing in the certificate."""
    payload, client, ra = open_enrolment(zone)
    request = ask(payload)
    evil = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "admin"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Evil")])
    remade(request, payload["Challenge"], evil, [
        (x509.BasicConstraints(True, None), True), (x509.KeyUsage(*[True] * 7, False, False), True),
        (x509.SubjectAlternativeName([x509.DNSName("mdm.example.org"), x509.RFC822Name("boss@example.org")]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING]), False)])
    cert = request.answer(client.pki(request.message(ra)), ra)
    assert cert.subject == scep.subject_name(payload["Subject"])
    kinds = {e.oid._name: e.value for e in cert.extensions}
    assert kinds["basicConstraints"].ca is False and "subjectAltName" not in kinds
    assert not kinds["keyUsage"].key_cert_sign and not kinds["keyUsage"].crl_sign
    assert set(kinds["extendedKeyUsage"]) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    life = cert.not_valid_after - cert.not_valid_before
    assert datetime.timedelta(days=1800) < life < datetime.timedelta(days=1900)


def weak(payload):
    return ask(payload, key=rsa.generate_private_key(public_exponent=65537, key_size=1024))


def exponent(payload):
    return ask(payload, key=rsa.generate_private_key(public_exponent=3, key_size=2048))


def no_challenge(payload):
    return ask(payload, challenge=None)


def long_challenge(payload):
    return ask(payload, challenge=payload["Challenge"] + "x" * 200)


def cut_challenge(payload):
    return ask(payload, challenge=payload["Challenge"][:-1])


def other_key_signed(payload):
    """The CSR's own signature is by another key: no proof of possession."""
    request, other = ask(payload), ask(payload, 1)
    whole = der.Node(der.cert_der(request.csr))
    signed = der.tlv(der.SEQ, whole[0].raw, whole[1].raw, der.Node(der.cert_der(other.csr))[2].raw)
    request.csr = type("Csr", (), {"public_bytes": lambda self, encoding: signed})()
    return request


@pytest.mark.parametrize("make", [weak, exponent, no_challenge, long_challenge, cut_challenge, other_key_signed], ids=lambda f: f.__name__)
def test_r14_bad_requests_are_refused_and_cost_nothing(zone, make):
    """R14: no certificate for it; its owner can still use the challenge afterwards, once."""
    payload, client, ra = open_enrolment(zone)
    before = zone.sql("SELECT COUNT(*) FROM certificate")
    bad = make(payload)
    with pytest.raises(scep.ScepError) as no:
        bad.answer(client.pki(bad.message(ra)), ra)
    assert no.value.fail == "2" or (make is exponent and no.value.status == 400)  # its message is not even CMS of ours
    assert zone.sql("SELECT COUNT(*) FROM certificate") == before
    good = ask(payload)
    good.answer(client.pki(good.message(ra)), ra)
    with pytest.raises(scep.ScepError):
        again = ask(payload, 1)
        again.answer(client.pki(again.message(ra)), ra)


@pytest.mark.san
def test_r14_operations_and_types_that_are_not_offered(zone):
    """R14: GetCert, GetCRL and polls; a single-DES envelope; broken messages by GET and POST."""
    payload, client, ra = open_enrolment(zone)
    request = ask(payload)
    for kind in ("20", "21", "22", "3", "99", ""):
        try:
            request.answer(client.pki(request.message(ra, message_type=kind or "0")), ra)
            raise AssertionError(f"message type {kind} was answered with a certificate")
        except scep.ScepError as no:
            assert no.status in (200, 400) and (no.status == 400 or no.fail)
    with pytest.raises(scep.ScepError) as no:
        request.answer(client.pki(request.message(ra, cipher="des")), ra)
    assert no.value.fail in ("0", "1", "2")
    whole = request.message(ra)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x55
    for broken in (whole[:-9], whole + b"\0", bytes(flipped)):
        for get in (False, True):
            with pytest.raises((scep.ScepError, der.DerError)):
                request.answer(client.pki(broken, get), ra)
    assert request.answer(client.pki(whole, get=True), ra)


def test_r14_who_enrols_many_is_not_throttled(lone):
    """SEC-07: an office enrols from one address; what succeeds never counts as a try gone wrong."""
    for _ in range(24):
        payload, client, ra = open_enrolment(lone)
        request = ask(payload)
        assert request.answer(client.pki(request.message(ra)), ra)


def test_r14_two_at_once_one_wins(zone):
    """R14, SEC-02: one challenge, four keys at the same moment: exactly one certificate."""
    for _ in range(2):
        payload, client, ra = open_enrolment(zone)
        requests = [ask(payload, n) for n in range(4)]
        gate = threading.Barrier(len(requests))

        def run(request):
            own = new_device(zone)
            mine = scep.Client(payload["URL"], own.http.fetch)
            message = request.message(ra)
            mine.caps()  # connected before the start
            gate.wait()
            try:
                return request.answer(mine.pki(message), ra)
            except scep.ScepError as no:
                assert no.fail == "2"
                return None
        with ThreadPoolExecutor(len(requests)) as pool:
            won = [c for c in pool.map(run, requests) if c]
        assert len(won) == 1
        hash_of = won[0].fingerprint(hashes.SHA256()).hex()
        assert zone.sql("SELECT COUNT(*) FROM certificate WHERE pending_id ="
                        " (SELECT pending_id FROM certificate WHERE fingerprint = ?)", hash_of) == [(1,)]


def test_r14_an_old_identity_renews_nothing(zone):
    """R14: a renewal by an identity that left, or with a challenge that was made for an enrolment."""
    old = enrolled(zone)
    payload, client, ra = open_enrolment(zone)
    for state in ("in use", "revoked"):
        request = ask(payload)
        request.renew_with(old.cert, old.key)
        for kind in ("17", "19"):
            with pytest.raises(scep.ScepError) as no:
                request.answer(client.pki(request.message(ra, message_type=kind)), ra)
            assert no.value.fail == "2", state
        old.check_out()


def test_r48_the_devices_clock_does_not_matter(zone):
    """R48: a phone that thinks it is 1999 or 2049 gets its identity."""
    for year in (1999, 2049):
        payload, client, ra = open_enrolment(zone)
        request = ask(payload)
        begin = datetime.datetime(year, 1, 1)
        request.own = (x509.CertificateBuilder().subject_name(request.name).issuer_name(request.name).public_key(request.key.public_key())
                       .serial_number(7).not_valid_before(begin).not_valid_after(begin + datetime.timedelta(days=1))
                       .sign(request.key, hashes.SHA256()))
        request.signer = request.own
        cert = request.answer(client.pki(request.message(ra)), ra)
        assert abs(cert.not_valid_before - datetime.datetime.utcnow()) < datetime.timedelta(days=3)


# ---- R15
def test_r15_links_of_those_who_may_not(zone):
    """R15, R35: a used link, and the open link of a person who was disabled: 403, nothing of the organisation in it."""
    add_person(zone, "uwe")
    who, console = portal(zone, "uwe"), Console(zone)
    used, open_ = who.enrollment(), who.enrollment()
    new_device(zone).enroll(who.absolute(used["profile"]))
    ident = zone.sql("SELECT id FROM person WHERE login = ?", "uwe")[0][0]
    _, head, _ = console.call("GET", f"/people/{ident}")
    assert console.call("PATCH", f"/people/{ident}", {"disabled": True}, **{"If-Match": head["ETag"]})[0] == 200
    assert who.call("GET", "/api/v1/me")[0] == 401, "R35: the session ended"
    for path in (used["path"], open_["path"]):
        for tail in ("", "/profile.mobileconfig", "/trust.mobileconfig", "/qr.svg"):
            status, _, body = zone.request("GET", path + tail)
            assert status == 403 and b"Uwe" not in body and harness.TOPIC.encode() not in body, (path, tail)
    assert portal_status(zone, "uwe", harness.PERSON_PASSWORD) == 401


def portal_status(zone, login, password, **headers):
    return zone.request("POST", "/portal/api/v1/session", json.dumps({"login": login, "password": password}), {**SAME, **headers})[0]


# ---- SEC-07, R35
def cookie_of(headers):
    return headers.get_all("Set-Cookie")[-1]


def session_ms(name):
    text = (ROOT / "modules/core/domain/mdm_session.h").read_text()
    return eval(re.search(rf"#define {name} \(?([\d* L]+)", text)[1].replace("LL", "").replace("L", ""))


def sides(zone):
    """(log in, ask who I am) of console and portal."""
    def admin_in(cookie=None):
        return zone.request("POST", "/admin/login", f"login={harness.ADMIN_USER}&password={harness.ADMIN_PASSWORD}",
                            {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded",
                             **({"Cookie": cookie} if cookie else {})}, admin=True)[1]

    def portal_in(cookie=None):
        return zone.request("POST", "/portal/api/v1/session",
                            json.dumps({"login": harness.PERSON, "password": harness.PERSON_PASSWORD}),
                            {**SAME, **({"Cookie": cookie} if cookie else {})})[1]
    yield "admin", admin_in, lambda c: zone.request("GET", "/admin/api/v1/me", headers={"Cookie": c}, admin=True)[0]
    yield "portal", portal_in, lambda c: zone.request("GET", "/portal/api/v1/me", headers={"Cookie": c})[0]


def test_sec07_cookies_and_their_end(zone):
    """SEC-07: flags; a new session at each log-in, never the client's; idle and absolute ends."""
    idle = session_ms("MDM_SESSION_IDLE_MS")
    for kind, log_in, me in sides(zone):
        whole = cookie_of(log_in())
        flags = {f.strip().lower() for f in whole.split(";")[1:]}
        assert whole.startswith("__Host-") and {"secure", "httponly", "samesite=strict", "path=/"} <= flags
        assert not any(f.startswith("domain") for f in flags)
        cookie = whole.split(";")[0]
        chosen = f"__Host-mdm_{kind}=" + "A" * 43
        again, planted = cookie_of(log_in(cookie)).split(";")[0], cookie_of(log_in(chosen)).split(";")[0]
        assert len({cookie, again, planted, chosen}) == 4 and len(cookie.split("=")[1]) >= 43
        assert me(cookie) == me(again) == 200 and me(chosen) == 401
        assert zone.sql("SELECT COUNT(*) FROM session WHERE token_hash = ?", cookie.split("=")[1]) == [(0,)], "hashed only"
        now = int(time.time() * 1000)
        zone.sql("UPDATE session SET used_ms = ? WHERE kind = ?", now - idle + 300000, kind)
        assert me(cookie) == 200
        zone.sql("UPDATE session SET used_ms = ? WHERE kind = ?", now - idle - 1000, kind)
        assert me(cookie) == me(again) == 401
        fresh = cookie_of(log_in()).split(";")[0]
        assert me(fresh) == 200
        zone.sql("UPDATE session SET expires_ms = ? WHERE kind = ?", now - 1, kind)
        assert me(fresh) == 401


def test_r35_sessions_end_with_the_password(zone):
    """R35: a person's password set by an administrator, an administrator disabled or with another role."""
    add_person(zone, "vera")
    who, console = portal(zone, "vera"), Console(zone)
    ident = zone.sql("SELECT id FROM person WHERE login = ?", "vera")[0][0]
    assert who.call("GET", "/api/v1/me")[0] == 200
    assert console.call("PUT", f"/people/{ident}/password", {"password": "another-Pass-2"})[0] == 204
    assert who.call("GET", "/api/v1/me")[0] == 401
    assert portal_status(zone, "vera", harness.PERSON_PASSWORD) == 401 and portal_status(zone, "vera", "another-Pass-2") == 204
    zone.ctl("admin", "add", "second", "--role", "super_admin", "--password-stdin", stdin=harness.ADMIN_PASSWORD + "\n", check=False)
    second = Console(zone, "second")
    assert second.call("GET", "/people")[0] == 200
    zone.sql("UPDATE admin SET role_id = (SELECT id FROM role WHERE name = 'help_desk') WHERE login = 'second'")
    assert second.call("POST", "/people", {"login": "x", "name": "x", "password": "Correct-horse-9"})[0] == 403
    zone.sql("UPDATE admin SET disabled = 1 WHERE login = 'second'")
    assert second.call("GET", "/me")[0] == 401
    assert Console(zone, None).login("second", harness.ADMIN_PASSWORD)[0] == 401


# ---- throttle (USR-10, R11, SEC-07): the database has no part in it
@pytest.fixture(scope="module")
def lone(factory):
    made = factory.zone("sqlite3", children=1).start()
    yield made
    made.close()


def try_from(zone, address, login, password="wrong-Pass", **headers):
    """Status of a portal log-in from a loopback address of one's own."""
    conn = http.client.HTTPSConnection("localhost", zone.device_port, timeout=harness.PATIENCE, context=zone.ssl_context(), source_address=(address, 0))
    try:
        conn.request("POST", "/portal/api/v1/session", json.dumps({"login": login, "password": password}), {**SAME, **headers})
        return conn.getresponse().status
    finally:
        conn.close()


def test_usr10_one_account_in_many_spellings(lone):
    """USR-10: blanks, case and domain make no new account of a name; everybody's tries count, from wherever."""
    lone.sql("INSERT INTO user_domain (domain, source_id) SELECT 'local', id FROM user_source")
    assert [try_from(lone, f"127.0.5.{i}", name) for i, name in enumerate(("x\\anna", "Anna\t"), 1)] == [401] * 2  # nobody: not anna
    spellings = ["anna", " ANNA", "local\\anna", "Local\\  anna ", "anna@local", "local\\ anna", "ANNA"]
    seen = [try_from(lone, f"127.0.1.{i}", name) for i, name in enumerate(spellings, 1)]
    assert seen[:5] == [401] * 5 and set(seen[5:]) == {429}, seen
    assert try_from(lone, "127.0.1.99", "anna", harness.PERSON_PASSWORD) == 429


def test_usr10_a_typed_address_blocks_nobody(lone):
    """USR-10: log-ins that look like an address don't count against the address."""
    add_person(lone, "wim")
    for i in range(24):
        try_from(lone, f"127.0.2.{i + 1}", "127.0.3.9")
    assert try_from(lone, "127.0.3.9", "wim", harness.PERSON_PASSWORD) == 204


def test_r11_forwarded_headers_give_no_new_address(lone):
    """R11: rotating X-Forwarded-For and its like does not reset the count of an address."""
    names = ("X-Forwarded-For", "X-Real-IP", "True-Client-IP", "Forwarded", "Client-IP")
    seen = [try_from(lone, "127.0.4.1", f"nobody{i}", **{n: f"10.0.0.{i}" for n in names}) for i in range(22)]
    assert seen[:20] == [401] * 20 and seen[-1] == 429, seen


# ---- R21 and expired identities: a library in front of libc counts hashes and moves the clock
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static struct shared { long hashes, shift; } none, *m = &none;
__attribute__((constructor)) static void begin(void)
{
    int fd = open(getenv("MDM_TEST_SHIM"), O_RDWR);
    void *p = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p != MAP_FAILED)
        m = p;
    close(fd);
}
int EVP_PBE_scrypt(const char *pass, size_t plen, const unsigned char *salt, size_t slen, uint64_t n, uint64_t r, uint64_t p,
                   uint64_t mem, unsigned char *key, size_t klen)
{
    int (*real)() = dlsym(RTLD_NEXT, "EVP_PBE_scrypt");
    __atomic_add_fetch(&m->hashes, 1, __ATOMIC_SEQ_CST);
    return real(pass, plen, salt, slen, n, r, p, mem, key, klen);
}
int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*real)(clockid_t, struct timespec *);
    int rc;
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    rc = real(id, t);
    if (id == CLOCK_REALTIME)
        t->tv_sec += m->shift;
    return rc;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
int pthread_cond_timedwait(pthread_cond_t *restrict c, pthread_mutex_t *restrict l, const struct timespec *restrict until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec t, now;
    int rc;
    if (!real)
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    for (;;) { /* as the kernel does: until the time of day is reached, wherever it is set meanwhile */
        clock_gettime(CLOCK_REALTIME, &now);
        if (now.tv_sec > until->tv_sec || (now.tv_sec == until->tv_sec && now.tv_nsec >= until->tv_nsec))
            return ETIMEDOUT;
        t = now;
        t.tv_sec -= m->shift;
        t.tv_nsec += 50000000;
        t.tv_sec += t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        rc = real(c, l, &t);
        if (rc != ETIMEDOUT)
            return rc;
    }
}
"""


@pytest.fixture(scope="module")
def shimmed(factory):
    made = factory.zone("sqlite3", children=1)
    source, library, shared = made.root / "shim.c", made.root / "shim.so", made.root / "shared"
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-w", "-o", library, source, "-ldl"], check=True)
    shared.write_bytes(bytes(16))
    shared.chmod(0o666)
    plain = made.environment

    def environment():
        env = plain()
        env["LD_PRELOAD"] = " ".join(filter(None, [env.get("LD_PRELOAD"), str(library)]))
        env["MDM_TEST_SHIM"] = str(shared)
        return env
    made.environment = environment
    made.start()
    with open(shared, "r+b") as f:
        made.shared = mmap.mmap(f.fileno(), 16)
        yield made
        made.shared.close()
    made.close()


def hashes_of(zone):
    return struct.unpack_from("l", zone.shared, 0)[0]


def test_r21_same_answer_and_same_work(shimmed):
    """R21: unknown, wrong, disabled, gone, locked out of no matter what: status, headers, body and hash operations are the same."""
    zone = shimmed
    add_person(zone, "off")
    zone.sql("UPDATE person SET disabled = 1 WHERE login = 'off'")
    add_person(zone, "gone")
    zone.sql("UPDATE person SET gone_ms = 1 WHERE login = 'gone'")
    add_person(zone, "bare")
    zone.sql("UPDATE person SET password = NULL WHERE login = 'bare'")
    zone.ctl("admin", "add", "offadmin", "--role", "super_admin", "--password-stdin", stdin=harness.ADMIN_PASSWORD + "\n")
    zone.sql("UPDATE admin SET disabled = 1 WHERE login = 'offadmin'")

    def clean(headers, body):
        return sorted((k, v) for k, v in headers.items() if k not in ("Date",)), re.sub(rb'"instance":"[^"]+"', b"", body)
    right = harness.PERSON_PASSWORD
    answers = {"api": set(), "page": set(), "admin": set()}
    for login, password in ((harness.PERSON, "wrong"), ("nobody", "wrong"), ("off", right), ("gone", right), ("bare", "x"), ("a\\b\\c", "x"),
                            ("nobody@example.org", "x"), ("off@example.org", right), (harness.PERSON, "x" * 2000), ("y" * 300, "x")):
        before = hashes_of(zone)
        status, head, body = zone.request("POST", "/portal/api/v1/session", json.dumps({"login": login, "password": password}), SAME)
        answers["api"].add((status, str(clean(head, body)), hashes_of(zone) - before))
    for login, password in ((harness.ADMIN_USER, "wrong"), ("nobody", "wrong"), ("offadmin", harness.ADMIN_PASSWORD), ("", "x"), ("z" * 150, "x")):
        before = hashes_of(zone)
        status, head, body = zone.request("POST", "/admin/login", f"login={login}&password={password}", admin=True, headers={
            "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"})
        answers["admin"].add((status, str(clean(head, body)), hashes_of(zone) - before))
    assert {len(answers["api"]), len(answers["admin"])} == {1}, answers
    assert answers["api"].pop()[::2] == (401, 1) and answers["admin"].pop()[::2] == (401, 1)


def test_r10_expired_identity(shimmed):
    """R10: five years on, the certificate ends the handshake, and a signature by it is refused: 400."""
    zone = shimmed
    zone.log.expect("AH02039")  # httpd says that it has expired
    device = enrolled(zone)
    idle = plistlib.dumps({"UDID": device.udid, "Status": "Idle"})
    signed = base64.b64encode(pkcs7.PKCS7SignatureBuilder().set_data(idle).add_signer(device.cert, device.key, hashes.SHA256())
                              .sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])).decode()
    headers = {"Content-Type": CONNECT_TYPE}
    assert zone.request("PUT", "/mdm", idle, {**headers, "Mdm-Signature": signed})[0] == 200
    try:
        struct.pack_into("l", zone.shared, 8, 5 * 366 * 86400)
        assert zone.request("PUT", "/mdm", idle, {**headers, "Mdm-Signature": signed})[0] == 400
        assert zone.log.has("has expired")
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            zone.request("PUT", "/mdm", idle, headers, cert=f"{device.files}/identity.pem")
    finally:
        struct.pack_into("l", zone.shared, 8, 0)
    assert zone.request("PUT", "/mdm", idle, {**headers, "Mdm-Signature": signed})[0] == 200


def test_ios06_helpers_of_the_authority_are_renewed(shimmed):
    """IOS-06: ten years on the SCEP helper ends soon: the job makes a new one, servers that know the old one read again, and a phone
    enrols with it."""
    zone = shimmed
    own = new_device(zone)

    def helper():
        return scep.Client(f"{zone.public_url}/scep", own.http.fetch).ca_certs()
    before = helper()
    zone.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'identity.renew'")
    harness.wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'identity.renew' AND state = 'waiting' AND run_at_ms > 0"))
    assert helper() == before, "not before its time"
    try:
        struct.pack_into("l", zone.shared, 8, 3650 * 86400 - 100 * 86400)
        harness.wait_for(lambda: helper() != before)
        ra, ca = helper()
        assert ca == before[1] and ra.issuer == ca.subject and zone.log.has("new ra certificate")
        payload, client, ra = open_enrolment(zone)
        request = ask(payload)
        assert request.answer(client.pki(request.message(ra)), ra) and ra != before[0]
    finally:
        struct.pack_into("l", zone.shared, 8, 0)


@pytest.mark.parametrize("first,then", [(86400, 0), (0, 86400), (0, -86400)], ids=["back", "on", "behind"])
def test_ios06_a_clock_that_steps_by_a_day(shimmed, first, then):
    """IOS-06, DEV-15: asked for at one time and renewed a day before or after it by the server's clock; the queue goes on as well."""
    zone = shimmed
    try:
        struct.pack_into("l", zone.shared, 8, first)
        device, console = enrolled(zone), Console(zone)
        old = device.cert
        ident = console.device(device.udid)["id"]
        zone.sql("UPDATE certificate SET renew_ms = 1 WHERE fingerprint = ?", old.fingerprint(hashes.SHA256()).hex())

        def asked():
            zone.sql("UPDATE job SET run_at_ms = 0 WHERE kind = 'identity.renew' AND state = 'waiting'")
            return zone.sql("SELECT 1 FROM command WHERE device_id = ? AND coalesce_key = 'identity.renew'", ident)
        harness.wait_for(asked)
        struct.pack_into("l", zone.shared, 8, then)
        console = Console(zone)
        console.post(f"/devices/{ident}/refresh")
        answered = {}  # what was queued a day ahead comes forward when the change of the clock is noticed
        harness.wait_for(lambda: answered.update(device.poll()) or {"InstallProfile", "DeviceInformation"} <= set(answered))
        assert answered["InstallProfile"] == "Acknowledged" and answered["DeviceInformation"] == "Acknowledged", answered
        assert device.cert.serial_number != old.serial_number and device.poll() == []
        assert zone.sql("SELECT status FROM certificate WHERE fingerprint = ?",
                        device.cert.fingerprint(hashes.SHA256()).hex()) == [("active",)]
    finally:
        struct.pack_into("l", zone.shared, 8, 0)


def test_r48_a_clock_that_goes_back_stops_nothing(shimmed):
    """R48, DEV-15: what was planned while the clock was a day ahead comes forward with it, and idle threads work on though nobody wakes them."""
    zone = shimmed
    day, hour = 86400 * 1000, 3600 * 1000
    try:
        struct.pack_into("l", zone.shared, 8, 86400)
        device = enrolled(zone)
        console = Console(zone)
        console.post(f"/devices/{console.device(device.udid)['id']}/refresh")
        first = device.connect(Status="Idle")
        zone.sql("DELETE FROM push")
        while first:
            first = device.connect(Status="NotNow", CommandUUID=first["CommandUUID"])
        due = "SELECT p.due_ms FROM push p JOIN source_record r ON r.id = p.record_id WHERE r.native_id = ?"
        planned = zone.sql(due, device.udid)[0][0]
        assert planned > time.time() * 1000 + day
        refresh = ("SELECT refresh_due_ms FROM device WHERE id = ?", console.device(device.udid)["id"])
        assert zone.sql(*refresh)[0][0] > time.time() * 1000 + day
        waiting = harness.wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'core.prune' AND state = 'waiting' AND run_at_ms > ?",
                                                    int(time.time() * 1000 + day)))
        assert waiting
        zone.sql("UPDATE device SET last_contact_ms = 0")
        device.connect(Status="Idle")
        assert harness.wait_for(lambda: zone.sql("SELECT 1 FROM device WHERE last_contact_ms > 0")), "the steward has seen the clock as it is"
        struct.pack_into("l", zone.shared, 8, 0)
        harness.wait_for(lambda: zone.log.has("MDM0224"))
        harness.wait_for(lambda: zone.sql(due, device.udid)[0][0] <= time.time() * 1000 + hour)  # what is logged is done behind that
        harness.wait_for(lambda: zone.sql(*refresh)[0][0] <= time.time() * 1000 + 2 * hour)
        harness.wait_for(lambda: zone.sql("SELECT kind FROM job WHERE state = 'waiting' AND run_at_ms > ?", int(time.time() * 1000 + day + hour)) == [])
        zone.run_soon("core.prune")
        harness.wait_for(lambda: zone.sql("SELECT 1 FROM job WHERE kind = 'core.prune' AND state = 'waiting' AND run_at_ms > 1"))
    finally:
        struct.pack_into("l", zone.shared, 8, 0)
