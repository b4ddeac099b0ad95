"""Names of wells, from the spellings that publishers use."""

from __future__ import annotations

import re

import pandas as pd

COLUMNS_OF_A_384_WELL_PLATE = 24  # ScanR numbers the wells row by row


_CELL = re.compile(r"^\s*([A-Za-z]{1,2})\s*[-_ ]?\s*0*(\d{1,2})\s*$")


def well_name(text: str) -> str:
    """Write a well as letter and two digits, from a name, a number or row and column; empty if it is none of these.

    Examples
    --------
    >>> [well_name(text) for text in ("a1", "B - 07", "03,12", "00025", "AF48", "control")]
    ['A01', 'B07', 'C12', 'B01', 'AF48', '']
    """
    if (named := _CELL.match(text)) and int(named[2]):
        return f"{named[1].upper()}{int(named[2]):02}"
    numbers = text.split(",")
    if not all(n.isascii() and n.isdigit() for n in numbers) or len(numbers) > 2:
        return ""
    if len(numbers) == 1:
        row, column = divmod(int(text) - 1, COLUMNS_OF_A_384_WELL_PLATE)
    else:
        row, column = int(numbers[0]) - 1, int(numbers[1]) - 1
    if not (0 <= row < 52 and 0 <= column < 99):
        return ""
    letters = chr(65 + row) if row < 26 else f"A{chr(65 + row - 26)}"
    return f"{letters}{column + 1:02}"


def well(values: pd.Series) -> pd.Series:
    """Write wells as a capital letter and two digits: `a1`, `A01`, `A-1` -> `A01`."""
    parts = values.str.extract(r"(?i)^\s*([A-Z]{1,2})[-_ ]?0*(\d{1,2})\s*$")
    return (parts[0].str.upper() + parts[1].str.zfill(2)).fillna(values).astype("str")
