"""An annotation next to a library table: the annotation decides, the library fills what is empty, differences show."""

from __future__ import annotations

import csv
import re
from collections import Counter

import pandas as pd
import pytest
from cytoimagenet.builder import console
from cytoimagenet.builder.commands import catalog
from cytoimagenet.builder.sources.folder import Counts, Folder
from cytoimagenet.builder.sources.library_table import completed, with_plates_of
from cytoimagenet.builder.sources.registry import SOURCES
from cytoimagenet.builder.sources.rows import one_line_per_key, read_source
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

ANNOTATION = "idr0037-screenA-annotation.csv"
LIBRARY = "idr0037-screenA-library.txt"
PLATES = "idr0037-screenA-plates.tsv"
COLUMNS = ("Plate", "Comment [Operetta Plate Name]", "Well", "Characteristics [Cell Line]")
DIFFERS = "wells whose cell_type differs in the library table (the annotation's is used)"
ONLY_VALUE = "wells whose cell_type is in the library table only"
ONLY_LINE = "wells that are in the library table only"


def table(lines, separator=",", columns=COLUMNS):
    return "".join(separator.join(cells) + "\n" for cells in (columns, *lines))


@pytest.fixture
def screen(tmp_path):
    """Read idr0037 from the lines of both tables, with one field per (folder, well)."""

    def reading(annotation, library, images, pairs=()):
        root = tmp_path / "idr0037"
        root.mkdir()
        (root / ANNOTATION).write_text(table(annotation))
        (root / LIBRARY).write_text(table(library, "\t"))
        (root / PLATES).write_text("".join(f"{plate}\t/uod/images/{folder}\n" for plate, folder in pairs))
        for folder, well in images:
            make_field(root / "images" / folder, well)
        folder = Folder(root, "idr0037")
        rows = read_source(SOURCES["idr0037"], folder).to_pandas()
        return rows.cell_type.tolist(), folder.counts

    return reading


def make_field(folder, well):
    """Write the three empty files of a field."""
    folder.mkdir(parents=True, exist_ok=True)
    for channel in (1, 2, 3):
        (folder / f"r{ord(well[0]) - 64:02}c{int(well[1:]):02}f01p01-ch{channel}sk1fk1fl1.tiff").touch()


def test_the_annotation_decides_and_the_library_fills(screen):
    cell_types, counts = screen(
        [("exp_01", "", "A1", "line a"), ("exp_01", "", "A2", ""), ("exp_01", "", "A3", "same")],
        [
            ("exp_01", "", "A1", "other"),
            ("exp_01", "", "A2", "line b"),
            ("exp_01", "", "A3", "SAME"),
            ("exp_01", "", "A4", "line d"),
            ("more", "", "A1", "line e"),
        ],
        [*(("exp_01", f"A{n}") for n in (1, 2, 3, 4)), ("more", "A1"), ("more", "A2")],
    )
    assert cell_types == ["line a", "line b", "same", "line d", "line e", ""]
    assert (counts.unlabelled, counts.labels_without_image) == (1, 0)
    assert counts.notes == {DIFFERS: 1, ONLY_VALUE: 1, ONLY_LINE: 2}
    assert counts.remarks == ["cell_type is 'line a' in the annotation and 'other' in the library table (wells: 1)"]


@pytest.mark.parametrize(
    ("theirs", "name", "listed"),
    [
        ("exp_1", "day 1", ""),
        ("first", "day 1", ""),
        ("exp_1", "", ""),
        ("exp_1", "", "exp_01"),
        ("exp_1", "", "EXP 1"),
    ],
)
def test_a_plate_in_two_spellings_is_one_plate(theirs, name, listed, screen):
    pairs = [(listed, "day 1__2014")] if listed else []
    images = [("day 1__2014" if listed or name else "exp_01", "A1")]
    cell_types, counts = screen([("exp_01", name, "A1", "line a")], [(theirs, name, "A1", "other")], images, pairs)
    assert cell_types == ["line a"]
    assert (counts.unlabelled, counts.labels_without_image, counts.notes) == (0, 0, {DIFFERS: 1})


