/**
 * Grammar of header values, read in one pass: no regular expression that could be made to
 * backtrack, no object keyed by what a peer sent.
 */

const tokenCharacters = new Set(
  "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
);

/** Whether `text` is a token. @see RFC 9110 §5.6.2 */
export function isToken(text: string): boolean {
  if (text.length === 0) return false;
  for (const character of text) if (!tokenCharacters.has(character)) return false;
  return true;
}

/**
 * Splits a comma-separated list, leaving out empty elements as RFC 9110 §5.6.1 asks.
 *
 * @param value - A header as node:http gives it: absent, one string, or several.
 */
export function parseList(value: string | readonly string[] | undefined): string[] {
  if (value === undefined) return [];
  const whole = typeof value === "string" ? value : value.join(",");
  if (!whole.includes(",")) {
    const element = whole.trim();
    return element === "" ? [] : [element];
  }
  return whole
    .split(",")
    .map((element) => element.trim())
    .filter((element) => element !== "");
}

/** Whether a comma-separated list has `element`, letter case ignored; `element` is in lower case. */
export function listIncludes(
  value: string | readonly string[] | undefined,
  element: string,
): boolean {
  if (value === element) return true;
  return parseList(value).some((candidate) => candidate.toLowerCase() === element);
}
