"""Clients of the whole-server tests: the console's API, a device enrolled in one line."""
import json
import urllib.parse

import harness
from sim.device import Device, Http, Portal


# Who prepares an enrolment gives credentials anew (PEN-01).
AUTHORISER = {"login": harness.ADMIN_USER, "password": harness.ADMIN_PASSWORD}


class Console:
    """An administrator's browser: cookie, own origin, JSON."""

    def __init__(self, zone, login=harness.ADMIN_USER, password=harness.ADMIN_PASSWORD):
        self.zone, self.http = zone, Http(str(zone.tls_dir / "ca.pem"))
        self.base = zone.admin_url.rstrip("/")
        parts = urllib.parse.urlsplit(self.base)
        self.headers = {"Origin": f"{parts.scheme}://{parts.netloc}", "Sec-Fetch-Site": "same-origin"}
        if login:
            status, headers, _ = self.login(login, password)
            assert status == 303, status

    def login(self, login, password):
        body = urllib.parse.urlencode({"login": login, "password": password}).encode()
        answer = self.http.fetch("POST", self.base + "/login", body,
                                 {**self.headers, "Content-Type": "application/x-www-form-urlencoded"})
        for cookie in answer[1].get_all("Set-Cookie") or []:
            self.headers["Cookie"] = cookie.split(";")[0]
        return answer

    def call(self, method, path, body=None, **headers):
        """(status, headers, parsed body) of an API call below /api/v1."""
        data = None if body is None else json.dumps(body).encode()
        sent = {**self.headers, **{k.replace("_", "-"): v for k, v in headers.items()}}
        if data is not None:
            sent["Content-Type"] = "application/json"
        status, got, raw = self.http.fetch(method, f"{self.base}/api/v1{path}", data, sent)
        return status, got, json.loads(raw) if raw and "json" in got.get("Content-Type", "") else raw

    def get(self, path):
        status, _, body = self.call("GET", path)
        assert status == 200, (path, status, body)
        return body

    def post(self, path, body=None, want=(200, 201, 202, 204)):
        status, _, got = self.call("POST", path, body)
        assert status in want, (path, status, got)
        return got

    def device(self, udid):
        """The device object with this UDID."""
        for item in self.get("/devices?limit=200")["items"]:
            whole = self.get(f"/devices/{item['id']}")
            if whole["udid"] == udid:
                return whole
        return None


def portal(zone, login=harness.PERSON, password=harness.PERSON_PASSWORD):
    made = Portal(zone.portal_url, str(zone.tls_dir / "ca.pem"))
    made.login(login, password)
    return made


def new_device(zone, **options):
    return Device(str(zone.tls_dir / "ca.pem"), **options)


def enrolled(zone, device=None, who=None, **options):
    """A device that went the whole way: portal, profile, SCEP, Authenticate, TokenUpdate, first poll."""
    who, device = who or portal(zone), device or new_device(zone)
    made = who.enrollment(**options)
    device.enroll(who.absolute(made["profile"]))
    device.poll()
    return device
