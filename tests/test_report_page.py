"""The report: what its Markdown says, and that the page made of it needs nothing else."""

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from report_samples import FIGURE1, FIGURE6, assert_whole_tables, write_run, write_runs

from degradation.data.pipeline import AVERAGED
from degradation.models.layers import BatchNormalization
from degradation.records.run_folder import RunFolder
from degradation.report import find_runs, judge
from degradation.report.comparison import Comparison
from degradation.report.figures import draw_pictures
from degradation.report.page import Page, write_page
from degradation.report.provenance import caveats, facts, machines, run_row

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
COMMANDS = ["python -m experiments.run -m model=plain20,plain56 schedule=short seed=0,1"]
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
    runs = write_runs(folder / "runs", networks, seeds, **MACHINE | options)
    (folder / "page").mkdir()
    pictures = draw_pictures(figures, runs, folder / "page") if figures else []
    return Page(runs, judge(runs), pictures, list(comparisons), COMMANDS)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Give the page of a whole Figure 6 on `short`, its folder, and what `read` reads there."""
    folder = tmp_path_factory.mktemp("report")
    comparison = Comparison("plain-20", pd.Series([18.5, 19.5]), pd.Series([18.5]), "", [0])
    page = make_page(folder, NETWORKS, (0, 1), [FIGURE1, FIGURE6], [comparison])
    names = [path.name for path in write_page(page, folder / "page")]
    assert names == ["report.html", "report.md", "model_card.md"]
    return page, folder / "page", *read(folder / "page")


def read(folder: Path) -> tuple[Document, str]:
    return Document((folder / "report.html").read_text()), (folder / "report.md").read_text()


def test_the_card_tells_networks_errors_per_class_and_limits(tmp_path):
    """Of networks whose runs have such errors, means over the seeds; with what model hubs read."""
    classes = [{"class": "cat", "images": 5, "error": 20.0}, {"class": "dog", "images": 5}]
    for seed, error in ((0, 40.0), (1, 60.0)):
        folder = write_run(tmp_path / "runs", "plain20", seed, **MACHINE)
        RunFolder(folder).write_table("classes", [classes[0], classes[1] | {"error": error}])
    page = make_page(tmp_path, ["resnet20"])
    html, report, card = (
        path.read_text() for path in write_page(page, tmp_path / "page", ",rate=0.05")
    )
    assert "curves,rate=0.05.csv" in html and "(summary%2Crate%3D0.05.csv)" in report
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "mit"
    assert yaml.safe_load(head)["datasets"] == ["cifar10"]
    assert_whole_tables(text)
    assert "| plain-20 | 269,722 | 0, 1 |" in text and "| ResNet-20 | 269,722 | 0 |" in text
    assert "| class | plain-20, % |\n" in text
    assert "| cat | 20.00 |\n| dog | 50.00 |\n" in text
    assert "(report%2Crate%3D0.05.md)" in text
    assert "near-duplicates" in text and "Code and weights: MIT" in text


def test_the_page_needs_nothing_but_itself(written):
    _, folder, document, _ = written
    assert not document.unbalanced and document.open == []
    tags = [tag for tag, _ in document.elements]
    assert not {"script", "link", "iframe", "object"} & set(tags)
    for _, attributes in document.elements:
        assert attributes.get("src", "data:image/svg+xml;base64,").startswith("data:image/svg+xml")
        assert not [name for name in attributes if name.startswith("on")]
    style = (folder / "report.html").read_text().split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_figures_are_named_and_described(written):
    _, _, document, markdown = written
    images = [attributes["alt"] for tag, attributes in document.elements if tag == "img"]
    assert len(images) == 3
    for alt in images:
        assert "plain-20" in alt and alt in markdown
    assert document.text.count("Thin dashed lines: training error") == 2


def test_the_verdict_comes_first_and_the_rest_in_order(written):
    parts = [
        *("schedule short", "The paper's claims", "The paper's schedule has", "has a higher"),
        *("Figures", "Final errors", "Beside the recorded runs", "How the runs were made"),
        *("weight decay", "How to reproduce", "curves.csv"),
    ]
    _, _, document, markdown = written
    for text in (document.text, markdown):
        places = [text.index(part) for part in parts]
        assert places == sorted(places)


def test_every_verdict_is_a_badge(written):
    page, _, document, _ = written
    badges = [a.get("class") for _, a in document.elements if "verdict" in a.get("class", "")]
    tones = {"same direction": "verdict good", "opposite direction": "verdict bad"}
    assert badges == [tones.get(finding.verdict, "verdict open") for finding in page.findings]


def test_errors_runs_and_commands_are_there(written):
    page, _, document, markdown = written
    for text in (document.text, markdown):
        for run in page.runs:
            assert run.network in text
        last = [r.final("train_error") for r in page.runs if r.model == "plain56"]
        assert f"{np.mean(last):.2f} ± {np.std(last, ddof=1):.2f}" in text
        assert text.count("27d4d4d54c") == len(page.runs) + 1
        assert MACHINE["git_commit"] in text and "2026-01-31" in text and "0:43:24" in text
        assert "AMD EPYC, 2 cores, 2 threads, 23.5 GiB of memory" in text
        assert "python 3.11.7, tensorflow 2.21.0, hydra-core 1.3.8" in text
        assert "Table 6; Figure 6, middle" in text  # where a claim stands in the paper
        assert COMMANDS[0] in text and "19.00 ± 0.71" in text and "+0.50" in text
        assert "Table 6 of He et al." not in text  # the schedule is not the paper's


def test_markdown_has_whole_tables_and_figures_that_are_there(written):
    _, folder, _, markdown = written
    assert_whole_tables(markdown)
    links = re.findall(r"\]\(([^)]+)\)", markdown)
    pictures = ["depth.png", "figure1.png", "figure6.png"]
    assert links == [*pictures, "curves.csv", "summary.csv", "model_card.md"]
    assert all((folder / link).is_file() for link in pictures)
    assert "\n\n\n" not in markdown and markdown.endswith(".\n")


def test_what_a_run_says_of_itself_is_text_not_markup(tmp_path):
    data = {"name": "cifar10", "label": "<script>alert(1)</script> | a", "canonical": True}
    page = make_page(tmp_path, ["plain20", "plain56"], dataset=data, cpu="<b>fast</b>")
    write_page(page, tmp_path / "page")
    document, _ = read(tmp_path / "page")
    assert not {"script", "b"} & {tag for tag, _ in document.elements}
    assert "<b>fast</b>" in document.text and data["label"] in document.text


def test_what_is_missing_and_what_was_left_out_is_told(tmp_path):
    page = make_page(tmp_path, ["plain20", "plain56"])
    page = dataclasses.replace(page, left_out=[("plain56/seed2", "failed: loss is nan")])
    write_page(page, tmp_path / "page")
    _, markdown = read(tmp_path / "page")
    assert "No finished run of resnet20, resnet56, plain32, resnet32 for claims 3, 4" in markdown
    assert markdown.count("experiments.reproduce figure=figure6 schedule=short") == 1
    assert "- `plain56/seed2`: failed: loss is nan" in markdown


# How the runs were made


def test_what_runs_do_not_share_names_its_runs(tmp_path):
    write_run(tmp_path, "plain20", 0, **MACHINE)
    write_run(tmp_path, "plain20", 1, **MACHINE)
    write_run(tmp_path, "plain56", 0, **MACHINE | {"gpu": "A100", "precision": "float32"})
    write_run(tmp_path, "resnet56", 0, **MACHINE | {"emulated": True})
    runs = find_runs(tmp_path)
    told = {(what, networks): value for what, value, networks, _ in facts(runs)}
    assert told[("data", "")].startswith("CIFAR-10, 97 of 60,000")
    assert told[("precision", "plain-20")].startswith("bfloat16;")
    assert told[("precision", "ResNet-56")].startswith("bfloat16 (emulated);")
    assert told[("precision", "plain-56")] == "float32"
    assert told[("machine", "plain-56")].startswith("A100, AMD EPYC, 2 cores")
    precisions = "bfloat16 (plain-20, ResNet-56); float32 (plain-56)."
    assert f"These runs are not all in one precision: {precisions}" in caveats(runs)


def test_what_holds_for_most_networks_comes_last_and_does_not_list_them(tmp_path):
    write_run(tmp_path, NETWORKS[0], **MACHINE | {"threads": 1})
    for model in NETWORKS[1:]:
        write_run(tmp_path, model, **MACHINE)
    told = [fact[1:3] for fact in facts(find_runs(tmp_path)) if fact[0] == "machine"]
    assert told == [
        ("AMD EPYC, 2 cores, 1 thread, 23.5 GiB of memory", "plain-20"),
        ("AMD EPYC, 2 cores, 2 threads, 23.5 GiB of memory", "all others"),
    ]


def test_a_run_row_names_all_code_that_trained_it_and_what_is_not_known(tmp_path):
    first = {"iteration": 7, "trained_by": {"git_commit": "c0ffee" + "0" * 34, "git_dirty": False}}
    first["note"] = "git_commit: c0ffee → 27d4d4d54c; cpu: A 286 → AMD EPYC; cores: 1 → 2"
    same = {"iteration": 1234, "trained_by": {}, "note": ""}
    dirty = MACHINE | {"git_dirty": True, "resumes": [first, same], "wall_seconds": 6840.0}
    write_run(tmp_path, "plain20", 0, **dirty)
    write_run(tmp_path, "plain20", 1)
    same["trained_by"] = {key: MACHINE[key] for key in ("git_commit", "git_dirty")}
    write_run(tmp_path, "plain20", 2, **MACHINE | {"resumes": [same, same]})
    runs = find_runs(tmp_path)
    known, unknown, continued = map(run_row, runs)
    assert known["commit"] == "c0ffee0000, 27d4d4d54c with changes"
    assert continued["commit"] == "27d4d4d54c"
    assert (known["time"], known["speed"]) == ("1:54:00", "223")
    elsewhere = "after 7 (cpu: A 286 → AMD EPYC; cores: 1 → 2); after 1,234"
    rows = [row["resumed"] for row in (known, unknown, continued)]
    assert rows == [elsewhere, "–", "after 1,234; after 1,234"]
    assert machines(runs[:1]).endswith(", begun on A 286.")
    assert machines(runs) == "Machines: A 286; AMD EPYC; not recorded."
    assert {unknown[key] for key in ("commit", "started", "time", "speed")} == {"not recorded"}


def test_what_is_the_papers_and_what_departs_from_it(tmp_path):
    canonical = {"name": "cifar10", "label": "CIFAR-10", "canonical": True}
    options = {"schedule": "paper", "precision": "float32", "dataset": canonical}
    write_run(tmp_path, **options)
    for what, here, _, paper in facts(find_runs(tmp_path))[:4]:
        assert here == paper, what
    write_run(tmp_path, "plain56", settings={"optimizer.rate": 0.05}, **options)
    told = [fact[1:] for fact in facts(find_runs(tmp_path)) if "settings" in fact[0]]
    assert told == [("none", "plain-20", "none"), ("rate=0.05", "plain-56 (rate=0.05)", "none")]


def test_a_network_of_the_paper_with_other_settings_is_not_said_to_be_none_of_its(tmp_path):
    for schedule in ("paper", "short"):
        write_run(tmp_path / schedule, settings={"model.shortcut": "A"}, schedule=schedule)
    assert caveats(find_runs(tmp_path / "paper")) == ""
    told = caveats(find_runs(tmp_path / "short"))
    assert told.startswith("The paper's schedule has 64,000 iterations, this one 4,000: ")


def test_decay_and_batch_normalisation_are_told_of_each_network(tmp_path):
    write_run(tmp_path)
    bare = {"model.norm": "none", "optimizer.decay": "all"}
    write_run(tmp_path, "plain56", settings=bare)
    write_run(tmp_path, "resnet20", settings={"optimizer.ghost_batch": None})
    write_run(tmp_path, "resnet56", settings={"optimizer.weight_decay": 0.0})
    told = {(f[0], f[2].split(" (")[0]): f[1] for f in facts(find_runs(tmp_path))}
    assert told["weight decay", "plain-56"] == "on all trainable variables"
    assert told["weight decay", "ResNet-56"] == "none"
    assert told["weight decay", "plain-20, ResNet-20"].startswith("on the kernels of conv")
    norm = told["batch normalisation", "plain-20, ResNet-56"]
    assert norm.startswith("on 64 images at a time; ")
    # What the page says is what is done.
    assert float(re.search("epsilon ([^;]+);", norm)[1]) == BatchNormalization().epsilon
    assert f"over at most {AVERAGED} batches" in norm
    assert told["batch normalisation", "ResNet-20"].startswith("on 128 images at a time; ")
    assert told["batch normalisation", "plain-56"] == "none"
