"""A recipe is a value: every number that changes a result, each with the paper's section beside it."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self, cast

from alexnet.config import overrides
from alexnet.config.overrides import check, note
from alexnet.core.errors import InputError


@dataclass(frozen=True)
class LRN:
    """Response normalisation across the maps of one tower (section 3.3)."""

    n: int = note(5, "3.3: neighbouring maps in the sum")
    k: float = note(2.0, "3.3")
    alpha: float = note(1e-4, "3.3")
    beta: float = note(0.75, "3.3")
    divide_alpha_by_n: bool = note(
        False, "alpha divided by n, as the 2012 code does; the printed formula does not", before="share"
    )

    def __post_init__(self) -> None:
        check_norm("lrn", self.n, self.k, self.alpha, self.beta)

    @property
    def a(self) -> float:
        """What multiplies the sum of squares."""
        return self.alpha / self.n if self.divide_alpha_by_n else self.alpha


@dataclass(frozen=True)
class SpatialLRN:
    """Response normalisation over a square window of one map: in the 2012 code, not in the paper."""

    KIND_BEFORE = "WithinMap"

    n: int = note(5, "2012 code, cnorm2: side of the window in units")
    k: float = note(1.0, "2012 code: fixed at 1")
    alpha: float = note(1e-3, "2012 code: always divided by n * n")
    beta: float = note(0.75, "2012 code")

    def __post_init__(self) -> None:
        check_norm("spatial_lrn", self.n, self.k, self.alpha, self.beta)

    @property
    def a(self) -> float:
        """What multiplies the sum of squares."""
        return self.alpha / self.n**2


def check_norm(name: str, n: int, k: float, alpha: float, beta: float) -> None:
    """Refuse what has no centre, divides by zero or does not normalise."""
    check(n >= 1 and n % 2 == 1, f"{name}.n", n, "odd: a window has a centre")
    check(k > 0, f"{name}.k", k, "more than 0")
    check(alpha >= 0 and beta >= 0, f"{name}.alpha, {name}.beta", (alpha, beta), "0 or more")


@dataclass(frozen=True)
class Net:
    """The network of figure 2. Widths count all towers together."""

    image_size: int = note(224, "2: pixels a side of a view", before="input")
    classes: int = note(1000, "2: taken from the store when training")
    towers: int = note(2, "3.2: groups of maps that meet only at conv3, fc6, fc7 and fc8")
    channels: tuple[int, ...] = note((96, 256, 384, 384, 256), "3.5: maps of conv1 to conv5", before="kernels")
    kernel_sizes: tuple[int, ...] = note((11, 5, 3, 3, 3), "3.5: side of the kernels", before="sizes")
    stride: int = note(4, "3.5: of conv1; the others move by 1")
    hidden: int = note(4096, "3.5: units of fc6 and of fc7")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "3.1")
    lrn: LRN | None = note(LRN(), "3.3: after conv1 and conv2")
    lrn1_first: bool = note(False, "normalise conv1 before its activation, as the 2012 code does")
    spatial_lrn: SpatialLRN | None = note(
        None, "a norm within each map after norm2, as the 2012 code has", before="within"
    )
    pool: int = note(3, "3.4: side of the pools; they move by 2, so 2 means no overlap")
    dropout: float = note(0.5, "4.2: after fc6 and fc7; probability of a zero")
    std: tuple[float, ...] = note((0.01,) * 8, "5: of the initial weights, conv1 to fc8")
    bias_one_layers: tuple[int, ...] = note((2, 4, 5, 6, 7), "5: layers whose biases start at 1", before="ones")
    cross_tower: bool = note(
        True, "3.2: the towers meet before fc8; false: there alone, as in net 150 of 2012", later=True, before="talk"
    )
    skip: tuple[int, ...] = note((), "7: middle convolutions left out, of 3, 4 and 5", later=True, before="without")
    conv6: int = note(0, "6: maps of a sixth convolution over pool5, begun as conv5; 0: none", later=True)

    def __post_init__(self) -> None:
        check(len(self.channels) == 5, "net.channels", self.channels, "five widths, conv1 to conv5")
        check(len(self.kernel_sizes) == 5, "net.kernel_sizes", self.kernel_sizes, "five kernel sides, conv1 to conv5")
        check(min(self.kernel_sizes) > 0, "net.kernel_sizes", self.kernel_sizes, "1 or more each")
        check(
            all(s % 2 for s in self.kernel_sizes[1:]), "net.kernel_sizes", self.kernel_sizes, "odd sides from conv2 on"
        )
        check(len(self.std) == 8 and min(self.std) >= 0, "net.std", self.std, "eight values, 0 or more, conv1 to fc8")
        check(
            set(self.bias_one_layers) <= set(range(1, 9)), "net.bias_one_layers", self.bias_one_layers, "layers, 1 to 8"
        )
        check(self.towers in (1, 2), "net.towers", self.towers, "1 or 2")
        once = len(set(self.skip)) == len(self.skip) < 3 and set(self.skip) <= {3, 4, 5}
        check(once, "net.skip", self.skip, "at most two of 3, 4 and 5, each once")
        check(self.conv6 >= 0, "net.conv6", self.conv6, "0 (none) or more")
        widths = (*self.channels, self.hidden)
        check(min(widths) > 0, "net.channels, net.hidden", widths, "1 or more each")
        check(
            all(w % self.towers == 0 for w in (*widths, self.conv6)),
            "net.channels, net.hidden, net.conv6",
            (*widths, self.conv6),
            f"multiples of the {self.towers} towers",
        )
        check(0 <= self.dropout < 1, "net.dropout", self.dropout, "a probability below 1")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        check(self.pool >= 2 and self.stride >= 1, "net.pool, net.stride", (self.pool, self.stride), "2+ and 1+")
        check(
            self.image_size >= self.kernel_sizes[0],
            "net.image_size",
            self.image_size,
            f"at least conv1's side, {self.kernel_sizes[0]}",
        )
        side = -(-(self.image_size - self.kernel_sizes[0]) // self.stride) + 1
        for pool in ("pool1", "pool2", "pool5"):
            check(
                side >= self.pool,
                "net.image_size",
                self.image_size,
                f"larger: {pool} of {self.pool} sees {side} units a side",
            )
            side = -(-(side - self.pool) // 2) + 1

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have weights."""
        middle = tuple(f"conv{i}" for i in (3, 4, 5) if i not in self.skip)
        return ("conv1", "conv2", *middle, *(("conv6",) if self.conv6 else ()), "fc6", "fc7", "fc8")

    @property
    def meet(self) -> tuple[str, ...]:
        """The layers, each with weights, that see the maps of both towers (section 3.2: conv3, fc6, fc7 and fc8)."""
        return (
            (self.layers[2], *(n for n in self.layers[3:] if n in ("conv6", "fc6", "fc7", "fc8")))
            if self.cross_tower
            else ("fc8",)
        )

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """Standard deviation of each layer's initial weights, and its initial biases (section 5)."""
        numbers = {name: 5 if name == "conv6" else int(name[-1]) for name in self.layers}
        return {name: (self.std[i - 1], float(i in self.bias_one_layers)) for name, i in numbers.items()}


