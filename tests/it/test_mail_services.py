"""What the mail gate builds on: log-ins of mail clients from shared memory, devices by (person, DeviceId), and what both may answer
while the database is away (USR-09, USR-10, GATE-01, GATE-04, R17). Asked through a small module that only tests load."""
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import clients
import harness
import seed
import zonefiles as zf
from harness import wait_for

PROBE = zf.BUILD / "tests" / "mod_probe.so"
LOCATIONS = """
    <Location "/probe">
        SetHandler probe
    </Location>
    <Location "/core-status">
        SetHandler mdm-status
    </Location>"""
ZONE = {"children": 2, "extra_main": f"LoadModule probe_module {PROBE}", "extra_device": LOCATIONS}
HOUR = 3600 * 1000
ANNA, PASSWORD = harness.PERSON, harness.PERSON_PASSWORD
AWAY = ("MDM0081", "MDM0100", "MDM0210", "AH00629", "AH00639", "AH02655", "AH00636", "AH00632", "MDM0080", "MDM0703")


@pytest.fixture(scope="module", autouse=True)
def probe():
    subprocess.run(["make", "-f", "apxs.mk", f"BUILD={zf.BUILD}", str(PROBE)], cwd=zf.ROOT, check=True, capture_output=True)


@pytest.fixture
def mail(fresh_zone):
    """A zone of one child: its clock can be set ahead by a request."""
    return fresh_zone(**{**ZONE, "children": 1})


def ask(zone, ahead=0, **headers):
    code, _, body = zone.request("GET", "/probe", headers={**{k.replace("_", "-"): v for k, v in headers.items()},
                                                           "X-Ahead-Ms": str(ahead)})
    return code, json.loads(body)


def login(zone, name=ANNA, password=PASSWORD, ahead=0, address="127.0.0.1"):
    return ask(zone, ahead, X_Login=name, X_Password=password, X_Address=address)


def figures(zone):
    return json.loads(zone.request("GET", "/core-status")[2])


def checked(zone):
    return figures(zone)["mail_logins_checked"]


def test_a_verified_login_is_asked_once_in_five_minutes(mail):
    """USR-09: the source is asked again after the time, not before; the answer says who it is."""
    code, who = login(mail)
    assert code == 200 and (who["login"], who["mail"]) == (ANNA, "anna@example.org")
    assert who["person"] == seed.person_id(mail, ANNA) and who["source"]
    for name in (ANNA, "anna@example.org"):
        assert login(mail, name)[1]["person"] == who["person"]
    assert [login(mail)[0] for _ in range(5)] == [200] * 5 and checked(mail) == 2
    assert login(mail, ahead=299_000)[0] == 200 and checked(mail) == 2
    assert login(mail, ahead=301_000)[0] == 200 and checked(mail) == 3


@pytest.mark.parametrize("name,password", [(ANNA, ""), ("\\", "x"), (ANNA, "wrong"), ("nobody", PASSWORD), ("*", "x"),
                                           ("anna@unknown.example", PASSWORD), ("x" * 4000, "y" * 2000), ("a\\b\\c", "x")],
                         ids=["empty", "blank", "wrong", "nobody", "star", "domain", "long", "slashes"])
def test_wrong_and_hostile_logins(zone, name, password):
    """USR-09, SEC-05: refused as wrong, never as our trouble; nothing of anybody is told."""
    code, who = ask(zone, X_Login=name, X_Password=password)
    assert code == 401 and who["person"] == who["login"] == who["mail"] == ""


def test_one_wrong_password_counts_once(mail):
    """USR-09, USR-10: a phone with an old password asks several times at once; a refusal is remembered for ten seconds."""
    for turn in range(3):  # the ten seconds may be over before a slow machine has asked; five wrong ones are too many
        before = checked(mail)
        with ThreadPoolExecutor(8) as pool:
            codes = [c for c, _ in pool.map(lambda _: login(mail, password=f"old-Pass-{turn}"), range(16))]
        assert codes == [401] * 16
        if checked(mail) == before + 1:
            break
    before += 1
    assert checked(mail) == before and login(mail)[0] == 200
    assert login(mail, password=f"old-Pass-{turn}", ahead=11_000)[0] == 401 and checked(mail) == before + 2


def test_parallel_requests_ask_once(zone):
    """USR-09: all children together verify one log-in once."""
    begun = checked(zone)
    with ThreadPoolExecutor(12) as pool:
        codes = [c for c, _ in pool.map(lambda _: login(zone), range(36))]
    assert codes == [200] * 36 and checked(zone) == begun + 1


