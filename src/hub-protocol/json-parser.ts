import { HubMessageTooBigError, HubProtocolError } from "../errors.js";
import { asciiText, strictUtf8Text, viewOf } from "./byte-text.js";
import { findRecordEnd, recordSeparator } from "./framing.js";
import type { HubInput } from "./hub-protocol.js";
import { checkDepth, JsonObjectReader, maxJsonDepth } from "./json-reader.js";
import { readPlainArray, readScalar, scalarEnd, unsure } from "./json-scalars.js";
import {
  type AckMessage,
  type CompletionMessage,
  type HubMessage,
  type InvocationMessage,
  type MessageHeaders,
  MessageType,
  type SequenceMessage,
  type StreamInvocationMessage,
  type StreamItemMessage,
} from "./messages.js";
import { names } from "./name-cache.js";
import { countOpenings, sawBeyondAscii, textEnd, word } from "./words.js";

/*
 * There are two ways through a message. The short one knows how ASP.NET Core and Microsoft's
 * JavaScript client write the messages that come most, compares their envelope as bytes, and lets
 * JSON.parse see what is not a plain string or number. Whenever it meets anything else it is
 * unsure, and the long way reads the message from the start, which also finds the right words for
 * what is wrong with it.
 */

const quote = 0x22;
const comma = 0x2c;
const zero = 0x30;
const closeBracket = 0x5d;
const openBrace = 0x7b;
const closeBrace = 0x7d;

/** `"invocationId":"` */
const id0 = word('"inv');
const id1 = word("ocat");
const id2 = word("ionI");
const id3 = word('d":"');
const idLength = 16;
/** `,"target":"` */
const target0 = word(',"ta');
const target1 = word("rget");
const target7 = word('t":"');
const targetLength = 11;
/** `,"arguments":[` */
const arguments0 = word(',"ar');
const arguments4 = word("gume");
const arguments8 = word('nts"');
const arguments10 = word('s":[');
const firstArguments = word('{"ar');
const argumentsLength = 14;
/** `,"result":` */
const result0 = word(',"re');
const result4 = word("sult");
const result6 = word('lt":');
const resultLength = 10;
/** `,"item":` */
const item0 = word(',"it');
const item4 = word('em":');
const itemLength = 8;
/** `,"type":` */
const type0 = word(',"ty');
const type4 = word('pe":');
const firstType = word('{"ty');
const typeLength = 8;

/** Index behind what was read last. */
let cursor = 0;

/** @see HubProtocol.parse */
export function parse(input: HubInput, maxMessageSize: number): HubMessage | undefined {
  const { bytes, end } = input;
  while (input.at < end) {
    const { at } = input;
    let last = end;
    if (bytes[end - 1] !== recordSeparator) {
      last = findRecordEnd(input, maxMessageSize) + 1;
      if (last === 0) return undefined;
    }
    let message = readKnown(bytes, viewOf(bytes), at, last);
    if (message !== undefined) {
      if (cursor - at > maxMessageSize) throw new HubMessageTooBigError(maxMessageSize);
      input.at = cursor;
      return message;
    }
    const separator = findRecordEnd(input, maxMessageSize);
    message = readAny(bytes, at, separator);
    input.at = separator + 1;
    if (message !== undefined) return message;
  }
  return undefined;
}

/**
 * The short way.
 *
 * @param last - Index behind a record separator, which need not be that of this message.
 * @returns `undefined` when unsure; otherwise `cursor` stands behind the message.
 */
function readKnown(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  last: number,
): HubMessage | undefined {
  // Shorter than `{"type":6}` is none of those that we know.
  if (last - start < 11) return undefined;
  const first = view.getInt32(start, true);
  if (first === firstType) return readTypeFirst(bytes, view, start, last);
  if (first === firstArguments) return readArgumentsFirst(bytes, view, start, last);
  if (bytes[start] === openBrace && isId(view, start + 1, last)) {
    return readIdFirst(bytes, view, start, last);
  }
  return undefined;
}

function isId(view: DataView, at: number, last: number): boolean {
  return (
    last - at > idLength &&
    view.getInt32(at, true) === id0 &&
    view.getInt32(at + 4, true) === id1 &&
    view.getInt32(at + 8, true) === id2 &&
    view.getInt32(at + 12, true) === id3
  );
}

function isTarget(view: DataView, at: number, last: number): boolean {
  return (
    last - at > targetLength &&
    view.getInt32(at, true) === target0 &&
    view.getInt32(at + 4, true) === target1 &&
    view.getInt32(at + 7, true) === target7
  );
}

function isResult(view: DataView, at: number, last: number): boolean {
  return (
    last - at > resultLength &&
    view.getInt32(at, true) === result0 &&
    view.getInt32(at + 4, true) === result4 &&
    view.getInt32(at + 6, true) === result6
  );
}

