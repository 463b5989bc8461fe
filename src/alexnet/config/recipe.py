"""The recipe: a frozen dataclass of every number that changes a result, each with its section of the paper."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
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
        False, "divide alpha by n, as the 2012 code does; the printed formula does not", before="share"
    )
    across: Literal["tower", "all"] = note(
        "tower", "3.2: a tower's maps are on its own GPU; all: the sum runs across all maps, as in Caffe", later=True
    )

    def __post_init__(self) -> None:
        check_norm("lrn", self.n, self.k, self.alpha, self.beta)

    @property
    def a(self) -> float:
        """The factor of the sum of squares: alpha, or alpha / n."""
        return self.alpha / self.n if self.divide_alpha_by_n else self.alpha


@dataclass(frozen=True)
class SpatialLRN:
    """Response normalisation over a square window of one map, which is in the 2012 code but not in the paper."""

    KIND_BEFORE = "WithinMap"

    n: int = note(5, "2012 code, cnorm2: side of the window in units")
    k: float = note(1.0, "2012 code: fixed at 1")
    alpha: float = note(1e-3, "2012 code: always divided by n * n")
    beta: float = note(0.75, "2012 code")

    def __post_init__(self) -> None:
        check_norm("spatial_lrn", self.n, self.k, self.alpha, self.beta)

    @property
    def a(self) -> float:
        """The factor of the sum of squares: alpha / n^2."""
        return self.alpha / self.n**2


def check_norm(name: str, n: int, k: float, alpha: float, beta: float) -> None:
    """Raise InputError unless the window has a centre, k is positive, and alpha and beta are not negative."""
    check(n >= 1 and n % 2 == 1, f"{name}.n", n, "odd, so that the window has a centre")
    check(k > 0, f"{name}.k", k, "more than 0")
    check(alpha >= 0 and beta >= 0, f"{name}.alpha, {name}.beta", (alpha, beta), "0 or more")


@dataclass(frozen=True)
class Net:
    """The settings of the network of figure 2. Widths count all towers together."""

    image_size: int = note(224, "2: side of a view in pixels", before="input")
    classes: int = note(1000, "2: number of classes; training takes it from the store")
    towers: int = note(2, "3.2: groups of maps that meet only at conv3, fc6, fc7 and fc8")
    channels: tuple[int, ...] = note((96, 256, 384, 384, 256), "3.5: maps of conv1 to conv5", before="kernels")
    kernel_sizes: tuple[int, ...] = note((11, 5, 3, 3, 3), "3.5: sides of the kernels, conv1 to conv5", before="sizes")
    stride: int = note(4, "3.5: stride of conv1; the other convolutions have stride 1")
    hidden: int = note(4096, "3.5: units of fc6 and of fc7")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "3.1")
    lrn: LRN | None = note(LRN(), "3.3: after conv1 and conv2")
    lrn1_first: bool = note(False, "normalise conv1 before its activation, as the 2012 code does")
    spatial_lrn: SpatialLRN | None = note(
        None, "a norm within each map after norm2, as in the 2012 code", before="within"
    )
    pool: int = note(3, "3.4: side of the pools; their stride is 2, so side 2 means no overlap")
    dropout: float = note(0.5, "4.2: probability of zeroing a unit of fc6 and fc7")
    std: tuple[float, ...] = note(
        (0.01,) * 8, "5: standard deviation of the initial weights, conv1 to fc8; init other than normal ignores it"
    )
    bias_one_layers: tuple[int, ...] = note(
        (2, 4, 5, 6, 7), "5: layers whose biases start at 1, for positive inputs to their ReLUs", before="ones"
    )
    cross_tower: bool = note(
        True,
        "3.2: the towers also meet before fc8; false: only there, as in net 150 of 2012",
        later=True,
        before="talk",
    )
    skip: tuple[int, ...] = note((), "7: convolutions to leave out, of 3, 4 and 5", later=True, before="without")
    conv6: int = note(0, "6: maps of a sixth convolution on pool5, initialised as conv5; 0: no conv6", later=True)
    pool_first: bool = note(
        False, "pool before a norm that follows its activation, as CaffeNet; 3.4: the norm comes first", later=True
    )
    pool_ceil: bool = note(
        True,
        "pools clip windows at the border, as in the 2012 code; false: leave those out, as torchvision",
        later=True,
    )
    padding: tuple[int, ...] = note(
        (),
        "zeros at each border, conv1 to conv5, sizes rounded down; none given: as the 2012 code pads, rounded up",
        later=True,
    )
    dropped: tuple[str, ...] = note(
        ("fc6", "fc7"), "4.2: layers with dropout; torchvision drops units of pool5 and fc6", later=True
    )
    dropout_scale: Literal["testing", "training"] = note(
        "testing", "4.2: times 1 - dropout in testing; training: divided by it there, as Caffe does", later=True
    )
    biases: tuple[float, ...] = note(
        (), "initial biases, conv1 to fc8; none given: 1 for bias_one_layers, 0 for the others", later=True
    )
    init: Literal["normal", "uniform", "he"] = note(
        "normal",
        "5: weights from N(0, std^2); he: variance 2 / inputs (He et al. 2015); uniform: all from +-1 / sqrt(inputs), "
        "PyTorch's default",
        later=True,
    )

    def __post_init__(self) -> None:
        check(len(self.channels) == 5, "net.channels", self.channels, "five widths, conv1 to conv5")
        check(len(self.kernel_sizes) == 5, "net.kernel_sizes", self.kernel_sizes, "five kernel sides, conv1 to conv5")
        check(min(self.kernel_sizes) > 0, "net.kernel_sizes", self.kernel_sizes, "1 or more each")
        check(
            all(s % 2 for s in self.kernel_sizes[1:]), "net.kernel_sizes", self.kernel_sizes, "odd sides from conv2 on"
        )
        check(len(self.std) == 8 and min(self.std) >= 0, "net.std", self.std, "eight values, 0 or more, conv1 to fc8")
        check(
            set(self.bias_one_layers) <= set(range(1, 9)),
            "net.bias_one_layers",
            self.bias_one_layers,
            "layer numbers from 1 to 8",
        )
        check(self.towers in (1, 2), "net.towers", self.towers, "1 or 2")
        once = len(set(self.skip)) == len(self.skip) < 3 and set(self.skip) <= {3, 4, 5}
        check(once, "net.skip", self.skip, "at most two of 3, 4 and 5, each once")
        check(self.conv6 >= 0, "net.conv6", self.conv6, "0 (no conv6) or more")
        widths = (*self.channels, self.hidden)
        check(min(widths) > 0, "net.channels, net.hidden", widths, "1 or more each")
        check(
            all(w % self.towers == 0 for w in (*widths, self.conv6)),
            "net.channels, net.hidden, net.conv6",
            (*widths, self.conv6),
            f"multiples of {self.towers}, the number of towers",
        )
        check(0 <= self.dropout < 1, "net.dropout", self.dropout, "a probability below 1")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        self._check_of_others()
        check(
            self.pool >= 2 and self.stride >= 1,
            "net.pool, net.stride",
            (self.pool, self.stride),
            "2 or more, and 1 or more",
        )
        check(
            self.image_size >= self.kernel_sizes[0],
            "net.image_size",
            self.image_size,
            f"at least {self.kernel_sizes[0]}, the side of conv1's kernels",
        )
        # Divisions round up: a window may hang over the border, as in 2012 (224 gives conv1 55 units a side).
        side = self._side(1, self.image_size)
        for pool, convolutions in (("pool1", (2,)), ("pool2", (3, 4, 5)), ("pool5", ())):
            check(
                side >= self.pool,
                "net.image_size",
                self.image_size,
                f"larger: {pool} has side {self.pool}, but its input has side {side}",
            )
            side = (side - self.pool) // 2 + 1 if not self.pool_ceil else -(-(side - self.pool) // 2) + 1
            for i in convolutions:
                side = self._side(i, side) if i not in self.skip else side

    def _side(self, i: int, side: int) -> int:
        """Compute the side of the maps of convolution i from the side of its input."""
        size, stride = self.kernel_sizes[i - 1], self.stride if i == 1 else 1
        if self.padding:
            return (side + 2 * self.padding[i - 1] - size) // stride + 1
        return -(-(side - size) // stride) + 1 if i == 1 else side

    def _check_of_others(self) -> None:
        """Check the fields of nets that others published."""
        check(
            len(self.padding) in (0, 5) and min(self.padding, default=0) >= 0,
            "net.padding",
            self.padding,
            "empty, or five widths, 0 or more, conv1 to conv5",
        )
        check(
            all(p < k for p, k in zip(self.padding, self.kernel_sizes, strict=False)),
            "net.padding",
            self.padding,
            f"less than the kernel's side each: {self.kernel_sizes}",
        )
        check(
            set(self.dropped) <= {"pool5", "fc6", "fc7"} and len(set(self.dropped)) == len(self.dropped),
            "net.dropped",
            self.dropped,
            "of pool5, fc6 and fc7, each once",
        )
        check(len(self.biases) in (0, 8), "net.biases", self.biases, "empty, or eight values, conv1 to fc8")

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers with weights, first to last."""
        middle = tuple(f"conv{i}" for i in (3, 4, 5) if i not in self.skip)
        return ("conv1", "conv2", *middle, *(("conv6",) if self.conv6 else ()), "fc6", "fc7", "fc8")

    @property
    def widths(self) -> dict[str, int]:
        """The number of maps or units of each layer with weights, all towers together."""
        names = (*(f"conv{i}" for i in range(1, 7)), "fc6", "fc7", "fc8")
        widths = dict(zip(names, (*self.channels, self.conv6, self.hidden, self.hidden, self.classes), strict=True))
        return {name: widths[name] for name in self.layers}

    @property
    def meet(self) -> tuple[str, ...]:
        """The layers with weights that read both towers (section 3.2: conv3, fc6, fc7 and fc8)."""
        return (
            (self.layers[2], *(n for n in self.layers[3:] if n in ("conv6", "fc6", "fc7", "fc8")))
            if self.cross_tower
            else ("fc8",)
        )

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """The standard deviation of each layer's initial weights, and its initial bias (section 5)."""
        numbers = {name: 5 if name == "conv6" else int(name[-1]) for name in self.layers}
        biases = self.biases or tuple(float(i in self.bias_one_layers) for i in range(1, 9))
        return {name: (self.std[i - 1], biases[i - 1]) for name, i in numbers.items()}


