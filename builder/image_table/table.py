"""The image table: one row per sample, each of one or more channels, checked and described."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from ..errors import MetadataError, UsageError
from ..storage import exists, filesystem, sibling, write_atomic
from . import row_checks, table_file
from .listing import by_folders, by_pattern
from .reader import PlaneReader
from .root import Root, find
from .table_file import KEYS, LINE

NAMED = 3  # samples an error names
SHOWN = 8  # labels a summary names


@dataclass(frozen=True, repr=False)
class ImageTable:
    """A user's own images, one row per sample.

    Attributes
    ----------
    name : str
        Stem of the table's, folder's or zip's name.
    root : Root
        The folder, URL or zip that the places in `rows` are relative to.
    channels : tuple of str
        Names of the channels in the order of the table; `("",)` if the table has one column `file`.
    rows : DataFrame
        One row per sample: `id`; `file`, or one column `file_<channel>` per channel, with the place of the plane
        (`path#page=N&xywh=x,y,w,h`); `label`, `group`, `split` (empty where not known); then `metadata`.
    metadata : tuple of str
        Names of all other columns of the table, as they are written there.
    rejected : DataFrame
        Samples that can't be used: `id`, `file`, `reason` (see `row_checks.REASONS`), `detail`. `rows` and `rejected`
        together are what was offered.
    notes : tuple of str
        What else a reader should know, as sentences.
    """

    name: str
    root: Root
    channels: tuple[str, ...]
    rows: pd.DataFrame
    metadata: tuple[str, ...]
    rejected: pd.DataFrame
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def offered(self) -> int:
        """Number of samples in the input: usable and rejected."""
        return len(self.rows) + len(self.rejected)

    @property
    def files(self) -> list[str]:
        """The columns of `rows` with places: `file`, or `file_<channel>` per channel."""
        return [f"file_{channel}" if channel else "file" for channel in self.channels]

    def has(self, column: str) -> bool:
        """Return whether at least one row has a `label`, `group` or `split`."""
        return bool(self.rows[column].ne("").any())

    @cached_property
    def reader(self) -> PlaneReader:
        """Reads places of this table; can be sent to other processes."""
        return PlaneReader(self.root)

    def read(self, row: int) -> list[NDArray[Any]]:
        """Read one sample.

        Parameters
        ----------
        row : int
            Position in `rows`.

        Returns
        -------
        list of arrays, each of shape (height, width)
            One per channel, in the file's own integer or float type.

        Raises
        ------
        Refused
            If a channel can't be read, or the channels differ in size.
        """
        return self.reader.planes(self.rows[self.files].iloc[row].tolist())

    def without(self, refused: pd.DataFrame, *, strict: bool = False) -> ImageTable:
        """Return the table with further samples rejected.

        Parameters
        ----------
        refused : DataFrame
            Columns `id`, `file`, `reason`, `detail`; the ids are in `rows`.
        strict : bool
            Raise an error instead, if there is any.
        """
        rejected = pd.concat([self.rejected, refused], ignore_index=True).astype("str")
        rows = self.rows[~self.rows["id"].isin(refused["id"])].reset_index(drop=True)
        table = replace(self, rows=rows, rejected=rejected)
        _refuse_if(table, strict)
        return table

    def write_rejected(self, out: str | os.PathLike[str]) -> str | None:
        """Write the rejected samples as `<out>.rejected.csv`; remove that file if there are none.

        Parameters
        ----------
        out : str or path
            The output that they are missing in, local or a URL.

        Returns
        -------
        str or None
            The path of the file, if one was written.
        """
        path = sibling(os.fspath(out).removesuffix(".gz"), "rejected.csv")
        if len(self.rejected):
            write_atomic(path, self.rejected.to_csv(index=False).encode())
            return path
        if exists(path):
            fs, inner = filesystem(path)
            fs.rm_file(inner)
        return None

    def summary(self) -> dict[str, Any]:
        """Return what the table contains, ready for JSON."""
        return {
            "name": self.name,
            "root": self.root.path,
            "samples": len(self.rows),
            "offered": self.offered,
            "rejected": self.rejected["reason"].value_counts().to_dict(),
            "channels": [channel for channel in self.channels if channel] or ["(one, without a name)"],
            **{f"{key}s": _counts(self.rows[key]) for key in ("label", "group", "split")},
            "metadata": list(self.metadata),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        found = self.summary()
        lines = [
            f"ImageTable {self.name}: {len(self):,} samples of {len(self.channels)} "
            f"channel{'s' if len(self.channels) > 1 else ''}",
            f"  root      {self.root.path}",
        ]
        if self.channels != ("",):
            lines.append(f"  channels  {', '.join(self.channels)}")
        lines += [f"  {key:<9} {_shown(found[key])}" for key in ("labels", "groups", "splits") if found[key]]
        if self.metadata:
            lines.append(f"  metadata  {', '.join(self.metadata)}")
        counts = ", ".join(f"{reason} {count:,}" for reason, count in found["rejected"].items())
        lines.append(f"  rejected  {len(self.rejected):,} of {self.offered:,}{f': {counts}' if counts else ''}")
        return "\n".join([*lines, *(f"  note      {note}" for note in self.notes)])


def read_image_table(
    images: str | os.PathLike[str],
    *,
    pattern: str | None = None,
    strict: bool = False,
    existing: Collection[str] | None = None,
) -> ImageTable:
    """Read a table of images, or make one from the files of a folder or zip.

    Paths are checked, pixels are not read: see `check.check_pixels`.

    Parameters
    ----------
    images : str or path
        A table (.csv, .tsv, .parquet; local or a URL), a folder, or a .zip. A folder or zip that contains `images.csv`
        is read through it. The table has the column `file`, or one column `file_<channel>` per channel, with paths
        relative to the table (`#page=N` names a page of a stack, counted from 0, `#xywh=x,y,width,height` a part of
        the image); and perhaps `id`, `label`, `group`, `split` and any others.
    pattern : str, optional
        For a folder or zip without a table: an RE2 expression with named groups, or the name of a ready one
        (`patterns.READY`). The group `channel` joins several files to one sample, other groups become columns.
        Without a table and a pattern, images in folders `<label>/<image>` are labelled by their folder.
    strict : bool
        Raise an error if any sample is rejected.
    existing : set of str, optional
        Paths of all files that exist, relative to the table's folder or to the zip, where the caller has listed them.

    Returns
    -------
    ImageTable

    Raises
    ------
    UsageError, MetadataError
        If there is no such input, the table is damaged or lacks a column, an id is repeated or absent, or no sample
        can be used. The error names file, line and column.
    """
    root, name = find(images)
    if name is not None and pattern is not None and posixpath.basename(os.fspath(images)) == posixpath.basename(name):
        raise UsageError("A pattern is for files without a table", where=images, next="Name the folder of the images")
    notes: list[str] = []
    if name is not None and pattern is None:
        where = posixpath.join(root.path, name)
        raw, stem = table_file.read(root, name), _stem(images, root)
        base = posixpath.dirname(name)
    else:
        raw, notes = by_pattern(root, pattern) if pattern is not None else by_folders(root)
        where, stem, base = root.path, root.name, ""
        raw = raw.assign(**{LINE: 0})
    files = table_file.places(raw)
    rows = pd.DataFrame(index=raw.index)
    places, bad, changed = row_checks.places_of(raw, files, base, root)
    if changed:
        notes.append(f"{changed:,} paths have backslashes, read as slashes")
    rows["id"] = row_checks.ids_of(raw, places, base, where)
    rows[files] = places
    for key in ("label", "group", "split"):
        rows[key] = raw.get(key, "")
        empty = int(rows[key].eq("").sum())
        if key in raw and 0 < empty < len(rows):
            notes.append(f"{key} is empty in {empty:,} of {len(rows):,} rows")
    metadata = [str(name) for name in raw.columns if name not in (*files, *KEYS, LINE)]
    rows[metadata] = raw[metadata]
    bad = {**row_checks.absent(places, raw, root, existing), **row_checks.repeated(places, raw), **bad}
    gone = sorted(bad)
    rejected = pd.DataFrame(
        [(rows["id"].iloc[row], *bad[row]) for row in gone], columns=["id", "file", "reason", "detail"], dtype="str"
    )
    kept = rows.drop(index=rows.index[gone]).reset_index(drop=True)
    channels = tuple(column.removeprefix("file").removeprefix("_") for column in files)
    table = ImageTable(stem, root, channels, kept, tuple(metadata), rejected, tuple(notes))
    _refuse_if(table, strict)
    return table


def _stem(images: str | os.PathLike[str], root: Root) -> str:
    name = os.fspath(images).replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    for suffix in (".gz", ".csv", ".tsv", ".txt", ".parquet", ".pq", ".zip"):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    # `plate7/images.csv` and `.` are best called by their folder
    return root.name if name.lower() in ("images", "", ".", "..") else name


def _refuse_if(table: ImageTable, strict: bool) -> None:
    """Raise an error if no sample is left, or `strict` and one was rejected."""
    if not len(table.rejected) or (len(table.rows) and not strict):
        return
    first = [f"{bad['file'] or bad['id']}: {bad['detail']}" for bad in table.rejected.head(NAMED).to_dict("records")]
    which = "None" if not len(table.rows) else f"Only {len(table.rows):,}"
    raise MetadataError(
        f"{which} of {table.offered:,} samples can be used: {'; '.join(first)}"
        + (f"; and {len(table.rejected) - NAMED:,} more" if len(table.rejected) > NAMED else ""),
        where=table.root.path,
        next=_advice(table),
    )


def _advice(table: ImageTable) -> str:
    if len(table.rows):
        return "Correct them, or leave out --strict."
    if set(table.rejected["reason"]) <= {"missing_channel", "outside"}:
        return "Paths are relative to the folder of the table."
    return "docs/your-own-images.md lists the images that can be read."


def _counts(column: pd.Series) -> dict[str, int]:
    counts = column[column.ne("")].value_counts()
    return {str(name): int(counts[name]) for name in sorted(counts.index, key=lambda name: (-counts[name], name))}


def _shown(counts: Mapping[str, int]) -> str:
    first = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:SHOWN])
    return f"{len(counts):,}: {first}" + (f", and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")
