#!/usr/bin/env python3
"""Turns sql/queries/*.sql and sql/schema/*.sql into mdm_sql_gen.h and mdm_sql_gen.c (see sql/README.md).

Every mistake is reported as file:line: text, and nothing is written then.
"""
import argparse
import os
import re
import sys

ENGINES = ("pgsql", "sqlite3")
TYPES = {"text": "MDM_T_TEXT", "i64": "MDM_T_I64", "f64": "MDM_T_F64"}
CARDINALITIES = ("one", "many", "exec", "exec1")
# PostgreSQL must know each parameter's type also where a context does not tell (":x IS NULL"), so all are cast.
# apr_dbd prints a double with six digits there, so doubles travel as text.
CODES = {
    "pgsql": {"text": "CAST(%s AS TEXT)", "i64": "CAST(%lld AS BIGINT)", "f64": "CAST(%s AS DOUBLE PRECISION)"},
    "sqlite3": {"text": "%s", "i64": "%lld", "f64": "%lf"},
}
C_WORDS = set("""auto break case char const continue default do double else enum extern float for goto if inline int
long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
db row rows affected args rv""".split())
IDENT = re.compile(r"[a-z][a-z0-9_]*\Z")
TOKEN = re.compile(r"""
    (?P<string>'(?:[^']|'')*')
  | (?P<quoted>"[^"]*")
  | (?P<dollar>\$(?P<tag>[A-Za-z_]*)\$.*?\$(?P=tag)\$)
  | (?P<comment>--[^\n]*|/\*.*?\*/)
  | (?P<cast>::)
  | (?P<param>:[a-z][a-z0-9_]*)
  | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<space>\s+)
  | (?P<other>.)
""", re.X | re.S)


class Mistake(Exception):
    """Something wrong in a file: knows where."""

    def __init__(self, where, text):
        super().__init__("%s:%d: %s" % (where[0], where[1], text))


class Query:
    """One named query: its head and one text per engine."""

    def __init__(self, name, card, where):
        self.name, self.card, self.where = name, card, where
        self.args = self.cols = None
        self.retry = self.keep = False
        self.texts = {}  # engine -> (sql text, where)

    def arg_type(self, name):
        """The declared type of an argument, None if there is none of the name."""
        return next((a[1] for a in self.args if a[0] == name), None)


def parse_fields(text, where, what):
    """'a:text, b:i64?' -> [(name, type, nullable)]."""
    fields = []
    for item in filter(None, (x.strip() for x in text.split(","))):
        m = re.match(r"(\w+)\s*:\s*(\w+)(\??)\Z", item)
        if not m or m.group(2) not in TYPES:
            raise Mistake(where, "bad %s '%s': want name:text|i64|f64 with an optional ?" % (what, item))
        name = m.group(1)
        if not IDENT.match(name) or name in C_WORDS:
            raise Mistake(where, "%s '%s' can't be a C name" % (what, name))
        if any(f[0] == name for f in fields):
            raise Mistake(where, "%s '%s' is declared twice" % (what, name))
        fields.append((name, m.group(2), m.group(3) == "?"))
    return fields


