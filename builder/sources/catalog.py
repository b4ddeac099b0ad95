"""The catalogue: the rows of all sources in one table."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from os import PathLike

import pandas as pd
import pyarrow as pa

from .. import schema
from ..errors import UsageError
from ..progress import progress
from ..storage import atomic_writer, filesystem, join
from . import registry
from .folder import Counts, Folder
from .record import Source
from .rows import read_source
from .vocabulary import Vocabulary


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
        Folders that are not a known source, with the nearest known names or the reason they are left out.
    """

    table: pa.Table
    counts: tuple[Counts, ...]
    vocabulary: Vocabulary
    unknown: Mapping[str, str]

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        return self.table.to_pandas()


def build_catalog(raw: str | PathLike[str], sources: Iterable[str] | None = None) -> Catalog:
    """Read all sources below `raw`.

    Parameters
    ----------
    raw : str or path
        A folder with one folder per source, named as in the registry; local or a URL.
    sources : iterable of str, optional
        Read only these.

    Raises
    ------
    UsageError
        If there is no such folder, no source in it, or a name is not a known source.
    MetadataError
        If a publisher's table is malformed.
    """
    vocabulary, counts, tables = Vocabulary(), [], []
    records, unknown = _sources_in(os.fspath(raw), sources)
    for table, count in _read(os.fspath(raw), records, vocabulary):
        tables.append(table)
        counts.append(count)
    return Catalog(pa.concat_tables(tables), tuple(counts), vocabulary, unknown)


def write_catalog(raw: str | PathLike[str], out: str | PathLike[str], sources: Iterable[str] | None = None) -> Catalog:
    """Write the catalogue to a file, source by source: as `build_catalog`, with one source in memory at a time.

    Returns
    -------
    Catalog
        With an empty table; the rows are in `out`.
    """
    vocabulary, counts = Vocabulary(), []
    records, unknown = _sources_in(os.fspath(raw), sources)
    with atomic_writer(out) as file:
        with schema.writer(file, schema.CATALOG) as writer:
            for table, count in _read(os.fspath(raw), records, vocabulary):
                writer.write_table(table)
                counts.append(count)
    return Catalog(schema.CATALOG.empty_table(), tuple(counts), vocabulary, unknown)


def _read(raw: str, records: list[Source], vocabulary: Vocabulary) -> Iterator[tuple[pa.Table, Counts]]:
    with progress("Reading sources", len(records), "sources") as bar:
        for source in records:
            folder = Folder(join(raw, source.dir_name), source.dir_name)
            yield read_source(source, folder, vocabulary), folder.counts
            bar.advance()


def _sources_in(raw: str, names: Iterable[str] | None) -> tuple[list[Source], dict[str, str]]:
    """Return the sources to read, and the folders that are left out with the reason."""
    fs, inner = filesystem(raw)
    if not fs.isdir(inner):
        raise UsageError("No such folder", where=raw, next="Name the folder that has one folder per source.")
    entries = {str(path).rstrip("/").rsplit("/", 1)[-1]: path for path in fs.ls(inner, detail=False)}
    folders = sorted(name for name, path in entries.items() if not name.startswith(".") and fs.isdir(path))
    if names is not None:
        records = registry.chosen(names)
        absent = [source.dir_name for source in records if source.dir_name not in folders]
        if absent:
            raise UsageError(
                f"No folder {', '.join(absent)}", where=raw, next=f"Its folders: {', '.join(folders) or 'none'}"
            )
        return records, {}
    unknown = {}
    for name in folders:
        if name in registry.SOURCES:
            continue
        near = registry.nearest(name)
        unknown[name] = registry.EXCLUDED.get(
            name.lower(), f"not a known source; nearest: {', '.join(near)}" if near else "not a known source"
        )
    records = registry.chosen(name for name in folders if name in registry.SOURCES)
    if not records:
        left_out = "; ".join(f"{name}: {reason}" for name, reason in unknown.items()) or "it is empty"
        raise UsageError(
            f"No folder of a known source ({left_out})", where=raw, next="`cytoimagenet sources` lists all 40."
        )
    return records, unknown
