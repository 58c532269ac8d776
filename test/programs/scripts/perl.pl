# What perl asks of a kernel: processes, pipes, sockets, files, signals, threads of its own making.
use strict;
use warnings;
use Fcntl qw(:DEFAULT :flock :seek);
use File::Find;
use File::Path qw(make_path remove_tree);
use File::Temp qw(tempfile tempdir);
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX qw(:sys_wait_h);
use Socket;
use Time::HiRes qw(sleep time);
$| = 1;
make_path($ENV{TMPDIR});
chdir tempdir(CLEANUP => 1) or die;

print "== processes\n";
for my $code (0, 1, 255) { my $pid = fork // die; POSIX::_exit($code) unless $pid; waitpid $pid, 0; print $? >> 8, "\n" }
print `echo backticks`, $? >> 8, "\n";
print system('sh', '-c', 'exit 3') >> 8, "\n";
system('sh -c "kill -9 \$\$"'); print $? & 127, "\n";
pipe my $r, my $w; my $pid = fork; if (!$pid) { close $r; print $w "from the child\n"; exit 0 } close $w; print <$r>; waitpid $pid, 0;
open my $p, '-|', 'sort', '-r', '/dev/null' or die; close $p;
open my $sorted, '|-', 'sort' or die; print $sorted "b\na\n"; close $sorted;
print join(' ', map { my $p = fork; exit $_ unless $p; waitpid($p, 0); $? >> 8 } 1 .. 10), "\n";

print "== signals\n";
my $hits = 0; $SIG{USR1} = sub { $hits++ }; kill USR1 => $$ for 1 .. 3; print "$hits\n";
$SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; sleep 5; }; print $@;
$SIG{CHLD} = sub { 1 while waitpid(-1, WNOHANG) > 0; print "child\n" }; $pid = fork; exit 0 unless $pid; sleep 0.3; $SIG{CHLD} = 'DEFAULT';
my $set = POSIX::SigSet->new(POSIX::SIGUSR1()); POSIX::sigprocmask(POSIX::SIG_BLOCK(), $set); kill USR1 => $$; print "$hits\n";
POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $set); print "$hits\n";

print "== files\n";
open my $f, '>', 'file' or die; print $f "line $_\n" for 1 .. 1000; close $f; print -s 'file', "\n";
open $f, '+<', 'file'; seek $f, -10, SEEK_END; print scalar <$f>; truncate $f, 14; seek $f, 0, 0; print <$f>; close $f;
sysopen $f, 'file', O_RDWR | O_APPEND; print flock($f, LOCK_EX | LOCK_NB), "\n"; syswrite $f, "appended\n"; sysseek $f, 0, 0; sysread $f, my $b, 100; print $b; close $f;
mkdir 'd'; rename 'file', 'd/file'; symlink 'd/file', 'l'; print readlink('l'), "\n"; link 'd/file', 'h'; print((stat 'h')[3], "\n");
make_path("t/$_/x") for 'a' .. 'e'; my @found; find(sub { push @found, $File::Find::name }, 't'); print scalar(@found), "\n"; remove_tree('t'); print -e 't' ? 1 : 0, "\n";
utime 1e9, 1e9, 'h'; print((stat 'h')[9], "\n"); chmod 0604, 'h'; printf "%o\n", (stat _)[2] & 0777; printf "%o\n", (stat 'h')[2] & 0777;
opendir my $d, '.'; print join(' ', sort grep { !/^\./ } readdir $d), "\n"; print join(' ', sort glob '*'), "\n";
open my $dup, '>&', \*STDOUT; print $dup "duplicated\n"; close $dup;
open $f, '<', \ "in memory"; print <$f>, "\n"; unlink 'h', 'l'; print -e 'h' ? 1 : 0, "\n";
unless (open $f, '<', 'missing') { print 0 + $!, " $!\n" }

print "== sockets\n";
socketpair(my $x, my $y, AF_UNIX, SOCK_STREAM, PF_UNSPEC); $pid = fork; if (!$pid) { syswrite $y, uc(do { sysread $x = $y, my $q, 100; $q }); exit } syswrite $x, 'shout'; close $y; sysread $x, $b, 100; print "$b\n"; waitpid $pid, 0;
my $server = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1') or die "$@"; my $port = $server->sockport;
$pid = fork; if (!$pid) { my $c = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port); print $c "over tcp\n"; close $c; exit } my $c = $server->accept; print <$c>; waitpid $pid, 0;
my $unix = IO::Socket::UNIX->new(Local => 'sock', Listen => 1) or die; $pid = fork; if (!$pid) { my $c = IO::Socket::UNIX->new(Peer => 'sock'); print $c "over unix\n"; exit } $c = $unix->accept; print <$c>; waitpid $pid, 0;
my $s = IO::Select->new($server); print scalar(my @ready = $s->can_read(0.05)), "\n";

print "== text\n";
my %count; $count{$_ % 7}++ for 1 .. 10000; print join(',', map { "$_=$count{$_}" } sort keys %count), "\n";
my $text = join ' ', map { "word$_" } 1 .. 5000; my $n = () = $text =~ /\bword\d*7\b/g; print "$n\n"; print length(join '', map { chr(65 + $_ % 26) } 1 .. 100000), "\n";
printf "%.3f %s %e\n", atan2(1, 1) * 4, join('', reverse sort split //, 'perl'), 12345.678; print POSIX::strftime('%F %T', gmtime 0), "\n";
my $t = time; sleep 0.05; print time - $t >= 0.05 ? "slept\n" : "early\n"; print join(' ', (POSIX::uname())[0]), "\n"; exit 42;
