import { Decoder, ExtensionCodec } from "@msgpack/msgpack";
import { HubProtocolError } from "../errors.js";
import type { ByteWriter } from "./byte-writer.js";
import { insertLengthPrefix, prefixLength, readLengthPrefix } from "./framing.js";
import type { HubInput, HubProtocol } from "./hub-protocol.js";
import {
  type Findings,
  readArrayLength,
  readBinary,
  readBoolean,
  readFloat,
  readInteger,
  readMapLength,
  readName,
  readText,
  scan,
} from "./messagepack-reader.js";
import {
  writeArrayLength,
  writeBigInt,
  writeBinary,
  writeBoolean,
  writeExtension,
  writeMapLength,
  writeNil,
  writeNumber,
  writeText,
} from "./messagepack-writer.js";
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

export interface MessagePackOptions {
  /**
   * What an integer beyond 2^53 is read as: `"bigint"` keeps its value, `"number"` rounds it as
   * Microsoft's JavaScript client does. Smaller ones are always numbers. Default `"bigint"`.
   */
  readonly int64?: "bigint" | "number" | undefined;
  /**
   * Levels of arrays and maps in a message, among them the message's own and that of its arguments.
   * Deeper arguments fail the call. Default 64, as in the JSON protocol.
   */
  readonly maxDepth?: number | undefined;
  /** Extension types of the application, for both ways. Dates are known without. */
  readonly extensionCodec?: ExtensionCodec | undefined;
}

/** Levels of arrays and objects that are written; more of them is a cycle, or as good as one. */
const maxWrittenDepth = 1000;

const bindingErrorText =
  "Error binding arguments. Make sure that the types of the provided values match the types of the hub method being invoked.";

/** Kinds of completions. */
const errorKind = 1;
const voidKind = 2;
const resultKind = 3;

const nil = new Uint8Array([0xc0]);
/** Largest memory that may be kept from one message to the next. */
const maxKept = 1 << 17;

/**
 * The protocol `messagepack`, which sends bytes as bytes and integers of 64 bits exactly.
 *
 * Bytes arrive as Uint8Array, timestamps as Date, unknown extensions as the library's ExtData. A
 * Date is sent as a timestamp, a bigint as an integer of 64 bits, a Map as a map, `undefined` as nil.
 *
 * @throws RangeError for options that make no sense.
 */
export function messagePack(options: MessagePackOptions = {}): HubProtocol {
  return new MessagePackProtocol(options);
}

class MessagePackProtocol implements HubProtocol {
  readonly name = "messagepack";
  readonly transferFormat = "Binary";
  readonly #rounds: boolean;
  readonly #maxDepth: number;
  readonly #codec: ExtensionCodec;
  readonly #hasOwnCodec: boolean;
  readonly #decoder: Decoder;
  readonly #exactDecoder: Decoder;

  constructor({ int64 = "bigint", maxDepth = 64, extensionCodec }: MessagePackOptions) {
    if (int64 !== "bigint" && int64 !== "number") {
      throw new RangeError(`int64 must be "bigint" or "number", not ${String(int64)}`);
    }
    if (!Number.isInteger(maxDepth) || maxDepth < 2) {
      throw new RangeError(`maxDepth must be an integer of at least 2, not ${maxDepth}`);
    }
    this.#rounds = int64 === "number";
    this.#maxDepth = maxDepth;
    this.#hasOwnCodec = extensionCodec !== undefined;
    this.#codec = extensionCodec ?? new ExtensionCodec();
    this.#decoder = new Decoder({ extensionCodec: this.#codec });
    this.#exactDecoder = new Decoder({ extensionCodec: this.#codec, useBigInt64: true });
  }

  parse(input: HubInput, maxMessageSize: number): HubMessage | undefined {
    for (;;) {
      const end = readLengthPrefix(input, maxMessageSize);
      if (end === -1) return undefined;
      const message = this.#readMessage(input, end);
      input.at = end;
      if (message !== undefined) return message;
    }
  }

