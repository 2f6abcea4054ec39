"""What the generators of C tables share: their arguments, and strings."""
import argparse
import json
import pathlib


def arguments():
    """--in FILE --out DIR: the document, the folder."""
    ap = argparse.ArgumentParser()
    ap.add_argument("--in", dest="source", required=True)
    ap.add_argument("--out", required=True)
    args = ap.parse_args()
    return json.loads(pathlib.Path(args.source).read_text(encoding="utf-8")), pathlib.Path(args.out)


def c(text):
    """A C string, or NULL."""
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
