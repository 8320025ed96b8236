"""How far a build is, from the phases that TensorRT reports, which begin and end within others."""


class Fraction:
    """The share of a build that is done; never falls."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._steps: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._parents: dict[str, str | None] = {}
        self._percent = 0

    def start(self, phase: str, parent: str | None, steps: int) -> None:
        """Note that a phase of so many steps began, within another or by itself."""
        self._steps[phase] = max(1, steps)
        self._done[phase] = 0
        self._parents[phase] = parent

    def step(self, phase: str, number: int) -> None:
        """Note that a step, counted from 0, is done."""
        if phase in self._done:
            self._done[phase] = max(self._done[phase], number + 1)

    def finish(self, phase: str) -> None:
        """Note that a phase ended; its parent tells of it by a step of its own."""
        for table in (self._steps, self._done):
            table.pop(phase, None)
        self._parents.pop(phase, None)

    def percent(self) -> int:
        """Return whole percents; phases beside one another share their parent's step."""
        outer = [name for name, parent in self._parents.items() if parent is None]
        now = max((self._share(name) for name in outer), default=0.0)
        self._percent = max(self._percent, min(99, int(100 * now)))
        return self._percent

    def _share(self, phase: str) -> float:
        inner = [self._share(name) for name, up in self._parents.items() if up == phase]
        steps, done = self._steps[phase], self._done[phase]
        return min(1.0, (done + min(1.0, max(inner, default=0.0))) / steps)
