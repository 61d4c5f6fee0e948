#!/usr/bin/env python3
"""The tables of scripts/study-deployment.

    deployment_report.py lists FOLDER     what each pass list makes of the model, over seeds
    deployment_report.py local FOLDER     students taught by the model and by labels alone, over devices and seeds

Accuracy is that on samples which neither training, calibration nor the gate saw.
"""

import glob
import json
import math
import os
import re
import statistics
import sys

from study_report import print_table, upper_bound


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def percent(path):
    return 100 * read(path)["accuracy"]


def bound(drops):
    found = upper_bound(drops)
    return "-" if found is None else "%+.2f" % found


def print_lists(folder):
    """One row a list: drop in points against the model of the same seed, file and latency as shares of that model's."""
    runs = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.accuracy.json"))):
        name, seed = re.fullmatch(r"(.+)-seed(\d+)\.accuracy\.json", os.path.basename(path)).groups()
        teacher = os.path.join(folder, "teacher-seed" + seed, "accuracy.json")
        first, last = (read(path.replace(".accuracy.", "."))["passes"][i] for i in (0, -1))
        runs.setdefault(name, []).append((percent(teacher), percent(path), first, last))
    rows = []
    for name, found in runs.items():
        drops = [before - after for before, after, _, _ in found]
        median = lambda key, i, found=found: statistics.median(run[i][key] for run in found)
        rows.append([name, str(len(found)), "%.2f" % statistics.mean(run[0] for run in found),
                     "%.2f" % statistics.mean(run[1] for run in found), "%+.2f" % statistics.mean(drops), bound(drops),
                     "{:,}".format(int(median("parameters", 3))), "{:,}".format(int(median("file_bytes", 3))),
                     "%.3f" % (median("file_bytes", 3) / median("file_bytes", 2)),
                     "%.2f" % (median("latency_p50_us", 3) / median("latency_p50_us", 2))])
    print_table(["pass list", "seeds", "model %", "after %", "mean drop, points", "90 % bound", "parameters", "file bytes",
                 "of fp32 file", "of fp32 latency"], rows)


def print_local(folder):
    """Gain of a teacher by device, and how many devices it left worse off by more than a standard error of their accuracy."""
    gains, alone, worse = [], [], 0
    for path in sorted(glob.glob(os.path.join(folder, "shares-seed*", "*", "taught.accuracy.json"))):
        taught, before = read(path), read(path.replace("taught", "alone"))
        gain = taught["accuracy"] - before["accuracy"]
        error = math.sqrt(before["accuracy"] * (1 - before["accuracy"]) / before["samples"])
        worse += gain < -error
        gains.append(100 * gain)
        alone.append(100 * before["accuracy"])
    if not gains:
        sys.exit("deployment_report: %s has no devices yet; play the study first" % folder)
    print_table(["devices", "labels alone %", "taught %", "mean gain, points", "least gain", "worse by more than its standard error"],
                [[str(len(gains)), "%.2f" % statistics.mean(alone), "%.2f" % (statistics.mean(alone) + statistics.mean(gains)),
                  "%+.2f" % statistics.mean(gains), "%+.2f" % min(gains), str(worse)]])


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("lists", "local"):
        sys.exit(__doc__)
    print("%s\n" % os.path.basename(os.path.normpath(sys.argv[2])))
    (print_lists if sys.argv[1] == "lists" else print_local)(sys.argv[2])


if __name__ == "__main__":
    main()
