"""The size of a pixel and the magnification that the header of an image file states.

Only what the file states as a length counts: a resolution in dots per inch that printers and screens have (72 to 1,200)
is not the size of a pixel on the specimen, and is ignored.
"""

from __future__ import annotations

import html
import math
import re
import struct
from typing import IO, NamedTuple

from . import deltavision

MAX_TEXT_BYTES = 1 << 20  # of a description; the size is in its first lines
MAX_TAGS = 512
CREDIBLE_MICROMETRES = (0.001, 100.0)  # of a pixel, where a length is stated
CREDIBLE_FROM_RESOLUTION = (0.01, 20.0)  # where dots per inch or centimetre are: 1,200 dpi are 21 micrometres
CREDIBLE_MAGNIFICATION = (0.5, 250.0)
SAME = 0.01  # relative; pixels are square if width and height differ by less

_DESCRIPTION, _X_RESOLUTION, _Y_RESOLUTION, _UNIT, _FLEX = 270, 282, 283, 296, 65200
_MICROMETRES = {
    "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "\\u00b5m": 1.0,
    "mm": 1e3, "cm": 1e4, "m": 1e6, "å": 1e-4,
}  # fmt: skip
_PER_RESOLUTION_UNIT = {2: 25_400.0, 3: 10_000.0}  # inch, centimetre
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 13: 4, 16: 8}


class Scale(NamedTuple):
    """What a file states.

    Parameters
    ----------
    pixel_size : float, optional
        Side of a pixel on the specimen, in micrometres; None if not stated, not credible, or not square.
    magnification : float, optional
        Of the objective.
    """

    pixel_size: float | None = None
    magnification: float | None = None


def read_scale(file: IO[bytes]) -> Scale:
    """Read the scale of an image file from its header; nothing is decoded.

    OME-XML, the descriptions of ImageJ and MetaMorph, the XML of Opera's FLEX, the resolution of a TIFF, and
    DeltaVision's header are understood.

    Parameters
    ----------
    file : file
        Open for reading and seekable.
    """
    try:
        file.seek(0)
        head = file.read(deltavision.HEADER_BYTES)
        if deltavision.is_deltavision(head):
            return _of_deltavision(head)
        if head[:2] in (b"II", b"MM"):
            return _of_tiff(file, head)
    except (struct.error, OverflowError, OSError):
        pass  # damaged: the reader of pixels reports it
    return Scale()


def of_index(text: str) -> Scale:
    """Return the scale that the XML of an Opera or Operetta states: in a FLEX file, or the `Index` of a measurement.

    Examples
    --------
    >>> of_index('<Magnification>20</Magnification><ImageResolutionX Unit="m">3.2E-07</ImageResolutionX>')
    Scale(pixel_size=0.32, magnification=20.0)
    """
    x, y = (_numbers(rf"<ImageResolution{axis}\b[^>]*>([^<]+)<", text) for axis in "XY")
    magnifications = _numbers(r"<(?:Objective)?Magnification\b[^>]*>([^<]+)<", text)
    return Scale(_square(_only(x), _only(y) or _only(x), 1e6), _magnification(magnifications))


def _of_deltavision(head: bytes) -> Scale:
    order = "<" if struct.unpack_from("<h", head, 96)[0] == deltavision.MARK else ">"
    x, y = struct.unpack_from(f"{order}2f", head, 40)
    return Scale(_square(x, y, 1.0))


def _of_tiff(file: IO[bytes], head: bytes) -> Scale:
    order, big = "<" if head[:2] == b"II" else ">", head[2:4] in (b"+\0", b"\0+")
    tags = _tags(file, order, big, struct.unpack_from(order + "IQ"[big], head, 8 if big else 4)[0])
    if _FLEX in tags:
        return of_index(_text(file, tags[_FLEX]))
    text = _text(file, tags[_DESCRIPTION]) if _DESCRIPTION in tags else ""
    x, y = (_rational(file, order, tags.get(code)) for code in (_X_RESOLUTION, _Y_RESOLUTION))
    if "<OME" in text[:4096]:
        return _of_ome(text)
    if "<MetaData>" in text[:4096]:
        return _of_metamorph(text)
    if text.startswith("ImageJ="):
        unit = re.search(r"^unit=(\S+)", text, re.MULTILINE)
        per_unit = _MICROMETRES.get(unit[1].lower(), 0.0) if unit else 0.0
        return Scale(_square(_inverse(x), _inverse(y), per_unit))
    kind = tags.get(_UNIT)
    if kind is None:
        return Scale()
    per_unit = _PER_RESOLUTION_UNIT.get(struct.unpack(f"{order}H", kind[2][:2])[0], 0.0)
    return Scale(_square(_inverse(x), _inverse(y), per_unit, CREDIBLE_FROM_RESOLUTION))


