"""Encode columns of text as integers, and order rows at random by a hash of their idx."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ..errors import MetadataError, SchemaError

_ROWS_HASHED_AT_ONCE = 2**18


@dataclass(frozen=True)
class Column:
    """One column as integers: `values[codes[i]]` is the text of row i. Code 0 is the empty text."""

    codes: NDArray[np.integer[Any]]
    values: list[str]


def to_arrow(series: pd.Series) -> pa.ChunkedArray:
    """Return a column of any text type as Arrow text, plain or dictionary-encoded.

    Raises
    ------
    SchemaError
        If the column contains anything but text.
    """
    if not len(series):
        return pa.chunked_array([], pa.string())
    try:
        array = pa.Array.from_pandas(series)
        chunked = array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
        kind = chunked.type.value_type if pa.types.is_dictionary(chunked.type) else chunked.type
        if pa.types.is_null(kind):
            return chunked.cast(pa.string())
        if pa.types.is_dictionary(chunked.type) and series.name == "idx":
            return chunked.cast(kind)
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return chunked
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"Column {series.name!r} is not text: {error}", where="catalogue") from error
    raise SchemaError(f"Column {series.name!r} is {kind}, not text", where="catalogue")


def encode(values: pa.ChunkedArray) -> Column:
    """Encode a column of text (plain or dictionary-encoded; nulls are unknown) as integers.

    The code of a text depends on the order of the rows. No result of `assign` depends on the codes.

    Examples
    --------
    >>> encode(pa.chunked_array([["human", None, "", "mouse", "human"]]))
    Column(codes=array([1, 0, 0, 2, 1], dtype=int16), values=['', 'human', 'mouse'])
    """
    encoded = values if pa.types.is_dictionary(values.type) else pc.dictionary_encode(values)
    whole = encoded.unify_dictionaries().combine_chunks()
    array = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) and whole.num_chunks else whole
    if len(array) == 0:
        return Column(np.zeros(0, np.int16), [""])
    known: dict[str, int] = {"": 0}
    remap = np.array([known.setdefault(text or "", len(known)) for text in array.dictionary.to_pylist()] or [0])
    indices = pc.fill_null(array.indices, 0).to_numpy(zero_copy_only=False)
    kind = np.int16 if len(known) < 2**15 else np.int32
    codes = remap.astype(kind)[indices]
    if array.null_count:
        codes[array.is_null().to_numpy(zero_copy_only=False)] = 0
    return Column(codes, list(known))


def row_order(chunks: Iterable[pa.Array | pa.ChunkedArray], seed: int) -> NDArray[np.intp]:
    """Return the rows in random order: by a keyed hash of idx, so that the order depends on (seed, idx) alone.

    Not `seeded.sort_keys`: the vectorised hash of pandas takes a third of the time.

    Parameters
    ----------
    chunks : iterable of Arrow arrays
        The idx of all rows.
    seed : int

    Raises
    ------
    MetadataError
        If two rows have the same idx, which must identify one row.
    """
    key = hashlib.blake2b(str(int(seed)).encode(), digest_size=8).hexdigest()  # 16 characters, as the hash requires
    parts: list[NDArray[np.uint64]] = []
    pieces: list[pa.Array] = []
    for chunk in chunks:
        for part in chunk.chunks if isinstance(chunk, pa.ChunkedArray) else [chunk]:
            for start in range(0, len(part), _ROWS_HASHED_AT_ONCE):
                pieces.append(pc.fill_null(part.slice(start, _ROWS_HASHED_AT_ONCE), ""))
                objects = pieces[-1].to_numpy(zero_copy_only=False)
                parts.append(pd.util.hash_array(objects, hash_key=key, categorize=False))
    hashes = np.concatenate([np.zeros(0, np.uint64), *parts])
    order = np.argsort(hashes)
    ordered = hashes[order]
    same = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(same):
        tied = np.union1d(same, same + 1)
        starts = np.cumsum([0, *map(len, pieces)])
        where = {int(i): int(np.searchsorted(starts, i, side="right")) - 1 for i in order[tied]}
        text = {i: pieces[k][i - int(starts[k])].as_py() for i, k in where.items()}
        by_text = sorted(map(int, order[tied]), key=lambda i: (hashes[i], text[i]))
        twice = next((text[a] for a, b in pairwise(by_text) if text[a] == text[b]), None)
        if twice is not None:
            raise MetadataError(f"The idx {twice!r} occurs twice; it must identify one row", where="catalogue")
        order[tied] = by_text  # different texts with one hash
    return order
