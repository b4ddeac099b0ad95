"""The real annotations of the IDR studies: file lists derived from them give the counts of the published registry."""

from __future__ import annotations

import ast
import csv
import shutil
from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
from cytoimagenet.builder.sources.folder import Folder
from cytoimagenet.builder.sources.plates import PlateFolders
from cytoimagenet.builder.sources.registry import SOURCES
from cytoimagenet.builder.sources.rows import read_source
from cytoimagenet.builder.sources.wells import well_name

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def registry(shared):
    """Per source: label -> number of images, as lists (a name may repeat)."""
    csv.field_size_limit(10**9)
    with open(shared / "metadata" / "registry" / "datasets_info.csv", encoding="utf-8-sig", newline="") as file:
        rows = {row["dir_name"]: row for row in csv.DictReader(file)}

    def known(source, names="phenotype"):
        return ast.literal_eval(rows[source][names]), ast.literal_eval(rows[source]["class_sizes"])

    return known


@pytest.fixture
def read(shared, tmp_path):
    """Read a source from some of its real tables and a list of files; check that every file is accounted for."""

    def reading(source, tables, files, record=None):
        root = tmp_path / str(len(list(tmp_path.iterdir()))) / source
        root.mkdir(parents=True)
        for name in tables:
            shutil.copy(shared / "metadata" / source / name, root / name)
        (root / "files.txt").write_text("".join(f"{file}\n" for file in files))
        folder = Folder(root, source)
        rows = read_source(record or SOURCES[source], folder).to_pandas()
        counts = folder.counts
        assert counts.listed == len(files) == counts.used + sum(counts.skipped.values())
        assert counts.rows == len(rows)
        # a well has one organism and one cell line, and no table at hand but idr0037's library contradicts another
        assert not rows.organism.str.contains("|", regex=False).any()
        assert not rows.cell_type.str.contains("|", regex=False).any()
        assert counts.remarks == []
        return rows, counts

    return reading


@pytest.fixture
def lines(shared):
    """Read columns of a real table by pandas alone."""

    def reading(source, table, **columns):
        separator = "\t" if table.endswith(".txt") else ","
        path = shared / "metadata" / source / table
        found = pd.read_csv(path, sep=separator, usecols=list(columns.values()), dtype=str, keep_default_na=False)
        return found.rename(columns={theirs: ours for ours, theirs in columns.items()}).apply(lambda c: c.str.strip())

    return reading


@pytest.fixture
def folders(shared):
    """Plate -> its folder in a download, from the study's `plates.tsv`."""

    def reading(source, name, start):
        found = {}
        for line in (shared / "metadata" / source / name).read_text().splitlines():
            plate, path = sorted(line.split("\t"), key=lambda cell: cell.startswith("/uod/"))
            path = path.split(start, 1)[1]
            found[plate] = path.rsplit("/", 1)[0] if path.endswith((".wpi", ".HTD", ".xdce")) else path
        return found

    return reading


def operetta(folder, well, channels):
    row, column = ord(well[0]) - 64, int(well[1:])
    return [f"{folder}/r{row:02}c{column:02}f01p01-ch{channel}sk1fk1fl1.tiff" for channel in channels]


def scanr(folder, well, channels):
    number = (ord(well[0]) - 65) * 24 + int(well[1:])
    return [f"{folder}/--W{number:05}--P00001--Z00000--T00000--{channel}.tif" for channel in channels]


def voyager(folder, plate, well, channels):
    return [f"{folder}/{plate}_{well_name(well)}_T0001F001L01A{c:02}Z01C{c:02}.tif" for c in channels]


