"""What every source, sink and learning method promises, as checks that a package can run on its own.

    from stream_ottt.testing import SOURCE_CHECKS, check_source

    def test_my_source():
        check_source(lambda: MySource.from_options(port=5))

    @pytest.mark.parametrize("name", SOURCE_CHECKS)      # or one by one
    def test_each(name):
        SOURCE_CHECKS[name](lambda: MySource.from_options(port=5))

A check raises AssertionError, which says what was promised.
"""

from stream_ottt.testing.methods import METHOD_CHECKS, check_method
from stream_ottt.testing.sinks import SINK_CHECKS, check_sink
from stream_ottt.testing.sources import SOURCE_CHECKS, check_source

__all__ = ["METHOD_CHECKS", "SINK_CHECKS", "SOURCE_CHECKS", "check_method", "check_sink", "check_source"]
