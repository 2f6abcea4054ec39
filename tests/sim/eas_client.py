"""A phone's mail client: both query forms, Provision, retry after 449 and 140 to 144, held Pings."""
import base64
import http.client
import ssl
import struct
import urllib.parse

from sim.eas_box import MULTIPART, WBXML, owners
from sim.eas_server import COMMANDS, POLICY_TYPE
from sim.wbxml import Node, WbxmlError, decode, encode

PATH = "/Microsoft-Server-ActiveSync"


class EasError(Exception):
    """An answer that the phone can't use."""

    def __init__(self, text, answer):
        super().__init__(text)
        self.answer = answer


class Answer:
    def __init__(self, response, body):
        self.http, self.headers, self.body = response.status, response.headers, body
        self.doc = None
        kind = response.headers.get("Content-Type", "")
        if response.status == 200 and body and "ms-sync" in kind:
            try:
                start, size = struct.unpack_from("<II", body, 4) if kind == MULTIPART else (0, len(body))
                self.doc = decode(body[start:start + size])
            except (WbxmlError, struct.error) as wrong:
                raise EasError(f"not WBXML: {wrong}", self) from wrong

    @property
    def status(self):
        """Status below the root; 0 if the answer has none."""
        if self.doc is None:
            return 0
        text = self.doc.value(self.doc.name.partition(".")[0] + ".Status", "0")
        return int(text) if text.isdigit() else 0


