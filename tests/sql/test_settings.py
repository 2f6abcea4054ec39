"""The catalogue of policy settings, conf/settings.json: its JSON Schema, and what a schema can't say (POL-04, CAT-01..03)."""
import copy
import gzip
import html
import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE = json.loads((ROOT / "conf" / "settings.json").read_text(encoding="utf-8"))
SCHEMA = json.loads((ROOT / "conf" / "settings.schema.json").read_text(encoding="utf-8"))
SETTINGS = {s["id"]: s for s in FILE["settings"]}
LEVELS = ("low", "moderate", "strict", "high")
CHANNELS = ("apple", "eas", "android")


def possible(s, v):
    if v is None:
        return True
    if s["kind"] == "bool":
        return isinstance(v, bool)
    if s["kind"] == "int":
        return type(v) is int and s["range"][0] <= v <= s["range"][1]
    return s["kind"] == "choice" and v in {c["id"] for c in s["choices"]}


def strictness(s, v):
    """Grows with strictness; not set is the weakest."""
    if v is None:
        return -1e9
    n = next(c.get("number", 0) for c in s["choices"] if c["id"] == v) if s["kind"] == "choice" else float(v)
    return {"or": n, "max": n, "and": -n, "min": -n, "min_positive": -n if n > 0 else -1e8, "none": 0}[s["stricter"]]


def carriers(s):
    return [(channel, k) for channel in CHANNELS for k in s.get(channel, [])]


def every(check):
    """A test per setting would be a hundred lines of report; the ids at fault say as much."""
    return [i for i, s in SETTINGS.items() if not check(s)]


def test_schema_holds():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    errors = [f"{list(e.absolute_path)}: {e.message}" for e in jsonschema.Draft202012Validator(SCHEMA).iter_errors(FILE)]
    assert not errors


def broken(change):
    doc = copy.deepcopy(FILE)
    change(next(s for s in doc["settings"] if s["id"] == "security.min_length"))
    return doc


