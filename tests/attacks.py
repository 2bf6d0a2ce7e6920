"""Hostile cells for ``test_red_team.py``: each tries one thing, in a notebook that answers one task of two.

What would hurt if a wall were missing stops by itself: memory at 6 GiB, processes at 2,000.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attack:
    """One hostile cell.

    Attributes:
        prints: a pattern of what the cell must put out: what it met, which shows that it was tried.
        says: a pattern of what the instructor must be told.
    """

    name: str
    code: str
    prints: str = ""
    says: str = ""

    @property
    def is_endless(self) -> bool:
        """Whether nothing but the time limit ends it."""
        return "did not finish" in self.says


CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    return 'done' if libc.syscall(number, *args) >= 0 else os.strerror(ctypes.get_errno())
"""
TRY = """
def attempt(what):
    try:
        return repr(what())
    except BaseException as error:
        return f'{type(error).__name__}: {error}'
"""
WIRE = """
import gc, socket, struct, json, torch
from autograder.checking.client import wire as wires
from autograder.checking.client.workbench import Workbench
stream = next(o.stream for o in gc.get_objects() if isinstance(o, wires.Connection))
def frame(text, body=b''):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    stream.sendall(struct.pack('<II', len(text), len(body)) + text + body)
def d(**kinds): return {'dict': [[k, v] for k, v in kinds.items()]}
array = {'array': {'tensor': ['int8', [2], 'cpu']}}
"""
CLAIMS = "'value': True, 'score': 100.0, 'status': 'passed', 'passed': True, 'weight': 1.0"
IN_THE_WAY = "def causal_mask(T):\n    {}\n    return torch.zeros(T, T, dtype=torch.bool)"

# fmt: off
NETWORK = [
    Attack("tcp", TRY + "import socket\nprint(attempt(lambda: socket.create_connection(('127.0.0.1', 53), 1)))",
           r"OSError.*Address family not supported"),
    Attack("udp", TRY + "import socket\nprint(attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)))",
           r"Address family not supported"),
    Attack("ipv6", TRY + "import socket\nprint(attempt(lambda: socket.socket(socket.AF_INET6)))",
           r"Address family not supported"),
    Attack("netlink", TRY + "import socket\nprint(attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)))",
           r"Address family not supported"),
    Attack("vsock", TRY + "import socket\nprint(attempt(lambda: socket.socket(socket.AF_VSOCK)))",
           r"Address family not supported"),
    Attack("raw packets", TRY + "import socket\nprint(attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)))",
           r"Address family not supported"),
    Attack("name service", TRY + "import socket\nprint(attempt(lambda: socket.getaddrinfo('example.org', 443)))",
           r"gaierror"),
    Attack("abstract socket to the outside",
           TRY + "import socket\ns = socket.socket(socket.AF_UNIX)\n"
           "print(attempt(lambda: s.connect('\\0words-in-context-red-team')))", r"ConnectionRefusedError"),
    Attack("socket pair of another family",
           CALL + "print(call(53, 2, 1, 0, (ctypes.c_int * 2)()), call(198, 2, 1, 0))", r"Address family|not|denied"),
    Attack("another program",
           "import subprocess, sys\ncode = 'import socket; socket.create_connection((\"127.0.0.1\", 53), 1)'\n"
           "ran = subprocess.run([sys.executable, '-I', '-S', '-c', code], capture_output=True, text=True)\n"
           "print(ran.returncode, ran.stderr[-80:])", r"1 [\s\S]*Address family not supported"),
]

