"""Mail apps as they behave on the wire: which command comes when, both query forms, forms of DeviceId, what each does with refusals."""
from sim.eas_client import EasError, Phone
from sim.wbxml import Node

# versions: what the app speaks, best first. asks: it provisions before anybody wants it. tells: the Settings command after provisioning,
# where Provision itself does not say what the device is. heartbeats: of its Pings, in order; the last one stays.
PROFILES = {
    "ios": {"agent": "Apple-iPhone14C2/2201.1", "device_type": "iPhone", "device_id": "ApplC39L{:04}N72J", "versions": "16.1 16.0 14.1 12.1",
            "form": "plain", "order": "User DeviceId DeviceType Cmd", "asks": False, "heartbeats": [470, 710, 950]},
    "gmail": {"agent": "Android-Mail/2024.05.26.640", "device_type": "Android", "device_id": "androidc{:010}", "versions": "16.1 14.1 14.0 12.1",
              "form": "plain", "order": "Cmd User DeviceId DeviceType", "asks": False, "heartbeats": [480, 780]},
    "samsung": {"agent": "SAMSUNG-SM-S911B/101.140000", "device_type": "SAMSUNGSMS911B", "device_id": "SEC{:013}", "versions": "14.1 14.0 12.1",
                "form": "base64", "asks": False, "heartbeats": [300, 600, 900]},
    "outlook": {"agent": "Outlook-iOS-Android/1.0", "device_type": "Outlook", "device_id": "{:032X}", "versions": "14.1 14.0", "form": "plain",
                "order": "Cmd User DeviceId DeviceType", "asks": True, "heartbeats": [1680]},
    "wp": {"agent": "MSFT-WP/8.10.14219", "device_type": "WP8", "device_id": bytes, "versions": "14.1 12.1", "form": "base64", "asks": False,
           "heartbeats": [960]},
    "old": {"agent": "Android/4.4.2-EAS-1.3", "device_type": "Android", "device_id": "android{:08}", "versions": "12.1", "form": "plain",
            "order": "User DeviceId DeviceType Cmd", "asks": False, "heartbeats": [300]},
}


class App(Phone):
    """state, after each visit: mail, blocked (by 403 or 129), later (503; retry_after says when), password (401: it asks its owner and does
    nothing before that), wiped, stuck (it was sent from one thing to the other and has given up). inbox: subjects by number."""

    def __init__(self, profile, port, user, password, number=1, **more):
        p = PROFILES[profile]
        device = number.to_bytes(16, "big") if p["device_id"] is bytes else p["device_id"].format(number)
        self.profile, self.speaks, self.asks = profile, p["versions"].split(), p["asks"]
        self.heartbeats, self.beat = p["heartbeats"], 0
        self.state, self.retry_after, self.inbox, self.known = "new", 0, {}, False
        super().__init__(port, user, password, **{"device_id": device, "version": self.speaks[0], "order": "User DeviceId DeviceType Cmd",
                                                  **{k: p[k] for k in ("agent", "device_type", "form", "order") if k in p}, **more})

    @property
    def old(self):
        return self.version in ("2.5", "12.0", "12.1")

    def refused(self, answer):
        """True if that is the end of this visit."""
        if answer.http == 503:
            self.state, self.retry_after = "later", int(answer.headers.get("Retry-After", "0"))
        elif answer.http == 401:
            self.state = "password"
        elif answer.http == 403 or answer.status in (126, 129, 130, 131):
            self.state = "blocked"
        elif self.wiped:
            self.state = "wiped"
        elif answer.http == 449 or 139 <= answer.status <= 144:
            self.state = "stuck"
        else:
            return answer.http != 200
        return True

    def greet(self):
        """OPTIONS, and the best version that both speak."""
        answer = self.options()
        if self.refused(answer):
            return False
        offered = answer.headers["MS-ASProtocolVersions"].split(",")
        self.version = next(v for v in self.speaks if v in offered)
        self.known = True
        return True

    def provision(self):
        """None of the refusals within is an exception; a device of an old protocol then tells about itself by Settings."""
        try:
            done = super().provision()
        except EasError as why:
            self.refused(why.answer)
            return False
        if done and not self.wiped and float(self.version) < 14.1:
            self.post("Settings", Node("ST.Settings", self.information()), self.key)
        return done

    def visit(self):
        """From the greeting to what is in the inbox: True if the app shows a working account."""
        if self.state in ("password", "wiped"):
            return False
        self.state = "new"
        if not self.known and not self.greet():
            return False
        if self.asks and self.key is None:
            self.provision()
            if self.state != "new":
                return False
        answer = self.folder_sync()
        if self.refused(answer) or answer.status != 1:
            return False
        return self.fetch_news()

    def fetch_news(self):
        """Sync of the inbox until there is nothing more; a key that the server does not know any more begins anew."""
        box = next(n for n in self.folders if n.lower() == "inbox")
        number = self.folders[box]
        for _ in range(20):
            key = self.sync_keys.get(number, "0")
            more = [] if key == "0" else [Node("AS.DeletesAsMoves", 1), Node("AS.GetChanges"), Node("AS.WindowSize", 25), Node(
                "AS.Options", Node("AS.FilterType", 2), Node("AB.BodyPreference", Node("AB.Type", 1), Node("AB.TruncationSize", 500)))]
            answer = self.command("Sync", self.sync_document(box, *more))
            if self.refused(answer):
                return False
            if answer.status in (3, 12):  # 12: the folders have changed
                self.sync_keys, self.folder_key = {}, "0"
                return self.visit()
            found = answer.doc and answer.doc.get("AS.Collections/AS.Collection")
            if found and found.value("AS.Status") == "3":
                self.sync_keys.pop(number, None)
                self.inbox.clear()
                continue
            if found:
                self.sync_keys[number] = found.value("AS.SyncKey")
                self._take(found.get("AS.Commands"))
            if not found or (key != "0" and not found.get("AS.MoreAvailable")):
                self.state = "mail"
                return True
        self.state = "stuck"
        return False

    def _take(self, commands):
        for c in commands.kids if commands else []:
            number = c.value("AS.ServerId")
            if c.name in ("AS.Delete", "AS.SoftDelete"):
                self.inbox.pop(number, None)
            elif c.name == "AS.Add":
                self.inbox[number] = c.value("AS.ApplicationData/EM.Subject")

    def folder_sync(self):
        """The base class begins anew after status 9; then what was in the inbox is gone as well."""
        before = self.folder_key
        answer = super().folder_sync()
        if before != "0" and not self.sync_keys:
            self.inbox.clear()
        return answer

    def wait(self, seconds=None):
        """A Ping as the app sends it; a heartbeat that ended quietly makes the next one longer. seconds: instead, for tests. Its status."""
        heartbeat = seconds or self.heartbeats[min(self.beat, len(self.heartbeats) - 1)]
        answer = self.ping(heartbeat)
        if self.refused(answer):
            return None
        self.beat += answer.status == 1
        return answer.status
