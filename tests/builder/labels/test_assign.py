"""Weak labels: the invariants over random tables, and the greedy order against a slow, obvious implementation."""

import numpy as np
import pandas as pd
import pytest
from cytoimagenet import assign_labels
from cytoimagenet.builder.errors import MetadataError, SchemaError, UsageError
from cytoimagenet.builder.labels import assign as under_test
from cytoimagenet.builder.schema import CATALOG, LABEL_COLUMNS, SELECTION, check, empty
from hypothesis import given, settings
from hypothesis import strategies as st

ODD = [
    "human",
    "a|b",
    "b",
    "(s)-1,2-diol",
    "cd8+ t cell",
    '5"-x',
    "o'brien",
    "µ-opioid; β",
    "b (gene)",
    "[3h]",
    "=1+1",
    "naïve",
    " ",
    "nucleus|actin|nucleus",
    "",
    "|",
]


def table(rows, **columns):
    """Make a catalogue of `rows` rows in which only the named columns are filled."""
    frame = pd.DataFrame({name: [empty(name)] * rows for name in CATALOG.names})
    frame["idx"] = [f"source-{i}" for i in range(rows)]
    frame["magnification"], frame["pixel_size"] = 20.0, np.arange(rows) / 8
    for name, values in columns.items():
        frame[name] = pd.Series(values, dtype="str")
    return frame


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 30))
    columns = {
        name: draw(st.lists(st.sampled_from(ODD), min_size=rows, max_size=rows))
        for name in draw(st.sets(st.sampled_from(["name", *LABEL_COLUMNS]), min_size=1))
    }
    return table(rows, **columns)


def holders(frame, column, label, rule):
    rows = zip(frame["idx"], frame[column], strict=True)
    return {idx for idx, value in rows if label in labels_of(value, column, rule)}


def labels_of(value, column, rule):
    found = {part for part in value.split("|") if part}
    return set() if rule == "unambiguous" and column in ("organism", "cell_type") and len(found) > 1 else found


def obvious(frame, min_images, rule):
    """The rule, one label after the other: which labels are visited in which order, and how many rows each has left.

    Which rows a sample takes is not for an oracle to know: `checked` follows what was taken, label by label.
    """
    found = []
    for column in LABEL_COLUMNS:
        for label in {label for value in frame[column] for label in labels_of(value, column, rule)}:
            rows = holders(frame, column, label, rule)
            if len(rows) >= min_images:
                found.append((len(rows), label, LABEL_COLUMNS.index(column), rows))
    found.sort(key=lambda item: item[:3])
    same = {}
    for count, label, column, rows in found:
        same.setdefault(label, []).append((-count, column, rows))
    names = {}
    for label, columns in same.items():
        kept = []
        for _, column, rows in sorted(columns, key=lambda item: item[:2]):
            if rows not in kept:  # more rows first; the same rows once
                kept.append(rows)
                name = label if len(kept) == 1 else f"{label} ({LABEL_COLUMNS[column]})"
                while len(kept) > 1 and (name in same or name in names.values()):
                    name += f" ({LABEL_COLUMNS[column]})"
                names[label, column] = name
    return [(names[label, column], column, rows) for _, label, column, rows in found if (label, column) in names]


def checked(frame, min_images, max_images, labels="published", **more):
    """Assign, check every invariant, and return the selection."""
    selection = assign_labels(frame, min_images=min_images, max_images=max_images, labels=labels, **more)
    assert list(selection.columns) == SELECTION.names
    check(selection, SELECTION)
    assert selection["idx"].is_unique
    assert (list(zip(selection["label"], selection["idx"], strict=True))) == sorted(
        zip(selection["label"], selection["idx"], strict=True)
    )
    taken = set()
    classes = {label: set(group["idx"]) for label, group in selection.groupby("label")}
    potential = obvious(frame, min_images, labels)
    for name, column, rows in potential:
        left = rows - taken
        got = classes.pop(name, set())
        if len(left) < min_images:
            assert not got, name
            continue
        assert got <= left
        assert len(got) == min(len(left), max_images)
        assert set(selection.loc[selection["label"] == name, "category"]) == {LABEL_COLUMNS[column]}
        taken |= got
    assert not classes
    names = set(selection["label"])
    of_classes = [(name, rows) for name, _, rows in potential if name in names]
    for idx, own, others in selection[["idx", "label", "alternatives"]].itertuples(index=False):
        assert others == "|".join(sorted(name for name, rows in of_classes if idx in rows and name != own))
    source = frame.set_index("idx")
    for column in CATALOG.names[1:]:
        assert selection[column].tolist() == source.loc[selection["idx"], column].tolist()
    return selection


