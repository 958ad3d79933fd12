"""From a command line to configurations: Hydra composes them, and each error is one line."""

import argparse
import contextlib
import difflib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import hydra
import yaml
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from degradation.config import CONF, flatten, options, read_option, read_yaml, validate
from degradation.errors import UserError
from degradation.schema import Configuration
from degradation.setting import Setting

PATHS = ("run_dir", "data.dir", "runs", "out", "benchmark.out")  # keys whose value is a path
NAMES = {f"{path.name}.name" for path in CONF.iterdir() if path.is_dir()}  # keys of files alone
HELP = """python -m experiments.{name} [-m] [KEY=VALUE ...]

  -m, --multirun  a job for each combination of values: -m KEY=A,B KEY=C,D;
                  of paths: -m "KEY='A','B'"
  --cfg job       print the configuration, and do nothing else
  --help          this

With -m, and for reproduce and record, hydra/launcher=NAME runs several jobs at a time, here or on a
cluster, and hydra.launcher.KEY=VALUE sets it: docs/cluster.md.
{groups}
Keys, and what they are without being set: KEY=VALUE

{config}"""


@dataclass(frozen=True, eq=False)
class Job:
    """One composed configuration, and the overrides that it was composed from.

    `launcher` has those that choose and set a launcher of Hydra; without, jobs run here in turn.
    A job equals itself alone, so that what follows from it can be cached.
    """

    config: DictConfig
    overrides: list[str]
    launcher: list[str] = field(default_factory=list)

    @cached_property
    def checked(self) -> Configuration:
        """Its values; raises `UserError` for the first one that is not allowed."""
        return validate(self.config)

    @cached_property
    def setting(self) -> Setting:
        """The setting of a run; raises as `checked` does."""
        return Setting.of(self.checked)


def compose(config_name: str, overrides: list[str]) -> DictConfig:
    """Compose `conf/<config_name>.yaml` with overrides, every value resolved.

    Raises `UserError`, one line, for whatever Hydra refuses.
    """
    with explained(config_name, overrides):
        for override in _parse(overrides):
            _check(override)
        config = hydra.compose(config_name, overrides)
        OmegaConf.to_container(config, resolve=True)  # its errors name the key, others do not
        OmegaConf.resolve(config)
    for key in sorted(OmegaConf.missing_keys(config)):
        raise UserError(f"{key}=???: allowed: a value")
    return config


def compose_jobs(
    config_name: str, arguments: list[str], imply: Callable[[list[str]], list[str]]
) -> tuple[list[Job], bool]:
    """Compose the jobs of a command line, and say whether they are a sweep.

    There are none where it only asks for something to be printed. `imply` gives overrides that
    stand before the given ones, which win. Raises `UserError` for what cannot be composed.
    """
    flags, given, launcher = _read(arguments)
    combinations = [given]
    if flags.multirun:
        with explained("", given):
            (combinations,) = BasicSweeper.split_arguments(_parse(given), max_batch_size=None)
    if not combinations:
        raise UserError("-m: no job: a glob() or range() of the sweep has no value")
    jobs = [
        Job(compose(config_name, [*imply(kept), *kept]), kept, launcher) for kept in combinations
    ]
    if flags.help or flags.cfg:
        texts = [OmegaConf.to_yaml(job.config) for job in jobs]
        told = "---\n".join(texts) if flags.cfg else _help(config_name, jobs[0].config, texts[0])
        print(told, end="")
        return [], False
    return jobs, flags.multirun


@contextlib.contextmanager
def explained(config_name: str, overrides: list[str]) -> Iterator[None]:
    """Initialise Hydra for the body, and turn its errors into `UserError`, one line each."""
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    except (yaml.YAMLError, UnicodeDecodeError):
        for path in sorted(CONF.rglob("*.yaml")):
            read_yaml(path.relative_to(CONF).as_posix())  # its error names the file
        raise
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise UserError(_line(error, config_name, overrides)) from error


def key_of(override: str) -> str:
    """The key of an override: model.depth of model.depth=8."""
    return override.lstrip("+").split("=")[0]


def quote_path(argument: str) -> str:
    """Quote the value of a key in `PATHS`: names of run folders have commas, which Hydra reads."""
    key, equals, value = argument.partition("=")
    if key in PATHS and value not in ("", "null") and value[0] not in "'\"":
        return f"{key}{equals}{quote(value)}"
    return argument


def quote(text: str) -> str:
    """Quote a text for Hydra's parser of overrides."""
    return QuotedString(text, Quote.single).with_quotes()


