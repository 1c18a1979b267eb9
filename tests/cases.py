"""What recordings as people have them must read as: inputs that are not part of the project, where they are at hand."""

from __future__ import annotations

from dataclasses import dataclass

BASE = (1500, 28459529, 163045, 319034, 786)
"""Events, Σ(t − t₀), Σx, Σy and ON of the 1,500 events of a DAVIS346 that most inputs were made of."""
SIZE = (346, 260)


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        uri: below the folder of inputs.
        sums: events, Σ(t − t₀), Σx, Σy, ON; None where it must be refused.
        size: of the sensor, where it is certain or guessed right.
        says: part of the line on a refusal.
        code: exit code of ``info``.
    """

    uri: str
    sums: tuple[int, int, int, int, int] | None = BASE
    size: tuple[int, int] | None = SIZE
    says: str = ""
    code: int = 0


def refused(uri: str, says: str, code: int = 3) -> Case:
    return Case(uri, None, None, says, code)


TABLES = [
    *(
        Case(name)
        for name in (
            "xytp_noheader.csv", "xytp_noheader.csv?columns=x,y,t,p", "xytp_noheader_epoch.csv", "rpg_events.txt",
            "rpg_events_pm1.txt", "rpg_epoch_events.txt", "header_seconds.csv", "whole_floats.csv",
            "dsec_tab_xypt.txt", "txyp_tab_us.tsv", "mv_file_to_csv.csv", "pandas_bool.csv", "txyp_semicolon.csv",
            "e2vid_events.zip",
            "events.csv.gz", "spikingjelly.npz", "npz_arr0.npz", "npz_event_data_key.npz", "int_txyp_T.npy",
            "evimo2_keys.npz", "v2e_events.h5", "m3ed_data.h5?group=prophesee/left", "timelens_frac.npz?pixels=floor",
        )
    ),
    Case("savetxt_default.csv", (800, 8055070, 88068, 170030, 400)),
    Case("evuav_ms.npz?time=ms", (1500, 27697000, 163045, 319034, 786)),
    Case("tonic_gesture_xypt_ms.npy?time=ms", (1500, 27697000, 163045, 319034, 786)),
    Case("epoch.csv", (1500, 569190580, 163045, 319034, 786)),
    Case("shuffled.csv?sort=true", (1500, 569190580, 163045, 319034, 786)),
    Case("real/evlib_event.hdf5?group=raw_events", (17, 57664, 1103, 1801, 0), None),
    Case("real/ncaltech_faces_easy_0001.bin", None, (240, 180)),
    refused("evuav_ms.npz", "say the unit of the times with ?time=ms"),
    refused("tonic_gesture_xypt_ms.npy", "say the unit of the times with ?time=ms"),
    refused("bsergb_fixed.npz", "lie outside of any sensor"),
    refused("timelens_frac.npz", "pixels=floor"),
    refused("evimo_p0123.npz", "polarity is 2"),
    refused("m3ed_data.h5", "events lie in prophesee/left, prophesee/right"),
    refused("evlib_cd_ecf.hdf5", "the ECF chunk of the events from row 0 on is damaged"),
    refused("shuffled.csv", "sort=true"),
    refused("fold/split", "join=true", 2),
]  # fmt: skip

TIMES = {"stale_first.csv": 5, "glitch_past.csv": 14, "jitter_3ms.csv": 0, "epoch.csv": 0}
"""File → events that are left out for their times, of 1,500."""
