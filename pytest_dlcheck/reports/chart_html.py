"""Histories drawn as one HTML file that opens offline, by plotly. It takes values; nothing is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from pytest_dlcheck.reports.files import write_text
from pytest_dlcheck.reports.html.history import History

_PANEL = 300
_VALUE, _LEVEL, _CHANGE = "#1f77b4", "#444", "#c33"


def write_html(path: Path, histories: Sequence[History]) -> None:
    """Draw each history below the other.

    Args:
        path: the file; its folder is made if it is not there.
        histories: what is drawn.

    Raises:
        ReportError: it cannot be written.
    """
    from plotly.io import to_html
    from plotly.subplots import make_subplots

    room = min(0.3, 90 / (_PANEL * len(histories)))
    figure = make_subplots(
        rows=len(histories),
        vertical_spacing=room / max(1, len(histories) - 1) if len(histories) > 1 else 0,
        subplot_titles=[_title(history) for history in histories],
    )
    for row, history in enumerate(histories, 1):
        _panel(figure, row, history)
    figure.update_layout(
        height=_PANEL * len(histories) + 60,
        template="plotly_white",
        showlegend=False,
        hovermode="closest",
        margin={"l": 80, "r": 30, "t": 50, "b": 40},
    )
    write_text(path, to_html(figure, include_plotlyjs=True, full_html=True))


def _panel(figure: Any, row: int, history: History) -> None:
    from plotly import graph_objects

    points, places = history.points, list(range(len(history.points)))
    figure.add_trace(
        graph_objects.Scatter(
            x=places,
            y=[point.value if math.isfinite(point.value) else None for point in points],
            mode="markers",
            marker={"color": _VALUE, "size": 7},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [_reach(point.high, point.value) for point in points],
                "arrayminus": [_reach(point.value, point.low) for point in points],
                "color": _VALUE,
                "thickness": 1,
                "width": 0,
            },
            customdata=[[_escaped(point.label), point.when] for point in points],
            hovertemplate="%{y:,.5g}<br>%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        ),
        row=row,
        col=1,
    )
    for index in history.changes:
        figure.add_vline(
            x=index - 0.5, line={"color": _CHANGE, "width": 1, "dash": "dot"}, row=row, col=1
        )
    for start, end in pairwise([0, *history.changes, len(points)] if history.changes else []):
        level = [point.value for point in points[start:end] if math.isfinite(point.value)]
        if level:
            line = graph_objects.Scatter(
                x=[start - 0.4, end - 0.6],
                y=[median(level)] * 2,
                mode="lines",
                line={"color": _LEVEL, "width": 2},
                hoverinfo="skip",
            )
            figure.add_trace(line, row=row, col=1)
    shown = places[:: max(1, len(places) // 8)]
    figure.update_xaxes(
        tickvals=shown,
        ticktext=[points[i].when[:10] for i in shown],
        showgrid=False,
        zeroline=False,
        row=row,
        col=1,
    )


def _title(history: History) -> str:
    unit = "" if history.unit in {"", "ratio", "count"} else f", {history.unit}"
    return _escaped(f"{history.recipe} · {history.measure}{unit}")


def _reach(high: float | None, low: float | None) -> float:
    known = high is not None and low is not None and math.isfinite(high - low)
    return max(0.0, high - low) if known and high is not None and low is not None else 0.0


def _escaped(text: str) -> str:
    """Text as plotly shows it: it takes some HTML for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
