"""Training one network by the paper's protocol."""
