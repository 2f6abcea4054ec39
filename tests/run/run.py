#!/usr/bin/env python3
"""`make -f apxs.mk run`: a private zone in the foreground (issue 2, section 2).

MDM_PORT   port of devices and portal; the console is on the next one (default: the last one used, else from 8443 up)
MDM_HOME   state (default: /var/tmp/mdm-<uid> as root, else ~/.local/share/mod_mdm)
MDM_DB     sqlite3:/path or 'pgsql:host=… dbname=…' (default: SQLite in MDM_HOME)
MDM_HOST   name under which other machines reach it; without it only this machine does
DEMO       number of simulated devices to enrol
"""
import ctypes
import fcntl
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from types import SimpleNamespace

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "lib"), str(Path(__file__).resolve().parents[1])]
import zonefiles as zf  # noqa: E402
from sim.eas_server import EasServer  # noqa: E402

TOPIC = "com.apple.mgmt.External.demo"
MAIL_NAME = "Simulated mail"
ROOT_FOLDER = "00000000-0000-4000-8000-000000000001"
PEOPLE = [("anna", "Anna Berg"), ("ben", "Ben Okafor"), ("carla", "Carla Nunes"), ("deniz", "Deniz Kaya"),
          ("eva", "Eva Lindqvist"), ("farid", "Farid Haddad"), ("greta", "Greta Moser"), ("hugo", "Hugo Martin")]


class Stop(Exception):
    """The run can't go on; the text is for the person at the keyboard."""


def die_with_parent():
    """A child that must not outlive us gets SIGTERM when we end, however we end."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def home_folder():
    if os.environ.get("MDM_HOME"):
        return Path(os.environ["MDM_HOME"]).absolute()
    if os.geteuid() == 0:
        return Path(f"/var/tmp/mdm-{os.geteuid()}")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "mod_mdm"


def password():
    """Random, and easy to type on a phone: no characters that look alike."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(3))


def is_free(port, address):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((address, port))
            return True
        except OSError:
            return False


def pick_port(state, address):
    """The port of devices and portal. Enrolled devices know it, so it stays unless MDM_PORT says otherwise."""
    given = os.environ.get("MDM_PORT")
    if given:
        if not given.isdigit() or not 0 < int(given) < 65536:
            raise Stop(f"MDM_PORT={given} is not a port number.")
        tries = [int(given)]
    elif state.get("port"):
        tries = [state["port"]]
    else:
        tries = range(8443, 9443, 2)
    for port in tries:
        if is_free(port, address):
            return port
    raise Stop(f"Port {tries[0]} is in use: stop what uses it, or set MDM_PORT.")


def pick_admin_port(state, address, port):
    """The console's: the one it had, else the next one, else any after it."""
    for candidate in [state.get("admin_port"), *range(port + 1, 65536)]:
        if candidate and candidate != port and is_free(candidate, address):
            return candidate
    raise Stop("No port is free for the console.")


