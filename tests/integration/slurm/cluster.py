"""A real SLURM on this machine, for tests: a controller and nodes that can be killed.

Every node is a process namespace of its own, so that killing it kills all that runs on it, and process numbers mean
nothing on another one. All daemons are children of this process, listen on loopback, and keep all their files in one
folder, found by ``SLURM_CONF``. Outside of it they leave nothing: cgroups and an empty /etc/slurm go when they end.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("slurm-wlm", "slurm-wlm-basic-plugins", "slurmctld", "slurmd", "slurm-client", "munge")
CGROUPS = Path("/sys/fs/cgroup")
ETC = Path("/etc/slurm")

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldDebug=info
SlurmdDebug=info
SlurmdParameters=config_overrides
ReturnToService=2
{tracking}
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=100000,requeue_delay=1
MpiDefault=none
MinJobAge=600
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=2
OverTimeLimit=0
EnforcePartLimits=ALL
UnkillableStepTimeout=30
AccountingStorageType=accounting_storage/none
{nodes}
PartitionName=short Nodes={all} Default=YES MaxTime=00:30:00 DefaultTime=00:05:00 DefMemPerCPU=500
PartitionName=long Nodes={all} MaxTime=02:00:00 DefaultTime=00:10:00 DefMemPerCPU=500
"""

BY_CGROUP = "ProctrackType=proctrack/cgroup\nTaskPlugin=task/cgroup\nJobAcctGatherType=jobacct_gather/none"
BY_WATCHING = """ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=task=1"""

CGROUP_CONF = """
CgroupPlugin=cgroup/{version}
CgroupMountpoint=/sys/fs/cgroup
CgroupAutomount=no
{more}
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedRAMSpace=100
AllowedSwapSpace=0
ConstrainCores=no
ConstrainDevices=no
"""


