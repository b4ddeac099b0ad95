"""Samples from a list of files, where there is no table: by a pattern, or by class folders."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from ..errors import UsageError
from .patterns import CHANNEL, READY, expressions_of, match, suggest
from .root import IMAGE_NAME, Root

_SUGGEST_FROM = 1000  # file names that are tried against the ready patterns


def by_pattern(root: Root, pattern: str) -> tuple[pd.DataFrame, list[str]]:
    """Group files into samples by their names.

    Parameters
    ----------
    root : Root
    pattern : str
        See `patterns.expressions_of`. The group `channel` joins several files to one sample; files that agree in all
        other groups belong together.

    Returns
    -------
    DataFrame of str
        One row per sample in the order of its first file: `file`, or `file_<channel>` in natural order, empty where
        a sample has no such channel; then the other groups.
    list of str
        What else there is to know: files that were not taken.

    Raises
    ------
    UsageError
        If no file matches, or two files are the same channel of one sample.
    """
    expressions, ready = expressions_of(pattern)
    names = [name for name in root.files if IMAGE_NAME(name)]
    front = "/".join(root.path.rsplit("/", 2)[-2:]) if not root.is_zip else root.name
    found = match([f"{front}/{name}" for name in names] if ready else names, expressions)
    files = pd.Series(names, dtype="str").reindex(found.index)
    if not len(found):
        raise UsageError(
            f"No file fits the pattern {pattern!r}",
            where=root.path,
            next=f"It is compared with paths such as {', '.join(map(repr, names[:3])) or 'none: there is no image'}",
        )
    reserved = [name for name in found.columns if name == "file" or name.startswith("file_")]
    if reserved:
        raise UsageError(f"A group of the pattern can't be called {reserved[0]!r}", where=f"--pattern {pattern!r}")
    others = len(root.files) - len(found)
    notes = [f"files that are not images or do not fit the pattern: {others:,}"] if others else []
    keys = [name for name in found.columns if name != CHANNEL and found[name].ne("").any()]
    channels = sorted(found[CHANNEL].unique(), key=_natural) if CHANNEL in found.columns else [""]
    if channels == [""]:
        return pd.DataFrame({"file": files, **{name: found[name] for name in keys}}).reset_index(drop=True), notes
    sample = found[keys].agg("\0".join, axis=1) if keys else pd.Series("", index=found.index)
    twice = pd.DataFrame({"sample": sample, "channel": found[CHANNEL]}).duplicated(keep=False)
    if twice.any():
        same = twice[twice].index[:1]
        pair = files[(sample == sample[same[0]]) & (found[CHANNEL] == found.loc[same[0], CHANNEL])].tolist()[:2]
        raise UsageError(
            f"Two files are channel {found.loc[same[0], CHANNEL]!r} of the same sample: {pair[0]} and {pair[1]}",
            where=root.path,
            next="Add a group for the part in which they differ, such as (?P<plate>...)",
        )
    rows = found[keys].assign(sample=sample).drop_duplicates("sample").set_index("sample")
    wide = {
        f"file_{channel or 'none'}": files[here].set_axis(sample[here]).reindex(rows.index).fillna("").astype("str")
        for channel in channels
        for here in [found[CHANNEL] == channel]
    }
    return pd.concat([pd.DataFrame(wide), rows], axis=1).reset_index(drop=True), notes


def by_folders(root: Root) -> tuple[pd.DataFrame, list[str]]:
    """Take every image as a sample; its folder is its label if all images are exactly one folder deep.

    Returns
    -------
    DataFrame of str
        `file`, and `label` where there are class folders.
    list of str
        What else there is to know: files that were not taken, why there are no labels.

    Raises
    ------
    UsageError
        If there is no image.
    """
    images = [name for name in root.files if IMAGE_NAME(name)]
    if not images:
        seen = ", ".join(map(repr, root.files[:3]))
        raise UsageError(
            "There is no image and no images.csv" + (f"; there are {seen}" if seen else ""),
            where=root.path,
            next="Images are .tif, .png, .jpg, .bmp, .dib, .flex, .stk and .dv files",
        )
    others = len(root.files) - len(images)
    notes = [f"files that are not images: {others:,}"] if others else []
    depths = {name.count("/") for name in images}
    frame = pd.DataFrame({"file": pd.Series(images, dtype="str")})
    front = "/".join(root.path.rsplit("/", 2)[-2:])
    ready = suggest([f"{front}/{name}" for name in images[:_SUGGEST_FROM]])
    if ready is not None:
        notes.append(f"the file names look like those of {READY[ready].what}: use --pattern {ready}")
    folders = {name.split("/")[0] for name in images}
    if depths == {1} and len(folders) > 1:
        frame["label"] = pd.Series([name.split("/")[0] for name in images], dtype="str")
    elif depths - {0, 1} or len(depths) > 1:
        notes.append("no labels: the images are not all in folders <label>/<image>")
    return frame, notes


def _natural(text: str) -> tuple[Sequence[object], str]:
    """Return a key that puts `w2` before `w10`."""
    return [(0, int(part)) if part.isdigit() else (1, part.casefold()) for part in re.findall(r"\d+|\D+", text)], text
