"""What a person watching a long start-up sees: each step by name, in Chinese and English, with the time it took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from workers.processes import ServiceError


class Progress:
    """Prints steps to a console; a spinner turns where somebody is watching, plain lines appear where nobody is."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)
        self._started = time.monotonic()

    @contextmanager
    def step(self, chinese: str, english: str) -> Iterator[None]:
        """One step: its name while it runs, then its outcome and seconds.

        An unknown exception becomes a :class:`ServiceError` that names the step; a ServiceError passes as it is.
        """
        title = f"{chinese} · {english}"
        began = time.monotonic()
        try:
            with self.console.status(f"{title} …"):
                yield
        except ServiceError:
            self.console.print(f"[red]✗[/] {title}")
            raise
        except Exception as error:
            self.console.print(f"[red]✗[/] {title}")
            raise ServiceError(
                english, f"{type(error).__name__}: {error}", "bin/waterwatch doctor checks each part one by one."
            ) from error
        took_s = time.monotonic() - began
        self.console.print(f"[green]✓[/] {title} [dim]{took_s:.1f} s[/]")

    def say(self, sentence: str) -> None:
        """A sentence between steps."""
        self.console.print(f"  {sentence}", markup=False)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started


def describe_failure(error: ServiceError) -> str:
    """The three things to know about a failure: which step, why, what to do."""
    return (
        f"\n✗ 失败的步骤 · step that failed: {error.step}\n"
        f"  原因 · why: {error.reason}\n"
        f"  办法 · what to do: {error.remedy}"
    )
