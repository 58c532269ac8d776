# apt with a repository on loopback that has one package.
. "$(dirname "$0")/lib.sh"
mkdir -p package/DEBIAN repository apt/lists/partial apt/cache/archives/partial
printf 'Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a tiny package\n' > package/DEBIAN/control
dpkg-deb -b package repository/tiny_1.0_all.deb > /dev/null
(
  cd repository || exit 1
  cat ../package/DEBIAN/control
  printf 'Filename: ./tiny_1.0_all.deb\nSize: %s\nSHA256: %s\n' "$(stat -c %s tiny_1.0_all.deb)" "$(sha256sum tiny_1.0_all.deb | cut -d' ' -f1)"
) > Packages
mv Packages repository/
/usr/bin/python3 -m http.server -b 127.0.0.1 -d repository 8099 > /dev/null 2>&1 &
listening 8099
echo 'deb [trusted=yes] http://127.0.0.1:8099/ ./' > sources.list
options="-o Dir::Etc::sourcelist=$folder/sources.list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$folder/apt/lists -o Dir::Cache=$folder/apt/cache -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::http::Proxy=DIRECT"
apt-get $options update > update.log 2>&1
echo "update $?"
grep -E '^(E|W):' update.log
apt-get $options download tiny > /dev/null 2>&1
echo "download $?"
dpkg-deb -f tiny_1.0_all.deb Package
