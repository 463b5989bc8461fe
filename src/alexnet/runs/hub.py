"""Download an exported net from Hugging Face's hub: "hf:owner/name" or "hf:owner/name@revision"."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from alexnet.core.errors import InputError, WorkFailed
from alexnet.core.text import shorten

SCHEME = "hf:"
NAMED = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def download(source: str, files: Sequence[str]) -> Path:
    """Download some files of a repository into the hub's cache, and nothing else, and return their folder.

    huggingface_hub decides where the cache is, and takes what is there already: see its HF_HOME and HF_HUB_OFFLINE.

    Args:
        source: "hf:owner/name[@revision]". A revision is a branch, a tag or a commit; by default "main".
        files: Names of the files.

    Raises:
        InputError: The name is not of that form, there is no such repository, or huggingface_hub is missing.
        WorkFailed: The hub cannot be reached, or the disk is full.
    """
    named = NAMED.fullmatch(source)
    if not named:
        raise InputError(f"{shorten(source)}: write it as hf:owner/name, or hf:owner/name@revision")
    try:
        from huggingface_hub import errors, snapshot_download
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        raise InputError(
            f"{source} needs huggingface_hub, which is not installed; pip install 'alexnet[hub]'"
        ) from None
    disable_progress_bars()
    try:
        return Path(snapshot_download(named[1], revision=named[2], allow_patterns=list(files)))
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise InputError(f"{source} is not on the hub, or not open to you: {_first_line(error)}") from None
    except OSError as error:  # LocalEntryNotFoundError too: neither on the hub nor in the cache
        raise WorkFailed(
            f"{source} cannot be downloaded, and is not in the cache: {_first_line(error)}; try again with a connection"
        ) from None
    except Exception as error:  # of its HTTP library, which differs from version to version
        raise WorkFailed(f"{source} cannot be downloaded: {type(error).__name__}: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """Return the first line of an error that says something, without what follows."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    with contextlib.suppress(IndexError):
        return shorten(lines[0].rstrip("."))
    return type(error).__name__