READING = [
    Attack("files of the course",
           "import os\nwanted = ('gradebook.db', '.secret_seed', 'attention.ipynb', 'nbgrader_config.py')\n"
           "print([os.path.join(t, f) for t, _, fs in os.walk('/') if not t.startswith('/proc') for f in fs if f in wanted])",
           r"^\[\]"),
    Attack("references by any path",
           "import importlib.util, os, sys\nsys.path += [PACKAGE, ROOT, '/work', '/home', '/root', '/srv', '/opt']\n"
           "names = ['autograder.' + n for n in ('reference.attention', 'tasks.attention', 'grading.run', 'course')]\n"
           "def there(name):\n    try:\n        return importlib.util.find_spec(name) is not None\n"
           "    except ModuleNotFoundError:\n        return False\n"
           "print([n for n in names if there(n)], os.path.exists(PACKAGE), os.path.exists(ROOT + '/solutions'))",
           r"^\[\] False False"),
    Attack("site packages with an editable install",
           TRY + "import site\nprint(attempt(site.main))\nprint(attempt(lambda: __import__('autograder.tasks.attention')))",
           r"ModuleNotFoundError"),
    Attack("other processes",
           "import os\nprint(sorted(int(p) for p in os.listdir('/proc') if p.isdecimal()), os.getppid())", r"^\[1\] 0"),
    Attack("memory of the parent",
           TRY + "import os\nfor pid in (os.getppid(), 2, 3):\n"
           "    print(attempt(lambda: open(f'/proc/{pid}/mem', 'rb').read(1)))", r"(FileNotFoundError[\s\S]*){3}"),
    Attack("files left open",
           "import os\nlinks = set()\nfor fd in range(3, 4096):\n    try:\n        links.add(os.readlink(f'/proc/self/fd/{fd}').split(':')[0])\n"
           "    except OSError:\n        pass\nprint(sorted(links))", r"^\[('/packages/matplotlib/[^']*\.ttf', )*'socket'\]"),
    Attack("environment", "import os\nprint(os.environ.get('RED_TEAM_SECRET'), len(os.environ) < 25)", r"^None True"),
    Attack("expected values in memory",
           "import gc, sys\nprint([m for m in sys.modules if m.startswith('autograder') and 'client' not in m])\n"
           "print([type(o).__name__ for o in gc.get_objects() if type(o).__name__ in ('Case', 'Task', 'Variant', 'Verdict')])",
           r"^\['autograder', 'autograder.checking'\]\n*\[\]"),
    Attack("frames above the answer",
           IN_THE_WAY.format(
               "import sys; f = sys._getframe(); seen = []\n"
               "    while f: seen += [str(v)[:200] for v in f.f_locals.values()]; f = f.f_back\n"
               "    raise RuntimeError('LOOKED %d %s' % (len(seen) > 9, any('expected' in s or 'five positions' in s for s in seen)))"),
           says="LOOKED 1 False"),
]

