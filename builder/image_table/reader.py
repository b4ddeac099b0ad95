"""Reads the planes of a sample: from a folder, a URL or a zip, in any process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

from numpy.typing import NDArray

from ..formats import zips
from ..formats.read import read_file
from ..images.channel_reader import Reader, Refused
from ..images.channels import Place
from ..images.isolated import Isolated
from ..images.quality import Verdict
from .root import Root


class _ZipReader(Reader):
    """Reads members of a zip."""

    def _decode(self, place: Place) -> NDArray[Any]:
        where = f"{self.raw}, {place.file}"
        return read_file(zips.open_member(zips.open_zip(self.raw), place.file, where), where, page=place.page)


class PlaneReader:
    """Reads places below a root, in worker processes under `guard.ImageLimits`: no image can stop a run.

    Threads may share it, and it can be sent to other processes. A zip is opened once in each worker process.

    Parameters
    ----------
    root : Root
        Where the images are.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        read = partial(_planes, root.path, root.is_zip)
        # storage in the memory of this process is seen by no other
        self._read = read if root.path.startswith("memory:") else Isolated(read)

    def planes(self, places: Sequence[str]) -> list[NDArray[Any]]:
        """Read the channels of one sample.

        Parameters
        ----------
        places : sequence of str
            One per channel, relative to the root, perhaps with a page or a box.

        Returns
        -------
        list of arrays, each of shape (height, width)
            In the integer or float type of the file; colour as the mean of red, green and blue.

        Raises
        ------
        Refused
            If a channel can't be read, takes too much time or memory, or they differ in size. It names the reason and
            the place.
        """
        planes = self._read(list(places))
        if isinstance(planes, Verdict):
            raise Refused(*planes, places[0])
        sizes = {plane.shape for plane in planes}
        if len(sizes) > 1:
            shown = ", ".join(f"{plane.shape[1]}x{plane.shape[0]}" for plane in planes)
            raise Refused("sizes_differ", f"the channels have different sizes: {shown}", places[0])
        return planes


def _planes(path: str, is_zip: bool, places: Sequence[str]) -> list[NDArray[Any]]:
    reader = _reader(path, is_zip)
    return [reader.channel(place) for place in places]


@lru_cache(maxsize=1)
def _reader(path: str, is_zip: bool) -> Reader:
    return _ZipReader(path) if is_zip else Reader(path)