@dataclass(frozen=True)
class CifarNet:
    """The settings of 2012's small nets for CIFAR-10: convolutions, local layers, and one fully connected layer."""

    image_size: int = note(24, "2012: crop of 24 from 32", before="input")
    classes: int = note(10, "number of classes; training takes it from the store")
    channels: tuple[int, ...] = note((64, 64), "2012: maps of the 5 x 5 convolutions", before="kernels")
    local: tuple[int, ...] = note((32, 32), "2012: maps of the 3 x 3 local layers, whose weights are not shared")
    pools: tuple[str, ...] = note(("max", "max"), "2012: 3 x 3 at stride 2, clipped at the border")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "2012")
    pool1_first: bool = note(False, "2012, cifar-18: conv1's activation comes after its pool")
    norm: LRN | SpatialLRN | None = note(None, "2012: norm 1 and norm 2")
    norm2_first: bool = note(True, "2012: norm 2 before pool 2 (norm 1 always follows pool 1)")
    std: tuple[float, ...] = note(
        (1e-4, 0.01, 0.04, 0.04, 0.01), "2012: standard deviation of each layer's initial weights"
    )

    def __post_init__(self) -> None:
        layers = len(self.channels) + len(self.local) + 1
        widths = (*self.channels, *self.local)
        check(bool(self.channels) and min(widths) > 0, "net.channels, net.local", widths, "1 or more each")
        check(min(self.std, default=0) >= 0, "net.std", self.std, "0 or more each")
        check(len(self.std) == layers, "net.std", self.std, f"{layers} values, one per layer")
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
        """The names of the layers with weights, first to last."""
        convolutions = [f"conv{i}" for i in range(1, len(self.channels) + 1)]
        local = [f"local{i}" for i in range(len(self.channels) + 1, len(self.channels) + len(self.local) + 1)]
        return (*convolutions, *local, "fc")

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """The standard deviation of each layer's initial weights, and its initial bias."""
        return {name: (std, 0.0) for name, std in zip(self.layers, self.std, strict=True)}


