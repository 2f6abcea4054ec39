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
