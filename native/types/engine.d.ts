// What src/engine.cc exports.

/** Whether functions that run often become machine code, as they do from the start in a checkout; an executable begins without. */
export function compileHot(whether: boolean): void;
