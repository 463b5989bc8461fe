"""Inference with our net against ONNX Runtime and OpenVINO, with the same weights (recipe paper)."""

import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import peers
import torch
from torch import Tensor

from alexnet.bench import computing, timing
from alexnet.bench.timing import Clock, Line, compared
from alexnet.config.recipe import Net
from alexnet.config.recipes import RECIPES
from alexnet.core.device import Compute
from alexnet.interop import onnx_writer
from alexnet.models.alexnet import AlexNet
from alexnet.ops.packed import keep_packed

CLOSE = 1e-3  # largest difference of float32 logits, as a share of the largest logit

Engine = Callable[
    [bytes, np.ndarray, int], Callable[[], np.ndarray]
]  # (graph, views, threads) -> function that computes the logits


def graph(net: AlexNet, batch: int) -> Any:
    """Write the net in eval mode as an ONNX model, as `alexnet export` does, for one size of batch: no engine gains."""
    peers.needed("onnx")
    model = onnx_writer.graph(net)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    return model


def onnx_runtime(model: bytes, views: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """Set up ONNX Runtime with all its optimisations."""
    ort = peers.needed("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    # Otherwise its threads go on spinning while another engine has its turn.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"views": views})[0]


def openvino(precision: str) -> Engine:
    """Set up OpenVINO to compute in "f32" or "bf16"."""

    def made(model: bytes, views: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
        ov = peers.needed("openvino")
        options = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
            "ENABLE_CPU_PINNING": False,  # the other engines' threads are not pinned either
        }  # fmt: skip
        core = ov.Core()
        compiled = core.compile_model(core.read_model(model), "CPU", options)
        if compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() != precision:
            raise peers.MissingError(f"OpenVINO does not compute in {precision} on this machine")
        request = compiled.create_infer_request()
        # Sharing saves two copies.
        return lambda: request.infer([views], share_inputs=True, share_outputs=True)[0]

    return made


ENGINES: dict[tuple[str, str], Engine] = {
    ("onnxruntime", "fp32"): onnx_runtime,
    ("openvino", "fp32"): openvino("f32"),
    ("openvino", "bf16"): openvino("bf16"),
}
NAMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def infer(clock: Clock, batch: int, rounds: int) -> Iterator[Line]:
    """Time inference on the same float32 views, N x 3 x 224 x 224. Bound: multiply-adds at full speed, and all weights.

    Ours runs in bfloat16 if the machine has it, and also in float32 to compare with the engines in float32.
    """
    net = RECIPES["paper"].net
    assert isinstance(net, Net)
    own = AlexNet(net).eval()
    views = 60 * torch.randn(batch, 3, net.image_size, net.image_size, generator=torch.Generator().manual_seed(1))
    model = graph(own, batch).SerializeToString()
    places = {p: Compute(clock.compute.device, p) for p in dict.fromkeys((clock.compute.precision, "fp32"))}
    ours = {p: server(net, compute, views) for p, compute in places.items()}
    exact = ours["fp32"]().numpy()
    for precision in ours.keys() - {"fp32"}:
        tell(f"ours {precision}", batch, ours[precision]().float().numpy(), exact)
    works, names = [], []
    for (library, precision), make in ENGINES.items():
        try:
            answer = make(model, views.numpy(), clock.threads)
        except peers.MissingError as missing:
            once(str(missing))
            continue
        name = f"{NAMES[library]} {peers.needed(library).__version__.split('-')[0]} {precision}"
        if tell(name, batch, answer(), exact) > CLOSE and precision == "fp32":
            peers.say(f"{name} computes other logits than ours, so it is not measured")
            continue
        works.append(answer)
        names.append((f"{name}, {timing.malloc(True)}", precision))
    if not works:
        return
    taken = clock.medians([*ours.values(), *works], 4 * rounds if batch == 1 else rounds)
    mine, theirs = dict(zip(ours, taken, strict=False)), taken[len(ours) :]
    speed, count = timing.bytes_read_per_second(clock), sum(p.numel() for p in own.parameters())
    for precision, compute in places.items():
        bound = batch * computing.products(net) / timing.products_per_second(clock, compute.dtype)
        bound += count * compute.dtype.itemsize / speed
        what = f"inference, batch {batch}, {precision}, paper"
        for (name, other), peer in zip(names, theirs, strict=True):
            if precision != "fp32" or other == "fp32":
                yield compared(what, mine[precision], peer, name, clock, amount=0 if batch == 1 else batch, bound=bound)


def server(net: Net, compute: Compute, views: Tensor) -> Callable[[], Tensor]:
    """Make our inference on the views; converting them to its layout and precision counts, as for the engines."""
    own = keep_packed(compute.serve(AlexNet(net))).eval()  # as `alexnet predict` does

    def serve() -> Tensor:
        with torch.inference_mode(), compute.arithmetic():
            logits: Tensor = own(views.to(compute.dtype, memory_format=torch.channels_last))
            return logits

    return serve


def tell(name: str, batch: int, logits: np.ndarray, exact: np.ndarray) -> float:
    """Compute and print how far logits are from ours in float32, as a share of the largest of ours."""
    error = float(np.abs(logits - exact).max() / np.abs(exact).max())
    once(f"{name}, batch {batch}: logits within {error:.1e} of ours in fp32")
    return error


@cache
def once(words: str) -> None:
    """Print a line on standard error, the first time only."""
    peers.say(words)


def lines(batch: int, rounds: int, threads: int | None) -> Iterator[Line]:
    """Time one picture and a batch, by each clock."""
    for clock in peers.clocks(threads):
        for pictures in sorted({1, batch}):
            yield from infer(clock, pictures, rounds)


def main() -> int:
    """Measure and print; exit status 1 if no engine could be measured."""
    flags = peers.parser(__doc__, 64, "pictures in a batch, in addition to one at a time").parse_args()
    try:
        return peers.show(lines(flags.batch, flags.rounds, flags.threads), flags.json)
    except peers.MissingError as missing:  # onnx, without which there is no graph
        peers.say(missing)
        return 1


if __name__ == "__main__":
    sys.exit(main())
