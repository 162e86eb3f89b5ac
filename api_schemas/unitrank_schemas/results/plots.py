"""The values of a plot, for programs and pages that draw it themselves."""

from typing import Literal

from pydantic import Field

from unitrank_schemas.base import Schema

Numbers = list[float | None]


class PlotAxis(Schema):
    """An axis. `names`: of the rows or columns of a matrix. `values`: the x of all lines."""

    label: str
    scale: Literal["share", "linear"] | None = Field(None, description="`share`: from 0 to 1, spaced by logarithm.")
    values: list[float] | None = None
    names: list[str] | None = None
    low: float | None = Field(None, description="The value of the first colour.")
    high: float | None = Field(None, description="The value of the last colour.")


class PlotSeries(Schema):
    """One line. Lines of one ranking have one colour."""

    name: str
    order: Literal["most", "least", "keep"]
    colour: int
    values: Numbers
    units: list[int] | None = Field(None, description="The unit of each value, where the line runs over units.")


class PlotBand(Schema):
    """The range of the random orders."""

    name: str
    low: Numbers
    high: Numbers


class PlotPanel(Schema):
    """One part of a plot: lines, bars, intervals or a matrix.

    It has the fields of its kind only.
    """

    kind: Literal["lines", "bars", "intervals", "matrix"]
    x: PlotAxis | None = None
    y: PlotAxis | None = None
    series: list[PlotSeries] | None = None
    band: PlotBand | None = None
    labels: list[str] | None = Field(None, description="The name of each bar or interval.")
    values: Numbers | list[Numbers] | None = None
    groups: list[str] | None = Field(None, description="The verdict of each bar.")
    units: list[int] | None = Field(None, description="The unit of each bar, where the bars are units.")
    low: Numbers | None = None
    high: Numbers | None = None
    rows: PlotAxis | None = None
    columns: PlotAxis | None = None
    value: PlotAxis | None = Field(None, description="The meaning of the colours of a matrix.")


class Plot(Schema):
    """The values of a plot."""

    title: str
    panels: list[PlotPanel]
