"""Make the files of a folder for Hugging Face's hub: weights, config.json, the mean picture and a model card."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import safetensors.torch
from jinja2 import Environment, PackageLoader, StrictUndefined

from alexnet.config.recipe import Net
from alexnet.core.files import json_bytes
from alexnet.core.text import markdown, percent
from alexnet.inference.evaluate import Errors
from alexnet.models.layer_table import Pool, describe
from alexnet.runs.published import CONFIG, STATISTICS, WEIGHTS, Published
from alexnet.version import __version__

CARD = "README.md"
NAMED = 20  # classes that the card lists
# Data sets of the hub that have the pictures of a kind of store.
DATA_SETS = {
    "ilsvrc-2012": "imagenet-1k",
    "cifar-10": "cifar10",
    "cifar-100": "cifar100",
    "tiny-imagenet": "zh-plus/tiny-imagenet",
}
LICENCES = {"mit", "apache-2.0", "bsd-3-clause", "bsd-2-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "unlicense"}


@dataclass(frozen=True)
class Result:
    """Errors that were measured: on what data, and when."""

    errors: Errors
    data: str
    split: str
    when: str


def files(
    published: Published, results: list[Result], facts: Mapping[str, Any], weights: Mapping[str, Any]
) -> dict[str, bytes]:
    """Make the content of each file of the folder, by its name.

    Args:
        published: The trained net.
        results: Errors for the card; without any, the card has no model-index.
        facts: What is known of the training, for the card: "data", "images", "device", "precision", "versions", ...
        weights: The tensors of the weights file.
    """
    return {
        WEIGHTS: safetensors.torch.save(dict(weights), {"format": "pt"}),
        STATISTICS: safetensors.torch.save(published.statistics, {"format": "pt"}),
        CONFIG: json_bytes(config(published)),
        CARD: card(published, results, facts).encode(errors="replace"),
    }


def config(published: Published) -> dict[str, Any]:
    """Make config.json in timm's form, with the whole recipe, which `alexnet.load` reads, in the entry "alexnet".

    timm's mean and std are of pixels from 0 to 1. Where the mean is a picture, config.json has its average, and
    transform.safetensors the picture.
    """
    recipe, net = published.recipe, published.recipe.net
    layers, size = describe(net), net.image_size
    weighted = [layer.name for layer in layers if layer.weighted]
    pools = [layer.side for layer in layers if isinstance(layer.op, Pool)]
    mean = published.statistics["mean"].mean((0, 1)) / 255
    own = {
        "input_size": [3, size, size],
        "crop_pct": size / published.side,
        "crop_mode": {"crop": "center", "pad": "border", "warp": "squash"}[published.fit],
        "interpolation": "bilinear",
        "mean": [round(value, 6) for value in mean.tolist()],
        "std": [round(std / 255 / recipe.views.scale, 6) for std in recipe.views.std or (1.0, 1.0, 1.0)],
        "num_classes": net.classes,
        "first_conv": weighted[0],
        "classifier": weighted[-1],
        "tag": published.name,
    } | ({"pool_size": [pools[-1], pools[-1]]} if pools else {})
    ours = {
        "version": __version__,
        "name": published.name,
        "digest": recipe.digest,
        "licence": published.licence,
        "fit": published.fit,
        "recipe": recipe.plain(),
    }
    return {
        "architecture": "alexnet",
        "num_classes": net.classes,
        "num_features": layers[[layer.name for layer in layers].index(weighted[-1])].inputs,
        "label_names": published.classes,
        "pretrained_cfg": own,
        "alexnet": ours,
    }


def card(published: Published, results: list[Result], facts: Mapping[str, Any]) -> str:
    """Write the model card, in Markdown with the hub's front matter."""
    net, licence = published.recipe.net, published.licence
    layers = describe(net)
    known = licence.lower() in LICENCES
    said = {
        "name": published.name,
        "recipe": published.recipe,
        "licence": licence,
        "licence_id": licence.lower() if known else "other" if licence else "",
        "data_sets": [DATA_SETS[facts["data"]]] if facts.get("data") in DATA_SETS else [],
        "results": [asdict(result) | {"errors": result.errors} for result in results],
        "facts": facts,
        "classes": published.classes[:NAMED],
        "more": max(0, len(published.classes) - NAMED),
        "outputs": len(published.classes),
        "side": published.side,
        "size": net.image_size,
        "meet": net.meet if isinstance(net, Net) and net.towers == 2 else (),
        "fit": published.fit,
        "constant": bool(published.statistics["mean"].eq(published.statistics["mean"][0, 0]).all()),
        "weights": sum(layer.weights for layer in layers),
        "layers": [layer for layer in layers if layer.sized],
        "version": __version__,
        "today": datetime.now(UTC).date().isoformat(),
    }
    page = Environment(
        loader=PackageLoader("alexnet.interop"),
        autoescape=False,
        finalize=lambda value: value if hasattr(value, "__html__") else markdown(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page.filters["percent"] = percent
    return page.get_template("card.md.jinja").render(said) + "\n"
