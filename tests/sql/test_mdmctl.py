"""mdmctl on both engines: migrations of two nodes at once, people, keys, settings, push certificate (issue 2 section 3)."""
import datetime
import os
import re
import subprocess
from pathlib import Path

import pytest
import zonefiles as zf

ROOT = Path(__file__).resolve().parents[2]
MDMCTL = zf.BUILD / "mdmctl"
NO_KEYS = {k: v for k, v in os.environ.items() if k not in ("MDM_DB", "MDM_KEYS")}


class Ctl:
    """mdmctl with a database and a key file."""

    def __init__(self, database, folder):
        self.database, self.keys = database, folder / "keys"
        self.new_key()

    def key_text(self):
        return subprocess.run([MDMCTL, "key", "new"], capture_output=True, text=True, check=True, env=NO_KEYS).stdout

    def new_key(self):
        old = self.keys.read_text() if self.keys.exists() else ""
        self.keys.write_text(self.key_text() + old)
        self.keys.chmod(0o600)

    def __call__(self, *args, stdin="", code=0):
        done = subprocess.run([MDMCTL, "--db", self.database, "--keys", self.keys, *args], input=stdin, capture_output=True,
                              text=True, timeout=60, env=NO_KEYS)
        assert done.returncode == code, done.stdout + done.stderr
        self.err = done.stderr
        return done.stdout

    def start(self, *args):
        return subprocess.Popen([MDMCTL, "--db", self.database, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                text=True, env=NO_KEYS)


@pytest.fixture
def ctl(database, tmp_path):
    return Ctl(database, tmp_path)


@pytest.fixture
def zone(ctl):
    ctl("migrate")
    return ctl


def test_several_nodes_migrate_at_once(ctl):
    """Section 3: each migration is applied once, whoever of them gets it."""
    nodes = [ctl.start("migrate") for _ in range(3)]
    texts = [p.communicate(timeout=60)[0] for p in nodes]
    assert [p.returncode for p in nodes] == [0, 0, 0], texts
    applied = [int(re.search(r"(\d+) migrations? applied", t)[1]) for t in texts]
    assert sum(applied) == len(list((ROOT / "sql" / "schema").glob("*.sql"))), texts
    assert "0 migrations applied" in ctl("migrate")


def test_commands_refuse_a_schema_that_does_not_fit(ctl):
    assert "run mdmctl migrate" in ctl("check", code=1)
    ctl("user", "list", code=1)
    assert "run mdmctl migrate" in ctl.err


def test_check_says_what_is_missing(zone):
    out = zone("check", code=1)
    assert "ca ensure" in out and "push-cert import" in out
    zone("ca", "ensure")
    zone("ca", "ensure")
    assert "MDM Device CA" in zone("check", code=1)


def test_people_and_administrators(zone):
    zone("user", "add", "anna", "--name", "Anna Ä", "--mail", "anna@example.org", "--password-stdin", stdin="correct horse 1\n")
    assert "Anna Ä\tanna@example.org\tLocal" in zone("user", "list")
    zone("user", "add", "ANNA", "--password-stdin", stdin="correct horse 1\n", code=1)
    zone("user", "password", "Anna", stdin="correct horse 2\n")
    zone("user", "password", "nobody", stdin="correct horse 2\n", code=1)
    zone("user", "add", "bert", stdin="", code=2)
    zone("admin", "add", "root", "--password-stdin", stdin="correct horse 3\n")
    zone("admin", "add", "root", "--external", code=1)
    zone("admin", "add", "proxy", "--external", "--role", "auditor")
    zone("admin", "add", "other", "--external", "--role", "nonsense", code=2)
    zone("admin", "password", "root", stdin="correct horse 4\n")
    assert "\tproxy\t\texternal\tauditor" in zone("admin", "list")
    assert zone("token", "add", "root", "ci", "--days", "2").startswith("mdm_")
    zone("token", "add", "root", "ci", "--days", "0", code=2)
    zone("token", "add", "nobody", "ci", code=1)
    zone("policy", "demo")
    zone("policy", "demo")


def test_people_by_csv(zone):
    """USR-06: titles in any order and way of writing; a wrong row is named by its line and stops nobody; the same file again doubles nobody."""
    text = "\ufeffE-Mail;User Name;Password;Name\r\ncleo@example.org;cleo;correct horse 1;\"Cleo; the first\"\r\n;dave;short;\r\n;cl@o;correct horse 1;\r\nx;cleo;correct horse 9;\n;=emma;correct horse 3;\n"
    out = zone("user", "import", "-", stdin=text, code=1)
    assert out.endswith("2 added, 3 left out\n"), out
    assert [x.split(":")[0] for x in zone.err.splitlines()] == ["line 3", "line 4", "line 5"] and "correct horse" not in zone.err + out
    listed = zone("user", "list")
    assert "\tcleo\tCleo; the first\tcleo@example.org\tLocal" in listed and "\t=emma\t" in listed and "dave" not in listed
    assert zone("user", "import", "-", stdin=text, code=1).endswith("0 added, 5 left out\n")
    zone("user", "import", "-", stdin="login,name\nfritz,Fritz\n", code=2)
    assert "assword" in zone.err and "fritz" not in zone("user", "list")
    zone("user", "import", "/none/such.csv", code=1)
    zone("user", "import", "-", stdin="", code=2)


def test_passwords_are_not_taken_from_the_command_line(zone):
    zone("user", "add", "anna", "--password", "secret word 1", stdin="x\n", code=2)
    assert "unknown option" in zone.err


@pytest.mark.parametrize("args", [[], ["nonsense"], ["user"], ["user", "add"], ["user", "add", "a", "b"], ["setting", "set", "x"],
                                  ["migrate", "--now"], ["token", "add", "x", "y", "--days"]])
def test_wrong_command_lines_exit_2(zone, args):
    zone(*args, stdin="password 12345\n", code=2)


def test_settings(zone):
    zone("setting", "set", "a.b", '{"x": [1, "ä"]}')
    assert zone("setting", "get", "a.b") == '{"x":[1,"ä"]}\n'
    zone("setting", "set", "a.b", "-", stdin='"secret"', code=0)
    zone("setting", "set", "a.b", "{", code=2)
    zone("setting", "get", "none", code=1)


def test_rotation_of_the_sealing_key(zone):
    zone("ca", "ensure")
    zone("setting", "set", "secret", '"s"', "--secret")
    assert "everything is sealed under the newest key" in zone("key", "check")
    zone.new_key()
    assert "4 under key" in zone("key", "check")
    assert "4 sealed anew, 0 failed" in zone("reseal")
    assert "0 sealed anew, 0 failed" in zone("reseal")
    lines = [line for line in zone.keys.read_text().splitlines() if not line.startswith("#")]
    zone.keys.write_text(lines[0] + "\n")
    assert zone("setting", "get", "secret") == '"s"\n'
    # the key is gone: said, counted, nothing else stops
    zone.keys.write_text(zone.key_text())
    assert "0 sealed anew, 4 failed" in zone("reseal", code=1)
    assert "4 under key" in zone("key", "check")


def test_every_sealed_column_has_its_way_back(zone):
    """SEC-04: what the code seals for a column is found by mdmctl reseal."""
    code = "\n".join(p.read_text() for p in (ROOT / "modules").rglob("*.[ch]") if p.parent.name != "ctl")
    listed = (ROOT / "modules" / "ctl" / "ctl_keys.c").read_text()
    tables = re.findall(r"^CREATE TABLE (\w+)", "\n".join(p.read_text() for p in (ROOT / "sql" / "schema").glob("*.sql")), re.M)
    sealed = {m for m in re.findall(r'"(\w+\.\w+):', code) if m.split(".")[0] in tables}
    assert {"user_source.secret", "ca.private_key"} <= sealed and not [m for m in sealed if f'"{m}"' not in listed], sealed


def test_key_file_that_others_can_read_is_refused(zone):
    zone.keys.chmod(0o644)
    zone("ca", "ensure", code=1)


def push_certificate(folder, uid="com.apple.mgmt.External.1", days=(-1, 365), name="push"):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, "APSP:1")]
    if uid:
        subject.insert(0, x509.NameAttribute(x509.NameOID.USER_ID, uid))
    now = datetime.datetime.utcnow()
    cert = (x509.CertificateBuilder().subject_name(x509.Name(subject)).issuer_name(x509.Name(subject))
            .public_key(key.public_key()).serial_number(1).not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1])).sign(key, hashes.SHA256()))
    crt, pem = folder / f"{name}.crt", folder / f"{name}.key"
    crt.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption()))
    return crt, pem


