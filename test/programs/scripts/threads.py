"""Python: threads, subprocesses, asyncio, mmap, sqlite, signals and temporary files."""
import asyncio, concurrent.futures, ctypes, errno, fcntl, hashlib, io, json, mmap, os, queue, select, selectors, shutil, signal, socket, sqlite3, struct, subprocess, sys, tempfile, threading, time, zlib

os.makedirs(os.environ['TMPDIR'], exist_ok=True)
os.chdir(tempfile.mkdtemp())


def section(name):
    print('==', name, flush=True)


section('threads')
lock, total = threading.Lock(), 0


def add():
    global total
    for _ in range(2000):
        with lock:
            total += 1


threads = [threading.Thread(target=add) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
print(total)
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(sum(pool.map(lambda n: n * n, range(200))))
q, results = queue.Queue(5), []
consumer = threading.Thread(target=lambda: results.extend(iter(q.get, None)))
consumer.start()
for i in range(100):
    q.put(i)
q.put(None)
consumer.join()
print(sum(results))
event = threading.Event()
threading.Timer(0.05, event.set).start()
print(event.wait(5), threading.Event().wait(0.02))
barrier = threading.Barrier(4)
ids = []
ts = [threading.Thread(target=lambda: ids.append(barrier.wait())) for _ in range(4)]
[t.start() for t in ts]
[t.join() for t in ts]
print(sorted(ids), threading.local() is not None)

section('subprocess')
print(subprocess.run(['echo', 'hello'], capture_output=True, text=True))
print(subprocess.run('cat; exit 4', shell=True, input=b'piped', capture_output=True))
print(subprocess.run(['sh', '-c', 'kill -TERM $$']).returncode)
try:
    subprocess.run(['sleep', '10'], timeout=0.1)
except subprocess.TimeoutExpired as e:
    print('timeout', e.cmd)
try:
    subprocess.run(['/nowhere/at/all'])
except FileNotFoundError as e:
    print(e)
p = subprocess.Popen(['cat'], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(p.communicate(b'x' * 200000)[0].count(b'x'), p.returncode)
procs = [subprocess.Popen(['sh', '-c', f'exit {i}']) for i in range(10)]
print([p.wait() for p in procs])
print(subprocess.run([sys.executable, '-c', 'import os; print(os.environ["A"], os.getcwd() == "/", len(os.listdir("/proc/self/fd")) < 6)'], env={**os.environ, 'A': '1'}, cwd='/', capture_output=True, text=True, close_fds=True).stdout, end='')
pid = os.fork()
if pid == 0:
    os._exit(33)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
r, w = os.pipe()
pid = os.posix_spawn('/bin/sh', ['sh', '-c', 'echo spawned'], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, w, 1)])
os.close(w)
print(os.read(r, 100), os.waitpid(pid, 0)[1])

section('asyncio')


async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    port = server.sockets[0].getsockname()[1]
    print(await asyncio.gather(*(talk(port, i) for i in range(10))))
    server.close()
    p = await asyncio.create_subprocess_exec('sh', '-c', 'echo async; exit 5', stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(), p.returncode)
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.05)
    except asyncio.TimeoutError:
        print('timed out')
    loop = asyncio.get_running_loop()
    got = loop.create_future()
    loop.add_signal_handler(signal.SIGUSR1, lambda: got.set_result('signalled'))
    os.kill(os.getpid(), signal.SIGUSR1)
    print(await got, await loop.run_in_executor(None, lambda: 'in a thread'), await asyncio.to_thread(sum, range(10)))


async def serve(reader, writer):
    writer.write((await reader.readline()).upper())
    await writer.drain()
    writer.close()


async def talk(port, i):
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    writer.write(b'client %d\n' % i)
    answer = await reader.read()
    writer.close()
    return answer


asyncio.run(main())

section('mmap and files')
with open('mapped', 'wb+') as f:
    f.write(b'0' * 8192)
    f.flush()
    with mmap.mmap(f.fileno(), 0) as m:
        m[100:105] = b'hello'
        m.flush()
        print(m.find(b'hello'), m.size())
        m.resize(16384)
    f.seek(100)
    print(f.read(5), os.path.getsize('mapped'))
m = mmap.mmap(-1, 4096)
if os.fork() == 0:
    m[:5] = b'child'
    os._exit(0)
