"""What pictures by matplotlib share: a figure without a screen, and its document."""

from io import StringIO
from typing import Any

GREY, DARK, MARKED = "#8a8a8a", "#1b3a6b", "#c8320a"  # apart in grey, and to the colour-blind
INCHES = 72.0  # points of a document in one


def figure(width: float, height: float, columns: int = 1) -> tuple[Any, list[Any]]:
    """An empty figure with so many panels beside each other. width, height: inches."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    out = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(out)
    return out, list(out.subplots(1, columns, squeeze=False)[0])


def document(picture: Any, title: str) -> str:
    """A figure as SVG, the same for the same figure: texts are texts, and no date is in it."""
    from matplotlib import rc_context

    out = StringIO()
    with rc_context({"svg.hashsalt": "evoml", "svg.fonttype": "none"}):
        about = {"Date": None, "Creator": "evoml", "Title": title}
        picture.savefig(out, format="svg", metadata=about)
    return out.getvalue()
