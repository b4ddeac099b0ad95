"""A user's own source: from `images.csv` and `source.yaml` to catalogue rows, with every file and row accounted for."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from .. import schema
from ..errors import MetadataError
from ..formats import zips
from ..image_table.places import file_of
from ..image_table.root import Root
from ..image_table.table import ImageTable, read_image_table
from ..image_table.table_file import as_text
from . import source_yaml
from .catalogue_rows import as_catalogue
from .folder import Counts, Folder
from .provenance import NUMBERS, PROVENANCE, control_of, number_of
from .record import BRIGHTFIELD, Source
from .registry import SOURCES
from .rows import NO_IMAGE
from .source_yaml import Facts, plain, suggestion
from .vocabulary import Vocabulary, standard
from .wells import well_names

COLUMNS = (*schema.LABEL_COLUMNS, *PROVENANCE, "microscopy", "licence")
"""Columns with a meaning for a source, in addition to `file`, `file_<channel>`, `id`, `group` and `label`."""
FREE = "metadata_"  # a column whose name starts so is never taken for a misspelt one
_EXPECTED = {
    "control": f"Write {' or '.join(schema.CONTROLS)}, or leave it empty",
    "magnification": "Write the magnification of the objective, such as 20, or leave it empty",
    "pixel_size": "Write the side of a pixel in micrometres, such as 0.65, or leave it empty",
}
_NEARLY_SOURCE_YAML = re.compile(r"sources?\.ya?ml", re.IGNORECASE).fullmatch
_HIDDEN = re.compile(NO_IMAGE[0][0]).search


@dataclass(frozen=True)
class OwnRows:
    """What was read of a user's own source.

    Attributes
    ----------
    source : Source
        The facts, as a record like those of the 40.
    table : pyarrow.Table of schema.CATALOG
    rejected : DataFrame
        Rows of the image table that can't be used: `source`, `id`, `file`, `reason`, `detail`.
    """

    source: Source
    table: pa.Table
    rejected: pd.DataFrame


def read_own_source(
    root: Root, table: str, folder: Folder, vocabulary: Vocabulary | None = None, *, strict: bool = False
) -> OwnRows:
    """Read a user's own source.

    Parameters
    ----------
    root : Root
        The folder below RAW, or the zip.
    table : str
        The image table, relative to `root`.
    folder : Folder
        Of the same path; its `counts` are filled in.
    vocabulary : Vocabulary, optional
        Counts the changes by each spelling rule.
    strict : bool
        Raise an error if a row can't be used.

    Raises
    ------
    MetadataError
        If the table or `source.yaml` is damaged, a column or key is misspelt, or nothing labels the images.
    """
    where = posixpath.join(root.path, table)
    files = _zip_members(root, folder.counts) if root.is_zip else folder.files().to_pylist()
    facts = read_facts(root, posixpath.dirname(table), files, folder.dir_name)
    images = read_image_table(root.path if root.is_zip else where, existing=frozenset(files), strict=strict)
    images = _without_bars(images, strict)
    columns = _columns(images, facts, where)
    rows = _rows(images, columns, facts, where)
    below = posixpath.basename(root.path)
    rows["channels"] = ["|".join(f"{below}/{place}" for place in places) for places in rows.pop("places")]
    rows = rows.sort_values(["file", "channels", "id"], kind="stable", ignore_index=True)
    source = _record(folder.dir_name, facts, files=images.rows[images.files[0]], count=len(rows))
    catalogue = as_catalogue(source, rows, vocabulary or Vocabulary(), below=below)
    _count(folder.counts, images, columns, files, table)
    folder.counts.rows = len(rows)
    folder.counts.remarks += _remarks(images, columns, facts)
    if folder.dir_name in SOURCES:
        folder.counts.remarks.append("read by its image table, not by the reader of the known source of this name")
    rejected = images.rejected.assign(source=folder.dir_name)[["source", *images.rejected.columns]]
    return OwnRows(source, catalogue, rejected)


def read_facts(root: Root, base: str, files: list[str], dir_name: str) -> Facts:
    """Read `source.yaml` in the folder `base` of a source; without it, the source is called `dir_name`.

    Raises
    ------
    MetadataError
        As `source_yaml.parse`; or if a file has nearly this name.
    """
    name = posixpath.join(base, source_yaml.NAME)
    for file in files:
        if posixpath.dirname(file) == base and file != name and _NEARLY_SOURCE_YAML(posixpath.basename(file)):
            raise MetadataError(
                f"The file {file!r} is not read", where=root.path, next=f"Call it {source_yaml.NAME}, or remove it."
            )
    if root.is_zip and name not in files:
        return Facts(name=dir_name)
    try:
        # an inventory (files.txt) need not list it
        return source_yaml.parse(root.read_bytes(name), posixpath.join(root.path, name), dir_name)
    except FileNotFoundError:
        return Facts(name=dir_name)


def _zip_members(root: Root, counts: Counts) -> list[str]:
    """Return the files in a zip, each once; further entries of the same name are counted as skipped."""
    names = [entry.filename for entry in zips.open_zip(root.path).infolist() if not entry.is_dir()]
    counts.listed += len(names)
    unique = sorted(set(names))
    if repeated := len(names) - len(unique):
        counts.skipped["listed twice"] += repeated
    return unique


def _without_bars(images: ImageTable, strict: bool) -> ImageTable:
    """Reject rows whose path contains a bar, which separates the channels of a catalogue row."""
    places = images.rows[images.files]
    barred = places.apply(lambda column: column.str.contains("|", regex=False)).any(axis=1)
    bad = pd.DataFrame(
        {
            "id": images.rows["id"][barred],
            "file": places.iloc[:, 0][barred],
            "reason": "unusable_name",
            "detail": "a path of a source may not contain |",
        }
    )
    return images.without(bad, strict=strict) if len(bad) else images


def _columns(images: ImageTable, facts: Facts, where: str) -> dict[str, str]:
    """Return which column of the table is which of `COLUMNS`; columns without a meaning are left out.

    Raises
    ------
    MetadataError
        If a column is probably a misspelt one, two columns are the same, or nothing labels the images.
    """
    found: dict[str, str] = {}
    for name in images.metadata:
        known = plain(name)
        if known in COLUMNS:
            if known in found:
                raise MetadataError(f"Two columns are {known!r}: {found[known]!r} and {name!r}", where=where)
            found[known] = name
    # `group` and `label` are found by the image table, which leaves them empty if the table has none
    absent = [known for known in COLUMNS if known not in found]
    absent += [key for key in ("group", "label") if not images.has(key)]
    for name in images.metadata:
        meant = "" if plain(name) in COLUMNS or plain(name).startswith(FREE) else suggestion(name, absent)
        if meant:
            raise MetadataError(
                f"Unknown column {name!r}",
                where=where,
                next=f"Did you mean {meant!r}? If not, call it 'Metadata_{name}'.",
            )
    if facts.label:
        if not images.has("label"):
            raise MetadataError(
                f"There is no column `label`; {source_yaml.NAME} has `label: {facts.label}`", where=where
            )
        if facts.label in found:
            raise MetadataError(f"Both `label` and {found[facts.label]!r} are {facts.label}", where=where)
        found[facts.label] = "label"
    if not set(found) & set(schema.LABEL_COLUMNS):
        if images.has("label"):
            raise MetadataError(
                "It is not known what kind of label `label` is",
                where=where,
                next=f"Write `label: phenotype` into {source_yaml.NAME}, or rename the column. There are "
                f"{', '.join(schema.LABEL_COLUMNS)}.",
            )
        if not facts.labels:
            raise MetadataError(
                "No column labels the images",
                where=where,
                next=f"Add one of {', '.join(schema.LABEL_COLUMNS)} to the table, or to {source_yaml.NAME}.",
            )
    return found


def _rows(images: ImageTable, columns: Mapping[str, str], facts: Facts, where: str) -> pd.DataFrame:
    """Return one row per field: `id`, `file`, `places`, `stains`, labels, and `catalogue_rows.ROW_COLUMNS`.

    A channel in transmitted light becomes a row of its own, which shows no stained part of the cell. All rows of one
    sample are in one group.
    """
    stains = _stains(images, facts, where)
    texts = {known: as_text(images.rows[name]) for known, name in columns.items()}
    rows = pd.DataFrame({"id": images.rows["id"], "group": images.rows["group"], **texts})
    for known in set(rows) & {"control", *NUMBERS}:
        rows[known] = _standard_cells(rows, known, columns[known], where)
    if "well" in rows:
        rows["well"] = well_names(rows["well"])
    if "microscopy" in rows:
        rows["microscopy"] = rows["microscopy"].str.lower()
    for known, value in {**facts.labels, "microscopy": facts.microscopy, "licence": facts.licence}.items():
        rows[known] = rows[known].where(rows[known] != "", value) if known in rows else value
    stained = [n for n, stain in enumerate(stains) if stain != BRIGHTFIELD]
    parts = [stained] * bool(stained) + [[n] for n, stain in enumerate(stains) if stain == BRIGHTFIELD]
    if len(parts) > 1:
        rows["group"] = rows["group"].where(rows["group"] != "", "sample " + rows["id"])
    fields = []
    for channels in parts:
        places = images.rows[[images.files[n] for n in channels]]
        field = rows.assign(
            file=places.iloc[:, 0].map(file_of).astype("str"),
            places=pd.Series(places.to_numpy().tolist(), index=rows.index),
            stains="|".join(stains[n] for n in channels),
        )
        if stains[channels[0]] == BRIGHTFIELD:
            field["microscopy"] = BRIGHTFIELD
            if len(parts) > 1 and "cell_visible" in field:
                field["cell_visible"] = ""
        fields.append(field)
    return pd.concat(fields, ignore_index=True)


def _standard_cells(rows: pd.DataFrame, known: str, name: str, where: str) -> pd.Series:
    """Return the cells of a column of controls or numbers in the standard spelling.

    Raises
    ------
    MetadataError
        If a cell that is not empty is neither.
    """
    found = {}
    for text in rows[known].unique():
        value = control_of(text) if known == "control" else number_of(text, known)
        if text and not value:
            sample = rows.loc[rows[known] == text, "id"].iloc[0]
            raise MetadataError(
                f"Column {name!r} of the image {sample!r} has {text!r}",
                where=where,
                next=f"{_EXPECTED[known]}. For another meaning, call the column 'Metadata_{name}'.",
            )
        found[text] = str(value or "")
    return rows[known].map(found).astype("str")


def _stains(images: ImageTable, facts: Facts, where: str) -> list[str]:
    """Return the stain of each channel: as stated, else the channel's name."""
    for channel in facts.stains:
        if channel not in images.channels:
            meant = suggestion(channel, images.channels)
            names = ", ".join(map(repr, images.channels)) if images.channels != ("",) else "one, without a name"
            raise MetadataError(
                f"The stains in {source_yaml.NAME} name the channel {channel!r}, which the table does not have",
                where=where,
                next=f"Did you mean {meant!r}?" if meant else f"Its channels: {names}.",
            )
    return [facts.stains.get(channel, channel.lower().replace("|", " ")) for channel in images.channels]


