"""Names that differ only in case, or in how an accent is written: macOS and Windows take them as one."""

import tarfile
import unicodedata

import pandas as pd
import pytest
from cytoimagenet.builder.archive.import_kaggle import import_archive
from cytoimagenet.builder.pages.browse import write_site
from cytoimagenet.builder.shards.verify import verify

from tests.builder.archive.test_import_kaggle import files_of, images, pack, rows, stored_bytes

LABELS = ["actin", "Actin", "ACTIN", unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "Café"), "cafe"]


def on_other_systems(names):
    return [unicodedata.normalize("NFC", name).casefold() for name in names]


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_names_in_an_archive(tmp_path, format):
    table = pd.concat([rows(per_label=1).iloc[:1]] * 2 * len(LABELS), ignore_index=True)
    table["label"] = LABELS * 2
    table["filename"] = [f"{label}-{'01'[n >= len(LABELS)]}.png" for n, label in enumerate(LABELS * 2)]
    table["path"] = "/home/someone/cytoimagenet/" + table["label"]
    table["idx"] = [f"rec_rxrx1-{n}" for n in range(len(table))]
    files = files_of(table, images(len(table)))
    imported = import_archive(pack(tmp_path, files, table, "zip"), tmp_path / "out", format=format)
    assert imported.kept == len(table)
    verify(tmp_path / "out")
    stored, metadata = stored_bytes(tmp_path / "out")
    assert sorted(stored.values()) == sorted(files.values())
    assert set(metadata["label"]) == set(LABELS)
    members = []  # of tar files that are extracted to one folder
    for shard in (tmp_path / "out" / "data").glob("t*.tar"):
        with tarfile.open(shard) as opened:
            members += opened.getnames()
    write_site(tmp_path / "out", tmp_path / "site")
    written = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    for names in (members, written, metadata["key"].tolist()):
        assert len(set(on_other_systems(names))) == len(names)
    assert len(list((tmp_path / "site" / "examples").iterdir())) == len(LABELS)
