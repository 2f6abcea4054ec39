"""What a private zone consists of on disk: TLS material, sealing key, httpd configuration, the call to mdmctl.

Shared by the test harness (tests/it), the runner (tests/run) and the benchmarks, so that a newcomer's zone and a tested
zone are the same thing.
"""
import base64
import datetime
import functools
import ipaddress
import itertools
import os
import pwd
import random
import shutil
import socket
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MDM_BUILD") or ROOT / ".build").resolve()
HTTPD_MODULES = Path(os.environ.get("MDM_HTTPD_MODULES", "/usr/lib/apache2/modules"))
MIME_TYPES = "/etc/mime.types" if os.path.exists("/etc/mime.types") else "/etc/apache2/mime.types"

LOADED = [
    "mpm_event", "unixd", "authz_core", "authn_core", "auth_basic", "authn_file", "authz_user", "authz_host", "alias",
    "mime", "dir", "ssl", "socache_shmcb", "dbd", "watchdog", "headers", "log_config", "status", "unique_id",
    "remoteip", "env", "setenvif", "reqtimeout", "proxy", "proxy_http",
]
BUILT_IN = {"unixd", "log_config", "watchdog", "so", "unique_id"}  # compiled in on Debian, some of them
OURS = [("mdm_module", "mod_mdm"), ("mdm_enroll_module", "mod_mdm_enroll"), ("mdm_ios_module", "mod_mdm_ios"),
        ("mdm_admin_module", "mod_mdm_admin"), ("mdm_access_module", "mod_mdm_access"),
        ("mdm_eas_module", "mod_mdm_eas")]


def httpd_binary():
    for name in ("apache2", "httpd"):
        found = shutil.which(name) or (f"/usr/sbin/{name}" if os.path.exists(f"/usr/sbin/{name}") else None)
        if found:
            return found
    raise RuntimeError("no httpd found: install the package apache2")


def drop_user():
    """The unprivileged user that children run as when we are root, else None."""
    if os.geteuid() != 0:
        return None
    for name in ("www-data", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no unprivileged user for the server's children")


def give_away(path):
    """Makes a tree writable by the children."""
    user = drop_user()
    if not user:
        return
    for base, dirs, files in os.walk(path):
        os.chown(base, user.pw_uid, user.pw_gid)
        for name in files:
            os.chown(os.path.join(base, name), user.pw_uid, user.pw_gid, follow_symlinks=False)


PORTS, STRETCH = range(16000, 32000), 1000  # below the range that outgoing connections use


def bound(port):
    """A socket at this port, or None."""
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind(("127.0.0.1", port))
        return s
    except OSError:
        s.close()
        return None


@functools.cache
def own_ports():
    """(what keeps them, ports): a stretch that no other test process takes from, as long as this one holds its first port. The first free one of
    all, if all are taken."""
    starts = list(PORTS[::STRETCH])
    random.shuffle(starts)
    for start in starts:
        s = socket.socket()  # without SO_REUSEADDR: for one process alone
        try:
            s.bind(("127.0.0.1", start))
            return s, itertools.cycle(range(start + 1, start + STRETCH))
        except OSError:
            s.close()
    return None, itertools.cycle(random.sample(PORTS, len(PORTS)))


def free_port():
    """A port on loopback; the same one again only when all others of this process have had their turn."""
    for port in itertools.islice(own_ports()[1], len(PORTS)):
        if s := bound(port):
            s.close()
            return port
    raise RuntimeError("no free port")


# ---- TLS ------------------------------------------------------------------------------------------------------------
def _name(cn):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


def _pem_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def write_secret(path, data):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as f:
        f.write(data)


def make_key(path):
    """A sealing key file: "<id> <base64 of 32 bytes>", readable by its owner only."""
    if not Path(path).exists():
        write_secret(path, f"k1 {base64.b64encode(os.urandom(32)).decode()}\n".encode())


def make_ca(cn="Test TLS CA", days=3650):
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow() - datetime.timedelta(days=1)
    cert = (x509.CertificateBuilder().subject_name(_name(cn)).issuer_name(_name(cn)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now)
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256()))
    return cert, key


