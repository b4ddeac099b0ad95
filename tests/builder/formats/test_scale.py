"""The size of a pixel and the magnification that image files state; nothing else is taken for one."""

import io
import struct

import numpy as np
import pytest
import tifffile
from cytoimagenet.builder.formats.scale import Scale, of_index, read_scale
from hypothesis import given
from hypothesis import strategies as st

PIXELS = np.arange(48, dtype=np.uint16).reshape(6, 8)
METAMORPH = (
    '<MetaData><prop id="Description" type="string" value="x"/>'
    '<prop id="spatial-calibration-state" type="bool" value="{state}"/>'
    '<prop id="spatial-calibration-x" type="float" value="0.656"/>'
    '<prop id="spatial-calibration-y" type="float" value="0.656"/>'
    '<prop id="spatial-calibration-units" type="string" value="um"/>'
    '<prop id="_MagSetting_" type="string" value="20X Plan Fluor ELWD"/></MetaData>'
)
INDEX = (
    '<EvaluationInputData><Images><Image><ImageResolutionX Unit="m">5.98E-07</ImageResolutionX>'
    '<ImageResolutionY Unit="m">5.98E-07</ImageResolutionY><ObjectiveMagnification Unit="">20</ObjectiveMagnification>'
    "</Image></Images></EvaluationInputData>"
)


def tiff(**how) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, PIXELS, **how)
    return file.getvalue()


def ome(objective="", **metadata) -> bytes:
    data = tiff(ome=True, metadata={"axes": "YX", **metadata})
    return data.replace(b"<Image ", objective.encode() + b"<Image ", 1) if objective else data


def deltavision(x, y, order="<") -> bytes:
    head = bytearray(1024)
    struct.pack_into(f"{order}h", head, 96, -16224)
    struct.pack_into(f"{order}2f", head, 40, x, y)
    return bytes(head)


FLEX = [(65200, 2, None, INDEX.replace("Objective", ""), True)]
STATED = {
    "OME": (ome(PhysicalSizeX=0.65, PhysicalSizeY=0.65), 0.65, None),
    "OME in nanometres": (
        ome(PhysicalSizeX=108, PhysicalSizeXUnit="nm", PhysicalSizeY=108, PhysicalSizeYUnit="nm"), 0.108, None),
    "OME, not square": (ome(PhysicalSizeX=0.65, PhysicalSizeY=0.8), None, None),
    "OME in pixels": (
        ome(PhysicalSizeX=1, PhysicalSizeXUnit="pixel", PhysicalSizeY=1, PhysicalSizeYUnit="pixel"), None, None),
    "ImageJ": (tiff(imagej=True, resolution=(5, 5), metadata={"unit": "micron"}), 0.2, None),
    "ImageJ, µm": (tiff(imagej=True, resolution=(5, 5), metadata={"unit": "\\u00B5m"}), 0.2, None),
    "ImageJ without a unit": (tiff(imagej=True, resolution=(5, 5)), None, None),
    "ImageJ in inches": (tiff(imagej=True, resolution=(72, 72), metadata={"unit": "inch"}), None, None),
    "MetaMorph": (tiff(description=METAMORPH.format(state="on"), metadata=None), 0.656, 20.0),
    "MetaMorph, not calibrated": (tiff(description=METAMORPH.format(state="off"), metadata=None), None, 20.0),
    "centimetres": (tiff(resolution=(20_000, 20_000), resolutionunit="CENTIMETER", metadata=None), 0.5, None),
    "inches": (tiff(resolution=(50_800, 50_800), resolutionunit="INCH", metadata=None), 0.5, None),
    "big endian": (tiff(resolution=(50_800, 50_800), resolutionunit="INCH", metadata=None, byteorder=">"), 0.5, None),
    "BigTIFF": (tiff(resolution=(50_800, 50_800), resolutionunit="INCH", metadata=None, bigtiff=True), 0.5, None),
    **{
        f"{dpi} dots per inch": (tiff(resolution=(dpi, dpi), resolutionunit="INCH", metadata=None), None, None)
        for dpi in (1, 72, 96, 150, 300, 600, 1200)
    },
    "no unit": (tiff(resolution=(50_800, 50_800), resolutionunit="NONE", metadata=None), None, None),
    "FLEX": (tiff(extratags=FLEX, metadata=None), 0.598, 20.0),
    "DeltaVision": (deltavision(0.125, 0.125), 0.125, None),
    "DeltaVision, big endian": (deltavision(0.125, 0.125, ">"), 0.125, None),
    "DeltaVision without": (deltavision(0, 0), None, None),
    "DeltaVision, not a number": (deltavision(float("nan"), float("nan")), None, None),
    "PNG": (b"\x89PNG\r\n\x1a\n" + bytes(40), None, None),
    "nothing": (b"", None, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", STATED)
def test_what_a_file_states(kind):
    data, size, magnification = STATED[kind]
    assert read_scale(io.BytesIO(data)) == Scale(size, magnification)


def test_the_objective_of_ome_and_of_an_index():
    one = '<Instrument ID="Instrument:0"><Objective ID="Objective:0" NominalMagnification="40.0"/></Instrument>'
    assert read_scale(io.BytesIO(ome(one))).magnification == 40
    assert of_index(INDEX) == Scale(0.598, 20)
    two = INDEX.replace("</Images>", "<Image><ObjectiveMagnification>10</ObjectiveMagnification></Image></Images>")
    assert of_index(two) == Scale(0.598, None)  # two objectives: of which one this image is, is not known


@given(st.sampled_from(sorted(STATED)), st.data())
def test_damaged_headers_state_nothing_wrong(kind, data):
    content = bytearray(STATED[kind][0])
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, min(len(content), 600) - 1))] = data.draw(st.integers(0, 255))
    found = read_scale(io.BytesIO(bytes(content[: data.draw(st.integers(0, len(content)))])))
    assert found.pixel_size is None or 0.001 <= found.pixel_size <= 100
    assert found.magnification is None or 0.5 <= found.magnification <= 250


@pytest.mark.real
def test_real_files(shared):
    found = {
        name: read_scale(io.BytesIO((shared / "images" / name).read_bytes())).pixel_size
        for name in ("deltavision/toxo.dv", "neubias/xy_8bit__PCNA.tif", "neubias/xy_16bit__nuclei_with_background.tif")
    }
    assert list(found.values()) == [0.13262, 0.15182, 0.32]
