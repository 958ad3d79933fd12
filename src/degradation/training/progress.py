"""What a user sees of a run: a progress bar, or a line an evaluation where there is no terminal."""

import sys
import time

from tqdm import tqdm

from degradation.output import say
from degradation.training.meter import Meter

FORMAT = "{n_fmt}/{total_fmt} |{bar}| {desc}"
ESTIMATED_AFTER = 2  # updates after the first, which traces the graph: what is left is then known


class Progress:
    """A run's progress on standard output, read off its meter."""

    def __init__(self, meter: Meter, total: int, measured: str):
        """Begin where `meter` stands, of `total` iterations; `measured` is `test` or `val`."""
        self._meter, self._measured = meter, measured
        self._first: tuple[float, int] | None = None  # when, and how far, after the first update
        self._bar = tqdm(
            initial=meter.iteration,
            total=total,
            file=sys.stdout,
            bar_format=FORMAT,
            miniters=1,
            dynamic_ncols=True,
            disable=not sys.stdout.isatty(),
        )

    def update(self, rate: float) -> None:
        """Show one more update, made at `rate`."""
        meter = self._meter
        self._first = self._first or (time.monotonic(), meter.iteration)
        if meter.iteration == self._first[1] + ESTIMATED_AFTER:
            say(f"{'time':<10}about {self._left()} at {meter.images_per_second:,.0f} images/s")
        self._describe(rate, meter.train_error, meter.images_per_second)
        self._bar.update()

    def leave_out(self, seconds: float) -> None:
        """Leave so many seconds out of the pace: of a probe, which most updates are without."""
        if self._first:
            began, iteration = self._first
            self._first = began + seconds, iteration

    def evaluated(self, row: dict[str, float]) -> None:
        """Show an evaluation: in the bar, or where there is none in a line of its own."""
        rate, error, speed = (
            row[key] for key in ("learning_rate", "train_error", "images_per_second")
        )
        self._describe(rate, error, speed)
        self._bar.refresh()
        if self._bar.disable:
            say(
                f"{row['iteration']:>6,}/{self._bar.total:,}  rate {rate:g}, train error "
                f"{error:.2f} %, {self._measured} error {self._unseen()}, {speed:,.0f} images/s, "
                f"{self._left()} left"
            )

    def close(self) -> None:
        """Leave the bar as it stands and go to the next line."""
        self._bar.close()

    def _describe(self, rate: float, error: float, speed: float) -> None:
        # Short, and what matters most first: a terminal of 80 columns has room for all of it.
        self._bar.set_description_str(
            f"{self._left()} left, lr {rate:g}, train {error:.1f} %, "
            f"{self._measured} {self._unseen()}, {speed:,.0f} images/s",
            refresh=False,
        )

    def _left(self) -> str:
        """Time left at the pace of this start so far, evaluations and checkpoints included."""
        began, first = self._first
        done = self._meter.iteration - first
        if not done:
            return "?"
        seconds = (time.monotonic() - began) / done
        return tqdm.format_interval(seconds * (self._bar.total - self._meter.iteration))

    def _unseen(self) -> str:
        rows = self._meter.rows
        return f"{rows[-1][f'{self._measured}_error']:.2f} %" if rows else "– %"
