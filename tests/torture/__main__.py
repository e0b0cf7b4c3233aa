"""`python -m tests.torture`: every fault, its figures beside those it must reach; exit 1 if any is not survived."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.servers.process import NotStarted
from tests.torture.catalogue import BY_NUMBER, CASES
from tests.torture.result import Case, Result
from tests.torture.stage import Stage

DEFAULT_SEED = 20261122


def main(arguments: Sequence[str]) -> int:
    """Run the cases asked for; 0 if all passed, 1 if not, 2 if there is nothing to run them on."""
    options = _options(arguments)
    cases = [BY_NUMBER[number] for number in options.case] if options.case else list(CASES)
    folder = Path(tempfile.mkdtemp(prefix="bellwether-torture-", dir=options.dir))
    form = "long" if options.long else "short"
    print(f"torture: {len(cases)} cases, {form} form, {options.database}, seed {options.seed}", flush=True)
    results: list[tuple[Case, Result, float]] = []
    began = time.monotonic()
    try:
        with Stage(folder, options.seed, options.long, options.database) as stage:
            for case in cases:
                start = time.monotonic()
                result = _run(case, stage)
                results.append((case, result, time.monotonic() - start))
                _say(case, result, results[-1][2], options)
    except NotStarted as error:
        print(f"torture: {error}", file=sys.stderr)
        return 2
    failed = [case for case, result, _ in results if not result.passed]
    _table(results, time.monotonic() - began)
    if failed or options.keep:
        print(f"logs: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return int(bool(failed))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--short", dest="long", action="store_false", help="each case in seconds (the default)")
    form.add_argument("--long", action="store_true", help="the figures of the pass table, where they fit")
    parser.set_defaults(long=False)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument(
        "--case", type=_numbers, default=(), metavar="1,2,…", help=f"of {', '.join(map(str, BY_NUMBER))}"
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--dir", type=Path, default=None, help="where to keep folders and logs meanwhile")
    parser.add_argument("--keep", action="store_true", help="keep the logs of what passed, too")
    return parser.parse_args(arguments)


def _numbers(text: str) -> list[int]:
    numbers = [int(each) for each in text.split(",")]
    if unknown := [each for each in numbers if each not in BY_NUMBER]:
        raise argparse.ArgumentTypeError(f"no case {unknown[0]}")
    return numbers


def _run(case: Case, stage: Stage) -> Result:
    result = Result()
    try:
        case.run(stage, result)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        result.holds([f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"])
    finally:
        stage.repair()
    return result


def _say(case: Case, result: Result, took: float, options: argparse.Namespace) -> None:
    figures = "; ".join(map(str, result.figures))
    scaled = f" [{result.scaled}]" if result.scaled else ""
    print(f"{_word(result)} {case.number:>2} {case.title} ({took:.0f} s): {figures}{scaled}", flush=True)
    for figure in result.figures:
        if not figure.good:
            print(f"        missed: {figure}")
    for finding in result.broken:
        print(f"        broken: {finding}")
    if not result.passed:
        form = "--long" if options.long else "--short"
        print(
            f"        again: python -m tests.torture {form} --seed {options.seed} --case {case.number}"
            f" --database {options.database}",
            flush=True,
        )


def _word(result: Result) -> str:
    return "ok    " if result.passed else "FAILED"


def _table(results: Sequence[tuple[Case, Result, float]], took: float) -> None:
    print(f"\n{'case':>4}  {'':6}  {'s':>4}  what")
    for case, result, seconds in results:
        print(f"{case.number:>4}  {_word(result)}  {seconds:>4.0f}  {case.title}")
    good = sum(result.passed for _, result, _ in results)
    print(f"{good} of {len(results)} survived in {took:.0f} s")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
