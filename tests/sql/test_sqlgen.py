"""The generator: what it makes of a query, and that each mistake is named with file and line (sql/README.md)."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GEN = ROOT / "sql" / "gen" / "sqlgen.py"


def generate(tmp_path, queries, schema="CREATE TABLE t (a TEXT, b BIGINT);\n", name="0001_first.sql"):
    (tmp_path / "q").mkdir()
    (tmp_path / "s").mkdir()
    (tmp_path / "q" / "x.sql").write_text(queries)
    (tmp_path / "s" / name).write_text(schema)
    done = subprocess.run([sys.executable, GEN, "--queries", tmp_path / "q", "--schema", tmp_path / "s", "--out", tmp_path],
                          capture_output=True, text=True)
    c, h = tmp_path / "mdm_sql_gen.c", tmp_path / "mdm_sql_gen.h"
    return done, c.read_text() if c.exists() else None, h.read_text() if h.exists() else None


HEAD = "-- name: q :one\n-- args: a:text\n-- cols: b:i64\n"
MISTAKES = {
    "unknown parameter": (HEAD + "SELECT b FROM t\nWHERE a = :nope AND a = :a;", 5, "unknown parameter ':nope'"),
    "unused argument": (HEAD + "SELECT b FROM t;", 1, "'a' of 'q' is not used"),
    "undeclared argument": ("-- name: q :one\n-- cols: b:i64\nSELECT b FROM t WHERE a = :a;", 3, "unknown parameter ':a'"),
    "argument twice": ("-- name: q :one\n-- args: a:text, a:text\n", 2, "declared twice"),
    "bad type": ("-- name: q :one\n-- args: a:bool\n", 2, "bad argument"),
    "C word": ("-- name: q :one\n-- cols: default:text\n", 2, "C name"),
    "duplicate name": (HEAD + "SELECT b FROM t WHERE a = :a;\n" + HEAD + "SELECT b FROM t WHERE a = :a;", 5, "x.sql:1"),
    "missing engine": ("-- name: q :exec\n-- only: pgsql\nDELETE FROM t;", 1, "no text for sqlite3"),
    "unknown engine": ("-- name: q :exec\n-- only: mysql\nDELETE FROM t;", 2, "unknown engine"),
    "two texts": ("-- name: q :exec\n-- only: pgsql\nDELETE FROM t;\n-- only: pgsql\nDELETE FROM t;", 5, "two texts"),
    "no text": ("-- name: q :exec\n", 1, "no text"),
    "too few columns": ("-- name: q :one\n-- cols: a:text, b:i64\nSELECT a FROM t;", 3, "declares 2 columns, the statement has 1"),
    "too many columns": ("-- name: q :one\n-- cols: a:text\nUPDATE t SET b = 1 RETURNING a, (SELECT MAX(1, 2));", 3, "has 2"),
    "no columns": ("-- name: q :one\nSELECT a FROM t;", 1, "needs '-- cols:'"),
    "columns of exec": ("-- name: q :exec\n-- cols: a:text\nDELETE FROM t;", 1, "can't have '-- cols:'"),
    "exec returning": ("-- name: q :exec\nDELETE FROM t RETURNING a;", 2, "can't have a statement that returns rows"),
    "one without rows": ("-- name: q :one\n-- cols: a:text\nDELETE FROM t;", 3, "needs a SELECT or RETURNING"),
    "star": ("-- name: q :one\n-- cols: a:text\nSELECT * FROM t;", 3, "name the columns"),
    "cardinality": ("-- name: q :some\n", 1, "unknown cardinality"),
    "no cardinality": ("-- name: q\n", 1, "want '-- name:"),
    "bad name": ("-- name: Q-1 :one\n", 1, "bad query name"),
    "text before a name": ("\nSELECT 1;\n", 2, "before the first"),
    "two statements": ("-- name: q :exec\nDELETE FROM t;\nDELETE FROM t;", 2, "more than one statement"),
    "open quote": ("-- name: q :exec\nDELETE FROM t\nWHERE a = 'x;", 3, "quote is not closed"),
    "question mark": ("-- name: q :exec\nDELETE FROM t WHERE a = ?;", 2, "use :name"),
    "unknown part": (HEAD + "SELECT b FROM t\nWHERE {nope};", 5, "no part 'nope' above"),
    "part not used": ("-- part: p\na = :a\n" + HEAD + "SELECT b FROM t WHERE a = :a;", 1, "part 'p' is not used"),
    "part twice": ("-- part: p\nx\n-- part: p\ny\n", 3, "x.sql:1"),
    "parameter in a part": ("-- part: p\na = :nope\n" + HEAD + "SELECT b FROM t WHERE\n{p} AND a = :a;", 7, "':nope'"),
    "not to be kept": ("-- name: q :exec\n-- keep\nCREATE TABLE u (a TEXT);", 1, "can't keep 'q'"),
    "variants differ": ("-- name: q :exec\n-- args: a:text\n-- only: pgsql\nDELETE FROM t WHERE a = :a;\n-- name: q :exec\n"
                        "-- args: b:text\n-- only: sqlite3\nDELETE FROM t WHERE a = :b;", 6, "differ between its variants"),
}


@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_mistake_is_named_with_file_and_line(tmp_path, mistake):
    text, line, words = MISTAKES[mistake]
    done, c, _ = generate(tmp_path, text + "\n")
    assert done.returncode == 1 and c is None
    assert f"x.sql:{line}: " in done.stderr and words in done.stderr, done.stderr


def test_repeated_parameters_percent_signs_casts_and_literals(tmp_path):
    done, c, h = generate(tmp_path, "-- name: q :many\n-- args: b:i64, a:text\n-- cols: a:text?, b:i64\n-- only: pgsql\n"
                          "SELECT a, b::bigint FROM t WHERE a = :a OR a LIKE '%:a' -- :c\n OR (b = :b AND a <> :a);\n"
                          "-- only: sqlite3\nSELECT a, b FROM t WHERE b = :b AND a = ':a%';\n-- name: q2 :exec\n-- args: f:f64?\n"
                          "DELETE FROM t WHERE b > :f;\n-- name: r :exec\n-- args: a:text\n-- only: sqlite3\n"
                          "DELETE FROM t WHERE a = :a;\n-- only: pgsql\nDELETE FROM t WHERE :a = a;\n")
    assert done.returncode == 0, done.stderr
    flat = c.replace('"\n     "', "")
    assert ('"SELECT a, b::bigint FROM t WHERE a = CAST(%s AS TEXT) OR a LIKE \'%%:a\' '
            'OR (b = CAST(%lld AS BIGINT) AND a <> CAST(%s AS TEXT))"') in flat
    assert "\"SELECT a, b FROM t WHERE b = %lld AND a = ':a%%'\"" in flat.replace("%s", "?")
    assert "p_q[] = {1, 0, 1};" in c and "s_q[] = {0};" in c
    assert "mdm_q_q(mdm_db_t *db, apr_int64_t b, const char *a, apr_array_header_t **rows);" in h
    assert "mdm_q_q2(mdm_db_t *db, const double *f, int *affected);" in h
    assert "WHERE b > CAST(%s AS DOUBLE PRECISION)" in flat and "WHERE b > %lf" in flat
    assert "MDM_Q_COUNT" in h


def test_parts_stand_for_their_text(tmp_path):
    done, c, h = generate(tmp_path, "-- part: head\na:text\n\n-- part: inner\nb = 1\n-- part: where\nWHERE a = :a\n  AND {inner}\n"
                          "-- name: q :one\n-- args: {head}\n-- cols: b:i64\nSELECT b FROM t {where};\n"
                          "-- name: d :exec\n-- args: {head}, b:i64\nDELETE FROM t {where} AND b < :b;\n")
    assert done.returncode == 0, done.stderr
    flat = c.replace('"\n     "', "")
    assert '"SELECT b FROM t WHERE a = %s AND b = 1"' in flat and '"DELETE FROM t WHERE a = %s AND b = 1 AND b < %lld"' in flat
    assert "mdm_q_d(mdm_db_t *db, const char *a, apr_int64_t b, int *affected);" in h


def test_migrations_are_split_by_statement_and_engine(tmp_path):
    done, c, _ = generate(tmp_path, HEAD + "SELECT b FROM t WHERE a = :a;\n", schema="""
