"""The README's section on the recorded runs: what it says, and that nothing else changes."""

import pytest
from ended_runs import as_in_paper, ended_runs
from processes import run
from report_samples import assert_whole_tables, write_run, write_runs

from degradation.report import find_runs, select
from degradation.report.page import END, START, fill, section

MACHINE = {"cpu": "AMD EPYC", "cores": 2, "threads": 2, "memory_gib": 23.5, "parameters": 269_722}
BEFORE, AFTER = "# Title \\1 é\r\n\n", "\nafter, without a newline"


def marked(text: str) -> str:
    """A README with a section on the recorded runs."""
    return f"{BEFORE}{START}{text}{END}{AFTER}"


class TestSection:
    def test_the_papers_errors_stand_beside(self):
        text = section(ended_runs("paper", as_in_paper("plain20", "resnet20", spread=(0.25,))))
        assert text.startswith("**The paper's claims: ")
        assert "[The report](results/recorded/paper/report.md) has the details.\n" in text
        assert "](results/recorded/paper/figure6.png)" in text
        for told in ("Schedule paper: 64,000 iterations", "Precision: ", "Machine: "):
            assert told in text
        assert "*Swing*" not in text and "**runs missing**" not in text
        assert "| plain-20 | 269,722 | 0 | 1.69 | 9.94 | 9.44 | 9.69 |\n" in text
        assert "*Paper*: the test error in Table 6 of He et al. 2015" in text

    def test_every_table_has_cells_for_its_columns(self):
        text = section(ended_runs("paper", as_in_paper()))
        assert_whole_tables(text)
        assert text.count("\n\n|") == 2

    def test_of_figure_1s_networks_alone_its_picture_is_linked(self):
        text = section(ended_runs("paper", as_in_paper("plain20", "plain56")))
        assert "](results/recorded/paper/figure1.png)" in text


@pytest.mark.parametrize("text", ["", f"{START}no end", END, f"{END}the wrong way round\n{START}"])
def test_without_its_markers_a_file_stays_as_it_is(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    assert not fill(path, "new\n")
    assert path.read_text() == text


def test_a_report_on_the_recorded_runs_fills_the_readme(tree):
    """On all of the paper's schedule, and on those of this repository alone."""
    readme, recorded = tree / "README.md", tree / "results" / "recorded"
    readme.write_text(marked("old\n"))
    for schedule in ("paper", "short"):
        write_runs(recorded, ["plain20"], (0, 1), schedule=schedule, **MACHINE)
    write_runs(tree / "results" / "runs", ["plain20"], (0, 1), schedule="paper")
    write_run(recorded, "plain20", 0, "paper", settings={"optimizer.rate": 0.05})
    for overrides in (
        ["schedule=paper"],
        ["runs=results/recorded", "schedule=short"],
        ["runs=results/recorded", "schedule=paper", "seeds=[0]"],
        ["runs=results/recorded", "schedule=paper", "optimizer.rate=0.05"],
    ):
        assert "\nreadme " not in run(*overrides, name="report", tree=tree).output()
        assert readme.read_bytes().decode() == marked("old\n")

    ended = run("runs=results/recorded", "schedule=paper", name="report", tree=tree)
    assert "\nreadme    README.md, what it has between its markers\n" in ended.output()
    told = section(select(find_runs(recorded), "paper"))
    assert readme.read_bytes().decode() == marked(told)
    before = readme.stat().st_ino  # replacing the file would give it another
    assert fill(readme, told) and readme.stat().st_ino == before
