"""An event file of TensorBoard, by TensorBoard's own library; torch is not needed.

The library's usual writer names files by the machine's host name, which is nobody's business here.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any

from pytest_dlcheck.reports.files import write_bytes
from pytest_dlcheck.reports.hyperparameters import RESULTS, VALUES

BUCKETS = 30
"""Buckets of a distribution, as many as TensorBoard's own."""


class Events:
    """What one event file holds; nothing is on the disk before it is written.

    Args:
        path: the file.
        start: the time of the first event, in seconds since 1970.
    """

    def __init__(self, path: Path, start: float) -> None:
        self._path, self._start = path, start
        self._steps: list[int] = []
        self._elapsed: list[float] = []
        self._known: set[str] = set()
        self._by_step: dict[int, Any] = {}

    def clock(self, seconds: Mapping[int, float]) -> None:
        """Say how long each step took, so that later events have their times."""
        known = {step: max(0.0, min(value, 1e9)) for step, value in sorted(seconds.items())}
        self._steps = list(known)
        self._elapsed = list(accumulate(known.values()))

    def scalars(self, tag: str, curve: Mapping[int, float]) -> None:
        """Add a number per step."""
        from tensorboard.plugins.scalar import metadata

        about = metadata.create_summary_metadata(display_name="", description="")
        for step, value in curve.items():
            self._add(tag, about, [value], (), step)

    def distribution(self, tag: str, rows: Mapping[int, Sequence[float]]) -> None:
        """Add a distribution per step."""
        from tensorboard.plugins.histogram import metadata

        about = metadata.create_summary_metadata(display_name="", description="")
        every = [value for row in rows.values() for value in row]
        for step, row in rows.items():
            buckets = _buckets(row, min(every), max(every))
            flat = [number for bucket in buckets for number in bucket]
            self._add(tag, about, flat, (len(buckets), 3), step)

    def text(self, tag: str, text: str) -> None:
        """Add a text in Markdown."""
        from tensorboard.plugins.text import metadata

        about = metadata.create_summary_metadata(display_name="", description="")
        self._add(tag, about, [text.encode("utf-8", errors="replace")], (), 0)

    def hyperparameters(self) -> None:
        """Add the schema of the table."""
        from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

        columns = [HParam(name) for name in VALUES]
        metrics = [Metric(tag, display_name=title) for tag, title in RESULTS.items()]
        self._summary(hparams_config_pb(columns, metrics, time_created_secs=self._start))

    def run(self, name: str, values: Mapping[str, str | float]) -> None:
        """Add an entry to the table."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        told = {key: _clean(v) if isinstance(v, str) else v for key, v in values.items()}
        self._summary(hparams_pb(told, trial_id=_clean(name), start_time_secs=self._start))

    def write(self) -> None:
        """Write the file in one go.

        Raises:
            ReportError: it cannot be written.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        content = BytesIO()
        writer = RecordWriter(content)
        head = Event(wall_time=self._start, file_version="brain.Event:2")
        writer.write(head.SerializeToString())
        for step, summary in sorted(self._by_step.items()):
            time = self._start + self._seconds_until(step)
            event = Event(wall_time=time, step=step, summary=summary)
            writer.write(event.SerializeToString())
        write_bytes(self._path, content.getvalue())

    def _add(
        self, tag: str, about: Any, values: Sequence[Any], shape: tuple[int, ...], step: int
    ) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        tensor, told = _tensor(values, shape), None if tag in self._known else about
        self._known.add(tag)  # what a tag stands for is read where it is met first
        value = Summary.Value(tag=_clean(tag), metadata=told, tensor=tensor)
        self._summary(Summary(value=[value]), step)

    def _summary(self, summary: Any, step: int = 0) -> None:
        self._by_step.setdefault(step, type(summary)()).MergeFrom(summary)

    def _seconds_until(self, step: int) -> float:
        index = bisect.bisect_right(self._steps, step)
        return self._elapsed[index - 1] if index else 0.0


def _tensor(values: Sequence[Any], shape: tuple[int, ...]) -> Any:
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_DOUBLE, DT_FLOAT, DT_STRING

    dims = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in shape])
    if values and isinstance(values[0], bytes):
        return TensorProto(dtype=DT_STRING, tensor_shape=dims, string_val=values)
    if not shape:  # TensorBoard's fast loader passes over scalars of double precision
        return TensorProto(dtype=DT_FLOAT, tensor_shape=dims, float_val=values)
    return TensorProto(dtype=DT_DOUBLE, tensor_shape=dims, double_val=values)


def _buckets(values: Sequence[float], low: float, high: float) -> list[tuple[float, float, float]]:
    """Equally wide buckets ``(left, right, count)`` from low to high, which are finite."""
    if low == high:
        return [(low - 0.5, high + 0.5, float(len(values)))]
    width = (high - low) / BUCKETS
    counts = [0] * BUCKETS
    for value in values:
        counts[min(int((value - low) / width), BUCKETS - 1)] += 1
    return [(low + i * width, low + (i + 1) * width, float(n)) for i, n in enumerate(counts)]


def _clean(tag: str) -> str:
    """A tag that every file and page can hold."""
    from pytest_dlcheck.reports.text import one_line

    return one_line(tag).encode("utf-8", errors="replace").decode("utf-8")[:300]