@dataclass(frozen=True)
class CifarNet:
    """The small nets of 2012 for CIFAR-10: convolutions, locally connected layers, one fully connected."""

    image_size: int = note(24, "2012: crop of 24 from 32", before="input")
    classes: int = note(10, "taken from the store when training")
    channels: tuple[int, ...] = note((64, 64), "2012: maps of the 5 x 5 convolutions", before="kernels")
    local: tuple[int, ...] = note((32, 32), "2012: maps of the 3 x 3 layers whose weights are not shared")
    pools: tuple[str, ...] = note(("max", "max"), "2012: 3 x 3, moving by 2, windows clipped at the border")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "2012")
    pool1_first: bool = note(False, "2012, cifar-18: conv1's activation comes after its pool")
    norm: LRN | SpatialLRN | None = note(None, "2012: norm 1 and norm 2")
    norm2_first: bool = note(True, "2012: norm 2 before pool 2 (norm 1 always follows pool 1)")
    std: tuple[float, ...] = note((1e-4, 0.01, 0.04, 0.04, 0.01), "2012: of the initial weights, layer by layer")

    def __post_init__(self) -> None:
        layers = len(self.channels) + len(self.local) + 1
        widths = (*self.channels, *self.local)
        check(bool(self.channels) and min(widths) > 0, "net.channels, net.local", widths, "1 or more each")
        check(min(self.std, default=0) >= 0, "net.std", self.std, "0 or more each")
        check(len(self.std) == layers, "net.std", self.std, f"{layers} values, one a layer")
        check(len(self.pools) == len(self.channels), "net.pools", self.pools, "one for each of net.channels")
        check(all(p in ("max", "avg") for p in self.pools), "net.pools", self.pools, "max or avg")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        check(
            self.image_size >= 2 ** (len(self.channels) + 1),
            "net.image_size",
            self.image_size,
            "larger: each pool halves it",
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have weights."""
        convolutions = [f"conv{i}" for i in range(1, len(self.channels) + 1)]
        local = [f"local{i}" for i in range(len(self.channels) + 1, len(self.channels) + len(self.local) + 1)]
        return (*convolutions, *local, "fc")

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """Standard deviation of each layer's initial weights, and its initial biases."""
        return {name: (std, 0.0) for name, std in zip(self.layers, self.std, strict=True)}


@dataclass(frozen=True)
class MlpNet:
    """A net of fully connected layers alone, which the claim `fc-conv` holds against convolutions; not the paper's."""

    image_size: int = note(32, "pixels a side of a view", before="input")
    classes: int = note(10, "taken from the store when training")
    hidden: tuple[int, ...] = note((1000, 1000), "units of the hidden layers, fc1 first")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "3.1")
    dropout: float = note(0.5, "4.2: after each hidden layer; probability of a zero")
    std: tuple[float, ...] = note((0.01, 0.01, 0.01), "5: of the initial weights, layer by layer")
    bias_one_layers: tuple[int, ...] = note((2,), "5: layers whose biases start at 1", before="ones")

    def __post_init__(self) -> None:
        layers = len(self.hidden) + 1
        check(min(self.hidden, default=0) > 0, "net.hidden", self.hidden, "one width or more, 1 or more each")
        check(min(self.std, default=0) >= 0, "net.std", self.std, "0 or more each")
        check(len(self.std) == layers, "net.std", self.std, f"{layers} values, one a layer")
        check(
            set(self.bias_one_layers) <= set(range(1, layers + 1)),
            "net.bias_one_layers",
            self.bias_one_layers,
            f"layers, 1 to {layers}",
        )
        check(0 <= self.dropout < 1, "net.dropout", self.dropout, "a probability below 1")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        check(self.image_size >= 1, "net.image_size", self.image_size, "1 or more")

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that have weights."""
        return tuple(f"fc{i}" for i in range(1, len(self.hidden) + 2))

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """Standard deviation of each layer's initial weights, and its initial biases (section 5)."""
        both = zip(self.layers, self.std, strict=True)
        return {name: (std, float(i in self.bias_one_layers)) for i, (name, std) in enumerate(both, 1)}


