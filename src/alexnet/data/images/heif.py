"""AVIF and HEIC: sizes, depth and frames that a file claims, read before any decoder sees it (ISO/IEC 23008-12).

Their decoders trust the sizes in the coded pictures, which a file can repeat in other places with other values. So
every coded picture's own header is read here too, and the largest size counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from alexnet.data.images.limits import UnreadablePicture

CODED = {"AVIF": b"av01", "HEIC": b"hvc1"}  # the type of a coded picture
MOST_BOXES, MOST_ITEMS, MOST_UNITS, MOST_FRAMES = 10_000, 1000, 10_000, 8
MOST_DEPTH = 6  # of boxes within boxes
# Boxes that hold boxes, and the bytes before those; an iinf of version 0 has 6.
INSIDE = {"meta": 4, "iinf": 8, "iref": 4} | dict.fromkeys(("iprp", "ipco", "moov", "trak", "mdia", "minf", "stbl"), 0)


@dataclass
class Claims:
    """The claims of a file.

    Attributes:
        width: Width in pixels of the largest picture, by what the boxes or its own header say.
        height: Its height.
        coded: Pixels of the largest coded picture by its own header.
        grid: Whether the picture is put together from coded pictures.
        turned: Whether the picture is turned or mirrored after it is decoded.
        depth: Bits of a sample.
        full: Whether the colours may be stored at full resolution.
        alpha: Whether a second picture holds the transparency.
        animated: Whether the file has a sequence of pictures.
    """

    width: int = 0
    height: int = 0
    coded: int = 0
    grid: bool = False
    turned: bool = False
    depth: int = 8
    full: bool = False
    alpha: bool = False
    animated: bool = False

    @property
    def pixels(self) -> int:
        """The pixels to count memory by: the largest picture, and those that four threads may hold beside a grid."""
        return self.width * self.height + (4 * self.coded if self.grid else 0)

    def note(self, width: int, height: int) -> None:
        """Note another size."""
        if width * height > self.width * self.height:
            self.width, self.height = width, height


@dataclass
class _Meta:
    primary: int = 0
    types: dict[int, bytes] = field(default_factory=dict)
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # item -> (offset, length) in the file
    properties: list[tuple[str, int, int]] = field(default_factory=list)
    owned: dict[int, list[int]] = field(default_factory=dict)  # item -> numbers of its properties, from 1
    links: list[tuple[str, int, list[int]]] = field(default_factory=list)


class _Bits:
    """Bits of some bytes, most significant first; reading past the end raises ValueError."""

    def __init__(self, data: bytes) -> None:
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def __call__(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("its coded picture ends early")
        return self.value >> self.left & (1 << count) - 1

    def ue(self) -> int:
        """Read an Exp-Golomb number of up to 32 bits."""
        zeros = 0
        while not self(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("its coded picture has an endless number")
        return (1 << zeros) - 1 + self(zeros)


def claims(data: bytes, kind: str) -> Claims:
    """Read what an AVIF or HEIC file claims; `kind` is "AVIF" or "HEIC".

    Raises UnreadablePicture if the boxes contradict each other, or are of a kind that is not decoded.
    """
    try:
        return _claims(data, kind)
    except (ValueError, IndexError) as error:
        if isinstance(error, UnreadablePicture):
            raise
        words = str(error) if isinstance(error, ValueError) else "its boxes are cut short"
        raise UnreadablePicture(f"damaged: {words}") from None


def _claims(data: bytes, kind: str) -> Claims:
    boxes = _boxes(data)
    found = Claims(animated=kind == "AVIF" and data[8:12] == b"avis")
    meta = _meta(data, boxes)
    scanned = _Scan(data, kind, found)
    if found.animated:
        _sequence(data, boxes, scanned)
    if meta.types:
        _still(data, kind, meta, scanned)
    if not found.coded:
        raise ValueError("it has no coded picture")
    return found


def _still(data: bytes, kind: str, meta: _Meta, scanned: "_Scan") -> None:
    found, coded = scanned.found, CODED[kind]
    if meta.primary not in meta.types:
        raise ValueError("it has no primary picture")
    wanted = {meta.primary} | {link[1] for link in meta.links if link[0] == "auxl" and meta.primary in link[2]}
    found.alpha = len(wanted) > 1
    for item in sorted(wanted):
        if meta.types.get(item) == b"grid":
            found.grid = True
            scanned.grid(meta.places.get(item, []))
            cells = [cell for name, of, to in meta.links if name == "dimg" and of == item for cell in to]
            if any(meta.types.get(cell) != coded for cell in cells):
                raise UnreadablePicture(f"format not taken: {kind} made of other pictures; convert it to JPEG or PNG")
        elif meta.types.get(item) != coded and item == meta.primary:
            name = meta.types[item].decode("latin-1")
            words = name if name.isascii() and name.isprintable() else "an unknown type"
            raise UnreadablePicture(f"format not taken: {kind} whose picture is {words}; convert it to JPEG or PNG")
        for number in meta.owned.get(item, []):
            name, at, _ = meta.properties[number - 1] if 0 < number <= len(meta.properties) else ("", 0, 0)
            found.turned |= name == "imir" or (name == "irot" and data[at] & 3 > 0)
    for name, at, end in meta.properties:
        if name == "ispe" and end - at >= 12:
            found.note(_number(data, at + 4, 4), _number(data, at + 8, 4))
    for name, at, end in meta.properties:
        if name == "hvcC" and kind == "HEIC":
            scanned.configuration(at, end)
    for item, type_ in meta.types.items():
        if type_ == coded:
            scanned.picture(meta.places.get(item, []))


def _meta(data: bytes, boxes: list["_Box"]) -> _Meta:
    """Read the boxes of the file's own `meta`."""
    meta = _Meta()
    idat = next((box.start for box in boxes if box.path == ("meta", "idat")), 0)
    for box in boxes:
        if box.path[0] != "meta":
            continue
        inside, name = data[box.start : box.end], box.path[-1]
        if name == "pitm":
            meta.primary = _number(inside, 4, 2 if inside[0] == 0 else 4)
        elif name == "infe" and inside[0] >= 2:
            wide = 2 if inside[0] == 2 else 4
            meta.types[_number(inside, 4, wide)] = inside[6 + wide : 10 + wide]
        elif name == "iloc":
            meta.places |= _places(inside, idat)
        elif name == "ipma":
            meta.owned |= _owned(inside)
        elif box.path[-2:-1] == ("ipco",):
            meta.properties.append((name, box.start, box.end))
        elif box.path[-2:-1] == ("iref",):
            wide = 2 if data[box.above] == 0 else 4
            of, count = _number(inside, 0, wide), _number(inside, wide, 2)
            to = [_number(inside, wide + 2 + wide * n, wide) for n in range(count)]
            meta.links.append((name, of, to))
        if max(len(meta.types), len(meta.places), len(meta.links), len(meta.properties)) > MOST_ITEMS:
            raise ValueError(f"it has more than {MOST_ITEMS} items")
    return meta


