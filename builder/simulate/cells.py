"""Simulate fields of view of cells whose shape, texture and stain pattern differ between classes.

For the demo and the tests; this is no model of biology. Classes differ in properties that also distinguish real
classes: the outline of the cells, the texture of the nucleus, the location of a stain. Within each class, other
properties vary as they do on a plate: number and position of cells, brightness, focus, uneven illumination, noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

PATTERNS = ("diffuse", "puncta", "filaments", "rim", "perinuclear", "cap", "nuclear", "nucleoli", "striped")
"""Locations of a stain in a cell."""

STAIN_PATTERNS = {
    "nucleus": "nuclear",
    "dna": "nuclear",
    "nucleoli": "nucleoli",
    "actin": "filaments",
    "microtubules": "filaments",
    "tubulin": "filaments",
    "mitochondria": "puncta",
    "er": "perinuclear",
    "golgi": "cap",
    "cell membrane": "rim",
    "cell body": "diffuse",
}
"""Location of each stain in an untreated cell."""


@dataclass(frozen=True)
class Style:
    """The properties that all cells of one class share.

    Parameters
    ----------
    radius : float
        Mean radius of a cell in pixels of a field of 100 pixels; it scales with the field.
    elongation : float
        Long axis divided by short axis, at least 1.
    lobes : int
        Number of bulges of the outline, at least 0.
    lobe_depth : float
        Height of the bulges, as a fraction of the radius.
    nucleus : float
        Radius of the nucleus, as a fraction of the cell's.
    grain : float
        Size of the texture's features in pixels.
    chromatin : float
        Contrast of the texture of the nucleus, 0 to 1.
    protein : str
        Main location of the protein of interest, one of `PATTERNS`.
    second : str
        Second location of the protein, one of `PATTERNS`.
    mix : float
        Fraction of the protein in the second location, 0 to 0.5.
    """

    radius: float = 11.0
    elongation: float = 1.2
    lobes: int = 3
    lobe_depth: float = 0.05
    nucleus: float = 0.5
    grain: float = 2.0
    chromatin: float = 0.3
    protein: str = "diffuse"
    second: str = "diffuse"
    mix: float = 0.0


def style_of(name: str, base: Style | None = None, amount: float = 1.0) -> Style:
    """Return a style that depends only on a name; two names give two styles.

    Parameters
    ----------
    name : str
        A label, such as a compound or a gene.
    base : Style, optional
        Interpolate from this style to that of the name. Patterns and the number of lobes stay those of `base`.
    amount : float
        Position between the two, from 0 (`base`) to 1.

    Examples
    --------
    >>> style_of("taxol") == style_of("taxol"), style_of("taxol") == style_of("nocodazole")
    (True, False)
    """
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    own = Style(
        radius=float(rng.uniform(7, 14)),
        elongation=float(rng.choice([1.0, 1.3, 1.8, 2.4])),
        lobes=int(rng.choice([0, 3, 5, 8])),
        lobe_depth=float(rng.uniform(0.05, 0.3)),
        nucleus=float(rng.uniform(0.35, 0.65)),
        grain=float(rng.choice([1.2, 2.0, 3.5])),
        chromatin=float(rng.uniform(0.1, 0.9)),
        protein=str(rng.choice(PATTERNS)),
        second=str(rng.choice(PATTERNS)),
        mix=float(rng.uniform(0, 0.4)),
    )
    if base is None:
        return own
    moved = {
        field.name: getattr(base, field.name) + amount * (getattr(own, field.name) - getattr(base, field.name))
        for field in fields(Style)
        if isinstance(getattr(base, field.name), float)
    }
    return replace(base, **moved)


def draw_field(
    rng: np.random.Generator,
    style: Style,
    shape: tuple[int, int],
    channels: Sequence[str] = ("nucleus", "protein"),
    *,
    cells: int | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Simulate one field of view of cells in every channel.

    Parameters
    ----------
    rng : Generator
        Random numbers for positions, brightness, focus and noise.
    style : Style
        Properties of the class.
    shape : (height, width)
        In pixels.
    channels : sequence of str
        `protein` and stains of `STAIN_PATTERNS`; any other name has the location of the style's protein.
        `brightfield` gives dark cells with a bright rim on grey.
    cells : int, optional
        Number of cells; by default a random number that fills about half of the field. A single cell is in the centre.

    Returns
    -------
    dict of channel -> array, shape (height, width), float32 in [0, 1]

    Examples
    --------
    >>> field = draw_field(np.random.default_rng(0), style_of("taxol"), (96, 128), ["nucleus", "actin"])
    >>> sorted(field), field["actin"].shape, field["actin"].dtype.name
    (['actin', 'nucleus'], (96, 128), 'float32')
    """
    height, width = shape
    unit = 1.0 if cells == 1 else min(height, width) / 100
    if cells == 1:  # a cell crop: the cell fills about two thirds of it
        style = replace(style, radius=style.radius * min(height, width) / 40)
    radius = style.radius * unit
    if cells is None:
        cells = max(1, round(height * width / (np.pi * radius**2) * rng.uniform(0.35, 0.65)))
    texture = _noise(rng, shape, style.grain * max(unit, 0.5))
    ridges = _noise(rng, shape, 2.2 * style.grain * max(unit, 0.5))
    patterns = {name: _pattern_of(name, style) for name in channels}
    images = {name: np.zeros(shape, np.float32) for name in channels}
    for _ in range(cells):
        centre = (height / 2, width / 2) if cells == 1 else (rng.uniform(0, height), rng.uniform(0, width))
        _draw_cell(rng, style, radius, centre, texture, ridges, patterns, images)
    return {name: _photograph(rng, image, name == "brightfield") for name, image in images.items()}