  encode(message: HubMessage, out: ByteWriter): void {
    const start = out.length;
    const guessed = prefixLength(sizeOf(message));
    out.reserve(guessed);
    out.length = start + guessed;
    this.#writeMessage(message, out);
    insertLengthPrefix(out, start, guessed);
  }

  /** @returns `undefined` for a message of a type that we do not know. */
  #readMessage(input: HubInput, end: number): HubMessage | undefined {
    const count = arrayLength(input, end, "message");
    const type = smallInteger(input, end, "messageType");
    switch (type) {
      case MessageType.invocation:
      case MessageType.streamInvocation:
        return this.#readInvocation(input, end, type, count);
      case MessageType.streamItem:
        return this.#readStreamItem(input, end);
      case MessageType.completion:
        return this.#readCompletion(input, end);
      case MessageType.cancelInvocation: {
        const headers = readHeaders(input, end);
        const invocationId = requiredId(input, end, "CancelInvocation");
        return { type, headers, invocationId };
      }
      case MessageType.ping:
        return { type };
      case MessageType.close: {
        const error = text(input, end, "error") ?? undefined;
        const allowReconnect = count > 2 && boolean(input, end, "allowReconnect");
        return { type, error, allowReconnect };
      }
      case MessageType.ack:
      case MessageType.sequence: {
        const sequenceId = integer(input, end, "sequenceId", 64);
        return { type, sequenceId } as AckMessage | SequenceMessage;
      }
      default:
        return undefined;
    }
  }

  #readInvocation(
    input: HubInput,
    end: number,
    type: InvocationMessage["type"] | StreamInvocationMessage["type"],
    count: number,
  ): InvocationMessage | StreamInvocationMessage {
    const isStream = type === MessageType.streamInvocation;
    const name = isStream ? "StreamInvocation" : "Invocation";
    const headers = readHeaders(input, end);
    const invocationId = isStream
      ? requiredId(input, end, name)
      : text(input, end, "invocationId") || undefined;
    const target = readName(input, end);
    if (target === undefined) throw new HubProtocolError("Reading 'target' as String failed.");
    if (!target) throw new HubProtocolError(`Null or empty target for ${name} message.`);
    let args: unknown[];
    try {
      args = this.#readArguments(input, end);
    } catch (cause) {
      // .NET words it in its own way when there is no array to begin with.
      const { message } = cause as Error;
      const text = message === noArray("arguments").message ? message : bindingErrorText;
      const bindingError = new HubProtocolError(text, "ERR_HUB_BINDING", { cause });
      return invocation(type, headers, invocationId, target, [], undefined, bindingError);
    }
    const streamIds = count > 5 ? readStreamIds(input, end) : undefined;
    return invocation(type, headers, invocationId, target, args, streamIds, undefined);
  }

  #readStreamItem(input: HubInput, end: number): StreamItemMessage {
    const type = MessageType.streamItem;
    const headers = readHeaders(input, end);
    const invocationId = requiredId(input, end, "StreamItem");
    try {
      const item = this.#readValue(input, end, this.#maxDepth - 1);
      return { type, headers, invocationId, item, bindingError: undefined };
    } catch (cause) {
      const bindingError = new HubProtocolError(bindingErrorText, "ERR_HUB_BINDING", { cause });
      return { type, headers, invocationId, item: undefined, bindingError };
    }
  }

  #readCompletion(input: HubInput, end: number): CompletionMessage {
    const type = MessageType.completion;
    const headers = readHeaders(input, end);
    const invocationId = requiredId(input, end, "Completion");
    const kind = smallInteger(input, end, "resultKind");
    let error: string | undefined;
    let hasResult = false;
    let result: unknown;
    if (kind === errorKind) {
      error = text(input, end, "error") ?? undefined;
    } else if (kind === resultKind) {
      if (input.at >= end) throw new HubProtocolError("Reading 'result' failed.");
      try {
        result = this.#readValue(input, end, this.#maxDepth - 1);
        hasResult = true;
      } catch (cause) {
        error = `Error trying to deserialize result. ${(cause as Error).message}`;
      }
    } else if (kind !== voidKind) {
      throw new HubProtocolError("Invalid invocation result kind.");
    }
    return { type, headers, invocationId, error, hasResult, result };
  }

  #readArguments(input: HubInput, end: number): unknown[] {
    const count = arrayLength(input, end, "arguments");
    if (count > end - input.at) throw noArray("arguments");
    const depth = this.#maxDepth - 2;
    if (count === 1) return [this.#readValue(input, end, depth)];
    const args = new Array<unknown>(count);
    for (let i = 0; i < count; i++) args[i] = this.#readValue(input, end, depth);
    return args;
  }

  /** @param depth - Levels of arrays and maps that the value may have. */
  #readValue(input: HubInput, end: number, depth: number): unknown {
    const first = input.at < end ? (input.bytes[input.at] as number) : 0xc1;
    let value: unknown;
    if ((first >= 0xa0 && first <= 0xc0) || (first >= 0xd9 && first <= 0xdb)) {
      value = readText(input, end);
    } else if (first < 0x80 || first >= 0xe0 || (first >= 0xcc && first <= 0xd3)) {
      value = readInteger(input, end);
      if (this.#rounds && typeof value === "bigint") value = Number(value);
    } else if (first === 0xc2 || first === 0xc3) {
      value = readBoolean(input, end);
    } else if (first === 0xca || first === 0xcb) {
      value = readFloat(input, end);
    } else if (first >= 0xc4 && first <= 0xc6) {
      value = readBinary(input, end);
    } else {
      return this.#decode(input, end, depth);
    }
    if (value === undefined) throw unreadable();
    return value;
  }

  /** Lets the library read arrays, maps and extensions, after a look at what they claim to be. */
  #decode(input: HubInput, end: number, depth: number): unknown {
    const { bytes, at } = input;
    const findings: Findings = { hasBytes: false, hasLargeIntegers: false };
    const behind = scan(bytes, at, end, depth, findings);
    if (behind === -1) throw unreadable();
    input.at = behind;
    let range = bytes.subarray(at, behind);
    if (findings.hasBytes) {
      // The library returns views of its input, which is only lent to us.
      const copy = new Uint8Array(range.length);
      copy.set(range);
      range = copy;
    }
    const isExact = findings.hasLargeIntegers && !this.#rounds;
    const decoder = isExact ? this.#exactDecoder : this.#decoder;
    try {
      const value = decoder.decode(range);
      return isExact ? withSmallNumbers(value) : value;
    } finally {
      // It keeps what it read last, and with it the memory of which that is a view.
      if (range.buffer.byteLength > maxKept) decoder.decode(nil);
    }
  }

  #writeMessage(message: HubMessage, out: ByteWriter): void {
    switch (message.type) {
      case MessageType.invocation:
      case MessageType.streamInvocation:
        writeStart(out, 6, message.type, message.headers);
        if (message.invocationId) writeText(out, message.invocationId);
        else writeNil(out);
        writeText(out, message.target);
        writeArrayLength(out, message.arguments.length);
        for (const each of message.arguments) this.#writeValue(out, each, 0);
        writeArrayLength(out, message.streamIds?.length ?? 0);
        for (const id of message.streamIds ?? []) writeText(out, id);
        break;
      case MessageType.streamItem:
        writeStart(out, 4, message.type, message.headers);
        writeText(out, message.invocationId);
        this.#writeValue(out, message.item, 0);
        break;
      case MessageType.completion: {
        const kind = message.error ? errorKind : message.hasResult ? resultKind : voidKind;
        writeStart(out, kind === voidKind ? 4 : 5, message.type, message.headers);
        writeText(out, message.invocationId);
        out.byte(kind);
        if (kind === errorKind) writeText(out, message.error as string);
        else if (kind === resultKind) this.#writeValue(out, message.result, 0);
        break;
      }
      case MessageType.cancelInvocation:
        writeStart(out, 3, message.type, message.headers);
        writeText(out, message.invocationId);
        break;
      case MessageType.ping:
        writeArrayLength(out, 1);
        out.byte(message.type);
        break;
      case MessageType.close:
        writeArrayLength(out, 3);
        out.byte(message.type);
        if (message.error) writeText(out, message.error);
        else writeNil(out);
        writeBoolean(out, message.allowReconnect ?? false);
        break;
      case MessageType.ack:
      case MessageType.sequence:
        writeArrayLength(out, 2);
        out.byte(message.type);
        writeNumber(out, message.sequenceId);
        break;
    }
  }

  #writeValue(out: ByteWriter, value: unknown, depth: number): void {
    switch (typeof value) {
      case "string":
        writeText(out, value);
        return;
      case "number":
        writeNumber(out, value);
        return;
      case "boolean":
        writeBoolean(out, value);
        return;
      case "undefined":
        writeNil(out);
        return;
      case "bigint":
        writeBigInt(out, value);
        return;
      case "object":
        if (value === null) writeNil(out);
        else this.#writeObject(out, value, depth);
        return;
    }
    throw new TypeError(`A ${typeof value} cannot be sent.`);
  }

  #writeObject(out: ByteWriter, value: object, depth: number): void {
    if (depth > maxWrittenDepth) {
      throw new TypeError("A value is nested too deeply, or in itself.");
    }
    if (this.#hasOwnCodec || !isPlain(value)) {
      const extension = this.#codec.tryToEncode(value, undefined);
      if (extension !== null) {
        const { type, data } = extension;
        writeExtension(out, type, typeof data === "function" ? data(0) : data);
        return;
      }
    }
    if (Array.isArray(value)) {
      writeArrayLength(out, value.length);
      for (let i = 0; i < value.length; i++) this.#writeValue(out, value[i], depth + 1);
    } else if (ArrayBuffer.isView(value)) {
      writeBinary(out, new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    } else if (value instanceof ArrayBuffer) {
      writeBinary(out, new Uint8Array(value));
    } else if (value instanceof Map) {
      writeMapLength(out, value.size);
      for (const [key, item] of value) {
        this.#writeValue(out, key, depth + 1);
        this.#writeValue(out, item, depth + 1);
      }
    } else {
      const keys = Object.keys(value);
      writeMapLength(out, keys.length);
      for (const key of keys) {
        writeText(out, key);
        this.#writeValue(out, (value as Record<string, unknown>)[key], depth + 1);
      }
    }
  }
}

