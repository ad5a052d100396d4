"""`make tune`: searches params with Optuna; each trial is a `dvc exp run --temp -S ...` of the graph up to train.

Run as `make tune TRIALS=20 SPACE=<file>`. Reads a YAML file; search_space.yaml beside this file is the default and explains the format.
Writes optuna.db in the main checkout; with it the same command resumes an interrupted search. The workspace does not change.
Each trial is a DVC experiment and an MLflow run with the name of the trial.
Equal values are not trained twice: DVC has their model, and MLflow their run.
"""

import argparse
import hashlib
import json
import logging
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from commands.dvc import error_messages, output_of, run_to_its_end
from stages.shared.errors import StageError
from stages.shared.project import checked_git, git, project_root

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger("tune")

SPACE = Path(__file__).with_name("search_space.yaml")
RANDOM_TRIALS = 8  # before the sampler learns from them


class Range(BaseModel):
    """The values from low to high, both included; integers if both are."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _rises(self) -> "Range":
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("set low below high; with log, also set low above 0")
        return self


class SearchSpace(BaseModel):
    """The params to search, by dotted name, and the metric that judges a trial."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: str
    direction: Literal["minimize", "maximize"]
    params: Annotated[dict[str, Range | Annotated[list[float | int | str], Field(min_length=1)]], Field(min_length=1)]


def read_space(file: Path) -> SearchSpace:
    """Read a search space; raise StageError that names each problem."""
    try:
        return SearchSpace.model_validate(YAML(typ="safe", pure=True).load(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise StageError(f"{file} cannot be read ({error}): name a search space like {SPACE.name}") from None
    except YAMLError as error:
        raise StageError(f"{file} is not YAML ({' '.join(str(error).split())}): correct it") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, detail['loc'][:2]))}: {detail['msg']}" for detail in error.errors())
        raise StageError(f"{file} is not a search space ({problems}): see {SPACE.name}") from None


def open_study(space: SearchSpace) -> "Study":
    """Open or create the study of this space, this commit and the uncommitted changes of params, graph, code and data."""
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
    study.sampler = optuna.samplers.TPESampler(seed=7 + len(study.trials), n_startup_trials=RANDOM_TRIALS)
    return study


def suggest(trial: "Trial", space: SearchSpace) -> dict[str, Any]:
    """Draw a value for each param of the space."""
    return {
        name: _between(trial, name, choice) if isinstance(choice, Range) else trial.suggest_categorical(name, choice)
        for name, choice in space.params.items()
    }


def _between(trial: "Trial", name: str, choice: Range) -> float:
    if isinstance(choice.low, int) and isinstance(choice.high, int):
        return trial.suggest_int(name, choice.low, choice.high, log=choice.log)
    return trial.suggest_float(name, choice.low, choice.high, log=choice.log)


def param_flags(values: dict[str, Any]) -> list[str]:
    """Return the `-S` flags of `dvc exp run` for the values, floats with three digits."""
    return [
        part for name, value in values.items() for part in ("-S", f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}")
    ]


