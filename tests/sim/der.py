"""The few DER and CMS pieces a SCEP client needs: made and read by hand, so that the server is tested against other code."""
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, padding as sympad, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SEQ, SET, OCT, INT, OID, NULL, PRINTABLE = 0x30, 0x31, 0x04, 0x02, 0x06, 0x05, 0x13

DATA, SIGNED, ENVELOPED = "1.2.840.113549.1.7.1", "1.2.840.113549.1.7.2", "1.2.840.113549.1.7.3"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
RSA = "1.2.840.113549.1.1.1"
DIGESTS = {"1.3.14.3.2.26": hashes.SHA1, "2.16.840.1.101.3.4.2.1": hashes.SHA256,
           "2.16.840.1.101.3.4.2.2": hashes.SHA384, "2.16.840.1.101.3.4.2.3": hashes.SHA512}
DIGEST_OIDS = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1"}
CIPHERS = {  # name: (oid, key bytes, block bytes, algorithm)
    "aes128": ("2.16.840.1.101.3.4.1.2", 16, 16, algorithms.AES),
    "aes256": ("2.16.840.1.101.3.4.1.42", 32, 16, algorithms.AES),
    "des3": ("1.2.840.113549.3.7", 24, 8, algorithms.TripleDES),
    "des": ("1.3.14.3.2.7", 8, 8, lambda key: algorithms.TripleDES(key * 3)),
}


class DerError(ValueError):
    pass


# ---- writing
def tlv(tag, *parts):
    body = b"".join(parts)
    n = len(body)
    if n < 128:
        return bytes([tag, n]) + body
    size = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(size)]) + size + body


