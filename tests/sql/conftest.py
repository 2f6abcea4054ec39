"""One private PostgreSQL for the tests of this folder, and fresh databases on both engines."""
import sqlite3
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "it"), str(TESTS / "lib"), str(TESTS.parent / "sql" / "gen")]
import harness  # noqa: E402
import sqlgen  # noqa: E402
import zonefiles as zf  # noqa: E402

MIGRATIONS = sqlgen.read_migrations(str(zf.ROOT / "sql" / "schema"))


@pytest.fixture(scope="session")
def postgres():
    made = harness.Postgres()
    yield made
    made.close()


@pytest.fixture(scope="module")
def lite():
    """A connection to SQLite with our tables."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    for _, _, texts in MIGRATIONS:
        for sql in texts["sqlite3"]:
            db.execute(sql)
    yield db
    db.close()


@pytest.fixture(scope="module")
def pg(postgres):
    """The same on PostgreSQL."""
    db = postgres.connect(postgres.create())
    for _, _, texts in MIGRATIONS:
        for sql in texts["pgsql"]:
            db.cursor().execute(sql)
    yield db
    db.close()


@pytest.fixture(params=["sqlite3", "pgsql"])
def database(request, tmp_path):
    """MDM_DB of an empty database."""
    if request.param == "sqlite3":
        return f"sqlite3:{tmp_path}/test.db"
    pg = request.getfixturevalue("postgres")
    return "pgsql:" + pg.params(pg.create())
