from importlib.metadata import version

assert version("flask") == "3.1.0"
assert version("jupyter-server") == "2.15.0"
assert version("pandas") == "2.2.3"
