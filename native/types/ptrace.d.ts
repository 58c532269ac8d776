// What src/ptrace.cc exports.
export {};
