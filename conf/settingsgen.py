#!/usr/bin/env python3
"""Turns conf/settings.json into C tables (domain/mdm_catalogue.h): settingsgen.py --in FILE --out DIR."""
import json

from cgen import arguments, c

KINDS = {"bool": "BOOL", "int": "INT", "choice": "CHOICE", "text": "TEXT", "server": "SERVER"}
STRICT = {"none": "NONE", "or": "OR", "and": "AND", "max": "MAX", "min": "MIN", "min_positive": "MIN_POSITIVE"}
INVERSE = {"and": "or", "or": "and"}
LEVELS = ("low", "moderate", "strict", "high")
CHANNELS = ("apple", "eas", "android")


def js(value):
    return c(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def carrier(setting, channel, k):
    lo, hi = k.get("clamp", (0, 0))
    how = k.get("as", {"text": "text", "server": "text", "choice": "number"}.get(setting["kind"], "same"))
    strict = setting.get("stricter", "none")
    strict = STRICT[k.get("stricter", INVERSE.get(strict, strict) if how == "not" else strict)]
    supervised = k.get("supervised", False)  # true, or the OS version since when it is needed
    return (f'    {{{c(channel)}, {c(k.get("payload", ""))}, {c(k["key"])}, {c(how)}, {float(k.get("number", 1))!r}, {lo}, {hi}, '
            f'MDM_STRICT_{strict}, {c(k.get("since"))}, {c(k.get("until"))}, {c(k.get("deprecated"))}, {int(bool(supervised))}, '
            f'{c(supervised if isinstance(supervised, str) else None)}, {int(k.get("user_enrollment", False))}, {c(k.get("unless"))}}},')


def tables(settings):
    out, rows = [], []
    for n, s in enumerate(settings):
        names = {}
        if s.get("choices"):
            names["choices"] = f"choices_{n}"
            out.append(f"static const mdm_choice_t choices_{n}[] = {{")
            out += [f'    {{{c(x["id"])}, {c(x.get("group", ""))}, {float(x.get("number", 0))!r}}},' for x in s["choices"]]
            out.append("    {NULL, NULL, 0}};")
        if s.get("depends"):
            names["depends"] = f"depends_{n}"
            out.append(f"static const mdm_depend_t depends_{n}[] = {{")
            out += [f'    {{{c(d["setting"])}, {js(d["value"])}, {int(d.get("inherit", False))}}},' for d in s["depends"]]
            out.append("    {NULL, NULL, 0}};")
        carriers = [carrier(s, ch, k) for ch in CHANNELS for k in s.get(ch, [])]
        if carriers:
            names["carriers"] = f"carriers_{n}"
            out += [f"static const mdm_carrier_t carriers_{n}[] = {{", *carriers, "    {NULL}};"]
        levels = ", ".join(['"\\"inherit\\""'] + [js(s.get("levels", {}).get(level)) for level in LEVELS])
        lo, hi = s.get("range", (0, 0))
        rows.append(f'    {{{c(s["id"])}, {c(s["type"])}, {c(s.get("platform", ""))}, {c(s["tab"])}, MDM_SET_{KINDS[s["kind"]]}, {lo}, {hi}, '
                    f'MDM_STRICT_{STRICT[s.get("stricter", "none")]}, {c(s.get("pair"))},\n     {{{levels}}}, '
                    + ", ".join(names.get(x, "NULL") for x in ("choices", "depends", "carriers")) + "},")
    by_id = sorted(range(len(settings)), key=lambda n: settings[n]["id"].encode())
    return "\n".join(out + ["", "const mdm_setting_t mdm_settings[] = {", *rows, "    {NULL}};",
                            "const unsigned short mdm_settings_by_id[] = {" + ", ".join(map(str, by_id)) + "};",
                            f"const apr_size_t mdm_settings_count = {len(settings)};"])


def main():
    catalogue, out = arguments()
    compact = json.dumps(catalogue, ensure_ascii=False, separators=(",", ":"))
    pieces = "\n".join("    " + c(compact[i:i + 100]) for i in range(0, len(compact), 100))
    (out / "mdm_settings_gen.c").write_text(
        '#include "domain/mdm_catalogue.h"\n\n' + tables(catalogue["settings"]) + f"\n\nconst char mdm_settings_json[] =\n{pieces};\n", encoding="utf-8")


if __name__ == "__main__":
    main()