def _places(inside: bytes, idat: int) -> dict[int, list[tuple[int, int]]]:
    """Read an `iloc`: the (offset, length) in the file of each part of each item; length 0 means to the end."""
    version, sizes = inside[0], _number(inside, 4, 2)
    of_offset, of_length, of_base = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    of_index = sizes & 15 if version else 0
    wide = 4 if version == 2 else 2
    at, places, parts = 6 + wide, dict[int, list[tuple[int, int]]](), 0
    for _ in range(_number(inside, 6, wide)):
        item, at = _number(inside, at, wide), at + wide
        method = _number(inside, at, 2) & 15 if version else 0
        at += 4 if version else 2
        base, at = _number(inside, at, of_base), at + of_base
        extents, at = _number(inside, at, 2), at + 2
        places[item] = []
        for _ in range(extents):
            at += of_index
            offset, at = _number(inside, at, of_offset), at + of_offset
            length, at = _number(inside, at, of_length), at + of_length
            places[item].append((base + offset + (idat if method == 1 else 0), length))
            parts += 1
            if parts > 4 * MOST_ITEMS:
                raise ValueError(f"its items have more than {4 * MOST_ITEMS} parts")
        if method > 1:
            places[item] = []  # made of other items, which no coded picture is
    return places


def _owned(inside: bytes) -> dict[int, list[int]]:
    """Read an `ipma`: the numbers of each item's properties."""
    version, two = inside[0], inside[3] & 1
    wide, at, owned = 2 if version == 0 else 4, 8, dict[int, list[int]]()
    for _ in range(_number(inside, 4, 4)):
        item, count, at = _number(inside, at, wide), inside[at + wide], at + wide + 1
        if len(owned) > MOST_ITEMS:
            break
        numbers = [_number(inside, at + n * (1 + two), 1 + two) & (0x7FFF if two else 0x7F) for n in range(count)]
        owned[item], at = numbers, at + count * (1 + two)
    return owned


