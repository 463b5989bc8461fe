"""The text of a deck: its templates in a language, filled with the numbers of a run and of records."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.text import markdown, percent, shorten
from alexnet.figures.style import MARKS
from alexnet.models.layer_table import Convolution, Layer, Pool, describe, layers_of
from alexnet.reporting.paper_tables import TABLES
from alexnet.reporting.results import UNLIKE, unlike
from alexnet.reporting.slides import draw_data, draw_runs
from alexnet.reporting.slides.draw_nets import fields, paper_net
from alexnet.reporting.slides.draw_records import pages
from alexnet.reporting.slides.pictures import Pictures
from alexnet.reporting.slides.source import Source
from alexnet.studies.claims import ALL
from alexnet.studies.statistics import FEWEST
from alexnet.studies.wording import number, of_paper, unit
from alexnet.version import __version__

Language = Literal["en", "zh"]
CODES: Mapping[Language, str] = {"en": "en", "zh": "zh-Hant"}
FOLDER = "pictures"


class Raw(str):
    """Markdown of ours; every other value of a template is escaped."""


@dataclass(frozen=True)
class Phrases:
    """The phrases that the code puts together; the sentences are in the templates."""

    test: str
    verdicts: Mapping[str, str]
    units: Mapping[str, str]
    between: str
    inside: Mapping[bool, str]
    paper: str
    seeds: str
    scale: str
    why: str
    no_records: str
    not_run: str
    missing: str
    no_run: str
    stop: str


ENGLISH = Phrases(
    test="**Our test, {claim}:**",
    verdicts={name: name for name in ("holds", "opposite", "absent", "not shown")},
    units={"points": " points", "nats": " nats", "times": " times"},
    between=" (95 % interval {low} to {high})",
    inside={True: "The paper's number lies inside the interval.", False: "The paper's number lies outside it."},
    paper="The paper: {paper}.",
    seeds=", {seeds} seed{s}",
    scale="Scale: {kind}, {pictures:,} pictures, {base}, {epochs} epoch{s}, {precision}.",
    why="Fewer than {few} seeds give no verdict.",
    no_records="no records were given. {command} puts the verdict here.",
    not_run="– not run: the records hold no run of it. {command} tells what it costs.",
    missing="*Not drawn:* {reason}",
    no_run="*No run was given.* {command} draws this picture.",
    stop=". ",
)
CHINESE = Phrases(
    test="**我們的檢驗，{claim}：**",
    verdicts={"holds": "成立", "opposite": "相反", "absent": "沒有這個效果", "not shown": "未能顯示"},
    units={"points": " 個百分點", "nats": " nats", "times": " 倍"},
    between="（95 % 信賴區間 {low} 到 {high}）",
    inside={True: "論文的數字在區間之內。", False: "論文的數字在區間之外。"},
    paper="論文：{paper}。",
    seeds="，{seeds} 個亂數種子",
    scale="規模：{kind}，{pictures:,} 張圖片，{base}，{epochs} 個週期（epoch），{precision}。",
    why="少於 {few} 個亂數種子時不下結論。",
    no_records="製作時沒有給實驗紀錄。執行 {command}，這裡就會出現結論。",
    not_run="– 未執行：紀錄中沒有這項實驗。{command} 會列出所需的成本。",
    missing="*沒有這張圖：* {reason}",
    no_run="*製作時沒有給訓練結果。* 執行 {command} 就會畫出這張圖。",
    stop="。",
)
PHRASES: Mapping[Language, Phrases] = {"en": ENGLISH, "zh": CHINESE}
GIVEN: Mapping[str, Any] = {  # numbers of the pictures that the text names
    "built_in": draw_data.PICTURES,
    "points": draw_data.POINTS,
    "others": draw_data.OTHERS,
    "flat": draw_runs.FLAT,
}
CLAIM_OF: Mapping[str, str] = {"relu-tanh": "relu-tanh", "overfitting": "crops"}  # pictures, and whose runs they show
WITH_RECORDS = "`alexnet slides RUN OUT --records results`"
WITH_RUN = "`alexnet slides RUN OUT`"


class Words:
    """The names that a template can use: pictures, verdicts, the paper's net, its tables, and the run.

    Args:
        source: What the deck is made from.
        pictures: The pictures, or why they are missing.
        language: "en" or "zh".
        at: The address of the folder of pictures, with a slash at its end unless it is empty.
    """

    def __init__(self, source: Source, pictures: Pictures, language: Language, at: str) -> None:
        self.source, self.pictures, self.at, self.phrases = source, pictures, at, PHRASES[language]
        self.used: list[str] = []

    def picture(self, name: str, alt: str) -> Raw:
        """Write a picture with its alternative text, or say why it is missing."""
        found = self.pictures[name]
        if isinstance(found, bytes):
            self.used.append(name)
            return Raw(f"![{alt}]({self.at}{FOLDER}/{name}.png)")
        if name in CLAIM_OF and CLAIM_OF[name] not in self.source.rows:
            return Raw(f"> {self.phrases.missing.format(reason=self.without(CLAIM_OF[name]))}")
        if found:
            return Raw(f"> {self.phrases.missing.format(reason=escaped(found))}")
        return Raw(f"> {self.phrases.no_run.format(command=WITH_RUN)}")

    def without(self, claim: str) -> str:
        """Say why there is nothing about a claim: no records, or none of it."""
        say = self.phrases
        if self.source.records:
            return say.not_run.format(command=f"`alexnet study {claim} --list`")
        return say.no_records.format(command=WITH_RECORDS)

    def has(self, name: str) -> bool:
        """Tell whether a picture was drawn."""
        return isinstance(self.pictures.get(name), bytes)

    def test(self, claim: str) -> Raw:
        """Write the verdict on a claim in a line: our number, its interval, seeds and scale."""
        say, row = self.phrases, self.source.rows.get(claim)
        opening = f"> {say.test.format(claim=f'`{claim}`')} "
        paper = of_paper(row) if row else ""
        if row is None:
            return Raw(opening + self.without(claim))
        parts = [f"{MARKS[row['verdict']]} **{say.verdicts[row['verdict']]}**"]
        if row["difference"] is not None:
            parts.append(f": {self.amount(row['difference'], row)}".replace(": ", "：" if say is CHINESE else ": "))
            if row["low"] is not None:
                low, high = (number(row[end], row, "+") for end in ("low", "high"))
                parts.append(say.between.format(low=low, high=high))
        parts.append(say.seeds.format(seeds=row["seeds"], s="s" * (row["seeds"] != 1)) + say.stop)
        if paper:
            value, name = paper.split(" ")[0], unit(row)
            parts.append(say.paper.format(paper=value + say.units[name]) + (" " if say is ENGLISH else ""))
        if row["paper_inside"] is not None:
            parts.append(say.inside[row["paper_inside"]] + (" " if say is ENGLISH else ""))
        if row["seeds"] < FEWEST:
            parts.append(say.why.format(few=FEWEST) + (" " if say is ENGLISH else ""))
        of: dict[str, Any] = {name: row[name] for name in ("pictures", "epochs")}
        of["s"] = "s" * (row["epochs"] != 1)
        parts.append(say.scale.format(**of, **{name: escaped(row[name]) for name in ("kind", "base", "precision")}))
        return Raw(opening + "".join(parts).strip())

    def amount(self, value: float, row: Mapping[str, Any]) -> str:
        """Write a difference with its unit."""
        return number(value, row, "+") + self.phrases.units[unit(row)]

    def claims(self) -> list[str]:
        """Name the pictures of claims."""
        return [name for name in self.pictures if name.startswith("claims-")]

    def undecided(self) -> Raw:
        """Name the claims without a number."""
        known = {row["claim"] for page in pages(list(self.source.rows.values())) for row in page}
        return Raw(", ".join(f"`{name}`" for name in (claim.name for claim in ALL) if name not in known))


TOP = 5  # classes among which the label counts as found; with no more classes the error is 0


def escaped(value: object) -> str:
    """Escape words so that nothing in them is Markdown, HackMD's own marks, or a formula."""
    return re.sub(r"([$=#+^{])", r"\\\1", markdown(value))


