"""Simulated layouts of the 13 studies of the Image Data Resource: folders, file names and headers as published."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .idr_fields import FIELDS
from .source import Info, Layout, table

SERVER = "/uod/idr/filesets"

Tables = Callable[[Sequence[Info]], Mapping[str, bytes]]


def _header(text: str) -> list[str]:
    """Return the columns of a header; a column that ends in ` +` is followed by its two numbered ontology columns."""
    names, terms = [], 0
    for name in text.split("; "):
        names.append(name.removesuffix(" +"))
        if name.endswith(" +"):
            terms += 1
            names += [f"Term Source {terms} REF", f"Term Source {terms} Accession"]
    return names


WELL = {
    "Plate": "plate",
    "Well": "well",
    "Well Number": "number",
    "Characteristics [Organism]": "organism",
    "Characteristics [Cell Line]": "cell_type",
}


def _lines(
    path: str,
    header: Sequence[str],
    columns: Mapping[str, str],
    key: Sequence[str] = ("plate", "well"),
    **how: Any,
) -> Tables:
    """Return a function that gives the annotation, one line per `key`, and `plates.tsv` if the study has one."""

    def tables(fields: Sequence[Info]) -> Mapping[str, bytes]:
        lines = list({tuple(field[name] for name in key): field for field in fields}.values())
        written = {path: table(lines, {name: columns.get(name, "") for name in header}, **how)}
        plates = {field["plate"]: field["on_server"] for field in fields if "on_server" in field}
        if plates:
            stem = path.split("-annotation")[0].split("-library")[0]
            text = "".join(f"{plate}\t{SERVER}/{folder}\n" for plate, folder in plates.items())
            written[f"{stem}-plates.tsv"] = text.encode()
        return written

    return tables


def _files(template: str, channels: Mapping[str, str]) -> dict[str, str]:
    """Return the path of each stain: the template with the channel's name instead of `CH`."""
    return {stain: template.replace("CH", channel) for stain, channel in channels.items()}


def _yeast_meiosis(fields: Sequence[Info]) -> Mapping[str, bytes]:
    """Return idr0067's annotation: one line per image, including the reference images in transmitted light."""
    lines = [{**field, "image": f"{field['stem']}{end}.dv"} for field in fields for end in ("", "_REF")]
    columns = {
        "Dataset Name": "dataset",
        "Image Name": "image",
        "Experimental Condition [Imaging Type]": "imaging",
        "Comment [Protein] 1": "protein",
        "Comment [Image File Path]": "listed",
    }
    header = _header(
        "Dataset Name; Image Name; Characteristics [Organism] +; Characteristics [Strain] +; Protocol; "
        "Experimental Condition [Imaging Type]; Comment [Gene Identifier] 1; Comment [Gene Symbol] 1; "
        "Comment [Protein] 1; Comment [Construct/Marker] 1; Comment [Gene Identifier] 2; Comment [Gene Symbol] 2; "
        "Comment [Protein] 2; Comment [Genetic Background]; Assay Name; Comment [Image File Path]; "
        "Comment [Image File Type]; Channels"
    )
    return {"idr0067-experimentA-annotation.csv": table(lines, {name: columns.get(name, "") for name in header})}


