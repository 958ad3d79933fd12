"""How fast a network trains here, beside the same network written in other ways."""
