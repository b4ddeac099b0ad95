"""From a source's files to its catalogue rows: match file names, gather the channels of each field, add labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import MetadataError, UsageError
from .catalogue_rows import as_catalogue, concatenate, refuse_unknown, text_array
from .folder import IMAGE, Folder
from .measurement_index import with_index
from .provenance import with_places
from .record import Source
from .vocabulary import Vocabulary

SEPARATOR = "\x1f"  # between the parts of a key; no file name or table cell contains it
NO_IMAGE: tuple[tuple[str, str], ...] = (
    (r"(^|/)(\.[^/]*|__MACOSX|Thumbs\.db)(/|$)", "hidden file"),
    (r"\||#(xywh|page)=", "name that can't be written into a list of channels"),
    (r"(?i)_thumb[^/]*$", "thumbnail"),
    (r"(?i)(^|/)[^/]*(masks?|ground_?truth)/", "mask"),
)
"""Files that are never images of a source, each with the reason under which they are counted."""


def read_source(source: Source, folder: Folder, vocabulary: Vocabulary | None = None) -> pa.Table:
    """Read one source's folder.

    Parameters
    ----------
    source : Source
        Its record.
    folder : Folder
        The source's folder; its `counts` are filled in.
    vocabulary : Vocabulary, optional
        Counts the changes by each spelling rule.

    Returns
    -------
    pyarrow.Table of schema.CATALOG
        Sorted by path; `idx` is the source's name and a number from 0.
    """
    rows = gather(source, folder)
    if source.labels is not None:
        gathered = set(rows.columns)
        rows = source.labels(rows, folder).reset_index(drop=True)
        refuse_unknown(set(rows.columns) - gathered, source)
    table = as_catalogue(source, with_places(source, with_index(rows, folder)), vocabulary or Vocabulary())
    folder.counts.rows = table.num_rows
    return table


def gather(source: Source, folder: Folder) -> pd.DataFrame:
    """Return one row per field of view of a source, sorted by path, without labels.

    Returns
    -------
    DataFrame of str
        The named groups of the pattern (without `channel`), `file`, `channels`, `stains`, and `channel`: the channel
        of a row that has a single one (`Source.apart`), empty otherwise. `group` where the record names a movie or
        donor, or several rows are of one field.
    """
    counts = folder.counts
    order = list(source.stains or {"": ""})
    files, rank, parts = _match(source, folder, order)
    apart = np.array([name in source.apart for name in order])[rank]
    whole = _number_fields(list(parts.values()), len(files))  # of all channels, also of those that become rows
    field = whole * (len(order) + 1) + np.where(apart, rank + 1, 0)
    sequence = np.lexsort((np.arange(len(files)), rank, field))
    field, rank = field[sequence], rank[sequence]
    again = np.zeros(len(field), bool)
    again[1:] = (field[1:] == field[:-1]) & (rank[1:] == rank[:-1])
    counts.skipped["second file of a channel"] += int(again.sum())
    counts.skipped = +counts.skipped
    sequence, field, rank = sequence[~again], field[~again], rank[~again]
    counts.used = len(sequence)

    starts = np.flatnonzero(np.diff(field, prepend=-1)) if len(field) else np.zeros(0, np.int64)
    sizes = np.diff(starts, append=len(field))
    # two names of one stain (idr0081, imaged at two sites) are one channel of a field
    complete = len({stain for name, stain in source.stains.items() if name not in source.apart})
    alone = apart[sequence[starts]]
    if lacking := int((~alone & (sizes < complete)).sum()):
        counts.notes["fields that lack a channel"] += lacking

    first = sequence[starts]
    by_path = np.argsort(first, kind="stable")  # files are sorted, so the number of its first file orders a row
    first, pick = pa.array(first[by_path]), pa.array(by_path)
    columns = {name: values.take(first).dictionary_decode() for name, values in parts.items()}
    columns["file"] = files.take(first)
    if source.group:
        columns["group"] = _joined_parts([columns[name] for name in source.group])
    elif source.apart:
        columns["group"] = files.take(pa.array(_first_of_each(whole)[whole[first.to_numpy()]]))
    del parts  # of millions of names: the next step needs the memory
    page = "" if source.page is None else f"#page={source.page}"
    located = concatenate(f"{source.dir_name}/", files.take(pa.array(sequence)), page)
    stains = pa.array([source.stains.get(name, "") for name in order], pa.large_string())
    tokens = pa.array(["", *order], pa.large_string())
    columns |= {
        "channels": _join_runs(located, starts).take(pick),
        "stains": _join_runs(stains.take(pa.array(rank)), starts).take(pick),
        "channel": tokens.take(pa.array(np.where(alone, rank[starts] + 1, 0)[by_path])),
    }
    return pa.table(columns).to_pandas()


def _match(
    source: Source, folder: Folder, order: Sequence[str]
) -> tuple[pa.Array, NDArray[np.int64], dict[str, pa.DictionaryArray]]:
    """Return the files whose name matches, sorted; the index of each one's channel in `order`; the other groups."""
    files = _images(source, folder)
    with _named_pattern(source, source.pattern):
        groups = pc.extract_regex(pc.replace_substring_regex(files, IMAGE, ""), f"(?is){source.pattern}")
    files, groups = _only(groups.is_valid(), "name is not of this source", folder, files, groups)
    parts = {field.name: groups.field(i) for i, field in enumerate(groups.type)}
    channel = parts.pop("channel", pa.repeat(pa.scalar("", pa.large_string()), len(files)))
    rank = pc.index_in(pc.utf8_lower(channel), pa.array(order, pa.large_string()))
    known = rank.is_valid()
    parts = {name: values.filter(known).dictionary_encode() for name, values in parts.items()}
    files, rank = _only(known, "channel is not of this source", folder, files, rank)
    return files, rank.to_numpy(zero_copy_only=False).astype(np.int64), parts