/** About how many bytes a message will have, by the one value that makes most messages large. */
function sizeOf(message: HubMessage): number {
  let value: unknown;
  if (message.type === MessageType.completion) value = message.result;
  else if (message.type === MessageType.streamItem) value = message.item;
  else if ("arguments" in message) value = message.arguments[0];
  if (typeof value === "string") return value.length + 24;
  return value instanceof Uint8Array ? value.length + 24 : 24;
}

/** Whether it can be no extension, unless the application has its own. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === Array.prototype || prototype === null;
}

/** Something is no array, or says that it is longer than what is there. */
function noArray(name: string): HubProtocolError {
  return new HubProtocolError(`Reading array length for '${name}' failed.`);
}

function unreadable(): HubProtocolError {
  return new HubProtocolError("Error reading MessagePack.");
}

/** Makes numbers of the bigints that need not be: the library knows only all or none. */
function withSmallNumbers(value: unknown): unknown {
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }
  if (typeof value === "object" && value !== null) {
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) value[i] = withSmallNumbers(value[i]);
    } else if (isPlain(value)) {
      const map = value as Record<string, unknown>;
      for (const key of Object.keys(map)) map[key] = withSmallNumbers(map[key]);
    }
  }
  return value;
}

/** An invocation of either type; all of them have the same shape for the JavaScript engine. */
function invocation(
  type: InvocationMessage["type"] | StreamInvocationMessage["type"],
  headers: MessageHeaders | undefined,
  invocationId: string | undefined,
  target: string,
  args: unknown[],
  streamIds: string[] | undefined,
  bindingError: Error | undefined,
): InvocationMessage | StreamInvocationMessage {
  return {
    type,
    headers,
    invocationId,
    target,
    arguments: args,
    streamIds,
    bindingError,
  } as InvocationMessage | StreamInvocationMessage;
}

