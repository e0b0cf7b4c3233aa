"""Engagement weights written into the text of a configuration, with all else in it as it was, and the diff of that.

Only the weights are touched: their numbers where the file has them, else a line or three in the right place, with a
remark above that says where they come from. The result is read again, and stands only if nothing else has changed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import yaml

from alerts.configuration import Configuration, read_configuration
from alerts.model import PARTS, HealthModel
from alerts.rules.document import Problems, compose
from alerts.values import Metric
from consumers.errors import ConfigurationError

REMARK = "# fitted weights: "
NEW_FILE = "bellwether.yaml"

_PATH = ("health", "engagement", "weights")
_LINE = re.compile(
    r"[^\n]*\n|[^\n]+"
)  # what patch takes for one; Python's splitlines knows more ends of a line
_Edit = tuple[int, int, str]  # from one character to another, and what stands there instead


def lines_of(weights: Sequence[int], remark: str = "") -> str:
    """The lines of a file that has no section on health."""
    return _nested(_PATH, weights, remark)


def edited(text: str, weights: Sequence[int], remark: str) -> str | None:
    """``text`` with the weights, in thousandths of PARTS; None if it is no mapping."""
    root = compose(text, "", Problems())
    newline = "\r\n" if "\r\n" in text else "\n"
    if root is None:
        return _lined(text, newline) + lines_of(weights, remark).replace("\n", newline)
    if not isinstance(root, yaml.MappingNode):
        return None
    for start, end, new in sorted(_edits(text, root, weights, remark), reverse=True):
        text = text[:start] + new.replace("\n", newline) + text[end:]
    return text


def checked(
    text: str, configuration: Configuration, weights: Sequence[int], catalogue: Mapping[str, Metric]
) -> HealthModel | None:
    """How the edited ``text`` scores, if that is all that differs from ``configuration``; else None.

    Segments that have weights of their own keep them; the others have the new ones.
    """
    try:
        new = read_configuration(text, configuration.path, catalogue)
    except ConfigurationError:
        return None
    health = _expected(configuration.model.health, new.model.health, weights)
    wanted = replace(configuration, model=configuration.model.with_health(health))
    return health if wanted.version == new.version else None


def diff(old: str | None, new: str, path: str) -> str:
    """A unified diff, as ``patch`` takes it; ``old`` None: the file is made."""
    before, after = (_LINE.findall(side) for side in (old or "", new))
    lines = difflib.unified_diff(before, after, "/dev/null" if old is None else path, path)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _expected(old: HealthModel, new: HealthModel, weights: Sequence[int]) -> HealthModel:
    one, two, three, four = weights
    fitted, before = (one, two, three, four), old.terms.engagement
    segments = []
    for segment, read in zip(old.segments, new.segments, strict=False):
        inherits = segment.terms.engagement == before and read.terms.engagement == fitted
        terms = replace(segment.terms, engagement=fitted) if inherits else segment.terms
        segments.append(replace(segment, terms=terms))
    return HealthModel(replace(old.terms, engagement=fitted), tuple(segments))


def _edits(text: str, root: yaml.MappingNode, weights: Sequence[int], remark: str) -> list[_Edit]:
    """Down the path health, engagement, weights as far as the file has it; what is missing goes in there."""
    inside, path = root, list(_PATH)
    key: yaml.Node | None = None
    while path and (found := _child(inside, path[0])) is not None:
        key, inside = found
        path.pop(0)
    if path and inside.flow_style:
        return [_into_flow(inside, _nested_flow(path, weights)), *_remarked(text, key or inside, remark)]
    if path and key is None:
        gap = "" if text.endswith("\n") else "\n"
        block = _indented(_nested(path, weights, remark), inside.start_mark.column)
        return [(len(text), len(text), gap + block)]
    if path:
        return [_under(text, key, inside, _nested(path, weights, remark))]
    return [*_weights(text, key, inside, weights), *_remarked(text, key, remark)]


def _weights(
    text: str, key: yaml.Node | None, inside: yaml.MappingNode, weights: Sequence[int]
) -> list[_Edit]:
    edits: list[_Edit] = []
    missing = []
    for name, weight in zip(PARTS, weights, strict=True):
        node = next((value for each, value in inside.value if each.value == name), None)
        if node is None:
            missing.append(f"{name}: {_number(weight)}")
        else:
            edits.append((node.start_mark.index, node.end_mark.index, _number(weight)))
    if missing and inside.flow_style:
        edits.append(_into_flow(inside, ", ".join(missing)))
    elif missing:
        edits.append(_under(text, key, inside, "".join(f"{line}\n" for line in missing)))
    return edits


def _child(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.MappingNode] | None:
    for key, value in node.value:
        if key.value == name and isinstance(value, yaml.MappingNode):
            return key, value
    return None


def _into_flow(node: yaml.MappingNode, words: str) -> _Edit:
    at = node.start_mark.index + 1
    return at, at, f"{words}, " if node.value else words


def _under(text: str, key: yaml.Node | None, inside: yaml.MappingNode, block: str) -> _Edit:
    """On the lines behind the one of the key whose block ``inside`` is, before its first field."""
    assert key is not None, "the root is no value of a key"
    end = text.find("\n", key.end_mark.index) + 1
    return end, end, _indented(block, inside.start_mark.column)


def _remarked(text: str, node: yaml.Node | None, remark: str) -> list[_Edit]:
    """A remark above the line of ``node``, or in the place of an older one."""
    assert node is not None, "it was found"
    begin = text.rfind("\n", 0, node.start_mark.index) + 1
    before = text.rfind("\n", 0, max(begin - 1, 0)) + 1
    line = text[begin : node.start_mark.index]
    new = line[: len(line) - len(line.lstrip())] + f"{REMARK}{remark}\n"
    return [(before if text[before:begin].lstrip().startswith(REMARK) else begin, begin, new)]


def _nested(path: Sequence[str], weights: Sequence[int], remark: str) -> str:
    """Lines for what is missing of the path, the remark above the last."""
    *above, last = [f"{'  ' * depth}{name}:" for depth, name in enumerate(path)]
    indent = "  " * len(above)
    return "\n".join(
        [*above, *([f"{indent}{REMARK}{remark}"] if remark else []), f"{last} {_flow(weights)}\n"]
    )


def _nested_flow(path: Sequence[str], weights: Sequence[int]) -> str:
    inner = _flow(weights)
    for name in reversed(path[1:]):
        inner = f"{{{name}: {inner}}}"
    return f"{path[0]}: {inner}"


def _indented(block: str, columns: int) -> str:
    return "".join(" " * columns + line for line in block.splitlines(keepends=True))


def _lined(text: str, newline: str) -> str:
    return text if not text or text.endswith("\n") else text + newline


def _flow(weights: Sequence[int]) -> str:
    inner = (f"{name}: {_number(weight)}" for name, weight in zip(PARTS, weights, strict=True))
    return f"{{{', '.join(inner)}}}"


def _number(thousandths: int) -> str:
    """As a person writes it: 0.5, 0.312, 0."""
    return f"{thousandths / 1_000:.3f}".rstrip("0").rstrip(".")
