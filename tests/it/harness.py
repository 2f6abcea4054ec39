"""Private httpd servers and PostgreSQL clusters for the tests of the whole server."""
import contextlib
import http.client
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import zonefiles as zf  # noqa: E402

ADMIN_USER, ADMIN_PASSWORD = "admin", "admin-Pass-1"
PERSON, PERSON_PASSWORD = "anna", "anna-Pass-1"
TOPIC = "com.apple.mgmt.External.test"
ZONES = []  # every zone that was started: the autouse fixture reads their logs
PATIENCE = 120.0  # seconds after which nothing is waited for any more: a slow machine may be as slow as that, and who waits for what comes loses nothing


class StartError(RuntimeError):
    """The server did not start; the text holds the end of its error log."""


# ---- error log ------------------------------------------------------------------------------------------------------
class LogLine:
    PATTERN = re.compile(r"^\[[^\]]+\] \[(?P<module>[\w-]*):(?P<level>\w+)\] \[pid (?P<pid>\d+)[^\]]*\] (?P<text>.*)$")
    ID = re.compile(r"\b(MDM\d{4}|AH\d{5})\b")
    BAD = {"warn", "error", "crit", "alert", "emerg"}

    def __init__(self, raw):
        self.raw = raw
        match = self.PATTERN.match(raw)
        self.level = match["level"] if match else "unparsed"
        self.module = match["module"] if match else ""
        self.pid = int(match["pid"]) if match else 0
        self.text = match["text"] if match else raw
        found = self.ID.search(self.text)
        self.id = found[1] if found else None

    @property
    def bad(self):
        return self.level in self.BAD or (self.level == "unparsed" and self.raw.strip() != "")


class ErrorLog:
    """Reads an error log from where it stopped; knows which ids a test has declared."""

    def __init__(self, *paths):
        self.paths = [Path(p) for p in paths]
        self.seen = {p: 0 for p in self.paths}
        self.expected = set()
        self.lines = []

    def read(self):
        """New lines since the last call, also kept in self.lines."""
        fresh = []
        for path in self.paths:
            if not path.exists():
                continue
            with open(path, "rb") as f:
                f.seek(self.seen[path])
                data = f.read()
            end = data.rfind(b"\n") + 1
            self.seen[path] += end
            fresh += [LogLine(x) for x in data[:end].decode("utf-8", "replace").splitlines()]
        self.lines += fresh
        return fresh

    def expect(self, *ids):
        """Declares ids (MDMnnnn, AHnnnnn) that may be logged at warn or above until the end of the test."""
        self.expected.update(ids)

    def unexpected(self):
        self.read()
        return [x for x in self.lines if x.bad and x.id not in self.expected]

    def has(self, needle, wait=PATIENCE):
        """Waits until a line of this test holds `needle` (an id or a text); answers the line or None."""
        end = time.monotonic() + wait
        while True:
            self.read()
            for line in self.lines:
                if needle in line.raw:
                    return line
            if time.monotonic() > end:
                return None
            time.sleep(0.05)

    def next_test(self):
        """Forgets lines and declarations of the test that ended."""
        self.lines, self.expected = [], set()


def scratch(prefix):
    """A new folder, in memory where there is plenty: databases are thousands of small files, and are written all the time."""
    free = shutil.disk_usage("/dev/shm").free if os.access("/dev/shm", os.W_OK) else 0
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/dev/shm" if free > 4 << 30 else None))


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------
def pg_bin():
    for base in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (base / "postgres").exists():
            return base
    raise RuntimeError("PostgreSQL is missing: install the package postgresql")


