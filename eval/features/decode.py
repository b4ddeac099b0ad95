"""Decodes samples ahead of the network, in threads or processes, and returns their views in batches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...builder.errors import CytoImageNetError, NotFiniteImageError, UsageError
from ...builder.images.channel_reader import Refused
from .tiles import tiles_of
from .views import views, views_of

if TYPE_CHECKING:
    from ..sets.samples import Samples

MOST_THREADS = 4  # on 16 cores, threads were fastest at 4 and processes at 14: Python's lock
AHEAD = 2  # batches that each process decodes ahead
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - where torch passes arrays between processes; some containers allow 64 MB


class Refusal(NamedTuple):
    """A sample that can't be used: its position, the file, and why."""

    sample: int
    file: str
    reason: str
    detail: str


@dataclass
class Batch:
    """What a network is shown at once.

    Attributes
    ----------
    shown : array, shape (rows, views, height, width), float32 in [0, 1]
        One row per sample, or per tile.
    rows : array, shape (rows, 3)
        Position of the sample, left and upper edge of the tile.
    constant : int
        Number of channels with one value only.
    refused : list of Refusal
    count : int
        Number of samples, the refused ones included.
    """

    shown: NDArray[np.float32]
    rows: NDArray[np.int64]
    constant: int
    refused: list[Refusal] = field(default_factory=list)
    count: int = 0


class Decoder:
    """Returns the views of a sample.

    Parameters
    ----------
    samples : Samples
    methods : sequence of str
        Preprocessing, from `views.METHODS`.
    view : (height, width)
        Of a view in pixels.
    resize : bool
        Bring every image to this size. Otherwise all must have it.
    tile : bool
        Cut every image into tiles of this size. An image smaller than a tile is enlarged first.
    scale : float, optional
        The value that becomes 1 in `raw` views.
    """

    def __init__(
        self,
        samples: Samples,
        methods: Sequence[str],
        view: tuple[int, int],
        *,
        resize: bool,
        tile: bool = False,
        scale: float | None = None,
    ) -> None:
        self.samples, self.methods, self.view, self.scale = samples, tuple(methods), view, scale
        self.resize, self.tile = resize, tile
        self.columns: dict[str, slice] = {}  # which views of a batch are those of a method
        start = 0
        for method in methods:
            stop = start + views_of(method, len(samples.channels))
            self.columns[method] = slice(start, stop)
            start = stop
        self.views = start

    def __getitem__(self, i: int) -> Batch:
        """Return sample `i` as a batch of its own; without rows if it can't be used."""
        return self.several(range(i, i + 1))[0]

    def several(self, some: range) -> list[Batch]:
        """Return some samples, each as a batch of its own; they are read together."""
        try:
            planes = self.samples.several(some)
        except Refused as refused:
            if len(some) > 1:
                return [self[i] for i in some]
            refusal = Refusal(some[0], refused.file, refused.verdict.reason, refused.verdict.detail)
            nothing = np.empty((0, self.views, *self.view), np.float32)
            return [Batch(nothing, np.empty((0, 3), np.int64), 0, [refusal], 1)]
        return [self._shown(i, of) for i, of in zip(some, planes, strict=True)]

    def groups(self, part: range) -> list[range]:
        """Divide samples into those that are read together."""
        return [part[i : i + self.samples.at_once] for i in range(0, len(part), self.samples.at_once)]

    def _shown(self, i: int, planes: Sequence[NDArray[Any]]) -> Batch:
        try:
            shown, constant = views(planes, self.methods, self.scale or 1.0)
        except NotFiniteImageError as error:
            where = f"{self.samples.task}, sample {self.samples.ids[i]}"
            raise NotFiniteImageError(error.what, where=where) from error
        if self.tile:
            height, width = shown.shape[1:]
            enlarged = max(1.0, self.view[0] / min(height, width))
            large, corners = tiles_of(resized(shown, (round(height * enlarged), round(width * enlarged))), self.view[0])
            rows = np.column_stack([np.full(len(corners), i), np.floor(corners / enlarged).astype(np.int64)])
            return Batch(large, rows, constant, [], 1)
        if not self.resize and shown.shape[1:] != self.view:
            sizes = " and ".join(f"{width} x {height}" for height, width in (self.view, shown.shape[1:]))
            raise UsageError(
                f"The images have different sizes: {sizes} pixels",
                where=f"{self.samples.task}, sample {self.samples.ids[i]}",
                next="Use --input-size 224 to resize them, or --tile 224",
            )
        return Batch(resized(shown, self.view)[None], np.array([[i, 0, 0]]), constant, [], 1)


