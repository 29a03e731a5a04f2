from importlib.metadata import version

assert version("tabulate") == "0.9.0+cpu"  # of two indexes the one with the best version
for name in ("only-there", "only-newer", "in-a-list", "at-an-address", "from-git"):
    assert version(name) == "1.0"
