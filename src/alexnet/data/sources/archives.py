"""One listing for the files of a folder, a tar or a zip: their names and where their bytes are, without extraction."""

import errno
import gzip
import hashlib
import io
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.files import atomic_file
from alexnet.data.images.limits import MOST_BYTES, UnreadablePicture
from alexnet.data.sources.clutter import Sieve, is_clutter
from alexnet.data.sources.unread import is_spreadsheet, way_on

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
PIECE = 1 << 20  # bytes decompressed at a time
MOST_NAME, MOST_DEPTH = 4096, 32  # characters of a name, and nested folders
MOST_HEADER = 1 << 16  # bytes of all headers of one tar member
MOST_DIRECTORY = 1 << 29  # bytes of a zip's central directory, enough for about four million members
MOST_GROWTH, FREE_GROWTH = 100, 1 << 30  # a gzip file may grow 100-fold; growth to 1 GiB is always allowed
NOWHERE = -1  # the offset of a broken link
UNOPENABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class Slice:
    """`size` bytes of the file at `path`, from `offset`: a whole file, or a member of an uncompressed tar."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the zip at `path`: local header at `offset`, `packed` bytes compressed, `size` bytes decompressed."""

    path: str
    offset: int
    size: int
    packed: int
    method: int
    crc32: int


FilePart = Slice | Member


@dataclass(frozen=True)
class Listing:
    """A map from each file's posix name (sorted) to where its bytes are, and the names of all folders, even empty ones.

    `left_out` counts what is not listed, by reason: hidden files, system files and ignored names; a folder counts as
    one. `astray` has the files that are broken links. `above` is the path from the top of the source to this listing.
    `given` is the source as the user wrote it, and `root` the folder of --root, if the user gave one; only the empty
    listing has them that is tried before any file is read.
    """

    places: Mapping[str, FilePart]
    folders: frozenset[str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    astray: frozenset[str] = frozenset()
    above: str = ""
    given: str | Path = ""
    root: Path | None = None

    def below(self, folder: str) -> "Listing":
        """Return the listing of one folder, with names relative to it."""
        start = folder + "/"
        return Listing(
            {name[len(start) :]: place for name, place in self.places.items() if name.startswith(start)},
            frozenset(name[len(start) :] for name in self.folders if name.startswith(start)),
            self.left_out,
            frozenset(name[len(start) :] for name in self.astray if name.startswith(start)),
            self.above + start,
        )

    def tops(self) -> list[str]:
        """Return the names of the top folders, sorted."""
        return sorted(name for name in self.folders if "/" not in name)


def read(place: FilePart) -> bytes:
    """Read the bytes at `place`.

    Raises UnreadablePicture if only this file is at fault: it cannot be opened, has more than 256 MiB, or does not
    match its archive. Other read errors stay OSError, since they concern the disk.
    """
    if place.size > MOST_BYTES:
        raise UnreadablePicture(f"too large: {place.size} bytes; the limit is {MOST_BYTES}")
    try:
        with open(place.path, "rb") as file:
            file.seek(max(0, place.offset))
            if isinstance(place, Slice):
                data = file.read(place.size)
                if len(data) != place.size:
                    raise UnreadablePicture("damaged: the file is shorter than when it was listed")
                return data
            header = file.read(30)  # its name and extra field may have other lengths than in the central directory
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
            data = _unpacked(file, place)
    except OSError as error:
        if error.errno not in UNOPENABLE:
            raise
        raise UnreadablePicture(f"cannot be opened: {error.strerror}") from None
    if len(data) != place.size or zlib.crc32(data) != place.crc32:
        raise UnreadablePicture("damaged: its CRC-32 differs from the archive's")
    return data


def _unpacked(file: BinaryIO, member: Member) -> bytes:
    """Decompress a member in pieces, to at most one byte beyond its stated size."""
    if member.method == STORED:
        return file.read(member.size)
    unpacking, out, left = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), member.packed
    try:
        while left > 0 and out.tell() <= member.size and (block := file.read(min(left, 1 << 16))):
            left -= len(block)
            while out.tell() <= member.size:
                # A full piece may leave output inside zlib, though it has taken all of its input.
                out.write(piece := unpacking.decompress(block, PIECE))
                block = unpacking.unconsumed_tail
                if not block and len(piece) < PIECE:
                    break
    except zlib.error:
        raise UnreadablePicture("damaged: it cannot be decompressed") from None
    return out.getvalue()