RESOURCES = [
    Attack("fork bomb",
           "import os, time\nmade = 0\ntry:\n    for _ in range(2000):\n        if os.fork() == 0:\n"
           "            time.sleep(60); os._exit(0)\n        made += 1\nexcept OSError as error:\n    print(made < 100, error)",
           says=r"True .*temporarily unavailable|more memory than"),
    Attack("threads without end",
           "import threading, time\ntry:\n    for _ in range(2000):\n        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
           "except RuntimeError as error:\n    print(error)", r"can't start new thread"),
    Attack("memory in one piece", TRY + "print(attempt(lambda: len(bytearray(6 << 30))))", r"MemoryError"),
    Attack("memory in tensors", TRY + "print(attempt(lambda: torch.ones(6 << 28).sum()))", r"RuntimeError.*allocate"),
    Attack("memory in small pieces", "kept = []\nwhile len(kept) < 6000:\n    kept.append(b'x' * (1 << 20))",
           says=r"MemoryError|more memory than"),
    Attack("shared memory",
           "import mmap\nkept = []\nfor _ in range(48):\n    m = mmap.mmap(-1, 128 << 20)\n    m[::4096] = b'x' * (len(m) // 4096)\n    kept.append(m)",
           says=r"more memory than|Cannot allocate|MemoryError"),
    Attack("shared memory that was let go", TRY + "import mmap\ndef hide():\n    m = mmap.mmap(-1, 1 << 20)\n    m[:] = b'x' * len(m)\n"
           "    m.madvise(mmap.MADV_DONTNEED)\n    return 'kept', m[0]\nprint(attempt(hide))", r"OSError.*Cannot allocate memory"),
    Attack("shared memory of a device", TRY + "import mmap\ndef hide():\n    with open('/dev/zero', 'r+b', 0) as f: return mmap.mmap(f.fileno(), 1 << 20)\n"
           "print(attempt(hide))", r"OSError.*No such device"),
    Attack("memory of sockets",
           "import os, socket, time\nfor _ in range(20):\n    if os.fork() == 0:\n        kept = []\n        try:\n            while True:\n"
           "                kept += socket.socketpair()\n                kept[-1].setblocking(False)\n"
           "                try:\n                    while True: kept[-1].send(bytes(65536))\n                except BlockingIOError: pass\n"
           "        except OSError: time.sleep(5); os._exit(0)\ntime.sleep(1)\nprint('as much as there is')",
           r"as much as there is|more memory than|unavailable"),
    Attack("memory of many processes",
           "import os, time\nfor _ in range(20):\n    if os.fork() == 0:\n        kept = os.urandom(1) * (200 << 20)\n        time.sleep(20); os._exit(0)\n"
           "time.sleep(20)", says="more memory than"),
    Attack("memory without a name", TRY + "import os\nprint(attempt(lambda: os.memfd_create('x')))", r"PermissionError"),
    Attack("memory of System V", CALL + "print(call(29, 0, 1 << 30, 0o1600))", r"not permitted|Function not implemented|Bad"),
    Attack("all of /tmp",
           TRY + "def fill():\n    for i in range(100):\n        with open(f'/tmp/{i}', 'wb') as f: f.write(bytes(50 << 20))\nprint(attempt(fill))",
           r"No space left"),
    Attack("all of /dev/shm",
           TRY + "def fill():\n    for i in range(100):\n        with open(f'/dev/shm/{i}', 'wb') as f: f.write(bytes(50 << 20))\nprint(attempt(fill))",
           r"No space left"),
    Attack("one endless file",
           TRY + "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\ndef fill():\n    with open('/tmp/x', 'wb') as f:\n"
           "        while f.tell() < 6 << 30: f.write(bytes(1 << 20))\nprint(attempt(fill))", r"File too large|No space left"),
    Attack("empty files without end",
           TRY + "def fill():\n    for i in range(100_000): open(f'/tmp/e{i}', 'w').close()\nprint(attempt(fill))",
           r"No space left"),
    Attack("open files without end",
           TRY + "def fill():\n    return [open('/dev/null') for _ in range(100_000)]\nprint(attempt(fill))", r"Too many open files"),
    Attack("a loop without end",
           "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
           "while True: pass", says="did not finish within"),
    Attack("a loop that catches everything", "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
           says="did not finish within"),
    Attack("a loop in C", "sum(range(10**13))", says="did not finish within"),
    Attack("sleep in the answer",
           "import signal, time\n" + IN_THE_WAY.format(
               "signal.setitimer(signal.ITIMER_REAL, 0)\n    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)); time.sleep(600)"),
           says="did not finish within"),
    Attack("output without end", "while True: print('x' * 10_000)", says="did not finish|cut off"),
    Attack("output past Python", "import os\nfor _ in range(10_000): os.write(1, b'x' * 10_000)\nprint('written')", r"written"),
    Attack("display without end",
           "from IPython.display import display\nfor _ in range(30_000): display({'text/plain': 'x' * 1000}, raw=True)",
           says="cut off|did not finish|Cell"),
    Attack("more threads than cores",
           "torch.set_num_threads(16)\nfor _ in range(5): torch.ones(600, 600) @ torch.ones(600, 600)\nprint('multiplied')"),
    Attack("a huge answer", IN_THE_WAY.format("return torch.ones(20_000, 20_000)"), says=r"too large|memory|shape"),
    Attack("a deep answer", IN_THE_WAY.format("x = 1\n    for _ in range(900): x = [x]\n    return x")),
    Attack("an answer that contains itself", IN_THE_WAY.format("x = []\n    x.append(x)\n    return x")),
    Attack("endless recursion", IN_THE_WAY.format("return causal_mask(T)"), says="RecursionError"),
]

