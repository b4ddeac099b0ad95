"""Names of wells, from the spellings that publishers use.

| spelling | example | well |
|---|---|---|
| letter and number, in any case | `c5`, `C05` | `C05` |
| with a dash, underscore or blanks between | `C - 05`, `c_5` | `C05` |
| two letters, for plates of 1,536 wells | `AF48` | `AF48` |
| row and column, from 1 | `3,5`, `003,005` | `C05` |
| number from 1, row by row, in a plate of 384 wells | `53`, `00053` | `C05` |
"""

from __future__ import annotations

import re

import pandas as pd

COLUMNS_OF_A_384_WELL_PLATE = 24
MAX_ROWS, MAX_COLUMNS = 52, 99  # rows A to Z and AA to AZ; columns of two digits

_LETTERS_AND_NUMBER = re.compile(r"^\s*([A-Za-z]{1,2})\s*[-_ ]?\s*0*(\d{1,2})\s*$")


def well_name(text: str) -> str:
    """Return the name of a well as letter and two digits; empty if the text is none of the known spellings.

    Examples
    --------
    >>> [well_name(text) for text in ("a1", "B - 07", "03,12", "00025", "AF48", "control")]
    ['A01', 'B07', 'C12', 'B01', 'AF48', '']
    """
    return _from_letters(text) or _from_numbers(text)


def well_names(values: pd.Series) -> pd.Series:
    """Write wells of letter and number as letter and two digits; every other text stays as it is, numbers too.

    Examples
    --------
    >>> well_names(pd.Series(["a1", "A-1", "25", "control"])).tolist()
    ['A01', 'A01', '25', 'control']
    """
    return values.map({text: _from_letters(text) or text for text in values.unique()}).astype("str")


def _from_letters(text: str) -> str:
    found = _LETTERS_AND_NUMBER.match(text)
    return f"{found[1].upper()}{int(found[2]):02}" if found and int(found[2]) else ""


def _from_numbers(text: str) -> str:
    numbers = text.split(",")
    if len(numbers) > 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        return ""
    if len(numbers) == 1:
        row, column = divmod(int(text) - 1, COLUMNS_OF_A_384_WELL_PLATE)
    else:
        row, column = int(numbers[0]) - 1, int(numbers[1]) - 1
    if not (0 <= row < MAX_ROWS and 0 <= column < MAX_COLUMNS):
        return ""
    letters = chr(65 + row) if row < 26 else f"A{chr(65 + row - 26)}"
    return f"{letters}{column + 1:02}"
