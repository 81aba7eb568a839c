// A minimal hub for SignalR's clients, the yardstick for what a hub in JavaScript costs: node:http
// for the upgrade, Node's sockets, JSON.parse and JSON.stringify. Its only technique is that what
// one turn has to say to a connection leaves in one write. No limits, no errors in words, no
// back-pressure but for streams, no transport but WebSockets.

import { Buffer } from "node:buffer";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { listen } from "./common.mjs";
import { Packer, Unpacker } from "./packing.mjs";

const recordSeparator = 0x1e;
const keepAliveInterval = 15_000;
const clientTimeout = 30_000;
const negotiationTimeout = 15_000;

const unpacker = new Unpacker();

/** How messages are read, and joined to one WebSocket message. */
const json = {
  opcode: 1,
  end(bytes, from, to) {
    const end = bytes.indexOf(recordSeparator, from) + 1;
    return end > 0 && end <= to ? end : -1;
  },
  read: (bytes, from, to) => JSON.parse(bytes.utf8Slice(from, to - 1)),
  invocation: (target, args) => JSON.stringify({ type: 1, target, arguments: args }),
  item: (id, item) =>
    `{"type":2,"invocationId":${JSON.stringify(id)},"item":${JSON.stringify(item)}}`,
  result: (id, result) =>
    `{"type":3,"invocationId":${JSON.stringify(id)},"result":${JSON.stringify(result)}}`,
  completion: (id) => `{"type":3,"invocationId":${JSON.stringify(id)}}`,
  ping: '{"type":6}',
  /** @returns {number} The bytes so far, or nearly so. */
  add(output, message) {
    output.text += `${message}\x1e`;
    return output.text.length;
  },
  begin: () => ({ text: "" }),
  frame({ text }) {
    const length = Buffer.byteLength(text);
    const frame = Buffer.allocUnsafe(headerLength(length) + length);
    frame.utf8Write(text, writeHeader(frame, 1, length));
    return frame;
  },
};

/** Memory for messages of the current turn. @type {Packer[]} */
const packers = [];

const messagepack = {
  opcode: 2,
  end(bytes, from, to) {
    let length = 0;
    for (let body = from, shift = 0; body < to; shift += 7) {
      const byte = bytes[body++];
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) return body + length <= to ? body + length : -1;
    }
    return -1;
  },
  read(bytes, from) {
    let at = from;
    while (bytes[at++] >= 0x80);
    unpacker.start(bytes, at);
    const message = unpacker.value();
    const [type, , invocationId, target, args] = message;
    return { type, invocationId, target, arguments: args };
  },
  invocation: (target, args) => [1, {}, null, target, args, []],
  item: (id, item) => [2, {}, id, item],
  result: (id, result) => [3, {}, id, 3, result],
  completion: (id) => [3, {}, id, 2],
  ping: [6],
  add(output, message) {
    output.add(message);
    return output.length;
  },
  begin: () => packers.pop() ?? new Packer(),
  frame(packer) {
    const { length } = packer;
    const frame = Buffer.allocUnsafe(headerLength(length) + length);
    packer.copyTo(frame, writeHeader(frame, 2, length));
    packer.length = 0;
    packers.push(packer);
    return frame;
  },
};

const protocols = { json, messagepack };

function unmask(bytes, mask, from, to) {
  const first = bytes[mask];
  const second = bytes[mask + 1];
  const third = bytes[mask + 2];
  const fourth = bytes[mask + 3];
  let at = from;
  for (; at + 4 <= to; at += 4) {
    bytes[at] ^= first;
    bytes[at + 1] ^= second;
    bytes[at + 2] ^= third;
    bytes[at + 3] ^= fourth;
  }
  for (let i = 0; at < to; i++) bytes[at++] ^= bytes[mask + i];
}

function headerLength(length) {
  return length < 126 ? 2 : length < 65536 ? 4 : 10;
}

