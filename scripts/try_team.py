"""Try what docs/guide/team.md says, with real servers on this machine, in a new project below a temporary folder.

    pip install dvc-s3 "moto[server]" "mlflow[auth]" "psycopg[binary]" optuna-dashboard
    apt-get install postgresql
    python scripts/try_team.py [dvc-path] [dvc-s3] [mlflow] [postgresql] [dashboard]

Without arguments all are tried, and those whose server is not installed are passed over with the reason. Every command
is printed; the exit code is 1 if something did not do what it should.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
PASSWORD = "correct-horse-battery"
PYTHON = sys.executable
ARENA = (PYTHON, "-c", "from arena_learning.cli.main import main; main()")
DVC = (PYTHON, "-m", "dvc")
WAIT_SECONDS = 120.0
SWEEP = ("--labelled", "data/judge_labels.jsonl", "--vary", "judges.longer.tie_margin=[0.0, 0.5, 1.0]")


class WrongError(Exception):
    """Something did not do what the guide says."""


def main() -> None:
    """Read the command line, make a project, and try each thing in it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"{', '.join(TRIED)}; all by default")
    given = parser.parse_args()
    if unknown := set(given.what) - set(TRIED):
        parser.error(f"no '{min(unknown)}'; there are {', '.join(TRIED)}")
    failed = []
    with tempfile.TemporaryDirectory(prefix="team-") as folder:
        os.chmod(folder, 0o755)  # PostgreSQL's server runs as another user
        project = Path(folder) / "project"
        run(*ARENA, "init", str(project), "--profile", "laptop", at=Path(folder), accept=(0, 1))
        # A judge that can score the shipped labels without a model, to be swept.
        settings = project / "params.yaml"
        text = settings.read_text(encoding="utf-8")
        settings.write_text(
            text.replace("\njudges:\n", "\njudges:\n  longer: {kind: longer}\n"), encoding="utf-8"
        )
        for name in given.what or TRIED:
            print(f"\n== {name}")
            if missing := [part for part in NEEDS[name] if not there(part)]:
                print(f"passed over: {', '.join(missing)} is not installed")
                continue
            try:
                TRIED[name](project, Path(folder))
                print(f"ok: {name}")
            except (WrongError, subprocess.TimeoutExpired) as error:
                print(f"WRONG: {error}")
                failed.append(name)
    if failed:
        sys.exit(f"wrong: {', '.join(failed)}")


def there(part: str) -> bool:
    """Whether a Python module or a PostgreSQL server is installed."""
    if part == "postgresql":
        return bool(postgres_programs())
    return importlib.util.find_spec(part) is not None


