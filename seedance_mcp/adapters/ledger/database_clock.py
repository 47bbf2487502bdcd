"""Database clock: what the time is by the database, found from the times that transactions read."""

from collections.abc import Callable

CLOCK_TOLERANCE_SECONDS = 1
"""A difference of the clocks below this is left alone."""
READ_CLOCK = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION) AS now"


class DatabaseClock:
    """The clock of the database, as far as this process knows it.

    Attributes:
        ahead_seconds: How far it is ahead of the clock of this process, in whole seconds.

    Args:
        read: Returns Unix seconds by the clock of this process.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self.read = read
        self.ahead_seconds = 0

    def now(self) -> float:
        """Return Unix seconds by the database's clock."""
        return self.read() + self.ahead_seconds

    def compare(self, before: float, database: float, after: float) -> None:
        """Note how far the database's clock is ahead.

        Args:
            before: By `read`, at the latest when the database read its own clock.
            database: What that said.
            after: By `read`, once its answer was here; a lock may have been waited for in the meantime.
        """
        least, most = database - after, database - before
        if not least - CLOCK_TOLERANCE_SECONDS <= self.ahead_seconds <= most + CLOCK_TOLERANCE_SECONDS:
            self.ahead_seconds = round(most)
