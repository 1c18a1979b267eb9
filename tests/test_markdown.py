"""Tables of replays and comparisons in a terminal."""

from __future__ import annotations

from stream_ottt.cli.markdown import for_terminal

TEXT = """\
| run | method | accuracy |
| --- | --- | ---: |
| a | ottt_o | 0.9 |
| b\\|c | er | 39.17 ± 0.2 |

A line of words that is longer than the terminal is wide.
"""


def test_columns_stand_in_line() -> None:
    assert for_terminal(TEXT, 60) == (
        "run  method     accuracy\n"
        "────────────────────────\n"
        "a    ottt_o          0.9\n"
        "b|c  er      39.17 ± 0.2\n"
        "\n"
        "A line of words that is longer than the terminal is wide.\n"
    )


def test_a_table_that_is_too_wide_stands_on_its_side() -> None:
    wide = "| run | a long name |\n| --- | --- |\n| x | 1 |\n"
    assert for_terminal(wide, 14) == "run          x\na long name  1\n"


def test_rows_stand_one_below_the_other_where_nothing_else_fits() -> None:
    assert for_terminal(TEXT, 23).splitlines()[:9] == [
        "run       a", "method    ottt_o", "accuracy  0.9", "",
        "run       b|c", "method    er", "accuracy  39.17 ± 0.2", "", "A line of words that is",
    ]  # fmt: skip


def test_what_is_no_whole_table_is_shown_all_the_same() -> None:
    assert for_terminal("| a | b |\n| c |\n", 20) == "a  b\nc\n"
