import numpy as np
from tests.figures.drawn import written

from alexnet.data.sources.drawings import draw
from alexnet.figures.neighbours import neighbours


def test_neighbours_of_another_class_are_dashed_and_in_italics() -> None:
    pictures = np.stack([draw(0), draw(1)])
    found = np.stack([[draw(2), draw(3)], [draw(4), draw(5)]])
    figure = neighbours(pictures, ["a", "b"], found, [["a", "b"], ["b", "b"]], np.array([[1.0, 2], [3, 4]]))
    assert [text for text in written(figure) if text] == ["a", "a\n1", "b\n2", "b", "b\n3", "b\n4"]
    (other,) = [text for axes in figure.axes for text in axes.texts if text.get_fontstyle() == "italic"]
    assert other.get_text() == "b\n2"
    assert (
        sum(p.get_linestyle() == "dashed" and p.get_linewidth() > 0 for axes in figure.axes for p in axes.patches) == 1
    )
