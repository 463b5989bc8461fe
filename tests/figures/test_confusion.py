import numpy as np
from tests.figures.drawn import written

from alexnet.figures.confusion import confusion, counted, mistakes, worst


def test_confusion_names_the_worst_classes_and_the_most_frequent_mistakes() -> None:
    truth, said = np.array([0, 0, 0, 0, 1, 1, 2, 2]), np.array([1, 1, 2, 0, 1, 1, 0, 2])
    counts = counted(truth, said, 4)
    assert counts.tolist() == [[1, 2, 1, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert worst(counts, 9).tolist() == [0, 2, 1]  # class 3 has no picture
    assert mistakes(counts, 2) == [(0, 1, 2, 4), (0, 2, 1, 4)]
    assert mistakes(np.eye(3, dtype=int), 5) == []
    figure = confusion(truth, said, ["a", "b", "c", "d"], of=100)
    assert "a → b" in written(figure)
    assert "2 of 4 pictures" in written(figure)
    assert figure.get_suptitle() == "Held-out pictures, 8 of 100, one view: 50.0 % wrong"
