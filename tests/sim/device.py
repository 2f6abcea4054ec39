"""A simulated iPhone or iPad: Apple's device side of MDM as facts/apple.md describes it."""
import base64
import datetime
import hashlib
import http.client
import json
import os
import plistlib
import random
import re
import socket
import ssl
import tempfile
import urllib.parse
import uuid

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from . import der, scep

CHECKIN_TYPE = "application/x-apple-aspen-mdm-checkin"
CONNECT_TYPE = "application/x-apple-aspen-mdm; charset=UTF-8"
PROFILE_TYPE = "application/x-apple-aspen-config"
MODELS = [  # product, model name, marketing name, capacity, OS, build
    ("iPhone14,5", "MLPF3", "iPhone 13", 128.0, "17.6.1", "21G93"),
    ("iPhone15,4", "MTP43", "iPhone 15", 256.0, "18.1", "22B83"),
    ("iPhone12,8", "MX9T2", "iPhone SE", 64.0, "17.5.1", "21F90"),
    ("iPad13,18", "MPQ13", "iPad (10th generation)", 64.0, "18.1", "22B83"),
    ("iPad14,3", "MNXF3", "iPad Pro 11-inch", 512.0, "17.6.1", "21G93"),
]
APPS = [("com.example.mail", "Post", "4.2", 41), ("com.example.notes", "Notes+", "1.8.3", 12),
        ("com.example.trains", "Trains", "22.1", 88), ("com.example.scanner", "Scanner", "3.0", 25)]


class ProfileError(ValueError):
    pass


class Refused(RuntimeError):
    def __init__(self, what, status, body=b""):
        super().__init__(f"{what} was answered {status}: {body[:200]!r}")
        self.status, self.body = status, body


class Http:
    """Kept-alive connections, one per origin; a request is tried once more on a new connection if the old one was closed."""

    def __init__(self, cafile, timeout=90):
        self.cafile, self.timeout = cafile, timeout
        self.cert = None
        self.connections = {}
        self.opened = 0

    def _connect(self, origin):
        scheme, netloc = origin
        if scheme == "http":
            return http.client.HTTPConnection(netloc, timeout=self.timeout)
        ctx = ssl.create_default_context(cafile=self.cafile)
        if self.cert:
            ctx.load_cert_chain(*self.cert)
        return http.client.HTTPSConnection(netloc, timeout=self.timeout, context=ctx)

    def fetch(self, method, url, body=None, headers=None):
        parts = urllib.parse.urlsplit(url)
        origin = (parts.scheme, parts.netloc)
        path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
        for attempt in (0, 1):
            conn = self.connections.get(origin)
            fresh = conn is None
            if fresh:
                conn = self.connections[origin] = self._connect(origin)
                self.opened += 1
            try:
                conn.request(method, path, body=body, headers=headers or {})
                if fresh and conn.sock and conn.sock.family in (socket.AF_INET, socket.AF_INET6):
                    conn.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                answer = conn.getresponse()
                return answer.status, answer.headers, answer.read()
            except (OSError, http.client.HTTPException):
                self.drop(origin)
                if attempt:
                    raise

    def drop(self, origin):
        conn = self.connections.pop(origin, None)
        if conn:
            conn.close()

    def close(self):
        for origin in list(self.connections):
            self.drop(origin)


