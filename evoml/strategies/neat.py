"""NeuroEvolution of Augmenting Topologies: generations of species, in which topologies compete with
their like.

Stanley, Miikkulainen 2002, "Evolving Neural Networks through Augmenting Topologies", Evolutionary
Computation 10(2): compatibility distance, species with random representatives of the generation
before, explicit fitness sharing, offspring in proportion to shared fitness. `preset` lays the
numbers and rules of the paper (`stanley2002`), of its published program (`stanley_code`, after its
ports) or of neat-python 2.0 (`neat_python`) under every other setting. What the paper leaves open:
weights move by a uniform step of at most 2.5, new ones are uniform within 8 and none goes beyond,
the best fifth of a species breeds. Departures: a fitness below zero is shifted, since it could not
be shared; where every species is stagnant the best one breeds; a stagnant species may still give a
father to another's child. The paper's rule for a population that is stuck is off (`stuck = 20` is
it). Left out of the program: delta coding, fathers of other species by their rank. Left out of
neat-python: what node genes and flags add to the distance; a switched link is drawn a child there,
not a gene, and a new link has 20 tries.
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from deap import base
from pydantic import Field, model_validator

from evoml.contracts.strategy import Strategy, StrategySettings, check_counts, first_population
from evoml.core.streams import MIGRATE, SELECT, VARY, outputs, streams
from evoml.genotypes.population import Population
from evoml.genotypes.schema import Genotype
from evoml.strategies import _neat_kernels as kernels

DISTANCES = ("classic", "unscaled", "relative")
TIES = ("random", "smaller", "second")
PRESETS: dict[str, dict[str, Any]] = {
    "stanley2002": {},
    "stanley_code": {
        "range": 2.5, "averaged": 0.4, "mate_only": 0.2, "layered": True, "exclusive": True,
        "severe": True, "distance": "unscaled", "representative": "champion", "ties": "smaller",
        "stagnant": "penalised", "champion_offspring": 5, "champion_size": 0,
    },
    "neat_python": {
        "mixed": True, "layered": True, "gaussian": True, "range": 1.0, "limit": 30.0, "power": 0.5,
        "weights": 1.0, "perturb": 0.8, "replace": 0.1, "toggle": 0.01, "add_node": 0.2,
        "delete_node": 0.2, "add_link": 0.5, "delete_link": 0.5, "split_disabled": True,
        "distance": "relative", "c3": 0.5, "nearest": True, "representative": "nearest",
        "ties": "second", "sharing": "normalised", "stagnation": 20, "species_elite": 2, "elite": 2,
        "champion_size": 0, "mutation_only": 0.0, "interspecies": 0.0, "least_survivors": 2,
        "least_species": 2,
    },
}  # fmt: skip
COLUMNS = ("id", "size", "now", "best", "since", "improved", "tested")  # of a species
RATES = (
    "mate_only", "averaged", "stays_disabled", "layered", "mixed", "add_node", "add_link",
    "delete_node", "delete_link", "exclusive", "weights", "perturb", "replace", "gaussian", "power",
    "range", "limit", "severe", "toggle", "alter", "split_disabled",
)  # fmt: skip


def _share(default: float, description: str) -> Any:
    return Field(default, ge=0, le=1, description=description)


class Settings(StrategySettings):
    """The paper's numbers; where a preset has others, those are the defaults."""

    preset: Literal["stanley2002", "stanley_code", "neat_python"] = Field(
        "stanley2002",
        description="whose rules lie under the other settings: the paper's, its program's, "
        "neat-python's",
    )
    population: int = Field(150, ge=2, le=10_000_000, description="P, networks of a generation")
    tested: Literal["best", "species", "all"] = Field(
        "best",
        description="who is tried on the selection tasks: the best of a generation, the best "
        "species' champion that was not yet, or everyone",
    )
    # Species.
    c1: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="weight of excess genes in the distance"
    )
    c2: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="weight of disjoint genes in the distance"
    )
    c3: float = Field(
        0.4,
        ge=0,
        allow_inf_nan=False,
        description="weight of the mean difference of common links' weights",
    )
    distance: Literal["classic", "unscaled", "relative"] = Field(
        "classic",
        description="genes counted by the larger genome's (1 below 20 genes), as they are, or "
        "always by the larger genome's, weights too",
    )
    threshold: float = Field(
        3.0,
        gt=0,
        allow_inf_nan=False,
        description="distance below which two networks are of one species",
    )
    species: int = Field(
        0, ge=0, description="species that the threshold is steered to; 0: it stays"
    )
    threshold_step: float = Field(
        0.3,
        gt=0,
        allow_inf_nan=False,
        description="how much it moves a generation, and its least value",
    )
    nearest: bool = Field(
        False,
        description="the species of the nearest representative, not the first that is close enough",
    )
    representative: Literal["random", "champion", "nearest"] = Field(
        "random",
        description="who stands for a species in the next generation: anyone, the best, or who is "
        "nearest to the one before",
    )
    # Who breeds.
    sharing: Literal["shared", "normalised"] = Field(
        "shared",
        description="offspring by shared fitness, or by the mean of fitness between the worst and "
        "the best, half way from the last size",
    )
    survivors: float = Field(
        0.2, gt=0, le=1, description="share of a species that breeds, its best"
    )
    least_survivors: int = Field(1, ge=1, description="and at least so many")
    least_species: int = Field(0, ge=0, description="least offspring of a species that breeds")
    stagnation: int = Field(
        15,
        ge=0,
        description="generations without a gain after which a species is stagnant; 0: never",
    )
    stagnant: Literal["barred", "penalised"] = Field(
        "barred",
        description="a stagnant species does not breed, or with a hundredth of its fitness",
    )
    species_elite: int = Field(0, ge=0, description="best species that are never stagnant")
    stuck: int = Field(
        0,
        ge=0,
        description="generations without a gain of anyone after which the two best species breed "
        "alone, once; 0: never",
    )
    champion_size: int = Field(
        5,
        ge=0,
        description="members above which a species' champion is copied unchanged; see "
        "champion_offspring",
    )
    champion_offspring: int = Field(
        0, ge=0, description="offspring above which it is, and champion_size 0"
    )
    elite: int = Field(1, ge=0, description="how many of the best are copied then")
    mutation_only: float = _share(0.25, "offspring of one parent")
    interspecies: float = _share(0.001, "offspring whose second parent is of another species")
    ties: Literal["random", "smaller", "second"] = Field(
        "random",
        description="of parents as good as each other: genes that one has at random, the smaller "
        "one's, or the second's",
    )
    # Crossover.
    averaged: float = _share(0.0, "crossovers that average the weights of common genes")
    mixed: bool = Field(
        False, description="weights and flags of common genes come from either parent on their own"
    )
    mate_only: float = _share(0.0, "crossovers without mutation")
    stays_disabled: float = _share(0.75, "genes that are disabled where they are in either parent")
    layered: bool = Field(
        False,
        description="that share is drawn after a parent's flag has been inherited, for common "
        "genes alone",
    )
    # Mutation.
    add_node: float = _share(0.03, "children in which a link is split")
    add_link: float = _share(0.05, "children that get a link")
    delete_node: float = _share(0.0, "children that lose a hidden node")
    delete_link: float = _share(0.0, "children that lose a link")
    exclusive: bool = Field(
        False, description="a child has one of a new node, a new link and moved weights"
    )
    weights: float = _share(0.8, "children whose weights change")
    perturb: float = _share(0.9, "of their weights: moved")
    replace: float = _share(0.1, "of their weights: drawn anew")
    power: float = Field(
        2.5, ge=0, allow_inf_nan=False, description="the largest step of a weight, or its deviation"
    )
    range: float = Field(
        8.0,
        gt=0,
        allow_inf_nan=False,
        description="new weights are uniform between minus this and this, or of this deviation",
    )
    gaussian: bool = Field(False, description="steps and new weights are normal, not uniform")
    severe: bool = Field(
        False,
        description="shares of moved and new weights by a coin and by the age of genes, as in the "
        "published program",
    )
    limit: float = Field(8.0, gt=0, allow_inf_nan=False, description="the largest weight")
    toggle: float = _share(0.0, "children in which a link is switched on or off")
    alter: float = _share(0.0, "children in which a hidden node gets another function")
    split_disabled: bool = Field(False, description="a disabled link may be split")

    @model_validator(mode="before")
    @classmethod
    def _laid_over(cls, values: Any) -> Any:
        """The preset's values under those that are given."""
        return (
            PRESETS.get(str(values.get("preset")), {}) | values
            if isinstance(values, dict)
            else values
        )

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.perturb + self.replace > 1 + 1e-9:
            raise ValueError(
                f"perturb, replace: {self.perturb:g} and {self.replace:g}: shares of the same "
                "weights; together at most 1"
            )
        return self

    @property
    def candidates(self) -> int:
        return self.population

    @property
    def alive(self) -> int:
        return self.population


