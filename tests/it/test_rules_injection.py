"""Hostile text from everywhere to everywhere: SQL, HTML, CSV, logs, profiles (R04, R05, R24, R25, R26, R28, R33, SEC-05)."""
import base64
import csv
import io
import json
import plistlib
import re
import urllib.parse
import uuid
from pathlib import Path

import pytest

import harness
from clients import enrolled, new_device, portal
from sim.device import CHECKIN_TYPE, CONNECT_TYPE, Profile, Refused

ROOT = Path(__file__).resolve().parents[2]
LOUD = "info ssl:warn mdm:trace8 mdm_ios:trace8 mdm_enroll:trace8 mdm_admin:trace8"
ZONE = {"log_level": LOUD}
SAME = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/json"}
SQL = ["' OR 1=1--", "'; DROP TABLE device; --", "\" OR \"\"=\"", "x') UNION SELECT password FROM admin --", "%' AND '1'='1", "\\'; --",
       "%", "_", "%%%s%n", "$1", ":id", "?"]
EVIL = ["<script>alert(1)</script>", "\"onx='alert(1)", "javascript:alert(1)", "\u202egpj.exe", "\u2066x\u2069", "=cmd|' /C calc'!A0", "+1+cmd|x", "@SUM(1)",
        "-2+3", "${7*7}#{7*7}%{7*7}{{7*7}}", "$(touch /x)`id`|;&", "</string><key>x</key>&amp;", "../../etc/passwd", "]]>", *SQL]
BROKEN = ["%ff", "%c0%af", "%ed%a0%80", "%f5%80%80%80", "%c2", "%ef%bf%be"]  # not UTF-8, and a code point that is no character


@pytest.fixture(scope="module")
def device(zone):
    return enrolled(zone)


def clean_log(zone):
    """No line of the error log holds a control character or begins as nobody's line does."""
    data = (zone.root / "logs" / "error.log").read_bytes()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f\x80-\xff]", data), re.search(rb".*[\x00-\x08\x0b-\x1f\x7f\x80-\xff].*", data)[0]
    assert all(line.startswith(b"[") for line in data.splitlines() if line)


def counts(zone):
    return [zone.sql(f"SELECT COUNT(*) FROM {t}")[0][0] for t in ("device", "person", "admin", "certificate", "source_record")]


# ---- R26
ADMIN_PATHS = ["/devices/{}", "/devices/{}/commands", "/devices/{}/commands/{}/cancel", "/people/{}", "/pending/{}", "/pending/{}/link", "/jobs/{}",
               "/messages/{}/acknowledge", "/devices?q={}", "/devices?sort={}", "/devices?state={}", "/devices?person={}", "/devices?cursor={}",
               "/devices?limit={}", "/devices?{}=1", "/devices?format=csv&q={}", "/people?q={}", "/people?cursor={}", "/audit?cursor={}", "/audit?q={}",
               "/pending?state={}", "/jobs?state={}"]


def test_r26_no_text_becomes_sql(zone, console, device):
    """R26, SEC-05: quotes, wildcards and bytes that are not UTF-8 in every id, search, sort and cursor: an answer of 4xx, or no hits."""
    who, before = portal(zone), counts(zone)
    texts = [urllib.parse.quote(t, safe="") for t in SQL] + BROKEN
    for path in ADMIN_PATHS:
        for text in texts:
            status, _, body = console.call("GET", path.replace("{}", text))
            assert status in (200, 400, 404, 405), (path, text, status, body)
            if status == 200 and isinstance(body, dict) and text not in ("%25", "_"):
                assert body.get("items", []) == [], (path, text)
    for text in texts:
        for method, path in (("GET", "/portal/api/v1/enrollments/"), ("DELETE", "/portal/api/v1/enrollments/"),
                             ("DELETE", "/portal/api/v1/devices/"), ("GET", "/portal/ui/")):
            status, _, body = zone.request(method, path + text, headers={**SAME, "Cookie": who.headers["Cookie"]})
            assert status in (400, 404), (method, path, text, status, body)
        for tail in ("", "/status", "/profile.mobileconfig", "/trust.mobileconfig", "/qr.svg"):
            assert zone.request("GET", f"/enroll/{text}{tail}")[0] in (400, 403, 404), (text, tail)
    assert counts(zone) == before
    clean_log(zone)