class _Scan:
    """A reader of coded pictures, which notes the largest size and the depth in `found`."""

    def __init__(self, data: bytes, kind: str, found: Claims) -> None:
        self.data, self.kind, self.found = data, kind, found
        self.left, self.units, self.length = 4 * len(data), MOST_UNITS, 4  # an animation has its first picture twice

    def grid(self, parts: list[tuple[int, int]]) -> None:
        """Read the size of a grid."""
        data = self._joined(parts)
        wide = 4 if data[1] & 1 else 2
        self.found.note(_number(data, 4, wide), _number(data, 4 + wide, wide))

    def picture(self, parts: list[tuple[int, int]]) -> None:
        """Read the coded picture whose bytes are the parts, each (offset, length)."""
        frames = 0
        whole = self._joined(parts)
        for unit in self._obus(whole) if self.kind == "AVIF" else self._nals(whole):
            self.units -= 1
            frames += unit
            if frames > MOST_FRAMES or self.units < 0:
                raise ValueError("its coded picture has too many parts")

    def _joined(self, parts: list[tuple[int, int]]) -> bytes:
        pieces = []
        for offset, length in parts:
            piece = self.data[offset : offset + length] if length else self.data[offset:]
            if len(piece) < length or offset >= len(self.data):
                raise ValueError("its coded pictures are cut short")
            self.left -= len(piece)
            if self.left < 0:
                raise ValueError("its coded pictures share bytes")
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def configuration(self, at: int, end: int) -> None:
        """Read the parameter sets of an `hvcC`."""
        box = self.data[at:end]
        self.length = (box[21] & 3) + 1
        place = 23
        for _ in range(box[22]):
            count, place = _number(box, place + 1, 2), place + 3
            for _ in range(count):
                size, place = _number(box, place, 2), place + 2
                self._nal(box[place : place + size])
                place += size
                self.units -= 1
                if self.units < 0:
                    raise ValueError("its coded picture has too many parts")

    def _obus(self, data: bytes) -> Iterator[bool]:
        """Read the units of an AV1 picture (AV1, section 5); yield whether each begins a frame."""
        at = 0
        while at < len(data):
            head = data[at]
            at += 2 if head & 4 else 1
            size = len(data) - at
            if head & 2:
                size, shift = 0, 0
                for _ in range(8):
                    size |= (data[at] & 127) << shift
                    shift, at = shift + 7, at + 1
                    if data[at - 1] < 128:
                        break
            if at + size > len(data):
                raise ValueError("its coded picture is cut short")
            type_ = head >> 3 & 15
            if type_ == 1:
                self._sequence_header(_Bits(data[at : at + min(size, 400)]))
            yield type_ in (3, 6)
            at += size

    def _sequence_header(self, bits: _Bits) -> None:
        """Read an AV1 sequence header (section 5.5.1) up to the depth of the colours."""
        profile, _, reduced = bits(3), bits(1), bits(1)
        if reduced:
            bits(5)
        else:
            delay = 0
            if bits(1):  # timing
                bits(64)
                if bits(1):
                    bits.ue()
                if bits(1):  # the decoder's model
                    delay = bits(5) + 1
                    bits(32 + 5 + 5)
            display = bits(1)
            for _ in range(bits(5) + 1):
                bits(12)
                if bits(5) > 7:
                    bits(1)
                if delay and bits(1):
                    bits(2 * delay + 1)
                if display and bits(1):
                    bits(4)
        across, down = bits(4) + 1, bits(4) + 1
        width, height = bits(across) + 1, bits(down) + 1
        if not reduced:  # a frame may say another size in as many bits
            width, height = 1 << across, 1 << down
            if bits(1):  # numbers of frames
                bits(7)
        bits(3)
        if not reduced:
            bits(4)
            order = bits(1)
            if order:
                bits(2)
            forced = 2 if bits(1) else bits(1)
            if forced and not bits(1):
                bits(1)
            if order:
                bits(3)
        bits(3)
        deep = bits(1)
        self._note(width, height, 8 + 2 * deep + 2 * (deep and profile == 2 and bits(1)), profile > 0)

    def _nals(self, data: bytes) -> Iterator[bool]:
        """Read the units of an HEVC picture; yield whether each begins a frame."""
        at = 0
        while at + self.length < len(data):
            size, at = _number(data, at, self.length), at + self.length
            if at + size > len(data):
                raise ValueError("its coded picture is cut short")
            unit = data[at : at + min(size, 2000)]
            self._nal(unit)
            yield len(unit) > 2 and unit[0] >> 1 & 63 < 32 and unit[2] >= 128
            at += size

    def _nal(self, unit: bytes) -> None:
        """Read the size in a sequence parameter set (H.265, section 7.3.2.2); other units are passed over."""
        if len(unit) < 2 or unit[0] >> 1 & 63 != 33:
            return
        bits = _Bits(unit[2:2000].replace(b"\0\0\3", b"\0\0"))
        bits(4)
        layers = bits(3)
        bits(1 + 96)
        present = [(bits(1), bits(1)) for _ in range(layers)]
        if layers:
            bits(2 * (8 - layers))
        for profile, level in present:
            bits(88 * profile + 8 * level)
        bits.ue()
        chroma = bits.ue()
        if chroma == 3:
            bits(1)
        width, height = bits.ue(), bits.ue()
        if bits(1):
            for _ in range(4):
                bits.ue()
        self._note(width, height, 8 + max(bits.ue(), bits.ue()), chroma > 1)

    def _note(self, width: int, height: int, depth: int, full: bool) -> None:
        self.found.note(width, height)
        self.found.coded = max(self.found.coded, width * height)
        self.found.depth = max(self.found.depth, depth)
        self.found.full |= full


