"""One private PostgreSQL for the tests of this folder, and fresh databases on both engines."""
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "it"), str(TESTS / "lib"), str(TESTS.parent / "sql" / "gen")]
import harness  # noqa: E402


@pytest.fixture(scope="session")
def postgres():
    made = harness.Postgres()
    yield made
    made.close()


@pytest.fixture(params=["sqlite3", "pgsql"])
def database(request, tmp_path):
    """MDM_DB of an empty database."""
    if request.param == "sqlite3":
        return f"sqlite3:{tmp_path}/test.db"
    pg = request.getfixturevalue("postgres")
    return "pgsql:" + pg.params(pg.create())
