"""One step of training: views, forward, backward, update. On CUDA, a graph captures it and replays it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from alexnet.core.device import Compute
from alexnet.core.launch import bounds
from alexnet.data.loader import Batch
from alexnet.data.transforms import Transform
from alexnet.distributed.sharding import Gradients, Sharding
from alexnet.models.build import AnyModel
from alexnet.training.optimizer import Momentum
from alexnet.training.schedule import LearningRates

EAGER = 3  # steps before capture: in the first ones, libraries choose algorithms and compile kernels


@dataclass(frozen=True)
class StepResult:
    """The results of a step, on the device.

    `loss` and the number of `wrong` answers are those of the whole batch before the update. `finite` is
    `Momentum.finite` after the update, for the parameters of this process. `views` and `logits` are those of this
    process, for the last part of its share.
    """

    step: int
    pictures: int
    rate: float
    loss: Tensor
    wrong: Tensor
    finite: Tensor
    views: Tensor
    logits: Tensor


class Step:
    """A training step, called with a batch. `net` has the layers, and `momentum` holds and updates the weights.

    A process splits its share of a batch into `parts`, takes them one after the other, and then updates once.
    """

    def __init__(
        self,
        net: AnyModel,
        transform: Transform,
        momentum: Momentum,
        compute: Compute,
        seed: int,
        sharding: Sharding | None = None,
        parts: int = 1,
    ) -> None:
        self.net, self.transform, self.momentum, self.compute, self.seed = net, transform, momentum, compute, seed
        self.sharding, self.parts = sharding or Sharding(), parts
        self.gradients = Gradients(momentum.compute_weights, self.sharding, parts)

    def __call__(self, batch: Batch, rates: LearningRates, colour: bool) -> StepResult:
        """Train on one batch: change weights and velocities."""
        return self.run(batch, batch.step, batch.epoch, batch.first, rates, colour)

    def run(
        self,
        batch: Batch,
        step: int | Tensor,
        epoch: int | Tensor,
        first: int | Tensor,
        rates: LearningRates,
        colour: bool,
    ) -> StepResult:
        """Train on one batch. For a CUDA graph, `step`, `epoch` and `first` are tensors on the device."""
        replicas = self.sharding.mesh.replicas
        # Each replica's share of the batch: the index of its first picture, and the bounds of its parts.
        shares = [(begin, bounds(end - begin, self.parts)) for begin, end in bounds(batch.whole, replicas.size)]
        totals = torch.zeros(2, dtype=torch.float64, device=batch.ids.device)  # loss, wrong answers
        self.gradients.clear()
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
            )
            self.net.at(step, position, runs)
            loss, logits = self.learn(views, batch.labels[ours], batch.whole)
            totals += torch.stack((loss.double(), (logits.argmax(1) != batch.labels[ours]).sum().double()))
        summed = replicas.all_reduce(totals, "shown")
        self.update(rates)
        if summed:
            summed.wait()
        finite = self.momentum.finite.clone()
        return StepResult(batch.step, batch.whole, rates.weights, totals[0], totals[1], finite, views, logits)

    def learn(self, views: Tensor, labels: Tensor, pictures: int) -> tuple[Tensor, Tensor]:
        """Run forward and backward on views (n, 3, side, side) of a batch of `pictures`.

        Returns their contribution to the batch's mean loss, and the logits (n, classes).
        """
        logits = forward(self.net, self.momentum.compute_weights, self.compute, views)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))  # bf16 is too coarse for a loss
        loss = F.cross_entropy(wide, labels, reduction="sum") / pictures
        self.gradients.backward(loss)
        return loss.detach(), logits.detach()

    def update(self, rates: LearningRates) -> None:
        """Wait for the gradients of all processes, then apply the momentum rule."""
        self.gradients.wait()
        self.momentum.step(rates, self.gradients)


def forward(net: AnyModel, weights: dict[str, Tensor], compute: Compute, views: Tensor) -> Tensor:
    """Compute the logits (n, classes) of views (n, 3, side, side) with the given weights in place of the net's own."""
    with compute.arithmetic():
        logits: Tensor = functional_call(net, weights, (views,))
    return logits


def maybe_capture(step: Step) -> "Step | CudaGraphStep":
    """Wrap the step in a CUDA graph, on a single GPU."""
    alone = step.sharding.mesh.everyone.size == 1  # graphs with collectives are untested
    return CudaGraphStep(step) if step.compute.device.type == "cuda" and alone else step


class CudaGraphStep:
    """A step that is replayed as a CUDA graph: one launch instead of about 200, which take as long as the arithmetic.

    There is a graph for each batch size. A change of a learning rate or of the colour noise, which is rare, captures it
    again. Each call copies the batch to the memory that the graph reads.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.stream = step, torch.cuda.Stream()
        self.kind: tuple[LearningRates, bool] | None = None
        self.seen: dict[int, int] = {}
        self.graphs: dict[int, Callable[[Batch], StepResult]] = {}

    def __call__(self, batch: Batch, rates: LearningRates, colour: bool) -> StepResult:
        """Train on one batch: eagerly at first, then by the graph for its size."""
        if self.kind != (rates, colour):
            self.kind, self.seen, self.graphs = (rates, colour), {}, {}
        pictures = len(batch.ids)
        self.seen[pictures] = self.seen.get(pictures, 0) + 1
        if self.seen[pictures] <= EAGER:
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                outcome = self.step(batch, rates, colour)
            torch.cuda.current_stream().wait_stream(self.stream)
            return outcome
        if pictures not in self.graphs:
            self.graphs[pictures] = self.capture(batch, rates, colour)
        return self.graphs[pictures](batch)

    def capture(self, batch: Batch, rates: LearningRates, colour: bool) -> Callable[[Batch], StepResult]:
        """Capture the step for this size of batch; return the function that replays it."""
        images = batch.images if batch.stored else batch.images.clone()
        own = replace(batch, ids=batch.ids.clone(), images=images, labels=batch.labels.clone())
        place = torch.zeros(3, dtype=torch.int64, device=batch.ids.device)
        graph = torch.cuda.CUDAGraph()
        # thread_local: the loader's threads make CUDA calls during the capture.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = self.step.run(own, place[0], place[1], place[2], rates, colour)

        def replay(batch: Batch) -> StepResult:
            own.ids.copy_(batch.ids)
            own.labels.copy_(batch.labels)
            if not own.stored:
                own.images.copy_(batch.images)
            place.copy_(torch.tensor([batch.step, batch.epoch, batch.first]).pin_memory(), non_blocking=True)
            graph.replay()
            # Clone them: the next replay overwrites them.
            shown = {name: getattr(made, name).clone() for name in ("loss", "wrong", "finite")}
            return replace(made, step=batch.step, **shown)

        return replay
