"""A SCEP client (RFC 8894) with the habits of iOS and, on demand, of older clients."""
import base64
import datetime
import hashlib
import os
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import AttributeOID, NameOID

from . import der

MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    f"2.16.840.1.113733.1.9.{n}" for n in (2, 3, 4, 5, 6, 7))
NAMES = {"CN": NameOID.COMMON_NAME, "O": NameOID.ORGANIZATION_NAME, "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
         "C": NameOID.COUNTRY_NAME, "L": NameOID.LOCALITY_NAME, "ST": NameOID.STATE_OR_PROVINCE_NAME}


_LOCK, _KEYS, _TAKEN = threading.Lock(), {}, {}


def fresh_key(url, bits=2048):
    """An RSA key that the server of this address has not seen. Making one takes long, so another server may see it again."""
    server = urllib.parse.urlsplit(url).netloc
    with _LOCK:
        kept = _KEYS.setdefault(bits, [])
        n = _TAKEN.get((server, bits), 0)
        _TAKEN[server, bits] = n + 1
        if n < len(kept):
            return kept[n]
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    with _LOCK:
        kept.append(key)
        _TAKEN[server, bits] = max(_TAKEN[server, bits], len(kept))
    return key


class ScepError(RuntimeError):
    """status: HTTP status; fail: failInfo of a CertRep, or None."""

    def __init__(self, text, status=None, fail=None):
        super().__init__(text)
        self.status, self.fail = status, fail


def subject_name(subject):
    """x509.Name of the profile's Subject ([[["CN","x"]], …])."""
    return x509.Name([x509.NameAttribute(NAMES.get(k) or x509.ObjectIdentifier(k), v) for rdn in subject for k, v in rdn])


class Request:
    """Key, CSR and self-signed certificate of one identity request; message() is what goes to the server."""

    def __init__(self, subject, challenge, bits=2048, key=None):
        self.key = key or rsa.generate_private_key(public_exponent=65537, key_size=bits)
        self.name = subject_name(subject)
        csr = x509.CertificateSigningRequestBuilder().subject_name(self.name)
        if challenge is not None:
            csr = csr.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
        self.csr = csr.sign(self.key, hashes.SHA256())
        public = der.Node(der.cert_der(self.csr))[0][2].raw
        self.transaction_id = hashlib.sha256(public).hexdigest().upper()
        now = datetime.datetime.utcnow()
        self.own = (x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
                    .public_key(self.key.public_key()).serial_number(int.from_bytes(os.urandom(15), "big") + 1)
                    .not_valid_before(now - datetime.timedelta(minutes=5))
                    .not_valid_after(now + datetime.timedelta(days=2)).sign(self.key, hashes.SHA256()))
        self.nonce = os.urandom(16)
        self.signer, self.signer_key = self.own, self.key

    def renew_with(self, cert, key):
        """Signs the request with the old identity (RenewalReq)."""
        self.signer, self.signer_key = cert, key

    def message(self, ra, cipher="aes256", digest="sha256", message_type=None):
        kind = message_type or ("17" if self.signer is not self.own else "19")
        content = der.envelope(der.cert_der(self.csr), ra, cipher)
        return der.sign(content, self.signer, self.signer_key, [
            (MESSAGE_TYPE, der.tlv(der.PRINTABLE, kind.encode())),
            (SENDER_NONCE, der.tlv(der.OCT, self.nonce)),
            (TRANSACTION_ID, der.tlv(der.PRINTABLE, self.transaction_id.encode()))], digest)

    def answer(self, data, ra):
        """Checks a CertRep like a careful client; answers the issued certificate."""
        signed = der.Signed(data)
        if signed.verify() != ra:
            raise ScepError("CertRep is not signed by the RA")
        attrs = signed.attrs
        if attrs[MESSAGE_TYPE].body != b"3":
            raise ScepError("not a CertRep")
        if attrs[TRANSACTION_ID].body.decode() != self.transaction_id:
            raise ScepError("CertRep of another transaction")
        if attrs[RECIPIENT_NONCE].body != self.nonce:
            raise ScepError("the nonce does not come back")
        status = attrs[PKI_STATUS].body.decode()
        if status != "0":
            fail = attrs[FAIL_INFO].body.decode() if FAIL_INFO in attrs else None
            raise ScepError(f"refused with pkiStatus {status}, failInfo {fail}", 200, fail)
        plain, _ = der.open_envelope(signed.content, self.signer_key)
        mine = [c for c in der.Signed(plain).certs if c.public_key().public_numbers() == self.key.public_key().public_numbers()]
        if len(mine) != 1:
            raise ScepError("CertRep does not hold exactly the issued certificate")
        return mine[0]


class Client:
    """fetch(method, url, body, headers) -> (status, headers, body) is the transport."""

    def __init__(self, url, fetch, name="CA"):
        self.url, self.fetch, self.name = url, fetch, name

    def _get(self, operation, message=None):
        query = {"operation": operation}
        if message is not None:
            query["message"] = message
        glue = "&" if "?" in self.url else "?"
        return self.fetch("GET", self.url + glue + urllib.parse.urlencode(query), None, {})

    def caps(self):
        status, _, body = self._get("GetCACaps", self.name)
        if status != 200:
            raise ScepError("GetCACaps failed", status)
        return [x.strip() for x in body.decode().splitlines() if x.strip()]

    def ca_certs(self):
        """(RA, CA); the same certificate twice when the CA answers alone."""
        status, headers, body = self._get("GetCACert", self.name)
        if status != 200:
            raise ScepError("GetCACert failed", status)
        kind = headers.get("Content-Type")
        if kind == "application/x-x509-ca-cert":
            cert = x509.load_der_x509_certificate(body)
            return cert, cert
        if kind != "application/x-x509-ca-ra-cert":
            raise ScepError(f"GetCACert answered {kind}")
        certs = der.Signed(body).certs
        ca = next(c for c in certs if c.issuer == c.subject)
        ra = next((c for c in certs if c is not ca), ca)
        if not der.issued_by(ra, ca):
            raise ScepError("the RA certificate is not issued by the CA")
        return ra, ca

    def pki(self, message, get=False, headers=None):
        if get:
            status, got, body = self._get("PKIOperation", base64.b64encode(message).decode())
        else:
            glue = "&" if "?" in self.url else "?"
            status, got, body = self.fetch("POST", f"{self.url}{glue}operation=PKIOperation", message,
                                           headers or {"Content-Type": "application/x-pki-message"})
        if status != 200:
            raise ScepError("PKIOperation failed", status)
        if got.get("Content-Type") != "application/x-pki-message":
            raise ScepError(f"PKIOperation answered {got.get('Content-Type')}")
        return body

    def enroll(self, request, get=False, cipher=None, digest=None):
        """The whole exchange: (identity, RA, CA)."""
        caps = {c.upper() for c in self.caps()}
        cipher = cipher or ("aes256" if caps & {"AES", "SCEPSTANDARD"} else "des3")
        digest = digest or ("sha256" if caps & {"SHA-256", "SCEPSTANDARD"} else "sha1")
        ra, ca = self.ca_certs()
        get = get or not caps & {"POSTPKIOPERATION", "SCEPSTANDARD"}
        cert = request.answer(self.pki(request.message(ra, cipher, digest), get), ra)
        if not der.issued_by(cert, ca):
            raise ScepError("the identity is not issued by the CA")
        return cert, ra, ca
