"""The statements of the paper that runs can be held against: He et al. 2015."""

from collections.abc import Sequence
from dataclasses import dataclass

from degradation.report.statistics import Estimate

EARLY = 7_000  # iterations: until about then ResNet-56 trails ResNet-20 in the paper's own curves


@dataclass(frozen=True)
class Claim:
    """A statement about which of two networks has the higher final error, for one or more pairs.

    In each of `chains`, the error of every model minus that of the one before has `sign`. `column`
    is train_error, or test_error, which stands for val_error where runs have a held-out set; its
    words take the place of {error} in `statement`. Models in `optional` are left out where they
    have no run. `figure` is the one that trains the runs.
    """

    number: int
    statement: str
    source: str
    column: str
    chains: tuple[tuple[str, ...], ...]
    sign: int
    figure: str = "figure6"
    optional: tuple[str, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The networks that it is about, in the order of `chains`."""
        return tuple(model for chain in self.chains for model in chain)

    def agrees(self, estimate: Estimate) -> bool:
        """Whether a difference points the paper's way, however sure it is."""
        return estimate.points * self.sign > 0


CLAIMS = (
    Claim(
        number=1,
        statement="plain-56 has a higher {error} than plain-20",
        source="section 1; Figure 1, left",
        column="train_error",
        chains=(("plain20", "plain56"),),
        sign=1,
        figure="figure1",
    ),
    Claim(
        number=2,
        statement="plain-56 has a higher {error} than plain-20",
        source="section 1; Figure 1, right",
        column="test_error",
        chains=(("plain20", "plain56"),),
        sign=1,
        figure="figure1",
    ),
    Claim(
        number=3,
        statement="ResNet-56 has a lower {error} than ResNet-20",
        source="section 4.2; Figure 6, middle",
        column="train_error",
        chains=(("resnet20", "resnet56"),),
        sign=-1,
    ),
    Claim(
        number=4,
        statement="ResNet-56 has a lower {error} than ResNet-20",
        source="section 4.2; Table 6; Figure 6, middle",
        column="test_error",
        chains=(("resnet20", "resnet56"),),
        sign=-1,
    ),
    Claim(
        number=5,
        statement=(
            "at 20, 32 and 56 layers the residual network has a lower {error} than its plain twin"
        ),
        source="section 4.2; Figure 6, left and middle",
        column="test_error",
        chains=(("plain20", "resnet20"), ("plain32", "resnet32"), ("plain56", "resnet56")),
        sign=-1,
    ),
    Claim(
        number=6,
        statement="the {error} of plain networks grows with depth",
        source="section 4.2; Figure 6, left",
        column="test_error",  # the training error of plain-32 is below that of plain-20
        chains=(("plain20", "plain32", "plain44", "plain56"),),
        sign=1,
        optional=("plain44",),
    ),
    Claim(
        number=7,
        statement="the {error} of residual networks falls with depth",
        source="section 4.2; Table 6; Figure 6, middle",
        column="test_error",
        chains=(("resnet20", "resnet32", "resnet44", "resnet56"),),
        sign=-1,
        optional=("resnet44",),
    ),
)


ON_IMAGENET = "on ImageNet, so that the direction alone can be compared"
FIGURE4_CLAIMS = (
    Claim(
        number=9,
        statement="plain-34 has a higher {error} than plain-18",
        source=f"section 4.1; Figure 4, left: {ON_IMAGENET}",
        column="train_error",
        chains=(("plain18", "plain34"),),
        sign=1,
        figure="figure4",
    ),
    Claim(
        number=10,
        statement="ResNet-34 has a lower {error} than ResNet-18",
        source=f"section 4.1; Figure 4, right: {ON_IMAGENET}",
        column="train_error",
        chains=(("resnet18", "resnet34"),),
        sign=-1,
        figure="figure4",
    ),
)


@dataclass(frozen=True)
class Nearness:
    """The statement that final test errors are the paper's, within `points` percentage points."""

    number: int
    statement: str
    source: str
    points: float
    figure: str = "figure6"

    def holds_for(self, difference: float) -> bool:
        """Whether a difference from the paper's error, in percentage points, is small enough."""
        # Errors have two decimals: what binary fractions leave behind must not decide.
        return round(abs(difference), 6) <= self.points

    def decided(self, estimates: Sequence[Estimate]) -> bool | None:
        """True if every interval lies within `points`, False if one does not at all, else None."""
        settled = {self.settled(estimate) for estimate in estimates}
        return False if False in settled else None if None in settled else True

    def settled(self, estimate: Estimate) -> bool | None:
        """Whether the interval lies within `points` (True), wholly outside (False), or neither."""
        if not estimate.sure:
            return None
        if self.holds_for(estimate.low) and self.holds_for(estimate.high):
            return True
        outside = estimate.low > self.points or estimate.high < -self.points
        return False if outside else None


NEARNESS = Nearness(
    number=8,
    statement="final test errors are within 0.5 points of the paper's",
    source="Table 6; Figure 6, left",
    points=0.5,
)
