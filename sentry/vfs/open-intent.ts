// What a walk is for, told to the file system that is asked for its last name: one that has to ask another process can
// bring a descriptor along with the answer. A hint without meaning of its own: struct nameidata's LOOKUP_OPEN.

export const openIntent = {
  /** Walks so far: what was learned in the current one is as new as can be. */
  walks: 0,
  /** The walk's result will be opened for reading. */
  reading: false,
  /** The name that is being looked up is the last one. */
  isLast: false,
};