def list_files(source: Path, work: Path, ignore: Iterable[str] = ()) -> Listing:
    """List the files of a folder, a .tar, a .tar.gz or a .zip, without clutter and ignored names.

    The content decides the kind of archive, not the suffix. A compressed tar allows no random access, so it is
    decompressed once into the folder `work`.

    Raises:
        InputError: the source is of another kind, the archive is damaged, or it has a member that is not safe to read:
            an absolute name, "..", a link, a device, a repeated name, or bytes shared with another member.
    """
    sieve = Sieve(ignore)
    try:
        if source.is_dir():
            return _listing(_walk(source, "", (), sieve), sieve)
        with source.open("rb") as file:
            start = file.read(512)
        if start.startswith(b"\x1f\x8b"):
            return _listing(tar_members(decompressed(source, work), 0, None, source), sieve)
        if is_spreadsheet(source.name):  # a zip inside
            raise InputError(f"{source} is no archive: {way_on([source.name])}")
        if _is_zip(source):
            return _listing(_zip_members(source), sieve)
        if _is_tar(start):
            return _listing(tar_members(source, 0, None, source), sieve)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}; check its name and permissions") from None
    if start.startswith(b"PK\3\4"):
        raise InputError(f"{source} is a zip that ends too early; fetch it again")
    if known := way_on([source.name]):
        raise InputError(f"{source} is not a folder, a .tar, a .tar.gz or a .zip: {known}")
    raise InputError(
        f"{source} is not a folder, a .tar, a .tar.gz, a .zip or a table of labels; unpack it, or give one of these"
    )


def _is_zip(source: Path) -> bool:
    try:
        return zipfile.is_zipfile(source)
    except zipfile.BadZipFile:  # a zip in several files: _zip_members raises the message
        return True


