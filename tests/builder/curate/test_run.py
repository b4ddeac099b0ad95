"""Images in, crops out: every row accounted for, every reason given, no duplicates, no evaluation images."""

import json
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile
from cytoimagenet.builder import schema
from cytoimagenet.builder.curate import accounting, evaluation_images
from cytoimagenet.builder.curate.plan import make_plan
from cytoimagenet.builder.curate.run import curate
from cytoimagenet.builder.curate.settings import Settings
from cytoimagenet.builder.errors import CheckFailedError, SettingsChangedError, UsageError
from cytoimagenet.builder.formats import zips
from cytoimagenet.builder.formats.read import read_channel
from cytoimagenet.builder.images.digest import pixel_digest
from cytoimagenet.builder.images.normalise import merge_channels, merge_float, normalise, to_grey8

from tests.builder.curate import curated_sources as made

SMALL = Settings(min_class_size=2, chunk_rows=5)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    return folder, made.make(folder)


@pytest.fixture(scope="module")
def curated(raw, tmp_path_factory):
    out = tmp_path_factory.mktemp("work") / "curated"
    report = curate(raw[1], raw[0], out, settings=SMALL, workers=0)
    rows = schema.read(out / "rows.parquet", schema.CURATED)
    return out, report, rows, schema.read(out / "rejected.parquet", schema.REJECTED)


def _image(out, row) -> np.ndarray:
    with open(out / row.store, "rb") as file:
        file.seek(row.store_offset)
        data = file.read(row.store_size)
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def test_each_defect_costs_one_row_with_its_reason(curated):
    rejected = curated[3]
    last = rejected.groupby("idx")["reason"].last()
    for name, (reason, _) in made.defects().items():
        assert last[f"bad-{name}"] == reason
    assert set(rejected["stage"]) == {"curate"}


def test_the_box_of_every_row_gives_its_pixels(curated, raw):
    out, _, rows, _ = curated
    assert len(rows) > 40
    for row in rows.itertuples():
        image = _image(out, row)
        assert image.dtype == np.uint8
        assert image.shape == (row.height, row.width)
        assert pixel_digest(image) == row.sha256
        planes = []
        for channel in row.channels.split("|"):
            file, _, box = channel.partition("#xywh=")
            plane = read_channel(raw[0] / file)
            if box:
                x, y, w, h = map(int, box.split(","))
                plane = plane[y : y + h, x : x + w]
            planes.append(plane)
        if row.crop:
            part = merge_float(planes)[row.y_min : row.y_max, row.x_min : row.x_max]
            np.testing.assert_array_equal(image, to_grey8(normalise(part)))
            assert row.scaling == 0.5
        else:
            assert (row.x_min, row.y_min, row.x_max, row.y_max, row.scaling) == (0, 0, row.width, row.height, 1.0)
            np.testing.assert_array_equal(image, merge_channels(planes))


def test_a_box_is_the_rows_own_image(curated):
    boxes = curated[2].query("dir_name == 'three'")
    assert len(boxes) == 6
    assert not boxes["crop"].any()
    assert set(boxes["width"]) == {80, 81, 82}


def test_names_and_order(curated):
    rows = curated[2]
    assert rows["path"].eq("/cytoimagenet/" + rows["label"]).all()
    assert rows["filename"].is_unique
    for label, own in rows.groupby("label"):
        width = max(1, (len(own) - 1).bit_length())
        assert own["filename"].tolist() == [f"{label}-{n:0{width}b}.png" for n in range(len(own))]
    assert rows["label"].is_monotonic_increasing
    assert not rows["idx"].str.contains("#").any()


def test_both_sums_add_up_and_are_printed(curated, raw):
    _, report, rows, rejected = curated
    assert report["counts"]["rows"]["in"] == len(raw[1])
    for groups, column in (("by_source", "dir_name"), ("by_class", "label")):
        for name, counts in report[groups].items():
            own, out = rows[rows[column] == name], rejected[rejected[column] == name]
            assert counts["rows"]["in"] == (raw[1][column] == name).sum()
            assert counts["rows"]["in"] == own["idx"].nunique() + sum(counts["rows"]["rejected"].values())
            assert counts["images"]["tried"] == len(own) + len(out)
            assert counts["images"]["rejected"] == out["reason"].value_counts().to_dict()
    lines = accounting.describe(report, 30)
    assert "1 binary_mask" in lines[0]
    assert lines[-1].startswith(f"all: {len(raw[1])} rows = ")
    assert len(accounting.describe(report, 2)) == len(report["by_source"]) + 2