@dataclass(frozen=True)
class MlpNet:
    """The settings of a fully connected net, which the study `fc-conv` compares with convolutions; not in the paper."""

    image_size: int = note(32, "side of a view in pixels", before="input")
    classes: int = note(10, "number of classes; training takes it from the store")
    hidden: tuple[int, ...] = note((1000, 1000), "units of the hidden layers, fc1 first")
    activation: Literal["relu", "tanh", "logistic"] = note("relu", "3.1")
    dropout: float = note(0.5, "4.2: probability of zeroing a hidden unit")
    std: tuple[float, ...] = note((0.01, 0.01, 0.01), "5: standard deviation of each layer's initial weights")
    bias_one_layers: tuple[int, ...] = note((2,), "5: layers whose biases start at 1", before="ones")

    def __post_init__(self) -> None:
        layers = len(self.hidden) + 1
        check(min(self.hidden, default=0) > 0, "net.hidden", self.hidden, "one or more widths, each 1 or more")
        check(min(self.std, default=0) >= 0, "net.std", self.std, "0 or more each")
        check(len(self.std) == layers, "net.std", self.std, f"{layers} values, one per layer")
        check(
            set(self.bias_one_layers) <= set(range(1, layers + 1)),
            "net.bias_one_layers",
            self.bias_one_layers,
            f"layer numbers from 1 to {layers}",
        )
        check(0 <= self.dropout < 1, "net.dropout", self.dropout, "a probability below 1")
        check(self.classes >= 2, "net.classes", self.classes, "2 or more")
        check(self.image_size >= 1, "net.image_size", self.image_size, "1 or more")

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers with weights, first to last."""
        return tuple(f"fc{i}" for i in range(1, len(self.hidden) + 2))

    @property
    def initial(self) -> dict[str, tuple[float, float]]:
        """The standard deviation of each layer's initial weights, and its initial bias (section 5)."""
        both = zip(self.layers, self.std, strict=True)
        return {name: (std, float(i in self.bias_one_layers)) for i, (name, std) in enumerate(both, 1)}


