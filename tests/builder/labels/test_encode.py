"""Text columns as integers, and the seeded order of rows, with numbers made by hand."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from cytoimagenet.builder.errors import MetadataError, SchemaError
from cytoimagenet.builder.labels import encode as module
from cytoimagenet.builder.labels.encode import encode, row_order, to_arrow

TEXTS = ["human", None, "", "mouse", "human"]


@pytest.mark.parametrize(
    "values",
    [
        pa.chunked_array([TEXTS]),
        pa.chunked_array([TEXTS[:2], TEXTS[2:]]),
        pa.chunked_array([TEXTS], pa.large_string()),
        pa.chunked_array([TEXTS]).dictionary_encode(),
        pa.chunked_array([TEXTS[:3], TEXTS[3:]]).dictionary_encode(),
    ],
    ids=["one chunk", "two chunks", "large", "dictionary", "dictionary in chunks"],
)
def test_unknown_is_code_0_and_each_text_has_one_code(values):
    column = encode(values)
    assert column.values[0] == "" and sorted(column.values) == ["", "human", "mouse"]
    assert [column.values[code] for code in column.codes] == ["human", "", "", "mouse", "human"]
    assert column.codes[0] == column.codes[4] and column.codes[1] == column.codes[2] == 0


def test_unused_and_equal_entries_of_a_dictionary_are_no_further_texts():
    array = pa.DictionaryArray.from_arrays(pa.array([2, 0, 1, None]), pa.array(["a", "", "a", "never"]))
    column = encode(pa.chunked_array([array]))
    assert [column.values[code] for code in column.codes] == ["a", "a", "", ""]


def test_codes_are_wide_enough():
    assert encode(pa.chunked_array([[str(n) for n in range(2**15 - 2)]])).codes.dtype == np.int16
    column = encode(pa.chunked_array([[str(n) for n in range(2**15)]]))
    assert column.codes.dtype == np.int32 and column.codes.max() == 2**15
    assert encode(pa.chunked_array([], pa.string())).values == [""]


def test_only_text_becomes_arrow():
    assert to_arrow(pd.Series(["a", None])).to_pylist() == ["a", None]
    assert to_arrow(pd.Series([None, None])).type == pa.string()
    assert to_arrow(pd.Series([], dtype=float)).to_pylist() == []
    names = pd.Series(["a", "b", "a"], dtype="category")
    assert pa.types.is_dictionary(to_arrow(names.rename("gene")).type)
    assert not pa.types.is_dictionary(to_arrow(names.rename("idx")).type)  # all different: codes would save nothing
    with pytest.raises(SchemaError, match="'gene' is double, not text"):
        to_arrow(pd.Series([1.5], name="gene"))
    with pytest.raises(SchemaError, match="'gene' is not text"):
        to_arrow(pd.Series(["a", 1.5], name="gene"))


def test_the_order_of_rows_never_changes():
    names = pa.array([f"bbbc013-{n}" for n in range(8)])
    assert row_order([names], 0).tolist() == [6, 1, 4, 0, 5, 7, 3, 2]
    assert row_order([names], 1).tolist() == [7, 3, 2, 0, 4, 1, 5, 6]


def test_the_order_follows_the_names_in_whatever_chunks_they_come():
    names = [f"row {n}" for n in range(100)]
    expected = [names[i] for i in row_order([pa.array(names)], 5)]
    mixed = np.random.default_rng(0).permutation(names).tolist()
    halves = [pa.array(mixed[:30]), pa.array(mixed[30:])]
    for chunks in ([pa.array(mixed)], halves, [pa.chunked_array(halves)]):
        assert [mixed[i] for i in row_order(chunks, 5)] == expected


def test_equal_hashes_are_ordered_by_name_and_equal_names_are_refused(monkeypatch):
    monkeypatch.setattr(module.pd.util, "hash_array", lambda texts, **_: np.array([len(t) for t in texts], np.uint64))
    assert row_order([pa.array(["dd", "ccc", "b", "aa", "a"])], 0).tolist() == [4, 2, 3, 0, 1]
    with pytest.raises(MetadataError, match="The idx 'aa' occurs twice"):
        row_order([pa.array(["aa", "b"]), pa.array(["aa"])], 0)
