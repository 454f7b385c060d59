"""How a table is read: what users set where a file is not as most are."""

import math
from typing import Literal

from pydantic import Field

from evoml.core import settings
from evoml.core.settings import UNNAMED

NOTHING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
    "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null",
)  # fmt: skip


class TableSettings(settings.Settings):
    """How a table is read, and which of its columns are taken."""

    target: str = Field(
        default="",
        description="name of the target's column, several with commas between them; empty: the "
        "last column",
    )
    ignore: str = Field(
        default="",
        description="names of columns that are left out, with commas between them",
    )
    missing: Literal["refuse", "mean", "median", "drop"] = Field(
        default="refuse",
        description="what is done where an input has no value: nothing is searched; the mean or "
        "median of the training part is taken; or the row is left out",
    )
    missing_values: tuple[str, ...] = Field(
        default=NOTHING,
        description="texts that stand for no value, beside the empty one: the default's in CSV "
        "files, others in any file; those that are numbers, such as -9999, stand for them too",
    )
    inference: Literal["values", "types"] = Field(
        default="values",
        description="values: indices are left out, text that is numbers is numbers, and floats "
        "that are whole and few are classes; types: every column is what its type says",
        json_schema_extra={UNNAMED: "types"},
    )
    categories: int = Field(
        default=20,
        ge=0,
        le=10_000,
        description="text of at most so many different values is an input for each of them; "
        "columns of more are refused",
    )
    encoding: str = Field(default="utf-8", description="of a CSV file, such as latin-1 or utf-16")
    separator: str = Field(
        default=",", min_length=1, max_length=1, description="between the columns of a CSV file"
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="point of the numbers in a CSV file"
    )
    header: bool = Field(
        default=True, description="whether a CSV file's first line has the names of its columns"
    )

    @property
    def infers(self) -> bool:
        """Whether columns are what their values say."""
        return self.inference == "values"

    @property
    def markers(self) -> tuple[float, ...]:
        """Numbers that stand for no value."""
        found = (float(text) for text in self.missing_values if is_number(text))
        return tuple(each for each in found if not math.isnan(each))

    def with_missing(self, texts: list[str]) -> str:
        """The setting that takes these, too, for no value."""
        named = [] if self.missing_values == NOTHING else list(self.missing_values)
        return f'--set "task.missing_values={[*named, *texts]}"'


def is_number_of(settings: TableSettings, text: str) -> bool:
    """Whether a text is a number as the file writes them: with decimal commas, a point is none."""
    return is_number(text) and not (settings.decimal == "," and "." in text)


def is_number(text: str) -> bool:
    """Whether a text is a number as CSV files have them."""
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