class Profile:
    """A configuration profile as a device sees it; checks what iOS checks."""

    def __init__(self, data):
        self.signer = None
        if not data.lstrip().startswith(b"<?xml"):
            signed = der.Signed(data)
            self.signer, self.certs = signed.verify(), signed.certs
            data = signed.content
        self.plist = plistlib.loads(data)
        if self.plist.get("PayloadType") != "Configuration":
            raise ProfileError("not a configuration profile")
        for key in ("PayloadIdentifier", "PayloadUUID", "PayloadVersion"):
            if not self.plist.get(key):
                raise ProfileError(f"{key} is missing")
        self.payloads = self.plist.get("PayloadContent", [])
        ids = [p["PayloadUUID"] for p in self.payloads] + [self.plist["PayloadUUID"]]
        if len(set(ids)) != len(ids):
            raise ProfileError("PayloadUUIDs repeat")
        self.identifier = self.plist["PayloadIdentifier"]

    def of_type(self, kind):
        return [p for p in self.payloads if p["PayloadType"] == kind]

    @property
    def roots(self):
        return [x509.load_der_x509_certificate(p["PayloadContent"])
                for t in ("com.apple.security.root", "com.apple.security.pkcs1") for p in self.of_type(t)]

    @property
    def verified(self):
        """What Settings shows as "Verified": the signer chains to a root in the profile."""
        if not self.signer:
            return False
        for root in self.roots:
            if der.issued_by(self.signer, root):
                return True
            if any(der.issued_by(self.signer, c) and der.issued_by(c, root) for c in self.certs):
                return True
        return False

    def mdm(self):
        found = self.of_type("com.apple.mdm")
        if len(found) != 1:
            raise ProfileError("exactly one com.apple.mdm payload is needed")
        mdm = found[0]
        for key in ("IdentityCertificateUUID", "Topic", "ServerURL"):
            if not mdm.get(key):
                raise ProfileError(f"com.apple.mdm: {key} is missing")
        for key in ("ServerURL", "CheckInURL"):
            if mdm.get(key) and not mdm[key].startswith("https://"):
                raise ProfileError(f"com.apple.mdm: {key} is not https")
        if mdm.get("EnrollmentMode"):
            if mdm["EnrollmentMode"] not in ("BYOD", "ADDE") or not mdm.get("AssignedManagedAppleID"):
                raise ProfileError("com.apple.mdm: EnrollmentMode needs an AssignedManagedAppleID")
            if "AccessRights" in mdm:
                raise ProfileError("com.apple.mdm: AccessRights in an account-driven enrolment")
        elif not mdm.get("AccessRights"):
            raise ProfileError("com.apple.mdm: AccessRights is missing or 0")
        return mdm

    def identity(self):
        wanted = self.mdm()["IdentityCertificateUUID"]
        found = [p for p in self.payloads if p["PayloadUUID"] == wanted]
        if not found or found[0]["PayloadType"] != "com.apple.security.scep":
            raise ProfileError("IdentityCertificateUUID does not name a SCEP payload")
        return found[0]["PayloadContent"]


# What a server asks for on a refresh.
REFRESHES = {"DeviceInformation", "SecurityInfo", "InstalledApplicationList", "ManagedApplicationList", "ProfileList", "CertificateList",
             "Restrictions"}
EVERYBODY = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"  # UserID of all users of a Shared iPad


class User:
    """The channel of one user of a device: own token, own queue, the device's identity."""

    def __init__(self, device, ident, short=None, long=None):
        self.device = device
        self.names = {k: v for k, v in (("UserID", ident), ("UserShortName", short), ("UserLongName", long)) if v}
        self.native = f"{device.udid}:{short if ident.upper() == EVERYBODY else ident}"
        self.token = hashlib.sha256(self.native.encode()).digest()
        self.magic, self.answers, self.handled = str(uuid.uuid4()).upper(), {}, []

    def token_update(self, **keys):
        return self.device.checkin("TokenUpdate", **{"Token": self.token, "PushMagic": self.magic, **self.names, **keys})

    def check_out(self):
        return self.device.checkin("CheckOut", **self.names)

    def connect(self, **message):
        return self.device.connect(**{**self.names, **message})

    def poll(self):
        command = self.connect(Status="Idle", NotOnConsole=False, NeedSyncResponse=True)
        done = []
        while command is not None:
            kind = command["Command"]["RequestType"]
            keys = dict(self.answers.get(kind, {}))
            status = keys.pop("Status", "Acknowledged")
            done.append((kind, status))
            command = self.connect(Status=status, CommandUUID=command["CommandUUID"], **keys)
        self.handled += done
        return done


