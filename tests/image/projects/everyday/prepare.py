import codecs
from pathlib import Path

for name in ("requirements.txt", "constraints.txt", "apt.txt", "more/other.txt"):
    text = Path(name).read_bytes().strip()  # no end of the last line either
    mark = codecs.BOM_UTF8 if name == "requirements.txt" else b""
    Path(name).write_bytes(mark + text.replace(b"\n", b"\r\n"))
