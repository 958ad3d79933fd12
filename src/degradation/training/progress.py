"""What a user sees of a run: a progress bar, or a line an evaluation where there is no terminal."""

import os
import sys
import time

from tqdm import tqdm

from degradation.training.meter import Meter

FORMAT = "{n_fmt}/{total_fmt} |{bar}| {desc}"  # tqdm's own times are by the clock on the wall
REDRAW = 0.1  # seconds
FIRST_ESTIMATE = 10  # updates of this start after which a user is told how long the run will take


class Progress:
    """A run's progress on standard output, read off its meter."""

    def __init__(self, meter: Meter, total: int, batch: int, measured: str):
        """Begin where `meter` stands, of `total` iterations; `measured` is `test` or `val`."""
        self._meter, self._total, self._batch = meter, total, batch
        self._measured = measured
        self._estimate_at = meter.iteration + FIRST_ESTIMATE
        self._drawn = -REDRAW
        self._bar = tqdm(
            initial=meter.iteration,
            total=total,
            file=sys.stdout,
            bar_format=FORMAT,
            dynamic_ncols=True,
            disable=not sys.stdout.isatty(),
        )

    def update(self, rate: float) -> None:
        """Show one more update, made at `rate`."""
        meter = self._meter
        if meter.iteration == self._estimate_at:
            _print(f"{'time':<10}about {self._left()} at {meter.images_per_second:,.0f} images/s")
        if not self._bar.disable and time.monotonic() - self._drawn >= REDRAW:
            self._draw(self._text(rate, meter.train_error, meter.images_per_second))

    def evaluated(self, row: dict[str, float]) -> None:
        """Show an evaluation: in the bar, or where there is none in a line of its own."""
        text = self._text(row["learning_rate"], row["train_error"], row["images_per_second"])
        if not self._bar.disable:
            self._draw(text)
        else:
            _print(f"{row['iteration']:>6,}/{self._total:,}  {text}")

    def close(self) -> None:
        """Leave the bar as it stands and go to the next line."""
        self._bar.n = self._meter.iteration
        self._bar.close()

    def _draw(self, text: str) -> None:
        self._drawn = time.monotonic()
        self._bar.n = self._meter.iteration
        self._bar.set_description_str(text)

    def _left(self) -> str:
        images = (self._total - self._meter.iteration) * self._batch
        speed = self._meter.images_per_second
        return tqdm.format_interval(images / speed) if speed else "?"

    def _text(self, rate: float, error: float, speed: float) -> str:
        rows, unseen = self._meter.rows, f"{self._measured}_error"
        last = f"{rows[-1][unseen]:.2f} %" if rows else "–"
        return (
            f"rate {rate:g}, train error {error:.2f} %, {self._measured} error {last}, "
            f"{speed:,.0f} images/s, {self._left()} left"
        )


def _print(line: str) -> None:
    try:
        tqdm.write(line)
        sys.stdout.flush()
    except OSError:  # nobody reads any more, which is no reason to end a run
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
