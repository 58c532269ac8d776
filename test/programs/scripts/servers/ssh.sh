# OpenSSH: commands, data, a terminal, a forwarded port, scp.
. "$(dirname "$0")/lib.sh"
mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f host
ssh-keygen -q -t ed25519 -N '' -f user
cat > sshd.conf <<CONF
Port 2299
ListenAddress 127.0.0.1
HostKey $folder/host
AuthorizedKeysFile $folder/user.pub
StrictModes no
UsePAM no
PidFile none
PermitRootLogin yes
Subsystem sftp internal-sftp
CONF
"$(command -v sshd)" -D -e -f sshd.conf 2> sshd.log &
listening 2299
options='-i user -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'
ssh -p 2299 $options root@127.0.0.1 'echo hello from $(id -un); exit 7' < /dev/null
echo "status $?"
head -c 5000000 /dev/urandom > large
ssh -p 2299 $options root@127.0.0.1 cat < large | cmp - large && echo 'the same through ssh'
ssh -tt -p 2299 $options root@127.0.0.1 'tty | tr -d 0-9' < /dev/null 2>&1 | tr -d '\r'
ssh -p 2299 $options -N -L 127.0.0.1:2300:127.0.0.1:2299 root@127.0.0.1 < /dev/null &
listening 2300
ssh -p 2300 $options root@127.0.0.1 'echo through a forwarded port' < /dev/null
scp -q -P 2299 $options large "root@127.0.0.1:$folder/copy" && cmp large copy && echo 'the same by scp'
