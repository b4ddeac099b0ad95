"""The standard spelling of labels: rules that bring the spellings of all sources to one, in one table."""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ..schema import LABEL_COLUMNS

PAPER = "preprint 2.1"
README = "published README"
REGISTRY = "published registry"
NEW = "this project"


@dataclass(frozen=True)
class Rule:
    """One rule: in `columns`, replace every match of `pattern` in a value by `becomes`."""

    name: str
    columns: tuple[str, ...]
    pattern: str
    becomes: str
    origin: str


RULES: tuple[Rule, ...] = (
    Rule("doubt removed", LABEL_COLUMNS, r"\s*\(\?\)", "", PAPER),
    Rule("no label", LABEL_COLUMNS, r"^(empty|none|n/a)$", "", PAPER),
    Rule("solvent is no phenotype", ("phenotype",), r"^dmso$", "", PAPER),
    Rule("u2os", ("cell_type",), r"^u-?2[ -]os$", "u2os", PAPER),
    Rule("nucleus", ("cell_visible",), r"^nuclei$", "nucleus", PAPER),
    Rule("cell membrane", ("cell_visible",), r"^gpcr$", "cell membrane", README),
    Rule("actin", ("cell_visible",), r"^actb$", "actin", REGISTRY),  # idr0088's tagged beta-actin
    Rule(
        "white blood cell",
        ("cell_type",),
        r"^(white blood cell \(.*\)|neutrophil|lymphocyte|monocyte|eosinophil|basophil|leukocyte)$",
        "white blood cell",
        README,
    ),
    Rule("human", ("organism",), r"^homo sapiens$", "human", PAPER),
    Rule("mouse", ("organism",), r"^mus musculus$", "mouse", PAPER),
    Rule("fly", ("organism",), r"^drosophila melanogaster$", "fly", PAPER),
    Rule("yeast", ("organism",), r"^saccharomyces cerevisiae$", "yeast", PAPER),
    Rule("nematode", ("organism",), r"^caenorhabditis elegans$", "nematode", PAPER),
    Rule("targeted gene", ("gene",), r"^(?!.* targeted$)(.+)$", r"\1 targeted", PAPER),
)
"""Applied in this order to each of the `|`-separated values, after lower case and removal of blanks at its ends."""

LISTED = ("organism", "cell_type", "cell_visible", "phenotype")  # the name of a compound may begin with a bracket
LOWER, LISTS, REPEATS = "lower case", "list written as text", "repeats removed"
ORIGIN = {LOWER: PAPER, LISTS: PAPER, REPEATS: NEW, **{rule.name: rule.origin for rule in RULES}}
_COMPILED = {
    column: [(rule, re.compile(rule.pattern)) for rule in RULES if column in rule.columns] for column in LABEL_COLUMNS
}
_LIST = re.compile(r"^\[\s*(['\"]).*\1\s*,?\s*\]$", re.DOTALL)


class Vocabulary:
    """Applies the rules and counts the rows that each changes.

    Attributes
    ----------
    changed : Counter of (rule, column, before, after)
        Number of rows.
    """

    def __init__(self) -> None:
        self.changed: Counter[tuple[str, str, str, str]] = Counter()

    def apply(self, values: pa.Array, column: str) -> pa.Array:
        """Return one label column in the standard spelling.

        Parameters
        ----------
        values : array of large_string
            As the source has them; several values in one cell are joined by `|`.
        column : str
            One of `schema.LABEL_COLUMNS`.
        """
        encoded = values.dictionary_encode()
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        rows = np.bincount(indices, minlength=len(encoded.dictionary))
        standard = []
        for text, n in zip(encoded.dictionary.to_pylist(), rows.tolist(), strict=True):
            after, steps = _standard(text, column)
            for name, old, new in steps:
                self.changed[name, column, old, new] += n
            standard.append(after)
        return pa.array(standard, pa.large_string()).take(encoded.indices)

    def report(self) -> list[dict[str, Any]]:
        """Return, for each rule and column with changes, the number of rows and the most frequent example."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for (name, column, before, after), rows in self.changed.most_common():
            first = {"rule": name, "column": column, "rows": 0, "values": 0, "before": before, "after": after}
            entry = found.setdefault((name, column), {**first, "origin": ORIGIN[name]})
            entry["rows"] += rows
            entry["values"] += 1
        order = list(ORIGIN)
        return sorted(found.values(), key=lambda entry: (order.index(entry["rule"]), entry["column"]))


def published_spellings(label: str) -> tuple[str, ...]:
    """Return the spellings that the published archive may have of a label in file and folder names, `label` first.

    File names can't contain `/`, and some systems forbid `*`: the archive has ` -- ` instead, or exchanged the two.

    Examples
    --------
    >>> published_spellings("il-2/anti-il-2")
    ('il-2/anti-il-2', 'il-2 -- anti-il-2', 'il-2*anti-il-2')
    """
    spellings = (
        label,
        label.replace("*", " -- ").replace("/", " -- "),
        label.replace("/", "*"),
        label.replace("*", "/"),
    )
    return tuple(dict.fromkeys(spellings))


def standard(text: str, column: str) -> str:
    """Return the standard spelling of one cell.

    Examples
    --------
    >>> standard("U-2 OS", "cell_type")
    'u2os'
    >>> standard("CHR2", "gene")
    'chr2 targeted'
    """
    return _standard(text, column)[0]


def _standard(text: str, column: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Return the standard spelling of a cell, and the changes as (rule, before, after)."""
    if not text:
        return "", []
    steps: list[tuple[str, str, str]] = []
    listed = _unlist(text) if column in LISTED else None
    if listed is not None:
        steps.append((LISTS, text, "|".join(listed)))
    values = text.split("|") if listed is None else listed
    kept: list[str] = []
    for value in values:
        lower = value.strip().lower()
        if lower != value:
            steps.append((LOWER, value, lower))
        for rule, pattern in _COMPILED[column]:
            after = pattern.sub(rule.becomes, lower)
            if after != lower:
                steps.append((rule.name, lower, after))
                lower = after
        if lower:
            kept.append(lower)
    unique = list(dict.fromkeys(kept))
    if len(unique) < len(kept):
        steps.append((REPEATS, "|".join(kept), "|".join(unique)))
    return "|".join(unique), steps


def _unlist(text: str) -> list[str] | None:
    """Return the values of a text like "['a', 'b']"; None for any other text, such as a name in brackets."""
    if not _LIST.match(text) or len(text) > 100_000:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return [item.replace("|", "/") for item in value]
