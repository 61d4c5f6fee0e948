#!/usr/bin/env python3
"""Prints a study's table from its reports and draws its plot of accuracy by bytes.

    study_report.py FOLDER PERCENT,PERCENT RECIPE...     FOLDER/RECIPE-seedN-splitN/report.json; fp32 is what the others are compared with
    study_report.py FOLDER rmse RECIPE...     the same of a regression: the root of the mean squared error in place of accuracy, no plot
    study_report.py --grid "RATE RATE" FOLDER PERCENT,PERCENT RECIPE...     FOLDER/RECIPE-rateR/report.json; a table by learning rate

Bytes are those of bodies, without request heads. "To 95 %" is the first fifth round (5, 10, 15, ...) whose model is right that often;
"released" is the model that is handed out, "raw" the published one that devices train from. Final accuracy: mean of the last 10 rounds'.
"""
import glob
import json
import math
import os
import re
import statistics
import sys

EVERY = 5
LAST = 10
# Student's t, one-sided 90 %, by degrees of freedom; from 10 on a little too wide.
T90 = (3.078, 1.886, 1.638, 1.533, 1.476, 1.440, 1.415, 1.397, 1.383, 1.372)


class Run:
    """One report: running totals of bytes and both models' accuracy, round by round."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            report = json.load(file)
        rounds = [r for r in report["rounds"] if r["state"] == "published"]
        self.up, self.both = [], []
        up = down = 0
        for r in rounds:
            up += r["body_bytes_up"]
            down += r["body_bytes_down"]
            self.up.append(up / 1e6)
            self.both.append((up + down) / 1e6)
        self.accuracy = {"released": [r["accuracy"] for r in rounds], "raw": [r["accuracy_published"] for r in rounds]}
        for i, released in enumerate(self.accuracy["released"]):
            if self.accuracy["raw"][i] is None:  # Both models are the same.
                self.accuracy["raw"][i] = released
        # A model that is not finite has no accuracy.
        self.accuracy = {model: [math.nan if a is None else a for a in values] for model, values in self.accuracy.items()}
        self.rmse = [math.nan if r["loss"] is None else math.sqrt(r["loss"]) for r in rounds]  # Of a regression.
        totals = report["totals"]
        self.bits = 32 * totals["body_bytes_up"] / totals["fp32_body_bytes_up"]
        self.fewer_up = totals["fp32_body_bytes_up"] / totals["body_bytes_up"]
        self.bytes_a_message = totals["body_bytes_up"] / totals["accepted"]

    def rounds_to(self, target, model):
        for i in range(EVERY - 1, len(self.up), EVERY):
            if self.accuracy[model][i] >= target:
                return i + 1
        return None

    def final(self, model):
        return 100 * statistics.mean(self.accuracy[model][-LAST:])


def load(folder, recipes):
    """For each recipe its runs by (seed, split)."""
    runs = {recipe: {} for recipe in recipes}
    for recipe in recipes:
        for path in glob.glob(os.path.join(folder, recipe + "-seed*-split*", "report.json")):
            found = re.search(r"/%s-seed(\d+)-split(\d+)/" % re.escape(recipe), path)
            if found:
                runs[recipe][int(found[1]), int(found[2])] = Run(path)
    return {recipe: dict(sorted(found.items())) for recipe, found in runs.items() if found}


def cells(run, model, targets):
    """Rounds, MB up, down and both to each target."""
    row = []
    for target in targets:
        rounds = run.rounds_to(target, model)
        if rounds is None:
            row += ["-"] * 4
        else:
            up, both = run.up[rounds - 1], run.both[rounds - 1]
            row += ["%d" % rounds, megabytes(up), megabytes(both - up), megabytes(both)]
    return row


def megabytes(value):
    return "%.4f" % value if value < 0.1 else "%.2f" % value if value < 10 else "%.1f" % value if value < 100 else "%.0f" % value


def spread(values, form):
    """Median and range; a run that never got there counts as the worst."""
    known = [math.inf if value is None else value for value in values]
    words = [form(value) if value < math.inf else "never" for value in (statistics.median(known), min(known), max(known))]
    return words[0] if len(values) == 1 else "%s (%s - %s)" % tuple(words)


def at(run, rounds, of):
    return None if rounds is None else of[rounds - 1]


def print_table(head, rows):
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    print("| " + " | ".join(text.ljust(width) for text, width in zip(head, widths)) + " |")
    print("|" + "|".join(" " + "-" * width + " " for width in widths) + "|")
    for row in rows:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(row, widths)) + " |")
    print()


def print_runs(runs, targets):
    head = ["recipe", "seed", "split", "model"]
    for target in targets:
        head += ["rounds %.0f %%" % (100 * target), "MB up", "down", "both"]
    rows = []
    for recipe, found in runs.items():
        for (seed, split), run in found.items():
            for model in ("released", "raw"):
                rows.append([recipe, str(seed), str(split), model] + cells(run, model, targets) + ["%.2f" % run.final(model)])
    print_table(head + ["final %"], rows)


def print_medians(runs, targets):
    head = ["recipe", "runs", "rounds", "bytes a message", "bits a parameter", "model"]
    for target in targets:
        head += ["rounds to %.0f %%" % (100 * target), "MB up", "MB both ways"]
    rows = []
    for recipe, found in runs.items():
        all_runs = list(found.values())
        for model in ("released", "raw"):
            row = [recipe, str(len(all_runs)), str(min(len(run.up) for run in all_runs)),
                   "%.0f" % statistics.median(run.bytes_a_message for run in all_runs),
                   "%.4f" % statistics.median(run.bits for run in all_runs), model]
            for target in targets:
                rounds = [run.rounds_to(target, model) for run in all_runs]
                row.append(spread(rounds, lambda v: "%.0f" % v))
                row.append(spread([at(run, r, run.up) for run, r in zip(all_runs, rounds)], megabytes))
                row.append(spread([at(run, r, run.both) for run, r in zip(all_runs, rounds)], megabytes))
            row.append("%.2f" % max(100 * max(run.accuracy[model]) for run in all_runs))
            row.append(spread([run.final(model) for run in all_runs], lambda v: "%.2f" % v))
            rows.append(row)
    print_table(head + ["best %", "final %"], rows)


def upper_bound(values):
    """Of the mean, 90 %, one-sided; None for a single value."""
    if len(values) < 2:
        return None
    quantile = T90[min(len(values) - 2, len(T90) - 1)]
    return statistics.mean(values) + quantile * statistics.stdev(values) / math.sqrt(len(values))


def print_drops(runs, target):
    """Against fp32 with the same seed and split: fewer bytes in the same rounds and at the target, and points of accuracy lost."""
    rows = []
    for recipe, found in runs.items():
        pairs = [(runs["fp32"][key], run) for key, run in found.items() if key in runs["fp32"]]
        if recipe == "fp32" or not pairs:
            continue
        drops = [plain.final("released") - run.final("released") for plain, run in pairs]
        bound = upper_bound(drops)
        up_to = []
        for plain, run in pairs:
            here, there = run.rounds_to(target, "released"), plain.rounds_to(target, "released")
            up_to.append(plain.up[there - 1] / run.up[here - 1] if here and there else None)
        rows.append([recipe, str(len(pairs)), "%.0f" % statistics.median(run.fewer_up for _, run in pairs),
                     "%.1f" % statistics.median(plain.both[-1] / run.both[-1] for plain, run in pairs),
                     spread(up_to, lambda v: "%.0f" % v), "%+.2f" % statistics.mean(drops),
                     " ".join("%+.2f" % drop for drop in drops), "-" if bound is None else "%+.2f" % bound])
    if rows:
        print_table(["against fp32", "pairs", "x fewer up", "x fewer both ways", "x fewer up at %.0f %%" % (100 * target),
                     "mean drop, points", "drops", "90 % bound"], rows)


def print_errors(runs):
    """A regression's table: root mean squared error of the released model, mean of the last rounds, and bytes against fp32."""
    rows = []
    for recipe, found in runs.items():
        final = [statistics.mean(run.rmse[-LAST:]) for run in found.values()]
        rows.append([recipe, str(len(found)), str(min(len(run.up) for run in found.values())),
                     "%.0f" % statistics.median(run.bytes_a_message for run in found.values()),
                     megabytes(statistics.median(run.up[-1] for run in found.values())),
                     "%.1f" % statistics.median(run.fewer_up for run in found.values()), spread(final, lambda v: "%.2f" % v)])
    print_table(["recipe", "runs", "rounds", "bytes a message", "MB up", "x fewer up", "final RMSE"], rows)


