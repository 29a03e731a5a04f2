"""What step 1 is given, and how that must end. A report that turns out to be true is one more line.

CASES are of both notebooks; an error's words are the plain one's. A case is the file's content, the
settings that differ from the notebook's own, and its end: RIGHT, words of the error's sentence, or
SHOWN: no table, which only the printed beginning tells.
"""

import csv
import io
import os
import random

EXAMPLES = int(os.environ.get("ML_DOCKER_EXAMPLES", "150"))  # random tables, by their seeds
RIGHT, SHOWN = "right", "shown"
NAMES = "a,ä,c\n"
ROWS = '1,"ü, x",3\n2,,6\n'
TABLE = NAMES + ROWS
LETTERS = {"cp1252": "ü€…", "latin-1": "üß\x85", "mac_roman": "üß√", "cp1251": "Цёя"}
LETTERS |= {"big5": "功許蓋", "shift_jis": "表ソ能", "gbk": "价丂乗", "euc_jp": "値段"}
LETTERS |= {"utf-16": "ü€价", "utf-16-le": "ü€价", "utf-8-sig": "ü€价"}
SEPARATOR, WIDTH, QUOTES = "Are separator and encoding right", "values instead of", "or soon after"
DECODE = "can't decode"
XLSX = b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0\xdf\xa4\xd2l,Z\1\0\0 \5,\0\0"
GZIP = b"\x1f\x8b\x08\0\x4a\1,\0\0\3a,b\n\xca\xcc,K\xcdI\0"
PAGE = b"<!DOCTYPE html>\n<html>\n<title>a, b</title>\n<p>c, d, e</p>\n</html>\n"