@given(
    tables(),
    st.integers(1, 6),
    st.integers(0, 8),
    st.sampled_from(["proportional", "sqrt"]),
    st.sampled_from(["published", "unambiguous"]),
)
@settings(max_examples=150)
def test_invariants_over_random_tables(frame, min_images, more, allocation, labels):
    checked(frame, min_images, min_images + more, allocation=allocation, labels=labels)


def test_alternatives_are_labels_by_the_published_rule_only():
    mixed = {"organism": ["human|mouse|fly"] * 4 + ["human", "fly|fly"], "cell_visible": ["nucleus|actin"] * 6}
    frame = table(6, **mixed)
    published = checked(frame, 1, 10)
    assert published["label"].value_counts().to_dict() == {"mouse": 4, "fly": 1, "human": 1}
    # the other columns keep all values, since they are true together; fly|fly is one value
    unambiguous = checked(frame, 1, 10, labels="unambiguous")
    assert unambiguous["label"].value_counts().to_dict() == {"actin": 4, "fly": 1, "human": 1}
    assert published.equals(assign_labels(frame, min_images=1, max_images=10)), "the function follows the paper"


def test_both_rules_agree_where_nothing_is_ambiguous(rng):
    compounds = [f"a|b{i}" for i in rng.integers(0, 9, 80)]
    frame = table(80, organism=rng.choice(["human", "mouse", ""], 80), compound=compounds)
    one, other = (checked(frame, 3, 10, labels=rule) for rule in ("published", "unambiguous"))
    pd.testing.assert_frame_equal(one, other)


def test_alternatives_are_other_classes_of_the_row():
    frame = table(
        6,
        organism=["human"] * 5 + ["human|mouse"],
        cell_visible=["nucleus|actin", "actin", "nucleus", "rare", "", "actin"],
        compound=["dmso", "actin", "", "", "dmso", "dmso"],
    )
    found = checked(frame, 2, 10, labels="unambiguous").set_index("idx").sort_index()
    # rarest first: nucleus (2 rows), then actin and dmso (3), then human (5); rare and the compound actin have 1 row
    assert found["label"].tolist() == ["nucleus", "actin", "nucleus", "human", "human", "actin"]
    assert found["alternatives"].tolist() == ["actin|human", "human", "human", "", "", ""]
    published = checked(frame, 1, 10).set_index("idx").sort_index()
    assert published["label"].tolist() == ["nucleus", "actin (compound)", "nucleus", "rare", "dmso", "mouse"]
    assert published["alternatives"].tolist() == ["dmso", "", "", "", "", "dmso"]


@given(tables(), st.randoms(use_true_random=False), st.integers(0, 3))
@settings(max_examples=25)
def test_row_order_chunks_and_types_do_not_matter(frame, random, seed):
    import pyarrow as pa

    settings_ = {"min_images": 2, "max_images": 4, "seed": seed}
    expected = assign_labels(frame, **settings_)
    shuffled = frame.iloc[random.sample(range(len(frame)), len(frame))]
    variants = [
        shuffled,
        shuffled.astype("category"),
        shuffled.astype(object).replace("", None),
        shuffled.astype(pd.ArrowDtype(pa.large_string())),
        pd.concat([frame.iloc[:7], frame.iloc[7:]]),
        pd.concat(
            [frame.iloc[:7].astype(pd.ArrowDtype(pa.string())), frame.iloc[7:].astype(pd.ArrowDtype(pa.string()))]
        ),
        frame[frame.columns[::-1]],
    ]
    for variant in variants:
        pd.testing.assert_frame_equal(assign_labels(variant, **settings_), expected)


def test_rarest_first():
    frame = table(6, organism=["human"] * 6, compound=["taxol"] * 2 + [""] * 4)
    selection = checked(frame, 2, 10)
    assert selection["label"].tolist() == ["human"] * 4 + ["taxol"] * 2
    assert selection["category"].tolist() == ["organism"] * 4 + ["compound"] * 2


def test_what_rarer_labels_leave_may_be_too_little():
    frame = table(5, organism=["human"] * 5, compound=["taxol"] * 3 + [""] * 2)
    assert set(checked(frame, 3, 10)["label"]) == {"taxol"}


def test_a_label_of_two_columns_with_the_same_rows_is_one():
    frame = table(6, gene=["tp53"] * 3 + [""] * 3, sirna=["tp53"] * 3 + [""] * 3)
    selection = checked(frame, 2, 10)
    assert set(zip(selection["label"], selection["category"], strict=True)) == {("tp53", "gene")}


