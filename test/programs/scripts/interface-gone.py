# What sockets tell when the interface below them goes away. Arguments: an address on the other side, our own.
import errno
import select
import socket
import sys
import time

there, here = sys.argv[1:3]


def attempt(what, call):
    try:
        print(what, 'ok', call())
    except socket.timeout:
        print(what, 'timed out')
    except OSError as error:
        print(what, errno.errorcode[error.errno])


stream = socket.create_connection((there, 7000), 10)
stream.sendall(b'hello')
print('echo', stream.recv(100))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.connect((there, 7000))
datagrams.send(b'x')
server = socket.socket()
server.bind((here, 7001))
server.listen()
news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
news.bind((0, 1))
print('ready', flush=True)

end = time.monotonic() + 20
while len(socket.if_nameindex()) > 1 and time.monotonic() < end:
    time.sleep(0.02)
print('interfaces', [name for _, name in socket.if_nameindex()])
# RTM_DELLINK is among what was said.
heard = set()
while select.select([news], [], [], 0.5)[0]:
    message = news.recv(65536)
    heard.add(int.from_bytes(message[4:6], sys.byteorder))
print('told of the end', 17 in heard)
attempt('connect', lambda: socket.create_connection((there, 7000), 5))
attempt('send a datagram', lambda: datagrams.send(b'x'))
attempt('send a datagram to', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (there, 7000)))
attempt('bind', lambda: socket.socket().bind((here, 7002)))
attempt('send', lambda: stream.send(b'more'))
stream.settimeout(0.5)
attempt('receive', lambda: stream.recv(10))
attempt('own address', lambda: stream.getsockname()[0] == here)
server.settimeout(0.2)
attempt('accept', server.accept)
print('routes', len(open('/proc/net/route').read().splitlines()) - 1)
