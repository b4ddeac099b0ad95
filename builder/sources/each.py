"""Apply a function to every distinct text of a column once."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def each(values: pd.Series, change: Callable[[str], str]) -> pd.Series:
    """Return `change` of each value; it is called once per distinct value.

    Examples
    --------
    >>> each(pd.Series(["a1", "b2", "a1"]), str.upper).tolist()
    ['A1', 'B2', 'A1']
    """
    texts = pa.array(values, pa.large_string())  # chunked if the values came from several tables
    coded = (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts).dictionary_encode()
    changed = pa.array([change(text) for text in coded.dictionary.to_pylist()], pa.large_string())
    return pd.Series(pc.take(changed, coded.indices).to_pandas(), dtype="str").set_axis(values.index)
