"""Features of a user's own images: equal to a plain loop, every sample accounted for, the tables others can use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import typer
from cytoimagenet import extract_features
from cytoimagenet.builder.errors import MetadataError, UsageError
from cytoimagenet.builder.image_table.table import read_image_table
from cytoimagenet.eval.commands import features as command
from cytoimagenet.eval.features import backbones, cache, decode, own_images, profiles, tiles, write_profiles
from cytoimagenet.eval.features.extract import extract
from cytoimagenet.eval.features.image_samples import samples_of
from cytoimagenet.eval.tables.feature_table import read_table
from PIL import Image
from typer.testing import CliRunner


class Moments(torch.nn.Module):
    """Compute three features that are easy to compute by hand."""

    def __init__(self, power=1.0):
        super().__init__()
        self.power = torch.nn.Parameter(torch.tensor(power))

    def forward(self, x):
        return torch.stack([x.mean((1, 2, 3)) ** self.power, x.amax((1, 2, 3)), x[:, 1].amin((1, 2))], 1)


def moments(image):
    return [image.mean(), image.max(), image.min()]


def stretched(plane):
    """Stretch a plane between its 0.1 and 99.9 percentile, in the plainest way."""
    low, high = np.percentile(plane.astype(np.float64), [0.1, 99.9])
    return np.clip((plane - low) / (high - low), 0, 1) if high > low else np.zeros(plane.shape)


def shrunk(plane, height, width):
    tensor = torch.from_numpy(plane.astype(np.float32))[None, None]
    options = {"mode": "bilinear", "antialias": True, "align_corners": False}
    return torch.nn.functional.interpolate(tensor, size=(height, width), **options)[0, 0].numpy()


@pytest.fixture
def network(monkeypatch):
    """Every name loads `Moments`; another name, another power."""
    monkeypatch.setattr(backbones, "load", lambda name: backbones.backbone(Moments(float(name[-1:] == "2") + 1), name))


@pytest.fixture
def plate(tmp_path, rng):
    """Six wells of two channels, of several sizes and types, and three rows that can't be used."""
    root = tmp_path / "plate"
    root.mkdir()
    rows = []
    for number in range(6):
        size = (40 + 4 * number, 50 - 2 * number)
        dna, gfp = f"dna{number}.tif", f"gfp{number}.png"
        tifffile.imwrite(root / dna, rng.integers(0, 4000, size).astype([np.uint16, np.float32, np.int16][number % 3]))
        Image.fromarray(rng.integers(0, 256, size).astype(np.uint8)).save(root / gfp)
        well = "AB"[number % 2] + f"0{number // 2 + 1}"
        rows.append((f"s{number}", dna, gfp, f"m{number % 2}", "p1" if number < 4 else "p2", well, 0.5 * number))
    (root / "broken.tif").write_bytes(b"II*\0")
    tifffile.imwrite(root / "nan.tif", np.full((40, 50), np.nan, np.float32))
    tifffile.imwrite(root / "flat.tif", np.full((40, 50), 7, np.uint8))
    rows.insert(1, ("broken", "broken.tif", "gfp0.png", "m0", "p1", "C01", 0))
    rows.insert(4, ("nan", "nan.tif", "gfp0.png", "m0", "p1", "C02", 0))
    rows.append(("gone", "gone.tif", "gfp0.png", "m0", "p1", "C03", 0))
    rows.append(("flat", "flat.tif", "dna0.tif", "m1", "p2", "C04", 0))
    columns = ["id", "file_DNA", "file_390 - Blue", "label", "plate", "Well", "dose"]
    pd.DataFrame(rows, columns=columns).to_csv(root / "images.csv", index=False)
    return root


GOOD = ["s0", "s1", "s2", "s3", "s4", "s5", "flat"]


def planes_of(plate, name):
    if name == "flat":
        return [np.full((40, 50), 7, np.uint8), tifffile.imread(plate / "dna0.tif")]
    return [tifffile.imread(plate / f"dna{name[1]}.tif"), np.asarray(Image.open(plate / f"gfp{name[1]}.png"))]