COLOURS = ("#444444", "#0b6fb8", "#d1495b", "#2a9d5b", "#b07d00", "#7a4fb5")
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 430, 320, 52, 34, 60
POINTS = 90


class Axes:
    """A panel of the plot: bytes on a logarithmic axis, accuracy on one that gives the last points room."""

    def __init__(self, left, bytes_range, floor, ceiling):
        self.left = left
        self.low, self.high = math.log10(bytes_range[0]), math.log10(bytes_range[1])
        self.floor, self.ceiling = floor, ceiling

    def x(self, value):
        return self.left + (WIDTH - LEFT - 14) * (math.log10(value) - self.low) / (self.high - self.low)

    def y(self, percent):
        share = (max(percent, self.floor) - self.floor) / (self.ceiling - self.floor)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)


def curve(all_runs, of):
    """Median bytes; median, lowest and highest accuracy of the released model (mean of 5 rounds), at up to POINTS rounds."""
    length = min(len(run.up) for run in all_runs)
    chosen = sorted({min(length - 1, round(length ** (i / (POINTS - 1))) - 1) for i in range(POINTS)})
    points = []
    for i in chosen:
        values = [100 * statistics.mean(run.accuracy["released"][max(0, i - EVERY + 1):i + 1]) for run in all_runs]
        points.append((statistics.median(getattr(run, of)[i] for run in all_runs), statistics.median(values), min(values), max(values)))
    return points


