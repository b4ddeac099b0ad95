"""The standard type of each stain: one small set of names for the spellings of all sources, in one table."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

TYPES: dict[str, tuple[str, ...]] = {
    "nucleus": ("nucleus", "nuclei", "dna", "dapi", "hoechst", "draq5", "h2b", "chromatin"),
    "nucleolus": ("nucleolus", "nucleoli"),
    "er": ("er", "endoplasmic reticulum", "concanavalin a", "calreticulin"),
    "golgi": ("golgi", "golgi apparatus"),
    "mitochondria": ("mitochondria", "mitochondrion", "mito", "mitotracker"),
    "actin": ("actin", "f-actin", "phalloidin"),
    "tubulin": ("tubulin", "alpha-tubulin", "beta-tubulin", "microtubules", "microtubule"),
    "intermediate filaments": ("intermediate filaments", "keratin", "vimentin"),
    "membrane": ("cell membrane", "plasma membrane", "membrane", "cell surface", "wga"),
    "rna": ("rna", "cytoplasmic rna", "syto14", "syto 14"),
    "cytoplasm": ("cytoplasm", "cell body", "cytosol"),
    "centrosome": ("centrosome", "centrioles"),
    "lysosome": ("lysosome", "lysosomes", "lysotracker"),
    "endosome": ("endosome", "endosomes"),
    "peroxisome": ("peroxisome", "peroxisomes"),
    "lipid": ("lipid", "lipids", "lipid droplets", "bodipy"),
    # an antibody or a fluorescent tag: what its place in the cell shows is the question of the experiment
    "protein": (
        "protein",
        "fkhr-gfp",
        "nfkb",
        "arrestin-gfp",
        "phospho-h3",
        "pcna",
        "gfp",
        "green marker",
        "red marker",
    ),
    "proliferation": ("proliferation", "edu", "brdu", "ki67", "ki-67"),
    "pathogen": ("infection", "virus"),
    "organ": ("intestine", "pharynx"),
    "brightfield": ("brightfield", "bright field", "bf", "transmitted light"),
    "phase contrast": ("phase contrast", "phase"),
    "dic": ("dic", "differential interference contrast"),
    "darkfield": ("darkfield", "dark field"),
}
"""Standard type to the spellings of a stain, in lower case."""

TRANSMITTED_LIGHT = ("brightfield", "phase contrast", "dic", "darkfield")
_TYPE_OF = {spelling: kind for kind, spellings in TYPES.items() for spelling in spellings}


def channel_types(stains: str) -> str:
    """Return the standard types of a list of stains, in its order and joined as it is; unknown ones are empty.

    Parameters
    ----------
    stains : str
        As the column `stains` of the catalogue: `|` between channels, `/` between two stains of one channel.

    Examples
    --------
    >>> channel_types("dapi|er|actin/golgi|my dye|brightfield")
    'nucleus|er|actin/golgi||brightfield'
    """
    return "|".join(
        "/".join(_TYPE_OF.get(stain.strip(), "") for stain in part.split("/")) for part in stains.split("|")
    )


def types_of(stains: pa.Array) -> pa.Array:
    """Return `channel_types` of each text; it is called once per distinct text."""
    coded = stains.dictionary_encode()
    found = pa.array([channel_types(text) for text in coded.dictionary.to_pylist()], pa.large_string())
    return pc.take(found, coded.indices)
