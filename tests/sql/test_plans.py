"""What is removed by age, and pages of what 100,000 devices have of a policy or task, is found on an index, and a batch looks at a bounded number of rows
(DEV-16, POL-08, DEV-07, PRF-02): the engines' own words."""
import json
import re

import pytest
import sqlgen
import zonefiles as zf
from conftest import MIGRATIONS

QUERIES = {q.name: q for q in sqlgen.read_queries(str(zf.ROOT / "sql" / "queries"))}
ROWS, BATCH = 20000, 500
FILL = ["INSERT INTO folder (id, name) VALUES ('f', 'f')",
        "INSERT INTO device (id, name, name_key, folder_id, state, mode, created_ms) VALUES ('d', '', '', 'f', 'active', 'ios_mdm', 0)",
        "INSERT INTO source_record (id, device_id, kind, native_id, state, first_seen_ms, last_seen_ms) VALUES ('r', 'd', 'mdm', 'u', 'enrolled', 0, 0)",
        "INSERT INTO command (id, record_id, device_id, seq, request_type, payload, open, state, created_ms, done_ms) "
        "{series} SELECT 'c' || i, 'r', 'd', i, 'X', '{{}}', 0, 'error', 0, i FROM s",
        "INSERT INTO device_event (id, device_id, at_ms, kind) {series} SELECT 'e' || i, 'd', i, 'x' FROM s",
        "INSERT INTO message (id, object_kind, object_id, at_ms, severity, code, text, ack_ms) {series} SELECT 'm' || i, 'device', 'd', i, 1, 'x', '', i FROM s",
        "INSERT INTO audit (id, at_ms, actor_kind, actor_id, actor_name, ip, action, object_kind, object_id, object_name, outcome) "
        "{series} SELECT 'a' || i, i, '', '', '', '', '', '', '', '', '' FROM s",
        "INSERT INTO quick_task (id, kind, summary, options, target, created_ms, created_by, state) "
        "{series} SELECT 't' || i, 'lock', '{{}}', '', '{{}}', i, '', 'done' FROM s",
        "INSERT INTO quick_task_device (task_id, device_id, n, name, command_id, state, updated_ms) {series} SELECT 't1', 'd' || i, i, '', 'x' || i, 'ordered', 0 FROM s",
        "INSERT INTO device (id, name, name_key, folder_id, state, mode, created_ms) {series} SELECT 'd' || i, '', '', 'f', 'active', 'ios_mdm', i FROM s",
        "INSERT INTO delivery (device_id, type, channel, result_id, hash, state, updated_ms) {series} SELECT 'd' || i, 'security', 'mdm', 'r1', 'h', "
        "CASE WHEN i % 100 = 0 THEN 'failed' ELSE 'applied' END, i FROM s"]
SERIES = {"sqlite3": f"WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {ROWS})",
          "pgsql": f"WITH s (i) AS (SELECT generate_series(1, {ROWS}))"}
BEFORE = ROWS * 3 // 4
# query: the index it walks, and its arguments
WALKS = {"retention_audit": ("audit_at", {"before": BEFORE}), "retention_events": ("device_event_at", {"before": BEFORE}),
         "retention_messages": ("message_seen", {"before": BEFORE, "ending": "y"}),
         "retention_commands": ("command_done", {"before": BEFORE, "after": 4000, "after_id": "c4000"}),
         "retention_task": ("quick_task_created", {"before": BEFORE}), "retention_task_devices": ("quick_task_device", {"id": "t1"}),
         "policy_delivery_walk": ("delivery_result", {"result": "r1", "after_channel": "mdm", "after_state": "applied", "after_id": "d15", "channel": "", "state": "",
                                                      "admin": "", "count": BATCH}),
         "task_progress": ("quick_task_device", {"id": "t1"})}


def compiled(name, engine, mark):
    query = QUERIES[name]
    given = {"max": BATCH, **WALKS[name][1]}
    sql, order = query.compiled[engine]
    return re.sub(r"%(?:lld|lf|s)", mark, sql), [given[query.args[i][0]] for i in order]


@pytest.fixture(scope="module")
def lite(lite):
    for sql in FILL:
        lite.execute(sql.format(series=SERIES["sqlite3"]))
    return lite


@pytest.fixture(scope="module")
def pg(pg):
    for sql in FILL:
        pg.cursor().execute(sql.format(series=SERIES["pgsql"]))
    return pg


@pytest.mark.parametrize("name", WALKS)
def test_sqlite_walks_an_index(lite, name):
    sql, values = compiled(name, "sqlite3", "?")
    plan = [row[3] for row in lite.execute("EXPLAIN QUERY PLAN " + sql, values)]
    assert not [step for step in plan if "TEMP B-TREE" in step or (step.startswith("SCAN") and "CONSTANT" not in step)], plan
    assert any(f"INDEX {WALKS[name][0]}" in step or f"sqlite_autoindex_{WALKS[name][0]}" in step for step in plan), plan


def nodes(plan):
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


@pytest.mark.parametrize("name", WALKS)
def test_postgresql_looks_at_a_batch(pg, name):
    sql, values = compiled(name, "pgsql", "%s")
    cursor = pg.cursor()
    try:
        cursor.execute("ANALYZE")
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + sql, values)
        plan = cursor.fetchone()[0]
        plan = plan if isinstance(plan, list) else json.loads(plan)
        found = list(nodes(plan[0]["Plan"]))
        looked = [((n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) * n["Actual Loops"], n["Node Type"], n.get("Index Name")) for n in found]
        assert max(n for n, *_ in looked) <= 2 * BATCH, looked
        assert any((n.get("Index Name") or "").startswith(WALKS[name][0]) for n in found), looked
    finally:
        pg.rollback()