function writeHeader(frame, opcode, length) {
  frame[0] = 0x80 | opcode;
  if (length < 126) {
    frame[1] = length;
    return 2;
  }
  if (length < 65536) {
    frame[1] = 126;
    return frame.writeUInt16BE(length, 2);
  }
  frame[1] = 127;
  frame.writeUInt32BE(0, 2);
  return frame.writeUInt32BE(length, 6);
}

/** @type {Set<Connection>} */
const all = new Set();
/** @type {Map<string, Set<Connection>>} */
const groups = new Map();
let taken = 0;

/** The hub's methods; first comes the connection. */
const methods = {
  echo: (_, text) => text,
  take: () => void taken++,
  taken: () => taken,
  broadcast: (_, text) => sendTo(all, "message", [text]),
  join(connection, name) {
    if (!groups.has(name)) groups.set(name, new Set());
    groups.get(name).add(connection);
    connection.groups.push(name);
  },
  toGroup: (_, name, text) => sendTo(groups.get(name) ?? [], "message", [text]),
  async *items(_, count) {
    for (let i = 0; i < count; i++) yield "Hoist the signal flags, quickly.";
  },
};

/** Encoded and framed once per protocol. */
function sendTo(connections, target, args) {
  const frames = new Map();
  for (const connection of connections) {
    const { protocol } = connection;
    let frame = frames.get(protocol);
    if (frame === undefined) {
      const output = protocol.begin();
      protocol.add(output, protocol.invocation(target, args));
      frame = protocol.frame(output);
      frames.set(protocol, frame);
    }
    connection.sendFrame(frame);
  }
}

/** Have something to say when the turn is over. @type {Connection[]} */
let talkative = [];

function flushAll() {
  const connections = talkative;
  talkative = [];
  for (const connection of connections) connection.flush();
}

class Connection {
  protocol;
  groups = [];
  lastRead = Date.now();
  lastWrite = this.lastRead;
  #socket;
  /** The beginning of a frame, and of a message. */
  #frameRest;
  #messageRest;
  /** Messages that are not framed yet. */
  #output;
  #frames = [];
  #isTalkative = false;

