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
    assert (len(described) - len(landmark_net)) % pose_task.ALIGNMENT == 0


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


@pytest.mark.parametrize("size", ["lite", "full", "heavy"])
def test_members_of_the_task_begin_at_multiples_of_four(size):
    path = weights.path(f"pose_landmarker_{size}")
    with zipfile.ZipFile(path) as task, path.open("rb") as raw:
        assert task.namelist() == ["pose_detector.tflite", "pose_landmarks_detector.tflite"]
        for member in task.infolist():
            raw.seek(member.header_offset + 26)
            name, extra = struct.unpack("<HH", raw.read(4))
            assert (member.header_offset + 30 + name + extra) % 4 == 0
            assert member.compress_type == zipfile.ZIP_STORED


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
    with zipfile.ZipFile(io.BytesIO(pose_task.bundle(members))) as task:
        assert {name: task.read(name) for name in task.namelist()} == members
        assert task.testzip() is None


def test_what_is_not_a_net_is_refused():
    with pytest.raises(ValueError, match="net is not a TFLite net"):
        pose_task.with_metadata(b"\0" * 64, "net", 0.0, 1.0)
