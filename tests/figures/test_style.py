from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image
from tests.figures.drawn import LOG

from alexnet.figures.learning_curves import curves
from alexnet.figures.style import WIDE, new_figure, rendered, save


def test_figures_are_written_as_png_and_svg_byte_for_byte_the_same(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first = save(curves(LOG, 10), tmp_path / "run.1")
    second = save(curves(LOG, 10), tmp_path / "again" / "run.1")
    assert [path.name for path in first] == ["run.1.png", "run.1.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with Image.open(first[0]) as image:
        assert image.size == (1800, 960)
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")


def test_names_in_chinese_are_letters_and_no_boxes_where_a_font_has_them() -> None:
    from matplotlib.font_manager import fontManager

    if not {font.name for font in fontManager.ttflist} & set(WIDE):
        pytest.skip("no font with Chinese letters: make browser installs one")

    def drawn(name: str) -> bytes:
        figure = new_figure(1, 1)
        figure.text(0.2, 0.4, name, parse_math=False)
        return rendered(figure, "png", 50)

    assert drawn("\ue123") == drawn("\ue124")  # boxes, all alike
    assert len({drawn(name) for name in ("貓", "狗", "鳥")}) == 3