def issue(ca, ca_key, cn, dns=(), ips=(), client=False, days=800, uid=None):
    """A leaf certificate (P-256) of ca."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow() - datetime.timedelta(hours=1)
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, cn)]
    if uid:
        subject.insert(0, x509.NameAttribute(NameOID.USER_ID, uid))
    builder = (x509.CertificateBuilder().subject_name(x509.Name(subject)).issuer_name(ca.subject)
               .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now)
               .not_valid_after(now + datetime.timedelta(days=days))
               .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
               .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH if client
                                                     else ExtendedKeyUsageOID.SERVER_AUTH]), critical=False))
    names = [x509.DNSName(d) for d in dns] + [x509.IPAddress(ipaddress.ip_address(i)) for i in ips]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(ca_key, hashes.SHA256()), key


def make_tls(folder, cn="mod_mdm local TLS CA", names=()):
    """ca.pem, ca.key, server.pem, server.key in folder; what is there stays."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "server.pem").exists():
        return folder
    host = socket.gethostname()
    ca, ca_key = make_ca(cn)
    dns = list(dict.fromkeys(["localhost", *(x for x in (host, *names) if x)]))
    cert, key = issue(ca, ca_key, "localhost", dns=dns, ips=["127.0.0.1", "::1"])
    pem = serialization.Encoding.PEM
    write_secret(folder / "ca.key", _pem_key(ca_key))
    write_secret(folder / "server.key", _pem_key(key))
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(cert.public_bytes(pem))
    return folder


def load_ca(folder):
    folder = Path(folder)
    cert = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    return cert, serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)


# ---- httpd configuration --------------------------------------------------------------------------------------------
def _load_lines():
    static = subprocess.run([httpd_binary(), "-l"], capture_output=True, text=True).stdout
    lines = []
    for name in LOADED:
        if f"mod_{name}.c" in static:
            continue
        path = HTTPD_MODULES / f"mod_{name}.so"
        if path.exists():
            lines.append(f"LoadModule {name}_module {path}")
        elif name not in BUILT_IN:
            raise RuntimeError(f"httpd module {path} is missing")
    return lines


def split_db(url):
    """'sqlite3:/path' or 'pgsql:host=… dbname=…' -> (driver, parameters)."""
    driver, _, params = url.partition(":")
    if driver not in ("sqlite3", "pgsql") or not params:
        raise ValueError("database must be given as sqlite3:/path or pgsql:host=… dbname=…")
    if driver == "pgsql" and "connect_timeout" not in params:
        params += " connect_timeout=1"
    return driver, params


