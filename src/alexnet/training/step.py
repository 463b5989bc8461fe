"""One step of training: views, forward, backward, update. On CUDA, a graph captures it and replays it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor
from torch.func import functional_call

from alexnet.core.device import Compute
from alexnet.core.launch import bounds
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.distributed.sharding import Gradients, Sharding
from alexnet.models.blocks import blocks_for
from alexnet.models.network import Network
from alexnet.ops.loss import loss_and_wrong
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates
from alexnet.training.updates import updates

T = TypeVar("T")

CAPTURE_PRIORITY = -2  # PyTorch hands out 32 streams of a priority in turn, so uploads (-1) never get this one
EAGER = 3  # steps before capture: in the first ones, libraries choose algorithms and compile kernels
PLACE = 24  # bytes of step, epoch and first


@dataclass(frozen=True)
class StepResult:
    """The results of a step.

    `views` and `logits`, on the device, are those of this process, for the last part of its share. If `lasting` is
    False, they are memory of a CUDA graph, and its next replay overwrites them.

    The other results come in one tensor, `numbers`. `sent` starts its copy to the host, and `read` waits for that copy
    alone: not for the steps that were queued later.
    """

    step: int
    pictures: int
    rate: float
    numbers: Tensor  # float64: loss, wrong answers, and a flag for each parameter
    views: Tensor
    logits: Tensor
    arrived: torch.cuda.Event | None = None
    lasting: bool = True

    def sent(self) -> "StepResult":
        """Start to copy `numbers` to the host, and return the result that has the copy."""
        there = self.numbers.is_cuda
        # Only to pinned memory does a copy return at once. The allocator reuses that memory after the copy, not before.
        host = torch.empty(self.numbers.shape, dtype=self.numbers.dtype, pin_memory=there)
        host.copy_(self.numbers, non_blocking=True)
        arrived = None
        if there:
            arrived = torch.cuda.Event(blocking=True)  # a wait that spins would take a core from the loader's threads
            arrived.record()
        return replace(self, numbers=host, arrived=arrived)

    def read(self) -> Tensor:
        """Wait for `numbers`, and return them."""
        if self.arrived:
            self.arrived.synchronize()
        return self.numbers

    @property
    def loss(self) -> Tensor:
        """The mean loss of the whole batch, over all processes, before the update."""
        return self.read()[0]

    @property
    def wrong(self) -> Tensor:
        """The number of wrong answers in the whole batch, before the update."""
        return self.read()[1]

    @property
    def finite(self) -> Tensor:
        """`Momentum.finite` after the update, for the parameters of this process."""
        return self.read()[2:] != 0

    def kept(self) -> "StepResult":
        """Return a result whose views and logits are lasting. Call it before the next step."""
        return (
            self if self.lasting else replace(self, views=self.views.clone(), logits=self.logits.clone(), lasting=True)
        )


class Step:
    """A training step, called with a batch. `net` has the layers, and `momentum` holds and updates the weights.

    A process splits its share of a batch into `parts`, takes them one after the other, and then updates once.

    `picture_weights`, float32 (training pictures,) on the device, are factors of the pictures' losses, by their ids;
    None stands for 1 each. Their mean over all training pictures is 1, so that no batch has to be normalised.
    `label_smoothing` is the part of each label that is spread over all classes.
    """

    def __init__(
        self,
        net: Network,
        transform: Transform,
        momentum: Momentum,
        compute: Compute,
        seed: int,
        sharding: Sharding | None = None,
        parts: int = 1,
        picture_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.net, self.transform, self.momentum, self.compute, self.seed = net, transform, momentum, compute, seed
        self.sharding, self.parts, self.picture_weights = sharding or Sharding(), parts, picture_weights
        self.label_smoothing = label_smoothing
        learning = {name: w for name, w in momentum.compute_weights.items() if name not in momentum.never}
        self.gradients = Gradients(learning, self.sharding, parts)
        alone = parts == 1 and self.sharding.mesh.everyone.size == 1
        self.updates = updates(momentum, self.gradients, alone)
        self.blocks = blocks_for(net, compute.device, compute.dtype)

    def __call__(self, batch: Batch, rates: LearningRates, colour: bool) -> StepResult:
        """Train on one batch: change weights and velocities."""
        return self.run(batch, batch.step, batch.epoch, batch.first, rates, colour).sent()

    def run(
        self,
        batch: Batch,
        step: int | Tensor,
        epoch: int | Tensor,
        first: int | Tensor,
        rates: LearningRates,
        colour: bool,
    ) -> StepResult:
        """Train on one batch, without waiting for the device; the result's numbers stay there.

        For a CUDA graph, `step`, `epoch` and `first` are tensors on the device.
        """
        replicas = self.sharding.mesh.replicas
        # Each replica's share of the batch: the index of its first picture, and the bounds of its parts.
        shares = [(begin, bounds(end - begin, self.parts)) for begin, end in bounds(batch.whole, replicas.size)]
        numbers = torch.zeros(2 + len(self.momentum.parameters), dtype=torch.float64, device=batch.ids.device)
        totals = numbers[:2]  # loss, wrong answers
        self.gradients.clear()
        self.updates.begin(rates)
        for part in range(self.parts):
            runs = [(begin + parts[part][0], parts[part][1] - parts[part][0]) for begin, parts in shares]
            position, pictures = runs[replicas.index]
            offset = position - batch.position
            ours = slice(offset, offset + pictures)
            views = self.transform.augment(
                batch.images if batch.stored else batch.images[ours],
                batch.ids[ours],
                seed=self.seed,
                epoch=epoch,
                first=first + offset,
                colour=colour,
                dtype=self.compute.dtype,
                stored=batch.stored,
                blocks=self.blocks,
            )
            self.net.at(step, position, runs if self.sharding.model_shard.gathers else ())
            seen, logits = self.learn(views, batch.labels[ours], batch.whole, self.weights_of(batch.ids[ours]))
            totals += seen
        summed = replicas.all_reduce(totals, "shown")
        self.update(rates)
        if summed:
            summed.wait()
        numbers[2:].copy_(self.momentum.finite)
        return StepResult(batch.step, batch.whole, rates.weights, numbers, views, logits)

    def weights_of(self, ids: Tensor) -> Tensor | None:
        """Gather the factors of some pictures' losses, on the device; None if there are none."""
        return None if self.picture_weights is None else self.picture_weights[ids]

    def learn(
        self, views: Tensor, labels: Tensor, pictures: int, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run forward and backward on views (n, 3, side, side) of a batch of `pictures`, with the loss's `weights`.

        Returns their contribution to the batch's mean loss and the number of wrong answers, float64 (2,), and the
        logits (n, classes).
        """
        logits = forward(self.net, self.momentum.compute_weights, self.compute, views)
        loss, seen = loss_and_wrong(logits, labels, pictures, weights, self.label_smoothing)
        self.gradients.backward(loss)
        return seen, logits.detach()

    def update(self, rates: LearningRates) -> None:
        """Apply the momentum rule where it is not applied yet, with the gradients of all processes."""
        self.updates.finish(rates)


def forward(net: Network, weights: dict[str, Tensor], compute: Compute, views: Tensor) -> Tensor:
    """Compute the logits (n, classes) of views (n, 3, side, side) with the given weights in place of the net's own."""
    with compute.arithmetic():
        logits: Tensor = functional_call(net, weights, (views,))
    return logits


def maybe_capture(step: Step) -> "Step | CudaGraphStep":
    """Wrap the step in a CUDA graph, on a single GPU."""
    alone = step.sharding.mesh.everyone.size == 1  # graphs with collectives are untested
    return CudaGraphStep(step) if step.compute.device.type == "cuda" and alone else step


class Graphs:
    """CUDA's graphs: they record work and repeat it. A test on a CPU puts another class in their place."""

    def __init__(self) -> None:
        # Before the stream of updates, which fill what is left: 0 is the lowest priority.
        self.stream = torch.cuda.Stream(priority=CAPTURE_PRIORITY)

    def warm_up(self, work: Callable[[], T]) -> T:
        """Do the work on a stream of its own, as PyTorch asks for work that is captured later."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = work()
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def capture(self, work: Callable[[], T]) -> tuple[T, Callable[[], None]]:
        """Record the work without doing it; return its result, and the function that does it and fills the result."""
        graph = torch.cuda.CUDAGraph()
        # thread_local: the loader's threads make CUDA calls during the capture.
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            result = work()
        return result, graph.replay


class CudaGraphStep:
    """A step that is replayed as a CUDA graph: one launch instead of about 200, which take as long as the arithmetic.

    There is a graph for each batch size. Only two rare changes capture it again: other parameters have a rate of 0, or
    the colour noise ends. A graph reads all else from memory that each call writes: the place in the training, the
    rates, and the batch. It reads pictures of a whole split where they are.

    Args:
        step: The step.
        graphs: How to capture it; by default, as CUDA does.
    """

    def __init__(self, step: Step, graphs: Graphs | None = None) -> None:
        self.step, self.graphs = step, graphs or Graphs()
        self.kind: tuple[tuple[str, ...], bool] | None = None
        self.seen: dict[tuple[int, int], int] = {}
        self.replays: dict[tuple[int, int], Callable[[Batch], StepResult]] = {}
        self.rates: LearningRates | None = None
        momentum = step.momentum
        self.dtype, self.device = next(iter(momentum.parameters.values())).dtype, momentum.finite.device
        size = PLACE + 2 * self.dtype.itemsize * len(momentum.parameters)
        self.memory = torch.zeros(size, dtype=torch.uint8, device=self.device)
        self.place, momentum.rule = self.divide(self.memory)

    def __call__(self, batch: Batch, rates: LearningRates, colour: bool) -> StepResult:
        """Train on one batch: eagerly at first, then by the graph for its size."""
        if rates != self.rates:
            self.rates, self.factors = rates, self.step.momentum.factors(rates)
            self.frozen = self.step.momentum.frozen(rates)
        if self.kind != (self.frozen, colour):
            self.kind, self.seen, self.replays = (self.frozen, colour), {}, {}
        self.write(batch)
        size = len(batch.ids), batch.images.data_ptr() if batch.stored else 0
        self.seen[size] = self.seen.get(size, 0) + 1
        if self.seen[size] <= EAGER:
            return self.graphs.warm_up(partial(self.step, batch, rates, colour))
        if size not in self.replays:
            self.replays[size] = self.capture(batch, rates, colour)
        return replace(self.replays[size](batch), step=batch.step, rate=rates.weights)

    def divide(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Divide the memory into step, epoch and first, int64 (3,), and the rule of the update, (parameters, 2)."""
        return memory[:PLACE].view(torch.int64), memory[PLACE:].view(self.dtype).view(-1, 2)

    def write(self, batch: Batch) -> None:
        """Write the step's place and rates to the device, by one copy that does not wait."""
        # New memory each time: the copy of the last step may still be under way.
        host = torch.empty(self.memory.shape, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        place, rule = self.divide(host)
        place.copy_(torch.tensor((batch.step, batch.epoch, batch.first)))
        rule.copy_(self.factors)
        self.memory.copy_(host, non_blocking=True)

    def capture(self, batch: Batch, rates: LearningRates, colour: bool) -> Callable[[Batch], StepResult]:
        """Capture the step for this size of batch; return the function that replays it."""
        images = batch.images if batch.stored else batch.images.clone()
        own = replace(batch, ids=batch.ids.clone(), images=images, labels=batch.labels.clone())
        step, epoch, first = self.place
        result, again = self.graphs.capture(partial(self.step.run, own, step, epoch, first, rates, colour))
        result = replace(result, lasting=False)

        def replay(batch: Batch) -> StepResult:
            own.ids.copy_(batch.ids)
            own.labels.copy_(batch.labels)
            if not own.stored:
                own.images.copy_(batch.images)
            again()
            return result.sent()

        return replay
