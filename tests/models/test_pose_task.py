"""Task files that MediaPipe's own reader understands and its pose landmarker runs."""

import io
import struct
import zipfile

import numpy as np
import pytest

from models import pose_task, weights

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER = 0, 11, 12


@pytest.fixture(scope="module")
def landmark_net():
    path = weights.manifest()["pose_landmarker_full"].sources[1].installed_file()
    assert path is not None, "mediapipe is installed with the program"
    return path.read_bytes()


@pytest.fixture(scope="module")
def described(landmark_net):
    return pose_task.with_metadata(landmark_net, "net", 3.0, 7.0)


def test_mediapipes_reader_finds_the_metadata(described):
    from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
    from mediapipe.tasks.python.metadata import metadata

    displayer = metadata.MetadataDisplayer.with_model_buffer(bytearray(described))
    root = schema.ModelMetadata.GetRootAsModelMetadata(displayer.get_metadata_buffer(), 0)
    assert root.Name() == b"net"
    graph = root.SubgraphMetadata(0)
    unit = graph.InputTensorMetadata(0).ProcessUnits(0)
    assert unit.OptionsType() == schema.ProcessUnitOptions.NormalizationOptions
    options = schema.NormalizationOptions()
    options.Init(unit.Options().Bytes, unit.Options().Pos)
    assert (options.Mean(0), options.Std(0)) == (3.0, 7.0)
    names = [graph.OutputTensorMetadata(i).Name().decode() for i in range(graph.OutputTensorMetadataLength())]
    assert names == pose_task.output_names(described) and len(names) == 5


def test_the_nets_own_bytes_are_unchanged_and_aligned(landmark_net, described):
    assert described.endswith(landmark_net)
    assert (len(described) - len(landmark_net)) % 16 == 0, "TFLite wants tensor data at multiples of 16"


def test_the_net_still_says_the_same_of_itself(landmark_net, described):
    """Every buffer of the net, through the schema's own reader, before and after; the new one is last."""
    from mediapipe.tasks.metadata import schema_py_generated as tflite

    before = tflite.Model.GetRootAsModel(landmark_net, 0)
    after = tflite.Model.GetRootAsModel(described, 0)
    assert after.Version() == before.Version() == 3
    assert after.Description() == before.Description()
    assert after.OperatorCodesLength() == before.OperatorCodesLength()
    assert after.SubgraphsLength() == before.SubgraphsLength()
    assert after.BuffersLength() == before.BuffersLength() + 1
    assert after.MetadataLength() == before.MetadataLength() + 1
    assert [before.Metadata(i).Name() for i in range(before.MetadataLength())] == [
        after.Metadata(i).Name() for i in range(before.MetadataLength())
    ]
    for i in range(before.BuffersLength()):
        assert np.array_equal(before.Buffers(i).DataAsNumpy(), after.Buffers(i).DataAsNumpy())


def starts(task):
    """Where each member's data begin, out of a zip's bytes."""
    with zipfile.ZipFile(io.BytesIO(task)) as archive:
        assert all(member.compress_type == zipfile.ZIP_STORED for member in archive.infolist())
        headers = [member.header_offset for member in archive.infolist()]
    return [at + 30 + sum(struct.unpack_from("<HH", task, at + 26)) for at in headers]  # a name and an extra field


@pytest.mark.parametrize("size", ["lite", "full", "heavy"])
def test_a_task_holds_two_nets_at_multiples_of_four(size):
    task = weights.path(f"pose_landmarker_{size}").read_bytes()
    assert zipfile.ZipFile(io.BytesIO(task)).namelist() == ["pose_detector.tflite", "pose_landmarks_detector.tflite"]
    assert [at % 4 for at in starts(task)] == [0, 0]


@pytest.mark.parametrize("size", ["lite", "full"])
def test_mediapipe_sees_the_astronaut_with_it(size):
    import mediapipe
    from mediapipe.tasks import python as tasks
    from mediapipe.tasks.python import vision
    from skimage.data import astronaut

    base = tasks.BaseOptions(model_asset_path=str(weights.path(f"pose_landmarker_{size}")))
    with vision.PoseLandmarker.create_from_options(vision.PoseLandmarkerOptions(base_options=base)) as landmarker:
        picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(astronaut()))
        (body,) = landmarker.detect(picture).pose_landmarks
    points = np.array([[p.x, p.y] for p in body])
    assert len(points) == 33
    np.testing.assert_allclose(points[NOSE], [0.435, 0.25], atol=0.03)
    np.testing.assert_allclose(points[[LEFT_SHOULDER, RIGHT_SHOULDER]], [[0.59, 0.49], [0.22, 0.46]], atol=0.04)


def test_a_bundle_opens_again_with_any_length_of_names():
    members = {f"{'n' * k}.tflite": bytes([k]) * (k + 1) for k in range(1, 9)}
    bundle = pose_task.bundle(members)
    assert [at % 4 for at in starts(bundle)] == [0] * len(members)
    with zipfile.ZipFile(io.BytesIO(bundle)) as task:
        assert {name: task.read(name) for name in task.namelist()} == members
        assert task.testzip() is None


def test_what_is_not_a_net_is_refused():
    with pytest.raises(ValueError, match="net is not a TFLite net"):
        pose_task.with_metadata(b"\0" * 64, "net", 0.0, 1.0)