def render(zone):
    """httpd.conf of a zone. zone: an object with the attributes used below (see Zone in tests/it/harness.py)."""
    user = drop_user()
    driver, params = split_db(zone.db_url)
    out = [f'ServerRoot "{zone.root}"', f"ServerName {zone.host}:{zone.device_port}", *_load_lines()]
    if zone.modules:
        out += [f"LoadModule {ident} {zone.module_dir}/{name}.so" for ident, name in OURS]
    if user:
        out += [f"User #{user.pw_uid}", f"Group #{user.pw_gid}"]
    out += [f"""
PidFile "{zone.root}/run/httpd.pid"
Mutex sem
DefaultRuntimeDir "{zone.root}/run"
CoreDumpDirectory "{zone.root}/run"
ErrorLog "{zone.root}/logs/error.log"
LogLevel {zone.log_level}
LogFormat "%h %t \\"%m %U %H\\" %>s %b" short
CustomLog "{zone.root}/logs/access.log" short
TypesConfig {MIME_TYPES}
ServerTokens Prod
ServerSignature Off
TraceEnable Off
Timeout 30
KeepAlive On
KeepAliveTimeout 60
MaxKeepAliveRequests 0
LimitRequestLine 16380
StartServers {zone.children}
ServerLimit {max(zone.children, 4)}
ThreadsPerChild {zone.threads}
MaxRequestWorkers {max(zone.children, 4) * zone.threads}
MinSpareThreads {(zone.children - 1) * zone.threads + 1}
MaxSpareThreads {max(zone.children, 4) * zone.threads}
<IfModule mpm_event_module>
AsyncRequestWorkerFactor 1000
</IfModule>
MaxMemFree 8
GracefulShutdownTimeout 5
RequestReadTimeout handshake=20 header=20-40,MinRate=500 body=20,MinRate=500
Listen {zone.address}:{zone.device_port}
Listen {zone.address}:{zone.admin_port}
SSLSessionCache "shmcb:{zone.root}/run/ssl_scache(2048000)"
SSLProtocol -all +TLSv1.2 +TLSv1.3
SSLRandomSeed startup builtin
DocumentRoot "{zone.htdocs}"
DirectoryIndex index.html
<Directory "/">
    AllowOverride None
    Require all denied
</Directory>
<Directory "{zone.htdocs}">
    Require all granted
</Directory>
<Directory "{zone.ui_dir}">
    Require all granted
</Directory>
"""]
    if zone.modules:
        out += [f"""
DBDriver {driver}
DBDParams "{params}"
DBDMin 1
DBDKeep 10
DBDMax 10
DBDExptime 300
MDMKeyFile "{zone.key_file}"
MDMCacheSize {zone.cache_size}
MDMPublicURL {zone.public_url}
MDMTrustAnchors "{zone.tls_dir}/ca.pem"
MDMOutboundCAFile "{zone.tls_dir}/ca.pem"
MDMOutboundLocal On
MDMPortalFiles "{zone.ui_dir}/portal"
MDMAdminFiles "{zone.ui_dir}/admin"
"""]
    out += [zone.extra_main]
    device = admin = ""
    if zone.modules:
        device = f"""
    <Location "/mdm">
        SetHandler mdm-device
        MDMAccess endpoint deny=503
    </Location>
    <Location "/scep">
        SetHandler mdm-scep
        MDMAccess endpoint deny=503
    </Location>
    <Location "/MDMServiceConfig">
        SetHandler mdm-service
        MDMAccess endpoint
    </Location>
    <Location "/.well-known/com.apple.remotemanagement">
        SetHandler mdm-account
        MDMAccess endpoint
    </Location>
    <Location "/enroll">
        SetHandler mdm-enroll
        MDMAccess endpoint
    </Location>
    <Location "/portal">
        MDMPortal On
        MDMAccess endpoint
        SetHandler mdm-portal
    </Location>
    TimeOut 3700
    KeepAliveTimeout 60
    ProxyTimeout 3600
    SSLProxyEngine On
    SSLProxyVerify require
    SSLProxyCACertificateFile "{zone.tls_dir}/ca.pem"
    <LocationMatch "(?i)^(/Microsoft-Server-ActiveSync(/|/default\\.eas)?$|/autodiscover/autodiscover\\.(xml|json))">
        MDMEas On
        MDMAccess endpoint deny=503
    </LocationMatch>"""
        admin = """
    <Location "/admin">
        SetHandler mdm-admin
        MDMAdmin On
        MDMAccess admin
        AuthType MDM
        AuthName "mod_mdm"
        MDMLogin /admin/login
        Require valid-user
    </Location>
    <Location "/admin/login">
        Require all granted
    </Location>"""
    tls = f"""
    SSLEngine On
    SSLCertificateFile "{zone.tls_dir}/server.pem"
    SSLCertificateKeyFile "{zone.tls_dir}/server.key\""""
    out += [f"""
<VirtualHost *:{zone.device_port}>
    ServerName {zone.host}:{zone.device_port}{tls}
    SSLVerifyClient optional_no_ca
    SSLVerifyDepth 3
{device}
{zone.extra_device}
</VirtualHost>
<VirtualHost *:{zone.admin_port}>
    ServerName {zone.host}:{zone.admin_port}{tls}
{admin}
{zone.extra_admin}
</VirtualHost>
"""]
    return "\n".join(out)


# ---- mdmctl ---------------------------------------------------------------------------------------------------------
class CtlError(RuntimeError):
    pass


def mdmctl(zone, *args, stdin=None, check=True, binary=None):
    """Runs mdmctl for a zone; returns its standard output. Secrets go through stdin."""
    cmd = [str(binary or BUILD / "mdmctl"), "--db", zone.db_url, "--keys", str(zone.key_file), *args]
    env = dict(os.environ)
    if os.environ.get("MDM_SANITIZE") == "1":
        env.setdefault("ASAN_OPTIONS", "detect_leaks=0")
    done = subprocess.run(cmd, input=stdin, capture_output=True, text=True, timeout=120, env=env)
    if check and done.returncode:
        raise CtlError(f"{' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
