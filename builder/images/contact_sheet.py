"""Draws images in rows of tiles, with a name before each row."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TILE = 96  # pixels of a side


GAP = 4


NAME_WIDTH = 190


TEXT_SIZE = 12


PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (120, 120, 120)


FRAME = 235  # around an image that does not fill its tile


def sheet(lines: Sequence[tuple[str, str, Sequence[Image.Image]]], columns: int) -> Image.Image:
    """Draw rows of images, each with a name and a note beside it.

    Parameters
    ----------
    lines : sequence of (name, note, images)
    columns : int
        Room for so many images a row.

    Returns
    -------
    PIL.Image.Image
        RGB. Images are scaled to fit their tile, never stretched or brightened.
    """
    step = TILE + GAP
    paper = Image.new("RGB", (NAME_WIDTH + columns * step + GAP, len(lines) * step + GAP), PAPER)
    pen, font = ImageDraw.Draw(paper), _font()
    for line, (name, note, images) in enumerate(lines):
        top = GAP + line * step
        pen.text((GAP, top + 24), _shortened(name, pen, font), INK, font)
        pen.text((GAP, top + 42), _shortened(note, pen, font), FAINT, font)
        for column, image in enumerate(images[:columns]):
            paper.paste(tile(image, FRAME), (NAME_WIDTH + column * step, top))
    return paper


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font that has Greek letters, which names of compounds need; it comes with the plots' library."""
    library = find_spec("matplotlib")  # not imported: that alone would take longer than the drawing
    for folder in (library and library.submodule_search_locations) or ():
        font = Path(folder, "mpl-data/fonts/ttf/DejaVuSans.ttf")
        if font.is_file():
            return ImageFont.truetype(font, TEXT_SIZE - 1)
    return ImageFont.load_default(TEXT_SIZE)


def tile(image: Image.Image, ground: int) -> Image.Image:
    """Return a grey tile with the image in its middle, scaled to fit, on a ground of that value."""
    scale = TILE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    scaled = image.resize((width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
    framed = Image.new("L", (TILE, TILE), ground)
    framed.paste(scaled, ((TILE - width) // 2, (TILE - height) // 2))
    return framed


def _shortened(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return the text on one line, cut so that it stays beside the tiles."""
    text = " ".join(text.split())
    if pen.textlength(text, font) <= NAME_WIDTH - 2 * GAP:
        return text
    while text and pen.textlength(text + "...", font) > NAME_WIDTH - 2 * GAP:
        text = text[:-1]
    return text + "..."
