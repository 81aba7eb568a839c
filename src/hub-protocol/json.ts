import type { ByteWriter } from "./byte-writer.js";
import type { HubProtocol } from "./hub-protocol.js";
import { parse } from "./json-parser.js";
import { writeString, writeValue } from "./json-writer.js";
import { type HubMessage, type MessageHeaders, MessageType } from "./messages.js";

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
