r"""Patterns of file names: expressions with named groups, and ready ones for the names that microscopes write.

A ready pattern is matched against the last two folders of the root and the file's path below it, so that a plate's
folder names the plate wherever the user points to. `TimePoint_1`, `Images` and such are no plate.

Sources of the names: the file lists of public sets (BBBC012, BBBC021, BBBC022, BBBC036, cpg0000, cpg0012, cpg0016,
idr0008) and the parsers of public software that read these instruments' exports. Illumination-correction images,
thumbnails and projections named otherwise are left out because they do not match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import UsageError

CHANNEL = "channel"
"""The group whose values become channels of one sample; all other groups identify the sample."""
_FOLDER = r"(?i)(?:^|/)(?P<plate>[^/]+)/"
_UUID = r"_?\[?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\]?"
_ROW = "(?:A[A-F]|[A-P])"  # of 96, 384 or 1,536 wells
_WELL = rf"(?P<well>{_ROW}\d{{2}})"
_TIFF = r"\.tiff?$"
_ANY = r"\.(?:tiff?|png|jpe?g|bmp)$"

# r01c01f01p01-ch1sk1fk1fl1.tiff (Harmony 4), r02c07f01p01rc1-ch1sk1fk1fl1.tiff (Operetta), r01c01f01p01-ch01t01.tiff
_HARMONY = (
    # PLATE__2020-11-08T19_57_47-Measurement 1/Images/
    r"(?i)(?:^|/)(?P<plate>[^/]+?)(?:__[^/]*)?/(?:images/)?(?:r\d{2}c\d{2}/)?"
    r"r(?P<row>\d{2})c(?P<column>\d{2})f(?P<site>\d+)p(?P<plane>\d+)(?:rc\d+)?-ch(?P<channel>\d+)"
)
_PHENIX = (_HARMONY + r"sk(?P<time>\d+)fk\d+fl\d+" + _ANY, _HARMONY + r"t(?P<time>\d+)" + _ANY)
# Week1_150607_B02_s1_w107447158-AC76-4844-8431-E6A954BD1174.tif: the wavelength is one digit, then follows the UUID
_METAXPRESS = (
    _FOLDER + r"(?:TimePoint_(?P<time>\d+)/)?(?:ZStep_(?P<plane>\d+)/)?"
    rf"(?:(?P<prefix>[^/]+)_)?{_WELL}"
)
_IMAGEXPRESS = (
    _METAXPRESS + rf"_s(?P<site>\d+)(?:_w(?P<channel>\d))?(?:{_UUID})?{_TIFF}",
    _METAXPRESS + rf"(?:_w(?P<channel>\d))?(?:{_UUID})?{_TIFF}",  # one site
    _FOLDER + rf"(?:TimePoint_(?P<time>\d+)/)?(?:(?P<prefix>[^/]+)_)?{_WELL}_s(?P<site>\d+)_w(?P<channel>\d)"
    rf"_z(?P<plane>\d+){_TIFF}",
)
# A - 01(fld 1 wv 390 - Blue).tif, B - 02(fld 01 wv Blue - FITC - time 01 - 0 ms).tif,
# A - 01(fld 1 wv Green - dsRed z 3).tif
_INCELL = (
    _FOLDER + r"(?:(?P<prefix>[^/]+)_)?(?P<row>" + _ROW + r")(?: - )?(?P<column>\d{1,3})\(fld (?P<site>\d+)"
    r" wv (?P<channel>[^()]*?[^() -])(?:[ -]+time (?P<time>\d+)[^()]*?)?(?: z (?P<plane>\d+))?(?: wix \d+)?\)" + _ANY,
)
# AssayPlate_Greiner_#655090_C02_T0001F001L01A01Z01C01.tif; the action (A) may differ between channels of one field
_CELLVOYAGER = (
    rf"(?i)(?:^|/)(?P<plate>[^/]+)_{_WELL}_T(?P<time>\d{{4}})F(?P<site>\d{{3}})L\d{{2}}A\d{{2}}Z(?P<plane>\d{{2}})"
    r"C(?P<channel>\d{2})" + _ANY,
    # CQ1: W0001F0001T0001Z001C1.tif, wells by number
    _FOLDER + r"(?:Image/)?(?P<well>W\d{4})F(?P<site>\d{4})T(?P<time>\d{4})Z(?P<plane>\d{3})C(?P<channel>\d)" + _ANY,
)
_CELL_PAINTING = (
    # cpg0012: 24277/24277-ERSyto/cdp2bioactives_a01_s1_w2UUID.tif; the stain is in the folder's name
    rf"(?i)(?:^|/)(?P<plate>[^/]+)-(?P<channel>[a-z]+)/(?:[^/]+_)?{_WELL}_s(?P<site>\d+)_w\d(?:{_UUID})?{_TIFF}",
    # BBBC022: BBBC022_v1_images_20585w1/IXMtest_A01_s1_w1UUID.tif
    rf"(?i)(?:^|/)(?:[^/]*_)?(?P<plate>\d+)w\d/(?:[^/]+_)?{_WELL}_s(?P<site>\d+)_w(?P<channel>\d){_UUID}{_TIFF}",
    # BBBC036, repacked: cdp2bioactives_a01_s1_w127df6541-..._ch_Hoechst.png
    _FOLDER + rf"(?:[^/]+_)?{_WELL}_s(?P<site>\d+)_w\d(?:{_UUID})?_ch_(?P<channel>[a-z]+){_ANY}",
    # cpg0016, repacked: A04_i1_ch0.png
    _FOLDER + rf"{_WELL}_i(?P<site>\d+)_ch(?P<channel>\d+){_ANY}",
    # Cytation (Gen5): C8_01_1_1_DAPI_001.tif
    _FOLDER + rf"(?P<well>{_ROW}\d{{1,2}})" + r"_\d{2}_\d+_(?P<site>\d+)_(?P<channel>[^/_]+)_(?P<time>\d{3})" + _TIFF,
    *_PHENIX,
    *_CELLVOYAGER,
    *_IMAGEXPRESS,
)


@dataclass(frozen=True)
class ReadyPattern:
    """Names that an instrument or a public collection gives to its files.

    Attributes
    ----------
    what : str
        For `--help` and the docs.
    example : str
        One file name.
    expressions : tuple of str
        RE2 expressions; the first that matches a file counts.
    """

    what: str
    example: str
    expressions: tuple[str, ...]


READY: Mapping[str, ReadyPattern] = {
    "phenix": ReadyPattern(
        "Opera Phenix and Operetta (Harmony)", "PLATE__DATE/Images/r02c03f01p01-ch1sk1fk1fl1.tiff", _PHENIX
    ),
    "imagexpress": ReadyPattern("ImageXpress (MetaXpress)", "PLATE/TimePoint_1/NAME_B03_s1_w2UUID.tif", _IMAGEXPRESS),
    "incell": ReadyPattern("IN Cell Analyzer", "PLATE/B - 03(fld 1 wv DAPI - DAPI).tif", _INCELL),
    "cellvoyager": ReadyPattern(
        "CellVoyager (CV7000, CV8000, CQ1)", "PLATE_B03_T0001F001L01A01Z01C01.tif", _CELLVOYAGER
    ),
    "cell-painting": ReadyPattern(
        "Public Cell Painting sets: stain in the folder or file name, else as phenix, cellvoyager, imagexpress",
        "24277/24277-ERSyto/cdp2bioactives_b03_s1_w2UUID.tif",
        _CELL_PAINTING,
    ),
}
ALIASES = {"opera": "phenix", "operetta": "phenix", "opera-phenix": "phenix", "jump": "cell-painting"}


def expressions_of(pattern: str) -> tuple[tuple[str, ...], bool]:
    """Return the expressions of a pattern, and whether it is a ready one.

    Parameters
    ----------
    pattern : str
        A name of `READY` or `ALIASES`, or an RE2 expression with named groups.

    Raises
    ------
    UsageError
        If it is neither.
    """
    name = pattern.strip().lower().replace("_", "-")
    name = ALIASES.get(name, name)
    if name in READY:
        return READY[name].expressions, True
    if "(?P<" not in pattern:
        raise UsageError(
            f"{pattern!r} is no pattern: it has no named group",
            where="--pattern",
            next=f"Use {', '.join(READY)}, or an expression such as '(?P<well>[A-H]\\d\\d)_w(?P<channel>\\d)'",
        )
    return (pattern,), False


def match(paths: Sequence[str], expressions: Sequence[str]) -> pd.DataFrame:
    """Return what the groups captured in each path.

    Parameters
    ----------
    paths : sequence of str
    expressions : sequence of str
        RE2 expressions. For each path the first that is found anywhere in it counts.

    Returns
    -------
    DataFrame of str
        One row per path that matches, under its position in `paths`; one column per group, empty where a group
        captured nothing. `row` and `column` give `well` in addition, unless there is one.

    Raises
    ------
    UsageError
        If an expression is not valid.

    Examples
    --------
    >>> found = match(["p1/r02c03f01p01-ch1sk1fk1fl1.tiff", "notes.txt"], READY["phenix"].expressions)
    >>> found[["plate", "well", "site", "channel"]].to_dict("records")
    [{'plate': 'p1', 'well': 'B03', 'site': '01', 'channel': '1'}]
    """
    texts = pa.array(paths, pa.large_string())
    parts: list[pd.DataFrame] = []
    left = pd.RangeIndex(len(paths))
    for expression in expressions:
        try:
            groups = pc.extract_regex(texts, expression)
        except pa.ArrowInvalid as error:
            problem = " ".join(str(error).split()).removeprefix("Invalid regular expression: ")
            raise UsageError(
                f"The pattern is not valid: {problem}",
                where=f"--pattern {expression!r}",
                next="It is an RE2 expression: every group has a name, (?P<name>...) or (?:...); no look-ahead",
            ) from error
        if not groups.type.num_fields:
            raise UsageError("The pattern has no named group", where=f"--pattern {expression!r}")
        hit = groups.is_valid()
        columns = {
            groups.type.field(i).name: groups.field(i).filter(hit).to_pandas().fillna("").astype("str").array
            for i in range(groups.type.num_fields)
        }
        matched = hit.to_numpy(zero_copy_only=False)
        parts.append(pd.DataFrame(columns, index=left[matched]))
        texts, left = texts.filter(pc.invert(hit)), left[~matched]
    found = pd.concat([part for part in parts if len(part)] or parts[:1]).sort_index().fillna("").astype("str")
    if {"row", "column"} <= set(found.columns) and "well" not in found.columns:
        found["well"] = [_well(row, column) for row, column in zip(found["row"], found["column"], strict=True)]
    return found


def suggest(paths: Sequence[str]) -> str | None:
    """Return the name of the ready pattern that at least half of the paths match, if there is one."""
    for name, ready in READY.items():
        if name != "cell-painting" and 2 * len(match(paths, ready.expressions)) >= max(len(paths), 1):
            return name
    return None


def _well(row: str, column: str) -> str:
    """Return a letter and two digits: rows may be numbers or letters."""
    if row.isdigit():
        number = int(row) - 1
        if not 0 <= number < 52:
            return ""
        row = chr(65 + number) if number < 26 else f"A{chr(65 + number - 26)}"
    return f"{row.upper()}{int(column):02}" if row.isalpha() and column.isdigit() else ""