def test_a_lost_row_is_an_error():
    reason = np.array([-1, 3], dtype=np.int8)
    with pytest.raises(CheckFailedError, match="1 source images were lost"):
        accounting.row_reasons(np.array([0, 2]), np.array([0, 0]), reason, 3)
    counts = {"a": {"rows": {"in": 2, "kept": 1, "rejected": {"dim": 1}},
                    "images": {"tried": 4, "kept": 3, "rejected": {"dim": 1}}}}  # fmt: skip
    accounting.check(counts, {"a": 1}, {"a": 3}, {"a": 1})
    with pytest.raises(CheckFailedError, match="4 images went in, 3 are accounted for"):
        accounting.check(counts, {"a": 1}, {"a": 3}, {})


def test_equal_images_across_classes_are_kept_once(curated):
    _, _, rows, rejected = curated
    assert rows["sha256"].is_unique
    # the copy of one-0 is in beta; at this size every crop is a complete quadrant, so all four coincide
    copies = rejected[rejected["reason"] == "duplicate"]
    assert set(copies["idx"]) <= {"one-0", "two-copy"}
    assert len(copies) == 4
    assert copies["detail"].str.contains(r"^same pixels as (?:one/a0|two/copy).tif#xywh=\d+,\d+,80,75 of '").all()


def test_no_source_image_is_in_both_splits(curated):
    rows = curated[2]
    files = rows["channels"].str.replace(r"#xywh=.*$", "", regex=True)
    assert rows.groupby(files)["split"].nunique().eq(1).all()
    for _, own in rows.groupby("label"):
        assert set(own["split"]) == {"train", "validation"}


def test_the_published_split_is_by_crop(raw, tmp_path):
    settings = Settings(min_class_size=2, split="published")
    curate(raw[1], raw[0], tmp_path / "out", settings=settings, workers=0)
    rows = schema.read(tmp_path / "out" / "rows.parquet", schema.CURATED)
    for _, own in rows.groupby("label"):
        assert (own["split"] == "validation").sum() == int(len(own) / 10 + 0.5)
    assert rows.groupby("channels")["split"].nunique().max() == 2


def test_a_full_class_loses_further_crops_first(raw, tmp_path):
    alpha = raw[1][raw[1]["dir_name"] == "one"]
    curate(alpha, raw[0], tmp_path / "out", settings=Settings(max_images=9, min_class_size=9), workers=0)
    rows = schema.read(tmp_path / "out" / "rows.parquet", schema.CURATED)
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    assert len(rows) == 9
    assert sorted(rows.groupby("idx").size()) == [1, 1, 1, 2, 2, 2]
    assert set(rejected["reason"]) == {"class_full"}
    assert set(rejected["detail"]) == {"24 images, at most 9"}


def test_a_class_that_is_left_out_gives_its_images_back(raw, tmp_path):
    selection = raw[1][raw[1]["idx"].isin(["one-0", "one-1", "one-2", "two-copy"])]
    # beta has one row, so it is the rarer class and keeps the equal images; then it is left out as too small
    report = curate(selection, raw[0], tmp_path / "out", settings=Settings(min_class_size=5), workers=0)
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    assert [c["label"] for c in report["classes"]] == ["alpha"]
    assert report["classes"][0]["images"] == 12
    assert set(rejected["reason"]) == {"class_too_small"}
    assert set(rejected["detail"]) == {"4 images, at least 5"}
    assert report["by_class"]["beta"]["rows"] == {"in": 1, "kept": 0, "rejected": {"class_too_small": 1}}