def _sequence(data: bytes, boxes: list["_Box"], scanned: _Scan) -> None:
    """Read the first picture of each track of an animation."""
    for box in boxes:
        if box.path[-1] in ("stco", "co64"):
            sizes = next((b for b in boxes if b.path[-1] == "stsz" and b.above == box.above), None)
            if sizes is None:
                raise ValueError("its track does not say the size of its pictures")
            fixed = _number(data, sizes.start + 4, 4)
            offset = _number(data, box.start + 8, 4 if box.path[-1] == "stco" else 8)
            scanned.picture([(offset, fixed or _number(data, sizes.start + 12, 4))])
        elif box.path[-1] == "tkhd":  # its width and height end the box, in 16.16 bits
            scanned.found.note(_number(data, box.end - 8, 4) >> 16, _number(data, box.end - 4, 4) >> 16)


@dataclass(frozen=True)
class _Box:
    """A box: the names of the boxes around it and its own, where its content lies, and that of the box around it."""

    path: tuple[str, ...]
    start: int
    end: int
    above: int


def _boxes(data: bytes) -> list[_Box]:
    """List the boxes of a file, and those inside the ones that matter."""
    found: list[_Box] = []

    def walk(start: int, end: int, path: tuple[str, ...], above: int) -> None:
        while start + 8 <= end:
            size, head = _number(data, start, 4), 8
            name = data[start + 4 : start + 8].decode("latin-1")
            if size == 1:
                size, head = _number(data, start + 8, 8), 16
            stop = start + size if size else end
            if stop > end or stop < start + head:
                raise ValueError("a box is cut short" if stop > end else "a box is shorter than its name")
            box = _Box((*path, name), start + head, stop, above)
            found.append(box)
            if len(found) > MOST_BOXES:
                raise ValueError(f"it has more than {MOST_BOXES} boxes")
            if name in INSIDE and len(path) < MOST_DEPTH:
                skip = INSIDE[name]
                if name == "iinf" and data[box.start] == 0:
                    skip = 6
                walk(box.start + skip, stop, box.path, box.start)
            start = stop

    walk(0, len(data), (), 0)
    return found


def _number(data: bytes, at: int, size: int) -> int:
    """Read a big-endian number of `size` bytes; raise IndexError past the end."""
    if at + size > len(data):
        raise IndexError
    return int.from_bytes(data[at : at + size], "big")