AnyNet = Net | CifarNet | MlpNet


@dataclass(frozen=True)
class Views:
    """How a stored picture becomes the net's input (section 4.1)."""

    crops: bool = note(True, "4.1: random place; otherwise the centre")
    mirror: bool = note(True, "4.1: half of the views are mirrored")
    pictures_per_crop: int = note(
        1, "consecutive pictures that share crop and mirror; 32 in the 2012 code", before="share"
    )
    colour: float = note(0.1, "4.1: standard deviation of the colour noise's alpha; 0 is off")
    colour_scale: Literal["deviation", "eigenvalue"] = note(
        "deviation", "4.1 prints the eigenvalue, which on 0-255 pixels would be +-1,483; the code has its square root"
    )
    colour_shrink: bool = note(False, "divide by 1 + colour after the noise, as the 2012 code does")
    mean: Literal["place", "centre"] = note("place", "2: each pixel's own mean, or the centre's whatever the crop")
    scale: float = note(1.0, "2: raw 0-255 pixels; anything but 1 is not the paper's (1/58 is today's habit)")

    def __post_init__(self) -> None:
        check(self.pictures_per_crop >= 1, "views.pictures_per_crop", self.pictures_per_crop, "1 or more pictures")
        check(self.colour >= 0, "views.colour", self.colour, "0 (off) or more")
        check(self.scale > 0, "views.scale", self.scale, "a positive factor")


