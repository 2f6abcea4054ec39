"""The simulators themselves: what they accept, they accept for a reason."""
import json
import signal
import socket
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization

import zonefiles as zf
from sim import der, scep
from sim.apns import Apns
from sim.device import Profile, ProfileError


@pytest.mark.parametrize("cipher", sorted(der.CIPHERS))
@pytest.mark.parametrize("digest", ["sha1", "sha256"])
def test_cms_round_trip(cipher, digest, tmp_path):
    request, ra = scep.Request([[["CN", "device"]]], "secret"), scep.Request([[["CN", "ra"]]], None)
    message = request.message(ra.own, cipher, digest)
    signed = der.Signed(message)
    assert signed.verify() == request.own
    plain, name = der.open_envelope(signed.content, ra.key)
    assert (plain, name) == (der.cert_der(request.csr), cipher)
    (tmp_path / "m").write_bytes(message)
    done = subprocess.run(["openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "m", "-noverify", "-binary",
                           "-out", tmp_path / "e"], capture_output=True)
    assert done.returncode == 0 and (tmp_path / "e").read_bytes() == signed.content


def test_tampered_message_is_refused():
    request, ra = scep.Request([[["CN", "device"]]], "secret"), scep.Request([[["CN", "ra"]]], None)
    message = bytearray(request.message(ra.own))
    message[-1] ^= 1
    with pytest.raises(Exception):
        der.Signed(bytes(message)).verify()
    with pytest.raises(der.DerError):
        der.Signed(bytes(message[:-20]))


def test_profile_without_mdm_is_refused():
    with pytest.raises(ProfileError):
        Profile(b"<?xml version='1.0'?><plist version='1.0'><dict/></plist>")


def _pem(path, cert, key):
    path.write_bytes(cert.public_bytes(serialization.Encoding.PEM) + zf._pem_key(key))
    return str(path)


def test_apns_answers_like_apple(tmp_path):
    ca, ca_key = zf.make_ca("Push CA")
    server = _pem(tmp_path / "server.pem", *zf.issue(ca, ca_key, "localhost", dns=["localhost"]))
    client = _pem(tmp_path / "client.pem", *zf.issue(ca, ca_key, "push", client=True, uid="com.apple.mgmt.External.x"))
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    apns = Apns(server, server, str(tmp_path / "ca.pem"))
    woken = []

    def push(token, kind="mdm", cert=True):
        done = subprocess.run(["curl", "-s", "--http2", "--max-time", "60", "--cacert", tmp_path / "ca.pem", "-w", "\n%{http_code}",
                               *(["--cert", client] if cert else []), "-H", "apns-topic: com.apple.mgmt.External.x",
                               "-H", f"apns-push-type: {kind}", "-d", '{"mdm":"magic"}',
                               f"https://localhost:{apns.port}/3/device/{token}"], capture_output=True, text=True)
        return done.stdout.split("\n")
    try:
        apns.listen(b"\xab\xcd", lambda: woken.append(1))
        apns.script["ee"] = [{"status": 410, "reason": "Unregistered", "timestamp": 5}]
        assert push("abcd") == ["", "200"]
        assert json.loads(push("ee")[0]) == {"reason": "Unregistered", "timestamp": 5}
        assert push("XYZ")[1] == "400"
        assert push("abcd", kind="alert")[1] == "400"
        assert push("abcd", cert=False)[1] == "000"
        assert [p["status"] for p in apns.of(b"\xab\xcd")] == [200, 400] and woken == [1]
    finally:
        apns.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_signal_ends_a_mail_app_that_waits(tmp_path, how):
    """At once, wherever it is: here in the middle of a handshake with a server that says nothing."""
    (tmp_path / "ca.pem").write_bytes(zf.make_ca("CA")[0].public_bytes(serialization.Encoding.PEM))
    with socket.create_server(("localhost", 0)) as silent:
        silent.settimeout(60)
        known = {"eas_url": f"https://localhost:{silent.getsockname()[1]}/", "users": [{"login": "anna", "password": "x"}]}
        (tmp_path / "run.json").write_text(json.dumps(known))
        app = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "sim", "--mail", "anna", "--people", tmp_path / "run.json", "--ca",
                                tmp_path / "ca.pem"], cwd=zf.ROOT / "tests", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        with silent.accept()[0] as peer:
            assert peer.recv(1)
            app.send_signal(how)
            said, _ = app.communicate(timeout=60)
    assert app.returncode == 0 and said == ""  # it did not wait for its own time-out, of which it speaks
