"""Python's multiprocessing: pools, queues, shared memory, locks and managers, with both ways to start."""
import multiprocessing as mp
import os
import sys
from multiprocessing import shared_memory


def square(n):
    return n * n


def put(q, lock, value, name):
    with lock:
        value.value += 1
    shm = shared_memory.SharedMemory(name)
    shm.buf[0] += 1
    shm.close()
    q.put(value.value > 0)


def main():
    os.makedirs(os.environ['TMPDIR'], exist_ok=True)
    for method in ('fork', 'spawn', 'forkserver'):
        ctx = mp.get_context(method)
        with ctx.Pool(2) as pool:
            print(method, sum(pool.map(square, range(100))), pool.apply_async(square, (9,)).get(20), flush=True)
    ctx = mp.get_context('fork')
    q, lock, value = ctx.Queue(), ctx.Lock(), ctx.Value('i', 0)
    shm = shared_memory.SharedMemory(create=True, size=4096)
    shm.buf[0] = 0
    ps = [ctx.Process(target=put, args=(q, lock, value, shm.name)) for _ in range(6)]
    [p.start() for p in ps]
    print([q.get(timeout=20) for _ in ps])
    [p.join() for p in ps]
    print(value.value, shm.buf[0] > 0, [p.exitcode for p in ps])
    shm.close()
    shm.unlink()
    a, b = ctx.Pipe()
    p = ctx.Process(target=lambda: b.send({'big': 'x' * 100000}))
    p.start()
    print(len(a.recv()['big']))
    p.join()
    with ctx.Manager() as manager:
        d = manager.dict()
        ps = [ctx.Process(target=d.__setitem__, args=(i, i * i)) for i in range(4)]
        [p.start() for p in ps]
        [p.join() for p in ps]
        print(sorted(d.items()))
    p = ctx.Process(target=os.abort)
    p.start()
    p.join()
    print(p.exitcode)
    e = ctx.Event()
    p = ctx.Process(target=e.wait)
    p.start()
    e.set()
    p.join(20)
    s = ctx.BoundedSemaphore(2)
    print(p.exitcode, s.acquire(timeout=1), s.acquire(timeout=1), s.acquire(timeout=0.05))


if __name__ == '__main__':
    main()
    sys.exit(0)
