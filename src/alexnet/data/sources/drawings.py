"""Ten classes of drawn pictures, so that every command works without a downloaded dataset."""

import colorsys
import math
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256  # pixels a side, as in section 2
FINE = 3  # shapes are drawn three times larger, then averaged down for smooth edges

Points = np.ndarray  # complex128: x + iy, y downwards; an object fills the unit disc
Shape = tuple[Points, int]  # an outline and the ink that fills it: BODY or DETAIL
BODY, DETAIL = 0, 1


def _disc(centre: complex = 0, radius: float = 1.0, flat: float = 1.0) -> Points:
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return centre + radius * (np.cos(turn) + 1j * flat * np.sin(turn))


def _ring(outer: float, inner: float) -> Points:
    outside, inside = _disc(radius=outer), _disc(radius=inner)
    return np.concatenate([outside, outside[:1], inside[:1], inside[::-1]])


def _bar(start: complex, end: complex, width: float) -> Points:
    across = 0.5j * width * (end - start) / abs(end - start)
    return np.array([start + across, end + across, end - across, start - across])


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([left + 1j * top, right + 1j * top, right + 1j * bottom, left + 1j * bottom])


def _spokes(count: int) -> list[complex]:
    """Return `count` unit directions evenly around the circle, the first one upwards."""
    return [-1j * complex(math.cos(t), math.sin(t)) for t in (2 * math.pi * n / count for n in range(count))]


def _chessboard(rng: np.random.Generator) -> Iterable[Shape]:
    squares = int(rng.integers(4, 8))
    edges = np.linspace(-0.8, 0.8, squares + 1)
    yield _box(-0.86, -0.86, 0.86, 0.86), DETAIL
    for row in range(squares):
        for column in range(squares):
            square = _box(edges[column], edges[row], edges[column + 1], edges[row + 1])
            yield square, (row + column) % 2


def _flower(rng: np.random.Generator) -> Iterable[Shape]:
    petals = int(rng.integers(5, 9))
    for spoke in _spokes(petals):
        yield 0.6 * spoke + _disc(radius=0.4, flat=2.2 / petals) * spoke, BODY
    yield _disc(radius=rng.uniform(0.24, 0.34)), DETAIL


def _heart(rng: np.random.Generator) -> Iterable[Shape]:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    down = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    curve = (16 * np.sin(turn) ** 3 - 1j * (down + 2.5)) / 17
    yield curve, BODY
    if rng.random() < 0.5:
        yield curve * 0.8, DETAIL
        yield curve * rng.uniform(0.6, 0.72), BODY


def _house(rng: np.random.Generator) -> Iterable[Shape]:
    chimney = float(rng.choice([-0.5, 0.35]))
    yield _box(chimney, -0.85, chimney + 0.18, -0.2), BODY
    yield _box(-0.7, -0.15, 0.7, 0.85), BODY
    yield np.array([-0.92 - 0.1j, -0.95j, 0.92 - 0.1j]), DETAIL
    door = float(rng.uniform(-0.12, 0.08))
    yield _box(door - 0.14, 0.35, door + 0.16, 0.85), DETAIL
    for x in (-0.43, 0.43):
        for y in (0.12, 0.55):
            yield _box(x - 0.14, y - 0.13, x + 0.14, y + 0.13), DETAIL
            yield _bar(x - 0.14 + 1j * y, x + 0.14 + 1j * y, 0.04), BODY
            yield _bar(x + 1j * (y - 0.13), x + 1j * (y + 0.13), 0.04), BODY


def _ladder(rng: np.random.Generator) -> Iterable[Shape]:
    half, rungs = rng.uniform(0.32, 0.48), int(rng.integers(5, 9))
    for y in np.linspace(-0.8, 0.8, rungs):
        yield _bar(-half + 1j * y, half + 1j * y, 0.11), DETAIL
    for x in (-half, half):
        yield _bar(x - 1j, x + 1j, 0.14), BODY