KILLING = [
    Attack("kill everybody", "import os, signal\nos.kill(-1, signal.SIGKILL)\nprint('still here')", r"still here|No such process"),
    Attack("kill the parent",
           TRY + "import os\nfor pid in (os.getppid(), 1, 2, 3):\n    print(attempt(lambda: os.kill(pid, 9) if pid else None))"),
    Attack("kill the group, the supervisor in it",
           "import os, time\nif os.fork() == 0:\n    time.sleep(.2)\n    os.kill(0, 9)\n    os._exit(0)\ntry: os.setsid()\nexcept OSError as error: print(error)\n"
           "time.sleep(.6)\nif os.fork() == 0:\n    while True: time.sleep(.01)\nprint('I live on')", r"not permitted\s+I live on"),
    Attack("stop the supervisor",
           "import os, signal, time\nif os.fork() == 0:\n    os.kill(0, signal.SIGSTOP)\n    os._exit(0)\ntime.sleep(.3)\n"
           "kept = bytearray(os.urandom(1)) * (450 << 20)\nif os.fork() == 0:\n    kept[::4096] = b'x' * (len(kept) // 4096)\n    time.sleep(20)\ntime.sleep(20)",
           says="more memory than"),
    Attack("exit", "import os\nos._exit(0)", says="ended the notebook's process"),
    Attack("exit in the answer", "import os\n" + IN_THE_WAY.format("os._exit(0)"), says="process ended"),
    Attack("segmentation fault", "import ctypes\nctypes.string_at(0)", says="ended the notebook's process"),
    Attack("abort", "import os\nos.abort()", says="ended the notebook's process"),
    Attack("close every file", "import os\nos.closerange(0, 4096)", says="ended the notebook's process"),
    Attack("daemon",
           "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
           "        while True:\n            try: open('/tmp/daemon', 'a').write('x')\n            except OSError: pass\n            time.sleep(.01)\n"
           "    os._exit(0)\nprint('started')", r"started"),
    Attack("threads that go on", "import threading\ndef spin():\n    while True: torch.ones(10).sum()\n"
           "threading.Thread(target=spin, daemon=True).start()\nprint('started')", r"started"),
]

PATCHING = [
    Attack("comparisons", "import numpy as np\nnp.allclose = torch.allclose = torch.equal = lambda *a, **k: True\n"
           "torch.Tensor.__eq__ = lambda self, other: True"),
    Attack("builtins", "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.abs = lambda x: 0\n"
           "builtins.all = builtins.any = lambda *a: True\nbuiltins.len = lambda x: 0"),
    Attack("transformers of cells",
           "get_ipython().input_transformers_cleanup.append(lambda lines: ['1\\n'])\n"
           "get_ipython().ast_transformers.append(None)"),
    Attack("the check", "import autograder, sys\nautograder.check = check = lambda *a, **k: float('nan')\n"
           "sys.modules['autograder'].check = check"),
    Attack("the workbench", WIRE + "Workbench.handle = lambda self, request: {" + CLAIMS + ", 'changed': []}"),
    Attack("the workbench's equality", WIRE + "class Always:\n    def __eq__(self, other): return True\n"
           "Workbench.handle = lambda self, request: {'value': Always(), 'changed': []}", says="sent|ended|read"),
    Attack("the encoder", WIRE + "wires.encode = wires._encode = lambda *a: ({" + CLAIMS + "}, b'')"),
    Attack("the time limit", "from autograder.checking.client import workbench\nimport contextlib\n"
           "workbench.time_limit = lambda seconds: contextlib.nullcontext()\n" + IN_THE_WAY.format("while True: pass"),
           says="did not finish within"),
    Attack("the modules below",
           "import inspect, json, signal, socket, struct, traceback\nfor module in (inspect, json, signal, struct, traceback):\n"
           "    for name in [n for n in dir(module) if not n.startswith('_') and callable(getattr(module, n))]:\n"
           "        try: setattr(module, name, lambda *a, **k: True)\n        except (AttributeError, TypeError): pass",
           says="ended|sent|did not finish"),
    Attack("the reader of requests", WIRE + "seen = []\nread = wires.Connection.receive\n"
           "def spy(self, *a):\n    message = read(self, *a)\n    seen.append(str(message))\n    return message\nwires.Connection.receive = spy\n"
           + IN_THE_WAY.format("raise ValueError('expected' in ''.join(seen) or 'weight' in ''.join(seen))"), says="raised ValueError: False"),
    Attack("torch functions",
           "torch.Tensor.numpy = torch.Tensor.contiguous = lambda self, *a: torch.ones(3, 3)\n"
           "torch.Tensor.shape = property(lambda self: (5, 5))\n" + IN_THE_WAY.format("pass")),
]

