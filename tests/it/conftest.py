"""Fixtures of the whole-server tests. A module may set ZONE = {options of harness.Zone}."""
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import harness
from clients import Console, enrolled


def pytest_configure(config):
    config.addinivalue_line("markers", "san: also run against the sanitized build")


def report(lines):
    lines = list(lines)
    return f"{len(lines)} unexpected log lines:\n" + "\n".join(lines[:15])


@pytest.fixture(scope="session")
def factory():
    made = harness.Factory()
    yield made
    made.close()


@pytest.fixture(scope="module", params=["sqlite3", "pgsql"])
def db(request):
    """The engine of a test; tests that use `zone` run once per engine."""
    return request.param


@pytest.fixture(scope="module")
def zone(request, factory, db):
    """A running zone, shared by the tests of a module."""
    made = factory.zone(db, **getattr(request.module, "ZONE", {})).start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def console(zone):
    """The API, as the first administrator uses it."""
    return Console(zone)


@pytest.fixture
def device(zone):
    """A simulated phone under management."""
    return enrolled(zone)


@pytest.fixture
def ident(console, device):
    """The id of its object."""
    return console.device(device.udid)["id"]


@pytest.fixture
def fresh_zone(factory, db):
    """Makes a zone for one test: fresh_zone(children=1, …) -> running Zone. For tests that break theirs."""
    made = []

    def make(start=True, **options):
        zone = factory.zone(db, **options)
        made.append(zone)
        return zone.start() if start else zone
    yield make
    for zone in made:
        if zone in harness.ZONES:
            harness.ZONES.remove(zone)
            zone.stop()
            unexpected = zone.log.unexpected()
            zone.close()
            assert not unexpected, report(x.raw for x in unexpected)


@pytest.fixture(autouse=True)
def clean_logs():
    """A warning or error that the test did not declare fails it."""
    for zone in harness.ZONES:
        zone.log.read()
        zone.log.next_test()
    yield
    unexpected = [x.raw for zone in harness.ZONES for x in zone.log.unexpected()]
    assert not unexpected, report(unexpected)