def test_two_plates_that_could_be_one_stay_two(screen):
    cell_types, counts = screen(
        [("p 1", "day 1", "A1", "line a")],
        [("p-1", "", "A1", "x"), ("p_1", "", "A1", "y")],
        [("day 1", "A1")],
    )
    assert cell_types == ["line a"]
    assert counts.notes == {ONLY_LINE: 2}


def test_the_annotation_also_decides_about_folders(screen):
    cell_types, counts = screen(
        [("a", "one", "A1", "line a"), ("b", "two", "A1", "line b")],
        [("a", "two", "A1", "line a"), ("b", "one", "A1", "line b"), ("c", "three", "A1", "line c")],
        [("one", "A1"), ("three", "A1"), ("two", "A1")],
    )
    assert cell_types == ["line a", "line c", "line b"]
    assert counts.notes == {ONLY_LINE: 1}


@pytest.mark.parametrize(
    ("annotation", "library", "rows"), [("pass", "fail", 1), ("fail", "pass", 0), ("", "fail", 0), ("", "", 1)]
)
def test_quality_control_follows_the_same_rule(annotation, library, rows, tmp_path):
    (root := tmp_path / "idr0009").mkdir()
    columns = ("Plate", "Well", "Gene Symbol", "Quality Control")
    (root / "idr0009-screenB-annotation.csv").write_text(table([("1", "A1", "KIF11", annotation)], columns=columns))
    (root / "idr0009-screenB-library.txt").write_text(table([("1", "A1", "KIF11", library)], "\t", columns))
    names = ("nucleus-dapi", "pm-647", "vsvg-cfp")
    (root / "files.txt").write_text("".join(f"1/--W00001--P00001--Z00000--T00000--{name}.tif\n" for name in names))
    folder = Folder(root, "idr0009")
    assert len(read_source(SOURCES["idr0009"], folder)) == rows
    both = annotation and library
    assert folder.counts.notes == (
        {"wells whose Quality Control differs in the library table (the annotation's is used)": 1}
        if both
        else {"wells whose Quality Control is in the library table only": 1}
        if library
        else {}
    )


@st.composite
def tables(draw):
    line = st.tuples(
        *(st.sampled_from(options) for options in ("12", ("A01", "A02", "A03"), ("", "x", "y", "X"), ("", "z")))
    )
    columns = ["plate", "image", "gene", "@m0"]
    return [pd.DataFrame(draw(st.lists(line, min_size=1, max_size=8)), columns=columns, dtype="str") for _ in range(2)]


@given(tables())
def test_completed_agrees_with_a_loop_over_lines(both):
    annotation, library = ({} for _ in both)
    for frame, lines in zip(both, (annotation, library), strict=True):
        for plate, image, *values in frame.itertuples(index=False):
            cells = lines.setdefault((plate, image), [[], []])
            for cell, value in zip(cells, values, strict=True):
                if value and value not in cell:
                    cell.append(value)
    expected, notes = {}, Counter()
    for key in annotation | library:
        mine, theirs = annotation.get(key), library.get(key)
        expected[key] = ["|".join(a or b) for a, b in zip(mine or [[], []], theirs or [[], []], strict=True)]
        if mine is None:
            notes["images that are in the library table only"] += 1
            continue
        for name, a, b in zip(("gene", "marker"), mine, theirs or [[], []], strict=True):
            if b and not a:
                notes[f"images whose {name} is in the library table only"] += 1
            if a and b and {value.lower() for value in a} != {value.lower() for value in b}:
                notes[f"images whose {name} differs in the library table (the annotation's is used)"] += 1
    counts = Counts("idr0037")
    lines = completed(*both, counts, unit="images", titles={"@m0": "marker"})
    found = {(plate, image): values for plate, image, *values in lines.itertuples(index=False)}
    assert len(found) == len(lines)
    assert found == expected
    assert counts.notes == notes