  constructor(socket) {
    this.#socket = socket;
    socket.on("data", (chunk) => this.#read(chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      all.delete(this);
      for (const name of this.groups) groups.get(name)?.delete(this);
    });
  }

  /** @returns {number} How much is not framed yet. */
  send(message) {
    this.#output ??= this.protocol.begin();
    this.#announce();
    return this.protocol.add(this.#output, message);
  }

  sendFrame(frame) {
    this.#endFrame();
    this.#frames.push(frame);
    this.#announce();
  }

  #announce() {
    if (this.#isTalkative) return;
    this.#isTalkative = true;
    if (talkative.push(this) === 1) process.nextTick(flushAll);
  }

  #endFrame() {
    if (this.#output === undefined) return;
    this.#frames.push(this.protocol.frame(this.#output));
    this.#output = undefined;
  }

  flush() {
    this.#isTalkative = false;
    this.#endFrame();
    const frames = this.#frames;
    if (frames.length === 1) this.#socket.write(frames[0]);
    else {
      this.#socket.cork();
      for (const frame of frames) this.#socket.write(frame);
      this.#socket.uncork();
    }
    this.#frames = [];
    this.lastWrite = now;
  }

  destroy() {
    this.#socket.destroy();
  }

  #read(chunk) {
    this.lastRead = now;
    let bytes = chunk;
    if (this.#frameRest !== undefined) {
      bytes = Buffer.concat([this.#frameRest, chunk]);
      this.#frameRest = undefined;
    }
    let at = 0;
    while (bytes.length - at >= 6) {
      const opcode = bytes[at] & 0x0f;
      let size = bytes[at + 1] & 0x7f;
      let header = 2;
      if (size === 126) {
        size = bytes.readUInt16BE(at + 2);
        header = 4;
      } else if (size === 127) {
        if (bytes.length - at < 14) break;
        size = bytes.readUIntBE(at + 4, 6);
        header = 10;
      }
      const mask = at + header;
      const from = mask + 4;
      const to = from + size;
      if (to > bytes.length) break;
      unmask(bytes, mask, from, to);
      if (opcode === 8) {
        this.#socket.end(Buffer.from([0x88, 2, 0x03, 0xe8]));
        return;
      }
      if (opcode < 8) this.#payload(bytes, from, to);
      at = to;
    }
    if (at < bytes.length) this.#frameRest = bytes.subarray(at);
  }

  #payload(chunk, first, last) {
    let bytes = chunk;
    let at = first;
    let to = last;
    if (this.#messageRest !== undefined) {
      bytes = Buffer.concat([this.#messageRest, chunk.subarray(first, last)]);
      at = 0;
      to = bytes.length;
      this.#messageRest = undefined;
    }
    while (at < to) {
      const end = (this.protocol ?? json).end(bytes, at, to);
      if (end < 0) {
        this.#messageRest = bytes.subarray(at, to);
        return;
      }
      if (this.protocol === undefined) this.#handshake(json.read(bytes, at, end));
      else this.#dispatch(this.protocol.read(bytes, at, end));
      at = end;
    }
  }

  #handshake({ protocol }) {
    this.protocol = protocols[protocol];
    const answer = Buffer.from([0x80 | this.protocol.opcode, 3, 0x7b, 0x7d, recordSeparator]);
    this.#socket.write(answer);
    all.add(this);
  }

  #dispatch({ type, invocationId, target, arguments: args }) {
    if (type !== 1 && type !== 4) return;
    const result = methods[target](this, ...args);
    if (type === 4) this.#stream(invocationId, result);
    else if (invocationId !== undefined && invocationId !== null) {
      this.send(this.protocol.result(invocationId, result ?? null));
    }
  }

  async #stream(id, items) {
    for await (const item of items) {
      if (this.send(this.protocol.item(id, item)) < 16_384) continue;
      this.flush();
      if (this.#socket.destroyed) return;
      if (this.#socket.writableNeedDrain) await once(this.#socket, "drain");
    }
    this.send(this.protocol.completion(id));
  }
}

/** The time, as exact as keep-alive needs it. */
let now = Date.now();
setInterval(() => {
  now = Date.now();
  for (const connection of all) {
    if (now - connection.lastRead > clientTimeout) connection.destroy();
    else if (now - connection.lastWrite >= keepAliveInterval) {
      connection.send(connection.protocol.ping);
    }
  }
}, 1000).unref();

/** What negotiate promised. @type {Map<string, NodeJS.Timeout>} */
const tokens = new Map();
const newId = () => randomBytes(16).toString("base64url");

const server = createServer((request, response) => {
  if (request.method !== "POST" || !request.url.startsWith("/hub/negotiate")) {
    response.writeHead(404).end();
    return;
  }
  const connectionToken = newId();
  tokens.set(
    connectionToken,
    setTimeout(() => tokens.delete(connectionToken), negotiationTimeout),
  );
  const transports = [{ transport: "WebSockets", transferFormats: ["Text", "Binary"] }];
  const body = JSON.stringify({
    negotiateVersion: 1,
    connectionId: newId(),
    connectionToken,
    availableTransports: transports,
  });
  response
    .writeHead(200, { "content-type": "application/json", "content-length": body.length })
    .end(body);
});
server.on("upgrade", (request, socket) => {
  const token = new URL(request.url, "http://localhost").searchParams.get("id");
  if (token !== null) {
    if (!tokens.has(token)) return void socket.end("HTTP/1.1 404 Not Found\r\n\r\n");
    clearTimeout(tokens.get(token));
    tokens.delete(token);
  }
  const accept = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest("base64");
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  new Connection(socket);
});
listen(server);
