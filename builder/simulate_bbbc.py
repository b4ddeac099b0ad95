"""Layouts of the Broad Bioimage Benchmark Collection."""

from __future__ import annotations

from .simulate import Info, Layout


def _plate_well(i: int) -> Info:
    """Name the wells of a 96-well plate in order, and count on from plate to plate."""
    plate, place = divmod(i, 96)
    row, column = divmod(place, 12)
    return {"plate": plate + 1, "number": place + 1, "row": "ABCDEFGH"[row], "column": column + 1}


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        source="bbbc013",
        files={
            "fkhr-gfp": "BBBC013_v1_images_bmp/Channel1-{number:02}-{row}-{column:02}.BMP",
            "nucleus": "BBBC013_v1_images_bmp/Channel2-{number:02}-{row}-{column:02}.BMP",
        },
        field=lambda i, rng: _plate_well(i),
    ),
)
