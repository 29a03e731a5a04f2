"""Write synthetic used-car listings: the columns, formats and dirt of the real `cars_sampled.csv`.

    python tests/make_cars.py OUTPUT [--rows 5000] [--seed 2016]

Nothing here is real: no car, no price, no place. The same arguments give the same bytes on every
Python from 3.11 on. Rows are written one by one, so a file of many gigabytes needs no memory.
"""

import argparse
import csv
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

COLUMNS = [
    "dateCrawled",
    "name",
    "seller",
    "offerType",
    "price",
    "abtest",
    "vehicleType",
    "yearOfRegistration",
    "gearbox",
    "powerPS",
    "model",
    "kilometer",
    "monthOfRegistration",
    "fuelType",
    "brand",
    "notRepairedDamage",
    "dateCreated",
    "postalCode",
    "lastSeen",
]

# brand, model, as people write it, body, price when new (EUR), usual power (PS)
CARS = [
    ("volkswagen", "golf", "Volkswagen_Golf", "limousine", 24_000, 105),
    ("volkswagen", "polo", "VW_Polo", "kleinwagen", 16_000, 70),
    ("volkswagen", "passat", "Volkswagen_Passat_Variant", "kombi", 32_000, 130),
    ("volkswagen", "transporter", "VW_T5_Transporter", "bus", 38_000, 120),
    ("bmw", "3er", "BMW_320i", "limousine", 38_000, 160),
    ("bmw", "5er", "BMW_530d_Touring", "kombi", 54_000, 220),
    ("mercedes_benz", "c_klasse", "Mercedes_Benz_C_200", "limousine", 40_000, 165),
    ("mercedes_benz", "slk", "Mercedes_SLK_200_Kompressor", "cabrio", 44_000, 175),
    ("audi", "a3", "Audi_A3_Sportback", "limousine", 30_000, 125),
    ("audi", "a4", "Audi_A4_Avant", "kombi", 39_000, 150),
    ("audi", "tt", "Audi_TT_Coupé", "coupe", 42_000, 200),
    ("opel", "corsa", "Opel_Corsa_D", "kleinwagen", 14_500, 75),
    ("opel", "astra", "Opel_Astra_Caravan", "kombi", 22_000, 110),
    ("ford", "fiesta", "Ford_Fiesta", "kleinwagen", 14_500, 75),
    ("ford", "focus", "Ford_Focus_Turnier", "kombi", 22_500, 110),
    ("renault", "clio", "Renault_Clio", "kleinwagen", 14_000, 75),
    ("renault", "twingo", "Renault_Twingo", "kleinwagen", 11_000, 60),
    ("peugeot", "2_reihe", "Peugeot_206_CC", "cabrio", 17_000, 95),
    ("fiat", "punto", "Fiat_Punto", "kleinwagen", 12_500, 65),
    ("seat", "leon", "Seat_León_FR", "limousine", 22_000, 130),
    ("skoda", "octavia", "Skoda_Octavia_Combi", "kombi", 24_000, 115),
    ("smart", "fortwo", "Smart_ForTwo_Passion", "kleinwagen", 12_500, 65),
    ("toyota", "yaris", "Toyota_Yaris", "kleinwagen", 14_500, 80),
    ("volvo", "xc90", "Volvo_XC90_2.4D_Summum", "suv", 56_000, 185),
    ("porsche", "911", "Porsche_911_Carrera", "coupe", 98_000, 330),
]
WEIGHTS = [10, 7, 6, 3, 8, 4, 6, 2, 5, 6, 1, 7, 6, 4, 5, 3, 3, 3, 3, 3, 3, 3, 2, 1, 1]
EXTRAS = ["", "", "", "_TÜV_neu", "_gepflegt", "_für_Bastler", "_mit_Anhängerkupplung", "_Euro_4"]
EXTRAS += ["_1._Hand", "_Klima", "_scheckheftgepflegt", ", 8-fach bereift", ' 17" Alufelgen']
KILOMETERS = [5_000, *range(10_000, 100_001, 10_000), 125_000, 150_000]
GAPS = {"vehicleType": 0.09, "gearbox": 0.05, "model": 0.05, "fuelType": 0.08}
GAPS |= {"notRepairedDamage": 0.18}
START = datetime(2016, 3, 5)


def make_row(rng: Random) -> dict[str, object]:
    """Return one listing whose price (EUR) follows from the car; gaps and dirt come on top."""
    brand, model, name, body, new_price, usual_power = rng.choices(CARS, WEIGHTS)[0]
    age = min(int(rng.gammavariate(3.0, 4.0)), 40)
    power = max(40, round(usual_power * rng.gauss(1.0, 0.15)))
    driven = min(150_000, max(5_000, (age + 0.5) * rng.gauss(13_000, 4_000)))
    km = min(KILOMETERS, key=lambda step: abs(step - driven))
    damaged = rng.random() < 0.03 + 0.01 * age
    automatic = rng.random() < (0.5 if new_price > 35_000 else 0.12)
    fuel = rng.choices(["benzin", "diesel", "lpg", "hybrid"], [60, 36, 3, 1])[0]

    price = new_price * (power / usual_power) ** 0.7 * 0.89**age * (1.15 - 0.4 * km / 150_000)
    price *= (0.5 if damaged else 1) * (1.1 if automatic else 1) * (1.1 if fuel == "diesel" else 1)
    price = max(50, round(price * rng.lognormvariate(0, 0.2), -1 if price < 2_000 else -2))

    created = START + timedelta(days=rng.randrange(32))
    crawled = created + timedelta(minutes=rng.randrange(1440))
    row = {
        "dateCrawled": f"{crawled:%d-%m-%Y %H:%M}",
        "name": name + rng.choice(EXTRAS),
        "seller": "gewerblich" if rng.random() < 0.001 else "privat",
        "offerType": "Gesuch" if rng.random() < 0.001 else "Angebot",
        "price": int(price),
        "abtest": rng.choice(["test", "control"]),
        "vehicleType": body,
        "yearOfRegistration": 2016 - age,
        "gearbox": "automatik" if automatic else "manuell",
        "powerPS": power,
        "model": model,
        "kilometer": km,
        "monthOfRegistration": rng.randrange(13),
        "fuelType": fuel,
        "brand": brand,
        "notRepairedDamage": "ja" if damaged else "nein",
        "dateCreated": f"{created:%d-%m-%Y} 00:00",
        "postalCode": rng.randrange(1_067, 99_999),
        "lastSeen": f"{crawled + timedelta(minutes=rng.randrange(20_000)):%d-%m-%Y %H:%M}",
    }
    row |= {column: "" for column, share in GAPS.items() if rng.random() < share}
    if rng.random() < 0.03:
        row["price"] = rng.choice([0, 0, 0, 0, 0, 1, 11_111_111, 12_345_678, 99_999_999])
    if rng.random() < 0.01:
        row["yearOfRegistration"] = rng.choice([1000, 1111, 9999])
    if rng.random() < 0.06:
        row["powerPS"] = rng.choice([0] * 15 + [20_000])
    return row


def make_rows(count: int, seed: int) -> Iterator[dict[str, object]]:
    """Yield `count` listings, about one in fifty a copy of the one before it, crawled later."""
    rng = Random(seed)
    row = make_row(rng)
    for number in range(count):
        if number and rng.random() < 0.02:
            row["dateCrawled"] = row["lastSeen"]
        else:
            row = make_row(rng)
        yield row


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Write synthetic used-car listings as CSV.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=2016)
    options = parser.parse_args()
    with options.output.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(make_rows(options.rows, options.seed))


if __name__ == "__main__":
    main()
