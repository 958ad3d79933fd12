"""How fast a network trains here, beside the same network written in other ways."""

# The contenders' names: on labels, and for the processes that measure them.
STOCK_KERAS = "stock Keras"
OURS = "this repository"
BARE = "constant batch"  # this repository's update alone
EAGER, COMPILED = PYTORCH = ("PyTorch, eager", "PyTorch, compiled")