def _ladybird(rng: np.random.Generator) -> Iterable[Shape]:
    for side in (-1, 1):
        yield _bar(0.1 * side - 0.75j, 0.3 * side - 1j, 0.06), DETAIL
        for y, reach in ((-0.25, 0.95), (0.15, 1.0), (0.5, 0.9)):
            yield _bar(0.5 * side + 1j * y, reach * side + 1j * (y + 0.12), 0.08), DETAIL
    yield _disc(-0.62j, 0.33), DETAIL
    yield _disc(0.15j, 0.75, flat=1.07), BODY
    yield _bar(-0.62j, 0.93j, 0.06), DETAIL
    size = rng.uniform(0.12, 0.16)
    for x, y in ((0.3, -0.25), (0.5, 0.12), (0.22, 0.25), (0.35, 0.6)):
        yield _disc(x + 1j * y, size), DETAIL
        yield _disc(-x + 1j * y, size), DETAIL


def _snowflake(rng: np.random.Generator) -> Iterable[Shape]:
    width, inner, outer = 0.09, rng.uniform(0.3, 0.42), rng.uniform(0.58, 0.7)
    for spoke in _spokes(6):
        yield _bar(0, spoke, width), BODY
        for start, length in ((inner, 0.3), (outer, 0.26)):
            for bend in (1 + 1j, 1 - 1j):
                yield _bar(start * spoke, (start + length * bend / abs(bend)) * spoke, width * 0.8), BODY


def _star(rng: np.random.Generator) -> Iterable[Shape]:
    inner = rng.uniform(0.38, 0.46)
    tips = np.array([reach * spoke for spoke, reach in zip(_spokes(10), [1, inner] * 5, strict=True)])
    yield tips, BODY
    if rng.random() < 0.5:
        yield tips * 0.74, DETAIL
        yield tips * rng.uniform(0.45, 0.6), BODY


def _target(rng: np.random.Generator) -> Iterable[Shape]:
    rings = int(rng.integers(4, 8))
    for ring in range(rings):
        yield _disc(radius=1 - ring / rings), ring % 2


def _wheel(rng: np.random.Generator) -> Iterable[Shape]:
    for spoke in _spokes(int(rng.integers(7, 13))):
        yield _bar(0.1 * spoke, 0.85 * spoke, 0.07), DETAIL
    yield _ring(1, rng.uniform(0.74, 0.82)), BODY
    yield _disc(radius=0.2), BODY


_DRAWN: dict[str, Callable[[np.random.Generator], Iterable[Shape]]] = {
    "chessboard": _chessboard,
    "flower": _flower,
    "heart": _heart,
    "house": _house,
    "ladder": _ladder,
    "ladybird": _ladybird,
    "snowflake": _snowflake,
    "star": _star,
    "target": _target,
    "wheel": _wheel,
}
CLASSES: tuple[str, ...] = tuple(_DRAWN)


def _colour(rng: np.random.Generator, darkest: float, lightest: float) -> np.ndarray:
    """Draw a colour of any hue, as three numbers in 0..255; it says nothing about the class."""
    rgb = colorsys.hls_to_rgb(rng.random(), rng.uniform(darkest, lightest), rng.uniform(0.3, 0.95))
    return np.array([round(255 * part) for part in rgb], dtype=np.float32)


def _ramp(rng: np.random.Generator) -> np.ndarray:
    """Draw a slope from 0 to 1 across the picture in a random direction: SIDE x SIDE float32."""
    angle = rng.uniform(0, 2 * math.pi)
    along, down = math.cos(angle), math.sin(angle)
    place = np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
    slope = np.float32(along) * place[None, :] + np.float32(down) * place[:, None]
    return slope / np.float32(abs(along) + abs(down)) + np.float32(0.5)


