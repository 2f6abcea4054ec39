"""What a simulated ActiveSync server keeps for a person, and the commands on it. Everything that leaves a mailbox bears its owner's mark."""
import re
import struct
import time

from sim.wbxml import Node, encode

WBXML, MULTIPART = "application/vnd.ms-sync.wbxml", "application/vnd.ms-sync.multipart"
WINDOW, HEARTBEATS, WAITS = 100, (0.05, 3540), (1, 59)  # tests have no second to wait
PIECE = 65536


def mark(user):
    """Found in a client's answers it tells whose mail that is."""
    return f"mark-of-{user};"


def owners(data):
    """Whose mail is in there."""
    return {x.decode() for x in re.findall(rb"mark-of-([\w.@-]+);", data)}


class Stream:
    """An answer that is no document: type, length, pieces."""

    def __init__(self, kind, length, pieces):
        self.kind, self.length, self.pieces = kind, length, pieces


class Log:
    """What happened to numbered things, in order; a key is a place in it."""

    def __init__(self):
        self.events = []

    def note(self, what, number):
        self.events.append((what, number))

    def between(self, start, end):
        """{number: Add, Change or Delete} of what a client does not know yet."""
        known, out = {n for what, n in self.events[:start] if what == "Add"}, {}
        known -= {n for what, n in self.events[:start] if what == "Delete"}
        for what, number in self.events[start:end]:
            if what == "Delete":
                out.pop(number, None)
                if number in known:
                    out[number] = "Delete"
            else:
                out[number] = "Change" if number in known else "Add"
        return out


class Folder:
    def __init__(self, name, kind):
        self.name, self.kind, self.items, self.log = name, kind, {}, Log()


class Mailbox:
    """sent: what was sent, as it came; smart: what replies and forwards belong to."""

    def __init__(self, owner):
        self.owner, self.sent, self.smart, self.count = owner, [], [], 0
        self.folders = {"5": Folder("Inbox", 2), "6": Folder("Sent", 5), "7": Folder("Calendar", 8), "4": Folder("Trash", 4)}
        self.tree = Log()
        for number in self.folders:
            self.tree.note("Add", number)

    def put(self, folder, text, files=None):
        """files: {name: size}, attachments that are made up while they are sent."""
        self.count += 1
        number = f"{folder}:{self.count}"
        self.folders[folder].items[number] = {"text": text if isinstance(text, bytes) else text.encode(), "read": "0", "files": files or {}}
        self.folders[folder].log.note("Add", number)
        return number

    def change(self, number, read):
        folder = self.folders[number.partition(":")[0]]
        folder.items[number]["read"] = read
        folder.log.note("Change", number)

    def delete(self, number):
        folder = self.folders.get(number.partition(":")[0])
        if folder is None or folder.items.pop(number, None) is None:
            return False
        folder.log.note("Delete", number)
        return True

    def move(self, number, folder):
        item = self.folders[number.partition(":")[0]].items.get(number)
        if item is None or folder not in self.folders:
            return None
        self.delete(number)
        return self.put(folder, item["text"], item["files"])

    def item(self, number):
        folder = self.folders.get((number or "").partition(":")[0])
        return folder and folder.items.get(number)

    @property
    def mails(self):
        return [(n, i["text"]) for n, i in self.folders["5"].items.items()]

    def properties(self, number):
        item = self.item(number)
        subject = re.search(rb"(?mi)^Subject: (.*?)\r?$", item["text"])
        files = [Node("AB.Attachment", Node("AB.DisplayName", name), Node("AB.FileReference", f"{number}/{name}"),
                      Node("AB.EstimatedDataSize", size)) for name, size in item["files"].items()]
        return Node("AS.ApplicationData", Node("EM.To", mark(self.owner)), Node("EM.Subject", subject[1].decode() if subject else ""),
                    Node("EM.Read", item["read"]), *([Node("AB.Attachments", *files)] if files else []))

    def attachment(self, reference):
        """(length, pieces) or None."""
        number, _, name = (reference or "").partition("/")
        item = self.item(number)
        if item is None or name not in item["files"]:
            return None
        size, pattern = item["files"][name], (mark(self.owner).encode() * PIECE)[:PIECE]

        def pieces():
            for start in range(0, size, PIECE):
                yield pattern[:size - start]
        return size, pieces()