def _only(keep: pa.BooleanArray, reason: str, folder: Folder, *arrays: pa.Array) -> list[pa.Array]:
    """Keep some of the files; count the others as skipped for a reason."""
    folder.counts.skipped[reason] += len(keep) - keep.true_count
    return [array.filter(keep) for array in arrays]


def join_labels(
    rows: pd.DataFrame, labels: pd.DataFrame | None, on: Sequence[str], folder: Folder, *, where: str = "label table"
) -> pd.DataFrame:
    """Add the columns of a label table to the rows that have the same key; count rows and keys without a match.

    Parameters
    ----------
    rows, labels : DataFrame of str
        Both have the columns `on`. If `labels` has a key several times, its distinct values are joined by `|`.
        If `labels` is None (there is no table), all rows count as unlabelled.
    on : sequence of str
        Key columns; complete strings are compared.
    folder : Folder
        Its `counts.unlabelled` and `counts.labels_without_image` are increased.
    where : str
        Named in the error.

    Returns
    -------
    DataFrame
        `rows` with the other columns of `labels`; empty text where a row has no label.

    Raises
    ------
    MetadataError
        If a key column is absent.

    Examples
    --------
    >>> rows = pd.DataFrame({"well": ["A01", "A02"]}, dtype="str")
    >>> table = pd.DataFrame({"well": ["A01", "B07"], "gene": ["tp53", "chr2"]}, dtype="str")
    >>> folder = Folder(".", "bbbc017")
    >>> join_labels(rows, table, ["well"], folder)["gene"].tolist()
    ['tp53', '']
    >>> folder.counts.unlabelled, folder.counts.labels_without_image
    (1, 1)
    """
    if labels is None:
        folder.counts.unlabelled += len(rows)
        return rows
    absent = [name for name in on if name not in labels.columns or name not in rows.columns]
    if absent:
        raise MetadataError(f"No column {', '.join(absent)} to match images and labels by", where=where)
    new = [name for name in labels.columns if name not in on]
    labels = one_line_per_key(labels, on)
    mine, theirs = text_array(_key(rows, on)), text_array(_key(labels, on))
    place = pc.index_in(mine, theirs)
    folder.counts.unlabelled += place.null_count
    folder.counts.labels_without_image += len(theirs) - len(pc.unique(place.drop_null()))
    found = {name: pc.fill_null(text_array(labels[name]).take(place), "") for name in new}
    return rows.assign(**pa.table(found).to_pandas().set_axis(rows.index)) if found else rows


