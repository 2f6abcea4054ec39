"""Mail servers for the tests: a real one (aiosmtpd), with TLS and log-in, and one that does what a script says."""
import contextlib
import email
import email.policy
import os
import socket
import ssl
import struct
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

import zonefiles as zf

USER, PASSWORD = "mdm", "Mail-Pass-1"


class Mail(list):
    """What has arrived, as (envelope sender, recipients, message)."""

    async def handle_DATA(self, server, session, envelope):
        self.append((envelope.mail_from, envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=email.policy.default), envelope.content))
        return "250 taken"

    def to(self, address):
        return [m for _, rcpt, m, _ in self if rcpt == [address]]


def context(tls_dir, cert="server"):
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(tls_dir / f"{cert}.pem", tls_dir / f"{cert}.key")
    return ctx


class Server:
    """A mail server with STARTTLS (required), or TLS from the beginning; log-in required if `auth`."""

    def __init__(self, ctx, smtps=False, auth=True, port=None):
        self.mail, self.port, self.logins, self.sessions = Mail(), port or zf.free_port(), [], 0
        me = self

        def check(server, session, envelope, mechanism, data):
            me.logins.append(bytes(data.login))
            return AuthResult(success=bytes(data.login) == USER.encode() and bytes(data.password) == PASSWORD.encode(), handled=False)
        options = {"auth_required": auth, "authenticator": check if auth else None, "auth_require_tls": not smtps}
        if smtps:
            options["ssl_context"] = ctx
        elif ctx:
            options.update(tls_context=ctx, require_starttls=True)
        self.controller = Controller(self.mail, hostname="127.0.0.1", port=self.port, ready_timeout=60, **options)
        make = self.controller.factory

        def counted():
            me.sessions += 1
            return make()
        self.controller.factory = counted
        self.controller.start()
        self.sessions = 0  # the controller has looked whether it is there

    def stop(self):
        self.controller.stop(no_assert=True)


class Scripted:
    """Answers by a table: the verb → the lines to say. A callable gets the connection. Counts what was said."""
    PLAIN = {"": "220 here", "EHLO": "250-here\r\n250 SIZE 1000000", "MAIL": "250 ok", "RCPT": "250 ok", "DATA": "354 go on", ".": "250 taken", "QUIT": "221 bye"}

    def __init__(self, **answers):
        self.answers = {**self.PLAIN, **answers}
        self.said, self.mail, self.connections, self.open = [], [], 0, []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                conn, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            self.open.append(conn)
            threading.Thread(target=self._talk, args=(conn,), daemon=True).start()

    def _say(self, conn, key, line=""):
        answer = self.answers.get(key, "502 what?")
        answer = answer(self, conn, line) if callable(answer) else answer
        if answer:
            conn.sendall(answer.encode() + b"\r\n")

    def _talk(self, conn):
        try:
            with conn, conn.makefile("rb") as lines:
                self._say(conn, "")
                while line := lines.readline():
                    text = line.decode("latin-1").rstrip("\r\n")
                    self.said.append(text)
                    verb = text.split(" ")[0].split(":")[0].upper()
                    self._say(conn, verb, text)
                    if verb == "DATA" and str(self.answers["DATA"]).startswith("354"):
                        body = []
                        while (line := lines.readline()) not in (b".\r\n", b""):
                            body.append(line)
                        if line:
                            self.mail.append(b"".join(body))
                            self._say(conn, ".")
        except OSError:
            pass

    def stop(self):
        for one in (self.socket, *self.open):
            with contextlib.suppress(OSError):  # closed already
                one.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def hang(server, conn, line):
    """Says nothing until the other side has gone."""
    conn.recv(1)


def reset(server, conn, line):
    """The connection breaks."""
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(conn.detach())
    raise ConnectionResetError