def test_idr0080_all_51_genes(read, lines, folders, registry):
    table = "idr0080-screenA-annotation.csv.gz"
    wells = lines("idr0080", table, plate="Plate", well="Well", gene="Gene Symbol", id="Gene Identifier")
    where = folders("idr0080", "idr0080-screenA-plates.tsv", "idr0080-way-perturbation/")
    files = [
        file
        for plate, well in zip(wells.plate, wells.well, strict=True)
        for file in operetta(where[plate] + ("/Images" if "__" in where[plate] else ""), well, range(1, 6))
    ]
    ids, sizes = registry("idr0080")
    symbols = wells[wells.id != ""].groupby("id").gene.unique()

    def by_gene(rows):
        found = Counter(rows.gene)
        return [sum(found[f"{symbol.lower()} targeted"] for symbol in symbols[i]) for i in ids]

    tables = [table, "idr0080-screenA-plates.tsv"]
    rows, counts = read("idr0080", tables, files, replace(SOURCES["idr0080"], skip=()))
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (6912, 0, 0)
    assert by_gene(rows) == sizes
    assert Counter(rows.gene)["chr2 targeted"] == 864

    # the illumination-corrected copies of the same wells are half of them, and no further images
    rows, counts = read("idr0080", tables, files)
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (3456, 0, 3456)
    assert counts.skipped == {"illumination-corrected copy": 3456 * 5}
    assert [2 * n for n in by_gene(rows)] == sizes
    assert Counter(rows.cell_type) == {"a549": 1152, "es2": 1152, "hcc44": 1152}

    # without plates.tsv the folders' own names will do
    assert read("idr0080", [table], files)[0].gene.tolist() == rows.gene.tolist()


def test_idr0072_all_15_localisations(read, lines, folders, registry):
    location = "Experimental Condition [Subcellular Localization]"
    columns = {"plate": "Plate", "well": "Well", "location": location, "short": "Comment [Protein Name Abbreviation]"}
    names = ("idr0072-screenA-annotation.csv", "idr0072-screenB-annotation.csv")
    wells = pd.concat([lines("idr0072", name, **columns) for name in names])
    labels, sizes = registry("idr0072", "cell_component")
    found = Counter(value.split(",")[0].lower() for value in wells.location)
    assert [found[label.lower()] for label in labels] == sizes

    where = {}
    for name in ("idr0072-screenA-plates.tsv", "idr0072-screenB-plates.tsv"):
        where |= folders("idr0072", name, "idr0072-schormann-subcellref/")
    files = [
        f"{where[plate]}/{ord(well[0]) - 64:03}{int(well[1:]):03}001.flex"
        for plate, well in zip(wells.plate, wells.well, strict=True)
    ]
    rows, counts = read("idr0072", [*names, *(n.replace("annotation.csv", "plates.tsv") for n in names)], files)
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (6142, 0, 0)
    assert Counter(rows.organism) == {"human": 669, "mouse": 5473}
    assert Counter(rows.cell_type) == {"mcf 10a": 669, "nmumg": 5473}
    assert Counter(rows.cell_visible)["nucleus|calr-kdel"] == 49 + 130
    assert Counter(rows.gene)["vamp5 targeted"] == 76 + 104
    first = rows.iloc[0]
    assert [part.rsplit("#", 1)[1] for part in first.channels.split("|")] == ["page=1", "page=0"]
    assert first.stains.split("|")[0] == "nucleus"


def test_idr0088_317430_wells(read, lines, registry):
    table = "idr0088-screenA-annotation.csv.gz"
    wells = lines("idr0088", table, plate="Plate", well="Well", place="Plate Location", compound="Compound Name")
    base = "ds_hcs_02/PhenoPrintScreen/raw_images_for_IDR"
    files = [
        file
        for plate, well, place in zip(wells.plate, wells.well, wells.place, strict=True)
        for file in voyager(f"{base}/{place}/{plate}", plate, well, [2])
    ]
    rows, counts = read("idr0088", [table, "idr0088-screenA-plates.tsv"], files)
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (317_430, 0, 0)
    names, sizes = registry("idr0088")
    found = Counter(rows.compound)
    assert sorted(found.values()) == sorted(sizes)  # the registry cut names at their commas: six more names than sizes
    assert (len(names), len(sizes)) == (1183, 1177)
    assert set(found) == {name.lower() for name in wells.compound}
    assert found["dibutyryl-camp, sodium salt"] == 240
    assert Counter(rows.phenotype)["actin inhibitor"] == 1440
    assert Counter(rows.stains) == {"actb": 63120, "tp53bp1": 63754, "canx": 63714, "gm130": 63429, "tuba1b": 63413}


