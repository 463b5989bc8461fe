"""Frozen dataclasses as settings: change them, read them from JSON, and name the field in every error."""

import dataclasses
import difflib
import json
import sys
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any, Literal, Union

from alexnet.core.errors import InputError
from alexnet.core.text import shorten

MOST = 2**53  # largest whole number: a float still holds it exactly


def note(default: Any, words: str, later: bool = False, before: str = "") -> Any:
    """Make a dataclass field of a recipe.

    Args:
        default: Default of the field.
        words: Note that `alexnet recipe` prints next to the value: the paper's section, and the reason.
        later: Whether the digest leaves the field out while it holds its default. Every field added after 0.2.0 needs
            this, so that the digests of earlier recipes do not change.
        before: Name of the field in alexnet 0.1.0, if it was another.

    Returns:
        The field, for the body of a dataclass.
    """
    metadata = {"note": words, "later": later, "before": before}
    if isinstance(default, (dict, list)):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def check(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raise InputError, with the name and the value of a field, unless `holds`."""
    if not holds:
        raise InputError(f"recipe {name} is {show(value)}; it must be {wanted}")


def apply_changes(value: Any, changes: Mapping[str, Any], place: str) -> Any:
    """Return a copy of a frozen dataclass with some fields changed; a mapping changes fields inside a field."""
    fields = {f.name: f for f in dataclasses.fields(value)}
    hints = typing.get_type_hints(type(value))
    new = {}
    for name, change in changes.items():
        full = f"{place}{name}"
        if name not in fields:
            raise InputError(unknown_field(type(value), name, place))
        now = getattr(value, name)
        if isinstance(change, Mapping) and dataclasses.is_dataclass(now) and "kind" not in change:
            new[name] = apply_changes(now, change, f"{full}.")
        else:
            whole = now | dict(change) if isinstance(change, Mapping) and isinstance(now, dict) else change
            new[name] = from_plain(whole, hints[name], full)
    return dataclasses.replace(value, **new)


def describe_fields(value: Any) -> Iterator[tuple[str, str, str]]:
    """List every field as (dotted name, value as JSON, note), in order."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, str, str]]:
        for f in dataclasses.fields(value):
            inner = getattr(value, f.name)
            if dataclasses.is_dataclass(inner):
                yield f"{place}{f.name}", type(inner).__name__, f.metadata["note"]
                yield from walk(inner, f"{place}{f.name}.")
            else:
                yield f"{place}{f.name}", json.dumps(to_plain(inner)), f.metadata["note"]

    return walk(value, "")


def differing_names(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """List the names whose values differ between two mappings, or that only one of them has."""
    return [name for name in dict.fromkeys((*one, *other)) if one.get(name) != other.get(name)]


def check_path(value: Any, names: list[str]) -> None:
    """Raise InputError if a dotted name does not exist, or leads through a value without fields."""
    for i, name in enumerate(names):
        if isinstance(value, dict) and i == len(names) - 1:
            return
        if not dataclasses.is_dataclass(value):
            raise InputError(
                f"recipe {'.'.join(names[:i])} is {show(value)}, which has no field {name}; set it as a whole"
            )
        if name not in {f.name for f in dataclasses.fields(value)}:
            raise InputError(unknown_field(type(value), name, "".join(n + "." for n in names[:i])))
        value = getattr(value, name)


def to_plain(value: Any, later: bool = True, before: bool = False) -> Any:
    """Convert `value` to JSON types; a dataclass becomes an object with its class name under "kind".

    Without `later`, leave out the fields marked `later` that hold their default. With `before`, use the names of fields
    and classes from alexnet 0.1.0.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        shown = [f for f in dataclasses.fields(value) if later or not (f.metadata["later"] and _unset(value, f))]
        names = {f.name: (before and f.metadata["before"]) or f.name for f in shown}
        plain = {names[f.name]: to_plain(getattr(value, f.name), later, before) for f in shown}
        return {"kind": kind_before(type(value)) if before else type(value).__name__} | plain
    if isinstance(value, (tuple, list)):
        return [to_plain(v, later, before) for v in value]
    return value


def kind_before(kind: type) -> str:
    """Return the name that a settings class had in alexnet 0.1.0."""
    return str(getattr(kind, "KIND_BEFORE", kind.__name__))


def from_plain(value: Any, hint: Any, place: str) -> Any:
    """Convert `value`, from JSON or Python, to the type of a field; raise InputError with the name of the field."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) or _is_union(hint) else (hint,)
    if any(dataclasses.is_dataclass(o) and type(value) is o for o in options):
        return value
    if value is None and type(None) in options:
        return None
    if isinstance(value, Mapping) and any(dataclasses.is_dataclass(o) for o in options):
        return _record(value, [o for o in options if dataclasses.is_dataclass(o)], place)
    for option in options:
        if dataclasses.is_dataclass(option) or option is type(None):
            continue
        try:
            return _scalar(value, option)
        except TypeError:
            continue
    raise InputError(f"recipe {place or 'file'} is {show(value)}; it must be {_words(options)}")


def parse_setting(text: str) -> Any:
    """Parse JSON strictly: raise ValueError also for a repeated name, and for nesting that is too deep."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"it has the name {twice!r} twice")
    return found


def _unset(value: Any, field: dataclasses.Field[Any]) -> bool:
    factory = field.default_factory
    default = field.default if factory is dataclasses.MISSING else factory()
    return bool(getattr(value, field.name) == default)


def _record(value: Mapping[str, Any], options: list[Any], place: str) -> Any:
    kinds = [o.__name__ for o in options]
    kind = value.get("kind", kinds[0])
    kind = {kind_before(o): o.__name__ for o in options}.get(kind, kind) if isinstance(kind, str) else kind
    if kind not in kinds:
        raise InputError(f"recipe {place}.kind is {show(kind)}; it must be {' or '.join(kinds)}")
    base = options[kinds.index(kind)]()
    today = {f.metadata["before"]: f.name for f in dataclasses.fields(base) if f.metadata["before"]}
    changes = {today.get(n, n): v for n, v in value.items() if n != "kind"}
    if twice := next((n for n in value if today.get(n) in value), None):
        raise InputError(
            f"recipe {place or 'file'} has both {twice} and {today[twice]}, two names of one field; leave one out"
        )
    prefix = f"{place}." if place else ""
    fields = {f.name for f in dataclasses.fields(base)}
    for name in changes:
        if name not in fields:
            raise InputError(unknown_field(type(base), name, prefix))
    hints = typing.get_type_hints(type(base))
    return dataclasses.replace(base, **{n: from_plain(v, hints[n], f"{prefix}{n}") for n, v in changes.items()})


def _scalar(value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if isinstance(value, str) and value in arguments:
            return value
    elif origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_scalar(v, arguments[0]) for v in value)
    elif origin is dict and isinstance(value, Mapping):
        return {str(k): _scalar(v, arguments[1]) for k, v in value.items()}
    elif hint is bool or isinstance(value, bool):
        if hint is bool and isinstance(value, bool):
            return value
    elif hint is float and isinstance(value, (int, float)) and abs(value) <= sys.float_info.max:  # nor NaN
        return float(value)
    elif (hint is str and isinstance(value, str)) or (hint is int and isinstance(value, int) and abs(value) <= MOST):
        return value
    raise TypeError


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) is Union


def _words(options: tuple[Any, ...]) -> str:
    names = {
        int: "a whole number up to 2^53",
        float: "a number",
        bool: "true or false",
        str: "a word",
        type(None): "null",
    }
    words = []
    for option in options:
        arguments = typing.get_args(option)
        if typing.get_origin(option) is Literal:
            words.append(" or ".join(map(str, arguments)))
        elif typing.get_origin(option) is tuple:
            words.append(f"a list, each {names[arguments[0]]}")
        elif typing.get_origin(option) is dict:
            words.append(f"an object, each value {names[arguments[1]]}")
        elif dataclasses.is_dataclass(option):
            words.append(f'{{"kind": "{getattr(option, "__name__", option)}", ...}}')
        else:
            words.append(names[option])
    return " or ".join(words)


def unknown_field(kind: type, name: str, place: str) -> str:
    """Word the error for an unknown field; if 0.1.0 used that name, give the new one."""
    fields = dataclasses.fields(kind)
    if today := next((f.name for f in fields if f.metadata["before"] == name), None):
        return f"recipe field {place}{name} is now {place}{today}: alexnet 0.2.0 renamed it"
    return unknown_name(f"{place}{name}", name, [f.name for f in fields], place)


def unknown_name(full: str, name: str, known: list[str], place: str, what: str = "recipe field") -> str:
    """Word the error for an unknown name, with the nearest known name."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    hint = f"did you mean {place}{near[0]}?" if near else f"choose from {', '.join(known)}"
    return f"no {what} {full}; {hint}"


def show(value: Any) -> str:
    """Format `value` for a message, cut to 80 characters."""
    return shorten(repr(value) if isinstance(value, str) else json.dumps(to_plain(value), default=repr))
