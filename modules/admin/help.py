"""Renders docs/*.md to the pages that the console's help links open: help.py <docs> <out>. Plain HTML, no script, no inline style."""
import html
import re
import sys
from pathlib import Path

import markdown

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
<nav class="docnav" aria-label="Manual"><ul>{nav}</ul></nav>
<main>
{body}
</main>
</body>
</html>
"""


def title(text):
    return re.search(r"^# (.+)$", text, re.M).group(1)


def main(docs, out):
    texts = {f.stem: f.read_text() for f in sorted(docs.glob("*.md"))}
    out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        body = markdown.markdown(text, extensions=["tables", "fenced_code", "toc", "sane_lists"])
        body = re.sub(r'href="(?:docs/)?([a-z]+)\.md', r'href="\1.html', body)
        # Wide tables and code scroll by themselves, by keyboard, too.
        body = body.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>').replace("</table>", "</table></div>")
        body = body.replace("<pre>", '<pre tabindex="0">')
        body = re.sub(r' style="text-align: (\w+);"', "", body)
        nav = "".join(f'<li><a href="{n}.html"{" aria-current=page" if n == name else ""}>{html.escape(title(t))}</a></li>' for n, t in texts.items())
        (out / f"{name}.html").write_text(PAGE.format(title=html.escape(title(text)), nav=nav, body=body))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