def facts() -> dict[str, Any]:
    """Count the paper's net, for the text."""
    layers = describe(paper_net())
    convolutions = [layer for layer in layers if isinstance(layer.op, Convolution)]
    weights, adds = (sum(getattr(layer, name) for layer in layers) for name in ("weights", "multiply_adds"))
    of_convolutions = sum(layer.weights for layer in convolutions)
    conv1 = convolutions[0]
    assert isinstance(conv1.op, Convolution)
    image = paper_net().image_size
    return {
        "weights": f"{weights:,}",
        "units": f"{sum(layer.units for layer in layers):,}",
        "convolution_weights": f"{of_convolutions / 1e6:.1f}",
        "convolution_share": f"{100 * of_convolutions / weights:.1f}",
        "convolution_work": f"{100 * sum(layer.multiply_adds for layer in convolutions) / adds:.0f}",
        "millions": f"{weights / 1e6:.1f}",
        "fields": {name: size for name, size, _ in fields()},
        "exact": f"{(image - conv1.op.size) / conv1.op.stride + 1:g}",
        "side": conv1.side,
        "unshared": f"{conv1.units * (conv1.fan_in + 1):,}",
        "conv1": f"{conv1.weights:,}",
    }


def ten_thousands(millions: str) -> str:
    """Write a number of millions as a number of 萬, which Chinese counts in."""
    return f"{100 * float(millions):,.0f}"


