"""What an upload of a new version of a dataset costs: the bytes that the Hub's chunk store does not have yet.

    python benchmarks/chunks.py [--images 3000] [--folder /tmp]

The store is that of `hf_xet`, the Hub's own client, in a local folder: `local://` is an address that it has for its
own tests. It cuts the files into chunks of about 64 kB, as an upload does, and reports the bytes of new chunks. The
second version differs in 1 % of the images: replaced by others, removed, or added; or removed, and all others have new
names, as when classes number their images anew.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
from cytoimagenet.builder import schema
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.builder.shards import format as formats
from cytoimagenet.builder.shards.write import write_dataset
from cytoimagenet.builder.simulate.curated_folder import write_curated

SIDES = (120, 371)  # pixels; noise of these sizes gives PNGs of 65 kB in the mean, as in the published dataset
CHANGES = ("replaced", "removed", "added", "removed, others renamed")
OTHERS = {  # the form that is written, and others to compare it with
    "tar": None,
    "Parquet": {},
    "Parquet, one page per row group": {"use_content_defined_chunking": False},
    "Parquet, pyarrow's own bounds of a page": {"use_content_defined_chunking": True},
}


def write_versions(folder: Path, images: int) -> None:
    """Write the curated folders `first` and one per change, which share their image bytes."""
    changed = images // 100
    write_curated(folder / "first", classes=8, images=8)
    base = schema.read(folder / "first" / "rows.parquet", schema.CURATED)
    rows = pd.concat([base] * (images // len(base) + 2), ignore_index=True).head(images + changed)
    rng = np.random.default_rng(0)
    shutil.rmtree(folder / "first" / "store")
    (folder / "first" / "store").mkdir()
    facts = []
    with open(folder / "first" / "store" / "0.bin", "wb") as store:
        for number in range(images + changed):
            pixels = rng.integers(0, 256, rng.integers(*SIDES, 2), np.uint8)
            facts.append((*pixels.shape, store.tell(), store.write(encode_png(pixels)), hashlib.sha256(pixels)))
            rows.loc[number, ["filename", "idx"]] = f"image-{number}.png", f"source-{number}"
    height, width, offset, size, digest = zip(*facts, strict=True)
    rows = rows.assign(
        channels="made_up/" + rows["idx"], store="store/0.bin", height=height, width=width, store_offset=offset,
        store_size=size, sha256=[one.hexdigest() for one in digest],
    )  # fmt: skip
    first, spare = rows.head(images), rows.tail(changed)
    hit = np.sort(np.random.default_rng(1).choice(images, changed, replace=False))
    replaced = first.copy()
    of_the_image = ["height", "width", "store_offset", "store_size", "sha256"]
    replaced.loc[hit, of_the_image] = spare[of_the_image].to_numpy()
    removed = first.drop(index=hit)
    renamed = removed.assign(filename="new-" + removed["filename"])
    versions = dict(zip(("first", *CHANGES), (first, replaced, removed, rows, renamed), strict=True))
    for name, version in versions.items():
        if name != "first":
            shutil.copytree(folder / "first", folder / name, copy_function=os.link)
            (folder / name / "rows.parquet").unlink()
        schema.write(version.astype(first.dtypes), folder / name / "rows.parquet", schema.CURATED)


def upload(dataset: Path, store: Path):
    """Upload the shards and tables to the local store; return the client's report on its chunks."""
    import hf_xet

    session = hf_xet.XetSession(hf_xet.XetConfig().with_config("telemetry.enabled", False))
    commit = session.new_upload_commit(endpoint=f"local://{store}")
    for file in sorted([*dataset.glob("data/*"), *dataset.glob("*.parquet")]):
        commit.start_upload_file(str(file), sha256=hf_xet.SKIP_SHA256)
    return commit.wait_to_finish().dedup_metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        os.environ["HF_XET_CACHE"] = str(folder / "cache")  # before hf_xet is imported
        write_versions(folder / "curated", arguments.images)
        print("| form | MB | " + " | ".join(f"1 % {change}" for change in CHANGES) + " | metadata.parquet |")
        print("|---|---:|" + "---:|" * (len(CHANGES) + 1))
        for form, options in OTHERS.items():
            made = folder / "made"
            shutil.rmtree(made, ignore_errors=True)
            with mock.patch.dict(formats.PARQUET_PAGES, options or {}):
                for name in ("first", *CHANGES):
                    write_dataset(
                        folder / "curated" / name,
                        made / name,
                        format="webdataset" if options is None else "parquet",
                        shard_size=20_000_000,
                    )
            cells = []
            for change in CHANGES:
                shutil.rmtree(folder / "store", ignore_errors=True)
                shutil.rmtree(folder / "cache", ignore_errors=True)
                upload(made / "first", folder / "store")
                report = upload(made / change, folder / "store")
                cells.append(f"{report.new_bytes / report.total_bytes:.2%}")
            table = (made / CHANGES[-1] / "metadata.parquet").stat().st_size / report.total_bytes
            print(f"| {form} | {report.total_bytes / 1e6:.0f} | {' | '.join(cells)} | {table:.2%} |", flush=True)


if __name__ == "__main__":
    main()