LYING = [
    Attack("always equal",
           "class Always:\n    def __eq__(self, other): return True\n    def __getattr__(self, name): return self\n"
           "    def __call__(self, *a, **k): return self\n    def __len__(self): return 5\ncausal_mask = Always()"),
    Attack("a lying tensor",
           "class Lie(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, f, types, args=(), kwargs=None):\n        return True\n"
           "    shape = property(lambda s: torch.Size([5, 5]))\n    dtype = torch.bool\n"
           + IN_THE_WAY.format("return torch.ones(1).as_subclass(Lie)")),
    Attack("an array of objects", "import numpy as np\n" + IN_THE_WAY.format("return np.array([object()], dtype=object)")),
    Attack("a pickle that calls",
           "import os\nclass Reduce:\n    def __reduce__(self): return os.system, ('touch /tmp/pickled',)\n" + IN_THE_WAY.format("return Reduce()")),
    Attack("a tensor that changes while it is looked at",
           "import threading\nshown = torch.zeros(64, 64)\ndef turn():\n    while True: shown.random_()\n"
           "threading.Thread(target=turn, daemon=True).start()\n" + IN_THE_WAY.format("return torch.triu(shown[:T, :T] > .5, 1)")),
    Attack("a list that makes itself longer", "class Endless(list):\n    def __iter__(self):\n        while True: yield 1\n"
           + IN_THE_WAY.format("return Endless()"), says="did not finish|memory|too"),
    Attack("halves of characters", r"print('\ud800 <b>', '\udfff' * 10)" "\n" + IN_THE_WAY.format(r"return {'\ud800': '\ud800'}"),
           says="result is a dict"),
    Attack("a class that pretends", "class M:\n    __class__ = torch.Tensor\n    shape = (5, 5)\n    dtype = torch.bool\n" + IN_THE_WAY.format("return M()")),
    Attack("a number that is not one", IN_THE_WAY.format("return torch.full((T, T), float('nan'))"), says="NaN|bool|dtype"),
    Attack("text with everything in it", IN_THE_WAY.format(r"raise ValueError('<script>alert(1)</script>\x00\x1b[2J\ud800' * 100)")),
    Attack("an exception named in HTML", IN_THE_WAY.format("raise type('<img src=x onerror=alert(1)>', (Exception,), {})('x')")),
    Attack("an exception that fails to speak", "class Mute(Exception):\n    def __str__(self): raise SystemExit\n" + IN_THE_WAY.format("raise Mute")),
]

FORGED = [
    Attack("a huge frame", WIRE + "stream.sendall(struct.pack('<II', 2**32 - 1, 2**32 - 1))", says="not an output|ended|sent"),
    Attack("a frame that never ends", WIRE + "stream.sendall(struct.pack('<II', 1000, 0) + b'{')\nimport time; time.sleep(60)",
           says="did not finish"),
    Attack("deep nesting", WIRE + "frame(b'[' * 1_000_000)", says="not an output|sent"),
    Attack("no number", WIRE + "frame(b'{\"dict\": [[\"output\", NaN]]}')", says="not an output|sent"),
    Attack("bytes missing", WIRE + "frame({'dict': [['output', {'tensor': ['float32', [1 << 40], 'cpu']}]]})", says="not an output|sent"),
    Attack("a negative shape", WIRE + "frame({'dict': [['output', {'tensor': ['float32', [-1, -1], 'cpu']}]]})", says="not an output|sent"),
    Attack("an unknown kind", WIRE + "frame({'dict': [['verdict', {'dict': [['score', 100]]}]]})", says="not an output|sent"),
    Attack("a reply ahead of the question",
           WIRE + "for _ in range(50):\n    frame({'dict': [['reply', {'dict': [['value', True], ['changed', {'list': []}]]}]]})"),
    Attack("a verdict for a reply", WIRE + "frame({'dict': [['reply', {'dict': [['status', 'passed'], ['score', 100]]}]]})"),
    Attack("outputs that are no outputs",
           WIRE + "for x in (1, 'x', None, {'list': [1]}, {'dict': [['output_type', 'stream'], ['text', {'list': [1]}]]}):\n"
           "    frame({'dict': [['output', x]]})"),
    Attack("arrays for texts",
           WIRE + "for x in (d(output_type=array), d(output_type='stream', name=array, text=array), d(output_type='error', ename=array, evalue=array),\n"
           "          d(output_type='display_data', data=d(**{'text/plain': array}))):\n    frame(d(output=x), bytes(2 * json.dumps(x).count('array')))\nprint('sent')",
           r"sent"),
    Attack("an array for a failure", WIRE + IN_THE_WAY.format("frame(d(reply=d(failure=d(kind=array))), bytes(2))"), says="raised"),
    Attack("a thousand names of arguments",
           WIRE + IN_THE_WAY.format("frame(d(reply=d(value=None, changed={'list': ['<b>' * 30] * 100_000})))"), says="in place"),
    Attack("a hundred thousand tensors",
           WIRE + IN_THE_WAY.format("frame(d(reply=d(value={'tuple': [{'tensor': ['bool', [], 'cpu']}] * 190_000}, changed={'list': []})), bytes(190_000))"),
           says="too many tensors"),
    Attack("a thousand outputs ahead", WIRE + IN_THE_WAY.format("[frame(d(output=d(output_type='stream', text='x'))) for _ in range(1000)]")),
    Attack("HTML in every field",
           WIRE + "h = '<script>alert(1)</script>'\nfor kind in ('stream', 'error', 'display_data', 'execute_result', h):\n"
           "    frame({'dict': [['output', {'dict': [[k, h] for k in ('name', 'text', 'ename', 'evalue', 'metadata')] + [['output_type', kind],"
           " ['traceback', {'list': [h]}], ['data', {'dict': [['text/html', h], ['image/svg+xml', h], ['image/png', h]]}]]}]]})"),
]

