"""One step of training: views, forward, backward, update; on a CUDA device captured once and replayed."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from alexnet.cifar import Network
from alexnet.data.loader import Batch
from alexnet.data.views import Viewer
from alexnet.device import Place
from alexnet.optim import Momentum, Rates

EAGER = 3  # steps of a kind before it is captured: libraries choose and compile on the first ones


@dataclass(frozen=True)
class Outcome:
    """What a step showed, on the device: `loss` and the count of `wrong` answers before its update."""

    step: int
    pictures: int
    rate: float
    loss: Tensor
    wrong: Tensor
    views: Tensor
    logits: Tensor


class Step:
    """Makes steps: `net` gives the form, `momentum` the weights and what becomes of them."""

    def __init__(self, net: Network, viewer: Viewer, momentum: Momentum, where: Place, seed: int) -> None:
        self.net, self.viewer, self.momentum, self.where, self.seed = net, viewer, momentum, where, seed

    def __call__(self, batch: Batch, rates: Rates, colour: bool) -> Outcome:
        """The step of that batch; the weights and velocities change."""
        return self.of(batch, batch.step, batch.epoch, batch.first, rates, colour)

    def of(
        self, batch: Batch, step: int | Tensor, epoch: int | Tensor, first: int | Tensor, rates: Rates, colour: bool
    ) -> Outcome:
        """The same, with the batch's place as numbers or as tensors on the device."""
        views = self.viewer.training(
            batch.images, batch.ids, seed=self.seed, epoch=epoch, first=first, colour=colour, dtype=self.where.dtype
        )
        self.net.at(step)
        loss, logits = self.learn(views, batch.labels, rates)
        wrong = (logits.argmax(1) != batch.labels).sum()
        return Outcome(batch.step, len(batch.ids), rates.weights, loss, wrong, views, logits)

    def learn(self, views: Tensor, labels: Tensor, rates: Rates) -> tuple[Tensor, Tensor]:
        """Forward, backward, update: the loss and the logits before the update."""
        logits = self.forward(views)
        loss = F.cross_entropy(logits.float(), labels)
        self.momentum.clear()
        loss.backward()
        self.momentum.step(rates)
        return loss.detach(), logits.detach()

    def forward(self, views: Tensor) -> Tensor:
        """Logits, by the weights that the momentum rule has made last."""
        with self.where.arithmetic():
            logits: Tensor = functional_call(self.net, self.momentum.seen, (views,))
        return logits


def fastest(step: Step) -> "Step | Captured":
    """The step as its device makes it soonest."""
    return Captured(step) if step.where.device.type == "cuda" else step


class Captured:
    """The same steps as CUDA graphs: one launch a step, where the host's 200 would take as long as the arithmetic.

    A graph is made for each size of batch, and anew when a rate or the colour noise changes, which is seldom. The
    batch and its place are copied to where the graph reads them.
    """

    def __init__(self, step: Step) -> None:
        self.step, self.stream = step, torch.cuda.Stream()
        self.kind: tuple[Rates, bool] | None = None
        self.seen: dict[int, int] = {}
        self.graphs: dict[int, Callable[[Batch], Outcome]] = {}

    def __call__(self, batch: Batch, rates: Rates, colour: bool) -> Outcome:
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

    def capture(self, batch: Batch, rates: Rates, colour: bool) -> Callable[[Batch], Outcome]:
        """What replays the step for a batch of this size."""
        own = replace(batch, ids=batch.ids.clone(), images=batch.images.clone(), labels=batch.labels.clone())
        place = torch.zeros(3, dtype=torch.int64, device=batch.ids.device)
        graph = torch.cuda.CUDAGraph()
        # The loader's threads go on with their own calls meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            made = self.step.of(own, place[0], place[1], place[2], rates, colour)

        def replay(batch: Batch) -> Outcome:
            own.ids.copy_(batch.ids)
            own.images.copy_(batch.images)
            own.labels.copy_(batch.labels)
            place.copy_(torch.tensor([batch.step, batch.epoch, batch.first]).pin_memory(), non_blocking=True)
            graph.replay()
            # The next replay writes over what this one shows.
            return replace(made, step=batch.step, loss=made.loss.clone(), wrong=made.wrong.clone())

        return replay
