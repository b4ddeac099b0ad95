"""BBBC041: blood smears with a box round every cell. Each box becomes a row."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any

import pandas as pd

from ..errors import MetadataError
from .folder import Folder
from .publisher_tables import decode, read_bounded

EXPECTED = (
    "A list of {image: {pathname}, objects: [{bounding_box: {minimum: {r, c}, maximum: {r, c}}, category}]}; "
    "r counts rows, c columns."
)


def malaria(rows: pd.DataFrame, folder: Folder) -> pd.DataFrame:
    """Turn each smear into one row for every box in `training.json` and `test.json`.

    `cell_type` is the box's category. A smear that no file describes stays one row without a label.
    """
    boxes = [box for name in ("training.json", "test.json") for path in folder.find(name) for box in read_boxes(path)]
    # the same file may lie in two folders; a box is one cell all the same
    table = pd.DataFrame(boxes, columns=["image", "box", "cell_type"], dtype="str").drop_duplicates()
    rows = rows.assign(image=rows["image"].str.lower())
    counts = folder.counts
    known = rows["image"].isin(set(table["image"]))
    counts.unlabelled += int((~known).sum())
    counts.labels_without_image += int((~table["image"].isin(set(rows["image"]))).sum())
    if table.empty:
        return rows
    boxed = rows[known].reset_index().merge(table, on="image", how="inner", validate="many_to_many")
    boxed["channels"] = boxed["channels"] + "#xywh=" + boxed.pop("box")
    bare = rows[~known].reset_index().assign(cell_type="")
    return pd.concat([boxed, bare]).sort_values("index", kind="stable").drop(columns="index")


def read_boxes(path: str | PathLike[str]) -> list[tuple[str, str, str]]:
    """Read one file of boxes.

    Returns
    -------
    list of (image, box, category)
        Image name in lower case without folder and extension; box as `x,y,width,height` in pixels.

    Raises
    ------
    MetadataError
        Names the file, the line or entry, and what was expected.
    """

    def wrong(what: str, where: str) -> MetadataError:
        return MetadataError(what, where=f"{path}, {where}", next=f"Expected: {EXPECTED}")

    try:
        entries = json.loads(decode(read_bounded(path)))
    except json.JSONDecodeError as error:
        raise wrong(f"Not JSON: {error.msg}", f"line {error.lineno}") from error
    except RecursionError as error:
        raise wrong("Nested too deeply", "line 1") from error
    if not isinstance(entries, list):
        raise wrong("The file holds no list", "line 1")
    boxes = []
    for number, entry in enumerate(entries, start=1):
        where = f"entry {number}"
        try:
            name = _text(entry["image"]["pathname"]).rsplit("/", 1)[-1].rsplit(".", 1)[0].lower()
            for place, item in enumerate(entry["objects"], start=1):
                where = f"entry {number}, object {place}"
                low, high = item["bounding_box"]["minimum"], item["bounding_box"]["maximum"]
                x, y = _whole(low["c"]), _whole(low["r"])
                width, height = _whole(high["c"]) - x, _whole(high["r"]) - y
                if width < 1 or height < 1:
                    raise ValueError(f"a box of {width} by {height} pixels")
                boxes.append((name, f"{x},{y},{width},{height}", _text(item["category"]).replace("|", "/")))
        except (KeyError, TypeError, IndexError, ValueError) as error:
            said = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise wrong(f"Not as published: {said}", where) from error
    return boxes


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} where a text is expected")
    return value


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} where a number of pixels is expected")
    return value
