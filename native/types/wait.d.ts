// What src/wait.cc exports.
export {};