class QueryFile:
    """Reads one file of queries into the common dictionary."""

    def __init__(self, path, queries):
        self.path, self.queries = path, queries
        self.query, self.only, self.lines, self.start = None, None, [], 0
        self.head = {}
        self.part, self.parts, self.used = None, {}, set()  # the part that is being read; name -> (text, where)

    def flush(self):
        """Ends the text that is being collected."""
        text = "".join(self.lines).strip()
        self.lines = []
        if self.query is None or not text:
            return False
        for engine in (self.only,) if self.only else ENGINES:
            if engine in self.query.texts:
                raise Mistake((self.path, self.start), "query '%s' has two texts for %s, the other at %s:%d" % (
                    (self.query.name, engine) + self.query.texts[engine][1]))
            self.query.texts[engine] = (text, (self.path, self.start))
        return True

    def begin(self, rest, where):
        m = re.match(r"(\S+)\s+:(\w+)\s*\Z", rest)
        if not m:
            raise Mistake(where, "want '-- name: query_name :one|:many|:exec|:exec1'")
        name, card = m.groups()
        if not IDENT.match(name):
            raise Mistake(where, "bad query name '%s'" % name)
        if card not in CARDINALITIES:
            raise Mistake(where, "unknown cardinality ':%s'" % card)
        old = self.queries.get(name)
        if old is None:
            self.query = self.queries[name] = Query(name, card, where)
        elif len(old.texts) == 2 or old.where[0] != self.path:
            raise Mistake(where, "query '%s' was defined before at %s:%d" % ((name,) + old.where))
        elif old.card != card:
            raise Mistake(where, "query '%s' is :%s at %s:%d" % ((name, old.card) + old.where))
        else:
            self.query = old
        self.head = {}

    def begin_part(self, name, where):
        """-- part: name. Its text stands for {name} in what follows in this file."""
        if not IDENT.match(name):
            raise Mistake(where, "bad part name '%s'" % name)
        if name in self.parts:
            raise Mistake(where, "part '%s' was defined before at %s:%d" % ((name,) + self.parts[name][1]))
        self.query, self.only, self.part = None, None, name
        self.parts[name] = ("", where)

    def expand(self, text, where):
        """Puts parts in for their names, on one line, so that line numbers stay right."""
        def one(m):
            if m.group(1) not in self.parts:
                raise Mistake(where, "there is no part '%s' above" % m.group(1))
            self.used.add(m.group(1))
            return " ".join(self.parts[m.group(1)][0].split())
        return re.sub(r"\{([a-z]\w*)\}", one, text)

    def field_line(self, key, rest, where):
        """-- args: and -- cols:; several lines of a kind add up."""
        self.head[key] = (self.head[key] + "," if key in self.head else "") + rest
        fields = parse_fields(self.head[key], where, "argument" if key == "args" else "column")
        stored = getattr(self.query, key)
        if stored is not None and self.query.texts and stored != fields:
            raise Mistake(where, "the %s of '%s' differ between its variants" % (key, self.query.name))
        setattr(self.query, key, fields)

    def line(self, raw, number):
        """Takes one line."""
        where = (self.path, number)
        m = re.match(r"--\s*(part|name|args|cols|only):\s*(.*?)\s*\Z", raw)
        if not m and not re.match(r"--\s*(retry|keep|all)\s*\Z", raw):
            if not raw.lstrip().startswith("--"):
                raw = self.expand(raw, where)
                if self.part:
                    self.parts[self.part] = (self.parts[self.part][0] + raw, self.parts[self.part][1])
                    return
                if raw.strip() and not self.lines:
                    if self.query is None:
                        raise Mistake(where, "text before the first '-- name:'")
                    self.start = number
                if raw.strip() or self.lines:
                    self.lines.append(raw)
            return
        key, rest = m.groups() if m else (raw.strip("- \n\t"), "")
        if key == "name":
            self.flush()
            self.only = self.part = None
            self.begin(rest, where)
        elif key == "part":
            self.flush()
            self.begin_part(rest, where)
        elif self.query is None:
            raise Mistake(where, "'-- %s' before the first '-- name:'" % key)
        elif key == "only":
            self.flush()
            if rest not in ENGINES:
                raise Mistake(where, "unknown engine '%s'" % rest)
            self.only = rest
        elif key in ("retry", "keep"):
            setattr(self.query, key, True)
        elif key == "all":
            raise Mistake(where, "'-- all' is for migrations")
        else:
            self.field_line(key, self.expand(rest, where), where)

    def read(self):
        """Reads the whole file."""
        with open(self.path, encoding="utf-8") as f:
            for number, raw in enumerate(f, 1):
                self.line(raw, number)
        self.flush()
        for name in self.parts:
            if name not in self.used:
                raise Mistake(self.parts[name][1], "part '%s' is not used" % name)


def tokens(text, where):
    """[(kind, text, line)] without comments, white space as one blank, without the final semicolon."""
    out, line, at = [], where[1], 0
    for m in TOKEN.finditer(text):
        kind, tok = m.lastgroup, m.group(0)
        if kind == "tag":
            kind = "dollar"
        if kind == "other" and tok in "'\"":
            raise Mistake((where[0], line), "a quote is not closed")
        if kind in ("space", "comment"):
            if out and out[-1][1] != " ":
                out.append(("space", " ", line))
        else:
            out.append((kind, tok, line))
        line += tok.count("\n")
        at = m.end()
    assert at == len(text)
    while out and out[-1][1] in (" ", ";"):
        out.pop()
    for kind, tok, at_line in out:
        if kind == "other" and tok == ";":
            raise Mistake((where[0], at_line), "more than one statement in a query")
    return out


