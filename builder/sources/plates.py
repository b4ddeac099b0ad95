"""Which plate a folder holds: the folders of a screen are seldom called as its plates are."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from ..errors import MetadataError
from .folder import Folder
from .publisher_tables import decode, read_bounded

_FILE = re.compile(r"\.[A-Za-z]{3,6}$")


class PlateFolders:
    """Which plate a folder holds.

    Parameters
    ----------
    plates : iterable of str
        The plates that the annotation speaks of.
    pairs : iterable of (str, str)
        Plate and folder, in either order, as the study's `plates.tsv` gives them (full paths on its own server).
    aliases : list of Series
        Columns parallel to `plates` that name a folder.

    Notes
    -----
    The end of a path that two plates share tells nothing and is forgotten; without a match the answer is empty.
    """

    def __init__(
        self, plates: pd.Series, pairs: Iterable[tuple[str, str]] = (), aliases: Iterable[pd.Series] = ()
    ) -> None:
        self._paths: dict[str, str | None] = {}
        self._names: dict[str, str | None] = {}
        for plate in plates.unique():
            self._learn(self._names, _squeezed(plate), plate)
        own = dict(self._names)
        for one, other in pairs:
            for name, path in ((one, other), (other, one)):
                if plate := own.get(_squeezed(name)):
                    self._learn_path(path, plate)
                    break
        for column in aliases:
            for plate, path in pd.DataFrame({"plate": plates.array, "path": column.array}).drop_duplicates().to_numpy():
                self._learn_path(path, plate)
                if own.get(_squeezed(path), plate) == plate:
                    self._learn(self._names, _squeezed(path), plate)

    @staticmethod
    def _learn(known: dict[str, str | None], key: str, plate: str) -> None:
        if key:
            known[key] = plate if known.get(key, plate) == plate else None

    def _learn_path(self, path: str, plate: str) -> None:
        parts = path.replace("\\", "/").strip("/").casefold().split("/")
        if parts and _FILE.search(parts[-1]):
            parts = parts[:-1]
        if not parts or parts[0] == "..":  # `../screens/24277.screen` tells nothing of the images' folder
            return
        for start in range(len(parts)):
            self._learn(self._paths, "/".join(parts[start:]), plate)

    def find(self, folder: str) -> str:
        """Return the plate of a folder: of its deepest part that is one; empty if none is."""
        parts = folder.strip("/").casefold().split("/")
        for end in range(len(parts), 0, -1):
            for start in range(end):
                path = "/".join(parts[start:end])
                plate = (
                    self._paths.get(path)
                    or self._names.get(_squeezed(path))
                    or self._names.get(_squeezed(path.split("__")[0]))  # PLATE__2016-06-16T00_38_35-Measurement2
                )
                if plate:
                    return plate
        return ""


def _squeezed(name: str) -> str:
    """Reduce a name to what its spellings share: `BSF018292_1A` and `BSF018292-1A`, `DTT p1` and `DTT/p1`.

    The mitotic atlas calls the images of a folder `FOLDER_raw`.
    """
    bare = re.sub(r"(?<!\d)0+(?=\d)", "", name.casefold().removesuffix("_raw"))
    return re.sub(r"[^0-9a-z]+", "", bare)


def plate_pairs(folder: Folder) -> list[tuple[str, str]]:
    """Read which plate lies in which folder from `plates.tsv` (and idr0017's list of plate names), where there is one.

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
                    f"{len(cells)} cells where at most 2 are expected",
                    where=f"{path}, line {number}",
                    next="Expected: a plate and its folder, separated by a tab, without a header.",
                )
            if len(cells) == 2:  # a list of folders alone (idr0088) says no more than the folders do
                pairs.append((cells[0], cells[1]))
    return pairs
