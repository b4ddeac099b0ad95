"""RxRx1 in both published forms, and the three other sets of Recursion."""

from __future__ import annotations

import ast
import csv
import shutil
from collections import Counter

import pandas as pd
import pytest
from cytoimagenet.builder.errors import MetadataError
from cytoimagenet.builder.simulate.recursion import KAGGLE_RXRX1
from cytoimagenet.builder.simulate.source import simulate_source
from cytoimagenet.builder.sources.folder import Folder
from cytoimagenet.builder.sources.registry import SOURCES
from cytoimagenet.builder.sources.rows import read_source

SETS = ("rec_rxrx1", "rec_rxrx2", "rec_rxrx19a", "rec_rxrx19b")


def read(raw, source):
    folder = Folder(raw / source, source)
    rows = read_source(SOURCES[source], folder).to_pandas()
    counts = folder.counts
    assert counts.listed == counts.used + sum(counts.skipped.values())
    return rows, counts


def by_site(rows):
    """Key each row as the simulation knows it: experiment, plate, well, site."""
    parts = rows.channels.str.extract(r"/([^/]+)/Plate(\d)/([A-Z]+\d+)_s(\d)_w1")
    return rows.set_index(parts[0] + "_" + parts[1] + "_" + parts[2] + "_" + parts[3])


@pytest.mark.parametrize("source", SETS)
def test_every_site_gets_its_own_labels(source, tmp_path):
    truth = simulate_source(source, tmp_path, seed=3, fields=120, pixels=False).fields.set_index("site_id")
    rows, counts = read(tmp_path, source)
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (120, 0, 0)
    rows = by_site(rows).loc[truth.index]
    assert rows.cell_type.tolist() == truth.cell_type.str.lower().tolist()
    for column in {"sirna", "compound", "phenotype"} & set(truth):
        assert rows[column].tolist() == truth[column].str.lower().replace("empty", "").tolist()
    assert set(rows.channels.str.count(r"\|") + 1) == {len(SOURCES[source].stains)}
    assert rows.channels.str.startswith(f"{source}/").all()


def test_vero_cells_are_not_human(tmp_path):
    simulate_source("rec_rxrx19a", tmp_path, seed=0, fields=16, pixels=False)
    rows, _ = read(tmp_path, "rec_rxrx19a")
    assert dict(zip(rows.cell_type, rows.organism, strict=True)) == {"hrce": "human", "vero": "green monkey"}
    assert set(rows.stains) == {"nucleus|er|actin|nucleoli|golgi/cell membrane"}


def test_both_forms_of_rxrx1_agree(tmp_path):
    ours = simulate_source("rec_rxrx1", tmp_path / "rxrx", seed=5, fields=2200, pixels=False)
    simulate_source("rec_rxrx1", tmp_path / "kaggle", seed=5, fields=2200, pixels=False, layout=KAGGLE_RXRX1)
    one, other = by_site(read(tmp_path / "rxrx", "rec_rxrx1")[0]), by_site(read(tmp_path / "kaggle", "rec_rxrx1")[0])
    other = other.loc[one.index]
    assert one.cell_type.tolist() == other.cell_type.tolist()
    truth = ours.fields.set_index("site_id").loc[one.index]
    hidden = (truth.dataset == "test") & (truth.well_type == "treatment")
    assert hidden.any()
    assert set(other.sirna[hidden]) == {""}  # Kaggle keeps the test half's siRNAs to itself
    names = truth.sirna_id.astype(str).where(truth.sirna != "EMPTY", "")
    assert other.sirna[~hidden].tolist() == [f"sirna_{n}" if n else "" for n in names[~hidden]]


