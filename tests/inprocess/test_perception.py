"""Masks of pictures, and the critics that hold the student's pictures against them. No trained segmenter is at hand:
Mask R-CNN is a small one with random weights, so only its interface, gradients and losses are tested."""

import numpy
import pytest
import torch
from PIL import Image

pytest.importorskip("comfy", reason="the embedded host is not installed here")
pytest.importorskip("torchvision", reason="torchvision is not installed here")

from fewstep.tests.helpers.mask_rcnn import resnet18_file
from fewstep.training.perception import InstanceCritic, Instances, SaliencyCritic
from safetensors.torch import save_file
from torchvision.models import detection

SIDE = 64


def small_mask_rcnn(seed: int = 0, classes: int = 3):
    """torchvision's own Mask R-CNN on a backbone of three convolutions."""
    from torch import nn
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    torch.manual_seed(seed)
    layers = [nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 16), (16, 32), (32, 32))]
    backbone = nn.Sequential(layers[0], nn.BatchNorm2d(16), nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    backbone.out_channels = 32
    network = detection.MaskRCNN(
        backbone,
        None,
        min_size=SIDE,
        max_size=SIDE,
        rpn_batch_size_per_image=64,
        rpn_pre_nms_top_n_train=64,
        rpn_post_nms_top_n_train=32,
        box_batch_size_per_image=32,
        rpn_anchor_generator=AnchorGenerator(((16, 32, 64),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=MultiScaleRoIAlign(["0"], 4, 2),
        mask_roi_pool=MultiScaleRoIAlign(["0"], 8, 2),
        box_head=nn.Sequential(nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU()),
        box_predictor=detection.faster_rcnn.FastRCNNPredictor(64, classes),
        mask_head=nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU()),
        mask_predictor=detection.mask_rcnn.MaskRCNNPredictor(32, 32, classes),
    )
    return network.requires_grad_(False)


def square(x: int, y: int, side: int = 24) -> torch.Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[y : y + side, x : x + side] = True
    return mask


def critic(network) -> InstanceCritic:
    return InstanceCritic("t", lambda: network, 3, {"box": 2})


TWO = Instances(torch.stack([square(4, 6), square(32, 30)]), ("1", "box"))


def test_boxes_go_around_the_masks():
    assert TWO.boxes().tolist() == [[4, 6, 28, 30], [32, 30, 56, 54]]


def test_mask_rcnn_gives_its_own_losses_with_a_gradient_and_repeats_itself():
    network = small_mask_rcnn()
    pictures = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = torch.get_rng_state()
    loss = critic(network)(pictures, [TWO, TWO], seed=3)
    assert torch.equal(torch.get_rng_state(), state), "the run's own random numbers went on"
    (gradient,) = torch.autograd.grad(loss, pictures)
    assert torch.isfinite(gradient).all() and gradient.abs().amax((1, 2, 3)).min() > 0
    assert torch.equal(loss, critic(network)(pictures, [TWO, TWO], seed=3))
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())

    torch.manual_seed(3)
    network.train()
    network.backbone[1].eval()
    target = {"boxes": TWO.boxes(), "labels": torch.tensor([1, 2]), "masks": TWO.masks.byte()}
    theirs = network(list(pictures.detach()), [dict(target), dict(target)])
    assert len(theirs) == 5 and torch.allclose(loss, sum(theirs.values()))


def test_a_critic_that_knows_squares_pulls_pictures_towards_their_masks():
    """A few steps make the small network a judge of bright squares: its loss falls as pictures near their masks."""
    network, asked = small_mask_rcnn().requires_grad_(True), critic
    places = [(4, 6), (32, 30), (34, 4), (6, 34), (18, 20), (36, 16)]
    shown = torch.stack([square(*place).float().expand(3, -1, -1) for place in places])
    truth = [Instances(square(*place)[None], ("1",)) for place in places]
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(40):
        optimizer.zero_grad()
        asked(network)(shown, truth, step).backward()
        optimizer.step()
    network.requires_grad_(False)
    judge, elsewhere = critic(network), shown.roll(1, 0)
    found = [float(judge(torch.lerp(elsewhere, shown, share), truth, 0)) for share in (0.0, 0.5, 1.0)]
    assert found[0] > found[1] > found[2] and found[2] < 0.7 * found[0]
    halfway = torch.lerp(elsewhere, shown, 0.5).requires_grad_()
    (gradient,) = torch.autograd.grad(judge(halfway, truth, 0), halfway)
    assert (gradient * (shown - elsewhere)).sum() < 0, "the gradient leads away from the masks"


def test_saliency_over_masks_is_one_minus_the_soft_iou():
    maps = torch.stack([square(4, 6).float(), 0.5 * square(4, 6).float()])
    judge = SaliencyCritic("t", lambda pictures: maps)
    same = Instances(square(4, 6)[None], ("1",))
    assert judge(torch.zeros(2, 3, SIDE, SIDE), [same, same], 0) == pytest.approx((0 + 0.5) / 2)
    other = Instances(square(36, 36)[None], ("1",))
    assert judge(torch.zeros(2, 3, SIDE, SIDE), [other, other], 0) == 1


@pytest.mark.parametrize("label", ["0", "3", "cat"])
def test_a_class_the_network_does_not_have_gets_a_sentence(label):
    with pytest.raises(ValueError, match=f"t: it has no class '{label}'.*from 1 to 2 or a name, such as box"):
        critic(small_mask_rcnn()).number(label)


@pytest.fixture
def folder(tmp_path):
    """Three pictures: two things in a mask file, a thing in an alpha channel, and one without a mask."""
    ids = numpy.zeros((80, 100), numpy.uint8)
    ids[10:40, 5:45], ids[50:70, 60:90] = 40, 200
    Image.new("RGB", (100, 80), "red").save(tmp_path / "a.png")
    Image.fromarray(ids).save(tmp_path / "a.mask.png")
    (tmp_path / "a.mask.txt").write_text("cat\n2\n", encoding="utf-8-sig")  # as Windows editors save it
    picture = numpy.zeros((80, 80, 4), numpy.uint8)
    picture[20:60, 30:50] = 255
    Image.fromarray(picture).save(tmp_path / "b.png")
    Image.new("RGB", (80, 80), "blue").save(tmp_path / "c.png")
    return tmp_path


def read(folder, size=80):
    from fewstep.host.data import images, masks

    files = images.Folder(folder).files
    reader = masks.reader(files)
    return [file.name for file in files], [reader(i, size, size) for i in range(len(files))]


def test_masks_are_read_and_cut_as_the_pictures_are(folder):
    names, (a, b, c) = read(folder)
    assert names == ["a.png", "b.png", "c.png"]  # a.mask.png is no picture
    assert a.labels == ("cat", "2") and a.boxes().tolist() == [[0, 10, 35, 40], [50, 50, 80, 70]]
    assert b.labels == ("1",) and b.boxes().tolist() == [[30, 20, 50, 60]]
    assert len(c) == 0
    assert read(folder, 40)[1][1].boxes().tolist() == [[15, 10, 25, 30]]


def test_a_thing_that_the_crop_cuts_off_is_gone_with_its_class(folder):
    ids = numpy.zeros((80, 400), numpy.uint8)
    ids[:, :20], ids[20:60, 190:210] = 1, 2
    Image.new("RGB", (400, 80)).save(folder / "a.png")
    Image.fromarray(ids).save(folder / "a.mask.png")
    assert read(folder)[1][0].labels == ("2",)


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda f: (f / "a.mask.txt").write_text("cat"), "a.mask.txt has 1 lines, but a.mask.png has 2 things"),
        (lambda f: (f / "a.mask.txt").write_bytes(b"caf\xe9"), "a.mask.txt is not UTF-8 text"),
        (lambda f: Image.new("L", (9, 9), 1).save(f / "a.mask.png"), "a.mask.png is 9x9 pixels, its picture 100x80"),
        (lambda f: Image.new("RGB", (100, 80)).save(f / "a.mask.png"), "a.mask.png has colours"),
        (lambda f: (f / "a.mask.png").write_text("no picture"), "a.mask.png cannot be read"),
        (lambda f: (f / "a.mask.png").write_bytes((f / "a.mask.png").read_bytes()[:60]), "a.mask.png cannot be read"),
    ],
)
def test_masks_that_do_not_fit_get_a_sentence(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ValueError, match=f"FewStepDataset: {message}"):
        read(folder)


