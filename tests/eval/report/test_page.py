"""The page of the report: self-contained, escaped, sortable, readable on a phone."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from cytoimagenet.builder.errors import UsageError
from cytoimagenet.eval.report import page
from cytoimagenet.eval.report.write import write_report
from PIL import Image

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7*7 }}' onclick='x"


def png(side=4):
    buffer = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), 200, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sections():
    scores = page.Table(
        ["model", "accuracy", HOSTILE],
        [
            ["b10", page.Cell("9.5 %", sort=0.095), 1],
            ["b9", page.Cell("83.5 %", sort=0.835, note=HOSTILE, tone="good"), 10],
            [HOSTILE, None, 9],
            ["a", page.Cell("27.2 %", sort=0.272), 100],
        ],
        title=HOSTILE,
        note=HOSTILE,
    )
    wide = page.Table(
        [f"class {i}" for i in range(20)], [[page.Cell("1", heat=i / 19) for i in range(20)]], matrix=True
    )
    return [
        page.Section("Scores", [HOSTILE], [page.Figure(png(), HOSTILE, HOSTILE)], [scores]),
        page.Section(HOSTILE, tables=[wide], parts=[page.Section("Folded", tables=[scores])]),
    ]


def test_nothing_is_fetched_and_nothing_runs_but_our_script():
    html = page.render(HOSTILE, sections(), facts={HOSTILE: HOSTILE})
    assert html.count("<script>") == 1 and "<img src=x" not in html and "49" not in re.sub('base64.*?"', "", html)
    sources = re.findall(r"""(?:src|href)=["']([^"']*)""", html)
    assert all(source.startswith(("data:image/png", "data:,", "#")) for source in sources)
    assert not re.findall(r"https?://|@import|url\(", html)
    assert "default-src 'none'" in html


def test_rows_must_fit_their_columns():
    with pytest.raises(ValueError, match="2 cells under 1"):
        page.Table(["one"], [[1, 2]])


def test_only_png_goes_in(tmp_path):
    (tmp_path / "x.svg").write_text("<svg onload='alert(1)'/>")
    with pytest.raises(UsageError, match="PNG"):
        page.render("t", [page.Section("s", figures=[page.Figure(tmp_path / "x.svg", "f")])])


def test_values_become_cells():
    row = page.Table(list("abcde"), [[1234, 0.123456, None, True, "x"]]).cells()[0]
    assert [cell.text for cell in row] == ["1,234", "0.1235", "–", "yes", "x"]
    assert [cell.sort for cell in row] == [1234, 0.123456, "", None, None]


def column(driver, number):
    rows = driver.find_elements("css selector", "table.sortable")[0].find_elements("css selector", "tbody tr")
    return [row.find_elements("css selector", "td")[number].text.split("\n")[0] for row in rows]


@pytest.mark.browser
def test_in_a_browser(chromium, tmp_path):
    written = page.write_page(tmp_path / "report.html", "A report", sections())
    chromium.get(written.as_uri())
    assert chromium.title == "A report"  # no hostile text became code
    assert not chromium.get_log("browser")
    assert HOSTILE in chromium.find_element("css selector", "main").text
    assert chromium.execute_script("return document.images[0].naturalWidth") == 4

    buttons = chromium.find_elements("css selector", "table.sortable th button")
    buttons[1].click()
    assert column(chromium, 1) == ["9.5 %", "27.2 %", "83.5 %", "–"]
    buttons[1].click()
    assert column(chromium, 1) == ["83.5 %", "27.2 %", "9.5 %", "–"]  # what is empty stays last
    buttons[0].click()
    assert column(chromium, 0)[1:] == ["a", "b9", "b10"]  # numbers inside names count as numbers
    buttons[2].click()
    assert column(chromium, 2) == ["1", "9", "10", "100"]
    header = chromium.find_elements("css selector", "table.sortable th")[2]
    assert header.get_attribute("aria-sort") == "ascending"

    # a phone: only tables scroll sideways, never the page
    chromium.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    chromium.get(written.as_uri())
    for fold in chromium.find_elements("css selector", "summary"):
        fold.click()
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 360
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert not chromium.get_log("browser")


@pytest.mark.browser
def test_a_report_of_hostile_results_in_a_browser(chromium, tmp_path):
    entry = {
        **{"key": HOSTILE, "task": "bbbc021", "split": "", "score": "nsc", "model": HOSTILE, "preprocess": HOSTILE},
        **{"beside": False, "value": 0.5, "correct": 1, "n": 2, "macro": 0.5, "f1": 0.5, "bootstrap": None},
        **{"interval": {"low": 0.1, "high": 0.9}, "digest": HOSTILE, "rows": 2, "left_out": 0},
        "by_class": [{"label": HOSTILE, "n": 2, "correct": 1, "accuracy": 0.5, "precision": 0.5, "f1": 0.5}],
        "confusion": {"labels": [HOSTILE], "counts": [[1, 1]]},
        "settings": {"standardise": "all", "features": 3},
    }
    document = {"versions": {HOSTILE: HOSTILE}, "results": [entry], "paired": []}
    chromium.get(write_report(document, tmp_path, notes=[HOSTILE]).as_uri())
    assert chromium.title == "CytoImageNet: transfer scores" and not chromium.get_log("browser")
    for fold in chromium.find_elements("css selector", "summary"):
        fold.click()
    text = chromium.find_element("css selector", "main").text
    assert text.count(HOSTILE) > 8
    widths = chromium.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) == 2 and min(widths) > 200
    assert not chromium.get_log("browser")


