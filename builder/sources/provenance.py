"""What a table or a name says about the provenance of an image, in one spelling: control, magnification, pixel size."""

from __future__ import annotations

import math
import re

PROVENANCE = ("plate", "well", "site", "control", "magnification", "pixel_size")
"""Columns about where an image comes from; `magnification` and `pixel_size` are numbers, the others text."""
NUMBERS = ("magnification", "pixel_size")

_NEGATIVE = re.compile(r"(?i)^\s*(neg(ative|\.)?|neutral)?[\s_-]*(control|ctrl)?s?\s*$")
_POSITIVE = re.compile(r"(?i)^\s*pos(itive|\.)?[\s_-]*(control|ctrl)?s?\s*$")
_NUMBER = re.compile(r"^\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]*)\s*$", re.IGNORECASE)
_UNITS = {"magnification": ("", "x"), "pixel_size": ("", "um", "µm", "μm")}


def control_of(text: str) -> str:
    """Return `negative` or `positive` if a text says so and nothing else; otherwise empty.

    A bare "control" is neither.

    Examples
    --------
    >>> [control_of(text) for text in ("Negative control", "pos", "neg_ctrl", "control", "DMSO", "")]
    ['negative', 'positive', 'negative', '', '', '']
    """
    if _POSITIVE.match(text):
        return "positive"
    found = _NEGATIVE.match(text)
    return "negative" if found and found[1] else ""


def number_of(text: str, column: str) -> float | None:
    """Return the number of a cell of `magnification` or `pixel_size`; None if it is not a positive number.

    Parameters
    ----------
    text : str
        A number, perhaps with its unit: `20x`, `0.65 um`.
    column : str
        One of `NUMBERS`.

    Examples
    --------
    >>> number_of("20X", "magnification"), number_of("0.65 µm", "pixel_size"), number_of("650 nm", "pixel_size")
    (20.0, 0.65, None)
    """
    found = _NUMBER.match(text)
    if not found or found[2].lower() not in _UNITS[column]:
        return None
    value = float(found[1])
    return value if 0 < value < math.inf else None