def text(x, y, words, anchor="middle", extra=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (x, y, anchor, extra, words)


def draw_axes(axes, title):
    right, bottom = axes.left + WIDTH - LEFT - 14, HEIGHT - BOTTOM
    out = [text((axes.left + right) / 2, TOP - 12, title, extra=' font-weight="bold"')]
    step = 1 if axes.ceiling - axes.floor <= 8 else 2 if axes.ceiling - axes.floor <= 16 else 5 if axes.ceiling - axes.floor <= 40 else 10
    percent = axes.floor
    while percent <= axes.ceiling:
        out.append('<path class="g" d="M%.1f %.1fH%.1f"/>' % (axes.left, axes.y(percent), right))
        out.append(text(axes.left - 6, axes.y(percent) + 4, "%d %%" % percent, "end"))
        percent += step
    for power in range(math.ceil(axes.low), math.floor(axes.high) + 1):
        x = axes.x(10 ** power)
        out.append('<path class="g" d="M%.1f %dV%d"/>' % (x, TOP, bottom))
        out.append(text(x, bottom + 16, ("%g" % 10 ** power) if power < 3 else "%d,000" % 10 ** (power - 3)))
    out.append('<path class="a" d="M%.1f %dV%dH%.1f"/>' % (axes.left, TOP, bottom, right))
    out.append(text((axes.left + right) / 2, bottom + 34, "MB"))
    return out


def draw_curve(axes, points, colour):
    edge = [(axes.x(b), axes.y(high)) for b, _, _, high in points] + [(axes.x(b), axes.y(low)) for b, _, low, _ in reversed(points)]
    line = [(axes.x(b), axes.y(middle)) for b, middle, _, _ in points if middle >= axes.floor]
    path = lambda corners: "M" + "L".join("%.1f %.1f" % corner for corner in corners)
    out = ['<path d="%sZ" fill="%s" fill-opacity="0.15"/>' % (path(edge), colour)]
    if line:
        out.append('<path d="%s" fill="none" stroke="%s" stroke-width="1.8"/>' % (path(line), colour))
    return out


def plot(runs, name, path):
    curves = {of: {recipe: curve(list(found.values()), of) for recipe, found in runs.items()} for of in ("up", "both")}
    best = max(point[3] for panel in curves.values() for points in panel.values() for point in points)
    ceiling = min(100, math.ceil(best))
    floor = ceiling - 12 if best > 90 else ceiling - 20 if best > 75 else ceiling - 40
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">' % (2 * WIDTH, HEIGHT),
           "<style>.g{stroke:#ddd;fill:none}.a{stroke:#333;fill:none}</style>", '<rect width="100%" height="100%" fill="#fff"/>']
    for panel, (of, title) in enumerate((("up", "Accuracy by bytes up"), ("both", "Accuracy by bytes both ways"))):
        reached = [b for points in curves[of].values() for b, _, _, high in points if high >= floor]
        axes = Axes(LEFT + panel * WIDTH, (min(reached) / 1.1, max(reached) * 1.1), floor, ceiling)
        out += draw_axes(axes, title)
        for index, points in enumerate(curves[of].values()):
            out += draw_curve(axes, [p for p in points if p[3] >= floor], COLOURS[index % len(COLOURS)])
    x = LEFT
    for index, (recipe, found) in enumerate(runs.items()):
        out.append('<path d="M%.1f %dh18" stroke="%s" stroke-width="3"/>' % (x, HEIGHT - 12, COLOURS[index % len(COLOURS)]))
        label = "%s (%d run%s)" % (recipe, len(found), "" if len(found) == 1 else "s")
        out.append(text(x + 23, HEIGHT - 8, label, "start"))
        x += 40 + 6.2 * len(label)
    out.append(text(2 * WIDTH - 14, HEIGHT - 8, name + ": released model, median and range", "end"))
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n</svg>\n")


