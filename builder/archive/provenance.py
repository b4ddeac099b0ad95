"""What the published rows tell about their source images: by `idx`, `path`, the stains, and the registry of sources.

The archive has none of the columns of provenance. Its `path` usually names the folder of the PNG, which tells nothing;
copies in which it names the folder of the source image are read with the pattern of the source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from .. import schema
from ..sources.catalogue_rows import as_numbers
from ..sources.channel_types import channel_types
from ..sources.each import each
from ..sources.folder import IMAGE
from ..sources.provenance import NUMBERS, PROVENANCE, with_places
from ..sources.record import Source
from ..sources.registry import SOURCES


def sources_of(dir_names: pa.Array, idx: pa.Array) -> pd.Series:
    """Return the source of each row: its `dir_name`, or where that is empty the source that begins its `idx`.

    Examples
    --------
    >>> sources_of(pa.array(["bbbc006", "", ""]), pa.array(["bbbc006-1", "rec_rxrx1-12", "x"])).tolist()
    ['bbbc006', 'rec_rxrx1', '']
    """
    given = pd.Series(dir_names.to_pandas(), dtype="str")
    if given.ne("").all():
        return given
    found = each(pd.Series(idx.to_pandas(), dtype="str"), lambda text: text.rpartition("-")[0])
    return given.where((given != "") | ~found.isin(list(SOURCES)), found)


def provenance_of(sources: pd.Series, text: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """Return the columns of provenance of some rows, and `channel_type`.

    Parameters
    ----------
    sources : Series of str
        As `sources_of` returns them.
    text : mapping of str to array
        The columns `path`, `filename` and `channels` (the stains) of the same rows.
    """
    empty = pd.Series("", index=sources.index, dtype="str")
    rows = pd.DataFrame(dict.fromkeys(PROVENANCE, empty))
    paths = pc.binary_join_element_wise(text["path"], text["filename"], "/")
    for name in sources.unique():
        if name in SOURCES:
            here = sources.index[sources == name]
            found = _places(SOURCES[name], paths.take(pa.array(here)))
            rows.loc[here, list(found.columns)] = found.set_axis(here)
    columns = {name: pa.array(rows[name], pa.string()) for name in PROVENANCE}
    columns |= {name: as_numbers(columns[name]) for name in NUMBERS}
    types = each(pd.Series(text["channels"].to_pandas(), dtype="str"), _types)
    return {**columns, "channel_type": pa.array(types, pa.string())}


def _types(stains: str) -> str:
    """Return the types of stains in the notation of the archive: `f_nucleus|f_actin`, or a list written as text."""
    names = re.findall(r"'([^']*)'|\"([^\"]*)\"", stains) if stains.startswith("[") else []
    written = "|".join(single or double for single, double in names) if names else stains
    return channel_types(re.sub(r"(^|\|)f_", r"\1", written))


def _places(source: Source, paths: pa.Array) -> pd.DataFrame:
    """Return plate, well and site of paths below the source's folder, and what its record states."""
    inside = pc.struct_field(pc.extract_regex(paths, rf"(?i)(?:^|/){source.dir_name}/(?P<inside>.+)$"), "inside")
    bare = pc.replace_substring_regex(inside, IMAGE, "")
    groups = pc.extract_regex(bare, f"(?is){source.pattern}")
    rows = pd.DataFrame(
        {
            field.name: pc.fill_null(pc.struct_field(groups, field.name), "").to_pandas().astype("str")
            for field in groups.type
        },
        index=range(len(paths)),
    )
    found = with_places(source, rows)
    plate = found["plate"].where(found["plate"].str.strip("_") != "", "")
    return found.assign(plate=plate)[[name for name in PROVENANCE if name in found and name != "control"]]


def empty_columns(rows: int) -> dict[str, pa.Array]:
    """Return the other columns that the archive lacks, empty."""
    known = {*PROVENANCE, "channel_type"}
    return {name: pa.repeat(pa.scalar(schema.empty(name)), rows) for name in schema.ADDED if name not in known}