def test_push_certificate(zone, tmp_path):
    crt, key = push_certificate(tmp_path)
    assert "com.apple.mgmt.External.1" in zone("push-cert", "import", crt, key)
    assert zone("setting", "get", "apns.topic") == '"com.apple.mgmt.External.1"\n'
    assert "BEGIN PRIVATE KEY" in zone("setting", "get", "apns.key")
    assert "com.apple.mgmt.External.1, valid until" in zone("check", code=1)
    # renewed with the same topic: taken; with another one: only if asked for, since no device could be reached any more
    zone("push-cert", "import", *push_certificate(tmp_path, name="renewed"))
    other = push_certificate(tmp_path, uid="com.apple.mgmt.External.2", name="other")
    zone("push-cert", "import", *other, code=1)
    assert "--new-topic" in zone.err
    zone("push-cert", "import", *other, "--new-topic")


@pytest.mark.parametrize("fault", ["no uid", "other uid", "expired", "not yet", "wrong key", "no certificate", "no key", "no file"])
def test_bad_push_certificates(zone, tmp_path, fault):
    crt, key = {"no uid": lambda: push_certificate(tmp_path, uid=None),
                "other uid": lambda: push_certificate(tmp_path, uid="com.example.app"),
                "expired": lambda: push_certificate(tmp_path, days=(-20, -1)),
                "not yet": lambda: push_certificate(tmp_path, days=(2, 300))}.get(fault, lambda: push_certificate(tmp_path))()
    if fault == "wrong key":
        key = push_certificate(tmp_path, name="second")[1]
    elif fault == "no certificate":
        crt.write_text("hello\n")
    elif fault == "no key":
        key = crt
    elif fault == "no file":
        key.unlink()
    done = subprocess.run([MDMCTL, "--db", zone.database, "--keys", zone.keys, "push-cert", "import", crt, key],
                          capture_output=True, text=True, env=NO_KEYS)
    assert done.returncode in (1, 2) and "mdmctl: " in done.stderr
    zone("setting", "get", "apns.certificate", code=1)