ESCAPES = [
    Attack("system calls of administrators",
           CALL + "import platform\nx86 = platform.machine() == 'x86_64'\n"
           "numbers = (272, 308, 165, 166, 155, 161, 101, 310, 321, 298, 323, 250, 425, 175, 246, 169, 304) if x86 else "
           "(97, 268, 40, 39, 41, 51, 117, 270, 280, 241, 282, 219, 425, 105, 104, 142, 265)\n"
           "print({call(n, 0, 0, 0, 0, 0) for n in numbers})", r"^\{'Operation not permitted'\}"),
    Attack("new namespaces by clone",
           CALL + "import platform\nprint(call(56 if platform.machine() == 'x86_64' else 220, 0x10000000 | 17, 0, 0, 0, 0), call(435, 0, 0))",
           r"Operation not permitted Function not implemented"),
    Attack("32-bit system calls", CALL + "print(call(0x40000000 + 272, 0x10000000))", r"not permitted|not implemented"),
    Attack("files of the kernel",
           TRY + "for path in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/self/uid_map', '/sys/kernel/uevent_helper',\n"
           "             '/proc/sys/vm/overcommit_memory', '/etc/passwd', '/usr/x', '/client/x', '/packages/x', '/dev/x', '/x'):\n"
           "    print(attempt(lambda: open(path, 'wb', 0).write(b'x')))", r"(?:(?:PermissionError|OSError|FileNotFoundError)[^\n]*\n+\s*){11}"),
    Attack("programs that run as root",
           "import subprocess\nfor c in (['su', '-c', 'id'], ['mount', '-t', 'tmpfs', 'x', '/tmp'], ['unshare', '-r', 'id']):\n"
           "    try:\n        ran = subprocess.run(c, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=5)\n        print('rc', ran.returncode != 0)\n"
           "    except OSError: print('rc True')", r"(rc True\s+){3}"),
    Attack("devices", TRY + "import os, stat\nprint(attempt(lambda: os.mknod('/tmp/disk', stat.S_IFBLK | 0o600, os.makedev(254, 0))))", r"PermissionError"),
    Attack("somebody else's limits",
           TRY + "import os, resource\nprint(attempt(lambda: resource.prlimit(2, resource.RLIMIT_CPU, (1, 1))))\n"
           "print(attempt(lambda: os.setpriority(os.PRIO_PROCESS, 0, -10)))", r"ProcessLookupError[\s\S]*PermissionError"),
    Attack("more rights than it was given",
           TRY + "import os, resource\nprint(attempt(lambda: os.setuid(0)))\n"
           "print(attempt(lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))))", r"(PermissionError|OSError)[\s\S]*ValueError"),
    Attack("typing into the terminal", TRY + "import fcntl\nprint(attempt(lambda: fcntl.ioctl(0, 0x5412, b'x')))", r"PermissionError"),
]
# fmt: on

ATTACKS = [*NETWORK, *READING, *RESOURCES, *KILLING, *PATCHING, *LYING, *FORGED, *ESCAPES]