def why_not() -> str:
    """Why no SLURM can be started here; empty where it can. Debian's packages are installed where they are missing."""
    if os.geteuid() != 0:
        return "starting a SLURM takes root"
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    if shutil.which("unshare") is None or subprocess.run(inside, capture_output=True, check=False).returncode:
        return "namespaces cannot be made here (unshare --pid --mount-proc)"
    if all(map(shutil.which, ("slurmctld", "slurmd", "munged", "srun"))):
        return ""
    if shutil.which("apt-get") is None:
        return "SLURM is not installed, and there is no apt-get to install it with"
    install = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, ["apt-get", "update"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if command == install and done.returncode == 0:
            return ""
    return f"apt-get could not install {' '.join(PACKAGES)}: {done.stderr.strip()[-300:]}"


def tracking() -> str:
    """How jobs are held to their memory here: v1, v2, or empty where there is no cgroup to be had."""
    if all(os.access(CGROUPS / name, os.W_OK) for name in ("memory", "freezer")):
        return "v1"
    try:
        has_memory = "memory" in (CGROUPS / "cgroup.controllers").read_text().split()
    except OSError:
        return ""
    return "v2" if has_memory and os.access(CGROUPS / "cgroup.procs", os.W_OK) else ""


def free_ports(count: int) -> list[int]:
    """TCP ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait(condition: Callable[[], object], what: str, seconds: float = 60, pause: float = 0.1) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(pause)


class Cluster:
    """A controller and its nodes.

    Parameters
    ----------
    folder : Path
        Of configuration, logs and state.
    nodes, cpus, memory : int
        Nodes; and the processors and the memory in MB that each claims to have.
    """

    def __init__(self, folder: Path, *, nodes: int = 3, cpus: int = 2, memory: int = 5000) -> None:
        self.folder, self.memory_held_by = folder, tracking()
        self.names = [f"n{i}" for i in range(1, nodes + 1)]
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.cpu = 0.0
        for name in ("munge", "state", "spool", "log"):
            (folder / name).mkdir(parents=True)
        self._made_etc = not ETC.exists()
        ETC.mkdir(exist_ok=True)
        self._cpus, self._memory, self._ports = cpus, memory, free_ports(nodes + 1)
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Start all of it, and wait until every node is there; without cgroups where nodes do not come up with them."""
        self._start_munge()
        for version in dict.fromkeys([self.memory_held_by, ""]):
            self.memory_held_by = version
            self._configure()
            self.start_controller()
            for name in self.names:
                self.start_node(name)
            try:
                self.wait_for_nodes(30)
                return
            except TimeoutError:
                if not version:
                    raise
                for name in ("slurmctld", *self.names):
                    self.kill(name)

    def stop(self) -> float:
        """End all of it; the CPU seconds that it took, jobs included."""
        self.ask("scancel", "--user", "root", "--full", check=False)
        for name in self.names:
            self._end(name, signal.SIGTERM)
        for name in ("slurmctld", "munged"):
            self._end(name, signal.SIGTERM)
        self._remove_cgroups()
        if self._made_etc:
            ETC.rmdir()
        return self.cpu

    def ask(self, *command: str, check: bool = True) -> str:
        """Run one of SLURM's commands; what it prints."""
        environment = os.environ | self.environment
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def jobs(self, *states: str) -> list[dict[str, str]]:
        """Jobs in some states, else all: id, name, state, node, account, partition, comment."""
        keys = ("id", "name", "state", "node", "account", "partition", "comment")
        wanted = f"--states={','.join(states) or 'all'}"
        text = self.ask("squeue", "--noheader", "--format=%i|%j|%T|%N|%a|%P|%k", wanted)
        return [dict(zip(keys, line.split("|"), strict=True)) for line in text.splitlines()]

    def running(self, rule: str) -> dict[str, str] | None:
        """A running job of a rule."""
        return next((job for job in self.jobs("RUNNING") if rule in job["comment"]), None)

    def kill(self, name: str) -> None:
        """Kill a daemon without warning: slurmctld, or a node and all that runs on it."""
        self._end(name, signal.SIGKILL)

    def start_controller(self) -> None:
        """Start the controller, which goes on from its saved state."""
        self._start("slurmctld", ["slurmctld", "-D", "-f", str(self.folder / "slurm.conf")])
        wait(lambda: "UP" in self.ask("scontrol", "ping", check=False), "slurmctld")

    def forget(self) -> None:
        """Lose all that a controller, which is dead, had saved of its jobs."""
        shutil.rmtree(self.folder / "state")
        (self.folder / "state").mkdir()

    def start_node(self, name: str) -> None:
        """Boot a node. Its first process is a shell that collects the dead.

        Jobs look for the configuration where a site has it: Snakemake takes SLURM_CONF from their environment.
        """
        (self.folder / "spool" / name).mkdir(exist_ok=True)
        see = f"mount --bind '{self.folder}' {ETC}"
        daemon = f"({see} && exec slurmd -D -N {name}) & trap 'kill $!' TERM; wait; wait"
        self._start(name, ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", daemon])

    def wait_for_nodes(self, seconds: float = 60) -> None:
        """Wait until all nodes can take jobs; those that the controller has given up are put back, as a site would."""

        def are_up() -> bool:
            states = dict(line.split() for line in self._states())
            given_up = [name for name, state in states.items() if state.startswith(("drain", "down"))]
            for name in given_up:
                self.ask("scontrol", "update", f"nodename={name}", "state=resume", check=False)
            return set(states.values()) <= {"idle", "mixed", "allocated"}

        wait(are_up, "the nodes", seconds, pause=0.3)

    def _states(self) -> list[str]:
        lines = self.ask("sinfo", "--noheader", "--Node", "--partition=short", "--format=%N %T", check=False)
        return lines.splitlines() or ["all unknown"]

    def _configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={self._cpus} Boards=1"
            f" SocketsPerBoard=1 CoresPerSocket={self._cpus} ThreadsPerCore=1 RealMemory={self._memory}"
            for name, port in zip(self.names, self._ports[1:], strict=True)
        )
        text = CONF.format(
            folder=self.folder, host=host, port=self._ports[0], nodes=nodes, all=",".join(self.names),
            tracking=BY_CGROUP if self.memory_held_by else BY_WATCHING,
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(text)
        more = "IgnoreSystemd=yes" if self.memory_held_by == "v2" else ""
        (self.folder / "cgroup.conf").write_text(CGROUP_CONF.format(version=self.memory_held_by or "v1", more=more))

    def _start_munge(self) -> None:
        """munged refuses to run as root where others could write; with --force it warns."""
        munge = self.folder / "munge"
        (munge / "key").write_bytes(os.urandom(1024))
        (munge / "key").chmod(0o400)
        munge.chmod(0o711)
        files = [f"--{key}-file={munge / key}" for key in ("key", "pid", "log", "seed")]
        self._start("munged", ["munged", "--foreground", "--force", f"--socket={munge / 'socket'}", *files])
        wait((munge / "socket").exists, "munged")

    def _start(self, name: str, command: list[str]) -> None:
        with (self.folder / "log" / name).open("ab") as log:
            environment = os.environ | self.environment
            self.daemons[name] = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _end(self, name: str, number: signal.Signals) -> None:
        """Signal a daemon and wait for it. A node is signalled by its first process, which takes all others along."""
        process = self.daemons.pop(name, None)
        if process is None:
            return
        first = _children(process.pid) if name in self.names and number == signal.SIGTERM else [process.pid]
        for pid in first:
            os.kill(pid, number)
        try:
            wait(lambda: os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), name, 20)
        except TimeoutError:
            process.kill()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu += used.ru_utime + used.ru_stime

    def _remove_cgroups(self) -> None:
        """The folders of our nodes, which SLURM leaves behind; empty by now, or else they stay."""
        for name in self.names:
            for top in [*CGROUPS.glob(f"*/slurm_{name}"), *CGROUPS.glob(f"*/{name}_slurmstepd.scope")]:
                for folder, _, _ in os.walk(top, topdown=False):
                    Path(folder).rmdir()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