CASES = {
    # A table, and the settings are right.
    "one row": (b"a,b\n1,2\n", {}, RIGHT),
    "no end of the last line": (b"a,b\n1,2\n3,4", {}, RIGHT),
    "only names": (b"a,b,c\n", {}, RIGHT),
    "letters": (TABLE.encode(), {}, RIGHT),
    "values that pandas changes": (b"a,b,c\n1,007,3\n2,1e5,\n3,NA,1.50\n", {}, RIGHT),
    "lines that end as on Windows": (b'a,b,c\r\n1,"2\r\n3",4\r\n', {}, RIGHT),
    "lines that end as on an old Mac": (b'a,b\r1,"2\r3"\r4,5\r', {}, RIGHT),
    "line ends in values": (b'a,b,c\n1,"x\ny\n\nz",3\n"4\n",5,6\n', {}, RIGHT),
    "a lone carriage return in a value": (b'a,b,c\n1,"x\ry",3\n4,"\r",6\n', {}, RIGHT),
    "quotes": (b'a,b,c\n"1","x ""y"" z",""""\n2,"a,b",""\n', {}, RIGHT),
    "inches without quotes": (b'a,b\n1,17" rims\n2,3"\n', {}, RIGHT),
    "spaces and rare line ends": ("a,b\n1, 2 \x0b\x0c\u2028\x85 \n 3,4\n".encode(), {}, RIGHT),
    "NUL in a value": (b"a,b\n1,\x002\n3,4\0\n", {}, RIGHT),
    "blank lines": (b"a,b\n1,2\n\n\n3,4\n\n\n", {}, RIGHT),
    "blank lines of Windows": (b"a,b\r\n1,2\r\n\r\n3,4\r\n\r\n", {}, RIGHT),
    "two columns with gaps": (b"a,b\n1,\n,2\n,\n", {}, RIGHT),
    "many rows of commas": (b"a,b,c,d\n1,2,3,4\n" + b",,,\n" * 50_000, {}, RIGHT),
    "names twice or empty": (b",b,b,,\n1,2,3,4,5\n", {}, RIGHT),
    "rows that equal the names": (b"a,b\n" * 40, {}, RIGHT),
    "6,000 columns": ((b"name," * 6_000 + b"last\n") * 4, {}, RIGHT),
    "a value of 100 kB": (b'a,b\n1,"' + b"x\n" * 50_000 + b'"\n2,3\n', {}, RIGHT),
    "names in brackets": (b"<DATE>,[b]\n1,2\n", {}, RIGHT),
    "semicolon": (b'a;b\n1,5;2,5\n"3;4";"5;6"\n', {"separator": ";"}, RIGHT),
    "tab": (b"a\tb\n1,2\t3\n", {"separator": "\t"}, RIGHT),
    "bar": (b"a|b\n1,2|3\n", {"separator": "|"}, RIGHT),
    "UTF-8 with a mark": ("\ufeff".encode() + TABLE.encode(), {}, RIGHT),
    "a quoted first name after the mark": ('\ufeff"a",ä\n1,2\n'.encode(), {}, RIGHT),
    **{
        f"{encoding} by name": (
            (TABLE.replace("ä", each).replace("ü", each * 3)).encode(encoding),
            {"encoding": encoding},
            RIGHT,
        )
        for encoding, letters in LETTERS.items()
        for each in letters[-1:]
    },
    # A table, and a setting is wrong.
    "semicolons, said to be commas": (b"a;b\n1;2\n", {}, SEPARATOR),
    "semicolons and decimal commas, said to be commas": (b"a;b\n1,5;2,5\n", {}, SEPARATOR),
    "semicolons and commas in names, said to be commas": (b"a, b;c\n1,2;3\n", {}, SEPARATOR),
    "tabs and commas in names, said to be commas": (b"a, b\tc\n1, 2\t3\n", {}, SEPARATOR),
    "bars, said to be commas": (b"a|b, c|d\n1|2, 3|4\n", {}, SEPARATOR),
    "commas, said to be semicolons": (b"a,b\n1,2\n", {"separator": ";"}, SEPARATOR),
    "two separators": (b"a,b\n1,2\n", {"separator": ",;"}, "1-character"),
    "no separator": (b"a,b\n1,2\n", {"separator": ""}, "1-character"),
    "no such encoding": (b"a,b\n1,2\n", {"encoding": "utf-9"}, "unknown encoding"),
    "cp1252, said to be UTF-8": (TABLE.encode("cp1252"), {}, DECODE),
    "cp1252 late, said to be UTF-8": (b"a,b\n" + b"1,2\n" * 9_000 + b"3,\xfc\n", {}, "In row 8"),
    "mac_roman, said to be UTF-8": (TABLE.encode("mac_roman"), {}, DECODE),
    "Big5, said to be UTF-8": ("a,b\n1,功\n".encode("big5"), {}, DECODE),
    "Shift-JIS, said to be UTF-8": ("a,b\n1,表\n".encode("shift_jis"), {}, DECODE),
    "UTF-16, said to be UTF-8": (TABLE.encode("utf-16"), {}, DECODE),
    "UTF-16 without a mark, said to be UTF-8": ("a,b\n1,2\n".encode("utf-16-le"), {}, SEPARATOR),
    "UTF-8, said to be UTF-16": (TABLE.encode(), {"encoding": "utf-16"}, "BOM"),
    "UTF-8, said to be UTF-16-LE": (b"a,b\n1,2\n", {"encoding": "utf-16-le"}, SEPARATOR),
    # The same bytes come out, and the letters are wrong on the screen.
    "UTF-8, said to be cp1252": ("a,b\n1,ü\n".encode(), {"encoding": "cp1252"}, RIGHT),
    "cp1252, said to be mac_roman": (TABLE.encode("cp1252"), {"encoding": "mac_roman"}, RIGHT),
    "Shift-JIS, said to be Latin-1": (
        "a,b\n1,表ソ\n".encode("shift_jis"), {"encoding": "latin-1"}, RIGHT,
    ),
    # A table with a fault.
    "a short row": (b"a,b,c\n1,2,3\n4,5\n", {}, f"Row 2 has 2 {WIDTH} 3"),
    "a long row": (b"a,b\n1,2\n3,4\n5,6,7\n", {}, f"Row 3 has 3 {WIDTH} 2"),
    "a short row after a gap": (b"a,b,c\n\n4,5\n", {}, f"Row 2 has 2 {WIDTH} 3"),
    "a line of spaces": (b"a,b\n1,2\n  \n", {}, f"Row 2 has 1 {WIDTH} 2"),
    "a title above": (b"Cars, 2016\na,b,c\n1,2,3\n", {}, f"Row 1 has 3 {WIDTH} 2"),
    "rows with names": (b"a,b\n1,x,y\n2,x,y\n", {}, f"Row 1 has 3 {WIDTH} 2"),
    "a lone carriage return without quotes": (b"a,b\n1,x\ry\n", {}, f"Row 2 has 1 {WIDTH} 2"),
    "quotes that are never closed": (b'a,b\n1,2\n3,"4\n5,6\n', {}, "In row 2 or soon after: unexp"),
    "quotes in the first row": (b'a,b\n1,"2\n5,6\n', {}, "In row 1 or soon after: unexp"),
    "quotes in the names": (b'a,"b\n1,2\n', {}, "In row 1 or soon after: unexp"),
    "quotes closed too early": (b'a,b\n1,2\n3,"4"5\n', {}, f"In row 2 {QUOTES}: ',' expected"),
    "quotes with a backslash": (b'a,b\n1,"2\\", 3"\n', {}, f"Row 1 has 3 {WIDTH} 2"),
    "3 MB in one value": (
        b"a,b\n1,2\n3," + b"x" * 3_000_000 + b"\n", {}, f"In row 2 {QUOTES}: field larger than",
    ),
    "3 MB in the first row": (b"a,b\n1," + b"x" * 3_000_000 + b"\n", {}, "field larger than"),
    # No table.
    "empty": (b"", {}, SEPARATOR),
    "blank": (b"\n\n", {}, SEPARATOR),
    "a blank line first": (b"\na,b\n1,2\n", {}, SEPARATOR),
    "one column": (b"a\n1\n2\n", {}, SEPARATOR),
    "Excel": (XLSX, {}, DECODE),
    "Excel, said to be cp1252": (XLSX, {"encoding": "cp1252"}, SEPARATOR),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1,\n", {}, DECODE),
    "gzip": (GZIP, {}, DECODE),
    "gzip, said to be Latin-1": (GZIP, {"encoding": "latin-1"}, SEPARATOR),
    "a page": (PAGE, {}, SEPARATOR),
    "a page with a comma first": (b"<p>a, b</p>\n" + PAGE, {}, WIDTH),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/v1\noid 1,2\n", {}, SEPARATOR),
    "JSON": (b'{\n "a": 1,\n "b": 2\n}\n', {}, SEPARATOR),
    "JSON lines": (b'{"a": 1, "b": 2}\n{"a": 1, "b": 2}\n', {}, SHOWN),
    "a page of one line": (b"<html><p>a, b</p></html>", {}, SHOWN),
}  # fmt: skip