def test_idr0081_compounds(read, lines, folders, registry):
    files, names, tables = [], [], []
    for screen in "ABCDE":
        table = f"idr0081-screen{screen}-annotation.csv"
        where = folders("idr0081", f"idr0081-screen{screen}-plates.tsv", "idr0081-georgi-adenovirus/")
        tables += [table, f"idr0081-screen{screen}-plates.tsv"]
        wells = lines("idr0081", table, plate="Plate", well="Well", compound="Compound Name")
        names += wells.compound.tolist()
        for plate, well in zip(wells.plate, wells.well, strict=True):
            if screen in "CE":  # the second site has an IN Cell
                stem = f"{where[plate]}/{well[0]} - {int(well[1:])}(fld 1 wv "
                files += [f"{stem}DAPI - DAPI).tif", f"{stem}FITC - FITC).tif"]
            else:
                stem = f"{where[plate]}/{plate}_{well_name(well)}_w"
                files += [f"{stem}1.TIF", f"{stem}2.TIF"]
    rows, counts = read("idr0081", tables, files)
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (14_592, 0, 0)
    assert not counts.notes
    found = Counter(rows.compound)
    assert found == Counter(name.lower() for name in names)
    labels, sizes = registry("idr0081")
    assert Counter(sizes) - Counter(found.values()) == {2944: 1}  # dimethyl sulfoxide; 2,560 here
    assert found["dimethyl sulfoxide"] == 2560
    # the registry cut names at their commas, so its names run out of step with its sizes
    assert sum(found[label.lower()] == n for label, n in zip(labels, sizes, strict=False)) == 1141


def test_idr0003_four_conditions(read, lines, folders, registry):
    table = "idr0003-screenA-library_2015-10-26.txt"
    wells = lines("idr0003", table, plate="Plate", well="Well")
    where = folders("idr0003", "idr0003-screenA-plates.tsv", "idr0003-breker-plasticity/")
    files = [
        file
        for plate, well in zip(wells.plate, wells.well, strict=True)
        for file in scanr(where[plate], well, ["GFP", "Cherry", "Transmitted"])
    ]
    rows, counts = read("idr0003", [table, "idr0003-screenA-plates.tsv"], files)
    assert (counts.unlabelled, counts.labels_without_image) == (0, 0)
    names, sizes = registry("idr0003")
    for kind in ("fluorescence", "brightfield"):
        found = Counter(rows.phenotype[rows.microscopy == kind])
        assert [found[name] for name in names] == sizes
    assert set(rows.gene) == {""}  # its Gene Symbol is the tagged protein's
    assert Counter(rows.cell_visible) == {"cytoplasm|protein": 32_640, "cell body": 32_640}
    # the first annotation, of two plates, agrees with the library where both speak
    both = [table, "BULK_ANNOTATION_DTT_p1_p2_p9_only_2015-09-04.csv"]
    again, counts = read("idr0003", [*both, "idr0003-screenA-plates.tsv"], files)
    assert again.phenotype.tolist() == rows.phenotype.tolist()
    assert counts.notes == {"wells that are in the library table only": 32_640 - 768}


def test_idr0009_screen_b(read, lines, folders):
    table = "idr0009-screenB-annotation_2015-12-10.csv.gz"
    wells = lines("idr0009", table, plate="Plate", well="Well", comments="Comments")
    where = folders("idr0009", "idr0009-screenB-plates.tsv", "idr0009-simpson-secretion/")
    there = ~wells.comments.str.contains("images missing")
    files = [
        file
        for plate, well in zip(wells.plate[there], wells.well[there], strict=True)
        for file in scanr(f"{where[plate]}/data", well, ["nucleus-dapi", "pm-647", "vsvg-cfp"])
    ]
    rows, counts = read("idr0009", [table, "idr0009-screenB-plates.tsv"], files)
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (26_880 - 27, 0, 27)
    assert Counter(rows.gene)["rab1a targeted"] == 560
    assert Counter(rows.phenotype)["strong inhibition of secretion"] == 5867 - 2  # images of two such wells are missing
    # the library agrees with the annotation in every well
    tables = [table, "idr0009-screenB-plates.tsv", "idr0009-screenB-library_2015-12-10.txt"]
    again, both = read("idr0009", tables, files)
    pd.testing.assert_frame_equal(again, rows)
    assert both.notes == counts.notes == {}


