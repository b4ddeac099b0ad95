"""What the published rows tell about their source images, and what they do not."""

import pandas as pd
import pyarrow as pa
import pytest
from cytoimagenet.builder import schema
from cytoimagenet.builder.archive.import_kaggle import import_archive
from cytoimagenet.builder.archive.provenance import provenance_of, sources_of
from cytoimagenet.builder.dataset.manifest import Manifest

from tests.builder.archive.test_import_kaggle import files_of, images, pack, rows

# dir_name, idx, path, filename, stains -> plate, well, site, magnification, channel_type
ROWS = [
    (("idr0016", "idr0016-3", "/cytoimagenet/taxol", "taxol-01.png", "er|nucleus"), ("", "", "", 20.0, "er|nucleus")),
    (("", "rec_rxrx1-3", "/home/me/cytoimagenet/s1", "s1-1.png", ""), ("", "", "", None, "")),
    (
        ("rec_rxrx1", "rec_rxrx1-4", "/data/rec_rxrx1/images/HEPG2-08/Plate1", "B03_s2_w3.png", "actin"),
        ("HEPG2-08_1", "B03", "2", None, "actin"),
    ),
    (
        ("bbbc022", "bbbc022-7", "bbbc022/20585w1", "IXMtest_A01_s3_w1FE.tif", "nucleus"),
        ("20585", "A01", "3", 20.0, "nucleus"),
    ),
    (("mine", "mine-1", "/x/rec_rxrx1/HEPG2-08/Plate1", "B03_s2_w3.png", "my dye"), ("", "", "", None, "")),
    (("", "no source-1", "", "a.png", "dapi|bright"), ("", "", "", None, "nucleus|")),
]


def test_each_row_gets_what_it_tells():
    given = list(zip(*(row for row, _ in ROWS), strict=True))
    text = dict(zip(("dir_name", "idx", "path", "filename", "channels"), map(pa.array, given), strict=True))
    sources = sources_of(text["dir_name"], text["idx"])
    assert sources.tolist() == ["idr0016", "rec_rxrx1", "rec_rxrx1", "bbbc022", "mine", ""]
    found = provenance_of(sources, text)
    names = ("plate", "well", "site", "magnification", "channel_type")
    assert list(zip(*(found[name].to_pylist() for name in names), strict=True)) == [expected for _, expected in ROWS]
    assert set(found["control"].to_pylist()) == {""} and found["pixel_size"].null_count == len(ROWS)
    for name, column in found.items():
        assert column.type == schema.METADATA.field(name).type


def test_an_import_fills_the_columns(tmp_path):
    table = rows().drop(columns="dir_name")
    archive = pack(tmp_path, files_of(table, images()), table, "folder")
    import_archive(archive, tmp_path / "out")
    manifest = Manifest.load(tmp_path / "out")
    found = manifest.metadata()
    assert manifest.schema_version == schema.VERSION
    assert found["dir_name"].unique().tolist() == ["rec_rxrx1"]
    assert found["licence"].unique().tolist() == ["CC BY-NC-SA 4.0 (unverified)"]
    assert found["channel_type"].unique().tolist() == ["nucleus|er"]
    for name in ("group", "plate", "well", "site", "control", "alternatives"):
        assert found[name].unique().tolist() == [""]
    assert found[["magnification", "pixel_size"]].isna().all(axis=None)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "types", "plates", "wells"),
    [
        ("bbbc006", {"nucleus|actin"}, {"mcf-z-stacks-03212011"}, 384),
        ("bbbc013", {"nucleus"}, {""}, 96),
        ("bbbc014", {"nucleus"}, {""}, 96),
        ("bbbc015", {"nucleus|membrane"}, {""}, 0),
        ("bbbc026", {"nucleus"}, {"ADSASS092408-GHAD2-D6-20x"}, 96),
        ("cil_kinome", {"nucleus|protein"}, {""}, 0),
        ("kag_cell_cycle", {""}, {""}, 0),
    ],
)
def test_the_authors_own_rows_of_source_images(name, types, plates, wells, shared):
    [file] = (shared / "metadata" / name / "expected").glob("*.csv")
    published = pd.read_csv(file, dtype="str").fillna("")
    text = {column: pa.array(published[column], pa.string()) for column in ("path", "filename", "channels")}
    found = provenance_of(pd.Series(name, index=published.index, dtype="str"), text)
    assert set(found["channel_type"].to_pylist()) == types
    assert set(found["plate"].to_pylist()) == plates
    assert len(set(found["well"].to_pylist()) - {""}) == wells