@dataclass(frozen=True)
class Sgd:
    """The update rule of section 5."""

    batch: int = note(128, "5")
    momentum: float = note(0.9, "5")
    lr: float = note(0.01, "5: of the weights, at the start", before="rate")
    bias_lr: float = note(0.01, "5: equal for all layers; the 2012 code doubles it for biases", before="bias_rate")
    weight_decay: float = note(0.0005, "5: of the weights", before="decay")
    bias_weight_decay: float = note(
        0.0005, "5 prints one rule for all; the 2012 code does not decay biases", before="bias_decay"
    )
    layer_weight_decay: dict[str, float] = note({}, "decay of single layers where it differs", before="layer_decay")
    shuffle: Literal["once", "each epoch"] = note("each epoch", "not said; the 2012 code shuffles once, at preparation")
    lars: float | None = note(None, "not the paper's: You et al. 2017, trust coefficient of weights", later=True)
    layer_lr: dict[str, float] = note(
        {}, "factors on the rates of single layers, as 2012's fine-tuning; 0: frozen", later=True, before="layer_rate"
    )
    layer_lr_biases: bool = note(
        True, "whether layer_lr counts for biases too; 2012's fine-tuning cut the weights' rates alone", later=True
    )

    def __post_init__(self) -> None:
        check(self.batch >= 1, "sgd.batch", self.batch, "1 or more pictures")
        check(0 <= self.momentum < 1, "sgd.momentum", self.momentum, "0 to 1, 1 excluded")
        for name in ("lr", "bias_lr", "weight_decay", "bias_weight_decay"):
            value = getattr(self, name)
            check(0 <= value <= 1e9, f"sgd.{name}", value, "0 to a billion")
        rates = tuple(self.layer_lr.values())
        check(all(0 <= r <= 1e9 for r in rates), "sgd.layer_lr", self.layer_lr, "factors of 0 (frozen) to a billion")
        check(self.lars is None or 0 < self.lars <= 1, "sgd.lars", self.lars, "more than 0, at most 1; or null (off)")


@dataclass(frozen=True)
class Plateau:
    """Divide the rate when the validation error stops improving (section 5)."""

    factor: float = note(10.0, "5: by ten")
    drops: int = note(3, "5: three times before the end")
    patience: int = note(5, "epochs, of of_epochs, without a better error; 2012 judged by eye")
    of_epochs: int = note(90, "5: roughly 90 cycles; patience shrinks with the epochs asked for", before="of")

    def __post_init__(self) -> None:
        check(self.drops >= 0, "schedule.drops", self.drops, "0 or more")
        check(1 < self.factor <= 1e6, "schedule.factor", self.factor, "more than 1, at most a million")
        check(self.of_epochs >= 1 and self.patience >= 1, "schedule.patience", self.patience, "1 or more epochs")


@dataclass(frozen=True)
class Steps:
    """Divide the rates at given epochs of `of_epochs`; a run of other length meets them at the same fractions."""

    milestones: tuple[float, ...] = note((), "epochs at which the weights' rate is divided", before="at")
    factor: float = note(10.0, "the weights' rate is divided by this at each")
    bias_milestones: tuple[float, ...] = note((), "the same for the biases' rate", before="bias_at")
    bias_factor: float = note(10.0, "the biases' rate is divided by this at each")
    of_epochs: int = note(90, "epochs that the numbers of this schedule refer to", before="of")
    warmup_epochs: float = note(
        0.0, "not the paper's: epochs of even growth from a tenth of the rates; 0: none", later=True, before="warm"
    )

    def __post_init__(self) -> None:
        check(self.of_epochs >= 1, "schedule.of_epochs", self.of_epochs, "1 or more epochs")
        check(0 < self.factor <= 1e6, "schedule.factor", self.factor, "more than 0, at most a million")
        check(0 < self.bias_factor <= 1e6, "schedule.bias_factor", self.bias_factor, "more than 0, at most a million")
        check(
            0 <= self.warmup_epochs <= self.of_epochs,
            "schedule.warmup_epochs",
            self.warmup_epochs,
            f"0 (off) to the {self.of_epochs} epochs of schedule.of_epochs",
        )