def _pattern_of(channel: str, style: Style) -> tuple[str, str, float]:
    """Return main location, second location and the fraction in the latter, of the stain of a channel."""
    if channel in STAIN_PATTERNS:
        return STAIN_PATTERNS[channel], style.second, style.mix / 2
    if channel == "brightfield":
        return "diffuse", "nuclear", 0.3
    return style.protein, style.second, style.mix


def _draw_cell(
    rng: np.random.Generator,
    style: Style,
    radius: float,
    centre: tuple[float, float],
    texture: NDArray[np.float32],
    ridges: NDArray[np.float32],
    patterns: Mapping[str, tuple[str, str, float]],
    images: Mapping[str, NDArray[np.float32]],
) -> None:
    """Add one cell to the images of all channels."""
    size = radius * rng.uniform(0.85, 1.15)
    reach = int(np.ceil(size * style.elongation**0.5 * (1 + style.lobe_depth) * 1.4)) + 2
    height, width = texture.shape
    top, left = max(0, int(centre[0]) - reach), max(0, int(centre[1]) - reach)
    box = (slice(top, min(height, int(centre[0]) + reach)), slice(left, min(width, int(centre[1]) + reach)))
    rows, columns = np.ogrid[box]
    angle = rng.uniform(0, np.pi)
    y, x = rows - centre[0], columns - centre[1]
    stretch = style.elongation**0.5
    u = (x * np.cos(angle) + y * np.sin(angle)) / stretch
    v = (-x * np.sin(angle) + y * np.cos(angle)) * stretch
    distance = np.hypot(u, v).astype(np.float32)
    theta = np.arctan2(v, u)
    outline = size * (
        1 + style.lobe_depth * np.cos(style.lobes * theta + rng.uniform(0, 2 * np.pi)) * (style.lobes > 0)
    )
    inside = _step((outline - distance) / 0.8)
    core = size * style.nucleus
    nucleus = _step((core - distance) / 0.8)
    cytoplasm = inside * (1 - nucleus)
    grain, ridge = texture[box], ridges[box]
    cap_angle = rng.uniform(0, 2 * np.pi)
    stain_images = {
        "diffuse": lambda: inside * (0.55 + 0.15 * grain),
        "puncta": lambda: cytoplasm * np.clip(grain - 0.8, 0, 1.2) + 0.1 * cytoplasm,
        "filaments": lambda: cytoplasm * np.exp(-((ridge / 0.25) ** 2)) + 0.1 * cytoplasm,
        "rim": lambda: np.exp(-(((distance - outline * 0.95) / (0.09 * size + 0.5)) ** 2)),
        "perinuclear": lambda: cytoplasm * np.exp(-(distance - core) / (0.25 * size)) * (0.8 + 0.3 * grain),
        "cap": lambda: cytoplasm * np.clip(np.cos(theta - cap_angle), 0, 1) ** 4 * (0.8 + 0.4 * grain),
        "nuclear": lambda: nucleus * (0.7 + 0.35 * style.chromatin * grain),
        "nucleoli": lambda: nucleus * (0.15 + np.clip(ridge - 0.6, 0, 1)),
        "striped": lambda: cytoplasm * (0.5 + 0.5 * np.sin(distance * (2 * np.pi / (2.2 * style.grain + 1.5)))),
    }
    gain = rng.uniform(0.7, 1.0)
    for name, (first, second, mix) in patterns.items():
        stain = (1 - mix) * stain_images[first]() + (mix * stain_images[second]() if mix else 0)
        np.maximum(images[name][box], (gain * stain).astype(np.float32), out=images[name][box])


def _photograph(rng: np.random.Generator, image: NDArray[np.float32], brightfield: bool) -> NDArray[np.float32]:
    """Return an ideal image as a camera records it: focus, uneven illumination, background, gain, noise."""
    height, width = image.shape
    blurred = _blur(image, float(rng.uniform(0.3, 0.9)))
    rows, columns = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    tilt = rng.uniform(-0.15, 0.15, 2)
    light = 1 + tilt[0] * rows + tilt[1] * columns
    if brightfield:
        halo = _blur(image, 2.0) - blurred
        photograph = (0.62 - 0.4 * blurred + 0.6 * halo) * light + rng.normal(0, 0.012, image.shape)
    else:
        photograph = (rng.uniform(0.02, 0.12) + rng.uniform(0.45, 0.9) * blurred) * light
        photograph = photograph + rng.normal(0, rng.uniform(0.008, 0.03), image.shape)
    return np.clip(photograph, 0, 1).astype(np.float32)


def _noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> NDArray[np.float32]:
    """Return white noise without detail finer than `grain` pixels, with mean 0 and standard deviation 1."""
    noise = _blur(rng.standard_normal(shape).astype(np.float32), grain)
    return (noise - noise.mean()) / max(float(noise.std()), 1e-6)


def _blur(image: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return an image blurred with a Gaussian, with opposite edges joined, by Fourier transform."""
    rows, columns = np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1])[None, :]
    window = np.exp(-2 * (np.pi * sigma) ** 2 * (rows**2 + columns**2))
    return np.fft.irfft2(np.fft.rfft2(image) * window, image.shape).astype(np.float32)


def _step(value: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a smooth step from 0 to 1 at value 0."""
    return 0.5 * (1 + np.tanh(value))
