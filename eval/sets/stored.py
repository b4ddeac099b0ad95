"""Read the files of evaluation sets in worker processes, each file under limits, so that none can stop a run.

All sets share the worker processes, which start when they are first needed and end with the program. The published
scores are those of complete sets, so a file that can't be read is an error; it names the set, the sample and the file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...builder.errors import CytoImageNetError, UnreadableImageError
from ...builder.images.isolated import Isolated
from ...builder.images.quality import Verdict
from . import hdf5, tiff
from .samples import Samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXELS_AT_ONCE = 2**18
"""Of the samples that are passed from a worker process together: 32 cells, or one field. A message costs about as much
time as copying some 10,000 pixels, and a group of fields would leave other threads without work."""

Place = str | hdf5.Cell
"""The locator of a TIFF, or a cell in an HDF5 file."""
Result = TypeVar("Result")


class _Task(NamedTuple):
    function: Callable[[Any], Any]
    argument: Any


def _call(task: _Task) -> Any:
    """Return an error of ours instead of raising it: it concerns one file, and others are read by the same call."""
    try:
        return task.function(task.argument)
    except CytoImageNetError as error:
        return error


WORKERS: Isolated[_Task, Any] = Isolated(_call)


def in_worker(
    function: Callable[[Any], Result], files: Sequence[Any], names: Sequence[str] | None = None
) -> list[Result]:
    """Call a function for each of some files, in one worker process.

    Parameters
    ----------
    function : callable
        A function of a module.
    files : sequence
        What it is called with.
    names : sequence of str, optional
        Names of the files in errors; by default `files` are names.

    Raises
    ------
    UnreadableImageError
        If a file takes too much time or memory, or ends the process that reads it.
    CytoImageNetError
        Whatever the function raises.
    """
    results: list[Any] = WORKERS.each([_Task(function, file) for file in files])
    for result, name in zip(results, names or files, strict=True):
        if isinstance(result, CytoImageNetError):
            raise result
        if isinstance(result, Verdict):
            raise UnreadableImageError(name, result.detail)
    return results


def decode(place: Place) -> NDArray[np.generic]:
    """Decode a TIFF, shape (height, width), or a cell, shape (2, 64, 64)."""
    return tiff.read_plane(place) if isinstance(place, str) else hdf5.read_cell(place)


@dataclass(frozen=True)
class StoredSamples(Samples):
    """Samples of which each channel is a TIFF, or each cell a row of an HDF5 file, with all its channels."""

    @property
    def at_once(self) -> int:
        """Number of samples that `several` reads best at once."""
        height, width = self.shape
        return max(1, PIXELS_AT_ONCE // (len(self.channels) * height * width))

    def planes(self, i: int) -> Sequence[NDArray[np.generic]]:
        """Decode sample `i`: one array of shape (height, width) per channel."""
        return self.several([i])[0]

    def several(self, some: Sequence[int]) -> list[Sequence[NDArray[np.generic]]]:
        """Decode some samples, all in one worker process: for each, one array of shape (height, width) per channel.

        Raises
        ------
        UnreadableImageError, MetadataError
            If a file can't be read, or takes more time or memory than any image needs.
        """
        places = [self._places(i) for i in some]
        results = iter(WORKERS.each([_Task(decode, place) for of in places for place in of]))
        found: list[Sequence[NDArray[np.generic]]] = []
        for i, of in zip(some, places, strict=True):
            planes: list[NDArray[np.generic]] = []
            for place in of:
                result = next(results)
                if isinstance(result, CytoImageNetError | Verdict):
                    raise self._error(i, place, result)
                planes += [result] if result.ndim == 2 else list(result)
            found.append(planes)
        return found

    def _places(self, i: int) -> list[Place]:
        row = self.table.iloc[i]
        if "file" in self.table:
            return [hdf5.Cell(row["file"], row["key"] if "key" in self.table else hdf5.DATA, int(row["row"]))]
        return [row[channel] for channel in self.channels]

    def _error(self, i: int, place: Place, found: CytoImageNetError | Verdict) -> CytoImageNetError:
        """Return the error of a file, with the names of the set and the sample."""
        file = place if isinstance(place, str) else place.file
        where = f"{self.task}, sample {self.table['id'].iloc[i]}, {file}"
        if isinstance(found, Verdict):
            return UnreadableImageError(where, found.detail)
        if isinstance(found, UnreadableImageError):
            return type(found)(where, found.reason)
        return type(found)(found.what, where=where, next=found.next)
