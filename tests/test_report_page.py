"""The report's two pages: what they say, in which words, and that they need nothing else."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from report_samples import FIGURE1, FIGURE6, write_run

from degradation.errors import UserError
from degradation.report import Finding, Page, draw_pictures, find_runs, judge, write_page
from degradation.report.claims import Difference
from degradation.report.comparison import Comparison
from degradation.report.formats import cell, code, count, interval, percent, points
from degradation.report.precision import Agreement
from degradation.report.provenance import STANDING, deviations, duration, facts, run_row
from degradation.report.verdict import headline, outcomes

NETWORKS = ["plain20", "plain32", "plain56", "resnet20", "resnet32", "resnet56"]
MACHINE = {
    "parameters": 269_722,
    "git_commit": "27d4d4d54c746caf6074f3d6e3cdd8b6fc1e532f",
    "git_dirty": False,
    "packages": {"python": "3.11.7", "tensorflow": "2.21.0", "hydra-core": "1.3.8"},
    "cpu": "AMD EPYC",
    "cores": 2,
    "threads": 2,
    "memory_gib": 23.5,
    "gpu": None,
    "started": "2026-01-31T12:00:00Z",
    "wall_seconds": 2604.2,
    "images_per_second": 223.2,
    "resumes": [],
}
COMMANDS = [("Figure 1", "python -m experiments.reproduce figure=figure1 schedule=short")]
VOID = {"meta", "img", "link", "br", "hr"}


class Document(HTMLParser):
    """What a browser would see: elements with their attributes, text, and unbalanced tags."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.text, self.open, self.unbalanced = [], "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data