class Service:
    """A Profile Service as a device sees it: it says who it is, gets an identity for that, says it again, and gets the profile."""

    def __init__(self, plist):
        content = plist["PayloadContent"]
        self.url, self.wanted, self.challenge = content["URL"], content["DeviceAttributes"], content["Challenge"]
        if not self.url.startswith("https://"):
            raise ProfileError("Profile Service: URL is not https")

    @classmethod
    def of(cls, data):
        """None if it is another profile."""
        if data.lstrip().startswith(b"<?xml"):
            return None
        signed = der.Signed(data)
        signed.verify()
        plist = plistlib.loads(signed.content)
        return cls(plist) if plist.get("PayloadType") == "Profile Service" else None

    def facts(self, device, **keys):
        known = {"UDID": device.udid, "SERIAL": device.serial, "PRODUCT": device.product, "VERSION": device.build, "IMEI": device.imei,
                 "CHALLENGE": self.challenge}
        wanted = [*self.wanted, "CHALLENGE"]
        return {k: v for k, v in {**{k: known[k] for k in wanted}, **keys}.items() if v is not None}

    @staticmethod
    def sign(facts, cert, key):
        body = facts if isinstance(facts, bytes) else plistlib.dumps(facts)
        return (pkcs7.PKCS7SignatureBuilder().set_data(body).add_signer(cert, key, hashes.SHA256())
                .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary]))

    def post(self, device, body, kind="application/pkcs7-signature"):
        """(status, headers, body)"""
        return device.http.fetch("POST", self.url, body, {"Content-Type": kind})

    def send(self, device, identity, **keys):
        status, headers, body = self.post(device, self.sign(self.facts(device, **keys), *identity))
        if status != 200:
            raise Refused("the report", status, body)
        if headers.get_content_type() != PROFILE_TYPE:
            raise ProfileError(f"the answer has type {headers.get_content_type()}")
        return body

    @staticmethod
    def identity(device, data):
        """(certificate, key) by the SCEP payload of the first answer."""
        found = Profile(data).of_type("com.apple.security.scep")
        if len(found) != 1 or len(Profile(data).payloads) != 1:
            raise ProfileError("the answer to the first report must be one SCEP payload")
        payload = found[0]["PayloadContent"]
        request = scep.Request(payload["Subject"], payload["Challenge"], key=scep.fresh_key(payload["URL"], int(payload["Keysize"])))
        return scep.Client(payload["URL"], device.http.fetch, payload.get("Name", "CA")).enroll(request)[0], request.key

    def enroll(self, device):
        return self.send(device, self.identity(device, self.send(device, device.factory())))


SCHEME = "apple-remotemanagement-user-login://authentication-results?access-token="
# What a user enrolment does not answer, and what it takes no command of.
FORBIDDEN = {"UDID", "SerialNumber", "IMEI", "MEID", "ICCID", "WiFiMAC", "BluetoothMAC", "PhoneNumber", "ModemFirmwareVersion", "ServiceSubscriptions",
             "AwaitingConfiguration", "IsActivationLockEnabled", "IsDoNotDisturbInEffect", "IsCloudBackupEnabled", "LastCloudBackupDate",
             "IsMDMLostModeEnabled", "iTunesStoreAccountIsActive", "iTunesStoreAccountHash", "CurrentCarrierNetwork", "SubscriberCarrierNetwork",
             "CurrentMCC", "CurrentMNC", "SubscriberMCC", "SubscriberMNC", "IsRoaming", "DataRoamingEnabled", "VoiceRoamingEnabled",
             "PersonalHotspotEnabled"}
FORBIDDEN_COMMANDS = {"EraseDevice", "ClearPasscode", "Restrictions", "EnableLostMode", "DisableLostMode", "DeviceLocation", "PlayLostModeSound",
                      "RestartDevice", "ShutDownDevice", "ProvisioningProfileList", "InviteToProgram", "ApplyRedemptionCode", "DeviceConfigured"}


class WebLogin:
    """What the system's web view does between the two requests of an account-driven enrolment: forms, cookies, no scripts."""

    def __init__(self, device, url, account=None):
        self.http, self.cookies = device.http, {}
        self.url = url + ("?" + urllib.parse.urlencode({"user-identifier": account}) if account else "")

    def fetch(self, method, url, body=None):
        parts = urllib.parse.urlsplit(url)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())} if self.cookies else {}
        if body is not None:
            headers.update({"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin",
                            "Origin": f"{parts.scheme}://{parts.netloc}"})
        status, got, data = self.http.fetch(method, url, body, headers)
        for cookie in got.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            if "Max-Age=0" in cookie or not value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return status, got, data

    def run(self, **fields):
        """Fills in what the pages ask for; the token. Refused: a page without a form, or one that comes again."""
        method, url, body, seen = "GET", self.url, None, set()
        while True:
            status, headers, data = self.fetch(method, url, body)
            place = headers.get("Location")
            if status == 308 and place.startswith(SCHEME):
                return place[len(SCHEME):]
            if status == 303:
                method, url, body = "GET", urllib.parse.urljoin(url, place), None
                continue
            form = re.search(rb'<form method="post" action="([^"]+)"', data)
            if status != 200 or not form or form[1] in seen:
                raise Refused("the log-in", status, data)
            seen.add(form[1])
            names = {n.decode() for n in re.findall(rb'<input[^>]* name="([^"]+)"', data)}
            url = urllib.parse.urljoin(url, form[1].decode().replace("&amp;", "&"))
            method, body = "POST", urllib.parse.urlencode({k: v for k, v in fields.items() if k in names}).encode()


