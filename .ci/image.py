"""Goes through the steps of deploy/docker/Containerfile without a container engine.

    image.py FOLDER CONFIG…

The build stage's last step is run as it stands, with what the ignore file lets into the context mounted over
the project, so that what was built from the same files need not be built again; only the program is not
trained, its profile is CARGO_PROFILE (release), and its target folder CARGO_TARGET_DIR. The final stage is laid
over the Debian packages in FOLDER/packages, which its base image is made of. Then its ENTRYPOINT, CMD, USER
and HEALTHCHECK are run in it with each configuration, with a read-only root, without capabilities, in
namespaces of their own, and what a container engine would show is looked at. The base images themselves
and the apt-get step are not part of this. Needs root.
"""

import ctypes
import fcntl
import glob
import json
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

CONTAINERFILE = Path("deploy/docker/Containerfile")
BINARY = "/usr/bin/portcullis"
SHELLS = ["sh", "bash", "dash", "busybox", "apt-get", "dpkg", "perl", "python3"]
DEVICES = ["null", "zero", "random", "urandom"]
MEMLOCK = 64 << 20
AUDIT = "var/lib/portcullis/audit"

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP = 38, 24
libc = ctypes.CDLL(None, use_errno=True)


def fail(what: str) -> None:
    sys.exit(f"image: {what}")


def instructions() -> list[list[tuple[str, str]]]:
    """The file's stages: each a list of (instruction, text)."""
    lines = [line for line in CONTAINERFILE.read_text().splitlines() if not line.startswith("#")]
    text = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    stages: list[list[tuple[str, str]]] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest))
    return stages


def context(folder: Path) -> Path:
    """What the ignore file lets through: it lets nothing, and then names what it does."""
    rules = Path(f"{CONTAINERFILE}.dockerignore").read_text().split("\n")
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    if rules[0] != "*":
        fail("the ignore file does not begin with *")
    place = folder / "context"
    shutil.rmtree(place, ignore_errors=True)
    for rule in rules[1:]:
        source, to = Path(rule.removeprefix("!")), place / rule.removeprefix("!")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, to) if source.is_dir() else shutil.copy2(source, to)
    return place


def build(stage: list[tuple[str, str]], folder: Path) -> Path:
    """Runs the build stage's last RUN; what it installs into /out lies in the folder returned."""
    step = [rest for word, rest in stage if word == "RUN"][-1]
    profile, target = os.environ.get("CARGO_PROFILE", "release"), os.environ["CARGO_TARGET_DIR"]
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    place = {"dev": "debug"}.get(profile, profile)
    for ours, theirs in [
        ("deploy/trained target/portcullis", f"cargo build --locked --profile {profile} -p portcullis --bin portcullis"),
        (" target/portcullis ", f" {target}/{place}/portcullis "),
        ("/out/", f"{out}/"),
        (" /audit", f" {out.parent}/audit"),
    ]:
        if ours not in step:
            fail(f"{CONTAINERFILE}: the build step does not say {ours}")
        step = step.replace(ours, theirs)
    there, here = context(folder), Path.cwd()
    mounts = [f"mount --rbind '{there}' '{here}'", f"cd '{here}'"]
    if Path(target).is_relative_to(here):
        place = there / Path(target).relative_to(here)
        place.mkdir(parents=True)
        mounts.insert(0, f"mount --bind '{target}' '{place}'")
    script = "\n".join(["mount --make-rprivate /", *mounts, step])
    subprocess.run(["unshare", "--mount", "bash", "-euo", "pipefail", "-c", script], check=True)
    return out