def _read(arguments: list[str]) -> tuple[argparse.Namespace, list[str], list[str]]:
    """Tell flags, overrides, and overrides of the launcher apart, wherever they stand."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-m", "--multirun", action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job"])
    parser.add_argument("-h", "--help", action="store_true")
    try:
        flags, rest = parser.parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; --help says what is allowed") from error
    for flag in (argument for argument in rest if argument.startswith("-")):
        raise UserError(
            f"{flag}: allowed: the files of {CONF.name}/, chosen by GROUP=NAME; and -m, --cfg job, "
            "--help"
        )
    launcher = [o for o in rest if o.lstrip("+").startswith(("hydra/launcher=", "hydra.launcher."))]
    # Without + and ++: there are no keys to add, and those that there are need none.
    given = [quote_path(argument.lstrip("+")) for argument in rest if argument not in launcher]
    return flags, given, launcher


def _parse(overrides: list[str]) -> list[Override]:
    loader = GlobalHydra.instance().config_loader()
    return OverridesParser.create(config_loader=loader).parse_overrides(overrides)


def _check(override: Override) -> None:
    """Refuse what Hydra would let pass, and would not do here."""
    text, key = override.input_line, override.key_or_group
    if not key:
        raise UserError(f"{text}: cannot be read; allowed: key=value")
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        raise UserError(
            f"{text}: allowed: keys of the command, and those of hydra/launcher; Hydra's folders "
            "and logs are off"
        )
    if "${hydra:" in text:
        raise UserError(f"{text}: allowed: keys of this command, such as ${{seed}}")
    if key in NAMES:
        group = key.removesuffix(".name")
        raise UserError(f"{text}: allowed: {group}=NAME, which brings what is in that file")
    if override.is_delete():
        raise UserError(f"{key}: missing, and needed; allowed: {key}=value")
    if override.is_sweep_override():
        value = text.partition("=")[2]
        words = "" if (CONF / key).is_dir() or "(" in value else f"; a list is [{value}]"
        raise UserError(f"{text}: allowed: one value, or -m to run a job for each{words}")
    if (CONF / key).is_dir():
        value = override.value()
        if not isinstance(value, str) or value not in options(key):
            raise UserError(f"{text}: allowed: one of {', '.join(options(key))}")
        read_option(key, value)


def _line(error: Exception, config_name: str, overrides: list[str]) -> str:
    """Say in one line what Hydra says in several."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: cannot be read; allowed: key=value, special signs in quotes"
    if found := re.search(r"Could not override '([^']+)'", text):
        if found[1].startswith("hydra."):  # a launcher's, whose own words say how to add a key
            return " ".join(text.splitlines()[:2])
        return _unknown_key(found[1], config_name, overrides)
    if text.startswith("Error merging override"):
        error = error.__cause__
    # A bare ValueError, as for a list's element that is no number, names no key.
    key = getattr(error, "full_key", None) or " ".join(overrides)
    culprit = next((o for o in reversed(overrides) if key_of(o) == key), key)  # the last counts
    return ": ".join(filter(None, [culprit, str(error).partition("\n")[0]]))


def _unknown_key(key: str, config_name: str, overrides: list[str]) -> str:
    """Say that there is no such key, which one may have been meant, and which ones there are."""
    given = next((override for override in overrides if key_of(override) == key), key)
    chosen = [o for o in overrides if (CONF / key_of(o)).is_dir() and key_of(o) != key]
    config = compose(config_name, chosen)
    groups = {name for name, node in config.items() if isinstance(node, DictConfig)}
    keys = sorted({*flatten(OmegaConf.to_container(config)), *groups} - NAMES)
    allowed = [known for known in keys if known.startswith(f"{key.split('.')[0]}.")] or keys
    # As a whole, or else by its name alone: `rate` means optimizer.rate.
    asked, near = key.lower().replace("/", "."), difflib.get_close_matches
    names = {known.rpartition(".")[2]: known for known in sorted(allowed, key=len, reverse=True)}
    meant = near(asked, allowed) or [names[n] for n in near(asked.rpartition(".")[2], names)]
    hint = f"did you mean {meant[0]}? " if meant else ""
    return f"{given}: unknown key; {hint}allowed: {', '.join(allowed)}"


def _help(config_name: str, config: DictConfig, text: str) -> str:
    groups = [
        name
        for name, node in config.items()
        # `evaluate` has data.dir alone, and no option of data to choose.
        if (CONF / name).is_dir() and (node is None or {"name", "mode"} & {*node})
    ]
    lines = "".join(f"{group}: {', '.join(options(group))}\n" for group in groups)
    heading = "\nGroups, and the files of conf/ to choose from: GROUP=NAME\n\n" if lines else ""
    name = "run" if config_name == "config" else config_name
    return HELP.format(name=name, groups=heading + lines, config=text)
