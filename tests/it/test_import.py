"""Migration in: devices of another server go on polling and notice nothing (IOS-13, R10, R12)."""
import base64
import datetime
import hashlib
import json
import plistlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import zonefiles as zf
from clients import Console, new_device, portal
from harness import PERSON, TOPIC, wait_for
from sim.device import Profile, Refused

# The tables that are read, with the columns and types of the product's published schema.
NANO = """
CREATE TABLE devices (id VARCHAR(255) PRIMARY KEY, identity_cert TEXT, serial_number VARCHAR(127), unlock_token TEXT,
    unlock_token_at TIMESTAMP, authenticate TEXT NOT NULL, authenticate_at TIMESTAMP NOT NULL, token_update TEXT,
    token_update_at TIMESTAMP, bootstrap_token_b64 TEXT, bootstrap_token_at TIMESTAMP, created_at TIMESTAMP DEFAULT now(),
    updated_at TIMESTAMP DEFAULT now());
CREATE TABLE users (id VARCHAR(255) PRIMARY KEY, device_id VARCHAR(255) NOT NULL REFERENCES devices (id), user_short_name VARCHAR(255));
CREATE TABLE enrollments (id VARCHAR(255) PRIMARY KEY, device_id VARCHAR(255) NOT NULL REFERENCES devices (id),
    user_id VARCHAR(255) REFERENCES users (id), type VARCHAR(31) NOT NULL, topic VARCHAR(255) NOT NULL, push_magic VARCHAR(127) NOT NULL,
    token_hex VARCHAR(255) NOT NULL, enabled BOOLEAN NOT NULL DEFAULT TRUE, token_update_tally INTEGER NOT NULL DEFAULT 1,
    last_seen_at TIMESTAMP NOT NULL, created_at TIMESTAMP DEFAULT now(), updated_at TIMESTAMP DEFAULT now());
CREATE TABLE cert_auth_associations (id VARCHAR(255) NOT NULL, sha256 CHAR(64) NOT NULL, created_at TIMESTAMP DEFAULT now(),
    updated_at TIMESTAMP DEFAULT now(), PRIMARY KEY (id, sha256));
"""


