"""Apple in small: the authority that makes push certificates and that push servers know, its portal, an MDM vendor."""
import base64
import datetime
import plistlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

import harness
import zonefiles as zf

PEM = serialization.Encoding.PEM


class Apple:
    def __init__(self, folder):
        self.ca, self.ca_key = zf.make_ca("Push CA")
        self.root = self._write(folder / "push-ca.pem", self.ca.public_bytes(PEM))
        cert, key = zf.issue(self.ca, self.ca_key, "localhost", dns=["localhost"])
        self.server = self._write(folder / "server.pem", cert.public_bytes(PEM) + zf._pem_key(key))
        self.vendor_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.vendor = self.certify(self.vendor_key.public_key(), uid="vendor")

    @staticmethod
    def _write(path, data):
        path.write_bytes(data)
        path.chmod(0o644)
        return str(path)

    def certify(self, public_key, uid=harness.TOPIC, days=(-1, 365)):
        now = datetime.datetime.utcnow()
        name = x509.Name([x509.NameAttribute(NameOID.USER_ID, uid), x509.NameAttribute(NameOID.COMMON_NAME, "APSP:1")])
        return (x509.CertificateBuilder().subject_name(name).issuer_name(self.ca.subject).public_key(public_key)
                .serial_number(x509.random_serial_number()).not_valid_before(now + datetime.timedelta(days=days[0]))
                .not_valid_after(now + datetime.timedelta(days=days[1])).sign(self.ca_key, hashes.SHA256()))

    def portal(self, csr_pem, **options):
        """What the portal gives back for a request."""
        csr = x509.load_pem_x509_csr(csr_pem)
        assert csr.is_signature_valid
        return self.certify(csr.public_key(), **options).public_bytes(PEM).decode()

    def sign(self, csr_pem, spoil=b""):
        """The vendor's signed file."""
        der = x509.load_pem_x509_csr(csr_pem).public_bytes(serialization.Encoding.DER)
        signature = self.vendor_key.sign(der + spoil, padding.PKCS1v15(), hashes.SHA256())
        chain = (self.vendor.public_bytes(PEM) + self.ca.public_bytes(PEM)).decode()
        return plistlib.dumps({"PushCertRequestCSR": base64.b64encode(der).decode(), "PushCertCertificateChain": chain,
                               "PushCertSignature": base64.b64encode(signature).decode()})

    def pair(self, folder):
        """Files of a push certificate and its key."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return (self._write(folder / "push.pem", self.certify(key.public_key()).public_bytes(PEM)),
                self._write(folder / "push.key", zf._pem_key(key)))
