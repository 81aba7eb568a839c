import { HubProtocolError } from "../errors.js";
import { asciiText, strictUtf8Text, viewOf } from "./byte-text.js";
import { readPlainArray, readScalar, scalarEnd, unsure } from "./json-scalars.js";
import { names } from "./name-cache.js";
import { sawBeyondAscii, textEnd } from "./words.js";

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

/** Whether {@link stringEnd} met no escapes, so that the text is what stands there. */
let wasPlain = false;

/** Index behind the string that begins at `at`. */
function stringEnd(bytes: Uint8Array, view: DataView, at: number, end: number): number {
  let i = textEnd(bytes, view, at + 1, end + 1);
  wasPlain = bytes[i] === quote;
  while (bytes[i] === backslash && i + 1 < end) i = textEnd(bytes, view, i + 2, end + 1);
  if (bytes[i] !== quote || i >= end) throw malformed();
  return i + 1;
}

/**
 * Finds where a value ends, without looking at it more closely than that takes.
 *
 * @param depth - How many objects and arrays it is in.
 * @throws HubProtocolError when it is nested too deeply.
 */
function valueEnd(
  bytes: Uint8Array,
  view: DataView,
  at: number,
  end: number,
  depth: number,
): number {
  const outer = depth;
  for (let i = at; i < end; i++) {
    const byte = bytes[i];
    if (byte === quote) {
      i = stringEnd(bytes, view, i, end) - 1;
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

/** Throws when a value of a message, in which its object is the first level, is nested too deeply. */
export function checkDepth(bytes: Uint8Array, view: DataView, start: number, end: number): void {
  valueEnd(bytes, view, start, end, 1);
}

/**
 * Reads the properties of an object one by one, as ASP.NET Core does: each is judged when it is
 * reached, and what comes behind the object is not looked at.
 *
 * Everything throws HubProtocolError with ASP.NET Core's texts.
 */
export class JsonObjectReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #end: number;
  #at: number;
  #start = 0;
  #isFirst = true;
  /** The present property. */
  name = "";

  /** @param end - Index of a record separator, behind which nothing is looked at. */
  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#end = end;
    this.#at = start;
    this.#skipSpace();
    if (bytes[this.#at] !== openBrace || this.#at >= end) {
      this.#start = this.#at;
      this.#at = valueEnd(bytes, this.#view, this.#start, end, 0);
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
    if (this.#peek() === closeBrace) return false;
    if (!this.#isFirst) {
      this.#expect(comma);
      this.#skipSpace();
    }
    this.#isFirst = false;
    if (this.#peek() !== quote) throw malformed();
    const bytes = this.#bytes;
    const view = this.#view;
    const nameEnd = stringEnd(bytes, view, this.#at, this.#end);
    this.name =
      wasPlain && !sawBeyondAscii
        ? names.get(bytes, view, this.#at + 1, nameEnd - 1)
        : (parseJson(bytes, this.#at, nameEnd) as string);
    this.#at = nameEnd;
    this.#skipSpace();
    this.#expect(colon);
    this.#skipSpace();
    this.#start = this.#at;
    this.#at = valueEnd(bytes, view, this.#start, this.#end, 1);
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
    const bytes = this.#bytes;
    const start = this.#start;
    const value = readScalar(bytes, this.#view, start, this.#end + 1);
    if (value !== unsure && scalarEnd === this.#at) return value;
    return parseJson(bytes, start, this.#at);
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
    const text = asciiText(this.#bytes, this.#start, this.#at);
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
    if (this.#bytes[this.#start] === openBracket) {
      const items = readPlainArray(this.#bytes, this.#view, this.#start, this.#end + 1);
      if (items !== undefined && scalarEnd === this.#at) return items;
    }
    const value = this.value();
    if (!Array.isArray(value)) throw this.#unexpected("Array");
    return value;
  }

  /** An object of strings, without prototype. */
  strings(): Record<string, string> {
    if (this.kind !== "Object") {
      this.value();
      throw this.#unexpected("StartObject");
    }
    const strings: Record<string, string> = Object.create(null);
    const reader = new JsonObjectReader(this.#bytes, this.#start, this.#end);
    while (reader.next()) {
      const value = reader.value();
      if (typeof value !== "string") {
        throw new HubProtocolError(`Expected header '${reader.name}' to be of type String.`);
      }
      strings[reader.name] = value;
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