os.wait()
print(m[:5])
with tempfile.TemporaryDirectory() as d, tempfile.NamedTemporaryFile(dir=d) as f, tempfile.TemporaryFile() as g, tempfile.SpooledTemporaryFile(10) as s:
    f.write(b'x' * 100)
    g.write(b'y')
    s.write(b'z' * 20)
    f.flush()
    print(os.stat(f.name).st_size, oct(os.stat(f.name).st_mode), len(os.listdir(d)))
fd = os.open('sparse', os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'end', 1 << 20)
print(os.fstat(fd).st_size, os.pread(fd, 3, 1 << 20), os.lseek(fd, 0, os.SEEK_END))
os.truncate('sparse', 10)
fcntl.flock(fd, fcntl.LOCK_EX)
fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
print(os.get_blocking(fd), os.get_inheritable(fd), os.path.getsize('sparse'))
os.makedirs('a/b/c')
for i in range(20):
    open(f'a/b/{i}', 'w').write(str(i))
print(sorted(len(files) for _, _, files in os.walk('a')), len([e for e in os.scandir('a/b') if e.is_file()]))
shutil.copytree('a', 'copy')
shutil.make_archive('archive', 'gztar', 'a')
shutil.rmtree('a')
shutil.unpack_archive('archive.tar.gz', 'a')
print(sorted(os.listdir('a/b')) == sorted(os.listdir('copy/b')), shutil.disk_usage('/').total > 0)
for call in (lambda: os.rmdir('copy'), lambda: open('missing'), lambda: os.mkdir('copy'), lambda: os.listdir('sparse')):
    try:
        call()
    except OSError as e:
        print(errno.errorcode[e.errno], e.filename)

section('sqlite')
db = sqlite3.connect('data.db')
db.execute('pragma journal_mode=wal')
db.execute('create table t (id integer primary key, name text)')
with db:
    db.executemany('insert into t (name) values (?)', ((f'name {i}',) for i in range(1000)))
print(db.execute('select count(*), max(name), sum(id) from t where name like "%9"').fetchone())


def other():
    with sqlite3.connect('data.db', timeout=10) as mine:
        mine.execute('insert into t (name) values ("thread")')


ts = [threading.Thread(target=other) for _ in range(4)]
[t.start() for t in ts]
[t.join() for t in ts]
print(db.execute('select count(*) from t').fetchone(), db.execute('pragma integrity_check').fetchone(), sorted(os.listdir('.'))[:3])
db.close()

section('signals')
got = []
signal.signal(signal.SIGALRM, lambda s, f: got.append(s))
signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
while len(got) < 3:
    signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
print(len(got), signal.getitimer(signal.ITIMER_REAL))
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
os.kill(os.getpid(), signal.SIGUSR2)
print(signal.sigpending(), signal.sigwait({signal.SIGUSR2}), signal.sigtimedwait({signal.SIGUSR2}, 0.01))
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    print('interrupted')

section('sockets')
a, b = socket.socketpair()
socket.send_fds(a, [b'fds'], [r])
data, fds, flags, _ = socket.recv_fds(b, 100, 4)
print(data, len(fds), flags)
sel = selectors.DefaultSelector()
sel.register(a, selectors.EVENT_READ, 'a')
print(sel.select(0.01))
b.send(b'!')
print([(k.data, e) for k, e in sel.select(1)], type(sel).__name__)
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(('127.0.0.1', 0))
u.sendto(b'udp', u.getsockname())
u.settimeout(0.05)
print(u.recv(10))
try:
    u.recv(10)
except TimeoutError as e:
    print(e)
print(socket.gethostbyname('localhost'), select.select([], [], [], 0.01))
libc = ctypes.CDLL(None)
print(libc.getpid() == os.getpid(), ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(41))

section('work')
print(hashlib.sha256(b'x' * 1000000).hexdigest()[:16], zlib.crc32(b'y' * 1000000), len(json.dumps(list(range(10000)))))
print(os.cpu_count() > 0, len(os.sched_getaffinity(0)) > 0, len(os.urandom(20)), os.uname().sysname, os.get_terminal_size.__name__)
start = time.monotonic()
time.sleep(0.05)
print(time.monotonic() - start >= 0.05, time.time() > 1.7e9, time.process_time() > 0, time.strftime('%F', time.gmtime(0)))
sys.exit(11)