def top_words(toks):
    """[(WORD, index)] outside of parentheses."""
    depth, out = 0, []
    for i, (kind, tok, _) in enumerate(toks):
        if kind == "other" and tok in "()":
            depth += 1 if tok == "(" else -1
        elif kind == "word" and depth == 0:
            out.append((tok.upper(), i))
    return out


def result_columns(toks, where):
    """Number of result columns, None if the statement has none or it can't be told."""
    words = top_words(toks)
    names = [w for w, _ in words]
    if "RETURNING" in names:
        begin = words[names.index("RETURNING")][1] + 1
        end = len(toks)
    elif "SELECT" in names and not {"INSERT", "UPDATE", "DELETE"} & set(names[:names.index("SELECT")]):
        first = names.index("SELECT")
        begin = words[first][1] + 1
        end = next((i for w, i in words[first + 1:] if w in ("FROM", "UNION", "EXCEPT", "INTERSECT", "WHERE",
                                                             "ORDER", "LIMIT", "GROUP")), len(toks))
    else:
        return None
    depth, count, prev = 0, 1, ","
    for kind, tok, line in toks[begin:end]:
        if kind == "space":
            continue
        if kind == "other" and tok in "()":
            depth += 1 if tok == "(" else -1
        elif depth == 0 and tok == ",":
            count += 1
        elif depth == 0 and tok == "*" and (prev in (",", ".") or prev.upper() in ("DISTINCT", "ALL")):
            raise Mistake((where[0], line), "name the columns: '*' breaks when the schema grows")
        prev = tok
    return count


def compile_text(query, engine, used):
    """The apr_dbd text for an engine and the list of argument numbers by position."""
    text, where = query.texts[engine]
    toks = tokens(text, where)
    out, order = [], []
    for kind, tok, line in toks:
        if kind == "param":
            name = tok[1:]
            typ = query.arg_type(name)
            if typ is None:
                raise Mistake((where[0], line), "unknown parameter ':%s' in '%s'" % (name, query.name))
            used.add(name)
            order.append([a[0] for a in query.args].index(name))
            out.append(CODES[engine][typ])
        elif kind == "other" and tok == "?" and engine == "sqlite3":
            raise Mistake((where[0], line), "'?' is not a parameter here: use :name")
        else:
            out.append(tok.replace("%", "%%"))
    check_shape(query, engine, toks, where)
    return "".join(out), order


def check_shape(query, engine, toks, where):
    """Does the statement fit its cardinality and columns?"""
    words = [w for w, _ in top_words(toks)]
    if not words:
        raise Mistake(where, "query '%s' has no statement" % query.name)
    count = result_columns(toks, where)
    if query.card in ("one", "many"):
        if count is None:
            raise Mistake(where, "':%s' needs a SELECT or RETURNING" % query.card)
        if count != len(query.cols):
            raise Mistake(where, "'%s' declares %d columns, the statement has %d" % (
                query.name, len(query.cols), count))
    elif count is not None and (engine == "sqlite3" or "RETURNING" in words):
        raise Mistake(where, "':%s' can't have a statement that returns rows" % query.card)


def finish(query):
    """Checks a query after all files were read and compiles its texts."""
    for engine in ENGINES:
        if engine not in query.texts:
            raise Mistake(query.where, "query '%s' has no text for %s" % (query.name, engine))
    query.args = query.args or []
    returns = query.card in ("one", "many")
    if returns and not query.cols:
        raise Mistake(query.where, "query '%s' is :%s and needs '-- cols:'" % (query.name, query.card))
    if not returns and query.cols:
        raise Mistake(query.where, "query '%s' is :%s and can't have '-- cols:'" % (query.name, query.card))
    query.cols = query.cols or []
    names = [c[0] for c in query.cols]
    for name, _, nullable in query.cols:
        if nullable and name + "_null" in names:
            raise Mistake(query.where, "column '%s_null' collides with the mark of '%s'" % (name, name))
    used = set()
    query.compiled = {e: compile_text(query, e, used) for e in ENGINES}
    for name, _, _ in query.args:
        if name not in used:
            raise Mistake(query.where, "argument '%s' of '%s' is not used" % (name, query.name))
    text = query.texts["pgsql"][0]
    words = [t.upper() for k, t, _ in tokens(text, query.texts["pgsql"][1]) if k == "word"]
    if query.keep and words[0] not in ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE"):
        raise Mistake(query.where, "PostgreSQL can't keep '%s': '-- keep' is for SELECT, WITH, INSERT, UPDATE and DELETE" % query.name)
    reads = query.card in ("one", "many") and not {"INSERT", "UPDATE", "DELETE"} & set(words)
    query.idempotent = query.retry or reads  # "FOR UPDATE" has the word UPDATE in it
    return query