def make_page(folder: Path, networks, seeds=(0,), figures=(), comparisons=(), **options) -> Page:
    for model in networks:
        for seed in seeds:
            write_run(folder / "runs", model, seed, **{**MACHINE, **options})
    runs = find_runs(folder / "runs")
    pictures = draw_pictures(figures, runs, folder / "page", "") if figures else []
    return Page(runs, judge(runs), pictures, list(comparisons), COMMANDS)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Give the page of a whole Figure 6 on `short`, and its folder, where it is written."""
    folder = tmp_path_factory.mktemp("report")
    comparison = Comparison(
        *("plain-20", "short", "test error", 19.0, "0, 1", 18.5, "0", 0.5, "inside the range")
    )
    page = make_page(folder, NETWORKS, (0, 1), [FIGURE1, FIGURE6], [comparison])
    assert [path.name for path in write_page(page, folder / "page", "report")] == [
        "report.html",
        "report.md",
    ]
    return page, folder / "page"


def read(folder: Path) -> tuple[Document, str]:
    return Document((folder / "report.html").read_text()), (folder / "report.md").read_text()


def test_the_page_needs_nothing_but_itself(written):
    _, folder = written
    document, _ = read(folder)
    assert not document.unbalanced and document.open == []
    tags = [tag for tag, _ in document.elements]
    assert not {"script", "link", "iframe", "object"} & set(tags)
    for _, attributes in document.elements:
        assert attributes.get("src", "data:image/svg+xml;base64,").startswith("data:image/svg+xml")
        assert attributes.get("href", "#").startswith("#")
        assert not [name for name in attributes if name.startswith("on")]
    style = (folder / "report.html").read_text().split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_links_inside_the_page_lead_somewhere(written):
    document, _ = read(written[1])
    names = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(set(names)) == len(names)
    for _, attributes in document.elements:
        assert attributes.get("href", f"#{names[0]}")[1:] in names
        assert attributes.get("aria-labelledby", names[0]) in names


def test_who_cannot_see_the_figures_reads_what_they_show(written):
    document, markdown = read(written[1])
    images = [attributes["alt"] for tag, attributes in document.elements if tag == "img"]
    assert len(images) == 3
    for alt in images:
        assert "final test error of plain-20 at 1" in alt and "plain-56 at 5" in alt
        assert alt in markdown
    assert document.text.count("Thin dashed lines: training error") == 2


def test_the_verdict_comes_first_and_the_rest_in_order(written):
    document, markdown = read(written[1])
    parts = [
        *("schedule short", "claims tested", "not the paper's schedule", "Figures"),
        *("Final errors", "Claims", "Beside the recorded runs", "How the runs were made"),
        *("Deviations from the protocol", "How to reproduce", "curves.csv"),
    ]
    for text in (document.text, markdown):
        places = [text.index(part) for part in parts]
        assert places == sorted(places)
    assert [tag for tag, _ in document.elements if tag in ("h1", "h2")][:2] == ["h1", "h2"]


def test_both_pages_have_every_claim_with_its_effects(written):
    page, folder = written
    document, markdown = read(folder)
    for text in (document.text, markdown):
        for finding in page.findings:
            assert text.count(finding.statement) >= 2  # beside the verdict, and in full
            assert finding.source in text and finding.verdict in text
            for difference in finding.differences:
                assert difference.label in text and points(difference.points) in text


def test_both_pages_have_errors_runs_and_commands(written):
    page, folder = written
    document, markdown = read(folder)
    for text in (document.text, markdown):
        for run in page.runs:
            assert run.network in text
        last = sum(r.rows["train_error"].iloc[-1] for r in page.runs if r.model == "plain56") / 2
        assert f"{last:.2f}" in text and "best evaluation, chosen on the test set" in text
        assert text.count("27d4d4d54c") == len(page.runs) + 1
        assert MACHINE["git_commit"] in text and "2026-01-31" in text and "43 min" in text
        assert "AMD EPYC, 2 cores, 2 threads, 23.5 GiB of memory" in text
        assert "Python 3.11.7, TensorFlow 2.21.0, Hydra 1.3.8" in text
        assert COMMANDS[0][1] in text and "+0.50" in text and "inside the range" in text
        assert "paper, test" not in text  # the schedule is not the paper's


def test_markdown_has_whole_tables_and_figures_that_are_there(written):
    _, folder = written
    _, markdown = read(folder)
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        rows = table.splitlines()
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1
        assert len(rows) > 2 and set(rows[1]) <= set("|-:")
    links = re.findall(r"\]\(([^)]+)\)", markdown)
    assert links == ["depth.png", "figure1.png", "figure6.png", "curves.csv", "summary.csv"]
    assert all((folder / link).is_file() for link in links[:3])
    assert "\n\n\n" not in markdown and markdown.endswith(".\n")


def test_the_same_runs_give_the_same_bytes(written, tmp_path):
    page, folder = written
    before = [(folder / name).read_bytes() for name in ("report.html", "report.md")]
    assert [path.read_bytes() for path in write_page(page, tmp_path, "report")] == before


def test_names_with_overrides_reach_the_links(written, tmp_path):
    page, _ = written
    html, markdown = write_page(page, tmp_path, "report,data=synthetic")
    assert html.name == "report,data=synthetic.html"
    assert "curves,data=synthetic.csv" in html.read_text()
    assert "(summary%2Cdata%3Dsynthetic.csv)" in markdown.read_text()


def test_what_a_run_says_of_itself_is_text_not_markup(tmp_path):
    data = {"name": "cifar10", "label": "<script>alert(1)</script> | a", "canonical": True}
    page = make_page(tmp_path, ["plain20", "plain56"], dataset=data, cpu="<b>fast</b>")
    write_page(page, tmp_path / "page", "report")
    document, _ = read(tmp_path / "page")
    assert "script" not in [tag for tag, _ in document.elements]
    assert "b" not in [tag for tag, _ in document.elements]
    assert "<b>fast</b>" in document.text and data["label"] in document.text


def test_a_page_that_cannot_be_written_is_a_fault_with_its_place(written, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the folder") as caught:
        write_page(written[0], tmp_path / "file", "report")
    assert caught.value.exit_code == 1


def test_on_the_papers_schedule_its_numbers_stand_beside_ours(tmp_path):
    page = make_page(tmp_path, ["plain20", "plain56"], schedule="paper")
    write_page(page, tmp_path / "page", "report")
    for text in (read(tmp_path / "page")[0].text, read(tmp_path / "page")[1]):
        assert "paper, test" in text and "13.26" in text and "Figure 6 (digitised)" in text
        assert "not the paper's schedule" not in text and "same direction" not in text
        assert "Beside the recorded runs" not in text


def test_networks_without_a_claim_have_no_section_of_claims(tmp_path):
    write_page(make_page(tmp_path, ["vgg16"]), tmp_path / "page", "report")
    document, markdown = read(tmp_path / "page")
    assert not document.unbalanced and "\n\n\n" not in markdown
    for text in (document.text, markdown):
        assert "The paper makes no claim about these networks." in text
        assert "Claims" not in text and "95 %" not in text


def test_figure_4_has_its_own_verdict(tmp_path):
    page = make_page(tmp_path, ["plain18", "plain34", "resnet18", "resnet34"], (0, 1))
    write_page(page, tmp_path / "page", "report")
    for text in (read(tmp_path / "page")[0].text, read(tmp_path / "page")[1]):
        assert "claims tested" in text and "plain-34 has a higher training error" in text
        assert "no runs" not in text and "plain-56" not in text


def test_precisions_are_set_side_by_side_where_both_were_run(written, tmp_path):
    page, folder = written
    assert "float32 against bfloat16" not in read(folder)[0].text
    known = Agreement("plain-20", "short", "0, 1", 19.5, 19.6, 0.1, -0.3, 0.5, "agree")
    single = Agreement("plain-56", "short", "0", 55.0, 54.0, -1.0, None, None, "undecided")
    both = dataclasses.replace(page, agreements=[known, single], pictures=[])
    write_page(both, tmp_path, "report")
    document, markdown = read(tmp_path)
    assert not document.unbalanced and "\n\n\n" not in markdown
    assert "under 0.5 points" in document.text
    for row in (
        "| plain-20 | short | 0, 1 | 19.50 | 19.60 | +0.10 | −0.30 to +0.50 | agree |",
        "| plain-56 | short | 0 | 55.00 | 54.00 | −1.00 | none | undecided |",
    ):
        assert row in markdown
        assert "".join(row.strip("| ").split(" | ")) in document.text


def test_held_out_images_are_called_validation(tmp_path):
    page = make_page(tmp_path, ["plain20", "plain56"], holdout=5000)
    write_page(page, tmp_path / "page", "report")
    text = read(tmp_path / "page")[0].text
    assert "best evaluation, chosen on the validation set" in text
    assert "(training / validation error)" in text and "holdout=5000" in text


# The verdict in a sentence


def found(*verdicts: str) -> list[Finding]:
    return [Finding(n, f"claim {n}", "", (), word, "") for n, word in enumerate(verdicts, 1)]


@pytest.mark.parametrize(
    ("verdicts", "sentence"),
    [
        (["runs missing"], "None of the paper's claims can be tested with these runs yet."),
        (["not asked"], "None of the paper's claims can be tested with these runs yet."),
        ([], "The paper makes no claim about these networks."),
        (["reproduced"] * 8, "All 8 claims tested are reproduced."),
        (["reproduced", "not asked"], "The one claim tested is reproduced."),
        (["not reproduced"], "The one claim tested is not reproduced."),
        (
            ["reproduced", "not reproduced", "undecided"],
            "Of 3 claims tested, 1 is reproduced, 1 not reproduced, 1 undecided.",
        ),
        (
            ["same direction", "same direction", "opposite direction", "runs missing"],
            "Of 3 claims tested, 2 are in the same direction as in the paper, 1 in the opposite "
            "direction; 1 more lacks runs.",
        ),
        (["undecided"] * 2 + ["runs missing"] * 2, "Both claims tested are undecided; 2 more lack"),
    ],
)
def test_the_headline_counts_what_was_tested(verdicts, sentence):
    assert headline(found(*verdicts)).startswith(sentence)


def test_the_headline_of_single_seeds_says_which_way_they_point():
    def single(*ways: bool | None, verdict: str = "undecided") -> Finding:
        return Finding(
            1, "", "", tuple(Difference("", 1.0, None, None, "", way) for way in ways), verdict, ""
        )

    start = "The one claim tested is undecided. One seed gives no interval;"
    assert headline([single(True)]) == f"{start} the difference points the paper's way."
    assert headline([single(False)]) == f"{start} the difference does not point the paper's way."
    assert headline([single(None)]) == "The one claim tested is undecided."  # claim 8
    told = headline([single(True), single(True, False), single(True, verdict="runs missing")])
    assert told == (
        "Both claims tested are undecided; 1 more lacks runs. One seed gives no interval; 2 of 3 "
        "differences, some between the same runs, point the paper's way."
    )
    sure = Finding(2, "", "", (Difference("", 1.0, -1.0, 3.0, "", True),), "undecided", "")
    assert "One seed" not in headline([single(True), sure])


def test_outcomes_set_the_deepest_against_the_shallowest(written):
    plain, residual = outcomes(written[0].runs)
    assert re.fullmatch(
        r"Without shortcuts, plain-56 ends at 5\d\.\d\d / 5\d\.\d\d % \(training / test error\) "
        r"and plain-20 at 2\d\.\d\d / 1\d\.\d\d %: higher for the deeper network\.",
        plain,
    )
    assert residual.startswith("With shortcuts, ResNet-56") and "lower for the deeper" in residual


def test_one_depth_has_no_outcome(tmp_path):
    write_run(tmp_path)
    assert outcomes(find_runs(tmp_path)) == []


# How the runs were made


def test_what_runs_do_not_share_names_its_runs(tmp_path):
    write_run(tmp_path, "plain20", 0, **MACHINE)
    write_run(tmp_path, "plain20", 1, **MACHINE)
    write_run(tmp_path, "plain56", 0, **MACHINE | {"gpu": "A100", "precision": "float32"})
    told = {(fact.what, fact.runs): fact.value for fact in facts(find_runs(tmp_path))}
    assert told[("Data", "")].startswith("CIFAR-10, 97 of 60,000")
    assert told[("Precision", "plain-20")] == "bfloat16"
    assert told[("Precision", "plain-56")] == "float32"
    assert told[("Machine", "plain-56")].startswith("A100, AMD EPYC, 2 cores")


def test_another_warm_up_of_110_layers_is_a_setting_and_told(tmp_path):
    settings = {"optimizer.warmup": {"min_depth": 110, "rate": 0.05, "until_error": 80}}
    write_run(tmp_path, "resnet110", schedule="paper", settings=settings)
    (run,) = find_runs(tmp_path)
    assert run.departures == ["warmup.rate=0.05"] and not run.faithful
    told = {deviation.what: deviation.here for deviation in deviations([run])}
    assert told["settings"] == "warmup.rate=0.05"
    assert told["first updates at 110 layers"].startswith("rate 0.05 until error < 80 %, the error")


def test_the_papers_warm_up_is_its_own(tmp_path):
    write_run(tmp_path, "resnet110", schedule="paper")
    (run,) = find_runs(tmp_path)
    assert run.faithful
    told = {deviation.what: deviation.here for deviation in deviations([run])}
    assert told["first updates at 110 layers"].startswith("the same, the error measured over")


def test_a_run_row_names_all_code_that_trained_it_and_what_is_not_known(tmp_path):
    first = {"trained_by": {"git_commit": "c0ffee" + "0" * 34, "git_dirty": False}}
    same = {"trained_by": {key: MACHINE[key] for key in ("git_commit", "git_dirty")}}
    dirty = MACHINE | {"git_dirty": True, "resumes": [first, {}], "wall_seconds": 6840.0}
    write_run(tmp_path, "plain20", 0, **dirty)
    write_run(tmp_path, "plain20", 1)
    write_run(tmp_path, "plain20", 2, **MACHINE | {"resumes": [same, same]})
    known, unknown, continued = map(run_row, find_runs(tmp_path))
    assert known["commit"] == "c0ffee0000, 27d4d4d54c with changes"
    assert continued["commit"] == "27d4d4d54c"
    assert (known["time"], known["resumed"], known["speed"]) == ("1 h 54 min", "2", "223")
    assert {unknown[key] for key in ("commit", "started", "time", "speed")} == {"not recorded"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (3599, "1 h 0 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_deviations_are_the_runs_own_and_then_those_of_every_run(tmp_path):
    canonical = {"name": "cifar10", "label": "CIFAR-10", "canonical": True}
    write_run(tmp_path, schedule="paper", precision="float32", dataset=canonical)
    faithful = find_runs(tmp_path)
    assert deviations(faithful) == list(STANDING)
    settings = {"optimizer.rate": 0.05, "optimizer.ghost_batch": None, "optimizer.decay": "all"}
    write_run(tmp_path, "plain56", schedule="paper", settings=settings)
    own = deviations(find_runs(tmp_path))[: -len(STANDING)]
    assert [(d.what, d.here.split(" (plain-56")[0]) for d in own] == [
        ("settings", "decay=all, ghost_batch=null, rate=0.05"),
        ("data", "CIFAR-10, 97 of 60,000 images from JPEG (not the canonical archive)"),
        ("precision", "bfloat16; weights, statistics, logits and loss in float32"),
        ("batch normalised together", "128 images: moments are taken of these"),
    ]
    assert all(deviation.here.endswith("(plain-56)") for deviation in own)


# How numbers and words are written


def test_numbers_and_words():
    assert (percent(6.973), percent(float("nan")), percent(None)) == ("6.97", "–", "–")
    assert (count(1_727_962), count(None), count(pd.NA)) == ("1,727,962", "–", "–")
    assert (points(0.516), points(-1.1), points(-0.001)) == ("+0.52", "−1.10", "+0.00")
    assert interval(Difference("", 1.0, -0.5, 2.5, "")) == "−0.50 to +2.50"
    assert interval(Difference("", 1.0, None, None, "")) == "none"
    assert code("run `a<b` & c") == "run <code>a&lt;b</code> &amp; c"
    assert cell("a | b\n<c>") == "a \\| b &lt;c>"