class NEAT(Strategy):
    """A population of species. It is asked for a whole generation and told what that scored."""

    generational = True
    row_columns = ("generation", "species")
    needs = ("begin", "breed", "speciate", "distances", "rates", "sound")
    settings: Settings

    def __init__(
        self,
        toolbox: base.Toolbox,
        settings: Settings,
        seed: int,
        start_genotypes: Sequence[Genotype] = (),
    ) -> None:
        super().__init__(toolbox, settings, seed, start_genotypes)
        self.block = settings.population
        self.population: Population = toolbox.empty(0)
        self.representatives = self.population
        self.species = np.zeros(0, np.int64)  # [P] of everyone, a place in `table`
        self.table = _table(0)  # one row a species that has members
        self.counters = np.zeros(3, np.int64)
        self.generation = self.begun = self.improved = 0
        self.best, self.threshold = -np.inf, settings.threshold
        self._rates = toolbox.rates({name: getattr(settings, name) for name in RATES})

    def warm(self) -> None:
        """Compile what breeding and telling apart need."""
        two = self.toolbox.random(np.arange(2, dtype=np.uint64))
        self.toolbox.speciate(two, two, (1.0, 1.0, 1.0), 0, 1.0, False)
        none, no = np.zeros(0, np.int64), np.zeros(0, np.uint8)
        kernels.pair(
            none.view(np.uint64), none, none, none, none, none, no > 0, self.settings.elite,
            self.settings.interspecies, self.settings.mutation_only, 0, np.zeros(0), none, none,
            none, no, no,
        )  # fmt: skip

    # -- a generation ------------------------------------------------------------------------------

    def ask(self, ids: np.ndarray) -> Population:
        """The generation with these ids, not evaluated."""
        self.asked += len(ids)
        if not len(self.population):
            first = first_population(self.toolbox, self.seed, ids, self.start_genotypes, 0)
            self.counters = self.toolbox.begin(first)
            return first
        mothers, fathers, equal, elite = self._pairs(streams(self.seed, SELECT, ids))
        out: Population = self.toolbox.breed(
            self.population,
            mothers,
            fathers,
            equal,
            elite,
            streams(self.seed, VARY, ids),
            self._rates,
            self.counters,
        )
        out.ids[:] = ids
        out.parents[:, 0] = self.population.ids[mothers]
        out.parents[:, 1] = np.where(fathers >= 0, self.population.ids[fathers], -1)
        return out

    def tell(self, evaluated: Population) -> None:
        """Take the place of the generation before: find everyone's species, and who stands for
        it.
        """
        evaluated.birth[:] = self.told + np.arange(len(evaluated))
        self.told += len(evaluated)
        self.generation += 1
        own = self.settings
        places, new = self.toolbox.speciate(
            evaluated,
            self.representatives,
            (own.c1, own.c2, own.c3),
            DISTANCES.index(own.distance),
            self.threshold,
            own.nearest,
        )
        table = np.concatenate([self.table, _table(new)])
        table["id"][len(self.table) :] = self.begun + np.arange(new)
        table["since"][len(self.table) :] = table["improved"][len(self.table) :] = self.generation
        self.begun += new
        sizes = np.bincount(places, minlength=len(table))
        kept = np.flatnonzero(sizes)
        self.species = np.cumsum(sizes > 0)[places] - 1
        before = self._before(kept)
        self.table, self.population = table[kept], evaluated
        self._judge(sizes[kept])
        self.representatives = evaluated.take(self._stand(before))
        if own.species:
            self.threshold = max(
                self.threshold + own.threshold_step * np.sign(len(kept) - own.species),
                own.threshold_step,
            )

    def _judge(self, sizes: np.ndarray) -> None:
        """Who is the best of every species, and whether it has gained."""
        quality, table = self.population.quality, self.table
        self._rank()
        best = quality[self._order[self._starts]]
        gained = best > table["best"]
        table["improved"][gained], table["best"][gained] = self.generation, best[gained]
        table["size"], table["now"] = sizes, best
        if best.max() > self.best:
            self.best, self.improved = float(best.max()), self.generation

    def _rank(self) -> None:
        """Members species by species, the best first, and where each species starts."""
        self._order = np.lexsort((-self.population.quality, self.species))
        self._starts = np.searchsorted(self.species[self._order], np.arange(len(self.table)))

    def _before(self, kept: np.ndarray) -> Population:
        """The representatives of the species that are left, of those that were there before."""
        return self.representatives.take(kept[kept < len(self.representatives)])

    def _stand(self, before: Population) -> np.ndarray:
        """The members that represent their species from now on."""
        if self.settings.representative == "champion":
            return self._order[self._starts]
        draws = outputs(
            streams(self.seed, MIGRATE, np.array([self.generation])),
            np.arange(1, len(self.table) + 1),
        )
        chosen = self._order[self._starts + _below(draws, self.table["size"])]
        if self.settings.representative == "nearest":
            own, kind = self.settings, DISTANCES.index(self.settings.distance)
            for place in range(len(before)):
                members = self._order[
                    self._starts[place] : self._starts[place] + self.table["size"][place]
                ]
                gaps = self.toolbox.distances(
                    self.population, members, before, place, (own.c1, own.c2, own.c3), kind
                )
                chosen[place] = members[int(gaps.argmin())]
        return chosen

    # -- who breeds with whom ----------------------------------------------------------------------

    def offspring(self) -> np.ndarray:
        """How many children each species has, [S]; they sum to the population's size."""
        own, table, quality = self.settings, self.table, self.population.quality
        finite = np.isfinite(quality)
        # in whose units no sum of the largest or smallest numbers overflows
        size = max(float(np.abs(quality[finite]).max(initial=0.0)), 1e-300)
        quality, unit = quality / size, 1.0 / size
        low = float(quality[finite].min(initial=np.inf))
        high = float(quality[finite].max(initial=-np.inf))
        if own.sharing == "normalised":
            scaled = np.where(finite, (quality - low) / max(high - low, unit), 0.0)
        else:
            scaled = np.where(finite, quality - min(low, 0.0), 0.0)
        shared = np.bincount(self.species, scaled, len(table)) / table["size"]
        breeding = self._breeding()
        if own.stagnant == "penalised" and not self._stuck:
            shared = np.where(breeding, shared, 0.01 * shared)
            breeding[:] = True
        shared = np.where(breeding, shared, 0.0)
        if not shared.any():
            shared = breeding.astype(float)
        target = shared * (own.population / shared.sum())
        if own.sharing == "normalised":
            target = np.where(
                breeding,
                np.maximum(table["size"] + 0.5 * (target - table["size"]), own.least_species),
                0.0,
            )
            target *= own.population / target.sum()
        return _whole(target, own.population)

    @property
    def _stuck(self) -> bool:
        """Whether nobody has gained for so long that the two best species breed alone."""
        waited = self.generation - self.improved
        return self.settings.stuck > 0 < waited and waited % self.settings.stuck == 0

    def _breeding(self) -> np.ndarray:
        """Which species are not stagnant, at least one."""
        own, table = self.settings, self.table
        rank = np.lexsort((table["id"], -table["now"]))
        out: np.ndarray = np.ones(len(table), bool)
        if own.stagnation:
            out = self.generation - table["improved"] < own.stagnation
            out[rank[: own.species_elite]] = True
        if self._stuck:
            out[:] = False
            out[rank[:2]] = True
        if not out.any():
            out[rank[0]] = True
        return out

    def _pairs(self, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Mother, father or -1, whether they are as fit as each other, and whether the child is a
        copy; [P] each.
        """
        own, sizes, count = self.settings, self.table["size"], len(draws)
        quotas = self.offspring()
        breeders = np.minimum(
            np.maximum(np.ceil(own.survivors * sizes).astype(np.int64), own.least_survivors), sizes
        )
        copied = (
            (quotas > own.champion_offspring)
            if own.champion_offspring
            else (sizes > own.champion_size)
        )
        mothers, fathers = np.zeros(count, np.int64), np.zeros(count, np.int64)
        equal, elite = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
        kernels.pair(
            draws, self._order, self._starts, np.ascontiguousarray(sizes), quotas, breeders, copied,
            own.elite, own.interspecies, own.mutation_only, TIES.index(own.ties),
            self.population.quality, np.ascontiguousarray(self.population.sizes[:, 1]), mothers,
            fathers, equal, elite,
        )  # fmt: skip
        return mothers, fathers, equal, elite

    # -- what others see ---------------------------------------------------------------------------

    def tested(self) -> np.ndarray:
        """Who is to be tried on the selection tasks, indices."""
        if self.settings.tested == "all":
            return np.arange(len(self.population))
        champions = self._order[self._starts]
        champions = champions[np.argsort(-self.population.quality[champions], kind="stable")]
        if self.settings.tested == "species":
            fresh = champions[
                self.table["now"][self.species[champions]]
                != self.table["tested"][self.species[champions]]
            ]
            champions = fresh[:1]
            self.table["tested"][self.species[champions]] = self.population.quality[champions]
        return champions[:1]

    def groups(self) -> list[dict[str, Any]]:
        """Every species of this generation: its number, members, best fitness now and ever, and the
        generations it began and last gained in.
        """
        return [dict(zip(COLUMNS[:-1], row)) for row in self.table.tolist()]

    @property
    def alive(self) -> Population:
        return self.population

    def row_values(self) -> dict[str, np.ndarray]:
        """The generation, from 1, and the number of everyone's species."""
        count = len(self.population)
        species = self.table["id"][self.species] if count else np.zeros(0, np.int64)
        return {"generation": np.full(count, self.generation, np.int64), "species": species}

    def state_dict(self) -> dict[str, Any]:
        """Numbers, and the two populations."""
        names = ("asked", "told", "generation", "begun", "improved", "best", "threshold")
        arrays = {
            "species": self.species,
            "counters": self.counters,
            **{f"table.{name}": self.table[name] for name in COLUMNS},
        }
        people = {
            "population": self.population.state(),
            "representatives": self.representatives.state(),
        }
        return {name: getattr(self, name) for name in names} | people | {"arrays": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state. Raises ValueError for one that does not fit."""
        self.asked, self.told = check_counts(state["asked"], state["told"])
        self.generation, self.begun = check_counts(state["generation"], state["begun"])
        self.improved, self.best, self.threshold = (
            int(state["improved"]),
            float(state["best"]),
            float(state["threshold"]),
        )
        schema, weights, arrays = self.population.schema, self.population.weights, state["arrays"]
        self.population = Population.from_state(schema, state["population"], weights)
        self.representatives = Population.from_state(schema, state["representatives"], weights)
        if not (self.toolbox.sound(self.population) and self.toolbox.sound(self.representatives)):
            raise ValueError("not genomes")
        self.species, self.counters = (
            np.array(arrays["species"], np.int64),
            np.array(arrays["counters"], np.int64),
        )
        self.table = _table(len(arrays["table.id"]))
        for name in COLUMNS:
            self.table[name] = arrays[f"table.{name}"]
        sizes = (
            np.bincount(self.species, minlength=len(self.table))
            if len(self.species)
            else np.zeros(0, np.int64)
        )
        if (
            self.counters.shape != (3,)
            or len(self.species) != len(self.population)
            or len(sizes) != len(self.table)
        ):
            raise ValueError("not the species of this population")
        if len(self.population):
            if len(self.representatives) != len(self.table) or not sizes.all():
                raise ValueError("not the species of this population")
            self._rank()


def _table(count: int) -> np.ndarray:
    """Rows of species: number, members, best fitness now and ever, generations of the first member
    and of the last gain, and the fitness that its last tested champion had.
    """
    out = np.zeros(
        count, list(zip(COLUMNS, ("i8", "i8", "f8", "f8", "i8", "i8", "f8"), strict=True))
    )
    out["now"] = out["best"] = out["tested"] = -np.inf
    return out


def _below(bits: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """A number in 0 .. limit - 1 from 64 random bits each."""
    out: np.ndarray = (
        ((bits >> np.uint64(32)) * limits.astype(np.uint64)) >> np.uint64(32)
    ).astype(np.int64)
    return out


def _whole(shares: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers near `shares` that sum to `total`: the largest remainders are rounded up."""
    out = np.floor(shares).astype(np.int64)
    order = np.argsort(out - shares, kind="stable")
    missing = total - int(out.sum())
    out[order[: max(missing, 0)]] += 1
    if missing < 0:
        out[out.argmax()] += missing
    return out