@dataclass(frozen=True)
class Late:
    """What the 2012 runs switched late in training, in epochs of the schedule's `of_epochs`; None is never."""

    colour_off: float | None = note(None, "2012 log: colour noise off")
    conv1_slow: float | None = note(None, "2012 log: the rate of conv1's weights set to conv1_lr")
    conv1_lr: float = note(1e-5, "2012 log", before="conv1_rate")
    conv1_frozen: float | None = note(None, "2012 log: conv1's rate set to 0, its biases' too")

    def __post_init__(self) -> None:
        check(self.conv1_lr >= 0, "late.conv1_lr", self.conv1_lr, "0 or more")


@dataclass(frozen=True)
class Start:
    """Another run's layers, which training starts from (section 6)."""

    recipe: str = note("", "digest of that run's recipe")
    store: str = note("", "digest of the store that it saw")
    step: int = note(0, "its step at which the weights were taken")
    layers: tuple[str, ...] = note((), "6: layers taken from it; the others start anew")


@dataclass(frozen=True)
class Recipe:
    """All that decides a result but the store and the precision."""

    net: AnyNet = note(Net(), "3")
    views: Views = note(Views(), "4.1")
    sgd: Sgd = note(Sgd(), "5")
    schedule: Plateau | Steps = note(Plateau(), "5")
    late: Late = note(Late(), "2012 log")
    epochs: int = note(90, "5: roughly 90 cycles")
    seed: int = note(0, "not said; 2012 set none")
    start: Start | None = note(None, "6: another run's layers to start from", later=True)

    def __post_init__(self) -> None:
        check(self.epochs >= 1, "epochs", self.epochs, "1 or more")
        check(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2^32 - 1")
        named = {"sgd.layer_weight_decay": self.sgd.layer_weight_decay, "sgd.layer_lr": self.sgd.layer_lr}
        for field, layers in (named | {"start.layers": self.start.layers if self.start else ()}).items():
            for name in layers:
                if name not in self.net.layers:
                    raise InputError(
                        overrides.unknown_name(f"{field}.{name}", name, list(self.net.layers), f"{field}.")
                    )
        check(
            self.views.crops or self.views.pictures_per_crop == 1,
            "views.pictures_per_crop",
            self.views.pictures_per_crop,
            "1 where views.crops is false",
        )

    def replace(self, **changes: Any) -> Self:
        """This recipe with some fields changed; a mapping reaches the fields inside a field.

        Raises InputError naming the field, its value and what would do.
        """
        return cast(Self, overrides.apply_changes(self, changes, ""))

    @cached_property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify the recipe."""
        return self._digest()

    @cached_property
    def digest_before(self) -> str:
        """The digest that alexnet 0.1.0 gave this recipe, when some fields had other names."""
        return self._digest(before=True)

    def has_digest(self, digest: str) -> bool:
        """Whether a digest, of today or of alexnet 0.1.0, is this recipe's."""
        return digest in (self.digest, self.digest_before)

    def _digest(self, before: bool = False) -> str:
        same = Recipe.of(self.plain())  # 1 and 1.0 are the same rate
        text = json.dumps(overrides.to_plain(same, later=False, before=before), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def plain(self) -> dict[str, Any]:
        """The recipe as JSON's own types; `Recipe.of` reads it back."""
        return cast(dict[str, Any], overrides.to_plain(self))

    @classmethod
    def of(cls, plain: Any) -> Self:
        """Read a recipe that `plain` made, here or in alexnet 0.1.0; raises InputError for anything else."""
        if not isinstance(plain, dict):
            raise InputError(f"a recipe is a JSON object; this is {overrides.show(plain)}")
        return cast(Self, overrides.from_plain(plain, cls, ""))
