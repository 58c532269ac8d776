// What src/seccomp.cc exports.
export {};
