"""Parts keep what they are given; what a browser sends is taken only in its exact form."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from stream_ottt.web.message import Command, Ready, Wish, decode_incoming, decode_parts, encode_part

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ARRAYS = st.sampled_from(["uint8", "int32", "float32"]).flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5))
)
PARTS = st.lists(
    st.tuples(
        st.text(),
        st.dictionaries(st.text().filter(lambda key: key not in {"kind", "arrays"}), PLAIN, max_size=3),
        st.dictionaries(st.text(), ARRAYS, max_size=3),
    ),
    max_size=3,
)


@given(PARTS)
def test_parts_come_back_as_they_were_given(parts):
    message = b"".join(encode_part(*part) for part in parts)
    found = decode_parts(message)
    assert len(found) == len(parts)
    for (kind, fields, given_arrays), part in zip(parts, found, strict=True):
        back = part.pop("arrays")
        assert part == {"kind": kind, **fields}
        assert back.keys() == given_arrays.keys()
        for name, array in given_arrays.items():
            assert back[name].dtype == array.dtype
            np.testing.assert_array_equal(back[name], array)


def test_every_block_begins_at_a_multiple_of_four_as_typed_arrays_demand():
    part = encode_part("µ", {"a": "ü"}, {"odd": np.zeros(5, np.uint8), "float": np.ones(3, np.float32)})
    head = int.from_bytes(part[:4], "little")
    assert head % 4 == 0 and len(part) % 4 == 0
    assert json.loads(part[8 : 8 + head])["kind"] == "µ"
    assert np.frombuffer(part, np.float32, 3, 8 + head + 8).tolist() == [1, 1, 1]


def test_numbers_that_json_lacks_become_null():
    part = encode_part("x", {"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": 1.5})
    assert decode_parts(part)[0] == {"kind": "x", "a": None, "b": [None, {"c": None}], "d": 1.5, "arrays": {}}


def test_an_element_type_that_browsers_lack_is_refused():
    with pytest.raises(TypeError, match="int64"):
        encode_part("x", {}, {"a": np.zeros(2, np.int64)})


def test_what_browsers_say():
    assert decode_incoming('{"kind": "ready"}') == Ready(kind="ready")
    assert decode_incoming('{"kind": "wish", "inside": true, "neuron": 7}') == Wish(kind="wish", inside=True, neuron=7)
    label = decode_incoming('{"kind": "command", "id": 3, "name": "label", "label": 2, "span_us": 500000}')
    assert isinstance(label, Command) and (label.label, label.span_us) == (2, 500_000)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '"ready"',
        '{"kind": "gone"}',
        '{"kind": "ready", "more": 1}',
        '{"kind": "wish", "neuron": -1}',
        '{"kind": "wish", "layer": 4}',
        '{"kind": "command", "id": 1, "name": "__init__"}',
        '{"kind": "command", "id": 1, "name": "label", "label": "2"}',
        '{"kind": "command", "id": 1, "name": "label", "label": 2.5}',
        '{"kind": "command", "id": 1, "name": "label", "label": 2, "span_us": 0}',
        '{"kind": "command", "id": 1, "name": "speed", "value": -1}',
        '{"kind": "command", "id": 1, "name": "speed", "value": 1e999}',
        '{"kind": "command", "id": 1, "name": "new_class", "text": ""}',
        '{"kind": "command", "name": "pause"}',
        "[" * 2000,
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError):
        decode_incoming(text)


@given(st.text(max_size=200) | PLAIN.map(json.dumps))
def test_no_text_does_worse_than_being_refused(text):
    with contextlib.suppress(ValueError):
        decode_incoming(text)
