import type { ByteWriter } from "./byte-writer.js";
import { recordSeparator } from "./framing.js";
import type { HubProtocol } from "./hub-protocol.js";
import { parse } from "./json-parser.js";
import { writeString, writeValue } from "./json-writer.js";
import { type HubMessage, type MessageHeaders, MessageType } from "./messages.js";
import { word } from "./words.js";

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

/** `,"invocationId":` */
const id0 = word(',"in');
const id4 = word("voca");
const id8 = word("tion");
const id12 = word('Id":');
/** `,"target":` */
const target0 = word(',"ta');
const target4 = word("rget");
const target6 = word('et":');
/** `,"arguments":` */
const arguments0 = word(',"ar');
const arguments4 = word("gume");
const arguments8 = word('nts"');
const arguments9 = word('ts":');
/** `,"result":` */
const result0 = word(',"re');
const result4 = word("sult");
const result6 = word('lt":');
/** `,"item":` */
const item0 = word(',"it');
const item4 = word('em":');
/** `{"type":1` */
const type0 = word('{"ty');
const type4 = word('pe":');

function encode(message: HubMessage, out: ByteWriter): void {
  out.reserve(9);
  out.view.setInt32(out.length, type0, true);
  out.view.setInt32(out.length + 4, type4, true);
  out.bytes[out.length + 8] = 0x30 + message.type;
  out.length += 9;
  switch (message.type) {
    case MessageType.invocation:
    case MessageType.streamInvocation:
      if (message.headers !== undefined) writeHeaders(out, message.headers);
      if (message.invocationId) writeId(out, message.invocationId);
      out.reserve(10);
      out.view.setInt32(out.length, target0, true);
      out.view.setInt32(out.length + 4, target4, true);
      out.view.setInt32(out.length + 6, target6, true);
      out.length += 10;
      writeString(out, message.target);
      out.reserve(13);
      out.view.setInt32(out.length, arguments0, true);
      out.view.setInt32(out.length + 4, arguments4, true);
      out.view.setInt32(out.length + 8, arguments8, true);
      out.view.setInt32(out.length + 9, arguments9, true);
      out.length += 13;
      writeItems(out, message.arguments);
      if (message.streamIds !== undefined) {
        out.ascii(',"streamIds":');
        writeItems(out, message.streamIds);
      }
      break;
    case MessageType.streamItem:
      if (message.headers !== undefined) writeHeaders(out, message.headers);
      writeId(out, message.invocationId);
      out.reserve(8);
      out.view.setInt32(out.length, item0, true);
      out.view.setInt32(out.length + 4, item4, true);
      out.length += 8;
      writeValue(out, message.item);
      break;
    case MessageType.completion:
      if (message.headers !== undefined) writeHeaders(out, message.headers);
      writeId(out, message.invocationId);
      if (message.error) {
        out.ascii(',"error":');
        writeString(out, message.error);
      } else if (message.hasResult) {
        out.reserve(10);
        out.view.setInt32(out.length, result0, true);
        out.view.setInt32(out.length + 4, result4, true);
        out.view.setInt32(out.length + 6, result6, true);
        out.length += 10;
        writeValue(out, message.result);
      }
      break;
    case MessageType.cancelInvocation:
      if (message.headers !== undefined) writeHeaders(out, message.headers);
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
  out.reserve(2);
  out.bytes[out.length] = 0x7d;
  out.bytes[out.length + 1] = recordSeparator;
  out.length += 2;
}

function writeHeaders(out: ByteWriter, headers: MessageHeaders): void {
  let separator = ',"headers":{';
  for (const name of Object.keys(headers)) {
    out.ascii(separator);
    writeString(out, name);
    out.byte(0x3a);
    writeString(out, headers[name] as string);
    separator = ",";
  }
  if (separator === ",") out.byte(0x7d);
}

function writeId(out: ByteWriter, id: string): void {
  out.reserve(16);
  out.view.setInt32(out.length, id0, true);
  out.view.setInt32(out.length + 4, id4, true);
  out.view.setInt32(out.length + 8, id8, true);
  out.view.setInt32(out.length + 12, id12, true);
  out.length += 16;
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
