"""Which columns of a table are keys, which are features, and which are neither."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...builder.errors import UsageError

KEYS = {
    "id": ("id", "key", "sample", "sample_id", "image_id"),
    "plate": ("plate", "plate_dapi", "plate_name", "plate_id", "assay_plate_barcode"),
    "well": ("well", "well_dapi", "well_position", "well_id"),
    "site": ("site", "field", "fov"),
    "week": ("week", "batch"),
    "compound": ("compound", "compound_name", "pert_iname"),
    "concentration": ("concentration", "conc", "dose", "compound_concentration"),
    "label": ("label", "moa", "mechanism", "class", "labels"),
    "group": ("group", "groups"),
    "split": ("split",),
}
"""Our name of a key column, and its usual names (also after `Metadata_` or `Image_Metadata_`, in any case)."""

NOT_FEATURES = {"imagenumber", "tablenumber", "objectnumber", "index", "replicate", "level_0"}
"""Columns of numbers that CellProfiler and pandas write in addition to the features."""

_METADATA = re.compile(r"^(?:image_)?metadata_", re.IGNORECASE)
_KEY_OF = {name: key for key, names in KEYS.items() for name in names}
_OURS = re.compile(r"f\d{4,}")  # as `cytoimagenet features` names the features of one network
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_WORDS = """
id ids index number no nr num n count t time timepoint frame hour hours day date cycle round x y z row col
column position pos coordinate coord centroid center centre left top bbox plate well site field fov tile
stack slice page group batch week replicate rep experiment exp run donor patient subject animal mouse slide
movie video track fold cell object nucleus image file dose concentration conc age passage label class target
split train test
"""
DOUBTFUL = frozenset(_WORDS.split())
"""Words of names that tell where or when a sample was measured. A column called by them alone is no feature unless it
is declared: `time`, `x`, `Plate_Number`, `cell id`."""
UNITS = frozenset({"um", "px", "pixel", "pixels", "micron", "microns", "nm", "mm", "s", "sec", "min", "minutes", "h"})
MAX_NAMES = 6  # in a remark or an error


@dataclass(frozen=True)
class Named:
    """Which columns are keys although they are called otherwise; see `read_table`."""

    columns: Mapping[str, str]
    may_be_absent: frozenset[str] = frozenset()
    may_be_empty: frozenset[str] = frozenset()

    def keys_of(self, found: Sequence[str], source: str) -> dict[str, str | None]:
        """Return what each column is, as `key_of` does.

        Raises
        ------
        UsageError
            If a column is missing or named for two keys.
        """
        keys = {column: key_of(column) for column in found}
        named: dict[str, str] = {}
        for key, name in self.columns.items():
            column = next((one for one in (name, f"Metadata_{name}") if one in keys), None)
            if column is None and key in self.may_be_absent:
                continue
            if column is None:
                others = ", ".join(one for one, usually in keys.items() if usually is not None)
                raise UsageError(
                    f"There is no column {name!r} for the {key}",
                    where=source,
                    next=f"Columns that describe a row are {others[:300]}" if others else None,
                )
            if column in named:
                raise UsageError(f"The column {column!r} can't be both {named[column]} and {key}", where=source)
            named[column] = key
        # a column with the usual name of such a key only describes the row
        return {one: "" if key in self.columns else key for one, key in keys.items()} | named


def key_of(column: str) -> str | None:
    """Return the key that a column is: one of `KEYS`, "" for a column that is ignored, None for a feature.

    Examples
    --------
    >>> key_of("Image_Metadata_Plate_DAPI"), key_of("ImageNumber"), key_of("Cells_AreaShape_Area")
    ('plate', '', None)
    """
    plain = _METADATA.sub("", column)
    key = _KEY_OF.get(plain.lower())
    if key is None and (plain != column or plain.lower() in NOT_FEATURES or plain.startswith("Unnamed:")):
        return ""
    return key


def is_doubtful(column: str) -> bool:
    """Return whether a column of numbers more likely describes a sample than measures its image.

    Examples
    --------
    >>> [is_doubtful(name) for name in ("time", "x_um", "PlateNumber", "centroid-0")]
    [True, True, True, True]
    >>> [is_doubtful(name) for name in ("Cells_Location_Center_X", "x12", "0", "area", "f0001")]
    [False, False, False, False, False]
    """
    if re.fullmatch(r"[A-Za-z]+\d+|.+_\d{4,}", column):
        return False  # x12, f0001, run_dna_0001
    words = [word.lower() for word in _WORD.findall(column)]
    telling = [word for word in words if not word.isdigit() and word not in UNITS]
    return bool(telling) and all(word in DOUBTFUL for word in telling)


@dataclass(frozen=True)
class Choice:
    """Which columns are features.

    Attributes
    ----------
    features : list of str
    left_out : list of str
        Columns of numbers that are no features, to be named to the user.
    """

    features: list[str]
    left_out: list[str]


def choose_features(numbers: Sequence[str], prefixes: Collection[str], source: str) -> Choice:
    """Choose the features among the columns of numbers that are no keys.

    Parameters
    ----------
    numbers : sequence of str
        The columns of numbers.
    prefixes : collection of str
        What names of features start with. Without any, features are `f0000`, `f0001` ... if there are such columns,
        else all columns but the doubtful ones.
    source : str
        Where the table comes from; named in errors.

    Raises
    ------
    UsageError
        If no column starts with a prefix, or all are doubtful.

    Examples
    --------
    >>> choose_features(["area", "time"], (), "t.csv")
    Choice(features=['area'], left_out=['time'])
    >>> choose_features(["area", "time"], ["ti"], "t.csv")
    Choice(features=['time'], left_out=['area'])
    """
    if prefixes:
        unused = next((one for one in prefixes if not any(name.startswith(one) for name in numbers)), None)
        if unused is not None:
            raise UsageError(
                f"No column of numbers starts with {unused!r}", where=source, next=f"There are {listed(numbers)}"
            )
        features = [name for name in numbers if name.startswith(tuple(prefixes))]
    else:
        ours = [name for name in numbers if _OURS.fullmatch(name)]
        features = ours or [name for name in numbers if not is_doubtful(name)]
        if numbers and not features:
            raise UsageError(
                f"The columns of numbers may describe the samples rather than measure them: {listed(numbers)}",
                where=source,
                next="If they are features, name how they start with --features-prefix (Python: features_prefix)",
            )
    chosen = set(features)
    return Choice(features, [name for name in numbers if name not in chosen])


def listed(names: Iterable[str]) -> str:
    """Return names as text, at most `MAX_NAMES` of them."""
    every = list(names)
    more = f" and {len(every) - MAX_NAMES:,} more" if len(every) > MAX_NAMES else ""
    return ", ".join(map(str, every[:MAX_NAMES])) + more
