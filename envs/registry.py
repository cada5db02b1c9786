"""Registries: literal lists of what can be named on a command line, and names of the form `module:Name` beside them."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Unknown(ValueError):
    """A name that stands for nothing, or for something of another kind."""


class Registry(Mapping[str, T], Generic[T]):
    """Entries by their names, in the order of the list.

    `kind` is what an entry is, for messages. `check` says what is wrong with something from outside, or nothing.
    `replaced` are former names with the present ones, and `why` is the reason, for messages.
    Raises ValueError where two entries have one name.

    >>> Registry("letter", {"a": 1, "b": 2})["a"]
    1
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, T] | Iterable[tuple[str, T]],
        check: Callable[[Any], str | None] = lambda thing: None,
        replaced: Mapping[str, str] | None = None,
        why: str = "",
    ) -> None:
        self.kind, self._check, self.why = kind, check, why
        self.replaced = dict(replaced or {})
        self._entries: dict[str, T] = {}
        for name, entry in entries.items() if isinstance(entries, Mapping) else entries:
            if name in self._entries:
                raise ValueError(f"the {kind} {name!r} is registered twice: give one of them another name")
            self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, name: str) -> T:
        """The entry `name`, or what `module:Name` names; raises Unknown, which says what is wrong.

        Importing a module executes it: hand on only names that the user has typed.
        """
        if name in self._entries:
            return self._entries[name]
        if name in self.replaced:
            raise Unknown(self.replacement(name))
        module, colon, attribute = name.partition(":")
        try:
            if not colon:
                raise ImportError("there is none of that name")
            thing = importlib.import_module(module)
            for part in attribute.split("."):
                thing = getattr(thing, part)
        except Exception as error:  # the module is foreign code: it may raise anything
            raise Unknown(f"unknown {self.kind} {name!r} ({_reason(error)}): {self._instead(name)}") from error
        if problem := self._check(thing):
            raise Unknown(f"unknown {self.kind} {name!r} ({problem}): {self._instead(name)}")
        return thing  # type: ignore[return-value]

    def present(self, name: str) -> str:
        """The name that is used today for what was once called `name`; all other names stay as they are."""
        return self.replaced.get(name, name)

    def replacement(self, name: str) -> str:
        """One line that says what has replaced a former name, and why.

        >>> Registry("letter", {"b": 2}, replaced={"a": "b"}, why="it comes later").replacement("a")
        'a is now b: it comes later'
        """
        return f"{name} is now {self.replaced[name]}: {self.why}"

    def require(self, name: str) -> None:
        """Raise Unknown for a name that is neither registered nor of the form `module:Name`; nothing is imported."""
        module, colon, attribute = name.partition(":")
        if name not in self._entries and not (colon and module and attribute):
            raise Unknown(
                f"{self.kind} must be one of {', '.join(self)}, or module:Name, not {name!r}{_meant(name, self)}"
            )

    def _instead(self, name: str) -> str:
        return f"give module:Name, or one of {', '.join(self)}{_meant(name, self)}"


def _meant(name: str, known: Iterable[str]) -> str:
    """A question after a message, where a known name is near.

    >>> _meant("opn", ["open", "off"])
    '; did you mean open?'
    """
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def _reason(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
    return f"{kind}{lines[0]}"


def outside(name: object) -> bool:
    """Whether a name stands for code outside emcomm: `module:Name`."""
    return isinstance(name, str) and ":" in name
