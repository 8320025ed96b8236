"""How fast a stage gets on, and how long it will take, from its progress events."""

from collections import deque

from pipeline.events import Event

_RECENT_S = 60.0
"""What lies further back, such as the compiling of networks, says nothing of what is to come."""


class Pace:
    """The recent progress of one stage in one unit."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._recent: deque[tuple[float, int]] = deque()
        self._total = 0
        self.unit = ""

    def add(self, event: Event) -> None:
        """Take a progress event; another unit, or less than was done, begins anew."""
        done, unit = event.fields["done"], event.fields["unit"]
        if unit != self.unit or (self._recent and done < self._recent[-1][1]):
            self._recent.clear()
        self.unit, self._total = unit, event.fields["total"]
        self._recent.append((event.time_s, done))
        while len(self._recent) > 2 and event.time_s - self._recent[1][0] > _RECENT_S:  # noqa: PLR2004
            self._recent.popleft()

    def per_s(self, now_s: float) -> float | None:
        """Return how many units a second are done, None where that is not known yet."""
        if not self._recent:
            return None
        (first_s, first_done), (_, done) = self._recent[0], self._recent[-1]
        spent_s, gained = now_s - first_s, done - first_done
        return gained / spent_s if gained > 0 and spent_s > 0 else None

    def left_s(self, now_s: float) -> float | None:
        """Return the seconds that the rest will take, None where that is not known yet."""
        rate = self.per_s(now_s)
        return (self._total - self._recent[-1][1]) / rate if rate else None
