"""Unified diffs, applied as ``patch`` does."""

from __future__ import annotations

import re


def applied(patch: str, old: str) -> str:
    """What ``patch`` makes of a file."""
    lines, result, at = re.findall(r"[^\n]*\n|[^\n]+", old), list[str](), 0
    body = re.findall(r"[^\n]*\n", patch)[2:]
    for place, line in enumerate(body):
        bare = place + 1 < len(body) and body[place + 1].startswith("\\")
        text = line[1:].removesuffix("\n") if bare else line[1:]
        match line[0]:
            case "@":
                start = int(line.split()[1].removeprefix("-").partition(",")[0])
                begin = max(start - 1, 0)
                result += lines[at:begin]
                at = begin
            case "+":
                result.append(text)
            case " " | "-":
                assert lines[at] == text
                result += [text] if line[0] == " " else []
                at += 1
    return "".join(result + lines[at:])