def sizes() -> list[dict[str, str]]:
    """List the size of every convolution and pool of the paper's net, with the formula's numbers."""
    return [_size(layer) for layer in layers_of(paper_net()) if isinstance(layer.op, (Convolution, Pool))]


def _size(layer: Layer) -> dict[str, str]:
    stride, padding = (layer.op.stride, layer.op.padding) if isinstance(layer.op, Convolution) else (2, 0)
    assert isinstance(layer.op, (Convolution, Pool))
    exact = (layer.width + 2 * padding - layer.op.size) / stride + 1
    numbers = {"W": layer.width, "F": layer.op.size, "S": stride, "P": padding, "exact": f"{exact:g}"}
    return {"name": layer.name, "maps": f"{layer.maps}", "side": f"{layer.side}"} | {
        k: f"{v}" for k, v in numbers.items()
    }


def tables() -> list[list[tuple[str, ...]]]:
    """Return tables 1 and 2 of the paper, a tuple of cells a row."""
    return [[(row.model, *row.paper) for row in table.rows] for table in TABLES]


def told_of(source: Source) -> dict[str, Any] | None:
    """Describe the run: what was trained on what, and its errors; None without a run."""
    if source.run is None:
        return None
    run = source.run.opened
    try:
        log = run.log
        epochs = [line for line in log if line["kind"] == "epoch"]
        final = next((line for line in reversed(log) if line["kind"] == "final"), None)
        told: dict[str, Any] = {
            "name": shorten(run.name),
            "digest": run.recipe.digest,
            "classes": f"{run.recipe.net.classes:,}",
            "size": run.recipe.net.image_size,
            "epochs": run.recipe.epochs,
            "done": epochs[-1]["epoch"] if epochs else 0,
            "seed": run.recipe.seed,
            "dropout": bool(getattr(run.recipe.net, "dropout", 0)),
            "random": run.recipe.views.crops or run.recipe.views.mirror,
            "training": percent(epochs[-1]["train_error"]) if epochs else "",
            "validation": percent(epochs[-1]["top1"]) if epochs else "",
            "top1": percent(final["top1"]) if final else "",
            "top5": percent(final["top5"]) if final and run.recipe.net.classes > TOP else "",
            "views": final["views"] if final else "",
            "images": f"{final['images']:,}" if final else "",
        }
        known = run.environment
        images = known.get("images")
        told["pictures"] = f"{images['train']:,}" if isinstance(images, Mapping) and "train" in images else ""
        told["imported"] = bool(known.get("imported"))
        told["drawn"] = known.get("store_kind") == "builtin"
    except InputError:
        raise
    except UNLIKE as error:
        raise unlike(run.folder, error, "train", "name another run") from None
    try:
        told["towers"] = draw_runs.towers(source.run)
    except (InputError, WorkFailed):  # the slide of the kernels says why
        told["towers"] = None
    return told


def write_words(source: Source, pictures: Pictures, language: Language, at: str = "") -> tuple[str, list[str]]:
    """Write the deck as Markdown.

    Returns:
        The Markdown, and the names of the pictures that it shows.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    def shown(value: Any) -> Any:
        return value if isinstance(value, Raw) else escaped(value)

    loader = PackageLoader("alexnet.reporting.slides", f"texts/{language}")
    made = Environment(
        loader=loader, autoescape=False, finalize=shown, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    made.filters |= {"raw": Raw, "wan": ten_thousands}
    words = Words(source, pictures, language, at)
    given = {
        "picture": words.picture,
        "test": words.test,
        "has": words.has,
        "claims": words.claims,
        "undecided": words.undecided,
        "net": facts(),
        "sizes": sizes(),
        "tables": tables(),
        "run": told_of(source),
        "given": GIVEN,
        "records": len(source.records.runs) if source.records else 0,
        "looks": source.looks,
        "version": __version__,
    }
    names = sorted(each.name for each in (files("alexnet.reporting.slides") / "texts" / language).iterdir())
    text = "\n---\n\n".join(made.get_template(name).render(given).strip() + "\n" for name in names)
    return re.sub(r"\n{3,}", "\n\n", text), list(dict.fromkeys(words.used))
