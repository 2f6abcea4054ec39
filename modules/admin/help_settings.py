"""The manual's page of all policy settings, from the catalogue (POL-04): conf/settings.json to Markdown."""
LEVELS = ("low", "moderate", "strict", "high")
SYSTEM = {"apple": "iOS", "eas": "protocol", "android": "Android"}
SENT_BY = {"apple": "Apple", "eas": "ActiveSync", "android": "Android agent"}
INTRO = """# Policy settings

Each setting that a [policy](policies.md) can have, what the levels preset, and how it reaches a device. This page is made of the catalogue,
`conf/settings.json`, at build time: engine, API and console use the same rows.

"–" is *not set*: nothing is sent. The level None presets *inherit* for all. *Supervised*: other devices don't obey it. *User enrolment*: also for
personal devices that are enrolled by a managed account of their owner; what does not say so is not sent to them. Versions are the first that know it.
"""


def value(s, v):
    if v is None:
        return "–"
    if s["kind"] == "bool":
        return "yes" if v else "no"
    if s["kind"] == "choice":
        return next(c["label"]["en"] for c in s["choices"] if c["id"] == v)
    return str(v)


def notes(channel, k):
    out = [f'{SYSTEM[channel]} {k["since"]}'] if "since" in k else []
    if k.get("supervised"):
        out.append("supervised" if k["supervised"] is True else f'supervised since {k["supervised"]}')
    if k.get("supervised_planned"):
        out.append("supervision announced")
    if k.get("user_enrollment"):
        out.append("user enrolment")
    if k.get("deprecated"):
        out.append(f'may have no effect since {k["deprecated"]}')
    if k.get("until"):
        out.append(f'gone since {k["until"]}')
    return ", ".join(out)


def carried(s):
    out = []
    for channel, name in SENT_BY.items():
        for k in s.get(channel, []):
            note = notes(channel, k)
            out.append(f'{name} `{k["key"]}`' + (f' ({note})' if note else ""))
    return "; ".join(out) or "kept only, not sent"


def needs(s, all_settings):
    return "; ".join(f'{all_settings[d["setting"]]["label"]["en"]} = {value(all_settings[d["setting"]], d["value"])}'
                     + (" or inherited" if d.get("inherit") else "") for d in s.get("depends", []))


def entry(s, all_settings):
    about = s["help"]["en"]
    if "range" in s:
        about += f' {"Length" if s["kind"] == "text" else "Values"}: {s["range"][0]} to {s["range"][1]}.'
    if s.get("depends"):
        about += f" Needs: {needs(s, all_settings)}."
    levels = {x: value(s, s["levels"][x]) for x in LEVELS}
    preset = ", ".join(f"{x.capitalize()}: {v}" for x, v in levels.items()) if set(levels.values()) != {"–"} else "No level presets it."
    return f'<h4 id="{s["id"]}">{s["label"]["en"]}</h4>\n\n{about}\n\n* `{s["id"]}`\n* {preset}\n* {carried(s)}\n'


def choices(s, groups):
    """One line, or for ratings one for each region with the numbers that are sent."""
    parts = {}
    for c in s["choices"]:
        text = c["label"]["en"] + (f' ({c["number"]})' if "group" in c else "")
        parts.setdefault(c.get("group"), []).append(text)
    lines = [f'* {groups[g]}: {", ".join(x)}' if g else f'* {", ".join(x)}' for g, x in parts.items()]
    return "Choices:\n\n" + "\n".join(lines) + "\n"


def page(catalogue):
    settings = {s["id"]: s for s in catalogue["settings"]}
    groups = {g["id"]: g["label"]["en"] for g in catalogue["groups"]}
    out = [INTRO]
    for t in catalogue["types"]:
        out.append(f'## {t["label"]["en"]}\n')
        for p in t["platforms"]:
            for tab in p["tabs"]:
                mine = [s for s in settings.values() if (s["type"], s["platform"], s["tab"]) == (t["id"], p["id"], tab["id"])]
                head = [p["label"]["en"]] if p["id"] else []
                out.append(f'### {": ".join(head + [tab["label"]["en"]])}\n')
                for s in mine:
                    out += [entry(s, settings)] + ([choices(s, groups)] if s.get("choices") else [])
    return "\n".join(out)