def test_a_label_of_two_columns_with_different_rows_is_two():
    frame = table(9, gene=["tp53"] * 4 + [""] * 5, sirna=[""] * 4 + ["tp53"] * 5)
    selection = checked(frame, 2, 10)
    assert selection["label"].value_counts().to_dict() == {"tp53": 5, "tp53 (gene)": 4}


def test_the_name_of_a_second_column_may_be_taken():
    frame = table(
        14,
        gene=["tp53"] * 4 + [""] * 10,
        sirna=[""] * 4 + ["tp53"] * 5 + [""] * 5,
        compound=[""] * 9 + ["tp53 (gene)"] * 5,
    )
    selection = assign_labels(frame, min_images=2, max_images=10)
    assert selection["label"].value_counts().to_dict() == {"tp53": 5, "tp53 (gene)": 5, "tp53 (gene) (gene)": 4}


def test_ties_go_by_text_then_by_column():
    frame = table(6, compound=["b", "b", "b|a", "a", "a", ""], gene=["", "", "", "", "", ""])
    frame["phenotype"] = ["", "", "c", "", "c", "c"]
    # a, b and c have three rows each: a is first and leaves b two, c one
    assert checked(frame, 2, 10)["label"].tolist() == ["a", "a", "a", "b", "b"]


def test_seeds_sample_different_rows_and_the_same_seed_the_same(monkeypatch):
    frame = table(300, organism=["human"] * 300, cell_type=[["hela", "u2os", "a549"][i % 3] for i in range(300)])
    frame["cell_type"] = frame["cell_type"].where(frame.index >= 250, "")
    first, again, other = (assign_labels(frame, min_images=60, max_images=100, seed=s) for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert set(first["idx"]) != set(other["idx"]) and len(other) == 100


@pytest.mark.parametrize("presample", [100, 10_000])
def test_samples_are_taken_over_the_columns_of_the_rule(monkeypatch, presample, rng):
    monkeypatch.setattr(under_test, "PRESAMPLE", presample)
    rows = 1000
    frame = table(rows, organism=["human"] * rows)
    for column, values in (("name", 40), ("cell_type", 150), ("compound", 150)):
        frame[column] = (f"{column} " + pd.Series(rng.integers(0, values, rows)).astype(str)).astype("str")
    seen = []
    real = under_test.sample

    def spy(strata, target, allocation):
        seen.append((len(strata), len(np.unique(strata)), target))
        return real(strata, target, allocation)

    monkeypatch.setattr(under_test, "sample", spy)
    checked(frame, 50, 50)
    combinations = len(frame[["name", "cell_type"]].drop_duplicates())
    if presample == 100:  # the first sample uses up name and cell_type; compound is left for the second
        assert seen[0] == (1000, combinations, 100)
        assert seen[1][0] == 100 and seen[1][2] == 50 and 50 < seen[1][1] <= 100
    else:
        assert seen == [(1000, len(frame[["cell_type", "compound"]].drop_duplicates()), 50)]


def test_an_idx_twice_is_refused():
    frame = table(4, organism=["human"] * 4)
    frame.loc[3, "idx"] = "source-1"
    with pytest.raises(MetadataError, match="source-1"):
        assign_labels(frame, min_images=2)


def test_equal_hashes_of_different_names_are_no_duplicate(monkeypatch):
    frame = table(40, organism=["human"] * 40)
    monkeypatch.setattr(pd.util, "hash_array", lambda values, **_: np.arange(len(values), dtype=np.uint64) // 7)
    first = assign_labels(frame, min_images=2, max_images=5)
    monkeypatch.setattr(pd.util, "hash_array", lambda values, **_: np.zeros(len(values), np.uint64))
    shuffled = [assign_labels(f, min_images=2, max_images=5) for f in (frame, frame.iloc[::-1])]
    pd.testing.assert_frame_equal(*shuffled)
    assert len(first) == 5


def test_settings_and_columns_are_checked():
    frame = table(4, organism=["human"] * 4)
    for wrong in ({"min_images": 0}, {"min_images": 10, "max_images": 5}, {"allocation": "equal"}, {"labels": "x"}):
        with pytest.raises(UsageError):
            assign_labels(frame, **wrong)
    with pytest.raises(SchemaError, match="gene"):
        assign_labels(frame.drop(columns="gene"))
    with pytest.raises(SchemaError, match="compound"):
        assign_labels(frame.assign(compound=1.5))
    assert assign_labels(frame, min_images=5).empty