def read_queries(folder):
    """All queries of a folder, by name."""
    queries = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".sql"):
            QueryFile(os.path.join(folder, name), queries).read()
    return [finish(queries[n]) for n in sorted(queries)]


# ---------------------------------------------------------------- migrations

def engine_text(path, engine):
    """The lines of a migration that are for the engine; others become empty, so that line numbers stay."""
    out, only = [], None
    with open(path, encoding="utf-8") as f:
        for number, raw in enumerate(f, 1):
            m = re.match(r"--\s*only:\s*(\S+)\s*\Z", raw)
            if m and m.group(1) not in ENGINES:
                raise Mistake((path, number), "unknown engine '%s'" % m.group(1))
            if m:
                only = m.group(1)
            elif re.match(r"--\s*all\s*\Z", raw):
                only = None
            out.append("\n" if m or only not in (None, engine) else raw)
    return "".join(out)


def split_statements(text, path):
    """Single statements; the body of a trigger (BEGIN … END;) stays together."""
    out, toks, line = [], [], 1
    for m in TOKEN.finditer(text):
        kind, tok = m.lastgroup, m.group(0)
        if kind == "other" and tok in "'\"":
            raise Mistake((path, line), "a quote is not closed")
        line += tok.count("\n")
        if kind == "comment":
            continue
        if kind == "other" and tok == ";":
            words = [t.upper() for t in toks if t.strip()]
            if words[:1] == ["CREATE"] and "TRIGGER" in words[:4] and "BEGIN" in words and words[-1] != "END":
                toks.append(tok)
                continue
            out.append("".join(toks).strip())
            toks = []
        elif kind == "space":
            toks.append(" ")
        else:
            toks.append(tok)
    if "".join(toks).strip():
        raise Mistake((path, line), "the last statement has no semicolon")
    return [re.sub(r"  +", " ", s) if "'" not in s else s for s in out if s]


def read_migrations(folder):
    """[(version, name, {engine: [statements]})], versions 1, 2, 3 … without gaps."""
    out = []
    for name in sorted(n for n in os.listdir(folder) if n.endswith(".sql")):
        path = os.path.join(folder, name)
        m = re.match(r"(\d{4})_(\w+)\.sql\Z", name)
        if not m:
            raise Mistake((path, 1), "a migration is named NNNN_words.sql")
        if int(m.group(1)) != len(out) + 1:
            raise Mistake((path, 1), "expected migration number %04d" % (len(out) + 1))
        out.append((len(out) + 1, m.group(2), {e: split_statements(engine_text(path, e), path) for e in ENGINES}))
    return out


# ---------------------------------------------------------------- C

def c_string(text, indent):
    """A C string literal over several lines."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("??", "?\\?")
    parts = re.findall(r".{1,90}(?:\s|\Z)|.{1,90}", text) or [""]
    # an escape must not be torn
    fixed = []
    for part in parts:
        if fixed and re.search(r"(?<!\\)(?:\\\\)*\\\Z", fixed[-1]):
            fixed[-1] = fixed[-1][:-1]
            part = "\\" + part
        fixed.append(part)
    return ("\n" + " " * indent).join('"%s"' % p for p in fixed)


def c_args(query):
    """The C parameter list of a query's function."""
    out = ["mdm_db_t *db"]
    for name, typ, nullable in query.args:
        if typ == "text":
            out.append("const char *" + name)
        else:
            ctype = "apr_int64_t " if typ == "i64" else "double "
            out.append(("const " + ctype + "*" if nullable else ctype) + name)
    out += {"one": ["mdm_q_%s_t **row" % query.name], "many": ["apr_array_header_t **rows"],
            "exec": ["int *affected"], "exec1": []}[query.card]
    return ", ".join(out)


