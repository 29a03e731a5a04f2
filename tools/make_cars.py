"""Write synthetic used-car listings: columns, dirt and conclusions of the real `cars_sampled.csv`.

    python tools/make_cars.py OUTPUT [--rows 5000] [--seed 2016] [--damage 0.47]

Nothing here is real: no car, no price, no place. The same arguments give the same bytes on every
Python from 3.11 on. Rows are written one by one, so a file of many gigabytes needs no memory.
"""

import argparse
import csv
import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random

HEADER = (
    "dateCrawled,name,seller,offerType,price,abtest,vehicleType,yearOfRegistration,gearbox,powerPS,"
    "model,kilometer,monthOfRegistration,fuelType,brand,notRepairedDamage,dateCreated,postalCode,"
    "lastSeen"
)

# Brand, advertisements in a thousand, price level, models with their body, most frequent first.
BRANDS = """
volkswagen 214 1.1 golf-l polo-k passat-w transporter-b touran-b lupo-k sharan-b caddy-b tiguan-s \
 bora-l touareg-s fox-k kaefer-o scirocco-o beetle-c eos-c up-k jetta-l phaeton-l cc-o amarok-s
bmw 108 1.3 3er-l 5er-w 1er-k x_reihe-s 7er-l z_reihe-c 6er-o m_reihe-o andere-l
opel 108 0.8 corsa-k astra-w vectra-l zafira-b omega-w meriva-b tigra-o insignia-w vivaro-b \
 combo-b signum-l agila-k kadett-l antara-s calibra-o andere-l
mercedes_benz 95 1.3 c_klasse-l e_klasse-w a_klasse-k clk-o b_klasse-b vito-b slk-c sprinter-b \
 s_klasse-l m_klasse-s viano-b sl-c cl-o g_klasse-s gl-s glk-s v_klasse-b andere-l
audi 118 1.3 a4-w a3-l a6-w 80-l tt-o a5-o a8-l 100-l a1-k q5-s a2-k q7-s q3-s 200-l 90-l andere-l
ford 69 0.8 focus-w fiesta-k mondeo-w ka-k galaxy-b transit-b escort-l fusion-k s_max-b c_max-b \
 kuga-s mustang-o b_max-b andere-l
renault 48 0.75 twingo-k clio-k megane-w scenic-b laguna-w espace-b kangoo-b modus-k r19-l andere-b
peugeot 30 0.8 2_reihe-k 3_reihe-l 1_reihe-k 4_reihe-w 5_reihe-s andere-b
fiat 26 0.75 punto-k panda-k 500-k bravo-l ducato-b doblo-b seicento-k stilo-l croma-w andere-l
seat 19 0.9 ibiza-k leon-l arosa-k altea-b alhambra-b cordoba-l toledo-l mii-k exeo-w andere-k
mazda 15 0.85 3_reihe-l 6_reihe-w mx_reihe-c 5_reihe-b 1_reihe-k cx_reihe-s rx_reihe-o andere-l
skoda 15 1.0 octavia-w fabia-k superb-w roomster-b yeti-s citigo-k andere-l
smart 14 1.1 fortwo-k forfour-k roadster-c andere-k
citroen 14 0.75 c3-k c1-k c5-w c4-l berlingo-b c2-k andere-l
nissan 14 0.8 micra-k primera-w almera-l qashqai-s x_trail-s juke-s navara-s note-k andere-s
toyota 13 1.0 yaris-k corolla-l aygo-k avensis-w rav-s auris-l verso-b andere-l
sonstige_autos 11 1.2
hyundai 10 0.8 i_reihe-l getz-k tucson-s santa-s andere-k
mini 9 1.3 cooper-k one-k clubman-w andere-c
volvo 9 1.0 v40-w v70-w 850-w xc_reihe-s s60-l v50-w v60-w c_reihe-c andere-l
mitsubishi 8 0.75 colt-k lancer-l carisma-l galant-w pajero-s outlander-s andere-b
honda 8 0.9 civic-l jazz-k accord-l cr_reihe-s andere-o
kia 7 0.8 picanto-k ceed-w rio-k sorento-s sportage-s carnival-b andere-l
alfa_romeo 6 0.8 147-l 156-w 159-w spider-c 145-l andere-o
suzuki 6 0.8 swift-k grand-s jimny-s andere-k
porsche 6 2.4 911-o boxster-c cayenne-s andere-o
chevrolet 5 0.8 matiz-k spark-k aveo-l captiva-s andere-o
chrysler 4 0.8 voyager-b ptcruiser-l 300c-l grand-b crossfire-o andere-c
dacia 3 0.9 sandero-k logan-w duster-s lodgy-b andere-k
jeep 3 1.1 grand-s wrangler-s cherokee-s andere-s
daihatsu 3 0.7 cuore-k sirion-k terios-s charade-k move-b andere-k
subaru 3 0.9 legacy-w impreza-l forester-s justy-k andere-w
land_rover 3 1.3 freelander-s discovery-s range_rover-s range_rover_sport-s defender-s andere-s
jaguar 2 1.2 s_type-l x_type-l xf-l andere-o
trabant 2 0.9 601-l andere-w
daewoo 2 0.6 matiz-k nubira-w lanos-l kalos-k andere-l
saab 2 0.8 900-c 9000-l andere-w
rover 2 0.6 rangerover-s freelander-s defender-s andere-l
lancia 2 0.7 ypsilon-k delta-l kappa-l lybra-w elefantino-k musa-k andere-l
lada 2 0.6 niva-s kalina-w samara-l andere-l
"""
# The first and the last year of a model that was not always built, about.
SINCE = {1994: "a4 a6 a8 laguna twingo v40 z_reihe", 1996: "a3 ka galaxy sharan scenic boxster slk"}
SINCE |= {1998: "tt focus beetle leon a_klasse clk fortwo zafira octavia m_klasse lupo yaris v70"}
SINCE |= {2001: "fabia cooper one c5 agila touran touareg x_reihe s60 santa stilo a2 cayenne"}
SINCE |= {2004: "1er meriva c1 c2 c3 c4 fusion c_max getz logan modus signum fox altea forfour v50"}
SINCE |= {2007: "eos b_klasse s_max cc qashqai note aygo auris ceed roomster antara a5 clubman q7"}
SINCE |= {2009: "tiguan insignia kuga q5 i_reihe glk yeti juke v60 exeo gl sandero captiva spark"}
SINCE |= {2012: "up mii citigo a1 q3 b_max amarok lodgy duster"}
UNTIL = {1989: "kaefer 601", 1994: "80 90 100 200 kadett r19", 1999: "escort calibra 850 900 145"}
UNTIL |= {2005: "lupo bora arosa omega primera a2 9000 lanos nubira kappa cordoba 147 156 seicento"}
# Body: what it is called, usual power (PS), price level beside others of the same year and power.
BODIES = {
    "k": ("kleinwagen", 68, 0.92),
    "l": ("limousine", 120, 0.9),
    "w": ("kombi", 128, 0.88),
    "b": ("bus", 112, 1.12),
    "c": ("cabrio", 145, 1.3),
    "o": ("coupe", 160, 1.0),
    "s": ("suv", 165, 1.2),
}
# Each is a line through these points: the share of a year among all; its usual price (EUR); how
# much brand and power matter for the price; the part of the cars with damage not repaired.
SHARES = {1950: 1, 1966: 5, 1978: 9, 1988: 18, 1991: 70, 1993: 90, 1995: 250, 1997: 390, 2000: 660}
SHARES |= {2001: 570, 2005: 600, 2008: 460, 2010: 350, 2012: 270, 2013: 140, 2015: 70}
PRICES = {1950: 12_000, 1970: 8_000, 1980: 2_900, 1985: 3_100, 1990: 1_500, 1995: 830, 2000: 1_350}
PRICES |= {2005: 4_200, 2010: 10_300, 2015: 23_500}
SPREADS = {1950: 0.7, 1985: 0.7, 1995: 0.6, 2003: 0.8, 2015: 0.85}
DAMAGES = {1950: 0.05, 1985: 0.15, 1997: 0.28, 2004: 0.08, 2009: 0.02, 2015: 0.005}
KILOMETERS = [5_000, *range(10_000, 100_001, 10_000), 125_000, 150_000]
EXTRAS = ["", "", "", "_TÜV_neu", "_gepflegt", "_für_Bastler", "_mit_Anhängerkupplung"]
EXTRAS += ["_Euro_4", "_1._Hand", "_Klima", "_scheckheftgepflegt"]
EXTRAS += [", 8-fach bereift", ' 17" Alufelgen']
GAPS = {"vehicleType": 0.04, "gearbox": 0.054, "model": 0.045, "fuelType": 0.088}
GAPS |= {"notRepairedDamage": 0.197}
START = datetime(2016, 3, 5)


