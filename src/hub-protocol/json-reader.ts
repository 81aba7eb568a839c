import { HubProtocolError } from "../errors.js";
import { strictUtf8Text } from "./byte-text.js";

/** Levels of objects and arrays in a message, itself among them. As System.Text.Json has it. */
export const maxJsonDepth = 64;

/** Kinds of JSON values, in the words of ASP.NET Core's error texts. */
export type JsonKind = "Object" | "Array" | "String" | "Number" | "True" | "False" | "Null";

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const openBracket = 0x5b;
const backslash = 0x5c;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

const integer = /^-?(?:0|[1-9]\d*)$/;

function malformed(cause?: unknown): HubProtocolError {
  return new HubProtocolError("Error reading JSON.", "ERR_HUB_PROTOCOL", { cause });
}

/** The value in `bytes[start, end)`, which must be one and nothing else. */
export function parseJson(bytes: Uint8Array, start: number, end: number): unknown {
  const text = strictUtf8Text(bytes, start, end);
  if (text === undefined) throw malformed();
  try {
    return JSON.parse(text);
  } catch (error) {
    throw malformed(error);
  }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** Index behind the string that begins at `at`, or `end` when it does not end. */
function stringEnd(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at + 1; i < end; i++) {
    const byte = bytes[i];
    if (byte === quote) return i + 1;
    if (byte === backslash) i++;
  }
  return end;
}

/**
 * Finds where a value ends, without looking at it more closely than that takes.
 *
 * @param depth - How many objects and arrays it is in.
 * @throws HubProtocolError when it is nested too deeply.
 */
function valueEnd(bytes: Uint8Array, at: number, end: number, depth: number): number {
  const outer = depth;
  for (let i = at; i < end; i++) {
    const byte = bytes[i];
    if (byte === quote) {
      i = stringEnd(bytes, i, end) - 1;
      if (depth === outer) return i + 1;
    } else if (byte === openBracket || byte === openBrace) {
      if (++depth > maxJsonDepth) throw malformed();
    } else if (byte === closeBracket || byte === closeBrace) {
      if (depth === outer) return i; // it belongs to what the value is in
      if (--depth === outer) return i + 1;
    } else if (depth === outer && (byte === comma || isSpace(byte))) {
      return i;
    }
  }
  return end;
}

/** Whether a value of a message, in which its object is the first level, is nested too deeply. */
export function isTooDeep(bytes: Uint8Array, start: number, end: number): boolean {
  let depth = 1;
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte === quote) i = stringEnd(bytes, i, end) - 1;
    else if (byte === openBracket || byte === openBrace) {
      if (++depth > maxJsonDepth) return true;
    } else if (byte === closeBracket || byte === closeBrace) depth--;
  }
  return false;
}

/**
 * Reads the properties of an object one by one, as ASP.NET Core does: each is judged when it is
 * reached, and what comes behind the object is not looked at.
 *
 * Everything throws HubProtocolError with ASP.NET Core's texts.
 */
export class JsonObjectReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;
  #start = 0;
  #isFirst = true;
  /** The present property. */
  name = "";

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#end = end;
    this.#at = start;
    this.#skipSpace();
    if (bytes[this.#at] !== openBrace || this.#at >= end) {
      this.#start = this.#at;
      this.#at = valueEnd(bytes, this.#start, end, 0);
      parseJson(bytes, this.#start, this.#at);
      throw new HubProtocolError(
        `Unexpected JSON Token Type '${this.kind}'. Expected a JSON Object.`,
      );
    }
    this.#at++;
  }

  /** Goes to the next property; `false` when there is none. */
  next(): boolean {
    this.#skipSpace();
    if (this.#peek() === closeBrace && this.#isFirst) return false;
    if (!this.#isFirst) {
      if (this.#peek() === closeBrace) return false;
      this.#expect(comma);
      this.#skipSpace();
    }
    this.#isFirst = false;
    if (this.#peek() !== quote) throw malformed();
    const nameEnd = stringEnd(this.#bytes, this.#at, this.#end);
    this.name = parseJson(this.#bytes, this.#at, nameEnd) as string;
    this.#at = nameEnd;
    this.#skipSpace();
    this.#expect(colon);
    this.#skipSpace();
    this.#start = this.#at;
    this.#at = valueEnd(this.#bytes, this.#start, this.#end, 1);
    return true;
  }

  /** What its value is, by the first byte. */
  get kind(): JsonKind {
    switch (this.#bytes[this.#start]) {
      case openBrace:
        return "Object";
      case openBracket:
        return "Array";
      case quote:
        return "String";
      case 0x74:
        return "True";
      case 0x66:
        return "False";
      case 0x6e:
        return "Null";
      default:
        return "Number";
    }
  }

  value(): unknown {
    return parseJson(this.#bytes, this.#start, this.#at);
  }

  string(): string {
    const value = this.value();
    if (typeof value !== "string") throw this.#unexpected("String");
    return value;
  }

  /** Only digits will do: neither `1.0` nor `1e1`. */
  integer(bits: 32 | 64): number {
    const value = this.value();
    if (typeof value !== "number") throw this.#unexpected("Number");
    const limit = 2 ** (bits - 1);
    const text = strictUtf8Text(this.#bytes, this.#start, this.#at) ?? "";
    if (!integer.test(text) || value >= limit || value < -limit) {
      throw new HubProtocolError(
        `Either the JSON value is not in a supported format, or is out of bounds for an Int${bits}.`,
      );
    }
    return value;
  }

  boolean(): boolean {
    const value = this.value();
    if (typeof value !== "boolean") {
      throw new HubProtocolError(`Expected '${this.name}' to be true or false.`);
    }
    return value;
  }

  array(): unknown[] {
    const value = this.value();
    if (!Array.isArray(value)) throw this.#unexpected("Array");
    return value;
  }

  /** An object of strings, without prototype. */
  strings(): Record<string, string> {
    const value = this.value();
    if (this.kind !== "Object") throw this.#unexpected("StartObject");
    const strings: Record<string, string> = Object.create(null);
    for (const [name, each] of Object.entries(value as object)) {
      if (typeof each !== "string") {
        throw new HubProtocolError(`Expected header '${name}' to be of type String.`);
      }
      strings[name] = each;
    }
    return strings;
  }

  #unexpected(type: string): HubProtocolError {
    return new HubProtocolError(`Expected '${this.name}' to be of type ${type}.`);
  }

  #peek(): number | undefined {
    return this.#at < this.#end ? this.#bytes[this.#at] : undefined;
  }

  #expect(byte: number): void {
    if (this.#peek() !== byte) throw malformed();
    this.#at++;
  }

  #skipSpace(): void {
    while (isSpace(this.#peek())) this.#at++;
  }
}