def one_line_per_key(labels: pd.DataFrame, on: Sequence[str]) -> pd.DataFrame:
    """Join the lines of a table that have the same key: the distinct values of each column, with `|` between them.

    Examples
    --------
    >>> table = pd.DataFrame({"well": ["A01", "A02", "A01"], "gene": ["tp53", "plk1", "kif11"]}, dtype="str")
    >>> one_line_per_key(table, ["well"]).to_numpy().tolist()
    [['A02', 'plk1'], ['A01', 'tp53|kif11']]
    """
    labels = labels.drop_duplicates()
    key = _key(labels, on)
    twice = key.duplicated(keep=False)
    if not twice.any():
        return labels
    new = [name for name in labels.columns if name not in on]
    repeated = labels[twice]
    firsts = repeated.loc[~key[twice].duplicated(), list(on)].reset_index(drop=True)
    merged = repeated.groupby(key[twice], sort=False)[new].agg(_join_distinct).reset_index(drop=True)
    return pd.concat([labels[~twice], firsts.join(merged)[list(labels.columns)]], ignore_index=True)


def escape_bars(values: pd.Series) -> pd.Series:
    """Replace `|` by `/`, so that a bar in a name does not separate two values.

    Examples
    --------
    >>> escape_bars(pd.Series(["Nutlin-3|racemic"])).tolist()
    ['Nutlin-3/racemic']
    """
    return values.str.replace("|", "/", regex=False)


def _key(frame: pd.DataFrame, on: Sequence[str]) -> pd.Series:
    key = frame[on[0]]
    for name in on[1:]:
        key = key + SEPARATOR + frame[name]
    return key


def _join_distinct(values: pd.Series) -> str:
    return "|".join(dict.fromkeys(value for value in values if value))


def _images(source: Source, folder: Folder) -> pa.Array:
    """Return the paths of the files that may be images of the source; the others are counted by reason."""
    files = folder.files()
    [files] = _only(pc.invert(pc.match_substring_regex(files, NO_IMAGE[0][0])), NO_IMAGE[0][1], folder, files)
    [files] = _only(pc.match_substring_regex(files, IMAGE), "not an image file", folder, files)
    for pattern, reason in (*NO_IMAGE[1:], *source.skip):
        with _named_pattern(source, pattern):
            skipped = pc.match_substring_regex(files, pattern)
        [files] = _only(pc.invert(skipped), reason, folder, files)
    return files


@contextmanager
def _named_pattern(source: Source, pattern: str) -> Iterator[None]:
    """Turn pyarrow's error about a pattern into one that names the source and the pattern."""
    try:
        yield
    except pa.ArrowInvalid as error:
        problem = " ".join(str(error).split()).removeprefix("Invalid regular expression: ")
        raise UsageError(
            f"A pattern of the source {source.dir_name} is not valid: {problem}",
            where=pattern,
            next="It is an RE2 expression: every group has a name, (?P<name>...) or (?:...); no look-ahead.",
        ) from error


def _number_fields(parts: list[pa.DictionaryArray], n: int) -> NDArray[np.int64]:
    """Return for each of `n` files a number that is the same for files with equal texts in all columns."""
    code = np.zeros(n, np.int64)
    for encoded in parts:
        one = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        code = np.unique(code * max(len(encoded.dictionary), 1) + one, return_inverse=True)[1].astype(np.int64)
    return code


def _joined_parts(parts: list[pa.Array]) -> pa.Array:
    """Join texts element by element with slashes; a part may end in one already."""
    joined = pc.binary_join_element_wise(*parts, pa.scalar("/", pa.large_string()))
    return pc.replace_substring(joined, "//", "/")


def _first_of_each(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each number from 0 the first position that has it."""
    first = np.full(int(numbers.max(initial=-1)) + 1, len(numbers))
    np.minimum.at(first, numbers, np.arange(len(numbers)))
    return first


def _join_runs(values: pa.Array, starts: NDArray[np.int64]) -> pa.Array:
    """Join the values of each run with `|`; a run begins at each of `starts`."""
    offsets = pa.array(np.append(starts, len(values)), pa.int32())
    return pc.binary_join(pa.ListArray.from_arrays(offsets, values), pa.scalar("|", pa.large_string()))
