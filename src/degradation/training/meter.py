"""What a run counts and times, and the rows that come of it."""

import time
from dataclasses import asdict, dataclass, field


@dataclass
class Meter:
    """Sums since the last row, times since the start; `state` carries it over a resume.

    Seconds are by a monotonic clock and add up over all starts of the run. Speeds are training
    images over the seconds of their updates: without evaluations, checkpoints and, since it traces
    the graph, the first update of each start.
    """

    iteration: int = 0  # finished updates
    rows: list[dict[str, float]] = field(default_factory=list)
    loss_sum: float = 0.0  # over the images since the last row
    wrong: int = 0
    images: int = 0
    row_seconds: float = 0.0
    row_timed: int = 0  # images that took row_seconds
    train_seconds: float = 0.0
    train_timed: int = 0  # images that took train_seconds
    wall_before: float = 0.0  # seconds until the checkpoint that this start continues from

    def __post_init__(self):
        self._opened = time.monotonic()

    def count(self, loss: float, wrong: int, images: int, seconds: float | None) -> None:
        """Count one update: its mean loss, wrong answers, images and, if it counts, its time."""
        self.iteration += 1
        self.loss_sum += loss * images
        self.wrong += wrong
        self.images += images
        if seconds is not None:
            self.row_seconds += seconds
            self.row_timed += images
            self.train_seconds += seconds
            self.train_timed += images

    def close_row(self, epoch: float, rate: float, **evaluation: float) -> dict[str, float]:
        """Append the row of an evaluation, in the columns of `metrics.csv`, and start the next."""
        row = {
            "iteration": self.iteration,
            "epoch": epoch,
            "learning_rate": rate,
            "train_loss": self.loss_sum / self.images,
            "train_error": self.train_error,
            **evaluation,
            "images_per_second": _ratio(self.row_timed, self.row_seconds),
            "wall_seconds": self.wall_seconds,
        }
        self.rows.append(row)
        self.loss_sum, self.wrong, self.images = 0.0, 0, 0
        self.row_seconds, self.row_timed = 0.0, 0
        return row

    @property
    def train_error(self) -> float:
        """Training error since the last row, in percent."""
        return 100.0 * _ratio(self.wrong, self.images)

    @property
    def images_per_second(self) -> float:
        """Training speed since the start of the run; 0 before it is known."""
        return _ratio(self.train_timed, self.train_seconds)

    @property
    def wall_seconds(self) -> float:
        """Seconds that the run has taken, everything included, summed over its starts."""
        return self.wall_before + time.monotonic() - self._opened

    def state(self) -> dict:
        """What a checkpoint keeps: `Meter(**state)` goes on from there."""
        return {**asdict(self), "wall_before": self.wall_seconds}


def _ratio(count: float, of: float) -> float:
    return count / of if of else 0.0
