"""Cost of a source image compared with its floor and with the published steps; growth of workers and tables.

    python benchmarks/curate.py                  # small, about a minute
    python benchmarks/curate.py --full           # the tables of docs/benchmarks/curate.md

The floor is decoding, one `normalise` of each channel and encoding, and nothing else. Both numbers of a ratio are
from the same run. The published steps are written from the paper's description: read each channel with Pillow, two
percentiles, clip, subtract, divide in double precision, average, save as PNG; then read each PNG, crop, check,
stretch and save.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from cytoimagenet.builder import schema
from cytoimagenet.builder.curate import chunk, tables
from cytoimagenet.builder.curate.accounting import account
from cytoimagenet.builder.curate.decide import decide
from cytoimagenet.builder.curate.plan import make_plan
from cytoimagenet.builder.curate.run import curate
from cytoimagenet.builder.curate.settings import Settings
from cytoimagenet.builder.curate.tried import gather
from cytoimagenet.builder.formats.grey_png import encode_png
from cytoimagenet.builder.images import make, quality
from cytoimagenet.builder.images.channel_reader import Reader
from cytoimagenet.builder.images.crops import crop_boxes
from cytoimagenet.builder.images.digest import pixel_digest
from cytoimagenet.builder.images.make import PixelSettings, SourceImage, images_of
from cytoimagenet.builder.images.normalise import normalise, to_grey8
from cytoimagenet.builder.simulate.cells import Style, draw_field
from PIL import Image

CHANNELS = ("nucleus", "er", "actin", "nucleoli", "mitochondria", "golgi")


def make_fields(folder: Path, fields: int, side: int, kind: str) -> list[SourceImage]:
    """Write fields of view with six channels: 16-bit TIFF (of a microscope) or 8-bit PNG (of Recursion)."""
    rng = np.random.default_rng(0)
    drawn = draw_field(rng, Style(), (side, side), CHANNELS)
    rows = []
    for n in range(fields):
        files = []
        for channel, plane in drawn.items():
            image = np.roll(plane, 37 * n, (0, 1)) * (4000 if kind == "tif" else 230)
            image = image + rng.poisson(60 if kind == "tif" else 4, plane.shape)
            files.append(f"{n}_{channel}.{kind}")
            if kind == "tif":
                tifffile.imwrite(folder / files[-1], image.astype(np.uint16))
            else:
                cv2.imwrite(str(folder / files[-1]), image.clip(0, 255).astype(np.uint8))
        rows.append(SourceImage(f"field-{n}", "|".join(files), 4))
    return rows


def costs(works: dict, rows: list[SourceImage], rounds: int) -> dict:
    """Return the mean CPU milliseconds per field of view of each function, over the best round of each field.

    The functions alternate, so that other programs on the machine affect all of them.
    """
    best = {name: np.full(len(rows), np.inf) for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            for n, row in enumerate(rows):
                start = time.process_time()
                work(row)
                best[name][n] = min(best[name][n], time.process_time() - start)
    return {name: float(seconds.mean() * 1000) for name, seconds in best.items()}


def bench_field(folder: Path, rows: list[SourceImage], kind: str, side: int, crops: int) -> dict:
    reader = Reader(folder)
    chunk._prepare_process()
    rows = [row._replace(crops=crops) for row in rows]
    made = {row.idx: [cv2.imdecode(np.frombuffer(i.png, np.uint8), 0) for i in images_of(row, reader, PixelSettings())]
            for row in rows}  # fmt: skip
    planes = {row.idx: [load(folder / f, kind) for f in row.channels.split("|")] for row in rows}

    def ours(row: SourceImage) -> None:
        for _ in images_of(row, reader, PixelSettings()):
            pass

    def decode(row: SourceImage) -> None:
        for file in row.channels.split("|"):
            load(folder / file, kind)

    def one_pass(row: SourceImage) -> None:
        for plane in planes[row.idx]:
            normalise(plane)

    def encode(row: SourceImage) -> None:
        for image in made[row.idx]:
            encode_png(image)

    parts = costs({"decode": decode, "pass": one_pass, "encode": encode, "ours": ours}, rows, 9)
    mine, theirs = parts.pop("ours"), costs({"": lambda row: published(row, folder)}, rows[:4], 3)[""]
    floor = sum(parts.values())
    return {
        "files": f"6 x {side}x{side} {kind}", "crops": crops, **parts, "floor": floor, "ours": mine,
        "ours / floor": mine / floor, "published": theirs, "published / ours": theirs / mine,
    }  # fmt: skip


def bench_rest(folder: Path, rows: list[SourceImage], kind: str, side: int, crops: int) -> dict:
    """Return the CPU milliseconds of each step of a field of view, and what the floor leaves out of it."""
    reader = Reader(folder)
    rows = [row._replace(crops=crops) for row in rows]
    merged = {row.idx: make._merged(row, reader, PixelSettings())[0] for row in rows}
    parts = {
        row.idx: [
            merged[row.idx][box.y_min : box.y_max, box.x_min : box.x_max]
            for box in crop_boxes(row.idx, 0, *merged[row.idx].shape)[:crops]
        ]
        for row in rows
    }
    images = {idx: [to_grey8(normalise(part)) for part in some] for idx, some in parts.items()}

    def each(
        step: Callable[[np.ndarray], object], inputs: dict[str, list[np.ndarray]]
    ) -> Callable[[SourceImage], None]:
        return lambda row: [step(one) for one in inputs[row.idx]] and None

    return {"files": f"6 x {side}x{side} {kind}", "crops": crops} | costs(
        {
            "read": lambda row: [reader.channel(file) for file in row.channels.split("|")] and None,
            "read and merge": lambda row: make._merged(row, reader, PixelSettings()) and None,
            "judge crops": each(lambda part: quality.judge_crop(quality.Levels(to_grey8(part))), parts),
            "stretch crops": each(normalise, parts),
            "round, judge": each(lambda part: quality.judge(quality.Levels(to_grey8(part))), parts),
            "digest": each(pixel_digest, images),
            "encode": each(encode_png, images),
            "all": lambda row: list(images_of(row, reader, PixelSettings())) and None,
        },
        rows,
        9,
    )


def load(path: Path, kind: str) -> np.ndarray:
    return tifffile.imread(path) if kind == "tif" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def published(row: SourceImage, folder: Path) -> None:
    stretched = []
    for file in row.channels.split("|"):
        channel = np.array(Image.open(folder / file))
        low, high = np.percentile(channel, 0.1), np.percentile(channel, 99.9)
        stretched.append((np.clip(channel, low, high) - low) / (high - low))
    merged = io.BytesIO()
    Image.fromarray((np.mean(stretched, axis=0) * 255).astype(np.uint8)).save(merged, "PNG")
    image = np.array(Image.open(merged))
    for box in crop_boxes(row.idx, 0, *image.shape)[: row.crops]:
        crop = image[box.y_min : box.y_max, box.x_min : box.x_max]
        assert 1 < crop.mean() < 254
        assert np.percentile(crop, 75) > 0
        low, high = np.percentile(crop, 0.1), np.percentile(crop, 99.9)
        crop = (np.clip(crop, low, high) - low) / (high - low)
        Image.fromarray((crop * 255).astype(np.uint8)).save(io.BytesIO(), "PNG")


def selection_of(rows: list[SourceImage], times: int) -> pd.DataFrame:
    """Return a selection that contains the same files `times` times."""
    base = {name: schema.empty(name) for name in schema.SELECTION.names}
    return pd.DataFrame(
        [
            base | {"idx": f"{row.idx}-{n:05d}", "label": f"class {n % 7}", "category": "compound", "dir_name": "bench",
                    "channels": row.channels}
            for n in range(times) for row in rows
        ]
    )[schema.SELECTION.names]  # fmt: skip


def peak() -> float:
    """Return the peak memory of this process in MB (`getrusage` would include that of its parent)."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def child(*arguments: object) -> dict:
    """Run one measurement in a separate process, so that its memory is measured separately."""
    ran = subprocess.run([sys.executable, __file__, *map(str, arguments)], check=True, stdout=subprocess.PIPE)
    return json.loads(ran.stdout)


