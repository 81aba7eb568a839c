// One client of a hub: says what was prepared, counts what it gets, checks the first of it.

import { Client, handshake } from "../../generator/client.mjs";
import { deferred, fail } from "../../generator/commands.mjs";
import { clientFrame } from "../../generator/frames.mjs";
import { open } from "../../generator/transport.mjs";
import { Splitter } from "./splitter.mjs";

/** @typedef {import("./dialects.mjs").Answer} Answer */

export class Peer {
  #client;
  #dialect;
  #splitter;

  /**
   * Resolves when calls may be made.
   *
   * @param {number} port
   * @param {import("./dialects.mjs").Dialect} dialect
   * @param {{ request: Buffer, greetings: readonly Buffer[] }} prepared
   */
  static async open(port, dialect, { request, greetings }) {
    const peer = new Peer();
    const { promise: isOpen, resolve: onOpen } = deferred();
    let due = greetings.length + (dialect.isGreeted ? 1 : 0);
    peer.#dialect = dialect;
    // The answer to a handshake is framed like JSON in every protocol.
    const framing = dialect.framing === "prefix" ? "separator" : dialect.framing;
    peer.#splitter = new Splitter(framing, (bytes, from, to) => {
      const answer = dialect.read(bytes.subarray(from, to));
      if (answer.type === "ping") return;
      if (answer.type !== "open") fail(new Error(`A handshake got ${JSON.stringify(answer)}.`));
      if (--due > 0) return;
      peer.#splitter.framing = dialect.framing;
      peer.#rest();
      onOpen();
    });
    const onBytes = (bytes) => peer.#splitter.read(bytes);
    peer.#client = await Client.open(port, { request, onBytes });
    peer.#client.onClose = () => {
      if (!peer.#client.isClosing) fail(new Error("The server ended a connection."));
    };
    for (const greeting of greetings) peer.#client.write(greeting);
    await isOpen;
    return peer;
  }

  write(bytes) {
    this.#client.write(bytes);
  }

  /** Nothing is due. */
  #rest() {
    this.#splitter.onMessage = (bytes, from, to) => {
      const { type } = this.#dialect.read(bytes.subarray(from, to));
      if (type !== "ping") throw new Error(`A message came that nobody waits for: ${type}.`);
    };
  }

  /** One call and its result. */
  call(target, args = []) {
    const { promise, resolve } = deferred();
    const check = ({ type, value }) => {
      if (type !== "result" && type !== "end") throw new Error(`${target} got ${type}: ${value}`);
      resolve(value);
    };
    this.count(1, check, () => this.#rest());
    this.write(clientFrame(this.#dialect.call(target, args, 1)));
    return promise;
  }

  /**
   * Counts messages in batches. A message is looked into in the first batch, and later if its length
   * is another than that of the message that was looked into last.
   *
   * @param {number} due - Messages of a batch.
   * @param {(answer: Answer) => void} check - Throws at what is wrong.
   * @param {() => void} [onBatch]
   */
  count(due, check, onBatch) {
    const dialect = this.#dialect;
    const splitter = this.#splitter;
    let received = 0;
    let isChecked = false;
    let usual = -1;
    splitter.usualLength = 0;
    splitter.onMessage = (bytes, from, to) => {
      if (!isChecked || to - from !== usual) {
        const answer = dialect.read(bytes.subarray(from, to));
        if (answer.type === "ping") return;
        check(answer);
        usual = to - from;
        splitter.usualLength = usual + 1;
      }
      if (++received < due) return;
      received = 0;
      isChecked = true;
      onBatch?.();
    };
  }

  /** Asks for the end by the closing handshake; resolves when the server has ended TCP. */
  async end() {
    let isAnswered = false;
    this.#splitter.onMessage = () => {};
    this.#splitter.onClose = () => {
      isAnswered = true;
    };
    this.#client.close();
    await this.#client.closed;
    if (!isAnswered) throw new Error("A Close was not answered by one.");
  }

  get client() {
    return this.#client;
  }
}

/**
 * What opens a connection, made once unless it has a token.
 *
 * @param {import("./dialects.mjs").Dialect} dialect
 * @param {string} [token]
 */
export function prepareOpening(dialect, token) {
  const path = token === undefined ? dialect.path : `${dialect.path}?id=${token}`;
  return {
    request: handshake({ path, compress: false }),
    greetings: dialect.greetings.map((message) => clientFrame(message)),
  };
}

/** Negotiates on a connection of its own, as a client does that comes for the first time. */
export async function negotiate(port, { path }) {
  const { promise, resolve } = deferred();
  let response = "";
  const connection = await open(port, {
    onData(bytes) {
      response += Buffer.from(bytes).toString("latin1");
      const end = response.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/^content-length: *(\d+)\r$/im.exec(response)?.[1]);
      if (!response.startsWith("HTTP/1.1 200 ") || Number.isNaN(length)) {
        throw new Error(`Negotiate was answered by: ${response}`);
      }
      if (response.length >= end + 4 + length) resolve(JSON.parse(response.slice(end + 4)));
    },
    onClose: () => {},
  });
  connection.write(
    Buffer.from(
      `POST ${path}/negotiate?negotiateVersion=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n`,
    ),
  );
  const { connectionToken } = await promise;
  connection.end();
  if (typeof connectionToken !== "string") throw new Error("Negotiate gave no token.");
  return connectionToken;
}