function isItem(view: DataView, at: number, last: number): boolean {
  return (
    last - at > itemLength &&
    view.getInt32(at, true) === item0 &&
    view.getInt32(at + 4, true) === item4
  );
}

function isType(view: DataView, at: number, last: number): boolean {
  return (
    last - at > typeLength &&
    view.getInt32(at, true) === type0 &&
    view.getInt32(at + 4, true) === type4
  );
}

/** Whether the message ends at `at`; then `cursor` stands behind it. */
function isEnd(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] !== closeBrace || bytes[at + 1] !== recordSeparator) return false;
  cursor = at + 2;
  return true;
}

/** The string in front of which a quote was read; `undefined` when unsure. `cursor` is behind it. */
function readId(bytes: Uint8Array, view: DataView, at: number, last: number): string | undefined {
  const end = textEnd(bytes, view, at, last);
  if (bytes[end] !== quote || sawBeyondAscii || end === at) return undefined;
  cursor = end + 1;
  return asciiText(bytes, at, end);
}

/** As {@link readId}, for names that come again. */
function readName(bytes: Uint8Array, view: DataView, at: number, last: number): string | undefined {
  const end = textEnd(bytes, view, at, last);
  if (bytes[end] !== quote || sawBeyondAscii) return undefined;
  cursor = end + 1;
  return names.get(bytes, view, at, end);
}

/** `{"type":1,"invocationId":"0","target":"Echo","arguments":["hello"]}`, as ASP.NET Core writes it. */
function readTypeFirst(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  last: number,
): HubMessage | undefined {
  if (view.getInt32(start + 4, true) !== type4) return undefined;
  const type = (bytes[start + 8] as number) - zero;
  let at = start + 9;
  let invocationId: string | undefined;
  if (bytes[at] === comma && isId(view, at + 1, last)) {
    invocationId = readId(bytes, view, at + 1 + idLength, last);
    if (invocationId === undefined) return undefined;
    at = cursor;
  }
  switch (type) {
    case MessageType.invocation:
    case MessageType.streamInvocation: {
      if (type === MessageType.streamInvocation && invocationId === undefined) return undefined;
      if (!isTarget(view, at, last)) return undefined;
      const target = readName(bytes, view, at + targetLength, last);
      if (target === undefined) return undefined;
      at = cursor;
      if (
        last - at <= argumentsLength ||
        view.getInt32(at, true) !== arguments0 ||
        view.getInt32(at + 4, true) !== arguments4 ||
        view.getInt32(at + 8, true) !== arguments8 ||
        view.getInt32(at + 10, true) !== arguments10
      ) {
        return undefined;
      }
      at += argumentsLength - 1;
      let args = readPlainArray(bytes, view, at, last);
      cursor = scalarEnd;
      if (args === undefined) {
        const end = bytes.indexOf(recordSeparator, at) - 1;
        args = readArray(bytes, view, at, end);
        cursor = end;
      }
      if (args === undefined || !isEnd(bytes, cursor)) return undefined;
      return invocation(type, undefined, invocationId, target, args, undefined);
    }
    case MessageType.streamItem: {
      if (invocationId === undefined || !isItem(view, at, last)) return undefined;
      const item = readLast(bytes, view, at + itemLength, last);
      if (item === unsure) return undefined;
      return streamItem(undefined, invocationId, item);
    }
    case MessageType.completion: {
      if (invocationId === undefined) return undefined;
      if (isEnd(bytes, at)) return completion(undefined, invocationId, undefined, false, undefined);
      if (!isResult(view, at, last)) return undefined;
      const result = readLast(bytes, view, at + resultLength, last);
      if (result === unsure) return undefined;
      return completion(undefined, invocationId, undefined, true, result);
    }
    case MessageType.cancelInvocation:
      if (invocationId === undefined || !isEnd(bytes, at)) return undefined;
      return { type, headers: undefined, invocationId };
    case MessageType.ping:
      return isEnd(bytes, at) ? { type } : undefined;
    default:
      return undefined;
  }
}

