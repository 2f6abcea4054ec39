"""The harness itself: a failed start is noticed, the log parser sees what it must, both engines come up."""
import os
import signal

import psycopg2
import pytest

import harness
from harness import ErrorLog, LogLine, Postgres, StartError, wait_for


def plain(factory, **options):
    return factory.zone("sqlite3", modules=False, **options)


def test_start_stop(factory):
    zone = plain(factory).start()
    assert zone.request("GET", "/harness-ready.txt")[0] == 200
    assert zone.request("GET", "/harness-ready.txt", admin=True)[0] == 200
    assert zone.request("GET", "/nothing")[0] == 404
    pid = zone.process.pid
    zone.stop()
    assert not os.path.exists(f"/proc/{pid}")
    zone.close()


def test_children_are_unprivileged(factory):
    zone = plain(factory, children=2).start()
    uids = {os.stat(f"/proc/{pid}").st_uid for pid in zone.child_pids()}
    wait_for(lambda: len(zone.child_pids()) == 2)
    assert 0 not in uids
    zone.close()


def test_start_failure_is_noticed(factory):
    zone = plain(factory, extra_main="NoSuchDirective On")
    with pytest.raises(StartError, match="NoSuchDirective"):
        zone.start()
    zone.log.expect()
    zone.close()
    zone = plain(factory, extra_main="NoSuchDirective On")
    zone.prepare()
    code, text = zone.config_test()
    assert code != 0 and "NoSuchDirective" in text
    zone.close()


def test_graceful_and_killed_child(factory):
    zone = plain(factory, children=2).start()
    before = set(zone.child_pids())
    zone.graceful()
    wait_for(lambda: not before & set(zone.child_pids()))
    victim = zone.kill_child(signal.SIGKILL)
    wait_for(lambda: victim not in zone.child_pids() and len(zone.child_pids()) == 2)
    wait_for(zone.answers)
    zone.close()


def test_log_parser(tmp_path):
    path = tmp_path / "error.log"
    path.write_text("[Sat Nov 21 02:02:08.123456 2026] [mdm:error] [pid 7:tid 8] [client 127.0.0.1:5] MDM0123: text\n"
                    "[Sat Nov 21 02:02:08.123456 2026] [mpm_event:notice] [pid 7:tid 8] AH00489: up\n"
                    "[Sat Nov 21 02:02:08.123456 2026] [ssl:warn] [pid 7:tid 8] AH01909: hm\n"
                    "==7==ERROR: AddressSanitizer: heap-use-after-free\n"
                    "unfinished line")
    log = ErrorLog(path)
    assert [x.id for x in log.read()] == ["MDM0123", "AH00489", "AH01909", None]
    assert [x.bad for x in log.lines] == [True, False, True, True]
    log.expect("MDM0123", "AH01909")
    assert [x.level for x in log.unexpected()] == ["unparsed"]
    assert log.has("MDM0123", wait=0) and not log.has("MDM9999", wait=0)
    log.next_test()
    assert log.unexpected() == []
    assert LogLine("").bad is False


def test_unexpected_line_fails_a_test(factory):
    zone = plain(factory).start()
    with open(zone.root / "logs" / "error.log", "a") as f:
        f.write("[Sat Nov 21 02:02:08.123456 2026] [mdm:error] [pid 7:tid 8] MDM0001: planted\n")
    assert [x.id for x in zone.log.unexpected()] == ["MDM0001"]
    harness.ZONES.remove(zone)
    zone.close()


def test_postgres_freeze_and_restart(factory):
    pg = Postgres()
    try:
        name = pg.create()
        db = pg.connect(name)
        db.cursor().execute("CREATE TABLE t (a INT)")
        db.close()
        copy = pg.create(name)
        pg.stop()
        pg.start()
        db = pg.connect(copy)
        cur = db.cursor()
        cur.execute("SELECT count(*) FROM t")
        assert cur.fetchone() == (0,)
        pg.freeze()
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(pg.params(copy) + " connect_timeout=2")
        pg.thaw()
        cur.execute("SELECT 1")
        db.close()
    finally:
        pg.close()
