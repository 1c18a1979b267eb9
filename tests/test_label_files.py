"""Label files as people write them: read right, or refused with one line that names the place and the cause."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_ottt.errors import UsageError
from stream_ottt.labels.sidecar import read_label_csv
from stream_ottt.labels.timeline import LabelInterval, LabelTimeline

HEADER = "class,startTime_usec,endTime_usec\n"
TWO = [LabelInterval(0, 300_000, 1), LabelInterval(300_000, 700_000, 2)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "1,0,300000\n2,300000,700000\n",
        HEADER + "1,0,300000\n2,300000,700000\n   \n",
        HEADER + "1,0,300000\n\n  \t\n,,\n2,300000,700000",
        HEADER + "1.0,0.0,300000.\n2.000,+300000,700000.00\n",
        "\ufeffclass, startTime_usec, endTime_usec\n1, 0, 300000\n 2 , 300000, 700000 \n\n",
        HEADER.replace("\n", "\r\n") + "1,0,300000\r\n2,300000,700000\r\n",
        HEADER.upper() + "2,300000,700000\n1,0,300000\n",
        HEADER + '"1","0","300000"\n2,300000,700000,\n',
    ],
    ids=["plain", "blank last", "blanks", "1.0", "BOM and spaces", "CRLF", "unsorted", "quoted"],
)
def test_reads_what_people_write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")
    intervals, names = read_label_csv(file)
    assert sorted(intervals) == TWO and names == {}
    assert list(LabelTimeline(intervals)) == TWO


def test_a_fourth_column_names_the_classes(file: Path) -> None:
    file.write_text(HEADER.strip() + ",name\n1,0,300000,hand clap\n2,300000,700000,\n1,700000,800000,hand clap\n")
    intervals, names = read_label_csv(file, [1, 2])
    assert [i.label for i in intervals] == [1, 2, 1] and names == {1: "hand clap"}
    file.write_text(HEADER + "1,0,300000,clap\n1,300000,700000,wave\n")
    with pytest.raises(UsageError, match="line 3: class 1 is 'clap' above and 'wave' here"):
        read_label_csv(file)


def test_names_in_the_class_column_are_the_classes_in_alphabetical_order(file: Path) -> None:
    file.write_text(HEADER + "wave,0,300000\nclap,300000,700000\nwave,700000,800000\n")
    intervals, names = read_label_csv(file)
    assert [i.label for i in intervals] == [1, 0, 1] and names == {0: "clap", 1: "wave"}


def test_names_that_a_model_knows_keep_their_labels(file: Path) -> None:
    file.write_text(HEADER + "wave,0,300000\nclap,300000,700000\n")
    known = {3: "clap", 5: "wave", 8: "roll"}
    intervals, names = read_label_csv(file, [3, 5, 8], known)
    assert [i.label for i in intervals] == [5, 3] and names == known
    file.write_text(HEADER + "wave,0,300000\nclapp,300000,700000\n")
    with pytest.raises(UsageError, match=r"line 3: unknown class 'clapp'.*did you mean 'clap'"):
        read_label_csv(file, [3, 5, 8], known)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: expected the header"),
        ("a,b,c\n1,2,3\n", "line 1: expected the header 'class,startTime_usec,endTime_usec'"),
        ("1,0,300000\n2,300000,700000\n", "line 1: expected the header"),
        ("startTime_usec,endTime_usec,class\n0,300000,1\n", "line 1: expected the header"),
        ("class;startTime_usec;endTime_usec\n1;0;300000\n", "line 1: expected the header"),
        (HEADER, "no label intervals"),
        (HEADER + "1,2\n", "line 2: expected three integers"),
        (HEADER + "1,2,3,4,5\n", "line 2: expected three integers"),
        (HEADER + ",0,10\n", "line 2: expected three integers"),
        (HEADER + "1,0,10\n2,x,30\n", "line 3: expected three integers"),
        (HEADER + "1,0,0.3\n2,0.3,0.7\n", "line 2: expected three integers (class, start µs, end µs), found '1,0,0.3'"),
        (HEADER + "1,0,1e5\n", "line 2: expected three integers"),
        (HEADER + f"1,0,{10**30}\n", "line 2: expected three integers"),
        (HEADER + f"1,0,{2**63}\n", "line 2: expected three integers"),
        (HEADER + "1,0,\u0663\n", "line 2: expected three integers"),
        (HEADER + "9,0,10\n", "line 2: unknown class 9; expected one of 1, 2"),
        (HEADER + "-1,0,10\n", "line 2: unknown class -1"),
        (HEADER + "1.5,0,10\n", "line 2: class '1.5' is neither a whole number nor a name"),
        (HEADER + "1,0,10\nclap,10,20\n", "line 3: class 'clap', where line 2 has '1'"),
        (HEADER + "1,0,300000\n2,300000,300000\n", "line 3: interval 300000..300000 of class 2 is empty"),
        (HEADER + "1,10,0\n", "line 2: interval 10..0 of class 1 ends before it starts; swap its two times"),
        (HEADER + "1,0,10\n" + "x" * 200_000 + ",1,2\n", "line 3: no line of CSV"),
    ],
)
def test_a_bad_file_is_named_with_its_line(file: Path, text: str, complaint: str) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as error:
        read_label_csv(file, [1, 2])
    message = str(error.value)
    assert message.startswith(str(file)) and complaint in message
    assert "\n" not in message and len(message) < 400 + len(str(file))


def test_bytes_that_are_no_text_are_named_with_their_offset(file: Path) -> None:
    file.write_bytes(HEADER.encode() + b"1,\xff,3\n")
    with pytest.raises(UsageError, match=f"byte {len(HEADER) + 2}: labels must be UTF-8"):
        read_label_csv(file)
    file.write_text(HEADER + "1,0,10\n", encoding="utf-16")
    with pytest.raises(UsageError, match="byte 0: labels must be UTF-8 text; save the file as UTF-8"):
        read_label_csv(file)


def test_no_file_and_a_folder_are_said(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(UsageError, match=f"{path}: cannot read labels"):
            read_label_csv(path)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("labels") / "labels.csv"
    file.write_text(HEADER + text, encoding="utf-8", errors="surrogatepass")
    try:
        intervals, _ = read_label_csv(file)
    except UsageError as e:
        assert "\n" not in str(e)
    else:
        assert intervals and all(i.t_start < i.t_end for i in intervals)
