"""The files of a folder, a tar or a zip as one listing: names, and where their bytes lie; nothing is extracted."""

import errno
import gzip
import hashlib
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from alexnet.data.decode import UnreadablePicture
from alexnet.errors import FailedError, UnusableError

STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
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


Place = Slice | Member


@dataclass(frozen=True)
class Files:
    """A listing: posix names, sorted, to the places of their bytes; and every folder's name, empty ones too.

    What is hidden (a name with a part that begins with a dot) is not listed.
    """

    places: Mapping[str, Place]
    folders: frozenset[str]

    def below(self, folder: str) -> "Files":
        """The listing of one folder, named from there."""
        start = folder + "/"
        return Files(
            {name[len(start) :]: place for name, place in self.places.items() if name.startswith(start)},
            frozenset(name[len(start) :] for name in self.folders if name.startswith(start)),
        )

    def tops(self) -> list[str]:
        """The folders at the top, sorted."""
        return sorted(name for name in self.folders if "/" not in name)


def read(place: Place) -> bytes:
    """The bytes at `place`.

    Raises UnreadablePicture where this one file is at fault: it cannot be opened, or does not match its archive.
    """
    try:
        with open(place.path, "rb") as file:
            file.seek(place.offset)
            if isinstance(place, Slice):
                data = file.read(place.size)
                if len(data) != place.size:
                    raise UnreadablePicture("damaged: shorter than when it was listed")
                return data
            header = file.read(30)  # names and extra fields may differ in length from the central directory's
            file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
            data = file.read(place.packed)
    except OSError as error:
        if error.errno not in UNOPENABLE:
            raise
        raise UnreadablePicture(f"cannot be opened: {error.strerror}") from None
    if place.method == DEFLATED:
        try:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, place.size + 1)
        except zlib.error:
            raise UnreadablePicture("damaged: it does not decompress") from None
    if len(data) != place.size or zlib.crc32(data) != place.crc32:
        raise UnreadablePicture("damaged: its CRC-32 is not the archive's")
    return data


def list_files(source: Path, work: Path) -> Files:
    """The listing of a folder, a .tar, a .tar.gz or a .zip, judged by content.

    A compressed tar gives no random access, so it is decompressed once, as a stream, into the folder `work`.

    Raises UnusableError for what is none of these, for a damaged archive, and for an archive with a member that has
    no place in one: an absolute name, "..", a link, a device, one name twice.
    """
    try:
        if source.is_dir():
            return _listing(_walk(source, "", ()))
        with source.open("rb") as file:
            start = file.read(2)
        if start == b"\x1f\x8b":
            return _listing(tar_members(decompressed(source, work), 0, None, source))
        if zipfile.is_zipfile(source):
            return _listing(_zip_members(source))
        if tarfile.is_tarfile(source):
            return _listing(tar_members(source, 0, None, source))
    except OSError as error:
        raise UnusableError(f"{source} cannot be read: {error.strerror or error}; check its name and rights") from None
    raise UnusableError(f"{source} is not a folder, a .tar, a .tar.gz or a .zip; give one of these, or 'builtin'")


def tar_members(path: Path, offset: int, size: int | None, shown: Path | str) -> Iterator[tuple[str, Slice | None]]:
    """Name and place of each member of the plain tar that begins at `offset` of `path`; a folder's place is None.

    `shown` is what messages call the archive.
    """
    end = path.stat().st_size if size is None else offset + size
    last = offset
    try:
        with path.open("rb") as file:
            file.seek(offset)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for info in tar:
                    if not info.isdir() and (not info.isreg() or info.issparse()):
                        raise _refusal(shown, info.name, "is a link, a device or a sparse file")
                    last = info.offset_data + (-(-info.size // 512) * 512 if info.isreg() else 0)
                    if info.offset_data + info.size > end:
                        raise UnusableError(f"{shown} is cut short in its member {info.name!r}; fetch it again")
                    place = None if info.isdir() else Slice(str(path), info.offset_data, info.size)
                    yield _checked(shown, info.name), place
            file.seek(last)
            # tarfile takes a damaged header for the end of the archive.
            if last < end and file.read(min(512, end - last)).strip(b"\0"):
                raise UnusableError(f"{shown} is damaged at byte {last}; fetch it again")
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        if isinstance(error, UnusableError):
            raise
        raise UnusableError(f"{shown} is not a whole tar ({' '.join(str(error).split())}); fetch it again") from None


def decompressed(source: Path, work: Path) -> Path:
    """The gzip file `source` decompressed into the folder `work`, where an earlier run may already have done so."""
    status = source.stat()
    mark = hashlib.sha256(f"{source.resolve()}\n{status.st_size}\n{status.st_mtime_ns}".encode()).hexdigest()[:16]
    plain = work / f"source-{mark}.tar"
    if plain.exists():
        return plain
    unfinished = plain.with_suffix(".tmp")
    with gzip.open(source) as packed:
        try:
            out = unfinished.open("wb")
            with out:
                while block := _block(packed, source):
                    out.write(block)
                out.flush()
                os.fsync(out.fileno())
            unfinished.replace(plain)
        except OSError as error:
            raise FailedError(
                f"cannot write {unfinished}: {error.strerror}; make room and run the same again"
            ) from None
    return plain


def _block(packed: gzip.GzipFile, source: Path) -> bytes:
    try:
        return packed.read(1 << 20)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnusableError(f"{source} is not a whole gzip file ({error}); fetch it again") from None


def _listing(members: Iterator[tuple[str, Place | None]]) -> Files:
    places: dict[str, Place] = {}
    folders: set[str] = set()
    for name, place in members:
        parts = PurePosixPath(name).parts
        if any(part.startswith(".") for part in parts) or not parts:
            continue
        if place is None:
            folders.add(name)
        elif name in places:
            raise UnusableError(f"{name!r} is in the archive twice; pack it again with each name once")
        else:
            places[name] = place
        folders.update(str(parent) for parent in list(PurePosixPath(name).parents)[:-1])
    return Files(dict(sorted(places.items())), frozenset(folders))


def _walk(folder: Path, name: str, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, Slice | None]]:
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise UnusableError(f"{str(folder)!r} links back to a folder that holds it; remove that link")
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        if entry.name.startswith("."):
            continue
        inner = f"{name}/{entry.name}" if name else entry.name
        try:
            status = entry.stat()
        except OSError:  # a link that leads nowhere: listed, so that it is refused by name and not passed over
            yield inner, Slice(entry.path, 0, 0)
            continue
        if stat.S_ISDIR(status.st_mode):
            yield inner, None
            yield from _walk(Path(entry.path), inner, (*above, here))
        elif stat.S_ISREG(status.st_mode):
            yield inner, Slice(entry.path, 0, status.st_size)


def _zip_members(path: Path) -> Iterator[tuple[str, Member | None]]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UnusableError(f"{path} is not a whole zip ({error}); fetch it again") from None
    for info in infos:
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refusal(path, info.filename, "is a link or a device")
        name = _checked(path, info.filename)
        if info.is_dir():
            yield name, None
            continue
        if info.flag_bits & 1 or info.compress_type not in (STORED, DEFLATED):
            raise _refusal(path, info.filename, "is encrypted or packed by a method other than deflate")
        place = Member(str(path), info.header_offset, info.file_size, info.compress_size, info.compress_type, info.CRC)
        yield name, place


def _checked(archive: Path | str, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise _refusal(archive, name, "points outside the archive")
    return "" if str(path) == "." else str(path)


def _refusal(archive: Path | str, member: str, why: str) -> UnusableError:
    return UnusableError(f"{archive} is refused: its member {member!r} {why}; pack it again with plain files only")
