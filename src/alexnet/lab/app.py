"""The web application of `alexnet serve`: the page, and the questions that it asks of the net.

It holds nothing between requests. One thread decodes and computes, so pictures wait for each other, and memory does not
grow with the number of clients: a body that waits lies in a temporary file.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import IO, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from alexnet.core.device import Compute
from alexnet.core.errors import InputError
from alexnet.data.images.limits import MOST_BYTES
from alexnet.lab import POLICY
from alexnet.lab.answers import NotAPicture, classes_of, kernels, run, square_of, unit
from alexnet.lab.stored import Stored
from alexnet.lab.walk import Settings
from alexnet.models.network import Network

IN_MEMORY = 1 << 20  # bytes of a body that waits in memory; a larger one waits in a file
SILENCE = 30.0  # seconds without a byte of a body before it is given up
HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",  # a page's own tag cannot say the last part
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
Question = Callable[[bytes], dict[str, Any] | bytes]


class Refused(Exception):
    """A request that gets a status and a line."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def make_app(
    net: Network, compute: Compute, facts: dict[str, Any], hosts: frozenset[str], stored: Stored | None = None
) -> FastAPI:
    """Make the application that serves a net.

    Args:
        net: The net, in eval mode, on its device.
        compute: Device and precision of the net.
        facts: What the page says about the net, as JSON types.
        hosts: Names of this server that a request's Host may have, in lower case and without a port. Empty: any.
        stored: Pictures of a store to pick and to compare with.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with ThreadPoolExecutor(1, "lab") as pool:
            app.state.pool = pool
            yield

    # The pages of FastAPI's documentation load scripts from another host.
    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.middleware("http")
    async def guard(request: Request, follow: Callable[[Request], Awaitable[Response]]) -> Response:
        try:
            check_origin(request, hosts)
            answer = await follow(request)
        except Refused as refused:
            answer = JSONResponse({"error": refused.why}, refused.status)
        answer.headers.update(HEADERS)
        return answer

    async def answer(request: Request, question: Question, kind: str = "application/octet-stream") -> Response:
        try:
            with tempfile.SpooledTemporaryFile(IN_MEMORY) as body:
                await receive(request, body)
                pool = request.app.state.pool
                found = await asyncio.get_running_loop().run_in_executor(pool, _asked, question, body)
        except Refused as refused:
            return JSONResponse({"error": refused.why}, refused.status)
        except InputError as error:
            return JSONResponse({"error": str(error)}, 422 if isinstance(error, NotAPicture) else 400)
        except ClientDisconnect:
            return Response(status_code=400)
        if isinstance(found, bytes):
            return Response(found, media_type=kind)
        return JSONResponse(found, 422 if "error" in found else 200)

    @app.get("/api/net")
    async def net_facts() -> dict[str, Any]:
        return facts

    @app.post("/api/predict")
    async def classes(request: Request) -> Response:
        asked = request.query_params.get("views", "10")
        if asked not in ("1", "10"):
            return JSONResponse({"error": f"views {asked[:80]!r}; it must be 1 or 10"}, 400)
        return await answer(request, lambda file: classes_of(net, file, int(asked)))

    @app.post("/api/square")
    async def square(request: Request) -> Response:
        return await answer(request, lambda file: square_of(net, file))

    @app.post("/api/run")
    async def changed(request: Request) -> Response:
        asked = request.query_params
        layers = asked.get("layers") == "true"

        def question(pixels: bytes) -> bytes:
            return run(net, pixels, Settings.read(asked.get("settings", ""), net), layers, compute)

        return await answer(request, question)

    @app.get("/api/kernels")
    async def first_kernels(request: Request) -> Response:
        return await answer(request, lambda _: kernels(net))

    @app.get("/api/unit")
    async def one_unit(request: Request) -> Response:
        layer, number = request.query_params.get("layer", ""), request.query_params.get("map", "")
        return await answer(request, lambda _: unit(net, layer, whole("map", number)))

    if stored is not None:
        of = stored

        @app.get("/api/pictures")
        async def pictures(request: Request) -> Response:
            page = request.query_params.get("page", "0")
            return await answer(request, lambda _: {"pictures": of.page(whole("page", page))})

        @app.get("/api/picture")
        async def picture(request: Request) -> Response:
            kind, place = request.query_params.get("kind", ""), request.query_params.get("place", "")
            if kind not in ("pick", "near"):
                return JSONResponse({"error": f"kind {kind[:80]!r}; it must be pick or near"}, 400)
            return await answer(request, lambda _: of.picture(kind, whole("place", place)), "image/png")

        @app.post("/api/nearest")
        async def nearest(request: Request) -> Response:
            return await answer(request, lambda features: {"neighbours": of.nearest(features)})

    app.mount("/", StaticFiles(directory=Path(str(files("alexnet.lab") / "page")), html=True))
    return app


def whole(name: str, text: str) -> int:
    """Read a whole number of a question; raise InputError with the name of what it should be."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise InputError(f"{name} {text[:80]!r} is not a whole number")
    return int(text)


def check_origin(request: Request, hosts: frozenset[str]) -> None:
    """Raise Refused for a request that another site's page sent, or that names another host.

    A name that another site points to this machine would give its pages this server's origin, so the Host counts too.
    """
    host = request.headers.get("host", "").lower()
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if hosts and name not in hosts:
        raise Refused(421, f"this server is not {host[:80]!r}; ask it by the name that it printed")
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        raise Refused(403, f"a page of {origin[:80]!r} may not ask this server")


async def receive(request: Request, body: IO[bytes]) -> None:
    """Write a request's body to a file; raise Refused if it is too long, or stops for SILENCE seconds."""
    too_long = Refused(413, f"too large: a picture's file may have {MOST_BYTES} bytes")
    claimed = request.headers.get("content-length", "")
    if claimed.isdecimal() and int(claimed) > MOST_BYTES:
        raise too_long
    parts, size = request.stream(), 0
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                part = await anext(parts)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refused(408, f"no byte of the picture came for {SILENCE:g} seconds") from None
        size += len(part)
        if size > MOST_BYTES:
            raise too_long
        body.write(part)


def _asked(question: Question, body: IO[bytes]) -> dict[str, Any] | bytes:
    body.seek(0)
    return question(body.read())
