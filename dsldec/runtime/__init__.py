"""Step to tokens: the loop that runs a policy's step over a denoiser."""
