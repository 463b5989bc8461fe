"""Tables 1 and 2 of the paper, as data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """A row of table 1 or 2: the model, the cells of the paper and the 2012 log, and the study that measures ours."""

    model: str
    paper: tuple[str, ...]
    log: tuple[str, str] = ("", "")
    study: str = ""
    measures: tuple[str, ...] = ()
    runs: bool = False  # whether the errors of single runs go below this row


@dataclass(frozen=True)
class Table:
    """Table 1 or 2 of the paper; `heads` are the heads of the paper's columns."""

    title: str
    words: str
    heads: tuple[str, ...]
    rows: tuple[PaperRow, ...]


TABLES = (
    Table(
        "Table 1",
        "Errors on the test set of ILSVRC-2010.",
        ("top-1", "top-5"),
        (
            PaperRow("Sparse coding", ("47.1 %", "28.2 %")),
            PaperRow("SIFT + FVs", ("45.7 %", "25.7 %")),
            PaperRow("CNN", ("37.5 %", "17.0 %"), ("37.47 %", "17.00 %"), "ten-views", ("top1", "top5"), runs=True),
            PaperRow(
                "CNN, one view (section 4.1)", ("39.0 %", "18.3 %"), ("39.02 %", "18.30 %"), "ten-views",
                ("one_top1", "one_top5"),
            ),
        ),
    ),
    Table(
        "Table 2",
        "Errors on ILSVRC-2012. A star: pre-trained on the whole of ImageNet, Fall 2011.",
        ("top-1, val", "top-5, val", "top-5, test"),
        (
            PaperRow("SIFT + FVs", ("–", "–", "26.2 %")),
            PaperRow(
                "1 CNN", ("40.7 %", "18.2 %", "–"), ("40.66 %", "18.21 %"), "ensemble", ("top1", "top5"), runs=True
            ),
            PaperRow(
                "5 CNNs", ("38.1 %", "16.4 %", "16.4 %"), study="ensemble",
                measures=("ensemble_top1", "ensemble_top5"),
            ),
            PaperRow("1 CNN*", ("39.0 %", "16.6 %", "–"), ("38.99 %", "16.62 %")),
            PaperRow("7 CNNs*", ("36.7 %", "15.4 %", "15.3 %")),
        ),
    ),
)  # fmt: skip
