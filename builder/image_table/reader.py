"""Reads the planes of a sample: from a folder, a URL or a zip, in any process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ..formats import zips
from ..formats.read import read_file
from ..images.channel_reader import Reader, Refused
from ..images.channels import Place
from .root import Root


class _ZipReader(Reader):
    """Reads members of a zip."""

    def _decode(self, place: Place) -> NDArray[Any]:
        where = f"{self.raw}, {place.file}"
        return read_file(zips.open_member(zips.open_zip(self.raw), place.file, where), where, page=place.page)


class PlaneReader:
    """Reads places below a root. It can be sent to other processes; a zip is opened once in each.

    Parameters
    ----------
    root : Root
        Where the images are.
    """

    def __init__(self, root: Root) -> None:
        self.root = root
        self._reader = _ZipReader(root.path) if root.is_zip else Reader(root.path)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["root"])  # type: ignore[misc]

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
            If a channel can't be read, or they differ in size. It names the reason and the place.
        """
        planes = [self._reader.channel(place) for place in places]
        sizes = {plane.shape for plane in planes}
        if len(sizes) > 1:
            shown = ", ".join(f"{plane.shape[1]}x{plane.shape[0]}" for plane in planes)
            raise Refused("sizes_differ", f"the channels have different sizes: {shown}", places[0])
        return planes
