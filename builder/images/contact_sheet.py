"""Contact sheets: images scaled to square tiles and put side by side."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

TILE = 96  # pixels of a side
GAP = 4  # pixels between tiles
NAME_WIDTH = 190  # pixels for the names left of the tiles
TEXT_SIZE = 12  # pixels
MAX_TEXT = 200  # characters that are measured; far fewer fit
PAPER, INK, FAINT = (255, 255, 255), (20, 20, 20), (120, 120, 120)
FRAME = 235  # grey level around an image that does not fill its tile


def sheet(rows: Sequence[tuple[str, str, Sequence[Image.Image]]], columns: int) -> Image.Image:
    """Draw rows of images, each with a name and a note to its left.

    Parameters
    ----------
    rows : sequence of (name, note, images)
        Further images than fit into `columns` are not shown.
    columns : int
        Tiles in a row.

    Returns
    -------
    PIL.Image.Image
        RGB. Images are scaled to fit their tile, never stretched or brightened.
    """
    step = TILE + GAP
    paper = Image.new("RGB", (NAME_WIDTH + columns * step + GAP, len(rows) * step + GAP), PAPER)
    pen, font = ImageDraw.Draw(paper), _font()
    for row, (name, note, images) in enumerate(rows):
        top = GAP + row * step
        pen.text((GAP, top + 24), _shortened(name, pen, font), INK, font)
        pen.text((GAP, top + 42), _shortened(note, pen, font), FAINT, font)
        for column, image in enumerate(images[:columns]):
            paper.paste(_tile(image, FRAME), (NAME_WIDTH + column * step, top))
    return paper


def grid(
    images: Sequence[Image.Image],
    columns: int,
    *,
    background: int,
    side: int = TILE,
    gap: int = GAP,
    resample: Image.Resampling | None = None,
) -> Image.Image:
    """Put grey images side by side, row after row, without text.

    Parameters
    ----------
    images : sequence of PIL.Image.Image
        At least one.
    columns : int
        Tiles in a row.
    background : int
        Grey level between and around the images, 0 to 255.
    side, gap : int
        Side of a tile and space between tiles, in pixels.
    resample : PIL.Image.Resampling, optional
        How images are scaled. By default pixels are averaged to shrink an image and repeated to enlarge it.

    Returns
    -------
    PIL.Image.Image
        Mode "L". Images are scaled to fit their tile, never stretched or brightened.

    Examples
    --------
    >>> grid([Image.new("L", (50, 100), 7)] * 3, columns=2, background=128).size
    (196, 196)
    """
    step = side + gap
    paper = Image.new("L", (columns * step - gap, -(-len(images) // columns) * step - gap), background)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        paper.paste(_tile(image, background, side, resample), (column * step, row * step))
    return paper


def _tile(
    image: Image.Image, background: int, side: int = TILE, resample: Image.Resampling | None = None
) -> Image.Image:
    """Return a grey tile with the image in its middle, scaled to fit, on a background of that grey level."""
    scale = side / max(image.size)
    width, height = (max(1, round(length * scale)) for length in image.size)
    if resample is None:
        resample = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    tile = Image.new("L", (side, side), background)
    tile.paste(image.resize((width, height), resample), ((side - width) // 2, (side - height) // 2))
    return tile


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return a font with Greek letters, which names of compounds need: matplotlib's, where it is installed."""
    library = find_spec("matplotlib")  # not imported: that alone would take longer than drawing the sheet
    for folder in (library and library.submodule_search_locations) or ():
        font = Path(folder, "mpl-data/fonts/ttf/DejaVuSans.ttf")
        if font.is_file():
            return ImageFont.truetype(font, TEXT_SIZE - 1)
    return ImageFont.load_default(TEXT_SIZE)


def _shortened(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Return the text on one line, cut where it would reach the tiles."""
    text = " ".join(text[:MAX_TEXT].split())
    if pen.textlength(text, font) <= NAME_WIDTH - 2 * GAP:
        return text
    while text and pen.textlength(text + "...", font) > NAME_WIDTH - 2 * GAP:
        text = text[:-1]
    return text + "..."
