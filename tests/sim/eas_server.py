"""An ActiveSync server on loopback: mailboxes, held Pings, a policy of its own, scriptable faults, records what it gets."""
import base64
import http.server
import select
import socket
import ssl
import struct
import threading
import time
import urllib.parse

from sim.wbxml import Node, WbxmlError, decode, encode

PATH = "/microsoft-server-activesync"
VERSIONS = "12.1,14.0,14.1,16.0,16.1"
COMMANDS = ("Sync SendMail SmartForward SmartReply GetAttachment - - - - FolderSync FolderCreate FolderDelete FolderUpdate MoveItems "
            "GetItemEstimate MeetingResponse Search Settings Ping ItemOperations Provision ResolveRecipients ValidateCert Find").split()
STATUS_OF = {"Sync": "AS", "FolderSync": "FH", "Ping": "PG", "ItemOperations": "IO", "SendMail": "CM", "Settings": "ST", "Provision": "PV"}
POLICY_TYPE = "MS-EAS-Provisioning-WBXML"
WBXML = "application/vnd.ms-sync.wbxml"


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
        return {"Cmd": COMMANDS[code], "DeviceId": device.decode() if plain else device.hex().upper(), "DeviceType": kind, "key": key,
                "User": tags.get(8, b"").decode(), "version": f"{version // 10}.{version % 10}", "form": "base64"}
    found = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
    key = headers.get("X-MS-PolicyKey")
    return {**found, "version": headers.get("MS-ASProtocolVersion"), "key": int(key) if key else None, "form": "plain"}


def has_left(sock):
    """True if the peer of a held request closed. A TLS peer that says anything now says good-bye."""
    if not select.select([sock], [], [], 0)[0]:
        return False
    return isinstance(sock, ssl.SSLSocket) or not sock.recv(1, socket.MSG_PEEK)


class Mailbox:
    def __init__(self):
        self.mails, self.sent, self.version = [], [], 0


