from pathlib import Path

# As PowerShell's `pip freeze > requirements.txt` writes it.
frozen = Path("requirements.txt").read_text()
Path("requirements.txt").write_bytes(frozen.replace("\n", "\r\n").encode("utf-16"))
