"""Every query's declared columns against what the engines say of its result (house 3.7.2)."""
import re
import sqlite3

import psycopg2
import pytest
import sqlgen
import zonefiles as zf

ROOT = zf.ROOT
QUERIES = {q.name: q for q in sqlgen.read_queries(str(ROOT / "sql" / "queries"))}
VERSIONS = "CREATE TABLE schema_version (version BIGINT PRIMARY KEY, name TEXT NOT NULL, applied_ms BIGINT NOT NULL)"
# Type numbers of PostgreSQL's catalogue: whole numbers may come as int2, int4, int8 or numeric (sums).
PG_TYPES = {"text": {25, 1043, 18, 19}, "i64": {20, 21, 23, 1700}, "f64": {700, 701, 1700, 20}}


def values(query, engine):
    dummies = {"text": "[]", "i64": 1, "f64": 1.5}
    return [dummies[query.args[i][1]] for i in query.compiled[engine][1]]


@pytest.fixture(scope="module")
def lite(lite):
    lite.execute(VERSIONS)
    return lite


@pytest.fixture(scope="module")
def pg(pg):
    pg.cursor().execute(VERSIONS)
    pg.autocommit = False
    return pg


READERS = sorted(n for n, q in QUERIES.items() if q.cols)


@pytest.mark.parametrize("name", READERS)
def test_number_of_columns_on_sqlite(lite, name):
    query = QUERIES[name]
    sql = re.sub(r"%(s|lld|lf|%)", lambda m: "%" if m[1] == "%" else "?", query.compiled["sqlite3"][0])
    lite.execute("BEGIN")
    try:
        cursor = lite.execute(sql, values(query, "sqlite3"))
        assert len(cursor.description) == len(query.cols)
    except sqlite3.IntegrityError as why:
        assert "FOREIGN KEY" in str(why) or "UNIQUE" in str(why)
    finally:
        lite.execute("ROLLBACK")


@pytest.mark.parametrize("name", READERS)
def test_types_of_columns_on_postgresql(pg, name):
    query = QUERIES[name]
    sql = re.sub(r"%(lld|lf)", "%s", query.compiled["pgsql"][0])
    cursor = pg.cursor()
    try:
        cursor.execute(sql, values(query, "pgsql"))
        found = [d.type_code for d in cursor.description]
        assert len(found) == len(query.cols)
        wrong = [(c[0], c[1], t) for c, t in zip(query.cols, found) if t not in PG_TYPES[c[1]]]
        assert not wrong
    except psycopg2.errors.ForeignKeyViolation:
        pass  # it was planned and run with its types; the device of the dummy does not exist
    finally:
        pg.rollback()
