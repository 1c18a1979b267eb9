"""``stream-ottt keys new``: a pair of CURVE keys for the end that binds, one for those that connect."""

from __future__ import annotations

from pathlib import Path

import zmq.auth

from stream_ottt.errors import OutputError, UsageError
from stream_ottt.live.zmq_socket import CLIENT, SERVER

SECRET_MODE = 0o600


def new(folder: Path) -> int:
    """Write both pairs into ``folder``, which is made; secret keys are readable by their owner only.

    Raises:
        UsageError: there are keys in it already.
        OutputError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in (SERVER, CLIENT):
            for path in (folder / f"{name}.key", folder / f"{name}.key_secret"):
                if path.exists():
                    raise UsageError(f"{path}: is there already; choose another folder, or remove it first")
        for name in (SERVER, CLIENT):
            secret = folder / f"{name}.key_secret"
            secret.touch(SECRET_MODE)
            zmq.auth.create_certificates(folder, name)
            secret.chmod(SECRET_MODE)
    except OSError as e:
        raise OutputError(f"{folder}: cannot write keys: {e.strerror}") from e
    print(f"{folder}: keys for both ends; use them with ?keys={folder}")
    print(f"  the end that binds needs {SERVER}.key_secret, and {CLIENT}.key of everyone it lets in")
    print(f"  the end that connects needs {CLIENT}.key_secret and {SERVER}.key; keep *.key_secret to yourself")
    return 0