AnyNet = Net | CifarNet | MlpNet


@dataclass(frozen=True)
class Views:
    """The settings that turn a stored picture into the net's input (sections 2 and 4.1)."""

    crops: bool = note(True, "4.1: crop at a random place; false: at the centre")
    mirror: bool = note(True, "4.1: mirror half of the views")
    pictures_per_crop: int = note(
        1, "consecutive pictures that share a crop and a mirroring; 32 in the 2012 code", before="share"
    )
    colour: float = note(0.1, "4.1: standard deviation of the colour noise's alpha; 0 is off")
    colour_scale: Literal["deviation", "eigenvalue"] = note(
        "deviation", "4.1 prints the eigenvalue, which gives +-1,483 on 0-255 pixels; the code has its square root"
    )
    colour_shrink: bool = note(False, "divide by 1 + colour after the noise, as the 2012 code does")
    mean: Literal["place", "centre"] = note("place", "2: subtract the mean at the crop's place, or that of the centre")
    scale: float = note(1.0, "2: factor on raw 0-255 pixels; the paper has 1 (1/58 is today's habit)")
    std: tuple[float, ...] = note(
        (), "divisors of red, green and blue after the mean, as in torchvision; none given: 1, as in 2", later=True
    )
    area: tuple[float, ...] = note(
        (),
        "not in the paper: least and largest part of a picture that a training view shows, scaled to the view's size "
        "(Szegedy et al. 2015); none given: crops are not scaled",
        later=True,
    )
    aspect: float = note(
        1.0, "not in the paper: largest ratio of a scaled crop's sides, either way (Szegedy et al. 2015)", later=True
    )

    def __post_init__(self) -> None:
        check(self.pictures_per_crop >= 1, "views.pictures_per_crop", self.pictures_per_crop, "1 or more pictures")
        check(self.colour >= 0, "views.colour", self.colour, "0 (off) or more")
        check(self.scale > 0, "views.scale", self.scale, "a positive factor")
        check(
            len(self.std) in (0, 3) and min(self.std, default=1) > 0,
            "views.std",
            self.std,
            "empty, or three positive divisors, of red, green and blue",
        )
        check(
            not self.area or (len(self.area) == 2 and 0 < self.area[0] <= self.area[1] <= 1),
            "views.area",
            self.area,
            "empty, or two parts of a picture's area, more than 0 and at most 1, the least first",
        )
        check(1 <= self.aspect <= 10, "views.aspect", self.aspect, "1 (square crops) to 10")
        check(self.aspect == 1 or bool(self.area), "views.aspect", self.aspect, "1 where views.area is empty")
        check(self.crops or not self.area, "views.area", self.area, "empty where views.crops is false")