def rows(content: bytes, settings: dict[str, str]) -> list[list[str]]:
    """Return the rows as the csv module reads them; raise `csv.Error` for open quotes."""
    csv.field_size_limit(2**31 - 1)
    text = io.StringIO(content.decode(settings.get("encoding", "utf-8")), newline="")
    return list(csv.reader(text, delimiter=settings.get("separator", ","), strict=True))


def is_right(output: bytes, source: bytes, settings: dict[str, str]) -> bool:
    """Tell whether `output` is `source` without its first column."""
    return rows(output, settings) == [row[1:] for row in rows(source, settings)]


def random_table(seed: int) -> bytes:
    """Return a table with everything that is hard about CSV."""
    choose = random.Random(seed)
    line_end = choose.choice(["\n", "\r\n", "\r"])
    long = choose.random() < 0.02  # several blocks of 64 kB
    number = choose.randrange(20_000, 60_000) if long else choose.randrange(60)
    if choose.random() < 0.6:  # well formed, but for rows with more or fewer values
        letters = ["a", "é", " ", '"', ",", "1", "ß", '""', ";", "\r"]
        letters += ["\n", "\r\n"] * (choose.random() < 0.4)
        text = io.StringIO(newline="")
        quoting = choose.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
        writer = csv.writer(text, quoting=quoting)
        widths = [4] * 9 + [0, 5] * (choose.random() < 0.3)
        writer.writerow(["k", "é", "é", ""])
        for _ in range(number // 3):
            values = ["".join(choose.choices(letters, k=choose.randrange(5))) for _ in range(5)]
            writer.writerow(values[: choose.choice(widths)])
        return text.getvalue().encode()
    pieces = [",", ",", '"', '"', '""', "a", "é", " ", "\n", line_end, "\r", 'x",\n"y', "\0"]
    return ("k,é" + line_end + "".join(choose.choices(pieces, k=number))).encode()


def is_fair(fault: str, output: bytes, source: bytes) -> bool:
    """Tell whether a random table came out right, or was refused for a fault that it has."""
    try:
        table = rows(source, {})
    except csv.Error:
        return bool(fault)
    if fault:
        return any(row and len(row) != len(table[0]) for row in table)
    return rows(output, {}) == [row[1:] for row in table]