/** `{"arguments":["hello"],"invocationId":"0","target":"Echo","type":1}`, of the JavaScript client. */
function readArgumentsFirst(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  last: number,
): InvocationMessage | StreamInvocationMessage | undefined {
  if (
    last - start <= argumentsLength ||
    view.getInt32(start + 4, true) !== arguments4 ||
    view.getInt32(start + 8, true) !== arguments8 ||
    view.getInt32(start + 10, true) !== arguments10
  ) {
    return undefined;
  }
  const from = start + argumentsLength - 1;
  let args = readPlainArray(bytes, view, from, last);
  let at = scalarEnd;
  if (args === undefined) {
    // An unescaped quote stands in no string: so the rest of the message can be found from its end,
    // and if what is left in front of it is an array, it was the right place.
    at = behindArguments(bytes, view, from, bytes.indexOf(recordSeparator, from));
    if (at === -1) return undefined;
    args = readArray(bytes, view, from, at);
    if (args === undefined) return undefined;
  }
  let invocationId: string | undefined;
  if (bytes[at] === comma && isId(view, at + 1, last)) {
    invocationId = readId(bytes, view, at + 1 + idLength, last);
    if (invocationId === undefined) return undefined;
    at = cursor;
  }
  if (!isTarget(view, at, last)) return undefined;
  const target = readName(bytes, view, at + targetLength, last);
  if (target === undefined || !isType(view, cursor, last)) return undefined;
  const type = (bytes[cursor + typeLength] as number) - zero;
  if (!isEnd(bytes, cursor + typeLength + 1)) return undefined;
  if (
    type === MessageType.invocation ||
    (type === MessageType.streamInvocation && invocationId !== undefined)
  ) {
    return invocation(type, undefined, invocationId, target, args, undefined);
  }
  return undefined;
}

/**
 * Goes back from the end of a message over `,"target":"Echo","type":1}` and perhaps
 * `,"invocationId":"0"`.
 *
 * @returns Where that begins, or -1.
 */
function behindArguments(
  bytes: Uint8Array,
  view: DataView,
  from: number,
  separator: number,
): number {
  const targetEnd = separator - typeLength - 3;
  const target = openingQuote(bytes, targetEnd, from + targetLength);
  if (target === -1 || !isTarget(view, target - targetLength + 1, separator)) return -1;
  const at = target - targetLength + 1;
  if (bytes[at - 1] === closeBracket) return at;
  const id = openingQuote(bytes, at - 1, from + idLength + 1);
  return id !== -1 && isId(view, id - idLength + 1, separator) ? id - idLength : -1;
}

/** Index of the quote before the one at `end`, not below `start`; -1 when there is none. */
function openingQuote(bytes: Uint8Array, end: number, start: number): number {
  if (bytes[end] !== quote) return -1;
  let at = end - 1;
  while (at > start && bytes[at] !== quote) at--;
  return at > start ? at : -1;
}

/** `{"invocationId":"0","result":"hello","type":3}` and the like, of the JavaScript client. */
function readIdFirst(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  last: number,
): StreamItemMessage | CompletionMessage | HubMessage | undefined {
  const invocationId = readId(bytes, view, start + 1 + idLength, last);
  if (invocationId === undefined) return undefined;
  let at = cursor;
  const hasItem = isItem(view, at, last);
  const hasResult = !hasItem && isResult(view, at, last);
  let value: unknown;
  if (hasItem || hasResult) {
    at += hasItem ? itemLength : resultLength;
    value = readScalar(bytes, view, at, last);
    cursor = scalarEnd;
    if (value === unsure) {
      const end = bytes.indexOf(recordSeparator, at) - typeLength - 2;
      if (end <= at) return undefined;
      value = readValue(bytes, view, at, end);
      if (value === unsure) return undefined;
      cursor = end;
    }
    at = cursor;
  }
  if (!isType(view, at, last) || !isEnd(bytes, at + typeLength + 1)) return undefined;
  switch ((bytes[at + typeLength] as number) - zero) {
    case MessageType.streamItem:
      return hasItem ? streamItem(undefined, invocationId, value) : undefined;
    case MessageType.completion:
      return hasItem ? undefined : completion(undefined, invocationId, undefined, hasResult, value);
    case MessageType.cancelInvocation:
      if (hasItem || hasResult) return undefined;
      return { type: MessageType.cancelInvocation, headers: undefined, invocationId };
    default:
      return undefined;
  }
}

/** A value with which the message ends. */
function readLast(bytes: Uint8Array, view: DataView, at: number, last: number): unknown {
  const value = readScalar(bytes, view, at, last);
  if (value !== unsure) return isEnd(bytes, scalarEnd) ? value : unsure;
  const end = bytes.indexOf(recordSeparator, at) - 1;
  if (end <= at || !isEnd(bytes, end)) return unsure;
  return readValue(bytes, view, at, end);
}

function readArray(
  bytes: Uint8Array,
  view: DataView,
  start: number,
  end: number,
): unknown[] | undefined {
  if (end - start < 2) return undefined;
  const value = readValue(bytes, view, start, end);
  return value === unsure ? undefined : (value as unknown[]);
}

