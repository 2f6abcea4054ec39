"""What is always wrong: a layer crossed, an exported symbol, SQL text in C, an undocumented log id or directive."""
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("MDM_BUILD") or ROOT / ".build")
LAYERS = {"base": {"base"}, "wire": {"base", "wire"}, "db": {"base", "db"}, "domain": {"base", "wire", "db", "domain"}}
FEATURES = ("mdm", "enroll", "ios", "admin", "access", "eas")
MODULES = {"mod_mdm": "mdm_module", "mod_mdm_enroll": "mdm_enroll_module", "mod_mdm_ios": "mdm_ios_module",
           "mod_mdm_admin": "mdm_admin_module", "mod_mdm_access": "mdm_access_module",
           "mod_mdm_eas": "mdm_eas_module"}
HTTPD = re.compile(r"^(httpd|http_\w+|ap_\w+|mod_\w+|util_\w+|scoreboard|mpm_common)\.h$")


def tracked():
    out = subprocess.run(["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],
                         capture_output=True, text=True)
    if out.returncode == 0:
        return [f for f in out.stdout.splitlines() if (ROOT / f).exists()]
    return [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file()
            and not p.relative_to(ROOT).parts[0].startswith((".build", ".git"))]


def sources(*parts, suffix=(".c", ".h")):
    return [p for p in sorted((ROOT / "modules").joinpath(*parts).rglob("*")) if p.suffix in suffix]


def includes(path):
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', path.read_text(), re.M)


def code(path):
    """The text without comments; string literals stay."""
    keep = re.compile(r'("(?:\\.|[^"\\\n])*")|/\*.*?\*/|//[^\n]*', re.S)
    return keep.sub(lambda m: m[1] or " ", path.read_text())


def make_variable(name):
    out = subprocess.run(["make", "-f", "apxs.mk", f"BUILD={BUILD}", f"print-{name}"], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    return out.stdout.split()


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_core_layers(layer):
    """Issue 2 section 1: the library never sees httpd; its parts include downward only."""
    wrong = []
    for path in sources("core", layer):
        for quote, name in includes(path):
            first = name.split("/")[0]
            if HTTPD.match(name) or (quote == '"' and "/" in name and first not in LAYERS[layer]):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert sources("core", layer) and not wrong


@pytest.mark.parametrize("feature", FEATURES)
def test_feature_modules_reach_each_other_through_services_only(feature):
    mine = {p.name for p in sources(feature, suffix=(".h", ".def"))}
    allowed = {p.name for p in (ROOT / "include").glob("*.h")} | {"mdm_web.h", "mdm_sql_gen.h"}
    wrong = [f"{p.relative_to(ROOT)}: {name}" for p in sources(feature) for quote, name in includes(p)
             if quote == '"' and name.split("/")[0] not in LAYERS and name not in allowed | mine]
    assert not wrong


def test_mdmctl_is_free_of_httpd():
    wrong = [f"{p.name}: {name}" for p in sources("ctl") for _, name in includes(p) if HTTPD.match(name) or name == "mdm_web.h"]
    assert not wrong


@pytest.mark.parametrize("name", sorted(MODULES))
def test_modules_export_their_record_only(name):
    out = subprocess.run(["nm", "-D", "--defined-only", BUILD / "modules" / f"{name}.so"], capture_output=True, text=True)
    symbols = {line.split()[-1] for line in out.stdout.splitlines()}
    assert symbols - {"_init", "_fini"} == {MODULES[name]}, out.stderr


def test_library_has_no_mutable_statics():
    """Each module links its own copy: state there would be four states."""
    wrong = []
    for obj in sorted((BUILD / "obj" / "modules" / "core").rglob("*.o")):
        out = subprocess.run(["objdump", "-t", obj], capture_output=True, text=True, check=True).stdout
        for line in out.splitlines():
            found = re.match(r"^[0-9a-f]+ .{6}[ O] (\.bss\S*|\.data\S*|\.tdata\S*|\.tbss\S*|\*COM\*)\t([0-9a-f]+) (?:\.hidden )?(\S+)", line)
            if found and not found[1].startswith(".data.rel.ro") and int(found[2], 16):
                wrong.append(f"{obj.name}: {found[3]} in {found[1]}")
    assert not wrong


def test_no_sql_outside_sql():
    verb = re.compile(r'"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+\s+SET\s|DELETE\s+FROM\s|CREATE\s+TABLE\s|ALTER\s+TABLE\s)', re.I)
    wrong = [str(p.relative_to(ROOT)) for p in sources() if "core/db" not in str(p) and verb.search(code(p))]
    assert not wrong


def test_each_query_is_used():
    names = {n for p in (ROOT / "sql" / "queries").glob("*.sql") for n in re.findall(r"^-- name: (\w+)", p.read_text(), re.M)}
    called = {n for p in sources(suffix=(".c",)) for n in re.findall(r"\bmdm_q_(\w+)", code(p))}
    assert names and not names - called


def test_architecture_names_each_table():
    made = {t for p in (ROOT / "sql" / "schema").glob("*.sql") for t in re.findall(r"^CREATE TABLE (\w+)", p.read_text(), re.M)}
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`(\w+)`", page.split("### Tables")[1].split("\n\n")[0]))
    assert made == named


def test_database_driver_is_used_in_one_place():
    wrong = [str(p.relative_to(ROOT)) for p in sources(suffix=(".c",))
             if "core/db" not in str(p) and re.search(r"\bapr_dbd_(?!t\b|driver_t\b)\w+\s*\(", code(p)) and "/ctl/" not in str(p)
             and not p.name.startswith("mdm_db")]
    assert not wrong


def test_output_goes_through_the_writers():
    # mod_status has no other way for its hook, which prints numbers only.
    wrong = [str(p.relative_to(ROOT)) for p in sources() if "/web/" not in str(p) and p.name != "mdm_status.c"
             and re.search(r"\bap_r(puts|printf|vputs|write|putc|flush)\s*\(", code(p))]
    assert not wrong


def messages():
    rows = re.findall(r"^\| (MDM\d{4}) \|([^|]*)\|([^|]*)\|([^|]*)\|$", (ROOT / "docs" / "messages.md").read_text(), re.M)
    assert rows
    return rows


def test_log_ids_are_documented_and_unique():
    used = {}
    for path in sources():
        for found in re.findall(r'"(MDM\d{4})', code(path)):
            used.setdefault(found, set()).add(str(path.relative_to(ROOT)))
    documented = [row[0] for row in messages()]
    assert documented == sorted(set(documented)), "docs/messages.md is out of order or has an id twice"
    assert set(used) == set(documented)
    assert not {k: v for k, v in used.items() if len(v) > 1}, "one id, one meaning, one file"


def test_log_messages_say_what_to_do():
    levels = {"debug", "info", "notice", "warn", "error", "crit"}
    wrong = [row[0] for row in messages() if not set(re.split(r" or |, ", row[1].strip())) <= levels or len(row[2].strip()) < 10
             or not row[3].strip()]
    assert not wrong


def test_top_level():
    top = {f.split("/")[0] for f in tracked()}
    assert {f for f in top if not f.startswith(".")} == {"modules", "include", "conf", "sql", "tests", "apxs.mk", "docs",
                                                         "README.md", "LICENSE"}


def test_headers_compile_alone(tmp_path):
    plain, web = make_variable("CORE_CFLAGS"), make_variable("MOD_CFLAGS")
    wrong = []
    for path in [*sorted((ROOT / "include").glob("*.h")), *sources(suffix=(".h",))]:
        core = "core" in path.parts or path.parent.name == "include" or "ctl" in path.parts
        unit = tmp_path / "one.c"
        unit.write_text(f'#include "{path}"\ntypedef int not_empty;\n')
        done = subprocess.run(["cc", *(plain if core else web), "-fsyntax-only", unit], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            wrong.append(f"{path.relative_to(ROOT)}: {done.stderr.splitlines()[0]}")
    assert not wrong


def test_directives_are_documented():
    """Each directive stands in conf/ with a comment, and nothing else does."""
    row = re.compile(r'\b(?:AP_INIT_\w+|TAKE|FLAG)\(\s*(?:\w+,\s*)?"(MDM[A-Z]\w+)"')
    known = {d for p in sources(suffix=(".c",)) for d in row.findall(code(p))}
    shown = set()
    for path in sorted((ROOT / "conf").iterdir()):
        shown |= set(re.findall(r"^\s*#?(MDM[A-Z]\w+)\s", path.read_text(), re.M))
    assert known and shown == known


def test_nothing_unfinished_and_no_machine_paths():
    unfinished = re.compile(r"\b(TODO|FIXME|X" r"XX)\b|/tmp/bash_jobs|(?<![\w.])/work/")
    wrong = []
    for name in tracked():
        if name.endswith((".png", ".der", ".bin")) or "/corpus/" in name or name == "tests/guards/test_guards.py":
            continue
        text = (ROOT / name).read_text(errors="replace")
        wrong += [f"{name}: {m[0]}" for m in unfinished.finditer(text)]
    assert not wrong


def test_columns_of_bulk_files_are_documented():
    """PEN-06: the example, the help and the API name every column that a file may have, and no other."""
    source = (ROOT / "modules/core/domain/mdm_bulk_row.c").read_text()
    columns = re.findall(r'\[MDM_BULK_\w+\] = \{"([a-z_]+)', source)
    assert len(columns) > 12
    assert (ROOT / "modules/admin/ui/bulk-example.csv").read_text().split("\n")[0].strip().split(",") == columns
    assert re.search(r"Columns: ([a-z_, ]+)'", (ROOT / "docs/openapi.yaml").read_text())[1].split(", ") == columns
    table = (ROOT / "docs/enrollment.md").read_text().split("## Enrolments by CSV")[1].split("What a row leaves empty")[0]
    assert [c for line in re.findall(r"^\| (`.*?) \|", table, re.M) for c in re.findall(r"`(\w+)`", line)] == columns


def test_packages_are_listed_once():
    text = (ROOT / "apxs.mk").read_text()
    names = [n for block in re.findall(r"^PKG_\w+ *:=((?:.*\\\n)*.*)", text, re.M) for n in block.replace("\\", " ").split()]
    assert len(names) == len(set(names)) and "apache2-dev" in names
