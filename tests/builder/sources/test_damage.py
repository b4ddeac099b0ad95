"""A seeded corpus of damage to every publisher's table: an error that names the file, or rows whose counts add up."""

from __future__ import annotations

import gzip
import json
import shutil

import numpy as np
import pytest
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.images.channels import parse
from cytoimagenet.builder.simulate.source import layouts, simulate_source
from cytoimagenet.builder.sources.bbbc_boxes import read_boxes
from cytoimagenet.builder.sources.catalog import build_catalog
from hypothesis import given
from hypothesis import strategies as st

WITH_TABLES = sorted(name for name, layout in layouts().items() if layout.tables)

UNREAD = "bbbc006"  # counts of nuclei are no label: the table is left alone


def cut(data, rng):
    return data[: rng.integers(len(data))]


def flip(data, rng):
    damaged = bytearray(data)
    for place in rng.integers(0, len(data), 3):
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def insert(data, rng):
    odd = (b'"', b",", b"\t", b"\n", b"\r", b"\0", b"\xff\xfe", b"|", b"\xc3\x28", b"\xe2\x80\xa8", b"a" * 200_000)
    place = rng.integers(len(data) + 1)
    return data[:place] + odd[rng.integers(len(odd))] + data[place:]


def drop_line(data, rng):
    lines = data.split(b"\n")
    del lines[rng.integers(len(lines))]
    return b"\n".join(lines)


def double_line(data, rng):
    lines = data.split(b"\n")
    place = rng.integers(len(lines))
    return b"\n".join([*lines[:place], *[lines[place]] * 3, *lines[place:]])


def upset_cells(data, rng):
    lines = data.split(b"\n")
    place = rng.integers(len(lines))
    lines[place] = b",".join(rng.permutation(np.array(lines[place].split(b","), dtype=object)).tolist())
    return b"\n".join(lines)


def no_file(data, rng):
    return b""


DAMAGE = (cut, flip, insert, drop_line, double_line, upset_cells, no_file)


@pytest.mark.parametrize("name", WITH_TABLES)
def test_damage_is_an_error_or_counted(tmp_path, name):
    written = simulate_source(name, tmp_path / "whole", seed=2, fields=12, pixels=False)
    tables = [path for path in (tmp_path / "whole" / name).rglob("*") if path.is_file() and path.name != "files.txt"]
    assert tables
    outcomes = {"error": 0, "rows": 0}
    for number, damage in enumerate(DAMAGE * 2):
        rng = np.random.default_rng(number)
        raw = tmp_path / f"damaged-{number}"
        shutil.copytree(tmp_path / "whole", raw)
        victim = raw / tables[rng.integers(len(tables))].relative_to(tmp_path / "whole")
        data = victim.read_bytes()
        packed = data[:2] == b"\x1f\x8b" and number < len(DAMAGE)
        damaged = damage(gzip.decompress(data) if packed else data, rng)
        victim.write_bytes(gzip.compress(damaged) if packed else damaged)
        made = _catalog(raw)
        if made is None:
            outcomes["error"] += 1
            continue
        [counts] = made.counts
        used = {parse(channel).file for row in made.table["channels"].to_pylist() for channel in row.split("|")}
        assert counts.listed == len(written.files) == counts.used + sum(counts.skipped.values())
        assert len(used) == counts.used, damage.__name__
        outcomes["rows"] += 1
    assert (outcomes["error"] > 0) == (name != UNREAD)  # an empty table at least


def _catalog(raw):
    try:
        return build_catalog(raw)
    except MetadataError as error:
        if str(raw) not in (error.where or ""):
            raise AssertionError(f"the error does not say where: {error}") from error
        return None


ODD = ("", "|", " ", "é", "(1)", "+", "[", "__", "#page=1", ".tif", "_w9", "/", "a" * 300, "\u2028", "s", "0")


@pytest.mark.parametrize("name", sorted(layouts()))
def test_odd_names_are_rows_or_counted(tmp_path, name):
    simulate_source(name, tmp_path, seed=4, fields=20, pixels=False)
    inventory = tmp_path / name / "files.txt"
    rng = np.random.default_rng(0)
    lines = []
    for line in inventory.read_text().splitlines():
        place, odd = rng.integers(1, len(line) + 1), ODD[rng.integers(len(ODD))]
        changed = line[:place] + odd + line[place + rng.integers(2) :]
        lines.append((line, line.swapcase(), changed, changed)[rng.integers(4)])
    inventory.write_text("".join(f"{line}\n" for line in lines))
    made = build_catalog(tmp_path)
    [counts] = made.counts
    used = {parse(channel).file for row in made.table["channels"].to_pylist() for channel in row.split("|")}
    assert counts.listed == len(lines) == counts.used + sum(counts.skipped.values())
    assert len(used) == counts.used
    assert {file.removeprefix(f"{name}/") for file in used} <= set(lines)


SMEARS = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 50) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(("image", "pathname", "objects", "bounding_box", "minimum", "category", "r"), inner),
        )
    ),
    max_leaves=20,
)


@given(SMEARS)
def test_boxes_of_any_json_are_boxes_or_an_error(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("t") / "test.json"
    path.write_text(json.dumps(value))
    assert _boxes(path) in ("boxes", "error that says where")


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ('[{"image": {"pathname": "/a.png"},\n "objects": [}]', "line 2", "Not JSON"),
        ('{"image": 1}', "line 1", "not a list"),
        ('[{"image": {"pathname": "/a.png"}}]', "entry 1", "no 'objects'"),
        (
            '[{"image": {"pathname": "/a.png"}, "objects": [{"category": "x"}]}]',
            "entry 1, object 1",
            "no 'bounding_box'",
        ),
        (
            '[{"image": {"pathname": "/a.png"}, "objects": [{"category": "x", '
            '"bounding_box": {"minimum": {"r": 5, "c": 5}, "maximum": {"r": 5, "c": 9}}}]}]',
            "entry 1, object 1",
            "a box of 4 by 0 pixels",
        ),
        (
            '[{"image": {"pathname": "/a.png"}, "objects": [{"category": "x", '
            '"bounding_box": {"minimum": {"r": -1, "c": 5}, "maximum": {"r": 5, "c": 9}}}]}]',
            "entry 1, object 1",
            "-1 instead of a number of pixels",
        ),
        ("[" * 200_000, "line 1", "Nested too deeply"),
    ],
)
def test_damaged_boxes_say_where(tmp_path, text, where, said):
    path = tmp_path / "test.json"
    path.write_text(text)
    with pytest.raises(MetadataError) as caught:
        read_boxes(path)
    assert caught.value.where == f"{path}, {where}"
    assert said in caught.value.what
    assert "bounding_box" in caught.value.next


def _boxes(path):
    try:
        found = read_boxes(path)
    except MetadataError as error:
        return "error that says where" if str(path) in error.where else error
    return "boxes" if all(len(box) == 3 for box in found) else found