class Postgres:
    """A private cluster on loopback, run as user postgres when we are root."""

    def __init__(self, options=""):
        self.options = options
        self.root = scratch("mdm-pg-")
        self.port = zf.free_port()
        self.count = 0
        self.user = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.root, self.user.pw_uid, self.user.pw_gid)
        self._run("initdb", "-D", self.root / "data", "-A", "trust", "-U", "mdm", "--no-sync", "-E", "UTF8",
                  "--locale=C.UTF-8")
        self.start()

    def _run(self, tool, *args):
        def become():
            os.setgid(self.user.pw_gid)
            os.setuid(self.user.pw_uid)
        done = subprocess.run([str(pg_bin() / tool), *map(str, args)], stdin=subprocess.DEVNULL, cwd="/",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              preexec_fn=become if self.user else None, env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]})
        if done.returncode:
            raise RuntimeError(f"{tool}: {done.stdout}")

    def start(self):
        # The server's output must not keep our pipe open, so it goes to a file.
        self._run("pg_ctl", "-D", self.root / "data", "-l", self.root / "log", "-w", "-o",
                  f"-F -k '' -h 127.0.0.1 -p {self.port} -c max_connections=200 -c shared_buffers=32MB "
                  f"-c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=128MB -c full_page_writes=off {self.options}",
                  "start")

    def stop(self, mode="immediate"):
        self._disconnect()
        self._run("pg_ctl", "-D", self.root / "data", "-m", mode, "-w", "stop")

    def pids(self):
        main = int((self.root / "data" / "postmaster.pid").read_text().splitlines()[0])
        return [main] + children_of(main)

    def _disconnect(self):
        for zone in ZONES:
            zone.disconnect()

    def freeze(self):
        self._disconnect()
        os.kill(self.pids()[0], signal.SIGSTOP)  # first: it must not make children that we don't stop
        self._signal(self.pids()[1:], signal.SIGSTOP)

    def thaw(self):
        self._signal(self.pids(), signal.SIGCONT)

    @staticmethod
    def _signal(pids, number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # a backend that was about to end
                os.kill(pid, number)

    def params(self, name):
        return f"host=127.0.0.1 port={self.port} user=mdm dbname={name}"

    def connect(self, name="postgres"):
        import psycopg2
        db = psycopg2.connect(self.params(name))
        db.autocommit = True
        return db

    def create(self, template=None):
        self.count += 1
        name = f"zone{self.count}"
        db = self.connect()
        try:
            db.cursor().execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
        finally:
            db.close()
        return name

    def drop(self, name):
        db = self.connect()
        try:
            db.cursor().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            db.close()

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.root, ignore_errors=True)


def children_of(pid):
    out = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                out.append(int(entry))
    return out


ALMOST_KILLED = 7.0  # seconds after which a child that does not end is looked at; after nine httpd kills it


