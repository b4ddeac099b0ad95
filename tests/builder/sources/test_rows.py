"""From files to rows, compared with a slow and obvious method on random folders."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.builder.sources.folder import Folder
from cytoimagenet.builder.sources.record import BRIGHTFIELD, Source
from cytoimagenet.builder.sources.rows import gather, join_labels, read_source
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Source(
    dir_name="sham",
    database="Kaggle",
    name="Sham",
    link="",
    licence="CC0 1.0",
    citation="",
    tried="simulated",
    images=1,
    formats=("tif",),
    organism="human",
    microscopy="fluorescence",
    pattern=r"^(?P<folder>.*/)?(?P<well>[A-H]\d)_s(?P<site>\d)_w(?P<channel>\d)[^/]*$",
    stains={"2": "er", "1": "nucleus", "3": BRIGHTFIELD, "4": "actin/golgi"},
    apart=("3",),
    skip=((r"_illum", "corrected copy"),),
)


def read(tmp_path, lines, source=SOURCE):
    (tmp_path / "files.txt").write_text("".join(f"{line}\n" for line in lines))
    folder = Folder(tmp_path, source.dir_name)
    return read_source(source, folder).to_pandas(), folder.counts


def test_a_field_is_one_row_in_merging_order_and_brightfield_a_separate_row(tmp_path):
    frame, counts = read(tmp_path, ["p/A1_s1_w1.tif", "p/A1_s1_w2x.TIF", "p/A1_s1_w3.tif", "p/A1_s1_w4.tif"])
    assert frame["channels"].tolist() == [
        "sham/p/A1_s1_w2x.TIF|sham/p/A1_s1_w1.tif|sham/p/A1_s1_w4.tif",
        "sham/p/A1_s1_w3.tif",
    ]
    assert frame["stains"].tolist() == ["er|nucleus|actin/golgi", "brightfield"]
    assert frame["cell_visible"].tolist() == ["er|nucleus|actin|golgi", ""]
    assert frame["microscopy"].tolist() == ["fluorescence", "brightfield"]
    assert frame[["idx", "path", "filename"]].values.tolist() == [
        ["sham-0", "sham/p", "A1_s1_w2x.TIF"],
        ["sham-1", "sham/p", "A1_s1_w3.tif"],
    ]
    assert frame["licence"].unique().tolist() == ["CC0 1.0 (unverified)"]
    assert (counts.listed, counts.used, counts.rows, dict(counts.skipped)) == (4, 4, 2, {})


def test_rows_of_one_field_are_one_group_and_movies_are_named(tmp_path):
    files = [
        "p/A1_s1_w1.tif",
        "p/A1_s1_w2x.TIF",
        "p/A1_s1_w3.tif",
        "p/A1_s2_w3.tif",
        "q/A1_s1_w3.tif",
        "q/A1_s1_w1.tif",
    ]
    frame, _ = read(tmp_path, files)
    groups = dict(zip(frame["channels"], frame["group"], strict=True))
    assert groups == {
        "sham/p/A1_s1_w2x.TIF|sham/p/A1_s1_w1.tif": "p/A1_s1_w1.tif",
        "sham/p/A1_s1_w3.tif": "p/A1_s1_w1.tif",
        "sham/p/A1_s2_w3.tif": "p/A1_s2_w3.tif",
        "sham/q/A1_s1_w1.tif": "q/A1_s1_w1.tif",
        "sham/q/A1_s1_w3.tif": "q/A1_s1_w1.tif",
    }
    frame, _ = read(tmp_path, files, replace(SOURCE, group=("folder", "well")))
    assert frame["group"].unique().tolist() == ["p/A1", "q/A1"]
    frame, _ = read(tmp_path, files, replace(SOURCE, apart=()))
    assert frame["group"].unique().tolist() == [""]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"pattern": r"^(?P<well>[A-H]\d)(?!_thumb)"}, "invalid perl operator"),
        ({"pattern": r"^(?P<well>[A-H]\d)_(s\d)"}, "unnamed groups"),
        ({"pattern": r"^(?P<well>[A-H]\d"}, "missing"),
        ({"skip": ((r"(?<=a)b", "no"),)}, "invalid perl operator"),
    ],
)
def test_a_pattern_that_re2_does_not_know_is_named(tmp_path, change, problem):
    with pytest.raises(UsageError, match=f"(?s)pattern of the source sham is not valid: .*{problem}.*RE2") as error:
        read(tmp_path, ["A1_s1_w1.tif"], replace(SOURCE, **change))
    assert error.value.where in (change.get("pattern"), r"(?<=a)b")


@pytest.mark.parametrize(
    ("column", "meant"), [("Phenotype", "'phenotype'"), ("licences", "'licence'"), ("zz", "Drop it")]
)
def test_a_label_that_nothing_reads_is_an_error(tmp_path, column, meant):
    source = replace(SOURCE, labels=lambda rows, folder: rows.assign(**{column: "x"}))
    with pytest.raises(MetadataError, match=f"(?s)added a column '{column}', which nothing reads.*sham.*{meant}"):
        read(tmp_path, ["A1_s1_w1.tif"], source)


def test_a_labels_function_may_give_group_licence_and_microscopy(tmp_path):
    given = {"group": "donor 1", "licence": "MIT", "microscopy": "confocal", "gene": "x"}
    source = replace(SOURCE, labels=lambda rows, folder: rows.assign(**given))
    frame, _ = read(tmp_path, ["A1_s1_w1.tif"], source)
    assert frame[list(given)].to_numpy().tolist() == [["donor 1", "MIT", "confocal", "x targeted"]]


def test_a_table_that_is_absent_is_named(tmp_path):
    def labels(rows, folder):
        return rows.assign(gene=folder.table("LABEL.csv", {"gene": "gene"})["gene"])

    (tmp_path / "LABELS.csv").write_text("gene\nx\n")
    with pytest.raises(MetadataError, match=r"(?s)No table 'LABEL\.csv'.*LABELS\.csv, files\.txt"):
        read(tmp_path, ["A1_s1_w1.tif"], replace(SOURCE, labels=labels))


def test_every_file_left_out_has_one_reason(tmp_path):
    frame, counts = read(
        tmp_path,
        [
            "A1_s1_w1.tif",
            "A1_s1_w1b.png",  # the same channel again
            "A1_s1_w9.tif",  # no channel of this source
            "A1_s1_w1_thumb.tif",
            "masks/A1_s1_w1.tif",
            "p_ground_truth/A1_s1_w1.tif",
            "illum/A1_s1_w1_illum.tif",
            "._A1_s1_w1.tif",
            "__MACOSX/A1_s1_w1.tif",
            "A1|_s1_w1.tif",
            "A1_s1_w1#page=2.tif",
            "readme.md",
            "else.tif",
        ],
    )
    assert counts.used == len(frame) == 1
    assert counts.skipped == {
        "second file of a channel": 1,
        "channel is not of this source": 1,
        "thumbnail": 1,
        "mask": 2,
        "corrected copy": 1,
        "hidden file": 2,
        "name that can't be written into a list of channels": 2,
        "not an image file": 1,
        "name is not of this source": 1,
    }
    assert counts.notes == {"fields that lack a channel": 1}
    assert counts.listed == 13


def test_a_page_is_written_into_the_channels(tmp_path):
    frame, _ = read(tmp_path, ["A1_s1_w1.tif"], replace(SOURCE, page=3))
    assert frame["channels"].tolist() == ["sham/A1_s1_w1.tif#page=3"]


@pytest.mark.parametrize("lines", [[], ["readme.md"]])
def test_a_source_without_images_gives_no_rows(tmp_path, lines):
    frame, counts = read(tmp_path, lines)
    assert len(frame) == counts.used == 0
    assert counts.listed == len(lines)


def slow_gather(paths):
    """Do as `gather`, one file after the other."""
    order = list(SOURCE.stains)
    fields: dict[tuple, dict[str, str]] = {}
    skipped = 0
    for path in sorted(set(paths), key=str.encode):
        found = re.match(SOURCE.pattern, re.sub(r"\.(tif|PNG)$", "", path), re.IGNORECASE)
        if not found or found["channel"] not in order:
            skipped += 1
            continue
        key = (*(found[name] or "" for name in ("folder", "well", "site")), found["channel"] == "3")
        if found["channel"] in fields.setdefault(key, {}):
            skipped += 1
        else:
            fields[key][found["channel"]] = path
    rows = [[field[channel] for channel in order if channel in field] for field in fields.values()]
    return sorted(rows, key=lambda row: row[0].encode()), skipped


PATHS = st.builds(
    "{}{}_s{}_w{}{}".format,
    st.sampled_from(["", "p/", "q/r/", "P/"]),
    st.sampled_from(["A1", "A2", "h9"]),
    st.integers(1, 2),
    st.integers(1, 5),
    st.sampled_from([".tif", ".PNG", "é(+).tif", ",x.tif"]),
)


@given(st.lists(PATHS, max_size=40))
def test_gathering_equals_the_slow_obvious_method(tmp_path_factory, paths):
    root = tmp_path_factory.mktemp("raw")
    (root / "files.txt").write_text("".join(f"{path}\n" for path in paths))
    folder = Folder(root, "sham")
    rows = gather(SOURCE, folder)
    wanted, skipped = slow_gather(paths)
    assert [row.replace("sham/", "").split("|") for row in rows["channels"]] == wanted
    repeated = len(paths) - len(set(paths))
    assert folder.counts.used == sum(map(len, wanted))
    assert folder.counts.listed == len(paths) == folder.counts.used + skipped + repeated


KEYS = st.text("ab|,+(", max_size=2)


@given(
    st.lists(st.tuples(KEYS, KEYS), max_size=8),
    st.lists(st.tuples(KEYS, KEYS, st.sampled_from(["", "x", "y"])), max_size=8),
)
def test_joining_equals_the_slow_obvious_method(rows, labels):
    folder = Folder(".", "x")
    frame = pd.DataFrame(rows, columns=["plate", "well"], dtype="str")
    table = pd.DataFrame(labels, columns=["plate", "well", "gene"], dtype="str")
    joined = join_labels(frame, table, ["plate", "well"], folder)
    wanted = []
    for key in rows:
        values = [gene for *other, gene in labels if tuple(other) == key]
        wanted.append("|".join(dict.fromkeys(value for value in values if value)))
    assert joined["gene"].tolist() == wanted
    known = {(plate, place) for plate, place, _ in labels}
    assert folder.counts.unlabelled == sum(key not in known for key in rows)
    assert folder.counts.labels_without_image == len(known - set(rows))


def test_joining_by_an_absent_column_is_an_error():
    with pytest.raises(MetadataError, match="No column plate"):
        join_labels(pd.DataFrame({"well": ["A01"]}), pd.DataFrame({"well": ["A01"]}), ["plate"], Folder(".", "x"))
