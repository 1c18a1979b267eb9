"""Cameras: a network reader of the real dv-processing in a camera's place, and what is said when there is none."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import dv_processing as dv
import numpy as np
import pytest

from stream_ottt.errors import InputError, UsageError
from stream_ottt.events.packet import EventArray, EventPacket, make_events
from stream_ottt.sources.camera import CameraConfig, CameraSource
from stream_ottt.sources.cameras import DRIVERS, DvCamera, NeuromorphicCamera, Opening, camera_here, find_camera
from stream_ottt.sources.opening import open_source

LIMIT = 60.0
N, BATCHES = 500, 20

WRITER = f"""
import sys, socket, time, dv_processing as dv
probe = socket.socket(); probe.bind(("127.0.0.1", 0)); port = probe.getsockname()[1]; probe.close()
writer = dv.io.NetworkWriter("127.0.0.1", port, dv.io.Stream.EventStream(0, "events", "DAVIS_7", (346, 260)))
print(port, flush=True)
while writer.getClientCount() == 0:
    time.sleep(0.005)
n = 0
for _ in range({BATCHES}):
    store = dv.EventStore()
    for _ in range({N}):
        store.push_back(n * 10, n * 7 % 346, n * 3 % 260, n % 3 == 0)
        n += 1
    writer.writeEvents(store)
while writer.getQueuedPacketCount():
    time.sleep(0.005)
sys.stdin.readline()
"""


def some_events(n: int) -> EventArray:
    i = np.arange(n)
    return make_events(i * 7 % 346, i * 3 % 260, i * 10, i % 3 == 0)


@pytest.fixture
def writer() -> Any:
    process = subprocess.Popen([sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def network_camera(process: Any) -> CameraSource:
    """A source whose camera is a network reader, which has the same interface."""
    port = int(process.stdout.readline())
    return CameraSource(CameraConfig(), lambda serial, driver: DvCamera(dv.io.NetworkReader("127.0.0.1", port)))


def test_an_input_of_dv_processing_is_read_until_it_is_gone(writer: Any) -> None:
    source = network_camera(writer)
    packets: list[EventPacket] = []

    async def read() -> None:
        async with asyncio.timeout(LIMIT), aclosing(aiter(source)) as stream:  # type: ignore[type-var]
            async for packet in stream:
                packets.append(packet)
                if sum(map(len, packets)) == N * BATCHES:
                    writer.kill()

    with pytest.raises(InputError, match="DAVIS_7 no longer answers; check its cable"):
        asyncio.run(read())
    assert np.array_equal(np.concatenate([p.events for p in packets]), some_events(N * BATCHES))
    assert {(p.width, p.height) for p in packets} == {(346, 260)}
    assert source.describe() == {"camera": "DAVIS_7"}
    assert source.statistics() == {"camera": "DAVIS_7", "lost_batches": 0}


def test_a_silent_camera_can_be_left(writer: Any) -> None:
    source = network_camera(writer)

    async def read() -> int:
        seen = 0
        async with asyncio.timeout(LIMIT), aclosing(aiter(source)) as stream:  # type: ignore[type-var]
            while seen < N * BATCHES:
                seen += len(await anext(stream))
            with pytest.raises(TimeoutError):  # nothing more comes, and it does not end
                await asyncio.wait_for(anext(stream), 0.3)
        return seen

    assert asyncio.run(read()) == N * BATCHES


class Device:
    """The part of neuromorphic-drivers' device that is used; a real one needs hardware."""

    def __init__(self, packets: list[Any]) -> None:
        self._packets = packets
        self.closed = False

    def name(self) -> SimpleNamespace:
        return SimpleNamespace(value="prophesee_evk4")

    def properties(self) -> SimpleNamespace:
        return SimpleNamespace(width=1280, height=720)

    def __next__(self) -> tuple[None, Any]:
        if not self._packets:
            raise RuntimeError("the device was disconnected")
        return None, self._packets.pop(0)

    def close(self) -> None:
        self.closed = True