class Commands:
    """The commands of a mailbox; hold(ready, until) waits until something is ready, and is false if the client has left."""

    def __init__(self, box, others, request, doc, cache, hold):
        self.box, self.others, self.request, self.doc, self.cache, self.hold = box, others, request, doc, cache, hold

    # -- folders

    def FolderSync(self):
        key = self.doc.value("FH.SyncKey")
        place = int(key[1:]) if re.fullmatch(r"F\d+", key) else 0 if key == "0" else -1
        if not 0 <= place <= len(self.box.tree.events):
            return Node("FH.FolderSync", Node("FH.Status", 9))
        changes = self.box.tree.between(place, None)
        out = []
        for number, what in sorted(changes.items()):
            folder = self.box.folders.get(number)
            out.append(Node("FH.Delete", Node("FH.ServerId", number)) if what == "Delete" else Node(
                f"FH.{'Update' if what == 'Change' else what}", Node("FH.ServerId", number), Node("FH.ParentId", "0"),
                Node("FH.DisplayName", folder.name), Node("FH.Type", folder.kind)))
        return Node("FH.FolderSync", Node("FH.Status", 1), Node("FH.SyncKey", self._tree_key()),
                    Node("FH.Changes", Node("FH.Count", len(out)), *out))

    def _tree_key(self):
        return f"F{len(self.box.tree.events)}"

    def FolderCreate(self):
        number = str(10 + len(self.box.tree.events))
        self.box.folders[number] = Folder(self.doc.value("FH.DisplayName"), int(self.doc.value("FH.Type")))
        self.box.tree.note("Add", number)
        return Node("FH.FolderCreate", Node("FH.Status", 1), Node("FH.SyncKey", self._tree_key()), Node("FH.ServerId", number))

    def FolderUpdate(self):
        folder = self.box.folders.get(self.doc.value("FH.ServerId"))
        if folder is None:
            return Node("FH.FolderUpdate", Node("FH.Status", 4))
        folder.name = self.doc.value("FH.DisplayName")
        self.box.tree.note("Change", self.doc.value("FH.ServerId"))
        return Node("FH.FolderUpdate", Node("FH.Status", 1), Node("FH.SyncKey", self._tree_key()))

    def FolderDelete(self):
        number = self.doc.value("FH.ServerId")
        if int(number) < 10 or self.box.folders.pop(number, None) is None:
            return Node("FH.FolderDelete", Node("FH.Status", 3 if int(number) < 10 else 4))
        self.box.tree.note("Delete", number)
        return Node("FH.FolderDelete", Node("FH.Status", 1), Node("FH.SyncKey", self._tree_key()))

    # -- Sync

    def _change(self, c, number):
        """What the phone has changed; the answers to it."""
        answers, commands = [], c.get("AS.Commands")
        for command in commands.kids if commands else []:
            item, what = command.value("AS.ServerId"), command.name[3:]
            if what == "Change" and self.box.item(item):
                self.box.change(item, command.value("AS.ApplicationData/EM.Read", "1"))
            elif what == "Change":
                answers.append(Node("AS.Change", Node("AS.ServerId", item), Node("AS.Status", 8)))
            elif what == "Delete":
                self.box.delete(item)
            elif what == "Add":
                text = f"Subject: {command.value('AS.ApplicationData/EM.Subject', '')}\r\n\r\n"
                answers.append(Node("AS.Add", Node("AS.ClientId", command.value("AS.ClientId")),
                                    Node("AS.ServerId", self.box.put(number, text)), Node("AS.Status", 1)))
        return answers

    def _collection(self, c):
        """(answer, True if it says anything new)."""
        key, number = c.value("AS.SyncKey"), c.value("AS.CollectionId")
        folder = self.box.folders.get(number)
        if folder is None:
            return Node("AS.Collection", Node("AS.SyncKey", key), Node("AS.CollectionId", number), Node("AS.Status", 8)), True
        events = folder.log.events
        if key != "0" and (not re.fullmatch(r"S\d+", key) or int(key[1:]) > len(events)):
            return Node("AS.Collection", Node("AS.SyncKey", "0"), Node("AS.CollectionId", number), Node("AS.Status", 3)), True
        if key == "0":
            return Node("AS.Collection", Node("AS.SyncKey", "S0"), Node("AS.CollectionId", number), Node("AS.Status", 1)), True
        start, answers = int(key[1:]), self._change(c, number)
        window = int(c.value("AS.WindowSize") or WINDOW)
        # what the phone itself has just done is no news to it
        end = min(start + window, len(events))
        out, own = [], {k.value("AS.ServerId") for k in (c.get("AS.Commands") or c).kids} | {a.value("AS.ServerId") for a in answers}
        for item, what in folder.log.between(start, end).items():
            if item not in own:
                out.append(Node(f"AS.{what}", Node("AS.ServerId", item), *([] if what == "Delete" else [self.box.properties(item)]
                                                                        if self.box.item(item) else [Node("AS.ApplicationData")])))
        self.cache[("seen", number)] = end
        return Node("AS.Collection", Node("AS.SyncKey", f"S{end}"), Node("AS.CollectionId", number), Node("AS.Status", 1),
                    *([Node("AS.MoreAvailable")] if end < len(events) else []), *([Node("AS.Responses", *answers)] if answers else []),
                    *([Node("AS.Commands", *out)] if out else [])), bool(out or answers or c.get("AS.Commands"))

    def Sync(self):
        doc = self.doc if self.doc is not None else self.cache.get("sync")
        if doc is None:
            return Node("AS.Sync", Node("AS.Status", 13))
        wait, heartbeat = doc.value("AS.Wait"), doc.value("AS.HeartbeatInterval")
        if wait and heartbeat:
            return Node("AS.Sync", Node("AS.Status", 4))
        value, (low, high) = float(wait or heartbeat or 0), WAITS if wait else HEARTBEATS
        if value and not low <= value <= high:
            return Node("AS.Sync", Node("AS.Status", 14), Node("AS.Limit", high if value > high else low))
        self.cache["sync"] = doc
        asked = doc.get("AS.Collections").all("AS.Collection")
        answers = [self._collection(c) for c in asked]
        if not value or any(new for _, new in answers):
            return Node("AS.Sync", Node("AS.Collections", *[a for a, _ in answers]))
        if not self.hold(self._waits([c.value("AS.CollectionId") for c in asked]), value * (60 if wait else 1)):
            return False
        answers = [self._collection(c) for c in asked]
        return Node("AS.Sync", Node("AS.Collections", *[a for a, _ in answers])) if any(new for _, new in answers) else None

    def _waits(self, numbers):
        """Asks again and again which of the folders hold more than the phone has seen, or than when it began to wait."""
        logs = {n: self.box.folders[n].log.events for n in numbers if n in self.box.folders}
        seen = {n: self.cache.get(("seen", n), len(events)) for n, events in logs.items()}
        return lambda: [n for n, events in logs.items() if len(events) > seen[n]]

    def GetItemEstimate(self):
        out = []
        for c in self.doc.get("GE.Collections").all("GE.Collection"):
            number, key = c.value("GE.CollectionId"), c.value("AS.SyncKey")
            folder = self.box.folders.get(number)
            fits = folder and re.fullmatch(r"S\d+", key or "")
            out.append(Node("GE.Response", Node("GE.Status", 1 if fits else 2 if folder is None else 4), Node(
                "GE.Collection", Node("GE.CollectionId", number), *([Node("GE.Estimate", len(folder.log.between(int(key[1:]), None)))]
                                                                   if fits else []))))
        return Node("GE.GetItemEstimate", *out)

    def MoveItems(self):
        out = []
        for move in self.doc.all("MV.Move"):
            made = self.box.move(move.value("MV.SrcMsgId"), move.value("MV.DstFldId"))
            out.append(Node("MV.Response", Node("MV.SrcMsgId", move.value("MV.SrcMsgId")), Node("MV.Status", 3 if made else 1),
                            *([Node("MV.DstMsgId", made)] if made else [])))
        return Node("MV.MoveItems", *out)

    def Ping(self):
        doc = self.doc if self.doc is not None else self.cache.get("ping")
        if doc is None or not doc.get("PG.Folders") or not doc.value("PG.HeartbeatInterval"):
            return Node("PG.Ping", Node("PG.Status", 3))
        seconds, numbers = float(doc.value("PG.HeartbeatInterval")), [f.value("PG.Id") for f in doc.get("PG.Folders").kids]
        if not HEARTBEATS[0] <= seconds <= HEARTBEATS[1]:
            return Node("PG.Ping", Node("PG.Status", 5), Node("PG.HeartbeatInterval", HEARTBEATS[seconds > HEARTBEATS[1]]))
        if any(n not in self.box.folders for n in numbers):
            return Node("PG.Ping", Node("PG.Status", 7))
        self.cache["ping"] = doc
        waits = self._waits(numbers)
        if not self.hold(waits, seconds):
            return False
        news = waits()
        return Node("PG.Ping", Node("PG.Status", 2 if news else 1), *([Node("PG.Folders", *[Node("PG.Folder", n) for n in news])] if news else []))

    # -- single items

    def ItemOperations(self):
        """In parts if the phone takes them; they are sent as they are made."""
        multipart, parts, out = self.request["multipart"], [], []
        for fetch in self.doc.all("IO.Fetch"):
            number, reference = fetch.value("AS.ServerId"), fetch.value("AB.FileReference")
            item, file = self.box.item(number), self.box.attachment(reference)
            found = (len(item["text"]), [item["text"]]) if item else file
            name = Node("AB.FileReference", reference) if reference else Node("AS.ServerId", number)
            if not found:
                out.append(Node("IO.Fetch", Node("IO.Status", 15 if reference else 6), name))
                continue
            parts.append(found)
            body = Node("IO.Part", len(parts)) if multipart else Node("IO.Data", b"".join(found[1]))
            out.append(Node("IO.Fetch", Node("IO.Status", 1), name, Node("IO.Properties", body)))
        doc = Node("IO.ItemOperations", Node("IO.Status", 1), Node("IO.Response", *out))
        if not multipart:
            return doc
        first = encode(doc)
        head, at = struct.pack("<I", 1 + len(parts)), 4 + 8 * (1 + len(parts))
        for size in (len(first), *(p[0] for p in parts)):
            head, at = head + struct.pack("<II", at, size), at + size

        def pieces():
            yield head + first
            for _, part in parts:
                yield from part
        return Stream(MULTIPART, at, pieces())

    def GetAttachment(self):
        found = self.box.attachment(self.request.get("AttachmentName"))
        return Stream("application/octet-stream", *found) if found else 500

    def _send(self, command):
        mime = self.request["body"] if self.doc is None else self.doc.get("CM.Mime").text
        mime = mime if isinstance(mime, bytes) else mime.encode()
        if self.doc is None:
            source, save = (self.request.get("CollectionId"), self.request.get("ItemId")), self.request.get("SaveInSent") == "T"
        else:
            source = self.doc.value("CM.Source/CM.FolderId"), self.doc.value("CM.Source/CM.ItemId")
            save = self.doc.get("CM.SaveInSentItems") is not None
        if command != "SendMail":
            if not self.box.item(source[1]):
                return Node(f"CM.{command}", Node("CM.Status", 150)) if self.doc is not None else 500
            self.box.smart.append((command, source[1]))
        self.box.sent.append(mime)
        if save:
            self.box.put("6", mime)
        head = mime.partition(b"\r\n\r\n")[0].decode("latin-1")
        for to in re.findall(r"(?mi)^To: <?([\w.-]+)@", head):
            if to in self.others:
                self.others[to].put("5", mime)
        return None

    def SendMail(self):
        return self._send("SendMail")

    def SmartReply(self):
        return self._send("SmartReply")

    def SmartForward(self):
        return self._send("SmartForward")

    def Search(self):
        store = self.doc.get("SR.Store")
        text = (store.value("SR.Query/SR.FreeText") or store.value("SR.Query/SR.And/SR.FreeText") or store.value("SR.Query") or "").encode()
        if store.value("SR.Name") == "Mailbox":
            found = [Node("SR.Result", Node("AS.CollectionId", n.partition(":")[0]), Node("SR.LongId", n),
                          Node("SR.Properties", Node("EM.To", mark(self.box.owner))))
                     for f in self.box.folders.values() for n, i in f.items.items() if text in i["text"]]
        else:
            found = [Node("SR.Result", Node("SR.Properties", Node("GA.DisplayName", n))) for n in sorted(self.others) if text.decode() in n]
        return Node("SR.Search", Node("SR.Status", 1), Node("SR.Response", Node(
            "SR.Store", Node("SR.Status", 1), *found, Node("SR.Range", f"0-{max(len(found) - 1, 0)}"), Node("SR.Total", len(found)))))

    def Settings(self):
        out, given = [], self.doc.get("ST.DeviceInformation/ST.Set")
        if given:
            self.cache["info"] = {k.name[3:]: k.text for k in given.kids}
            out.append(Node("ST.DeviceInformation", Node("ST.Status", 1)))
        if self.doc.get("ST.UserInformation/ST.Get"):
            out.append(Node("ST.UserInformation", Node("ST.Status", 1), Node("ST.Get", Node("ST.EmailAddresses", Node(
                "ST.SMTPAddress", f"{self.box.owner}@example.org")))))
        oof = self.doc.get("ST.Oof")
        if oof and oof.get("ST.Set"):
            self.box.oof = oof.value("ST.Set/ST.OofState")
            out.append(Node("ST.Oof", Node("ST.Status", 1)))
        elif oof:
            out.append(Node("ST.Oof", Node("ST.Status", 1), Node("ST.Get", Node("ST.OofState", getattr(self.box, "oof", "0")))))
        return Node("ST.Settings", Node("ST.Status", 1), *out)


def holding(condition, gone, closing, ready, seconds):
    """Waits for something; False if the client has left before. Called with the condition held, which it gives up while it waits."""
    until = time.monotonic() + seconds
    while not closing() and not ready() and time.monotonic() < until:
        condition.wait(0.05)
        if gone():
            return False
    return True
