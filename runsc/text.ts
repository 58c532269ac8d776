// Strings for the guest are latin1, a char per byte; those of the command line and of JSON files are Unicode.

/** The bytes of `text` in UTF-8, a char each. */
export function guestText(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

export function hostText(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8');
}