function arrayLength(input: HubInput, end: number, name: string): number {
  const length = readArrayLength(input, end);
  if (length === -1) throw noArray(name);
  return length;
}

function text(input: HubInput, end: number, name: string): string | null {
  const value = readText(input, end);
  if (value === undefined) throw new HubProtocolError(`Reading '${name}' as String failed.`);
  return value;
}

function boolean(input: HubInput, end: number, name: string): boolean {
  const value = readBoolean(input, end);
  if (value === undefined) throw new HubProtocolError(`Reading '${name}' as Boolean failed.`);
  return value;
}

/** An integer that is nearly always a byte. */
function smallInteger(input: HubInput, end: number, name: string): number {
  const { bytes, at } = input;
  if (at < end && (bytes[at] as number) < 0x80) {
    input.at = at + 1;
    return bytes[at] as number;
  }
  return integer(input, end, name, 32);
}

function integer(input: HubInput, end: number, name: string, bits: 32 | 64): number {
  const value = readInteger(input, end);
  const limit = 2 ** (bits - 1);
  if (value === undefined || value >= limit || value < -limit) {
    throw new HubProtocolError(`Reading '${name}' as Int${bits} failed.`);
  }
  return Number(value);
}

function requiredId(input: HubInput, end: number, message: string): string {
  const id = text(input, end, "invocationId");
  if (!id) throw new HubProtocolError(`Null or empty invocation ID for ${message} message.`);
  return id;
}

