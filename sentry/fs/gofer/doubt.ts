// A tree that is "exclusively ours" is so by agreement. Its owner on the host may still put files into it, as `podman cp`
// does into a running container. What has been learned of such a tree is therefore doubted from time to time, and
// checked when it is next used: a directory by its ctime, which answers for all names in it, a file by its attributes.
// The doubt costs one question for each file and directory in use, so that a stat between two doubts asks nobody.

/** How often this has happened; what was learned under another count is to be checked. */
export const doubts = { count: 0 };

/** Whatever has been learned of exclusive trees may have been changed by the host. */
export function doubt(): void {
  doubts.count = (doubts.count + 1) | 0;
}