class EasServer:
    """users = {"alice": "secret"}. script[command or "*"] = [step, …], taken one by one, the last one stays. Steps:
    {"status": 503, "headers": {...}, "body": b"…"} answers so; {"html": True} a login page with 200; {"hang": True} never answers;
    {"reset": True} breaks the connection, {"cut": True} within the answer; {"delay": seconds}; {"eas": 142} root and status;
    {} goes on as usual. policy = {"AllowCamera": 0} wants to be acknowledged before anything else."""

    def __init__(self, users, policy=None, context=None, port=0):
        self.users, self.policy = dict(users), policy
        self.script, self.requests = {}, []
        self.boxes = {name: Mailbox() for name in users}
        self.keys, self.wipe, self.info = {}, set(), {}
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

    def deliver(self, user, text):
        """A mail arrives: held Pings of the user are answered."""
        with self.changed:
            box = self.boxes[user]
            box.version += 1
            box.mails.append((f"5:{box.version}", text))
            self.changed.notify_all()

    def of(self, command):
        with self.changed:
            return [r for r in self.requests if r["Cmd"] == command]

    def step(self, command):
        with self.changed:
            steps = self.script.get(command) or self.script.get("*") or [{}]
            return steps.pop(0) if len(steps) > 1 else steps[0]

    # -- commands: (user, request, document or None) -> document, None for an empty answer --

    def folder_sync(self, user, request, doc):
        first = doc is not None and doc.value("FH.SyncKey") == "0"
        if not first and (doc is None or doc.value("FH.SyncKey") != "F1"):
            return Node("FH.FolderSync", Node("FH.Status", 9))
        folders = [("5", "Inbox", 2), ("6", "Sent", 5), ("7", "Calendar", 8)] if first else []
        return Node("FH.FolderSync", Node("FH.Status", 1), Node("FH.SyncKey", "F1"), Node(
            "FH.Changes", Node("FH.Count", len(folders)),
            *[Node("FH.Add", Node("FH.ServerId", i), Node("FH.ParentId", "0"), Node("FH.DisplayName", name), Node("FH.Type", kind))
              for i, name, kind in folders]))

    def sync(self, user, request, doc):
        if doc is None:
            return None
        box, out = self.boxes[user], []
        for c in doc.get("AS.Collections").all("AS.Collection"):
            key = c.value("AS.SyncKey")
            known = key == "0" or key.startswith("S") and key[1:].isdigit() and int(key[1:]) <= box.version
            since, now = (0 if key == "0" else int(key[1:]), box.version) if known else (0, 0)
            new = [m for m in box.mails[since:now] if key != "0" and c.value("AS.CollectionId") == "5"]
            out.append(Node("AS.Collection", Node("AS.SyncKey", f"S{0 if key == '0' else now}" if known else "0"),
                            Node("AS.CollectionId", c.value("AS.CollectionId")), Node("AS.Status", 1 if known else 3),
                            *([Node("AS.Commands", *[Node("AS.Add", Node("AS.ServerId", i), Node("AS.ApplicationData"))
                                                     for i, _ in new])] if new else [])))
        return Node("AS.Sync", Node("AS.Collections", *out))

    def item_operations(self, user, request, doc):
        found = []
        for fetch in doc.all("IO.Fetch"):
            text = dict(self.boxes[user].mails).get(fetch.value("AS.ServerId"))
            found.append(Node("IO.Fetch", Node("IO.Status", 1 if text else 6), Node("AS.ServerId", fetch.value("AS.ServerId")),
                              *([Node("IO.Properties", Node("IO.Data", text.encode()))] if text else [])))
        return Node("IO.ItemOperations", Node("IO.Status", 1), Node("IO.Response", *found))

    def send_mail(self, user, request, doc):
        mime = request["body"] if doc is None else doc.get("CM.Mime").text
        with self.changed:
            self.boxes[user].sent.append(mime)
        return None

    def settings(self, user, request, doc):
        given = doc.get("ST.DeviceInformation/ST.Set")
        if given:
            self.info[user, request["DeviceId"].upper()] = {k.name[3:]: k.text for k in given.kids}
        return Node("ST.Settings", Node("ST.Status", 1), Node("ST.DeviceInformation", Node("ST.Status", 1)))

    def provision(self, user, request, doc):
        device = (user, request["DeviceId"].upper())
        if device in self.wipe:
            ack = doc is not None and doc.value("PV.RemoteWipe/PV.Status")
            if ack == "1":
                self.wipe.discard(device)
            return Node("PV.Provision", Node("PV.Status", 1), *([] if ack == "1" else [Node("PV.RemoteWipe")]))
        policy = doc.get("PV.Policies/PV.Policy")
        info = doc.get("ST.DeviceInformation/ST.Set")
        if info:
            self.info[device] = {k.name[3:]: k.text for k in info.kids}
        if policy.get("PV.Status") is None:
            if not self.policy:
                return self._policy(2)
            self.keys[device] = ("temp", 1000 + len(self.requests))
            doc = Node("PV.EASProvisionDoc", *[Node(f"PV.{k}", v) for k, v in self.policy.items()])
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

    def ping(self, user, request, doc, sock):
        """Holds until mail comes, the heartbeat is over, the client leaves (None) or the server ends."""
        box, start = self.boxes[user], self.boxes[user].version
        until = time.monotonic() + float((doc.value("PG.HeartbeatInterval") if doc is not None else None) or 60)
        with self.changed:
            self.held += 1
            try:
                while not self.closing and box.version == start and time.monotonic() < until:
                    self.changed.wait(0.05)
                    if has_left(sock):
                        self.gone += 1
                        return None
            finally:
                self.held -= 1
            if box.version != start:
                return Node("PG.Ping", Node("PG.Status", 2), Node("PG.Folders", Node("PG.Folder", "5")))
        return Node("PG.Ping", Node("PG.Status", 1))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    eas = None

    def log_message(self, *_):
        pass

    def _send(self, status, body=b"", kind=WBXML, headers=None):
        self.send_response(status, {449: "Retry With"}.get(status))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if body:
            self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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

    def _user(self):
        """The mailbox of the credentials, None if they are wrong."""
        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        try:
            name, _, password = base64.b64decode(text).decode().partition(":")
        except ValueError:
            return None
        name = name.rpartition("\\")[2].partition("@")[0]
        return name if kind == "Basic" and password and self.eas.users.get(name) == password else None

    def do_OPTIONS(self):
        self._record("OPTIONS", {}, b"")
        if not self._scripted(self.eas.step("OPTIONS"), "OPTIONS"):
            if self._user() is None:
                self._send(401, headers={"WWW-Authenticate": 'Basic realm="mail"'})
            else:
                self._send(200, headers={"MS-ASProtocolVersions": VERSIONS, "MS-Server-ActiveSync": "15.2",
                                         "MS-ASProtocolCommands": ",".join(c for c in COMMANDS if c != "-")})

    def _record(self, command, request, body):
        request = {"Cmd": command, **request, "target": self.path, "headers": dict(self.headers.items()), "body": body, "at": time.time()}
        with self.eas.changed:
            self.eas.requests.append(request)
        return request

    def _scripted(self, step, command):
        """True if the step was the whole answer."""
        time.sleep(step.get("delay", 0))
        if step.get("hang"):
            while not self.eas.closing and not has_left(self.connection):
                time.sleep(0.05)
            self._break()
        elif step.get("reset"):
            self._break()
        elif step.get("cut"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"\x03\x01\x6a\x00")
            self.wfile.flush()
            self._break()
        elif step.get("html"):
            self._send(200, b"<html><body>Please log in</body></html>", "text/html")
        elif "eas" in step:
            page = STATUS_OF[command]
            self._send(200, encode(Node(f"{page}.{command}", Node(f"{page}.Status", step["eas"]))))
        elif "status" in step:
            self._send(step["status"], step.get("body", b""), "text/plain", step.get("headers"))
        else:
            return False
        return True

    def do_POST(self):
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
        return self._command(user, command, request, doc)

    def _needs(self, user, request, command):
        """The status that stops a command: a wipe, or a policy that was not acknowledged."""
        device = (user, request["DeviceId"].upper())
        if command in ("Provision", "Ping"):
            return 0
        if device in self.eas.wipe:
            return 140
        if not self.eas.policy:
            return 0
        kind, key = self.eas.keys.get(device, (None, None))
        return 0 if kind == "final" and request["key"] == key else 142 if kind is None else 144

    def _command(self, user, command, request, doc):
        eas, status = self.eas, self._needs(user, request, command)
        if status and request["version"] == "12.1":
            return self._send(449)
        if status:
            page = STATUS_OF.get(command, "AS")
            return self._send(200, encode(Node(f"{page}.{command}", Node(f"{page}.Status", status))))
        if command == "Ping":
            answer = eas.ping(user, request, doc, self.connection)
            return self._send(200, encode(answer)) if answer else self._break()
        call = {"FolderSync": eas.folder_sync, "Sync": eas.sync, "ItemOperations": eas.item_operations, "SendMail": eas.send_mail,
                "Settings": eas.settings, "Provision": eas.provision}.get(command)
        if call is None:
            return self._send(501)
        try:
            answer = call(user, request, doc)
        except AttributeError:  # an element is missing
            return self._send(400)
        return self._send(200, encode(answer) if answer else b"")
