/** How many arguments a function declares. */
export interface ParameterCount {
  /** Those before the first with a default. */
  readonly required: number;
  /** All; `Infinity` with a rest parameter. */
  readonly maximum: number;
}

const closing: Readonly<Record<string, string>> = { "(": ")", "[": "]", "{": "}" };

/**
 * Counts the parameters of a method, so that a call with too many or too few arguments is refused
 * rather than run. `Function.length` stops at the first default; the source tells the rest.
 */
export function parametersOf(method: (...args: never[]) => unknown): ParameterCount {
  const required = method.length;
  const list = parameterList(Function.prototype.toString.call(method));
  if (list === undefined) return { required, maximum: Infinity };
  if (list.some((parameter) => parameter.startsWith("..."))) return { required, maximum: Infinity };
  return { required, maximum: Math.max(required, list.length) };
}

/** The parameters in the source of a function, or `undefined` where it cannot be told. */
function parameterList(source: string): string[] | undefined {
  const code = blankOut(source);
  // A computed name stands in brackets of its own.
  let at = 0;
  while (at < code.length && code[at] !== "(") {
    at = code[at] === "[" ? endOf(code, at) : at + 1;
  }
  if (at >= code.length) return undefined;
  const parameters: string[] = [];
  let begin = ++at;
  while (at < code.length) {
    const char = code[at] as string;
    if (char in closing) {
      at = endOf(code, at);
      continue;
    }
    if (char === "," || char === ")") {
      const parameter = code.slice(begin, at).trim();
      if (parameter !== "") parameters.push(parameter);
      if (char === ")") return parameters;
      begin = at + 1;
    }
    at++;
  }
  return undefined;
}

/** Where the bracket that opens at `at` is closed, and one further. */
function endOf(code: string, at: number): number {
  const stack: string[] = [];
  for (let index = at; index < code.length; index++) {
    const char = code[index] as string;
    if (char in closing) stack.push(closing[char] as string);
    else if (char === stack.at(-1)) {
      stack.pop();
      if (stack.length === 0) return index + 1;
    }
  }
  return code.length;
}

/** The source with comments, strings and templates replaced by spaces of the same length. */
function blankOut(source: string): string {
  return source.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g,
    (match) => " ".repeat(match.length),
  );
}
