"""A YAML file as fields with places: every complaint says file, line and the nearest name, and all are collected.

Only PyYAML's safe scanner and composer run; nothing in a file is ever constructed. Aliases are not read (a few nested
ones are a bomb), nor are duplicate keys, and text must be text: YAML reads a bare ``no`` as false.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import yaml

from alerts.rules.nearest import nearest, shown, unknown
from consumers.errors import ConfigurationError

MAX_BYTES = 1 << 20
MAX_DEPTH = 16

_STR, _INT, _BOOL = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "bool"))
_COLLECTIONS = frozenset({"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"})
_TRUE = frozenset({"true", "yes", "on"})


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one place. Lines and columns count from 1; a column of 0 is not known."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        column = f":{self.column}" if self.column else ""
        return f"{self.path}:{self.line}{column}: {self.message}"


@dataclass(slots=True)
class Problems:
    """What is wrong, in the order in which it was found."""

    found: list[Problem] = field(default_factory=list)

    def at(self, node: yaml.Node, message: str, offset: int = 0) -> None:
        """Note a complaint about a node; ``offset`` counts characters into the text of a scalar."""
        mark = node.start_mark
        column = mark.column + offset + 1
        if offset and not _is_verbatim(node):
            column = 0
        self.found.append(Problem(mark.name, mark.line + 1, column, message))

    def refusal(self) -> ConfigurationError:
        """All of them as one error of at most two lines: the first, and how many more there are."""
        first, *others = sorted(self.found)
        more = f"\n(and {len(others)} more: bellwether rules check {first.path})" if others else ""
        return ConfigurationError(f"{first}{more}")


def _is_verbatim(node: yaml.Node) -> bool:
    """Whether a character of the value stands where it stands in the file: one line, nothing escaped or folded."""
    start, end = node.start_mark, node.end_mark
    return start.line == end.line and end.column - start.column - 2 * _quotes(node) == len(node.value)


def _quotes(node: yaml.Node) -> int:
    return 1 if isinstance(node, yaml.ScalarNode) and node.style in {"'", '"'} else 0


def text_offset(node: yaml.Node, offset: int) -> int:
    """Where character ``offset`` of a scalar's value stands behind the scalar's own start: after its quote."""
    return offset + _quotes(node)


class _Composer(yaml.SafeLoader):
    """Composes nodes under a file's name, without aliases and not too deep."""

    def __init__(self, text: str, path: str) -> None:
        super().__init__(text)
        self.name = path
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # its stubs name no types
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not read: write it out", mark)
        if self._depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", mark)
        self._depth += 1
        try:
            node = super().compose_node(parent, index)
        finally:
            self._depth -= 1
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
            raise yaml.composer.ComposerError(None, None, "tags are not read", mark)
        return node