def test_evaluation_images_are_left_out_uncropped_and_in_crops(raw, tmp_path):
    evaldata = tmp_path / "evaldata" / "bbbc021"
    evaldata.mkdir(parents=True)
    # the same pixels in another type, file format and brightness: 12-bit TIFF there, float here
    (evaldata / "field.tif").write_bytes(made.tif(made.cells(1).astype(np.float32) * 2 + 100))
    (evaldata / "pair_0.png").write_bytes(made.png(made.cells(103)))
    (evaldata / "notes.txt").write_bytes(b"not an image")
    (evaldata / "broken.png").write_bytes(b"broken")
    report = curate(raw[1], raw[0], tmp_path / "out", settings=SMALL, evaldata=evaldata.parent, workers=0)
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    caught = rejected[rejected["reason"] == "in_evaluation_set"]
    assert set(caught["idx"]) == {"one-1", "two-1"}
    assert len(caught) == 8
    assert set(caught["detail"]) == {"same pixels as bbbc021/field.tif", "same pixels as bbbc021/pair_0.png"}
    assert report["settings"]["evaldata"]
    assert report["evaluation"]["channels"] == 2
    assert list(report["evaluation"]["skipped"]) == ["bbbc021/broken.png"]


def test_evaluation_images_in_a_zip_are_found_and_unread_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "MAX_MEMBER_BYTES", 60_000)
    (tmp_path / "evaldata" / "bbbc021").mkdir(parents=True)
    held = made.png(made.cells(1))
    with zipfile.ZipFile(tmp_path / "evaldata" / "bbbc021" / "Week1.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Week1/field.tif", made.tif(made.cells(0)))
        archive.writestr("Week1/other.PNG", held)
        archive.writestr("Week1/readme.txt", "not an image")
        archive.writestr("Week1/broken.png", "broken")
        archive.writestr("Week1/bomb.tif", bytes(60_001))
        archive.writestr("Week1/inner.zip", "PK")
        archive.writestr("Week1/cells.hdf5", "HDF")
        archive.writestr("Week1/rotten.png", held, zipfile.ZIP_STORED)
        archive.writestr("../../outside.png", made.png(made.cells(2)))
        archive.writestr("__MACOSX/Week1/._field.tif", "resource fork")
    path = tmp_path / "evaldata" / "bbbc021" / "Week1.zip"
    data = bytearray(path.read_bytes())
    data[data.rindex(held) + len(held) // 2] ^= 1
    path.write_bytes(data)
    (tmp_path / "evaldata" / "torn.zip").write_bytes(data[: len(data) // 2])
    known = evaluation_images.read_evaluation(tmp_path / "evaldata", workers=0)
    inside = "bbbc021/Week1.zip"
    names = ("Week1/field.tif", "Week1/other.PNG", "../../outside.png")
    assert sorted(known.files.values()) == sorted(f"{inside}/{name}" for name in names)
    assert known.files[pixel_digest(to_grey8(normalise(made.cells(0))))] == f"{inside}/Week1/field.tif"
    reasons = {name.removeprefix(f"{inside}/Week1/"): reason for name, reason in known.skipped.items()}
    assert reasons.keys() == {"broken.png", "bomb.tif", "inner.zip", "cells.hdf5", "rotten.png", "torn.zip"}
    assert "more than 60,000 bytes" in reasons["bomb.tif"]
    assert "inside a zip" in reasons["inner.zip"]
    assert "can't be unpacked: Bad CRC-32" in reasons["rotten.png"]
    assert "not a readable zip" in reasons["torn.zip"]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["Week1.zip", "torn.zip"]


@pytest.mark.parametrize("layout", ["coos7", "deeploc"])
def test_evaluation_cells_in_hdf5_are_found(layout, tmp_path):
    import h5py

    raw = tmp_path / "raw"
    raw.mkdir()
    rows = []
    planes = [made.cells(n, (64, 64)).astype(np.float32) for n in range(8)]
    for n, plane in enumerate(planes):
        (raw / f"{n}.tif").write_bytes(made.tif(plane))
        rows.append(made.row(f"c-{n}", "a", f"{n}.tif", "c"))
    with h5py.File(tmp_path / "evaluation.hdf5", "w") as table:
        held = np.stack(planes[:4]).reshape(2, 2, 64, 64)
        table["data1" if layout == "deeploc" else "data"] = held.reshape(2, -1) if layout == "deeploc" else held
        table["labels"] = np.arange(2)
    evaldata = tmp_path / "evaldata"
    evaldata.mkdir()
    (tmp_path / "evaluation.hdf5").rename(evaldata / "e.hdf5")
    report = curate(pd.DataFrame(rows), raw, tmp_path / "out", settings=SMALL, evaldata=evaldata, workers=0)
    assert report["counts"]["images"] == {"tried": 8, "kept": 4, "rejected": {"in_evaluation_set": 4}}


def test_the_number_of_crops_depends_on_the_class_size():
    rows = [made.row(f"x-{n}", "big", f"{n}.tif", "x") for n in range(1000)]
    rows += [made.row(f"y-{n}", "mid", f"{n}.tif", "y") for n in range(420)]
    plan = make_plan(pd.DataFrame(rows))
    assert np.bincount(plan.crops, minlength=5).tolist() == [0, 1000, 0, 420, 0]
    jobs = list(plan.jobs(256))
    assert [len(job.rows) for job in jobs] == [256] * 5 + [140]
    assert sorted(row.idx for job in jobs for row in job.rows) == sorted(r["idx"] for r in rows)


def test_rows_that_label_left_out_are_carried_over(raw, tmp_path):
    schema.write(raw[1], tmp_path / "selection.parquet", schema.SELECTION)
    left = pd.DataFrame([("z-1", "z/1.tif", "z", "", "label", "not_selected", "")] * 3, columns=schema.REJECTED.names)
    schema.write(left, tmp_path / "selection.rejected.parquet", schema.REJECTED)
    report = curate(tmp_path / "selection.parquet", raw[0], tmp_path / "out", settings=SMALL, workers=0)
    rejected = schema.read(tmp_path / "out" / "rejected.parquet", schema.REJECTED)
    assert rejected["reason"].tolist()[:3] == ["not_selected"] * 3
    assert report["by_source"]["z"]["rows"] == {"in": 3, "kept": 0, "rejected": {"not_selected": 3}}
    assert report["counts"]["rows"]["in"] == len(raw[1]) + 3


def test_wrong_input_is_refused(raw, tmp_path):
    with pytest.raises(UsageError, match="selected twice"):
        curate(pd.concat([raw[1], raw[1].head(1)]), raw[0], tmp_path / "out", workers=0)
    with pytest.raises(UsageError, match="No image was selected"):
        curate(raw[1].head(0), raw[0], tmp_path / "out", workers=0)
    with pytest.raises(UsageError, match="No split rule"):
        curate(raw[1], raw[0], tmp_path / "out", settings=Settings(split="x"), workers=0)
    outside = raw[1].head(1).assign(channels="../secret.tif")
    report = curate(outside, raw[0], tmp_path / "out", workers=0)
    assert report["counts"]["images"]["rejected"] == {"unreadable": 1}


def test_changed_settings_are_refused_or_rebuilt(raw, tmp_path):
    few = raw[1].head(6)
    curate(few, raw[0], tmp_path / "a", settings=SMALL, workers=0)
    other = Settings(seed=1, min_class_size=2, chunk_rows=5)
    with pytest.raises(SettingsChangedError, match="seed 0, now 1"):
        curate(few, raw[0], tmp_path / "a", settings=other, workers=0)
    curate(few, raw[0], tmp_path / "a", settings=other, workers=0, rebuild=True)
    curate(few, raw[0], tmp_path / "b", settings=other, workers=0)
    assert made.contents(tmp_path / "a") == made.contents(tmp_path / "b")


def test_a_rerun_writes_only_what_changed(raw, tmp_path, monkeypatch):
    folder = tmp_path / "raw"
    selection = made.make(folder, images=3)
    curate(selection, folder, tmp_path / "out", settings=SMALL, workers=0)
    before = made.contents(tmp_path / "out")
    written = []
    from cytoimagenet.builder.curate import chunk

    plain = chunk._write
    monkeypatch.setattr(chunk, "_write", lambda file, rows, *rest: written.append(rows) or plain(file, rows, *rest))
    curate(selection, folder, tmp_path / "out", settings=SMALL, workers=0)
    assert written == []
    assert made.contents(tmp_path / "out") == before
    # another image of the same size under the same name
    (folder / "one" / "a1.tif").write_bytes(made.tif(made.cells(77)))
    curate(selection, folder, tmp_path / "out", settings=SMALL, workers=0)
    assert len(written) == 1
    assert "one-1" in {row.idx for row in written[0]}
    curate(selection, folder, tmp_path / "fresh", settings=SMALL, workers=0)
    assert made.contents(tmp_path / "out") == made.contents(tmp_path / "fresh")


def test_a_damaged_chunk_is_written_again(raw, tmp_path):
    curate(raw[1].head(8), raw[0], tmp_path / "out", settings=SMALL, workers=0)
    before = made.contents(tmp_path / "out")
    victim = next((tmp_path / "out" / "chunks").iterdir())
    victim.write_bytes(victim.read_bytes()[:1000])
    curate(raw[1].head(8), raw[0], tmp_path / "out", settings=SMALL, workers=0)
    assert made.contents(tmp_path / "out") == before


def test_order_and_copies_of_the_input_do_not_matter(raw, tmp_path):
    curate(raw[1], raw[0], tmp_path / "a", settings=SMALL, workers=0)
    elsewhere = tmp_path / "elsewhere"
    made.make(elsewhere)
    shuffled = raw[1].sample(frac=1, random_state=3)
    curate(shuffled, elsewhere, tmp_path / "b", settings=SMALL, workers=0)
    assert made.contents(tmp_path / "a") == made.contents(tmp_path / "b")


def test_without_a_good_crop_the_uncropped_image_is_tried(tmp_path):
    # 30 % of the pixels at grey level 1 and 0.2 % white: too faint for a crop, not dim by the rule for uncropped images
    number = np.arange(160 * 160)
    image = np.where(number % 500 == 0, 2550, np.where(number % 10 < 3, 10, 0)).astype(np.uint16).reshape(160, 160)
    (tmp_path / "x.tif").write_bytes(made.tif(image))
    selection = pd.DataFrame([made.row("x-0", "a", "x.tif", "x")])
    report = curate(selection, tmp_path, tmp_path / "out", settings=Settings(min_class_size=1), workers=0)
    rows = schema.read(tmp_path / "out" / "rows.parquet", schema.CURATED)
    assert report["counts"]["images"] == {"tried": 5, "kept": 1, "rejected": {"dim": 4}}
    assert report["counts"]["rows"] == {"in": 1, "kept": 1, "rejected": {}}
    assert rows[["crop", "width", "height"]].values.tolist() == [[False, 160, 160]]
    assert json.loads((tmp_path / "out" / "curated.json").read_text()) == report


def test_the_qc_montage_has_a_row_for_the_worst_a_sample_and_each_reason(curated, raw, tmp_path):
    from cytoimagenet.builder.curate.qc import qc_montage
    from cytoimagenet.builder.images.contact_sheet import GAP, TILE

    drawn = qc_montage(curated[0], raw[0], images=4)
    reasons = curated[3]["reason"].nunique()
    assert reasons == len({reason for reason, _ in made.defects().values()}) + 1  # and the duplicates
    assert drawn.height == (2 + reasons) * (TILE + GAP) + GAP
    with pytest.raises(UsageError, match="not a finished curated folder"):
        qc_montage(tmp_path, raw[0])


def test_what_a_file_states_about_its_pixels_fills_what_the_catalogue_lacks(tmp_path, rng):
    def image(name, **how):
        (tmp_path / "raw" / "lab").mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 4000, (150, 160), dtype=np.uint16)
        tifffile.imwrite(tmp_path / "raw" / "lab" / name, pixels, metadata=None, **how)
        return f"lab/{name}"

    known = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    rows = [
        made.row("lab-0", "alpha", image("0.tif", **known), "lab"),
        made.row("lab-1", "alpha", image("1.tif"), "lab"),
        made.row("lab-2", "alpha", image("2.tif", **known), "lab")
        | {"pixel_size": 0.65, "magnification": 20.0, "plate": "P1", "well": "A01", "control": "negative"},
    ]
    settings = Settings(min_class_size=1)
    curate(pd.DataFrame(rows)[schema.SELECTION.names], tmp_path / "raw", tmp_path / "out", settings=settings, workers=1)
    found = schema.read(tmp_path / "out" / "rows.parquet", schema.CURATED)
    columns = ["idx", "pixel_size", "magnification", "plate", "well", "control"]
    each = found[columns].drop_duplicates().set_index("idx")
    each = each.astype(object).where(each.notna(), None)
    assert each.loc["lab-0"].tolist() == [0.5, None, "", "", ""]
    assert each.loc["lab-1"].tolist() == [None, None, "", "", ""]
    assert each.loc["lab-2"].tolist() == [0.65, 20.0, "P1", "A01", "negative"]  # every crop has those of its image
    assert (found.groupby("idx").size() == 4).all()
