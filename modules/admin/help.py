"""Renders docs/*.md, and the catalogue of settings, to the pages that the console's help links open: help.py <docs> <settings.json> <out>. Plain
HTML, no script, no inline style."""
import html
import json
import re
import sys
from pathlib import Path

import markdown

import help_settings

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · mod_mdm</title>
<link rel="icon" href="../icon.svg">
<link rel="stylesheet" href="../app.css">
</head>
<body class="doc">
{nav}<main>
{body}
</main>
</body>
</html>
"""


# What a newcomer reads first comes first; a page that is not named here follows.
ORDER = "install iphone push mail people enrollment policies settings commands administrators access console operations messages migration".split()


def title(text):
    return re.search(r"^# (.+)$", text, re.M).group(1)


def rank(name):
    return (ORDER.index(name) if name in ORDER else len(ORDER), name)


def contents(texts, here=None):
    items = (f'<li><a href="{n}.html"{" aria-current=page" if n == here else ""}>{html.escape(title(t))}</a></li>' for n, t in texts.items())
    return f"<ul>{''.join(items)}</ul>"


def main(docs, catalogue, out):
    texts = {f.stem: f.read_text() for f in docs.glob("*.md")}
    texts["settings"] = help_settings.page(json.loads(catalogue.read_text()))
    texts = {n: texts[n] for n in sorted(texts, key=rank)}
    out.mkdir(parents=True, exist_ok=True)
    (out / "index.html").write_text(PAGE.format(title="Manual", nav="", body=f"<h1>Manual</h1>\n{contents(texts)}"))
    for name, text in texts.items():
        body = markdown.markdown(text, extensions=["tables", "fenced_code", "toc", "sane_lists"])
        body = re.sub(r'href="(?:docs/)?([a-z]+)\.md', r'href="\1.html', body)
        body = body.replace('href="openapi.yaml"', 'href="../openapi.yaml"').replace('href="../conf/settings.json"', 'href="settings.html"')
        # Wide tables and code scroll by themselves, by keyboard, too.
        body = body.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>').replace("</table>", "</table></div>")
        body = body.replace("<pre>", '<pre tabindex="0">')
        body = re.sub(r' style="text-align: (\w+);"', "", body)
        nav = f'<nav class="docnav" aria-label="Manual">{contents(texts, name)}</nav>\n'
        (out / f"{name}.html").write_text(PAGE.format(title=html.escape(title(text)), nav=nav, body=body))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
