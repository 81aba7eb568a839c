// As much of MessagePack as the bare hub needs: nil, booleans, integers, doubles, strings, arrays and
// maps. No binary, no extensions, no limits.

import { Buffer } from "node:buffer";

/** Reads values behind one another. */
export class Unpacker {
  #bytes;
  #at = 0;

  /** @param {Buffer} bytes */
  start(bytes, at) {
    this.#bytes = bytes;
    this.#at = at;
  }

  value() {
    const bytes = this.#bytes;
    const first = bytes[this.#at++];
    if (first < 0x80) return first;
    if (first < 0x90) return this.#map(first & 0x0f);
    if (first < 0xa0) return this.#array(first & 0x0f);
    if (first < 0xc0) return this.#string(first & 0x1f);
    if (first >= 0xe0) return first - 256;
    const at = this.#at;
    switch (first) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xca:
        this.#at += 4;
        return bytes.readFloatBE(at);
      case 0xcb:
        this.#at += 8;
        return bytes.readDoubleBE(at);
      case 0xcc:
        this.#at += 1;
        return bytes[at];
      case 0xcd:
        this.#at += 2;
        return bytes.readUInt16BE(at);
      case 0xce:
        this.#at += 4;
        return bytes.readUInt32BE(at);
      case 0xcf:
        this.#at += 8;
        return Number(bytes.readBigUInt64BE(at));
      case 0xd0:
        this.#at += 1;
        return bytes.readInt8(at);
      case 0xd1:
        this.#at += 2;
        return bytes.readInt16BE(at);
      case 0xd2:
        this.#at += 4;
        return bytes.readInt32BE(at);
      case 0xd3:
        this.#at += 8;
        return Number(bytes.readBigInt64BE(at));
      case 0xd9:
        return this.#string(this.#length(1));
      case 0xda:
        return this.#string(this.#length(2));
      case 0xdb:
        return this.#string(this.#length(4));
      case 0xdc:
        return this.#array(this.#length(2));
      case 0xdd:
        return this.#array(this.#length(4));
      case 0xde:
        return this.#map(this.#length(2));
      case 0xdf:
        return this.#map(this.#length(4));
      default:
        throw new Error(`MessagePack of type ${first}.`);
    }
  }

  #length(size) {
    this.#at += size;
    return this.#bytes.readUIntBE(this.#at - size, size);
  }

  #string(length) {
    this.#at += length;
    return this.#bytes.utf8Slice(this.#at - length, this.#at);
  }

  #array(length) {
    const array = [];
    for (let i = 0; i < length; i++) array.push(this.value());
    return array;
  }

  #map(length) {
    const map = {};
    for (let i = 0; i < length; i++) map[this.value()] = this.value();
    return map;
  }
}

/** The most that a value takes. */
function room(value) {
  switch (typeof value) {
    case "string":
      return 5 + 3 * value.length;
    case "object": {
      if (value === null) return 1;
      let sum = 5;
      if (Array.isArray(value)) for (const item of value) sum += room(item);
      else for (const key in value) sum += room(key) + room(value[key]);
      return sum;
    }
    default:
      return 9;
  }
}

/** Messages behind one another, each with its length before it. */
export class Packer {
  length = 0;
  #bytes = Buffer.allocUnsafeSlow(16_384);

  add(message) {
    const size = room(message);
    if (this.length + size + 5 > this.#bytes.length) {
      const bytes = Buffer.allocUnsafeSlow(2 * (this.length + size + 5));
      bytes.set(this.#bytes.subarray(0, this.length));
      this.#bytes = bytes;
    }
    const bytes = this.#bytes;
    const prefix = prefixLength(size);
    const body = this.length + prefix;
    const end = write(bytes, message, body);
    let length = end - body;
    const needed = prefixLength(length);
    if (needed !== prefix) bytes.copyWithin(this.length + needed, body, end);
    for (; length >= 0x80; length >>>= 7) bytes[this.length++] = (length & 0x7f) | 0x80;
    bytes[this.length] = length;
    this.length = end - prefix + needed;
  }

  copyTo(target, at) {
    this.#bytes.copy(target, at, 0, this.length);
  }
}

function prefixLength(length) {
  return length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x200000 ? 3 : 4;
}

/** @returns {number} Where the next value goes. */
function write(bytes, value, at) {
  switch (typeof value) {
    case "string":
      return writeString(bytes, value, at);
    case "number":
      if (Number.isInteger(value) && value >= 0 && value <= 0xffffffff) {
        return writeHead(bytes, value, at, { small: 0x00, below: 0x80, wide: 0xcc });
      }
      bytes[at] = 0xcb;
      return bytes.writeDoubleBE(value, at + 1);
    case "boolean":
      bytes[at] = value ? 0xc3 : 0xc2;
      return at + 1;
    case "object":
      if (value === null) break;
      if (Array.isArray(value)) {
        let next = writeHead(bytes, value.length, at, arrays);
        for (const item of value) next = write(bytes, item, next);
        return next;
      }
      return writeMap(bytes, value, at);
    default:
      break;
  }
  bytes[at] = 0xc0;
  return at + 1;
}

const arrays = { small: 0x90, below: 0x10, wide: 0xdb };
const maps = { small: 0x80, below: 0x10, wide: 0xdd };

/** A number in the shortest form; `wide` is the type of the form with one byte. */
function writeHead(bytes, number, at, { small, below, wide }) {
  if (number < below) {
    bytes[at] = small | number;
    return at + 1;
  }
  // Arrays and maps have no form with one byte.
  if (number < 0x100 && below !== 0x10) {
    bytes[at] = wide;
    bytes[at + 1] = number;
    return at + 2;
  }
  if (number < 0x10000) {
    bytes[at] = wide + 1;
    return bytes.writeUInt16BE(number, at + 1);
  }
  bytes[at] = wide + 2;
  return bytes.writeUInt32BE(number, at + 1);
}

function writeString(bytes, value, at) {
  const head = value.length < 32 ? 1 : value.length < 0x100 ? 2 : value.length < 0x10000 ? 3 : 5;
  const length = bytes.utf8Write(value, at + head);
  const needed = length < 32 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 5;
  if (needed !== head) bytes.copyWithin(at + needed, at + head, at + head + length);
  if (needed === 1) bytes[at] = 0xa0 | length;
  else if (needed === 2) {
    bytes[at] = 0xd9;
    bytes[at + 1] = length;
  } else if (needed === 3) {
    bytes[at] = 0xda;
    bytes.writeUInt16BE(length, at + 1);
  } else {
    bytes[at] = 0xdb;
    bytes.writeUInt32BE(length, at + 1);
  }
  return at + needed + length;
}

function writeMap(bytes, value, at) {
  const keys = Object.keys(value);
  let next = writeHead(bytes, keys.length, at, maps);
  for (const key of keys) next = write(bytes, value[key], writeString(bytes, key, next));
  return next;
}
