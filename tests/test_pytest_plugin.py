"""What the plugin does to a run of pytest; the fixture it brings is tested beside it."""

import pytest

pytest_plugins = ["pytester"]

HEAVY = """import sys, pytest
code = pytest.main(["-p", "no:cacheprovider", "-rs", "--strict-markers"])
heavy = {"torch", "numpy", "cv2", "pandas", "pydantic", "fvcore"} & set(sys.modules)
print("heavy:", sorted(heavy), "code:", int(code))
"""


def test_without_the_option_tests_that_measure_are_skipped_and_nothing_heavy_is_imported(pytester):
    pytester.makepyfile(
        test_efficiency="""
        import pytest

        def test_plain():
            pass

        def test_counts(efficiency):
            assert efficiency.params("mynet") == 0

        @pytest.mark.esrbench
        def test_marked():
            assert False
        """
    )
    done = pytester.runpython_c(HEAVY)
    done.assert_outcomes(passed=1, skipped=2)
    said = done.stdout.str()
    assert said.count("measures networks: run pytest with --esrbench") == 2
    assert done.outlines[-1] == "heavy: [] code: 0", said
    assert "@pytest.mark.esrbench: measures" in pytester.runpytest("--markers").stdout.str()


def test_a_run_without_the_plugin_goes_on(pytester):
    pytester.makepyfile("def test_plain(): pass")
    pytester.runpytest("-p", "no:esrbench").assert_outcomes(passed=1)
    refused = pytester.runpytest("-p", "no:esrbench", "--esrbench")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