def c_struct(query):
    """The typed row of a query."""
    out = ["typedef struct mdm_q_%s_t {" % query.name]
    for name, typ, nullable in query.cols:
        decl = {"text": "const char *%s;", "i64": "apr_int64_t %s;", "f64": "double %s;"}[typ] % name
        if nullable and typ == "text":
            decl += " /* NULL if NULL */"
        elif nullable:
            decl += " int %s_null;" % name
        out.append("    " + decl)
    return "\n".join(out + ["} mdm_q_%s_t;" % query.name])


def c_header(queries, migrations, foreign):
    """mdm_sql_gen.h"""
    out = ["/* Made by sql/gen/sqlgen.py from sql/queries and sql/schema. */", "#ifndef MDM_SQL_GEN_H",
           "#define MDM_SQL_GEN_H", "", '#include "db/mdm_db.h"', "", "enum mdm_query_e {"]
    out += ["    MDM_Q_%s," % q.name.upper() for q in queries]
    out += ["    MDM_Q_COUNT", "};", "", "extern const mdm_query_t mdm_queries[];", "",
            "#define MDM_MIGRATIONS %d" % len(migrations), "extern const mdm_migration_t mdm_migrations[];", ""]
    out += ["extern const char mdm_foreign_%s[];" % name for name, _ in foreign] + [""]
    for q in queries:
        if q.cols:
            out.append(c_struct(q))
        out += ["apr_status_t mdm_q_%s(%s);" % (q.name, c_args(q)), ""]
    return "\n".join(out + ["#endif", ""])


def c_arg_init(name, typ, nullable):
    """One element of the argument array."""
    if typ == "text":
        return "{MDM_T_TEXT, %s == NULL, %s, 0, 0.0}" % (name, name)
    value = "%s ? *%s : 0" % (name, name) if nullable else name
    null = "%s == NULL" % name if nullable else "0"
    pair = (value, "0.0") if typ == "i64" else ("0", value)
    return "{%s, %s, NULL, %s, %s}" % (TYPES[typ], null, pair[0], pair[1])


def c_row(query):
    """The call-back that copies one row."""
    out = ["static apr_status_t row_%s(void *baton, const mdm_cell_t *c)" % query.name, "{",
           "    mdm_q_%s_t *r = next_row(baton);" % query.name, "",
           "    if (!r) {", "        return APR_SUCCESS;", "    }"]
    for i, (name, typ, nullable) in enumerate(query.cols):
        if typ == "text":
            out.append("    r->%s = copy_text(baton, &c[%d], %d);" % (name, i, nullable))
            continue
        out.append("    r->%s = c[%d].%s;" % (name, i, typ))
        if nullable:
            out.append("    r->%s_null = c[%d].is_null;" % (name, i))
    return "\n".join(out + ["    return APR_SUCCESS;", "}", ""])


def c_function(query):
    """The typed function of a query."""
    out = [c_row(query)] if query.cols else []
    out += ["apr_status_t mdm_q_%s(%s)" % (query.name, c_args(query)), "{"]
    args = "NULL"
    if query.args:
        args = "args"
        out.append("    const mdm_arg_t args[] = {")
        out += ["        %s," % c_arg_init(*a) for a in query.args]
        out.append("    };")
    qid = "MDM_Q_%s" % query.name.upper()
    if query.card == "exec":
        out += ["    return mdm_db_exec(db, %s, %s, affected);" % (qid, args)]
    elif query.card == "exec1":
        out += ["    return exec_one(db, %s, %s);" % (qid, args)]
    else:
        row = "mdm_q_%s_t" % query.name
        many = query.card == "many"
        out += ["    rowset_t set = {mdm_db_ctx(db)->pool, sizeof(%s), NULL, NULL};" % row,
                "    apr_status_t rv;", ""]
        if many:
            out += ["    set.many = apr_array_make(set.pool, 8, sizeof(%s));" % row]
        out += ["    rv = mdm_db_select(db, %s, %s, row_%s, &set);" % (qid, args, query.name)]
        if many:
            out += ["    *rows = set.many;", "    return rv;"]
        else:
            out += ["    *row = set.one;", "    return rv == APR_SUCCESS && !set.one ? APR_NOTFOUND : rv;"]
    return "\n".join(out + ["}", ""])


