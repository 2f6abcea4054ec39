"""`make run` as a newcomer meets it, and `make install` with the configuration it brings."""
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import harness
import zonefiles as zf
from clients import Console, portal

KEYS = {"admin_url", "portal_url", "device_url", "eas_url", "admin_user", "admin_password", "users", "pid"}


class Started:
    """tests/run/run.py as the makefile calls it."""

    def __init__(self, home, **env):
        self.home, self.text = home, ""
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(zf.ROOT / "tests/run/run.py")], stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, env=dict(os.environ, MDM_HOME=str(home), MDM_BUILD=str(zf.BUILD), **env))

    def until(self, needle, wait=harness.PATIENCE):
        end = time.monotonic() + wait
        for line in self.process.stdout:
            self.text += line
            if needle in line:
                return self
            if time.monotonic() > end:
                break
        self.end()
        raise AssertionError(f"no '{needle}' in:\n{self.text}")

    def end(self, how=signal.SIGINT):
        if self.process.poll() is None:
            self.process.send_signal(how)
        rest, _ = self.process.communicate(timeout=180)
        self.text += rest
        return self.process.returncode


@pytest.fixture
def home():
    """Not below pytest's own folder: each pytest that starts closes that one to other users again, and httpd's children are another."""
    path = Path(tempfile.mkdtemp(prefix="mdm-home-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


class Remote:
    """What Console and portal() need to know of a zone that somebody else started."""

    def __init__(self, home, run):
        self.tls_dir, self.admin_url, self.portal_url = home / "tls", run["admin_url"], run["portal_url"]


def test_run_twice(home):
    """Ready line, run.json, log-ins that work, simulated devices; Ctrl-C stops all; a second start keeps all state."""
    port = zf.free_port()
    first = Started(home, MDM_PORT=str(port), DEMO="2").until("mdm ready")
    path = home / "run.json"
    run = json.loads(path.read_text())
    assert KEYS <= set(run) and run["eas_url"] == f"https://localhost:{port}/Microsoft-Server-ActiveSync"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run["admin_password"] in first.text and run["admin_url"] in first.text
    zone = Remote(home, run)
    console = Console(zone, run["admin_user"], run["admin_password"])
    user = run["users"][0]
    assert portal(zone, user["login"], user["password"])
    harness.wait_for(lambda: [d["state"] for d in console.get("/devices")["items"]] == ["active"] * 2, step=0.5)
    harness.wait_for(lambda: {p["name"]: p["devices"] for p in console.get("/policies?type=security")["items"]}.get("Everybody") == 2,
                     step=0.5)
    shown = [r for d in console.get("/devices")["items"] for t in console.get(f"/devices/{d['id']}/policies")["types"] for r in t["settings"]]
    assert {c["state"] for r in shown for c in r.get("channels", {}).values()} == {"sent", "not_sent"}  # what became of each setting (POL-06)
    pids = [run["pid"], *harness.children_of(run["pid"])]
    assert first.end() == 0
    assert not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]

    second = Started(home).until("mdm ready")
    again = json.loads(path.read_text())
    assert {k: v for k, v in again.items() if k != "pid"} == {k: v for k, v in run.items() if k != "pid"}
    console = Console(zone, run["admin_user"], run["admin_password"])
    assert len(console.get("/devices")["items"]) == 2
    mail_of(home, zone, user)
    assert second.end(signal.SIGTERM) == 0
    log = harness.ErrorLog(home / "logs" / "error.log", home / "logs" / "stderr.log")
    assert log.unexpected() == []


def mail_of(home, zone, user):
    """`sim PERSON=`: no mail until the person completes the device in the portal, then mail."""
    phone = subprocess.Popen([sys.executable, "-W", "ignore", "-u", "-m", "sim", "--mail", user["login"], "--people", str(home / "run.json"),
                              "--ca", str(home / "tls/ca.pem"), "--interval", "0.2"], cwd=zf.ROOT / "tests", stdout=subprocess.PIPE, text=True)
    try:
        assert "no mail (One step to go" in phone.stdout.readline()
        who = portal(zone, user["login"], user["password"])
        device = next(d["id"] for d in who.call("GET", "/api/v1/devices")[1]["devices"] if d.get("complete"))
        assert who.call("POST", f"/api/v1/devices/{device}/complete", {"ownership": "personal"})[0] == 200
        assert "mail flows" in phone.stdout.readline()
    finally:
        phone.send_signal(signal.SIGINT)
        assert phone.wait(180) == 0


def test_run_on_postgresql(home, factory):
    name = factory.pg.create()
    run = Started(home, MDM_DB="pgsql:" + factory.pg.params(name), MDM_PORT=str(zf.free_port())).until("mdm ready")
    told = json.loads((home / "run.json").read_text())
    Console(Remote(home, told), told["admin_user"], told["admin_password"])
    assert run.end() == 0


@pytest.mark.parametrize("env,word", [({"MDM_PORT": "http"}, "MDM_PORT"), ({"MDM_DB": "mysql:x"}, "MDM_DB")], ids=str)
def test_run_says_what_is_wrong(home, env, word):
    run = Started(home, **env)
    out, _ = run.process.communicate(timeout=180)
    assert run.process.returncode == 1 and word in out and "Traceback" not in out


def test_used_port_is_named(home, factory):
    zone = factory.zone("sqlite3", modules=False).start()
    run = Started(home, MDM_PORT=str(zone.device_port))
    out, _ = run.process.communicate(timeout=180)
    assert run.process.returncode == 1 and str(zone.device_port) in out
    zone.close()


def test_install_and_shipped_configuration(tmp_path, factory):
    """install puts everything below DESTDIR; httpd accepts the shipped pieces; uninstall takes all of it away again."""
    def make(target):
        done = subprocess.run(["make", "-f", "apxs.mk", f"BUILD={zf.BUILD}", f"DESTDIR={tmp_path}", target], cwd=zf.ROOT,
                              capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "MAKEFLAGS"})
        assert done.returncode == 0, done.stdout + done.stderr
    make("install")
    mods = tmp_path / "etc/apache2/mods-available"
    assert (tmp_path / "usr/sbin/mdmctl").stat().st_mode & 0o111
    assert {p.name for p in (tmp_path / "usr/lib/apache2/modules").iterdir()} == {f"{name}.so" for _, name in zf.OURS}

    zone = factory.zone("sqlite3", modules=False)
    zone.prepare()
    key = tmp_path / "keys"
    zf.make_key(key)
    text = "\n".join((mods / n).read_text() for n in ("mdm.load", "mdm.conf"))
    text += "\n".join((tmp_path / "etc/apache2/sites-available" / n).read_text() for n in ("mdm-devices.conf", "mdm-admin.conf", "mdm-mail.conf"))
    text = text.replace("/usr/", f"{tmp_path}/usr/").replace("/etc/mod_mdm/keys", str(key)).replace("*:443", f"*:{zone.device_port}")
    text = re.sub(r"/etc/mod_mdm/tls\.(pem|key)", rf"{zone.tls_dir}/server.\1", text)
    zone.extra_main = text
    zone.prepare()
    code, said = zone.config_test()
    assert code == 0, said
    make("uninstall")
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p != key] == []
    zone.close()


@pytest.mark.parametrize("line", ["MDMCacheSize 12", "MDMCacheSize many", "MDMPublicURL ftp://x", "MDMDatabaseTimeout 1ms",
                                  "MDMNodeName", "MDMSignMessage maybe", "MDMKeyFile /nonexistent/keys"])
def test_bad_configuration_is_caught_by_the_syntax_check(factory, line):
    """httpd -t must say it, with the directive's name: a bad value must never end a graceful restart (P2)."""
    zone = factory.zone("sqlite3", extra_main=line)
    zone.prepare()
    code, said = zone.config_test()
    assert code != 0 and line.split()[0] in said, said
    zone.close()
