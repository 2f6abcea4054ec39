"""An ActiveSync server on loopback: policies of its own, wipes, cookies, scriptable faults, records what it gets. Mailboxes: eas_box."""
import base64
import http.server
import select
import socket
import ssl
import struct
import threading
import time
import urllib.parse

from sim.eas_box import WBXML, Commands, Mailbox, Stream, holding
from sim.wbxml import Node, WbxmlError, decode, encode

PATH = "/microsoft-server-activesync"
VERSIONS = "12.1,14.0,14.1,16.0,16.1"
COMMANDS = ("Sync SendMail SmartForward SmartReply GetAttachment - - - - FolderSync FolderCreate FolderDelete FolderUpdate MoveItems "
            "GetItemEstimate MeetingResponse Search Settings Ping ItemOperations Provision ResolveRecipients ValidateCert Find").split()
STATUS_OF = {"FolderSync": "FH", "FolderCreate": "FH", "FolderUpdate": "FH", "FolderDelete": "FH", "Ping": "PG", "ItemOperations": "IO",
             "SendMail": "CM", "SmartReply": "CM", "SmartForward": "CM", "Settings": "ST", "Provision": "PV", "Search": "SR", "MoveItems": "MV",
             "GetItemEstimate": "GE"}  # else AS
OLD = ("2.5", "12.0", "12.1")
POLICY_TYPE = "MS-EAS-Provisioning-WBXML"


def parse_query(query, headers):
    """Both forms: dict with Cmd, User, DeviceId, DeviceType, version, key (None: not sent), form."""
    if "&" not in query and "=" not in query.rstrip("="):
        raw = base64.b64decode(urllib.parse.unquote(query), validate=True)
        version, code, _, n = struct.unpack_from("<BBHB", raw)
        device, at = raw[5:5 + n], 5 + n
        size, at = raw[at], at + 1
        key, at = struct.unpack_from("<I", raw, at)[0] if size else None, at + size
        kind, at = raw[at + 1:at + 1 + raw[at]].decode(), at + 1 + raw[at]
        tags = {}
        while at < len(raw):
            tags[raw[at]] = raw[at + 2:at + 2 + raw[at + 1]]
            at += 2 + raw[at + 1]
        plain = n != 16 or all(chr(c).isalnum() and c < 128 for c in device)
        names = {0: "AttachmentName", 1: "CollectionId", 3: "ItemId", 4: "LongId"}
        more = {name: tags[t].decode() for t, name in names.items() if t in tags}
        options = tags.get(7, b"\0")[0]
        return {**more, **({"SaveInSent": "T"} if options & 1 else {}), "Cmd": COMMANDS[code], "User": tags.get(8, b"").decode(),
                "DeviceId": device.decode() if plain else device.hex().upper(), "DeviceType": kind, "key": key,
                "version": f"{version // 10}.{version % 10}", "multipart": bool(options & 2), "form": "base64"}
    found = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    key = headers.get("X-MS-PolicyKey")
    return {**found, "version": headers.get("MS-ASProtocolVersion"), "key": int(key) if key else None,
            "multipart": headers.get("MS-ASAcceptMultiPart") == "T", "form": "plain"}


def has_left(sock):
    """True if the peer of a held request closed. A TLS peer that says anything now says good-bye."""
    if not select.select([sock], [], [], 0)[0]:
        return False
    return isinstance(sock, ssl.SSLSocket) or not sock.recv(1, socket.MSG_PEEK)


