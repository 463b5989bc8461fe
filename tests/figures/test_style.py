from pathlib import Path
from xml.etree import ElementTree

from PIL import Image
from tests.figures.drawn import LOG

from alexnet.figures.learning_curves import curves
from alexnet.figures.style import save


def test_figures_are_written_as_png_and_svg_byte_for_byte_the_same(tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    first = save(curves(LOG, 10), tmp_path / "run.1")
    second = save(curves(LOG, 10), tmp_path / "again" / "run.1")
    assert [path.name for path in first] == ["run.1.png", "run.1.svg"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    with Image.open(first[0]) as image:
        assert image.size == (1800, 960)
    assert ElementTree.parse(first[1]).getroot().tag.endswith("svg")
