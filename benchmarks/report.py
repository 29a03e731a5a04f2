"""Turn results.csv into the table in docs/benchmarks.md, between its marks, and benchmarks.svg."""

import csv
from collections import defaultdict
from pathlib import Path
from statistics import median

DOCS = Path(__file__).parents[1] / "docs"
GOALS = {  # as a share of the seed's
    "cold build, s": 0.5,
    "rebuild, library added, s": 0.04,
    "image, MB": 0.88,
    "start to /api, s": 0.5,
    "first imports in a new container, s": 1,
}
SHOWN = ("ours", "common", "seed")

figures = defaultdict(lambda: defaultdict(list))
with (Path(__file__).parent / "results.csv").open() as file:
    for row in csv.DictReader(file):
        figures[row["what"]][row["variant"]].append(float(row["value"]))


def shown(values: list[float]) -> str:
    """Return the median and the range of some measurements."""
    middle, low, high = (
        f"{how(values):.3g}" if how(values) < 100 else f"{how(values):.0f}"
        for how in (median, min, max)
    )
    return f"{middle} ({low}–{high})" if low != high else middle


def share(what: str, variant: str, of: str) -> float:
    """Return one median as a share of another."""
    return median(figures[what][variant]) / median(figures[what][of])


table = "| | this project | uv's guide | seed | of uv's guide | of the seed |\n"
table += "|---|---|---|---|---|---|\n"
for what, values in figures.items():
    cells = [what, *(shown(values[name]) if values[name] else "" for name in SHOWN)]
    for other in ("common", "seed"):
        cells.append(f"{share(what, 'ours', other):.2g}" if values[other] else "")
    if what in GOALS:
        cells[-1] += f" (goal {GOALS[what]})"
    table += f"| {' | '.join(cells)} |\n"
page = DOCS / "benchmarks.md"
before, _, rest = page.read_text(encoding="utf-8").partition("<!-- table -->\n")
after = rest.partition("<!-- end -->")[2]
page.write_text(f"{before}<!-- table -->\n{table}<!-- end -->{after}", encoding="utf-8")

# A bar for this project and one for the guide; the line at the right is the seed.
height = 60 * len(GOALS) + 30
bars = f'<path d="M600 5V{height - 22}" stroke="black"/>\n'
halo = 'paint-order="stroke" stroke="white" stroke-width="5"'
for number, what in enumerate(GOALS):
    label = what.removesuffix(", s").removesuffix(", MB")
    bars += f'<text x="190" y="{60 * number + 35}" text-anchor="end">{label}</text>\n'
    for variant, name, colour, place in (
        ("ours", "this project", "#0072B2", 10),  # colours of Okabe and Ito
        ("common", "uv's guide", "#E69F00", 32),
    ):
        part, top = share(what, variant, "seed"), 60 * number + place
        bars += f'<rect x="200" y="{top}" width="{400 * part:.0f}" height="20" fill="{colour}"/>\n'
        bars += f'<text x="{206 + 400 * part:.0f}" y="{top + 15}" {halo}>{name} {part:.2f}</text>\n'
plot = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}"
  font-family="sans-serif" font-size="14">
<title>Time and size of this project and of uv's guide, as shares of the seed's</title>
<rect width="760" height="{height}" fill="white"/>
{bars}<text x="600" y="{height - 7}" text-anchor="middle">the seed: 1</text>
</svg>
"""
(DOCS / "benchmarks.svg").write_text(plot, encoding="utf-8")