def on(chromium, width, address):
    """Open a page at a width in pixels; a narrow one as a phone."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    chromium.get(address)


@pytest.mark.browser
def test_no_column_is_cut_off_without_a_sign(chromium, tmp_path):
    columns = ["test", *(f"model number {i}" for i in range(9)), "last"]
    rows = [[f"test {i}", *(page.Cell("12.3 %", 0.123, "[10.1, 14.2]") for _ in range(10))] for i in range(3)]
    contrasts = [page.Contrast(f"{HOSTILE} {i}", HOSTILE, 3.0 * i, -1.0, 9.0, "better", "p = 0.1") for i in range(4)]
    found = [page.Verdict(HOSTILE, HOSTILE, HOSTILE, contrasts)]
    wide = page.Section("Scores", tables=[page.Table(columns, rows)], verdicts=found)
    written = page.write_page(tmp_path / "report.html", "A report", [wide], links={"results.json": "results.json"})
    try:
        for width in (1280, 390):
            on(chromium, width, written.as_uri())
            assert chromium.execute_script("return document.documentElement.scrollWidth") <= width
        box = chromium.find_element("css selector", ".scroll")
        assert "more" in box.get_attribute("class")
        assert chromium.find_element("css selector", ".hint").is_displayed()
        chromium.execute_script("const box = arguments[0]; box.scrollLeft = box.scrollWidth", box)
        # the name of the test stays where it is, and the last column is in sight
        first, last = (chromium.find_element("css selector", f"tbody td:{at}-child").rect for at in ("first", "last"))
        assert first["x"] - box.rect["x"] <= 2
        assert last["x"] + last["width"] <= box.rect["x"] + box.rect["width"] + 2
        chromium.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        assert "more" not in box.get_attribute("class")
        # zero is in the middle of every plot
        middle = "const b = arguments[0].getBoundingClientRect(); return b.left + b.width / 2"
        plot, dot = (chromium.find_element("css selector", f".contrasts {name}") for name in (".plot", ".dot"))
        assert chromium.execute_script(middle, plot) == pytest.approx(chromium.execute_script(middle, dot), abs=1)
        assert chromium.title == "A report" and not chromium.get_log("browser")
    finally:
        chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.browser
def test_a_link_to_a_folded_section_opens_it(chromium, tmp_path):
    folded = page.Section("Details", ["Words inside"], folded=True)
    written = page.write_page(tmp_path / "report.html", "A report", [folded])
    chromium.get(written.as_uri())
    words = chromium.find_element("css selector", "details p")
    assert not words.is_displayed()
    chromium.find_element("css selector", "nav a").click()
    assert words.is_displayed()
