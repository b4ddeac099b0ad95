"""Public addresses of the studies' annotation tables, as in the registry of the published dataset."""

from __future__ import annotations

GITHUB = "https://github.com/IDR"
RAW = "https://raw.githubusercontent.com/IDR"

ANNOTATIONS: dict[int, tuple[str, ...]] = {
    3: (
        f"{RAW}/idr-metadata/34c98794cd97c4a464a942d549ab9dc8b655364b/"
        "idr0003-breker-plasticity/screenA/idr0003-screenA-annotation.csv",
    ),
    9: (
        f"{GITHUB}/idr-metadata/blob/HEAD/idr0009-simpson-secretion/screenA/idr0009-screenA-annotation.csv.gz?raw=true",
        f"{RAW}/idr-metadata/8f27695dc757e586e260a4cf9d2e67b0d6bb7265/"
        "idr0009-simpson-secretion/screenB/idr0009-screenB-annotation.csv",
    ),
    16: (
        f"{RAW}/idr-metadata/8f27695dc757e586e260a4cf9d2e67b0d6bb7265/"
        "idr0016-wawer-bioactivecompoundprofiling/screenA/idr0016-screenA-annotation.csv",
    ),
    17: (
        f"{RAW}/idr0017-breinig-drugscreen/c4d21db7639899c73d1aedfba08b3f4ce71f88b1/"
        "screenA/idr0017-screenA-annotation.csv",
    ),
    21: (
        f"{RAW}/idr0021-lawo-pericentriolarmaterial/4fe840cbe3415d51bb8883482e38d2a68905bada/"
        "experimentA/idr0021-experimentA-annotation.csv",
    ),
    37: (
        f"{RAW}/idr0037-vigilante-hipsci/2fa65c5bf6a752f1d76c019282ec6e9dc201e30b/"
        "screenA/idr0037-screenA-annotation.csv",
    ),
    41: (
        f"{RAW}/idr0041-cai-mitoticatlas/0f8b51ab2dc745de5fa4081f4f91a346e4aac9fa/"
        "experimentA/idr0041-experimentA-annotation.csv",
    ),
    72: (
        f"{RAW}/idr0072-schormann-subcellref/85d154650a26f011b57f13f91e4be11d1f9dde12/"
        "screenA/idr0072-screenA-annotation.csv",
        f"{RAW}/idr0072-schormann-subcellref/85d154650a26f011b57f13f91e4be11d1f9dde12/"
        "screenB/idr0072-screenB-annotation.csv",
    ),
    80: (
        f"{RAW}/idr0080-way-perturbation/74e537fecaa4690f0c98cb1e9a64b45d103de3e3/"
        "screenA/idr0080-screenA-annotation.csv",
    ),
    81: (
        f"{RAW}/idr0081-georgi-adenovirus/e7fdb45dbcc834518c4573ae96e30f0d02594fc2/"
        "screenA/idr0081-screenA-annotation.csv",
        f"{RAW}/idr0081-georgi-adenovirus/e7fdb45dbcc834518c4573ae96e30f0d02594fc2/"
        "screenB/idr0081-screenB-annotation.csv",
        f"{RAW}/idr0081-georgi-adenovirus/e7fdb45dbcc834518c4573ae96e30f0d02594fc2/"
        "screenC/idr0081-screenC-annotation.csv",
        f"{RAW}/idr0081-georgi-adenovirus/e7fdb45dbcc834518c4573ae96e30f0d02594fc2/"
        "screenD/idr0081-screenD-annotation.csv",
        f"{RAW}/idr0081-georgi-adenovirus/e7fdb45dbcc834518c4573ae96e30f0d02594fc2/"
        "screenE/idr0081-screenE-annotation.csv",
    ),
    88: (f"{GITHUB}/idr0088-cox-phenomicprofiling/blob/HEAD/screenA/idr0088-screenA-annotation.csv.gz?raw=true",),
    93: (f"{GITHUB}/idr0093-mueller-perturbation/blob/HEAD/screenA/idr0093-screenA-annotation.csv.gz?raw=true",),
}