@pytest.mark.filterwarnings("ignore:3 of 10 samples")
def test_features_equal_a_plain_loop(plate, network):
    table = extract_features(plate, model="m", input_size=24, engine="torch")
    assert table.columns[:5].tolist() == [f"Metadata_{name}" for name in ("id", "label", "Plate", "Well", "dose")]
    assert table.columns[5:].tolist() == [f"m_{c}_000{n}" for c in ("DNA", "390-Blue") for n in range(3)]
    assert table["Metadata_id"].tolist() == GOOD
    assert table["Metadata_dose"].tolist() == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "0.0"]
    for row, name in enumerate(GOOD):
        expected = [moments(shrunk(stretched(plane), 24, 24)) for plane in planes_of(plate, name)]
        np.testing.assert_allclose(table.iloc[row, 5:].astype(float), np.ravel(expected), rtol=1e-5, atol=1e-5)
    assert set(table.dtypes.iloc[5:]) == {np.dtype(np.float32)}


def test_rejected_samples_are_named_and_strict_is_an_error(plate, network):
    with pytest.warns(UserWarning, match=r"3 of 10 samples can't be used, the first: gone\.tif: line 10"):
        table = extract_features(plate, model="m", input_size=16, engine="torch")
    reasons = {bad["id"]: bad["reason"] for bad in table.attrs["rejected"]}
    assert reasons == {"gone": "missing_channel", "broken": "unreadable", "nan": "not_finite"}
    with pytest.raises(MetadataError, match="Only 9 of 10"):
        extract_features(plate, model="m", strict=True)
    (plate / "gone.tif").write_bytes((plate / "dna0.tif").read_bytes())
    with pytest.raises(MetadataError, match=r"Only 8 of 10 samples can be used: broken\.tif"):
        extract_features(plate, model="m", input_size=16, engine="torch", strict=True)


def test_a_table_of_unreadable_images_is_an_error(plate, network):
    (plate / "images.csv").write_text("file\nbroken.tif\nnan.tif\n")
    with pytest.raises(MetadataError, match=r"None of 2 samples can be used: broken\.tif"):
        extract_features(plate, model="m", engine="torch")
    with pytest.raises(UsageError, match="No image can be read"):
        extract_features(plate, model="m", engine="torch", input_size=None)


