"""The example of docs/add-a-source.md works as printed."""

from __future__ import annotations

import re

from cytoimagenet.builder.sources.folder import Folder
from cytoimagenet.builder.sources.rows import read_source

IMAGES = "drosophila_kc167_1_images"
FILES = [
    f"{IMAGES}/CPvalid1_48_40x_Tiles_p0003DAPI.TIF",
    f"{IMAGES}/CPvalid1_Anillin_40x_Tiles_p1069DAPI.TIF",
    f"{IMAGES}/CPvalid1_mad2_40x_Tiles_p0013DAPI.tif",
    f"{IMAGES}/CPvalid1_nodsRNA_40x_Tiles_p1745DAPI.TIF",
    f"{IMAGES}/CPvalid1_nodsRNA_40x_Tiles_p1745DAPI_thumb.TIF",
    "BBBC002_v1_counts.txt",
]


def test_the_example_reads_its_source(checkout, tmp_path):
    text = (checkout / "docs" / "add-a-source.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) < 40
    there: dict = {}
    exec(compile(code, "docs/add-a-source.md", "exec"), there)
    (tmp_path / "files.txt").write_text("\n".join(FILES))
    folder = Folder(tmp_path, "bbbc002")
    frame = read_source(there["BBBC002"], folder).to_pandas()
    assert frame["gene"].tolist() == ["", "scra targeted", "mad2 targeted", ""]
    assert frame["phenotype"].tolist() == ["", "", "", "wildtype"]
    assert set(frame["cell_visible"]) == {"nucleus"}
    assert folder.counts.unlabelled == 1
    assert folder.counts.skipped == {"thumbnail": 1, "not an image file": 1}
    assert frame["licence"].iloc[0] == "see the set's page (unverified)"