def run(*words: str, at: Path, accept: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run a command in a folder, print it, and return what it says.

    Raises:
        WrongError: it ends with another exit code than those in ``accept``.
    """
    shown = (
        ["arena", *words[3:]] if words[:3] == ARENA else ["dvc", *words[3:]] if words[:3] == DVC else words
    )
    print("$", " ".join([*(f"{k}={v}" for k, v in environment.items() if v != PASSWORD), *shown]), flush=True)
    done = subprocess.run(
        words,
        cwd=at,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    if done.returncode not in accept:
        raise WrongError(f"exit code {done.returncode}: {done.stderr.strip()[-2000:] or done.stdout[-2000:]}")
    return done.stdout + done.stderr


def must(holds: bool, what: str) -> None:
    """Print what holds.

    Raises:
        WrongError: it does not.
    """
    if not holds:
        raise WrongError(f"not so: {what}")
    print(f"  {what}")


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*words: str, url: str, at: Path, **environment: str) -> Iterator[None]:
    """Run a server until the block ends; enter the block when it answers.

    Raises:
        WrongError: it does not start.
    """
    print("$", " ".join(words), flush=True)
    with tempfile.TemporaryFile() as log:
        env = {**os.environ, **environment}
        server = subprocess.Popen(words, cwd=at, env=env, stdout=log, stderr=log, start_new_session=True)
        try:
            until = time.monotonic() + WAIT_SECONDS
            while status(url) is None:
                if server.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise WrongError(
                        f"the server did not start: {log.read().decode(errors='replace')[-2000:]}"
                    )
                time.sleep(0.3)
            yield
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=60)


def signed(url: str, user: str, password: str) -> urllib.request.Request:
    """Return a request, with user and password if there is a user."""
    word = base64.b64encode(f"{user}:{password}".encode()).decode()
    return urllib.request.Request(url, headers={"Authorization": f"Basic {word}"} if user else {})


def body_of(url: str, user: str, password: str) -> str:
    """Return what an address answers."""
    with urllib.request.urlopen(signed(url, user, password), timeout=10) as response:
        return str(response.read().decode())


def status(url: str, user: str = "", password: str = "") -> int | None:
    """Return the HTTP status of an address, or None if nothing answers."""
    try:
        with urllib.request.urlopen(signed(url, user, password), timeout=10) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, OSError):
        return None


def prepared(project: Path) -> None:
    """Run the first stage of the project once, and commit, so that DVC has something to share."""
    if not (project / "dvc.lock").is_file():
        run(*DVC, "repro", "prepare", at=project)
        run("git", "add", "-A", at=project)
        author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        run("git", *author, "commit", "-qm", "A project", at=project)


def shared(project: Path, folder: Path, name: str, **environment: str) -> None:
    """Push, clone, pull: the clone has the same files, and nothing is left to run."""
    said = run(*DVC, "push", "-r", name, at=project, **environment)
    must("pushed" in said, f"pushed to {name}: {said.strip().splitlines()[-1]}")
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    run("git", *author, "commit", "-qam", f"The remote {name}", at=project)
    clone = folder / f"clone-{name}"
    run("git", "clone", "-q", str(project), str(clone), at=folder)
    must(not (clone / "data" / "prepared").is_dir(), "the clone has no prepared data")
    run(*DVC, "pull", "-r", name, "prepare", at=clone, **environment)
    same = [
        file.read_bytes() == (clone / file.relative_to(project)).read_bytes()
        for file in sorted((project / "data" / "prepared").iterdir())
    ]
    must(bool(same) and all(same), f"all {len(same)} files of data/prepared are equal in the clone")
    said = run(*DVC, "repro", "prepare", at=clone, **environment)
    must("'prepare' didn't change" in said, "dvc repro has nothing to do for it")


def try_dvc_path(project: Path, folder: Path) -> None:
    """A folder that all can reach."""
    prepared(project)
    run(*DVC, "remote", "add", "--default", "team", str(folder / "dvc-remote"), at=project)
    shared(project, folder, "team")


def try_dvc_s3(project: Path, folder: Path) -> None:
    """An S3-compatible server, with the keys in the environment."""
    prepared(project)
    port = free_port()
    keys = {
        "AWS_ACCESS_KEY_ID": "team",
        "AWS_SECRET_ACCESS_KEY": PASSWORD,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    url = f"http://{HOST}:{port}"
    moto = (PYTHON, "-m", "moto.server", "-H", HOST, "-p", str(port))
    with serving(*moto, url=f"{url}/moto-api/", at=folder):
        make = "import boto3, sys; boto3.client('s3', endpoint_url=sys.argv[1]).create_bucket(Bucket='arena')"
        run(PYTHON, "-c", make, url, at=folder, **keys)
        run(*DVC, "remote", "add", "cloud", "s3://arena/dvc", at=project)
        run(*DVC, "remote", "modify", "cloud", "endpointurl", url, at=project)
        shared(project, folder, "cloud", **keys)
        must(PASSWORD not in (project / ".dvc" / "config").read_text(), "the key is not in .dvc/config")


def try_mlflow(project: Path, folder: Path) -> None:
    """A server with users and passwords."""
    port, home = free_port(), folder / "mlflow"
    home.mkdir()
    users = home / "auth.ini"
    users.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{home}/users.db\nadmin_username = admin\nadmin_password = {PASSWORD}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
        encoding="utf-8",
    )
    url = f"http://{HOST}:{port}"
    server = (
        *(PYTHON, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", HOST, "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--workers", "1"),
        *("--artifacts-destination", str(home / "artifacts")),
    )
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    own = {"MLFLOW_AUTH_CONFIG_PATH": str(users), "MLFLOW_FLASK_SERVER_SECRET_KEY": "a-long-random-text"}
    run(*ARENA, "audit-judge", "data/judge_labels.jsonl", "--judge", "longer", at=project)
    with serving(*server, url=f"{url}/health", at=home, **quiet, **own):
        search = f"{url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=arena-learning"
        must(status(search) == 401, "without a password the server answers 401")
        there = {"MLFLOW_TRACKING_URI": url}
        said = run(*ARENA, "track", at=project, accept=(2,), **there)
        must("error: MLflow" in said, f"arena track without a password: {first_error(said)}")
        admin = {**there, "MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        said = run(*ARENA, "track", at=project, **admin)
        must("logged: audit" in said, "arena track with a password writes its runs")
        must(status(search, "admin", PASSWORD) == 200, "the experiment is there")
        as_admin(url, "2.0/mlflow/users/create", username="ann", password=PASSWORD)
        reader = {**there, "MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        must(status(search, "ann", PASSWORD) == 200, "ann, who may read, sees it")
        said = run(*ARENA, "track", "--rebuild", at=project, accept=(2,), **reader)
        must(PASSWORD not in said, f"ann cannot write: {first_error(said)}")
        (number,) = re.findall(r'"experiment_id": *"(\d+)"', body_of(search, "admin", PASSWORD))
        rights = {"username": "ann", "resource_type": "experiment", "resource_id": number}
        as_admin(url, "3.0/mlflow/users/permissions/grant", permission="EDIT", **rights)
        said = run(*ARENA, "track", "--rebuild", at=project, accept=(2,), **reader)
        must("error: MLflow" in said, f"with EDIT she cannot replace a run: {first_error(said)}")
        as_admin(url, "3.0/mlflow/users/permissions/revoke", **rights)
        as_admin(url, "3.0/mlflow/users/permissions/grant", permission="MANAGE", **rights)
        said = run(*ARENA, "track", "--rebuild", at=project, **reader)
        must("logged: audit" in said, "with MANAGE she can")


def as_admin(url: str, path: str, **body: str) -> None:
    """Send a request to MLflow's server as its administrator."""
    word = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"{url}/api/{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Basic {word}"},
    )
    told = {key: value for key, value in body.items() if value != PASSWORD}
    print(f"  the administrator: {path} {told}")
    with urllib.request.urlopen(request, timeout=30):
        pass


