"""The files of a folder, a tar or a zip as one listing: names, and where their bytes lie; nothing is extracted."""

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

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
PIECE = 1 << 20  # bytes that are unpacked together
MOST_NAME, MOST_DEPTH = 4096, 32  # characters, and folders within each other
MOST_HEADER = 1 << 16  # bytes of all that describes one member of a tar
MOST_DIRECTORY = 1 << 29  # bytes of all that describes a zip's members, four million or so
MOST_GROWTH, FREE_GROWTH = 100, 1 << 30  # a gzip file grows 100-fold at most, and to a gibibyte in any case
NOWHERE = -1  # the offset of what a link to nothing leads to
UNOPENABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP)


@dataclass(frozen=True, slots=True)
class Slice:
    """`size` bytes from `offset` of the file at `path`: a whole file, or one inside a plain tar."""

    path: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the zip at `path`: its local header at `offset`, `packed` bytes that become `size`."""

    path: str
    offset: int
    size: int
    packed: int
    method: int
    crc32: int


FilePart = Slice | Member


@dataclass(frozen=True)
class Listing:
    """A listing: posix names, sorted, to the places of their bytes; and every folder's name, empty ones too.

    `left_out` counts what is not listed, a folder as one: hidden files, what systems put there, what was to be ignored.
    `astray` are the files that are links to nothing. `above` is where the listing begins, from the top of the source.
    `given` is what the user called the source, in a listing without files that is asked for before any is looked at.
    """

    places: Mapping[str, FilePart]
    folders: frozenset[str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    astray: frozenset[str] = frozenset()
    above: str = ""
    given: str | Path = ""

    def below(self, folder: str) -> "Listing":
        """Return the listing of one folder, with names from there."""
        start = folder + "/"
        return Listing(
            {name[len(start) :]: place for name, place in self.places.items() if name.startswith(start)},
            frozenset(name[len(start) :] for name in self.folders if name.startswith(start)),
            self.left_out,
            frozenset(name[len(start) :] for name in self.astray if name.startswith(start)),
            self.above + start,
        )

    def tops(self) -> list[str]:
        """Return the folders at the top, sorted."""
        return sorted(name for name in self.folders if "/" not in name)


def read(place: FilePart) -> bytes:
    """Read the bytes at `place`.

    Raises UnreadablePicture where this one file is at fault: it cannot be opened, has more than 256 MiB, or does not
    match its archive.
    """
    if place.size > MOST_BYTES:
        raise UnreadablePicture(f"too large: {place.size} bytes, at most {MOST_BYTES} are taken")
    try:
        with open(place.path, "rb") as file:
            file.seek(max(0, place.offset))
            if isinstance(place, Slice):
                data = file.read(place.size)
                if len(data) != place.size:
                    raise UnreadablePicture("damaged: shorter than when it was listed")
                return data
            header = file.read(30)  # names and extra fields may differ in length from the central directory's
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
            data = _unpacked(file, place)
    except OSError as error:
        if error.errno not in UNOPENABLE:
            raise
        raise UnreadablePicture(f"cannot be opened: {error.strerror}") from None
    if len(data) != place.size or zlib.crc32(data) != place.crc32:
        raise UnreadablePicture("damaged: its CRC-32 is not the archive's")
    return data


def _unpacked(file: BinaryIO, member: Member) -> bytes:
    """The member's bytes, and no more than one beyond its size; the packed ones are never held whole."""
    if member.method == STORED:
        return file.read(member.size)
    unpacking, out, left = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO(), member.packed
    try:
        while left > 0 and out.tell() <= member.size and (block := file.read(min(left, 1 << 16))):
            left -= len(block)
            while out.tell() <= member.size:
                # A full piece may leave some within, though all that was packed is taken.
                out.write(piece := unpacking.decompress(block, PIECE))
                block = unpacking.unconsumed_tail
                if not block and len(piece) < PIECE:
                    break
    except zlib.error:
        raise UnreadablePicture("damaged: it does not decompress") from None
    return out.getvalue()


def list_files(source: Path, work: Path, ignore: Iterable[str] = ()) -> Listing:
    """List a folder, a .tar, a .tar.gz or a .zip, judged by content, without clutter and what is to be ignored.

    A compressed tar gives no random access, so it is decompressed once, as a stream, into the folder `work`.

    Raises InputError for what is none of these, for a damaged archive, and for an archive with a member that has
    no place in one: an absolute name, "..", a link, a device, one name twice, two in the same bytes.
    """
    sieve = Sieve(ignore)
    try:
        if source.is_dir():
            return _listing(_walk(source, "", (), sieve), sieve)
        with source.open("rb") as file:
            start = file.read(512)
        if start.startswith(b"\x1f\x8b"):
            return _listing(tar_members(decompressed(source, work), 0, None, source), sieve)
        if _is_zip(source):
            return _listing(_zip_members(source), sieve)
        if _is_tar(start):
            return _listing(tar_members(source, 0, None, source), sieve)
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}; check its name and rights") from None
    if start.startswith(b"PK\3\4"):
        raise InputError(f"{source} is a zip that is cut short; fetch it again")
    raise InputError(f"{source} is not a folder, a .tar, a .tar.gz or a .zip; unpack it, or give one of these")