def portal(zone, name, password):
    return zone.request("POST", "/portal/api/v1/session", json.dumps({"login": name, "password": password}),
                        {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"})[0]


def test_guesses_are_throttled_in_every_spelling_but_a_known_phone_is_not(fresh_zone):
    """USR-10: one account, however it is written and wherever it is tried; what was right a while ago is asked in spite of it."""
    zone = fresh_zone(**{**ZONE, "children": 1})
    assert login(zone)[0] == 200
    names = [ANNA, "ANNA", " anna", "anna@example.org", "Anna"]
    assert [login(zone, n, f"guess-{i}", address=f"192.0.2.{i}")[0] for i, n in enumerate(names)] == [401] * 5
    code, body = login(zone, password="guess-9", address="192.0.2.9")
    assert code == 429 and 0 < body["retry_after"] <= 900
    assert portal(zone, ANNA, PASSWORD) == portal(zone, "anna@example.org", PASSWORD) == 429
    assert login(zone)[0] == 200                                # from memory
    assert login(zone, ahead=301_000, address="192.0.2.9")[0] == 200  # asked again; it was right, so the count is over
    assert portal(zone, ANNA, PASSWORD) == 204


def test_same_name_in_another_source_is_another_account(fresh_zone):
    """USR-10: guesses at anna of one source do not keep out anna of the other."""
    zone = fresh_zone(**{**ZONE, "children": 1})
    source, person = "a" * 8 + "-0000-4000-8000-000000000001", "a" * 8 + "-0000-4000-8000-000000000002"
    zone.sql("INSERT INTO user_source (id, name, kind, position, simple, created_ms) VALUES (?, 'Other', 'local', 2, 0, 1)", source)
    zone.sql("INSERT INTO user_domain (domain, source_id) VALUES ('other', ?)", source)
    zone.sql("INSERT INTO person (id, source_id, login, login_key, name, password, created_ms) "
             "SELECT ?, ?, login, login_key, name, password, 1 FROM person WHERE login = ?", person, source, ANNA)
    assert [login(zone, "other\\anna", f"guess-{i}")[0] for i in range(5)] == [401] * 5
    assert login(zone, "anna@OTHER", PASSWORD)[0] == 429
    assert login(zone, ANNA)[1]["person"] == seed.person_id(zone, ANNA) != person
    assert portal(zone, ANNA, PASSWORD) == 204


def test_too_many_guesses_of_one_time_passwords(zone, console):
    """PEN-04, R20, facts 8.2: ten a minute from an address or an IPv6 /64; 1,000 from all together: then everybody waits, and administrators know."""
    def noted(*words):
        return json.loads(zone.request("GET", "/probe", headers={"X-Throttle": " ".join(words)})[2])

    def guess(address):
        status, headers, _ = zone.request("POST", "/enroll/" + "B" * 32, "otp=12345678", {"Content-Type": "application/x-www-form-urlencoded",
                                                                                          "Sec-Fetch-Site": "same-origin"}, source=address)
        return status, int(headers["Retry-After"] or 0)

    assert noted("otp", "2001:db8::1", "9", "2001:db8::ffff:1") == [0, 0]
    waits = noted("otp", "2001:db8::ffff:1", "1", "2001:db8:0:1::1")
    assert 0 < waits[0] <= 60 and waits[1] == 0 and noted("otp", "2001:db8::1", "0", "2001:db8::2")[1] > 0
    assert noted("otp", "*", "999", "127.8.2.1") == [0, 0] and guess("127.8.2.1") == (303, 0)
    status, wait = guess("127.8.2.2")
    assert status == 429 and 0 < wait <= 60
    zone.log.expect("MDM0619")
    rows = [m for m in console.get("/messages")["items"] if m["code"] == "otp.guessing"]
    assert len(rows) == 1 and rows[0]["severity"] == 3 and "1,000" in rows[0]["text"]


def test_an_address_that_guesses_has_to_wait(mail):
    """USR-10: many names from one address."""
    codes = [login(mail, f"name{i}", "guess", address="192.0.2.1")[0] for i in range(25)]
    assert codes[:20] == [401] * 20 and codes[-1] == 429
    assert login(mail, address="192.0.2.2")[0] == 200


def test_changed_password_and_disabled_person_are_obeyed(zone):
    """USR-09, R35: in this process at once; made by another (mdmctl) within a second."""
    zone.ctl("user", "add", "berta", "--name", "Berta", "--mail", "berta@example.org", "--password-stdin", stdin="first-Pass-1\n")
    assert login(zone, "berta", "first-Pass-1")[0] == 200 and login(zone, "berta", "second-Pass-2")[0] == 401
    zone.ctl("user", "password", "berta", "--password-stdin", stdin="second-Pass-2\n")
    wait_for(lambda: login(zone, "berta", "first-Pass-1")[0] == 401)
    assert login(zone, "berta", "second-Pass-2")[0] == 200
    console = clients.Console(zone)
    person = console.get("/people?q=berta")["items"][0]
    _, headers, _ = console.call("GET", f"/people/{person['id']}")
    assert console.call("PATCH", f"/people/{person['id']}", {"disabled": True}, If_Match=headers["ETag"])[0] == 200
    assert [login(zone, "berta", "second-Pass-2")[0] for _ in range(6)] == [401] * 6


@pytest.fixture
def phones(mail):
    """Anna's phone and, with the same DeviceId, another person's."""
    anna = seed.person_id(mail, ANNA)
    mail.ctl("user", "add", "berta", "--name", "Berta", "--password-stdin", stdin="first-Pass-1\n")
    berta = seed.person_id(mail, "berta")
    found = {}
    for who, state in ((anna, "active"), (berta, "pending")):
        found[who] = seed.device(mail, "phone " + who[:4], who, mode="eas", state=state, last_contact_ms=None)
        seed.record(mail, found[who], kind="eas", native_id="DEV1", person_id=who)
    return anna, berta, found


def device(zone, person, device_id="DEV1", ahead=0):
    return ask(zone, ahead, X_Person=person, X_Device=device_id)


def test_device_by_person_and_device_id(mail, phones):
    """GATE-01, GATE-05, R17: never by DeviceId alone; cached; a change is obeyed; contacts are written behind."""
    anna, berta, found = phones
    assert device(mail, anna) == (200, {"kind": 3, "state": 2, "device": found[anna]})
    assert device(mail, berta) == (200, {"kind": 3, "state": 1, "device": found[berta]})
    assert device(mail, anna, "DEV2")[0] == 404 and device(mail, "nobody")[0] == 404 and device(mail, anna, "x" * 3000)[0] == 404
    before = figures(mail)["cache_hits"]
    assert [device(mail, anna)[0] for _ in range(20)] == [200] * 20 and figures(mail)["cache_hits"] >= before + 20
    console = clients.Console(mail)
    console.post(f"/devices/{found[anna]}/retire", {"reason": "test"})
    assert device(mail, anna)[1]["state"] != 2 and device(mail, berta)[0] == 200

    def written():
        """mail's contact time, and for what only mail knows also the device's"""
        rows = mail.sql("SELECT last_eas_ms, last_contact_ms, last_contact_ip FROM device WHERE id = ?", found[berta])
        return rows[0][0] and rows[0][0] == rows[0][1] and rows[0][2] == "127.0.0.1"
    wait_for(written)


def test_known_mail_goes_on_while_the_database_is_away(factory):
    """GATE-04: a log-in and a device that were good within four hours; everybody else is told to come again."""
    zone = factory.zone("pgsql", fails=True, **{**ZONE, "children": 1}).start()
    zone.log.expect(*AWAY)
    for each in harness.ZONES:  # others use the same cluster
        each.log.expect(*AWAY)
    try:
        anna = seed.person_id(zone, ANNA)
        seed.record(zone, seed.device(zone, "phone", anna, mode="eas"), kind="eas", native_id="DEV1", person_id=anna)
        assert login(zone)[0] == 200 and device(zone, anna)[0] == 200
        assert login(zone, password="wrong")[0] == 401
        factory.pg.freeze()
        try:
            wait_for(lambda: figures(zone)["db_away"])
            for ahead in (0, 3 * HOUR):
                assert login(zone, ahead=ahead)[0] == 200 and device(zone, anna, ahead=ahead)[0] == 200, ahead
            assert login(zone, ahead=5 * HOUR)[0] == 503 and device(zone, anna, ahead=5 * HOUR)[0] == 503
            assert device(zone, anna, "DEV2")[0] == 503 and login(zone, "berta", "x")[0] == 503
            assert login(zone, password="wrong", ahead=11_000)[0] == 503  # wrong a while ago is not wrong for ever
            assert figures(zone)["mail_logins_stale"] == 1
        finally:
            factory.pg.thaw()
        wait_for(lambda: not figures(zone)["db_away"])
        assert device(zone, anna, "DEV2")[0] == 404 and login(zone, ahead=301_000)[0] == 200
    finally:
        zone.close()
