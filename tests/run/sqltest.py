#!/usr/bin/env python3
"""Runs the unit tests that use a database (those that include dbtest.h) again, on a private PostgreSQL."""
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "it"), str(TESTS / "lib")]
import harness  # noqa: E402
import zonefiles as zf  # noqa: E402


def main():
    headers = [f'"{p.name}"' for p in (TESTS / "unit").glob("*.h") if p.name == "dbtest.h" or '"dbtest.h"' in p.read_text()]
    names = [p.stem for p in sorted((TESTS / "unit").glob("test_*.c")) if any(h in p.read_text() for h in headers)]
    pg = harness.Postgres()
    failed = 0
    try:
        for name in names:
            print(f"# {name} on PostgreSQL", flush=True)
            env = dict(os.environ, MDM_TEST_DB="pgsql:" + pg.params(pg.create()))
            failed += subprocess.run([str(zf.BUILD / "unit" / name)], env=env, stderr=subprocess.STDOUT, timeout=300).returncode != 0
    finally:
        pg.close()
    return 1 if failed or not names else 0


sys.exit(main())
