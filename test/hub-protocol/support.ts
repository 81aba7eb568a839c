import assert from "node:assert/strict";
import { HubProtocolError } from "#dist/errors.js";
import { ByteWriter } from "#dist/hub-protocol/byte-writer.js";
import type { HubInput, HubProtocol } from "#dist/hub-protocol/hub-protocol.js";
import type { HubMessage } from "#dist/hub-protocol/messages.js";

/** The kinds of memory that the code meets: Node's, and that of browsers. */
export const memories = {
  Buffer: (size: number): Uint8Array => Buffer.allocUnsafeSlow(size),
  Uint8Array: (size: number): Uint8Array => new Uint8Array(size),
} as const;

export type Memory = keyof typeof memories;

/** `bytes` in the middle of a larger array full of what must not be looked at. */
export function inputOf(bytes: Uint8Array, memory: Memory = "Buffer"): HubInput {
  const at = 3;
  const all = memories[memory](bytes.length + 6).fill(0x1e);
  all.set(bytes, at);
  return { bytes: all, at, end: at + bytes.length };
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

/** Text with the record separator behind it. */
export function record(text: string): Buffer {
  return Buffer.from(`${text}\x1e`);
}

export function encoded(
  protocol: HubProtocol,
  message: HubMessage,
  memory: Memory = "Buffer",
): Buffer {
  // Small, so that it has to grow.
  const out = new ByteWriter(memories[memory], 4);
  out.byte(0xee);
  protocol.encode(message, out);
  assert.equal(out.bytes[0], 0xee);
  return Buffer.from(out.bytes.subarray(1, out.length));
}

/** Everything that can be read from `bytes`. */
export function parsed(
  protocol: HubProtocol,
  bytes: Uint8Array,
  memory: Memory = "Buffer",
): HubMessage[] {
  const input = inputOf(bytes, memory);
  const messages: HubMessage[] = [];
  for (;;) {
    const start = input.at;
    const message = protocol.parse(input, Number.POSITIVE_INFINITY);
    if (message === undefined) return messages;
    assert.ok(input.at > start && input.at <= input.end);
    if ("headers" in message && message.headers !== undefined) {
      assert.equal(Object.getPrototypeOf(message.headers), null);
    }
    messages.push(message);
  }
}

/** The one message that `bytes` are. */
export function parsedOne(
  protocol: HubProtocol,
  bytes: Uint8Array,
  memory: Memory = "Buffer",
): HubMessage {
  const [message, ...more] = parsed(protocol, bytes, memory);
  assert.ok(message !== undefined);
  assert.equal(more.length, 0);
  return message;
}

/** A message without its empty properties, its headers an ordinary object: good for comparing. */
export function bare(message: HubMessage): Record<string, unknown> {
  const properties = Object.entries(message as object).filter(([, value]) => value !== undefined);
  const { headers, ...copy }: Record<string, unknown> = Object.fromEntries(properties);
  if (headers === undefined) return copy;
  return { ...copy, headers: Object.fromEntries(Object.entries(headers as object)) };
}

/** What reading `bytes` leads to: messages, or the text of an error, which must be one of ours. */
export function outcome(protocol: HubProtocol, bytes: Uint8Array, memory?: Memory): unknown {
  try {
    return parsed(protocol, bytes, memory).map(bare);
  } catch (error) {
    assert.ok(error instanceof HubProtocolError, String(error));
    return error.message;
  }
}

/** Reads a message that comes byte by byte: nothing until it is whole. */
export function checkChunks(protocol: HubProtocol, bytes: Uint8Array, expected: unknown): void {
  const input = inputOf(bytes);
  const { at, end } = input;
  for (input.end = at; input.end < end; input.end++) {
    assert.equal(protocol.parse(input, bytes.length), undefined, `${input.end - at} bytes`);
    assert.equal(input.at, at);
  }
  const message = protocol.parse(input, bytes.length);
  assert.ok(message !== undefined);
  assert.deepEqual(bare(message), expected);
  assert.equal(input.at, end);
}