def at(points: dict[int, float], year: int) -> float:
    """Return the height at `year` of the line through `points`."""
    for (left, low), (right, high) in pairwise(points.items()):
        if year <= right:
            return low + (high - low) * (year - left) / (right - left)
    return high


def read_brands() -> tuple[list[tuple], list[float]]:
    """Return (brand, model, body, price level, strength, cult) of each model; their frequency."""
    cars, weights = [], []
    for line in BRANDS.strip().splitlines():
        brand, share, level, *models = line.split()
        frequent = [1 / (place + 1.5) for place in range(len(models) or 1)]
        for weight, model in zip(frequent, models or ["-l"], strict=True):
            name, body = model.rsplit("-", 1)
            rng = Random(f"{brand} {name}")  # the same for every seed of the table
            traits = rng.lognormvariate(0, 0.18), rng.lognormvariate(0, 0.2), rng.gauss(0, 0.35)
            cars.append((brand, name, body, float(level) * traits[0], *traits[1:]))
            weights.append(float(share) * (weight / sum(frequent) + 0.03))
    return cars, weights


CARS, WEIGHTS = read_brands()
FIRST = {model: year for year, models in SINCE.items() for model in models.split()}
LAST = {model: year for year, models in UNTIL.items() for model in models.split()}
YEARS = range(1950, 2016)
YEAR_WEIGHTS = [at(SHARES, year) for year in YEARS]


