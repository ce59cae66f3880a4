"""Extensions that an imported entry's code needs: what setup.py says, and what is asked."""

import pytest
from small_challenge import HEAD, LOAD, NET, PACKAGE, files, imported, line_of, manifest, of_package

BUILT = """
op_dir = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fast')
try:
    import fast_op
except ImportError:
    subprocess.run([sys.executable, 'setup.py', 'build_ext', '--inplace'], cwd=op_dir)
"""
OPTIONAL = "try:\n    import fast_op\nexcept ImportError:\n    fast_op = None\n"
REQUIRED = "import fast_op\n"
RAISING = "try:\n    import fast_op\nexcept ImportError:\n    raise SystemError('build it')\n"
SETUP = """
from setuptools import setup
from torch.utils.cpp_extension import BuildExtension, {kind}
setup(ext_modules=[{kind}("fast_op", ["fast_op.cpp"])])
raise SystemExit("is not run")
"""
IN_PLACE = "setup.py build_ext --inplace"
NET_FACTORY = "models.team07_net:Net"


@pytest.mark.parametrize(
    ("branch", "kind", "code", "declared", "asked"),
    [
        (BUILT, "CppExtension", OPTIONAL, {"build": IN_PLACE, "pure_torch": NET_FACTORY}, None),
        (BUILT, "CppExtension", REQUIRED, {"build": IN_PLACE}, "needs the compiled fast_op"),
        (BUILT, "CppExtension", RAISING, {"build": IN_PLACE}, "counts are absent until pure_torch"),
        # The team says in its README how it is built.
        ("", "CppExtension", OPTIONAL, {"build": IN_PLACE, "pure_torch": NET_FACTORY}, None),
        (
            BUILT.replace("'build_ext', '--inplace'", "'install'"),
            "Extension",
            REQUIRED,
            {"build": IN_PLACE},
            "needs the compiled fast_op",
        ),
        (BUILT, "CUDAExtension", OPTIONAL, {}, "runs without fast_op, which needs CUDA to compile"),
        (BUILT, "CUDAExtension", REQUIRED, {"build": IN_PLACE}, "needs the compiled fast_op"),
        (BUILT, "Unknown", OPTIONAL, {}, "the name of the extension that it builds cannot be read"),
        ("", "CppExtension", "", {}, None),  # another team's
    ],
)
def test_an_extension_is_declared_and_lies_beside_the_manifest(
    repository, branch, kind, code, declared, asked
):
    root = repository(HEAD + branch + "model = Net()\n" + LOAD)
    (root / "fast").mkdir()
    (root / "fast" / "setup.py").write_text(SETUP.format(kind=kind))
    (root / "fast" / "fast_op.cpp").write_text("// code\n")
    (root / "models" / "team07_net.py").write_text(code + NET)
    entry = imported(root)
    assert entry.requirements == ()
    told = manifest(entry)["model"]
    assert {key: told[key] for key in ("build", "pure_torch") if key in told} == declared
    assert [asked in each.text for each in entry.questions] == [True] * bool(asked)
    assert all(each.line == line_of(root, "elif model_id == 7") for each in entry.questions)
    beside = {"setup.py", "fast_op.cpp"} & files(entry.folder)
    assert len(beside) == (2 if branch or code else 0)


def test_a_command_whose_folder_reading_does_not_tell_is_a_question(repository):
    branch = HEAD + BUILT.replace("cwd=op_dir", "cwd=sys.argv[1]") + "model = Net()\n"
    (question,) = imported(repository(branch + LOAD)).questions
    assert question.text.startswith("runs a command: subprocess.run(")


def test_an_extension_within_a_team_s_package_is_built_where_it_lies(repository):
    root = repository(PACKAGE, of_package)
    package = root / "models" / "team07_pkg"
    (package / "ops").mkdir()
    (package / "ops" / "setup.py").write_text(SETUP.format(kind="CppExtension"))
    parts = package / "parts.py"
    parts.write_text(f"from .ops import fast_op\nfrom .ops.fast_op import gate\n{NET}")
    told = manifest(imported(root))["model"]
    assert told["build"] == f"models/team07_pkg/ops/{IN_PLACE}"


def test_sources_beside_the_script_are_those_that_setup_py_names(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    (root / "setup.py").write_text(SETUP.format(kind="CppExtension"))
    (root / "fast_op.cpp").write_text("// code\n")
    (root / "other.cpp").write_text("// code\n")
    (root / "models" / "team07_net.py").write_text(OPTIONAL + NET)
    entry = imported(root)
    assert manifest(entry)["model"]["build"] == IN_PLACE
    assert {"setup.py", "fast_op.cpp"} < files(entry.folder)
    assert "other.cpp" not in files(entry.folder)


def test_code_that_compiles_itself_is_a_question(repository):
    root = repository(HEAD + "model = Net()\n" + LOAD)
    code = root / "models" / "team07_net.py"
    code.write_text(f"from torch.utils.cpp_extension import load\n{NET}")
    (question,) = imported(root).questions
    assert question.line == line_of(root, "elif model_id == 7")
    assert question.text.startswith("models/team07_net.py compiles an extension while it runs")