def run_engine(folder: str, times: int, workers: int) -> dict:
    rows = [SourceImage(*row) for row in json.loads((Path(folder) / "rows.json").read_text())]
    selection = selection_of(rows, times)
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        curate(selection, folder, out, settings=Settings(min_class_size=1, chunk_rows=16), workers=workers)
        seconds = time.perf_counter() - start
    theirs = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"workers": workers, "fields": len(selection), "fields/s": len(selection) / seconds,
            "MB, main process": peak(), "MB, largest worker": theirs / 1024}  # fmt: skip


def run_tables(rows: int) -> dict:
    """Time the plan, the decisions and the tables of `rows` source images with one image each, without pixels."""
    rng = np.random.default_rng(0)
    names = [f"source_{n % 40:02d}/plate_{n // 4000:05d}/well_{n % 4000:04d}" for n in range(rows)]
    frame = pd.DataFrame({name: schema.empty(name) for name in schema.SELECTION.names}, index=range(rows))
    frame["idx"] = [f"source_{n % 40:02d}-{n}" for n in range(rows)]
    frame["channels"] = ["|".join(f"{name}_w{c}.tif" for c in range(1, 6)) for name in names]
    frame["label"] = [f"compound {n // 1000:06d}" for n in range(rows)]
    frame["compound"], frame["category"], frame["dir_name"] = frame["label"], "compound", [n[:9] for n in names]
    frame["database"], frame["organism"], frame["cell_type"] = "Recursion", "human", "u2os"
    with tempfile.TemporaryDirectory() as out:
        schema.write(frame, f"{out}/selection.parquet", schema.SELECTION)
        del frame, names
        before = peak()
        start = time.process_time()
        plan = make_plan(f"{out}/selection.parquet")
        planned = time.process_time() - start
        done = []
        for job in plan.jobs(256):
            n = len(job.rows)
            line = {
                "row": np.arange(n), "number": np.zeros(n), "crop": np.ones(n, bool), "scaling": np.full(n, 0.5),
                **{name: np.full(n, 512) for name in ("x_min", "x_max", "y_min", "y_max", "width", "height")},
                "sha256": pa.array([rng.bytes(32) for _ in range(n)], pa.binary(32)),
                "offset": np.arange(n) * 60_000, "size": np.full(n, 60_000), "entropy": np.full(n, 5.0),
                **{name: [""] * n for name in ("reason", "detail", "file", "channel_digests")},
            }  # fmt: skip
            held = io.BytesIO()
            columns = [pa.array(line[field.name]).cast(field.type) for field in chunk.TRIED]
            pq.write_table(pa.table(columns, schema=chunk.TRIED), held)
            name = f"{job.number:024d}.zip"
            (Path(out) / chunk.FOLDER).mkdir(exist_ok=True)
            with zipfile.ZipFile(f"{out}/{chunk.FOLDER}/{name}", "w") as archive:
                archive.writestr(chunk.TABLE, held.getvalue())
            done.append(chunk.ChunkResult(name, n, 0))
        start = time.process_time()
        decided = decide(gather(plan, done, out), {}, Settings())
        report = account(decided)
        tables.write_rows(decided, done, out)
        tables.write_rejected(decided, out, None)
        tables.check_written(report, out)
        written = time.process_time() - start
        size = (Path(out) / "rows.parquet").stat().st_size
    return {"source images": rows, "plan, CPU s": planned, "decide and write, CPU s": written, "peak MB": peak(),
            "MB at the start": before, "rows.parquet, MB": size / 1e6}  # fmt: skip


