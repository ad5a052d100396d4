"""Search params with Optuna: each trial is a `dvc exp run --temp -S ...` of the graph up to train.

Reads a YAML file (search_space.yaml beside this one is the default and explains itself); trials lie in optuna.db of the main checkout,
so that the same search goes on where it was stopped. Every trial is a DVC experiment and an MLflow run, both named after it (equal values
are not trained twice: DVC has their model, and MLflow their run); the workspace stays as it is. Run as `make tune TRIALS=20 SPACE=<file>`.
"""

import argparse
import hashlib
import json
import logging
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from commands.dvc import run_to_its_end
from stages.shared.errors import StageError
from stages.shared.project import git, project_root

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger("tune")

SPACE = Path(__file__).with_name("search_space.yaml")
METRICS = "metrics/train.json"
STARTUP = 8  # random trials before the sampler learns from them


class Range(BaseModel):
    """From low to high, both included; whole numbers where both are."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be under high, and over 0 with log")
        return self


class Space(BaseModel):
    """What is searched: params by their dotted name, and the metric that judges."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: str
    direction: Literal["minimize", "maximize"]
    params: Annotated[dict[str, Range | Annotated[list[float | int | str], Field(min_length=1)]], Field(min_length=1)]


def read_space(file: Path) -> Space:
    """Read the search space; raise StageError naming what is wrong in it."""
    try:
        return Space.model_validate(YAML(typ="safe", pure=True).load(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{file} cannot be read ({error}): name a search space like {SPACE.name}") from None
    except YAMLError as error:
        raise StageError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, detail['loc'][:2]))}: {detail['msg']}" for detail in error.errors())
        raise StageError(f"{file} is no search space ({problems}): see {SPACE.name}") from None


def open_study(space: Space) -> "Study":
    """Open the study of this space on this commit's data and code, with what is changed and not yet committed, or begin it."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    commit = git("rev-parse", "--short", "HEAD")
    changes = git("diff", "HEAD", "--", "params.yaml", "dvc.yaml", "stages", "serving", "data")
    digest = hashlib.sha256(f"{space.model_dump_json()}{changes}".encode()).hexdigest()[:8]
    study = optuna.create_study(
        study_name=f"tune-{commit}-{digest}",
        storage=f"sqlite:///{project_root() / 'optuna.db'}",
        direction=space.direction,
        load_if_exists=True,
    )
    study.sampler = optuna.samplers.TPESampler(seed=7 + len(study.trials), n_startup_trials=STARTUP)
    return study


def suggest(trial: "Trial", space: Space) -> dict[str, Any]:
    return {
        name: _between(trial, name, choice) if isinstance(choice, Range) else trial.suggest_categorical(name, choice)
        for name, choice in space.params.items()
    }


def _between(trial: "Trial", name: str, choice: Range) -> float:
    if isinstance(choice.low, int) and isinstance(choice.high, int):
        return trial.suggest_int(name, choice.low, choice.high, log=choice.log)
    return trial.suggest_float(name, choice.low, choice.high, log=choice.log)


def settings(values: dict[str, Any]) -> list[str]:
    return [
        part for name, value in values.items() for part in ("-S", f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}")
    ]


def run_trial(name: str, values: dict[str, Any], metric: str) -> float:
    """Run an experiment of that name and return its metric; raise StageError where it fails."""
    command = ["exp", "run", "--temp", "--quiet", "--name", name, *settings(values), "train"]
    done = run_to_its_end([sys.executable, "-m", "dvc", *command], cwd=project_root(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR: ")]
        raise StageError(f"the trial failed: {said[0] if said else 'without a reason'}")
    experiment = git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}")
    if not experiment:
        raise StageError(f"the experiment {name} is not kept")
    return value_of(metric, json.loads(git("show", f"{experiment}:{METRICS}")))


def value_of(metric: str, metrics: Mapping[str, Any]) -> float:
    """Return a metric of metrics/train.json; raise StageError naming those that it has where it is none."""
    numbers = sorted(name for name, value in metrics.items() if isinstance(value, int | float))
    if metric not in numbers:
        raise StageError(f"{METRICS} has no metric {metric} (it has {', '.join(numbers)}): correct it in the search space")
    return float(metrics[metric])


def search(space: Space, trials: int) -> None:
    """Run trials until there are so many, telling each and the time that is left, then the best one."""
    import optuna

    if committed := git("show", f"HEAD:{METRICS}"):
        value_of(space.metric, json.loads(committed))
    study = open_study(space)
    for stopped in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):  # its training goes on from its checkpoint
        study.tell(stopped.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(stopped.params)
    ended = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    if ended:
        log.info("going on behind %d trials of %s", len(ended), study.study_name)
    begun = time.monotonic()
    for number in range(len(ended), trials):
        trial = study.ask()
        values = suggest(trial, space)
        name = f"{study.study_name}-{trial.number}"
        try:
            value = run_trial(name, values, space.metric)
        except StageError as error:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            log.warning("trial %d of %d (%s): %s", number + 1, trials, " ".join(settings(values)), error)
            continue
        study.tell(trial, value)
        each = (time.monotonic() - begun) / (number + 1 - len(ended))
        log.info(
            "trial %d of %d: %s %.4f (best %.4f) with %s; about %d min left",
            number + 1, trials, space.metric, value, study.best_value, " ".join(settings(values)), each * (trials - number - 1) / 60 + 0.5,
        )  # fmt: skip
    ended = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    if not ended:
        raise StageError("no trial came to an end: the reasons stand above")
    best = study.best_trial
    print(f"Best of {len(ended)} trials: {space.metric} {study.best_value:.4f}, experiment {study.study_name}-{best.number}")
    print(shlex.join(["dvc", "exp", "run", *settings(best.params)]))


def main() -> None:
    """Search as the flags say, one search of a project at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=SPACE, help="YAML of the search space")
    parser.add_argument("--trials", type=int, default=20, help="trials in all, those of an earlier call included")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        space = read_space(asked.space)
        with FileLock(project_root() / ".tune.lock", timeout=0):
            search(space, asked.trials)
    except Timeout:
        raise SystemExit("ERROR: another search is under way in this project: wait for its end") from None
    except StageError as error:
        raise SystemExit(f"ERROR: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped: the same command goes on") from None


if __name__ == "__main__":
    main()