def test_images_without_a_line_and_lines_without_an_image_are_counted(tmp_path):
    made = simulate_source("rec_rxrx2", tmp_path, seed=0, fields=20, pixels=False)
    table = tmp_path / "rec_rxrx2/rxrx2/metadata.csv"
    lines = table.read_text("utf-8-sig").splitlines()
    table.write_text("\n".join([lines[0], *lines[4:], lines[1].replace("_B02_", "_Z09_").replace(",B02,", ",Z09,")]))
    rows, counts = read(tmp_path, "rec_rxrx2")
    assert (len(rows), counts.unlabelled, counts.labels_without_image) == (20, 3, 1)
    lost = by_site(rows).loc[made.fields.site_id[:3]]
    assert set(lost["compound"]) == {""}
    assert set(lost["cell_type"]) == {"huvec"}  # what holds for the whole set holds for them too


def test_no_table_at_all_keeps_the_rows(tmp_path):
    simulate_source("rec_rxrx19b", tmp_path, seed=0, fields=6, pixels=False)
    (tmp_path / "rec_rxrx19b/rxrx19b/metadata.csv").unlink()
    rows, counts = read(tmp_path, "rec_rxrx19b")
    assert (len(rows), counts.unlabelled) == (6, 6)
    assert counts.notes["no table metadata*.csv*"] == 1
    assert set(rows.organism) == {"human"}


def test_a_renamed_column_is_named(tmp_path):
    simulate_source("rec_rxrx2", tmp_path, seed=0, fields=4, pixels=False)
    table = tmp_path / "rec_rxrx2/rxrx2/metadata.csv"
    table.write_text(table.read_text("utf-8-sig").replace("treatment,", "agent,"))
    with pytest.raises(MetadataError) as error:
        read(tmp_path, "rec_rxrx2")
    assert "'treatment'" in error.value.what
    assert str(table) in error.value.where and "line 1" in error.value.where


@pytest.mark.real
@pytest.mark.parametrize("release", ["v1", "v2"])
def test_real_kaggle_wells(release, shared, tmp_path):
    folder = shared / "metadata" / "rec_rxrx1"
    (root := tmp_path / "rec_rxrx1").mkdir()
    again = "kaggle_rcic2019_v2_{}_sirna_strings.csv" if release == "v2" else "kaggle_rcic2019_{}.csv"
    names = {"train": again, "train_controls": again, "test_controls": again, "test": "kaggle_rcic2019_{}.csv"}
    for name, template in names.items():  # the test half was not published again
        shutil.copy(folder / template.format(name), root / f"{name}.csv")
    tables = [pd.read_csv(root / f"{name}.csv", dtype=str).assign(half=name.split("_")[0]) for name in names]
    wells = pd.concat(tables).drop_duplicates(["experiment", "plate", "well"])
    stem = wells.half + "/" + wells.experiment + "/Plate" + wells.plate + "/" + wells.well
    files = [f"{place}_s{site}_w1.png" for place in stem for site in (1, 2)]
    (root / "files.txt").write_text("\n".join(files))
    rows, counts = read(tmp_path, "rec_rxrx1")
    assert len(rows) == {"v1": 125_510, "v2": 125_514}[release]
    assert (counts.unlabelled, counts.labels_without_image) == (0, 0)
    assert counts.notes == {"fields that lack a channel": len(rows)}  # only the first of six is listed here
    assert Counter(rows.cell_type).keys() == {"hepg2", "huvec", "rpe", "u2os"}

    csv.field_size_limit(10**9)
    with open(shared / "metadata/registry/datasets_info.csv", encoding="utf-8-sig", newline="") as file:
        registry = next(row for row in csv.DictReader(file) if row["dir_name"] == "rec_rxrx1")
    controls = ast.literal_eval(registry["class_sizes"])[:31]
    keys = wells[wells.well_type.notna()] if "well_type" in wells else wells[:0]
    found = 2 * keys.sirna.value_counts()
    assert sorted(found, reverse=True) == controls
    prefix = "" if release == "v2" else "sirna_"
    counted = Counter(rows.sirna)
    for sirna, n in found.items():
        if sirna not in ("1138", "UNTREATED"):
            assert counted[f"{prefix}{sirna}"] == n
    assert counted[""] == 492 + 2 * 19_897  # untreated wells, and the test half