LAYOUTS: tuple[Layout, ...] = (
    Layout(
        source="idr0003",
        files=_files(
            "{folder}/--W{number:05}--P{field:05}--Z00000--T00000--CH.tif",
            {"cell body": "Cherry", "protein": "GFP", "brightfield": "Transmitted"},
        ),
        field=FIELDS["idr0003"],
        tables=_lines(
            "idr0003-screenA-library.txt",
            _header(
                "Plate; Well Number; Well; Plate_Well; Gene Identifier; Gene Symbol; Control Type; Control Comments; "
                "Quality Control; Experimental Condition [environmental stress]; Comment"
            ),
            {**WELL, "Experimental Condition [environmental stress]": "phenotype"},
            separator="\t",
        ),
        depth=16,
    ),
    Layout(
        source="idr0009",
        files=_files(
            "20150507-VSVG/VSVG/{plate}/data/--W{number:05}--P00001--Z00000--T00000--CH.tif",
            {"nucleus": "nucleus-dapi", "cell membrane": "pm-647", "protein": "vsvg-cfp"},
        ),
        field=FIELDS["idr0009"],
        tables=_lines(
            "idr0009-screenB-annotation.csv.gz",
            _header(
                "Plate; Plate Group; Well Number; Well; siRNA Identifier; Antisense Sequence; Sense Sequence; "
                "Gene Identifier %% url=http://www.ensembl.org/id/%s; Gene Symbol (Ensembl 81); Control Type; "
                "Control Comments; Comments; Quality Control; Phenotype 1; Phenotype 1 Term Name"
            ),
            {**WELL, "Gene Symbol (Ensembl 81)": "gene", "Phenotype 1": "phenotype", "Quality Control": "quality"},
            packed=True,
        ),
        depth=12,
    ),
    Layout(
        source="idr0016",
        files={
            stain: f"{{plate}}-{folder}/cdp2bioactives_{{low}}_s{{field}}_w{w}{{uuid}}.tif"
            for stain, folder, w in (
                ("er", "ERSyto", 2),
                ("nucleoli", "ERSytoBleed", 3),
                ("nucleus", "Hoechst", 1),
                ("mitochondria", "Mito", 5),
                ("golgi", "Ph_golgi", 4),
            )
        },
        field=FIELDS["idr0016"],
        tables=_lines(
            "idr0016-screenA-annotation.csv",
            _header(
                "Plate; Plate Map Name; Well; Well Number; "
                "Compound Name %% url=https://www.ncbi.nlm.nih.gov/pccompound?term=%s; Compound Source; "
                "Compound SMILES; Compound Broad Identifier; Compound Concentration (micromolar); Control Type"
            ),
            {**WELL, "Compound Name %% url=https://www.ncbi.nlm.nih.gov/pccompound?term=%s": "compound"},
        ),
        extras=("{plate}-Mito/cdp2bioactives_{low}_s{field}_w5_thumb{uuid}.tif",),
        depth=16,
    ),
    Layout(
        source="idr0017",
        files=_files(
            "20151124/14_X-Man_10x/source/{folder}/{letter} - {column}(fld {field} wv CH).tif",
            {"nucleus": "DAPI - DAPI", "actin": "Cy3 - Cy3"},
        ),
        field=FIELDS["idr0017"],
        tables=_lines(
            "idr0017-screenA-annotation.csv",
            _header(
                "Plate; Well; Characteristics [Organism] +; Characteristics [Cell Line] +; Mutation Detailed; "
                "Compound Name; Compound Secondary Name; Compound Class; Control Type; Control Comments; Channels; "
                "Has Phenotype"
            ),
            {**WELL, "Compound Name": "compound"},
            encoding="utf-8-sig",
            end="\r\n",
        ),
        depth=16,
    ),
    Layout(
        source="idr0021",
        files=dict.fromkeys(("centrosome", "tubulin"), "{folder}/{image}"),
        field=FIELDS["idr0021"],
        tables=_lines(
            "idr0021-experimentA-annotation.csv",
            _header(
                "Dataset Name; Image Name; Characteristics [Organism]; Characteristics [Cell Line]; "
                "Characteristics [Cell Cycle Phase]; Experimental Condition [Antibody Target]; "
                "Comment [Targeted Protein]; Comment [Gene Symbol]; Channels; Has Phenotype; Phenotype 1"
            ),
            {
                "Dataset Name": "dataset",
                "Image Name": "image",
                "Characteristics [Cell Cycle Phase]": "phenotype",
                "Channels": "listed",
            },
            key=("dataset", "image"),
        ),
        depth=16,
    ),
    Layout(
        source="idr0037",
        files=_files(
            "{folder}/r{row:02}c{column:02}f{field:02}p01-chCHsk1fk1fl1.tiff",
            {"nucleus": "1", "proliferation": "2", "cell membrane": "3"},
        ),
        field=FIELDS["idr0037"],
        tables=_lines(
            "idr0037-screenA-annotation.csv",
            _header(
                "Plate; Comment [Operetta Plate Name]; Comment [Operetta Measurement]; Plate Column; Plate Row; "
                "Well; Well Number; Characteristics [Organism] +; Characteristics [Cell Line] +; "
                "Characteristics [Donor Identifier]; Control Type; Channels; Results Summary; "
            ),  # the real header also ends in a comma
            {**WELL, "Comment [Operetta Plate Name]": "operetta"},
        ),
        extras=("{folder}/r{row:02}c{column:02}f{field:02}p01-ch4sk1fk1fl1.tiff",),
        depth=16,
    ),
    Layout(
        source="idr0041",
        files=dict.fromkeys(("protein", "nucleus", "cell body"), "{folder}/rawtif/{image}.tif"),
        field=FIELDS["idr0041"],
        tables=_lines(
            "idr0041-experimentA-annotation.csv",
            _header(
                "Dataset Name; Image Name; Source Name; Characteristics [Organism] +; Characteristics [Cell Line] +; "
                "Protocol REF; Assay Name; Experimental Condition [ # fill in]; Comment [Gene Identifier]; "
                "Comment [Gene Symbol]; Image File; Comment [Image File Path]; Comment [Image File Type]; Channels"
            ),
            {
                "Dataset Name": "plate",
                "Image Name": "image",
                "Comment [Gene Symbol]": "gene",
                "Comment [Image File Path]": "listed",
                "Comment [Image File Type]": "kind",
            },
            key=("listed", "image"),
        ),
        extras=("{folder}/masktif/{image}.tif", "{folder}/conctif/{image}.tif"),
        shape=(24, 24),
        depth=16,
        planes=31,
    ),
    Layout(
        source="idr0067",
        files={
            "protein": "{folder}/{stem}.dv",
            "nucleus": "{folder}/{stem}.dv",
            "brightfield": "{folder}/{stem}_REF.dv",
        },
        field=FIELDS["idr0067"],
        tables=_yeast_meiosis,
        depth=16,
    ),
    Layout(
        source="idr0072",
        files=dict.fromkeys(("protein", "nucleus"), "{folder}/{row:03}{column:03}{field:03}.flex"),
        field=FIELDS["idr0072"],
        tables=_lines(
            "idr0072-screenA-annotation.csv",
            _header(
                "Plate; Well; Characteristics [Organism] +; Characteristics [Cell Line] +; "
                "Comment [Gene Identifier]; Comment [Gene Symbol]; Comment [Protein Name]; "
                "Comment [Protein Name Abbreviation]; Protein Sequence (aa); UniProt ID; Addgene ID; "
                "Experimental Condition [Subcellular Localization]; Channels"
            ),
            {**WELL, "Comment [Gene Symbol]": "gene", "Comment [Protein Name Abbreviation]": "protein"},
        ),
        depth=16,
    ),
    Layout(
        source="idr0080",
        files=_files(
            "{folder}/Images/r{row:02}c{column:02}f{field:02}p01-chCHsk1fk1fl1.tiff",
            {"nucleus": "1", "er": "2", "nucleoli": "3", "actin": "4", "mitochondria": "5"},
        ),
        field=FIELDS["idr0080"],
        tables=_lines(
            "idr0080-screenA-annotation.csv",
            _header(
                "Plate; Well; Characteristics [Organism] +; Characteristics [Cell Line] +; Reagent Identifier; "
                "Sense Sequence; Antisense Sequence; Reagent Design Gene Annotation Build; Gene Identifier; "
                "Gene Symbol; Control Type; Channels; Comment [Image]"
            ),
            {**WELL, "Gene Symbol": "gene"},
        ),
        extras=("20200923-illumcorrected/{plate}/r{row:02}c{column:02}f{field:02}p01-ch1sk1fk1fl1.tiff",),
        shape=(160, 160),
        depth=16,
    ),
    Layout(
        source="idr0081",
        files=_files("3-Screen/Data_UZH/Screen/{plate}/{plate}_{padded}_wCH.TIF", {"nucleus": "1", "infection": "2"}),
        field=FIELDS["idr0081"],
        tables=_lines(
            "idr0081-screenD-annotation.csv",
            _header(
                "Plate; Comment [Plate Replicate]; Comment [Plate Subset]; Well; Characteristics [Organism 1] +; "
                "Characteristics [Organism 2] +; Characteristics [Cell Line] +; Prestwick Chemical Library ID; "
                "Compound Name; Compound PubChem CID; Control Type; Quality Control; Channels; Max Nuclei Intensity"
            ),
            {**WELL, "Compound Name": "compound"},
            encoding="latin-1",
            end="\r",
        ),
        depth=16,
    ),
    Layout(
        source="idr0088",
        files=_files(
            "raw_images_for_IDR/{folder}/{plate}/{plate}_{padded}_T0001F{field:03}L01A0CHZ01C0CH.tif",
            {"nucleus": "1", "green marker": "2", "red marker": "3"},
        ),
        field=FIELDS["idr0088"],
        tables=_lines(
            "idr0088-screenA-annotation.csv.gz",
            _header(
                "Plate; Well; Characteristics [Organism] +; Characteristics [Cell Line] +; "
                "Comment [Cell Line with Markers]; Compound Concentration (microMolar); Compound Set; Compound MoA; "
                "Compound Name; Compound SMILES; Control Type; Channels; Plate Location"
            ),
            {
                **WELL,
                "Compound Name": "compound",
                "Compound MoA": "phenotype",
                "Channels": "listed",
                "Plate Location": "folder",
            },
            packed=True,
        ),
        depth=16,
    ),
    Layout(
        source="idr0093",
        files=_files(
            "01_batch/{plate}/{plate}_{padded}_T0001F001L01A0CHZ01C0CH.tif",
            {"nucleus": "1", "rna": "2", "pcna": "3", "cell body": "4"},
        ),
        field=FIELDS["idr0093"],
        tables=_lines(
            "idr0093-screenA-annotation.csv.gz",
            _header(
                "Plate; Well; Characteristics [Organism] +; Characteristics [Cell Line] +; siRNA Pool Identifier 1; "
                "siRNA Pool Identifier 2; siRNA Pool Identifier 3; Gene Identifier; Gene Symbol; Control Type; "
                "Channels; Phenotype"
            ),
            {**WELL, "siRNA Pool Identifier 1": "sirna", "siRNA Pool Identifier 2": "sirna_2"},
            packed=True,
        ),
        extras=("01_batch/{plate}/{plate}_{padded}_T0001F001L01A05Z01C05.tif",),
        depth=16,
    ),
)
