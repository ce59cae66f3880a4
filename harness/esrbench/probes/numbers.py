"""How many numbers of its code a forward uses, however often it repeats them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable


class Numbers:
    """Counts the numbers in a sequence as the pieces that it cannot copy from what came before.

    Each piece is the shortest one that did not occur before (Lempel and Ziv, 1976). A number that
    was never there ends a piece, so there are at least as many as distinct numbers; loops that
    use the same few again and again add next to nothing. A thousand weights of sixteen levels are
    not sixteen numbers: their order is as good as new.

    Attributes:
        count: pieces so far.
    """

    def __init__(self) -> None:
        self.count = 0
        # A suffix automaton, state by state: where each number leads, the longest piece, and the
        # state of the longest suffix that also occurs elsewhere.
        self._next: list[dict[Any, int]] = [{}]
        self._longest = [0]
        self._link = [-1]
        self._last = 0
        self._state = 0
        self._length = 0

    def add(self, number: Hashable) -> None:
        """Take the next number of the sequence, or whatever stands for one."""
        key = number if number == number else "nan"  # noqa: PLR0124 - NaN equals nothing
        following = self._next[self._state].get(key)
        if following is None:
            self.count += 1
            self._state = self._length = 0
        else:
            self._state = following
            self._length += 1
        self._extend(key)
        while (
            self._link[self._state] >= 0 and self._longest[self._link[self._state]] >= self._length
        ):
            self._state = self._link[self._state]

    def _extend(self, key: Any) -> None:
        new = self._state_of(self._longest[self._last] + 1, {}, 0)
        state = self._last
        while state >= 0 and key not in self._next[state]:
            self._next[state][key] = new
            state = self._link[state]
        if state >= 0:
            following = self._next[state][key]
            if self._longest[following] == self._longest[state] + 1:
                self._link[new] = following
            else:
                length = self._longest[state] + 1
                copied = self._state_of(length, dict(self._next[following]), self._link[following])
                while state >= 0 and self._next[state].get(key) == following:
                    self._next[state][key] = copied
                    state = self._link[state]
                self._link[following] = self._link[new] = copied
        self._last = new

    def _state_of(self, longest: int, following: dict[Any, int], link: int) -> int:
        self._next.append(following)
        self._longest.append(longest)
        self._link.append(link)
        return len(self._next) - 1
