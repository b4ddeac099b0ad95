"""The numbers of docs/sources.md: which classes of the 40 sources the two rules give differently."""

from __future__ import annotations

import pandas as pd
import pytest
from cytoimagenet import SOURCES, assign_labels
from cytoimagenet.builder import schema
from cytoimagenet.builder.ambiguous import EXCLUSIVE_COLUMNS
from cytoimagenet.builder.simulate.source import layouts, simulate_source
from cytoimagenet.builder.sources.catalog import build_catalog

CONCERNED = ("bbbc014", "bbbc020", "bbbc026", "bbbc038")
"""With idr0072 all sources of mice, flies, fibroblasts and hepatocytes, and a few of the many images of human cells."""


def idr0072(shared):
    parts = []
    for screen, organism, cells in (("A", "human", "mcf 10a"), ("B", "mouse", "nmumg")):
        table = pd.read_csv(shared / "metadata" / "idr0072" / f"idr0072-screen{screen}-annotation.csv", dtype="str")
        table = table.fillna("")
        gene = table["Comment [Gene Symbol]" if "Comment [Gene Symbol]" in table else "Gene Symbol"].str.lower()
        protein = table["Comment [Protein Name Abbreviation]"].str.lower()
        part = pd.DataFrame({name: schema.empty(name) for name in schema.CATALOG.names}, index=table.index, dtype="str")
        parts.append(
            part.assign(
                idx=f"idr0072-{screen}" + table.index.astype("str"),
                name="Subcellular Localization",
                dir_name="idr0072",
                organism=organism,
                cell_type=cells,
                gene=gene.where(gene == "", gene + " targeted"),
                cell_visible=("nucleus|" + protein).str.removesuffix("|"),
            )
        )
    return pd.concat(parts)


@pytest.mark.real
def test_three_classes_differ(shared, tmp_path):
    for name in CONCERNED:
        simulate_source(name, tmp_path, seed=1, fields=SOURCES[name].images, pixels=False)
    frame = pd.concat([build_catalog(tmp_path).frame, idr0072(shared)], ignore_index=True)
    classes = {}
    for rule in ("published", "unambiguous"):
        selection = assign_labels(frame, labels=rule)
        selection = selection[selection["category"].isin(EXCLUSIVE_COLUMNS) & (selection["label"] != "human")]
        classes[rule] = selection.groupby("label")["dir_name"].value_counts().unstack(fill_value=0)
    published, unambiguous = classes["published"], classes["unambiguous"]
    assert set(published.index) - set(unambiguous.index) == {"fly", "fibroblast"}
    assert published.loc["fly", "bbbc038"] == published.loc["fly"].sum() == 1000
    assert published.loc["fibroblast", "bbbc026"] == published.loc["fibroblast"].sum() == 864
    assert published.loc["mouse"].sum() == 1000
    assert published.loc["mouse", "bbbc038"] == pytest.approx(843, abs=15)  # of a stratified sample
    assert unambiguous.loc["mouse"].to_dict() == {"bbbc020": 25, "idr0072": 308}
    for label in ("nmumg", "mcf 10a"):
        assert published.loc[label].sum() == unambiguous.loc[label].sum()


@pytest.mark.real
def test_alternatives_of_a_real_study(shared):
    """Row by row: the classes whose text is in a label column of the row, without its own."""
    selection = assign_labels(idr0072(shared).sort_values("idx"), min_images=50)
    category = dict(zip(selection["label"], selection["category"], strict=True))
    assert len(category) > 10 and not any("(" in label for label in category)
    for own, others, *cells in selection[["label", "alternatives", *schema.LABEL_COLUMNS]].itertuples(index=False):
        values = {(part, column) for column, cell in zip(schema.LABEL_COLUMNS, cells, strict=True)
                  for part in cell.split("|")}  # fmt: skip
        classes = {part for part, column in values if category.get(part) == column}
        assert own in classes and others == "|".join(sorted(classes - {own}))
    assert len(selection) == 6142 and (selection["alternatives"] != "").sum() == 529


def test_no_other_source_gives_alternatives(tmp_path):
    for name in layouts():
        simulate_source(name, tmp_path, seed=1, fields=12, pixels=False)
    frame = build_catalog(tmp_path).frame
    found = {
        (column, source)
        for column in EXCLUSIVE_COLUMNS
        for source in frame.loc[frame[column].str.contains("|", regex=False), "dir_name"].unique()
    }
    assert found == {("organism", "bbbc026"), ("organism", "bbbc038"), ("cell_type", "bbbc026")}
