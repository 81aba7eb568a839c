import { HubProtocolError } from "../errors.js";
import { utf8Text } from "./byte-text.js";
import type { ByteWriter } from "./byte-writer.js";
import { findRecordEnd } from "./framing.js";
import type { HubInput, TransferFormat } from "./hub-protocol.js";
import { JsonObjectReader } from "./json-reader.js";
import { writeString } from "./json-writer.js";

/** The newest version of the protocols; with it comes stateful reconnect. */
export const maxProtocolVersion = 2;

/** What a client says first. */
export interface HandshakeRequest {
  /** A protocol's name, which is matched without regard to case. */
  readonly protocol: string;
  readonly version: number;
}

/** What a server answers; without `error` hub messages follow. */
export interface HandshakeResponse {
  readonly error: string | undefined;
}

/** What a server answers when it refuses, in ASP.NET Core's words. */
export const handshakeErrors = {
  protocol: (name: string) => `The protocol '${name}' is not supported.`,
  version: (version: number, protocol: string) =>
    `The server does not support version ${version} of the '${protocol}' protocol.`,
  transferFormat: (protocol: string, format: TransferFormat) =>
    `Cannot use the '${protocol}' protocol on the current transport. The transport does not support '${format}' transfer format.`,
  /** The time was up, or the request larger than a message may be. */
  canceled: "Handshake was canceled.",
  /** The request made no sense; detailed errors add why. */
  unexpected: "An unexpected error occurred during connection handshake.",
} as const;

/**
 * Reads a handshake request and moves `input.at` behind it; hub messages may follow at once.
 *
 * @param maxMessageSize - Largest request in bytes, record separator included.
 * @returns `undefined` when it is not all there.
 * @throws HubMessageTooBigError when it is too large: {@link handshakeErrors}.canceled.
 * @throws HubProtocolError when it is no request: {@link handshakeErrors}.unexpected.
 */
export function parseHandshakeRequest(
  input: HubInput,
  maxMessageSize: number,
): HandshakeRequest | undefined {
  const end = findRecordEnd(input, maxMessageSize);
  if (end === -1) return undefined;
  const { bytes, at } = input;
  const reader = new JsonObjectReader(bytes, at, end);
  let protocol: string | undefined;
  let version: number | undefined;
  while (reader.next()) {
    if (reader.name === "protocol") protocol = reader.string();
    else if (reader.name === "version") version = reader.integer(32);
    else reader.value();
  }
  if (protocol === undefined || version === undefined) {
    const missing = protocol === undefined ? "protocol" : "version";
    throw new HubProtocolError(
      `Missing required property '${missing}'. Message content: ${utf8Text(bytes, at, end)}`,
    );
  }
  input.at = end + 1;
  return { protocol, version };
}

export function encodeHandshakeRequest(request: HandshakeRequest, out: ByteWriter): void {
  out.ascii('{"protocol":');
  writeString(out, request.protocol);
  out.ascii(`,"version":${request.version}}\x1e`);
}

/**
 * Reads a handshake response and moves `input.at` behind it; hub messages may follow at once.
 *
 * @param maxMessageSize - Largest response in bytes, record separator included.
 * @returns `undefined` when it is not all there.
 * @throws HubProtocolError when it is something else, for example a hub message.
 */
export function parseHandshakeResponse(
  input: HubInput,
  maxMessageSize: number,
): HandshakeResponse | undefined {
  const end = findRecordEnd(input, maxMessageSize);
  if (end === -1) return undefined;
  const reader = new JsonObjectReader(input.bytes, input.at, end);
  let error: string | undefined;
  while (reader.next()) {
    if (reader.name === "type") {
      throw new HubProtocolError("Expected a handshake response from the server.");
    }
    if (reader.name === "error") error = reader.string();
    else reader.value();
  }
  input.at = end + 1;
  return { error };
}

/** @param error - Why the server refuses; `undefined` when it does not. */
export function encodeHandshakeResponse(error: string | undefined, out: ByteWriter): void {
  if (error) {
    out.ascii('{"error":');
    writeString(out, error);
    out.ascii("}\x1e");
  } else {
    out.ascii("{}\x1e");
  }
}
