"""Tables of features: every file format gives the same numbers, and every mismatch is reported."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.eval.evaluate import evaluate
from cytoimagenet.eval.sets import bbbc021, cyclops
from cytoimagenet.eval.simulate.bbbc021 import simulate_bbbc021
from cytoimagenet.eval.simulate.cyclops import simulate_cyclops
from cytoimagenet.eval.tables import feature_table as tables
from cytoimagenet.eval.tables.align import align_cells
from cytoimagenet.eval.tables.feature_table import key_of, read_table

from tests import memory


@pytest.fixture(scope="module")
def plates(tmp_path_factory):
    root = tmp_path_factory.mktemp("plates")
    simulate_bbbc021(root, shape=(40, 48), sites=1)
    return bbbc021.read(root, images=False)


@pytest.fixture
def wells(plates, rng):
    """Return a table as CellProfiler and pycytominer write it."""
    frame = pd.DataFrame(rng.normal(size=(len(plates), 5)), columns=[f"Cells_F{i}" for i in range(5)])
    frame.insert(0, "Image_Metadata_Plate", plates.table["plate"])
    frame.insert(1, "Image_Metadata_Well", plates.table["well"])
    return frame


def scores(table, plates, **options):
    result = evaluate("bbbc021", table, plates, probe=False, **options)
    return {name: float(score) for name, score in result.scores.items()}


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("Metadata_Plate", "plate"),
        ("Image_Metadata_Plate_DAPI", "plate"),
        ("plate", "plate"),
        ("Metadata_Well", "well"),
        ("Well", "well"),
        ("Metadata_Site", "site"),
        ("Metadata_moa", "label"),
        ("compound", "compound"),
        ("Metadata_broad_sample", ""),
        ("ImageNumber", ""),
        ("Unnamed: 0", ""),
        ("Cells_AreaShape_Area", None),
        ("f0001", None),
    ],
)
def test_usual_names_of_columns_are_known(column, key):
    assert key_of(column) == key


def test_csv_parquet_npz_and_data_frame_give_the_same_table(wells, plates, tmp_path):
    wells["Metadata_note"] = "text"
    wells["ImageNumber"] = range(len(wells))
    wells["ok"] = True
    wells.to_parquet(tmp_path / "t.parquet")
    wells.to_csv(tmp_path / "t.csv", index=False)
    wells.to_csv(tmp_path / "t.csv.gz")  # with pandas' nameless index
    values = wells.filter(like="Cells_").to_numpy()
    plate, well = (wells[f"Image_Metadata_{name}"].to_numpy(dtype="U") for name in ("Plate", "Well"))
    np.savez(tmp_path / "t.npz", features=values, plate=plate, wells=well)
    expected = scores(wells, plates)
    for name in ("t.parquet", "t.csv", "t.csv.gz", "t.npz"):
        table = read_table(tmp_path / name)
        assert table.values.shape == (len(wells), 5)
        np.testing.assert_array_equal(table.values, values)
        assert scores(tmp_path / name, plates) == expected


def test_single_precision_stays_single_and_half_becomes_double(wells):
    assert read_table(wells.astype({f"Cells_F{i}": "float32" for i in range(5)})).values.dtype == np.float32
    assert read_table(wells.astype({"Cells_F0": "int16"})).values.dtype == np.float64


def test_the_order_of_rows_and_columns_does_not_matter(wells, plates, rng):
    mixed = wells.sample(frac=1, random_state=1)[rng.permutation(wells.columns)]
    assert scores(mixed, plates, standardise="plate-dmso") == pytest.approx(
        scores(wells, plates, standardise="plate-dmso")
    )


def test_usual_spellings_of_wells_and_plates_are_found(wells, plates):
    short = wells.copy()
    short["Image_Metadata_Plate"] = short["Image_Metadata_Plate"].str.rpartition("_")[2].astype(int)
    short["Image_Metadata_Well"] = short["Image_Metadata_Well"].str.replace("0", "").str.lower()
    assert scores(short, plates) == scores(wells, plates)


def test_images_wells_and_treatments_give_the_same_profiles(wells, plates):
    by_id = wells.drop(columns=["Image_Metadata_Plate", "Image_Metadata_Well"])
    by_id.insert(0, "id", plates.ids)
    expected = scores(wells, plates)
    assert scores(by_id, plates) == expected
    keys = plates.table[["compound", "concentration"]]
    means = pd.concat([keys, wells.filter(like="Cells_")], axis=1)[plates.table["label"] != "DMSO"]
    by_treatment = means.groupby(["compound", "concentration"], as_index=False).mean()
    assert scores(by_treatment, plates) == pytest.approx(expected)
    own = plates.table[["compound", "concentration", "plate", "well"]].assign(Metadata_MOA=plates.table["label"])
    assert scores(pd.concat([own, wells.filter(like="Cells_")], axis=1), None) == expected


def test_wells_without_a_mechanism_are_left_out_and_counted(wells, plates):
    more = pd.concat([wells, wells.iloc[:1].assign(Image_Metadata_Well="H12")], ignore_index=True)
    entry = evaluate("bbbc021", more, plates, probe=False).entries[0]
    assert (entry["rows"], entry["left_out"]) == (len(wells), 1)
    assert scores(more, plates) == scores(wells, plates)


def drop(column):
    return lambda t: t.drop(columns=column)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.filter(like="Cells_"), "no key column"),
        (drop("Image_Metadata_Well"), "needs plate and well"),
        (lambda t: t.filter(like="Image_"), "no numeric feature column"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t.assign(Image_Metadata_Plate="Week99_1"), "'Week99_1' is not a plate of BBBC021, such as 'Week"),
        (lambda t: t.assign(Image_Metadata_Well="Q5"), "'Q5' is not a well"),
        (
            lambda t: t.assign(Image_Metadata_Well="H12").drop_duplicates("Image_Metadata_Plate"),
            "No row is from a labelled well",
        ),
        (lambda t: pd.concat([t, t.iloc[3:5]]), "2 rows repeat the plate and well"),
        (lambda t: t[~t["Image_Metadata_Well"].isin(["B04"])], "4 treatments .* have no row .*: cytochalasin B 10"),
        (lambda t: t.assign(plate="x"), "Two columns contain the plate"),
        (lambda t: t.set_axis(["a", "a", *t.columns[2:]], axis=1), "Two columns have the name 'a'"),
        (lambda t: t.assign(Image_Metadata_Plate=[None, *t["Image_Metadata_Plate"][1:]]), "Row 1 has no plate"),
        (lambda t: t.assign(concentration="much"), "'much' is not a concentration"),
    ],
)
def test_a_mismatch_is_reported(wells, plates, spoil, message):
    with pytest.raises(UsageError, match=message):
        evaluate("bbbc021", spoil(wells), plates, probe=False)


def test_repeated_ids_and_missing_cells_are_reported(tmp_path):
    simulate_cyclops(tmp_path, cells=4)
    cells = cyclops.read(tmp_path)
    table = pd.DataFrame({"id": cells.ids, "f": range(len(cells))})
    aligned = align_cells(read_table(table.sample(frac=1, random_state=0)), cells, task="cyclops")
    assert aligned.keys["id"].tolist() == cells.ids
    assert aligned.values.ravel().tolist() == list(range(len(cells)))
    with pytest.raises(UsageError, match="1 samples of the metadata have no row in the table: "):
        evaluate("cyclops", table.iloc[1:], cells)
    with pytest.raises(UsageError, match="1 rows repeat the id"):
        evaluate("cyclops", pd.concat([table, table.iloc[:1]]), cells)
    with pytest.raises(UsageError, match="needs a column `id` that names the samples of cyclops"):
        evaluate("cyclops", table.assign(id=range(len(cells))), cells)
    with pytest.raises(UsageError, match="has no label, and no metadata"):
        evaluate("cyclops", table)
    with pytest.raises(MetadataError):
        evaluate("coos7", table, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.parquet", b"PAR1 no", "Not a readable table"),
        ("t.csv", b"\xff\xfe\x00", "Not a readable table"),
        ("t.csv", b"", "Not a readable table"),
        ("t.csv.gz", b"id,f\n", "Not a readable table"),
        ("t.npz", b"PK\x03\x04", "Not a readable table"),
        ("t.xlsx", b"", "is a .parquet"),
    ],
)
def test_a_damaged_table_is_reported(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_table(tmp_path / name)
    with pytest.raises(UsageError, match="no such table"):
        read_table(tmp_path / "absent.csv")


def test_an_npz_is_never_unpickled_and_its_arrays_must_match(tmp_path):
    np.savez(tmp_path / "o.npz", features=np.eye(2), id=np.array([{}, {}], dtype=object))
    with pytest.raises(UsageError, match="Not a readable table"):
        read_table(tmp_path / "o.npz")
    np.savez(tmp_path / "s.npz", features=np.eye(2), ids=np.array(["a", "b", "c"]))
    with pytest.raises(UsageError, match="'ids' has 3 entries for 2 rows"):
        read_table(tmp_path / "s.npz")
    np.savez(tmp_path / "m.npz", a=np.eye(2), b=np.eye(2), ids=np.array(["a", "b"]))
    with pytest.raises(UsageError, match="the file has 2"):
        read_table(tmp_path / "m.npz")


def test_parquet_read_in_batches_equals_the_data_frame(tmp_path, monkeypatch, rng):
    monkeypatch.setattr(tables, "ROWS_PER_BATCH", 7)
    frame = pd.DataFrame(
        {
            "Metadata_Plate": [f"Week1_{i % 3}" for i in range(20)],
            "whole": rng.integers(0, 9, 20),
            "part": pd.array([None, *rng.random(19)], dtype="Float64"),
            "single": rng.random(20).astype(np.float32),
            "flag": [True] * 20,
            "Replicate": 1,
            "note": "text",
        },
        index=pd.Index([f"B{1 + i:02d}" for i in range(20)], name="Metadata_Well"),
    )
    for name, made in (("mixed", frame), ("single", frame[["Metadata_Plate", "single"]]), ("odd", frame.iloc[::-2])):
        made.to_parquet(tmp_path / f"{name}.parquet")
        found, expected = read_table(tmp_path / f"{name}.parquet"), read_table(made)
        assert found.names == expected.names and found.values.dtype == expected.values.dtype
        np.testing.assert_array_equal(found.values, expected.values)
        pd.testing.assert_frame_equal(found.keys[[*expected.keys]], expected.keys)


def npz(*members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)  # without the time of day
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


FEATURES = ("features.npy", npy(np.zeros((2, 3))))
HEADER = b"\x93NUMPY\x01\x00v\x00{'descr': %s, 'fortran_order': False, 'shape': (2,), }"
ENCRYPTED = bytearray(npz(("id.npy", npy(np.array([1, 2])))))
ENCRYPTED[ENCRYPTED.index(b"PK\x01\x02") + 8] |= 1


@pytest.mark.parametrize(
    "content",
    [
        npz(FEATURES, ("id.npy", HEADER % b"(((" + b" " * 60 + b"\n")),
        npz(FEATURES, ("id.npy", HEADER % b"'<U2'" + b" " * 55 + b"\n" + b"\xff" * 16)),
        npz(FEATURES, ("id.txt", b"no array")),
        npz(FEATURES, ("id.npy", HEADER % b"'O'" + b" " * 55 + b"\n")),
        npz(("features.npy", FEATURES[1].replace(b"(2, 3)", b"(9999999999999, 3)"))),
        bytes(ENCRYPTED),
        npz(FEATURES)[:-40],
        npz(FEATURES).replace(b"\x08\x00", b"\x63\x00"),
    ],
    ids=["header", "text", "no-array", "objects", "shape", "encrypted", "cut", "compression"],
)
def test_a_damaged_npz_is_one_error(tmp_path, content):
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(UsageError) as raised:
        read_table(tmp_path / "t.npz")
    assert raised.value.where == str(tmp_path / "t.npz")


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_a_table_with_random_damage_is_read_or_one_error(tmp_path, kind, rng):
    path = tmp_path / f"t.{kind}"
    if kind == "npz":
        np.savez_compressed(path, features=rng.random((20, 3)), id=np.array([f"a{n}" for n in range(20)]))
    else:
        pd.DataFrame({"id": [f"a{n}" for n in range(20)], "f": rng.random(20)}).to_parquet(path)
    whole, refused = path.read_bytes(), 0
    for _ in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), rng.integers(1, 6)):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            read_table(path)
        except UsageError:
            refused += 1
    assert refused > 100


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("features.npy", "w", force_zip64=True) as file:
            file.write(npy(np.zeros((2, 3)))[:128].replace(b"(2, 3)", b"(9**9)"))
            for _ in range(1100):
                file.write(bytes(2**20))
    with memory.at_most(500 * 2**20), pytest.raises(UsageError, match="unpacks to 1,153,4"):
        read_table(tmp_path / "t.npz")


@pytest.fixture
def named(rng):
    """A table whose keys have unusual names and whose label is a number."""
    frame = pd.DataFrame(rng.normal(size=(4, 2)), columns=["f0000", "f0001"])
    return frame.assign(cell=["01", "02", "03", "04"], phenotype=[0, 1, 0, 1], Metadata_Donor=["a", "b", "a", None])


def written(frame, suffix, folder):
    path = folder / f"table{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".npz":
        keys = {name: frame[name].to_numpy() for name in frame if not name.startswith("f0")}
        keys = {name: array.astype(str) if array.dtype == object else array for name, array in keys.items()}
        np.savez(path, features=frame[["f0000", "f0001"]].to_numpy(), **keys)
    else:
        frame.to_csv(path, index=False)
    return path


COLUMNS = {"id": "cell", "label": "phenotype", "group": "Donor"}


@pytest.mark.parametrize("suffix", ["", ".parquet", ".csv", ".csv.gz", ".npz"])
def test_columns_may_be_named(named, tmp_path, suffix):
    if suffix == ".npz":
        named = named.assign(Metadata_Donor=["a", "b", "a", ""])
    source = written(named, suffix, tmp_path) if suffix else named
    found = read_table(source, COLUMNS, may_be_empty=["group"])
    assert found.names == ["f0000", "f0001"]
    assert {key: found.keys[key].tolist() for key in ("id", "label", "group")} == {
        **{"id": ["01", "02", "03", "04"], "label": ["0", "1", "0", "1"], "group": ["a", "b", "a", ""]},
    }
    np.testing.assert_array_equal(found.values, named[["f0000", "f0001"]])


def test_a_named_column_takes_the_place_of_the_usual_one(named):
    both = named.assign(label="usual", Metadata_moa="too", group="g")
    found = read_table(both, COLUMNS, may_be_empty=["group"])
    assert set(found.keys) == {"id", "label", "group"}
    assert found.keys["label"].tolist() == ["0", "1", "0", "1"]
    assert read_table(named.assign(group=[1, 2, 3, 4]).drop(columns="phenotype"), {"id": "cell"}).names == [
        "f0000",
        "f0001",
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": "phenotyp"}, "There is no column 'phenotyp' for the label"),
        ({"label": "phenotype", "group": "phenotype"}, "'phenotype' can't be both label and group"),
        ({"group": "Donor"}, "Row 4 has no group"),
    ],
)
def test_wrong_columns(named, columns, message):
    with pytest.raises(UsageError, match=message):
        read_table(named, columns)


def test_a_named_column_may_be_absent_where_that_is_allowed(named):
    found = read_table(named.drop(columns="phenotype"), COLUMNS, may_be_absent=["label"], may_be_empty=["group"])
    assert set(found.keys) == {"id", "group"}
