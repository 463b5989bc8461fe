"""One step of training: views, forward, backward, update; on a CUDA device captured once and replayed."""

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

EAGER = 3  # steps of a kind before it is captured: libraries choose and compile on the first ones


@dataclass(frozen=True)
class StepResult:
    """What a step showed, on the device: `loss` and the count of `wrong` answers before its update, of the whole batch.

    `finite` is Momentum's after the update, for what this process holds. The views and logits are those of this
    process, and of the batch's last part.
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
    """Makes steps: `net` gives the form, `momentum` the weights and what becomes of them.

    A process takes its share of a batch in `parts`, one after the other, and the update follows from all of them.
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
        """The step of that batch; the weights and velocities change."""
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
        """Make the step, with the batch's place as numbers, or as tensors on the device for a captured graph."""
        replicas = self.sharding.mesh.replicas
        # Each replica's share of the batch: where it begins, and the bounds of its parts. One of each in one process.
        shares = [(begin, bounds(end - begin, self.parts)) for begin, end in bounds(batch.whole, replicas.size)]
        totals = torch.zeros(2, dtype=torch.float64, device=batch.ids.device)  # loss; pictures taken for another class
        self.gradients.clear()
        for part in range(self.parts):
            runs = [(begin + parts[part][0], parts[part][1] - parts[part][0]) for begin, parts in shares]
            position, pictures = runs[replicas.index]
            offset = position - batch.position
            ours = slice(offset, offset + pictures)
            views = self.transform.augment(
                batch.images[ours],
                batch.ids[ours],
                seed=self.seed,
                epoch=epoch,
                first=first + offset,
                colour=colour,
                dtype=self.compute.dtype,
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
        """Forward and backward of some of a batch's `pictures`: their share of the mean loss, and the logits."""
        logits = forward(self.net, self.momentum.compute_weights, self.compute, views)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = F.cross_entropy(wide, labels, reduction="sum") / pictures
        self.gradients.backward(loss)
        return loss.detach(), logits.detach()

    def update(self, rates: LearningRates) -> None:
        """The momentum rule, once the gradient is whole."""
        self.gradients.wait()
        self.momentum.step(rates, self.gradients)


def forward(net: AnyModel, weights: dict[str, Tensor], compute: Compute, views: Tensor) -> Tensor:
    """Logits of a net of that form with those weights, which are what the momentum rule has made last."""
    with compute.arithmetic():
        logits: Tensor = functional_call(net, weights, (views,))
    return logits


def maybe_capture(step: Step) -> "Step | CudaGraphStep":
    """The step as its device makes it soonest."""
    alone = step.sharding.mesh.everyone.size == 1  # a graph that talks to others has not been tried
    return CudaGraphStep(step) if step.compute.device.type == "cuda" and alone else step


class CudaGraphStep:
    """The same steps as CUDA graphs: one launch a step, where the host's 200 would take as long as the arithmetic.

    A graph is made for each size of batch, and anew when a rate or the colour noise changes, which is seldom. The
    batch and its place are copied to where the graph reads them.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.stream = step, torch.cuda.Stream()
        self.kind: tuple[LearningRates, bool] | None = None
        self.seen: dict[int, int] = {}
        self.graphs: dict[int, Callable[[Batch], StepResult]] = {}

    def __call__(self, batch: Batch, rates: LearningRates, colour: bool) -> StepResult:
        """The step of that batch."""
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
        """What replays the step for a batch of this size."""
        own = replace(batch, ids=batch.ids.clone(), images=batch.images.clone(), labels=batch.labels.clone())
        place = torch.zeros(3, dtype=torch.int64, device=batch.ids.device)
        graph = torch.cuda.CUDAGraph()
        # The loader's threads go on with their own calls meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = self.step.run(own, place[0], place[1], place[2], rates, colour)

        def replay(batch: Batch) -> StepResult:
            own.ids.copy_(batch.ids)
            own.images.copy_(batch.images)
            own.labels.copy_(batch.labels)
            place.copy_(torch.tensor([batch.step, batch.epoch, batch.first]).pin_memory(), non_blocking=True)
            graph.replay()
            # The next replay writes over what this one shows.
            shown = {name: getattr(made, name).clone() for name in ("loss", "wrong", "finite")}
            return replace(made, step=batch.step, **shown)

        return replay
