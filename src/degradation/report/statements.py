"""The statements of the paper that runs can be held against: He et al. 2015."""

from dataclasses import dataclass

EARLY = 7_000  # iterations
TRAILING = "In the paper's own curves ResNet-56 trails ResNet-20 until about 7,000 iterations."


@dataclass(frozen=True)
class Claim:
    """A statement about which of two networks has the higher final error, for one or more pairs.

    In each of `chains`, the error of every model minus that of the one before has `sign`. `column`
    is train_error, or test_error, which stands for val_error where runs have a held-out set; its
    words take the place of {error} in `statement`. Models in `optional` are left out where they
    have no run. `figure` is the one that trains the runs. `early` is what to bear in mind where
    runs of fewer than `EARLY` iterations point the other way.
    """

    number: int
    statement: str
    source: str
    column: str
    chains: tuple[tuple[str, ...], ...]
    sign: int
    figure: str = "figure6"
    optional: tuple[str, ...] = ()
    early: str = ""


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
        early=TRAILING,
    ),
    Claim(
        number=4,
        statement="ResNet-56 has a lower {error} than ResNet-20",
        source="section 4.2; Table 6; Figure 6, middle",
        column="test_error",
        chains=(("resnet20", "resnet56"),),
        sign=-1,
        early=TRAILING,
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
        early=TRAILING,
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


NEARNESS = Nearness(
    number=8,
    statement="final test errors are within 0.5 points of the paper's",
    source="Table 6; Figure 6, left",
    points=0.5,
)