function readHeaders(input: HubInput, end: number): MessageHeaders | undefined {
  if (input.at < end && input.bytes[input.at] === 0x80) {
    input.at++;
    return undefined;
  }
  const count = readMapLength(input, end);
  if (count === -1) throw new HubProtocolError("Reading map length for 'headers' failed.");
  if (count === 0) return undefined;
  const headers: Record<string, string> = Object.create(null);
  for (let i = 0; i < count; i++) {
    const name = text(input, end, `headers[${i}].Key`);
    if (!name) throw new HubProtocolError("Null or empty key in header.");
    const value = text(input, end, `headers[${i}].Value`);
    if (!value) throw new HubProtocolError("Null or empty value in header.");
    headers[name] = value;
  }
  return headers;
}

/** Writes how many items a message has, and the first two. */
function writeStart(
  out: ByteWriter,
  count: number,
  type: HubMessage["type"],
  headers: MessageHeaders | undefined,
): void {
  out.reserve(3);
  const { bytes, length } = out;
  bytes[length] = 0x90 | count;
  bytes[length + 1] = type;
  bytes[length + 2] = 0x80;
  out.length = length + 3;
  if (headers !== undefined) {
    out.length--;
    const names = Object.keys(headers);
    writeMapLength(out, names.length);
    for (const name of names) {
      writeText(out, name);
      writeText(out, headers[name] as string);
    }
  }
}

function readStreamIds(input: HubInput, end: number): string[] | undefined {
  const count = arrayLength(input, end, "streamIds");
  if (count === 0) return undefined;
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const id = text(input, end, "streamIds");
    if (!id) throw new HubProtocolError("Null or empty value in streamIds received.");
    ids.push(id);
  }
  return ids;
}