/** The value that `bytes[start, end)` are, by JSON.parse. `cursor` stays. */
function readValue(bytes: Uint8Array, view: DataView, start: number, end: number): unknown {
  const mayBeDeep =
    end - start >= maxJsonDepth && countOpenings(bytes, view, start, end) >= maxJsonDepth;
  const text = strictUtf8Text(bytes, start, end);
  if (text === undefined) return unsure;
  try {
    if (mayBeDeep) checkDepth(bytes, view, start, end);
    return JSON.parse(text);
  } catch {
    return unsure;
  }
}
// Messages of a type are all made in one place, so that the engine sees one shape of them.

function invocation(
  type: InvocationMessage["type"] | StreamInvocationMessage["type"],
  headers: MessageHeaders | undefined,
  invocationId: string | undefined,
  target: string,
  args: unknown[],
  streamIds: string[] | undefined,
): InvocationMessage | StreamInvocationMessage {
  return {
    type,
    headers,
    invocationId,
    target,
    arguments: args,
    streamIds,
    bindingError: undefined,
  } as InvocationMessage | StreamInvocationMessage;
}

function streamItem(
  headers: MessageHeaders | undefined,
  invocationId: string,
  item: unknown,
): StreamItemMessage {
  return { type: MessageType.streamItem, headers, invocationId, item, bindingError: undefined };
}

function completion(
  headers: MessageHeaders | undefined,
  invocationId: string,
  error: string | undefined,
  hasResult: boolean,
  result: unknown,
): CompletionMessage {
  return { type: MessageType.completion, headers, invocationId, error, hasResult, result };
}

function required(name: string): HubProtocolError {
  return new HubProtocolError(`Missing required property '${name}'.`);
}

/**
 * The long way, for every message.
 *
 * @returns `undefined` for a message of a type that we do not know.
 */
function readAny(bytes: Uint8Array, start: number, end: number): HubMessage | undefined {
  const reader = new JsonObjectReader(bytes, start, end);
  let type: number | undefined;
  let headers: MessageHeaders | undefined;
  let invocationId: string | undefined;
  let target: string | undefined;
  let args: unknown[] | undefined;
  let streamIds: string[] | undefined;
  let item: unknown;
  let hasItem = false;
  let result: unknown;
  let hasResult = false;
  let error: string | undefined;
  let allowReconnect = false;
  let sequenceId: number | undefined;
  while (reader.next()) {
    switch (reader.name) {
      case "type":
        type = reader.integer(32);
        break;
      case "headers":
        headers = reader.strings();
        break;
      case "invocationId":
        invocationId = reader.string();
        break;
      case "target":
        target = reader.string();
        break;
      case "arguments":
        args = reader.array();
        break;
      case "streamIds":
        streamIds = readStreamIds(reader);
        break;
      case "item":
        item = reader.value();
        hasItem = true;
        break;
      case "result":
        result = reader.value();
        hasResult = true;
        break;
      case "error":
        error = reader.string();
        break;
      case "allowReconnect":
        allowReconnect = reader.boolean();
        break;
      case "sequenceId":
        sequenceId = reader.integer(64);
        break;
      default:
        reader.value();
    }
  }
  switch (type) {
    case undefined:
      throw required("type");
    case MessageType.invocation:
    case MessageType.streamInvocation: {
      const isStream = type === MessageType.streamInvocation;
      if (isStream && !invocationId) throw required("invocationId");
      if (target === undefined) throw required("target");
      if (args === undefined) throw required("arguments");
      return invocation(type, headers, invocationId || undefined, target, args, streamIds);
    }
    case MessageType.streamItem:
      if (!invocationId) throw required("invocationId");
      if (!hasItem) throw required("item");
      return streamItem(headers, invocationId, item);
    case MessageType.completion:
      if (!invocationId) throw required("invocationId");
      if (error !== undefined && hasResult) {
        throw new HubProtocolError("The 'error' and 'result' properties are mutually exclusive.");
      }
      return completion(headers, invocationId, error, hasResult, result);
    case MessageType.cancelInvocation:
      if (!invocationId) throw required("invocationId");
      return { type, headers, invocationId };
    case MessageType.ping:
      return { type };
    case MessageType.close:
      return { type, error, allowReconnect };
    case MessageType.ack:
    case MessageType.sequence:
      if (sequenceId === undefined) throw required("sequenceId");
      return { type, sequenceId } as AckMessage | SequenceMessage;
    default:
      return undefined;
  }
}

function readStreamIds(reader: JsonObjectReader): string[] | undefined {
  const ids = reader.array();
  for (const id of ids) {
    if (typeof id !== "string") {
      throw new HubProtocolError("Expected 'streamIds' to hold strings only.");
    }
  }
  return ids.length === 0 ? undefined : (ids as string[]);
}
