from importlib.metadata import version

assert version("only-there") == "1.0"
assert version("flask") == "3.1.0"
assert version("notebook") == "6.5.7"  # which does not bring JupyterLab
assert version("pandas") == "2.2.3"