def join(batches: Sequence[Batch]) -> Batch:
    """Join batches to one."""
    return Batch(
        np.concatenate([batch.shown for batch in batches]),
        np.concatenate([batch.rows for batch in batches]),
        sum(batch.constant for batch in batches),
        [refusal for batch in batches for refusal in batch.refused],
        sum(batch.count for batch in batches),
    )


def decoded(decoder: Decoder, parts: Sequence[range], workers: int) -> Iterator[Batch]:
    """Yield one batch for each range of samples, in order; further ones are decoded meanwhile.

    Parameters
    ----------
    decoder : Decoder
    parts : sequence of range
        Positions of the samples of each batch.
    workers : int
        Threads; more than `MOST_THREADS` are processes. The batches do not depend on it.
    """
    if workers > MOST_THREADS and len(parts) > workers and _fits_shared_memory(decoder, parts, workers):
        yield from _in_processes(decoder, parts, workers)
    else:
        yield from _in_threads(decoder, parts, workers)


def _in_threads(decoder: Decoder, parts: Sequence[range], workers: int) -> Iterator[Batch]:
    with ThreadPoolExecutor(max(1, min(workers, MOST_THREADS))) as pool:
        waiting = [pool.submit(decoder.several, some) for some in decoder.groups(parts[0])] if parts else []
        try:
            for following in [*parts[1:], range(0)] if parts else []:
                ahead = [pool.submit(decoder.several, some) for some in decoder.groups(following)]
                yield join([batch for future in waiting for batch in future.result()])
                waiting = ahead
        finally:
            for future in waiting:
                future.cancel()


def _in_processes(decoder: Decoder, parts: Sequence[range], workers: int) -> Iterator[Batch]:
    from multiprocessing import get_all_start_methods

    from torch.utils.data import DataLoader

    # the parent has threads of the network's library, which a forked child would wait for
    context = "forkserver" if "forkserver" in get_all_start_methods() else "spawn"
    loader: Any = DataLoader(
        _ErrorsAsValues(decoder),  # type: ignore[arg-type]
        batch_sampler=parts,  # type: ignore[arg-type]
        num_workers=min(workers, len(parts)),
        collate_fn=_packed,
        multiprocessing_context=context,
        prefetch_factor=AHEAD,
    )
    for found in loader:
        if isinstance(found, CytoImageNetError):
            raise found
        shown, rows, constant, refused, count = found
        yield Batch(shown.numpy(), rows.numpy(), constant, refused, count)


class _ErrorsAsValues:
    """Returns an error of ours instead of raising it: torch would bury its text in that of the worker's traceback."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder

    def __getitem__(self, i: int) -> Batch | CytoImageNetError:
        try:
            return self.decoder[i]
        except CytoImageNetError as error:
            return error


def _packed(found: Sequence[Batch | CytoImageNetError]) -> tuple[Any, ...] | CytoImageNetError:
    """Join batches; tensors, unlike arrays, reach the other process through shared memory, without a copy."""
    import torch

    batches = []
    for one in found:
        if isinstance(one, CytoImageNetError):
            return one
        batches.append(one)
    batch = join(batches)
    return torch.from_numpy(batch.shown), torch.from_numpy(batch.rows), batch.constant, batch.refused, batch.count


def _fits_shared_memory(decoder: Decoder, parts: Sequence[range], workers: int) -> bool:
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # not Linux: torch uses files
        return True
    height, width = decoder.view
    return free > workers * (AHEAD + 1) * len(parts[0]) * decoder.views * height * width * 4


def resized(shown: NDArray[np.float32], view: tuple[int, int]) -> NDArray[np.float32]:
    """Return views resized to (height, width)."""
    if shown.shape[1:] == view:
        return shown
    import torch
    from torch.nn.functional import interpolate

    # antialiased: without it, reducing a field of 1024 x 1280 pixels would turn texture into noise
    small = interpolate(torch.from_numpy(shown)[None], size=view, mode="bilinear", antialias=True, align_corners=False)
    return small[0].clamp_(0, 1).numpy()
