"""The README's sections on the recorded runs: what they say, and that nothing else changes."""

import pytest
from ended_runs import as_in_paper, ended_runs
from processes import run
from report_samples import assert_whole_tables, write_run, write_runs

from degradation.report import find_runs, select
from degradation.report.page import END, START, fill, section

MACHINE = {"cpu": "AMD EPYC", "cores": 2, "threads": 2, "memory_gib": 23.5, "parameters": 269_722}
BEFORE, BETWEEN, AFTER = "# Title\r\n\n", "\n\nbetween \\1 é\n", "\nafter, without a newline"


def marked(paper: str, short: str) -> str:
    """A README with two sections."""
    return (
        f"{BEFORE}{START.format('paper')}{paper}{END.format('paper')}{BETWEEN}"
        f"{START.format('short')}{short}{END.format('short')}{AFTER}"
    )


class TestSection:
    def test_on_short_there_are_the_claims_and_what_it_cannot_show(self, tmp_path):
        text = section("short", write_runs(tmp_path, ["plain20", "plain56"], (0, 1, 2), **MACHINE))
        begins = (
            "**The paper's claims: 2 same direction, 5 not judged (runs missing).** [The report]"
        )
        assert text.startswith(f"{begins}(results/recorded/short/report.md) has the details.\n")
        assert "\nThe paper's schedule has 64,000 iterations, this one 4,000: " in text
        assert text.count("**same direction**") == 2 and "runs missing**" not in text
        assert "Final errors" not in text and "best, %" not in text

    def test_on_paper_the_papers_errors_stand_beside(self):
        runs = ended_runs("paper", as_in_paper("plain20", "resnet20", spread=(0.25,)))
        text = section("paper", runs)
        assert text.startswith("**The paper's claims: ")
        assert "](results/recorded/paper/figure6.png)" in text
        for told in ("Schedule paper: 64,000 iterations", "Precision: ", "Machine: "):
            assert told in text
        assert "*Swing*" not in text and "**runs missing**" not in text
        assert "| plain-20 | 269,722 | 0 | 1.69 | 9.94 | 9.44 | 9.69 |\n" in text
        assert "*Paper*: the test error in Table 6 of He et al. 2015" in text

    def test_every_table_has_cells_for_its_columns(self):
        text = section("paper", ended_runs("paper", as_in_paper()))
        assert_whole_tables(text)
        assert text.count("\n\n|") == 2

    def test_of_figure_1s_networks_alone_its_picture_is_linked(self):
        text = section("paper", ended_runs("paper", as_in_paper("plain20", "plain56")))
        assert "](results/recorded/paper/figure1.png)" in text


@pytest.mark.parametrize("text", ["", f"{START.format('smoke')}no end", END.format("smoke")])
def test_without_its_markers_a_file_stays_as_it_is(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(marked("old\n", text))
    assert not fill(path, "smoke", "new\n")
    assert path.read_bytes().decode() == marked("old\n", text)


def test_a_report_on_the_recorded_runs_fills_the_readme(tree):
    """On all of a schedule, and on those of this repository alone."""
    readme, recorded = tree / "README.md", tree / "results" / "recorded"
    readme.write_text(marked("old\n", "older\n"))
    for root in (recorded, tree / "results" / "runs"):
        write_runs(root, ["plain20"], (0, 1))
    write_run(recorded, "plain20", settings={"optimizer.rate": 0.05})
    for overrides in (
        [],
        ["runs=results/recorded", "seeds=[0]"],
        ["runs=results/recorded", "optimizer.rate=0.05"],
    ):
        assert "\nreadme " not in run(*overrides, name="report", tree=tree).output()
        assert readme.read_bytes().decode() == marked("old\n", "older\n")

    ended = run("runs=results/recorded", name="report", tree=tree)
    assert "\nreadme    README.md, what it has between the markers of short\n" in ended.output()
    told = section("short", select(find_runs(recorded), "short"))
    assert readme.read_bytes().decode() == marked("old\n", told)
    before = readme.stat().st_ino  # replacing the file would give it another
    assert fill(readme, "short", told) and readme.stat().st_ino == before
