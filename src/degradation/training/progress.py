"""What a user sees of a run: a progress bar, or a line an evaluation where there is no terminal."""

import sys

from tqdm import tqdm

from degradation.training.meter import Meter

FORMAT = "{n_fmt}/{total_fmt} |{bar}| {postfix}, {remaining} left"
FIRST_ESTIMATE = 10  # updates of this start after which a user is told how long the run will take


class Progress:
    """A run's progress on standard output, read off its meter."""

    def __init__(self, meter: Meter, total: int, batch: int, measured: str):
        """Begin where `meter` stands, of `total` iterations; `measured` is `test` or `val`."""
        self._meter, self._total, self._batch = meter, total, batch
        self._measured = measured
        self._estimate_at = meter.iteration + FIRST_ESTIMATE
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
            left, speed = self._seconds_left(), meter.images_per_second
            tqdm.write(f"{'time':<10}about {tqdm.format_interval(left)} at {speed:,.0f} images/s")
        if not self._bar.disable:
            text = self._text(rate, meter.train_error, meter.images_per_second)
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()

    def evaluated(self, row: dict[str, float]) -> None:
        """Show an evaluation: the bar takes it up by itself, elsewhere it is a line of its own."""
        if self._bar.disable:
            text = self._text(row["learning_rate"], row["train_error"], row["images_per_second"])
            left = tqdm.format_interval(self._seconds_left())
            print(f"{row['iteration']:>6,}/{self._total:,}  {text}, {left} left", flush=True)

    def close(self) -> None:
        """Leave the bar as it stands and go to the next line."""
        self._bar.close()

    def _seconds_left(self) -> float:
        images = (self._total - self._meter.iteration) * self._batch
        speed = self._meter.images_per_second
        return images / speed if speed else 0.0

    def _text(self, rate: float, error: float, speed: float) -> str:
        rows, unseen = self._meter.rows, f"{self._measured}_error"
        last = f"{rows[-1][unseen]:.2f} %" if rows else "–"
        return (
            f"rate {rate:g}, train error {error:.2f} %, {self._measured} error {last}, "
            f"{speed:,.0f} images/s"
        )
