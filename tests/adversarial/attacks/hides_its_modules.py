"""Answer that there are no modules, parameters or buffers."""

from collections.abc import Iterator
from typing import Any

from common import Honest


class Net(Honest):
    def parameters(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())

    def named_parameters(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())

    def children(self) -> Iterator[Any]:
        return iter(())

    def modules(self) -> Iterator[Any]:
        yield self

    def named_modules(self, *_: Any, **__: Any) -> Iterator[Any]:
        yield "", self