def run_trial(name: str, values: dict[str, Any], metric: str) -> float:
    """Run an experiment of this name and return its metric; raise StageError if it fails."""
    command = ["exp", "run", "--temp", "--quiet", "--name", name, *param_flags(values), "train"]
    done = run_to_its_end([sys.executable, "-m", "dvc", *command], cwd=project_root(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        reasons = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("ERROR: ")]
        raise StageError(f"the trial failed: {reasons[0] if reasons else 'DVC gives no reason'}")
    experiment = git("for-each-ref", "--format=%(refname)", f"refs/exps/*/*/{name}")
    value = metric_at(experiment, metric) if experiment else None
    if value is None:
        raise StageError(f"DVC has no metrics of the experiment {name}: look at it with `dvc exp show`, then run the same command again")
    drop_stale_metrics(experiment)
    return value


def drop_stale_metrics(experiment: str) -> None:
    """Empty the metrics and remove the plots of another model in the commit of an experiment; DVC then shows `-`.

    A trial ends with `train`, so the files of later stages come from the commit that it started from. Raises StageError if git fails.
    """
    graph, locked = (
        YAML(typ="safe", pure=True).load(checked_git("show", f"{experiment}:{file}"))["stages"] for file in ("dvc.yaml", "dvc.lock")
    )
    stale = [graph[stage] for stage in stale_stages(locked)]
    metrics, plots = ([path for stage in stale for entry in stage.get(kind, []) for path in entry] for kind in ("metrics", "plots"))
    if not metrics:
        return
    with tempfile.TemporaryDirectory() as folder:
        index, draft = {"GIT_INDEX_FILE": f"{folder}/index"}, Path(folder, "draft")
        draft.write_text("{}\n", "utf-8")
        empty = checked_git("hash-object", "-w", str(draft))
        checked_git("read-tree", experiment, **index)
        if plots:
            checked_git("rm", "--quiet", "--cached", "--ignore-unmatch", "--", *plots, **index)
        checked_git("update-index", "--add", *(part for path in metrics for part in ("--cacheinfo", f"100644,{empty},{path}")), **index)
        tree, rest = checked_git("write-tree", **index), checked_git("cat-file", "commit", experiment).partition("\n")[2]
        draft.write_text(f"tree {tree}\n{rest}\n", "utf-8")
        checked_git("update-ref", experiment, checked_git("hash-object", "-t", "commit", "-w", str(draft)))


def stale_stages(locked: Mapping[str, Any]) -> list[str]:
    """Return the stages of a dvc.lock that read an earlier version of what another stage of it wrote, and all that follow them."""
    hashes = {out["path"]: out["md5"] for stage in locked.values() for out in stage.get("outs", [])}
    stale: dict[str, list[str]] = {}  # stage -> its outputs
    while True:
        outputs = {path for paths in stale.values() for path in paths}
        found = {
            name: [out["path"] for out in stage.get("outs", [])]
            for name, stage in locked.items()
            if name not in stale
            for dep in stage.get("deps", [])
            if dep["path"] in outputs or hashes.get(dep["path"], dep["md5"]) != dep["md5"]
        }
        if not found:
            return list(stale)
        stale |= found


def metric_at(revision: str, metric: str) -> float | None:
    """Return a metric of train at a git revision; None if the revision has no metrics file.

    Raises StageError, which lists the metrics of the file, if this one is not among them.
    """
    file = output_of("train", "metrics", project_root())
    content = git("show", f"{revision}:{file}")
    if not content:
        return None
    metrics = json.loads(content)
    numbers = sorted(name for name, value in metrics.items() if isinstance(value, int | float))
    if metric not in numbers:
        raise StageError(f"{file} has no metric {metric} (it has {', '.join(numbers)}): correct it in the search space")
    return float(metrics[metric])


def search(space: SearchSpace, trials: int) -> None:
    """Run trials until there are `trials`, log each one and the time that is left, and print the best one."""
    from optuna.trial import TrialState

    metric_at("HEAD", space.metric)  # refuses an unknown metric before the first trial
    study = open_study(space)
    for stopped in study.get_trials(states=[TrialState.RUNNING]):  # its training resumes from its checkpoint
        study.tell(stopped.number, state=TrialState.FAIL)
        study.enqueue_trial(stopped.params)
    earlier = len(study.get_trials(states=[TrialState.COMPLETE]))
    if earlier:
        log.info("resuming after %d trials of %s", earlier, study.study_name)
    start = time.monotonic()
    for number in range(earlier + 1, trials + 1):
        trial = study.ask()
        values = suggest(trial, space)
        flags = " ".join(param_flags(values))
        try:
            value = run_trial(f"{study.study_name}-{trial.number}", values, space.metric)
        except StageError as error:
            study.tell(trial, state=TrialState.FAIL)
            log.warning("trial %d of %d (%s): %s", number, trials, flags, error)
            continue
        study.tell(trial, value)
        minutes_each = (time.monotonic() - start) / (number - earlier) / 60
        log.info(
            "trial %d of %d: %s %.4f (best %.4f) with %s; about %d min left",
            number, trials, space.metric, value, study.best_value, flags, minutes_each * (trials - number) + 0.5,
        )  # fmt: skip
    print_best(study, space.metric)


def print_best(study: "Study", metric: str) -> None:
    """Print the best trial and the command that repeats it; raise StageError if no trial is complete."""
    from optuna.trial import TrialState

    complete = len(study.get_trials(states=[TrialState.COMPLETE]))
    if not complete:
        raise StageError("no trial succeeded: see the messages above, and correct the search space")
    best = study.best_trial
    print(f"Best of {complete} trials: {metric} {study.best_value:.4f}, experiment {study.study_name}-{best.number}")
    print(shlex.join(["dvc", "exp", "run", *param_flags(best.params)]))


def main() -> None:
    """Search as the flags say; one search at a time can use a project."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", type=Path, default=SPACE, help="YAML file of the search space (default: commands/search_space.yaml)")
    parser.add_argument(
        "--trials", type=int, default=20, help="number of trials, those of an earlier search included (default: %(default)s)"
    )
    flags = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    with error_messages("the same command resumes the search"):
        space = read_space(flags.space)
        try:
            with FileLock(project_root() / ".tune.lock", timeout=0):
                search(space, flags.trials)
        except Timeout:
            raise StageError("another search uses this project: wait for its end") from None


if __name__ == "__main__":
    main()