names = st.lists(st.sampled_from(["e1", "e01", "e-1", "e2", "e02", "f"]), min_size=1, max_size=4)


@given(names, names)
def test_plates_are_renamed_one_to_one(mine, theirs):
    annotation, library = (pd.DataFrame({"plate": plates}, dtype="str") for plates in (mine, theirs))
    renamed = with_plates_of(annotation, library, [])["plate"].tolist()
    pairs = set(zip(theirs, renamed, strict=True))
    assert len({new for _, new in pairs}) == len(set(theirs))
    for old, new in pairs:
        assert new == old or (old not in mine and new in mine and new not in theirs)


def test_joined_lines_keep_their_key_and_the_order_of_columns_and_values():
    frame = pd.DataFrame({"b": ["z", "y", "x"], "plate": ["1", "1", "1"], "image": ["A", "B", "A"]}, dtype="str")
    lines = one_line_per_key(frame, ["plate", "image"])
    assert lines.to_dict("records") == [
        {"b": "y", "plate": "1", "image": "B"},
        {"b": "z|x", "plate": "1", "image": "A"},
    ]


def test_the_most_frequent_differences_are_described(screen):
    pairs = [("a", "v"), ("b", "w"), ("b", "w"), ("c", "x"), ("c", "x"), ("c", "x"), ("d", "y"), ("e", "z")]
    wells = [f"A{n}" for n in range(1, len(pairs) + 1)]
    _, counts = screen(
        [("1", "", well, mine) for well, (mine, _) in zip(wells, pairs, strict=True)],
        [("1", "", well, other) for well, (_, other) in zip(wells, pairs, strict=True)],
        [("1", "A1")],
    )
    assert counts.notes == {DIFFERS: 8}
    assert [remark[-10:] for remark in counts.remarks[:3]] == ["(wells: 3)", "(wells: 2)", "(wells: 1)"]
    assert counts.remarks[3:] == ["cell_type differs in 2 other pairs of values"]


@pytest.mark.real
def test_idr0037_3303_wells_of_115_cell_lines(shared, tmp_path):
    """Both real tables and all images, as the command `catalog` reads them."""
    metadata, root = shared / "metadata" / "idr0037", tmp_path / "raw" / "idr0037"
    root.mkdir(parents=True)
    for name in (ANNOTATION, LIBRARY, PLATES):
        (root / name).write_bytes((metadata / name).read_bytes())
    folders = dict(line.split("\t") for line in (metadata / PLATES).read_text().splitlines())
    with (metadata / ANNOTATION).open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3303
    for line in lines:
        place = folders[line["Plate"]].split("/")[-3]
        assert folders[line["Plate"]].endswith(f"{place}/Images/Index.idx.xml")
        make_field(root / "images" / place / "Images", line["Well"])
    app = console.application("0")
    catalog.add_to(app)
    options = ["catalog", str(tmp_path / "raw"), "--out", str(tmp_path / "catalog.parquet")]
    shown = CliRunner().invoke(app, options).output

    rows = pd.read_parquet(tmp_path / "catalog.parquet")
    expected = Counter(line["Characteristics [Cell Line]"].lower() for line in lines)
    assert (len(rows), len(expected)) == (3303, 115)
    assert Counter(rows.cell_type) == expected
    assert expected["a1atd-ipsc patient 1"] == 573
    assert re.search(r"^idr0037 +9,912 +9,909 +3,303 +0 +0 +3$", shown, re.MULTILINE)  # 3 files are tables
    assert f"idr0037: {DIFFERS}: 597" in shown.splitlines()
    for mine, other, number in (("A1ATD-iPSC patient 1", "CTRL0214pf-iely", 573), ("SPC clone 2", "JACK", 24)):
        remark = f"cell_type is '{mine}' in the annotation and '{other}' in the library table (wells: {number})"
        assert f"idr0037: {remark}" in shown.splitlines()
