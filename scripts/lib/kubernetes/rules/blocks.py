"""Scripts that are typed: blocks of bash, each with a heading."""

import os
import subprocess

from scenario import DEADLINE, Wrong

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 4 * DEADLINE  # for a whole block


def blocks(name):
    """What follows each `#: HEADING` of a file, or of the files of a folder in the order of their names, with the heading."""
    path = os.path.join(HERE, name)
    files = [os.path.join(path, it) for it in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
    found = []
    for path in files:
        with open(path, encoding="utf-8") as file:
            started = False
            for line in file:
                if line.startswith("#: "):
                    started = True
                    found.append((line[3:].strip(), []))
                elif started:
                    found[-1][1].append(line)
    return [(heading, "".join(lines).strip()) for heading, lines in found]


def typed(cluster, who, text):
    """Lets somebody type a block; every command in it must succeed."""
    home = os.path.join(cluster.folder, "home", who)
    os.makedirs(home, exist_ok=True)
    environment = {
        "PATH": os.path.join(cluster.folder, "bin") + ":" + os.environ["PATH"],
        "HOME": home,
        "KUBECONFIG": os.path.join(cluster.folder, who + ".kubeconfig"),
        "SERVER": cluster.server,
        "KEYS": cluster.folder,
    }
    command = ["bash", "-e", "-u", "-o", "pipefail", "-c", text]
    try:
        done = subprocess.run(command, cwd=home, env=environment, timeout=PATIENCE, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    except subprocess.TimeoutExpired as error:
        raise Wrong(f"{who} typed and it did not end in {PATIENCE} s:\n{text}\n{error.output}") from error
    with open(os.path.join(cluster.folder, "typed.log"), "a", encoding="utf-8") as log:
        log.write(f"# {who}\n{text}\n--- {done.returncode}\n{done.stdout}\n")
    if done.returncode:
        raise Wrong(f"{who} typed, and it ended with {done.returncode}:\n{text}\n---\n{done.stdout}")
    return done.stdout


def quoted(text):
    """A block on one line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