@pytest.mark.filterwarnings("ignore:3 of 10 samples")
def test_raw_and_merged_views(plate, network):
    table = extract_features(plate, model="m", preprocess=["merge-norm", "concat-raw"], input_size=20, engine="torch")
    assert table.columns[5:].tolist() == [
        *(f"m_merge-norm_000{n}" for n in range(3)),
        *(f"m_concat-raw_{c}_000{n}" for c in ("DNA", "390-Blue") for n in range(3)),
    ]
    largest = max(plane.max() for name in GOOD for plane in planes_of(plate, name))  # there are floats
    for row, name in enumerate(GOOD):
        planes = planes_of(plate, name)
        merged = np.mean([stretched(plane) for plane in planes], axis=0)
        shown = [merged, *(plane / largest for plane in planes)]
        expected = [moments(shrunk(view, 20, 20)) for view in shown]
        np.testing.assert_allclose(table.iloc[row, 5:].astype(float), np.ravel(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:3 of 10 samples")
def test_two_networks_are_side_by_side(plate, network):
    table = extract_features(plate, model=["m1", "m2"], input_size=16, engine="torch")
    one, two = (table.filter(like=f"{name}_DNA") for name in ("m1", "m2"))
    np.testing.assert_allclose(two["m2_DNA_0000"], one["m1_DNA_0000"] ** 2, rtol=1e-5)
    assert np.array_equal(two["m2_DNA_0001"], one["m1_DNA_0001"])
    with pytest.raises(UsageError, match="same name"):
        extract_features(plate, model=["m1", "m1"])


@pytest.mark.parametrize("length", [8, 9, 15, 16, 17, 100])
def test_tiles_cover_an_axis_evenly(length):
    starts = tiles.starts(length, 8)
    assert starts[0] == 0 and starts[-1] == length - 8 and len(starts) == -(-length // 8)
    assert all(0 < step <= 8 for step in np.diff(starts))


@pytest.mark.filterwarnings("ignore:3 of 10 samples")
def test_tiles_equal_a_plain_loop(plate, network):
    mean = extract_features(plate, model="m", tile=16, engine="torch")
    every = extract_features(plate, model="m", tile=16, every_tile=True, engine="torch")
    assert mean["Metadata_id"].tolist() == GOOD and "Metadata_Tile_X" not in mean
    at = 0
    for row, name in enumerate(GOOD):
        views = [stretched(plane) for plane in planes_of(plate, name)]
        height, width = views[0].shape
        corners = [(x, y) for y in tiles.starts(height, 16) for x in tiles.starts(width, 16)]
        found = [np.ravel([moments(view[y : y + 16, x : x + 16]) for view in views]) for x, y in corners]
        np.testing.assert_allclose(mean.iloc[row, 5:].astype(float), np.mean(found, axis=0), rtol=1e-5, atol=1e-5)
        part = every.iloc[at : at + len(corners)]
        assert part[["Metadata_Tile_X", "Metadata_Tile_Y"]].to_numpy().tolist() == [list(c) for c in corners]
        assert set(part["Metadata_id"]) == {name}
        np.testing.assert_allclose(part.iloc[:, 7:].astype(float), found, rtol=1e-5, atol=1e-5)
        at += len(corners)
    assert at == len(every)


@pytest.mark.filterwarnings("ignore:3 of 10 samples")
def test_an_image_smaller_than_a_tile_is_enlarged(plate, network):
    table = extract_features(plate, model="m", tile=80, engine="torch")
    planes = [stretched(plane) for plane in planes_of(plate, "s0")]  # 40 x 50 becomes 80 x 100: two tiles
    expected = [np.mean([moments(shrunk(plane, 80, 100)[:, x : x + 80]) for x in (0, 20)], axis=0) for plane in planes]
    np.testing.assert_allclose(table.iloc[0, 5:].astype(float), np.ravel(expected), rtol=1e-4, atol=1e-5)


def test_options_that_contradict(plate, network):
    with pytest.raises(UsageError, match="without their size"):
        extract_features(plate, model="m", every_tile=True)
    with pytest.raises(UsageError, match=r"different sizes: 50 x 40 and 48 x 44 pixels") as caught:
        extract_features(plate, model="m", input_size=None, engine="torch")
    assert "sample s1" in caught.value.where
    with pytest.raises(UsageError, match="no preprocessing best"):
        extract_features(plate, model="m", preprocess="best")


def test_images_of_one_size_are_shown_as_they_are(tmp_path, rng, network):
    for number in range(3):
        Image.fromarray(rng.integers(0, 256, (20, 30)).astype(np.uint8)).save(tmp_path / f"{number}.png")
    table = extract_features(tmp_path, model="m", input_size=None, engine="torch")
    for number in range(3):
        expected = moments(stretched(np.asarray(Image.open(tmp_path / f"{number}.png"))))
        np.testing.assert_allclose(table.iloc[number, 1:].astype(float), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "all_workers"), [({"size": 12}, (1, 3)), ({"tile": 16, "every_tile": True}, (1, 3, 2))]
)
def test_threads_and_processes_give_the_same(plate, tmp_path, monkeypatch, options, all_workers):
    monkeypatch.setattr("cytoimagenet.eval.features.extract.BATCH_PIXELS", 2 * 2 * 12 * 12)
    network = backbones.backbone(Moments(), "m")
    samples = samples_of(read_image_table(plate))
    tables = []
    for workers in all_workers:
        if workers == 2:
            monkeypatch.setattr(decode, "MOST_THREADS", 1)  # two processes
        place = tmp_path / str(workers)
        settings = {"methods": ["concat-norm"], "engine": "torch", "workers": workers, "cache": place}
        tables.append(extract(samples, network, **settings, **options)["m", "concat-norm"])
    for table in tables[1:]:
        assert table.ids == tables[0].ids and table.refused == tables[0].refused
        assert np.array_equal(table.values, tables[0].values)
    assert [refusal.reason for refusal in tables[0].refused] == ["unreadable", "not_finite"]


def test_an_error_in_a_process_keeps_its_text(plate):
    samples = samples_of(read_image_table(plate))
    careful = decode._ErrorsAsValues(decode.Decoder(samples, ["merge-norm"], samples.first_shape, resize=False))
    found = decode._packed([careful[0], careful[2]])  # as a worker of torch calls them
    assert isinstance(found, UsageError) and found.next == "Use --input-size 224 to resize them, or --tile 224"


def test_shared_memory_that_is_too_small_means_threads(plate, monkeypatch):
    samples = samples_of(read_image_table(plate))
    decoder = decode.Decoder(samples, ["merge-norm"], (10, 10), resize=True)
    parts = [range(4), range(4, 8)]
    monkeypatch.setattr(decode.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 4 * 400 * 2 * 3}))
    assert not decode._fits_shared_memory(decoder, parts, 2)
    monkeypatch.setattr(decode.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 4 * 400 * 2 * 3 + 1}))
    assert decode._fits_shared_memory(decoder, parts, 2)