def print_grid(rates, folder, targets, recipes):
    """The released model by recipe and learning rate; no run: not played, or no finite model."""
    rows = []
    for recipe in recipes:
        for rate in rates:
            path = os.path.join(folder, "%s-rate%s" % (recipe, rate), "report.json")
            run = Run(path) if os.path.exists(path) else None
            reached = [run and run.rounds_to(target, "released") for target in targets]
            rows.append([recipe, rate, "%d" % len(run.up) if run else "no run"] + ["%d" % r if r else "-" for r in reached] +
                        ["%.2f" % run.final("released") if run and not math.isnan(run.final("released")) else "-"])
    print_table(["recipe", "learning rate", "rounds"] + ["rounds to %.0f %%" % (100 * target) for target in targets] + ["final %"], rows)


def main():
    if sys.argv[1:2] == ["--grid"] and len(sys.argv) > 5:
        targets = [float(percent) / 100 for percent in sys.argv[4].split(",")]
        print_grid(sys.argv[2].split(), sys.argv[3], targets, sys.argv[5:])
        return
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    folder = sys.argv[1]
    runs = load(folder, sys.argv[3:])
    if not runs:
        sys.exit("study_report: %s has no report yet; play the study first" % folder)
    name = os.path.basename(os.path.normpath(folder))
    print("%s\n" % name)
    if sys.argv[2] == "rmse":
        print_errors(runs)
        return
    targets = [float(percent) / 100 for percent in sys.argv[2].split(",")]
    print_runs(runs, targets)
    print_medians(runs, targets)
    if "fp32" in runs:
        print_drops(runs, targets[-1])
    path = os.path.join(folder, "accuracy-by-bytes.svg")
    plot(runs, name, path)
    print("plot: " + path)


if __name__ == "__main__":
    main()