-- a comment; with a semicolon
CREATE TABLE t (a TEXT DEFAULT ';  ''', b BIGINT); -- after
-- only: sqlite3
CREATE TRIGGER g AFTER INSERT ON t BEGIN DELETE FROM t; DELETE FROM t; END;
-- only: pgsql
CREATE FUNCTION f() RETURNS trigger AS $$ BEGIN RETURN NEW; END; $$ LANGUAGE plpgsql;
-- all
CREATE INDEX i ON t (a);
""")
    assert done.returncode == 0, done.stderr

    def block(engine):
        return c.split(f"m1_{engine}[] = {{")[1].split("};")[0]
    assert block("sqlite3").count("\n    \"CREATE") == 3 and block("pgsql").count("\n    \"CREATE") == 3
    assert "END" in block("sqlite3") and "TRIGGER" not in block("pgsql")
    assert "$$ BEGIN RETURN NEW; END; $$" in block("pgsql") and "';  '''" in block("pgsql")
    assert "comment" not in c and "after\"" not in c


@pytest.mark.parametrize("name, schema, words", [
    ("0002_first.sql", "CREATE TABLE t (a TEXT);\n", "expected migration number 0001"),
    ("first.sql", "CREATE TABLE t (a TEXT);\n", "NNNN_words.sql"),
    ("0001_first.sql", "CREATE TABLE t (a TEXT)\n", "no semicolon"),
    ("0001_first.sql", "-- only: oracle\nCREATE TABLE t (a TEXT);\n", "0001_first.sql:1: unknown engine"),
])
def test_bad_migrations(tmp_path, name, schema, words):
    done, c, _ = generate(tmp_path, HEAD + "SELECT b FROM t WHERE a = :a;\n", schema=schema, name=name)
    assert done.returncode == 1 and c is None and words in done.stderr
