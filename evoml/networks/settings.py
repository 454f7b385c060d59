"""How images are varied, and how supernets and single networks are trained, as settings."""

from typing import Any, Literal

from pydantic import Field

from evoml.core import settings


class ImageSettings(settings.Settings):
    """How training images are varied."""

    cutout: int = Field(
        0, ge=0, description="side of the square that is set to the mean, in pixels; 0: none"
    )
    shift: int = Field(
        0,
        ge=0,
        description="most pixels that an image is moved by, either way along both axes; 0: none",
    )
    flip: bool = Field(False, description="mirror half of the images")

    @property
    def augmentation(self) -> dict[str, Any]:
        """These, by name."""
        return {"shift": self.shift, "flip": self.flip, "cutout": self.cutout}


class SupernetSettings(ImageSettings):
    """What is the same of every training of a supernet."""

    batch: int = Field(64, ge=2, le=65_536, description="images a step, at most all")
    momentum: float = Field(0.9, ge=0, lt=1, description="of the weights' SGD")
    threads: int = Field(
        1, ge=1, le=1024, description="that torch uses in the supernet; results depend on it"
    )


class TrainingSettings(ImageSettings):
    """How one network is trained.

    Steps are batches; a last batch that is not full waits for the next epoch's order.
    """

    epochs: int = Field(10, ge=1, le=10_000, description="passes over the training images")
    batch: int = Field(64, ge=2, le=65_536, description="images a step, at most all")
    optimiser: Literal["sgd", "adam"] = Field("sgd", description="sgd has Nesterov's momentum")
    lr: float = Field(0.05, gt=0, le=1_000, description="learning rate at the start")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    schedule: Literal["cosine", "constant", "step"] = Field(
        "cosine", description="cosine: to zero at the last step"
    )
    decay_factor: float = Field(0.1, gt=0, le=1, description="of schedule step")
    decay_epochs: int = Field(10, ge=1, description="of schedule step: epochs between two factors")
    weight_decay: float = Field(3e-4, ge=0, le=10, description="L2 penalty on every parameter")
    clip: float = Field(5.0, ge=0, description="largest norm of the whole gradient; 0: no limit")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of a label that is spread over all classes"
    )
    drop_path_keep: float = Field(
        1.0,
        gt=0,
        le=1,
        description="share of paths kept at the last step, in the last cell (ScheduledDropPath); "
        "paths of space cell only",
    )
    auxiliary_weight: float = Field(
        0.4, ge=0, description="of the auxiliary head's loss, where the skeleton has one"
    )
    report: Literal["last", "best"] = Field(
        "last", description="the epoch whose accuracy and weights count"
    )