@pytest.mark.san
def test_r26_headers_and_log_ins(zone):
    """R26, R28: log-ins, domains, cookies, tokens, agents and ids of requests."""
    for text in [*EVIL, "\x1b[31mred", "a\u0085b", "x" * 4000]:
        raw = text.encode().decode("latin-1")
        headers = {"User-Agent": raw, "Cookie": f"__Host-mdm_portal={raw}", "Accept-Language": raw, "X-Request-Id": raw, "If-None-Match": raw,
                   "Referer": raw}
        want = 400 if "\x1b" in text else 401  # httpd takes no control characters
        assert zone.request("GET", "/portal/api/v1/me", headers=headers)[0] == want, text
        assert zone.request("GET", "/admin/api/v1/me", headers={**headers, "Authorization": f"Bearer mdm_{raw}"}, admin=True)[0] == want
    for text in ["\xff\xfe", "\xc2", "'; --", "<script>"]:
        body = json.dumps({"login": harness.PERSON, "password": harness.PERSON_PASSWORD})
        assert zone.request("POST", "/portal/api/v1/session", body, {**SAME, "User-Agent": text})[0] == 204, text
        form = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded", "User-Agent": text}
        assert zone.request("POST", "/admin/login", f"login={harness.ADMIN_USER}&password={harness.ADMIN_PASSWORD}", form, admin=True)[0] == 303
    for text in EVIL[::4]:
        body = json.dumps({"login": text, "password": "x", "domain": text})
        assert zone.request("POST", "/portal/api/v1/session", body, SAME)[0] in (401, 429)
    clean_log(zone)


def test_r26_a_device_whose_ids_are_sql(zone, console, device):
    """R26: UDID and serial with quotes live like any other, and touch nobody else's rows."""
    before = zone.sql("SELECT udid, state, name, serial FROM device WHERE udid = ?", device.udid)
    odd = enrolled(zone, new_device(zone, udid="' OR 1=1--", serial="'; DROP TABLE device; --"))
    assert odd.poll() == []
    seen = console.device(odd.udid)
    assert (seen["udid"], seen["serial"], seen["state"]) == ("' OR 1=1--", "'; DROP TABLE device; --", "active")
    console.post(f"/devices/{seen['id']}/refresh")
    assert odd.poll() and device.poll() == []
    odd.check_out()
    assert console.device(odd.udid)["state"] == "removed"
    assert zone.sql("SELECT udid, state, name, serial FROM device WHERE udid = ?", device.udid) == before


# ---- what a device says
def everything(zone, console, ident):
    """All texts in which the device appears, as the browser and the spreadsheet get them."""
    pages = [console.get(f"/devices/{ident}{tail}") for tail in ("", "/records", "/apps", "/events", "/commands", "/audit")]
    return json.dumps([*pages, console.get("/devices?limit=200"), console.get("/audit?limit=200"), console.get("/messages")], ensure_ascii=False)


