import polars

assert polars.DataFrame({"a": [1, 2]})["a"].sum() == 3