def first_error(said: str) -> str:
    """Return the line of an error."""
    return next((line for line in said.splitlines() if line.startswith("error:")), said.strip()[-300:])


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, or None."""
    known = shutil.which("initdb")
    folders = [*([Path(known).parent] if known else []), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    wanted = ("initdb", "pg_ctl", "createdb", "psql")
    return next((folder for folder in folders if all((folder / name).is_file() for name in wanted)), None)


def as_server_user(*words: str) -> tuple[str, ...]:
    """Return a command that runs as the user `postgres` if this is root, for whom PostgreSQL refuses to run."""
    return ("runuser", "-u", "postgres", "--", *words) if os.getuid() == 0 else words


def try_postgresql(project: Path, folder: Path) -> None:
    """A sweep's trials in PostgreSQL, by two workers."""
    programs = postgres_programs()
    assert programs is not None
    home, port = folder / "postgresql", free_port()
    home.mkdir()
    (home / "password").write_text(PASSWORD, encoding="utf-8")
    if os.getuid() == 0:
        for path in (home, home / "password"):
            shutil.chown(path, "postgres")
    init = ("-D", str(home / "data"), "-U", "arena", "--auth=scram-sha-256", f"--pwfile={home}/password")
    run(*as_server_user(str(programs / "initdb"), *init), at=home)
    options = f"-p {port} -k {home} -c listen_addresses={HOST}"
    control = (str(programs / "pg_ctl"), "-D", str(home / "data"), "-w", "-l", str(home / "log"))
    run(*as_server_user(*control, "-o", options, "start"), at=home)
    try:
        secret = {"PGPASSWORD": PASSWORD}
        make = (str(programs / "createdb"), "-h", HOST, "-p", str(port), "-U", "arena", "sweeps")
        run(*make, at=home, **secret)
        url = f"postgresql+psycopg://arena@{HOST}:{port}/sweeps"
        sweep = (*ARENA, "sweep", "judge", "longer", *SWEEP, "--trials", "3", "--no-track", "--storage", url)
        run(*sweep, "--workers", "2", at=project, **secret)
        count = (str(programs / "psql"), "-h", HOST, "-p", str(port), "-U", "arena", "-At", "sweeps", "-c")
        found = run(*count, "select count(*) from trials where state = 'COMPLETE'", at=home, **secret)
        must(int(found.strip()) >= 3, f"{found.strip()} finished trials are in PostgreSQL")
        said = run(*sweep, at=project, accept=(2,), PGPASSWORD="wrong")
        must("the sweep's database cannot be opened" in said, f"a wrong password: {first_error(said)}")
    finally:
        run(*as_server_user(*control, "-m", "fast", "stop"), at=home)


def try_dashboard(project: Path, folder: Path) -> None:
    """Optuna's dashboard on the journal of the project's sweeps."""
    run(*ARENA, "sweep", "judge", "longer", *SWEEP, "--trials", "3", "--no-track", at=project)
    port = free_port()
    journal = project / ".arena" / "sweeps" / "journal.log"
    before = journal.read_bytes()
    program = (PYTHON, "-c", "import sys; from optuna_dashboard._cli import main; sys.exit(main())")
    url = f"http://{HOST}:{port}"
    with serving(*program, str(journal), "--host", HOST, "--port", str(port), url=url, at=folder):
        with urllib.request.urlopen(f"{url}/api/studies", timeout=30) as response:
            studies = json.load(response)["study_summaries"]
        must(len(studies) == 1, f"the dashboard lists {studies[0]['study_name']}")
        with urllib.request.urlopen(f"{url}/api/studies/{studies[0]['study_id']}", timeout=30) as response:
            trials = json.load(response)["trials"]
        done = sum(trial["state"] == "Complete" for trial in trials)
        must(done >= 3, f"and {done} finished trials")
    must(journal.read_bytes() == before, "looking has not changed the journal")


TRIED: Mapping[str, Callable[[Path, Path], None]] = {
    "dvc-path": try_dvc_path,
    "dvc-s3": try_dvc_s3,
    "mlflow": try_mlflow,
    "postgresql": try_postgresql,
    "dashboard": try_dashboard,
}
NEEDS: Mapping[str, tuple[str, ...]] = {
    "dvc-path": (),
    "dvc-s3": ("moto", "flask_cors", "dvc_s3", "boto3"),
    "mlflow": ("flask_wtf",),
    "postgresql": ("postgresql", "psycopg"),
    "dashboard": ("optuna_dashboard",),
}


if __name__ == "__main__":
    main()