def base(root: Path, folder: Path) -> None:
    """The base image, from the same packages."""
    packages = sorted((folder / "packages").glob("*.deb"))
    if not packages:
        fail(f"{folder}/packages is empty")
    for package in packages:
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)
    etc = root / "etc"
    (etc / "passwd").write_text("root:x:0:0::/root:/sbin/nologin\nnonroot:x:65532:65532::/:/sbin/nologin\n")
    (etc / "group").write_text("root:x:0:\nnonroot:x:65532:\n")
    (etc / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    authorities = sorted(glob.glob(f"{root}/usr/share/ca-certificates/**/*.crt", recursive=True))
    (etc / "ssl/certs").mkdir(parents=True, exist_ok=True)
    (etc / "ssl/certs/ca-certificates.crt").write_text("".join(Path(one).read_text() for one in authorities))


def lay(stage: list[tuple[str, str]], out: Path, root: Path) -> dict:
    """The final stage's files; returns what else it says."""
    said: dict = {}
    for word, rest in stage:
        if word == "COPY":
            copied = re.fullmatch(r"--from=build (?:--chown=(\d+):(\d+) )?/(\S+?)/? /(\S*)", rest)
            if not copied:
                fail(f"{CONTAINERFILE}: COPY {rest} is not known here")
            user, group, source, to = copied.groups()
            shutil.copytree(out.parent / source, root / to, dirs_exist_ok=True)
            if user:
                os.chown(root / to, int(user), int(group))
        elif word in ("ENTRYPOINT", "CMD"):
            said[word] = json.loads(rest)
        elif word == "HEALTHCHECK":
            said[word] = json.loads(rest[rest.index("CMD ") + 4 :])
        elif word in ("FROM", "USER", "EXPOSE", "STOPSIGNAL", "LABEL"):
            said[word] = rest
        else:
            fail(f"{CONTAINERFILE}: {word} is not known here")
    return said


def secrets(root: Path, config: Path, user: int) -> None:
    """Whatever the configuration names, made up, owned as an engine would mount it."""
    text = config.read_text()
    place = root / "etc/portcullis/config"
    for folder in ("etc/portcullis", "run/secrets"):
        shutil.rmtree(root / folder, ignore_errors=True)
    place.mkdir(parents=True)
    shutil.copy(config, place / "portcullis.toml")


    def at(name: str) -> Path:
        return Path(f"{root}{os.path.normpath(os.path.join('/etc/portcullis/config', name))}")

    for certificate, key in re.findall(r'^certificate = "(.+)"\nkey = "(.+)"$', text, re.M):
        certificate, key = at(certificate), at(key)
        certificate.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-subj", "/CN=pay.example.com", "-days", "2", "-keyout", key, "-out", certificate],
            check=True, capture_output=True,
        )
    for name in re.findall(r'client_ca = "(.+)"', text) + re.findall(r'file = "(.+?)"', text):
        path = at(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name in ("root.key", "audit.key"):
            made = subprocess.run([f"{root}{BINARY}", "keygen"], check=True, capture_output=True).stdout
            path.write_bytes(made)
        elif path.suffix == ".pem":
            shutil.copy(certificate, path)
        else:
            path.write_text(os.urandom(16).hex())
    for folder in ("etc/portcullis", "run/secrets"):
        for file in filter(Path.is_file, (root / folder).rglob("*")):
            os.chown(file, user, user)
            os.chmod(file, 0o400)


def mount(source: str, target: str, kind: str | None, flags: int) -> None:
    texts = [text.encode() if text else None for text in (source, target, kind)]
    if libc.mount(*texts, flags, None) != 0:
        fail(f"mount {target}: {os.strerror(ctypes.get_errno())}")


def enclose(root: Path, user: int) -> None:
    """What an engine does before it starts the program; the mounts go with the namespace."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount(str(root), str(root), None, MS_BIND)
    mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV)
    for device in DEVICES:
        mount(f"/dev/{device}", f"{root}/dev/{device}", None, MS_BIND)
    mount(str(root), str(root), None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID)
    # The volume of the audit record.
    mount("tmpfs", f"{root}/{AUDIT}", "tmpfs", MS_NOSUID | MS_NODEV)
    os.chown(f"{root}/{AUDIT}", user, user)
    os.chmod(f"{root}/{AUDIT}", 0o750)
    # Up with the loopback of the new network.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, 0x8914, struct.pack("16sh", b"lo", 1))


def confined(root: Path, user: int):
    """Run in the child before the program: root, user, privileges, limits."""
    most = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    memlock = MEMLOCK if most == resource.RLIM_INFINITY else min(MEMLOCK, most)

    def apply() -> None:
        os.chroot(root)
        os.chdir("/")
        for capability in range(64):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (memlock, memlock))
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)

    return apply


def inside(root: Path, said: dict, user: int) -> None:
    """Runs the image once, in namespaces of its own."""
    enclose(root, user)
    ready = {"preexec_fn": confined(root, user), "env": {}, "capture_output": True, "text": True}

    def run(*command: str) -> subprocess.CompletedProcess:
        return subprocess.run(command, **ready)

    entry, command = said["ENTRYPOINT"], said["CMD"]
    checked = run(*entry, "check", *command[1:])
    if checked.returncode != 0:
        fail(f"check: {checked.stderr}")
    started = subprocess.Popen(
        [*entry, *command], preexec_fn=confined(root, user), env={}, stderr=subprocess.PIPE
    )
    begun = time.monotonic()
    while run(*said["HEALTHCHECK"]).returncode != 0:
        if started.poll() is not None or time.monotonic() - begun > 10:
            started.kill()
            fail(f"it does not become healthy: {started.stderr.read().decode()}")
        time.sleep(0.05)
    if run(*said["HEALTHCHECK"], "--ready").returncode != 0:
        fail("it is not ready")
    look(started.pid, root, user)
    started.send_signal(getattr(signal, said["STOPSIGNAL"]))
    if not list((root / AUDIT).glob("audit-*.jsonl")):
        fail("no audit record is written")
    if started.wait(20) != 0:
        fail(f"{said['STOPSIGNAL']} ends it with {started.returncode}")
    if run(*said["HEALTHCHECK"]).returncode != 1:
        fail("the health check is content with nobody")


def look(process: int, root: Path, user: int) -> None:
    """As seen from outside: who it is, what it may, what it can write."""
    status = Path(f"{root}/proc/{process}/status").read_text()
    told = dict(line.split(":\t", 1) for line in status.splitlines())
    wanted = {
        "Uid": "\t".join([str(user)] * 4),
        "Groups": "",
        "CapEff": "0" * 16,
        "CapPrm": "0" * 16,
        "CapBnd": "0" * 16,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    for name, value in wanted.items():
        if told[name].strip() != value:
            fail(f"{name} is {told[name]}, not {value}")
    for place in ("", "/tmp", "/etc/portcullis/config", "/usr/bin"):
        try:
            os.close(os.open(f"{root}{place}/written", os.O_CREAT | os.O_WRONLY))
        except OSError:
            continue
        fail(f"{place}/written can be written")


def main() -> None:
    if sys.argv[1] == "--inside":
        inside(Path(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4]))
        return
    folder = Path(sys.argv[1]).absolute()
    first, last = instructions()
    out = build(first, folder)
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    base(root, folder)
    said = lay(last, out, root)
    for name in ("proc", "dev", "tmp"):
        (root / name).mkdir(exist_ok=True)
    for device in DEVICES:
        (root / "dev" / device).touch()
    found = [name for name in SHELLS for at in ("bin", "usr/bin", "sbin", "usr/sbin") if (root / at / name).exists()]
    if found:
        fail(f"the final stage holds {found}")
    user = int(said["USER"].split(":")[0])
    if user == 0:
        fail("the final stage runs as root")
    for config in sys.argv[2:]:
        secrets(root, Path(config), user)
        command = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child"]
        again = [sys.executable, __file__, "--inside", str(root), json.dumps(said), str(user)]
        subprocess.run(command + again, check=True)
        print(f"image: {config}: starts, is healthy, cannot write, stops")
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"image: {size >> 20} MiB of ours")


main()