def runs(pid):
    """It is there, and no zombie."""
    try:
        return Path("/proc", str(pid), "stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def show_stacks(pids):
    """Prints where the threads of processes are, for the report of a failed test."""
    for pid in pids:
        print(f"---- process {pid} does not end:")
        if shutil.which("gdb"):
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = subprocess.run(["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "thread apply all bt 16"], stdin=subprocess.DEVNULL,
                                      capture_output=True, text=True, timeout=20)
                print("\n".join(x for x in done.stdout.splitlines() if x.startswith(("Thread", "#"))))
        else:
            for path in sorted(Path("/proc", str(pid), "task").glob("*/*")):
                if path.name in ("comm", "wchan", "syscall", "stack"):
                    with contextlib.suppress(OSError):
                        print(f"{path}: {path.read_text().strip()}")


# ---- a zone ---------------------------------------------------------------------------------------------------------
RUNS = "AH00489|AH00292|AH00163"  # event, worker, prefork: "configured -- resuming normal operations"


class Zone:
    """One private httpd with one database. All addresses are on loopback."""

    def __init__(self, db_url, root=None, modules=True, tls_dir=None, key_file=None, **options):
        self.root = Path(root or tempfile.mkdtemp(prefix="mdm-zone-"))
        self.root.chmod(0o755)
        self.db_url, self.modules = db_url, modules
        self.address, self.host = "127.0.0.1", "localhost"
        self.htdocs = self.root / "htdocs"
        self.device_port, self.admin_port = zf.free_port(), zf.free_port()
        self.public_url = f"https://localhost:{self.device_port}"
        self.admin_url = f"https://localhost:{self.admin_port}/admin/"
        self.portal_url = f"{self.public_url}/portal/"
        self.module_dir = zf.BUILD / "modules"
        self.ui_dir = self.root / "ui"
        self.tls_dir = Path(tls_dir) if tls_dir else zf.make_tls(self.root / "tls")
        self.key_file = Path(key_file) if key_file else self.root / "tls" / "seal.key"
        self.children = options.pop("children", 1)  # each child reads changes for itself: what one has seen, another may not have
        self.threads = options.pop("threads", 32 // self.children)
        self.cache_size = options.pop("cache_size", "4M")
        self.log_level = options.pop("log_level", "info ssl:warn")
        # longest time of one statement, the server's own measure of a database that hangs: here nothing is slow but the machine, or a lock is a test's
        patience = options.pop("database_timeout", 30)
        self.extra_main = (f"MDMDatabaseTimeout {patience}\n" if modules else "") + options.pop("extra_main", "")
        self.extra_device = options.pop("extra_device", "")
        self.extra_admin = options.pop("extra_admin", "")
        self.sanitize = options.pop("sanitize", os.environ.get("MDM_SANITIZE") == "1")
        if options:
            raise TypeError(f"unknown options {sorted(options)}")
        self.process = None
        self.kept = []  # idle connections to PostgreSQL
        self.drop = lambda: None  # what its maker has to clean up besides
        self.log = ErrorLog(self.root / "logs" / "error.log", self.root / "logs" / "stderr.log")

    # -- life
    def prepare(self):
        for name in ("run", "logs", "htdocs", "db", "ui"):
            (self.root / name).mkdir(exist_ok=True)
        (self.root / "htdocs" / "harness-ready.txt").write_text("ready\n")
        if (zf.BUILD / "ui").is_dir():
            shutil.copytree(zf.BUILD / "ui", self.ui_dir, dirs_exist_ok=True)
        (self.root / "httpd.conf").write_text(zf.render(self))
        zf.give_away(self.root / "db")
        zf.give_away(self.root / "run")

    def environment(self):
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        if self.sanitize:
            found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True)
            env["LD_PRELOAD"] = os.path.realpath(found.stdout.strip())
            # A report goes to stderr, which is one of the logs that must stay clean. Leaks: pools live as long as httpd.
            env["ASAN_OPTIONS"] = "detect_leaks=0:abort_on_error=0:detect_stack_use_after_return=0"
            env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1"
        return env

    def httpd(self, *args):
        return [zf.httpd_binary(), "-d", str(self.root), "-f", str(self.root / "httpd.conf"), *args]

    def config_test(self):
        """(exit code, output) of httpd -t."""
        done = subprocess.run(self.httpd("-t"), capture_output=True, text=True, env=self.environment())
        return done.returncode, done.stdout + done.stderr

    def start(self, wait=PATIENCE):
        self.prepare()
        with open(self.root / "logs" / "stderr.log", "ab") as err:
            self.process = subprocess.Popen(self.httpd("-DFOREGROUND"), stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                            env=self.environment(), start_new_session=True)
        if self not in ZONES:
            ZONES.append(self)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if self.answers():
                return self
            time.sleep(0.03)
        tail = "\n".join(x.raw for x in self.log.read()[-20:])
        code = self.process.poll()
        self.kill()
        raise StartError(f"httpd did not start (exit {code}):\n{tail}")

    def answers(self):
        try:
            status, _, body = self.request("GET", "/harness-ready.txt", timeout=10)
            return status == 200 and body == b"ready\n"
        except (OSError, http.client.HTTPException):
            return False

    def stop(self, wait=PATIENCE):
        """SIGTERM. A child that hangs fails it, and its stacks are shown; one that is only slow has all the time, since httpd is stopped meanwhile."""
        self.disconnect()
        self._children_end()
        if self.process and self.process.poll() is None:
            begun = len(self._log_text())
            self.process.terminate()
            try:
                self.process.wait(ALMOST_KILLED)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGSTOP)
                end = time.monotonic() + wait / 2
                while (late := [pid for pid in self.child_pids() if runs(pid)]) and time.monotonic() < end:
                    time.sleep(0.05)
                show_stacks(late)
                self.process.send_signal(signal.SIGCONT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(wait)
            if self.process.poll() is None:
                show_stacks([self.process.pid])
                self.kill()
                raise RuntimeError("httpd did not stop")
            assert "AH00046" not in self._log_text()[begun:], "a child did not end by itself"
        self.process = None

    def kill(self):
        """Ends the parent and its children at once."""
        if self.process:
            for pid in self.child_pids() + [self.process.pid]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.process.wait()
            self.process = None

    def _children_end(self):
        """The event MPM logs an error when it would keep a connection, or let one linger, while its child ends and has closed its
        workers' sockets: httpd's own race, not ours."""
        self.log.expect("AH03093", "AH03092")

    def graceful(self, wait=PATIENCE):
        """SIGUSR1; returns when children of the new generation answer."""
        before = len(re.findall(RUNS, self._log_text()))
        self._children_end()
        self.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + wait
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise StartError("httpd ended in a graceful restart")
            if len(re.findall(RUNS, self._log_text())) > before and self.answers():
                return
            time.sleep(0.05)
        raise RuntimeError("graceful restart did not finish")

    def _log_text(self):
        try:
            return (self.root / "logs" / "error.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def child_pids(self):
        return children_of(self.process.pid) if self.process else []

    def kill_child(self, sig=signal.SIGKILL):
        """Kills one child; its death is logged by httpd as a notice."""
        for pid in self.child_pids():
            with contextlib.suppress(ProcessLookupError):  # one that ended by itself just now
                os.kill(pid, sig)
                return pid
        raise AssertionError("there is no child")

    def close(self):
        self.stop()
        if self in ZONES:
            ZONES.remove(self)
        shutil.rmtree(self.root, ignore_errors=True)
        self.drop()

    # -- requests
    def ssl_context(self, cert=None, key=None, tls12=False):
        ctx = ssl.create_default_context(cafile=str(self.tls_dir / "ca.pem"))
        if cert:
            ctx.load_cert_chain(cert, key)
        if tls12:
            ctx.maximum_version = ssl.TLSVersion.TLSv1_2
        return ctx

    def connection(self, cert=None, key=None, admin=False, timeout=PATIENCE):
        """A kept-alive connection (http.client) to the device or the admin vhost."""
        port = self.admin_port if admin else self.device_port
        return http.client.HTTPSConnection("localhost", port, timeout=timeout, context=self.ssl_context(cert, key))

    def request(self, method, path, body=None, headers=None, cert=None, key=None, admin=False, timeout=PATIENCE, source=None):
        """One request on a new connection, from another address of this host if one is given: (status, headers, body)."""
        conn = self.connection(cert, key, admin, timeout)
        conn.source_address = source and (source, 0)
        try:
            conn.request(method, path, body=body, headers=headers or {})
            answer = conn.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            conn.close()

    # -- administration
    def run_soon(self, *kinds):
        """Jobs that wait begin at once; one that is at work has not seen what was done just now, and begins again behind that."""
        for kind in kinds:
            wait_for(lambda: self.sql("UPDATE job SET run_at_ms = 1 WHERE kind = ? AND state = 'waiting' RETURNING 1", kind)
                     or not self.sql("SELECT 1 FROM job WHERE kind = ? AND state = 'running'", kind))

    def ctl(self, *args, stdin=None, check=True):
        out = zf.mdmctl(self, *args, stdin=stdin, check=check)
        if self.db_url.startswith("sqlite3:"):
            zf.give_away(self.root / "db")
        return out

    def sql(self, statement, *args):
        """Rows of a statement run beside the server (placeholders: ?)."""
        driver, params = zf.split_db(self.db_url)
        if driver == "sqlite3":
            import sqlite3
            db = sqlite3.connect(params, timeout=40, isolation_level=None)
            try:
                return db.execute(statement, args).fetchall()
            finally:
                db.close()
                zf.give_away(self.root / "db")
        return self._pg_sql(params, statement.replace("%", "%%").replace("?", "%s"), args)

    def publish(self, policy, settings):
        """A next version of a policy, in force from now on: what a version says never changes, and a computation under way remembers it."""
        number = self.sql("SELECT COALESCE(MAX(number), 0) + 1 FROM policy_version WHERE policy_id = ?", policy)[0][0]
        self.sql("INSERT INTO policy_version (policy_id, number, settings, created_ms) VALUES (?, ?, ?, 0)", policy, number, settings)
        self.sql("UPDATE policy SET published = ? WHERE id = ?", number, policy)

    def _pg_sql(self, params, statement, args):
        """On a connection that is kept for the next one: PostgreSQL takes much longer for a new connection than for an answer."""
        import psycopg2
        try:
            db, old = self.kept.pop(), True
        except IndexError:
            db, old = psycopg2.connect(params), False
        db.autocommit = True
        try:
            with db.cursor() as cur:
                cur.execute(statement, args)
                return cur.fetchall() if cur.description else []
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            if not old or not db.closed:
                raise
        finally:
            if not db.closed:
                self.kept.append(db)
        return self._pg_sql(params, statement, args)  # the server had ended it meanwhile

    def disconnect(self):
        while self.kept:
            self.kept.pop().close()


def wait_for(what, timeout=PATIENCE, step=0.05):
    """Calls what() until it answers something true; returns that, or fails."""
    end = time.monotonic() + timeout
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s for {getattr(what, '__doc__', None) or what}")
        time.sleep(step)


# ---- templates: one migrated database per engine, copied for each zone ----------------------------------------------
def setup_zone(zone):
    """What `make run` does at first start, with fixed passwords."""
    zone.ctl("migrate")
    zone.ctl("ca", "ensure")
    zone.ctl("admin", "add", ADMIN_USER, "--role", "super_admin", "--password-stdin", stdin=ADMIN_PASSWORD + "\n")
    zone.ctl("user", "add", PERSON, "--name", "Anna Example", "--mail", "anna@example.org", "--password-stdin",
             stdin=PERSON_PASSWORD + "\n")
    zone.ctl("policy", "demo")
    zone.ctl("setting", "set", "apns.topic", f'"{TOPIC}"')


class Factory:
    """Makes zones from templates; one per test session."""

    def __init__(self):
        self.root = scratch("mdm-it-")
        self.root.chmod(0o755)
        self.tls = zf.make_tls(self.root / "tls")
        self.key_file = self.root / "tls" / "seal.key"
        self._pg, self._templates, self._count = None, {}, 0
        zf.make_key(self.key_file)

    @property
    def pg(self):
        if not self._pg:
            self._pg = Postgres()
        return self._pg

    def _template(self, db):
        if db not in self._templates:
            if db == "sqlite3":
                folder = self.root / "template"
                folder.mkdir()
                holder = Zone(f"sqlite3:{folder}/mdm.db", root=folder, tls_dir=self.tls, key_file=self.key_file)
                (folder / "db").mkdir()
                setup_zone(holder)
                import sqlite3
                db3 = sqlite3.connect(folder / "mdm.db")
                db3.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                db3.close()
                self._templates[db] = folder / "mdm.db"
            else:
                name = self.pg.create()
                folder = self.root / "template-pg"
                (folder / "db").mkdir(parents=True)
                setup_zone(Zone("pgsql:" + self.pg.params(name), root=folder, tls_dir=self.tls, key_file=self.key_file))
                self._templates[db] = name
        return self._templates[db]

    def zone(self, db, pg=None, empty=False, fails=False, **options):
        """A zone that is set up but not started. pg: a cluster of its own. fails: the test takes the database away, which is to be noticed soon."""
        if fails or pg:
            options["database_timeout"] = 3
        connect = f"connect_timeout={5 if fails or pg else 20}"
        self._count += 1
        root = self.root / f"zone{self._count}"
        (root / "db").mkdir(parents=True)
        bare = empty or options.get("modules") is False
        if db == "sqlite3":
            url = f"sqlite3:{root}/db/mdm.db"
            if not bare:
                shutil.copy(self._template(db), root / "db" / "mdm.db")
        elif pg:
            url = f"pgsql:{pg.params(pg.create())} {connect}"
        else:
            name = self.pg.create(None if bare else self._template(db))
            url = f"pgsql:{self.pg.params(name)} {connect}"
        zone = Zone(url, root=root, tls_dir=self.tls, key_file=self.key_file, **options)
        if pg and not bare:
            setup_zone(zone)
        if db == "pgsql" and not pg:
            zone.drop = lambda: self.pg.drop(name)
        return zone

    def close(self):
        for zone in list(ZONES):
            zone.close()
        if self._pg:
            self._pg.close()
        shutil.rmtree(self.root, ignore_errors=True)