def make_row(rng: Random, damage: float) -> dict[str, object]:
    """Return one listing, with its price before chance (EUR) as `usual`; gaps and dirt on top."""
    year = rng.choices(YEARS, YEAR_WEIGHTS)[0]
    brand, model, body, level, strength, cult = rng.choices(CARS, WEIGHTS)[0]
    while not FIRST.get(model, 0) <= year <= LAST.get(model, 2016):
        brand, model, body, level, strength, cult = rng.choices(CARS, WEIGHTS)[0]
    vehicle, usual_power, body_level = BODIES[body]
    growth = 1 + 0.017 * (max(year, 1975) - 2003)
    power = max(26, round(usual_power * strength * growth * rng.lognormvariate(0, 0.22)))
    driven = (2016.5 - year) * rng.gauss(15_500, 5_500) + rng.gauss(0, 12_000)
    driven = driven if year > 1985 else rng.uniform(40_000, 200_000)
    km = min(KILOMETERS, key=lambda step: abs(step - min(150_000, max(5_000, driven))))
    careless = rng.random() < 0.012
    damaged = rng.random() < at(DAMAGES, year)
    automatic = rng.random() < (0.5 if power > 170 else 0.14)
    fuel = rng.choices(["benzin", "diesel", "lpg", "hybrid"], [64, 33, 2, 1])[0]

    spread = at(SPREADS, year)
    usual = (
        at(PRICES, year)
        * (level**1.3 * body_level) ** spread
        * (power / 110 / growth) ** (1.1 * spread)
    )
    usual *= math.exp((min(140_000, (2016.5 - year) * 15_000) - km) / 270_000)
    usual *= math.exp(cult) if year < 1988 else 1
    usual *= (damage if damaged else 1) * (1.12 if automatic else 1)
    usual *= 1.12 if fuel == "diesel" else 1
    sigma = (0.17 if rng.random() < 0.96 else 0.8) + 0.42 * math.exp(-usual / 2_500)
    price = usual * rng.lognormvariate(0, sigma)

    created = START + timedelta(days=rng.randrange(32))
    crawled = created + timedelta(minutes=rng.randrange(1440))
    row = {
        "dateCrawled": f"{crawled:%d-%m-%Y %H:%M}",
        "name": rng.choice([f"{brand}_{model}", model or brand]).title() + rng.choice(EXTRAS),
        "seller": "gewerblich" if rng.random() < 0.001 else "privat",
        "offerType": "Gesuch" if rng.random() < 0.001 else "Angebot",
        "price": max(1, round(price / 10) * 10 if price < 1_000 else round(price / 50) * 50),
        "abtest": rng.choice(["test", "control"]),
        "vehicleType": vehicle,
        "yearOfRegistration": year,
        "gearbox": "automatik" if automatic else "manuell",
        "powerPS": power,
        "model": model,
        "kilometer": 5_000 if careless else km,
        "monthOfRegistration": rng.randrange(13),
        "fuelType": fuel,
        "brand": brand,
        "notRepairedDamage": "ja" if damaged else "nein",
        "dateCreated": f"{created:%d-%m-%Y} 00:00",
        "postalCode": rng.randrange(1_067, 99_999),
        "lastSeen": f"{crawled + timedelta(minutes=rng.randrange(20_000)):%d-%m-%Y %H:%M}",
        "usual": usual,
    }
    row |= {column: "" for column, share in GAPS.items() if rng.random() < share}
    add_dirt(rng, row, year)
    return row


def add_dirt(rng: Random, row: dict[str, object], year: int) -> None:
    """Enter some of the values as people do who are in a hurry."""
    # As if it were new. The form does not ask for the body then.
    if rng.random() < (0.11 if year < 2003 else 0.003):
        row["yearOfRegistration"] = rng.choices([2016, 2017, 2018], [42, 42, 16])[0]
        row["vehicleType"] = ""
    if rng.random() < 0.003:
        row["yearOfRegistration"] = rng.choice([1000, 1111, 1910, 9999])
    if rng.random() < 0.03:
        row["price"] = rng.choice([0, 0, 0, 0, 0, 1])
    if rng.random() < 0.0005:
        row["price"] = rng.choice([11_111_111, 12_345_678, 99_999_999])
    if rng.random() < (0.14 if year < 2000 else 0.08):
        row["powerPS"] = rng.choice([0] * 40 + [20_000])


def make_rows(count: int, seed: int, damage: float) -> Iterator[dict[str, object]]:
    """Yield `count` listings, about one in fifty a copy of the one before it, crawled later."""
    rng = Random(seed)
    row = make_row(rng, damage)
    for number in range(count):
        if number and rng.random() < 0.02:
            row["dateCrawled"] = row["lastSeen"]
        else:
            row = make_row(rng, damage)
        yield row


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Write synthetic used-car listings as CSV.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=2016)
    parser.add_argument("--damage", type=float, default=0.47, help="price, beside a sound car's")
    options = parser.parse_args()
    with options.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, HEADER.split(","), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(make_rows(options.rows, options.seed, options.damage))


if __name__ == "__main__":
    main()
