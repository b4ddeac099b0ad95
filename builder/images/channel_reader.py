"""Reads the channels of source images, and gives a reason when one can't be read."""

from __future__ import annotations

import os
import posixpath
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

from numpy.typing import NDArray

from ..errors import MissingImageError, NotEnoughMemoryError, TooLargeError, UnreadableImageError
from ..formats import zips
from ..formats.read import read_channel, read_file
from ..formats.scale import Scale, read_scale
from ..storage import filesystem, is_local, join
from . import channels
from .quality import Verdict


class Refused(Exception):
    """A source image is rejected, for a reason of `schema.REASONS`."""

    def __init__(self, reason: str, detail: str, file: str = "") -> None:
        self.verdict, self.file = Verdict(reason, detail), file
        super().__init__(reason, detail, file)


class Reader:
    """Reads channels below RAW. It keeps the last plane: a file of many boxes, such as a blood smear, is read once.

    Parameters
    ----------
    raw : str or path
        Folder or URL that `channels` are relative to.

    Attributes
    ----------
    scale : Scale
        What the header of the file of the last channel states about pixel size and magnification.
    """

    def __init__(self, raw: str | PathLike[str]) -> None:
        self.raw = os.fspath(raw)
        self._local = is_local(self.raw)
        self.scale = Scale()
        self._last: tuple[tuple[str, int | None], NDArray[Any]] | None = None

    def channel(self, channel: str) -> NDArray[Any]:
        """Read one channel in its own integer or float type; raise `Refused` if that is impossible."""
        place = channels.parse(channel)
        try:
            plane = self._plane(place)
        except MissingImageError as error:
            raise Refused("missing_channel", error.reason, channel) from error
        except TooLargeError as error:
            raise Refused("too_large", error.reason, channel) from error
        except NotEnoughMemoryError as error:
            raise Refused("too_much_memory", error.reason, channel) from error
        except UnreadableImageError as error:
            raise Refused("unreadable", error.reason, channel) from error
        if place.box is None:
            return plane
        x, y, width, height = place.box
        if x + width > plane.shape[1] or y + height > plane.shape[0]:
            raise Refused("unreadable", f"box outside the {plane.shape[1]}x{plane.shape[0]} image", channel)
        return plane[y : y + height, x : x + width]

    def _plane(self, place: channels.Place) -> NDArray[Any]:
        key = (place.file, place.page)
        last = self._last  # another thread may replace it
        if last is not None and last[0] == key:
            return last[1]
        self._last = None
        plane = self._decode(place)
        if place.box is not None:
            self._last = (key, plane)
        return plane

    def _decode(self, place: channels.Place) -> NDArray[Any]:
        archive, member = channels.split_zip(place.file)
        if archive and self._local and os.path.isfile(path := filesystem(join(self.raw, archive))[1]):
            where = join(self.raw, place.file)
            unpacked = zips.open_member(zips.open_zip(path), member, where)
            plane = read_file(unpacked, where, page=place.page)
            self.scale = read_scale(unpacked)
            return plane
        with self._on_disk(place.file) as path:
            plane = read_channel(path, page=place.page)
            with open(path, "rb", buffering=0) as file:
                self.scale = read_scale(file)
            return plane

    @contextmanager
    def _on_disk(self, file: str) -> Iterator[str]:
        if posixpath.isabs(file) or ".." in file.split("/"):
            raise UnreadableImageError(file, "outside the raw folder")
        path = join(self.raw, file)
        if self._local:
            yield path
            return
        # an object store that does not answer ends the run: an image may be rejected only for what its file contains
        fs, inner = filesystem(path)
        with tempfile.TemporaryDirectory(prefix="cytoimagenet-fetch-") as folder:
            fetched = os.path.join(folder, "image")
            try:
                fs.get_file(inner, fetched)
            except FileNotFoundError as error:
                raise MissingImageError(path, "no such file") from error
            except PermissionError as error:
                raise UnreadableImageError(path, "permission denied") from error
            yield fetched
