"""WBXML for the simulators: own code; names come from the product's table, and from here what the product only passes on."""
import re
from pathlib import Path

_TABLE = Path(__file__).resolve().parents[2] / "modules" / "core" / "wire" / "mdm_wbxml_pages.def"
TAGS = {f"{m[1]}.{m[4]}": (int(m[2], 16), int(m[3], 16))
        for m in re.finditer(r"^T\((\w+), (\w+), (\w+), (\w+)\)", _TABLE.read_text(), re.M)}
for _page, _short, _names in [
        (2, "EM", "DateReceived 0F Subject 14 Read 15 To 16 From 18"),
        (5, "MV", "Move 06 SrcMsgId 07 SrcFldId 08 DstFldId 09 Response 0A DstMsgId 0C"),
        (6, "GE", "Collections 07 Collection 08 CollectionId 0A Estimate 0C Response 0D"),
        (15, "SR", "Store 07 Name 08 Query 09 Options 0A Range 0B Response 0D Result 0E Properties 0F Total 10 And 13 FreeText 15 LongId 18"),
        (16, "GA", "DisplayName 05"),
        (17, "AB", "BodyPreference 05 Type 06 TruncationSize 07 Body 0A EstimatedDataSize 0C Attachments 0E Attachment 0F DisplayName 10 "
                   "FileReference 11"),
        (20, "IO", "Range 09 Total 0A Part 11"), (21, "CM", "Source 0B FolderId 0C ItemId 0D")]:
    for _name, _token in re.findall(r"(\w+) ([0-9A-F]{2})(?: |$)", _names):
        TAGS[f"{_short}.{_name}"] = (_page, int(_token, 16))
NAMES = {v: k for k, v in TAGS.items()}


class WbxmlError(ValueError):
    pass


class Node:
    """An element: name ("FH.SyncKey", or "0E.3F" if it has none), text (str, bytes or None), kids."""

    def __init__(self, name, *content):
        self.name, self.text, self.kids = name, None, []
        for part in content:
            if isinstance(part, Node):
                self.kids.append(part)
            elif part is not None:
                self.text = part if isinstance(part, bytes) else str(part)

    def get(self, path):
        """The first element below, by a path of names; None if there is none."""
        node = self
        for name in path.split("/"):
            node = next((k for k in node.kids if k.name == name), None)
            if node is None:
                return None
        return node

    def value(self, path, default=None):
        node = self.get(path)
        return default if node is None else node.text if node.text is not None else ""

    def all(self, name):
        return [k for k in self.kids if k.name == name]


def encode(root):
    out, page = bytearray(b"\x03\x01\x6a\x00"), 0

    def put(node):
        nonlocal page
        at, token = TAGS[node.name]
        if at != page:
            out.extend((0, at))
            page = at
        if node.text in (None, "") and not node.kids:
            out.append(token)
            return
        out.append(token | 0x40)
        if isinstance(node.text, bytes):
            size = [len(node.text) & 0x7f]
            while len(node.text) >> (7 * len(size)):
                size.insert(0, len(node.text) >> (7 * len(size)) & 0x7f | 0x80)
            out.extend(b"\xc3" + bytes(size) + node.text)
        elif node.text:
            out.extend(b"\x03" + node.text.encode() + b"\0")
        for kid in node.kids:
            put(kid)
        out.append(1)
    put(root)
    return bytes(out)


def decode(data):
    if data[:4] != b"\x03\x01\x6a\x00":
        raise WbxmlError("header")
    at, page, stack, root = 4, 0, [], None
    try:
        while at < len(data):
            token = data[at]
            at += 1
            if token == 0:
                page, at = data[at], at + 1
            elif token == 1:
                stack.pop()
            elif token == 3:
                end = data.index(b"\0", at)
                stack[-1].text = (stack[-1].text or "") + data[at:end].decode()
                at = end + 1
            elif token == 0xc3:
                size = 0
                while True:
                    size, more, at = size << 7 | data[at] & 0x7f, data[at] & 0x80, at + 1
                    if not more:
                        break
                if at + size > len(data):
                    raise WbxmlError("cut off")
                stack[-1].text, at = data[at:at + size], at + size
            elif token & 0x80 or token & 0x3f < 5:
                raise WbxmlError(f"token {token:02x}")
            else:
                node = Node(NAMES.get((page, token & 0x3f), f"{page:02X}.{token & 0x3f:02X}"))
                if stack:
                    stack[-1].kids.append(node)
                elif root is None:
                    root = node
                else:
                    raise WbxmlError("two documents")
                if token & 0x40:
                    stack.append(node)
    except (IndexError, TypeError, ValueError) as wrong:
        raise WbxmlError(str(wrong)) from wrong
    if stack or root is None:
        raise WbxmlError("cut off")
    return root
