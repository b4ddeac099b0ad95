"""Catalogue rows: a source's rows with all columns of the catalogue, and labels in their standard spelling."""

from __future__ import annotations

from difflib import get_close_matches

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .. import schema
from ..errors import MetadataError
from .channel_types import types_of
from .provenance import NUMBERS, PROVENANCE
from .record import BRIGHTFIELD, Source
from .vocabulary import Vocabulary

ROW_COLUMNS = ("microscopy", "licence", "group", "channel_type", *PROVENANCE)
"""Columns that a source may give to each row, in addition to labels."""


def as_catalogue(source: Source, rows: pd.DataFrame, vocabulary: Vocabulary, *, below: str = "") -> pa.Table:
    """Return the rows with all columns of schema.CATALOG, labels in their standard spelling.

    Parameters
    ----------
    source : Source
    rows : DataFrame of str
        Sorted. `file`, `channels`, `stains`, and any of the label columns and `ROW_COLUMNS`; a number
        is written with a point, and is empty where it is not known.
    vocabulary : Vocabulary
    below : str
        What `file` is relative to, below RAW; by default the source's folder.
    """
    n, below = len(rows), below or source.dir_name

    def text(name: str) -> pa.Array:
        return text_array(rows[name])

    def constant(value: str) -> pa.Array:
        return pa.repeat(pa.scalar(value, pa.large_string()), n)

    stains = text("stains")
    columns: dict[str, pa.Array] = {
        "idx": concatenate(f"{source.dir_name}-", pa.array(np.arange(n)).cast(pa.large_string())),
        "database": constant(source.database),
        "name": constant(source.name),
        "dir_name": constant(source.dir_name),
        "path": pc.replace_substring_regex(concatenate(f"{below}/", text("file")), r"(?s)/[^/]*$", ""),
        "filename": pc.replace_substring_regex(text("file"), r"(?s)^.*/", ""),
        "microscopy": pc.if_else(pc.equal(stains, BRIGHTFIELD), BRIGHTFIELD, constant(source.microscopy)),
        "channels": text("channels"),
        "stains": stains,
        "licence": constant(source.licence_label),
        "channel_type": types_of(stains),
    }
    columns |= {name: constant("") for name in schema.ADDED if name in schema.CATALOG.names and name not in columns}
    visible = pc.if_else(
        pc.equal(stains, BRIGHTFIELD),
        "",
        pc.replace_substring(stains, "/", "|") if source.cell_visible is None else source.cell_visible,
    )
    for name in schema.LABEL_COLUMNS:
        raw = text(name) if name in rows else visible if name == "cell_visible" else constant(getattr(source, name))
        columns[name] = vocabulary.apply(raw, name)
    columns |= {name: text(name) for name in ROW_COLUMNS if name in rows}
    columns |= {name: as_numbers(columns[name]) for name in NUMBERS}
    return pa.table(
        {field.name: columns[field.name].cast(field.type) for field in schema.CATALOG}, schema=schema.CATALOG
    )


def as_numbers(texts: pa.Array) -> pa.Array:
    """Return texts as numbers, null where a text is empty; each distinct text is converted once."""
    coded = texts.dictionary_encode()
    values = pa.array([float(text) if text else None for text in coded.dictionary.to_pylist()], pa.float64())
    return pc.take(values, coded.indices)


def refuse_unknown(columns: set[str], source: Source) -> None:
    """Raise an error for a column that the labels function added and nothing reads, such as a misspelt one."""
    known = (*schema.LABEL_COLUMNS, *ROW_COLUMNS)
    for name in sorted(columns - set(known)):
        near = get_close_matches(name.lower(), known, n=1)
        raise MetadataError(
            f"The labels function added a column {name!r}, which nothing reads",
            where=f"source {source.dir_name}",
            next=f"Did you mean {near[0]!r}?" if near else f"Drop it, or name it one of {', '.join(known)}.",
        )


def text_array(values: pd.Series) -> pa.Array:
    """Return a column as one array of strings, empty text for null."""
    array = pa.array(values, pa.large_string())
    return pc.fill_null(array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array, "")


def concatenate(*parts: str | pa.Array) -> pa.Array:
    """Concatenate texts element by element; a single text is used for every element."""
    texts = [pa.scalar(part, pa.large_string()) if isinstance(part, str) else part for part in parts]
    return pc.binary_join_element_wise(*texts, pa.scalar("", pa.large_string()))
