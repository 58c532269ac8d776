# git on a repository of its own: no network, fixed dates, so that every hash is known.
. "${BASH_SOURCE[0]%/*}/common.sh" || exit 99
export HOME=$TMPDIR GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_PAGER=cat
git config --global init.defaultBranch main; git config --global gc.auto 0
section init
git init -q repo && cd repo && git status --short --branch
section commit
for i in $(seq 1 30); do mkdir -p "dir$((i % 3))"; seq 1 "$i" > "dir$((i % 3))/file$i"; done
ln -s dir0/file3 link; printf '#!/bin/sh\necho ran\n' > run; chmod +x run
git add -A && git commit -q -m 'first commit' && git log --oneline
git ls-files -s | head -n 5; git count-objects | cut -d, -f1
section change
seq 1 100 > dir0/file3; git rm -q dir1/file1; git mv run walk; git diff --stat; git commit -qam second; git show --stat --format='%H %s'
section branch
git checkout -q -b side HEAD~1 && echo side > side && git add side && git commit -qm side && git checkout -q main
git merge -q -m merge side && git log --oneline --graph; git branch -a; git tag v1; git describe --tags
git rebase -q --onto HEAD~1 HEAD~1 side 2>&1; git checkout -q main; git stash list; echo dirty >> side; git stash -q; git stash pop -q; git status --short; git checkout -q side -- 2>/dev/null; git checkout -q main 2>/dev/null; git reset -q --hard main
git blame -s dir0/file3 | head -n 2; git grep -c 5 | head -n 3; git rev-parse HEAD; git cat-file -p HEAD^{tree}
section 'clone, fetch, push'
cd .. && git clone -q repo copy && git clone -q --bare --no-local repo bare.git && cd copy && git log -1 --format=%H
git remote set-url origin ../bare.git; echo pushed > pushed; git add pushed; git commit -qm pushed; git push -q origin main; git -C ../bare.git log -1 --format='%H %s'
git fetch -q && git status -sb; git worktree add -q ../tree side 2>/dev/null || git worktree add -q ../tree -b other; ls ../tree | head -n 3
section 'pack and check'
git gc -q --prune=now; git fsck --strict 2>&1; git count-objects -v | grep -e count -e in-pack; git archive HEAD | tar t | head -n 3; git bundle create -q ../b HEAD main && git bundle verify -q ../b && echo bundled
printf 'file content' | git hash-object --stdin; ls .git | grep -c lock; git log -p | sha1sum; .git/hooks/none 2>/dev/null || echo 'no hook'
printf '#!/bin/sh\necho hook ran >&2; exit 1\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit; echo x > x; git add x; git commit -qm refused; echo "status $?"