class Run:
    def __init__(self):
        self.home = home_folder()
        self.httpd = self.sim = self.mail = None
        self.stopping = False

    # -- state
    def open_home(self):
        self.home.mkdir(parents=True, exist_ok=True)
        if self.home.stat().st_uid != os.geteuid():
            raise Stop(f"{self.home} belongs to somebody else: set MDM_HOME.")
        self.home.chmod(0o755)  # children read pages and write the database as another user
        for name in ("run", "logs", "db", "htdocs", "ui"):
            (self.home / name).mkdir(exist_ok=True)
        (self.home / "secret").mkdir(mode=0o700, exist_ok=True)
        self.lock = open(self.home / "secret" / "lock", "w")
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Stop(f"A zone in {self.home} is running already: stop it, or set MDM_HOME.") from None
        self.state_file = self.home / "secret" / "state.json"
        self.state = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}

    def save(self):
        fresh = self.state_file.with_suffix(".new")
        zf.write_secret(fresh, json.dumps(self.state, indent=1).encode())
        os.replace(fresh, self.state_file)

    def configure(self):
        public = os.environ.get("MDM_HOST")
        host, address = public or "localhost", "0.0.0.0" if public else "127.0.0.1"
        port = pick_port(self.state, address)
        moved = port != self.state.get("port")
        admin_port = pick_admin_port({} if moved else self.state, address, port)
        self.state.update(port=port, admin_port=admin_port)
        tls = zf.make_tls(self.home / "tls", names=[public] if public else ())
        zf.make_key(self.home / "secret" / "seal.key")
        self.zone = SimpleNamespace(
            root=self.home, db_url=os.environ.get("MDM_DB") or f"sqlite3:{self.home}/db/mdm.db", modules=True,
            address=address, host=host, device_port=port, admin_port=admin_port, public_url=f"https://{host}:{port}",
            module_dir=zf.BUILD / "modules", ui_dir=self.home / "ui", htdocs=self.home / "htdocs", tls_dir=tls,
            key_file=self.home / "secret" / "seal.key", children=2, threads=25, cache_size="16M",
            log_level="notice ssl:warn mdm:info mdm_enroll:info mdm_ios:info mdm_admin:info mdm_eas:info",
            extra_main="", extra_device="", extra_admin="")
        try:
            zf.split_db(self.zone.db_url)
        except ValueError as why:
            raise Stop(f"MDM_DB: {why}") from None

    def first_start(self):
        """Everything here may be repeated after an interrupted first start."""
        ctl = lambda *args, **kw: zf.mdmctl(self.zone, *args, **kw)  # noqa: E731
        ctl("migrate")
        known = self.state.setdefault("db", {}).setdefault(self.zone.db_url, {})
        self.save()
        if known.get("ready"):
            return
        known.setdefault("admin", ["admin", password()])
        known.setdefault("users", [{"login": login, "password": password(), "name": name, "mail": f"{login}@example.org"}
                                   for login, name in PEOPLE])
        self.save()
        ctl("ca", "ensure")
        self.add(known, "admin", known["admin"][0], known["admin"][1], "--role", "super_admin")
        for user in known["users"]:
            self.add(known, "user", user["login"], user["password"], "--name", user["name"], "--mail", user["mail"])
        ctl("policy", "demo")
        ctl("setting", "set", "apns.topic", json.dumps(TOPIC))
        known["ready"] = True
        self.save()

    def add(self, known, kind, login, word, *options):
        done = known.setdefault("added", [])
        if f"{kind} {login}" not in done:
            zf.mdmctl(self.zone, kind, "add", login, *options, "--password-stdin", stdin=word + "\n")
            done.append(f"{kind} {login}")
            self.save()

    def files(self):
        (self.home / "htdocs" / "index.html").write_text(
            '<!doctype html><meta charset="utf-8"><title>mod_mdm</title><p><a href="/portal/">Portal</a></p>\n')
        shutil.rmtree(self.zone.ui_dir, ignore_errors=True)
        shutil.copytree(zf.BUILD / "ui", self.zone.ui_dir)
        for base, dirs, names in os.walk(self.zone.ui_dir):
            os.chmod(base, 0o755)
            for name in names:
                os.chmod(os.path.join(base, name), 0o644)
        (self.home / "httpd.conf").write_text(zf.render(self.zone))
        zf.give_away(self.home / "db")
        zf.give_away(self.home / "run")

    # -- life
    def start(self):
        command = [zf.httpd_binary(), "-d", str(self.home), "-f", str(self.home / "httpd.conf"), "-DFOREGROUND"]
        with open(self.home / "logs" / "stderr.log", "ab") as err:
            self.httpd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                          start_new_session=True, preexec_fn=die_with_parent)
        end = time.monotonic() + 90
        while time.monotonic() < end and not self.stopping:
            if self.httpd.poll() is not None:
                raise Stop(f"httpd did not start; see {self.home}/logs:\n{self.log_end()}")
            if self.answers(self.zone.device_port, "/portal/") and self.answers(self.zone.admin_port, "/admin/login"):
                return
            time.sleep(0.1)
        if not self.stopping:
            raise Stop(f"httpd runs but does not answer; see {self.home}/logs:\n{self.log_end()}")

    # -- mail: a simulated ActiveSync server behind the gate, with a mailbox for each demo person
    def api(self, method, path, body=None, **headers):
        """One call of the console's API as the administrator: (headers, parsed body)."""
        conn = http.client.HTTPSConnection("localhost", self.zone.admin_port, timeout=60,
                                           context=ssl.create_default_context(cafile=str(self.zone.tls_dir / "ca.pem")))
        sent = {"Sec-Fetch-Site": "same-origin", **{k.replace("_", "-"): v for k, v in headers.items()}}
        try:
            conn.request(method, f"/admin{path}", body=body, headers=sent)
            answer = conn.getresponse()
            data = answer.read()
        finally:
            conn.close()
        if answer.status >= 400:
            raise Stop(f"The console answered {answer.status} to {method} {path}: {data.decode(errors='replace')[:300]}")
        return answer.headers, json.loads(data) if data and "json" in answer.headers.get("Content-Type", "") else None

    def log_in(self):
        """Headers of the administrator's calls."""
        form = urllib.parse.urlencode(dict(zip(("login", "password"), self.state["db"][self.zone.db_url]["admin"])))
        headers, _ = self.api("POST", "/login", form, Content_Type="application/x-www-form-urlencoded")
        return {"Cookie": headers["Set-Cookie"].split(";")[0], "Content_Type": "application/json"}

    def start_mail(self):
        known = self.state["db"][self.zone.db_url]
        port = self.state.get("mail_port")
        self.mail = EasServer({u["login"]: u["password"] for u in known["users"]},
                              port=port if port and is_free(port, "127.0.0.1") else 0)
        self.state["mail_port"] = self.mail.port
        self.save()
        as_admin = self.log_in()
        _, servers = self.api("GET", "/api/v1/eas-servers", **as_admin)
        mine = next((x for x in servers["items"] if x["name"] == MAIL_NAME), None)
        if not mine:
            _, sources = self.api("GET", "/api/v1/sources", **as_admin)
            local = [x["id"] for x in sources["items"] if x["kind"] == "local"]
            self.api("POST", "/api/v1/eas-servers", json.dumps({"name": MAIL_NAME, "host": "127.0.0.1", "port": self.mail.port,
                                                                "tls": False, "sources": local}), **as_admin)
        elif mine["port"] != self.mail.port:
            self.api("PATCH", f"/api/v1/eas-servers/{mine['id']}", json.dumps({"port": self.mail.port}), **as_admin,
                     If_Match=f'"{mine["version"]}"')

    def log_end(self):
        text = ""
        for name in ("stderr.log", "error.log"):
            path = self.home / "logs" / name
            if path.exists():
                text += "\n".join(path.read_text(errors="replace").splitlines()[-8:]) + "\n"
        return text

    def answers(self, port, path):
        ctx = ssl.create_default_context(cafile=str(self.zone.tls_dir / "ca.pem"))
        try:
            conn = http.client.HTTPSConnection("localhost", port, timeout=10, context=ctx)
            conn.request("GET", path)
            status = conn.getresponse().status
            conn.close()
            return status < 400
        except (OSError, http.client.HTTPException):
            return False

    def tell(self):
        known = self.state["db"][self.zone.db_url]
        out = {"admin_url": f"https://{self.zone.host}:{self.zone.admin_port}/admin/", "portal_url": f"{self.zone.public_url}/portal/",
               "device_url": f"{self.zone.public_url}/mdm", "eas_url": f"{self.zone.public_url}/Microsoft-Server-ActiveSync", "admin_user": known["admin"][0],
               "admin_password": known["admin"][1], "users": known["users"], "pid": self.httpd.pid,
               "ca_file": str(self.zone.tls_dir / "ca.pem"), "db": self.zone.db_url}
        fresh = self.home / "run.json.new"
        zf.write_secret(fresh, json.dumps(out, indent=2).encode() + b"\n")
        os.replace(fresh, self.home / "run.json")
        print(f"""
console   {out['admin_url']}
          log in as {out['admin_user']} with {out['admin_password']}
portal    {out['portal_url']}
          log in as one of:""")
        for user in known["users"]:
            print(f"          {user['login']:<8} {user['password']}   ({user['name']})")
        print(f"""devices   {out['device_url']}
mail      {out['eas_url']}   (ActiveSync; log-ins as in the portal, mailboxes are simulated)
state     {self.home}   (addresses and passwords: run.json; logs: logs/)
TLS root  {out['ca_file']}

mdm ready
""", flush=True)

    def demo_policies(self):
        """Policies that a newcomer finds at work: made once, changed by nobody here after that."""
        as_admin = self.log_in()
        _, known = self.api("GET", "/api/v1/policies?limit=200", **as_admin)
        there = {(p["type"], p["name"]) for p in known["items"]}
        _, people = self.api("GET", f"/api/v1/people?q={PEOPLE[0][0]}", **as_admin)
        everybody = [{"kind": "folder", "id": ROOT_FOLDER}]
        for kind, name, levels, targets in (("security", "Everybody", ("moderate", "low"), everybody), ("device_control", "Everybody", ("low", "low"), everybody),
                                            ("security", "Management", ("strict", "strict"), [{"kind": "person", "id": p["id"]} for p in people["items"]])):
            if (kind, name) in there:
                continue
            body = {"type": kind, "name": name, "levels": dict(zip(("corporate", "personal"), levels)), "publish": True, "note": "Demo"}
            _, made = self.api("POST", "/api/v1/policies", json.dumps(body), **as_admin)
            _, reach = self.api("POST", "/api/v1/assignments/preview", json.dumps({"targets": targets}), **as_admin)
            self.api("POST", "/api/v1/assignments", json.dumps({"policy": made["id"], "targets": targets, "confirm": max(reach["devices"], 1)}), **as_admin)

    def demo(self):
        count = os.environ.get("DEMO", "")
        if not count or count == "0":
            return
        if not count.isdigit():
            raise Stop(f"DEMO={count} is not a number.")
        self.demo_policies()
        command = [sys.executable, "-W", "ignore", "-m", "sim", "--portal", f"{self.zone.public_url}/portal/", "--ca",
                   str(self.zone.tls_dir / "ca.pem"), "--people", str(self.home / "run.json"), "-n", count, "--mixed",
                   "--keep", str(self.home / "secret" / "sim")]
        env = dict(os.environ, PYTHONPATH=str(Path(__file__).resolve().parents[1]), PYTHONDONTWRITEBYTECODE="1")
        self.sim = subprocess.Popen(command, env=env, start_new_session=True, preexec_fn=die_with_parent)

    def wait(self):
        while not self.stopping:
            code = self.httpd.poll()
            if code is not None:
                if code not in (0, -signal.SIGTERM, -signal.SIGINT):
                    raise Stop(f"httpd ended with {code}; see {self.home}/logs:\n{self.log_end()}")
                return
            time.sleep(0.3)

    def end(self):
        for process in (self.sim, self.httpd):
            if process and process.poll() is None:
                process.terminate()
        if self.mail:
            self.mail.close()
        for process in (self.sim, self.httpd):
            if process:
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    pass
                try:
                    os.killpg(process.pid, signal.SIGKILL)  # whoever is left of its session
                except ProcessLookupError:
                    pass
                process.wait()

    def stop(self, *_):
        self.stopping = True


def main():
    if sys.argv[1:] == ["--home"]:
        print(home_folder())
        return 0
    die_with_parent()
    run = Run()
    signal.signal(signal.SIGINT, run.stop)
    signal.signal(signal.SIGTERM, run.stop)
    try:
        run.open_home()
        run.configure()
        run.first_start()
        run.files()
        run.start()
        if not run.stopping:
            run.start_mail()
            run.tell()
            run.demo()
            run.wait()
    except (Stop, zf.CtlError) as why:
        print(f"run: {why}", file=sys.stderr)
        return 1
    finally:
        run.end()
    print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