@dataclass(frozen=True)
class Sgd:
    """The settings of the update rule of section 5."""

    batch: int = note(128, "5: pictures in a step")
    momentum: float = note(0.9, "5")
    lr: float = note(0.01, "5: learning rate of the weights, at the start", before="rate")
    bias_lr: float = note(0.01, "5 has one rate for all; the 2012 code doubles it for biases", before="bias_rate")
    weight_decay: float = note(0.0005, "5: of the weights; the update multiplies it by the rate", before="decay")
    bias_weight_decay: float = note(
        0.0005, "5 prints one rule for all; the 2012 code does not decay biases", before="bias_decay"
    )
    layer_weight_decay: dict[str, float] = note({}, "weight decay of single layers", before="layer_decay")
    shuffle: Literal["once", "each epoch"] = note(
        "each epoch", "not in the paper; the 2012 code shuffles once, at preparation"
    )
    lars: float | None = note(None, "not in the paper: trust coefficient of LARS (You et al. 2017)", later=True)
    layer_lr: dict[str, float] = note(
        {},
        "factors on the rates of single layers, as in 2012's fine-tuning; 0 freezes",
        later=True,
        before="layer_rate",
    )
    layer_lr_biases: bool = note(
        True, "apply layer_lr to biases too; 2012's fine-tuning lowered only the weights' rates", later=True
    )
    class_weights: Literal["none", "balanced"] = note(
        "none",
        "not in the paper: factors of the pictures' losses; balanced: inverse to the number of their class",
        later=True,
    )
    decoupled: bool = note(
        False,
        "not in the paper: weight decay acts on the weights themselves, not through the velocity (Loshchilov & Hutter "
        "2019); for equal effect it is 1 / (1 - momentum) times as large",
        later=True,
    )
    label_smoothing: float = note(
        0.0,
        "not in the paper: part of each label that is spread evenly over all classes (Szegedy et al. 2016)",
        later=True,
    )
    average: float = note(
        0.0,
        "not in the paper: part of the run over which the weights are averaged, the newest weighted most; validation, "
        "evaluation and exports use the average (Polyak & Juditsky 1992); 0: off",
        later=True,
    )

    def __post_init__(self) -> None:
        check(self.batch >= 1, "sgd.batch", self.batch, "1 or more pictures")
        check(0 <= self.momentum < 1, "sgd.momentum", self.momentum, "0 to 1, 1 excluded")
        for name in ("lr", "bias_lr", "weight_decay", "bias_weight_decay"):
            value = getattr(self, name)
            check(0 <= value <= 1e9, f"sgd.{name}", value, "0 to a billion")
        decays = tuple(self.layer_weight_decay.values())
        check(all(0 <= d <= 1e9 for d in decays), "sgd.layer_weight_decay", self.layer_weight_decay, "0 to a billion")
        rates = tuple(self.layer_lr.values())
        check(all(0 <= r <= 1e9 for r in rates), "sgd.layer_lr", self.layer_lr, "factors of 0 (frozen) to a billion")
        check(self.lars is None or 0 < self.lars <= 1, "sgd.lars", self.lars, "more than 0, at most 1; or null (off)")
        check(self.lars is None or not self.decoupled, "sgd.decoupled", self.decoupled, "false where sgd.lars is set")
        check(0 <= self.label_smoothing < 1, "sgd.label_smoothing", self.label_smoothing, "0 (off) to 1, 1 excluded")
        check(0 <= self.average <= 1, "sgd.average", self.average, "0 (off) to 1, the whole run")


# At 0 the first step would change nothing.
WARMUP_START = "not in the paper: part of the rates with which a warm-up starts (You et al. 2017)"


