"""The perceptual distance grows with every kind of damage, and gives gradients that undo damage."""

import hashlib
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch

from models import perceptual
from models.perceptual import BACKBONE_FILES, NETS, PerceptualDistance
from models.torch_compat import ensure_torchvision
from models.weights import WeightsError


@pytest.fixture(scope="module")
def face():
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[20:180, 150:310])


@pytest.fixture(scope="module", params=NETS)
def net(request):
    return PerceptualDistance(request.param)


def jpeg(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def noisy(image, sigma):
    noise = np.random.default_rng(0).standard_normal(image.shape)
    return np.clip(image + sigma * noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("damage", "degrees"),
    [
        (lambda image, sigma: cv2.GaussianBlur(image, (0, 0), sigma), (0.5, 1, 2, 4, 8)),
        (noisy, (2, 5, 10, 20, 40)),
        (jpeg, (90, 50, 20, 5)),
    ],
    ids=["blur", "noise", "jpeg"],
)
def test_more_damage_is_farther_away(net, face, damage, degrees):
    distances = [net.distance(face, damage(face, degree)) for degree in degrees]
    assert distances[0] > 0.001
    assert all(b > 1.1 * a for a, b in pairwise(distances)), distances


def test_equal_pictures_are_at_distance_zero_and_order_does_not_matter(net, face):
    blurred = cv2.GaussianBlur(face, (0, 0), 2)
    assert net.distance(face, face) == 0
    assert net.distance(face, blurred) == pytest.approx(net.distance(blurred, face), rel=1e-5)


def test_blur_harms_more_than_a_shift_by_a_pixel(net, face):
    assert net.distance(face, cv2.GaussianBlur(face, (0, 0), 2)) > 3 * net.distance(face, np.roll(face, 1, axis=1))


def test_a_step_along_the_gradient_brings_a_picture_closer(face):
    net = PerceptualDistance("alex")
    target = perceptual._to_tensor(face)
    image = perceptual._to_tensor(noisy(face, 20)).requires_grad_()
    before = net.distances(image, target).sum()
    (gradient,) = torch.autograd.grad(before, image)
    after = net.distances(image.detach() - 0.5 * gradient / gradient.abs().max(), target)
    assert float(after[0]) < 0.98 * float(before)


def test_each_pair_of_a_batch_is_judged_alone(face):
    net = PerceptualDistance("alex")
    images = torch.cat([perceptual._to_tensor(i) for i in (face, noisy(face, 10), noisy(face, 30))])
    batch = net.distances(images, images[[0, 0, 0]])
    single = [net.distance(face, i) for i in (face, noisy(face, 10), noisy(face, 30))]
    np.testing.assert_allclose(batch.numpy(), single, atol=1e-5)


def test_the_name_never_claims_to_be_lpips(net):
    assert net.name == f"ST-LPIPS weights in LPIPS graph, {net.net}"


@pytest.mark.parametrize("other", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32)])
def test_pictures_of_a_wrong_kind_are_refused(face, other):
    with pytest.raises(ValueError, match="uint8"):
        PerceptualDistance("alex").distance(face, other)


def test_pictures_of_a_wrong_size_and_unknown_nets_are_refused(face):
    net = PerceptualDistance("alex")
    with pytest.raises(ValueError, match="wanted \\(H, W, 3\\)"):
        net.distance(face, face[:-1])
    with pytest.raises(ValueError, match="16 x 16"):
        net.distance(face[:16, :16], face[:16, :16])
    with pytest.raises(ValueError, match="known are alex, vgg"):
        PerceptualDistance("squeeze")


@pytest.mark.parametrize("name", NETS)
def test_a_users_backbone_file_gives_lpips_itself(name, tmp_path, monkeypatch):
    """The package's own way gives the same distance. The values are random here, nobody carries the trained ones."""
    ensure_torchvision()
    import lpips
    import torchvision

    torch.manual_seed(0)
    model = {"alex": torchvision.models.alexnet, "vgg": torchvision.models.vgg16}[name](weights=None)
    file = tmp_path / "backbone.pth"
    torch.save({key: value for key, value in model.state_dict().items() if key.startswith("features.")}, file)
    with pytest.raises(WeightsError, match=BACKBONE_FILES[name]):
        PerceptualDistance(name, backbone=file)  # its hash is not that of the trained file

    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setitem(perceptual.BACKBONE_FILES, name, f"net-{digest[:8]}.pth")
    ours = PerceptualDistance(name, backbone=file, device="cpu")
    theirs = lpips.LPIPS(net=name, pnet_rand=True, verbose=False)
    for key, value in theirs.net.state_dict().items():
        value.copy_(model.state_dict()["features." + key.split(".", 1)[1]])
    a, b = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert float(ours.distances(a, b)) == pytest.approx(float(theirs(a, b)), rel=1e-5)
    assert ours.name == f"LPIPS 0.1 {name}"


def test_an_absent_backbone_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="nothing is not there"):
        PerceptualDistance("alex", backbone=tmp_path / "nothing")