def row_of(console, ident):
    status, head, raw = console.call("GET", "/devices?format=csv")
    assert status == 200 and head["X-Content-Type-Options"] == "nosniff" and "attachment" in head["Content-Disposition"]
    rows = [r for r in csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")) if r[0] == ident]
    assert len(rows) == 1 and len(rows[0]) == 18
    return rows[0]


@pytest.mark.parametrize("text", [*EVIL[:17], "line\r\nMDM0001 forged", "esc\x1b[31m", "nel\u0085ls\u2028ps\u2029", "w" * 10240, "\U0001f4f1" * 300], ids=lambda t: repr(t)[:20])
def test_r24_hostile_device(zone, console, device, text):
    """R24, R25, R28, R33: name, model, versions and numbers of a device as text, in API, CSV and log."""
    def raw(s):
        """XML that holds even what plistlib would not write: control characters as references."""
        return "".join(c if c.isalnum() else f"&#{ord(c)};" for c in s)
    ident = console.device(device.udid)["id"]
    console.post(f"/devices/{ident}/refresh")
    command = device.connect(Status="Idle")
    while command and command["Command"]["RequestType"] != "DeviceInformation":
        _, keys = device.run(command["Command"]["RequestType"], command["Command"])
        command = device.connect(Status="Acknowledged", CommandUUID=command["CommandUUID"], **keys)
    keys = "".join(f"<key>{k}</key><string>{raw(text)}</string>" for k in
                   ("DeviceName", "ModelName", "Model", "ProductName", "OSVersion", "BuildVersion", "PhoneNumber", "IMEI", "EASDeviceIdentifier"))
    body = (f"<?xml version='1.0' encoding='UTF-8'?><plist version='1.0'><dict><key>UDID</key><string>{device.udid}</string><key>Status</key>"
            f"<string>Acknowledged</string><key>CommandUUID</key><string>{command['CommandUUID']}</string><key>QueryResponses</key>"
            f"<dict>{keys}<key>BatteryLevel</key><real>-1e300</real><key>DeviceCapacity</key><real>1e300</real></dict></dict></plist>").encode()
    status, _, _ = device.put(device.mdm["ServerURL"], CONNECT_TYPE, body)
    assert status == 200, "also for a character that XML does not have: that answer is dropped, and the queue goes on"
    whole = everything(zone, console, ident)
    assert not re.search(r"[\x00-\x1f\x7f]", json.dumps(json.loads(whole), ensure_ascii=False))
    seen = console.get(f"/devices/{ident}")
    for value in (seen["model"], seen["product"], seen["os_version"]):
        assert len((value or "").encode()) <= 255 and not re.search(r"[\x00-\x1f\x7f-\x9f]", value or "")
    row = row_of(console, ident)
    assert not [v for v in row if v[:1] in ("=", "+", "-", "@", "\t", "\r")], row
    assert not [v for v in row if re.search(r"[\r\n\x1b]", v)]
    if text in EVIL:
        assert seen["model"] == text, "kept as it is: it is escaped where it is shown"
    device.poll()
    assert device.poll() == []
    clean_log(zone)


@pytest.mark.san
def test_r08_bytes_that_are_no_text(zone, device):
    """R28, R38: invalid UTF-8, odd encodings and NUL in a message: 400, and the queue goes on."""
    head = b"<?xml version='1.0' encoding='%s'?><plist version='1.0'><dict><key>UDID</key><string>%s</string><key>Status</key><string>%s</string></dict></plist>"
    for encoding, text in ((b"UTF-8", b"\xff\xfe"), (b"UTF-8", b"\xed\xa0\x80"), (b"UTF-8", b"a\0b"), (b"UTF-8", b"&#0;"), (b"UTF-8", b"&#xd800;"),
                           (b"UTF-8", b"&#27;"), (b"latin-1", b"Idl\xe9"), (b"UTF-8", b"Idl\xc3")):
        status, _, body = zone.request("PUT", "/mdm", head % (encoding, device.udid.encode(), text), {"Content-Type": CONNECT_TYPE},
                                       cert=f"{device.files}/identity.pem")
        assert (status, body) == (400, b""), (encoding, text)
    assert device.poll() == []
    clean_log(zone)


@pytest.mark.san
def test_r24_hostile_authenticate(zone, console):
    """R24, R38: the same at the very first message; the numbers as well."""
    who = portal(zone)
    device = new_device(zone, udid="U-" + "<b>\u202e" + str(uuid.uuid4()), serial="=S" + str(uuid.uuid4())[:6])
    device.product, device.os_version, device.build = "=cmd|<img src=x onerror=alert(1)>", "17.0<b>'", "'\"--"
    device.name = "@evil"
    device.enroll(who.absolute(who.enrollment()["profile"]))
    device.poll()
    ident = console.device(device.udid)["id"]
    row = row_of(console, ident)
    assert not [v for v in row if v[:1] in ("=", "+", "-", "@")], row
    mine = [d for d in who.call("GET", "/api/v1/devices")[1]["devices"] if d["id"] == ident][0]
    assert mine["os_version"] == "17.0<b>'"
    device.check_out()
    for bad in ({"Token": "text"}, {"PushMagic": 5}, {"Topic": ["x"]}, {"UDID": b"data"}, {"MessageType": {"x": 1}}, {"UDID": "x" * 5000},
                {"AwaitingConfiguration": "yes", "Token": b""}):
        body = plistlib.dumps({"MessageType": "TokenUpdate", "UDID": device.udid, "Topic": "t", "PushMagic": "m", "Token": b"t", **bad})
        assert zone.request("PUT", "/mdm", body, {"Content-Type": CHECKIN_TYPE}, cert=f"{device.files}/identity.pem")[0] == 400, bad
    clean_log(zone)


# ---- people
def test_r24_hostile_people(zone, console):
    """R24, R05: names of people in the API, on the public page of a link, and in the profile."""
    for n, text in enumerate([EVIL[0], EVIL[1], EVIL[3], EVIL[9], EVIL[11], SQL[0]]):
        login = f"evil{n}"
        console.post("/people", {"login": login, "name": text, "mail": f"{login}@example.org", "password": harness.PERSON_PASSWORD})
        who = portal(zone, login)
        assert who.call("GET", "/api/v1/me")[1]["name"] == text
        made = who.enrollment()
        status, head, page = zone.request("GET", made["path"])
        assert status == 200 and "default-src 'self'" in head["Content-Security-Policy"]
        page = page.decode()
        assert not re.search(r"<script(?! type=\"module\" src=\"/)", page) and "alert(1)</script>" not in page
        name = re.search(r"<strong>(.*?)</strong>", page, re.S)[1]
        assert "<" not in name and '"' not in name.replace("&quot;", ""), name
        profile = Profile(zone.request("GET", made["profile"])[2])
        assert {p["PayloadType"] for p in profile.payloads} >= {"com.apple.mdm", "com.apple.security.scep"} and "x" not in profile.plist
    hits = console.get("/people?q=" + urllib.parse.quote("<script>"))["items"]
    assert [p["name"] for p in hits] in ([EVIL[0]], [])
    for bad in ({"login": "a\nb"}, {"login": "<x>"}, {"login": "a/b"}, {"name": "a\u0000b"}, {"name": "a\u001bb"}, {"name": "x" * 10000}, {"login": " a "},
                {"mail": "a\r\nb"}):
        body = {"login": "fine", "name": "Fine", "password": harness.PERSON_PASSWORD, **bad}
        assert console.call("POST", "/people", body)[0] in (400, 413), bad
    clean_log(zone)


def test_r24_page_scripts_make_no_html_of_text():
    """R24, R25: no script of ours parses HTML, evaluates text, or opens an address from data."""
    files = [f for d in ("admin", "enroll") for f in (ROOT / "modules" / d / "ui").rglob("*") if f.suffix in (".js", ".html")]
    assert len(files) > 10
    for f in files:
        text = f.read_text().replace("sandbox: '', srcdoc:", "")  # a mail that is looked at: nothing in it runs
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|createContextualFragment|srcdoc|"
                             r"setAttribute\(\s*[\"']on|javascript:", text), f
        assert f.suffix != ".html" or not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", text), f