class EasServer:
    """users = {"alice": "secret"}. script[command or "*"] = [step, …], taken one by one, the last one stays. Steps:
    {"status": 503, "headers": {...}, "body": b"…"} answers so; {"html": True} a login page with 200; {"hang": True} never answers;
    {"reset": True} breaks the connection; {"delay": seconds}; {"eas": 142} root and status; {} goes on as usual. These go on as usual, but
    {"slow": seconds} waits before each byte of the answer, {"cut": n} breaks the connection after n bytes of it (True: a few after its
    headers), {"stall": n} says nothing more after n.
    policy = {"AllowCamera": 0} wants to be acknowledged before anything else, policies[user] is that person's own; ask_again(user) wants it
    once more. wipe, wipe_account: {(user, DEVICEID)}. cookies: each person has one and must bring it back. versions: what is offered.
    trouble: what no front may do: another person's cookie, or a user in the query who is not the one of the log-in."""

    def __init__(self, users, policy=None, context=None, port=0, versions=None, cookies=False):
        self.users, self.policy, self.policies = dict(users), policy, {}
        self.offered, self.cookies, self.trouble = versions, cookies, []
        self.script, self.requests = {}, []
        self.boxes = {name: Mailbox(name) for name in users}
        self.keys, self.wipe, self.wipe_account, self.caches = {}, set(), set(), {}
        self.changed = threading.Condition()
        self.held, self.gone, self.closing = 0, 0, False
        server = self

        class Handler(_Handler):
            eas = server
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.http.daemon_threads = True
        if context:
            # the handshake is the connection's own business: a slow one must not stop accepting
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self.http.shutdown()
        self.http.server_close()

    @property
    def versions(self):
        return self.offered or VERSIONS

    def deliver(self, user, text, files=None):
        """A mail arrives: held requests of the user are answered. Its number."""
        with self.changed:
            number = self.boxes[user].put("5", text, files)
            self.changed.notify_all()
            return number

    def of(self, command):
        with self.changed:
            return [r for r in self.requests if r["Cmd"] == command]

    def step(self, command):
        with self.changed:
            steps = self.script.get(command) or self.script.get("*") or [{}]
            return steps.pop(0) if len(steps) > 1 else steps[0]

    @property
    def info(self):
        """What devices have told about themselves: {(user, DEVICEID): {"Model": …}}."""
        return {device: cache["info"] for device, cache in self.caches.items() if "info" in cache}

    # -- policy

    def policy_of(self, user):
        return self.policies.get(user, self.policy)

    def ask_again(self, user):
        """Each device of this person has to acknowledge the policy once more (143, 449)."""
        with self.changed:
            self.keys = {d: ("old", k[1]) if d[0] == user else k for d, k in self.keys.items()}

    def needs(self, device, request, command):
        """The status that stops a command: a wipe, or a policy that was not acknowledged."""
        if command in ("Provision", "Ping"):
            return 0
        if device in self.wipe | self.wipe_account:
            return 140
        if not self.policy_of(device[0]):
            return 0
        kind, key = self.keys.get(device, (None, None))
        return 0 if kind == "final" and request["key"] == key else 142 if kind is None else 143 if kind == "old" else 144

    def provision(self, user, request, doc):
        device = (user, request["DeviceId"].upper())
        for pending, name in ((self.wipe, "RemoteWipe"), (self.wipe_account, "AccountOnlyRemoteWipe")):
            if device in pending:
                ack = doc is not None and doc.value(f"PV.{name}/PV.Status")
                if ack == "1":
                    pending.discard(device)
                return Node("PV.Provision", Node("PV.Status", 2 if ack == "2" else 1), *([] if ack == "1" else [Node(f"PV.{name}")]))
        policy = doc.get("PV.Policies/PV.Policy")
        info = doc.get("ST.DeviceInformation/ST.Set")
        if info:
            self.caches.setdefault(device, {})["info"] = {k.name[3:]: k.text for k in info.kids}
        if policy.get("PV.Status") is None:
            if not self.policy_of(user):
                return self._policy(2)
            self.keys[device] = ("temp", 1000 + len(self.requests))
            doc = Node("PV.EASProvisionDoc", *[Node(f"PV.{k}", v) for k, v in self.policy_of(user).items()])
            return self._policy(1, self.keys[device][1], Node("PV.Data", doc))
        if self.keys.get(device) != ("temp", int(policy.value("PV.PolicyKey"))):
            return self._policy(5)
        self.keys[device] = ("final", 5000 + len(self.requests))
        return self._policy(1, self.keys[device][1])

    @staticmethod
    def _policy(status, key=None, data=None):
        return Node("PV.Provision", Node("PV.Status", 1), Node("PV.Policies", Node(
            "PV.Policy", Node("PV.PolicyType", POLICY_TYPE), Node("PV.Status", status),
            *([Node("PV.PolicyKey", key)] if key else []), *([data] if data else []))))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    eas, how, cookie = None, {}, None

    def log_message(self, *_):
        pass

    def _send(self, status, body=b"", kind=WBXML, headers=None):
        """body: bytes, or a Stream."""
        length = body.length if isinstance(body, Stream) else len(body)
        self.send_response(status, {449: "Retry With"}.get(status))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if self.cookie:
            self.send_header("Set-Cookie", f"X-BackEndCookie={self.cookie}; path=/")
        if length:
            self.send_header("Content-Type", body.kind if isinstance(body, Stream) else kind)
        self.send_header("Content-Length", str(length))
        if not {"slow", "cut", "stall"} & set(self.how):
            self.end_headers()
            for piece in body.pieces if isinstance(body, Stream) else [body]:
                self.wfile.write(piece)
            return
        self._headers_buffer.append(b"\r\n")
        head, self._headers_buffer = b"".join(self._headers_buffer), []
        self._badly(head, body.pieces if isinstance(body, Stream) else [body])

    def _badly(self, head, pieces):
        limit = self.how.get("cut") or self.how.get("stall") or -1
        limit = len(head) + 4 if limit is True else limit
        for piece in (head, *pieces):
            part = piece if limit < 0 else piece[:limit]
            limit -= 0 if limit < 0 else len(part)
            for byte in [part[i:i + 1] for i in range(len(part))] if "slow" in self.how else [part]:
                time.sleep(self.how.get("slow", 0))
                self.wfile.write(byte)
                self.wfile.flush()
            if limit == 0:
                return self._hang() if "stall" in self.how else self._break()
        return None

    def _hang(self):
        while not self.eas.closing and not has_left(self.connection):
            time.sleep(0.02)
        self._break()

    def _break(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def _body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline() or b"x", 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        size = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(size)
        if len(body) < size:
            raise ValueError
        return body

    @staticmethod
    def _name(text):
        return text.rpartition("\\")[2].partition("@")[0]

    def _user(self):
        """The mailbox of the credentials, None if they are wrong."""
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        try:
            name, _, password = base64.b64decode(text).decode().partition(":")
        except ValueError:
            return None
        name = self._name(name)
        return name if kind == "Basic" and password and self.eas.users.get(name) == password else None

    def _knows(self, user, request):
        """Notes what only a front that mixes people up can do."""
        if request.get("User") and self._name(request["User"]).lower() != user.lower():
            self.eas.trouble.append(f"{user} asks for {request['User']}")
        if self.eas.cookies:
            self.cookie = f"of-{user}"
            theirs = self.headers.get("Cookie")
            if theirs and theirs != f"X-BackEndCookie={self.cookie}":
                self.eas.trouble.append(f"{user} brings {theirs}")

    def do_OPTIONS(self):
        self._record("OPTIONS", {}, b"")
        if not self._scripted(self.eas.step("OPTIONS"), "OPTIONS"):
            if self._user() is None:
                self._send(401, headers={"WWW-Authenticate": 'Basic realm="mail"'})
            else:
                self._send(200, headers={"MS-ASProtocolVersions": self.eas.versions, "MS-Server-ActiveSync": "15.2",
                                         "MS-ASProtocolCommands": ",".join(c for c in COMMANDS if c != "-")})

    def _record(self, command, request, body):
        request = {"Cmd": command, **request, "target": self.path, "headers": dict(self.headers.items()), "body": body, "at": time.time()}
        with self.eas.changed:
            self.eas.requests.append(request)
        return request

    def _scripted(self, step, command):
        """True if the step was the whole answer."""
        time.sleep(step.get("delay", 0))
        self.how, self.cookie = step, None
        if step.get("hang"):
            self._hang()
        elif step.get("reset"):
            self._break()
        elif step.get("html"):
            self._send(200, b"<html><body>Please log in</body></html>", "text/html")
        elif "eas" in step:
            page = STATUS_OF.get(command, "AS")
            self._send(200, encode(Node(f"{page}.{command}", Node(f"{page}.Status", step["eas"]))))
        elif "status" in step:
            self._send(step["status"], step.get("body", b""), "text/plain", step.get("headers"))
        else:
            return False
        return True

    def do_POST(self):
        if self.eas.closing:  # on a connection that was kept
            return self._break()
        path, _, query = self.path.partition("?")
        try:
            body = self._body()
        except (ValueError, OSError):  # cut off: no request
            self.close_connection = True
            return None
        try:
            request = parse_query(query, self.headers)
            doc = decode(body) if body and "wbxml" in self.headers.get("Content-Type", "") else None
            command = request["Cmd"]
        except (ValueError, KeyError, IndexError, struct.error, WbxmlError):
            self._record("?", {}, body)
            return self._send(400)
        request = self._record(command, request, body)
        if path.lower() != PATH:
            return self._send(404)
        if self._scripted(self.eas.step(command), command):
            return None
        user = self._user()
        if user is None:
            return self._send(401, headers={"WWW-Authenticate": 'Basic realm="mail"'})
        self._knows(user, request)
        return self._command(user, command, request, doc)

    def _hold(self, ready, seconds):
        eas = self.eas
        with eas.changed:
            eas.held += 1
            try:
                if holding(eas.changed, lambda: has_left(self.connection), lambda: eas.closing, ready, seconds):
                    return True
                eas.gone += 1
                return False
            finally:
                eas.held -= 1

    def _command(self, user, command, request, doc):
        eas, device = self.eas, (user, request["DeviceId"].upper())
        if request["version"] not in eas.versions.split(","):
            return self._send(400)
        status, old = eas.needs(device, request, command), request["version"] in OLD
        if status and old:
            return self._send(403 if status == 140 and request["key"] is None else 449)
        if status:
            page = STATUS_OF.get(command, "AS")
            return self._send(200, encode(Node(f"{page}.{command}", Node(f"{page}.Status", status))))
        commands = Commands(eas.boxes[user], eas.boxes, request, doc, eas.caches.setdefault(device, {}), self._hold)
        call = getattr(commands, command, None) if command in COMMANDS else None
        if call is None and command != "Provision":
            return self._send(501)
        try:
            answer = eas.provision(user, request, doc) if command == "Provision" else call()
        except (AttributeError, TypeError, ValueError):  # an element is missing or wrong
            return self._send(400)
        if answer is False:
            return self._break()
        if isinstance(answer, int):
            return self._send(answer)
        with eas.changed:
            eas.changed.notify_all()  # whom this sent a mail
        return self._send(200, encode(answer) if isinstance(answer, Node) else answer or b"")
