import numpy as np

from alexnet.data.sources.drawings import draw
from alexnet.figures.style import rendered
from alexnet.figures.top5 import top5


def test_the_bar_of_the_true_class_alone_is_hatched_and_bold() -> None:
    pictures = np.stack([draw(0), draw(1)])
    ranked = [[("flower", 0.6), ("chessboard", 0.3)], [("star", 0.9), ("heart", 0.1)]]
    figure = top5(pictures, ["chessboard", "flower"], ranked)
    bars = [axes for axes in figure.axes if axes.patches]
    assert [[bool(bar.get_hatch()) for bar in axes.patches] for axes in bars] == [[False, True], [False, False]]
    bold = [text.get_text() for axes in bars for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == ["chessboard", "30 %"]


def test_hostile_and_foreign_class_names_are_drawn_as_text() -> None:
    name = "$\\frac{ <b> 猫"
    figure = top5(draw(0)[None], [name], [[(name, 1.0)]])
    assert rendered(figure, "svg")
