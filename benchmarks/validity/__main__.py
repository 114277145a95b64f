"""Do the error rates hold?

python -m benchmarks.detection.phantoms --work WORK --only plane
python -m benchmarks.validity.stream BUNDLE --work WORK --cases 42000
python -m benchmarks.validity BUNDLE --work WORK --json benchmarks/results/validity.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from benchmarks.detection.phantoms import PLANE

from .draws import ALPHAS, CASES, SIZES, experiment, false_alarms, leaking_alarms
from .stream import observer, stream, training_cases
from .streams import made_up_streams, phantom_streams


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder with the stream and the data set")
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    folder = given.work / "data" / f"Dataset{PLANE.number}_{PLANE.name}"
    setting = experiment(training_cases(observer(given.bundle), folder), stream(given.work), CASES)
    print(f"{len(setting.fresh)} new phantoms, {int(setting.refused.sum())} refused by the contract")
    result = {"phantoms": len(setting.fresh), "refused": int(setting.refused.sum())}
    for key, count in (("conformal", false_alarms), ("leaking", leaking_alarms)):
        result[key] = [_rate(key, count(setting, alpha=alpha, n=n)) for alpha in ALPHAS for n in SIZES]
    result["drift"] = {"made_up": made_up_streams().told(), "phantoms": _phantoms(setting)}
    given.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["drift"]))


def _rate(key, rate):
    print(f"{key:10}", rate, "holds" if rate.holds else "DOES NOT HOLD", flush=True)
    return rate.told()


def _phantoms(setting):
    """Drift of the statistic that the service watches."""
    model = setting.with_fixed_statistic()
    statistics = np.array([model.fixed(model.scores([case])) for case in setting.fresh])
    return phantom_streams(statistics).told()


if __name__ == "__main__":
    main()