class Device:
    """One device. cafile: the roots it trusts from the factory. Everything it knows is in attributes."""

    def __init__(self, cafile, udid=None, serial=None, name=None, seed=None, timeout=90):
        rng = random.Random(seed) if seed is not None else random.SystemRandom()
        self.product, self.model, self.model_name, self.capacity, self.os_version, self.build = rng.choice(MODELS)
        self.udid = udid or f"0000{rng.randrange(0x8000, 0x8200):04X}-{rng.getrandbits(64):016X}"
        self.serial = serial or "".join(rng.choice("CDFGHJKLMNPQRTVWXY0123456789") for _ in range(10))
        self.imei = "35" + "".join(rng.choice("0123456789") for _ in range(13)) if "iPhone" in self.product else None
        self.name = name or self.model_name
        self.http = Http(cafile, timeout)
        self.files = tempfile.mkdtemp(prefix="mdm-dev-")
        self.profile = self.mdm = self.cert = self.key = self.ca = None
        self.use_signature = self.use_client_cert = True
        self.token, self.magic = hashlib.sha256(self.udid.encode()).digest(), str(uuid.uuid4()).upper()
        self.unlock_token = b"unlock-" + self.udid.encode()
        self.passcode = True
        self.busy = False            # answers NotNow where Apple's devices may
        self.answers = {}            # RequestType -> dict of keys that replace the usual answer
        self.handled = []            # (RequestType, status) in order
        self.profiles, self.apps = [], list(APPS)
        self.enrolled = self.wiped = self.locked = False
        self.enrollment_id = self.bearer = None  # of an account-driven enrolment
        self.login_again = None      # what to call with the address when a request is answered 401; its result is the new token
        self.asked = set()           # queries of DeviceInformation
        self.made_with = None

    # -- enrolment
    def open_link(self, url):
        """Fetches a profile like Safari."""
        status, headers, body = self.http.fetch("GET", url, None, {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_6)"})
        if status != 200:
            raise Refused("the profile", status, body)
        if headers.get_content_type() != PROFILE_TYPE:
            raise ProfileError(f"the profile has type {headers.get_content_type()}")
        return body

    def install(self, data, **scep_options):
        """Installs an enrolment profile: roots, identity by SCEP. No check-in yet."""
        profile = Profile(data)
        mdm, identity = profile.mdm(), profile.identity()
        key_type = identity.get("Key Type", "RSA")
        if key_type != "RSA":
            raise ProfileError(f"Key Type {key_type}")
        client = scep.Client(identity["URL"], self.http.fetch, identity.get("Name", "CA"))
        key = scep.fresh_key(identity["URL"], int(identity.get("Keysize", 1024)))
        request = scep.Request(identity["Subject"], identity.get("Challenge"), key=key)
        cert, _, ca = client.enroll(request, **scep_options)
        wanted = identity.get("CAFingerprint")
        if wanted and wanted not in (ca.fingerprint(hashes.SHA1()), ca.fingerprint(hashes.MD5())):
            raise ProfileError("CAFingerprint does not fit the CA")
        self.profile, self.profile_data, self.mdm, self.ca = profile, data, mdm, ca
        self.use_identity(cert, request.key)
        return self

    def factory(self):
        """(certificate, key) that it was made with; signed by itself here."""
        if not self.made_with:
            key = scep.fresh_key(f"factory://{self.udid}")  # two devices may have the same: their certificates differ
            name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.udid)])
            now = datetime.datetime.now(datetime.timezone.utc)
            cert = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
                    .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                    .not_valid_after(now + datetime.timedelta(days=3650)).sign(key, hashes.SHA256()))
            self.made_with = cert, key
        return self.made_with

    def use_identity(self, cert, key):
        self.cert, self.key = cert, key
        pem = os.path.join(self.files, "identity.pem")
        with open(pem, "wb") as f:
            f.write(cert.public_bytes(serialization.Encoding.PEM))
            f.write(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                      serialization.NoEncryption()))
        self.http.close()
        self.http.cert = (pem,) if self.use_client_cert else None

    def enroll(self, url_or_profile, **scep_options):
        """All of it: profile, identity, Authenticate, TokenUpdate."""
        data = self.open_link(url_or_profile) if isinstance(url_or_profile, str) else url_or_profile
        service = Service.of(data)
        if service:
            data = service.enroll(self)
        self.install(data, **scep_options)
        self.authenticate()
        self.token_update()
        return self

    # -- account-driven enrolment
    @property
    def ids(self):
        return {"EnrollmentID": self.enrollment_id} if self.enrollment_id else {"UDID": self.udid}

    def discover(self, base, account, family="iPhone"):
        """Version -> BaseURL, in the order of the answer."""
        query = urllib.parse.urlencode({"user-identifier": account, "model-family": family})
        status, headers, body = self.http.fetch("GET", f"{base}/.well-known/com.apple.remotemanagement?{query}")
        if status != 200:
            raise Refused("discovery", status, body)
        if headers.get_content_type() != "application/json":
            raise ProfileError(f"discovery has type {headers.get_content_type()}")
        return {s["Version"]: s["BaseURL"] for s in json.loads(body)["Servers"]}

    def ask(self, base_url, token=None, **keys):
        """One request to the BaseURL: (status, headers, body)."""
        facts = {"LANGUAGE": "en", "PRODUCT": self.product, "VERSION": self.build, "OS_VERSION": self.os_version, **keys}
        body = Service.sign({k: v for k, v in facts.items() if v is not None}, *self.factory())
        headers = {"Content-Type": "application/pkcs7-signature", **({"Authorization": f"Bearer {token}"} if token else {})}
        return self.http.fetch("POST", base_url, body, headers)

    @staticmethod
    def login_url(headers):
        found = re.fullmatch(r'Bearer method="apple-as-web", url="(https://[^"]+)"', headers.get("WWW-Authenticate") or "")
        if not found:
            raise ProfileError(f"WWW-Authenticate: {headers.get('WWW-Authenticate')}")
        return found[1]

    def begin(self, base_url, account, **fields):
        """First request and the log-in: the token."""
        status, headers, body = self.ask(base_url)
        if status != 401:
            raise Refused("the first request", status, body)
        return WebLogin(self, self.login_url(headers), account).run(**fields)

    def profile_by(self, base_url, token):
        status, headers, body = self.ask(base_url, token)
        if status != 200:
            raise Refused("the second request", status, body)
        if headers.get_content_type() != PROFILE_TYPE:
            raise ProfileError(f"the profile has type {headers.get_content_type()}")
        return body

    def account_install(self, data, token):
        """Installs the profile of an account-driven enrolment."""
        mode = Profile(data).mdm()["EnrollmentMode"]
        self.enrollment_id = str(uuid.uuid4()).upper() if mode == "BYOD" else None
        self.bearer = token
        if mode == "BYOD":
            self.unlock_token = None
        return self.install(data)

    def account_enroll(self, base_url, account, **fields):
        token = self.begin(base_url, account, **fields)
        self.account_install(self.profile_by(base_url, token), token)
        self.authenticate()
        self.token_update()
        return self

    # -- check-in
    def _headers(self, kind, body):
        headers = {"Content-Type": kind, "User-Agent": "MDM/1.0"}
        if self.mdm.get("SignMessage") and self.use_signature and self.cert:
            headers["Mdm-Signature"] = self.signature(body)
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer}"
        return headers

    def signature(self, body):
        signed = (pkcs7.PKCS7SignatureBuilder().set_data(body).add_signer(self.cert, self.key, hashes.SHA256())
                  .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]))
        return base64.b64encode(signed).decode()

    def put(self, url, kind, message):
        """One PUT with a plist (or raw bytes): (status, headers, body)."""
        body = message if isinstance(message, bytes) else plistlib.dumps(message)
        answer = self.http.fetch("PUT", url, body, self._headers(kind, body))
        if answer[0] == 401 and self.login_again:
            self.bearer = self.login_again(self.login_url(answer[1]))
            answer = self.http.fetch("PUT", url, body, self._headers(kind, body))
        return answer

    @property
    def checkin_url(self):
        return self.mdm.get("CheckInURL") or self.mdm["ServerURL"]

    def checkin(self, message_type, **keys):
        message = {"MessageType": message_type, **self.ids, "Topic": self.mdm["Topic"], **keys}
        status, _, body = self.put(self.checkin_url, CHECKIN_TYPE, {k: v for k, v in message.items() if v is not None})
        if status != 200:
            raise Refused(message_type, status, body)
        return body

    def authenticate(self, **keys):
        own = self.enrollment_id is not None
        self.checkin("Authenticate", **{"OSVersion": self.os_version, "BuildVersion": self.build, "IMEI": None if own else self.imei,
                                        "ProductName": self.product, "SerialNumber": None if own else self.serial, **keys})

    def token_update(self, **keys):
        self.checkin("TokenUpdate", **{"Token": self.token, "PushMagic": self.magic, "UnlockToken": self.unlock_token,
                                       "AwaitingConfiguration": False, **keys})
        self.enrolled = True

    def check_out(self):
        """The person removes the profile."""
        if self.mdm.get("CheckOutWhenRemoved"):
            self.checkin("CheckOut")
        self.enrolled = False

    # -- connect
    def connect(self, **message):
        """One message to ServerURL: the next command (a dict) or None."""
        status, headers, body = self.put(self.mdm["ServerURL"], CONNECT_TYPE, {**self.ids, **message})
        if status == 403 and body and json.loads(body).get("code") == "com.apple.unrecognized.device":
            self.enrolled = False
        if status != 200:
            raise Refused("the poll", status, body)
        if not body:
            return None
        if headers.get_content_type() not in ("application/xml", "text/xml"):
            raise Refused(f"a command of type {headers.get_content_type()}", status, body)
        return plistlib.loads(body)

    def poll(self, limit=50):
        """What a push makes a device do: Idle, then commands until there are none. Answers [(RequestType, status)]."""
        done, command = [], self.connect(Status="Idle")
        while command is not None and len(done) < limit:
            kind = command["Command"]["RequestType"]
            status, keys = self.run(kind, command["Command"])
            done.append((kind, status))
            self.handled.append((kind, status))
            command = self.connect(Status=status, CommandUUID=command["CommandUUID"], RequestType=kind, **keys)
            if self.wiped:
                self.enrolled = False
                break
            if kind == "RemoveProfile" and status == "Acknowledged" and not self.profiles and self.leaving:
                try:
                    self.check_out()
                except Refused:
                    self.enrolled = False  # best effort, once: the server may have let it go already
                break
        return done

    def user(self, ident, *names):
        """A person's channel on this device (macOS, Shared iPad): UserID, short and long name."""
        return User(self, ident, *names)

    # -- commands
    leaving = supervised = lost = False
    managed = frozenset()
    NEVER_NOT_NOW = {"DeviceInformation", "ProfileList", "DeviceLock", "EraseDevice", "ClearPasscode",
                     "ProvisioningProfileList", "InstalledApplicationList", "Restrictions"}

    def run(self, kind, command):
        """(Status, result keys) of one command."""
        if self.enrollment_id and kind in FORBIDDEN_COMMANDS:
            return "Error", error("MCMDMErrorDomain", 12021, f"{kind} is not for a user enrolment")
        if kind in self.answers:
            keys = dict(self.answers[kind])
            return keys.pop("Status", "Acknowledged"), keys
        if self.busy and kind not in self.NEVER_NOT_NOW:
            return "NotNow", {}
        handler = getattr(self, "do_" + kind, None)
        if not handler:
            return "Error", error("MCMDMErrorDomain", 12021, f"{kind} is not a valid request type")
        return handler(command)

    def facts(self):
        phone = "iPhone" in self.product
        facts = {
            "UDID": self.udid, "DeviceName": self.name, "OSVersion": self.os_version, "BuildVersion": self.build,
            "ModelName": self.model_name.split(" ")[0], "Model": self.model, "ProductName": self.product,
            "SerialNumber": self.serial, "DeviceCapacity": self.capacity, "AvailableDeviceCapacity": round(self.capacity * .4, 2),
            "BatteryLevel": 0.71, "CellularTechnology": 1 if phone else 0, "IsSupervised": self.supervised,
            "IsDeviceLocatorServiceEnabled": True, "IsActivationLockEnabled": False, "IsDoNotDisturbInEffect": False,
            "DeviceID": "", "IsCloudBackupEnabled": True, "IsMDMLostModeEnabled": self.lost, "EASDeviceIdentifier": self.serial * 2,
            "WiFiMAC": "02:" + ":".join(f"{b:02x}" for b in self.token[:5]),
            "BluetoothMAC": "02:" + ":".join(f"{b:02x}" for b in self.token[5:10]), "IsNetworkTethered": False,
            "SupplementalBuildVersion": self.build, "iTunesStoreAccountIsActive": True, "IsRoaming": False,
        }
        if phone:
            facts.update({"IMEI": self.imei, "ModemFirmwareVersion": "4.02.01", "SIMCarrierNetwork": "Example Mobile",
                          "CurrentCarrierNetwork": "Example Mobile", "PhoneNumber": "+15550100" + self.imei[-3:],
                          "VoiceRoamingEnabled": False, "DataRoamingEnabled": False, "PersonalHotspotEnabled": False,
                          "ServiceSubscriptions": [{"Slot": "CTSubscriptionSlotOne", "IMEI": self.imei, "IsDataPreferred": True,
                                                    "CurrentCarrierNetwork": "Example Mobile"}]})
        return facts

    def do_DeviceInformation(self, command):
        facts = self.facts()
        self.asked |= set(command.get("Queries", []))
        if self.enrollment_id:
            facts = {k: v for k, v in facts.items() if k not in FORBIDDEN}
        return "Acknowledged", {"QueryResponses": {q: facts[q] for q in command.get("Queries", []) if q in facts}}

    def do_SecurityInfo(self, command):
        return "Acknowledged", {"SecurityInfo": {
            "HardwareEncryptionCaps": 3, "PasscodePresent": self.passcode, "PasscodeCompliant": True,
            "PasscodeCompliantWithProfiles": True, "PasscodeLockGracePeriodEnforced": 0,
            "ManagementStatus": {"EnrolledViaDEP": False, "IsUserEnrollment": self.enrollment_id is not None}}}

    def do_InstalledApplicationList(self, command):
        return "Acknowledged", {"InstalledApplicationList": [
            {"Identifier": i, "Name": n, "Version": v, "ShortVersion": v, "BundleSize": s << 20, "DynamicSize": s << 18,
             "IsValidated": True, "Installing": False} for i, n, v, s in self.apps]}

    def do_ManagedApplicationList(self, command):
        return "Acknowledged", {"ManagedApplicationList": {
            i: {"Status": "Managed", "ManagementFlags": 1, "HasConfiguration": False, "IsValidated": True} for i in sorted(self.managed)}}

    def do_ProfileList(self, command):
        own = self.profile.plist
        return "Acknowledged", {"ProfileList": [
            {k: p[k] for k in ("PayloadIdentifier", "PayloadUUID", "PayloadDisplayName", "PayloadVersion") if k in p}
            for p in [own, *self.profiles]]}

    def do_CertificateList(self, command):
        return "Acknowledged", {"CertificateList": [{"CommonName": "identity", "IsIdentity": True,
                                                     "Data": der.cert_der(self.cert)}]}

    def do_Restrictions(self, command):
        return "Acknowledged", {"GlobalRestrictions": {"restrictedBool": {"allowCamera": {"value": True}},
                                                       "restrictedValue": {"maxInactivity": {"value": 5}}}}

    def do_EnableLostMode(self, command):
        if not self.supervised:
            return "Error", error("MCMDMErrorDomain", 12067, "The device is not supervised")
        self.lost = True
        return "Acknowledged", {}

    def do_DisableLostMode(self, command):
        if not self.lost:
            return "Error", error("MCMDMErrorDomain", 12069, "The device is not in lost mode")
        self.lost = False
        return "Acknowledged", {}

    def do_DeviceLocation(self, command):
        if not self.lost:
            return "Error", error("MCMDMErrorDomain", 12069, "The device is not in lost mode")
        return "Acknowledged", {"Latitude": 52.52, "Longitude": 13.405, "HorizontalAccuracy": 12.5,
                                "Timestamp": "2026-11-21T10:00:00Z"}

    def do_RestartDevice(self, command):
        return ("Acknowledged", {}) if self.supervised else ("Error", error("MCMDMErrorDomain", 12079, "Not supervised"))

    do_ShutDownDevice = do_RestartDevice

    def do_Settings(self, command):
        for item in command["Settings"]:
            if item["Item"] == "DeviceName":
                self.name = item["DeviceName"]
        return "Acknowledged", {"Settings": [{"Status": "Acknowledged"} for _ in command["Settings"]]}

    def do_DeviceLock(self, command):
        self.locked = True
        return "Acknowledged", {"MessageResult": "Success"}

    def do_ClearPasscode(self, command):
        if command.get("UnlockToken") != self.unlock_token:
            return "Error", error("MCPasscodeErrorDomain", 5010, "The unlock token is wrong")
        self.passcode = False
        return "Acknowledged", {}

    def do_EraseDevice(self, command):
        self.wiped = True
        return "Acknowledged", {}

    refuse_renewal = False  # the renewed profile can't be installed just now

    def renew(self, data):
        """The enrolment profile again: what is fixed for life may not change, and the new identity takes the old one's place."""
        mdm = Profile(data).mdm()
        for key in ("Topic", "ServerURL", "CheckInURL", "EnrollmentMode", "AssignedManagedAppleID"):
            if mdm.get(key) != self.mdm.get(key):
                raise ProfileError(f"com.apple.mdm: {key} can't change")
        if mdm.get("AccessRights", 0) & ~self.mdm.get("AccessRights", 0):
            raise ProfileError("com.apple.mdm: AccessRights can't grow")
        if self.refuse_renewal:
            raise ProfileError("the profile can't be installed")
        self.install(data)

    def do_InstallProfile(self, command):
        try:
            profile = Profile(command["Payload"]).plist
            if profile["PayloadIdentifier"] == self.profile.identifier:
                self.renew(command["Payload"])
                return "Acknowledged", {}
        except (ProfileError, scep.ScepError, der.DerError, plistlib.InvalidFileException, KeyError) as why:
            return "Error", error("MCProfileErrorDomain", 1000, str(why))
        self.profiles = [p for p in self.profiles if p["PayloadIdentifier"] != profile["PayloadIdentifier"]] + [profile]
        return "Acknowledged", {}

    def do_RemoveProfile(self, command):
        wanted = command.get("Identifier")
        if wanted == self.profile.identifier:
            self.leaving, self.profiles = True, []
            return "Acknowledged", {}
        left = [p for p in self.profiles if p["PayloadIdentifier"] != wanted]
        if len(left) == len(self.profiles):
            return "Error", error("MCInstallationErrorDomain", 4001, "The profile is not installed")
        self.profiles = left
        return "Acknowledged", {}

    # -- keeping a device for the next start
    KEPT = ("udid", "serial", "name", "imei", "product", "model", "model_name", "capacity", "os_version", "build", "magic")

    def save(self, path):
        pem = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption())
        kept = {k: getattr(self, k) for k in self.KEPT}
        kept.update(profile=base64.b64encode(self.profile_data).decode(), key=pem.decode(),
                    cert=self.cert.public_bytes(serialization.Encoding.PEM).decode())
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump(kept, f)

    @classmethod
    def load(cls, path, cafile):
        with open(path) as f:
            kept = json.load(f)
        device = cls(cafile, udid=kept["udid"], serial=kept["serial"])
        for key in cls.KEPT:
            setattr(device, key, kept[key])
        device.profile_data = base64.b64decode(kept["profile"])
        device.profile = Profile(device.profile_data)
        device.mdm = device.profile.mdm()
        device.use_identity(x509.load_pem_x509_certificate(kept["cert"].encode()),
                            serialization.load_pem_private_key(kept["key"].encode(), None))
        device.enrolled = True
        return device

    def close(self):
        self.http.close()
        for name in os.listdir(self.files):
            os.unlink(os.path.join(self.files, name))
        os.rmdir(self.files)


