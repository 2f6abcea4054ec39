"""Devices, people and history put straight into a zone's database, for tests of lists and pages."""
import time
import uuid

ROOT_FOLDER = "00000000-0000-4000-8000-000000000001"


def now_ms():
    return int(time.time() * 1000)


def device(zone, name, person=None, **columns):
    """One device object; returns its id."""
    ident = str(uuid.uuid4())
    row = {"id": ident, "name": name, "name_key": name.lower(), "folder_id": ROOT_FOLDER, "person_id": person,
           "state": "active", "mode": "ios_mdm", "platform": "ios", "model": "iPhone 14 Pro", "product": "iPhone15,2",
           "serial": "C" + ident[:10].upper(), "udid": ident.upper(), "os_version": "17.5.1", "ownership": "corporate",
           "created_ms": now_ms(), "enrolled_ms": now_ms(), "last_contact_ms": now_ms(), **columns}
    zone.sql(f"INSERT INTO device ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())
    return ident


def record(zone, device_id, **columns):
    """A live Apple record of a device; returns its id."""
    ident = str(uuid.uuid4())
    row = {"id": ident, "device_id": device_id, "kind": "mdm", "native_id": str(uuid.uuid4()).upper(), "state": "enrolled",
           "topic": "com.apple.mgmt.External.test", "push_token": "ab" * 32, "push_magic": "magic", "push_ok": 1,
           "first_seen_ms": now_ms(), "last_seen_ms": now_ms(), **columns}
    zone.sql(f"INSERT INTO source_record ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())
    return ident


def person_id(zone, login):
    return zone.sql("SELECT id FROM person WHERE login = ?", login)[0][0]


def mail_device(zone, person, device_id, name="iPhone Anna", **columns):
    """A mail client after its first contact: a pending device with its record, as mdm_eas_first_contact() makes them."""
    ident = device(zone, name, person, **{"state": "pending", "mode": "eas", "level": "email_only", "eas_device_id": device_id,
                                          "folder_id": "00000000-0000-4000-8000-000000000002", "serial": None, "udid": None,
                                          "enrolled_ms": None, "last_contact_ms": None, "last_eas_ms": now_ms(), **columns})
    record(zone, ident, kind="eas", native_id=device_id, person_id=person, state="authenticated", topic=None, push_token=None,
           push_magic=None, push_ok=0, **{"class": "native"})
    return ident


def mail_server(zone, source="Local", **columns):
    """An ActiveSync server for a user source; returns its id."""
    ident = str(uuid.uuid4())
    row = {"id": ident, "name": f"Mail {ident[:8]}", "host": "mail.example.org", "port": 443, "created_ms": now_ms(), **columns}
    zone.sql(f"INSERT INTO eas_server ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", *row.values())
    zone.sql("INSERT INTO eas_server_source (server_id, source_id, position) SELECT ?, id, 1 FROM user_source WHERE name = ?",
             ident, source)
    return ident


def mail_use(zone, device_id, days=0, **columns):
    """What the mail app of a device did; it has synced last so many days ago."""
    at = now_ms() - days * 86_400_000
    row = {"requests": 812, "errors": 1, "bytes_in": 420_000, "bytes_out": 73_400_000, "last_ms": at, "last_cmd": "Ping", "sync_ms": at, "heartbeat_s": 840,
           "error_ms": at - 3_600_000, "error_http": 503, "alive_day": at // 86_400_000, **columns}
    zone.sql(f"INSERT INTO eas_count (record_id, {', '.join(row)}) SELECT id, {', '.join('?' * len(row))} FROM source_record WHERE kind = 'eas' AND live = 1"
             " AND device_id = ?", *row.values(), device_id)
