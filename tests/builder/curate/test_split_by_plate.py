"""`--split by-plate` and `by-well`: no plate, well or group is in both splits, and the account says what is true."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from cytoimagenet.builder import commands, schema
from cytoimagenet.builder.console import application
from cytoimagenet.builder.curate.decide import decide
from cytoimagenet.builder.curate.run import curate
from cytoimagenet.builder.curate.settings import Settings
from cytoimagenet.builder.curate.split import RULES, TOGETHER, source_groups, validation_target
from cytoimagenet.builder.curate.split_counts import count_split
from cytoimagenet.builder.dataset.describe import split_in_words
from cytoimagenet.builder.dataset.manifest import Manifest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.builder.shards.write import write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from .tried_by_hand import tried_of

ALL = Settings(min_class_size=1)
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),  # source
        st.sampled_from(["", "P1", "P2", "P3"]),
        st.sampled_from(["", "A01", "B02"]),
        st.sampled_from(["", "", "", "P1", "m"]),  # group
        st.sampled_from(["x", "y", "z"]),  # class
    ),
    min_size=1,
    max_size=40,
)


def decided(rows, split, seed=0):
    """Decide about rows (source, plate, well, group, class) with one image each; return it with its table."""
    named = sorted((label, f"{source}-{n:04d}", plate, well, group)
                   for n, (source, plate, well, group, label) in enumerate(rows))  # fmt: skip
    digests = [n.to_bytes(32, "big") for n in range(len(named))]
    tried = tried_of(*((idx, label, "X") for label, idx, *_ in named), sha256=digests)
    selection = tried.selection
    for at, name in enumerate(("plate", "well", "group"), start=2):
        column = pa.array([row[at] for row in named])
        selection = selection.set_column(selection.column_names.index(name), selection.field(name), column)
    done = decide(replace(tried, selection=selection), {}, replace(ALL, split=split, seed=seed))
    table = selection.take(pa.array(done.tried.row[done.kept])).to_pandas()
    return done, table.assign(validation=done.validation)


def sides(table, columns):
    """Return the splits of each combination of filled columns."""
    found = defaultdict(set)
    for *key, validation in table[[*columns, "validation"]].itertuples(index=False):
        if all(key):
            found[tuple(key)].add(validation)
    return found


@given(ROWS, st.sampled_from(list(TOGETHER)), st.integers(0, 3))
@settings(max_examples=60)
def test_nothing_that_belongs_together_is_in_both_splits(rows, split, seed):
    done, table = decided(rows, split, seed)
    assert len(table) == len(rows)
    counts = count_split(done)
    for columns in TOGETHER[split]:
        found = sides(table, columns)
        assert all(len(side) == 1 for side in found.values())
        name = f"{columns[-1]}s"
        if not found and name == "groups":
            assert name not in counts
            continue
        expected = {side: sum(found[key] == {side == "validation"} for key in found) for side in schema.SPLITS}
        unknown = int((table[list(columns)] == "").any(axis=1).sum())
        assert counts[name] == expected | {"unknown": unknown}
    assert set(counts) <= {f"{columns[-1]}s" for columns in TOGETHER[split]}


@given(ROWS, st.sampled_from(list(TOGETHER)))
@settings(max_examples=40)
def test_rows_that_nothing_joins_are_split_by_image(rows, split):
    """Slow and obvious: join rows that agree, until nothing changes."""
    table = pd.DataFrame(rows, columns=["dir_name", "plate", "well", "group", "label"])
    together = [[pa.array(table[name]) for name in columns] for columns in TOGETHER[split]]
    found = source_groups(pa.array([f"{n}.tif" for n in range(len(rows))]), together)
    expected = list(range(len(rows)))
    keys = [table[list(columns)].to_numpy().tolist() for columns in TOGETHER[split]]
    pairs = [(i, j) for key in keys for i, a in enumerate(key) for j, b in enumerate(key) if a == b and all(a)]
    for _ in rows:
        for i, j in pairs:
            expected[i] = expected[j] = min(expected[i], expected[j])
    assert found.tolist() == expected


def test_a_group_joins_the_plates_that_it_is_on():
    rows = [("a", "P1", "", "m", "x"), ("a", "P2", "", "m", "x"), ("a", "P1", "", "", "x"), ("a", "P2", "", "", "x")]
    rows += [("a", f"Q{n}", "", "", "x") for n in range(16)]
    for seed in range(8):
        table = decided(rows, "by-plate", seed)[1]
        joined = table[table["plate"].isin(["P1", "P2"])]
        assert joined["validation"].nunique() == 1


@pytest.mark.parametrize(("plates", "classes"), [(60, 12), (20, 5), (10, 3)])
def test_about_a_tenth_of_each_class_is_for_validation(plates, classes, rng):
    rows = [("a", f"P{rng.integers(plates)}", "A01", "", f"c{n % classes}") for n in range(40 * plates)]
    table = decided(rows, "by-plate")[1]
    for _, part in table.groupby("label"):
        largest = part.groupby("plate").size().max()
        assert 0 < part["validation"].sum() <= validation_target(len(part)) + largest
        assert part["validation"].mean() == pytest.approx(0.1, abs=0.05)
    assert table["validation"].mean() == pytest.approx(0.1, abs=0.03)


def test_the_seed_decides(rng):
    rows = [("a", f"P{rng.integers(20)}", "", "", "x") for _ in range(200)]
    one, again, other = (decided(rows, "by-plate", seed)[0].validation for seed in (0, 0, 1))
    assert (one == again).all() and (one != other).any()


def test_wells_are_of_a_plate():
    known = [("a", plate, well, "", "x") for plate in ("P1", "P2") for well in ("A01", "A02") for _ in range(3)]
    assert count_split(decided(known, "by-well")[0])["wells"] == {"train": 3, "validation": 1, "unknown": 0}
    # a well without a plate, or a plate without a well, joins nothing
    unknown = [("a", plate, well, "", "x") for plate, well in (("P1", ""), ("", "A01")) for _ in range(30)]
    done, table = decided(unknown, "by-well")
    assert count_split(done)["wells"] == {"train": 0, "validation": 0, "unknown": 60}
    assert (table.groupby(["plate", "well"])["validation"].nunique() == 2).all()


def test_in_words():
    plates = {"plates": {"train": 54, "validation": 6, "unknown": 1200}}
    groups = {"groups": {"train": 5, "validation": 1, "unknown": 7}}
    assert split_in_words("by-image", {}) == "by image"
    assert split_in_words("by-image", groups) == (
        "by image and by group (plate, movie, donor): 5 groups in train, 1 in validation"
    )
    assert split_in_words("by-plate", groups | plates) == (
        "by plate and by group (plate, movie, donor): 54 plates in train, 6 in validation; 1,200 source images without "
        "a known plate are split by image; 5 groups in train, 1 in validation"
    )
    assert split_in_words("by-well", {"wells": {"train": 1, "validation": 0, "unknown": 1}}) == (
        "by well: 1 well in train, 0 in validation; 1 source image without a known well is split by image"
    )
    assert "both splits" in split_in_words("published", {})


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    rng = np.random.default_rng(0)
    (folder / "a").mkdir()
    for n in range(24):
        Image.fromarray(rng.integers(0, 256, (90, 90)).astype(np.uint8)).save(folder / "a" / f"{n}.png")
    return folder


def selected():
    """Return a selection of 24 images of two classes on six plates."""
    columns = dict.fromkeys(schema.SELECTION.names, "")
    rows = [columns | {"idx": f"a-{n:02d}", "dir_name": "a", "channels": f"a/{n}.png", "label": "xy"[n % 2],
                       "category": "gene", "plate": f"P{n % 6}" if n < 18 else "",
                       "alternatives": ["", "x|y", "left out", "x|left out"][n % 4]}
            for n in range(24)]  # fmt: skip
    return pd.DataFrame(rows).assign(magnification=np.nan, pixel_size=np.nan)


def curated(raw, out, *, workers=0, **changes):
    """Curate the selection; return rows and report."""
    report = curate(selected(), raw, out, settings=replace(ALL, chunk_rows=5, **changes), workers=workers)
    return schema.read(out / "rows.parquet", schema.CURATED), report


def test_from_selection_to_the_line_of_info(raw, tmp_path):
    rows, report = curated(raw, tmp_path / "one", split="by-plate")
    again, _ = curated(raw, tmp_path / "two", split="by-plate", workers=2)
    pd.testing.assert_frame_equal(rows, again)
    of_plate = rows[rows["plate"] != ""].groupby("plate")["split"].unique()
    assert all(len(split) == 1 for split in of_plate)
    in_validation = sum(split[0] == "validation" for split in of_plate)
    assert report["split"] == {"plates": {"train": 6 - in_validation, "validation": in_validation, "unknown": 6}}
    write_dataset(tmp_path / "one", tmp_path / "out")
    manifest = Manifest.load(tmp_path / "out")
    assert manifest.counts["split"] == report["split"]
    shown = manifest.describe().splitlines()
    assert f"  split     {split_in_words('by-plate', report['split'])}" in shown
    assert not any("split=" in line or "split." in line for line in shown)
    _, report = curated(raw, tmp_path / "three", split="by-image")
    assert report["split"] == {}
    write_dataset(tmp_path / "three", tmp_path / "plain")
    assert "split" not in Manifest.load(tmp_path / "plain").counts
    assert "  split     by image" in Manifest.load(tmp_path / "plain").describe().splitlines()


def test_the_command_prints_what_the_split_kept_together(raw, tmp_path):
    schema.write(selected(), tmp_path / "selection.parquet", schema.SELECTION)
    app = application("0")
    commands.add_to(app)
    words = ["curate", str(tmp_path / "selection.parquet"), "--raw", str(raw), "--out", str(tmp_path / "out"),
             "--min-class-size", "1", "--workers", "0", "--split"]  # fmt: skip
    for rule in ("by-plate", "by-image"):
        shown = CliRunner().invoke(app, [*words, rule, "--rebuild"])
        assert shown.exit_code == 0, shown.output
        report = json.loads((tmp_path / "out" / "curated.json").read_text())
        assert f"Split {split_in_words(rule, report['split'])}" in " ".join(shown.output.split())
    assert "Split by image\n" in shown.output


def test_alternatives_are_classes_of_the_dataset(raw, tmp_path):
    rows, _ = curated(raw, tmp_path / "one")
    by_row = {f"a-{n:02d}": ["", "x|y", "", "x"][n % 4] for n in range(24)}
    assert rows["alternatives"].tolist() == [by_row[idx] for idx in rows["idx"]]


def test_an_unknown_rule_is_refused(raw, tmp_path):
    assert RULES == ("by-image", "by-plate", "by-well", "published")
    with pytest.raises(UsageError, match="No split rule 'by-day'; there are by-image, by-plate, by-well, published"):
        curated(raw, tmp_path / "one", split="by-day")
