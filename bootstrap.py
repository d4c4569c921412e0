"""Makes .venv from the hashed requirements, then starts Countersign. Standard library only.

    python3 bootstrap.py setup [--dev | --bench | --conformance | --audit]
    python3 bootstrap.py run
    python3 bootstrap.py lock [options of `uv pip compile`]

Every Python from 3.6 on must be able to parse this file: an old one then gets a sentence, not a SyntaxError.
"""

import sys

if sys.version_info < (3, 11):
    sys.exit(
        "countersign: Python 3.11 or newer is needed; this is %d.%d.%d. Try: make run PYTHON=python3.11"
        % sys.version_info[:3]
    )

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
# What only one verb needs; tests and the product never see it.
VENVS_BESIDE = {kind: ROOT / (".venv-" + kind) for kind in ("bench", "conformance", "audit")}
STAMP_NAME = "countersign-stamp.json"
STAMP = VENV / STAMP_NAME  # requirements file -> the hash it was installed with
TOOLS = ROOT / ".tools"
UV = TOOLS / "bin" / "uv"
LOG = TOOLS / "bootstrap.log"
VERSION = sys.version.split()[0]

# Compiled here, once: where PYTHONDONTWRITEBYTECODE is set, each process would compile all it imports, and a worker
# takes 6 s to start instead of 3.
SYNC = ["pip", "sync", "--quiet", "--require-hashes", "--compile-bytecode"]

# pip's option -> the variable of uv that means the same
UV_VARIABLES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
}
NO_INDEX = "Cannot reach the package index. Offline? Set PIP_INDEX_URL or PIP_FIND_LINKS."
DISK_FULL = "The disk is full. Free about 600 MB and try again."
NOT_WRITABLE = "%s can't be written. Clone to a folder of yours." % ROOT
BAD_HASH = "A package is not the file that requirements/ has the hash of. Nothing was started."
INCOMPLETE = "The package index lacks a package. Set PIP_INDEX_URL or PIP_FIND_LINKS to one that has it."
NO_VENV = "This Python can make no virtual environment. Install its venv package (python3-venv)."

# What the tools say, and what it means; the first that is found counts.
CAUSES = {
    "No space left on device": DISK_FULL,
    "Permission denied": NOT_WRITABLE,
    "Read-only file system": NOT_WRITABLE,
    "Hash mismatch": BAD_HASH,
    "DO NOT MATCH THE HASHES": BAD_HASH,
    "NewConnectionError": NO_INDEX,
    "Failed to establish a new connection": NO_INDEX,
    "ConnectTimeout": NO_INDEX,
    "ProxyError": NO_INDEX,
    "Name or service not known": NO_INDEX,
    "name resolution": NO_INDEX,
    "error sending request": NO_INDEX,
    "dns error": NO_INDEX,
    "Failed to fetch": NO_INDEX,
    "from versions: none": INCOMPLETE,
    "No solution found": INCOMPLETE,
    "ensurepip": NO_VENV,
}


class Failure(Exception):
    """Set-up can't go on. The text is the line to show."""


def main() -> None:
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["lock"]:
            lock(arguments[1:])
        elif arguments == ["setup", "--audit"]:
            set_up_beside("audit")
        elif arguments in (["setup", "--bench"], ["setup", "--conformance"]):
            set_up(dev=True)
            set_up_beside(arguments[1][2:])
        elif arguments in (["run"], ["setup"], ["setup", "--dev"]):
            set_up(dev="--dev" in arguments)
        else:
            sys.exit("usage: python3 bootstrap.py run | setup [--dev | --bench | --conformance] | lock")
    except Failure as failure:
        sys.exit("countersign: %s" % failure)
    except OSError as error:
        sys.exit("countersign: %s" % cause(str(error)))
    except KeyboardInterrupt:
        sys.exit("countersign: stopped before set-up was complete. Run it again.")
    if arguments == ["run"]:
        os.chdir(ROOT)
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), "manage.py", "up"])  # noqa: S606 (no shell is meant)


def set_up(dev: bool) -> None:
    """Bring .venv to what requirements/ says. Costs two small reads when it is there already."""
    installed = read_stamp()
    wanted = digests()
    if installed.get("base") == wanted["base"] and (not dev or installed.get("dev") == wanted["dev"]):
        return
    dev = dev or "dev" in installed  # `make run` must not take its tools from `make test`
    install("dev" if dev else "base")
    kinds = ["base", "dev"] if dev else ["base"]
    STAMP.write_text(json.dumps({kind: wanted[kind] for kind in kinds}))


def set_up_beside(kind: str) -> None:
    """Bring the environment that only this verb needs to what its requirements say."""
    venv = VENVS_BESIDE[kind]
    wanted = {kind: digest(kind, venv)}
    if read_stamp(venv) != wanted:
        install(kind, venv)
        (venv / STAMP_NAME).write_text(json.dumps(wanted))


def read_stamp(venv: Path = VENV) -> dict[str, str]:
    """What was installed; nothing when the environment is missing, moved or half made."""
    try:
        if not os.access(python_of(venv), os.X_OK):
            return {}
        return dict(json.loads((venv / STAMP_NAME).read_text()))
    except (OSError, ValueError):
        return {}