def integer(value):
    return tlv(INT, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(dotted):
    parts = [int(x) for x in dotted.split(".")]
    out = bytes([parts[0] * 40 + parts[1]])
    for value in parts[2:]:
        chunk = [value & 0x7F]
        while value > 0x7F:
            value >>= 7
            chunk.append(0x80 | (value & 0x7F))
        out += bytes(reversed(chunk))
    return tlv(OID, out)


def algorithm(dotted, params=None):
    return tlv(SEQ, oid(dotted), params if params is not None else tlv(NULL))


# ---- reading
class Node:
    """One parsed element: tag, content bytes, whole bytes; children on demand."""

    def __init__(self, data, at=0):
        try:
            self.tag = data[at]
            length, pos = data[at + 1], at + 2
            if length == 0x80:
                raise DerError("indefinite length")
            if length & 0x80:
                count = length & 0x7F
                length, pos = int.from_bytes(data[pos:pos + count], "big"), pos + count
        except IndexError:
            raise DerError("truncated") from None
        self.body, self.end = bytes(data[pos:pos + length]), pos + length
        if len(self.body) != length:
            raise DerError("truncated")
        self.raw = bytes(data[at:self.end])

    @property
    def kids(self):
        out, at = [], 0
        while at < len(self.body):
            node = Node(self.body, at)
            out.append(node)
            at = node.end
        return out

    def __getitem__(self, index):
        return self.kids[index]

    @property
    def oid(self):
        if self.tag != OID:
            raise DerError("not an OID")
        first = min(self.body[0] // 40, 2)
        out, value = [first, self.body[0] - 40 * first], 0
        for byte in self.body[1:]:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                out.append(value)
                value = 0
        return ".".join(map(str, out))

    @property
    def int(self):
        return int.from_bytes(self.body, "big", signed=True)

    def octets(self):
        """The bytes of an OCTET STRING, primitive or constructed."""
        return b"".join(k.octets() for k in self.kids) if self.tag & 0x20 else self.body


# ---- CMS
def issuer_serial(cert):
    return tlv(SEQ, cert.issuer.public_bytes(), integer(cert.serial_number))


def cert_der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


def envelope(content, recipient, cipher="aes256"):
    """ContentInfo with EnvelopedData for one RSA recipient."""
    dotted, key_len, block, make = CIPHERS[cipher]
    key, iv = os.urandom(key_len), os.urandom(block)
    padder = sympad.PKCS7(block * 8).padder()
    padded = padder.update(content) + padder.finalize()
    enc = Cipher(make(key), modes.CBC(iv)).encryptor()
    encrypted = enc.update(padded) + enc.finalize()
    info = tlv(SEQ, integer(0), issuer_serial(recipient), algorithm(RSA),
               tlv(OCT, recipient.public_key().encrypt(key, padding.PKCS1v15())))
    body = tlv(SEQ, integer(0), tlv(SET, info),
               tlv(SEQ, oid(DATA), algorithm(dotted, tlv(OCT, iv)), tlv(0x80, encrypted)))
    return tlv(SEQ, oid(ENVELOPED), tlv(0xA0, body))


def open_envelope(der, key):
    """The content of an EnvelopedData; (bytes, cipher name)."""
    info = Node(der)
    if info[0].oid != ENVELOPED:
        raise DerError("not EnvelopedData")
    env = info[1][0]
    recipients = next(k for k in env.kids if k.tag == SET)
    content = env[-1]
    secret = key.decrypt(recipients[0][-1].octets(), padding.PKCS1v15())
    dotted, iv = content[1][0].oid, content[1][1].body
    name = next((n for n, c in CIPHERS.items() if c[0] == dotted), None)
    if not name:
        raise DerError(f"unknown cipher {dotted}")
    dec = Cipher(CIPHERS[name][3](secret), modes.CBC(iv)).decryptor()
    unpadder = sympad.PKCS7(CIPHERS[name][2] * 8).unpadder()
    padded = dec.update(content[2].octets()) + dec.finalize()
    return unpadder.update(padded) + unpadder.finalize(), name


def sign(content, cert, key, attributes=(), digest="sha256"):
    """ContentInfo with SignedData over content; attributes: [(oid, encoded value)] beside content type and digest."""
    make = DIGESTS[DIGEST_OIDS[digest]]
    hasher = hashes.Hash(make())
    hasher.update(content)
    attrs = [tlv(SEQ, oid(o), tlv(SET, v)) for o, v in
             [(CONTENT_TYPE, oid(DATA)), (MESSAGE_DIGEST, tlv(OCT, hasher.finalize())), *attributes]]
    block = b"".join(sorted(attrs))
    signature = key.sign(tlv(SET, block), padding.PKCS1v15(), make())
    signer = tlv(SEQ, integer(1), issuer_serial(cert), algorithm(DIGEST_OIDS[digest]), tlv(0xA0, block),
                 algorithm(RSA), tlv(OCT, signature))
    body = tlv(SEQ, integer(1), tlv(SET, algorithm(DIGEST_OIDS[digest])),
               tlv(SEQ, oid(DATA), tlv(0xA0, tlv(OCT, content))), tlv(0xA0, cert_der(cert)), tlv(SET, signer))
    return tlv(SEQ, oid(SIGNED), tlv(0xA0, body))


class Signed:
    """A parsed SignedData: content, certificates, attributes of the first signer; checked by verify()."""

    def __init__(self, der):
        info = Node(der)
        if info[0].oid != SIGNED:
            raise DerError("not SignedData")
        body = info[1][0].kids
        encap = body[2].kids
        self.content = encap[1][0].octets() if len(encap) > 1 else b""
        self.certs = [x509.load_der_x509_certificate(c.raw) for k in body[3:] if k.tag == 0xA0 for c in k.kids]
        signers = next((k for k in body[3:] if k.tag == SET), None)
        self.signer = signers[0].kids if signers and signers.body else None
        self.attrs = {}
        if self.signer and self.signer[3].tag == 0xA0:
            self.attrs = {a[0].oid: a[1][0] for a in self.signer[3].kids}

    def signer_cert(self):
        issuer, serial = self.signer[1][0].raw, self.signer[1][1].int
        for cert in self.certs:
            if cert.serial_number == serial and cert.issuer.public_bytes() == issuer:
                return cert
        raise DerError("the signer's certificate is not in the message")

    def verify(self, detached=None):
        """Checks digest and signature; answers the signer's certificate. Raises on any fault."""
        cert = self.signer_cert()
        make = DIGESTS[self.signer[2][0].oid]
        content = self.content if detached is None else detached
        hasher = hashes.Hash(make())
        hasher.update(content)
        if self.attrs:
            if self.attrs[MESSAGE_DIGEST].body != hasher.finalize():
                raise DerError("the message digest does not fit the content")
            signed = tlv(SET, self.signer[3].body)
        else:
            signed = content
        signature = next(k for k in self.signer[4 if self.attrs else 3:] if k.tag == OCT).body
        public = cert.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, signed, padding.PKCS1v15(), make())
        else:
            public.verify(signature, signed, ec.ECDSA(make()))
        return cert


def issued_by(cert, ca):
    """True if ca's key signed cert."""
    if cert.issuer != ca.subject:
        return False
    public = ca.public_key()
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(cert.signature, cert.tbs_certificate_bytes, padding.PKCS1v15(), cert.signature_hash_algorithm)
        else:
            public.verify(cert.signature, cert.tbs_certificate_bytes, ec.ECDSA(cert.signature_hash_algorithm))
        return True
    except Exception:  # InvalidSignature and unsupported keys alike: not issued by it
        return False