def _blobs(rng: np.random.Generator) -> np.ndarray:
    coarse = rng.integers(0, 256, (int(rng.integers(4, 20)),) * 2, dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255


def _stripes(rng: np.random.Generator) -> np.ndarray:
    return np.floor(_ramp(rng) * np.float32(rng.uniform(8, 30))) % 2


def _background(rng: np.random.Generator) -> np.ndarray:
    """Draw the share of the second of two colours at each pixel: SIDE x SIDE float32 in 0..1."""
    kinds: tuple[Callable[[], np.ndarray], ...] = (
        lambda: np.zeros((SIDE, SIDE), np.float32),
        lambda: _ramp(rng),
        lambda: rng.random((SIDE, SIDE), np.float32),
        lambda: _stripes(rng),
        lambda: _blobs(rng),
    )
    return kinds[int(rng.integers(len(kinds)))]()


def _clutter(rng: np.random.Generator) -> Iterable[Points]:
    """Yield a few small shapes in the unit square, unrelated to the class."""
    for _ in range(int(rng.integers(2, 7))):
        centre, turned = complex(rng.random(), rng.random()), complex(*rng.uniform(-1, 1, 2))
        size = rng.uniform(0.015, 0.05)
        kind = int(rng.integers(4))
        if kind == 0:
            yield _disc(centre, size)
        elif kind == 1:
            yield _bar(centre, centre + 0.4 * turned, 0.012)
        else:
            yield centre + size * np.array(_spokes(kind + 1)) * turned / abs(turned)


def _things(rng: np.random.Generator, shapes: Iterable[Shape]) -> np.ndarray:
    """Draw clutter, and over it one object at a random place, size, tilt and slant.

    The result is SIDE x SIDE x 4 float32 in 0..255: RGB times the coverage, and the coverage.
    """
    canvas = Image.new("RGBa", (SIDE * FINE, SIDE * FINE))
    pen = ImageDraw.Draw(canvas)

    def fill(outline: Points, colour: np.ndarray) -> None:
        # Round to whole numbers, since the last bit of a sine differs between machines.
        corners = np.round(outline * (SIDE * FINE))
        pen.polygon([(int(z.real), int(z.imag)) for z in corners], fill=(*(int(part) for part in colour), 255))

    for outline in _clutter(rng):
        fill(outline, _colour(rng, 0.1, 0.9))
    radius = rng.uniform(0.28, 0.4)
    centre = complex(*rng.uniform(radius, 1 - radius, 2))
    tilt = math.radians(rng.uniform(-25, 25))
    turned, (narrow, low) = radius * complex(math.cos(tilt), math.sin(tilt)), rng.uniform(0.8, 1, 2)
    inks = _colour(rng, 0.4, 0.6), _colour(rng, 0.05, 0.2)
    for outline, ink in shapes:
        fill(centre + turned * (narrow * outline.real + 1j * low * outline.imag), inks[ink])
    return np.asarray(canvas.reduce(FINE), np.float32)


def draw(index: int) -> np.ndarray:
    """Draw picture `index` (0 or more): SIDE x SIDE x 3 uint8 RGB, of class `CLASSES[index % 10]`.

    The bytes depend only on `index` and are the same on every machine. Place, size, tilt, colours, light, background
    and clutter vary. Only the shape tells the class, and a mirrored shape is of the same class.
    """
    rng = np.random.Generator(np.random.Philox(key=index))
    paper, pattern = _colour(rng, 0.72, 0.95), _colour(rng, 0.72, 0.95)
    picture = paper + (pattern - paper) * np.float32(0.4) * _background(rng)[..., None]

    things = _things(rng, _DRAWN[CLASSES[index % len(CLASSES)]](rng))
    cover = things[..., 3:] / 255
    shadow = np.roll(cover, tuple(rng.integers(2, 6, 2)), axis=(0, 1)) * np.float32(rng.uniform(0, 0.5))
    lit = things[..., :3] * (1 - np.float32(rng.uniform(0, 0.4)) * _ramp(rng)[..., None])
    picture = picture * ((1 - shadow) * (1 - cover)) + lit

    light = np.float32(rng.uniform(0.85, 1.1)) - np.float32(rng.uniform(0, 0.3)) * _ramp(rng)
    grain = (rng.random((SIDE, SIDE), np.float32) - 0.5) * np.float32(rng.uniform(0, 25))
    finished: np.ndarray = np.clip(picture * light[..., None] + grain[..., None], 0, 255).astype(np.uint8)
    return finished
