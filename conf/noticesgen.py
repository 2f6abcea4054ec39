#!/usr/bin/env python3
"""Turns conf/notices.json into C tables (domain/mdm_notice_text.h): noticesgen.py --in FILE --out DIR."""
from cgen import arguments, c


ZONE = ["org.name", "support.mail", "support.phone"]  # every notice may use what the zone says of itself


def words(names):
    return c(f' {" ".join(names)} ')


def rows(doc, section):
    out = []
    for e in doc[section]:
        texts = [f'        {{{c(lang)}, {c(e[lang]["subject"])},\n         {c((chr(10) * 2).join(e[lang]["text"]) + chr(10))},\n'
                 f'         {c("".join(p + chr(10) for p in e[lang]["html"]))}, {c(e[lang].get("sms", ""))}}},' for lang in doc["languages"]]
        vars = e["vars"] + (ZONE if section == "events" else [])
        needed = [v for v in e["required"] if v not in e.get("optional", [])]
        out += [f'    {{{c(e["id"])}, {int(e["to"] == "admin")}, {words(vars)}, {words(e["required"])}, {words(needed)}, {{', *texts, "    }},"]
    return "\n".join(out)


def main():
    doc, out = arguments()
    languages = ", ".join([*map(c, doc["languages"]), "NULL"])
    (out / "mdm_notices_gen.c").write_text(
        '#include "domain/mdm_notice_text.h"\n\n_Static_assert(MDM_NOTICE_LANGUAGES == ' + str(len(doc["languages"])) + ', "languages");\n'
        f"const char *const mdm_notice_languages[] = {{{languages}}};\n"
        + "".join(f"const mdm_notice_kind_t {name}[] = {{\n{rows(doc, section)}\n    {{NULL}}}};\n"
                  for name, section in (("mdm_notice_kinds", "events"), ("mdm_notice_mailbox", "mailbox"))), encoding="utf-8")


if __name__ == "__main__":
    main()