def test_a_folder_without_any_mask_gets_a_sentence(folder):
    for name in ("a.mask.png", "b.png"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match="no picture of the folder has a mask. Put name.mask.png"):
        read(folder)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_the_users_own_file_is_read_with_its_backbone_and_classes(tmp_path, monkeypatch, suffix):
    from fewstep.host import folders
    from fewstep.host.rewards import mask_rcnn

    monkeypatch.setattr(folders, "reward_folder", lambda: tmp_path)
    name, tensors = resnet18_file(tmp_path, suffix)
    found = mask_rcnn.critic(name, 64, "N")
    network = found.network()
    assert found.count == 3 and found.classes == {} and network is found.network()
    held = network.state_dict()
    assert all(torch.equal(held[key], value.float()) for key, value in tensors.items())
    pictures = torch.rand(1, 3, SIDE, SIDE).requires_grad_()
    loss = found(pictures, [Instances(square(4, 6)[None], ("2",))], 0)
    assert torch.autograd.grad(loss, pictures)[0].abs().sum() > 0


def test_files_that_are_no_mask_rcnn_get_a_sentence(tmp_path, monkeypatch):
    from fewstep.host import folders
    from fewstep.host.rewards import mask_rcnn

    monkeypatch.setattr(folders, "reward_folder", lambda: tmp_path)
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    (tmp_path / "b.pth").write_text("no tensors")
    with pytest.raises(ValueError, match="N: a.safetensors is no Mask R-CNN of torchvision"):
        mask_rcnn.critic("a.safetensors", 64, "N")
    with pytest.raises(ValueError, match="N: b.pth cannot be read as a file of plain tensors"):
        mask_rcnn.critic("b.pth", 64, "N")
    with pytest.raises(ValueError, match="N: there is no 'none' in .*Put a Mask R-CNN of torchvision"):
        mask_rcnn.critic("none", 64, "N")


def test_coco_has_names():
    from fewstep.host.rewards import mask_rcnn

    assert mask_rcnn.coco_names()["cat"] == 17 and len(mask_rcnn.coco_names()) == 80