C_TOP = r"""/* Made by sql/gen/sqlgen.py from sql/queries and sql/schema. */
#include <apr_strings.h>
#include "mdm_sql_gen.h"

typedef struct rowset_t {
    apr_pool_t *pool;
    apr_size_t size;
    void *one;
    apr_array_header_t *many;
} rowset_t;

static inline void *next_row(rowset_t *set)
{
    if (set->many) {
        return apr_array_push(set->many);
    }
    return set->one ? NULL : (set->one = apr_pcalloc(set->pool, set->size));
}

static inline const char *copy_text(rowset_t *set, const mdm_cell_t *c, int nullable)
{
    return c->is_null ? (nullable ? NULL : "") : apr_pstrdup(set->pool, c->text);
}

static inline apr_status_t exec_one(mdm_db_t *db, int query, const mdm_arg_t *args)
{
    int n = 0;
    apr_status_t rv = mdm_db_exec(db, query, args, &n);

    return rv == APR_SUCCESS && n != 1 ? APR_NOTFOUND : rv;
}
"""


def c_list(ctype, name, items):
    """A static array, or nothing if it is empty."""
    return "static const %s %s[] = {%s};" % (ctype, name, ", ".join(items)) if items else ""


def c_table(queries):
    """The arrays of each query and mdm_queries[]."""
    out, rows = [], []
    for q in queries:
        def ref(prefix, items):
            return "%s_%s" % (prefix, q.name) if items else "NULL"
        pg, lite = q.compiled["pgsql"], q.compiled["sqlite3"]
        out += filter(None, [
            c_list("mdm_sqltype_e", "a_" + q.name, [TYPES[a[1]] for a in q.args]),
            c_list("mdm_sqltype_e", "c_" + q.name, [TYPES[c[1]] for c in q.cols]),
            c_list("unsigned char", "p_" + q.name, [str(i) for i in pg[1]]),
            c_list("unsigned char", "s_" + q.name, [str(i) for i in lite[1]])])
        rows.append("    {\"%s\",\n     %s,\n     %s,\n     %d, %s, %d, %s, %d, %d, %d, %s, %d, %s}," % (
            q.name, c_string(pg[0], 5), c_string(lite[0], 5), len(q.args), ref("a", q.args), len(q.cols),
            ref("c", q.cols), q.keep, q.idempotent, len(pg[1]), ref("p", pg[1]), len(lite[1]), ref("s", lite[1])))
    return "\n".join(out + ["", "const mdm_query_t mdm_queries[] = {"] + rows + ["};", ""])


def c_migrations(migrations):
    """The statements of each migration and mdm_migrations[]."""
    out, rows = [], []
    for version, name, texts in migrations:
        for engine in ENGINES:
            out.append("static const char *const m%d_%s[] = {" % (version, engine))
            out += ["    %s," % c_string(s, 4) for s in texts[engine]]
            out += ["    NULL", "};"]
        rows.append("    {%d, \"%s\", m%d_pgsql, m%d_sqlite3}," % (version, name, version, version))
    out += ["", "const int mdm_schema_version = MDM_MIGRATIONS;", "const mdm_migration_t mdm_migrations[] = {"]
    return "\n".join(out + rows + ["    {0, NULL, NULL, NULL}", "};", ""])


def read_foreign(folder):
    """[(name, text)]: statements for databases that are not ours, taken as they are."""
    found = []
    for name in sorted(os.listdir(folder)) if folder else []:
        if name.endswith(".sql"):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                text = "\n".join(x for x in f.read().splitlines() if x and not x.startswith("--"))
            found.append((name[:-4], text))
    return found


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def main(argv):
    """Command line."""
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--queries", required=True)
    ap.add_argument("--schema", required=True)
    ap.add_argument("--foreign")
    ap.add_argument("--out", required=True)
    opt = ap.parse_args(argv)
    try:
        queries, migrations, foreign = read_queries(opt.queries), read_migrations(opt.schema), read_foreign(opt.foreign)
    except Mistake as e:
        print(e, file=sys.stderr)
        return 1
    write(os.path.join(opt.out, "mdm_sql_gen.h"), c_header(queries, migrations, foreign))
    write(os.path.join(opt.out, "mdm_sql_gen.c"),
          "\n".join([C_TOP, c_table(queries)] + [c_function(q) for q in queries] + [c_migrations(migrations)] +
                    ["const char mdm_foreign_%s[] =\n    %s;\n" % (name, c_string(text, 4)) for name, text in foreign]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
