word = "first"
