"""NumPy as `np`, imported when it is first asked for something: importing it takes longer than importing all of this package."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["np"]

if TYPE_CHECKING:
    import numpy as np
else:
    class _Later:
        def __getattr__(self, name: str) -> Any:
            import numpy
            return getattr(numpy, name)

    np = _Later()
