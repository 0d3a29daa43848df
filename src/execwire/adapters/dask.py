"""`execwire.convert` on a Dask cluster: one task for each capture, all of them on a file system that everybody sees."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execwire.basics import needed
from execwire.batch import FileReport
from execwire.convert import Plan, convert_file, merge, named, save, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from distributed import Client

    from execwire.batch import Source

__all__ = ["convert"]

as_completed = needed("distributed", "execwire[dask]").as_completed


def convert(
    client: Client,
    source: Source | Iterable[Source],
    out: str | os.PathLike[str],
    *,
    resume: bool = True,
    retries: int = 2,
    progress: Callable[[FileReport], object] | None = None,
    **options: Any,
) -> FileReport:
    """Convert captures to files below a folder, on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    source : path or several
        As for `execwire.read_capture`, but no file objects. Workers find them under the same paths.
    out : path
        Workers write there. The outputs of a capture appear when it is complete, whoever made them, and are the same
        whenever they are made again.
    resume : bool
        Pass over captures that are done and unchanged: after the death of the driver, run it again.
    retries : int
        How often a task that fails is tried again. One whose worker dies is given to another worker anyway, as often
        as Dask's ``distributed.scheduler.allowed-failures`` says.
    progress : callable
        Is told the report of each capture when it is done.
    **options
        As for `execwire.convert.Plan`.

    Returns
    -------
    FileReport
        Of all captures together; also in ``OUT/_report.json``, with those of the single ones in ``OUT/_reports``. Its
        ``damage`` names the captures that could not be read to their ends or not be converted.

    Examples
    --------
    >>> with distributed.Client("tcp://scheduler:8786") as client:  # doctest: +SKIP
    ...     report = execwire.adapters.dask.convert(client, "/captures/*.gz", "/lake/private", venue="binance-spot")
    """
    plan = Plan(os.fspath(out), **options)
    paths = [os.path.abspath(one) for one in named(source)]  # noqa: PTH100
    sweep(paths, plan)
    futures = client.map(convert_file, paths, plan=plan, resume=resume, pure=False, retries=retries)
    names = dict(zip(futures, paths, strict=True))
    reports: dict[str, FileReport] = {}
    for future in as_completed(futures):
        path = names[future]
        error = future.exception()
        reports[path] = (
            future.result() if error is None else FileReport(path, damage=f"{type(error).__name__}: {error}")
        )
        future.release()
        if progress is not None:
            progress(reports[path])
    sweep(paths, plan)  # of the workers that died
    total = merge((reports[path] for path in dict.fromkeys(paths)), f"{len(reports)} captures")
    save(Path(plan.folder, "_report.json"), dataclasses.asdict(total))
    return total
