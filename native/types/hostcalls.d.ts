// What src/hostcalls.cc exports.
export {};
