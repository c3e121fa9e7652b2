"""Few-step samplers in k-diffusion's signature: `sample_x(model, x, sigmas, extra_args, callback, disable, *, ...)`.

torch only. `model(x, sigma, **extra_args)` returns x0; everything else is read from the model's own `model_sampling`.
"""