class Phone:
    """device_id: text, or 16 bytes as Windows Phone sends them in the base64 form. order: of the plain form's parameters. heard: whose mail
    was in the answers."""

    def __init__(self, port, user, password, device_id="ApplTEST0001", device_type="iPhone", version="14.1", form="plain", ca=None,
                 host="localhost", agent="Apple-iPhone14C2/2201.1", timeout=90, order="User DeviceId DeviceType Cmd"):
        self.order, self.heard, self.cookie = order.split(), set(), None
        self.user, self.password, self.device_id, self.device_type = user, password, device_id, device_type
        self.version, self.form, self.agent = version, form, agent
        context = ssl.create_default_context(cafile=ca) if ca else None
        self.http = (http.client.HTTPSConnection(host, port, context=context, timeout=timeout) if ca
                     else http.client.HTTPConnection("127.0.0.1", port, timeout=timeout))
        self.key, self.policy, self.folders, self.sync_keys, self.folder_key = None, {}, {}, {}, "0"
        self.provisions, self.wiped = 0, False
        self.mails = {}  # ids of mails that came with their contents: their properties by name

    def close(self):
        self.http.close()

    def plain_id(self):
        return self.device_id.hex().upper() if isinstance(self.device_id, bytes) else self.device_id

    def query(self, command, key=None, **more):
        """more: CollectionId, ItemId, AttachmentName, SaveInSent and, for the base64 form, multipart."""
        if self.form == "base64":
            raw = self.device_id if isinstance(self.device_id, bytes) else self.device_id.encode()
            kind, user = self.device_type.encode(), self.user.encode()
            packed = struct.pack("<BBHB", round(float(self.version) * 10), COMMANDS.index(command), 0x0409, len(raw)) + raw
            packed += b"\0" if key is None else struct.pack("<BI", 4, key)
            packed += bytes([len(kind)]) + kind + bytes([8, len(user)]) + user
            for tag, name in ((0, "AttachmentName"), (1, "CollectionId"), (3, "ItemId")):
                packed += bytes([tag, len(more[name])]) + more[name].encode() if name in more else b""
            options = ("SaveInSent" in more) + 2 * bool(more.get("multipart"))
            return base64.b64encode(packed + (bytes([7, 1, options]) if options else b"")).decode()
        values = {"User": self.user, "DeviceId": self.plain_id(), "DeviceType": self.device_type, "Cmd": command}
        return urllib.parse.urlencode({**{k: values[k] for k in self.order}, **{k: v for k, v in more.items() if k != "multipart"}},
                                      quote_via=urllib.parse.quote)

    def headers(self, key=None, multipart=False):
        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        more = {"MS-ASProtocolVersion": self.version} if self.form == "plain" else {}
        if self.form == "plain" and key is not None:
            more["X-MS-PolicyKey"] = str(key)
        if self.form == "plain" and multipart:
            more["MS-ASAcceptMultiPart"] = "T"
        if self.cookie:
            more["Cookie"] = self.cookie
        return {"Authorization": f"Basic {login}", "User-Agent": self.agent, **more}

    def options(self):
        self.http.request("OPTIONS", PATH, headers=self.headers())
        return self.finish()

    def post(self, command, doc=None, key=None, body=None, kind=WBXML, **more):
        """One request, as it is."""
        self.start(command, doc, key, body, kind, **more)
        return self.finish()

    def start(self, command, doc=None, key=None, body=None, kind=WBXML, **more):
        body = encode(doc) if doc is not None else body
        headers = {**self.headers(key, more.get("multipart")), **({"Content-Type": kind} if body else {})}
        self.http.request("POST", f"{PATH}?{self.query(command, key, **more)}", body=body or b"", headers=headers)

    def finish(self):
        response = self.http.getresponse()
        self.cookie = (response.headers.get("Set-Cookie") or self.cookie or "").partition(";")[0] or None
        body = response.read()
        self.heard |= owners(body)
        return Answer(response, body)

    def command(self, command, doc=None, **more):
        """A request as a phone makes it: if the server asks for that, it provisions and tries once more."""
        answer = self.post(command, doc, self.key, **more)
        if answer.http == 449 or 140 <= answer.status <= 144:
            if self.provision() and not self.wiped:
                answer = self.post(command, doc, self.key, **more)
        return answer

    def _policy(self, *more):
        return Node("PV.Policies", Node("PV.Policy", Node("PV.PolicyType", POLICY_TYPE), *more))

    def information(self):
        return Node("ST.DeviceInformation", Node("ST.Set", Node("ST.Model", "iPhone14,2"), Node("ST.FriendlyName", "Phone of the test"),
                                                 Node("ST.OS", "iOS 18.1"), Node("ST.OSLanguage", "en")))

    def provision(self):
        """Both steps; True if there is a policy now, or a wipe was done."""
        self.provisions += 1
        info = [self.information()] if float(self.version) >= 14.1 else []
        first = self.post("Provision", Node("PV.Provision", *info, self._policy()), 0)
        if first.doc is None or first.status != 1:
            raise EasError("Provision", first)
        for wipe in ("PV.RemoteWipe", "PV.AccountOnlyRemoteWipe"):
            if first.doc.get(wipe):
                done = self.post("Provision", Node("PV.Provision", Node(wipe, Node("PV.Status", 1))), 0)
                self.wiped = done.status == 1
                return self.wiped
        policy = first.doc.get("PV.Policies/PV.Policy")
        if policy.value("PV.Status") != "1":
            return False
        self.policy = {k.name[3:]: k.text for k in policy.get("PV.Data/PV.EASProvisionDoc").kids}
        temporary = policy.value("PV.PolicyKey")
        second = self.post("Provision", Node("PV.Provision", self._policy(Node("PV.PolicyKey", temporary), Node("PV.Status", 1))),
                           int(temporary))
        policy = second.doc.get("PV.Policies/PV.Policy")
        if policy.value("PV.Status") != "1":
            return False
        self.key = int(policy.value("PV.PolicyKey"))
        return True

    def settings(self):
        return self.command("Settings", Node("ST.Settings", self.information()))

    def folder_sync(self):
        answer = self.command("FolderSync", Node("FH.FolderSync", Node("FH.SyncKey", self.folder_key)))
        if answer.status == 9:
            self.folder_key, self.folders, self.sync_keys = "0", {}, {}
            answer = self.command("FolderSync", Node("FH.FolderSync", Node("FH.SyncKey", "0")))
        if answer.status == 1:
            self.folder_key = answer.doc.value("FH.SyncKey")
            for add in answer.doc.get("FH.Changes").all("FH.Add"):
                self.folders[add.value("FH.DisplayName")] = add.value("FH.ServerId")
        return answer

    def sync_document(self, folder="Inbox", *more, wait=()):
        number = self.folders[folder]
        return Node("AS.Sync", Node("AS.Collections", Node("AS.Collection", Node("AS.SyncKey", self.sync_keys.get(number, "0")),
                                                           Node("AS.CollectionId", number), *more)), *wait)

    def sync(self, folder="Inbox", *more):
        """Ids of new mails; None if the answer was no answer to Sync. more: below the collection."""
        number = self.folders[folder]
        for _ in range(3):
            key = self.sync_keys.get(number, "0")
            answer = self.command("Sync", self.sync_document(folder, *(more if key != "0" else ())))
            if answer.http == 200 and not answer.body:
                return []
            found = answer.doc and answer.doc.get("AS.Collections/AS.Collection")
            if not found:
                return None
            self.sync_keys[number] = found.value("AS.SyncKey")
            if key != "0" and found.value("AS.Status") == "1":
                commands = found.get("AS.Commands")
                for gone in commands.all("AS.Delete") if commands else []:
                    self.mails.pop(gone.value("AS.ServerId"), None)
                new = commands.all("AS.Add") if commands else []
                self.mails.update({a.value("AS.ServerId"): a.get("AS.ApplicationData") for a in new})
                return [a.value("AS.ServerId") for a in new]
        return None

    def ping_document(self, heartbeat):
        return Node("PG.Ping", Node("PG.HeartbeatInterval", heartbeat), Node("PG.Folders", *[
            Node("PG.Folder", Node("PG.Id", i), Node("PG.Class", "Email")) for i in self.folders.values()]))

    def ping(self, heartbeat=60):
        return self.post("Ping", self.ping_document(heartbeat), self.key)

    @staticmethod
    def fetch_document(number=None, reference=None, folder="5"):
        return Node("IO.ItemOperations", Node("IO.Fetch", Node("IO.Store", "Mailbox"), *(
            [Node("AB.FileReference", reference)] if reference else [Node("AS.CollectionId", folder), Node("AS.ServerId", number)])))

    def fetch(self, number, folder="5"):
        answer = self.command("ItemOperations", self.fetch_document(number, folder=folder))
        return answer.doc.value("IO.Response/IO.Fetch/IO.Properties/IO.Data") if answer.doc else None

    def download(self, reference):
        """An attachment, read piece by piece: (HTTP code, bytes, whose it is). In parts from 14.0 on, by GetAttachment before."""
        if float(self.version) < 14:
            self.start("GetAttachment", key=self.key, AttachmentName=reference)
        else:
            self.start("ItemOperations", self.fetch_document(reference=reference), self.key, multipart=True)
        response, size, whose, tail = self.http.getresponse(), 0, set(), b""
        while piece := response.read(65536):
            size, whose, tail = size + len(piece), whose | owners(tail + piece), piece[-64:]
        self.heard |= whose
        if response.status == 200 and response.headers["Content-Type"] == MULTIPART:
            size -= 4 + 2 * 8 + len(encode(Node("IO.ItemOperations", Node("IO.Status", 1), Node("IO.Response", Node(
                "IO.Fetch", Node("IO.Status", 1), Node("AB.FileReference", reference), Node("IO.Properties", Node("IO.Part", 1)))))))
        return response.status, size, whose

    def send(self, mime, command="SendMail", of=None):
        """of: the mail that a SmartReply or SmartForward belongs to."""
        source = {"CollectionId": of.partition(":")[0], "ItemId": of} if of else {}
        if float(self.version) < 14:
            return self.command(command, body=mime, kind="message/rfc822", SaveInSent="T", **source)
        where = [Node("CM.Source", Node("CM.FolderId", source["CollectionId"]), Node("CM.ItemId", of))] if of else []
        return self.command(command, Node(f"CM.{command}", Node("CM.ClientId", "1"), *where, Node("CM.SaveInSentItems"), Node("CM.Mime", mime)))