@dataclass(frozen=True)
class Plateau:
    """A schedule that divides the rates when the validation error stops improving (section 5)."""

    factor: float = note(10.0, "5: by ten")
    drops: int = note(3, "5: three times before the end")
    patience: int = note(5, "epochs (of of_epochs) without a better error; in 2012 by eye")
    of_epochs: int = note(90, "5: roughly 90 cycles; a shorter run scales patience down", before="of")

    def __post_init__(self) -> None:
        check(self.drops >= 0, "schedule.drops", self.drops, "0 or more")
        check(1 < self.factor <= 1e6, "schedule.factor", self.factor, "more than 1, at most a million")
        check(self.of_epochs >= 1 and self.patience >= 1, "schedule.patience", self.patience, "1 or more epochs")


@dataclass(frozen=True)
class Steps:
    """A schedule that divides the rates at given epochs of `of_epochs`; other run lengths keep the same fractions."""

    milestones: tuple[float, ...] = note((), "epochs at which to divide the weights' rate", before="at")
    factor: float = note(10.0, "divisor of the weights' rate at each milestone")
    bias_milestones: tuple[float, ...] = note((), "epochs at which to divide the biases' rate", before="bias_at")
    bias_factor: float = note(10.0, "divisor of the biases' rate at each milestone")
    of_epochs: int = note(90, "run length in epochs that the milestones refer to", before="of")
    warmup_epochs: float = note(
        0.0, "not in the paper: epochs of linear growth up to the rates; 0: off", later=True, before="warm"
    )
    warmup_start: float = note(0.1, WARMUP_START, later=True)

    def __post_init__(self) -> None:
        check(self.of_epochs >= 1, "schedule.of_epochs", self.of_epochs, "1 or more epochs")
        check(0 <= self.warmup_start <= 1, "schedule.warmup_start", self.warmup_start, "0 to 1")
        for name in ("milestones", "bias_milestones"):
            epochs = getattr(self, name)
            check(all(epoch >= 0 for epoch in epochs), f"schedule.{name}", epochs, "epochs of 0 or more")
        check(0 < self.factor <= 1e6, "schedule.factor", self.factor, "more than 0, at most a million")
        check(0 < self.bias_factor <= 1e6, "schedule.bias_factor", self.bias_factor, "more than 0, at most a million")
        check(
            0 <= self.warmup_epochs <= self.of_epochs,
            "schedule.warmup_epochs",
            self.warmup_epochs,
            f"0 (off) to {self.of_epochs}, the value of schedule.of_epochs",
        )


@dataclass(frozen=True)
class Cosine:
    """A schedule whose rates fall along half a cosine, from the first rate to a part of it (Loshchilov & Hutter 2017).

    It is not in the paper.
    """

    of_epochs: int = note(90, "run length in epochs that warmup_epochs refers to; other runs keep the same fraction")
    warmup_epochs: float = note(0.0, "epochs of linear growth up to the rates; 0: off")
    final: float = note(0.0, "part of the first rates that is left at the end")
    warmup_start: float = note(0.1, WARMUP_START, later=True)

    def __post_init__(self) -> None:
        check(self.of_epochs >= 1, "schedule.of_epochs", self.of_epochs, "1 or more epochs")
        check(
            0 <= self.warmup_epochs < self.of_epochs,
            "schedule.warmup_epochs",
            self.warmup_epochs,
            f"0 (off) or more, less than {self.of_epochs}, the value of schedule.of_epochs",
        )
        check(0 <= self.final <= 1, "schedule.final", self.final, "0 to 1")
        check(0 <= self.warmup_start <= 1, "schedule.warmup_start", self.warmup_start, "0 to 1")


@dataclass(frozen=True)
class Late:
    """The late changes of the 2012 runs, each at an epoch of the schedule's `of_epochs`; None: never."""

    colour_off: float | None = note(None, "2012 log: epoch that ends the colour noise")
    conv1_slow: float | None = note(None, "2012 log: epoch that sets the rate of conv1's weights to conv1_lr")
    conv1_lr: float = note(1e-5, "2012 log: that rate", before="conv1_rate")
    conv1_frozen: float | None = note(None, "2012 log: epoch that sets conv1's rates to 0, of weights and biases")

    def __post_init__(self) -> None:
        check(self.conv1_lr >= 0, "late.conv1_lr", self.conv1_lr, "0 or more")
        for name in ("colour_off", "conv1_slow", "conv1_frozen"):
            epoch = getattr(self, name)
            check(epoch is None or epoch >= 0, f"late.{name}", epoch, "an epoch of 0 or more, or null (never)")