def test_idr0016_first_20_plates(read, lines):
    table = "idr0016-screenA-annotation_2016-02-24.csv"
    wells = lines("idr0016", table, plate="Plate", well="Well")
    files = [
        f"{plate}-{channel}/cdp2bioactives_{well_name(well).lower()}_s1_w{w}CA7BDF3-1425-4AE6-8E57-9C004D6F7FF2.tif"
        for plate, well in zip(wells.plate, wells.well, strict=True)
        for w, channel in enumerate(("Hoechst", "ERSyto", "ERSytoBleed", "Ph_golgi", "Mito"), 1)
    ]
    tables = [table, "idr0016-screenA-plates.tsv", "idr0016-screenA-library_2016-02-24.txt"]
    rows, counts = read("idr0016", tables, files)
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (7680, 0, 0)
    assert counts.notes == {}  # the library agrees with the annotation in every well
    found = Counter(rows.compound)
    assert (found["dmso"], found["gabazine"], found["acetohexamide"]) == (1280, 8, 4)
    assert set(rows.stains) == {"er|nucleoli/cytoplasmic rna|nucleus|mitochondria|golgi/cell membrane"}


def test_idr0021_every_image_by_its_path(read, lines):
    paths = lines("idr0021", "idr0021-experimentA-assays.txt", path="Image File Path", listed="Channels")
    table = "idr0021-experimentA-annotation.csv"
    rows, counts = read("idr0021", [table], [f"Raw-files/{path}" for path in paths.path])
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (414, 0, 0)
    # 45 file names occur in two folders each; the number of channels is that of the right one
    expected = {
        f"idr0021/Raw-files/{path}": (listed.count(";") + 1) * path.endswith(".dv")
        for path, listed in zip(paths.path, paths.listed, strict=True)
    }
    assert sum(n == 0 for n in expected.values()) == 8  # colour images
    assert {row.channels.split("#")[0]: row.channels.count("#page=") for row in rows.itertuples()} == expected
    assert set(rows.cell_visible) == {"centrosome"}


@pytest.mark.parametrize("release", ["2018-03-14", "2018-03-22"])
def test_idr0041_in_both_early_forms(release, read, lines):
    table = f"idr0041-experimentA-annotation_{release}.csv"
    if release == "2018-03-14":
        paths = lines("idr0041", table, folder="Comment [Image File Path]", name="Image File")
        files = [f"{folder}/{name}" for folder, name in zip(paths.folder, paths.name, strict=True)]
    else:
        named = lines("idr0041", table, dataset="Dataset Name", name="Image Name")
        files = []
        for dataset, name in zip(named.dataset, named.name, strict=True):
            cell, time = name.rsplit("_", 1)
            experiment, kind = dataset.rsplit("_", 1)
            files.append(f"mitotic_cell_atlas/{experiment}/{cell}/{kind}tif/TR1_W0001_P0002_{time}.tif")
    rows, counts = read("idr0041", [table], files)
    images = {"2018-03-14": 560, "2018-03-22": 280}[release]
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (images, 0, 0)
    assert counts.skipped == {"mask": images, "concentration map": images}
    assert counts.notes == {"label lines of other files": 2 * images}
    gene = {"2018-03-14": "kif11", "2018-03-22": "mad2l1"}[release]
    assert set(rows.gene) == {f"{gene} targeted"}
    assert set(rows.stains) == {f"{gene}|nucleus|cell body"}


def test_idr0017_folders_are_found_by_both_lists(shared):
    mapping = (shared / "metadata/idr0017/idr0017_original_to_readable_platename_mappings.txt").read_text()
    pairs = [tuple(line.split("\t")) for line in mapping.splitlines()[1:]]
    tsv = (shared / "metadata/idr0017/idr0017-screenA-plates.tsv").read_text()
    by_tsv = PlateFolders(pd.Series([b for _, b in pairs]), [tuple(line.split("\t")) for line in tsv.splitlines()])
    by_mapping = PlateFolders(pd.Series([b for _, b in pairs]), pairs)
    assert len(pairs) == 96
    for folder, plate in pairs:
        assert by_tsv.find(f"20151124/14_X-Man_10x/source/{folder}") == plate
        assert by_mapping.find(f"somewhere/{folder}") == plate


def test_idr0093_folders(shared):
    tsv = (shared / "metadata/idr0093/idr0093-screenA-plates.tsv").read_text()
    pairs = [tuple(line.split("\t")) for line in tsv.splitlines()]
    found = PlateFolders(pd.Series([plate for _, plate in pairs]), pairs)
    assert len(pairs) == 83
    for path, plate in pairs:
        assert found.find(path.split("mueller-perturbation/")[1].rsplit("/", 1)[0]) == plate
