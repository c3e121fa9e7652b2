"""The host's guidance with a scale for each step."""

from comfy.samplers import CFGGuider

from ..samplers.guidance import scale_at


class StepGuider(CFGGuider):
    """A GUIDER whose cfg follows the steps of the sigmas it is given. At cfg 1 the host spends one pass, else two."""

    def __init__(self, model, positive, negative, scales: list[float]):
        """scales: one for each step; the last stands for all after it."""
        super().__init__(model)
        self.set_conds(positive, negative)
        self.set_cfg(scales[0])
        self.scales = scales

    def sample(self, noise, latent_image, sampler, sigmas, *args, **options):
        self.step_sigmas = sigmas.tolist()
        return super().sample(noise, latent_image, sampler, sigmas, *args, **options)

    def predict_noise(self, x, timestep, *args, **options):
        if len(self.scales) > 1:  # reading sigma waits for the device
            self.set_cfg(scale_at(float(timestep.max()), self.step_sigmas, self.scales))
        return super().predict_noise(x, timestep, *args, **options)