def _is_zip(source: Path) -> bool:
    try:
        return zipfile.is_zipfile(source)
    except zipfile.BadZipFile:  # one that goes on in another file, which is said where its members are asked for
        return True


def _is_tar(start: bytes) -> bool:
    """Judged by its first header, where tarfile's own question reads whatever length that claims."""
    try:
        tarfile.TarInfo.frombuf(start, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return start == bytes(512)  # an empty one
    return True


def tar_members(path: Path, offset: int, size: int | None, shown: Path | str) -> Iterator[tuple[str, Slice | None]]:
    """Give name and place of each member of the plain tar that begins at `offset` of `path`; a folder's place is None.

    `shown` is what messages call the archive.
    """
    with path.open("rb") as file:
        end = path.stat().st_size if size is None else offset + size
        for name, at in members_within(file, offset, end, shown):
            yield name, None if at is None else Slice(str(path), *at)


def members_within(
    file: BinaryIO, offset: int, end: int, shown: Path | str
) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Give name, and offset and size in `file`, of each member of the tar from `offset` to `end`; None for a folder."""
    last = offset
    try:
        headers = _Headers(file, offset, end)
        with tarfile.open(fileobj=headers, mode="r:") as tar:
            while info := tar.next():
                tar.members = []  # type: ignore[attr-defined]  # it would keep half a kilobyte for each
                headers.left = MOST_HEADER
                name = _checked(shown, info.name)
                if not info.isdir() and (not info.isreg() or info.issparse()):
                    raise _refusal(shown, info.name, "is a link, a device or a sparse file")
                last = info.offset_data + (-(-info.size // 512) * 512 if info.isreg() else 0)
                if info.size < 0 or info.offset_data + info.size > end:
                    raise InputError(f"{shown} is cut short in its member {info.name!r}; fetch it again")
                if len(tar.pax_headers) > 100:  # which are copied for every member
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
            f"{shown} is not a whole tar, after byte {last} ({' '.join(str(error).split())[:120]}); fetch it again"
        ) from None


class _Headers(io.RawIOBase):
    """The part of a file from `offset` to `end`, for a tarfile that believes every length.

    A header that claims gigabytes of name would be read whole, one of digits alone is searched for minutes.
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
    """Decompress the gzip file `source` into the folder `work`, unless an earlier run has already done so."""
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
                            f"{source} is refused: {status.st_size} bytes grow to more than {most}; pack it again"
                        )
                    out.write(block)
        except OSError as error:
            raise WorkFailed(f"cannot write {plain}: {error.strerror}; make room and run the same again") from None
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
        raise InputError(f"{str(folder)!r} lies deeper than {MOST_DEPTH} folders; move it further up")
    if here in above:
        raise InputError(f"{str(folder)!r} links back to a folder that holds it; remove that link")
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        inner = f"{name}/{entry.name}" if name else entry.name
        if is_clutter(entry.name):  # it is not looked into: it may be large, or closed to us
            yield inner, None
            continue
        try:
            status = entry.stat()
        except OSError:  # a link that leads nowhere: listed, so that it is refused by name and not passed over
            yield inner, Slice(entry.path, NOWHERE, 0)
            continue
        if stat.S_ISDIR(status.st_mode):
            yield inner, None
            # What is ignored is looked into for other names that are to be ignored, as far as that can be.
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
    while infos:  # each let go, for it takes a kilobyte
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
    """The name as its writer meant it: macOS does not mark UTF-8, and some programs of Windows write backslashes."""
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return name.replace("\\", "/") if info.create_system == 0 and "/" not in name else name


class _Directory(io.BufferedReader):
    """A zip, for a zipfile that believes how long its list of members claims to be."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_DIRECTORY:
            raise ValueError(f"its list of members claims {size} bytes")
        return super().read(size)


def _check_spans(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Members that share bytes make a small zip of terabytes: quoted, overlapping or the same one under many names."""
    if not infos:
        return
    order = sorted(infos, key=lambda info: info.header_offset)
    for info, after in pairwise(order):
        if info.header_offset + 30 + info.compress_size > after.header_offset:
            raise _refusal(path, after.filename, f"lies in the same bytes as {info.filename!r}")
    for info in (order[0], order[-1]):
        if info.header_offset < 0 or info.header_offset + 30 + info.compress_size > path.stat().st_size:
            raise _refusal(path, info.filename, "lies beyond the end of the file")


def _checked(archive: Path | str, name: str) -> str:
    """The name without empty parts and ".", if it stays within the archive."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts:
        raise _refusal(archive, name, "points outside the archive")
    if len(name) > MOST_NAME or len(parts) > MOST_DEPTH + 1:
        raise _refusal(archive, name[:60], f"has a name of {len(name)} characters in {len(parts) - 1} folders")
    return "/".join(parts)


def _refusal(archive: Path | str, member: str, why: str) -> InputError:
    return InputError(f"{archive} is refused: its member {member!r} {why}; pack it again with plain files only")