def python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def digests() -> dict[str, str]:
    return {kind: digest(kind, VENV) for kind in ("base", "dev")}


def digest(kind: str, venv: Path) -> str:
    """SHA-256 of a requirements file, with the environment's own place: a virtual environment can't be moved."""
    made = " ".join([str(venv), *SYNC])
    return hashlib.sha256(made.encode() + requirements(kind).read_bytes()).hexdigest()


def requirements(kind: str) -> Path:
    return ROOT / "requirements" / (kind + ".txt")


def lock(options: list[str]) -> None:
    """Compile requirements/*.in for every platform and Python from 3.11 on; pins that still fit are kept."""
    begin_log()
    if not has_uv():
        raise Failure("`lock` needs uv, and it could not be installed (see %s)." % LOG)
    # Without --universal the lock lacks what other Pythons need: redis-py wants async-timeout below 3.11.3.
    compile_ = [
        str(UV),
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
        "--generate-hashes",
    ]
    compile_ += ["--no-emit-index-url", "--no-emit-find-links", *options]
    for kind in ("base", "dev", *VENVS_BESIDE):
        with step("requirements/%s.txt" % kind):
            run(
                [*compile_, "requirements/%s.in" % kind, "-o", "requirements/%s.txt" % kind], uv_environment()
            )


def install(kind: str, venv: Path = VENV) -> None:
    begin_log()
    (venv / STAMP_NAME).unlink(missing_ok=True)
    if has_uv():
        install_with_uv(kind, venv, uv_environment())
    else:
        install_with_pip(kind, venv)


def begin_log() -> None:
    TOOLS.mkdir(exist_ok=True)
    LOG.write_text("")


def has_uv() -> bool:
    """True once uv is in .tools, where nothing but this clone sees it; False when it can't be had here."""
    if UV.exists():
        return True
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "2"]
    try:
        with step("uv, into .tools"):
            run([*pip, "--target", str(TOOLS), "uv"])
    except Failure as failure:
        if str(failure) in (NO_INDEX, DISK_FULL, NOT_WRITABLE):
            raise
    return UV.exists()


def install_with_uv(kind: str, venv: Path, environment: Mapping[str, str]) -> None:
    if not os.access(python_of(venv), os.X_OK):
        with step("virtual environment, Python %s" % VERSION):
            run([str(UV), "venv", "--quiet", "--clear", "--python", sys.executable, str(venv)], environment)
    with step("%d packages, hashes checked" % count(kind)):
        run([str(UV), *SYNC, "--python", str(python_of(venv)), str(requirements(kind))], environment)


def install_with_pip(kind: str, venv: Path) -> None:
    with step("virtual environment, Python %s (without uv: slower)" % VERSION):
        run([sys.executable, "-m", "venv", "--clear", str(venv)])
    with step("%d packages, hashes checked" % count(kind)):
        pip = [str(python_of(venv)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--require-hashes", "-r", str(requirements(kind))])


def count(kind: str) -> int:
    return sum("==" in line for line in requirements(kind).read_text().splitlines())


def uv_environment() -> dict[str, str]:
    """The environment with pip's settings, from its variables and its files, as uv's: uv reads neither."""
    import subprocess

    pip = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(pip, capture_output=True, text=True, check=False).stdout
    # Any index may have the version wanted: the hash says whether it is the right file.
    found = {"UV_PYTHON_DOWNLOADS": "never", "UV_INDEX_STRATEGY": "unsafe-best-match"}
    for option, value in pip_options(listing).items():
        if option in UV_VARIABLES:
            found[UV_VARIABLES[option]] = as_uv_value(option, value)
    return {**found, **os.environ}


def pip_options(listing: str) -> dict[str, str]:
    """What `pip config list` says. Variables outrank pip's files, and `install` there outranks `global`."""
    options = {}
    lines = [line.partition("=") for line in listing.splitlines()]
    for section in ("global.", "install.", ":env:."):
        for key, _, value in lines:
            if key.startswith(section):
                options[key[len(section) :]] = value.strip("'\"")
    return options


def as_uv_value(option: str, value: str) -> str:
    """uv separates indexes by spaces as pip does, but folders of wheels by commas."""
    words = value.replace("\\n", " ").split()
    return ",".join(words) if option == "find-links" else " ".join(words)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what begins, and its time when it is done."""
    print((" set-up: %s " % what).ljust(68), end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print("%5.1f s" % (time.monotonic() - started), flush=True)


def run(argv: list[str], environment: Mapping[str, str] = os.environ) -> None:
    """Run a tool, its output to the log. Failure says what went wrong as far as its output tells."""
    import subprocess

    done = subprocess.run(
        argv, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    with LOG.open("a") as log:
        log.write("$ %s\n%s\n" % (" ".join(argv), done.stdout))
    if done.returncode:
        raise Failure(cause(done.stdout))


def cause(output: str) -> str:
    """The line to show for what a tool printed, or for the text of an OSError."""
    for sign, meaning in CAUSES.items():
        if sign in output:
            return meaning
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return "%s (all of it: %s)" % (lines[-1] if lines else "set-up failed", LOG)


if __name__ == "__main__":
    main()