FLEET = ["INSERT INTO folder (id, name) VALUES ('f', 'f')", "INSERT INTO user_group (id, source_id, name) SELECT 'g', id, 'g' FROM user_source LIMIT 1",
         f"INSERT INTO person (id, source_id, login, login_key, name, created_ms) SELECT 'p' || i, (SELECT id FROM user_source LIMIT 1), 'p' || i, 'p' || i, '', 0"
         f"  FROM generate_series(1, {ROWS}) i",
         "INSERT INTO device (id, name, name_key, folder_id, person_id, state, mode, platform, created_ms)"
         f" SELECT 'd' || i, '', '', 'f', 'p' || i, 'active', 'ios_mdm', 'ios', 0 FROM generate_series(1, {ROWS}) i",
         "INSERT INTO source_record (id, device_id, person_id, kind, native_id, state, first_seen_ms, last_seen_ms)"
         " SELECT 'r' || id, id, person_id, 'mdm', 'u' || id, 'enrolled', 0, 0 FROM device",
         "INSERT INTO source_record (id, device_id, person_id, kind, class, native_id, state, first_seen_ms, last_seen_ms)"
         " SELECT 'e' || id, id, person_id, 'eas', 'native', 'n' || id, 'enrolled', 0, 0 FROM device"]
# what each of them walks as a whole if it is believed to be small, and what must be in the condition instead
LARGE = {"device_pkey": "id", "source_record_pkey": "id", "source_record_url": "base_url", "source_record_mdm": "native_id", "source_record_native": "native_id"}
BATCHES = ["action_facts", "delivery_facts", "discovered_told", "match_records", "recompute_of_people", "recompute_places", "recompute_take"]


@pytest.fixture(scope="module")
def loaded(postgres):
    """A new database, filled at once, of whose rows PostgreSQL knows nothing yet."""
    db = postgres.connect(postgres.create())
    cursor = db.cursor()
    for sql in [sql for _, _, texts in MIGRATIONS for sql in texts["pgsql"]] + ["SET session_replication_role = replica"] + FLEET:
        cursor.execute(sql)
    cursor.execute("INSERT INTO recompute_device (device_id, since_ms, criteria, policies) SELECT id, 0, 0, 0 FROM device ORDER BY id OFFSET %s", (ROWS * 9 // 10,))
    yield db
    db.close()


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_goes_by_keys_without_statistics(loaded, name):
    """POL-09, MAT-10: in a new database without statistics the batches of the matcher and of policies walk no large table or index as a whole."""
    sql = QUERIES[name].compiled["pgsql"][0]
    sql = re.sub(r"%(?:lld|s)", lambda m: str(BATCH) if m[0] == "%lld" else "'[]'", sql)
    cursor = loaded.cursor()
    cursor.execute("EXPLAIN (FORMAT JSON) " + sql)
    plan = cursor.fetchone()[0]
    found = list(nodes((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"]))
    walked = [(n["Node Type"], n["Relation Name"], n.get("Index Name"), n.get("Index Cond")) for n in found
              if (n["Node Type"] == "Seq Scan" and n["Relation Name"] == "source_record")
              or LARGE.get(n.get("Index Name"), "") not in n.get("Index Cond", "")]
    assert not walked, walked


def test_the_last_of_many_are_taken_without_the_first(loaded):
    """POL-09: a batch of computation looks at its own devices, not at all that were done before it."""
    cursor = loaded.cursor()
    try:
        cursor.execute("BEGIN")
        cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + QUERIES["recompute_take"].compiled["pgsql"][0].replace("%lld", str(BATCH)))
        plan = cursor.fetchone()[0]
        found = nodes((plan if isinstance(plan, list) else json.loads(plan))[0]["Plan"])
        looked = [((n["Actual Rows"] + n.get("Rows Removed by Filter", 0)) * n["Actual Loops"], n["Node Type"], n.get("Index Name")) for n in found]
        assert BATCH <= max(n for n, *_ in looked) <= ROWS // 10, looked
    finally:
        cursor.execute("ROLLBACK")


KEPT = sorted(name for name, query in QUERIES.items() if query.keep)
TYPES = {"%s": "varchar", "%lld": "bigint"}  # what a prepared statement's parameters are (apr_dbd)


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_plan_walks_indexes(pg, name):
    """PEN-06: PostgreSQL keeps the plan of "-- keep" for any arguments: it looks at no table as a whole, whatever they are."""
    sql = QUERIES[name].compiled["pgsql"][0]
    types = [TYPES[mark] for mark in re.findall(r"%(?:lld|s)", sql)]
    count = iter(range(1, len(types) + 1))
    sql = re.sub(r"%(?:lld|s)", lambda _: f"${next(count)}", sql).replace("%%", "%")
    cursor = pg.cursor()
    try:
        cursor.execute("BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off")
        cursor.execute(f"PREPARE kept ({', '.join(types)}) AS {sql}" if types else f"PREPARE kept AS {sql}")
        cursor.execute("EXPLAIN (FORMAT JSON) EXECUTE kept" + (f"({', '.join(['NULL'] * len(types))})" if types else ""))
        plan = cursor.fetchone()[0]
        plan = plan if isinstance(plan, list) else json.loads(plan)
        whole = {n["Relation Name"] for n in nodes(plan[0]["Plan"]) if n["Node Type"] == "Seq Scan"}
        assert not whole, f"{name} looks at all of {whole}"
    finally:
        cursor.execute("ROLLBACK; DEALLOCATE ALL")