def _record(dir_name: str, facts: Facts, files: pd.Series, count: int) -> Source:
    """Return the facts as a record like those of the 40 sources."""
    suffixes = files.map(lambda place: posixpath.splitext(file_of(place))[1].lstrip(".").lower())
    # names of channels are no parts of a cell; stated stains are
    labels: dict[str, Any] = {"cell_visible": None if facts.stains else ""}
    labels |= {name: standard(value, name) for name, value in facts.labels.items()}
    return Source(
        dir_name=dir_name,
        database=facts.database,
        name=facts.name,
        link=facts.link,
        licence=facts.licence,
        licence_verified=True,
        citation=facts.citation,
        tried="image table",
        images=count,
        formats=tuple(sorted(set(suffixes))),
        microscopy=facts.microscopy,
        stains=dict(facts.stains),
        **labels,
    )


def _count(counts: Counts, images: ImageTable, columns: Mapping[str, str], files: list[str], table: str) -> None:
    """Fill in the counts: every file is used or skipped for a reason, every row of the table used or left out."""
    used = {file_of(place) for column in images.files for place in images.rows[column]}
    tables = {table, posixpath.join(posixpath.dirname(table), source_yaml.NAME)}
    for file in files:
        if file not in used:
            reason = "not an image file" if file in tables else "in no usable row of the image table"
            counts.skipped["hidden file" if _HIDDEN(file) else reason] += 1
    counts.used = len(used)
    counts.offered = images.offered
    counts.rejected = dict(sorted(Counter(images.rejected["reason"].tolist()).items()))
    counts.labels_without_image = counts.rejected.get("missing_channel", 0)
    labels = [columns[name] for name in schema.LABEL_COLUMNS if name in columns]
    if labels:
        counts.unlabelled = int((images.rows[labels].apply(as_text) == "").all(axis=1).sum())


def _remarks(images: ImageTable, columns: Mapping[str, str], facts: Facts) -> list[str]:
    """Return what else a user should know."""
    used = set(columns.values())
    ignored = [name for name in images.metadata if name not in used]
    ignored += [name for name in ("label", "split") if images.has(name) and name not in used]
    remarks = [*images.notes]
    if ignored:
        remarks.append(f"columns that a source does not use: {', '.join(ignored)}")
    if not images.has("group"):
        plates = ", and without --split by-plate those of one plate" if "plate" in columns else " or plate"
        remarks.append(f"no column `group`: images of one donor or movie{plates} may be in both splits")
    if facts.licence == source_yaml.NO_LICENCE and "licence" not in columns:
        remarks.append(f"no licence is stated, in {source_yaml.NAME} or a column `licence`")
    return remarks
