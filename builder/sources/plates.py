"""Find the plate of a folder; in most screens folders and plates have different names."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from ..errors import MetadataError
from ..text_tables import decode, read_bounded
from .folder import Folder

_FILE = re.compile(r"\.[A-Za-z]{3,6}$")


class PlateFolders:
    """Find the plate of a folder by its name, by a list of plates and folders, or by columns of the annotation.

    Parameters
    ----------
    plates : Series of str
        The plate of each line of the annotation.
    pairs : iterable of (str, str)
        Plate and folder, in either order, as in the study's `plates.tsv` (full paths on its server).
    aliases : iterable of Series
        Columns parallel to `plates` that name a folder.

    Notes
    -----
    A folder name or end of a path that belongs to two plates is ambiguous and not used.
    """

    def __init__(
        self, plates: pd.Series, pairs: Iterable[tuple[str, str]] = (), aliases: Iterable[pd.Series] = ()
    ) -> None:
        self._paths: dict[str, str | None] = {}
        self._names: dict[str, str | None] = {}
        for plate in plates.unique():
            self._learn(self._names, squeezed(plate), plate)
        own = dict(self._names)
        for one, other in pairs:
            for name, path in ((one, other), (other, one)):
                if plate := own.get(squeezed(name)):
                    self._learn_path(path, plate)
                    break
        for column in aliases:
            for plate, path in pd.DataFrame({"plate": plates.array, "path": column.array}).drop_duplicates().to_numpy():
                self._learn_path(path, plate)
                if own.get(squeezed(path), plate) == plate:
                    self._learn(self._names, squeezed(path), plate)

    @staticmethod
    def _learn(known: dict[str, str | None], key: str, plate: str) -> None:
        if key:
            known[key] = plate if known.get(key, plate) == plate else None

    def _learn_path(self, path: str, plate: str) -> None:
        parts = path.replace("\\", "/").strip("/").casefold().split("/")
        if parts and _FILE.search(parts[-1]):
            parts = parts[:-1]
        if not parts or parts[0] == "..":  # `../screens/24277.screen` does not name the images' folder
            return
        for start in range(len(parts)):
            self._learn(self._paths, "/".join(parts[start:]), plate)

    def find(self, folder: str) -> str:
        """Return the plate of a folder: that of the deepest part of its path that has one; empty if there is none."""
        parts = folder.strip("/").casefold().split("/")
        for end in range(len(parts), 0, -1):
            for start in range(end):
                path = "/".join(parts[start:end])
                plate = (
                    self._paths.get(path)
                    or self._names.get(squeezed(path))
                    or self._names.get(squeezed(path.split("__")[0]))  # PLATE__2016-06-16T00_38_35-Measurement2
                )
                if plate:
                    return plate
        return ""


def squeezed(name: str) -> str:
    """Return a name reduced to what all its spellings share.

    `BSF018292_1A` and `BSF018292-1A` become equal, as do `DTT p1` and `DTT/p1`. The mitotic atlas names the images of a
    folder `FOLDER_raw`.

    Examples
    --------
    >>> squeezed("experiment_01"), squeezed("Experiment 1")
    ('experiment1', 'experiment1')
    """
    bare = re.sub(r"(?<!\d)0+(?=\d)", "", name.casefold().removesuffix("_raw"))
    return re.sub(r"[^0-9a-z]+", "", bare)


def plate_pairs(folder: Folder) -> list[tuple[str, str]]:
    """Read pairs of plate and folder from the study's `plates.tsv` (or idr0017's list of plate names), if it has one.

    Raises
    ------
    MetadataError
        If a line has more than two cells.
    """
    pairs = []
    for path in [*folder.find("*plates*.tsv"), *folder.find("*platename_mappings*.txt")]:
        for number, line in enumerate(decode(read_bounded(path)).splitlines(), start=1):
            cells = [cell.strip() for cell in line.split("\t")]
            while len(cells) > 1 and not cells[-1]:
                cells.pop()
            if len(cells) > 2:
                raise MetadataError(
                    f"{len(cells)} cells instead of at most 2",
                    where=f"{path}, line {number}",
                    next="Expected: a plate and its folder, separated by a tab, without a header.",
                )
            if len(cells) == 2:  # a list of folders without plates (idr0088) is of no use
                pairs.append((cells[0], cells[1]))
    return pairs