def _is_tar(start: bytes) -> bool:
    """Return whether the first header is a tar's; tarfile.is_tarfile would read any length that the header claims."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return start == bytes(512)  # an empty one
    return True


def tar_members(path: Path, offset: int, size: int | None, shown: Path | str) -> Iterator[tuple[str, Slice | None]]:
    """Yield the name and place of each member of the uncompressed tar at `offset` of `path`; a folder's place is None.

    `shown` is the archive's name in messages.
    """
    with path.open("rb") as file:
        end = path.stat().st_size if size is None else offset + size
        where = str(path)  # one text for all members
        for name, at in members_within(file, offset, end, shown):
            yield name, None if at is None else Slice(where, *at)


def members_within(
    file: BinaryIO, offset: int, end: int, shown: Path | str
) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Yield each member's name and (offset, size) in `file`, for the tar from `offset` to `end`; None for a folder."""
    last = offset
    try:
        headers = _Headers(file, offset, end)
        with tarfile.open(fileobj=headers, mode="r:") as tar:
            while info := tar.next():
                tar.members = []  # type: ignore[attr-defined]  # tarfile would keep half a kilobyte for each member
                headers.left = MOST_HEADER
                name = _checked(shown, info.name)
                if not info.isdir() and (not info.isreg() or info.issparse()):
                    raise _refusal(shown, info.name, "is a link, a device or a sparse file")
                last = info.offset_data + (-(-info.size // 512) * 512 if info.isreg() else 0)
                if info.size < 0 or info.offset_data + info.size > end:
                    raise InputError(f"{shown} is cut short in its member {info.name!r}; fetch it again")
                if len(tar.pax_headers) > 100:  # tarfile copies them for every member
                    raise _refusal(shown, info.name, "comes after more than 100 global headers")
                yield name, None if info.isdir() else (info.offset_data, info.size)
        file.seek(last)
        # tarfile takes a damaged header for the end of the archive.
        if last < end and file.read(min(512, end - last)).strip(b"\0"):
            raise InputError(f"{shown} is damaged at byte {last}; fetch it again")
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{shown} is not a whole tar: after byte {last}, {' '.join(str(error).split())[:120]}; fetch it again"
        ) from None


class _Headers(io.RawIOBase):
    """The part of a file from `offset` to `end`, with limits on headers, because tarfile trusts every length in them.

    tarfile would read gigabytes for a long name, and search for minutes through a header of digits.
    """

    def __init__(self, file: BinaryIO, offset: int, end: int) -> None:
        self.file, self.end, self.left = file, end, MOST_HEADER
        file.seek(offset)

    def tell(self) -> int:
        return self.file.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self.file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a member's header has more than {MOST_HEADER} bytes")
        data = self.file.read(max(0, min(size, self.end - self.file.tell())))
        self.left -= len(data)
        if len(data) > 512 and re.search(rb"\d{200}", data):
            raise tarfile.ReadError("a member's header has a number of more than 200 digits")
        return data


def decompressed(source: Path, work: Path) -> Path:
    """Decompress the gzip file `source` into the folder `work`, unless an earlier run has done so."""
    status = source.stat()
    mark = hashlib.sha256(f"{source.resolve()}\n{status.st_size}\n{status.st_mtime_ns}".encode()).hexdigest()[:16]
    plain = work / f"source-{mark}.tar"
    if plain.exists():
        return plain
    most = max(FREE_GROWTH, MOST_GROWTH * status.st_size)
    with gzip.open(source) as packed:
        try:
            with atomic_file(plain) as out:
                while block := _block(packed, source):
                    if out.tell() + len(block) > most:
                        raise InputError(
                            f"{source} is refused: its {status.st_size} bytes grow to more than {most}; pack it again"
                        )
                    out.write(block)
        except OSError as error:
            raise WorkFailed(
                f"cannot write {plain}: {error.strerror}; make room and run the same command again"
            ) from None
    return plain


def _block(packed: gzip.GzipFile, source: Path) -> bytes:
    try:
        return packed.read(1 << 20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{source} is not a whole gzip file ({error}); fetch it again") from None


def _listing(members: Iterator[tuple[str, FilePart | None]], sieve: Sieve) -> Listing:
    places: dict[str, FilePart] = {}
    folders: set[str] = set()
    for name, place in members:
        if not name or sieve.drops(name, folder=place is None):
            continue
        if place is None:
            folders.add(name)
        elif name in places:
            raise InputError(f"{name!r} is in the archive twice; pack it again with each name once")
        else:
            places[name] = place
        while (name := name.rpartition("/")[0]) and name not in folders:
            folders.add(name)
    astray = frozenset(name for name, place in places.items() if isinstance(place, Slice) and place.offset == NOWHERE)
    return Listing(dict(sorted(places.items())), frozenset(folders), sieve.counts(), astray)


def _walk(
    folder: Path, name: str, above: tuple[tuple[int, int], ...], sieve: Sieve
) -> Iterator[tuple[str, Slice | None]]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if len(above) > MOST_DEPTH:
        raise InputError(f"{str(folder)!r} is nested deeper than {MOST_DEPTH} folders; move it further up")
    if here in above:
        raise InputError(f"{str(folder)!r} links back to a folder that contains it; remove the link")
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        inner = f"{name}/{entry.name}" if name else entry.name
        if is_clutter(entry.name):  # never opened: it may be large, or unreadable for us
            yield inner, None
            continue
        try:
            status = entry.stat()
        except OSError:  # a broken link: listed, so that a message names it
            yield inner, Slice(entry.path, NOWHERE, 0)
            continue
        if stat.S_ISDIR(status.st_mode):
            yield inner, None
            # An ignored folder may contain other ignored names, which must count as found.
            with suppress(*((OSError, InputError) if sieve.drops(inner, folder=True) else ())):
                yield from _walk(Path(entry.path), inner, (*above, here), sieve)
        elif stat.S_ISREG(status.st_mode):
            yield inner, Slice(entry.path, 0, status.st_size)
        elif not sieve.drops(inner):
            sieve.counted["pipe or device"] += 1


def _zip_members(path: Path) -> Iterator[tuple[str, Member | None]]:
    try:
        with _Directory(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole zip ({' '.join(str(error).split())[:120]}); fetch it again") from None
    del archive
    _check_spans(path, infos)
    infos.reverse()
    while infos:  # pop each one, since it takes a kilobyte
        info = infos.pop()
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(path, info.filename, "is a link or a device")
        written = _written(info)
        name = _checked(path, written)
        if not info.filename:
            raise _refusal(path, "", "has no name")
        if written.endswith("/"):
            yield name, None
            continue
        if info.flag_bits & 1 or info.compress_type not in (STORED, DEFLATED):
            raise _refusal(path, info.filename, "is encrypted or packed by a method other than deflate")
        place = Member(str(path), info.header_offset, info.file_size, info.compress_size, info.compress_type, info.CRC)
        yield name, place


def _written(info: zipfile.ZipInfo) -> str:
    """Decode a name as its writer meant it: macOS does not mark UTF-8, and some Windows programs write backslashes."""
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/") if info.create_system == 0 and "/" not in name else name


class _Directory(io.BufferedReader):
    """A zip file with a limit on the size of its central directory, because zipfile trusts the size stated there."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY:
            raise ValueError(f"its list of members claims {size} bytes")
        return super().read(size)


def _check_spans(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Raise InputError for members that share bytes: with overlaps a small zip can hold terabytes."""
    if not infos:
        return
    order = sorted(infos, key=lambda info: info.header_offset)
    for info, after in pairwise(order):
        if info.header_offset + 30 + info.compress_size > after.header_offset:
            raise _refusal(path, after.filename, f"shares bytes with {info.filename!r}")
    for info in (order[0], order[-1]):
        if info.header_offset < 0 or info.header_offset + 30 + info.compress_size > path.stat().st_size:
            raise _refusal(path, info.filename, "lies beyond the end of the file")


def _checked(archive: Path | str, name: str) -> str:
    """Return the name without empty parts and "."; raise InputError if it points outside the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise _refusal(archive, name, "points outside the archive")
    if len(name) > MOST_NAME or len(parts) > MOST_DEPTH + 1:
        raise _refusal(archive, name[:60], f"has a name of {len(name)} characters in {len(parts) - 1} folders")
    return "/".join(parts)


def _refusal(archive: Path | str, member: str, why: str) -> InputError:
    return InputError(f"{archive} is refused: its member {member!r} {why}; pack it again with plain files only")