class KilledError(BaseException):
    """A kill at a write."""


@pytest.mark.parametrize("stop", range(0, 9))
def test_a_run_killed_at_any_write_resumes_to_the_same_bytes(plate, network, monkeypatch, stop):
    monkeypatch.setattr(cache, "chunks_of", lambda n, view: [range(i, min(i + 3, n)) for i in range(0, n, 3)])
    written = Path("whole.parquet")
    run = [str(plate), "--model", "m", "--input-size", "12", "--engine", "torch"]
    assert typed(*run, "--out", str(written), "--cache", "whole").exit_code == 0
    count = 0

    def counted(real):
        def write(*arguments):
            nonlocal count
            if count == stop:
                raise KilledError
            count += 1
            return real(*arguments)

        return write

    with monkeypatch.context() as patch:
        for module, names in ((cache, ["write_atomic", "atomic_writer"]), (write_profiles, ["atomic_writer"])):
            for name in names:
                patch.setattr(module, name, counted(getattr(module, name)))
        try:
            typed(*run, "--out", "cut.parquet", "--cache", "cut")
            killed = False
        except KilledError:
            killed = True
    assert killed == (stop < 7)  # three chunks, features, about, ids, the table
    assert Path("cut.parquet").is_file() != killed
    assert typed(*run, "--out", "cut.parquet", "--cache", "cut").exit_code == 0
    assert Path("cut.parquet").read_bytes() == written.read_bytes()
    assert Path("cut.rejected.csv").read_bytes() == Path("whole.rejected.csv").read_bytes()