def show(title: str, lines: list[dict]) -> None:
    print(f"\n{title}\n")
    text = [[f"{v:,.2f}" if isinstance(v, float) else f"{v:,}" if isinstance(v, int) else v for v in line.values()]
            for line in lines]  # fmt: skip
    print("| " + " | ".join(lines[0]) + " |\n|" + "---|" * len(lines[0]))
    print("\n".join("| " + " | ".join(line) + " |" for line in text), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--engine", nargs=3, metavar=("FOLDER", "TIMES", "WORKERS"), help=argparse.SUPPRESS)
    parser.add_argument("--tables", type=int, metavar="ROWS", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    if asked.engine:
        print(json.dumps(run_engine(asked.engine[0], int(asked.engine[1]), int(asked.engine[2]))))
        return
    if asked.tables:
        print(json.dumps(run_tables(asked.tables)))
        return
    with tempfile.TemporaryDirectory() as held:
        folder = Path(held)
        lines, rest = [], []
        for kind, side in (("tif", 1080), ("png", 512)):
            (folder / kind).mkdir()
            rows = make_fields(folder / kind, 12 if asked.full else 4, side, kind)
            (folder / kind / "rows.json").write_text(json.dumps(rows))
            lines += [bench_field(folder / kind, rows, kind, side, crops) for crops in (1, 4)]
            rest += [bench_rest(folder / kind, rows, kind, side, crops) for crops in (1, 4)]
        show("One field of view on one core, CPU milliseconds", lines)
        show("The steps of it, CPU milliseconds", rest)
        sizes = (10, 40) if asked.full else (4, 8)
        engine = [child("--engine", folder / "png", times, workers) for times in sizes for workers in (1, 2)]
        show("Workers on fields of view of 6 x 512x512 png, 4 crops each", engine)
    show("Plan and tables, one image per source image, five channel files each", [
        child("--tables", n) for n in ((100_000, 300_000, 1_000_000) if asked.full else (20_000, 60_000))
    ])  # fmt: skip


if __name__ == "__main__":
    main()
