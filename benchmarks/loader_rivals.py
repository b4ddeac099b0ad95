"""Other loaders for benchmarks/loaders.py that this project does not need. Those that are not installed are left out.

    pip install --no-deps litdata obstore lightning-utilities spdl-core spdl-io torchcodec
    apt-get install ffmpeg                                              # its shared libraries, for SPDL and torchcodec

Each function returns something to iterate over once; its items are batches of images as arrays or tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

Loader = Callable[[int], Iterable[Any]]
"""Number of workers -> batches."""


class ByTorchcodec(Dataset):
    """A folder of PNG files, decoded by torchcodec."""

    def __init__(self, files: list[Path], size: int) -> None:
        self.files, self.size = files, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        from torchcodec.decoders import decode_png

        grey = decode_png(self.files[i], mode="GRAY")[None].float()
        small = torch.nn.functional.interpolate(grey, size=(self.size, self.size), mode="bilinear")
        return small[0].to(torch.uint8)


def by_spdl(files: list[Path], batch: int, size: int, workers: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Decode a folder of PNG files in the threads of an SPDL pipeline; FFmpeg decodes and resizes."""
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    order = np.random.default_rng(seed).permutation(len(files))
    batches = [[str(files[i]) for i in ids] for ids in order[: len(order) // batch * batch].reshape(-1, batch)]

    def decode(sources: list[str]) -> np.ndarray:
        return spdl.io.to_numpy(spdl.io.load_image_batch(sources, width=size, height=size, pix_fmt="gray"))

    builder = PipelineBuilder().add_source(batches).pipe(decode, concurrency=max(1, workers)).add_sink(2)
    pipeline = builder.build(num_threads=max(1, workers))
    with pipeline.auto_stop():
        yield from pipeline.get_iterator()


def write_litdata(pngs: list[bytes], folder: Path) -> None:
    """Write the PNGs in the format of litdata."""
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=64 << 20)
    for number, png in enumerate(pngs):
        writer[number] = {"png": png}
    writer.done()
    writer.merge(num_workers=1)


def by_litdata(folder: Path, batch: int, workers: int, decode: Callable[[bytes], torch.Tensor]) -> Iterable[Any]:
    """Read what `write_litdata` wrote, in a random order."""
    import litdata

    data = litdata.StreamingDataset(str(folder), shuffle=True, drop_last=False)
    return litdata.StreamingDataLoader(
        data,
        batch_size=batch,
        num_workers=workers,
        collate_fn=lambda rows: torch.stack([decode(r["png"]) for r in rows]),
    )


def by_parquet(files: list[str], batch: int, workers: int, cache: str, decode: Callable[[Any], torch.Tensor]) -> Any:
    """Stream Parquet shards through `datasets`."""
    from datasets import load_dataset

    data = load_dataset("parquet", data_files=files, split="train", streaming=True, cache_dir=cache)
    data = data.select_columns(["image"]).shuffle(seed=0, buffer_size=200)
    return DataLoader(
        data,
        batch_size=batch,
        drop_last=True,
        num_workers=workers,
        collate_fn=lambda rows: torch.stack([decode(row["image"]) for row in rows]),
    )


def _works(load: Callable[[], Any]) -> bool:
    """Return whether a loader reads one image here: SPDL and torchcodec need shared libraries of FFmpeg and others."""
    try:
        load()
    except Exception as error:
        print(f"left out: {type(error).__name__}: {str(error)[:200]}")
        return False
    return True


def rivals(
    files: list[Path],
    pngs: list[bytes],
    parquet: list[str],
    folder: Path,
    *,
    batch: int,
    size: int,
    by_pillow: Callable[[Any], torch.Tensor],
    by_opencv: Callable[[bytes], torch.Tensor],
) -> dict[str, Loader]:
    """Return the loaders that are installed.

    Parameters
    ----------
    files, pngs
        The same images, as files and as bytes.
    parquet : list of str
        Parquet shards of the same images.
    folder : Path
        For copies in other formats.
    batch, size : int
        Images per batch, and their side in pixels.
    by_pillow, by_opencv : callable
        Decoders: a PIL image, or the bytes of a PNG -> tensor.
    """
    import io

    from PIL import Image

    found: dict[str, Loader] = {
        "datasets, Parquet, streaming, RGB": lambda w: by_parquet(parquet, batch, w, str(folder / "hf"), by_pillow)
    }
    if find_spec("torchcodec") and _works(lambda: ByTorchcodec(files, size)[0]):
        found["folder of PNG, torchcodec grey"] = lambda w: DataLoader(
            ByTorchcodec(files, size), batch_size=batch, shuffle=True, drop_last=True, num_workers=w
        )
    if find_spec("spdl") and _works(lambda: next(by_spdl(files[:1], 1, size, 1))):
        found["folder of PNG, SPDL (FFmpeg) grey"] = lambda w: by_spdl(files, batch, size, w)
    if find_spec("litdata"):
        place = folder / "litdata"
        if not place.exists():
            place.mkdir()
            write_litdata(pngs, place)
        found["litdata, Pillow RGB"] = lambda w: by_litdata(
            place, batch, w, lambda png: by_pillow(Image.open(io.BytesIO(png)))
        )
        found["litdata, OpenCV grey"] = lambda w: by_litdata(place, batch, w, by_opencv)
    return found