def test_packets_of_neuromorphic_drivers() -> None:
    from neuromorphic_drivers.packet import Evt3Packet

    dtype = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")]
    full, triggers = Evt3Packet(), Evt3Packet()
    full.polarity_events = np.array([(5, 1279, 719, True), (6, 0, 40000, False)], dtype)
    full.polarity_events_overflow_indices = np.array([1])
    triggers.polarity_events = triggers.polarity_events_overflow_indices = None
    device = Device([None, triggers, full, None])
    source = CameraSource(CameraConfig(), lambda serial, driver: NeuromorphicCamera(device))
    packets: list[EventPacket] = []

    async def read() -> None:
        async with asyncio.timeout(LIMIT):
            async for packet in source:
                packets.append(packet)

    with pytest.raises(InputError, match="prophesee_evk4 no longer answers"):
        asyncio.run(read())
    assert [p.events.tolist() for p in packets] == [[(1279, 719, 5, True), (0, -1, 6, False)]]
    assert (packets[0].width, packets[0].height) == (1280, 720)
    assert source.statistics()["lost_batches"] == 1
    assert device.closed


def drain(uri: str) -> str:
    async def read() -> None:
        async with asyncio.timeout(LIMIT):
            async for _ in open_source(uri):
                return

    with pytest.raises(InputError) as error:
        asyncio.run(read())
    assert "\n" not in str(error.value)
    return str(error.value)


def cameras_here() -> bool:
    try:
        find_camera("", "auto").close()
    except InputError:
        return False
    return True


@pytest.mark.skipif(cameras_here(), reason="a camera is plugged in")
def test_without_a_camera_one_line_says_what_was_looked_for() -> None:
    message = drain("camera://")
    assert message.startswith("no camera: dv-processing found none; neuromorphic-drivers ")
    assert "check its cable" in message
    message = drain("camera://DVX-0042?driver=dv-processing")
    assert message.startswith("no camera with serial number DVX-0042: dv-processing found none; check")


def found_nothing(serial: str) -> tuple[Opening | None, str]:
    return None, "found others: 17"


def not_installed(serial: str) -> tuple[Opening | None, str]:
    raise ImportError("no module")


def broken(serial: str) -> tuple[Opening | None, str]:
    raise RuntimeError("/a/file.hpp(88): open()\nRuntimeError: Could not open it\nStacktrace:\n 0# 0x0\n")


@pytest.mark.parametrize(
    ("find", "says"),
    [
        (found_nothing, "found others: 17"),
        (not_installed, "is not installed (pip install 'stream-ottt[camera]')"),
        (broken, "failed (Could not open it)"),
    ],
)
def test_what_each_driver_says_is_passed_on_in_one_line(find: Any, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DRIVERS, "dv-processing", find)
    for look in (find_camera, camera_here):
        with pytest.raises(InputError) as error:
            look("", "dv-processing")
        assert f"no camera: dv-processing {says}; " in str(error.value) and "\n" not in str(error.value)


def test_whether_there_is_a_camera_is_found_out_without_opening_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    monkeypatch.setitem(DRIVERS, "dv-processing", lambda serial: (lambda: opened.append(serial), ""))
    source = open_source("camera://17?driver=dv-processing")
    source.check()
    assert not opened
    find_camera("17", "dv-processing")
    assert opened == ["17"]


@pytest.mark.skipif(cameras_here(), reason="a camera is plugged in")
def test_a_run_says_so_before_it_imports_what_learns() -> None:
    said = "import sys; from stream_ottt.cli.app import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said, "run", "--source", "camera:"], capture_output=True, text=True)
    assert "no camera: " in done.stderr and done.stdout == "False\n"


@pytest.mark.parametrize(
    ("uri", "complaint"), [("camera://a/b", "address"), ("camera://?driver=dv", "driver"), ("camer://", "camera")]
)
def test_wrong_words(uri: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        open_source(uri)


def test_the_first_of_several_is_taken_and_a_serial_number_chooses() -> None:
    config = open_source("camera://DVX-0042").config
    assert isinstance(config, CameraConfig) and config.serial == "DVX-0042"
    assert CameraConfig().serial == ""
