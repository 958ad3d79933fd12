"""Kill a run again and again; it must end as if it had never been touched: `make soak`.

Trains ResNet-20 for 600 iterations on CIFAR-10 twice: once in peace, once with twenty SIGKILLs at
random moments, each followed by the same command. Whatever a kill leaves must be readable. At the
end everything in the two folders but the times is compared, bit for bit. Not part of `make test`:
it takes some ten minutes. An argument is the seed of the moments.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from same_run import differences

from degradation.records import RunFolder

KILLS = 20
ITERATIONS = 600
STARTING_UP = 0.25  # part of the kills that come before the first update
ROOT = Path(__file__).parents[1]


def command(folder: Path) -> list[str]:
    """Return the command that starts the run, and that continues it."""
    return [
        *(sys.executable, "-m", "experiments.run", "model=resnet20", f"run_dir={folder}"),
        *(f"schedule.iterations={ITERATIONS}", "schedule.evaluate_every=100"),
        f"schedule.drops=[{ITERATIONS // 2},{ITERATIONS * 3 // 4}]",
        *("runtime.checkpoint_every=1", "tracking=disabled"),
    ]


def run_to_the_end(folder: Path) -> tuple[float, float]:
    """Return the seconds it took to start up, ten updates included, and those after that."""
    began = trained = time.monotonic()
    with subprocess.Popen(command(folder), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("time "):
                trained = time.monotonic()
    if process.returncode:
        sys.exit(f"the run ended with code {process.returncode}")
    return trained - began, time.monotonic() - trained


def run_with_kills(folder: Path, chance: random.Random, starting: float, training: float) -> int:
    """Kill the run at random moments of starting up and training; return how many kills it took."""
    for kill in range(1, KILLS + 1):
        if chance.random() < STARTING_UP:
            delay = chance.uniform(0.0, starting)
        else:  # within what is left to train, which the kills to come share
            left = training * (1 - trained(folder) / ITERATIONS)
            delay = starting + chance.uniform(0.0, 1.6 * left / (KILLS - kill + 1))
        process = subprocess.Popen(command(folder), cwd=ROOT, stdout=subprocess.DEVNULL)
        time.sleep(delay)
        if process.poll() is not None:
            print(f"the run ended with code {process.returncode} before kill {kill}", flush=True)
            return kill - 1
        process.kill()
        process.wait()
        print(f"kill {kill:2} after {delay:5.1f} s: {what_is_left(RunFolder(folder))}", flush=True)
    return KILLS


def trained(folder: Path) -> int:
    """Return after how many iterations the newest checkpoint was saved, 0 without one."""
    return max((int(path.stem) for path in (folder / "checkpoint").glob("*.npz")), default=0)


def what_is_left(folder: RunFolder) -> str:
    """Read all that a killed run left, which raises if anything is damaged; say how far it was."""
    folder.config()
    checkpoint, rows = folder.load_checkpoint(), folder.rows()
    if checkpoint and checkpoint.note:
        sys.exit(checkpoint.note)
    stand = f"checkpoint {checkpoint.iteration}" if checkpoint else "no checkpoint"
    return f"{folder.status or 'nothing'}, {stand}, {len(rows)} rows"


def main() -> None:
    """Run both, compare, report."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else int(time.time())
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="soak-") as place:
        peace, killed = RunFolder(Path(place, "peace")), RunFolder(Path(place, "killed"))
        starting, training = run_to_the_end(peace.path)
        print(
            f"in peace: {ITERATIONS} iterations, {starting:.0f} s to start up and {training:.0f} s "
            "to train",
            flush=True,
        )
        began = time.monotonic()
        kills = run_with_kills(killed.path, random.Random(seed), starting, training)
        run_to_the_end(killed.path)
        seconds, resumes = time.monotonic() - began, len(killed.manifest()["resumes"])
        print(f"killed {kills} times: {seconds:.0f} s, {resumes} resumes", flush=True)
        found = differences(peace, killed)
    if found:
        sys.exit(f"DIFFERENT: {'; '.join(found[:10])}")
    if kills < KILLS:
        sys.exit(f"identical, but only {kills} kills came in time; try another seed")
    print("identical: metrics, weights, moments and momenta, bit for bit")


if __name__ == "__main__":
    main()
