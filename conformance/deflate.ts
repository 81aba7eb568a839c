/**
 * permessage-deflate as the suite does it: by node:zlib's documented calls, one per message, and a
 * reader of the header of its own. Nothing of `src/` is in here.
 *
 * Context takeover needs no state that lives on: what a compressor remembers of earlier messages is
 * its window, and a window can be given to the next call as a preset dictionary.
 */

import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import type { Role } from "./frames.js";

/** The parameters of permessage-deflate that stand in one offer or answer. */
export interface DeflateParameters {
  readonly serverNoContextTakeover: boolean;
  readonly clientNoContextTakeover: boolean;
  /** `true` for the parameter without a value, which an offer may have (RFC 7692 §7.1.2.2). */
  readonly serverMaxWindowBits: number | true | undefined;
  readonly clientMaxWindowBits: number | true | undefined;
}

/** What holds for a connection. */
export interface DeflateAgreement {
  readonly serverNoContextTakeover: boolean;
  readonly clientNoContextTakeover: boolean;
  readonly serverMaxWindowBits: number;
  readonly clientMaxWindowBits: number;
}

const name = "permessage-deflate";
const windowSize = 32 * 1024;

/**
 * Reads one element of `Sec-WebSocket-Extensions`.
 *
 * @throws Error for what RFC 7692 §7.1 does not allow.
 */
export function parseParameters(element: string): DeflateParameters {
  const [extension = "", ...rest] = element.split(";").map((part) => part.trim());
  check(extension.toLowerCase() === name, `the extension ${extension} was not offered (§4.1)`);
  const values = new Map<string, string | true>();
  for (const part of rest) {
    const [key = "", value] = part.split("=").map((side) => side.trim());
    check(!values.has(key), `the parameter ${key} is there twice (RFC 7692 §7.1)`);
    values.set(key, value?.replace(/^"(.*)"$/, "$1") ?? true);
  }
  const flag = (key: string): boolean => {
    const value = values.get(key);
    values.delete(key);
    check(value === undefined || value === true, `${key} has a value (RFC 7692 §7.1.1)`);
    return value === true;
  };
  const bits = (key: string): number | true | undefined => {
    const value = values.get(key);
    values.delete(key);
    if (typeof value !== "string") return value;
    check(/^([89]|1[0-5])$/.test(value), `${key}=${value} (RFC 7692 §7.1.2)`);
    return Number(value);
  };
  const parameters = {
    serverNoContextTakeover: flag("server_no_context_takeover"),
    clientNoContextTakeover: flag("client_no_context_takeover"),
    serverMaxWindowBits: bits("server_max_window_bits"),
    clientMaxWindowBits: bits("client_max_window_bits"),
  };
  check(values.size === 0, `unknown parameters: ${[...values.keys()]} (RFC 7692 §7.1)`);
  return parameters;
}

/**
 * What a server's answer means, held against the offers it answers.
 *
 * @throws Error when it answers none of them as RFC 7692 §7.1 demands.
 */
export function readAnswer(offers: string, answer: string): DeflateAgreement {
  const answered = parseParameters(answer);
  const fits = offers.split(",").some((element) => {
    let offered: DeflateParameters;
    try {
      offered = parseParameters(element.trim());
    } catch {
      // Made to be declined.
      return false;
    }
    return (
      (!offered.serverNoContextTakeover || answered.serverNoContextTakeover) &&
      isWithin(answered.serverMaxWindowBits ?? 15, offered.serverMaxWindowBits ?? true) &&
      (answered.clientMaxWindowBits === undefined ||
        isWithin(answered.clientMaxWindowBits, offered.clientMaxWindowBits))
    );
  });
  check(fits, `"${answer}" is no answer to "${offers}" (RFC 7692 §7.1)`);
  return agreementOf(answered, offers.includes(",") ? undefined : parseParameters(offers));
}

/** The answer of a server that would like what `wishes` says, to what a client offers. */
export function answerTo(
  offered: DeflateParameters,
  wishes: DeflateParameters,
): { answer: string; agreement: DeflateAgreement } | undefined {
  const { serverMaxWindowBits, clientMaxWindowBits } = wishes;
  // Only a client that offers the parameter can be asked for a smaller window (§7.1.2.2).
  const asksForLess = typeof clientMaxWindowBits === "number";
  if (asksForLess && offered.clientMaxWindowBits === undefined) return undefined;
  const answered: DeflateParameters = {
    serverNoContextTakeover: wishes.serverNoContextTakeover || offered.serverNoContextTakeover,
    clientNoContextTakeover: wishes.clientNoContextTakeover,
    serverMaxWindowBits:
      smaller(serverMaxWindowBits, offered.serverMaxWindowBits) ??
      (offered.serverMaxWindowBits === true ? 15 : undefined),
    clientMaxWindowBits: asksForLess
      ? smaller(clientMaxWindowBits, offered.clientMaxWindowBits)
      : undefined,
  };
  const parts = [name];
  if (answered.serverNoContextTakeover) parts.push("server_no_context_takeover");
  if (answered.clientNoContextTakeover) parts.push("client_no_context_takeover");
  if (answered.serverMaxWindowBits !== undefined) {
    parts.push(`server_max_window_bits=${answered.serverMaxWindowBits}`);
  }
  if (answered.clientMaxWindowBits !== undefined) {
    parts.push(`client_max_window_bits=${answered.clientMaxWindowBits}`);
  }
  return { answer: parts.join("; "), agreement: agreementOf(answered, offered) };
}

