"""A study's library table next to its annotation: the annotation decides, the library fills what it lacks.

Both tables have one line per well (or image). The library of idr0037 names ten plates differently from the annotation
(`experiment_1`, `experiment_01`) and gives other cell lines for 597 wells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ..schema import LABEL_COLUMNS
from .folder import Counts
from .plates import squeezed
from .rows import one_line_per_key
from .vocabulary import standard

KEY = ["plate", "image"]
PAIRS_SHOWN = 3
_LIBRARY = "@library "  # before the name of a column, where both tables are in one frame


def with_plates_of(annotation: pd.DataFrame, library: pd.DataFrame, aliases: Sequence[str]) -> pd.DataFrame:
    """Return the library with the annotation's names of plates, and no folders that the annotation gives differently.

    Parameters
    ----------
    annotation, library : DataFrame of str
        Lines with `plate` and the columns `aliases`.
    aliases : sequence of str
        Columns that name a plate's folder.

    Notes
    -----
    Two plates are the same if they have the same name, the same folder or names that differ in punctuation and leading
    zeros only. A plate that could be two of the other table's keeps its name.

    Examples
    --------
    >>> annotation = pd.DataFrame({"plate": ["exp_01", "exp_02"], "@f0": ["day 1", "day 2"]}, dtype="str")
    >>> library = pd.DataFrame({"plate": ["exp_1", "b", "exp_3"], "@f0": ["", "day 2", ""]}, dtype="str")
    >>> with_plates_of(annotation, library, ["@f0"])["plate"].tolist()
    ['exp_01', 'exp_02', 'exp_3']
    """
    named = set(annotation["plate"])
    unknown = library[~library["plate"].isin(named)]
    known = annotation[~annotation["plate"].isin(set(library["plate"]))]
    same: dict[str, str] = {}
    for column in (*aliases, "plate"):
        theirs = _by_spelling(known[~known["plate"].isin(set(same.values()))], column)
        for spelling, plate in _by_spelling(unknown[~unknown["plate"].isin(set(same))], column).items():
            if spelling in theirs:
                same[plate] = theirs[spelling]
    library = library.assign(plate=library["plate"].replace(same))
    for column in aliases:
        decided = annotation.loc[annotation[column] != "", "plate"]
        library[column] = library[column].mask(library["plate"].isin(set(decided)), "")
    return library


def _by_spelling(lines: pd.DataFrame, column: str) -> dict[str, str]:
    """Return spelling -> plate, one to one: without the spellings of two plates and the plates of two spellings."""
    pairs = pd.DataFrame({"plate": lines["plate"].array, "spelling": lines[column].array}).drop_duplicates()
    pairs = pairs.assign(spelling=pairs["spelling"].map(squeezed))
    pairs = pairs[pairs["spelling"] != ""].drop_duplicates()
    pairs = pairs[~pairs["plate"].duplicated(keep=False) & ~pairs["spelling"].duplicated(keep=False)]
    return dict(zip(pairs["spelling"], pairs["plate"], strict=True))


def completed(
    annotation: pd.DataFrame, library: pd.DataFrame, counts: Counts, *, unit: str, titles: Mapping[str, str]
) -> pd.DataFrame:
    """Return the annotation's lines with what only the library has: values of empty cells, and complete lines.

    Parameters
    ----------
    annotation, library : DataFrame of str
        `plate`, `image`, and the same other columns. Lines of the same plate and image are joined first.
    counts : Counts
        Its `notes` get the number of lines and values from the library, and of values that differ; its `remarks` the
        most frequent of the latter.
    unit : str
        What a line is about, in the plural: wells, images.
    titles : mapping of str to str
        Names of columns for the notes; a column without one is called by its own name.

    Examples
    --------
    >>> columns = ["plate", "image", "gene"]
    >>> annotation = pd.DataFrame([["1", "A01", "tp53"], ["1", "A02", ""]], columns=columns, dtype="str")
    >>> library = pd.DataFrame([["1", "A01", "chr2"], ["1", "A02", "plk1"], ["1", "A03", "kif11"]], columns=columns)
    >>> counts = Counts("idr0080")
    >>> completed(annotation, library, counts, unit="wells", titles={})["gene"].tolist()
    ['tp53', 'plk1', 'kif11']
    >>> counts.remarks
    ["gene is 'tp53' in the annotation and 'chr2' in the library table (wells: 1)"]
    """
    annotation, library = one_line_per_key(annotation, KEY), one_line_per_key(library, KEY)
    names = [name for name in annotation.columns if name not in KEY]
    theirs = library.rename(columns={name: _LIBRARY + name for name in names})
    both = annotation.merge(theirs, on=KEY, how="left", validate="one_to_one").fillna("").astype("str")
    for name in names:
        title, mine, other = titles.get(name, name), both[name], both[_LIBRARY + name]
        lacking = (mine == "") & (other != "")
        _note(counts, f"{unit} whose {title} is in the library table only", int(lacking.sum()))
        differing = both.loc[(mine != "") & (other != "") & (mine != other), [name, _LIBRARY + name]]
        _note_differences(counts, differing, name, title, unit)
        both[name] = mine.mask(lacking, other)
    rest = library[~pd.MultiIndex.from_frame(library[KEY]).isin(pd.MultiIndex.from_frame(annotation[KEY]))]
    _note(counts, f"{unit} that are in the library table only", len(rest))
    return pd.concat([both[list(annotation.columns)], rest], ignore_index=True).astype("str")


def _note(counts: Counts, text: str, number: int) -> None:
    if number:
        counts.notes[text] += number


def _note_differences(counts: Counts, differing: pd.DataFrame, name: str, title: str, unit: str) -> None:
    """Count the values that differ in more than spelling, and describe the most frequent."""
    pairs = Counter(zip(differing[name], differing[_LIBRARY + name], strict=True))
    found = [(n, pair) for pair, n in pairs.items() if _values(pair[0], name) != _values(pair[1], name)]
    found.sort(key=lambda one: (-one[0], one[1]))
    _note(
        counts,
        f"{unit} whose {title} differs in the library table (the annotation's is used)",
        sum(n for n, _ in found),
    )
    for n, (mine, other) in found[:PAIRS_SHOWN]:
        counts.remarks.append(
            f"{title} is {mine!r} in the annotation and {other!r} in the library table ({unit}: {n:,})"
        )
    if len(found) > PAIRS_SHOWN:
        counts.remarks.append(f"{title} differs in {len(found) - PAIRS_SHOWN:,} other pairs of values")


def _values(cell: str, name: str) -> set[str]:
    """Return the values of a cell in their standard spelling."""
    return set((standard(cell, name) if name in LABEL_COLUMNS else cell.casefold()).split("|"))
