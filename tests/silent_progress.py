"""A progress bar for tests."""

from __future__ import annotations


class Silent:
    """A progress bar that shows nothing; Ctrl-C comes at its n-th update."""

    def __init__(self, interrupt_at: int = 0) -> None:
        self._interrupt_at, self.updates = interrupt_at, 0

    def update(self, n: int = 1) -> None:
        self.updates += n
        if self.updates == self._interrupt_at:
            raise KeyboardInterrupt

    def set_postfix_str(self, s: str, refresh: bool) -> None:
        pass