def _tags(file: IO[bytes], order: str, big: bool, at: int) -> dict[int, tuple[int, int, bytes]]:
    """Return type, number of bytes and place (or value) of each tag of the first page."""
    file.seek(at)
    counts, entry = struct.Struct(order + "HQ"[big]), struct.Struct(order + ("HHQ8s" if big else "HHI4s"))
    number = counts.unpack(file.read(counts.size))[0]
    if number > MAX_TAGS:
        return {}
    block = file.read(number * entry.size)
    tags = {}
    for code, kind, length, place in entry.iter_unpack(block[: len(block) // entry.size * entry.size]):
        size = length * _TYPE_BYTES.get(kind, 0)
        if size > len(place):
            tags[code] = (struct.unpack(order + "IQ"[big], place)[0], size, b"")
        else:
            tags[code] = (0, size, place)
    return tags


def _text(file: IO[bytes], tag: tuple[int, int, bytes]) -> str:
    at, size, value = tag
    if not value:
        file.seek(at)
        value = file.read(min(size, MAX_TEXT_BYTES))
    return value.rstrip(b"\0").decode("utf-8", "replace")


def _rational(file: IO[bytes], order: str, tag: tuple[int, int, bytes] | None) -> float | None:
    if tag is None or tag[1] != 8:
        return None
    at, _, value = tag
    if not value:
        file.seek(at)
        value = file.read(8)
    above, below = struct.unpack(f"{order}2I", value)
    return above / below if below else None


def _of_ome(text: str) -> Scale:
    pixels = re.search(r"<(?:\w+:)?Pixels\b([^>]*)>", text)
    sides = [_ome_side(pixels[1], axis) for axis in "XY"] if pixels else [None, None]
    magnifications = _numbers(r"<(?:\w+:)?Objective\b[^>]*\bNominalMagnification=\"([^\"]+)\"", text)
    return Scale(_square(sides[0], sides[1], 1.0), _magnification(magnifications))


def _ome_side(attributes: str, axis: str) -> float | None:
    """Return a side in micrometres, the unit that OME-XML assumes where none is named."""
    unit = re.search(rf"\bPhysicalSize{axis}Unit=\"([^\"]*)\"", attributes)
    factor = _MICROMETRES.get(html.unescape(unit[1]).lower(), 0.0) if unit else 1.0
    side = _only(_numbers(rf"\bPhysicalSize{axis}=\"([^\"]+)\"", attributes))
    return None if side is None else side * factor


def _of_metamorph(text: str) -> Scale:
    found = dict(re.findall(r'<prop id="([^"]+)" type="[^"]*" value="([^"]*)"', text))
    magnification = re.match(r"\s*(\d+(?:\.\d+)?)\s*[xX]", found.get("_MagSetting_", ""))
    size = None
    if found.get("spatial-calibration-state", "on") == "on":
        per_unit = _MICROMETRES.get(html.unescape(found.get("spatial-calibration-units", "")).lower(), 0.0)
        x, y = (_number(found.get(f"spatial-calibration-{axis}", "")) for axis in "xy")
        size = _square(x, y, per_unit)
    return Scale(size, _magnification({float(magnification[1])} if magnification else set()))


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _numbers(pattern: str, text: str) -> set[float]:
    """Return the distinct numbers that a pattern finds."""
    return {value for found in re.findall(pattern, text) if (value := _number(found)) is not None}


def _only(values: set[float]) -> float | None:
    return next(iter(values)) if len(values) == 1 else None


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None


def _square(
    x: float | None, y: float | None, per_unit: float, credible: tuple[float, float] = CREDIBLE_MICROMETRES
) -> float | None:
    """Return the side of a square pixel in micrometres, to six digits; None if it is not square or not credible."""
    if not x or not y or abs(x - y) > SAME * abs(x):
        return None
    side = x * per_unit
    return float(f"{side:.6g}") if credible[0] <= side <= credible[1] else None


def _magnification(values: set[float]) -> float | None:
    value = _only(values)
    return value if value and CREDIBLE_MAGNIFICATION[0] <= value <= CREDIBLE_MAGNIFICATION[1] else None