class ForeignAuthority:
    """The other server's CA, of which we know nothing."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody else's CA")])

    def identity(self):
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.utcnow()
        cert = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Device Identity")]))
                .issuer_name(self.name).public_key(key.public_key()).serial_number(7)  # unique is what only its own authority promises
                .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=300))
                .sign(self.key, hashes.SHA256()))
        return cert, key


@pytest.fixture(scope="module")
def foreign():
    return ForeignAuthority()


def managed_elsewhere(zone, foreign, signs=False, **options):
    """A device that another server enrolled; its DNS name leads to us now."""
    device = new_device(zone, **options)
    device.use_client_cert = not signs
    device.mdm = {"Topic": TOPIC, "ServerURL": f"{zone.public_url}/mdm", "SignMessage": signs, "CheckOutWhenRemoved": True}
    device.profile = Profile(plistlib.dumps({"PayloadType": "Configuration", "PayloadIdentifier": "elsewhere.mdm", "PayloadUUID": "1",
                                             "PayloadVersion": 1, "PayloadContent": [dict(device.mdm, PayloadType="com.apple.mdm",
                                                                                          PayloadUUID="2")]}))
    device.use_identity(*foreign.identity())
    device.enrolled = True
    return device


def sha(device):
    return device.cert.fingerprint(hashes.SHA256()).hex()


def pem(device):
    return device.cert.public_bytes(serialization.Encoding.PEM).decode()


def line(device, **changes):
    """What the documented file says of a device."""
    row = {"udid": device.udid, "topic": TOPIC, "push_magic": device.magic, "token": device.token.hex(), "certificates": [sha(device)],
           "unlock_token": base64.b64encode(device.unlock_token).decode(), "serial": device.serial, "product": device.product,
           "name": device.name, "os_version": device.os_version, "build": device.build}
    row.update(changes)
    return {k: v for k, v in row.items() if v is not None}


def run(zone, *args, stdin=None):
    """(exit code, standard output, standard error) of mdmctl import."""
    done = subprocess.run([str(zf.BUILD / "mdmctl"), "--db", zone.db_url, "--keys", str(zone.key_file), "import", *args], input=stdin,
                          capture_output=True, text=True, timeout=120)
    if zone.db_url.startswith("sqlite3:"):
        zf.give_away(zone.root / "db")
    return done.returncode, done.stdout, done.stderr


def jsonl(zone, *rows, dry=False):
    text = "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in rows)
    return run(zone, "jsonl", "-", *(["--dry-run"] if dry else []), stdin=text)


def shown(zone, device):
    """The device object as the API has it."""
    (ident,), = zone.sql("SELECT device_id FROM source_record WHERE native_id = ? AND live = 1", device.udid)
    return Console(zone).get(f"/devices/{ident}")


def known(device):
    """The poll of a device that its server has just learnt of: children remember a stranger until they hear of the change."""
    try:
        return device.poll() == []
    except Refused:
        return False


def works(zone, device):
    """Polls, takes a command, answers; then the command is done."""
    wait_for(lambda: known(device))
    found = shown(zone, device)
    assert found["state"] == "active" and found["mode"] == "ios_mdm"
    Console(zone).post(f"/devices/{found['id']}/refresh")
    assert ("DeviceInformation", "Acknowledged") in device.poll()
    device.token_update()
    return shown(zone, device)


@pytest.mark.parametrize("signs", [False, True], ids=["tls", "signature"])
def test_ios13_a_device_goes_on(zone, foreign, signs):
    """IOS-13: same token, foreign identity known by its hash alone, by TLS and by Mdm-Signature; nothing is asked of the device."""
    device = managed_elsewhere(zone, foreign, signs)
    with pytest.raises(Refused) as no:
        device.poll()
    assert no.value.status == 400
    code, out, err = jsonl(zone, line(device, login=PERSON))
    assert code == 0 and "1 added" in out and not err, err
    found = works(zone, device)
    assert found["person"]["login"] == PERSON and found["serial"] == device.serial
    assert zone.sql("SELECT push_ok, push_magic, push_token FROM source_record WHERE native_id = ?",
                    device.udid) == [(1, device.magic, device.token.hex())]


def test_ios13_the_unlock_token_is_kept(zone, foreign):
    """The passcode can be cleared with the token that the other server had got."""
    device = managed_elsewhere(zone, foreign)
    assert jsonl(zone, line(device))[0] == 0
    assert device.unlock_token.decode() not in str(zone.sql("SELECT * FROM source_record WHERE native_id = ?", device.udid))
    device.poll()
    status, _, got = Console(zone).call("POST", f"/devices/{shown(zone, device)['id']}/commands", {"request_type": "ClearPasscode"})
    assert status == 201, got
    device.poll()
    assert ("ClearPasscode", "Acknowledged") in device.handled and not device.passcode


def test_r12_a_foreign_identity_speaks_for_its_device_only(zone, foreign):
    """R10, R12: neither for another device, nor does another identity of the same authority speak for this one; a cloned hash is refused."""
    one, two = managed_elsewhere(zone, foreign), managed_elsewhere(zone, foreign)
    assert jsonl(zone, line(one), line(two))[0] == 0
    one.udid, kept = two.udid, one.udid
    for attempt in (one.poll, one.token_update):
        with pytest.raises(Refused) as no:
            attempt()
        assert no.value.status == 400
    one.udid = kept
    assert one.poll() == [] and two.poll() == []
    stranger = managed_elsewhere(zone, foreign, udid=one.udid)
    with pytest.raises(Refused) as no:
        stranger.poll()
    assert no.value.status == 400
    clone = managed_elsewhere(zone, foreign)
    code, out, err = jsonl(zone, line(clone, certificates=[sha(one)]))
    assert code == 1 and "1 refused" in out and "belongs to another device" in err
    assert zone.sql("SELECT count(*) FROM source_record WHERE native_id = ?", clone.udid) == [(0,)]


def test_ios13_again_changes_nothing(zone, foreign):
    """Idempotent: a second run finds all unchanged; a newer export is taken until the device has spoken to us, then ours is newer."""
    device = managed_elsewhere(zone, foreign)
    first = line(device, certificates=[pem(device)])
    assert "1 added" in jsonl(zone, first, dry=True)[1]
    assert zone.sql("SELECT count(*) FROM source_record WHERE native_id = ?", device.udid) == [(0,)]
    assert "1 added" in jsonl(zone, first)[1]
    state = "SELECT r.*, d.version FROM source_record r JOIN device d ON d.id = r.device_id WHERE r.native_id = ?"
    before = zone.sql(state, device.udid)
    assert "1 unchanged" in jsonl(zone, first)[1] and zone.sql(state, device.udid) == before
    older = managed_elsewhere(zone, foreign)
    assert "1 updated" in jsonl(zone, {**first, "push_magic": "another", "certificates": [pem(device), sha(older)]})[1]
    assert zone.sql("SELECT push_magic FROM source_record WHERE native_id = ?", device.udid) == [("another",)]
    assert device.poll() == []
    device.token_update()
    code, out, _ = jsonl(zone, {**first, "push_magic": "old again"})
    assert code == 0 and "1 kept" in out
    assert zone.sql("SELECT push_magic FROM source_record WHERE native_id = ?", device.udid) == [(device.magic,)]
    device.check_out()
    code, out, _ = jsonl(zone, first)
    assert code == 0 and "1 kept" in out, "what has left is not brought back by an old export"
    with pytest.raises(Refused):
        device.poll()
    assert zone.request("GET", "/scep/crl")[0] == 200  # with a foreign identity revoked


BAD = {
    "no JSON": ("{", ""), "not an object": ("[]", ""), "unknown field": ({"colour": "red"}, "colour"),
    "no id": ({"udid": None}, "udid"), "a user's channel": ({"udid": "A:B"}, "udid"), "no magic": ({"push_magic": None}, "push_magic"),
    "token": ({"token": "xyz"}, "token"), "long token": ({"token": "ab" * 300}, "token"), "unlock": ({"unlock_token": "%%"}, "unlock_token"),
    "no identity": ({"certificates": []}, "certificates"), "short hash": ({"certificates": ["abcd"]}, "certificates"),
    "bad PEM": ({"certificates": ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]}, "certificates"),
    "many identities": ({"certificates": ["ab" * 32] * 11}, "certificates"), "ownership": ({"ownership": "stolen"}, "ownership"),
    "identity is a number": ({"certificates": [5]}, "certificates"),
}


def test_ios13_bad_rows_stop_no_others(zone, foreign):
    """Each bad row is told with its line and field; those before and behind it are taken, and so is one without its person."""
    good = [managed_elsewhere(zone, foreign) for _ in range(3)]
    rows, told = [line(good[0], login="nobody-here")], []
    for change, field in BAD.values():
        rows.append(change if isinstance(change, str) else line(managed_elsewhere(zone, foreign), **change))
        told.append((len(rows), field))
    rows += [line(good[1]), line(good[1]), line(good[2], certificates=[sha(good[0])]), "", "x" * 600000,
             line(good[2], certificates=[":".join(sha(good[2])[i:i + 2].upper() for i in range(0, 64, 2))], name="\u202e" + "x" * 200)]
    code, out, err = jsonl(zone, *rows)
    lines = err.splitlines()
    assert code == 1 and f"3 added, 0 updated, 0 unchanged, 0 kept, {len(BAD) + 3} refused" in out, out + err
    for at, field in told:
        assert [x for x in lines if x.startswith(f"mdmctl: line {at}") and f"{field}" in x], (at, field, err)
    assert "there is nobody of the name nobody-here" in err and err.count("twice") == 2 and "longer than" in err
    for device in good:
        assert device.poll() == []


def test_ios13_what_is_here_wins(zone, foreign):
    """A device that we manage already, by another enrolment or the same id, is not touched by an import."""
    ours = new_device(zone)
    who = portal(zone)
    ours.enroll(who.absolute(who.enrollment()["profile"]))
    ours.poll()
    other = managed_elsewhere(zone, foreign, serial=ours.serial)
    code, out, err = jsonl(zone, line(other))
    assert code == 1 and "managed here by another enrolment" in err
    same = managed_elsewhere(zone, foreign, udid=ours.udid, serial=ours.serial)
    code, out, err = jsonl(zone, line(same))
    assert code == 0 and "1 kept" in out
    with pytest.raises(Refused):
        same.poll()
    assert ours.poll() == []


def test_ios13_many_rows_and_a_running_server(zone, foreign):
    """More than a batch, cut off in the middle and run again; names stay apart."""
    def row(n):
        return {"udid": f"MANY-{n:05}", "topic": "com.apple.mgmt.Other", "push_magic": f"m{n}", "token": f"{n:064x}", "name": "iPhone",
                "serial": f"S{n:05}", "certificates": [hashlib.sha256(str(n).encode()).hexdigest()]}
    assert "230 added" in jsonl(zone, *map(row, range(230)))[1]
    code, out, err = jsonl(zone, *map(row, range(700)))
    assert code == 0 and "470 added, 0 updated, 230 unchanged" in out, err
    assert "topic com.apple.mgmt.Other: 700, which can't be woken" in out
    assert zone.sql("SELECT count(*), count(DISTINCT d.name_key) FROM device d JOIN source_record r ON r.device_id = d.id"
                    " WHERE r.native_id LIKE 'MANY-%'") == [(700, 700)]
    assert zone.sql("SELECT count(*) FROM audit WHERE action = 'device.import' AND detail LIKE '%470%'") == [(1,)]


# ---------------------------------------------------------------- from a NanoMDM database

@pytest.fixture(scope="module")
def nano(factory):
    """Connection to an empty NanoMDM database; its .params are what mdmctl gets."""
    name = factory.pg.create()
    db = factory.pg.connect(name)
    db.cursor().execute(NANO)
    yield db, factory.pg.params(name)
    db.close()


def put(db, device, native=None, enabled=True, hashes_=None, authenticate=None, cert=True, kind="Device", udid=True):
    native = native or device.udid
    said = {"MessageType": "Authenticate", "SerialNumber": device.serial, "ProductName": device.product, "OSVersion": device.os_version,
            "BuildVersion": device.build, "DeviceName": device.name, "Topic": TOPIC, "IMEI": device.imei}
    said["UDID" if udid else "EnrollmentID"] = native
    first = plistlib.dumps({k: v for k, v in said.items() if v})
    token = plistlib.dumps({"MessageType": "TokenUpdate", "UDID": native, "Topic": TOPIC, "Token": device.token, "PushMagic": device.magic,
                            "UnlockToken": device.unlock_token})
    cur = db.cursor()
    cur.execute("INSERT INTO devices (id, identity_cert, serial_number, authenticate, authenticate_at, token_update, token_update_at,"
                " bootstrap_token_b64) VALUES (%s, %s, %s, %s, now(), %s, now(), %s)",
                (native, pem(device) if cert else None, device.serial, authenticate or first.decode(), token.decode(),
                 base64.b64encode(b"boot").decode()))
    cur.execute("INSERT INTO enrollments (id, device_id, type, topic, push_magic, token_hex, enabled, last_seen_at)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, now())", (native, native, kind, TOPIC, device.magic, device.token.hex(), enabled))
    for i, h in enumerate([sha(device)] if hashes_ is None else hashes_):
        cur.execute("INSERT INTO cert_auth_associations (id, sha256, updated_at) VALUES (%s, %s, now() - %s * interval '1 day')",
                    (native, h, i))


def test_ios13_from_a_nanomdm_database(zone, foreign, nano):
    """The product's own tables: devices by TLS and signature, user enrolment, switched-off ones, a broken message; again: unchanged."""
    db, params = nano
    db.cursor().execute("TRUNCATE devices, users, enrollments, cert_auth_associations CASCADE")
    tls, signing = managed_elsewhere(zone, foreign), managed_elsewhere(zone, foreign, signs=True)
    only_pem, gone, broken, unproved = (managed_elsewhere(zone, foreign) for _ in range(4))
    renewed = managed_elsewhere(zone, foreign)
    put(db, tls)
    put(db, signing, cert=False)
    put(db, only_pem, hashes_=[])
    put(db, gone, enabled=False)
    put(db, broken, authenticate="<?xml version='1.0'?><plist><dict>")
    put(db, unproved, hashes_=[], cert=False)
    put(db, renewed, hashes_=[sha(renewed), "ab" * 32])
    cur = db.cursor()
    cur.execute("INSERT INTO users (id, device_id, user_short_name) VALUES (%s, %s, 'anna')", (f"{tls.udid}:U", tls.udid))
    cur.execute("INSERT INTO enrollments (id, device_id, user_id, type, topic, push_magic, token_hex, last_seen_at)"
                " VALUES (%s, %s, %s, 'User', %s, 'x', 'ab', now())", (f"{tls.udid}:U", tls.udid, f"{tls.udid}:U", TOPIC))

    def rows():
        cur.execute("SELECT (SELECT count(*) FROM devices), (SELECT count(*) FROM enrollments), (SELECT max(updated_at) FROM devices)")
        return cur.fetchall()
    before = rows()
    assert "4 added" in run(zone, "nanomdm", params, "--dry-run")[1]
    code, out, err = run(zone, "nanomdm", params)
    assert code == 1 and "4 added, 0 updated, 0 unchanged, 0 kept, 2 refused" in out and "1 that the other server has switched off" in out
    assert broken.udid in err and "Authenticate" in err and unproved.udid in err and rows() == before
    assert "4 unchanged, 0 kept, 2 refused" in run(zone, "nanomdm", params)[1]
    for device in (tls, signing, only_pem, renewed):
        found = works(zone, device)
        assert found["serial"] == device.serial and found["product"] == device.product
    for device in (gone, broken, unproved):
        with pytest.raises(Refused):
            device.poll()
    assert zone.sql("SELECT count(*) FROM certificate c JOIN source_record r ON r.id = c.record_id WHERE r.native_id = ?",
                    renewed.udid) == [(2,)]
    wait_for(lambda: zone.sql("SELECT count(*) FROM device WHERE last_contact_ip <> '' AND udid IN (?, ?, ?, ?)", tls.udid, signing.udid,
                              only_pem.udid, renewed.udid) == [(4,)])
    assert "4 kept, 2 refused" in run(zone, "nanomdm", params)[1], "who has spoken to us is not touched by an old database"


def test_ios13_a_database_that_is_none(zone, nano):
    """Not there, or not NanoMDM's: told, nothing happens, exit 1."""
    code, out, err = run(zone, "nanomdm", "host=127.0.0.1 port=1 dbname=x connect_timeout=2")
    assert code == 1 and "the other database" in err and not out
    code, out, err = run(zone, "nanomdm", nano[1].rsplit("=", 1)[0] + "=postgres")
    assert code == 1 and "enrollments" in err and "Run it again" in err


def test_ios13_command_line(zone, tmp_path):
    """A file that is not there, words too many."""
    assert run(zone, "jsonl", str(tmp_path / "none"))[0] == 2
    assert run(zone, "jsonl")[0] == 2 and run(zone, "jsonl", "-", "more")[0] == 2 and run(zone, "nanomdm", "--dry")[0] == 2
