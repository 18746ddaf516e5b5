"""What tests do to a remote repository with plain git."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

_ENV = {
    "GIT_AUTHOR_NAME": "ops",
    "GIT_AUTHOR_EMAIL": "ops@example.com",
    "GIT_COMMITTER_NAME": "ops",
    "GIT_COMMITTER_EMAIL": "ops@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "PATH": "/usr/bin:/bin:/usr/local/bin",
}


def create(path: Path) -> Path:
    """A bare repository whose ``main`` has a README."""
    git(path.parent, "init", "--quiet", "--bare", "--initial-branch=main", str(path))
    commit(path, {"README.md": b"# boxes\n"}, "start")
    return path


def commit(remote: Path, files: Mapping[str, bytes | None], message: str) -> str:
    """Commit ``files`` to the remote's ``main`` as ops would, None for one that goes; the sha."""
    head = f"commit refs/heads/main\ncommitter ops <ops@example.com> 1790000000 +0000\ndata {len(message)}\n{message}\n"
    stream = head.encode()
    if git(remote, "branch", "--list", "main"):
        stream += b"from refs/heads/main^0\n"
    for path, content in files.items():
        if content is None:
            stream += f"D {path}\n".encode()
            continue
        stream += f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=remote, input=stream, check=True, env=_ENV, timeout=30)
    return git(remote, "rev-parse", "main")


def git(folder: Path, *arguments: str) -> str:
    """What git prints."""
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, env=_ENV, timeout=30)
    return done.stdout.decode().strip()


def refuse_pushes_touching(remote: Path, text: str) -> None:
    """Install a hook that refuses any push whose diff contains ``text``."""
    hook = remote / "hooks" / "pre-receive"
    hook.write_text(f'#!/bin/sh\nread old new ref\ngit log -p $old..$new | grep -q "{text}" && exit 1\nexit 0\n')
    hook.chmod(0o755)


def refuse_every_push(remote: Path, sentence: str) -> None:
    """Install a hook that refuses any push and says ``sentence``, in which the shell knows ``$old`` and ``$new``."""
    hook = remote / "hooks" / "pre-receive"
    hook.write_text(f'#!/bin/sh\necho >> hooks/pushes\nread old new ref\necho "{sentence}" >&2\nexit 1\n')
    hook.chmod(0o755)


def pushes(remote: Path) -> int:
    """How many pushes such a hook has refused."""
    return (remote / "hooks" / "pushes").read_text().count("\n")


def hang_on_push(remote: Path) -> None:
    """Install a hook that never answers and writes down its process."""
    hook = remote / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho $$ >> hooks/hanging\nexec sleep 600\n")
    hook.chmod(0o755)


def hanging(remote: Path) -> list[int]:
    """The processes of such a hook so far."""
    told = remote / "hooks" / "hanging"
    return [int(line) for line in told.read_text().splitlines()] if told.exists() else []


TROUBLES = (
    "fine", "closed", "fine", "dies", "closed", "fine", "deaf", "closed", "fine", "hangs", "fine", "closed", "fine",
    "fine", "closed", "fine", "dies", "fine", "closed", "fine",
)  # fmt: skip
"""What becomes of one push after the other: three in ten are refused, to one in ten nobody answers in time, and
``dies`` and ``deaf`` have taken it before that."""


def give_trouble(remote: Path) -> None:
    """Install hooks that go through ``TROUBLES`` again and again, but for whoever has ``OPS`` set; each is noted."""
    choose = f"""#!/bin/sh
[ -n "$OPS" ] && exit 0
number=$(cat hooks/told 2>/dev/null | wc -l)
set -- {" ".join(TROUBLES)}
shift $((number % {len(TROUBLES)}))
echo "$1" >> hooks/told
echo "$1" > "hooks/now-$PPID"
[ "$1" = closed ] && echo "GH006: Protected branch update failed for refs/heads/main." >&2 && exit 1
[ "$1" = hangs ] && exec sleep 600
exit 0
"""
    taken = """#!/bin/sh
[ "$1" = committed ] && [ -e "hooks/now-$PPID" ] || exit 0
case $(cat "hooks/now-$PPID") in
  dies) kill -9 $PPID ;;
  deaf) exec sleep 600 ;;
esac
exit 0
"""
    for name, text in (("reference-transaction", taken), ("pre-receive", choose)):
        (remote / "hooks" / name).write_text(text)
        (remote / "hooks" / name).chmod(0o755)


def told(remote: Path) -> list[str]:
    """The troubles that such hooks have given so far."""
    told = remote / "hooks" / "told"
    return told.read_text().split() if told.exists() else []


def accept_pushes(remote: Path) -> None:
    """Take the hook away again."""
    (remote / "hooks" / "pre-receive").unlink()