def error(domain, code, text):
    return {"ErrorChain": [{"ErrorDomain": domain, "ErrorCode": code, "LocalizedDescription": text,
                            "USEnglishDescription": text}]}


class Portal:
    """The portal's JSON API as its pages use it."""

    def __init__(self, url, cafile):
        self.url, self.http = url.rstrip("/"), Http(cafile)
        parts = urllib.parse.urlsplit(url)
        self.headers = {"Origin": f"{parts.scheme}://{parts.netloc}", "Sec-Fetch-Site": "same-origin",
                        "Content-Type": "application/json", "Accept": "application/json"}

    def call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        status, headers, got = self.http.fetch(method, self.url + path, data, self.headers)
        for cookie in headers.get_all("Set-Cookie") or []:
            self.headers["Cookie"] = cookie.split(";")[0]
        return status, (json.loads(got) if got else None)

    def login(self, login, password):
        status, body = self.call("POST", "/api/v1/session", {"login": login, "password": password})
        if status not in (200, 201, 204):
            raise Refused("the log-in", status, json.dumps(body).encode())
        return body

    def enrollment(self, platform="ios", ownership="personal", level="managed"):
        """A new pending enrolment: {"id", "link", "profile"}."""
        status, body = self.call("POST", "/api/v1/enrollments",
                                 {"platform": platform, "ownership": ownership, "level": level})
        if status != 201:
            raise Refused("the enrolment", status, json.dumps(body).encode())
        return body

    def absolute(self, link):
        return urllib.parse.urljoin(self.url + "/", link)