@dataclass(frozen=True)
class Start:
    """The layers of another run that training starts from (section 6)."""

    recipe: str = note("", "digest of that run's recipe")
    store: str = note("", "digest of the store that it was trained on")
    step: int = note(0, "step of that run whose weights are used")
    layers: tuple[str, ...] = note((), "6: layers to take from it; the other layers start afresh")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a result, except the store and the precision. The defaults are the paper's.

    A recipe is an immutable value. Start from a named one, and change it with `replace`:

        alexnet.recipe("source").replace(net={"lrn": None}, epochs=30)

    `alexnet recipe NAME` prints all fields of a recipe, with their sections of the paper.

    Args:
        net: Settings of the network: `Net` (AlexNet), `CifarNet` or `MlpNet` (section 3).
        views: How a stored picture becomes an input (sections 2 and 4.1).
        sgd: Batch size, learning rates, momentum and weight decay (section 5).
        schedule: When the rates fall: `Plateau` as in section 5, `Steps` at fixed epochs, or along a `Cosine`.
        late: Changes late in training, from the log of 2012.
        epochs: Number of passes over the training set, 1 or more.
        seed: Seed of weights, views, dropout and order, 0 to 2^32 - 1.
        start: Layers of another run to start from (section 6), or None. `train(from_run=...)` sets it.

    Raises:
        InputError: A field has a value that it cannot have. The message names the field, its value and the rule.
    """

    net: AnyNet = note(Net(), "3")
    views: Views = note(Views(), "4.1")
    sgd: Sgd = note(Sgd(), "5")
    schedule: Plateau | Steps | Cosine = note(Plateau(), "5")
    late: Late = note(Late(), "2012 log")
    epochs: int = note(90, "5: roughly 90 cycles")
    seed: int = note(0, "not in the paper; 2012 set no seed")
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
        """Make a copy of this recipe with some fields changed.

        Args:
            **changes: New values by field. A mapping changes fields inside a field: `net={"lrn": {"n": 3}}`. To put
                another class in a field, pass an instance, or its name as "kind":
                `schedule={"kind": "Steps", "milestones": [30, 60]}`.

        Returns:
            The changed recipe.

        Raises:
            InputError: No such field (the message suggests the nearest), or a value that the field cannot have.
        """
        return cast(Self, overrides.apply_changes(self, changes, ""))

    @cached_property
    def digest(self) -> str:
        """The digest: 12 hexadecimal digits that identify the recipe. Runs, checkpoints and records carry it."""
        return self._digest()

    @cached_property
    def digest_before(self) -> str:
        """The digest of this recipe in alexnet 0.1.0, which had other names for some fields."""
        return self._digest(before=True)

    def has_digest(self, digest: str) -> bool:
        """Tell whether a digest, from this version or from alexnet 0.1.0, is this recipe's."""
        return digest in (self.digest, self.digest_before)

    def _digest(self, before: bool = False) -> str:
        return _digest_of(json.dumps(self.plain()), before)

    def plain(self) -> dict[str, Any]:
        """Convert the recipe to JSON types; `Recipe.of` reads it back."""
        return cast(dict[str, Any], overrides.to_plain(self))

    @classmethod
    def of(cls, plain: Any) -> Self:
        """Build a recipe from JSON types, as `plain` of this version or of alexnet 0.1.0 wrote them.

        Args:
            plain: A dict of fields, nested like the recipe. Missing fields take the paper's values.

        Returns:
            The recipe.

        Raises:
            InputError: Not a dict, an unknown field, or a value that a field cannot have.
        """
        if not isinstance(plain, dict):
            raise InputError(f"a recipe is a JSON object; this is {overrides.show(plain)}")
        return cast(Self, overrides.from_plain(plain, cls, ""))


@lru_cache(maxsize=4096)
def _digest_of(text: str, before: bool) -> str:
    """Compute the digest of a recipe that is written as JSON; a judgement asks for the same ones again and again."""
    same = Recipe.of(json.loads(text))  # so that 1 and 1.0 give the same digest
    plain = json.dumps(overrides.to_plain(same, later=False, before=before), sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]