def test_a_changed_image_is_computed_again(plate, network):
    first = own(plate)
    pixels = np.asarray(Image.open(plate / "gfp2.png"))
    Image.fromarray(255 - pixels // 2).save(plate / "gfp2.png")
    second = own(plate)
    changed = (first.values() != second.values()).any(1)
    assert changed.tolist() == [name == "s2" for name in GOOD]


def own(plate, **options):
    """Return the profiles of the plate, from a cache that stays."""
    table, networks = read_image_table(plate), [backbones.load("m")]
    settings = {"size": 12, "engine": "torch", "cache": "cache", **options}
    return own_images.profile(table, networks, **settings)[0]


def test_aggregate_is_the_mean_of_the_rows(plate, network):
    rows = own(plate)
    wells = own(plate, aggregate=["Metadata_Plate", "Metadata_label"])
    frame = rows.to_frame()
    expected = frame.groupby(["Metadata_Plate", "Metadata_label"], sort=False)[rows.names].mean()
    assert wells.metadata[["Metadata_Plate", "Metadata_label"]].apply(tuple, axis=1).tolist() == list(expected.index)
    np.testing.assert_allclose(wells.values(), expected.to_numpy(), rtol=1e-6)
    assert wells.metadata["Metadata_Image_Count"].tolist() == [2, 2, 1, 2]
    assert wells.metadata.columns.tolist() == ["Metadata_Plate", "Metadata_label", "Metadata_Image_Count"]
    by_well = own(plate, aggregate=["Metadata_Well"]).metadata
    assert {"Metadata_id", "Metadata_dose"} <= set(by_well)  # one value in each well
    with pytest.raises(UsageError, match="no column Metadata_plate") as caught:
        own(plate, aggregate=["Metadata_plate"])
    assert "Metadata_Plate" in caught.value.next


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz", ".npz", ".h5ad"])
def test_every_format_gives_the_numbers_back(plate, network, monkeypatch, suffix):
    monkeypatch.setattr(profiles, "BYTES_AT_ONCE", 3 * 4 * 6)  # parts of three rows
    table = own(plate)
    frame = table.to_frame()
    path = Path(f"out{suffix}")
    write_profiles.write(table, path)
    if suffix == ".parquet":
        back = pd.read_parquet(path)
    elif suffix == ".npz":
        with np.load(path) as arrays:
            back = pd.DataFrame(arrays["features"], columns=arrays["feature_names"])
            for place, name in enumerate(name for name in frame if name.startswith("Metadata_")):
                back.insert(place, name, arrays[name])
    elif suffix == ".h5ad":
        anndata = pytest.importorskip("anndata")
        data = anndata.read_h5ad(path)
        assert data.X.dtype == np.float32 and data.obs_names.tolist() == GOOD
        assert json.loads(data.uns["cytoimagenet"])["networks"][0]["input_size"] == 12
        back = pd.concat([data.obs.astype("str").reset_index(drop=True), data.to_df().reset_index(drop=True)], axis=1)
    else:
        back = pd.read_csv(path, dtype={name: "str" for name in frame if name.startswith("Metadata_")})
        back = back.astype(dict.fromkeys(table.names, np.float32))
    assert back.columns.tolist() == frame.columns.tolist()
    for name in frame:
        assert back[name].tolist() == frame[name].tolist(), name
    if suffix != ".h5ad":
        before = path.read_bytes()
        write_profiles.write(own(plate), path)
        assert path.read_bytes() == before


def test_an_unknown_format_is_refused_before_anything_is_computed(plate, network):
    result = typed(str(plate), "--model", "m", "--out", "out.xlsx")
    assert result.exit_code != 0 and "not written as 'out.xlsx'" in str(result.exception)
    assert not Path("features-cache").exists()


def test_our_own_scorers_read_the_table(plate, network):
    write_profiles.write(own(plate), "out.parquet")
    table = read_table("out.parquet")
    assert table.values.shape == (7, 6) and table.names[0] == "m_DNA_0000"
    assert {"id", "label", "plate", "well"} <= set(table.keys.columns) and table.keys["id"].tolist() == GOOD


def test_pycytominer_and_copairs_take_the_table(plate, network):
    pycytominer = pytest.importorskip("pycytominer")
    from copairs import map as copairs

    table = own(plate, aggregate=["Metadata_Plate", "Metadata_Well", "Metadata_label"]).to_frame()
    features = [name for name in table if not name.startswith("Metadata_")]
    wells = pycytominer.aggregate(table, strata=["Metadata_Plate", "Metadata_Well"], features=features)
    assert len(wells) == 7 and np.allclose(
        wells.set_index("Metadata_Well")[features].loc["A01"],
        table.set_index("Metadata_Well")[features].loc["A01"].to_numpy(),
    )
    normalised = pycytominer.normalize(table, features=features, meta_features="infer", method="standardize")
    assert normalised.columns.tolist() == table.columns.tolist()
    assert np.allclose(normalised[features].mean(), 0, atol=1e-4)
    selected = pycytominer.feature_select(normalised, features=features, operation=["variance_threshold"])
    assert set(selected.columns) <= set(normalised.columns) and "Metadata_Well" in selected
    meta = normalised.filter(regex="^Metadata_")
    found = copairs.average_precision(
        meta, normalised[features].to_numpy(), ["Metadata_label"], [], [], ["Metadata_label"]
    )
    assert len(found) == 7 and found["average_precision"].between(0, 1).all()


def typed(*arguments):
    app = typer.Typer()
    command.add_to(app)
    return CliRunner().invoke(app, [*arguments])


def test_the_command(plate, network):
    shown = typed(str(plate), "--model", "m1,m2", "--input-size", "16", "--engine", "torch", "--out", "out.csv.gz")
    assert shown.exit_code == 0, shown.output
    assert "out.csv.gz: 7 rows of 12 features; Metadata_id, Metadata_label, Metadata_Plate" in shown.output
    assert "7 of 10 samples" in shown.output
    listed = pd.read_csv("out.rejected.csv", keep_default_na=False)
    assert listed["id"].tolist() == ["gone", "broken", "nan"]
    assert pd.read_csv("out.csv.gz").shape == (7, 17)
    again = typed(
        *(str(plate), "--model", "m1", "--model", "m2", "--input-size", "16", "--engine", "torch", "--json"),
        *("--aggregate", "Metadata_Plate", "--out", "wells.parquet"),
    )
    found = json.loads(again.output)
    assert (found["rows"], found["features"], found["samples"], found["offered"]) == (2, 12, 7, 10)
    assert found["aggregate"] == ["Metadata_Plate"]
    assert [one["model"] for one in found["networks"]] == ["m1", "m2"]
    assert pd.read_parquet("wells.parquet")["Metadata_Plate"].tolist() == ["p1", "p2"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["PLATE", "--tasks", "coos7"], "not for your own images"),
        (["PLATE", "--tile", "16", "--input-size", "16"], "either resized or cut"),
        (["PLATE", "--every-tile"], "without their size"),
        (["PLATE", "--preprocess", "best"], "best"),
        (["PLATE", "--strict"], "Only 9 of 10"),
        (["nowhere"], "no such file or folder"),
        (["--tile", "16"], "are for your own images"),
        (["--aggregate", "Metadata_Well", "--tasks", "coos7"], "are for your own images"),
    ],
)
def test_errors_of_the_command(plate, network, arguments, problem):
    result = typed(*[str(plate) if word == "PLATE" else word for word in arguments], "--model", "m")
    assert result.exit_code != 0 and problem in str(result.exception)


