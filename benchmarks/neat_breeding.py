"""How many microseconds does a child cost, from the choice of its parents to its species?

    python benchmarks/neat_breeding.py [--repeats 7] [--result FILE]

Genomes of about 60 links are grown from random parents at high rates, then generations at the
paper's rates are timed on one pinned core: ask (parents, crossover, mutation) and tell (species,
representatives), and the lowering to instruction tables. Fitness is random. Beside it neat-python's
reproduction and speciation of its own genomes of that size, where it is installed. Writes
benchmarks/results/neat_breeding.json.
"""

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from evoml.archive.files import write_atomically
from evoml.evaluators.rollout import RolloutEvaluator, Settings
from evoml.genotypes.population import OK
from evoml.search.toolbox import toolbox
from evoml.spaces import neat as spaces
from evoml.strategies import neat as strategies
from evoml.tasks import xor

RESULT = Path(__file__).parent / "results" / "neat_breeding.json"
INPUTS, OUTPUTS, LINKS = 8, 4, 60
# Members, and the threshold that gives few or hundreds of species.
SIZES = {
    "1,000": (1000, 3.0),
    "10,000, hundreds of species": (10_000, 2.5),
    "100,000": (100_000, 4.0),
}


class Shape:
    inputs, outputs, bias, output = INPUTS, OUTPUTS, 1.0, "sigmoid"


def grown(size: int, threshold: float) -> Any:
    """A strategy whose population has LINKS links on average."""
    space = spaces.NEATSpace(spaces.Settings()).for_task(Shape())
    box = toolbox(
        space,
        RolloutEvaluator(Settings(), xor.XorTask(xor.Settings(), None, 0).search(), space, "numba"),
    )
    own = strategies.Settings(
        population=size,
        threshold=threshold,
        add_node=0.5,
        add_link=0.8,
        stagnation=0,
        survivors=1.0,
        champion_size=size,
    )
    one, rng = strategies.NEAT(box, own, 1), np.random.default_rng(1)
    generation(one, rng)
    while one.population.sizes[:, 1].mean() < LINKS:
        generation(one, rng)
    quiet = strategies.Settings(population=size, threshold=threshold)
    one.settings, one._rates = (
        quiet,
        box.rates({name: getattr(quiet, name) for name in strategies.RATES}),
    )
    return one, rng, space


def generation(one: Any, rng: np.random.Generator) -> tuple[float, float]:
    """Seconds of ask and of tell."""
    began = time.perf_counter()
    population = one.ask(one.asked + np.arange(one.settings.population))
    asked = time.perf_counter() - began
    population.fitness[:, 0], population.status[:] = rng.random(len(population)), OK
    began = time.perf_counter()
    one.tell(population)
    return asked, time.perf_counter() - began


def measured(size: int, threshold: float, repeats: int) -> dict[str, Any]:
    one, rng, space = grown(size, threshold)
    times = [generation(one, rng) for _ in range(repeats)]
    began = time.perf_counter()
    space.phenotypes(one.population)
    lowering = time.perf_counter() - began
    ask, tell = (statistics.median(each) for each in zip(*times, strict=True))
    micro = {
        name: seconds / size * 1e6
        for name, seconds in (("ask", ask), ("tell", tell), ("lowering", lowering))
    }
    return micro | {
        "child": micro["ask"] + micro["tell"],
        "links": float(one.population.sizes[:, 1].mean()),
        "species": len(one.table),
    }


def peer(repeats: int) -> dict[str, Any] | None:
    """neat-python's reproduction and speciation of 1,000 genomes of that size; None where it is not
    installed.
    """
    try:
        import neat
    except ImportError:
        return None
    text = f"""[NEAT]
fitness_criterion = max
fitness_threshold = 1e9
no_fitness_termination = True
pop_size = 1000
reset_on_extinction = True
[DefaultGenome]
activation_default = sigmoid
activation_mutate_rate = 0.0
activation_options = sigmoid
aggregation_default = sum
aggregation_mutate_rate = 0.0
aggregation_options = sum
bias_init_mean = 0.0
bias_init_stdev = 1.0
bias_max_value = 30.0
bias_min_value = -30.0
bias_mutate_power = 0.5
bias_mutate_rate = 0.7
bias_replace_rate = 0.1
bias_init_type = gaussian
compatibility_disjoint_coefficient = 1.0
compatibility_weight_coefficient = 0.5
conn_add_prob = 0.05
conn_delete_prob = 0.0
enabled_default = True
enabled_mutate_rate = 0.01
enabled_rate_to_true_add = 0.0
enabled_rate_to_false_add = 0.0
feed_forward = True
initial_connection = full_direct
node_add_prob = 0.03
node_delete_prob = 0.0
num_hidden = 2
num_inputs = {INPUTS}
num_outputs = {OUTPUTS}
response_init_mean = 1.0
response_init_stdev = 0.0
response_init_type = gaussian
response_max_value = 30.0
response_min_value = -30.0
response_mutate_power = 0.0
response_mutate_rate = 0.0
response_replace_rate = 0.0
single_structural_mutation = False
weight_init_mean = 0.0
weight_init_stdev = 1.0
weight_init_type = gaussian
weight_max_value = 30
weight_min_value = -30
weight_mutate_power = 0.5
weight_mutate_rate = 0.8
weight_replace_rate = 0.1
[DefaultSpeciesSet]
compatibility_threshold = 6.0
[DefaultStagnation]
species_fitness_func = max
max_stagnation = 100
species_elitism = 2
[DefaultReproduction]
elitism = 1
survival_threshold = 0.2
min_species_size = 1
"""
    random.seed(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_text(text)
        config = neat.Config(
            neat.DefaultGenome,
            neat.DefaultReproduction,
            neat.DefaultSpeciesSet,
            neat.DefaultStagnation,
            str(path),
        )
    population = neat.Population(config)
    times = []
    for number in range(repeats):
        for genome in population.population.values():
            genome.fitness = random.random()
        began = time.perf_counter()
        population.population = population.reproduction.reproduce(
            config, population.species, config.pop_size, number
        )
        population.species.speciate(config, population.population, number + 1)
        times.append(time.perf_counter() - began)
    links = statistics.mean(len(genome.connections) for genome in population.population.values())
    return {
        "child": statistics.median(times) / 1000 * 1e6,
        "links": links,
        "species": len(population.species.species),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    measured(50, 3.0, 1)  # compiles
    rows = []
    for name, size in SIZES.items():
        rows.append({"what": name, **measured(*size, options.repeats)})
        print(rows[-1], flush=True)
    other = peer(3)
    if other:
        rows.append({"what": "neat-python, 1,000", **other})
        print(rows[-1])
    write_atomically(options.result, (json.dumps({"rows": rows}, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
