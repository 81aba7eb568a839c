import { HubProtocolError } from "../errors.js";
import type { ByteWriter } from "./byte-writer.js";
import { findRecordEnd } from "./framing.js";
import type { HubInput, HubProtocol } from "./hub-protocol.js";
import { JsonObjectReader } from "./json-reader.js";
import { writeString, writeValue } from "./json-writer.js";
import {
  type AckMessage,
  type HubMessage,
  type InvocationMessage,
  type MessageHeaders,
  MessageType,
  type SequenceMessage,
  type StreamInvocationMessage,
} from "./messages.js";

/**
 * The protocol `json`: an object in UTF-8, then a record separator.
 *
 * Bytes are sent as base64 strings, a bigint as a number with all its digits, a Date as ISO 8601,
 * `undefined` as null. What arrives is what JSON.parse makes of it: integers beyond 2^53 are
 * rounded. A message of more than 64 levels is an error, as in ASP.NET Core.
 */
export function json(): HubProtocol {
  return protocol;
}

const protocol: HubProtocol = { name: "json", transferFormat: "Text", parse, encode };

function parse(input: HubInput, maxMessageSize: number): HubMessage | undefined {
  for (;;) {
    const end = findRecordEnd(input, maxMessageSize);
    if (end === -1) return undefined;
    const message = readMessage(input.bytes, input.at, end);
    input.at = end + 1;
    if (message !== undefined) return message;
  }
}

function required(name: string): HubProtocolError {
  return new HubProtocolError(`Missing required property '${name}'.`);
}

/** @returns `undefined` for a message of a type that we do not know. */
function readMessage(bytes: Uint8Array, start: number, end: number): HubMessage | undefined {
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
      return {
        type,
        headers,
        invocationId: invocationId || undefined,
        target,
        arguments: args,
        streamIds,
        bindingError: undefined,
      } as InvocationMessage | StreamInvocationMessage;
    }
    case MessageType.streamItem:
      if (!invocationId) throw required("invocationId");
      if (!hasItem) throw required("item");
      return { type, headers, invocationId, item, bindingError: undefined };
    case MessageType.completion:
      if (!invocationId) throw required("invocationId");
      if (error !== undefined && hasResult) {
        throw new HubProtocolError("The 'error' and 'result' properties are mutually exclusive.");
      }
      return { type, headers, invocationId, error, hasResult, result };
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

function encode(message: HubMessage, out: ByteWriter): void {
  out.ascii(`{"type":${message.type}`);
  if ("headers" in message) writeHeaders(out, message.headers);
  switch (message.type) {
    case MessageType.invocation:
    case MessageType.streamInvocation:
      writeId(out, message.invocationId);
      out.ascii(',"target":');
      writeString(out, message.target);
      out.ascii(',"arguments":');
      writeItems(out, message.arguments);
      if (message.streamIds !== undefined) {
        out.ascii(',"streamIds":');
        writeItems(out, message.streamIds);
      }
      break;
    case MessageType.streamItem:
      writeId(out, message.invocationId);
      out.ascii(',"item":');
      writeValue(out, message.item);
      break;
    case MessageType.completion:
      writeId(out, message.invocationId);
      if (message.error) {
        out.ascii(',"error":');
        writeString(out, message.error);
      } else if (message.hasResult) {
        out.ascii(',"result":');
        writeValue(out, message.result);
      }
      break;
    case MessageType.cancelInvocation:
      writeId(out, message.invocationId);
      break;
    case MessageType.close:
      if (message.error !== undefined) {
        out.ascii(',"error":');
        writeString(out, message.error);
      }
      if (message.allowReconnect) out.ascii(',"allowReconnect":true');
      break;
    case MessageType.ack:
    case MessageType.sequence:
      out.ascii(`,"sequenceId":${message.sequenceId}`);
      break;
  }
  out.ascii("}\x1e");
}

function writeHeaders(out: ByteWriter, headers: MessageHeaders | undefined): void {
  if (headers === undefined) return;
  const names = Object.keys(headers);
  if (names.length === 0) return;
  let separator = ',"headers":{';
  for (const name of names) {
    out.ascii(separator);
    writeString(out, name);
    out.byte(0x3a);
    writeString(out, headers[name] as string);
    separator = ",";
  }
  out.byte(0x7d);
}

function writeId(out: ByteWriter, id: string | undefined): void {
  if (!id) return;
  out.ascii(',"invocationId":');
  writeString(out, id);
}

function writeItems(out: ByteWriter, items: readonly unknown[]): void {
  out.byte(0x5b);
  for (let i = 0; i < items.length; i++) {
    if (i > 0) out.byte(0x2c);
    writeValue(out, items[i]);
  }
  out.byte(0x5d);
}
