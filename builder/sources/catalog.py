"""The catalogue: the rows of all sources in one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from .. import schema
from ..progress import progress
from ..storage import atomic_writer, exists, filesystem, sibling, write_atomic
from .discover import Found, choose
from .folder import Counts, Folder
from .record import Source
from .rows import read_source
from .vocabulary import Vocabulary

REJECTED = ["source", "id", "file", "reason", "detail"]


@dataclass(frozen=True)
class Catalog:
    """The rows of all sources, and how many files of each source were used or left out.

    Attributes
    ----------
    table : pyarrow.Table of schema.CATALOG
        Sorted by source, then by path.
    counts : tuple of Counts
        One per source.
    vocabulary : Vocabulary
        The changes by each spelling rule.
    unknown : mapping
        Folders and zips that are not a source, with the nearest known names or the reason they are left out.
    own : mapping of str to Source
        The facts of users' own sources.
    rejected : DataFrame
        Rows of their image tables that can't be used: `source`, `id`, `file`, `reason`, `detail`.
    """

    table: pa.Table
    counts: tuple[Counts, ...]
    vocabulary: Vocabulary
    unknown: Mapping[str, str]
    own: Mapping[str, Source]
    rejected: pd.DataFrame

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        return self.table.to_pandas()


class _Read(NamedTuple):
    """What was read of one source."""

    table: pa.Table
    counts: Counts
    own: Source | None
    rejected: pd.DataFrame | None


def build_catalog(raw: str | PathLike[str], sources: Iterable[str] | None = None, *, strict: bool = False) -> Catalog:
    """Read all sources below `raw`.

    Parameters
    ----------
    raw : str or path
        A folder with one folder per source: named as in the registry, or a user's own with an image table
        (`images.csv`); local or a URL. An own source may also be a zip, in a local folder.
    sources : iterable of str, optional
        Read only these.
    strict : bool
        Raise an error if a row of an image table can't be used.

    Raises
    ------
    UsageError
        If there is no such folder, no source in it, or a name is not a known source.
    MetadataError
        If a publisher's or user's table is malformed.
    """
    vocabulary = Vocabulary()
    found, unknown = choose(os.fspath(raw), sources)
    parts = list(_read(found, vocabulary, strict))
    return _catalog(pa.concat_tables(part.table for part in parts), parts, vocabulary, unknown)


def write_catalog(
    raw: str | PathLike[str], out: str | PathLike[str], sources: Iterable[str] | None = None, *, strict: bool = False
) -> Catalog:
    """Write the catalogue to a file, source by source: as `build_catalog`, with one source in memory at a time.

    Rows of image tables that can't be used are listed in `<out>.rejected.csv`, if there are any.

    Returns
    -------
    Catalog
        With an empty table; the rows are in `out`.
    """
    vocabulary, parts = Vocabulary(), []
    found, unknown = choose(os.fspath(raw), sources)
    empty = schema.CATALOG.empty_table()
    with atomic_writer(out) as file:
        with schema.writer(file, schema.CATALOG) as writer:
            for part in _read(found, vocabulary, strict):
                writer.write_table(part.table)
                parts.append(part._replace(table=empty))
            catalogue = _catalog(empty, parts, vocabulary, unknown)
            schema.note_own_sources(writer, {name: facts(source) for name, source in catalogue.own.items()})
    _write_rejected(catalogue.rejected, rejected_file(out))
    return catalogue


def facts(source: Source) -> dict[str, str]:
    """Return the facts about a user's own source that the card of the dataset shows."""
    return {name: str(getattr(source, name)) for name in ("name", "database", "licence", "link", "citation")}


def rejected_file(out: str | PathLike[str]) -> str:
    """Return the path of the list of rows that can't be used: `catalog.rejected.csv` for `catalog.parquet`."""
    return sibling(out, "rejected.csv")


def _read(found: list[Found], vocabulary: Vocabulary, strict: bool) -> Iterator[_Read]:
    with progress("Reading sources", len(found), "sources") as bar:
        for one in found:
            folder = Folder(one.root.path, one.dir_name)
            if one.record is not None:
                yield _Read(read_source(one.record, folder, vocabulary), folder.counts, None, None)
            else:
                from .own_table import read_own_source

                own = read_own_source(one.root, one.table, folder, vocabulary, strict=strict)
                yield _Read(own.table, folder.counts, own.source, own.rejected)
            bar.advance()


def _catalog(table: pa.Table, parts: list[_Read], vocabulary: Vocabulary, unknown: Mapping[str, str]) -> Catalog:
    own = {part.own.dir_name: part.own for part in parts if part.own is not None}
    rejected = [part.rejected for part in parts if part.rejected is not None]
    bad = pd.concat(rejected, ignore_index=True) if rejected else pd.DataFrame(columns=REJECTED, dtype="str")
    return Catalog(table, tuple(part.counts for part in parts), vocabulary, unknown, own, bad)


def _write_rejected(rejected: pd.DataFrame, path: str) -> None:
    """Write the list of rows that can't be used; remove that of an earlier run if there are none."""
    if len(rejected):
        write_atomic(path, rejected.to_csv(index=False).encode())
    elif exists(path):
        fs, inner = filesystem(path)
        fs.rm_file(inner)
