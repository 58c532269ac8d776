// What src/memory.cc exports.
export {};
