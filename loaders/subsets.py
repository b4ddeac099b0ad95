"""The two small label subsets on which the paper's authors tuned their settings."""

from __future__ import annotations

_TOY20 = """
actin; cell body; cell membrane; dmso; human; kinase; microtubules; mitochondria; nucleus;
rho associated kinase inhibitor; rna; rna synthesis inhibitor; s35651; tamoxifen; tankyrase inhibitor;
trophozoite; u2os; uv inactivated sars-cov-2; vamp5 targeted; yeast
"""


_TOY50 = """
104-001; actin; actin inhibitor; active sars-cov-2; activin-a; alpha-adrenergic receptor agonist;
angiopoietin-1; atp-sensitive potassium channel blocker; balf; bmp-2; calr-kdel; cell body; cell membrane;
cell junctions; centrosome; chr2 targeted; clarithromycin; coco; cyclooxygenase inhibitor; dmso;
dna synthesis inhibitor; dydrogesterone; erbb family inhibitor; estrogen receptor antagonist;
ezh2 targeted; fluorometholone; glycosylase inhibitor; heat shock protein inhibitor; human; ifn-gamma;
kinase; microtubules; mitochondria; mitotic spindle; nachr antagonist; nucleus; pcna;
rho associated kinase inhibitor; rna; rna synthesis inhibitor; s35651; siglec-1; tamoxifen;
tankyrase inhibitor; topoisomerase inhibitor; trophozoite; u2os; vamp5 targeted;
voltage-gated potassium channel blocker; yeast
"""


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.replace("\n", " ").split(";"))


LABEL_SUBSETS = {"toy20": _split(_TOY20), "toy50": _split(_TOY50)}
"""Name of a subset -> its 20 or 50 labels, as the authors spell them."""
