"""Browser tests run against the same zones as the whole-server tests; the pages do not depend on the engine."""
import importlib.util
import sys
from pathlib import Path

import pytest

IT = Path(__file__).resolve().parents[1] / "it"
sys.path[:0] = [str(IT), str(IT.parent)]
spec = importlib.util.spec_from_file_location("it_conftest", IT / "conftest.py")
it = importlib.util.module_from_spec(spec)
spec.loader.exec_module(it)
factory, zone, fresh_zone, console, clean_logs = it.factory, it.zone, it.fresh_zone, it.console, it.clean_logs
from chromium import end_all  # noqa: E402
from pages import Page  # noqa: E402 (finds harness by the path above)


@pytest.fixture(scope="module", autouse=True)
def browsers(zone):
    """They end before their zone: a connection that one keeps in store would hold a child until its time is up."""
    yield
    end_all()


@pytest.fixture(scope="module")
def db():
    return "sqlite3"


@pytest.fixture
def page(zone):
    """Opens browsers, and gives them back."""
    made = []

    def make(**options):
        made.append(Page(zone, **options))
        return made[-1]
    yield make
    for one in made:
        one.driver.quit()