function agreementOf(
  answered: DeflateParameters,
  offered: DeflateParameters | undefined,
): DeflateAgreement {
  const number = (bits: number | true | undefined) => (typeof bits === "number" ? bits : 15);
  return {
    serverNoContextTakeover: answered.serverNoContextTakeover,
    // A client may keep to what it offered though the answer does not repeat it (§7.1.1.2).
    clientNoContextTakeover:
      answered.clientNoContextTakeover || (offered?.clientNoContextTakeover ?? false),
    serverMaxWindowBits: number(answered.serverMaxWindowBits),
    clientMaxWindowBits: number(answered.clientMaxWindowBits ?? offered?.clientMaxWindowBits),
  };
}

function smaller(a: number | true | undefined, b: number | true | undefined): number | undefined {
  const numbers = [a, b].filter((bits) => typeof bits === "number");
  return numbers.length === 0 ? undefined : Math.min(...numbers);
}

function isWithin(answered: number | true, offered: number | true | undefined): boolean {
  return answered !== true && offered !== undefined && (offered === true || answered <= offered);
}

function check(condition: boolean, violation: string): asserts condition {
  if (!condition) throw new Error(`handshake: ${violation}`);
}

const tail = Buffer.from([0, 0, 0xff, 0xff]);

export interface CompressOptions {
  /** zlib's level; 0 makes stored blocks. Default 6. */
  readonly level?: number;
  /** zlib's strategy, for example `Z_FIXED`. */
  readonly strategy?: number;
}

/** One end's compressor and decompressor. */
export class PeerDeflate {
  readonly agreement: DeflateAgreement;
  readonly #keepsSent: boolean;
  readonly #keepsReceived: boolean;
  readonly #sentBits: number;
  readonly #receivedBits: number;
  /** The last of what went through, where the next message may refer to it. */
  #sent: Buffer = Buffer.alloc(0);
  #received: Buffer = Buffer.alloc(0);

  constructor(role: Role, agreement: DeflateAgreement) {
    this.agreement = agreement;
    const { serverNoContextTakeover, clientNoContextTakeover } = agreement;
    const { serverMaxWindowBits, clientMaxWindowBits } = agreement;
    const isClient = role === "client";
    this.#keepsSent = !(isClient ? clientNoContextTakeover : serverNoContextTakeover);
    this.#keepsReceived = !(isClient ? serverNoContextTakeover : clientNoContextTakeover);
    this.#sentBits = isClient ? clientMaxWindowBits : serverMaxWindowBits;
    this.#receivedBits = isClient ? serverMaxWindowBits : clientMaxWindowBits;
  }

  /** Whether what we send may refer to earlier messages. */
  get keepsSent(): boolean {
    return this.#keepsSent;
  }

  /** The payload of a compressed message, or of its first frames if more is to come. @see RFC 7692 §7.2.1 */
  compress(data: Uint8Array | string, options: CompressOptions = {}, isLast = true): Buffer {
    const bytes = Buffer.from(data as string);
    if (bytes.length === 0) return Buffer.from([0]);
    const compressed = deflateRawSync(bytes, {
      // zlib's raw deflate has no window of 2^8; with stored blocks the window does not matter.
      windowBits: Math.max(9, this.#sentBits),
      finishFlush: constants.Z_SYNC_FLUSH,
      ...(this.#sent.length > 0 && { dictionary: this.#sent }),
      ...(this.#sentBits === 8 && { level: 0 }),
      ...options,
    });
    this.#sent =
      this.#keepsSent || !isLast ? lastOf([this.#sent, bytes], windowSize) : Buffer.alloc(0);
    return isLast ? compressed.subarray(0, -tail.length) : compressed;
  }

  /** What a message's payload stands for. @see RFC 7692 §7.2.2 */
  inflate(payload: Buffer): Buffer {
    const isNarrow = this.#receivedBits < 15 && payload.length <= windowSize * 8;
    const message = inflateRawSync(Buffer.concat([payload, tail]), {
      windowBits: this.#receivedBits,
      finishFlush: constants.Z_SYNC_FLUSH,
      // zlib looks into its own output as far as it goes, whatever the window: with little output
      // at a time, a reference beyond the window that was agreed on is noticed.
      ...(isNarrow && { chunkSize: 64 }),
      ...(this.#received.length > 0 && { dictionary: this.#received }),
    });
    if (this.#keepsReceived) {
      this.#received = lastOf([this.#received, message], 1 << this.#receivedBits);
    }
    return message;
  }
}

function lastOf(parts: readonly Buffer[], size: number): Buffer {
  const all = Buffer.concat(parts);
  return all.subarray(Math.max(0, all.length - size));
}
