"""A run's folder: write it, read it, lock it; and the machine that the run was made on."""
