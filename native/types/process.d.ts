// What src/process.cc exports.
export {};