@pytest.mark.real
def test_real_cells_through_imagenet_equal_plain_torch(shared, tmp_path):
    pytest.importorskip("efficientnet_lite_pytorch")
    from cytoimagenet.training.model import imagenet_backbone

    table = read_image_table(shared / "real/tasks/yeast_wt2.zip")
    table = own_images.replace(table, rows=table.rows.iloc[::400].reset_index(drop=True))
    network = imagenet_backbone().eval()
    found = extract_features(table, model="imagenet", engine="torch")
    assert len(found) == 5 and found.columns[2] == "imagenet_gfp_0000"
    import io
    import zipfile

    with zipfile.ZipFile(shared / "real/tasks/yeast_wt2.zip") as archive, torch.no_grad():
        for row in range(5):
            expected = []
            for channel in ("file_gfp", "file_rfp"):
                plane = np.asarray(Image.open(io.BytesIO(archive.read(table.rows[channel][row]))))
                grey = torch.from_numpy(shrunk(stretched(plane), 224, 224).clip(0, 1))
                expected.append(network(grey[None, None].expand(1, 3, 224, 224).contiguous())[0].numpy())
            numbers = found.iloc[row, 2:].to_numpy(np.float32)
            np.testing.assert_allclose(numbers, np.concatenate(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [7, 200])
def test_text_that_repeats_is_written_as_anndata(count):
    anndata = pytest.importorskip("anndata")
    columns = {
        "id": [f"s{i}" for i in range(count)],
        "plate": [f"p{i % 12}" for i in range(count)],
        "empty": [""] * count,
    }
    metadata = pd.DataFrame({f"Metadata_{name}": pd.Series(values, dtype="str") for name, values in columns.items()})
    values = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    write_profiles.write(profiles.Profiles(metadata, ["a", "b"], [values]), "x.h5ad")
    back = anndata.read_h5ad("x.h5ad")
    assert np.array_equal(back.X, values)
    for name in metadata:
        assert back.obs[name].astype("str").tolist() == metadata[name].tolist()