def compose(text: str, path: str, problems: Problems) -> yaml.Node | None:
    """The root of one document; None, with a problem noted, if it cannot be read, and None if it is empty."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        problems.found.append(Problem(path, 1, 0, f"larger than {MAX_BYTES // 1024:,} KiB"))
        return None
    try:
        composer = _Composer(text, path)
        try:
            node: yaml.Node | None = composer.get_single_node()
        finally:
            composer.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problems.found.append(Problem(path, line, 0, "a character that YAML does not allow"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 0)
        problems.found.append(Problem(path, line, column, f"not YAML: {error.problem or error.context}"))
    else:
        return node
    return None


class Section:
    """A mapping being read field by field; :meth:`finish` refuses what nobody asked for.

    Readers give None both for a field that is absent and for one that is wrong; a wrong one is noted.
    """

    def __init__(self, node: yaml.MappingNode, what: str, problems: Problems) -> None:
        self.node = node
        self.what = what
        self.problems = problems
        self._fields: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        self._asked: dict[str, None] = {}
        self._needs: dict[str, str] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != _STR:
                problems.at(key, f"a field in {what} must be a plain name")
            elif key.value in self._fields:
                line = self._fields[key.value][0].start_mark.line + 1
                problems.at(key, f'"{shown(key.value)}" is here twice, first in line {line}')
            else:
                self._fields[key.value] = (key, value)

    @property
    def line(self) -> int:
        """Where it begins."""
        return int(self.node.start_mark.line) + 1

    def place(self, name: str) -> str:
        """Where a field's value stands, as file:line."""
        mark = self._fields[name][1].start_mark
        return f"{mark.name}:{mark.line + 1}"

    def over(self, other: Section) -> Section:
        """This section, with the fields that it does not have taken from ``other``."""
        merged = Section(yaml.MappingNode(self.node.tag, []), self.what, self.problems)
        merged.node = self.node
        merged._fields = {**other._fields, **self._fields}
        return merged

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def ask(self, name: str) -> yaml.Node | None:
        """The field's node, and that the name is a known one."""
        self._asked[name] = None
        return self._fields[name][1] if name in self._fields else None

    def wrong(self, name: str, message: str) -> None:
        """Note a complaint about a field, or about the whole section if it is absent."""
        self.problems.at(self._fields[name][1] if name in self._fields else self.node, message)

    def need(self, name: str, message: str) -> None:
        """Let :meth:`finish` complain if the field is absent, unless a misspelling of it says so better."""
        self._asked[name] = None
        self._needs[name] = message

    def text(self, name: str, *, limit: int = 1_000) -> str | None:
        """A text that is not empty, without white space around it."""
        node = self.ask(name)
        return None if node is None else self._text(name, node, limit)

    def _text(self, name: str, node: yaml.Node, limit: int = 1_000) -> str | None:
        if not isinstance(node, yaml.ScalarNode) or node.tag != _STR:
            quote = " (put it in quotes)" if isinstance(node, yaml.ScalarNode) and node.value else ""
            self.problems.at(node, f"{name} must be text{quote}")
        elif not node.value.strip():
            self.problems.at(node, f"{name} is empty")
        elif len(node.value) > limit:
            self.problems.at(node, f"{name} is longer than {limit:,} characters")
        else:
            return str(node.value.strip())
        return None

    def choice(self, name: str, words: Iterable[str]) -> str | None:
        """One of some words."""
        found = self.text(name)
        if found is not None and found not in (known := list(words)):
            self.wrong(name, unknown(name, found, known))
            return None
        return found

    def flag(self, name: str) -> bool | None:
        """``true`` or ``false``."""
        node = self.ask(name)
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag != _BOOL:
            self.problems.at(node, f"{name} must be true or false")
            return None
        return node.value.lower() in _TRUE

    def texts(self, name: str, *, least: int = 0) -> list[tuple[str, yaml.Node]] | None:
        """A list of at least so many texts, or one text alone, each with its node."""
        node = self.ask(name)
        if node is None:
            return None
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if len(items) < least:
            self.problems.at(node, f"{name} is empty")
        read = [(self._text(name, item), item) for item in items]
        return [(text, item) for text, item in read if text is not None]

    def section(self, name: str) -> Section | None:
        """A mapping."""
        node = self.ask(name)
        if node is None:
            return None
        if not isinstance(node, yaml.MappingNode):
            self.problems.at(node, f"{name} must hold fields, as in `{name}: {{field: value}}`")
            return None
        return Section(node, f"`{name}`", self.problems)

    def sections(self, name: str, what: str) -> list[Section] | None:
        """A list of mappings; an item that is none is noted and left out."""
        node = self.ask(name)
        if node is None:
            return None
        if not isinstance(node, yaml.SequenceNode):
            self.problems.at(node, f"{name} must be a list, each entry beginning with -")
            return None
        found = []
        for item in node.value:
            if isinstance(item, yaml.MappingNode):
                found.append(Section(item, f"a {what}", self.problems))
            else:
                self.problems.at(item, f"a {what} must hold fields")
        return found

    def pairs(self) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Every field as (name, its own node, its value's node), for mappings whose names are free."""
        for name, (key, value) in self._fields.items():
            self._asked[name] = None
            yield name, key, value

    def whole_number(self, name: str, *, least: int, most: int) -> int | None:
        """An integer between two bounds."""
        node = self.ask(name)
        if node is None:
            return None
        digits = node.value if isinstance(node, yaml.ScalarNode) and node.tag == _INT else ""
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18 and least <= int(digits) <= most):
            self.problems.at(node, f"{name} must be a whole number from {least:,} to {most:,}")
            return None
        return int(digits)

    def finish(self) -> None:
        """Refuse the fields that were not asked for, and miss those that are needed."""
        strangers = {name: key for name, (key, _) in self._fields.items() if name not in self._asked}
        for name, key in strangers.items():
            self.problems.at(key, unknown("field", name, self._asked, f" in {self.what}"))
        misspelt = {nearest(name, self._asked) for name in strangers}
        for name, message in self._needs.items():
            if name not in self._fields and name not in misspelt:
                self.problems.at(self.node, message)
