"""A real mail server that speaks ActiveSync: SOGo behind httpd, with Dovecot, memcached and PostgreSQL, all private and on loopback."""
import contextlib
import getpass
import imaplib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import harness
import smtpd
import zonefiles as zf

DOVECOT = """base_dir = {root}/dovecot
log_path = {root}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 1
mail_location = maildir:{root}/mail/%n
mail_uid = {user}
mail_gid = {group}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {root}/people
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={root}/mail/%n
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  mailbox Sent {{
    auto = create
  }}
  mailbox Drafts {{
    auto = create
  }}
  mailbox Trash {{
    auto = create
  }}
}}
"""


class Sogo:
    """people: {"anna": "password"}; mail: what was sent, as smtpd has it."""

    def __init__(self, factory, people):
        self.people, self.processes = dict(people), []
        self.root = Path(tempfile.mkdtemp(prefix="mdm-sogo-"))
        self.user = pwd.getpwnam("sogo" if os.geteuid() == 0 else getpass.getuser())
        self.imap, self.port = zf.free_port(), zf.free_port()
        self.smtp = smtpd.Server(None, auth=False)
        self.mail = self.smtp.mail
        self.front = None  # a zone whose second address leads to SOGo
        try:
            self._start(factory)
        except BaseException:
            self.close()
            raise

    def _start(self, factory):
        for name in ("dovecot", "mail", "home", "spool"):
            (self.root / name).mkdir()
        (self.root / "people").write_text("".join(f"{n}:{p}\n" for n, p in self.people.items()))
        group = subprocess.run(["id", "-gn", self.user.pw_name], capture_output=True, text=True, check=True).stdout.strip()
        (self.root / "dovecot.conf").write_text(DOVECOT.format(root=self.root, user=self.user.pw_name, group=group, imap=self.imap))
        database = self._database(factory.pg)
        for base, folders, files in os.walk(self.root):
            for path in (base, *(os.path.join(base, x) for x in folders + files)):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        self._run("dovecot", "-F", "-c", self.root / "dovecot.conf")
        self._run("memcached", "-s", self.root / "memcached", "-m", "16")
        self._run("sogod", *self._settings(database))
        self.front = factory.zone("sqlite3", modules=False, extra_admin=(
            'ProxyTimeout 3600\nProxyPass "/Microsoft-Server-ActiveSync" '
            f'"http://127.0.0.1:{self.port}/SOGo/Microsoft-Server-ActiveSync" retry=0 disablereuse=On')).start()
        harness.wait_for(self._answers, step=0.2)
        for who in self.people:
            self._track(who)

    def _database(self, cluster):
        name = cluster.create()
        db = cluster.connect(name)
        cursor = db.cursor()
        cursor.execute("CREATE TABLE people (c_uid TEXT PRIMARY KEY, c_name TEXT, c_password TEXT, c_cn TEXT, mail TEXT)")
        for who, password in self.people.items():
            cursor.execute("INSERT INTO people VALUES (%s, %s, %s, %s, %s)", (who, who, password, who.title(), f"{who}@example.org"))
        db.close()
        return f"postgresql://mdm:none@127.0.0.1:{cluster.port}/{name}"

    def _settings(self, database):
        source = ('({ type = sql; id = people; viewURL = "%s/people"; canAuthenticate = YES; isAddressBook = NO; userPasswordAlgorithm = plain; })'
                  % database)
        values = {"WOPort": f"127.0.0.1:{self.port}", "WOWorkersCount": "3", "WONoDetach": "YES", "WOLogFile": "-",
                  "WOPidFile": f"{self.root}/sogo.pid", "SOGoProfileURL": f"{database}/profile", "OCSFolderInfoURL": f"{database}/folder_info",
                  "OCSSessionsFolderURL": f"{database}/sessions", "OCSEMailAlarmsFolderURL": f"{database}/alarms",
                  "OCSStoreURL": f"{database}/store", "OCSAclURL": f"{database}/acl", "OCSCacheFolderURL": f"{database}/cache",
                  "SOGoUserSources": source, "SOGoIMAPServer": f"imap://127.0.0.1:{self.imap}", "SOGoSMTPServer": f"smtp://127.0.0.1:{self.smtp.port}",
                  "SOGoMemcachedHost": f"{self.root}/memcached", "SOGoMailSpoolPath": f"{self.root}/spool", "SOGoMailDomain": "example.org",
                  "SOGoInternalSyncInterval": "1", "SOGoMaximumPingInterval": "60", "SOGoMaximumSyncInterval": "60"}
        return [x for k, v in values.items() for x in (f"-{k}", v)]

    def _run(self, *command):
        def become():
            if os.geteuid() == 0:
                os.setgid(self.user.pw_gid)
                os.setuid(self.user.pw_uid)
        log = open(self.root / f"{command[0]}.out", "wb")
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self.root / "home"), "LC_ALL": "C.UTF-8"}
        self.processes.append(subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=self.root,
                                               preexec_fn=become))
        log.close()

    def _answers(self):
        """SOGo answers"""
        for process in self.processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args[0]} ended: " + (self.root / f"{process.args[0]}.out").read_text(errors="replace")[-2000:])
        status, _, _ = self.front.request("OPTIONS", "/Microsoft-Server-ActiveSync", admin=True)
        return status == 401

    def _login(self, who):
        imap = imaplib.IMAP4("127.0.0.1", self.imap, timeout=60)
        imap.login(who, self.people[who])
        return imap

    def _track(self, who):
        """Dovecot counts a folder's changes from the first client on that asks for it; without a count SOGo sees none."""
        imap = self._login(who)
        imap.enable("CONDSTORE")
        imap.select("INBOX")
        imap.logout()

    def deliver(self, who, text):
        """A mail arrives in a person's inbox."""
        imap = self._login(who)
        code, said = imap.append("INBOX", None, None, text.encode())
        imap.logout()
        assert code == "OK", said

    def close(self):
        if self.front:
            self.front.close()
        # nothing in here is worth a proper end, and SOGo takes ten seconds for one
        for pid in [c for p in self.processes if p.poll() is None for c in (p.pid, *harness.children_of(p.pid))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()
        self.smtp.stop()
        shutil.rmtree(self.root, ignore_errors=True)
