"""Turn results.csv into docs/benchmarks.svg and the table in docs/benchmarks.md (between its two marks)."""

import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
GOALS = {  # as a share of the seed, or of what else there is to compare with
    "cold build": 0.35,
    "rebuild, one library added": 0.12,
    "image": 0.65,
    "compose up to /api": 0.75,
    "start to /api": 0.75,
    "start to first cell": 0.75,
    "generate a project": 1.2,
    "CSV step, 0.05 GB": "≥ 2",
    "text tests": "60 s",
}
COLOURS = {"ours": "#0072B2", "seed": "#E69F00", "common": "#999999"}  # Okabe and Ito

values = defaultdict(list)
units = {}
with (HERE / "results.csv").open() as file:
    for row in csv.DictReader(file):
        values[row["what"], row["variant"]].append(float(row["value"]))
        units[row["what"]] = row["unit"]


def cell(what: str, variant: str) -> str:
    """Return median and range of one measurement."""
    found = values.get((what, variant))
    if not found:
        return ""
    spread = f" ({min(found):.3g}–{max(found):.3g})" if len(found) > 1 else ""
    return f"{statistics.median(found):.3g}{spread}"


def ratio(what: str, variant: str = "ours") -> float | None:
    """Return the median as a share of the seed's; without one, of a template of one file, or of pandas."""
    other = "start to /api" if what == "compose up to /api" else what
    found = [
        values[other, name] for name in ("seed", "one file", "pandas") if (other, name) in values
    ]
    mine = values.get((what, variant))
    return statistics.median(mine) / statistics.median(found[0]) if mine and found else None


columns = list(dict.fromkeys(variant for _, variant in values))
lines = [
    f"| what | unit | {' | '.join(columns)} | ratio | goal |",
    "|---|---|" + "---|" * (len(columns) + 2),
]
for what, unit in units.items():
    share = ratio(what)
    cells = " | ".join(cell(what, variant) for variant in columns)
    lines.append(
        f"| {what} | {unit} | {cells} | {f'{share:.2f}' if share else ''} | {GOALS.get(what, '')} |"
    )
page = DOCS / "benchmarks.md"
text = page.read_text(encoding="utf-8")
table = "<!-- table -->\n\n" + "\n".join(lines) + "\n\n<!-- end -->"
page.write_text(
    re.sub("<!-- table -->.*<!-- end -->", lambda _: table, text, flags=re.DOTALL), encoding="utf-8"
)

names = [what for what in units if (what, "seed") in values]
figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
for number, (variant, colour) in enumerate(COLOURS.items()):
    shares = [ratio(what, variant) or 0 for what in names]
    places = [place + (number - 1) * 0.27 for place in range(len(names))]
    bars = axes.barh(places, shares, height=0.25, color=colour, label=variant)
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3, fontsize=9)
goals = [(place, GOALS[what]) for place, what in enumerate(names) if what in GOALS]
axes.scatter([g for _, g in goals], [p for p, _ in goals], marker="D", s=40, color="black", label="goal for ours", zorder=3)  # fmt: skip
axes.set_yticks(range(len(names)), names)
axes.invert_yaxis()
axes.set_xlabel("share of the seed-style baseline (less is better)")
axes.set_title("This project beside two baselines: same base image, libraries and versions")
axes.spines[["top", "right"]].set_visible(False)
axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=4, frameon=False)
plt.rcParams["svg.hashsalt"] = "ml-docker"
figure.savefig(DOCS / "benchmarks.svg", metadata={"Date": None})
