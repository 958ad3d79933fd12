"""The degradation result of Deep Residual Learning (He et al. 2015), reproduced on CIFAR-10."""
