"""Two poles balanced without seeing velocities, which a network has to work out with its memory:
`double_pole` with its other settings.

Gruau, Whitley, Pyeatt 1996 and Stanley, Miikkulainen 2002, as in `evoml.tasks.double_pole`; a task
of its own, since the published settings of a search differ.
"""

from pathlib import Path

from pydantic import Field

from evoml.tasks import double_pole


class Settings(double_pole.Settings):
    """From 4 degrees, by the fitness of Gruau over 1,000 steps."""

    velocities: bool = Field(
        default=False,
        description="whether the network sees velocities; without, it has to remember",
    )


class DoublePoleWithoutVelocitiesTask(double_pole.DoublePoleTask):
    """The harder of the two published experiments."""

    def __init__(self, settings: Settings, data: Path | None, seed: int) -> None:
        super().__init__(settings, data, seed)
