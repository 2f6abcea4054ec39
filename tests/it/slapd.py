"""A private OpenLDAP server on loopback, for tests of user sources."""
import datetime
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import zonefiles as zf

ROOT_DN, ROOT_PASSWORD = "cn=reader,dc=example,dc=org", "reader-Pass-1"
CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/dyngroup.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {root}/slapd.pid
TLSCACertificateFile {root}/ca.pem
TLSCertificateFile {root}/cert.pem
TLSCertificateKeyFile {root}/key.pem
sizelimit 100
database mdb
suffix "dc=example,dc=org"
rootdn "{dn}"
rootpw {password}
directory {root}/db
maxsize 2147483648
index objectClass,uid,mail,member eq
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


def _key():
    return ec.generate_private_key(ec.SECP256R1())


def _pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _certificate(name, key, issuer=None, signer=None, ca=False):
    now = datetime.datetime.utcnow()
    made = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject if issuer else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True))
    if not ca:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"),
                                                               x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
    return made.sign(signer or key, hashes.SHA256())


class Slapd:
    """dc=example,dc=org with ou=people and ou=groups; ldap (StartTLS) and ldaps on two ports."""

    def __init__(self, people=(), groups=()):
        self.root = Path(tempfile.mkdtemp(prefix="mdm-ldap-"))
        (self.root / "db").mkdir()
        self.port, self.tls_port = zf.free_port(), zf.free_port()
        self.process = None
        self.ca_key = _key()
        self.ca = _certificate("Directory CA", self.ca_key, ca=True)
        (self.root / "ca.pem").write_bytes(self.ca.public_bytes(serialization.Encoding.PEM))
        self.new_certificate()
        (self.root / "slapd.conf").write_text(CONF.format(root=self.root, dn=ROOT_DN, password=ROOT_PASSWORD))
        ldif = ["dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example",
                "dn: ou=people,dc=example,dc=org\nobjectClass: organizationalUnit\nou: people",
                "dn: ou=groups,dc=example,dc=org\nobjectClass: organizationalUnit\nou: groups"]
        ldif += [self.person_ldif(*p) for p in people] + [self.group_ldif(*g) for g in groups]
        self._run("slapadd", "-q", "-f", self.root / "slapd.conf", stdin="\n\n".join(ldif) + "\n")
        self.start()

    @staticmethod
    def dn(uid):
        return f"uid={uid},ou=people,dc=example,dc=org"

    @classmethod
    def person_ldif(cls, uid, password, mail=None, name=None):
        return (f"dn: {cls.dn(uid)}\nobjectClass: inetOrgPerson\nuid: {uid}\nsn: {uid}\ncn: {name or uid}\n"
                f"userPassword: {password}" + (f"\nmail: {mail}" if mail else ""))

    @classmethod
    def group_ldif(cls, name, members):
        return f"dn: cn={name},ou=groups,dc=example,dc=org\nobjectClass: groupOfNames\ncn: {name}" + \
            "".join(f"\nmember: {cls.dn(m)}" for m in members)

    def new_certificate(self):
        key = _key()
        self.cert = _certificate("localhost", key, self.ca, self.ca_key)
        self.sha256 = self.cert.fingerprint(hashes.SHA256()).hex()
        (self.root / "cert.pem").write_bytes(self.cert.public_bytes(serialization.Encoding.PEM))
        (self.root / "key.pem").write_bytes(_pem(key))

    @property
    def ca_pem(self):
        return (self.root / "ca.pem").read_text()

    @staticmethod
    def _run(*args, stdin=None):
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LDAPNOINIT": "1"}
        done = subprocess.run([str(a) for a in args], input=stdin, capture_output=True, text=True, env=env)
        assert done.returncode == 0, (args, done.stdout, done.stderr)

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/slapd", "-f", str(self.root / "slapd.conf"), "-d", "0", "-h",
                                         f"ldap://127.0.0.1:{self.port}/ ldaps://127.0.0.1:{self.tls_port}/"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"slapd did not start: {self.process.poll()}")

    def modify(self, ldif):
        self._run("ldapmodify", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ROOT_DN, "-w", ROOT_PASSWORD, stdin=ldif)

    def add(self, *ldifs):
        self._run("ldapadd", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ROOT_DN, "-w", ROOT_PASSWORD,
                  stdin="\n\n".join(ldifs) + "\n")

    def put_group(self, name, members):
        """The group as it should be, whether it was there or not."""
        subprocess.run(["ldapdelete", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ROOT_DN, "-w", ROOT_PASSWORD, f"cn={name},ou=groups,dc=example,dc=org"],
                       capture_output=True, env={"PATH": "/usr/bin:/bin", "LDAPNOINIT": "1"})
        self.add(self.group_ldif(name, members))

    def remove(self, uid):
        self._run("ldapdelete", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ROOT_DN, "-w", ROOT_PASSWORD, self.dn(uid))

    def freeze(self):
        """Answers nothing any more; on a busy machine its threads stop a while after the signal."""
        os.kill(self.process.pid, signal.SIGSTOP)
        state = lambda task: (task / "stat").read_text().rsplit(")", 1)[1].split()[0]  # noqa: E731
        end = time.monotonic() + 60
        while any(state(task) != "T" for task in Path(f"/proc/{self.process.pid}/task").iterdir()):
            assert time.monotonic() < end, "slapd does not stop"
            time.sleep(0.001)

    def thaw(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        if self.process:
            self.thaw()
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    def config(self, tls="ldaps", **more):
        """A source's config that points here; the host name is one that the certificate has."""
        return {"type": "openldap", "host": "127.0.0.1", "port": self.tls_port if tls == "ldaps" else self.port, "tls": tls,
                "root": "dc=example,dc=org", "bind_dn": ROOT_DN, "containers": ["ou=people,dc=example,dc=org"],
                "timeout_s": 15, **more}