MISTAKES = {
    "unknown member": lambda s: s.update(colour="red"),
    "no German": lambda s: s["help"].pop("de"),
    "empty label": lambda s: s["label"].update(en=""),
    "number without a range": lambda s: s.pop("range"),
    "choices of a number": lambda s: s.update(choices=[{"id": "a", "label": s["label"]}, {"id": "b", "label": s["label"]}]),
    "no such kind": lambda s: s.update(kind="list"),
    "level missing": lambda s: s["levels"].pop("high"),
    "no such level": lambda s: s["levels"].update(extreme=16),
    "Apple key without a payload": lambda s: s["apple"][0].pop("payload"),
    "version of one number": lambda s: s["eas"][0].update(since="12"),
    "bad id": lambda s: s.update(id="Security.MinLength"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_schema_finds(mistake):
    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(broken(MISTAKES[mistake]))


def test_ids_are_unique_and_say_their_platform():
    assert len(SETTINGS) == len(FILE["settings"])
    prefix = {"device_control": lambda s: s["platform"], "security": lambda s: "security", "email": lambda s: "email"}
    assert every(lambda s: s["id"].split(".")[0] == prefix[s["type"]](s)) == []
    assert every(lambda s: len({c["id"] for c in s.get("choices", [])}) == len(s.get("choices", []))) == []


def test_tabs_and_groups_exist():
    tabs = {(t["id"], p["id"], x["id"]) for t in FILE["types"] for p in t["platforms"] for x in p["tabs"]}
    used = {(s["type"], s["platform"], s["tab"]) for s in SETTINGS.values()}
    assert used == tabs
    groups = {g["id"] for g in FILE["groups"]}
    assert {c["group"] for s in SETTINGS.values() for c in s.get("choices", []) if "group" in c} == groups
    assert {c["id"] for c in SETTINGS["apple.rating_region"]["choices"]} == groups
    assert [x["id"] for x in FILE["levels"]] == ["none", *LEVELS]


def test_content_of_cat_01_and_cat_02():
    """All 46 of Apple's control settings by their keys (one reaches no iPhone), those of the other platforms, and the security settings."""
    keys = {k["key"] for s in SETTINGS.values() if s["platform"] == "apple" for k in s.get("apple", [])}
    listed = """allowCamera allowVideoConferencing allowGlobalBackgroundFetchWhenRoaming allowActivityContinuation allowAssistant
        allowAssistantWhileLocked allowOTAPKIUpdates allowOpenFromManagedToUnmanaged allowOpenFromUnmanagedToManaged allowScreenShot
        allowDiagnosticSubmission allowUntrustedTLSPrompt forceEncryptedBackup forceLimitAdTracking
        forceAirPlayOutgoingRequestsPairingPassword forceAirDropUnmanaged allowEnterpriseAppTrust allowEnterpriseBookBackup
        allowInAppPurchases allowManagedAppsCloudSync allowEnterpriseBookMetadataSync forceWatchWristDetection
        forceITunesStorePasswordEntry allowPhotoStream allowCloudKeychainSync allowCloudPhotoLibrary allowSharedStream allowCloudBackup
        allowSafari safariAcceptCookies safariAllowPopups safariAllowAutoFill safariAllowJavaScript safariForceFraudWarning
        allowPassbookWhileLocked allowVoiceDialing allowLockScreenControlCenter allowLockScreenNotificationsView
        allowLockScreenTodayView allowBookstoreErotica ratingRegion ratingApps ratingMovies ratingTVShows
        allowFingerprintForUnlock""".split()
    beyond = """requireManagedPasteboard allowManagedToWriteUnmanagedContacts allowUnmanagedToReadManagedContacts allowUSBRestrictedMode
        allowAutoUnlock allowEraseContentAndSettings allowUIConfigurationProfileInstallation allowAppInstallation allowAppRemoval
        forceAutomaticDateAndTime""".split()
    assert len(listed) == 45 and keys == {*listed, *beyond}
    assert carriers(SETTINGS["apple.airplay_incoming"]) == []
    assert {k["key"] for s in SETTINGS.values() if s["platform"] == "eas" for k in s["eas"]} == {
        "AllowBluetooth", "AllowBrowser", "AllowCamera", "AllowIrDA", "AllowTextMessaging", "AllowStorageCard"}
    assert {k["key"] for s in SETTINGS.values() if s["type"] == "security" for k in s.get("apple", [])} == {
        "forcePIN", "allowSimple", "requireAlphanumeric", "minLength", "minComplexChars", "maxPINAgeInDays", "pinHistory",
        "maxFailedAttempts", "maxInactivity", "maxGracePeriod"}
    assert Counter(s["type"] for s in SETTINGS.values()) == {"device_control": 46 + 10 + 6 + 6, "security": 28, "email": 8}


def test_dependencies_name_settings_that_can_have_the_value():
    """POL-04: the settings of the guide that depend on others, and all name a possible value of a setting of their type."""
    parents = defaultdict(set)
    for s in SETTINGS.values():
        for d in s.get("depends", []):
            parent = SETTINGS[d["setting"]]
            assert (parent["type"], parent["platform"]) == (s["type"], s["platform"]) and possible(parent, d["value"]), s["id"]
            assert "depends" not in parent, "chains would need an order"
            parents[d["setting"], d.get("inherit", False)].add(s["id"].split(".")[1])
    assert parents == {
        ("apple.camera", True): {"facetime"}, ("apple.siri", True): {"siri_locked"},
        ("apple.safari", True): {"safari_cookies", "safari_popups", "safari_autofill", "safari_javascript", "safari_fraud_warning"},
        ("security.complex", True): {"complex_types", "complex_chars", "letters", "numbers", "lowercase", "uppercase", "non_letters"},
        ("security.expiration", False): {"expiration_days"}, ("security.history", False): {"history_count"},
        ("security.inactivity", False): {"inactivity_minutes"}, ("security.wipe", False): {"wipe_attempts"},
        ("security.grace", False): {"grace_after"}, ("email.direct", False): {"direct_server"}}
    assert {k["unless"] for s in SETTINGS.values() for _, k in carriers(s) if "unless" in k} == {"security.simple"}


def test_levels_are_possible_and_never_weaker_than_the_level_below():
    """CAT-03, POL-03."""
    assert every(lambda s: all(possible(s, s["levels"][x]) for x in LEVELS)) == []
    assert every(lambda s: [strictness(s, s["levels"][x]) for x in LEVELS] == sorted(strictness(s, s["levels"][x]) for x in LEVELS)) == []


def test_levels_keep_the_dependencies():
    for s in SETTINGS.values():
        for level in LEVELS:
            v = s["levels"][level]
            for d in s.get("depends", []) if v not in (None, False) else []:
                assert SETTINGS[d["setting"]]["levels"][level] == d["value"], (s["id"], level)


def test_pairs_are_of_one_kind_and_of_different_platforms():
    """POL-07: the stricter value goes to every channel, so it must be possible there."""
    pairs = defaultdict(list)
    for s in SETTINGS.values():
        if "pair" in s:
            pairs[s["pair"]].append(s)
    assert set(pairs) == {"camera", "browser", "text_messaging", "storage_card"}
    for word, members in pairs.items():
        assert len(members) == len({m["platform"] for m in members}) > 1, word
        assert len({(m["kind"], m["stricter"], m["type"]) for m in members}) == 1, word


def test_settings_of_one_key_join_in_one_direction():
    keys = defaultdict(set)
    for s in SETTINGS.values():
        for channel, k in carriers(s):
            assert s["platform"] in ("", channel), s["id"]
            keys[channel, k.get("payload"), k["key"]].add(k.get("stricter", s["stricter"]))
    assert [k for k, directions in keys.items() if len(directions) > 1] == []


def test_what_a_carrier_says_fits_the_kind():
    kinds = {"same": {"bool", "int"}, "not": {"bool"}, "const": {"bool"}, "const_bool": {"bool"}, "from": {"int"}, "number": {"choice"},
             "real": {"choice"}, "text": {"choice", "text"}, "account": {"bool", "server"}}
    default = {"text": "text", "server": "text", "choice": "number"}
    wrong = [s["id"] for s in SETTINGS.values() for _, k in carriers(s) if s["kind"] not in kinds[k.get("as", default.get(s["kind"], "same"))]]
    assert wrong == []


def test_what_is_sent_is_in_apple_s_and_activesync_s_range():
    limits = {"minLength": (0, 16), "minComplexChars": (0, 4), "maxPINAgeInDays": (1, 730), "pinHistory": (1, 50), "maxFailedAttempts": (2, 11),
              "maxInactivity": (0, 15), "MinDevicePasswordLength": (1, 16), "MinDevicePasswordComplexCharacters": (1, 4),
              "MaxInactivityTimeDeviceLock": (1, 9998), "MaxDevicePasswordFailedAttempts": (4, 16)}
    seen = set()
    for s in SETTINGS.values():
        for channel, k in carriers(s):
            if k["key"] in limits and s["kind"] == "int":
                lo, hi = limits[k["key"]]
                c = k.get("clamp", (0, 10 ** 9))
                sent = [min(max(v * k.get("number", 1), c[0]), c[1]) for v in s["range"]]
                assert lo <= sent[0] <= sent[1] <= hi, (s["id"], channel)
                seen.add(k["key"])
    assert seen == set(limits)


def test_no_setting_ends_before_ios_27():
    """Restrictions that the current systems have dropped are not offered."""
    assert every(lambda s: all("until" not in k for _, k in carriers(s))) == []
    gone = {"forceDelayedSoftwareUpdates", "enforcedSoftwareUpdateDelay", "allowRapidSecurityResponseInstallation"}
    assert not gone & {k["key"] for s in SETTINGS.values() for _, k in carriers(s)}
    assert {s["id"] for s in SETTINGS.values() for _, k in carriers(s) if k.get("deprecated") == "17.0"} == {
        "apple.photo_stream", "apple.locked_dialing", "apple.itunes_password"}
    assert {s["id"] for s in SETTINGS.values() for _, k in carriers(s) if k.get("deprecated") == "26.4"} == {"apple.siri", "apple.siri_locked"}


def test_ratings_keep_their_order_within_a_region():
    """The numbers of a region rise; all and none are the ends of the scale."""
    for i in ("apple.rating_movies", "apple.rating_tv", "apple.rating_apps"):
        choices = SETTINGS[i]["choices"]
        assert [(choices[0]["id"], choices[0]["number"]), (choices[-1]["id"], choices[-1]["number"])] == [("all", 1000), ("none", 0)]
        for group in {c.get("group") for c in choices[1:-1]}:
            numbers = [c["number"] for c in choices[1:-1] if c.get("group") == group]
            assert numbers == sorted(numbers, reverse=group is None) and len(set(numbers)) == len(numbers), (i, group)
            assert 0 <= min(numbers) and max(numbers) < 1000


def test_the_file_is_small_enough_to_be_served():
    compact = json.dumps(FILE, ensure_ascii=False, separators=(",", ":")).encode()
    assert len(compact) < 80_000 and len(gzip.compress(compact)) < 20_000


def test_generated_tables_hold_every_setting(tmp_path):
    subprocess.run([sys.executable, ROOT / "conf" / "settingsgen.py", "--in", ROOT / "conf" / "settings.json", "--out", tmp_path], check=True)
    c = (tmp_path / "mdm_settings_gen.c").read_text(encoding="utf-8")
    assert all(f'    {{"{i}", ' in c for i in SETTINGS)
    assert f"mdm_settings_count = {len(SETTINGS)};" in c


def test_the_manual_has_every_setting(tmp_path):
    """POL-04: the page is made of the catalogue."""
    subprocess.run([sys.executable, ROOT / "modules/admin/help.py", ROOT / "docs", ROOT / "conf/settings.json", tmp_path], check=True)
    page = (tmp_path / "settings.html").read_text(encoding="utf-8")
    for s in SETTINGS.values():
        assert page.count(f'<h4 id="{s["id"]}">{html.escape(s["label"]["en"], quote=False)}</h4>') == 1
        assert html.escape(s["help"]["en"], quote=False) in page
        assert all(f"<code>{k['key']}</code>" in page for _, k in carriers(s))
    assert "settings.html" in (tmp_path / "policies.html").read_text(encoding="utf-8")
