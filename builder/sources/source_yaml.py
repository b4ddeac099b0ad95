"""`source.yaml`: what all images of a user's own source share. Read as text, within limits, every key checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from .. import schema
from ..errors import MetadataError
from .record import BRIGHTFIELD

NAME = "source.yaml"
MAX_BYTES = 1 << 16
MAX_DEPTH = 3  # the file, `stains`, and a list of two stains in one channel
DATABASE = "own images"
NO_LICENCE = "not stated"
TEXTS = ("name", "database", "licence", "link", "citation", "microscopy", "label")
KEYS = (*TEXTS, "stains", *schema.LABEL_COLUMNS)
SIMILAR = 0.8  # of `difflib`: one or two letters of a word


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What `source.yaml` states; everything is optional.

    Attributes
    ----------
    name, database, licence, link, citation : str
        Title, publisher or lab, terms of use, address (http or https), and the text to cite.
    microscopy : str
        Kind of microscopy of the images that are not brightfield.
    label : str
        The label column that the table's column `label` is, such as `phenotype`; empty if it is none.
    labels : mapping of str to str
        Label column to the value that all images have; several values are joined by `|`.
    stains : mapping of str to str
        Channel to its stain; two stains of one channel are joined by `/`. The only channel of a table with one column
        `file` is called "".
    """

    name: str
    database: str = DATABASE
    licence: str = NO_LICENCE
    link: str = ""
    citation: str = ""
    microscopy: str = ""
    label: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    stains: Mapping[str, str] = field(default_factory=dict)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the known name that `name` is probably meant to be; empty if none is similar.

    Examples
    --------
    >>> suggestion("Phenotyp", ["organism", "phenotype"]), suggestion("well_id", ["well"])
    ('phenotype', '')
    """
    near = get_close_matches(plain(name), list(known), n=1, cutoff=SIMILAR)
    return near[0] if near else ""


def plain(name: str) -> str:
    """Return a column's name in lower case with underscores: `Cell Type` is `cell_type`."""
    return re.sub(r"[\s-]+", "_", name.strip()).lower()


def parse(data: bytes, where: str, name: str) -> Facts:
    """Read the content of a `source.yaml`.

    Parameters
    ----------
    data : bytes
    where : str
        The file, for errors.
    name : str
        The title of the source if the file states none.

    Raises
    ------
    MetadataError
        If it is not YAML, larger or deeper than it may be, or a key is unknown, repeated or of another form. The error
        names the line and the key that was probably meant.
    """
    stated: dict[str, tuple[Any, int]] = {}
    for key, value, line in _pairs(data, where):
        at = f"{where}, line {line}"
        if key not in KEYS:
            meant = suggestion(key, KEYS)
            raise MetadataError(
                f"Unknown key {key!r}",
                where=at,
                next=f"Did you mean {meant!r}?" if meant else f"The keys are {', '.join(KEYS)}.",
            )
        if key in stated:
            raise MetadataError(f"The key {key!r} is in lines {stated[key][1]} and {line}", where=at)
        stated[key] = (value, line)
    texts = {key: _text(*stated[key], key, where) for key in TEXTS if key in stated}
    if not re.fullmatch(r"(https?://[^\s<>()\[\]|\\`\"]+)?", texts.get("link", "")):
        raise MetadataError(
            "'link' is not an address", where=f"{where}, line {stated['link'][1]}", next="Write it as https://..."
        )
    if texts.get("label") and texts["label"] not in schema.LABEL_COLUMNS:
        meant = suggestion(texts["label"], schema.LABEL_COLUMNS)
        raise MetadataError(
            f"'label' is {texts['label']!r}, which is no label column",
            where=f"{where}, line {stated['label'][1]}",
            next=f"Did you mean {meant!r}?" if meant else f"It is one of {', '.join(schema.LABEL_COLUMNS)}.",
        )
    labels = {key: _several(*stated[key], key, where, joint="|") for key in schema.LABEL_COLUMNS if key in stated}
    return Facts(
        **{"name": name, **{key: text for key, text in texts.items() if text}},
        labels={key: text for key, text in labels.items() if text},
        stains=_stains(*stated["stains"], where) if "stains" in stated else {},
    )


def _pairs(data: bytes, where: str) -> Iterable[tuple[str, Any, int]]:
    """Yield key, value and line of each entry of the file; a value is a text, a list or a dict of such."""
    import yaml

    if len(data) > MAX_BYTES:
        raise MetadataError(f"Larger than {MAX_BYTES:,} bytes", where=where)
    try:
        _refuse_what_is_not_plain(data, where)
        # every scalar stays text: `gene: NO` is a gene, `name: 2024-01-01` a name
        node = yaml.compose(data, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        at = f"{where}, line {mark.line + 1}" if mark is not None else where
        raise MetadataError(f"Not readable as YAML: {problem}", where=at, next="Write `key: value` lines.") from error
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
        return
    if not isinstance(node, yaml.MappingNode):
        raise MetadataError("There are no `key: value` lines", where=where, next=f"The keys are {', '.join(KEYS)}.")
    for key, value in node.value:
        yield str(key.value), _plain(value, where), key.start_mark.line + 1


def _refuse_what_is_not_plain(data: bytes, where: str) -> None:
    """Raise an error for aliases, tags, several documents or deep nesting; nothing is built in memory before."""
    import yaml

    depth = documents = 0
    for event in yaml.parse(data, Loader=yaml.BaseLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        documents += isinstance(event, yaml.DocumentStartEvent)
        problem = (
            "An alias (`*name`) is not read" if isinstance(event, yaml.AliasEvent)
            else f"A tag ({tag}) is not read" if (tag := getattr(event, "tag", None))
            else f"Nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH
            else "There are several documents" if documents > 1
            else ""
        )  # fmt: skip
        if problem:
            mark = event.start_mark
            raise MetadataError(problem, where=f"{where}, line {mark.line + 1}" if mark else where)


def _plain(node: Any, where: str) -> Any:
    import yaml

    if isinstance(node, yaml.MappingNode):
        entries = {str(key.value): _plain(value, where) for key, value in node.value}
        if len(entries) < len(node.value):
            raise MetadataError("A channel appears twice", where=f"{where}, line {node.start_mark.line + 1}")
        return entries
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, where) for value in node.value]
    return " ".join(str(node.value).split())


def _text(value: Any, line: int, key: str, where: str) -> str:
    if isinstance(value, str) and value.isprintable():
        return value
    raise MetadataError(f"{key!r} is not one line of text", where=f"{where}, line {line}")


def _several(value: Any, line: int, key: str, where: str, joint: str) -> str:
    """Return a text, or the texts of a list joined."""
    values = value if isinstance(value, list) else [value]
    return joint.join(filter(None, (_text(one, line, key, where) for one in values)))


def _stains(value: Any, line: int, where: str) -> dict[str, str]:
    """Return the stain of each channel; a text or list is the stain of the only one."""
    by_channel = value if isinstance(value, dict) else {"": value}
    stains = {channel: _several(stain, line, "stains", where, joint="/") for channel, stain in by_channel.items()}
    for stain in stains.values():
        if "|" in stain:
            raise MetadataError(f"A stain contains '|': {stain!r}", where=f"{where}, line {line}")
        if BRIGHTFIELD in stain.split("/") and stain != BRIGHTFIELD:
            raise MetadataError(f"A channel is either {BRIGHTFIELD} or stained", where=f"{where}, line {line}")
    return {channel: stain.lower() for channel, stain in stains.items() if stain}
