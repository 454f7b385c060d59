"""An evaluator and a task that are installed as a third party's would be: worker processes find
them by their entry points.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evoml.core.registry import installed, names

PLUGIN = {
    "toy_task.py": """
from evoml.contracts.objective import ACCURACY
from evoml.contracts.task import Task
from evoml.core import settings

class Settings(settings.Settings):
    pass

class ToyTask(Task):
    name, objective = "toy", ACCURACY
    def search(self, experiment=0): return None
""",
    "toy_evaluator.py": """
import os, signal, time
from pathlib import Path
from evoml.contracts.evaluation import Evaluation
from evoml.contracts.evaluator import CandidateEvaluator
from evoml.contracts.objective import ACCURACY, PARAMETERS, chosen
from evoml.core import settings
from evoml.core.errors import InputError
from evoml.genotypes.population import DIVERGED, OK, OVER_BUDGET

class Settings(settings.Settings):
    objectives: tuple[str, ...] = ("accuracy",)
    timeout: float = 0.0
    max_parameters: int = 0
    sleep: float = 0.0  # longest that a candidate takes, in seconds
    faults: str = ""  # folder of files named start, or by a candidate's stream, with what is to happen

class ToyEvaluator(CandidateEvaluator):
    name, costly, trains, task = "toy", True, True, "toy"

    def __init__(self, settings, tasks, space, backend=""):
        super().__init__(settings, tasks, space, backend)
        self.objectives, self.timeout = self.objectives_of(settings, None), settings.timeout

    @classmethod
    def objectives_of(cls, settings, task):
        return chosen(settings.objectives, (ACCURACY, PARAMETERS))

    def caps(self):
        return {"max_parameters": self.settings.max_parameters} if self.settings.max_parameters else {}

    def warm(self, population=None):
        self.fault("start")

    def evaluate(self, population, streams=None):
        for name in map(str, population.ids):  # an id and parents reach a worker
            path = Path(self.settings.faults) / f"asked{name}"
            if self.settings.faults and path.exists():
                path.write_text(str(population.parents.tolist()))
        return super().evaluate(population, streams)

    def candidate(self, genotype, stream):
        self.fault(str(stream))
        if self.settings.faults:
            print("printing is no answer", flush=True)
        time.sleep(self.settings.sleep * (stream % 1000) / 1000)
        number = int(genotype.digest(), 16)
        values = {"accuracy": (number % 97 + stream % 7 / 10) / 100, "parameters": float(number % 1009)}
        if self.settings.max_parameters and values["parameters"] > self.settings.max_parameters:
            return self.worst_evaluation(OVER_BUDGET)
        if number % 11 == 0:
            return self.worst_evaluation(DIVERGED, 1.0)
        return Evaluation.of([values[name] for name in self.settings.objectives], OK, 1.0, (0.1, values["accuracy"]))

    def refuse(self):
        raise InputError("evaluator: not today")

    def fault(self, name):
        path = Path(self.settings.faults) / name
        if self.settings.faults and path.exists():
            what, count = path.read_text().split()
            path.write_text(f"{what} {int(count) - 1}")
            if int(count) > 0:
                {"kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "hang": lambda: time.sleep(1000), "say": lambda: 1 / 0, "refuse": self.refuse}[what]()
""",  # noqa: E501
    "toy-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: toy\nVersion: 1\n",
    "toy-1.dist-info/entry_points.txt": "[evoml.evaluators]\ntoy = toy_evaluator\n[evoml.tasks]\ntoy = toy_task\n",  # noqa: E501
}


@contextmanager
def installed_toys(folder: Path) -> Iterator[None]:
    """Install the toy evaluator and its task, for this process and those that it starts."""
    for name, text in PLUGIN.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), os.pathsep)
        _forget()
        yield
    _forget()


def _forget() -> None:
    """What the registry remembers of what is installed."""
    names.cache_clear()
    installed.cache_clear()