# ---- R28: secrets
def test_r28_no_secret_in_any_log(zone, console, device):
    """R28, SEC-04: at the loudest level of our modules none of what was typed, issued or stored can be read in the error log."""
    who, fresh = portal(zone), new_device(zone)
    made = who.enrollment()
    data = fresh.open_link(who.absolute(made["profile"]))
    challenge = Profile(data).identity()["Challenge"]
    fresh.install(data)
    fresh.authenticate()
    fresh.token_update()
    fresh.poll()
    wrong = "planted-Wrong-Password-7"
    zone.request("POST", "/portal/api/v1/session", json.dumps({"login": "anna", "password": wrong}), SAME)
    zone.request("POST", "/portal/login", f"login=anna&password={wrong}", {**SAME, "Content-Type": "application/x-www-form-urlencoded"})
    zone.request("POST", "/admin/login", f"login=admin&password={wrong}", {**SAME, "Content-Type": "application/x-www-form-urlencoded"}, admin=True)
    with pytest.raises(Refused):
        bad = new_device(zone)
        bad.http.cert, bad.mdm = None, fresh.mdm
        bad.token, bad.magic = fresh.token, fresh.magic
        bad.token_update()
    secrets = {"password": harness.PERSON_PASSWORD, "admin password": harness.ADMIN_PASSWORD, "wrong password": wrong, "challenge": challenge,
               "link": made["path"].rsplit("/", 1)[1], "session": who.headers["Cookie"].split("=", 1)[1],
               "admin session": console.headers["Cookie"].split("=", 1)[1], "push magic": fresh.magic, "push token": fresh.token.hex(),
               "push token b64": base64.b64encode(fresh.token).decode(), "unlock token": fresh.unlock_token.decode(),
               "udid": fresh.udid, "serial": fresh.serial, "device password": "sealed"}
    text = (zone.root / "logs" / "error.log").read_text(errors="replace") + (zone.root / "logs" / "stderr.log").read_text(errors="replace")
    access = (zone.root / "logs" / "access.log").read_text()
    assert re.search(r"/enroll/[^/ ]+/profile.mobileconfig", access) and secrets["link"] not in access, "a link's proof is in no log at all"
    info = "\n".join(line for line in text.splitlines() if re.search(r":(info|notice|warn|error|crit)\]", line))
    assert len(text) > 1000
    for name, secret in secrets.items():
        assert secret.lower() not in (info if name in ("udid", "serial") else text).lower(), name
    for value, in zone.sql("SELECT push_token FROM source_record WHERE native_id = ?", fresh.udid):
        assert value
    for value, in zone.sql("SELECT unlock_token FROM source_record WHERE native_id = ?", fresh.udid):
        assert "unlock-" not in value, "sealed"
