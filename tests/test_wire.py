"""The wire: what goes in comes out, and whatever else comes is refused."""

import json
import socket
import struct
import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autograder.checking.client import wire
from autograder.checking.client.wire import Connection, Handle, WireError, decode, encode

numbers = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20))
keys = st.one_of(st.integers(-5, 5), st.text(max_size=5), st.booleans(), st.tuples(st.text(max_size=3), st.integers()))
trees = st.recursive(
    numbers,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(st.text(max_size=4), max_size=4),
    ),
    max_leaves=20,
)
dtypes = st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8])
json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["tensor", "list", "tuple", "dict", "set", "int", "float", "handle", "array", "scalar", "x"]
            ),
            inner,
            max_size=2,
        ),
    ),
    max_leaves=15,
)


def same(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


@given(trees)
def test_a_tree_of_values_comes_back_as_it_was(tree: object) -> None:
    assert same(tree, decode(*encode(tree)))


@given(dtypes, st.lists(st.integers(0, 4), max_size=4), st.integers(0, 99))
def test_a_tensor_comes_back_bit_by_bit(dtype: torch.dtype, shape: list[int], seed: int) -> None:
    tensor = (10 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).to(dtype)
    back = decode(*encode({"x": tensor}))["x"]
    assert back.dtype == dtype
    assert torch.equal(back, tensor)


def test_strided_boolean_and_special_tensors_survive() -> None:
    for tensor in (torch.randn(3, 4).T, torch.tensor([True, False]), torch.tensor([float("nan"), -float("inf")])):
        assert torch.equal(torch.nan_to_num(decode(*encode(tensor)) + 0), torch.nan_to_num(tensor + 0))


def test_arrays_and_numbers_of_numpy_survive_as_what_they_are() -> None:
    back = decode(*encode((np.arange(6).reshape(2, 3), np.float32(0.5))))
    assert isinstance(back[0], np.ndarray)
    assert back[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert back[1] == 0.5


def test_an_object_cannot_travel() -> None:
    with pytest.raises(WireError):
        encode({"x": object()})


def test_nothing_nests_without_end() -> None:
    nested: list = []
    for _ in range(100):
        nested = [nested]
    with pytest.raises(WireError):
        encode(nested)


@settings(max_examples=400)
@given(json_like, st.binary(max_size=40))
def test_decoding_anything_gives_a_value_or_a_wire_error(tree: object, body: bytes) -> None:
    try:
        value = decode(tree, body)
    except WireError:
        return
    encode(value)


@pytest.mark.parametrize(
    ("tree", "body"),
    [
        ({"tensor": ["float32", [1000000, 1000000], "cpu"]}, b""),
        ({"tensor": ["float32", [0, 2**62], "cpu"]}, b""),
        ({"tensor": ["float32", [-1], "cpu"]}, b"1234"),
        ({"tensor": ["float32", [True], "cpu"]}, b"1234"),
        ({"tensor": ["object", [1], "cpu"]}, b"12345678"),
        ({"tensor": ["float32", [1], "cpu"]}, b"12345"),
        ({"int": "9" * 5000}, b""),
        ({"float": "1e999"}, b""),
        ({"dict": [[{"list": []}, 1]]}, b""),
        ({"_tensor": 1}, b""),
        ({"decode": 1}, b""),
        (2**63, b""),
        ({"handle": ["0", "x"]}, b""),
    ],
)
def test_a_forged_value_is_refused(tree: object, body: bytes) -> None:
    with pytest.raises(WireError):
        decode(tree, body)


def test_too_many_values_are_refused() -> None:
    with pytest.raises(WireError):
        decode({"list": [0] * (wire.MAX_NODES + 1)}, b"")


def talk(payload: bytes, timeout: float = 1.0) -> object:
    """What a connection makes of bytes that come over the socket."""
    ours, theirs = socket.socketpair()
    sender = threading.Thread(target=lambda: (theirs.sendall(payload), theirs.shutdown(socket.SHUT_WR)))
    sender.start()
    try:
        return Connection(ours).receive(timeout)
    finally:
        ours.close()
        sender.join()
        theirs.close()


def frame(text: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<II", len(text), len(body)) + text + body


def test_frames_pass_over_a_socket_one_after_another() -> None:
    ours, theirs = socket.socketpair()
    sender, receiver = Connection(ours), Connection(theirs)
    sender.send({"x": torch.arange(3)})
    sender.send([1, Handle(3, "Module")])
    assert torch.equal(receiver.receive(1)["x"], torch.arange(3))
    assert receiver.receive(1) == [1, Handle(3, "Module")]
    ours.close()
    with pytest.raises(EOFError):
        receiver.receive(1)
    theirs.close()


@pytest.mark.parametrize(
    "payload",
    [
        struct.pack("<II", 2**32 - 1, 0),
        struct.pack("<II", 0, 2**32 - 1),
        frame(b"not json"),
        frame(b"NaN"),
        frame(b"\xff\xfe"),
        frame(b"[" * 100_000),
        frame(json.dumps({"tensor": ["float32", [2], "cpu"]}).encode(), b"1234"),
        frame(b"1" * 10_000),
    ],
)
def test_a_forged_frame_is_refused(payload: bytes) -> None:
    with pytest.raises((WireError, OSError)):
        talk(payload)


def test_half_a_frame_ends_in_an_end_of_file_and_silence_in_a_time_out() -> None:
    with pytest.raises(EOFError):
        talk(struct.pack("<II", 100, 0) + b"abc")
    ours, theirs = socket.socketpair()
    with pytest.raises(TimeoutError):
        Connection(ours).receive(0.05)
    ours.close()
    theirs.close()
